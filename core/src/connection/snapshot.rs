//! What a connection knows of itself.

use alloc::vec::Vec;
use core::time::Duration;

use super::Connection;
use super::lifecycle::Phase;
use crate::pool::Outbox;
use crate::record::Note;
use crate::secure::SecureChannel;
use crate::snapshot::{Blockage, ConnectionSnapshot, ConnectionStage, Traffic};
use crate::time::Instant;

/// A carrier that takes nothing for so long stands still.
const STANDSTILL: Duration = Duration::from_secs(1);

impl<C: SecureChannel> Connection<C> {
    /// How it does, at `now` or at the latest time that it has seen. O(streams).
    ///
    /// What was accepted for it and it has not taken is not in it: see
    /// [`ConnectionSnapshot::add_waiting`].
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> ConnectionSnapshot {
        let at = self.clock.now().max(now);
        let mut traffic = self.lanes.traffic.clone();
        traffic.merge(&self.receiver.traffic);
        ConnectionSnapshot {
            id: self.id(),
            at,
            peer: self.channel.peer(),
            direction: self.setup.direction,
            remote: self.setup.remote,
            since: self.since,
            stage: self.stage(),
            rtt: self.outer.rtt(),
            streams: self.lanes.counts(),
            receive_streams: self.receiver.streams(),
            queued_bytes: self.lanes.load().queued_bytes,
            waiting_bytes: 0,
            output_bytes: self.framed.len().saturating_add(self.sealed.len()),
            inbox_bytes: self.receiver.inbox_held(),
            reserved_bytes: self.receiver.promises().messages.in_use(),
            leased_bytes: self.leased(),
            blocked: self.blocked(at),
            memory: self.memory(),
            counters: self.receiver.counters(self.counters),
            traffic,
            timers: self.deadlines().into_iter().flatten().collect(),
        }
    }

    /// Takes what was counted since the last report: messages that came before the end, and that
    /// were decoded when the application had taken earlier ones. It is for
    /// [`Node::handle_late`](crate::node::Node::handle_late), when the connection is done.
    pub fn take_late(&mut self) -> Traffic {
        self.note(|| Note::TakeLate);
        let mut late = Traffic::default();
        if self.told {
            late.take(&mut self.receiver.traffic);
        }
        late
    }

    const fn stage(&self) -> ConnectionStage {
        match self.phase {
            Phase::Handshake => ConnectionStage::Handshake,
            Phase::AwaitProven | Phase::Exchange | Phase::AwaitLive => ConnectionStage::Exchange,
            Phase::Live => ConnectionStage::Live,
            Phase::Draining(_) => ConnectionStage::Draining,
            Phase::Ending(_) => ConnectionStage::Ending,
        }
    }

    fn blocked(&self, now: Instant) -> Vec<Blockage> {
        let phase = match self.phase {
            Phase::Handshake => Some(Blockage::Handshake),
            Phase::AwaitProven | Phase::AwaitLive => Some(Blockage::Verdict),
            Phase::Exchange => Some(Blockage::Exchange),
            Phase::Live => None,
            Phase::Draining(_) | Phase::Ending(_) => Some(Blockage::Closing),
        };
        let live = self.phase.is_live();
        let (wants_credit, wants_streams) = self.lanes.wants(&self.uni);
        let no_credit =
            wants_credit || self.uni_stream.is_some_and(|stream| self.outer.credit(stream) == 0);
        [
            phase,
            self.standstill(now).map(|since| Blockage::Carrier { since }),
            (live && no_credit).then_some(Blockage::PeerReads),
            (live && wants_streams).then_some(Blockage::Streams),
            self.receiver.is_full().then_some(Blockage::Application),
            self.memory_at.map(|_| Blockage::Memory),
            self.receiver.waits_for_room().then_some(Blockage::Assembly),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Since when the carrier takes nothing of what there is, if that is for a while.
    fn standstill(&self, now: Instant) -> Option<Instant> {
        let left = self.carrier_deadline?.since(now);
        let waited = self.setup.config.send_deadline.saturating_sub(left);
        (waited >= STANDSTILL).then(|| now.before(waited))
    }
}

impl ConnectionSnapshot {
    /// Adds an outbox of the connection whose messages it has not taken yet.
    pub fn add_waiting(&mut self, outbox: &Outbox) {
        self.waiting_bytes = self.waiting_bytes.saturating_add(outbox.bytes());
        self.traffic.merge(outbox.traffic());
    }
}
