//! quinn with a stream for each message: no framing, and none waits for another.

use bytes::Bytes;
use quinn::{Connection, Endpoint};
use tokio::sync::mpsc;

use super::{quic, runtime};
use crate::scenario::{Connected, Contestant, Inbox, Lane};

/// The longest message that is taken.
const LONGEST: usize = 64 << 20;
/// Messages that wait to be taken; then their streams wait.
const WAITING: usize = 1024;

/// A stream of quinn for each message.
pub struct QuicMessages;

/// Opens a stream for each message.
pub struct Opener {
    connection: Connection,
    priority: i32,
}

/// One end of a connection.
pub struct Link {
    opener: Opener,
    messages: mpsc::Receiver<Vec<u8>>,
    _endpoint: Endpoint,
}

impl Lane for Opener {
    async fn send(&mut self, payload: Bytes) {
        let mut stream = self.connection.open_uni().await.expect("opened");
        if self.priority != 0 {
            stream.set_priority(self.priority).expect("open");
        }
        stream.write_chunk(payload).await.expect("written");
        stream.finish().expect("open");
    }
}

impl Lane for Link {
    async fn send(&mut self, payload: Bytes) {
        self.opener.send(payload).await;
    }
}

impl Inbox for Link {
    async fn receive(&mut self, mut take: impl FnMut(&[u8]) + Send) {
        take(&self.messages.recv().await.expect("connected"));
        while let Ok(message) = self.messages.try_recv() {
            take(&message);
        }
    }
}

/// Reads each stream in a task of its own: none waits for one before it.
async fn accept(connection: Connection, messages: mpsc::Sender<Vec<u8>>) {
    while let Ok(mut stream) = connection.accept_uni().await {
        let messages = messages.clone();
        tokio::spawn(async move {
            let message = stream.read_to_end(LONGEST).await.expect("read");
            // Nobody listens any more at the end.
            let _ = messages.send(message).await;
        });
    }
}

async fn pair() -> [Link; 2] {
    quic::connect().await.map(|(endpoint, connection)| {
        let (sender, messages) = mpsc::channel(WAITING);
        tokio::spawn(accept(connection.clone(), sender));
        Link { opener: Opener { connection, priority: 0 }, messages, _endpoint: endpoint }
    })
}

impl Contestant for QuicMessages {
    type End = Link;
    type Bulk = Link;
    type Small = Opener;
    type Inbox = Link;

    const NAME: &'static str = "quinn, a stream per message";
    const NOTE: &'static str = "The same with a stream one way for each message and a task that \
        reads it; up to 1024 at once, raised from 100. Beside bulk the small ones have the higher \
        priority.";

    fn connect() -> Connected<Self> {
        let handle = runtime();
        let (ends, [bulk, inbox]) = handle.block_on(async { (pair().await, pair().await) });
        let small = Opener { connection: bulk.opener.connection.clone(), priority: 1 };
        Connected { handle, ends, bulk, small, inboxes: vec![inbox] }
    }
}
