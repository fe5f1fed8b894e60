//! rust-libp2p with a stream of the application's own, and framing by hand.

use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use headwater_benches::runtimes::{Framed, Wire};
use libp2p::{PeerId, StreamProtocol, Swarm};
use libp2p_stream::{Behaviour, Control, IncomingStreams};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};

use super::{runtime, swarm};
use crate::scenario::{Connected, Contestant};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/bench");

/// A stream of libp2p.
pub struct Libp2pStream;

/// A stream, as tokio reads and writes.
pub struct Substream(Compat<libp2p::Stream>);

impl Wire for Substream {
    async fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("written");
    }

    async fn write_both(&mut self, gathered: Bytes, payload: Bytes) {
        let mut both = gathered.chain(payload);
        while both.has_remaining() {
            self.0.write_buf(&mut both).await.expect("written");
        }
    }

    async fn flush(&mut self) {
        self.0.flush().await.expect("written");
    }

    async fn read(&mut self, buffer: &mut BytesMut, room: usize) {
        buffer.reserve(room);
        let came = self.0.read_buf(buffer).await.expect("read");
        assert!(came > 0, "the other end has gone");
    }
}

/// What opens streams to a connected peer, and where they come in.
struct Opener {
    control: Control,
    peer: PeerId,
    incoming: IncomingStreams,
}

impl Opener {
    async fn new() -> Self {
        let mut one = swarm::swarm(Behaviour::new());
        let mut two = swarm::swarm(Behaviour::new());
        let control = one.behaviour().new_control();
        let incoming = two.behaviour().new_control().accept(PROTOCOL).expect("not yet taken");
        let [_, peer] = swarm::connect(&mut one, &mut two).await;
        for swarm in [one, two] {
            tokio::spawn(drive(swarm));
        }
        Self { control, peer, incoming }
    }

    async fn open(&mut self) -> [Framed<Substream>; 2] {
        let opened = self.control.open_stream(self.peer, PROTOCOL).await.expect("opened");
        let mut one = Framed::new(Substream(opened.compat()));
        // The protocol is named with the first bytes.
        one.send(Bytes::from_static(b"first")).await;
        one.flush().await;
        let (_, accepted) = self.incoming.next().await.expect("accepted");
        let mut two = Framed::new(Substream(accepted.compat()));
        two.receive(|first| assert_eq!(first, "first")).await;
        [one, two]
    }
}

async fn drive(mut swarm: Swarm<Behaviour>) {
    loop {
        swarm.select_next_some().await;
    }
}

impl Contestant for Libp2pStream {
    type End = Framed<Substream>;
    type Bulk = Framed<Substream>;
    type Small = Framed<Substream>;
    type Inbox = Framed<Substream>;

    const NAME: &'static str = "rust-libp2p, a stream";
    const NOTE: &'static str = "TCP without delay, TLS (Noise would use ChaCha20), yamux; \
        `libp2p-stream`, with the framing of the ceiling on one stream that stays open. yamux \
        widens its windows by itself. Beside bulk a stream for each.";

    fn connect() -> Connected<Self> {
        let handle = runtime();
        let (ends, [bulk, for_bulk], [small, for_small]) = handle.block_on(async {
            let mut opener = Opener::new().await;
            let ends = opener.open().await;
            let mut opener = Opener::new().await;
            (ends, opener.open().await, opener.open().await)
        });
        Connected { handle, ends, bulk, small, inboxes: vec![for_bulk, for_small] }
    }
}
