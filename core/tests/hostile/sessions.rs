//! Misbehaviour on the three sessions: every way to end one ends the connection, with a reason.

use headwater_core::contract::TimerKind;
use headwater_core::error::{CloseReason, Layer};
use headwater_core::mux::{Abuse, SessionError, StreamId};

use crate::frames::{ACK, DATA, FIN, Frame, PING, RST, SYN, WINDOW};
use crate::raw::{Arena, BI, ECHO, NONE, UNI, arena, is_fin};

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Outer,
    Uni,
    Bi,
}

const PLACES: [At; 3] = [At::Outer, At::Uni, At::Bi];

fn put(arena: &mut Arena, p: usize, at: At, frame: &Frame) {
    match at {
        At::Outer => arena.outer(p, frame),
        At::Uni => arena.inner(p, UNI, frame),
        At::Bi => arena.inner(p, BI, frame),
    }
}

fn violated(at: At, error: SessionError) -> CloseReason {
    let layer = match at {
        At::Outer => Layer::Outer,
        At::Uni => Layer::Uni,
        At::Bi => Layer::Bi,
    };
    CloseReason::Session { layer, error }
}

/// A link in a phase: the outer streams are open, or it is live; made by the peer, or by the node.
fn in_phase(live: bool, inbound: bool) -> (Arena, usize) {
    let mut arena = arena();
    let p = if inbound { arena.accept() } else { arena.dial().0 };
    if live {
        arena.open(p);
    } else {
        arena.open_outer(p);
    }
    (arena, p)
}

#[test]
fn d39_the_end_of_any_session_ends_the_connection() {
    for (live, inbound) in [(false, false), (false, true), (true, false), (true, true)] {
        // Ids that belong to the node.
        let own = if inbound { 2 } else { 1 };
        let theirs = 3 - own;
        let stream = StreamId(own);
        let cases = [
            (Frame { version: 1, ..Frame::ping(0) }, SessionError::Version(1)),
            (Frame { kind: 4, ..Frame::ping(0) }, SessionError::Kind(4)),
            (Frame { kind: 255, ..Frame::ping(0) }, SessionError::Kind(255)),
            (Frame::syn(own), SessionError::Parity { stream }),
            (Frame::syn(0), SessionError::Parity { stream: StreamId(0) }),
            (Frame::data(own, *b"x").flags(SYN), SessionError::Parity { stream }),
            (Frame::go_away(1), SessionError::GoAway(1)),
            (Frame::go_away(2), SessionError::GoAway(2)),
            (Frame::go_away(u32::MAX), SessionError::GoAway(u32::MAX)),
        ];
        for at in PLACES {
            for (frame, error) in &cases {
                let (mut arena, p) = in_phase(live, inbound);
                put(&mut arena, p, at, frame);
                assert_eq!(arena.reason(p), Some(violated(at, *error)), "{at:?} {frame:?}");
                arena.assert_nothing_left();
            }
            let (mut arena, p) = in_phase(live, inbound);
            let id = theirs + 100;
            put(&mut arena, p, at, &Frame::syn(id));
            put(&mut arena, p, at, &Frame::syn(id));
            let known = match at {
                // Such a stream was reset, so its id is free.
                At::Outer | At::Bi => None,
                At::Uni => Some(SessionError::DuplicateSyn { stream: StreamId(id) }),
            };
            if inbound || at == At::Uni {
                assert_eq!(arena.reason(p), known.map(|error| violated(at, error)), "{at:?}");
            }
        }
    }
}

#[test]
fn d39_a_duplicate_syn_on_what_carries_the_sessions() {
    for (at, id) in [(At::Outer, 1), (At::Outer, 3)] {
        for live in [false, true] {
            let (mut arena, p) = in_phase(live, true);
            put(&mut arena, p, at, &Frame::syn(id));
            let error = SessionError::DuplicateSyn { stream: StreamId(id) };
            assert_eq!(arena.reason(p), Some(violated(at, error)));
            // The peer is told why.
            assert!(arena.peers[p].outer.contains(&Frame::go_away(1)));
            arena.assert_nothing_left();
        }
    }
}

