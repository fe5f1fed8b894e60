//! How many streams a peer may open towards us (spec section 6), over all its connections.
//!
//! The limit belongs to the peer, the streams to its connections, and each connection decides
//! alone whether a stream is served. So the limit is leased: [`ReceiveStreams`] is the ledger of
//! who was granted how much, [`StreamGate`] is one connection's lease and what it uses of it.
//!
//! ```text
//! ReceiveStreams                         StreamGate
//!   grant(peer, connection, want)  --n-->  extend(n)
//!                                          admit() for each stream that the peer opens
//!                                          release() for each that ends
//!   give_up(connection, n)         <--n--  give_up(n)
//!   close_connection(connection)           dropped with its connection
//! ```
//!
//! Invariants (D-32):
//! 1. the leases of a peer's connections never exceed the limit together, unless the limit was
//!    lowered below them; then nothing is granted until they fit;
//! 2. no entry of the ledger is zero, so a peer without leases is not in it;
//! 3. a gate never admits a stream beyond its lease, and a refused stream changes nothing, so
//!    the count is always that of the admitted streams that live;
//! 4. hence the streams of a peer never exceed the limit either.
//!
//! Bounds: one entry for each connection that holds a lease. Only connections that the node
//! accepted ask for one.

use alloc::collections::BTreeMap;
use core::fmt;

use crate::id::{ConnectionId, PeerId};

/// A limit of 0, under which no peer could send anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZeroLimit;

impl fmt::Display for ZeroLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the limit of receive streams must be above 0")
    }
}

impl core::error::Error for ZeroLimit {}

/// The leases of one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    streams: u32,
    connections: u32,
}

/// The ledger of leases: which connection of which peer may have how many receive streams.
///
/// ```
/// use headwater_core::id::{ConnectionId, PeerId};
/// use headwater_core::receive::{ReceiveStreams, StreamGate};
///
/// let peer: PeerId = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse().unwrap();
/// let [one, two] = [0, 1].map(|index| ConnectionId { index, generation: 0 });
/// let mut ledger = ReceiveStreams::new(100)?;
/// assert_eq!(ledger.grant(peer, one, 80), 80);
/// assert_eq!(ledger.grant(peer, two, 80), 20);
/// assert_eq!(ledger.close_connection(one), 80);
/// assert_eq!(ledger.count(&peer), 20);
/// # Ok::<(), headwater_core::receive::ZeroLimit>(())
/// ```
#[derive(Debug)]
pub struct ReceiveStreams {
    limit: u32,
    /// Connections that a peer may have, and what is kept for each one that it has not.
    connections_max: u32,
    reserve: u32,
    /// The leases of a peer together; never 0.
    peers: BTreeMap<PeerId, Sum>,
    /// Whose connection it is, and its lease; never 0.
    leases: BTreeMap<ConnectionId, (PeerId, u32)>,
}

impl ReceiveStreams {
    /// A ledger in which each peer may have `limit` streams.
    ///
    /// # Errors
    ///
    /// [`ZeroLimit`].
    pub const fn new(limit: u32) -> Result<Self, ZeroLimit> {
        if limit == 0 {
            return Err(ZeroLimit);
        }
        let connections_max = 1;
        Ok(Self {
            limit,
            connections_max,
            reserve: 0,
            peers: BTreeMap::new(),
            leases: BTreeMap::new(),
        })
    }

    /// Keeps `reserve` streams for each connection that a peer may have and has not, when
    /// another of its connections asks for more: else the first one could leave nothing to the
    /// next, whose streams would all be refused.
    #[must_use]
    pub fn with_reserve(self, connections_max: u32, reserve: u32) -> Self {
        Self { connections_max, reserve, ..self }
    }

