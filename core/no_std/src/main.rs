//! Two nodes that connect and exchange a message, in a program that has neither std nor an
//! operating system: it links for bare metal, and as a wasm module that imports nothing.
//!
//! `run` gives the number of messages that arrived: 1.

#![no_std]
#![no_main]

extern crate alloc;

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::net::SocketAddr;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::contract::{Command, Event};
use headwater_core::endpoint::Endpoint;
use headwater_core::id::{ConnectionId, PeerId, ProtocolId};
use headwater_core::secure::Insecure;
use headwater_core::seed::Seed;
use headwater_core::time::Instant;

type Node = Endpoint<Insecure>;

const ARENA: usize = 16 << 20;

/// Memory that is handed out once and never taken back.
struct Arena {
    memory: UnsafeCell<[u8; ARENA]>,
    used: AtomicUsize,
}

// SAFETY: `used` moves by whole pieces, so that no byte of `memory` is handed out twice.
unsafe impl Sync for Arena {}

// SAFETY: every piece lies within `memory`, is aligned as asked, and is nobody else's.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.memory.get().cast::<u8>();
        // Room for the worst alignment is taken too.
        let Some(size) = layout.size().checked_add(layout.align()) else {
            return core::ptr::null_mut();
        };
        let start = self.used.fetch_add(size, Ordering::Relaxed);
        if start.saturating_add(size) > ARENA {
            return core::ptr::null_mut();
        }
        let piece = base.wrapping_add(start);
        piece.wrapping_add(piece.align_offset(layout.align()))
    }

    unsafe fn dealloc(&self, _piece: *mut u8, _layout: Layout) {}
}

#[global_allocator]
static ARENA_OF_ALL: Arena =
    Arena { memory: UnsafeCell::new([0; ARENA]), used: AtomicUsize::new(0) };

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// Where bare metal starts.
// SAFETY: no other symbol of this program has the name.
#[unsafe(no_mangle)]
pub extern "C" fn _start() -> ! {
    core::hint::black_box(run());
    loop {
        core::hint::spin_loop();
    }
}

/// Joins two nodes and gives the number of messages that one has from the other.
// SAFETY: no other symbol of this program has the name.
#[unsafe(no_mangle)]
pub extern "C" fn run() -> u32 {
    deliver().unwrap_or(0)
}

fn node(text: &[u8], now: Instant) -> Option<Node> {
    let channels = Insecure::new(PeerId::from_bytes(text).ok()?).ok()?;
    Endpoint::new(Config::default(), Seed::from_u64(1), channels, now).ok()
}

fn deliver() -> Option<u32> {
    let now = Instant::from_nanos(1);
    let at: SocketAddr = ([127, 0, 0, 1], 1).into();
    let protocol = ProtocolId::new("/proof").ok()?;
    let mut sender = node(b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC1", now)?;
    let mut receiver = node(b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC2", now)?;
    receiver.register(now, protocol.clone()).ok()?;
    let listener = receiver.listen(now, at).ok()?;
    receiver.handle_event(now, Event::Listening { listener, local: at });
    sender.dial(now, Address::from(at)).ok()?;
    let Some(Command::Dial { connection: near, .. }) = sender.poll_command() else { return None };
    sender.handle_dialed(now, near, at).ok()?;
    let far = receiver.handle_accepted(now, listener, at).ok()?;
    while carry(now, (&mut sender, near), (&mut receiver, far))?
        | carry(now, (&mut receiver, far), (&mut sender, near))?
    {}
    sender.send(now, &receiver.local(), &protocol, Bytes::from_static(b"no std")).ok()?;
    while carry(now, (&mut sender, near), (&mut receiver, far))? {}
    let mut count = 0;
    while let Some(message) = receiver.poll_message(now) {
        count += u32::from(&message.payload[..] == b"no std");
    }
    sender.stop(now);
    sender.handle_timeout(sender.next_timeout()?.at);
    Some(count)
}

/// Carries bytes one way; false when there were none.
fn carry(
    now: Instant,
    from: (&mut Node, ConnectionId),
    to: (&mut Node, ConnectionId),
) -> Option<bool> {
    let mut chunks: [&[u8]; 1] = [&[]];
    if from.0.transmit(now, from.1, &mut chunks) == 0 {
        return Some(false);
    }
    let buffer = to.0.recv_buf(to.1)?;
    let n = chunks[0].len().min(buffer.capacity() - buffer.len());
    buffer.extend_from_slice(chunks[0].get(..n)?);
    to.0.handle_received(now, to.1).ok()?;
    from.0.handle_transmitted(now, from.1, n);
    Some(true)
}
