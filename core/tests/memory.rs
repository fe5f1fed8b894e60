//! What hostile peers make the node hold, counted by the allocator: less than the documented sum
//! of bounds while they are there, and nothing once they are gone (P4).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use headwater_core::config::Config;
use headwater_core::wire::{MessageKind, gzip};

#[allow(dead_code, reason = "shared with the tests of hostile peers")]
#[path = "hostile/frames.rs"]
mod frames;
#[allow(dead_code, reason = "shared with the tests of hostile peers")]
#[path = "hostile/raw.rs"]
mod raw;

use frames::{ACK, FIN, Frame, SYN, exchanger, package};
use raw::{Arena, BI, ECHO, GOOD, Manners, NONE, UNI};

struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // The harness allocates on other threads, and while this one ends.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: `place` came from `System` with this layout.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: `place` came from `System` with this layout.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What connections may lease beside what each is sure of, and what buffers have to spare.
const LEASES_MAX: usize = 8 << 20;

fn bound() -> usize {
    config().connection_memory_max() + 2 * LEASES_MAX
}

fn config() -> Config {
    let mut config = Config::default();
    config.message_max = 256 << 10;
    config.assembly_max = 1 << 20;
    config.leases_max = LEASES_MAX;
    config.receive_streams_max = 24;
    config.send_streams_max = 20;
    config.send_streams_initial = 4;
    config.inbox_max = 64 << 10;
    config.slab = 16 << 10;
    config.slabs_max = 16;
    config.outbox_max = 64 << 10;
    config.output_max = 64 << 10;
    config.window_growth_max = 1 << 20;
    config.protocols_max = 64;
    config
}

/// What an attack holds at most, above what a node with a quiet connection does.
fn peak_of(attack: impl FnOnce(&mut Arena, usize)) -> usize {
    let mut arena = Arena::new(config());
    let before = LIVE.get();
    let p = arena.opened();
    arena.peers[p].keeps = false;
    arena.keeps = false;
    PEAK.set(LIVE.get());
    attack(&mut arena, p);
    let peak = usize::try_from(PEAK.get() - before).unwrap();
    assert_counted(&arena, before);
    arena.cut(p);
    arena.takes = true;
    arena.seconds(30);
    arena.notifications = Vec::new();
    arena.peers = Vec::new();
    arena.messages = Vec::new();
    arena.news = Vec::new();
    let left = LIVE.get() - before;
    // The batch that messages are handed over in is the node's own, and keeps its memory.
    assert!(left < 4 * (64 << 10), "{left} bytes left behind");
    peak
}

/// What the node says that it holds is not below what was allocated, but for small change and
/// what the peer and the application of the test keep.
fn assert_counted(arena: &Arena, before: isize) {
    let held = usize::try_from(LIVE.get() - before).unwrap();
    let counted = arena.node.memory();
    println!("{held} bytes held, {counted} counted");
    assert!(held < counted + (1 << 20), "{held} bytes held, {counted} counted");
    assert!(counted < bound(), "{counted} bytes counted");
}

fn assert_bounded(attack: impl FnOnce(&mut Arena, usize)) {
    let peak = peak_of(attack);
    let bound = bound();
    assert!(peak < bound, "{peak} of {bound}");
}

#[test]
fn the_counter_counts() {
    let before = LIVE.get();
    let held = std::hint::black_box(vec![0_u8; 1_000_000]);
    assert_eq!(LIVE.get() - before, 1_000_000);
    drop(held);
    assert_eq!(LIVE.get(), before);
    assert!(PEAK.get() >= before + 1_000_000);
}

#[test]
fn d02_announced_lengths_cost_nothing_before_bytes_come() {
    let peak = peak_of(|arena, p| {
        for number in 0..24 {
            arena.uni(p, &Frame::data(2 * number + 1, (256_u64 << 10).to_be_bytes()).flags(SYN));
        }
    });
    assert!(peak < 1 << 20, "{peak}");
}

#[test]
fn messages_that_never_end_on_every_stream() {
    assert_bounded(|arena, p| {
        let bytes = package(ECHO, &vec![1; 250_000]);
        let bytes = &bytes[..bytes.len() - 1];
        for number in 0..24 {
            arena.stream(p, 2 * number + 1);
            arena.pour(p, 2 * number + 1, bytes);
        }
    });
}

#[test]
fn messages_of_every_size_that_nobody_takes() {
    for len in [0, 1, 10, 100, 1000, 10_000, 100_000] {
        assert_bounded(|arena, p| {
            arena.takes = false;
            let one = package(ECHO, &vec![1; len]);
            let bytes = one.repeat(600_000 / one.len());
            for number in 0..24 {
                arena.stream(p, 2 * number + 1);
                arena.pour(p, 2 * number + 1, &bytes);
            }
        });
    }
}

/// Small messages in tiny reads from many streams in turn, so that each lies in a chunk of its own.
#[test]
fn messages_in_chunks_of_their_own_that_nobody_takes() {
    assert_bounded(|arena, p| {
        arena.takes = false;
        let one = package(ECHO, &[1; 3]);
        for round in 0..6000 {
            let stream = 2 * (round % 24) + 1;
            if round < 24 {
                arena.stream(p, stream);
            }
            arena.uni(p, &Frame::data(stream, &one[..]));
        }
    });
}

#[test]
fn unpacked_messages_that_nobody_takes() {
    assert_bounded(|arena, p| {
        arena.takes = false;
        let mut packed = bytes::BytesMut::new();
        gzip::compress(&vec![0; 256 << 10], &mut packed);
        let mut one = package(ECHO, &packed);
        *one.last_mut().unwrap() = 1;
        let bytes = one.repeat(200_000 / one.len());
        for number in 0..24 {
            arena.stream(p, 2 * number + 1);
            arena.pour(p, 2 * number + 1, &bytes);
        }
    });
}

