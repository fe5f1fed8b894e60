//! All connections of all peers with their loads (spec 5.2), and the wish for one more (5.3).
//!
//! The node tells it of connections that come and go, of the peers' protocols, and of loads; it
//! makes the [`Route`] of each peer, says how many send streams each connection may have, and
//! names the peers that need one more connection.
//!
//! A wish is made when the connection that would be picked is hot and the peer may have another
//! one. It is given out once, by [`PoolManager::poll_wanted`], and made again only after
//! [`PoolManager::answered`] and a pause: each peer has a slot of its own (D-56).
//!
//! Invariants:
//! 1. a connection belongs to one peer, and a peer without connections is not known;
//! 2. the generation of a peer's route grows with every change, also after the peer was
//!    forgotten and came back;
//! 3. at most one wish per peer is waiting or unanswered;
//! 4. the stream caps of a peer's connections are at most `streams_per_peer` together, or 1 each.
//!
//! Bounds: one entry for each connection that the node accepted. Looking for the best connection
//! of a peer and rebuilding its route are linear in its connections.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::route::{Entry, Load, Route};
use crate::id::{ConnectionId, PeerId};
use crate::protocol::ProtocolSet;
use crate::time::{Clamp, Instant};

/// Sizes and waits of a [`PoolManager`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManagerConfig {
    /// Connections that a peer may have; none is wished for beyond it. 0 counts as 1.
    pub connections_per_peer: usize,
    /// Send streams that all connections of a peer may have together.
    pub streams_per_peer: usize,
    /// The pause between a wish that was fulfilled and the next one for the same peer; twice as
    /// long after each one in a row that was not, up to 16 times.
    pub ask_again: Duration,
}

impl Default for ManagerConfig {
    /// 1 connection, 100 streams, 5 s.
    fn default() -> Self {
        Self { connections_per_peer: 1, streams_per_peer: 100, ask_again: Duration::from_secs(5) }
    }
}

/// A call that does not fit what the manager knows; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManagerError {
    /// The connection is there already, with this peer or another.
    ConnectionExists,
    /// There is no such connection.
    ConnectionUnknown,
    /// The peer has no connection.
    PeerUnknown,
}

impl fmt::Display for ManagerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConnectionExists => "the connection is there already",
            Self::ConnectionUnknown => "there is no such connection",
            Self::PeerUnknown => "the peer has no connection",
        })
    }
}

impl core::error::Error for ManagerError {}

/// A connection that left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed<H> {
    /// Whose it was.
    pub peer: PeerId,
    /// What it was added with.
    pub handle: H,
    /// Whether it was the peer's last: its protocols are forgotten (spec 4.3).
    pub last: bool,
}

/// Peers, their connections and loads; `H` is what a sender needs of a connection.
///
/// ```
/// use headwater_core::id::{ConnectionId, PeerId};
/// use headwater_core::pool::{Load, ManagerConfig, PoolManager};
/// use headwater_core::time::Instant;
///
/// let peer: PeerId = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse().unwrap();
/// let connection = ConnectionId { index: 0, generation: 0 };
/// let config = ManagerConfig { connections_per_peer: 2, ..ManagerConfig::default() };
/// let mut manager = PoolManager::new(config);
/// manager.add(peer, connection, "outbox")?;
/// let busy = Load { queued_bytes: 0, idle_streams: 3, current: 60, max: 100 };
/// manager.set_load(Instant::ZERO, connection, busy)?;
/// assert_eq!(manager.pick(&peer), Some(connection));
/// assert_eq!(manager.poll_wanted(), Some(peer));
/// assert_eq!(manager.poll_wanted(), None);
/// # Ok::<(), headwater_core::pool::ManagerError>(())
/// ```
#[derive(Debug)]
pub struct PoolManager<H> {
    config: ManagerConfig,
    peers: BTreeMap<PeerId, Peer<H>>,
    owners: BTreeMap<ConnectionId, PeerId>,
    /// Peers whose wish nobody has taken yet; a subset of `peers`.
    wanted: BTreeSet<PeerId>,
    generation: u64,
    clock: Clamp,
}