    /// Adds up to `want` streams to the lease of a connection; gives what was granted, which is
    /// less, or 0, when the peer's limit is near.
    ///
    /// A connection belongs to the peer that it was first granted for; 0 for any other.
    pub fn grant(&mut self, peer: PeerId, connection: ConnectionId, want: u32) -> u32 {
        if self.leases.get(&connection).is_some_and(|(owner, _)| *owner != peer) {
            return 0;
        }
        let granted = want.min(self.left(&peer));
        if granted > 0 {
            let sum = self.peers.entry(peer).or_default();
            let (_, lease) = self.leases.entry(connection).or_insert_with(|| {
                sum.connections = sum.connections.saturating_add(1);
                (peer, 0)
            });
            *lease = lease.saturating_add(granted);
            sum.streams = sum.streams.saturating_add(granted);
        }
        granted
    }

    /// As [`ReceiveStreams::grant`], for a connection that asks for more than it began with: what
    /// is kept for others is not given.
    pub fn extend(&mut self, peer: PeerId, connection: ConnectionId, want: u32) -> u32 {
        let there = self.peers.get(&peer).map_or(0, |sum| sum.connections);
        let there = there.saturating_add(u32::from(!self.leases.contains_key(&connection)));
        let kept = self.connections_max.saturating_sub(there).saturating_mul(self.reserve);
        let want = want.min(self.left(&peer).saturating_sub(kept));
        self.grant(peer, connection, want)
    }

    /// Takes back part of a lease that a connection does not use; gives how much it had of that.
    pub fn give_up(&mut self, connection: ConnectionId, streams: u32) -> u32 {
        let Some((peer, lease)) = self.leases.get_mut(&connection) else { return 0 };
        let given = streams.min(*lease);
        *lease = lease.saturating_sub(given);
        let (peer, empty) = (*peer, *lease == 0);
        if empty {
            self.leases.remove(&connection);
        }
        self.subtract(peer, given, empty);
        given
    }

    /// Ends the lease of a connection, and gives how much it was.
    pub fn close_connection(&mut self, connection: ConnectionId) -> u32 {
        let Some((peer, lease)) = self.leases.remove(&connection) else { return 0 };
        self.subtract(peer, lease, true);
        lease
    }

    /// Changes the limit for all peers. What was granted above a lower one stays granted until
    /// it is given up; see [`ReceiveStreams::excess`].
    ///
    /// # Errors
    ///
    /// [`ZeroLimit`]; the limit is as before.
    pub const fn set_limit(&mut self, limit: u32) -> Result<(), ZeroLimit> {
        if limit == 0 {
            return Err(ZeroLimit);
        }
        self.limit = limit;
        Ok(())
    }

    /// Streams that each peer may have.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// Streams leased to the peer's connections; 0 for an unknown one.
    #[must_use]
    pub fn count(&self, peer: &PeerId) -> u32 {
        self.peers.get(peer).map_or(0, |sum| sum.streams)
    }

    /// Streams that can still be granted to the peer's connections.
    #[must_use]
    pub fn left(&self, peer: &PeerId) -> u32 {
        self.limit.saturating_sub(self.count(peer))
    }

    /// Streams leased to the peer's connections above a limit that was lowered.
    #[must_use]
    pub fn excess(&self, peer: &PeerId) -> u32 {
        self.count(peer).saturating_sub(self.limit)
    }

    /// The lease of a connection; 0 for an unknown one.
    #[must_use]
    pub fn lease(&self, connection: ConnectionId) -> u32 {
        self.leases.get(&connection).map_or(0, |(_, lease)| *lease)
    }

    /// All connections with a lease, in the order of their ids, with their peers and leases.
    pub fn leases(&self) -> impl Iterator<Item = (ConnectionId, PeerId, u32)> + '_ {
        self.leases.iter().map(|(connection, (peer, lease))| (*connection, *peer, *lease))
    }

    /// Forgets all leases; the limit stays.
    pub fn reset(&mut self) {
        self.peers.clear();
        self.leases.clear();
    }

    fn subtract(&mut self, peer: PeerId, streams: u32, gone: bool) {
        let Some(sum) = self.peers.get_mut(&peer) else { return };
        sum.streams = sum.streams.saturating_sub(streams);
        sum.connections = sum.connections.saturating_sub(u32::from(gone));
        if sum.streams == 0 {
            self.peers.remove(&peer);
        }
    }

    /// Checks the invariants of the module by a recount. For tests.
    #[doc(hidden)]
    pub fn assert_invariants(&self) {
        let mut recount: BTreeMap<PeerId, Sum> = BTreeMap::new();
        for (_, peer, lease) in self.leases() {
            assert!(lease > 0);
            let sum = recount.entry(peer).or_default();
            sum.streams = sum.streams.saturating_add(lease);
            sum.connections = sum.connections.saturating_add(1);
        }
        assert_eq!(recount, self.peers);
    }
}

