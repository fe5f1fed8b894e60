//! Room that connections share: who has how much of it, and who is next.
//!
//! Each connection is sure of what every peer needs: a message of the greatest length, and
//! [`STREAMS_SURE`] streams with the window that a stream begins with. What it promises its peer
//! beyond that it leases, for one of three [purposes](Purpose): [`ByteLeases`] is the ledger of
//! the node, a [`ByteGate`] for each purpose the side of one connection, which decides from its
//! lease alone. They talk through the mailboxes, where what was granted and what was given back
//! adds up, so nothing depends on when a mailbox is delivered.
//!
//! ```text
//! ByteGate                               ByteLeases
//!   admit(len) -> false
//!   poll_request() -> n     --n-->         ask(connection, purpose, n)
//!   granted(n)             <--n--          poll_grant()
//!   release(len)
//!   poll_return() -> n      --n-->         give_back(connection, n)
//!   set_crowded(yes)       <-yes--         is_crowded_for(connection)
//!                                          end(connection): no more grants
//!   gone with its connection               close(connection)
//! ```
//!
//! States of a gate: it has asked, or it has not; others wait, or they do not. It asks when it
//! lacks something, once until that is granted, in whole steps; it gives back whole steps that
//! are not used, as soon as nothing of its own waits, and at once while others do.
//!
//! Under pressure windows stop to grow first: nothing is granted for that beyond half of the
//! bound. Then no more streams are let in: nothing is granted for these beyond three quarters. So
//! the last quarter is there for messages alone, which end, whereas streams and windows stay for
//! as long as their connection does.
//!
//! Invariants:
//! 1. the leases together never exceed the bound, and are what [`ByteLeases::leased`] says;
//! 2. a request is granted as a whole, and in turn among those of its purpose: nobody holds a part
//!    and waits for the rest, and a small request does not pass a large one for ever;
//! 3. what a gate has admitted never exceeds what it is sure of and its lease together;
//! 4. a message that may be received at all fits what its connection is sure of, so one who waits
//!    for a lease goes on without it as soon as its own messages are consumed;
//! 5. one message asks for no more than a quarter of the bound, so it waits for other messages
//!    only; and while it waits, what others' messages leave free goes back before they use it
//!    again.
//!
//! Bounds: an entry for each connection that has a lease, and one for each purpose that it waits
//! for.

mod gate;

use alloc::collections::BTreeMap;

pub use gate::ByteGate;

use crate::id::ConnectionId;

/// Leases for messages and for windows are made of whole steps of so many bytes.
pub const LEASE_STEP: usize = 1 << 20;

/// Receive streams that every connection is sure of: those that a peer begins with, and one for
/// its protocol lists.
pub const STREAMS_SURE: usize = 12;

/// What room is leased for, the most pressing first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Messages in assembly, beyond one.
    Messages,
    /// Receive streams, beyond [`STREAMS_SURE`].
    Streams,
    /// Windows that grow.
    Growth,
}

impl Purpose {
    /// Each of them, the most pressing first.
    pub const ALL: [Self; 3] = [Self::Messages, Self::Streams, Self::Growth];

    /// Up to how much may be leased in all, of `bound`, by a grant for this.
    #[must_use]
    pub const fn ceiling(self, bound: usize) -> usize {
        match self {
            Self::Messages => bound,
            Self::Streams => bound.saturating_sub(bound / 4),
            Self::Growth => bound / 2,
        }
    }

    /// The most that one request for this may be, of `bound`.
    #[must_use]
    pub const fn request_max(self, bound: usize) -> usize {
        match self {
            Self::Messages => bound / 4,
            Self::Streams | Self::Growth => self.ceiling(bound),
        }
    }
}

/// Bytes for each purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Room {
    /// For messages in assembly.
    pub messages: usize,
    /// For receive streams.
    pub streams: usize,
    /// For windows that grow.
    pub growth: usize,
}

impl Room {
    /// So much for one purpose.
    #[must_use]
    pub fn of(purpose: Purpose, bytes: usize) -> Self {
        match purpose {
            Purpose::Messages => Self { messages: bytes, ..Self::default() },
            Purpose::Streams => Self { streams: bytes, ..Self::default() },
            Purpose::Growth => Self { growth: bytes, ..Self::default() },
        }
    }

    /// The bytes for a purpose.
    #[must_use]
    pub const fn get(&self, purpose: Purpose) -> usize {
        match purpose {
            Purpose::Messages => self.messages,
            Purpose::Streams => self.streams,
            Purpose::Growth => self.growth,
        }
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            messages: self.messages.saturating_add(other.messages),
            streams: self.streams.saturating_add(other.streams),
            growth: self.growth.saturating_add(other.growth),
        }
    }

    /// The sum.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.messages.saturating_add(self.streams).saturating_add(self.growth)
    }
}

/// The ledger of a node; see the module.
///
/// ```
/// use headwater_core::id::ConnectionId;
/// use headwater_core::lease::{ByteLeases, Purpose};
///
/// let [one, two] = [0, 1].map(|index| ConnectionId { index, generation: 0 });
/// let mut leases = ByteLeases::new(40);
/// leases.ask(one, Purpose::Streams, 25);
/// leases.ask(two, Purpose::Streams, 10);
/// assert_eq!(leases.poll_grant(), Some((one, Purpose::Streams, 25)));
/// assert_eq!(leases.poll_grant(), None, "what is left is for messages");
/// leases.ask(two, Purpose::Messages, 10);
/// assert_eq!(leases.poll_grant(), Some((two, Purpose::Messages, 10)));
/// leases.give_back(one, 20);
/// assert_eq!(leases.poll_grant(), Some((two, Purpose::Streams, 10)));
/// assert_eq!((leases.leased(), leases.lease(two)), (25, 20));
/// ```
#[derive(Debug)]
pub struct ByteLeases {
    bound: usize,
    leased: usize,
    /// Never 0.
    leases: BTreeMap<ConnectionId, usize>,
    /// By purpose, and by the order in which they asked.
    waiting: BTreeMap<(Purpose, u64), (ConnectionId, usize)>,
    /// Where in `waiting` a connection stands.
    turns: BTreeMap<(ConnectionId, Purpose), u64>,
    next: u64,
    /// Who waited for messages when that was last asked.
    crowd: Crowd,
}

