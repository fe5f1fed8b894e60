//! The ceiling: a length in front of each message, on tokio-rustls.

use std::sync::Arc;

use bytes::Bytes;
use headwater_benches::Security;
use headwater_benches::runtimes::places::Tokio;
use headwater_benches::runtimes::{Framed, Place, framed};
use tokio::sync::Mutex;

use super::runtime;
use crate::scenario::{Connected, Contestant, Lane};

type OverTls = Framed<<Tokio as Place>::Wire>;

/// Hand-written framing on tokio-rustls.
pub struct ByHand;

/// One end for several, whose turns are a fair lock's.
pub struct Shared(Arc<Mutex<OverTls>>);

impl Lane for Shared {
    async fn send(&mut self, payload: Bytes) {
        self.0.lock().await.send(payload).await;
    }

    async fn flush(&mut self) {
        self.0.lock().await.flush().await;
    }

    async fn send_now(&mut self, payload: Bytes) {
        let mut end = self.0.lock().await;
        end.send(payload).await;
        end.flush().await;
    }
}

impl Contestant for ByHand {
    type End = OverTls;
    type Bulk = Shared;
    type Small = Shared;
    type Inbox = OverTls;

    const NAME: &'static str = "by hand, tokio-rustls";
    const NOTE: &'static str = "A length of four bytes in front of each message; small messages \
        are gathered up to 64 KiB, large ones written from where they are, and messages cut from \
        the receive buffer in place. No identity of the client, no protocols, no streams: beside \
        bulk both share one stream, whose turns are a fair lock's. The ceiling.";

    fn connect() -> Connected<Self> {
        let handle = runtime();
        let ends = handle.block_on(framed(Tokio, Security::Tls));
        let [sender, receiver] = handle.block_on(framed(Tokio, Security::Tls));
        let sender = Arc::new(Mutex::new(sender));
        let (bulk, small) = (Shared(Arc::clone(&sender)), Shared(sender));
        Connected { handle, ends, bulk, small, inboxes: vec![receiver] }
    }
}
