//! An established connection exchanges messages without allocating (property P5), counted for
//! real: two endpoints, joined by hand over buffers that are there already.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::contract::{Command, Event};
use headwater_core::endpoint::{BorrowedId, Endpoint};
use headwater_core::id::{ConnectionId, PeerId, ProtocolId};
use headwater_core::message::Batch;
use headwater_core::secure::Insecure;
use headwater_core::seed::Seed;
use headwater_core::time::Instant;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // The harness allocates on other threads, and while this one ends.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: `place` came from `System` with this layout.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: `place` came from `System` with this layout.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What one transmit moves at most: more than a socket takes at once.
const CHUNKS: usize = 64;

struct Side {
    endpoint: Endpoint<Insecure>,
    connection: ConnectionId,
    peer: PeerId,
    batch: Batch,
}

struct Pair {
    now: Instant,
    sides: [Side; 2],
    protocol: ProtocolId,
    /// Bytes of one read at most.
    read_max: usize,
}

fn endpoint(digit: u8, now: Instant) -> Endpoint<Insecure> {
    let mut text = *b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";
    text[2] = digit;
    let channels = Insecure::new(PeerId::from_bytes(&text).unwrap()).unwrap();
    Endpoint::new(Config::default(), Seed::from_u64(1), channels, now).unwrap()
}

impl Pair {
    fn new() -> Self {
        let now = Instant::from_nanos(1);
        let protocol = ProtocolId::new("/bench").unwrap();
        let (mut dialer, mut listener) = (endpoint(b'1', now), endpoint(b'2', now));
        let local: SocketAddr = ([127, 0, 0, 1], 1).into();
        let bound = listener.listen(now, local).unwrap();
        listener.handle_event(now, Event::Listening { listener: bound, local });
        for endpoint in [&mut dialer, &mut listener] {
            endpoint.register(now, protocol.clone()).unwrap();
        }
        dialer.dial(now, Address::from(local)).unwrap();
        let Some(Command::Dial { connection, .. }) = dialer.poll_command() else {
            panic!("no dial")
        };
        dialer.handle_dialed(now, connection, local).unwrap();
        let accepted = listener.handle_accepted(now, bound, local).unwrap();
        let (one, two) = (dialer.local(), listener.local());
        let side = |endpoint, connection, peer| {
            let batch = Batch::default();
            Side { endpoint, connection, peer, batch }
        };
        let sides = [side(dialer, connection, two), side(listener, accepted, one)];
        let mut pair = Self { now, sides, protocol, read_max: usize::MAX };
        pair.settle();
        for side in &mut pair.sides {
            assert!(side.endpoint.route(&side.peer).is_some(), "not connected");
            while side.endpoint.poll_notification().is_some() {}
        }
        pair
    }

    /// Moves bytes one way; false when there were none.
    fn transfer(&mut self, from: usize) -> bool {
        let now = self.now;
        let (left, right) = self.sides.split_at_mut(1);
        let (from, to) =
            if from == 0 { (&mut left[0], &mut right[0]) } else { (&mut right[0], &mut left[0]) };
        if !from.endpoint.wants_transmit(from.connection) {
            return false;
        }
        let mut chunks: [&[u8]; CHUNKS] = [&[]; CHUNKS];
        let count = from.endpoint.transmit(now, from.connection, &mut chunks);
        let Some(buffer) = to.endpoint.recv_buf(to.connection) else { return false };
        let mut moved = 0;
        for chunk in &chunks[..count] {
            let room = (buffer.capacity() - buffer.len()).min(self.read_max - moved);
            let piece = &chunk[..chunk.len().min(room)];
            buffer.extend_from_slice(piece);
            moved += piece.len();
            if piece.len() < chunk.len() {
                break;
            }
        }
        to.endpoint.handle_received(now, to.connection).unwrap();
        from.endpoint.handle_transmitted(now, from.connection, moved);
        moved > 0
    }

    /// Takes what came and drops it; gives its number of messages and of bytes.
    fn take(&mut self, to: usize) -> (usize, usize) {
        let Side { endpoint, batch, .. } = &mut self.sides[to];
        let (mut messages, mut bytes) = (0, 0);
        while endpoint.take_messages(self.now, batch) {
            while let Some(message) = batch.pop() {
                messages += 1;
                bytes += message.payload.len();
            }
        }
        while endpoint.poll_ready().is_some() {}
        (messages, bytes)
    }

