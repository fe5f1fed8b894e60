//! What a scenario needs of an adapter.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::contract::{IoCause, Notification, RequiredId};
use headwater_core::error::{
    ApplicationError, BorrowError, DialError, SendError, UndeliveredReason,
};
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::message::Message;
use headwater_core::peers::Rule;
use headwater_core::snapshot::Snapshot;
use headwater_identity::NodeKey;
use headwater_recorder::Recorder;

/// Starts nodes.
pub trait Adapter: Sync {
    /// The handle to a node.
    type Node: Node;
    /// What its peers send.
    type Messages: Messages;
    /// What it tells.
    type Notifications: Notifications;

    /// How the nodes secure their links.
    fn security(&self) -> Security;

    /// Starts a node with the id of `key`, secured as [`security`](Self::security) says.
    ///
    /// # Panics
    ///
    /// If the node cannot be started.
    fn start(&self, key: &NodeKey, config: Config) -> Running<Self> {
        self.start_recorded(key, config, None)
    }

    /// The same, with all that happens to it recorded.
    ///
    /// # Panics
    ///
    /// If the node cannot be started.
    fn start_recorded(
        &self,
        key: &NodeKey,
        config: Config,
        recorder: Option<Recorder>,
    ) -> Running<Self>;
}

/// How nodes secure their links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    Insecure,
    /// With certificates that carry their keys.
    Tls,
}

/// A node that runs.
pub struct Running<A: Adapter + ?Sized> {
    /// The handle.
    pub node: A::Node,
    /// What its peers send.
    pub messages: A::Messages,
    /// What it tells.
    pub notifications: A::Notifications,
}

/// A handle to a node; clones are of the same one. Dropping the last one stops the node.
pub trait Node: Clone + Send + Sync + 'static {
    /// A stream of one's own.
    type Stream: Stream;

    /// Its id.
    fn id(&self) -> PeerId;

    /// Listens; gives where.
    ///
    /// # Errors
    ///
    /// Why it does not.
    fn listen(&self, address: SocketAddr) -> Result<SocketAddr, ListenError>;

    /// Connects to a peer; gives its id once messages may be sent to it.
    ///
    /// # Errors
    ///
    /// Why it is not connected, within the node's own deadlines.
    fn dial(&self, address: Address) -> Result<PeerId, CallError>;

    /// Connects to a peer at the addresses that are known of it.
    ///
    /// # Errors
    ///
    /// Why it is not connected, within the node's own deadlines.
    fn connect(&self, peer: PeerId) -> Result<PeerId, CallError>;

    /// Keeps a peer connected from now on.
    ///
    /// # Errors
    ///
    /// Why not.
    fn require(&self, addresses: Vec<Address>) -> Result<RequiredId, CallError>;

    /// Requires a peer no longer.
    ///
    /// # Errors
    ///
    /// Why not.
    fn release(&self, required: RequiredId) -> Result<(), CallError>;

    /// Keeps somebody out from now on.
    ///
    /// # Errors
    ///
    /// Why not.
    fn block(&self, rule: Rule) -> Result<(), CallError>;

    /// Takes a rule back.
    ///
    /// # Errors
    ///
    /// Why not.
    fn unblock(&self, rule: Rule) -> Result<(), CallError>;

    /// Closes the connections of a peer.
    ///
    /// # Errors
    ///
    /// Why not.
    fn disconnect(&self, peer: PeerId) -> Result<(), CallError>;

    /// Takes messages of a protocol from now on.
    ///
    /// # Errors
    ///
    /// Why not.
    fn register(&self, protocol: ProtocolId) -> Result<(), CallError>;

    /// Takes messages of a protocol no more.
    ///
    /// # Errors
    ///
    /// Why not.
    fn unregister(&self, protocol: &ProtocolId) -> Result<(), CallError>;

    /// Queues a message at once.
    ///
    /// # Errors
    ///
    /// Why not; the payload comes back.
    fn send(&self, to: PeerId, of: &ProtocolId, payload: Bytes) -> Result<(), SendError<Bytes>>;

    /// Queues a message when there is room for it, unless that is later than `wait` from now.
    ///
    /// # Errors
    ///
    /// Why not, `Full` if the time is over; the payload comes back.
    fn send_wait(
        &self,
        to: PeerId,
        of: &ProtocolId,
        payload: Bytes,
        wait: Duration,
    ) -> Result<(), SendError<Bytes>>;

    /// Takes a stream for one's own, waiting for one `wait` at most.
    ///
    /// # Errors
    ///
    /// Why not, `Pending` or `Exhausted` if the time is over.
    fn borrow(
        &self,
        to: PeerId,
        of: &ProtocolId,
        wait: Duration,
    ) -> Result<Self::Stream, BorrowError>;

    /// Whether a peer is connected and supports a protocol.
    fn supports(&self, peer: PeerId, protocol: &ProtocolId) -> bool;

    /// The connected peers, in the order of their ids.
    fn peers(&self) -> Vec<PeerId>;

    /// What it knows of itself.
    ///
    /// # Errors
    ///
    /// The node has stopped.
    fn snapshot(&self) -> Result<Snapshot, CallError>;

    /// Stops the node; says whether that was done within `wait`.
    fn stop(&self, wait: Duration) -> bool;

    /// Whether nothing of the node runs any more: no task, no thread.
    fn is_quiet(&self) -> bool;
}

/// A stream to a peer; dropping it gives it back.
pub trait Stream: Send + 'static {
    /// Queues a message at once, behind the earlier ones.
    ///
    /// # Errors
    ///
    /// Why not; the payload comes back.
    fn send(&mut self, payload: Bytes) -> Result<(), SendError<Bytes>>;

    /// Queues a message when there is room for it, unless that is later than `wait` from now.
    ///
    /// # Errors
    ///
    /// Why not, `Full` if the time is over; the payload comes back.
    fn send_wait(&mut self, payload: Bytes, wait: Duration) -> Result<(), SendError<Bytes>>;

    /// Why the stream is gone, if it is.
    fn lost(&self) -> Option<UndeliveredReason>;
}

/// What peers send. When it is dropped, messages are dropped as they come.
pub trait Messages: Send + 'static {
    /// Takes the next message.
    ///
    /// # Errors
    ///
    /// Why there is none.
    fn recv(&mut self, wait: Duration) -> Result<Message, Wait>;
}

/// What a node tells.
pub trait Notifications: Send + 'static {
    /// Takes the next notification.
    ///
    /// # Errors
    ///
    /// Why there is none.
    fn recv(&mut self, wait: Duration) -> Result<Notification, Wait>;
}

/// Why nothing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The time is over.
    Over,
    /// The node has stopped, and nothing will come.
    Ended,
}

/// Why a node does not listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenError {
    /// The node does not take the call.
    Call(ApplicationError),
    /// The address cannot be bound.
    Bind(IoCause),
    /// The node has stopped.
    Stopped,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The node does not take the call.
    Call(ApplicationError),
    /// The dial led to nothing.
    Dial(Box<DialError>),
    /// The node has stopped.
    Stopped,
}
