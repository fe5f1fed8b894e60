//! The node as a whole.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::{Counters, PeerSnapshot, Stage, Traffic};
use crate::contract::{Direction, ListenerId, TimerKind};
use crate::id::{ConnectionId, PeerId};
use crate::protocol::ProtocolSet;
use crate::time::Instant;

/// Who a node talks to, and why not.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NodeSnapshot {
    /// When this was true.
    pub at: Instant,
    /// Its own id.
    pub local: PeerId,
    /// It stops, or has stopped.
    pub stopping: bool,
    /// Where it listens.
    pub listeners: Vec<ListenerSnapshot>,
    /// What it supports.
    pub protocols: ProtocolSet,
    /// The peers that it knows of: those with links, required ones, those that were dialled or
    /// turned away. In the order of their ids, those without one at the end.
    pub peers: Vec<PeerSnapshot>,
    /// Its links, in the order of their ids.
    pub links: Vec<LinkSnapshot>,
    /// What it has of each thing that is limited.
    pub usage: Vec<Usage>,
    /// What its connections may hold together, in bytes, and its tables:
    /// [`Config::memory_max`](crate::config::Config::memory_max).
    pub memory_max: usize,
    /// What one of them may hold, in bytes.
    pub connection_memory_max: usize,
    /// Links that were turned away or ended early, by direction and reason.
    pub refusals: Vec<RefusalCount>,
    /// Messages by protocol, of connections that have ended; and all that was given up.
    pub ended: Traffic,
    /// What those connections did.
    pub ended_counters: Counters,
    /// What it did.
    pub work: NodeWork,
    /// The deadlines that are set.
    pub timers: Vec<Armed>,
}

impl NodeSnapshot {
    /// A link by its name.
    #[must_use]
    pub fn link(&self, id: ConnectionId) -> Option<&LinkSnapshot> {
        let place = self.links.binary_search_by_key(&id, |link| link.id).ok()?;
        self.links.get(place)
    }
}

/// A listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerSnapshot {
    /// Its name.
    pub listener: ListenerId,
    /// Where it was told to listen.
    pub address: SocketAddr,
    /// Where it does, once it does.
    pub local: Option<SocketAddr>,
}

/// A link, as the node knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkSnapshot {
    /// Its name.
    pub id: ConnectionId,
    /// Who is there, once that is proven.
    pub peer: Option<PeerId>,
    /// Who has to be there, if the dialled address names somebody.
    pub expected: Option<PeerId>,
    /// Who made it.
    pub direction: Direction,
    /// Its other end.
    pub remote: SocketAddr,
    /// How far it is: dialling, handshaking, exchanging or connected.
    pub stage: Stage,
    /// Since when it is there, or being made.
    pub since: Instant,
    /// It was told to close.
    pub closing: bool,
}

/// So much of something of which there may be so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// The key of the limit in [`Config`](crate::config::Config).
    pub key: &'static str,
    /// How much there is.
    pub used: usize,
    /// How much there may be.
    pub max: usize,
}

/// Links that were turned away or ended before their peer was connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusalCount {
    /// Who made them.
    pub direction: Direction,
    /// Why, by the [name](crate::error::Refusal::name) of the reason.
    pub reason: &'static str,
    /// How many.
    pub count: u64,
}

/// What a node did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeWork {
    /// Links that were accepted.
    pub accepted: u64,
    /// Links that it began to make.
    pub dials: u64,
    /// Links of its own that were made.
    pub dialed: u64,
    /// Attempts at an address that led to nothing.
    pub failures: u64,
    /// Times that a peer was connected.
    pub connected: u64,
    /// Times that a peer was lost.
    pub disconnected: u64,
    /// Words of connections that it took.
    pub reports: u64,
    /// Events that it took.
    pub events: u64,
    /// Deadlines that came.
    pub timeouts: u64,
}

/// Deadlines of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Armed {
    /// What for.
    pub why: TimerKind,
    /// How many are set.
    pub count: usize,
    /// The first of them.
    pub next: Instant,
}
