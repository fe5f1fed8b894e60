//! Hand-written framing: a length of four bytes in front of each message, small messages gathered,
//! large ones written from where they are, and messages cut from the receive buffer in place.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Wire;

/// Small messages are gathered up to so many bytes.
pub(super) const GATHER: usize = 64 * 1024;
const BY_REFERENCE: usize = 8 * 1024;

/// One end of a connection with framing around it.
#[derive(Debug)]
pub struct Framed<W> {
    wire: W,
    gathered: BytesMut,
    buffer: BytesMut,
}

impl<W: Wire> Framed<W> {
    /// Framing around an end of a connection.
    pub fn new(wire: W) -> Self {
        Self { wire, gathered: BytesMut::new(), buffer: BytesMut::new() }
    }

    /// Queues a message, and writes what is queued when that is enough.
    pub async fn send(&mut self, payload: Bytes) {
        self.gathered.put_u32(payload.len().try_into().expect("a small message"));
        if payload.len() >= BY_REFERENCE {
            self.wire.write_both(self.gathered.split().freeze(), payload).await;
            return;
        }
        self.gathered.put_slice(&payload);
        if self.gathered.len() >= GATHER {
            self.wire.write(&self.gathered).await;
            self.gathered.clear();
        }
    }

    /// Writes what is queued.
    pub async fn flush(&mut self) {
        if !self.gathered.is_empty() {
            self.wire.write(&self.gathered).await;
            self.gathered.clear();
        }
        self.wire.flush().await;
    }

    /// Waits for bytes, and gives the messages that are whole to `take`.
    pub async fn receive(&mut self, mut take: impl FnMut(Bytes)) {
        self.wire.read(&mut self.buffer, 4 * GATHER).await;
        cut(&mut self.buffer, &mut take);
    }

    /// The same with a small buffer, for connections that rarely have anything to say.
    pub async fn receive_little(&mut self, mut take: impl FnMut(Bytes)) {
        self.wire.read(&mut self.buffer, GATHER / 8).await;
        cut(&mut self.buffer, &mut take);
    }
}

/// Cuts whole messages off the front.
pub fn cut(buffer: &mut BytesMut, take: &mut impl FnMut(Bytes)) {
    while let Some(len) = buffer.first_chunk().map(|len| u32::from_be_bytes(*len) as usize) {
        if buffer.len() < 4 + len {
            let missing = 4 + len - buffer.len();
            buffer.reserve(missing);
            return;
        }
        buffer.advance(4);
        take(buffer.split_to(len).freeze());
    }
}
