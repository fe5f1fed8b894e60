//! What Node and a Connection tell each other: two mailboxes, at most one of each kind inside.
//!
//! They carry the latest state and no history, so an adapter can keep each in one slot and fold a
//! later one into an earlier one that was not delivered yet: nothing ever waits for room.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::config::Config;
use crate::contract::Direction;
use crate::error::{CloseReason, Refusal, UndeliveredReason};
use crate::id::{ConnectionId, PeerId, ProtocolId};
use crate::lease::Room;
use crate::pool::Load;
use crate::protocol::ProtocolSet;
use crate::record::Recorder;
use crate::seed::Seed;
use crate::snapshot::{Counters, Traffic};

use super::Parcel;

/// Everything that a connection needs to begin.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Setup {
    /// Its name.
    pub connection: ConnectionId,
    /// Who made it.
    pub direction: Direction,
    /// The id that the dialled address named.
    pub expected: Option<PeerId>,
    /// Its other end.
    pub remote: SocketAddr,
    pub(crate) local: PeerId,
    pub(crate) config: Arc<Config>,
    pub(crate) seed: Seed,
    /// Where the connection notes what happens to it.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) recorder: Option<Arc<dyn Recorder>>,
}

/// What a connection tells Node.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ToNode {
    pub(crate) proven: Option<PeerId>,
    pub(crate) exchanged: Option<ProtocolSet>,
    /// Established without an exchange.
    pub(crate) ready: bool,
    pub(crate) learned: Option<ProtocolSet>,
    pub(crate) push_answered: Option<u64>,
    pub(crate) push_failed: Option<u64>,
    /// Given when one more connection would help.
    pub(crate) load: Option<Load>,
    pub(crate) streams_wanted: Option<u32>,
    /// Of what connections share: so much more, and so many bytes fewer.
    pub(crate) room_wanted: Room,
    pub(crate) bytes_returned: usize,
    /// The other end has answered a probe.
    pub(crate) alive: bool,
    /// The other end has gone live, too.
    pub(crate) settled: bool,
    pub(crate) undelivered: Tally,
    pub(crate) closed: Option<Box<Closed>>,
}

/// How a connection ended.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Closed {
    pub(crate) reason: CloseReason,
    /// Messages of which no byte was framed.
    pub(crate) leftover: Vec<Parcel>,
    /// What it did in its life.
    pub(crate) traffic: Traffic,
    pub(crate) counters: Counters,
}

impl Closed {
    /// An end that leaves nothing behind.
    pub(crate) fn of(reason: CloseReason) -> Self {
        let (traffic, counters) = (Traffic::default(), Counters::default());
        Self { reason, leftover: Vec::new(), traffic, counters }
    }
}

impl Setup {
    /// The same, for a connection that notes what happens to it.
    #[must_use]
    pub fn with_recorder(self, recorder: Option<Arc<dyn Recorder>>) -> Self {
        Self { recorder, ..self }
    }

    /// The configuration that it comes with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }
}

impl ToNode {
    /// Whether the connection has ended and reports nothing more.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        self.closed.is_some()
    }

    /// Whether Node makes a new route of it. Where Node is another task, messages that came after
    /// it wait until that is in place, so that whoever reads one can answer it.
    #[must_use]
    pub const fn changes_route(&self) -> bool {
        self.learned.is_some()
    }

    /// Replaces what messages in it say by zeros.
    pub(crate) fn blank(&mut self) {
        if let Some(closed) = &mut self.closed {
            closed.leftover.iter_mut().for_each(Parcel::blank);
        }
    }

    /// Folds a later mailbox into this one, which was not delivered yet.
    pub fn merge(&mut self, later: Self) {
        replace(&mut self.proven, later.proven);
        replace(&mut self.exchanged, later.exchanged);
        replace(&mut self.learned, later.learned);
        replace(&mut self.push_answered, later.push_answered);
        replace(&mut self.push_failed, later.push_failed);
        self.ready |= later.ready;
        self.alive |= later.alive;
        self.settled |= later.settled;
        replace(&mut self.load, later.load);
        replace(&mut self.streams_wanted, later.streams_wanted);
        self.room_wanted = self.room_wanted.and(later.room_wanted);
        self.bytes_returned = self.bytes_returned.saturating_add(later.bytes_returned);
        self.undelivered.merge(later.undelivered);
        replace(&mut self.closed, later.closed);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.proven.is_none()
            && self.exchanged.is_none()
            && self.learned.is_none()
            && self.push_answered.is_none()
            && self.push_failed.is_none()
            && !self.ready
            && !self.alive
            && !self.settled
            && self.load.is_none()
            && self.streams_wanted.is_none()
            && self.room_wanted.total() == 0
            && self.bytes_returned == 0
            && self.undelivered.is_empty()
            && self.closed.is_none()
    }
}

