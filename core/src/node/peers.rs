//! What is known of each peer, and what happens when a link of it is proven, established, gone.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use super::links::Stage;
use super::notify::News;
use super::verdict::Hold;
use super::{Node, close_order};
use crate::connection::{Closed, Parcel, Tally, ToConnection, ToNode, Verdict, parcel_of};
use crate::error::{CloseReason, DialError, Refusal, UndeliveredReason};
use crate::id::{ConnectionId, PeerId, ProtocolId};
use crate::lease::{Purpose, Room};
use crate::pool::Outbox;
use crate::protocol::{PeerProtocols, ProtocolSet, Push, PushConfig};
use crate::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Peer {
    /// Live links, oldest first.
    pub(super) links: SmallVec<[ConnectionId; 2]>,
    /// The link that is being established.
    pub(super) establishing: Option<ConnectionId>,
    /// What is next if it fails: the loser of a tie against it, or a later link of the same
    /// direction; never there without it.
    pub(super) runner_up: Option<RunnerUp>,
    /// They wait for their first verdict; never there without them.
    pub(super) hold: Option<Hold>,
    pub(super) theirs: PeerProtocols,
    /// Tells the peer our list when it changes; there while it is connected.
    push: Option<Push>,
    /// When `push` stands in `Peers::timers`.
    timer: Option<Instant>,
    pub(super) news: News,
    /// Since when it is connected.
    pub(super) since: Instant,
}

/// Stands behind the link that is being established, and takes its place if that one fails.
#[derive(Debug)]
pub(super) struct RunnerUp {
    pub(super) id: ConnectionId,
    pub(super) state: Waits,
}

/// What a runner-up waits for.
#[derive(Debug)]
pub(super) enum Waits {
    /// Its first verdict: the peer has made it after the link before it, and may have dropped
    /// that one. It is judged when that one is live, or gone.
    Unjudged,
    /// Nothing: it lost a tie and goes on until the winner is live, because the other end may
    /// have settled on it before it knew of the winner, which it then turns away.
    Nothing,
    /// The same, and the verdict that it goes live, with the list that it exchanged, if it did.
    Live(Option<ProtocolSet>),
}

impl Peer {
    pub(super) const fn is_establishing(&self) -> bool {
        self.establishing.is_some()
    }
}

/// Bound: the peers that the connection manager knows, and `peers_max`, or 64, that the
/// application has yet to hear of.
#[derive(Debug, Default)]
pub(super) struct Peers {
    peers: BTreeMap<PeerId, Box<Peer>>,
    timers: BTreeSet<(Instant, PeerId)>,
    holds: BTreeSet<(Instant, PeerId)>,
}

impl Peers {
    pub(super) fn get(&self, peer: &PeerId) -> Option<&Peer> {
        self.peers.get(peer).map(Box::as_ref)
    }

    pub(super) fn get_mut(&mut self, peer: &PeerId) -> Option<&mut Peer> {
        self.peers.get_mut(peer).map(Box::as_mut)
    }

    pub(super) fn entry(&mut self, peer: PeerId) -> &mut Peer {
        self.peers.entry(peer).or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(super) fn next_hold(&self) -> Option<Instant> {
        self.holds.first().map(|(at, _)| *at)
    }

    pub(super) fn set_hold_timer(&mut self, until: Instant, peer: PeerId) {
        self.holds.insert((until, peer));
    }

    /// Takes the next hold whose time is over; it stays until its connections are gone.
    pub(super) fn due_hold(&mut self, now: Instant) -> Option<PeerId> {
        let (at, peer) = self.holds.first().copied().filter(|(at, _)| *at <= now)?;
        self.holds.remove(&(at, peer));
        Some(peer)
    }

    pub(super) fn drop_hold(&mut self, peer: &PeerId) {
        if let Some(hold) = self.peers.get_mut(peer).and_then(|known| known.hold.take()) {
            self.holds.remove(&(hold.until, *peer));
        }
    }

    pub(super) fn forget_if_idle(&mut self, peer: &PeerId) {
        let idle = |known: &Peer| {
            known.links.is_empty() && known.establishing.is_none() && known.news.is_settled()
        };
        if self.get(peer).is_some_and(idle) {
            self.set_timer(peer, None);
            self.peers.remove(peer);
        }
    }

    fn set_timer(&mut self, peer: &PeerId, at: Option<Instant>) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        if known.timer == at {
            return;
        }
        if let Some(old) = core::mem::replace(&mut known.timer, at) {
            self.timers.remove(&(old, *peer));
        }
        if let Some(at) = at {
            self.timers.insert((at, *peer));
        }
    }

