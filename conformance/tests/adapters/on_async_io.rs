//! Nodes of `headwater-async-std`, on the executors that a whole process shares.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use headwater_async_std::{
    Address, AsyncIo, AsyncStd, Borrowed, BuilderOn, Config, Error, Executor, ListenError,
    Messages, Node, NodeKey, Notifications, PeerId, ProtocolId, Smol, Started,
};
use headwater_conformance as suite;
use headwater_conformance::{Adapter, CallError, Running, Security, Wait};
use headwater_core::contract::{Notification, RequiredId};
use headwater_core::error::{BorrowError, SendError, UndeliveredReason};
use headwater_core::message::Message;
use headwater_core::peers::Rule;
use headwater_core::snapshot::Snapshot;

/// Nodes on an executor, which is named by its type.
pub(crate) struct OnAsyncIo<P>(pub(crate) Security, pub(crate) P);

/// An executor, and how its programs wait.
pub(crate) trait Place: Executor {
    fn block_on<T>(future: impl Future<Output = T>) -> T;

    /// Waits on the calling thread; `None` when the time is over.
    fn within<T>(wait: Duration, future: impl Future<Output = T>) -> Option<T> {
        let late = async {
            smol::Timer::after(wait).await;
            None
        };
        Self::block_on(smol::future::or(async { Some(future.await) }, late))
    }
}

impl Place for Smol {
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        smol::block_on(future)
    }
}

impl Place for AsyncStd {
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        async_std::task::block_on(future)
    }
}

/// Knows how many of the tasks of one node are left.
#[derive(Clone, Debug)]
struct Counted<P> {
    executor: P,
    tasks: Arc<AtomicUsize>,
}

struct Counts(Arc<AtomicUsize>);

impl Drop for Counts {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<P: Executor> Executor for Counted<P> {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.fetch_add(1, Ordering::SeqCst);
        let counts = Counts(Arc::clone(&self.tasks));
        self.executor.spawn(async move {
            task.await;
            drop(counts);
        });
    }
}

/// Something of a node.
#[derive(Clone)]
pub(crate) struct On<T, P> {
    inner: T,
    executor: Counted<P>,
}

impl<P: Place> Adapter for OnAsyncIo<P> {
    type Node = On<Node, P>;
    type Messages = On<Messages, P>;
    type Notifications = On<Notifications, P>;

    fn security(&self) -> Security {
        self.0
    }

    fn start(&self, key: &NodeKey, config: Config) -> Running<Self> {
        let executor = Counted { executor: self.1.clone(), tasks: Arc::default() };
        let runtime = AsyncIo::new(executor.clone());
        let started = match self.0 {
            Security::Insecure => BuilderOn::insecure(key.peer_id())
                .and_then(|builder| builder.config(config).runtime(runtime).start()),
            Security::Tls => BuilderOn::new(key)
                .and_then(|builder| builder.config(config).runtime(runtime).start()),
        };
        let Started { node, messages, notifications } = started.unwrap();
        Running {
            node: On { inner: node, executor: executor.clone() },
            messages: On { inner: messages, executor: executor.clone() },
            notifications: On { inner: notifications, executor },
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

impl<P: Place> suite::Node for On<Node, P> {
    type Stream = On<Borrowed, P>;

    fn id(&self) -> PeerId {
        self.inner.id()
    }

    fn listen(&self, address: SocketAddr) -> Result<SocketAddr, suite::ListenError> {
        P::block_on(self.inner.listen(address)).map_err(|error| match error {
            ListenError::Call(error) => suite::ListenError::Call(error),
            ListenError::Bind(cause) => suite::ListenError::Bind(cause),
            ListenError::Stopped => suite::ListenError::Stopped,
            _ => panic!("an error that the suite does not know: {error}"),
        })
    }

    fn dial(&self, address: Address) -> Result<PeerId, CallError> {
        P::block_on(self.inner.dial(address)).map_err(call_error)
    }

    fn connect(&self, peer: PeerId) -> Result<PeerId, CallError> {
        P::block_on(self.inner.connect(peer)).map_err(call_error)
    }

    fn require(&self, addresses: Vec<Address>) -> Result<RequiredId, CallError> {
        P::block_on(self.inner.require(addresses)).map_err(call_error)
    }

    fn release(&self, required: RequiredId) -> Result<(), CallError> {
        P::block_on(self.inner.release(required)).map_err(call_error)
    }

    fn block(&self, rule: Rule) -> Result<(), CallError> {
        P::block_on(self.inner.block(rule)).map_err(call_error)
    }

    fn unblock(&self, rule: Rule) -> Result<(), CallError> {
        P::block_on(self.inner.unblock(rule)).map_err(call_error)
    }

    fn disconnect(&self, peer: PeerId) -> Result<(), CallError> {
        P::block_on(self.inner.disconnect(peer)).map_err(call_error)
    }

    fn register(&self, protocol: ProtocolId) -> Result<(), CallError> {
        P::block_on(self.inner.register(protocol)).map_err(call_error)
    }

    fn unregister(&self, protocol: &ProtocolId) -> Result<(), CallError> {
        P::block_on(self.inner.unregister(protocol)).map_err(call_error)
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
        let sent = P::within(wait, self.inner.send_wait(&to, of, payload.clone()));
        sent.unwrap_or(Err(SendError::Full { payload }))
    }

    fn borrow(
        &self,
        to: PeerId,
        of: &ProtocolId,
        wait: Duration,
    ) -> Result<On<Borrowed, P>, BorrowError> {
        let borrowed = P::within(wait, self.inner.borrow(&to, of));
        let inner = borrowed.unwrap_or(Err(BorrowError::Pending))?;
        Ok(On { inner, executor: self.executor.clone() })
    }

    fn supports(&self, peer: PeerId, protocol: &ProtocolId) -> bool {
        self.inner.supports(&peer, protocol)
    }

    fn peers(&self) -> Vec<PeerId> {
        self.inner.peers()
    }

    fn snapshot(&self) -> Result<Snapshot, CallError> {
        P::block_on(self.inner.snapshot()).map_err(call_error)
    }

    fn stop(&self, wait: Duration) -> bool {
        P::within(wait, self.inner.stop()).is_some()
    }

    fn is_quiet(&self) -> bool {
        self.executor.tasks.load(Ordering::SeqCst) == 0
    }
}

impl<P: Place> suite::Stream for On<Borrowed, P> {
    fn send(&mut self, payload: Bytes) -> Result<(), SendError<Bytes>> {
        self.inner.send(payload)
    }

    fn send_wait(&mut self, payload: Bytes, wait: Duration) -> Result<(), SendError<Bytes>> {
        let sent = P::within(wait, self.inner.send_wait(payload.clone()));
        sent.unwrap_or(Err(SendError::Full { payload }))
    }

    fn lost(&self) -> Option<UndeliveredReason> {
        self.inner.lost()
    }
}

impl<P: Place> suite::Messages for On<Messages, P> {
    fn recv(&mut self, wait: Duration) -> Result<Message, Wait> {
        P::within(wait, self.inner.recv()).ok_or(Wait::Over)?.ok_or(Wait::Ended)
    }
}

impl<P: Place> suite::Notifications for On<Notifications, P> {
    fn recv(&mut self, wait: Duration) -> Result<Notification, Wait> {
        P::within(wait, self.inner.recv()).ok_or(Wait::Over)?.ok_or(Wait::Ended)
    }
}
