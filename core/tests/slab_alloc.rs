//! After warm-up buffers, outboxes and stream pools allocate nothing (property P5), counted for
//! real.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::VecDeque;

use bytes::Bytes;
use headwater_core::buffer::{AssemblyConfig, AssemblyPool, ChunkQueue, SlabConfig, SlabSet};
use headwater_core::id::ProtocolId;
use headwater_core::pool::{
    LargeMessage, Outbox, OutboxConfig, PoolConfig, Returned, SendStreamPool, SmallBatch,
};
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

/// Runs `round` until it has warmed up, then again, and tells how often that allocated.
fn allocations(mut round: impl FnMut()) -> usize {
    (0..200).for_each(|_| round());
    let before = ALLOCATIONS.get();
    (0..1000).for_each(|_| round());
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1_u8]))), 1000);
}

#[test]
fn slabs_with_messages_that_are_dropped_at_once() {
    let mut slabs = SlabSet::new(SlabConfig::default()).unwrap();
    let allocated = allocations(|| {
        let mut slab = slabs.take().unwrap();
        slab.extend_from_slice(&[3; 3000]);
        drop(slab.split().freeze());
        slabs.give_back(slab);
    });
    assert_eq!(allocated, 0);
}

#[test]
fn slabs_with_messages_that_stay_for_a_while() {
    let mut slabs = SlabSet::new(SlabConfig::default()).unwrap();
    let mut inbox: VecDeque<Bytes> = VecDeque::with_capacity(64);
    let mut size = 1;
    let allocated = allocations(|| {
        let mut slab = slabs.take().unwrap();
        size = (size * 7 + 1000) % 40_000;
        slab.resize(size.min(slab.capacity()), 1);
        inbox.push_back(slab.split().freeze());
        slabs.give_back(slab);
        if inbox.len() > 20 {
            inbox.pop_front();
        }
    });
    assert_eq!(allocated, 0);
    assert!(slabs.outstanding() < 25);
}

#[test]
fn assemblies_of_several_sizes() {
    let mut pool = AssemblyPool::new(AssemblyConfig::default());
    let mut turn = 0;
    let allocated = allocations(|| {
        turn += 1;
        let len = [20_000, 300_000, 70_000][turn % 3];
        let mut buffer = pool.take(len, 65_536);
        while buffer.len() < len {
            buffer.extend_from_slice(&[1; 10_000]);
        }
        drop(pool.freeze(buffer));
    });
    assert_eq!(allocated, 0);
}

#[test]
fn a_queue_of_chunks() {
    let mut queue = ChunkQueue::new();
    let chunk = Bytes::from(vec![0; 100]);
    let allocated = allocations(|| {
        (0..20).for_each(|_| queue.push(chunk.clone()));
        assert_eq!(queue.advance(1990), 1990);
        queue.clear();
    });
    assert_eq!(allocated, 0);
}

/// Two outboxes that change places, as between the application's tasks and a connection, while
/// what was taken from them is still in flight.
#[test]
fn an_outbox_with_small_and_large_messages() {
    let config = OutboxConfig::default();
    let (mut shared, mut own) = (Outbox::new(config), Outbox::new(config));
    let echo = ProtocolId::new("/echo/1.0.0").unwrap();
    let bulk = Bytes::from(vec![0; 20_000]);
    let mut flight: VecDeque<(SmallBatch, LargeMessage)> = VecDeque::with_capacity(8);
    let allocated = allocations(|| {
        for _ in 0..20 {
            assert!(shared.push_slice(&echo, &[1; 100]).is_ok());
            assert!(shared.push(&echo, bulk.slice(..50)).is_ok());
        }
        assert!(shared.push(&echo, bulk.clone()).is_ok());
        shared.swap(&mut own);
        flight.push_back((own.take_small().unwrap(), own.take_large().unwrap()));
        if flight.len() > 3 {
            flight.pop_front();
        }
    });
    assert_eq!(allocated, 0);
}

#[test]
fn a_pool_of_streams() {
    let config = PoolConfig { init: 4, cap: 20, ..PoolConfig::default() };
    let mut pool = SendStreamPool::new(config).unwrap();
    pool.start(Instant::ZERO);
    let mut lent = Vec::with_capacity(20);
    let mut next = 0;
    let allocated = allocations(|| {
        for _ in 0..15 {
            lent.extend(pool.borrow(|_| 262_144));
            for _ in 0..pool.poll_open() {
                next += 1;
                assert_eq!(pool.opened(next), Ok(Returned::Kept));
            }
        }
        for key in lent.drain(..) {
            assert_eq!(pool.give_back(key), Ok(Returned::Kept));
        }
    });
    assert_eq!(allocated, 0);
}
