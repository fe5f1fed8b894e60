//! The bytes of a connection: between its machine and its socket.

use std::io::{ErrorKind, IoSlice};
use std::task::Context;

use headwater_core::secure::SecureChannel;
use headwater_core::time::Instant;

use super::Task;
use crate::cause;

/// Pieces of one vectored write.
const PIECES: usize = 64;

/// Reads of one round, so that a fast peer does not keep a round from its end.
const READS_MAX: usize = 8;

impl<C: SecureChannel> Task<C> {
    /// Writes until there is nothing to write or the socket takes no more.
    pub(super) fn write(&mut self, now: Instant) {
        while self.writable && self.connection.wants_transmit() {
            let Some(socket) = &self.socket else { return };
            let mut chunks: [&[u8]; PIECES] = [&[]; PIECES];
            let count = self.connection.transmit(now, &mut chunks);
            if count == 0 {
                return;
            }
            let mut slices = [IoSlice::new(&[]); PIECES];
            for (slice, chunk) in slices.iter_mut().zip(&chunks[..count]) {
                *slice = IoSlice::new(chunk);
            }
            match socket.try_write_vectored(&slices[..count]) {
                Ok(written) => {
                    self.written += written;
                    self.connection.handle_transmitted(now, written);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.connection.handle_io_error(now, cause::of(&error));
                    return;
                }
            }
            self.feed(now);
        }
    }

    /// Reads until there is nothing to read, reading is not allowed, or the round's share is
    /// used up.
    pub(super) fn read(&mut self, now: Instant) {
        for _ in 0..READS_MAX {
            let Some(socket) = &self.socket else { return };
            if !self.readable {
                return;
            }
            let Some(buffer) = self.connection.recv_buf() else { return };
            match socket.try_read_buf(buffer) {
                Ok(0) => {
                    self.readable = false;
                    self.ended = true;
                    self.connection.handle_eof(now);
                    return;
                }
                Ok(_) => {
                    // Node's word came before the bytes that depend on it.
                    self.take_order(now);
                    let _whole = self.connection.handle_received(now);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    // An empty buffer is not kept by a connection that waits.
                    let _whole = self.connection.handle_received(now);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.connection.handle_io_error(now, cause::of(&error));
                    return;
                }
            }
        }
    }

    /// Asks the socket what it can do; whether there is something that can be done now. If not,
    /// the task is woken when there is.
    pub(super) fn poll_sources(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(socket) = &self.socket else { return false };
        if !self.readable && !self.ended && socket.poll_read_ready(cx).is_ready() {
            self.readable = true;
        }
        let wants_write = self.connection.wants_transmit();
        if wants_write && !self.writable && socket.poll_write_ready(cx).is_ready() {
            self.writable = true;
        }
        let may_read = self.readable && !self.ended && self.connection.may_read();
        may_read || (wants_write && self.writable)
    }
}