    /// How many timers there are for lists that were pushed, and for links that are held.
    pub(super) fn timers(&self) -> (usize, usize) {
        (self.timers.len(), self.holds.len())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&PeerId, &Peer)> {
        self.peers.iter().map(|(peer, known)| (peer, &**known))
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn assert_invariants(&self) {
        for (peer, known) in &self.peers {
            assert_eq!(known.links.is_empty(), known.push.is_none());
            if let Some(second) = &known.runner_up {
                assert!(known.establishing.is_some_and(|first| first != second.id));
                // What is held gets its verdict with all that wait.
                assert!(known.hold.is_none() || !matches!(second.state, Waits::Unjudged));
            }
            if let Some(hold) = &known.hold {
                assert!(known.establishing.is_some());
                assert!(hold.silent.iter().all(|id| known.links.contains(id)));
                assert!(!hold.silent.is_empty());
            }
            let timer = known.push.as_ref().and_then(Push::next_timeout);
            assert_eq!(timer, known.timer);
            assert!(timer.is_none_or(|at| self.timers.contains(&(at, *peer))));
        }
        let timers = self.peers.values().filter(|known| known.timer.is_some()).count();
        assert_eq!(timers, self.timers.len());
        for (at, peer) in &self.holds {
            let hold = self.peers.get(peer).and_then(|known| known.hold.as_ref());
            assert_eq!(hold.map(|hold| hold.until), Some(*at));
        }
    }
}

/// Which of two crossing dials stays: true if the one that `a` made does (spec 4.2).
pub(super) fn outweighs(a: &PeerId, b: &PeerId) -> bool {
    let differing = a.as_bytes().iter().zip(b.as_bytes()).find(|(a, b)| a != b);
    differing.is_none_or(|(a, b)| a > b)
}

impl Node {
    pub(super) fn on_report(&mut self, now: Instant, id: ConnectionId, report: ToNode) {
        if let Some(peer) = report.proven {
            self.on_proven(now, id, peer);
        }
        // One that has ended meanwhile does not go live: nobody makes room for it.
        if report.closed.is_none() && (report.ready || report.exchanged.is_some()) {
            self.on_established(now, id, report.exchanged);
        }
        let Some(link) = self.links.get(id) else { return };
        let stage = link.stage;
        if let Stage::Live(peer) = stage {
            if let Some(theirs) = report.learned {
                self.on_learned(peer, theirs);
            }
            if report.push_answered.is_some() || report.push_failed.is_some() {
                self.on_push(now, peer, report.push_answered.is_some());
            }
            if let Some(link) = self.links.get_mut(id).filter(|_| report.settled) {
                link.unsettled = None;
            }
            if report.alive && !self.links.is_closing(id) {
                self.heard_of(id, peer);
            }
            if let Some(load) = report.load {
                let _known = self.routes.set_load(now, id, load);
                self.expand(now);
            }
            if let Some(wanted) = report.streams_wanted {
                let streams_granted = Some(self.streams.extend(peer, id, wanted));
                self.links.order(id, ToConnection { streams_granted, ..Default::default() });
            }
            if report.room_wanted.total() > 0 || report.bytes_returned > 0 {
                self.leases.give_back(id, report.bytes_returned);
                for purpose in Purpose::ALL {
                    self.leases.ask(id, purpose, report.room_wanted.get(purpose));
                }
                self.grant_leases();
            }
        }
        if let Stage::Live(peer) | Stage::Establishing(peer) = stage {
            if !report.undelivered.is_empty() {
                self.lost(peer, report.undelivered);
            }
        }
        if let Some(closed) = report.closed {
            self.on_closed(now, id, *closed);
        }
    }

    /// Tells connections of the room that they asked for, and that is there now; and whether
    /// messages of others wait for it.
    pub(super) fn grant_leases(&mut self) {
        while let Some((id, purpose, bytes)) = self.leases.poll_grant() {
            let room_granted = Room::of(purpose, bytes);
            let crowded = Some(self.leases.is_crowded_for(id));
            self.links.order(id, ToConnection { room_granted, crowded, ..ToConnection::default() });
        }
        if self.leases.poll_crowd() {
            for id in self.leases.holders() {
                let crowded = Some(self.leases.is_crowded_for(id));
                self.links.order(id, ToConnection { crowded, ..ToConnection::default() });
            }
        }
    }

