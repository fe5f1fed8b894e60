//! Two nodes on tokio, over TLS: one call for each message, or one for many.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use headwater_tokio::{
    Address, Builder, Messages, Node, NodeKey, Notifications, PeerId, ProtocolId, SendError,
    Sender, Started,
};

use super::runtime;
use crate::scenario::{Connected, Contestant, Inbox, Lane};

/// So many messages go with one call, if they do not come to [`AT_ONCE_BYTES`] before.
const AT_ONCE: usize = 256;
const AT_ONCE_BYTES: usize = 64 * 1024;

/// A call for each message.
pub struct OneByOne;

/// A call for many messages, and a look at what was received where it lies.
pub struct Batches;

/// What keeps a connection of two nodes.
type Kept = Arc<[(Node, Notifications); 2]>;

/// A sender to the other node, and what comes from there.
pub struct Single {
    sender: Sender,
    messages: Messages,
    _kept: Kept,
}

/// The same, with messages that have still to be sent.
pub struct Many {
    end: Single,
    queue: VecDeque<Bytes>,
    bytes: usize,
}

async fn node(protocol: &ProtocolId) -> Started {
    let key = NodeKey::generate().expect("randomness");
    let started = Builder::new(&key).and_then(Builder::start).expect("started");
    started.node.register(protocol.clone()).await.expect("registered");
    started
}

async fn pair() -> [Single; 2] {
    let protocol = ProtocolId::new("/bench").expect("an id");
    let (one, two) = (node(&protocol).await, node(&protocol).await);
    let address = two.node.listen(([127, 0, 0, 1], 0).into()).await.expect("listening");
    one.node.dial(Address::from(address)).await.expect("connected");
    let sender = async |from: &Node, to: PeerId| loop {
        // Until what the peer supports has come.
        if let Ok(sender) = from.sender(&to, &protocol) {
            return sender;
        }
        tokio::task::yield_now().await;
    };
    let senders = [sender(&one.node, two.node.id()).await, sender(&two.node, one.node.id()).await];
    let messages = [one.messages, two.messages];
    let kept = Arc::new([(one.node, one.notifications), (two.node, two.notifications)]);
    let [one, two] = senders;
    let [from_two, from_one] = messages;
    [
        Single { sender: one, messages: from_two, _kept: Arc::clone(&kept) },
        Single { sender: two, messages: from_one, _kept: kept },
    ]
}

impl Lane for Sender {
    async fn send(&mut self, payload: Bytes) {
        self.send_wait(payload).await.expect("sent");
    }
}

impl Lane for Single {
    async fn send(&mut self, payload: Bytes) {
        self.sender.send_wait(payload).await.expect("sent");
    }
}

impl Inbox for Single {
    async fn receive(&mut self, mut take: impl FnMut(&[u8]) + Send) {
        take(&self.messages.recv().await.expect("the node runs").payload);
    }
}

impl Lane for Many {
    async fn send(&mut self, payload: Bytes) {
        self.bytes += payload.len();
        self.queue.push_back(payload);
        if self.queue.len() >= AT_ONCE || self.bytes >= AT_ONCE_BYTES {
            self.flush().await;
        }
    }

    async fn flush(&mut self) {
        self.bytes = 0;
        while let Err(error) = self.end.sender.send_many(&mut self.queue) {
            assert!(matches!(error, SendError::Full { .. }), "{error}");
            let first = self.queue.pop_front().expect("the one that was refused");
            self.end.send(first).await;
        }
    }
}

impl Inbox for Many {
    async fn receive(&mut self, mut take: impl FnMut(&[u8]) + Send) {
        let batch = self.end.messages.recv_batch().await.expect("the node runs");
        while let Some(message) = batch.pop_ref() {
            take(message.payload);
        }
    }
}

impl Contestant for OneByOne {
    type End = Single;
    type Bulk = Sender;
    type Small = Sender;
    type Inbox = Single;

    const NAME: &'static str = "Headwater, `send`";
    const NOTE: &'static str = "The tokio adapter as it comes, both nodes proven by certificate: a \
        `send_wait` and a `recv` for each message. Beside bulk two senders of one protocol.";

    fn connect() -> Connected<Self> {
        let handle = runtime();
        let ends = handle.block_on(pair());
        let [one, two] = handle.block_on(pair());
        let (bulk, small) = (one.sender.clone(), one.sender);
        Connected { handle, ends, bulk, small, inboxes: vec![two] }
    }
}

impl Contestant for Batches {
    type End = Many;
    type Bulk = Sender;
    type Small = Sender;
    type Inbox = Many;

    const NAME: &'static str = "Headwater, `send_many`";
    const NOTE: &'static str = "The same, for who has many messages at hand: `send_many` with up to \
        256 of them or 64 KiB, and `recv_batch`, which lends each message where it was received. \
        Beside bulk as above, but received in batches.";

    fn connect() -> Connected<Self> {
        let Connected { handle, ends, bulk, small, inboxes } = OneByOne::connect();
        let many = |end| Many { end, queue: VecDeque::with_capacity(AT_ONCE), bytes: 0 };
        let inboxes = inboxes.into_iter().map(many).collect();
        Connected { handle, ends: ends.map(many), bulk, small, inboxes }
    }
}
