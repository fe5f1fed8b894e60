//! The bytes of a connection: between its machine and its socket.

use std::io::{ErrorKind, IoSlice};
use std::task::{Context, Poll};

use headwater_core::secure::SecureChannel;
use headwater_core::time::Instant;

use super::{BYTES_MAX, Task};
use crate::cause;
use crate::link::ORDER;
use crate::runtime::{Runtime, Socket};

/// Pieces of one vectored write.
const PIECES: usize = 64;

/// Reads of one round, so that a fast peer does not keep a round from its end.
const READS_MAX: usize = 8;

impl<C: SecureChannel, R: Runtime> Task<C, R> {
    /// Writes until there is nothing to write, the socket takes no more, or the share of a poll is
    /// used up; a round that has read as much as it may still writes.
    pub(super) fn write(&mut self, now: Instant) {
        while self.writable && self.connection.wants_transmit() && self.moved < 2 * BYTES_MAX {
            let Some(socket) = &mut self.socket else { return };
            let mut chunks: [&[u8]; PIECES] = [&[]; PIECES];
            let count = self.connection.transmit(now, &mut chunks);
            if count == 0 {
                return;
            }
            let mut slices = [IoSlice::new(&[]); PIECES];
            for (slice, chunk) in slices.iter_mut().zip(&chunks[..count]) {
                *slice = IoSlice::new(chunk);
            }
            let mut cx = Context::from_waker(&self.write_waker);
            match socket.poll_write(&mut cx, &slices[..count]) {
                Poll::Ready(Ok(written)) => {
                    self.written += written;
                    self.moved += written;
                    self.gathering.begin();
                    self.connection.handle_transmitted(now, written);
                }
                Poll::Pending => self.writable = false,
                Poll::Ready(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => {
                    self.connection.handle_io_error(now, cause::of(&error));
                    return;
                }
            }
            // A small message that was sent meanwhile goes with the next write.
            self.take_signals(now);
        }
    }

    /// Reads until there is nothing to read, reading is not allowed, or the round's share is
    /// used up.
    ///
    /// A read that does not fill the buffer has emptied the socket, as a rule: runtimes remember
    /// that, and the next one asks the system nothing.
    pub(super) fn read(&mut self, now: Instant) {
        for _ in 0..READS_MAX {
            let Some(socket) = &mut self.socket else { return };
            if !self.readable {
                return;
            }
            let Some(buffer) = self.connection.recv_buf() else { return };
            let mut cx = Context::from_waker(&self.read_waker);
            match socket.poll_read(&mut cx, buffer) {
                Poll::Ready(Ok(0)) => {
                    self.readable = false;
                    self.ended = true;
                    self.connection.handle_eof(now);
                    return;
                }
                Poll::Ready(Ok(read)) => {
                    self.moved += read;
                    // Node's word came before the bytes that depend on it.
                    if self.link.wake.has(ORDER) {
                        self.take_order(now);
                    }
                    let _whole = self.connection.handle_received(now);
                }
                Poll::Pending => {
                    self.readable = false;
                    // An empty buffer is not kept by a connection that waits.
                    let _whole = self.connection.handle_received(now);
                }
                Poll::Ready(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => {
                    self.connection.handle_io_error(now, cause::of(&error));
                    return;
                }
            }
        }
    }

    /// Whether the socket can do something that the machine wants, as far as is known. Where it
    /// could not, it wakes the task when it can.
    pub(super) fn can_move(&self) -> bool {
        let may_read = self.readable && self.connection.may_read();
        self.socket.is_some() && (may_read || (self.writable && self.connection.wants_transmit()))
    }
}