#[test]
fn d39_fin_or_rst_on_an_outer_stream_alone_ends_the_connection() {
    for (live, inbound) in [(false, false), (false, true), (true, false), (true, true)] {
        for stream in [1, 3] {
            for flags in [FIN, RST, FIN | RST] {
                for kind in [DATA, WINDOW] {
                    let (mut arena, p) = in_phase(live, inbound);
                    let frame = Frame { kind, ..Frame::fin(stream).flags(flags) };
                    arena.outer(p, &frame);
                    let expected =
                        if flags == FIN { CloseReason::RemoteClosed } else { CloseReason::Opening };
                    assert_eq!(arena.reason(p), Some(expected));
                    arena.assert_nothing_left();
                }
            }
        }
    }
}

#[test]
fn more_than_the_window_on_any_session_is_a_violation() {
    for live in [false, true] {
        for (at, stream) in [(At::Outer, 1), (At::Outer, 3), (At::Bi, 2), (At::Uni, 1)] {
            if (live, at) == (true, At::Bi) {
                continue;
            }
            for length in [4 << 20, u32::MAX] {
                let (mut arena, p) = in_phase(live, true);
                if at == At::Uni {
                    arena.uni(p, &Frame::syn(1));
                }
                put(&mut arena, p, at, &Frame { length, ..Frame::data(stream, []) });
                let reason = arena.reason(p);
                let window = |error: &SessionError| matches!(error, SessionError::Window { length: l, .. } if *l == length);
                let named = matches!(&reason,
                    Some(CloseReason::Session { error, .. }) if window(error));
                assert!(named, "{at:?} {reason:?}");
                arena.assert_nothing_left();
            }
        }
    }
}

/// The first data frame of a stream may not exceed its window either.
#[test]
fn a_stream_opened_by_a_data_frame_beyond_the_window_leaves_no_orphan() {
    for at in PLACES {
        let (mut arena, p) = in_phase(true, true);
        let frame = Frame { length: 262_145, ..Frame::data(11, vec![0; 65_536]).flags(SYN) };
        put(&mut arena, p, at, &frame);
        let stream = StreamId(11);
        let error = SessionError::Window { stream, length: 262_145, credit: 262_144 };
        assert_eq!(arena.reason(p), Some(violated(at, error)));
        arena.assert_nothing_left();
    }
    let (mut arena, p) = in_phase(true, true);
    let body = crate::frames::package(ECHO, &vec![1; 262_144 - 8 - 6 - 3 - 1]);
    assert_eq!(body.len(), 262_144);
    arena.uni(p, &Frame::data(11, body).flags(SYN));
    assert_eq!(arena.messages.len(), 1);
}

#[test]
fn d108_credit_beyond_32_bits_is_a_violation_on_any_session() {
    for (at, stream) in [(At::Outer, 1), (At::Outer, 3), (At::Uni, 2), (At::Bi, 2)] {
        let (mut arena, p) = in_phase(at != At::Bi, true);
        put(&mut arena, p, at, &Frame::update(stream, 0xffff_0000));
        let error = SessionError::CreditOverflow { stream: StreamId(stream) };
        assert_eq!(arena.reason(p), Some(violated(at, error)), "{at:?}");
        arena.assert_nothing_left();
    }
    for at in PLACES {
        let (mut arena, p) = in_phase(true, true);
        put(&mut arena, p, at, &Frame { length: 0xffff_0000, ..Frame::syn(11) });
        let error = SessionError::CreditOverflow { stream: StreamId(11) };
        assert_eq!(arena.reason(p), Some(violated(at, error)), "{at:?}");
        let (mut arena, p) = in_phase(true, true);
        // The largest sum that fits is credit like any other.
        let all = u32::MAX - 262_144;
        put(&mut arena, p, at, &Frame { length: all, ..Frame::syn(11) });
        assert_eq!(arena.reason(p), None);
        assert!(arena.send(p, vec![1; 1000]).is_ok());
    }
}

#[test]
fn d108_data_on_a_stream_that_only_the_node_writes_resets_it() {
    let mut arena = arena();
    let p = arena.opened();
    let streams = arena.peers[p].opened();
    for stream in streams.iter().take(5) {
        arena.uni(p, &Frame::data(*stream, vec![0; 65_000]));
        assert!(arena.peers[p].was_reset(UNI, *stream));
    }
    assert!(arena.is_connected(p));
    // The pool makes good what it lost, and messages travel.
    for _ in 0..20 {
        arena.send(p, vec![7; 100]).unwrap();
    }
    arena.seconds(1);
    let bytes: usize =
        arena.peers[p].opened().iter().map(|s| arena.peers[p].received(UNI, *s).len()).sum();
    assert_eq!(bytes, 20 * (8 + 1 + 5 + 1 + 100 + 1));
}

