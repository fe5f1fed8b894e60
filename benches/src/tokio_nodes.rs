//! Two nodes on tokio, connected over loopback.

use std::net::SocketAddr;

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::id::ProtocolId;
use headwater_recorder::Recorder;
use headwater_tokio::{Builder, Messages, Node, Notifications, Sender, Started};

use crate::Security;

/// Two connected nodes; one sends, the other counts.
#[derive(Debug)]
pub struct Nodes {
    sender: Sender,
    messages: Option<Messages>,
    address: SocketAddr,
    _nodes: [(Node, Notifications); 2],
}

fn start(digit: u8, security: Security, config: Config, recorder: Option<Recorder>) -> Started {
    let started = match security {
        Security::Insecure => Builder::insecure(crate::peer_id(digit))
            .and_then(|builder| builder.config(config).recorder(recorder).start()),
        Security::Tls => Builder::new(&crate::key())
            .and_then(|builder| builder.config(config).recorder(recorder).start()),
    };
    started.expect("started")
}

impl Nodes {
    /// Starts and connects them.
    ///
    /// # Panics
    ///
    /// If loopback does not work.
    pub async fn connect(security: Security) -> Self {
        Self::connect_with(security, Config::default()).await
    }

    /// The same; the one that receives has this configuration.
    ///
    /// # Panics
    ///
    /// If loopback does not work.
    pub async fn connect_with(security: Security, config: Config) -> Self {
        Self::connect_recorded(security, config, [None, None]).await
    }

    /// The same; each of them is recorded by one of these.
    ///
    /// # Panics
    ///
    /// If loopback does not work.
    pub async fn connect_recorded(
        security: Security,
        config: Config,
        [of_one, of_two]: [Option<Recorder>; 2],
    ) -> Self {
        let protocol = ProtocolId::new("/bench").expect("an id");
        let one = start(b'1', security, Config::default(), of_one);
        let two = start(b'2', security, config, of_two);
        two.node.register(protocol.clone()).await.expect("registered");
        let address = two.node.listen(([127, 0, 0, 1], 0).into()).await.expect("listening");
        let peer = one.node.dial(Address::from(address)).await.expect("connected");
        let sender = one.node.sender(&peer, &protocol).expect("supported");
        let _nodes = [(one.node, one.notifications), (two.node, two.notifications)];
        drop(one.messages);
        Self { sender, messages: Some(two.messages), address, _nodes }
    }

    /// Where the one that receives listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends `count` fresh copies of `message` and returns when all have been received.
    ///
    /// # Panics
    ///
    /// If the nodes lose each other.
    pub async fn transfer(&mut self, message: &Bytes, count: usize) {
        let mut messages = self.messages.take().expect("put back");
        let reader = tokio::spawn(async move {
            for _ in 0..count {
                std::hint::black_box(messages.recv().await.expect("a message"));
            }
            messages
        });
        let (mut sender, message) = (self.sender.clone(), message.clone());
        let writer = tokio::spawn(async move {
            for _ in 0..count {
                let payload = Bytes::copy_from_slice(&message);
                sender.send_wait(payload).await.expect("sent");
            }
        });
        writer.await.expect("sent");
        self.messages = Some(reader.await.expect("received"));
    }
}