    /// Spec 4.2, steps 5 to 9: the link goes live.
    fn on_established(&mut self, now: Instant, id: ConnectionId, theirs: Option<ProtocolSet>) {
        let Some(link) = self.links.get(id) else { return };
        let Stage::Establishing(peer) = link.stage else { return };
        if link.closing {
            // What it has to say has crossed the order, which is its verdict.
            return;
        }
        let expected = link.expected;
        let known = self.peers.entry(peer);
        if known.hold.is_some() {
            // It was never told to go on.
            return;
        }
        if let Some(second) = known.runner_up.as_mut().filter(|second| second.id == id) {
            if !matches!(second.state, Waits::Unjudged) {
                second.state = Waits::Live(theirs);
            }
            return;
        }
        // The loser of a tie may get here before it hears that it lost (D-46).
        let chosen = known.establishing == Some(id);
        if let Err(refusal) = self.make_live(id, peer, expected, chosen) {
            let live_verdict = Some(Verdict::Refuse(refusal));
            self.links.order(id, ToConnection { live_verdict, ..ToConnection::default() });
            return;
        }
        let known = self.peers.entry(peer);
        known.establishing = None;
        let second = known.runner_up.take();
        self.go_live(now, id, peer, theirs);
        match second {
            Some(RunnerUp { id, state: Waits::Unjudged }) => self.judge_late(now, id, peer),
            Some(RunnerUp { id, .. }) => {
                let order = close_order(CloseReason::Refused(Refusal::Duplicate));
                self.links.order(id, order);
            }
            None => {}
        }
    }

    /// A link is a way to its peer from now on.
    fn go_live(
        &mut self,
        now: Instant,
        id: ConnectionId,
        peer: PeerId,
        theirs: Option<ProtocolSet>,
    ) {
        let Some(link) = self.links.get(id) else { return };
        let (version, dial) = (link.version, link.dial);
        let known = self.peers.entry(peer);
        known.links.push(id);
        if known.links.len() == 1 {
            known.theirs = PeerProtocols::new();
            known.news.connected();
            known.since = now;
            self.work.connected = self.work.connected.saturating_add(1);
            let config =
                PushConfig { answer_timeout: self.config.push_deadline, ..PushConfig::default() };
            known.push = Some(Push::new(config, version));
        }
        self.links.set_stage(id, Stage::Live(peer));
        if let Some(link) = self.links.get_mut(id) {
            link.unsettled = Some(now.after(self.config.exchange_deadline));
        }
        let limit = self.config.receive_streams_max;
        let share = limit.checked_div(self.config.connections_per_peer_max).unwrap_or(limit);
        let granted = self.streams.grant(peer, id, u32::try_from(share).unwrap_or(u32::MAX));
        let order = ToConnection {
            live_verdict: Some(Verdict::Proceed { exchange: false }),
            streams_granted: Some(granted),
            ours: Some(self.registry.protocols().clone()),
            ..ToConnection::default()
        };
        self.links.order(id, order);
        self.leases.ask(id, Purpose::Streams, self.config.streams_ahead());
        self.grant_leases();
        match theirs {
            Some(theirs) => self.on_learned(peer, theirs),
            None => self.tell(peer),
        }
        self.push(now, peer);
        self.route_changed(peer);
        if let Some(dial) = dial {
            self.dial_done(now, dial, peer);
        }
        self.waiting_done(now, peer);
        self.supervisor.connected(now, &peer);
    }

    /// Makes room for a link and its peer, and the way to it.
    fn make_live(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        expected: Option<PeerId>,
        chosen: bool,
    ) -> Result<(), Refusal> {
        // Rules may have changed since its peer was proven.
        if let Some(refusal) = self.objection(peer, expected) {
            return Err(refusal);
        }
        if !chosen {
            return Err(Refusal::Duplicate);
        }
        // Nobody makes room before everything else is sure.
        self.routes.add(peer, id, ()).map_err(|_| Refusal::Duplicate)?;
        match self.manager.joined(&peer) {
            Ok(victim) => {
                if let Some(victim) = victim {
                    self.close_peer(&victim, &CloseReason::Evicted);
                }
                Ok(())
            }
            Err(refusal) => {
                let _known = self.routes.remove(id);
                Err(refusal)
            }
        }
    }

    fn on_learned(&mut self, peer: PeerId, theirs: ProtocolSet) {
        // The exchanger's own protocol is always in the list (spec 9.1), and no application's.
        let theirs = theirs.except(ProtocolId::EXCHANGER);
        if let Some(known) = self.peers.get_mut(&peer).filter(|known| !known.links.is_empty()) {
            // Stored before anybody is told (D-48).
            known.theirs.set(theirs.clone());
            let _known = self.routes.set_protocols(&peer, theirs);
            self.route_changed(peer);
            self.tell(peer);
        }
    }

