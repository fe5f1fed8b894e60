//! What a record costs in allocations, counted for real: one on each side, of rustls' own.

#![allow(missing_docs, reason = "a test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::{Bytes, BytesMut};
use headwater_core::buffer::SealedBuf;
use headwater_core::buffer::out::OutBuf;
use headwater_core::contract::Direction;
use headwater_core::secure::{ChannelFactory, SecureChannel};
use headwater_identity::NodeKey;
use headwater_tls::{Tls, TlsChannel};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    /// Bytes allocated and not freed by this thread.
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

fn count(allocations: usize, bytes: isize) {
    // The harness allocates on other threads, and while this one ends.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + allocations));
    let _ = LIVE.try_with(|live| live.set(live.get() + bytes));
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(0, -(layout.size() as isize));
        // SAFETY: `place` came from `System` with this layout.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as isize - layout.size() as isize);
        // SAFETY: `place` came from `System` with this layout.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations, and how many bytes more are live than before.
fn counted(act: impl FnOnce()) -> (usize, isize) {
    let (before, live) = (ALLOCATIONS.get(), LIVE.get());
    act();
    (ALLOCATIONS.get() - before, LIVE.get() - live)
}

fn connect() -> (TlsChannel, TlsChannel) {
    let mut tls = Tls::new(&NodeKey::generate().unwrap()).unwrap();
    let mut dialer = tls.channel(Direction::Outbound, None);
    let mut listener = tls.channel(Direction::Inbound, None);
    let (mut out, mut plain) = (SealedBuf::new(), BytesMut::with_capacity(20_000));
    while listener.peer().is_none() {
        dialer.flush(&mut out);
        listener.open(&mut carry(&mut out), &mut plain).unwrap();
        listener.flush(&mut out);
        if dialer.peer().is_none() {
            dialer.open(&mut carry(&mut out), &mut plain).unwrap();
        }
    }
    (dialer, listener)
}

fn carry(out: &mut SealedBuf) -> BytesMut {
    let wire = BytesMut::from(&out[..]);
    out.clear();
    wire
}

#[test]
fn a_record_costs_one_allocation_on_each_side_whatever_its_size() {
    let (mut dialer, mut listener) = connect();
    let mut out = OutBuf::new();
    let (mut sealed, mut wire, mut plain) = (SealedBuf::new(), BytesMut::new(), BytesMut::new());
    for len in [1, 100, 3000, 16_384] {
        let payload = Bytes::from(vec![1; len]);
        for round in 0..100 {
            out.put_shared(payload.clone());
            let sealing = counted(|| {
                assert_eq!(dialer.seal(&mut out, &mut sealed, 50_000), len);
            });
            wire.clear();
            wire.extend_from_slice(&sealed);
            sealed.clear();
            plain.clear();
            plain.reserve(17_408);
            let opened = counted(|| {
                listener.open(&mut wire, &mut plain).unwrap();
                listener.flush(&mut sealed);
            });
            assert_eq!(plain.len(), len);
            if round > 3 {
                assert_eq!((sealing, opened), ((1, 0), (1, 0)), "{len}");
            }
        }
    }
}

#[test]
fn an_open_channel_is_small() {
    let mut channels = Vec::new();
    let (_, bytes) = counted(|| channels.extend((0..50).map(|_| connect())));
    // Two channels, and what one factory has.
    let each = bytes / 50;
    println!("{each} bytes for both ends of a link, with their certificates and factory");
    assert!(each < 40_000, "{each}");
}
