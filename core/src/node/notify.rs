//! What the application is told, and in which order.
//!
//! Per peer it is state, not a log: what was told against what is. A peer that came and went
//! while the application slept is told once, with a count; of the failures of a required peer the
//! latest. Bounds: one entry for each peer with news, and no newcomer while `peers_max`, or 64,
//! have left that the application does not know of; answers to calls, at most `dials_max` about
//! dials and 64 about listeners, those to come included; the newest 64 refusals.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::net::SocketAddr;

use super::Node;
use crate::connection::Tally;
use crate::contract::{Direction, Notification};
use crate::error::{CloseReason, Refusal};
use crate::id::PeerId;
use crate::protocol::{PeerProtocols, ProtocolChange};
use crate::supervisor::Setback;
use crate::time::Instant;

const REFUSALS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Told {
    answers: VecDeque<Notification>,
    /// Outcomes of dials among them.
    dials: usize,
    /// Outcomes of listens among them.
    listens: usize,
    refusals: VecDeque<Notification>,
    /// Peers with news; each stands in it once.
    peers: VecDeque<PeerId>,
    over: bool,
}

impl Told {
    pub(super) fn answer(&mut self, answer: Notification) {
        *self.counter(&answer) = self.counter(&answer).saturating_add(1);
        self.answers.push_back(answer);
    }

    /// Outcomes of dials that were not told yet.
    pub(super) const fn dials(&self) -> usize {
        self.dials
    }

    /// Outcomes of listens that were not told yet.
    pub(super) const fn listens(&self) -> usize {
        self.listens
    }

    /// What counts an answer: there are no others.
    const fn counter(&mut self, answer: &Notification) -> &mut usize {
        match answer {
            Notification::Listening { .. } | Notification::ListenFailed { .. } => &mut self.listens,
            _ => &mut self.dials,
        }
    }

    pub(super) fn refusal(&mut self, refusal: Notification) {
        if self.refusals.len() >= REFUSALS_MAX {
            self.refusals.pop_front();
        }
        self.refusals.push_back(refusal);
    }

    pub(super) fn poll_answer(&mut self) -> Option<Notification> {
        let answer = self.answers.pop_front()?;
        *self.counter(&answer) = self.counter(&answer).saturating_sub(1);
        Some(answer)
    }

    /// Whether some peer may have news.
    pub(super) fn has_news(&self) -> bool {
        !self.peers.is_empty()
    }

    pub(super) const fn is_over(&self) -> bool {
        self.over
    }
}

/// What the application knows of a peer, and what it has yet to be told.
#[derive(Debug, Default)]
pub(super) struct News {
    /// It was told that the peer is connected.
    told: bool,
    /// The connection that it knows of has ended.
    down: Option<Box<Down>>,
    /// There is a connection that it does not know of.
    up: bool,
    /// That one has ended too.
    down_again: Option<CloseReason>,
    /// Further times that the peer came and went.
    flaps: u32,
    pub(super) undelivered: Tally,
    /// Stands in `Told::peers`.
    queued: bool,
}

#[derive(Debug)]
struct Down {
    reason: CloseReason,
    /// What was told of its protocols, each of which is lost now.
    theirs: PeerProtocols,
}

impl News {
    pub(super) fn connected(&mut self) {
        if self.up && self.down_again.take().is_some() {
            self.flaps = self.flaps.saturating_add(1);
        } else {
            self.up = true;
        }
    }

    pub(super) fn disconnected(&mut self, reason: CloseReason, mut theirs: PeerProtocols) {
        if self.up {
            self.down_again = Some(reason);
        } else if self.told {
            theirs.clear();
            self.down = Some(Box::new(Down { reason, theirs }));
        }
    }

    /// Whether the application has nothing left to be told, and believes the peer gone.
    pub(super) fn is_settled(&self) -> bool {
        !self.told && !self.up && self.undelivered.is_empty()
    }

    fn next(&mut self, peer: PeerId, theirs: &mut PeerProtocols) -> Option<Notification> {
        if self.told || !self.up {
            if let Some(entry) = self.undelivered.pop() {
                let crate::connection::TallyEntry { protocol, reason, messages, bytes } = entry;
                return Some(Notification::Undelivered { peer, protocol, messages, bytes, reason });
            }
        }
        if let Some(down) = &mut self.down {
            if let Some(change) = down.theirs.poll_change() {
                return Some(change_of(peer, change));
            }
            self.told = false;
            let reason = self.down.take().map_or(CloseReason::RemoteClosed, |down| down.reason);
            let flaps = core::mem::take(&mut self.flaps);
            return Some(Notification::Disconnected { peer, reason, flaps });
        }
        if core::mem::take(&mut self.up) {
            self.told = true;
            if let Some(reason) = self.down_again.take() {
                self.down = Some(Box::new(Down { reason, theirs: PeerProtocols::new() }));
            }
            return Some(Notification::Connected { peer });
        }
        if !self.told {
            return None;
        }
        theirs.poll_change().map(|change| change_of(peer, change))
    }
}