    fn settle(&mut self) -> (usize, usize) {
        let (mut messages, mut bytes) = (0, 0);
        loop {
            let moved = self.transfer(0) | self.transfer(1);
            for side in 0..2 {
                let taken = self.take(side);
                messages += taken.0;
                bytes += taken.1;
            }
            if !moved {
                return (messages, bytes);
            }
        }
    }

    fn send(&mut self, from: usize, payload: &Bytes) {
        let Side { endpoint, peer, .. } = &mut self.sides[from];
        endpoint.send(self.now, peer, &self.protocol, payload.clone()).unwrap();
    }

    /// Both sides send `messages` of these, and everything arrives.
    fn round(&mut self, messages: usize, payload: &Bytes) {
        for from in 0..2 {
            (0..messages).for_each(|_| self.send(from, payload));
        }
        // Time passes, as it does.
        self.now = self.now.after(std::time::Duration::from_micros(50));
        let arrived = self.settle();
        assert_eq!(arrived, (2 * messages, 2 * messages * payload.len()));
    }
}

/// Runs `round` until it has warmed up, then again, and tells how often that allocated.
fn allocations(warm: usize, measured: usize, mut round: impl FnMut()) -> usize {
    (0..warm).for_each(|_| round());
    let before = ALLOCATIONS.get();
    (0..measured).for_each(|_| round());
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(1, 100, || drop(std::hint::black_box(vec![1_u8]))), 100);
}

#[test]
fn single_small_messages_allocate_nothing() {
    let (mut pair, payload) = (Pair::new(), Bytes::from_static(&[7; 128]));
    assert_eq!(allocations(500, 2000, || pair.round(1, &payload)), 0);
}

#[test]
fn many_small_messages_at_once_allocate_nothing() {
    let (mut pair, payload) = (Pair::new(), Bytes::from_static(&[7; 128]));
    assert_eq!(allocations(100, 200, || pair.round(200, &payload)), 0);
}

#[test]
fn messages_of_a_page_allocate_nothing() {
    let (mut pair, payload) = (Pair::new(), Bytes::from_static(&[7; 4096]));
    assert_eq!(allocations(200, 500, || pair.round(1, &payload)), 0);
    assert_eq!(allocations(100, 100, || pair.round(40, &payload)), 0);
}

#[test]
fn messages_of_a_mebibyte_allocate_nothing() {
    let (mut pair, payload) = (Pair::new(), Bytes::from(vec![7; 1 << 20]));
    let _shared = payload.clone();
    assert_eq!(allocations(20, 20, || pair.round(1, &payload)), 0);
}

#[test]
fn messages_of_all_sizes_together_allocate_nothing() {
    let mut pair = Pair::new();
    let payloads = [128, 4096, 100_000, 20_000].map(|len| Bytes::from(vec![7; len]));
    let _shared = payloads.clone();
    let mixed = || {
        for payload in &payloads {
            (0..2).for_each(|from| pair.send(from, payload));
        }
        assert_eq!(pair.settle().0, 8);
    };
    assert_eq!(allocations(100, 100, mixed), 0);
}

#[test]
fn messages_that_no_read_holds_as_a_whole_allocate_nothing() {
    let mut pair = Pair::new();
    pair.read_max = 1500;
    for len in [128, 4096, 20_000] {
        let payload = Bytes::from(vec![7; len]);
        let _shared = payload.clone();
        assert_eq!(allocations(300, 100, || pair.round(12, &payload)), 0, "{len}");
    }
}

#[test]
fn a_borrowed_stream_allocates_nothing() {
    let (mut pair, payload) = (Pair::new(), Bytes::from_static(&[7; 128]));
    let Side { endpoint, peer, .. } = &mut pair.sides[0];
    let stream: BorrowedId = endpoint.borrow(pair.now, peer, &pair.protocol).unwrap();
    let one = || {
        let endpoint = &mut pair.sides[0].endpoint;
        endpoint.send_borrowed(pair.now, stream, &pair.protocol, payload.clone()).unwrap();
        assert_eq!(pair.settle().0, 1);
        while pair.sides[0].endpoint.poll_borrowed().is_some() {}
    };
    assert_eq!(allocations(200, 500, one), 0);
}