/// Who waits for room for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Crowd {
    Nobody,
    One(ConnectionId),
    Several,
}

impl ByteLeases {
    /// A ledger of `bound` bytes.
    #[must_use]
    pub const fn new(bound: usize) -> Self {
        Self {
            bound,
            leased: 0,
            leases: BTreeMap::new(),
            waiting: BTreeMap::new(),
            turns: BTreeMap::new(),
            next: 0,
            crowd: Crowd::Nobody,
        }
    }

    /// A connection asks for so many bytes more, and gets no more than
    /// [one request may be](Purpose::request_max). One that waits for that purpose already keeps
    /// its turn and what it asked for.
    pub fn ask(&mut self, connection: ConnectionId, purpose: Purpose, bytes: usize) {
        let bytes = bytes.min(purpose.request_max(self.bound));
        if bytes > 0 && !self.turns.contains_key(&(connection, purpose)) {
            self.turns.insert((connection, purpose), self.next);
            self.waiting.insert((purpose, self.next), (connection, bytes));
            self.next = self.next.wrapping_add(1);
        }
    }

    /// Takes the next grant, if there is room for one. O(log connections).
    pub fn poll_grant(&mut self) -> Option<(ConnectionId, Purpose, usize)> {
        Purpose::ALL.into_iter().find_map(|purpose| self.grant_first(purpose))
    }

    fn grant_first(&mut self, purpose: Purpose) -> Option<(ConnectionId, Purpose, usize)> {
        let (turn, connection, bytes) = self.waiting(purpose).next()?;
        let ceiling = purpose.ceiling(self.bound);
        self.leased = self.leased.checked_add(bytes).filter(|leased| *leased <= ceiling)?;
        self.waiting.remove(&(purpose, turn));
        self.turns.remove(&(connection, purpose));
        let lease = self.leases.entry(connection).or_default();
        *lease = lease.saturating_add(bytes);
        Some((connection, purpose, bytes))
    }

    fn waiting(&self, purpose: Purpose) -> impl Iterator<Item = (u64, ConnectionId, usize)> + '_ {
        let turns = self.waiting.range((purpose, 0)..=(purpose, u64::MAX));
        turns.map(|((_, turn), (connection, bytes))| (*turn, *connection, *bytes))
    }

    /// A connection needs so many bytes of its lease no longer.
    pub fn give_back(&mut self, connection: ConnectionId, bytes: usize) {
        let Some(lease) = self.leases.get_mut(&connection) else { return };
        let given = bytes.min(*lease);
        *lease = lease.saturating_sub(given);
        if *lease == 0 {
            self.leases.remove(&connection);
        }
        self.leased = self.leased.saturating_sub(given);
    }

    /// A connection has ended: its turns are gone. What it has leased it still holds.
    pub fn end(&mut self, connection: ConnectionId) {
        for purpose in Purpose::ALL {
            if let Some(turn) = self.turns.remove(&(connection, purpose)) {
                self.waiting.remove(&(purpose, turn));
            }
        }
    }

    /// A connection is done with: its lease and its turns are gone.
    pub fn close(&mut self, connection: ConnectionId) {
        self.end(connection);
        self.give_back(connection, usize::MAX);
    }

    /// Whether messages of others than this connection wait for room.
    #[must_use]
    pub fn is_crowded_for(&self, connection: ConnectionId) -> bool {
        self.waiting(Purpose::Messages).take(2).any(|(_, waits, _)| waits != connection)
    }

    /// Whether it may have changed since the last call for whom it is crowded.
    pub fn poll_crowd(&mut self) -> bool {
        let mut waiting = self.waiting(Purpose::Messages);
        let crowd = match (waiting.next(), waiting.next()) {
            (None, _) => Crowd::Nobody,
            (Some((_, connection, _)), None) => Crowd::One(connection),
            (Some(_), Some(_)) => Crowd::Several,
        };
        drop(waiting);
        core::mem::replace(&mut self.crowd, crowd) != crowd
    }

    /// The connections that have a lease, in the order of their ids.
    pub fn holders(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        self.leases.keys().copied()
    }

    /// What a connection has leased, in bytes.
    #[must_use]
    pub fn lease(&self, connection: ConnectionId) -> usize {
        self.leases.get(&connection).copied().unwrap_or(0)
    }

    /// Bytes that may be leased.
    #[must_use]
    pub const fn bound(&self) -> usize {
        self.bound
    }

    /// Bytes that are leased.
    #[must_use]
    pub const fn leased(&self) -> usize {
        self.leased
    }

    /// Checks the invariants of the module by a recount. For tests.
    #[doc(hidden)]
    pub fn assert_invariants(&self) {
        let sum: usize = self.leases.values().sum();
        assert_eq!(sum, self.leased);
        assert!(sum <= self.bound);
        assert!(self.leases.values().all(|lease| *lease > 0));
        assert_eq!(self.waiting.len(), self.turns.len());
        for ((purpose, turn), (connection, bytes)) in &self.waiting {
            assert_eq!(self.turns.get(&(*connection, *purpose)), Some(turn));
            assert!(*bytes <= purpose.request_max(self.bound));
        }
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
