//! One connection.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::Traffic;
use crate::connection::Memory;
use crate::contract::{Deadline, Direction};
use crate::error::Offence;
use crate::id::{ConnectionId, PeerId};
use crate::pool::PoolCounts;
use crate::time::Instant;

/// How one link does.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConnectionSnapshot {
    /// Its name.
    pub id: ConnectionId,
    /// When this was true.
    pub at: Instant,
    /// Who the other end has proven to be.
    pub peer: Option<PeerId>,
    /// Who made it.
    pub direction: Direction,
    /// Its other end.
    pub remote: SocketAddr,
    /// When it began: the link was there.
    pub since: Instant,
    /// How far it is.
    pub stage: ConnectionStage,
    /// The round trip time, smoothed, once a ping was answered.
    pub rtt: Option<Duration>,
    /// Streams to send on.
    pub streams: PoolCounts,
    /// Streams that the peer has opened.
    pub receive_streams: usize,
    /// Bytes of messages that it has taken and not framed.
    pub queued_bytes: usize,
    /// Bytes of messages that were accepted and that it has not taken yet.
    pub waiting_bytes: usize,
    /// Bytes framed or sealed that the carrier has not taken.
    pub output_bytes: usize,
    /// Bytes of received messages that the application has not taken, or not returned.
    pub inbox_bytes: usize,
    /// Bytes that half-received messages, and those not yet returned, have reserved.
    pub reserved_bytes: usize,
    /// Bytes of the node's that it has leased, for these, for streams and for windows that grow.
    pub leased_bytes: usize,
    /// What keeps it from going on; nothing, if it is empty.
    pub blocked: Vec<Blockage>,
    /// What it holds, by place.
    pub memory: Memory,
    /// What it did.
    pub counters: Counters,
    /// Messages by protocol.
    pub traffic: Traffic,
    /// The deadlines that are set.
    pub timers: Vec<Deadline>,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionStage {
    /// The other end has to prove who it is.
    Handshake,
    /// It has; the protocols are exchanged.
    Exchange,
    /// Messages travel.
    Live,
    /// It closes: what was accepted leaves.
    Draining,
    /// It has ended; the other side is heard out.
    Ending,
}

/// What keeps a connection from going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Blockage {
    /// The peer has to prove who it is.
    Handshake,
    /// The protocols have to be exchanged.
    Exchange,
    /// The node has to say whether the peer is welcome.
    Verdict,
    /// The carrier takes nothing: the peer's machine or the network stands still.
    Carrier {
        /// Since when, to the second.
        since: Instant,
    },
    /// The peer gives no credit: its application does not read.
    PeerReads,
    /// Messages wait for a stream, and every stream that there may be is in use.
    Streams,
    /// Received messages wait for this application to take them, and no more are read.
    Application,
    /// Every receive buffer is pinned by messages that this application keeps.
    Memory,
    /// A large message waits until earlier ones have made room.
    Assembly,
    /// It closes.
    Closing,
}

/// What one connection did, or all of them together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Counters {
    /// Bytes that came, as the carrier had them.
    pub received_bytes: u64,
    /// Bytes that left, as the carrier took them.
    pub sent_bytes: u64,
    /// Times that bytes came.
    pub reads: u64,
    /// Times that the carrier took bytes.
    pub writes: u64,
    /// Deadlines that came.
    pub timeouts: u64,
    /// Messages that came for a protocol that is not registered; they were dropped (D-4).
    pub unknown: u64,
    /// Streams that were reset for what the peer did.
    pub offences: Offences,
}

impl Counters {
    /// The sum of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            received_bytes: self.received_bytes.saturating_add(other.received_bytes),
            sent_bytes: self.sent_bytes.saturating_add(other.sent_bytes),
            reads: self.reads.saturating_add(other.reads),
            writes: self.writes.saturating_add(other.writes),
            timeouts: self.timeouts.saturating_add(other.timeouts),
            unknown: self.unknown.saturating_add(other.unknown),
            offences: self.offences.and(other.offences),
        }
    }
}

/// Streams that were reset for what the peer did on them, by the kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Offences {
    /// See [`Offence::Package`].
    pub package: u64,
    /// See [`Offence::Gzip`].
    pub gzip: u64,
    /// See [`Offence::Streams`].
    pub streams: u64,
    /// See [`Offence::Push`].
    pub push: u64,
    /// See [`Offence::Progress`].
    pub progress: u64,
    /// See [`Offence::Misplaced`].
    pub misplaced: u64,
}

impl Offences {
    /// Counts one more.
    pub(crate) const fn count(&mut self, what: Offence) {
        let counter = match what {
            Offence::Package => &mut self.package,
            Offence::Gzip => &mut self.gzip,
            Offence::Streams => &mut self.streams,
            Offence::Push => &mut self.push,
            Offence::Progress => &mut self.progress,
            Offence::Misplaced => &mut self.misplaced,
        };
        *counter = counter.saturating_add(1);
    }

    /// Each kind with its count.
    #[must_use]
    pub const fn each(&self) -> [(Offence, u64); 6] {
        [
            (Offence::Package, self.package),
            (Offence::Gzip, self.gzip),
            (Offence::Streams, self.streams),
            (Offence::Push, self.push),
            (Offence::Progress, self.progress),
            (Offence::Misplaced, self.misplaced),
        ]
    }

    const fn and(self, other: Self) -> Self {
        Self {
            package: self.package.saturating_add(other.package),
            gzip: self.gzip.saturating_add(other.gzip),
            streams: self.streams.saturating_add(other.streams),
            push: self.push.saturating_add(other.push),
            progress: self.progress.saturating_add(other.progress),
            misplaced: self.misplaced.saturating_add(other.misplaced),
        }
    }
}