#[test]
fn d108_a_graceful_close_flushes_what_was_accepted() {
    let mut arena = arena();
    let p = arena.opened();
    arena.peers[p].reads = 0;
    for _ in 0..10 {
        arena.send(p, vec![7; 20_000]).unwrap();
    }
    let peer = arena.peers[p].id;
    arena.node.disconnect(arena.now, peer).unwrap();
    arena.run();
    arena.seconds(2);
    arena.peers[p].reads = usize::MAX;
    arena.run();
    let bytes: usize =
        arena.peers[p].opened().iter().map(|s| arena.peers[p].received(UNI, *s).len()).sum();
    assert_eq!(bytes, 10 * (8 + 1 + 5 + 3 + 20_000 + 1));
    assert_eq!(arena.reason(p), Some(CloseReason::Requested));
    let fins: Vec<u32> =
        arena.peers[p].outer.iter().filter(|f| is_fin(f)).map(|f| f.stream).collect();
    assert_eq!(fins, [3, 1]);
    arena.assert_nothing_left();
}

#[test]
fn a_go_away_of_code_0_on_each_session_leaves_what_is_open_in_use() {
    for at in PLACES {
        for inbound in [true, false] {
            let (mut arena, p) = in_phase(true, inbound);
            put(&mut arena, p, at, &Frame::go_away(0));
            put(&mut arena, p, at, &Frame::go_away(0));
            assert!(arena.is_connected(p));
            for _ in 0..30 {
                arena.send(p, vec![7; 100]).unwrap();
            }
            arena.stream(p, if inbound { 1 } else { 2 });
            arena.message(p, if inbound { 1 } else { 2 }, b"hello");
            assert_eq!(arena.messages.len(), 1);
            arena.seconds(120);
            assert!(arena.is_connected(p), "{at:?} {inbound} {:?}", arena.reason(p));
        }
    }
}

/// A peer that will not let us open streams on the session of the exchange gets none.
#[test]
fn a_go_away_of_code_0_before_the_exchange_ends_by_its_deadline() {
    let mut arena = arena();
    let p = arena.accept();
    arena.say_id(p);
    let both = [Frame::syn(1).encode(), Frame::data(1, Frame::go_away(0).encode()).encode()];
    arena.bytes(p, &both.concat());
    arena.outer(p, &Frame::syn(3));
    arena.bi(p, &Frame::go_away(0));
    arena.seconds(10);
    assert_eq!(arena.reason(p), Some(CloseReason::Deadline(TimerKind::Exchange)));
    arena.assert_nothing_left();
}

/// CPU follows the bytes: frames that bring nothing are read in a few large steps, and a budget
/// ends it.
#[test]
fn frames_that_bring_nothing_trip_a_budget() {
    let floods: [(Abuse, Frame); 4] = [
        (Abuse::EmptyFrames, Frame::data(1, [])),
        (Abuse::EmptyFrames, Frame::data(77, [])),
        (Abuse::WindowUpdates, Frame::update(1, 1)),
        (Abuse::Pings, Frame::ping(5)),
    ];
    for at in PLACES {
        for (what, frame) in &floods {
            let (mut arena, p) = in_phase(true, true);
            let many = frame.encode().repeat(2000);
            let steps = arena.steps;
            match at {
                At::Outer => arena.bytes(p, &many),
                At::Uni => arena.inner_bytes(p, UNI, &many),
                At::Bi => arena.inner_bytes(p, BI, &many),
            }
            let error = SessionError::Abuse { what: *what };
            assert_eq!(arena.reason(p), Some(violated(at, error)), "{at:?} {what}");
            assert!(arena.steps - steps < 20, "{}", arena.steps - steps);
            arena.assert_nothing_left();
        }
    }
}

/// The same frames at a rate that nobody minds, for an hour.
#[test]
fn frames_that_bring_nothing_now_and_then_are_fine() {
    let (mut arena, p) = in_phase(true, true);
    arena.peers[p].keeps = false;
    for _ in 0..360 {
        for at in PLACES {
            for frame in [Frame::data(1, []), Frame::update(1, 1), Frame::ping(5)] {
                for _ in 0..10 {
                    put(&mut arena, p, at, &frame);
                }
            }
        }
        arena.seconds(10);
    }
    assert!(arena.is_connected(p), "{:?}", arena.reason(p));
}

