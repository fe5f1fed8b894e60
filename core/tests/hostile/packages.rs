//! Misbehaviour on receive streams: packages, gzip, stalled messages, too many streams.

use bytes::BytesMut;
use headwater_core::config::Config;
use headwater_core::error::{CloseReason, Offence};
use headwater_core::wire::gzip;

use crate::frames::{FIN, Frame, SYN, framed, package};
use crate::raw::{Arena, ECHO, UNI, arena};

/// A live link on which the peer has opened streams 1 and 3.
fn live() -> (Arena, usize) {
    let mut arena = arena();
    let p = arena.opened();
    arena.stream(p, 1);
    arena.stream(p, 3);
    (arena, p)
}

/// The stream was reset, the connection and another stream live on.
fn assert_only_reset(arena: &mut Arena, p: usize, stream: u32, other: u32) {
    assert!(arena.peers[p].was_reset(UNI, stream), "{:?}", arena.reason(p));
    arena.messages.clear();
    arena.message(p, other, b"lives on");
    assert_eq!(arena.messages.len(), 1);
    // What was on its way when the reset left is skipped.
    arena.uni(p, &Frame::data(stream, package(ECHO, b"late")));
    assert_eq!(arena.messages.len(), 1);
    assert!(arena.is_connected(p));
}

#[test]
fn d01_an_absurd_length_resets_its_stream_through_a_connection() {
    for length in [u64::MAX, u64::MAX / 2, 1 << 63, 1 << 48, (16 << 20) + 6000] {
        let (mut arena, p) = live();
        arena.uni(p, &Frame::data(1, length.to_be_bytes()));
        assert_only_reset(&mut arena, p, 1, 3);
    }
}

#[test]
fn d02_a_length_that_is_announced_and_never_comes_ends_by_progress() {
    let (mut arena, p) = live();
    for stream in [1, 3] {
        arena.uni(p, &Frame::data(stream, (16_u64 << 20).to_be_bytes()));
    }
    arena.uni(p, &Frame::data(1, vec![5; 10]));
    arena.seconds(25);
    assert!(arena.peers[p].was_reset(UNI, 1));
    arena.stream(p, 5);
    assert_only_reset(&mut arena, p, 1, 5);
}

#[test]
fn a_message_that_has_just_begun_is_not_judged_with_one_that_stands_still() {
    let (mut arena, p) = live();
    let mut begin = package(ECHO, &[7; 100_000]);
    begin.truncate(100);
    arena.uni(p, &Frame::data(1, begin.clone()));
    arena.seconds(9);
    arena.uni(p, &Frame::data(3, begin));
    arena.seconds(2);
    assert!(arena.peers[p].was_reset(UNI, 1));
    assert!(!arena.peers[p].was_reset(UNI, 3), "it had two seconds");
    arena.seconds(20);
    assert!(arena.peers[p].was_reset(UNI, 3));
}

#[test]
fn d03_malformed_packages_reset_their_stream_through_a_connection() {
    let name = [&[5][..], b"/echo"].concat();
    let with = |rest: &[u8]| framed(&[&name[..], rest].concat());
    let bad: [Vec<u8>; 12] = [
        vec![0; 8],
        framed(&[0x80]),
        framed(&[0x80; 11]),
        framed(&[0xff; 10]),
        framed(&[200, 1, b'/']),
        framed(&[3, 0xff, 0xfe, 0xfd, 0, 0]),
        with(&[]),
        with(&[0x80]),
        with(&[5, 1, 2]),
        with(&[0]),
        with(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0]),
        framed(&[&[0xff, 0x7f][..], &[b'a'; 100]].concat()),
    ];
    for (number, bytes) in bad.iter().enumerate() {
        for pieces in [1, bytes.len()] {
            let (mut arena, p) = live();
            for piece in bytes.chunks(bytes.len().div_ceil(pieces)) {
                arena.uni(p, &Frame::data(1, piece));
            }
            assert!(arena.peers[p].was_reset(UNI, 1), "case {number}");
            assert_only_reset(&mut arena, p, 1, 3);
        }
    }
}