#[test]
fn a_peer_that_pings_and_opens_streams_and_never_reads() {
    let peak = peak_of(|arena, p| {
        arena.peers[p].reads = 0;
        for number in 0..5000_u32 {
            let stream = Frame::syn(2 * number + 1).encode();
            let frames = [Frame::ping(number).encode(), stream].concat();
            arena.inner_bytes(p, UNI, &frames);
            arena.inner_bytes(p, BI, &Frame::ping(number).encode());
            arena.outer(p, &Frame::ping(number));
            if arena.peers[p].ended.is_some() {
                break;
            }
        }
        arena.seconds(40);
        assert!(arena.reason(p).is_some());
    });
    assert!(peak < 1 << 20, "{peak}");
}

#[test]
fn a_million_frames_that_bring_nothing() {
    // Empty data frames spend a budget; those of streams that are gone are merely read.
    let floods = [
        (Frame::data(1, []), true),
        (Frame::update(1, 0), true),
        (Frame::ping(1), true),
        (Frame::update(999, 0).flags(ACK), false),
        (Frame::data(999, []).flags(FIN), false),
        (Frame::update(999, 5000), false),
    ];
    for (frame, ends) in floods {
        let peak = peak_of(|arena, p| {
            let many = frame.encode().repeat(1000);
            let steps = arena.steps;
            for _ in 0..1000 {
                if arena.peers[p].ended.is_none() {
                    arena.bytes(p, &many);
                }
            }
            assert!(arena.steps - steps < 1000 * 8, "{}", arena.steps - steps);
            assert_eq!(arena.reason(p).is_some(), ends, "{frame:?}");
        });
        assert!(peak < 512 << 10, "{frame:?} {peak}");
    }
}

#[test]
fn streams_opened_and_ended_without_end() {
    let peak = peak_of(|arena, p| {
        for number in 0..20_000_u32 {
            let stream = 2 * number + 1;
            let frames = [Frame::syn(stream).encode(), Frame::fin(stream).encode()].concat();
            arena.inner_bytes(p, UNI, &frames);
        }
        assert!(arena.is_connected(p));
    });
    assert!(peak < 3 << 20, "{peak}");
}

#[test]
fn lists_of_protocols_pushed_without_end() {
    assert_bounded(|arena, p| {
        let id = arena.peers[p].id;
        arena.stream(p, 1);
        for round in 0..300 {
            let names: Vec<String> =
                (0..64).map(|n| format!("{:x<1000}", format!("/{round}/{n}"))).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let list = exchanger(MessageKind::Push, id, &names);
            arena.pour(p, 1, &list);
            arena.notifications = Vec::new();
        }
    });
}

#[test]
fn what_we_send_to_a_peer_that_does_not_take_it() {
    for manners in [GOOD, Manners { credits: false, ..GOOD }, NONE] {
        for len in [10, 3000, 60_000, 256 << 10] {
            assert_bounded(|arena, p| {
                arena.peers[p].manners = manners;
                if manners.credits {
                    arena.peers[p].reads = 0;
                }
                for _ in 0..60 {
                    while arena.send(p, vec![1; len]).is_ok() {}
                    arena.seconds(1);
                }
            });
        }
    }
}

/// One message stands on a stream without credit while very many pass it by.
#[test]
fn messages_that_pass_a_stalled_one() {
    let run = |rounds: usize| {
        peak_of(|arena, p| {
            // The borrowed stream uses up its credit and gets no more.
            arena.peers[p].manners = Manners { credits: false, ..GOOD };
            let peer = arena.peers[p].id;
            let echo = raw::protocol(ECHO);
            let lane = arena.node.borrow(arena.now, &peer, &echo).unwrap();
            arena.outer(p, &Frame::update(1, 1 << 30));
            for len in [60_000, 60_000, 60_000, 60_000, 30_000] {
                let payload = vec![0; len].into();
                arena.node.send_borrowed(arena.now, lane, &echo, payload).unwrap();
                arena.run();
            }
            arena.peers[p].manners = GOOD;
            for _ in 0..rounds {
                arena.send(p, vec![1; 10]).unwrap();
            }
            assert!(arena.is_connected(p));
        })
    };
    let (short, long) = (run(1000), run(30_000));
    assert!(long < short + (256 << 10), "{short} {long}");
}

#[test]
fn d20_failed_handshakes_and_short_connections_leave_nothing() {
    let mut arena = Arena::new(config());
    let mut after = Vec::new();
    for round in 0..300 {
        // Of each peer it is remembered how it ended, so the same ones come again and again.
        let p = arena.accept_as(raw::peer_id(100 + round % 50)).unwrap();
        arena.peers[p].manners = NONE;
        match round % 5 {
            0 => {}
            1 => arena.bytes(p, &[0; 46]),
            2 => arena.say_id(p),
            3 => arena.open_outer(p),
            _ => {
                arena.peers[p].manners = GOOD;
                arena.open(p);
                arena.stream(p, 1);
                arena.message(p, 1, b"hello");
                arena.send(p, vec![1; 5000]).unwrap();
            }
        }
        if round % 2 == 0 {
            arena.eof(p);
        } else {
            arena.cut(p);
        }
        arena.seconds(6);
        arena.peers = Vec::new();
        arena.notifications = Vec::new();
        arena.messages = Vec::new();
        arena.commands = Vec::new();
        after.push(LIVE.get());
    }
    let (early, late) = (after[99], after[299]);
    assert!(late <= early + 4096, "{early} {late}");
}
