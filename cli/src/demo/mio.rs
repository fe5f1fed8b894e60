//! A node of the demo on mio: its loop is a thread of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::error::SendError;
use headwater_core::id::{PeerId, ProtocolId};
use headwater_identity::NodeKey;
use headwater_mio::{Builder, Handle, Started};

use super::member::{CALL_DEADLINE, Member, config, failed};
use super::scene::Scene;
use crate::failure::Failure;
use crate::net::Security;

/// A node on mio.
pub(crate) struct MioMember {
    name: &'static str,
    handle: Handle,
}

impl MioMember {
    /// Starts the node, and two threads that tell the scene what it gets.
    pub(crate) fn start(
        scene: &Arc<Scene>,
        index: usize,
        key: &NodeKey,
        security: Security,
    ) -> Result<Self, Failure> {
        let name = scene.name(index);
        let started = match security {
            Security::Tls => Builder::new(key).and_then(|builder| builder.config(config()).start()),
            Security::Insecure => Builder::insecure(key.peer_id())
                .and_then(|builder| builder.config(config()).start()),
        };
        let Started { handle, mut messages, mut notifications, .. } =
            started.map_err(|error| failed(name, "start", error))?;
        let spawn = |task: &str, work: Box<dyn FnOnce() + Send>| {
            thread::Builder::new()
                .name(format!("{name}-{task}"))
                .spawn(work)
                .map(drop)
                .map_err(|error| failed(name, "start a thread", error))
        };
        let receiver = scene.collecting();
        spawn(
            "messages",
            Box::new(move || {
                while let Some(message) = messages.recv() {
                    receiver.arrived(index, &message.peer, &message.protocol, &message.payload);
                }
            }),
        )?;
        let observer = scene.collecting();
        spawn(
            "events",
            Box::new(move || {
                while let Some(notification) = notifications.recv() {
                    observer.noted(index, &notification);
                }
            }),
        )?;
        Ok(Self { name, handle })
    }
}

impl Member for MioMember {
    fn id(&self) -> PeerId {
        self.handle.id()
    }

    fn listen(&self, port: u16) -> Result<SocketAddr, Failure> {
        let at = (Ipv4Addr::LOCALHOST, port).into();
        self.handle.listen(at).map_err(|error| failed(self.name, "listen", error))
    }

    fn require(&self, address: Address) -> Result<(), Failure> {
        let required = self.handle.require(vec![address]);
        required.map(drop).map_err(|error| failed(self.name, "require a peer", error))
    }

    fn register(&self, protocol: &ProtocolId) -> Result<(), Failure> {
        let failed = |error| failed(self.name, "register a protocol", error);
        self.handle.register(protocol.clone()).map_err(failed)
    }

    fn unregister(&self, protocol: &ProtocolId) -> Result<(), Failure> {
        let failed = |error| failed(self.name, "unregister a protocol", error);
        self.handle.unregister(protocol).map_err(failed)
    }

    fn send(&self, to: &PeerId, protocol: &ProtocolId, payload: Bytes) -> Result<(), Failure> {
        self.handle
            .send_wait(to, protocol, payload, CALL_DEADLINE)
            .map_err(|error| failed(self.name, "send", error))
    }

    fn refuses(&self, to: &PeerId, protocol: &ProtocolId) -> bool {
        matches!(self.handle.send(to, protocol, Bytes::new()), Err(SendError::NotSupported { .. }))
    }

    fn handle(&self) -> super::watch::Handle {
        super::watch::Handle::Mio(self.handle.clone())
    }

    fn stop(&self) {
        self.handle.stop();
    }

    fn kill(self: Box<Self>) -> Result<(), Failure> {
        Err(failed(self.name, "be killed", "its loop is a thread"))
    }
}
