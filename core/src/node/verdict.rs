//! May a link whose peer is proven go on? (spec 4.2, steps 1 to 3)
//!
//! A link may have to wait for the answer. The peer may have lost the connection that we believe
//! to have with it, and then the new link has to take its place; or we have told that connection
//! to close, and it is not gone yet. So as long as old connections of the peer close or have not
//! shown that they are alive, which they have `probe_deadline` for, the new link is held. Not so
//! if it has crossed one that is live here and whose other end may wait in the same way.
//!
//! A link may also come in while an earlier one from the same end is being established. Whoever
//! makes two keeps one of them: the first whose peer it has proven, and it turns the other away
//! itself (step 2), or the later one, because it has let go of the first, connected or not, and we
//! have yet to hear of that. Which one it is cannot be known here, as the links are not proven in
//! the same order at both ends, and their ends do not come in that order either. So neither is
//! given up for the other: the later one waits, without a verdict, and is judged when the first is
//! live, and then has to show that it is alive, or when that is gone. One of ours is refused: we
//! know that we want the first. A wait ends, because the first has its deadline, and so has the
//! one that waits: `exchange_deadline`, from the proof on.
//!
//! One link of a peer waits like that, and none behind links that are held, or that have crossed;
//! further ones are duplicates. Whoever has let go of a link that waits has to wait himself until
//! its deadline: to have it replaced by each newer one would help nobody else, and of three that
//! were made at once it would keep the least likely ones. It counts for its source as long as it
//! waits. It is a runner-up, so a peer has no more links than with crossing dials.

use alloc::boxed::Box;

use smallvec::SmallVec;

use super::Node;
use super::links::Stage;
use super::peers::{RunnerUp, Waits};
use crate::connection::{ToConnection, Verdict};
use crate::contract::{Direction, TimerKind};
use crate::error::{CloseReason, Refusal};
use crate::id::{ConnectionId, PeerId};
use crate::peers::{Level, Source};
use crate::snapshot::Reached;
use crate::time::Instant;

/// The links of a peer that are being established wait.
///
/// Bound: one for each connection that the peer has.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) until: Instant,
    /// Connections that have not shown that they are alive.
    pub(super) silent: SmallVec<[ConnectionId; 2]>,
}

/// What is done with a proven link.
#[derive(Debug)]
enum Judgement {
    /// It goes on; with or without an exchange of protocols.
    Proceed(bool),
    Hold,
    /// It is judged when the link before it is live, or gone.
    Later,
    Refuse(Refusal),
}

impl Node {
    /// A link has proven who its peer is.
    pub(super) fn on_proven(&mut self, now: Instant, id: ConnectionId, peer: PeerId) {
        let Some(link) = self.links.get_mut(id) else { return };
        if link.stage != Stage::Unproven {
            return;
        }
        let (direction, expected, dial) = (link.direction, link.expected, link.dial);
        let objection = self.objection(peer, expected);
        self.dial_reached(dial, Reached::Exchanging);
        let attempt = dial.and_then(|dial| self.dials.attempt(dial));
        // Who may not connect is not who is required either.
        if let Some(attempt) = attempt.filter(|_| objection.is_none()) {
            if self.supervisor.proven(attempt, peer) {
                self.sync_level(&peer);
                if self.routes.route(&peer).is_some() {
                    self.supervisor.connected(now, &peer);
                }
            }
        }
        let judgement = match objection {
            Some(refusal) => Judgement::Refuse(refusal),
            None => self.judge(now, id, peer, direction),
        };
        self.links.set_stage(id, Stage::Establishing(peer));
        self.pause_or_resume();
        self.carry_out(now, id, peer, judgement);
    }

    /// What stood before a link that waits unjudged is live, or gone: it is judged as if its peer
    /// were proven just now.
    pub(super) fn judge_late(&mut self, now: Instant, id: ConnectionId, peer: PeerId) {
        let Some(link) = self.links.get(id).filter(|link| !link.closing) else { return };
        let (direction, expected) = (link.direction, link.expected);
        let judgement = match self.objection(peer, expected) {
            Some(refusal) => Judgement::Refuse(refusal),
            None => self.judge(now, id, peer, direction),
        };
        self.carry_out(now, id, peer, judgement);
    }

    fn carry_out(&mut self, now: Instant, id: ConnectionId, peer: PeerId, judgement: Judgement) {
        let Some(link) = self.links.get_mut(id) else { return };
        let dial = link.dial;
        // Until something is decided, it counts for where it comes from.
        let source = link.source.take_if(|_| !matches!(judgement, Judgement::Later));
        if let Some(source) = source {
            self.count_source(now, source, &judgement);
        }
        match judgement {
            Judgement::Refuse(refusal) => self.answer(id, Verdict::Refuse(refusal)),
            Judgement::Later => {
                let known = self.peers.entry(peer);
                known.runner_up = Some(RunnerUp { id, state: Waits::Unjudged });
            }
            Judgement::Proceed(exchange) => {
                self.take_place(now, peer, id);
                self.answer(id, Verdict::Proceed { exchange });
            }
            Judgement::Hold => {
                self.take_place(now, peer, id);
                if let Some(dial) = dial {
                    self.dial_held(dial);
                }
                self.start_hold(now, peer);
            }
        }
    }