#[derive(Debug)]
struct Peer<H> {
    route: Route<H>,
    /// One for each entry of the route, in the same order.
    loads: Vec<Load>,
    asking: Asking,
    /// Wishes in a row that were not fulfilled.
    failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asking {
    /// A wish may be made from then on.
    From(Instant),
    /// A wish waits or is unanswered.
    Made,
}

impl<H: Clone> PoolManager<H> {
    /// A manager that knows nobody.
    #[must_use]
    pub fn new(config: ManagerConfig) -> Self {
        Self {
            config,
            peers: BTreeMap::new(),
            owners: BTreeMap::new(),
            wanted: BTreeSet::new(),
            generation: 0,
            clock: Clamp::default(),
        }
    }

    /// Adds a connection, with no load, to a peer that need not be known yet.
    ///
    /// # Errors
    ///
    /// [`ManagerError::ConnectionExists`]; nothing changed.
    pub fn add(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        handle: H,
    ) -> Result<(), ManagerError> {
        if self.owners.contains_key(&connection) {
            return Err(ManagerError::ConnectionExists);
        }
        self.owners.insert(connection, peer);
        let generation = self.next_generation();
        let known = self.peers.entry(peer).or_insert_with(|| Peer {
            route: Route::new(generation, ProtocolSet::default(), []),
            loads: Vec::new(),
            asking: Asking::From(Instant::ZERO),
            failures: 0,
        });
        let entries = known.route.entries().iter().cloned();
        let entries = entries.chain([Entry { connection, handle }]).collect::<Vec<_>>();
        known.route = Route::new(generation, known.route.protocols().clone(), entries);
        // Mostly there is one.
        known.loads.reserve_exact(1);
        known.loads.push(Load::default());
        Ok(())
    }

    /// Removes a connection; with its last one the peer is forgotten.
    ///
    /// # Errors
    ///
    /// [`ManagerError::ConnectionUnknown`]; nothing changed.
    pub fn remove(&mut self, connection: ConnectionId) -> Result<Removed<H>, ManagerError> {
        let unknown = ManagerError::ConnectionUnknown;
        let peer = *self.owners.get(&connection).ok_or(unknown)?;
        let generation = self.next_generation();
        let known = self.peers.get_mut(&peer).ok_or(unknown)?;
        let mut entries = known.route.entries().to_vec();
        let at = entries.iter().position(|entry| entry.connection == connection).ok_or(unknown)?;
        let handle = entries.remove(at).handle;
        self.owners.remove(&connection);
        known.loads.remove(at);
        let last = entries.is_empty();
        if last {
            self.peers.remove(&peer);
            self.wanted.remove(&peer);
        } else {
            known.route = Route::new(generation, known.route.protocols().clone(), entries);
        }
        Ok(Removed { peer, handle, last })
    }

    /// Records what a peer supports.
    ///
    /// # Errors
    ///
    /// [`ManagerError::PeerUnknown`]; nothing changed.
    pub fn set_protocols(
        &mut self,
        peer: &PeerId,
        protocols: ProtocolSet,
    ) -> Result<(), ManagerError> {
        let generation = self.next_generation();
        let known = self.peers.get_mut(peer).ok_or(ManagerError::PeerUnknown)?;
        let entries = known.route.entries().to_vec();
        known.route = Route::new(generation, protocols, entries);
        Ok(())
    }

    /// Records the load of a connection. If the one that would be picked now is hot, and the
    /// peer may have another connection, the wish for it is made.
    ///
    /// # Errors
    ///
    /// [`ManagerError::ConnectionUnknown`]; nothing changed.
    pub fn set_load(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        load: Load,
    ) -> Result<(), ManagerError> {
        let now = self.clock.advance(now);
        let unknown = ManagerError::ConnectionUnknown;
        let peer = *self.owners.get(&connection).ok_or(unknown)?;
        let known = self.peers.get_mut(&peer).ok_or(unknown)?;
        let at = known.position(connection).ok_or(unknown)?;
        *known.loads.get_mut(at).ok_or(unknown)? = load;
        let hot = known.best().is_some_and(|(_, load)| load.is_hot());
        let free = matches!(known.asking, Asking::From(at) if at <= now);
        if hot && free && known.loads.len() < self.config.connections_per_peer {
            known.asking = Asking::Made;
            self.wanted.insert(peer);
        }
        Ok(())
    }

