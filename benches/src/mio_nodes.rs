//! Two nodes on mio, each with a thread of its own, connected over loopback.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::id::ProtocolId;
use headwater_mio::{Builder, Handle, Messages, Notifications, Sender, Started};

use crate::Security;

const LONG: Duration = Duration::from_secs(60);

/// Two connected nodes; one sends, the other counts.
#[derive(Debug)]
pub struct Nodes {
    sender: Sender,
    messages: Messages,
    address: SocketAddr,
    _nodes: [(Handle, Notifications); 2],
}

fn start(digit: u8, security: Security, config: Config) -> Started {
    let started = match security {
        Security::Insecure => Builder::insecure(crate::peer_id(digit))
            .and_then(|builder| builder.config(config).start()),
        Security::Tls => {
            Builder::new(&crate::key()).and_then(|builder| builder.config(config).start())
        }
    };
    started.expect("started")
}

impl Nodes {
    /// Starts and connects them.
    ///
    /// # Panics
    ///
    /// If loopback does not work.
    #[must_use]
    pub fn connect(security: Security) -> Self {
        Self::connect_with(security, Config::default())
    }

    /// The same; the one that receives has this configuration.
    ///
    /// # Panics
    ///
    /// If loopback does not work.
    #[must_use]
    pub fn connect_with(security: Security, config: Config) -> Self {
        let protocol = ProtocolId::new("/bench").expect("an id");
        let one = start(b'1', security, Config::default());
        let two = start(b'2', security, config);
        two.handle.register(protocol.clone()).expect("registered");
        let address = two.handle.listen(([127, 0, 0, 1], 0).into()).expect("listening");
        let peer = one.handle.dial(Address::from(address)).expect("connected");
        let sender = one.handle.sender(&peer, &protocol).expect("supported");
        let _nodes = [(one.handle, one.notifications), (two.handle, two.notifications)];
        Self { sender, messages: two.messages, address, _nodes }
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
    pub fn transfer(&mut self, message: &[u8], count: usize) {
        let Self { sender, messages, .. } = self;
        thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..count {
                    let payload = Bytes::copy_from_slice(message);
                    sender.send_wait(payload, LONG).expect("sent");
                }
            });
            for _ in 0..count {
                std::hint::black_box(messages.recv().expect("a message"));
            }
        });
    }
}
