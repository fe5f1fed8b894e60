//! Room for messages in assembly that connections share: who has how much of it, and who is next.
//!
//! A message longer than the window of its stream reserves its length before it gets more credit.
//! Each connection is sure of room for one message of the greatest length. What it reserves beyond
//! that it leases: [`ByteLeases`] is the ledger of the node, [`ByteGate`] the side of one
//! connection, which decides from its lease alone. They talk through the mailboxes, where what was
//! granted and what was given back adds up, so nothing depends on when a mailbox is delivered.
//!
//! ```text
//! ByteGate                               ByteLeases
//!   admit(len) -> false
//!   poll_request() -> n     --n-->         ask(connection, n)
//!   granted(n)             <--n--          poll_grant()
//!   release(len)
//!   poll_return() -> n      --n-->         give_back(connection, n)
//!   gone with its connection               close(connection)
//! ```
//!
//! States of a gate: it has asked, or it has not. It asks when a message does not fit, once for
//! what that one lacks, in whole steps; it gives back whole steps as soon as nothing waits and
//! they are not used.
//!
//! Invariants:
//! 1. the leases together never exceed the bound, and are what [`ByteLeases::leased`] says;
//! 2. a request is granted as a whole, and in turn: nobody holds a part and waits for the rest,
//!    and a small request does not pass a large one for ever;
//! 3. what a gate has admitted never exceeds what it is sure of and its lease together;
//! 4. a message that may be received at all fits what its connection is sure of, so one who waits
//!    for a lease goes on without it as soon as its own messages are consumed.
//!
//! Bounds: an entry for each connection that has a lease, and one for each that waits.

use alloc::collections::BTreeMap;

use crate::id::ConnectionId;

/// Leases are made of whole steps of so many bytes.
pub const LEASE_STEP: usize = 1 << 20;

/// The ledger of a node; see the module.
///
/// ```
/// use headwater_core::id::ConnectionId;
/// use headwater_core::lease::ByteLeases;
///
/// let [one, two] = [0, 1].map(|index| ConnectionId { index, generation: 0 });
/// let mut leases = ByteLeases::new(10);
/// leases.ask(one, 8);
/// leases.ask(two, 4);
/// assert_eq!(leases.poll_grant(), Some((one, 8)));
/// assert_eq!(leases.poll_grant(), None);
/// leases.give_back(one, 3);
/// assert_eq!(leases.poll_grant(), Some((two, 4)));
/// assert_eq!(leases.leased(), 9);
/// ```
#[derive(Debug)]
pub struct ByteLeases {
    bound: usize,
    leased: usize,
    /// Never 0.
    leases: BTreeMap<ConnectionId, usize>,
    /// By the order in which they asked.
    waiting: BTreeMap<u64, (ConnectionId, usize)>,
    /// Where in `waiting` a connection stands.
    turns: BTreeMap<ConnectionId, u64>,
    next: u64,
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
        }
    }

    /// A connection asks for so many bytes more; of more than the bound it gets that. One that
    /// waits already keeps its turn and what it asked for.
    pub fn ask(&mut self, connection: ConnectionId, bytes: usize) {
        if bytes > 0 && !self.turns.contains_key(&connection) {
            self.turns.insert(connection, self.next);
            self.waiting.insert(self.next, (connection, bytes.min(self.bound)));
            self.next = self.next.wrapping_add(1);
        }
    }

    /// Takes the next grant, if there is room for it. O(log connections).
    pub fn poll_grant(&mut self) -> Option<(ConnectionId, usize)> {
        let (turn, (connection, bytes)) = self.waiting.first_key_value()?;
        let (turn, connection, bytes) = (*turn, *connection, *bytes);
        let leased = self.leased.checked_add(bytes).filter(|leased| *leased <= self.bound)?;
        self.waiting.remove(&turn);
        self.turns.remove(&connection);
        self.leased = leased;
        let lease = self.leases.entry(connection).or_default();
        *lease = lease.saturating_add(bytes);
        Some((connection, bytes))
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

    /// A connection has ended: its lease and its turn are gone.
    pub fn close(&mut self, connection: ConnectionId) {
        self.give_back(connection, usize::MAX);
        if let Some(turn) = self.turns.remove(&connection) {
            self.waiting.remove(&turn);
        }
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
        for (turn, (connection, bytes)) in &self.waiting {
            assert_eq!(self.turns.get(connection), Some(turn));
            assert!(*bytes <= self.bound);
        }
    }
}