#[test]
fn d04_an_unknown_protocol_is_dropped_and_the_stream_goes_on() {
    let (mut arena, p) = live();
    let long = "x".repeat(1024);
    for name in ["/unknown", "", &long, "/ech", "/echo/"] {
        if !name.is_empty() {
            arena.pour(p, 1, &package(name, b"nobody"));
            arena.pour(p, 1, &package(name, &vec![3; 400_000]));
        }
        arena.message(p, 1, b"hello");
        assert_eq!(arena.messages.pop().unwrap().payload, b"hello"[..]);
        assert_eq!(arena.messages, []);
    }
    // A protocol that is unregistered while messages are under way.
    arena.uni(p, &Frame::data(1, &package(ECHO, b"half")[..9]));
    let echo = crate::raw::protocol(ECHO);
    arena.node.unregister(arena.now, &echo).unwrap();
    arena.uni(p, &Frame::data(1, &package(ECHO, b"half")[9..]));
    arena.message(p, 1, b"more");
    assert_eq!(arena.messages, []);
    arena.node.register(arena.now, echo).unwrap();
    arena.message(p, 1, b"again");
    assert_eq!(arena.messages.len(), 1);
    assert!(arena.is_connected(p) && !arena.peers[p].was_reset(UNI, 1));
}

#[test]
fn d25_a_gzip_bomb_resets_its_stream_through_a_connection() {
    let mut bomb = BytesMut::new();
    gzip::compress(&vec![0; (16 << 20) + 1], &mut bomb);
    let body = |payload: &[u8]| {
        let mut bytes = package(ECHO, payload);
        *bytes.last_mut().unwrap() = 1;
        bytes
    };
    assert!(bomb.len() < 100_000);
    let mut cut = BytesMut::new();
    gzip::compress(b"hello hello hello hello", &mut cut);
    let mut bad_sum = cut.to_vec();
    let at = bad_sum.len() - 8;
    bad_sum[at] ^= 1;
    for payload in [&bomb[..], b"", b"no gzip", &cut[..cut.len() - 1], &bad_sum] {
        let (mut arena, p) = live();
        arena.pour(p, 1, &body(payload));
        assert_only_reset(&mut arena, p, 1, 3);
    }
    let (mut arena, p) = live();
    let mut fits = BytesMut::new();
    gzip::compress(&vec![0; 16 << 20], &mut fits);
    arena.pour(p, 1, &body(&fits));
    assert_eq!(arena.messages[0].payload.len(), 16 << 20);
}

#[test]
fn offences_without_end_close_the_connection() {
    let mut arena = arena();
    let p = arena.opened();
    for number in 0..1000 {
        let stream = 2 * number + 1;
        arena.uni(p, &Frame::data(stream, vec![0; 8]).flags(SYN));
        if arena.peers[p].ended.is_some() {
            assert_eq!(number, 32);
            break;
        }
        assert!(arena.peers[p].was_reset(UNI, stream));
    }
    let last = Offence::Package;
    assert_eq!(arena.reason(p), Some(CloseReason::Offences { last }));
    arena.assert_nothing_left();
}

#[test]
fn an_offence_a_second_is_forgiven() {
    let mut arena = arena();
    let p = arena.opened();
    for number in 0..200 {
        arena.uni(p, &Frame::data(2 * number + 1, vec![0; 8]).flags(SYN));
        arena.seconds(1);
    }
    assert!(arena.is_connected(p));
}

#[test]
fn a_message_of_a_byte_a_second_is_reset() {
    let (mut arena, p) = live();
    let bytes = package(ECHO, &[1; 1000]);
    for byte in bytes.iter().take(25) {
        if !arena.peers[p].was_reset(UNI, 1) {
            arena.uni(p, &Frame::data(1, [*byte]));
            arena.seconds(1);
        }
    }
    assert_only_reset(&mut arena, p, 1, 3);
    // A length that never ends is no message yet, and costs nothing.
    arena.uni(p, &Frame::data(3, [0]));
    arena.seconds(60);
    assert!(!arena.peers[p].was_reset(UNI, 3));
}