fn change_of(peer: PeerId, change: ProtocolChange) -> Notification {
    match change {
        ProtocolChange::Gained(protocol) => Notification::Supported { peer, protocol },
        ProtocolChange::Lost(protocol) => Notification::Unsupported { peer, protocol },
    }
}

fn told_of(setback: Setback) -> Notification {
    let Setback { required, peer, address, failures, wait, cause } = setback;
    match wait {
        Some(wait) => Notification::Retrying { required, peer, address, failures, wait, cause },
        None => Notification::GaveUp { required, peer, address, failures, cause },
    }
}

impl Node {
    /// There is news of a peer.
    pub(super) fn tell(&mut self, peer: PeerId) {
        if let Some(known) = self.peers.get_mut(&peer) {
            if !core::mem::replace(&mut known.news.queued, true) {
                self.told.peers.push_back(peer);
            }
        }
    }

    /// A link was turned away, or ended before its peer was connected.
    pub(super) fn tell_refusal(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        peer: Option<PeerId>,
        direction: Direction,
        reason: Refusal,
    ) {
        self.history.turned_away(now, remote, peer, direction, &reason);
        self.told.refusal(Notification::Refused { remote, peer, direction, reason });
    }

    pub(super) fn next_notification(&mut self) -> Option<Notification> {
        if let Some(answer) = self.told.poll_answer() {
            return Some(answer);
        }
        while let Some(peer) = self.told.peers.front().copied() {
            let next = self
                .peers
                .get_mut(&peer)
                .and_then(|known| known.news.next(peer, &mut known.theirs));
            if next.is_some() {
                return next;
            }
            self.told.peers.pop_front();
            if let Some(known) = self.peers.get_mut(&peer) {
                known.news.queued = false;
            }
            self.peers.forget_if_idle(&peer);
        }
        if let Some(setback) = self.supervisor.poll_news() {
            return Some(told_of(setback));
        }
        if let Some(refusal) = self.told.refusals.pop_front() {
            return Some(refusal);
        }
        if self.stopping && !self.told.over && self.links.is_empty() && self.dials.is_empty() {
            self.told.over = true;
            return Some(Notification::Stopped);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::id::ProtocolId;
    use crate::protocol::ProtocolSet;

    fn peer() -> PeerId {
        "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse().unwrap()
    }

    fn drain(news: &mut News, theirs: &mut PeerProtocols) -> Vec<Notification> {
        core::iter::from_fn(|| news.next(peer(), theirs)).collect()
    }

    fn set(names: &[&str]) -> ProtocolSet {
        names.iter().map(|name| ProtocolId::new(name).unwrap()).collect()
    }

    #[test]
    fn d42_a_connection_that_ends_before_it_is_told_gives_both_notices() {
        let (mut news, mut theirs) = (News::default(), PeerProtocols::new());
        news.connected();
        news.disconnected(CloseReason::RemoteClosed, PeerProtocols::new());
        let told = drain(&mut news, &mut theirs);
        assert_eq!(told.len(), 2);
        assert_eq!(told[0], Notification::Connected { peer: peer() });
        assert!(matches!(told[1], Notification::Disconnected { flaps: 0, .. }));
        assert!(news.is_settled());
    }

    #[test]
    fn flaps_that_were_slept_through_are_one_pair_with_a_count() {
        let (mut news, mut theirs) = (News::default(), PeerProtocols::new());
        news.connected();
        assert_eq!(drain(&mut news, &mut theirs).len(), 1);
        for _ in 0..5 {
            news.disconnected(CloseReason::RemoteClosed, PeerProtocols::new());
            news.connected();
        }
        let told = drain(&mut news, &mut theirs);
        assert_eq!(told.len(), 2);
        assert!(matches!(told[0], Notification::Disconnected { flaps: 4, .. }));
        assert_eq!(told[1], Notification::Connected { peer: peer() });
    }

    #[test]
    fn protocols_are_lost_before_the_disconnect_and_gained_again_after_the_next_connect() {
        let (mut news, mut theirs) = (News::default(), PeerProtocols::new());
        news.connected();
        theirs.set(set(&["/a", "/b"]));
        assert_eq!(drain(&mut news, &mut theirs).len(), 3);
        let ended = core::mem::take(&mut theirs);
        news.disconnected(CloseReason::RemoteClosed, ended);
        news.connected();
        theirs.set(set(&["/b"]));
        let told = drain(&mut news, &mut theirs);
        let kinds: Vec<u8> = told
            .iter()
            .map(|told| match told {
                Notification::Unsupported { .. } => b'-',
                Notification::Disconnected { .. } => b'D',
                Notification::Connected { .. } => b'C',
                Notification::Supported { .. } => b'+',
                _ => b'?',
            })
            .collect();
        assert_eq!(kinds, b"--DC+");
    }
}