/// What one connection has admitted, and may admit; see the module.
///
/// ```
/// use headwater_core::lease::{ByteGate, LEASE_STEP};
///
/// let mut gate = ByteGate::new(100, 4 * LEASE_STEP);
/// assert!(gate.admit(80) && !gate.admit(30));
/// assert_eq!(gate.poll_request(), Some(LEASE_STEP));
/// gate.granted(LEASE_STEP);
/// assert!(gate.admit(30));
/// gate.release(80);
/// assert_eq!(gate.poll_return(), Some(LEASE_STEP));
/// ```
#[derive(Clone, Debug)]
pub struct ByteGate {
    /// Bytes that are there without a lease, and the most that may be leased.
    base: usize,
    lease_max: usize,
    lease: usize,
    in_use: usize,
    /// What the message lacks that was refused last, in whole steps; 0 if none was since.
    lacking: usize,
    has_asked: bool,
}

impl ByteGate {
    /// A gate that is sure of `base` bytes and may lease up to `lease_max`.
    #[must_use]
    pub const fn new(base: usize, lease_max: usize) -> Self {
        Self { base, lease_max, lease: 0, in_use: 0, lacking: 0, has_asked: false }
    }

    /// Admits `len` bytes if there is room for them; if not it is the turn of these, and nothing
    /// is given back before they fit or [`ByteGate::forget`].
    pub fn admit(&mut self, len: usize) -> bool {
        let (wanted, room) = (self.in_use.saturating_add(len), self.room());
        if wanted <= room {
            self.in_use = wanted;
            self.lacking = 0;
            return true;
        }
        let lacking = wanted.saturating_sub(room);
        let may_have = self.lease_max.saturating_sub(self.lease);
        // Where even all that may be leased is not enough, some of its own has to go first.
        self.lacking = if lacking <= may_have {
            lacking.div_ceil(LEASE_STEP).saturating_mul(LEASE_STEP).min(may_have)
        } else {
            0
        };
        false
    }

    /// Nothing waits any more.
    pub const fn forget(&mut self) {
        self.lacking = 0;
    }

    /// Bytes that were admitted are gone.
    pub const fn release(&mut self, len: usize) {
        self.in_use = self.in_use.saturating_sub(len);
    }

    /// Takes what to ask the ledger for, once until it is [granted](ByteGate::granted).
    pub const fn poll_request(&mut self) -> Option<usize> {
        if self.lacking == 0 || self.has_asked {
            return None;
        }
        self.has_asked = true;
        Some(self.lacking)
    }

    /// The ledger has granted what was asked for.
    pub const fn granted(&mut self, bytes: usize) {
        self.lease = self.lease.saturating_add(bytes);
        self.has_asked = false;
    }

    /// Takes what goes back to the ledger: whole steps that are not in use, while nothing waits.
    pub fn poll_return(&mut self) -> Option<usize> {
        if self.lease == 0 || self.lacking > 0 {
            return None;
        }
        let needed = self.in_use.saturating_sub(self.base).div_ceil(LEASE_STEP);
        let given = self.lease.saturating_sub(needed.saturating_mul(LEASE_STEP));
        self.lease = self.lease.saturating_sub(given);
        (given > 0).then_some(given)
    }

    /// Bytes that are admitted.
    #[must_use]
    pub const fn in_use(&self) -> usize {
        self.in_use
    }

    /// Bytes that may be admitted at a time, as the lease is now.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.base.saturating_add(self.lease)
    }

    /// Bytes that it has leased.
    #[must_use]
    pub const fn lease(&self) -> usize {
        self.lease
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
