//! Who takes part: hand-written framing, which is the ceiling, Headwater, and what a user would
//! pick instead, each written as its users write it.

mod by_hand;
mod commonware;
mod headwater;
mod libp2p_requests;
mod libp2p_stream;
mod quic;
mod quic_messages;
mod quic_stream;
mod swarm;

pub use by_hand::ByHand;
pub use commonware::Commonware;
pub use headwater::{Batches, OneByOne};
pub use libp2p_requests::Libp2pRequests;
pub use libp2p_stream::Libp2pStream;
pub use quic_messages::QuicMessages;
pub use quic_stream::QuicStream;

use bytes::Bytes;
use headwater_benches::runtimes::{Framed, Wire};
use tokio::runtime::{Builder, Handle};

use crate::scenario::{Inbox, Lane};

/// A runtime with two worker threads, which lives as long as the process.
fn runtime() -> Handle {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    Box::leak(Box::new(runtime.expect("a runtime"))).handle().clone()
}

// Streams of bytes get the framing of the ceiling: nobody's is better or worse.

impl<W: Wire> Lane for Framed<W> {
    async fn send(&mut self, payload: Bytes) {
        Self::send(self, payload).await;
    }

    async fn flush(&mut self) {
        Self::flush(self).await;
    }
}

impl<W: Wire> Inbox for Framed<W> {
    async fn receive(&mut self, mut take: impl FnMut(&[u8]) + Send) {
        Self::receive(self, |payload| take(&payload)).await;
    }
}
