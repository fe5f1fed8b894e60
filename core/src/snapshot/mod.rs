//! What a node knows of itself at one moment, as plain values.
//!
//! [`Node::snapshot`](crate::node::Node::snapshot) tells who it talks to and why not,
//! [`Connection::snapshot`](crate::connection::Connection::snapshot) how each link does; a
//! [`Snapshot`] is the two together. Whoever has both halves on one task calls
//! [`Endpoint::snapshot`](crate::endpoint::Endpoint::snapshot). Whoever has not asks the
//! connections first and the node last: then nothing that a connection has counted is missing or
//! counted twice, because the node tells which of them it still has.
//!
//! Invariants: V1 taking a snapshot changes nothing. V2 it costs O(peers, links and streams), and
//! only then allocates; what it is made of are plain counters that the machines add to. V3 totals
//! of [`Snapshot::traffic`] never shrink from one snapshot to a later one, unless a connection was
//! lost without its last report; what one decodes after its end is in them once it is done. V4
//! lists are in an order that follows from ids alone.
//!
//! Bounds: of what happened the node keeps the last failure of each of [`PLACES_MAX`] addresses,
//! the last refusal of each of [`TURNED_AWAY_MAX`] peers, the last loss of as many, and counts for
//! [`PROTOCOLS_MAX`] protocols, the rest in one sum.

mod connection;
mod node;
mod peer;
mod traffic;

use alloc::vec::Vec;

pub use connection::{Blockage, ConnectionSnapshot, ConnectionStage, Counters, Offences};
pub use node::{
    Armed, LinkSnapshot, ListenerSnapshot, NodeSnapshot, NodeWork, RefusalCount, Usage,
};
pub use peer::{
    AddressSnapshot, Failure, Loss, Next, Origin, PeerSnapshot, Reached, Stage, TurnedAway,
};
pub use traffic::{Count, Lost, PROTOCOLS_MAX, ProtocolCount, Traffic};

use crate::id::{ConnectionId, PeerId};

/// Addresses whose last failure is kept; of more the longest untouched ones are forgotten.
pub const PLACES_MAX: usize = 1024;

/// Peers whose last refusal, and whose last loss, is kept; of more the oldest are forgotten.
pub const TURNED_AWAY_MAX: usize = 256;

/// A node and its connections at one moment; consistent for the node, and for each connection.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Who it talks to, and why not.
    pub node: NodeSnapshot,
    /// How its links do, in the order of their ids. One that has just begun may be missing.
    pub connections: Vec<ConnectionSnapshot>,
}

impl Snapshot {
    /// Puts both halves together; the connections were asked before the node. Those that the node
    /// does not have any more are left out: what they counted is in the node's totals.
    #[must_use]
    pub fn join(node: NodeSnapshot, mut connections: Vec<ConnectionSnapshot>) -> Self {
        connections.retain(|part| node.link(part.id).is_some());
        connections.sort_by_key(|part| part.id);
        Self { node, connections }
    }

    /// What is known of a connection.
    #[must_use]
    pub fn connection(&self, id: ConnectionId) -> Option<&ConnectionSnapshot> {
        let place = self.connections.binary_search_by_key(&id, |part| part.id).ok()?;
        self.connections.get(place)
    }

    /// What is known of a peer.
    #[must_use]
    pub fn peer(&self, peer: &PeerId) -> Option<&PeerSnapshot> {
        self.node.peers.iter().find(|known| known.peer.as_ref() == Some(peer))
    }

    /// How many peers are connected.
    #[must_use]
    pub fn peers_connected(&self) -> usize {
        self.node.peers.iter().filter(|peer| peer.stage == Stage::Connected).count()
    }

    /// The connections of a peer.
    pub fn connections_of<'a>(
        &'a self,
        peer: &'a PeerSnapshot,
    ) -> impl Iterator<Item = &'a ConnectionSnapshot> + 'a {
        peer.connections.iter().filter_map(|id| self.connection(*id))
    }

    /// Messages and bytes by protocol and direction, of all connections there ever were.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let mut total = self.node.ended.clone();
        for part in &self.connections {
            total.merge(&part.traffic);
        }
        total
    }

    /// What all connections did, those that have ended included.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let parts = self.connections.iter().map(|part| part.counters);
        parts.fold(self.node.ended_counters, Counters::and)
    }

    /// What the connections hold, in bytes. Never more than
    /// [`NodeSnapshot::memory_max`](NodeSnapshot).
    #[must_use]
    pub fn memory(&self) -> usize {
        self.connections.iter().fold(0, |sum, part| {
            sum.saturating_add(part.memory.total()).saturating_add(part.waiting_bytes)
        })
    }

    /// Timers that are armed, of all machines together.
    #[must_use]
    pub fn timers(&self) -> usize {
        let own = self.node.timers.iter().fold(0, |sum: usize, one| sum.saturating_add(one.count));
        self.connections.iter().fold(own, |sum, part| sum.saturating_add(part.timers.len()))
    }
}