    /// Takes the wish of a peer for one more connection, in the order of peer ids. It is made no
    /// second time before [`PoolManager::answered`].
    pub fn poll_wanted(&mut self) -> Option<PeerId> {
        self.wanted.pop_first()
    }

    /// The attempt to make the wished connection ended, well or not; the peer may wish again
    /// after a pause, see [`ManagerConfig::ask_again`]. Does nothing for a peer that is not known
    /// or did not wish.
    pub fn answered(&mut self, now: Instant, peer: &PeerId, well: bool) {
        let now = self.clock.advance(now);
        if let Some(known) = self.peers.get_mut(peer) {
            if known.asking == Asking::Made {
                known.failures = if well { 0 } else { known.failures.saturating_add(1).min(4) };
                let pause = self.config.ask_again.saturating_mul(1 << known.failures);
                known.asking = Asking::From(now.after(pause));
                self.wanted.remove(peer);
            }
        }
    }

    /// The present way to a peer; `None` if it has no connection.
    #[must_use]
    pub fn route(&self, peer: &PeerId) -> Option<&Route<H>> {
        self.peers.get(peer).map(|known| &known.route)
    }

    /// The connection that takes the next message to a peer, by the loads recorded here.
    #[must_use]
    pub fn pick(&self, peer: &PeerId) -> Option<ConnectionId> {
        self.peers.get(peer)?.best().map(|(connection, _)| connection)
    }

    /// The load of a connection as it was recorded last.
    #[must_use]
    pub fn load(&self, connection: ConnectionId) -> Option<Load> {
        let known = self.peers.get(self.owners.get(&connection)?)?;
        known.loads.get(known.position(connection)?).copied()
    }

    /// How many send streams a connection may have: its part of what its peer's connections may
    /// have together, at least 1; 0 for an unknown one. It changes when one comes or goes.
    #[must_use]
    pub fn stream_cap(&self, connection: ConnectionId) -> usize {
        let known = self.owners.get(&connection).and_then(|peer| self.peers.get(peer));
        let Some((known, at)) = known.and_then(|k| Some((k, k.position(connection)?))) else {
            return 0;
        };
        let total = self.config.streams_per_peer;
        let share = total.checked_div(known.loads.len()).unwrap_or(0);
        let rest = total.checked_rem(known.loads.len()).unwrap_or(0);
        share.saturating_add(usize::from(at < rest)).max(1)
    }

    /// Whose connection it is.
    #[must_use]
    pub fn peer_of(&self, connection: ConnectionId) -> Option<PeerId> {
        self.owners.get(&connection).copied()
    }

    /// The peers that have a connection, in the order of their ids.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.peers.keys().copied()
    }

    /// Forgets all peers and connections.
    pub fn reset(&mut self) {
        self.peers.clear();
        self.owners.clear();
        self.wanted.clear();
    }

    fn next_generation(&mut self) -> u64 {
        self.generation = self.generation.saturating_add(1);
        self.generation
    }

    /// Checks the invariants of the module. For tests.
    #[doc(hidden)]
    pub fn assert_invariants(&self) {
        let mut connections: usize = 0;
        for (peer, known) in &self.peers {
            assert!(!known.loads.is_empty());
            assert_eq!(known.loads.len(), known.route.entries().len());
            assert!(known.route.generation() <= self.generation);
            for entry in known.route.entries() {
                assert_eq!(self.owners.get(&entry.connection), Some(peer));
            }
            connections = connections.saturating_add(known.loads.len());
        }
        assert_eq!(connections, self.owners.len());
        for peer in &self.wanted {
            assert_eq!(self.peers.get(peer).map(|known| known.asking), Some(Asking::Made));
        }
    }
}

impl<H> Peer<H> {
    fn position(&self, connection: ConnectionId) -> Option<usize> {
        self.route.entries().iter().position(|entry| entry.connection == connection)
    }

    /// The connection to pick by the recorded loads.
    fn best(&self) -> Option<(ConnectionId, Load)> {
        let loads = self.route.entries().iter().zip(&self.loads);
        let ranked = loads.map(|(entry, load)| (load.rank(), entry.connection, load));
        ranked.min_by_key(|(rank, id, _)| (*rank, *id)).map(|(_, id, load)| (id, *load))
    }
}

#[cfg(test)]
#[path = "manager_tests.rs"]
mod tests;
