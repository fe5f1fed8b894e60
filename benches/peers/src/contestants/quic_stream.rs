//! quinn with one stream that stays open, and framing by hand.

use bytes::{Bytes, BytesMut};
use headwater_benches::runtimes::{Framed, Wire};
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use tokio::io::AsyncReadExt;

use super::{quic, runtime};
use crate::scenario::{Connected, Contestant};

/// A stream of quinn.
pub struct QuicStream;

/// Both directions of a stream, and what it belongs to.
pub struct Bidirectional {
    send: SendStream,
    recv: RecvStream,
    _kept: (Endpoint, Connection),
}

impl Wire for Bidirectional {
    async fn write(&mut self, bytes: &[u8]) {
        self.send.write_all(bytes).await.expect("written");
    }

    async fn write_both(&mut self, gathered: Bytes, payload: Bytes) {
        self.send.write_all_chunks(&mut [gathered, payload]).await.expect("written");
    }

    async fn flush(&mut self) {}

    async fn read(&mut self, buffer: &mut BytesMut, room: usize) {
        buffer.reserve(room);
        let came = self.recv.read_buf(buffer).await.expect("read");
        assert!(came > 0, "the other end has gone");
    }
}

async fn open(ends: &[(Endpoint, Connection); 2], priority: i32) -> [Framed<Bidirectional>; 2] {
    let [one, two] = ends;
    let (send, recv) = one.1.open_bi().await.expect("opened");
    send.set_priority(priority).expect("open");
    let mut first = Framed::new(Bidirectional { send, recv, _kept: one.clone() });
    // The other end hears of a stream with its first bytes.
    first.send(Bytes::from_static(b"first")).await;
    first.flush().await;
    let (send, recv) = two.1.accept_bi().await.expect("accepted");
    let mut second = Framed::new(Bidirectional { send, recv, _kept: two.clone() });
    second.receive(|first| assert_eq!(first, "first")).await;
    [first, second]
}

impl Contestant for QuicStream {
    type End = Framed<Bidirectional>;
    type Bulk = Framed<Bidirectional>;
    type Small = Framed<Bidirectional>;
    type Inbox = Framed<Bidirectional>;

    const NAME: &'static str = "quinn, a stream";
    const NOTE: &'static str = "QUIC with the cipher of the ceiling, and its framing on one stream \
        that stays open. Raised: stream window from 1.25 to 4 MiB, datagrams from 1452 bytes to \
        what loopback takes, socket buffers to 4 MiB as far as the system gives them, the initial \
        congestion window to 1 MiB; the send window is 8 MiB. Beside bulk a stream for each, the \
        small ones with the higher priority.";

    fn connect() -> Connected<Self> {
        let handle = runtime();
        let (ends, [bulk, for_bulk], [small, for_small]) = handle.block_on(async {
            let ends = open(&quic::connect().await, 0).await;
            let mixed = quic::connect().await;
            (ends, open(&mixed, 0).await, open(&mixed, 1).await)
        });
        Connected { handle, ends, bulk, small, inboxes: vec![for_bulk, for_small] }
    }
}
