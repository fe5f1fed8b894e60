//! Two nodes on mio, each with a thread of its own, connected over loopback.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::id::{PeerId, ProtocolId};
use headwater_mio::{Builder, Handle, Messages, Notifications, Sender, Started};

const LONG: Duration = Duration::from_secs(60);

/// Two connected nodes; one sends, the other counts.
#[derive(Debug)]
pub struct Nodes {
    sender: Sender,
    messages: Messages,
    address: SocketAddr,
    _nodes: [(Handle, Notifications); 2],
}

fn start(digit: u8, config: Config) -> Started {
    let mut text = *b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";
    text[2] = digit;
    let id = PeerId::from_bytes(&text).expect("an id");
    Builder::insecure(id).expect("46 bytes").config(config).start().expect("started")
}

impl Nodes {
    /// Starts and connects them.
    ///
    /// # Panics
    ///
    /// If loopback does not work.
    #[must_use]
    pub fn connect() -> Self {
        Self::connect_with(Config::default())
    }

    /// The same; the one that receives has this configuration.
    ///
    /// # Panics
    ///
    /// If loopback does not work.
    #[must_use]
    pub fn connect_with(config: Config) -> Self {
        let protocol = ProtocolId::new("/bench").expect("an id");
        let (one, two) = (start(b'1', Config::default()), start(b'2', config));
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