    /// An identity costs nothing: it clears its source only if its peer is let in, and one that
    /// is turned away for what it is counts as a failure.
    fn count_source(&mut self, now: Instant, source: Source, judgement: &Judgement) {
        match judgement {
            Judgement::Proceed(_) | Judgement::Hold => self.sources.proven(source),
            Judgement::Refuse(Refusal::Blocked | Refusal::OwnId | Refusal::TooManyPeers) => {
                self.sources.failed(now, source);
            }
            Judgement::Refuse(_) | Judgement::Later => self.sources.settled(source),
        }
    }

    fn take_place(&mut self, now: Instant, peer: PeerId, id: ConnectionId) {
        let known = self.peers.entry(peer);
        let loser = known.establishing.replace(id).filter(|loser| *loser != id);
        let second = loser.map(|id| RunnerUp { id, state: Waits::Nothing });
        // One that waits to be judged would have lost the same tie.
        if let Some(later) = core::mem::replace(&mut known.runner_up, second) {
            self.carry_out(now, later.id, peer, Judgement::Refuse(Refusal::Duplicate));
        }
    }

    /// The first verdict, with our list as it is now.
    fn answer(&mut self, id: ConnectionId, verdict: Verdict) {
        let ours = Some(self.registry.protocols().clone());
        if let Some(link) = self.links.get_mut(id) {
            link.version = self.registry.version();
        }
        let order = ToConnection { ours, proven_verdict: Some(verdict), ..Default::default() };
        self.links.order(id, order);
    }

    fn judge(
        &mut self,
        now: Instant,
        id: ConnectionId,
        peer: PeerId,
        direction: Direction,
    ) -> Judgement {
        let known = self.peers.get(&peer);
        let live = known.map_or(0, |known| known.links.len());
        let going =
            known.is_some_and(|known| known.links.iter().all(|l| self.links.is_closing(*l)));
        let full = live >= self.config.connections_per_peer_max;
        if full && !going && direction == Direction::Outbound {
            return Judgement::Refuse(Refusal::TooManyConnections);
        }
        if let Some(old) = known.and_then(|known| known.establishing).filter(|old| *old != id) {
            let keep_own = super::peers::outweighs(&self.local, &peer);
            let loses = if keep_own { Direction::Inbound } else { Direction::Outbound };
            let old_direction = self.links.get(old).map(|link| link.direction);
            let held = known.is_some_and(|known| known.hold.is_some());
            if old_direction == Some(direction) {
                let is_taken = known.is_some_and(|known| known.runner_up.is_some());
                let may_wait = direction == Direction::Inbound && !is_taken && !held;
                let refused = Judgement::Refuse(Refusal::Duplicate);
                return if may_wait { Judgement::Later } else { refused };
            }
            if old_direction != Some(loses) {
                return Judgement::Refuse(Refusal::Duplicate);
            }
            return if held { Judgement::Hold } else { Judgement::Proceed(live == 0) };
        }
        if live > 0 {
            let crossed = !going && self.has_crossed(now, &peer, direction);
            if crossed && full {
                return Judgement::Refuse(Refusal::TooManyConnections);
            }
            let doubtful = going || direction == Direction::Inbound && !crossed;
            // The other end may not be connected yet by the one that it crossed, and wait for the
            // lists (D-49).
            return if doubtful { Judgement::Hold } else { Judgement::Proceed(crossed) };
        }
        match self.admit(peer) {
            Ok(()) => Judgement::Proceed(true),
            Err(refusal) => Judgement::Refuse(refusal),
        }
    }

    /// Whether a connection of the peer was made at the same time from the other end: ours is
    /// live, theirs may wait for what becomes of this link, and would not answer a probe.
    fn has_crossed(&self, now: Instant, peer: &PeerId, direction: Direction) -> bool {
        let links = self.peers.get(peer).map(|known| known.links.as_slice()).unwrap_or_default();
        links.iter().filter_map(|id| self.links.get(*id)).any(|link| {
            link.direction != direction && link.unsettled.is_some_and(|until| until > now)
        })
    }

