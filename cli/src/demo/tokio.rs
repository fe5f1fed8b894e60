//! A node of the demo on tokio: its tasks run on a runtime of its own, so that it can be killed
//! with all of them.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::error::SendError;
use headwater_core::id::{PeerId, ProtocolId};
use headwater_identity::NodeKey;
use headwater_tokio::{Node, Started};
use tokio::runtime::{self, Runtime};

use super::member::{CALL_DEADLINE, Member, config, failed};
use super::scene::Scene;
use crate::failure::Failure;
use crate::net::Security;

/// A node on tokio.
pub(crate) struct TokioMember {
    name: &'static str,
    runtime: Runtime,
    node: Node,
}

impl TokioMember {
    /// Starts the node, and two tasks that tell the scene what it gets.
    pub(crate) fn start(
        scene: &Arc<Scene>,
        index: usize,
        key: &NodeKey,
        security: Security,
    ) -> Result<Self, Failure> {
        let name = scene.name(index);
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| failed(name, "start a runtime", error))?;
        let inside = runtime.enter();
        let Started { node, mut messages, mut notifications } =
            crate::net::start(key, config(), security)?;
        let receiver = scene.collecting();
        runtime.spawn(async move {
            while let Some(message) = messages.recv().await {
                receiver.arrived(index, &message.peer, &message.protocol, &message.payload);
            }
        });
        let observer = scene.collecting();
        runtime.spawn(async move {
            while let Some(notification) = notifications.recv().await {
                observer.noted(index, &notification);
            }
        });
        drop(inside);
        Ok(Self { name, runtime, node })
    }

    fn call<T, E: std::fmt::Display>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        match self.runtime.block_on(async { tokio::time::timeout(CALL_DEADLINE, call).await }) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(failed(self.name, what, error)),
            Err(_) => Err(failed(self.name, what, "no answer in time")),
        }
    }
}

impl Member for TokioMember {
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

    fn stop(&self) {
        // What is left when the deadline passes ends with the process.
        let _ = self.call("stop", async {
            self.node.stop().await;
            Ok::<(), Failure>(())
        });
    }

    fn kill(self: Box<Self>) -> Result<(), Failure> {
        self.runtime.shutdown_timeout(CALL_DEADLINE);
        Ok(())
    }
}
