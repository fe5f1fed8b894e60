//! An established connection exchanges messages without allocating (property P5), counted for
//! real: two endpoints, joined by hand over buffers that are there already.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::connection::Connection;
use headwater_core::contract::{Command, Event};
use headwater_core::endpoint::{BorrowedId, Endpoint};
use headwater_core::id::{ConnectionId, PeerId, ProtocolId};
use headwater_core::message::Batch;
use headwater_core::secure::{ChannelFactory, Insecure};
use headwater_core::seed::Seed;
use headwater_core::time::Instant;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    /// Bytes allocated and not freed by this thread.
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

/// Counts an allocation or, with fewer bytes than before, a part of memory that is freed.
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
            let mut moved = self.transfer(0) | self.transfer(1);
            for side in 0..2 {
                let taken = self.take(side);
                moved |= taken.0 > 0;
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
        self.now = self.now.after(Duration::from_micros(50));
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
    // Few bytes at a time take longer to make a connection that is in use.
    assert_eq!(allocations(1000, 3000, || pair.round(1, &payload)), 0);
}

#[test]
fn many_small_messages_at_once_allocate_nothing() {
    let (mut pair, payload) = (Pair::new(), Bytes::from_static(&[7; 128]));
    assert_eq!(allocations(100, 200, || pair.round(200, &payload)), 0);
}

#[test]
fn messages_of_a_page_allocate_nothing() {
    let (mut pair, payload) = (Pair::new(), Bytes::from_static(&[7; 4096]));
    // Until a window update has come together with a page, the output has a little less room.
    assert_eq!(allocations(500, 500, || pair.round(1, &payload)), 0);
    // Windows grow meanwhile, and room for that is leased.
    assert_eq!(allocations(300, 200, || pair.round(40, &payload)), 0);
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

#[test]
fn an_idle_connection_is_small() {
    let before = LIVE.get();
    drop(Pair::new());
    let ends = [b'1', b'2'].map(|digit| endpoint(digit, Instant::ZERO));
    let alone = LIVE.get() - before;
    drop(ends);
    let mut pair = Pair::new();
    pair.round(1, &Bytes::from_static(&[7; 128]));
    // The batch that messages are handed over in is each endpoint's own.
    pair.sides.iter_mut().for_each(|side| side.batch = Batch::default());
    pair.settle();
    let held = LIVE.get() - before - alone;
    // With it come the tables of two nodes, which begin with room for some ten peers.
    println!("{held} bytes for both ends");
    assert!(held < 55_000, "{held} bytes for both ends");
    let connection = size_of::<Connection<<Insecure as ChannelFactory>::Channel>>();
    println!("{connection} bytes for the machine");
    assert!(connection < 6500, "{connection} bytes for the machine");
    // A connection that was in use lets go of its buffers.
    (0..100).for_each(|_| pair.round(20, &Bytes::from_static(&[7; 128])));
    let busy = LIVE.get() - before - alone;
    assert!(busy > held + 50_000, "{busy} bytes while it is in use");
    for _ in 0..2 {
        pair.now = pair.now.after(Duration::from_secs(10));
        pair.sides.iter_mut().for_each(|side| side.endpoint.handle_timeout(pair.now));
        pair.settle();
    }
    let left = LIVE.get() - before - alone;
    assert!(left < held + 10_000, "{left} bytes afterwards");
}

/// Sends until the outbox is full although all bytes that can move have moved, while nobody takes
/// messages at the other end. Gives the payload bytes that were accepted.
fn stall(pair: &mut Pair, payload: &Bytes) -> usize {
    let mut accepted = 0;
    loop {
        let Side { endpoint, peer, .. } = &mut pair.sides[0];
        if endpoint.send(pair.now, peer, &pair.protocol, payload.clone()).is_ok() {
            accepted += payload.len();
        } else if !(pair.transfer(0) | pair.transfer(1)) {
            return accepted;
        }
    }
}

#[test]
fn p6_a_reader_that_stops_pins_no_more_than_the_bounds_say() {
    let config = Config::default();
    for len in [10, 128, 4096, 9000, 100_000] {
        let mut pair = Pair::new();
        let payload = Bytes::from(vec![7; len]);
        let before = LIVE.get();
        let accepted = stall(&mut pair, &payload);
        let held = usize::try_from(LIVE.get() - before).unwrap();
        // Outboxes and output at one end; slabs, the inbox and what the windows admit at the
        // other; and what their queues cost.
        let bound = 4 * (config.outbox_max + config.output_max)
            + config.slabs_max * config.slab
            + 2 * config.inbox_max
            + config.assembly_max
            + (config.receive_streams_max << 18)
            + config.window_growth_max as usize;
        assert!(held <= bound, "{len}: {held} bytes for {accepted}");
        // Nothing is lost, and in time everything is free again.
        let arrived = pair.settle().1;
        assert_eq!(arrived, accepted);
        // An idle connection keeps no buffers.
        for _ in 0..3 {
            pair.now = pair.now.after(Duration::from_secs(10));
            for side in &mut pair.sides {
                side.endpoint.handle_timeout(pair.now);
                side.batch = Batch::default();
            }
            pair.settle();
        }
        let left = LIVE.get() - before;
        // What an endpoint keeps to cut messages from is one batch, however many connections.
        let batch = if len < 100 { 2 << 20 } else { 0 };
        assert!(left < (1 << 18) + batch, "{len}: {left} bytes are left");
    }
}
