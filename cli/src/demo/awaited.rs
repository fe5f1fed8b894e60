//! A node of the demo whose calls are awaited, whatever runs its tasks.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::error::SendError;
use headwater_core::id::{PeerId, ProtocolId};
use headwater_tokio::{Node, Started};

use super::member::{Member, failed};
use super::scene::Scene;
use super::watch::Handle;
use crate::failure::Failure;

/// What runs the tasks of one node, and of no other, so that the node can be killed with them.
pub(crate) trait Place: Send + Sync {
    /// Waits for a call; `None` if it was not over in time.
    fn wait<T>(&self, call: impl Future<Output = T>) -> Option<T>;

    /// Runs a task.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);

    /// Ends all tasks where they are; their sockets are closed when it returns.
    fn end(self);
}

/// A node, and what runs its tasks.
pub(crate) struct Awaited<P> {
    name: &'static str,
    node: Node,
    place: P,
}

impl<P: Place> Awaited<P> {
    /// A node that has started, with two tasks that tell the scene what it gets.
    pub(crate) fn new(scene: &Arc<Scene>, index: usize, place: P, started: Started) -> Self {
        let Started { node, mut messages, mut notifications } = started;
        let receiver = scene.collecting();
        place.spawn(async move {
            while let Some(message) = messages.recv().await {
                receiver.arrived(index, &message.peer, &message.protocol, &message.payload);
            }
        });
        let observer = scene.collecting();
        place.spawn(async move {
            while let Some(notification) = notifications.recv().await {
                observer.noted(index, &notification);
            }
        });
        Self { name: scene.name(index), node, place }
    }

    fn call<T, E: std::fmt::Display>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        match self.place.wait(call) {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err(failed(self.name, what, error)),
            None => Err(failed(self.name, what, "no answer in time")),
        }
    }
}

impl<P: Place> Member for Awaited<P> {
    fn id(&self) -> PeerId {
        self.node.id()
    }

    fn listen(&self, port: u16) -> Result<SocketAddr, Failure> {
        self.call("listen", self.node.listen((Ipv4Addr::LOCALHOST, port).into()))
    }

    fn require(&self, address: Address) -> Result<(), Failure> {
        self.call("require a peer", self.node.require(vec![address])).map(drop)
    }

    fn register(&self, protocol: &ProtocolId) -> Result<(), Failure> {
        self.call("register a protocol", self.node.register(protocol.clone()))
    }

    fn unregister(&self, protocol: &ProtocolId) -> Result<(), Failure> {
        self.call("unregister a protocol", self.node.unregister(protocol))
    }

    fn send(&self, to: &PeerId, protocol: &ProtocolId, payload: Bytes) -> Result<(), Failure> {
        self.call("send", self.node.send_wait(to, protocol, payload))
    }

    fn refuses(&self, to: &PeerId, protocol: &ProtocolId) -> bool {
        matches!(self.node.send(to, protocol, Bytes::new()), Err(SendError::NotSupported { .. }))
    }

    fn handle(&self) -> Handle {
        Handle::Awaited(self.node.clone())
    }

    fn stop(&self) {
        // What is left when the deadline passes ends with the process.
        let _ = self.place.wait(self.node.stop());
    }

    fn kill(self: Box<Self>) -> Result<(), Failure> {
        self.place.end();
        Ok(())
    }
}
