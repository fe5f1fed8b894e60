//! Nodes of `headwater-tokio`, each on a runtime of its own.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_conformance as suite;
use headwater_conformance::{Adapter, CallError, Running, Security, Wait};
use headwater_core::contract::{Notification, RequiredId};
use headwater_core::error::{BorrowError, SendError, UndeliveredReason};
use headwater_core::message::Message;
use headwater_core::peers::Rule;
use headwater_core::snapshot::Snapshot;
use headwater_tokio::{
    Address, Borrowed, Builder, Config, Error, ListenError, Messages, Node, NodeKey, Notifications,
    PeerId, ProtocolId, Started,
};
use tokio::runtime::Runtime;
use tokio::time::timeout;

pub(crate) struct OnTokio(pub(crate) Security);

/// Something of a node, with the runtime that it needs.
#[derive(Clone)]
pub(crate) struct On<T> {
    inner: T,
    runtime: Arc<Runtime>,
}

impl<T> On<T> {
    /// Waits on the calling thread; `None` when the time is over.
    fn within<R>(runtime: &Runtime, wait: Duration, future: impl Future<Output = R>) -> Option<R> {
        runtime.block_on(async { timeout(wait, future).await.ok() })
    }
}

impl Adapter for OnTokio {
    type Node = On<Node>;
    type Messages = On<Messages>;
    type Notifications = On<Notifications>;

    fn security(&self) -> Security {
        self.0
    }

    fn start(&self, key: &NodeKey, config: Config) -> Running<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = Arc::new(builder.worker_threads(2).enable_all().build().unwrap());
        let entered = runtime.enter();
        let started = match self.0 {
            Security::Insecure => Builder::insecure(key.peer_id()).unwrap().config(config).start(),
            Security::Tls => Builder::new(key).unwrap().config(config).start(),
        };
        let Started { node, messages, notifications } = started.unwrap();
        drop(entered);
        Running {
            node: On { inner: node, runtime: Arc::clone(&runtime) },
            messages: On { inner: messages, runtime: Arc::clone(&runtime) },
            notifications: On { inner: notifications, runtime },
        }
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

impl suite::Node for On<Node> {
    type Stream = On<Borrowed>;

    fn id(&self) -> PeerId {
        self.inner.id()
    }

    fn listen(&self, address: SocketAddr) -> Result<SocketAddr, suite::ListenError> {
        self.runtime.block_on(self.inner.listen(address)).map_err(|error| match error {
            ListenError::Call(error) => suite::ListenError::Call(error),
            ListenError::Bind(cause) => suite::ListenError::Bind(cause),
            ListenError::Stopped => suite::ListenError::Stopped,
            _ => panic!("an error that the suite does not know: {error}"),
        })
    }

    fn dial(&self, address: Address) -> Result<PeerId, CallError> {
        self.runtime.block_on(self.inner.dial(address)).map_err(call_error)
    }

    fn connect(&self, peer: PeerId) -> Result<PeerId, CallError> {
        self.runtime.block_on(self.inner.connect(peer)).map_err(call_error)
    }

    fn require(&self, addresses: Vec<Address>) -> Result<RequiredId, CallError> {
        self.runtime.block_on(self.inner.require(addresses)).map_err(call_error)
    }

    fn release(&self, required: RequiredId) -> Result<(), CallError> {
        self.runtime.block_on(self.inner.release(required)).map_err(call_error)
    }

    fn block(&self, rule: Rule) -> Result<(), CallError> {
        self.runtime.block_on(self.inner.block(rule)).map_err(call_error)
    }

    fn unblock(&self, rule: Rule) -> Result<(), CallError> {
        self.runtime.block_on(self.inner.unblock(rule)).map_err(call_error)
    }

    fn disconnect(&self, peer: PeerId) -> Result<(), CallError> {
        self.runtime.block_on(self.inner.disconnect(peer)).map_err(call_error)
    }

    fn register(&self, protocol: ProtocolId) -> Result<(), CallError> {
        self.runtime.block_on(self.inner.register(protocol)).map_err(call_error)
    }

    fn unregister(&self, protocol: &ProtocolId) -> Result<(), CallError> {
        self.runtime.block_on(self.inner.unregister(protocol)).map_err(call_error)
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
        let sent = self.inner.send_wait(&to, of, payload.clone());
        let sent = Self::within(&self.runtime, wait, sent);
        sent.unwrap_or(Err(SendError::Full { payload }))
    }

    fn borrow(
        &self,
        to: PeerId,
        of: &ProtocolId,
        wait: Duration,
    ) -> Result<On<Borrowed>, BorrowError> {
        let borrowed = Self::within(&self.runtime, wait, self.inner.borrow(&to, of));
        let inner = borrowed.unwrap_or(Err(BorrowError::Pending))?;
        Ok(On { inner, runtime: Arc::clone(&self.runtime) })
    }

    fn supports(&self, peer: PeerId, protocol: &ProtocolId) -> bool {
        self.inner.supports(&peer, protocol)
    }

    fn peers(&self) -> Vec<PeerId> {
        self.inner.peers()
    }

    fn snapshot(&self) -> Result<Snapshot, CallError> {
        self.runtime.block_on(self.inner.snapshot()).map_err(call_error)
    }

    fn stop(&self, wait: Duration) -> bool {
        Self::within(&self.runtime, wait, self.inner.stop()).is_some()
    }

    fn is_quiet(&self) -> bool {
        self.runtime.metrics().num_alive_tasks() == 0
    }
}

impl suite::Stream for On<Borrowed> {
    fn send(&mut self, payload: Bytes) -> Result<(), SendError<Bytes>> {
        self.inner.send(payload)
    }

    fn send_wait(&mut self, payload: Bytes, wait: Duration) -> Result<(), SendError<Bytes>> {
        let sent = self.inner.send_wait(payload.clone());
        let sent = Self::within(&self.runtime, wait, sent);
        sent.unwrap_or(Err(SendError::Full { payload }))
    }

    fn lost(&self) -> Option<UndeliveredReason> {
        self.inner.lost()
    }
}

impl suite::Messages for On<Messages> {
    fn recv(&mut self, wait: Duration) -> Result<Message, Wait> {
        let next = Self::within(&self.runtime, wait, self.inner.recv());
        next.ok_or(Wait::Over)?.ok_or(Wait::Ended)
    }
}

impl suite::Notifications for On<Notifications> {
    fn recv(&mut self, wait: Duration) -> Result<Notification, Wait> {
        let next = Self::within(&self.runtime, wait, self.inner.recv());
        next.ok_or(Wait::Over)?.ok_or(Wait::Ended)
    }
}
