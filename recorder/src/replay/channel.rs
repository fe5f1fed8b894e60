//! A secure channel that gives the answers of then.

use bytes::{Buf, BufMut, BytesMut};
use headwater_core::buffer::SealedBuf;
use headwater_core::buffer::out::OutBuf;
use headwater_core::id::PeerId;
use headwater_core::record::{Note, Outcome};
use headwater_core::secure::{ChannelError, Opened, SecureChannel};

use super::cursor::Cursor;

/// The channel of a connection that is run again.
#[derive(Debug)]
pub(super) struct Remembered {
    cursor: Cursor,
    transparent: bool,
    peer: Option<PeerId>,
    closed: bool,
}

impl Remembered {
    pub(super) fn new(cursor: Cursor, transparent: bool) -> Self {
        Self { cursor, transparent, peer: None, closed: false }
    }
}

impl SecureChannel for Remembered {
    fn open(&mut self, input: &mut BytesMut, plain: &mut BytesMut) -> Result<Opened, ChannelError> {
        let Some((step, Note::Opened { consumed, opened, outcome })) = self.cursor.peek() else {
            return Ok(Opened::Waiting);
        };
        let bytes = self.cursor.bytes(step).unwrap_or_default();
        let (said, rest) = bytes.split_at(opened.min(bytes.len()));
        input.advance(consumed.min(input.len()));
        plain.put_slice(said);
        // What came behind the handshake of a transparent channel.
        let len = rest.len().min(input.len());
        input[..len].copy_from_slice(&rest[..len]);
        match *outcome {
            Outcome::Waiting => Ok(Opened::Waiting),
            Outcome::Proven(peer) => {
                self.peer = peer;
                Ok(Opened::Proven)
            }
            Outcome::Closed => Ok(Opened::Closed),
            Outcome::Failed(error) => Err(error),
        }
    }

    fn flush(&mut self, out: &mut SealedBuf) {
        if let Some((_, Note::Flushed { bytes, last })) = self.cursor.peek() {
            if last == self.closed {
                out.put(&vec![0; bytes.min(FLUSHED_MAX)]);
            }
        }
    }

    fn seal(&mut self, plain: &mut OutBuf, out: &mut SealedBuf, _out_max: usize) -> usize {
        let Some((_, Note::Sealed { plain: taken, sealed })) = self.cursor.peek() else { return 0 };
        let taken = taken.min(plain.len());
        plain.advance(taken);
        out.put(&vec![0; sealed.min(FLUSHED_MAX)]);
        taken
    }

    fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    fn is_transparent(&self) -> bool {
        self.transparent
    }

    fn close(&mut self) {
        self.closed = true;
    }

    fn handle_eof(&mut self) -> Result<(), ChannelError> {
        match self.cursor.peek() {
            Some((_, Note::ChannelEof(Some(error)))) => Err(*error),
            _ => Ok(()),
        }
    }
}

/// A channel never says more at a time than an output and what ends it, in bytes.
const FLUSHED_MAX: usize = 64 << 20;
