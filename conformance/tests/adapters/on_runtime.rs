//! Nodes of `headwater-runtime`, which those of every runtime with tasks are.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use headwater_conformance as suite;
use headwater_conformance::{Adapter, CallError, Running, Wait};
use headwater_core::contract::{Notification, RequiredId};
use headwater_core::error::{BorrowError, SendError, UndeliveredReason};
use headwater_core::message::Message;
use headwater_core::peers::Rule;
use headwater_core::snapshot::Snapshot;
use headwater_tokio::{
    Address, Borrowed, Error, ListenError, Messages, Node, Notifications, PeerId, ProtocolId,
    Started,
};

/// What runs the tasks of one node, and how its programs wait.
pub(crate) trait Place: Clone + Send + Sync + 'static {
    fn block_on<T>(&self, future: impl Future<Output = T>) -> T;

    /// Waits on the calling thread; `None` when the time is over.
    fn within<T>(&self, wait: Duration, future: impl Future<Output = T>) -> Option<T>;

    /// Whether no task of the node is left.
    fn is_quiet(&self) -> bool;
}

/// Something of a node, with what it needs to be waited for.
#[derive(Clone)]
pub(crate) struct On<T, P> {
    inner: T,
    place: P,
}

/// A node that was started in a place.
pub(crate) fn running<A, P>(started: Started, place: P) -> Running<A>
where
    A: Adapter<
            Node = On<Node, P>,
            Messages = On<Messages, P>,
            Notifications = On<Notifications, P>,
        >,
    P: Place,
{
    let Started { node, messages, notifications } = started;
    Running {
        node: On { inner: node, place: place.clone() },
        messages: On { inner: messages, place: place.clone() },
        notifications: On { inner: notifications, place },
    }
}

fn call_error(error: Error) -> CallError {
    match error {
        Error::Call(error) => CallError::Call(error),
        Error::Dial(error) => CallError::Dial(Box::new(error)),
        Error::Stopped => CallError::Stopped,
        _ => panic!("an error that the suite does not know: {error}"),
    }
}

impl<P: Place> suite::Node for On<Node, P> {
    type Stream = On<Borrowed, P>;

    fn id(&self) -> PeerId {
        self.inner.id()
    }

    fn listen(&self, address: SocketAddr) -> Result<SocketAddr, suite::ListenError> {
        self.place.block_on(self.inner.listen(address)).map_err(|error| match error {
            ListenError::Call(error) => suite::ListenError::Call(error),
            ListenError::Bind(cause) => suite::ListenError::Bind(cause),
            ListenError::Stopped => suite::ListenError::Stopped,
            _ => panic!("an error that the suite does not know: {error}"),
        })
    }

    fn dial(&self, address: Address) -> Result<PeerId, CallError> {
        self.place.block_on(self.inner.dial(address)).map_err(call_error)
    }

    fn connect(&self, peer: PeerId) -> Result<PeerId, CallError> {
        self.place.block_on(self.inner.connect(peer)).map_err(call_error)
    }

    fn require(&self, addresses: Vec<Address>) -> Result<RequiredId, CallError> {
        self.place.block_on(self.inner.require(addresses)).map_err(call_error)
    }

    fn release(&self, required: RequiredId) -> Result<(), CallError> {
        self.place.block_on(self.inner.release(required)).map_err(call_error)
    }

    fn block(&self, rule: Rule) -> Result<(), CallError> {
        self.place.block_on(self.inner.block(rule)).map_err(call_error)
    }

    fn unblock(&self, rule: Rule) -> Result<(), CallError> {
        self.place.block_on(self.inner.unblock(rule)).map_err(call_error)
    }

    fn disconnect(&self, peer: PeerId) -> Result<(), CallError> {
        self.place.block_on(self.inner.disconnect(peer)).map_err(call_error)
    }

    fn register(&self, protocol: ProtocolId) -> Result<(), CallError> {
        self.place.block_on(self.inner.register(protocol)).map_err(call_error)
    }

    fn unregister(&self, protocol: &ProtocolId) -> Result<(), CallError> {
        self.place.block_on(self.inner.unregister(protocol)).map_err(call_error)
    }

    fn send(&self, to: PeerId, of: &ProtocolId, payload: Bytes) -> Result<(), SendError<Bytes>> {
        self.inner.send(&to, of, payload)
    }

    fn send_wait(
        &self,
        to: PeerId,
        of: &ProtocolId,
        payload: Bytes,
        wait: Duration,
    ) -> Result<(), SendError<Bytes>> {
        let sent = self.place.within(wait, self.inner.send_wait(&to, of, payload.clone()));
        sent.unwrap_or(Err(SendError::Full { payload }))
    }

    fn borrow(
        &self,
        to: PeerId,
        of: &ProtocolId,
        wait: Duration,
    ) -> Result<On<Borrowed, P>, BorrowError> {
        let borrowed = self.place.within(wait, self.inner.borrow(&to, of));
        let inner = borrowed.unwrap_or(Err(BorrowError::Pending))?;
        Ok(On { inner, place: self.place.clone() })
    }

    fn supports(&self, peer: PeerId, protocol: &ProtocolId) -> bool {
        self.inner.supports(&peer, protocol)
    }

    fn peers(&self) -> Vec<PeerId> {
        self.inner.peers()
    }

    fn snapshot(&self) -> Result<Snapshot, CallError> {
        self.place.block_on(self.inner.snapshot()).map_err(call_error)
    }

    fn stop(&self, wait: Duration) -> bool {
        self.place.within(wait, self.inner.stop()).is_some()
    }

    fn is_quiet(&self) -> bool {
        self.place.is_quiet()
    }
}

impl<P: Place> suite::Stream for On<Borrowed, P> {
    fn send(&mut self, payload: Bytes) -> Result<(), SendError<Bytes>> {
        self.inner.send(payload)
    }

    fn send_wait(&mut self, payload: Bytes, wait: Duration) -> Result<(), SendError<Bytes>> {
        let sent = self.place.within(wait, self.inner.send_wait(payload.clone()));
        sent.unwrap_or(Err(SendError::Full { payload }))
    }

    fn lost(&self) -> Option<UndeliveredReason> {
        self.inner.lost()
    }
}

impl<P: Place> suite::Messages for On<Messages, P> {
    fn recv(&mut self, wait: Duration) -> Result<Message, Wait> {
        self.place.within(wait, self.inner.recv()).ok_or(Wait::Over)?.ok_or(Wait::Ended)
    }
}

impl<P: Place> suite::Notifications for On<Notifications, P> {
    fn recv(&mut self, wait: Duration) -> Result<Notification, Wait> {
        self.place.within(wait, self.inner.recv()).ok_or(Wait::Over)?.ok_or(Wait::Ended)
    }
}