    /// What speaks against a peer, whatever links it has.
    pub(super) fn objection(&self, peer: PeerId, expected: Option<PeerId>) -> Option<Refusal> {
        if self.stopping {
            return Some(Refusal::Stopping);
        }
        if peer == self.local {
            return Some(Refusal::OwnId);
        }
        if let Some(expected) = expected.filter(|expected| *expected != peer) {
            let [expected, actual] = [expected, peer].map(Box::new);
            return Some(Refusal::WrongPeer { expected, actual });
        }
        self.blacklist.blocks_peer(&peer).then_some(Refusal::Blocked)
    }

    /// A place for a peer that has no connection.
    pub(super) fn admit(&mut self, peer: PeerId) -> Result<(), Refusal> {
        let untold_max = self.config.peers_max.max(64);
        let untold = self.peers.len().saturating_sub(self.manager.len());
        if self.peers.get(&peer).is_none() && untold >= untold_max {
            return Err(Refusal::TooManyUntold);
        }
        let level = if self.supervisor.requires(&peer) { Level::High } else { Level::Low };
        self.manager.admit(peer, level)
    }

    /// Makes the level of a peer what it should be.
    pub(super) fn sync_level(&mut self, peer: &PeerId) {
        let level = if self.supervisor.requires(peer) { Level::High } else { Level::Low };
        self.manager.set_level(peer, level);
    }

    /// Whether a peer has a connection that is not closing.
    pub(super) fn is_connected(&self, peer: &PeerId) -> bool {
        let links = self.peers.get(peer).map(|known| known.links.as_slice());
        links.is_some_and(|links| links.iter().any(|id| !self.links.is_closing(*id)))
    }

    fn start_hold(&mut self, now: Instant, peer: PeerId) {
        let half = self.config.exchange_deadline.checked_div(2).unwrap_or_default();
        let until = now.after(self.config.probe_deadline.min(half));
        let Some(known) = self.peers.get_mut(&peer).filter(|known| known.hold.is_none()) else {
            return;
        };
        let silent = known.links.clone();
        known.hold = Some(Hold { until, silent: silent.clone() });
        self.peers.set_hold_timer(until, peer);
        for id in silent {
            if !self.links.is_closing(id) {
                self.links.order(id, ToConnection { probe: true, ..ToConnection::default() });
            }
        }
    }

    /// A connection has shown that its other end knows of it, or it is gone.
    pub(super) fn heard_of(&mut self, id: ConnectionId, peer: PeerId) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        let Some(hold) = &mut known.hold else { return };
        hold.silent.retain(|silent| *silent != id);
        if hold.silent.is_empty() {
            self.end_hold(peer, false);
        }
    }

    /// The links that waited get their verdict. If connections are still `in_doubt` the peer may
    /// have lost them, and does not know our protocols then.
    fn end_hold(&mut self, peer: PeerId, in_doubt: bool) {
        self.peers.drop_hold(&peer);
        let Some(known) = self.peers.get(&peer) else { return };
        let live = known.links.len();
        let held: SmallVec<[ConnectionId; 2]> =
            known.establishing.into_iter().chain(known.runner_up.as_ref().map(|r| r.id)).collect();
        if held.is_empty() {
            return;
        }
        let verdict = if self.stopping {
            Err(Refusal::Stopping)
        } else if live == 0 {
            self.admit(peer)
        } else if live < self.config.connections_per_peer_max {
            Ok(())
        } else {
            Err(Refusal::TooManyConnections)
        };
        for id in held {
            self.answer(
                id,
                match &verdict {
                    Ok(()) => Verdict::Proceed { exchange: live == 0 || in_doubt },
                    Err(refusal) => Verdict::Refuse(refusal.clone()),
                },
            );
        }
    }

    /// Connections that did not show in time that they are alive make room, if they have to.
    pub(super) fn holds_timeout(&mut self, now: Instant) {
        while let Some(peer) = self.peers.due_hold(now) {
            let live = self.peers.get(&peer).map_or(0, |known| known.links.len());
            if live < self.config.connections_per_peer_max {
                self.end_hold(peer, true);
                continue;
            }
            let hold = self.peers.get_mut(&peer).and_then(|known| known.hold.as_mut());
            let silent = hold.map(|hold| hold.silent.clone()).unwrap_or_default();
            for id in silent {
                self.links.close(id, CloseReason::Deadline(TimerKind::Probe));
            }
        }
    }

    /// Closes the links of a peer, in order unless it is blocked, also those that would go live
    /// a moment later.
    pub(super) fn close_peer(&mut self, peer: &PeerId, reason: &CloseReason) {
        let Some(known) = self.peers.get(peer) else { return };
        let connected = !known.links.is_empty();
        let mut links = known.links.clone();
        links.extend(known.establishing);
        links.extend(known.runner_up.as_ref().map(|second| second.id));
        for id in links {
            self.links.close(id, reason.clone());
        }
        if connected {
            self.manager.leaving(peer);
        }
    }
}