/// What Node tells a connection.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ToConnection {
    pub(crate) proven_verdict: Option<Verdict>,
    pub(crate) live_verdict: Option<Verdict>,
    pub(crate) ours: Option<ProtocolSet>,
    pub(crate) push: Option<u64>,
    pub(crate) streams_granted: Option<u32>,
    /// Node's answer to `room_wanted`.
    pub(crate) room_granted: Room,
    /// Whether messages of other connections wait for room.
    pub(crate) crowded: Option<bool>,
    pub(crate) adopt: Vec<Parcel>,
    /// Find out, and report, whether the other end still knows of this connection.
    pub(crate) probe: bool,
    pub(crate) close: Option<CloseReason>,
}

/// Node's answer at a verdict point.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Verdict {
    /// Go on. At the first point: whether to exchange protocols first.
    Proceed { exchange: bool },
    /// End.
    Refuse(Refusal),
}

impl ToConnection {
    /// Replaces what messages in it say by zeros.
    pub(crate) fn blank(&mut self) {
        self.adopt.iter_mut().for_each(Parcel::blank);
    }

    /// Folds a later mailbox into this one, which was not delivered yet.
    pub fn merge(&mut self, later: Self) {
        replace(&mut self.proven_verdict, later.proven_verdict);
        replace(&mut self.live_verdict, later.live_verdict);
        replace(&mut self.ours, later.ours);
        replace(&mut self.push, later.push);
        // Each is so many more.
        if let Some(more) = later.streams_granted {
            let earlier = self.streams_granted.unwrap_or(0);
            self.streams_granted = Some(earlier.saturating_add(more));
        }
        self.room_granted = self.room_granted.and(later.room_granted);
        replace(&mut self.crowded, later.crowded);
        self.adopt.extend(later.adopt);
        self.probe |= later.probe;
        // The first reason to close is the real one.
        if self.close.is_none() {
            self.close = later.close;
        }
    }

    /// Sends back what is in a mailbox that its connection did not take before its end.
    ///
    /// Messages that were moved to it go into `report`: with a final one they move on to another
    /// connection of the peer, with any other they are counted as undelivered.
    pub fn send_back(self, report: &mut ToNode) {
        match &mut report.closed {
            Some(closed) => closed.leftover.extend(self.adopt),
            None => {
                for parcel in self.adopt {
                    parcel.count(UndeliveredReason::ConnectionLost, &mut report.undelivered);
                }
            }
        }
    }
}

fn replace<T>(slot: &mut Option<T>, later: Option<T>) {
    if later.is_some() {
        *slot = later;
    }
}

/// Messages given up, counted by protocol and reason.
///
/// Bound: one entry for each protocol and reason, that is three times what we send with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Tally {
    entries: Vec<TallyEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct TallyEntry {
    pub(crate) protocol: ProtocolId,
    pub(crate) reason: UndeliveredReason,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl Tally {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Counts one message more, or several of one protocol.
    pub(crate) fn add(
        &mut self,
        protocol: &str,
        reason: UndeliveredReason,
        messages: u64,
        bytes: u64,
    ) {
        let mut entries = self.entries.iter_mut();
        let same = |e: &&mut TallyEntry| e.reason == reason && e.protocol.as_str() == protocol;
        if let Some(entry) = entries.find(same) {
            entry.messages = entry.messages.saturating_add(messages);
            entry.bytes = entry.bytes.saturating_add(bytes);
        } else if let Ok(protocol) = ProtocolId::new(protocol) {
            self.entries.push(TallyEntry { protocol, reason, messages, bytes });
        }
    }

    pub(crate) fn entries(&self) -> &[TallyEntry] {
        &self.entries
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for entry in other.entries {
            self.add(entry.protocol.as_str(), entry.reason, entry.messages, entry.bytes);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<TallyEntry> {
        if self.entries.is_empty() { None } else { Some(self.entries.remove(0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_report_replaces_state_and_adds_to_counts() {
        let mut first = ToNode { push_answered: Some(1), ..ToNode::default() };
        first.undelivered.add("/a", UndeliveredReason::Deadline, 1, 10);
        let mut second = ToNode { push_answered: Some(2), ready: true, ..ToNode::default() };
        second.undelivered.add("/a", UndeliveredReason::Deadline, 2, 5);
        second.undelivered.add("/a", UndeliveredReason::StreamReset, 1, 1);
        first.merge(second);
        assert_eq!(first.push_answered, Some(2));
        assert!(first.ready);
        let entry = first.undelivered.pop().unwrap();
        assert_eq!((entry.messages, entry.bytes), (3, 15));
        assert!(first.undelivered.pop().is_some());
        assert!(first.undelivered.pop().is_none());
    }

    #[test]
    fn streams_that_were_granted_add_up() {
        let granted = |streams| ToConnection { streams_granted: streams, ..Default::default() };
        let mut first = granted(Some(12));
        first.merge(granted(Some(0)));
        first.merge(granted(None));
        first.merge(granted(Some(3)));
        assert_eq!(first.streams_granted, Some(15));
    }

    #[test]
    fn the_first_reason_to_close_stays() {
        let mut first = ToConnection { close: Some(CloseReason::Requested), ..Default::default() };
        first.merge(ToConnection { close: Some(CloseReason::Stopping), ..Default::default() });
        assert_eq!(first.close, Some(CloseReason::Requested));
    }
}
