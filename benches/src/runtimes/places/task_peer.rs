//! Nodes whose calls are awaited.

use std::net::SocketAddr;

use bytes::Bytes;
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::message::Message;
use headwater_tokio::{Messages, Node, Sender, Started};

use crate::runtimes::{ANY, Peer};

/// A node; nobody wants to know what it tells.
#[derive(Debug)]
pub struct TaskPeer {
    node: Node,
    messages: Messages,
}

impl From<Started> for TaskPeer {
    fn from(started: Started) -> Self {
        let Started { node, messages, .. } = started;
        Self { node, messages }
    }
}

impl Peer for TaskPeer {
    type Sender = Sender;

    async fn register(&self, protocol: &ProtocolId) {
        self.node.register(protocol.clone()).await.expect("registered");
    }

    async fn listen(&self) -> SocketAddr {
        self.node.listen(ANY).await.expect("listening")
    }

    async fn dial(&self, address: SocketAddr) -> PeerId {
        self.node.dial(address.into()).await.expect("connected")
    }

    fn sender(&self, peer: &PeerId, protocol: &ProtocolId) -> Option<Sender> {
        self.node.sender(peer, protocol).ok()
    }

    async fn send(sender: &mut Sender, payload: Bytes) {
        sender.send_wait(payload).await.expect("sent");
    }

    async fn recv(&mut self) -> Message {
        self.messages.recv().await.expect("a message")
    }
}
