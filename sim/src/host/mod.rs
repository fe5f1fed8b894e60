//! One life of a node: its machines, and a driver that keeps the contract.
//!
//! [`Whole`] drives an `Endpoint` as a single-owner loop does, [`Apart`] a `Node` and its
//! `Connection`s as an adapter with a task for each does. The world sees both as a [`Host`].

mod apart;
mod socket;
mod whole;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::connection::{LaneId, LaneNews};
use headwater_core::contract::{Deadline, DialId, Notification, RequiredId};
use headwater_core::endpoint::BorrowedId;
use headwater_core::error::{ApplicationError, BorrowError, SendError};
use headwater_core::id::{ConnectionId, PeerId, ProtocolId};
use headwater_core::message::Message;
use headwater_core::peers::Rule;
use headwater_core::pool::Load;
use headwater_core::protocol::ProtocolSet;
use headwater_core::supervisor::RequiredState;
use headwater_core::time::Instant;

use crate::event::{Task, Time};
use crate::net::{Net, Ready, Socket};
use crate::trace::Trace;

pub(crate) use apart::Apart;
pub(crate) use whole::Whole;

/// What a host needs of the world to run.
pub(crate) struct Cx<'a, 'w> {
    pub(crate) net: &'a mut Net,
    pub(crate) time: &'a mut Time,
    pub(crate) trace: &'a mut Trace<'w>,
    /// The time by the node's own clock.
    pub(crate) now: Instant,
}

/// A stream that the application has borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stream {
    Whole(BorrowedId),
    Apart(ConnectionId, LaneId),
}

/// What the application hears of borrowed streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamNews {
    /// The answer to the request with this number.
    Lent(u64, Result<Stream, BorrowError>),
    Of(Stream, LaneNews),
}

/// The way to a peer, as it is now.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) protocols: ProtocolSet,
    pub(crate) connections: Vec<(ConnectionId, Option<Load>)>,
}

/// How many connections one node may have, on their way in and out included.
fn links_max(config: &Config) -> usize {
    // Live ones, and two being established with each peer; unproven ones; dials; ending ones.
    let live = config.peers_max * (config.connections_per_peer_max + 2);
    let coming = config.pending_max + config.dials_max + config.required_dials_max;
    live + coming + config.ending_max + config.peers_max
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) String);

/// Gives up with a violation unless something holds.
macro_rules! ensure {
    ($holds:expr, $($text:tt)*) => {
        if !$holds {
            return Err($crate::host::Violation(format!($($text)*)));
        }
    };
}
pub(crate) use ensure;

/// One life of a node.
pub(crate) trait Host {
    // What the application asks for.
    fn listen(&mut self, now: Instant, address: SocketAddr) -> Result<(), ApplicationError>;
    fn dial(&mut self, now: Instant, address: Address) -> Result<DialId, ApplicationError>;
    fn disconnect(&mut self, now: Instant, peer: PeerId) -> Result<(), ApplicationError>;
    fn register(&mut self, now: Instant, protocol: ProtocolId) -> Result<(), ApplicationError>;
    fn unregister(&mut self, now: Instant, protocol: &ProtocolId) -> Result<(), ApplicationError>;
    fn connect(&mut self, now: Instant, peer: PeerId) -> Result<DialId, ApplicationError>;
    fn require(
        &mut self,
        now: Instant,
        addresses: Vec<Address>,
    ) -> Result<RequiredId, ApplicationError>;
    fn set_required(
        &mut self,
        now: Instant,
        required: RequiredId,
        addresses: Vec<Address>,
    ) -> Result<(), ApplicationError>;
    fn release(&mut self, now: Instant, required: RequiredId) -> Result<(), ApplicationError>;
    fn block(&mut self, now: Instant, rule: Rule) -> Result<bool, ApplicationError>;
    fn unblock(&mut self, now: Instant, rule: &Rule) -> bool;
    fn stop(&mut self, now: Instant);
    fn send(
        &mut self,
        now: Instant,
        peer: &PeerId,
        protocol: &ProtocolId,
        payload: Bytes,
    ) -> Result<(), SendError<Bytes>>;
    /// Asks for a stream; the answer comes by `poll_stream` with the same number.
    fn borrow(
        &mut self,
        now: Instant,
        request: u64,
        peer: &PeerId,
        protocol: &ProtocolId,
    ) -> Result<(), BorrowError>;
    fn send_borrowed(
        &mut self,
        now: Instant,
        stream: Stream,
        peer: &PeerId,
        protocol: &ProtocolId,
        payload: Bytes,
    ) -> Result<(), SendError<Bytes>>;
    fn give_back(&mut self, now: Instant, stream: Stream);
    fn poll_message(&mut self, now: Instant) -> Option<Message>;
    fn poll_notification(&mut self) -> Option<Notification>;
    fn poll_stream(&mut self) -> Option<StreamNews>;

    // What the world does.
    /// Something can be done in the network.
    fn handle_ready(&mut self, ready: Ready);
    /// Does what one task can do now. True if it stopped on a budget and has to run again.
    fn run(&mut self, task: Task, cx: &mut Cx<'_, '_>) -> Result<bool, Violation>;
    /// When a task wants to run even if nothing wakes it, by the node's own clock.
    fn next_timeout(&self, task: Task) -> Option<Deadline>;
    /// Tasks that something has woken.
    fn take_woken(&mut self, into: &mut Vec<Task>);

    // What can be seen.
    fn peers(&self) -> Vec<PeerId>;
    fn way(&self, peer: &PeerId) -> Option<Way>;
    fn protocols(&self) -> &ProtocolSet;
    fn sockets(&self) -> &BTreeMap<ConnectionId, Socket>;
    /// The connections there are.
    fn connections(&self) -> Vec<ConnectionId>;
    fn required_state(&self, required: RequiredId) -> Option<RequiredState>;
    /// Messages that it says it has received, over all its connections, those that are gone too.
    fn received(&self) -> u64;
    fn is_stopped(&self) -> bool;
    /// Checks that every socket has its connection and every connection its socket, and that
    /// there are no more than there may be.
    fn check_links(&self) -> Result<(), Violation>;
    /// Checks the invariants of every machine.
    ///
    /// # Panics
    ///
    /// If one does not hold.
    fn check_machines(&self);
}