#[test]
fn resets_and_refusals_without_end_spend_a_budget() {
    let (mut arena, p) = in_phase(true, true);
    for number in 0..3000 {
        let stream = 2 * number + 1;
        let pair = [Frame::syn(stream).encode(), Frame::rst(stream).encode()].concat();
        arena.inner_bytes(p, UNI, &pair);
        if arena.peers[p].ended.is_some() {
            break;
        }
    }
    let error = SessionError::Abuse { what: Abuse::Resets };
    assert_eq!(arena.reason(p), Some(violated(At::Uni, error)));
    arena.assert_nothing_left();
}

/// A peer that resets each stream that the node opens gets fewer and fewer of them.
#[test]
fn d36_a_peer_that_resets_every_stream_is_offered_fewer_and_fewer() {
    let (mut arena, p) = in_phase(true, true);
    let mut done = 0;
    for _ in 0..60 {
        let opened = arena.peers[p].opened();
        for stream in &opened[done..] {
            arena.uni(p, &Frame::rst(*stream));
        }
        done = opened.len();
        arena.seconds(1);
    }
    assert!(done < 400, "{done} streams in a minute");
    assert!(arena.is_connected(p));
    // One that is left alone is used.
    arena.send(p, vec![1; 10]).unwrap();
    arena.seconds(29);
    let last = *arena.peers[p].opened().last().unwrap();
    assert!(last > 0);
    let bytes: usize =
        arena.peers[p].opened().iter().map(|s| arena.peers[p].received(UNI, *s).len()).sum();
    assert_eq!(bytes, 8 + 1 + 5 + 1 + 10 + 1);
}

#[test]
fn d24_a_ping_is_answered_before_bulk_data() {
    let (mut arena, p) = in_phase(true, true);
    arena.peers[p].reads = 0;
    for _ in 0..4 {
        arena.send(p, vec![9; 200_000]).ok();
    }
    arena.queue(p, &Frame::ping(0xabcd).encode());
    arena.run();
    arena.peers[p].outer.clear();
    arena.peers[p].bytes_read = 0;
    // It reads on, in small pieces.
    let mut read = 0;
    while !arena.peers[p].outer.contains(&Frame::pong(0xabcd)) {
        arena.peers[p].reads = 1024;
        arena.run();
        read += 1024;
        assert!(read < 2 << 20, "no pong");
    }
    // Only what was in the output already stood before it: 256 KiB and a frame.
    assert!(read <= 256 * 1024 + 70_000, "{read} bytes before the pong");
}

#[test]
fn a_peer_that_is_silent_after_the_opening_is_probed_and_then_cut_off() {
    let (mut arena, p) = in_phase(true, true);
    arena.peers[p].manners = NONE;
    arena.seconds(9);
    let pings = |arena: &Arena| {
        arena.peers[p].outer.iter().filter(|f| f.kind == PING && f.flags == SYN).count()
    };
    assert_eq!(pings(&arena), 1);
    arena.seconds(1);
    assert_eq!(pings(&arena), 2);
    arena.seconds(10);
    assert_eq!(arena.reason(p), Some(CloseReason::Deadline(TimerKind::Pong)));
    arena.assert_nothing_left();
}

/// Acknowledgements and half-closes of streams that are not there, or long gone.
#[test]
fn frames_for_streams_that_are_not_there_change_nothing() {
    for at in PLACES {
        let (mut arena, p) = in_phase(true, true);
        for stream in [0, 2, 11, 4000, u32::MAX] {
            for flags in [ACK, FIN, RST, ACK | FIN | RST, 0xfff0] {
                // What the sessions stand on is not among them.
                if at != At::Uni && stream == 2 {
                    continue;
                }
                if (at, stream) == (At::Uni, 2) && flags & RST != 0 {
                    continue;
                }
                put(&mut arena, p, at, &Frame::update(stream, 0).flags(flags));
                put(&mut arena, p, at, &Frame::data(stream, []).flags(flags));
            }
            if stream > 2 {
                put(&mut arena, p, at, &Frame::data(stream, vec![1; 5000]));
            }
        }
        assert!(arena.is_connected(p), "{at:?} {:?}", arena.reason(p));
        arena.send(p, vec![1; 10]).unwrap();
        arena.stream(p, 1);
        arena.message(p, 1, b"hello");
        assert_eq!(arena.messages.len(), 1);
    }
}