/// What to do with a stream that the peer opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a refused stream has to be reset"]
pub enum Admission {
    /// Accept and serve it.
    Admit,
    /// Reset it at once, and never serve it (D-30, D-31).
    Refuse,
}

/// One connection's lease of receive streams, and how many of it are in use.
///
/// A lease is extended in steps before it is used up, with at most one request under way. After
/// a request that was not granted in full the gate asks again only when it had to refuse a
/// stream. A node whose peers have one connection each leases the whole limit at once, and the
/// gate never asks.
///
/// ```
/// use headwater_core::receive::{Admission, StreamGate};
///
/// let mut gate = StreamGate::new(10);
/// gate.extend(2);
/// assert_eq!([gate.admit(), gate.admit()], [Admission::Admit; 2]);
/// assert_eq!(gate.admit(), Admission::Refuse);
/// gate.release();
/// assert_eq!((gate.in_use(), gate.left()), (1, 1));
/// ```
#[derive(Clone, Debug)]
pub struct StreamGate {
    step: u32,
    lease: u32,
    in_use: u32,
    refused: u64,
    request: Request,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    /// To be made when at most half a step is left.
    Due,
    UnderWay,
    /// Not made again until a stream is refused.
    Declined,
}

impl StreamGate {
    /// A gate without a lease, which asks for `step` streams at a time; 0 never asks.
    #[must_use]
    pub const fn new(step: u32) -> Self {
        Self { step, lease: 0, in_use: 0, refused: 0, request: Request::Due }
    }

    /// Decides about a stream that the peer opened; a refused one changes no count of streams.
    pub fn admit(&mut self) -> Admission {
        if self.left() == 0 {
            self.refused = self.refused.saturating_add(1);
            if self.request == Request::Declined {
                self.request = Request::Due;
            }
            return Admission::Refuse;
        }
        self.in_use = self.in_use.saturating_add(1);
        Admission::Admit
    }

    /// An admitted stream ended. One call too many does nothing.
    pub const fn release(&mut self) {
        self.in_use = self.in_use.saturating_sub(1);
    }

    /// How many streams to ask the ledger for, if it is time; answer with
    /// [`StreamGate::extend`], or with 0 if none is to be had.
    pub fn poll_request(&mut self) -> Option<u32> {
        if self.request != Request::Due || self.step == 0 || self.left() > self.step / 2 {
            return None;
        }
        self.request = Request::UnderWay;
        Some(self.step)
    }

    /// The ledger granted so many streams, asked for or not.
    pub fn extend(&mut self, granted: u32) {
        self.lease = self.lease.saturating_add(granted);
        if self.request == Request::UnderWay {
            self.request = if granted < self.step { Request::Declined } else { Request::Due };
        }
    }

    /// Gives up to `streams` of the unused part of the lease back; tells how many those were.
    pub fn give_up(&mut self, streams: u32) -> u32 {
        let given = streams.min(self.left());
        self.lease = self.lease.saturating_sub(given);
        given
    }

    /// Streams that may still be admitted.
    #[must_use]
    pub const fn left(&self) -> u32 {
        self.lease.saturating_sub(self.in_use)
    }

    /// Streams that were admitted and live.
    #[must_use]
    pub const fn in_use(&self) -> u32 {
        self.in_use
    }

    /// Streams that may live at once.
    #[must_use]
    pub const fn lease(&self) -> u32 {
        self.lease
    }

    /// Streams refused so far.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
#[path = "receive_tests.rs"]
mod tests;