    /// A link is gone.
    pub(super) fn on_closed(&mut self, now: Instant, id: ConnectionId, closed: Closed) {
        let Some(mut link) = self.links.remove(id) else { return };
        self.pause_or_resume();
        let Closed { reason, mut leftover, mut traffic, counters } = closed;
        self.history.ended(&mut traffic, counters);
        leftover.extend(link.take_adopted());
        let peer = match link.stage {
            Stage::Live(peer) => {
                self.on_live_closed(now, id, peer, reason, leftover);
                return;
            }
            Stage::Establishing(peer) => Some(peer),
            Stage::Dialling | Stage::Unproven => None,
        };
        match (link.source, &reason) {
            (Some(source), CloseReason::Stopping | CloseReason::Blocked) => {
                self.sources.settled(source);
            }
            // Its peer was proven; nothing was decided of it.
            (Some(source), _) if peer.is_some() => self.sources.settled(source),
            (Some(source), _) => self.sources.failed(now, source),
            (None, _) => {}
        }
        let held = peer.is_some_and(|peer| self.on_establishing_closed(now, id, peer));
        let refusal = match reason {
            CloseReason::Refused(refusal) => refusal,
            CloseReason::Blocked => Refusal::Blocked,
            CloseReason::Stopping => Refusal::Stopping,
            reason => Refusal::Closed(Box::new(reason)),
        };
        self.tell_refusal(now, link.remote, peer, link.direction, refusal.clone());
        if let Some(peer) = peer {
            self.after_establishing(now, peer, held);
        }
        match (link.dial, peer) {
            (Some(dial), Some(peer)) => self.dial_lost(now, dial, peer, refusal),
            (Some(dial), None) => self.dial_failed(now, dial, DialError::Refused(refusal)),
            (None, _) => {}
        }
    }

    /// Only the link that holds the place of its peer frees it (D-46). Whether it was that one.
    fn on_establishing_closed(&mut self, now: Instant, id: ConnectionId, peer: PeerId) -> bool {
        let Some(known) = self.peers.get_mut(&peer) else { return false };
        let second = known.runner_up.take();
        if known.establishing != Some(id) {
            known.runner_up = second.filter(|second| second.id != id);
            return false;
        }
        known.establishing = second.as_ref().map(|second| second.id);
        match second {
            Some(RunnerUp { id, state: Waits::Unjudged }) => {
                known.establishing = None;
                self.judge_late(now, id, peer);
            }
            Some(RunnerUp { id, state: Waits::Live(theirs) }) => {
                self.on_established(now, id, theirs);
            }
            Some(RunnerUp { state: Waits::Nothing, .. }) | None => {}
        }
        true
    }

    /// A link that was being established is gone, and so may be its peer if the link `held` the
    /// place.
    fn after_establishing(&mut self, now: Instant, peer: PeerId, held: bool) {
        let Some(known) = self.peers.get(&peer).filter(|known| known.establishing.is_none()) else {
            return;
        };
        let connected = !known.links.is_empty();
        self.peers.drop_hold(&peer);
        if !connected {
            self.manager.gone(&peer);
            // One that never had the place, or that the supervisor will follow with another, says
            // nothing about whether the peer comes.
            if held && !self.supervisor.is_trying(&peer) {
                self.fail_waiting(now, &peer, None);
            }
        } else if !self.is_connected(&peer) {
            // Nobody waits any more for the room that its connections make.
            self.manager.leaving(&peer);
        }
        self.peers.forget_if_idle(&peer);
    }