#[test]
fn a_slow_message_that_gains_enough_arrives() {
    let (mut arena, p) = live();
    let bytes = package(ECHO, &vec![1; 300_000]);
    for piece in bytes.chunks(5000) {
        arena.pour(p, 1, piece);
        arena.seconds(9);
    }
    assert_eq!(arena.messages.len(), 1);
}

#[test]
fn d30_a_refused_stream_is_reset_and_never_served() {
    let mut arena = arena();
    let p = arena.opened();
    for number in 0..110 {
        let stream = 2 * number + 1;
        arena.uni(p, &Frame::data(stream, package(ECHO, b"hello")).flags(SYN));
        let refused = number >= 100;
        assert_eq!(arena.peers[p].was_reset(UNI, stream), refused);
        assert_eq!(arena.peers[p].was_accepted(UNI, stream), !refused);
    }
    assert_eq!(arena.messages.len(), 100);
}

#[test]
fn d32_the_limit_holds_after_refusals_and_a_stream_that_goes_makes_room_through_a_connection() {
    let mut arena = arena();
    let p = arena.opened();
    let mut next = 1;
    let mut open = |arena: &mut Arena| {
        let stream = next;
        next += 2;
        arena.uni(p, &Frame::syn(stream));
        (stream, !arena.peers[p].was_reset(UNI, stream))
    };
    let first: Vec<(u32, bool)> = (0..100).map(|_| open(&mut arena)).collect();
    assert!(first.iter().all(|(_, open)| *open));
    for round in 0..300_usize {
        assert!(!open(&mut arena).1);
        if round % 3 == 0 {
            let gone = first[round / 3].0;
            let flags = if round % 2 == 0 { 8 } else { FIN };
            arena.uni(p, &Frame::fin(gone).flags(flags));
            assert!(open(&mut arena).1);
        }
        arena.seconds(1);
    }
    assert!(arena.is_connected(p));
}

