//! Moving the bytes of one connection: the same for both kinds of hosts.

use bytes::BytesMut;
use headwater_core::contract::IoCause;
use headwater_core::time::Instant;

use super::Cx;
use crate::net::{Moved, Socket};
use crate::trace::trace;

/// Pieces of one vectored write.
const PIECES: usize = 32;
/// Writes, and reads, of one round.
const MOVES_MAX: usize = 16;

/// The two bits that a driver keeps of a socket, cleared only by what would block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bits {
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The end of the bytes was told.
    pub(super) ended: bool,
}

impl Bits {
    pub(super) const fn new() -> Self {
        Self { readable: true, writable: true, ended: false }
    }
}

/// The byte side of a connection, whoever owns it.
pub(super) trait Bytes {
    fn wants_transmit(&self) -> bool;
    fn transmit<'a>(&'a mut self, now: Instant, chunks: &mut [&'a [u8]]) -> usize;
    fn handle_transmitted(&mut self, now: Instant, n: usize);
    fn recv_buf(&mut self) -> Option<&mut BytesMut>;
    /// What has to come before the bytes that were read.
    fn before_received(&mut self, _now: Instant) {}
    fn handle_received(&mut self, now: Instant);
    fn handle_eof(&mut self, now: Instant);
    fn handle_io_error(&mut self, now: Instant, cause: IoCause);
}

/// Writes and reads until neither can be done, or the share of one round is used up; then true.
pub(super) fn serve(
    bits: &mut Bits,
    socket: Socket,
    bytes: &mut impl Bytes,
    cx: &mut Cx<'_, '_>,
) -> bool {
    let wrote_all = write(bits, socket, bytes, cx);
    let read_all = read(bits, socket, bytes, cx);
    !(wrote_all && read_all)
}

fn write(bits: &mut Bits, socket: Socket, bytes: &mut impl Bytes, cx: &mut Cx<'_, '_>) -> bool {
    let now = cx.now;
    for _ in 0..MOVES_MAX {
        if !bits.writable || !bytes.wants_transmit() {
            return true;
        }
        let mut chunks: [&[u8]; PIECES] = [&[]; PIECES];
        let count = bytes.transmit(now, &mut chunks);
        if count == 0 {
            return true;
        }
        let moved = cx.net.write(cx.time, socket, &chunks[..count]);
        match moved {
            Moved::Bytes(n) => {
                trace!(cx.trace, "    writes {n}");
                bytes.handle_transmitted(now, n);
            }
            Moved::WouldBlock | Moved::Ended => bits.writable = false,
            Moved::Broken(cause) => {
                bits.writable = false;
                bytes.handle_io_error(now, cause);
                return true;
            }
        }
    }
    false
}

fn read(bits: &mut Bits, socket: Socket, bytes: &mut impl Bytes, cx: &mut Cx<'_, '_>) -> bool {
    let now = cx.now;
    for _ in 0..MOVES_MAX {
        if !bits.readable || bits.ended {
            return true;
        }
        let Some(buffer) = bytes.recv_buf() else { return true };
        let moved = cx.net.read(cx.time, socket, buffer, cx.trace);
        match moved {
            Moved::Bytes(n) => {
                trace!(cx.trace, "    reads {n}");
                bytes.before_received(now);
                bytes.handle_received(now);
            }
            Moved::WouldBlock => {
                bits.readable = false;
                // An empty buffer is not kept by a connection that waits.
                bytes.handle_received(now);
            }
            Moved::Ended => {
                trace!(cx.trace, "    reads the end");
                bits.ended = true;
                bytes.handle_eof(now);
            }
            Moved::Broken(cause) => {
                trace!(cx.trace, "    is broken: {cause}");
                bits.ended = true;
                bits.writable = false;
                bytes.handle_io_error(now, cause);
            }
        }
    }
    false
}