    fn on_live_closed(
        &mut self,
        now: Instant,
        id: ConnectionId,
        peer: PeerId,
        reason: CloseReason,
        leftover: alloc::vec::Vec<Parcel>,
    ) {
        let _known = self.routes.remove(id);
        self.streams.close_connection(id);
        self.leases.end(id);
        self.grant_leases();
        self.route_changed(peer);
        let Some(known) = self.peers.get_mut(&peer) else { return };
        known.links.retain(|link| *link != id);
        if let Some(other) = known.links.first().copied() {
            if let Some(push) = &mut known.push {
                push.failed(now);
            }
            self.links.order(other, ToConnection { adopt: leftover, ..ToConnection::default() });
            self.push(now, peer);
            self.heard_of(id, peer);
            return;
        }
        let theirs = core::mem::take(&mut known.theirs);
        let since = known.since;
        known.push = None;
        let mut lost = Tally::default();
        for parcel in leftover {
            parcel.count(UndeliveredReason::ConnectionLost, &mut lost);
        }
        self.lost(peer, lost);
        if let Some(known) = self.peers.get_mut(&peer) {
            known.news.disconnected(reason.clone(), theirs);
        }
        self.work.disconnected = self.work.disconnected.saturating_add(1);
        self.history.lost(now, peer, since, &reason);
        self.peers.set_timer(&peer, None);
        self.tell(peer);
        self.manager.gone(&peer);
        self.heard_of(id, peer);
        if self.peers.get(&peer).is_some_and(Peer::is_establishing) {
            // One that was let in beside the connection that is gone now.
            let _room = self.admit(peer);
        }
        self.supervisor.disconnected(now, &peer, &reason);
        if self.peers.get(&peer).is_none_or(|known| !known.is_establishing()) {
            self.drained(now, &peer);
        }
    }

    /// Messages that were accepted for a peer and that no connection took before its last word:
    /// they move to a connection of the peer, or are counted as undelivered.
    pub fn handle_leftover(&mut self, now: Instant, peer: PeerId, outbox: &mut Outbox) {
        let now = self.clock.advance(now);
        self.note_outbox(peer, outbox, false);
        let other = self.peers.get(&peer).and_then(|known| known.links.first().copied());
        let Some(other) = other else { return self.lose(peer, outbox) };
        self.history.left(outbox);
        if outbox.is_empty() {
            return;
        }
        let deadline = now.after(self.config.send_deadline);
        let items = core::iter::from_fn(|| outbox.take_next());
        let adopt = items.map(|item| parcel_of(item, deadline)).collect();
        self.links.order(other, ToConnection { adopt, ..ToConnection::default() });
    }

    /// Messages that were accepted for a peer and will not leave; they are counted.
    pub fn handle_lost(&mut self, peer: PeerId, outbox: &mut Outbox) {
        self.note_outbox(peer, outbox, true);
        self.lose(peer, outbox);
    }

    fn lose(&mut self, peer: PeerId, outbox: &mut Outbox) {
        self.history.left(outbox);
        let mut lost = Tally::default();
        while let Some(item) = outbox.take_next() {
            parcel_of(item, Instant::MAX).count(UndeliveredReason::ConnectionLost, &mut lost);
        }
        self.lost(peer, lost);
    }

    /// Messages to a peer were given up.
    fn lost(&mut self, peer: PeerId, lost: Tally) {
        if !lost.is_empty() {
            self.history.given_up(&lost);
            self.peers.entry(peer).news.undelivered.merge(lost);
            self.tell(peer);
        }
    }

    // Our list, to every connected peer.

    /// Our list has changed.
    pub(super) fn announce(&mut self, now: Instant) {
        let version = self.registry.version();
        for id in self.links.ids() {
            let ours = Some(self.registry.protocols().clone());
            self.links.order(id, ToConnection { ours, ..ToConnection::default() });
        }
        let peers: alloc::vec::Vec<PeerId> = self.routes.peers().collect();
        for peer in peers {
            if let Some(push) = self.peers.get_mut(&peer).and_then(|known| known.push.as_mut()) {
                push.changed(now, version);
            }
            self.push(now, peer);
        }
    }

    fn on_push(&mut self, now: Instant, peer: PeerId, answered: bool) {
        if let Some(push) = self.peers.get_mut(&peer).and_then(|known| known.push.as_mut()) {
            if answered {
                push.answered(now);
            } else {
                push.failed(now);
            }
        }
        self.push(now, peer);
    }

    /// Sends our list to a peer if it is time to, and sets the timer for the next time.
    fn push(&mut self, now: Instant, peer: PeerId) {
        let version = self.registry.version();
        let Some(known) = self.peers.get_mut(&peer) else { return };
        let Some(push) = &mut known.push else { return };
        push.changed(now, version);
        if let (Some(version), Some(id)) = (push.poll_send(now), known.links.first().copied()) {
            self.links.order(id, ToConnection { push: Some(version), ..ToConnection::default() });
        }
        let at = push.next_timeout();
        self.peers.set_timer(&peer, at);
    }

    pub(super) fn push_timeouts(&mut self, now: Instant) {
        while let Some((at, peer)) = self.peers.timers.first().copied() {
            if at > now {
                break;
            }
            if let Some(push) = self.peers.get_mut(&peer).and_then(|known| known.push.as_mut()) {
                push.handle_timeout(now);
            }
            self.push(now, peer);
        }
    }
}