/// Messages larger than the window, more at once than the ledger admits: each in its turn.
#[test]
fn large_messages_wait_for_the_ledger_and_all_arrive() {
    let mut arena = arena();
    let p = arena.opened();
    arena.peers[p].keeps = true;
    let mut rest: Vec<(u32, Vec<u8>)> = (0..6)
        .map(|number| (2 * number + 1, package(ECHO, &vec![number as u8; 8 << 20])))
        .collect();
    for (stream, _) in &rest {
        arena.stream(p, *stream);
    }
    for round in 0.. {
        assert!(round < 10_000, "no progress");
        for (stream, bytes) in &mut rest {
            let sent = arena.pour(p, *stream, &bytes[..bytes.len().min(1 << 20)]);
            bytes.drain(..sent);
        }
        rest.retain(|(_, bytes)| !bytes.is_empty());
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(arena.messages.len(), 6);
    assert!(arena.messages.iter().all(|message| message.payload.len() == 8 << 20));
    assert!(arena.is_connected(p));
}

/// A stream is reset while messages that had come on it wait for the application: they are not
/// lost, and what had not come whole is.
#[test]
fn what_came_before_a_reset_reaches_the_application() {
    let mut config = Config::default();
    config.inbox_max = 64 << 10;
    let mut arena = Arena::new(config);
    let p = arena.opened();
    arena.takes = false;
    arena.stream(p, 1);
    let mut bytes = package(ECHO, &[7; 1000]).repeat(200);
    bytes.extend(&package(ECHO, &[8; 50_000])[..20_000]);
    assert_eq!(arena.pour(p, 1, &bytes), bytes.len());
    arena.uni(p, &Frame::rst(1));
    arena.takes = true;
    arena.run();
    assert_eq!(arena.messages.len(), 200);
    arena.stream(p, 3);
    arena.message(p, 3, b"the next stream");
    assert_eq!(arena.messages.len(), 201);
    assert!(arena.is_connected(p));
}

/// The peer closes in order while its messages wait for the application: they are not lost.
#[test]
fn what_came_before_a_close_in_order_reaches_the_application() {
    let mut config = Config::default();
    config.inbox_max = 64 << 10;
    let mut arena = Arena::new(config);
    let p = arena.opened();
    arena.takes = false;
    let bytes = package(ECHO, &[7; 1000]).repeat(200);
    arena.stream(p, 1);
    assert_eq!(arena.pour(p, 1, &bytes), bytes.len());
    arena.uni(p, &Frame::fin(1));
    arena.outer(p, &Frame::fin(3));
    arena.outer(p, &Frame::fin(1));
    arena.eof(p);
    assert_eq!(arena.reason(p), Some(CloseReason::RemoteClosed));
    arena.seconds(1);
    arena.takes = true;
    arena.run();
    assert_eq!(arena.messages.len(), 200);
    arena.assert_nothing_left();
}

/// The same, where the driver touches the connection while the application holds a batch.
#[test]
fn what_waits_behind_a_batch_outlives_the_link() {
    let mut config = Config::default();
    config.inbox_max = 64 << 10;
    let mut arena = Arena::new(config);
    let p = arena.opened();
    arena.takes = false;
    let bytes = package(ECHO, &[7; 1000]).repeat(200);
    arena.stream(p, 1);
    assert_eq!(arena.pour(p, 1, &bytes), bytes.len());
    arena.eof(p);
    assert!(arena.peers[p].ended.is_some());
    let mut batch = headwater_core::message::Batch::default();
    let mut count = 0;
    while arena.node.take_messages(arena.now, &mut batch) {
        // A late word of the driver.
        arena.node.handle_eof(arena.now, arena.peers[p].connection);
        while batch.pop().is_some() {
            count += 1;
        }
    }
    assert_eq!(count, 200);
    arena.assert_nothing_left();
}

/// An application that never takes them does not keep them for ever.
#[test]
fn what_waits_behind_a_link_that_ended_is_dropped_after_a_while() {
    let mut arena = arena();
    arena.takes = false;
    for round in 0..80 {
        let p = arena.opened();
        arena.stream(p, 1);
        arena.pour(p, 1, &package(ECHO, &[7; 1000]).repeat(200));
        arena.eof(p);
        assert!(arena.node.connection_count() <= 65, "{round}");
        arena.peers.clear();
    }
    arena.assert_nothing_left();
    arena.takes = true;
    arena.run();
    assert_eq!(arena.messages.len(), 0);
}

/// The application sleeps: back-pressure, then everything in full.
#[test]
fn a_peer_that_fills_every_stream_is_held_by_credit() {
    let mut arena = arena();
    let p = arena.opened();
    arena.takes = false;
    arena.peers[p].keeps = true;
    let bytes = package(ECHO, &[7; 1000]).repeat(300);
    let mut sent = 0;
    let mut starts = Vec::new();
    for number in 0..100 {
        let stream = 2 * number + 1;
        arena.stream(p, stream);
        let poured = arena.pour(p, stream, &bytes);
        assert!(poured >= 262_144);
        sent += poured;
        starts.push((stream, poured));
    }
    assert!(sent <= 100 * bytes.len());
    arena.seconds(30);
    for (stream, at) in &starts {
        let more = arena.pour(p, *stream, &bytes[*at..]);
        assert_eq!(more, 0, "credit came although nobody took anything");
    }
    arena.takes = true;
    arena.run();
    for (stream, at) in &starts {
        assert_eq!(arena.pour(p, *stream, &bytes[*at..]), bytes.len() - at);
    }
    assert_eq!(arena.messages.len(), 100 * 300);
    assert!(arena.is_connected(p));
}
