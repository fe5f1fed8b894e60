//! Two nodes on mio, connected over loopback, each a loop that its application turns itself: no
//! thread stands between the application and the sockets, as in the framing beside it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::error::SendError;
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::message::Batch;
use headwater_core::secure::{ChannelFactory, Insecure};
use headwater_mio::{Builder, Config, EventLoop, Notification, Tls};

/// How long a turn sleeps at most, so that a loop sees that the other one is done.
const NAP: Duration = Duration::from_millis(1);
/// Nobody turns the loops between transfers; nothing may be overdue then.
const QUIET: Duration = Duration::from_secs(3600);

/// Two connected nodes; one sends, the other counts.
#[derive(Debug)]
pub struct Turns<F: ChannelFactory> {
    sender: EventLoop<F>,
    receiver: EventLoop<F>,
    peer: PeerId,
    protocol: ProtocolId,
}

impl Turns<Insecure> {
    /// Makes and connects them, in the clear.
    ///
    /// # Panics
    ///
    /// If loopback does not work.
    #[must_use]
    pub fn insecure() -> Self {
        let build = |digit| Builder::insecure(crate::peer_id(digit)).expect("46 bytes");
        Self::connect(build(b'1'), (crate::peer_id(b'2'), build(b'2')))
    }
}

impl Turns<Tls> {
    /// Makes and connects them, over TLS.
    ///
    /// # Panics
    ///
    /// If loopback does not work.
    #[must_use]
    pub fn tls() -> Self {
        let build = |key| Builder::new(key).expect("a usable key");
        let (one, two) = (crate::key(), crate::key());
        Self::connect(build(&one), (two.peer_id(), build(&two)))
    }
}

impl<F: ChannelFactory> Turns<F> {
    fn connect(sender: Builder<F>, (peer, receiver): (PeerId, Builder<F>)) -> Self {
        let mut config = Config::default();
        config.keep_alive = QUIET;
        let protocol = ProtocolId::new("/bench").expect("an id");
        let mut sender = sender.config(config.clone()).build().expect("built");
        let mut receiver = receiver.config(config).build().expect("built");
        receiver.register(protocol.clone()).expect("registered");
        receiver.listen(([127, 0, 0, 1], 0).into()).expect("listening");
        loop {
            for node in [&mut receiver, &mut sender] {
                assert!(node.turn(Some(NAP)).expect("turned"), "stopped");
            }
            if let Some(Notification::Listening { local, .. }) = receiver.poll_notification() {
                sender.dial(Address::from(local)).expect("dialled");
            }
            match sender.poll_notification() {
                Some(Notification::Supported { protocol: other, .. }) if other == protocol => break,
                Some(Notification::DialFailed { error, .. }) => panic!("{error:?}"),
                _ => {}
            }
        }
        Self { sender, receiver, peer, protocol }
    }

    /// Sends `count` fresh copies of `message` and returns when all have been received.
    ///
    /// # Panics
    ///
    /// If the nodes lose each other.
    pub fn transfer(&mut self, message: &[u8], count: usize)
    where
        F: Send,
        F::Channel: Send,
    {
        let Self { sender, receiver, peer, protocol } = self;
        let done = &AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(move || {
                send(sender, (peer, protocol), message, count);
                while !done.load(Ordering::Acquire) {
                    sender.turn(Some(NAP)).expect("turned");
                }
            });
            let mut batch = Batch::default();
            let mut received = 0;
            while received < count {
                receiver.turn(None).expect("turned");
                while receiver.take_messages(&mut batch) {
                    while let Some(message) = batch.pop() {
                        std::hint::black_box(message);
                        received += 1;
                    }
                }
            }
            done.store(true, Ordering::Release);
        });
    }
}

/// Queues until the node says that it is full, then lets it work.
fn send<F: ChannelFactory>(
    node: &mut EventLoop<F>,
    (peer, protocol): (&PeerId, &ProtocolId),
    message: &[u8],
    count: usize,
) {
    for _ in 0..count {
        let mut payload = Bytes::copy_from_slice(message);
        loop {
            match node.send(peer, protocol, payload) {
                Ok(()) => break,
                Err(SendError::Full { payload: back }) => payload = back,
                Err(error) => panic!("{error}"),
            }
            node.turn(None).expect("turned");
        }
    }
}
