//! Whatever comes after an honest opening, and recorded sessions with anything changed in them:
//! the node goes on, or ends the connection for a reason that it tells (P3).

use proptest::collection::vec;
use proptest::prelude::*;

use headwater_core::config::Config;
use headwater_core::contract::Notification;

use crate::frames::{Frame, package};
use crate::raw::{Arena, ECHO, NONE, UNI};

/// A small node, so that bounds are reached soon.
fn small() -> Arena {
    let mut config = Config::default();
    config.message_max = 64 << 10;
    config.assembly_max = 1 << 20;
    config.inbox_max = 8 << 10;
    config.receive_streams_max = 12;
    config.offences_max = 3;
    config.slab = 4 << 10;
    Arena::new(config)
}

/// It goes on, or has ended with a reason; then time passes, and nothing is left.
fn assert_orderly(mut arena: Arena, p: usize) {
    let ended = arena.reason(p).is_some();
    assert_eq!(arena.is_connected(p), !ended, "{:?}", arena.notifications);
    arena.peers[p].manners.pongs = false;
    arena.takes = true;
    arena.seconds(120);
    assert!(arena.reason(p).is_some());
    let connected = |n: &&Notification| matches!(n, Notification::Connected { .. });
    let gone = |n: &&Notification| matches!(n, Notification::Disconnected { .. });
    assert_eq!(arena.notifications.iter().filter(connected).count(), 1);
    assert_eq!(arena.notifications.iter().filter(gone).count(), 1);
    arena.assert_nothing_left();
}

fn frame() -> impl Strategy<Value = Frame> {
    let kind = prop_oneof![8 => 0..4_u8, 1 => any::<u8>()];
    let version = prop_oneof![30 => Just(0), 1 => any::<u8>()];
    let flags = prop_oneof![4 => 0..16_u16, 1 => any::<u16>()];
    let stream = prop_oneof![8 => 0..14_u32, 1 => any::<u32>()];
    let length = prop_oneof![
        3 => Just(None),
        1 => prop_oneof![0..3_u32, 262_140..262_150_u32, Just(u32::MAX), any::<u32>()]
            .prop_map(Some),
    ];
    let body = prop_oneof![
        vec(any::<u8>(), 0..200),
        vec(any::<u8>(), 0..40).prop_map(|payload| package(ECHO, &payload)),
        (0..3000_u64).prop_map(|len| len.to_be_bytes().to_vec()),
    ];
    (version, kind, flags, stream, length, body).prop_map(
        |(version, kind, flags, stream, length, body)| {
            let body = if kind == 0 { body } else { Vec::new() };
            let length = length.unwrap_or(body.len() as u32);
            Frame { version, kind, flags, stream, length, body }
        },
    )
}

#[derive(Clone, Debug)]
enum Move {
    Outer(Frame),
    Inner(usize, Frame),
    Bytes(Vec<u8>),
    Send(usize),
    Takes(bool),
    Reads(usize),
    Wait(u64),
    Register(u8),
    Borrow,
}

fn step() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => frame().prop_map(Move::Outer),
        12 => (0..2_usize, frame()).prop_map(|(layer, frame)| Move::Inner(layer, frame)),
        1 => vec(any::<u8>(), 0..64).prop_map(Move::Bytes),
        3 => (0..40_000_usize).prop_map(Move::Send),
        1 => any::<bool>().prop_map(Move::Takes),
        1 => prop_oneof![Just(0_usize), 0..5000_usize, Just(usize::MAX)].prop_map(Move::Reads),
        2 => (0..8000_u64).prop_map(Move::Wait),
        1 => (0..4_u8).prop_map(Move::Register),
        1 => Just(Move::Borrow),
    ]
}

fn play(arena: &mut Arena, p: usize, step: Move) {
    let peer = arena.peers[p].id;
    match step {
        Move::Outer(frame) => arena.outer(p, &frame),
        Move::Inner(layer, frame) => arena.inner(p, layer, &frame),
        Move::Bytes(bytes) => arena.bytes(p, &bytes),
        Move::Send(len) => drop(arena.send(p, vec![1; len])),
        Move::Takes(takes) => arena.takes = takes,
        Move::Reads(reads) => {
            arena.peers[p].reads = reads;
            arena.run();
        }
        Move::Wait(millis) => arena.advance(std::time::Duration::from_millis(millis)),
        Move::Register(number) => {
            let protocol = crate::raw::protocol(&format!("/p/{number}"));
            if arena.node.register(arena.now, protocol.clone()).is_err() {
                arena.node.unregister(arena.now, &protocol).unwrap();
            }
            arena.run();
        }
        Move::Borrow => {
            let echo = crate::raw::protocol(ECHO);
            if let Ok(lane) = arena.node.borrow(arena.now, &peer, &echo) {
                drop(arena.node.send_borrowed(arena.now, lane, &echo, vec![2; 500].into()));
                arena.run();
                arena.node.give_back(arena.now, lane);
                arena.run();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn any_frames_after_an_honest_opening(steps in vec(step(), 1..60), inbound in any::<bool>()) {
        let mut arena = small();
        let p = if inbound { arena.accept() } else { arena.dial().0 };
        arena.open(p);
        for step in steps {
            play(&mut arena, p, step);
        }
        arena.peers[p].reads = usize::MAX;
        assert_orderly(arena, p);
    }

    #[test]
    fn any_bytes_after_an_honest_opening(
        bytes in vec(any::<u8>(), 0..300), inner in vec(any::<u8>(), 0..300),
        stream in vec(any::<u8>(), 0..300), inbound in any::<bool>()
    ) {
        let mut arena = small();
        let p = if inbound { arena.accept() } else { arena.dial().0 };
        arena.open(p);
        let own = if inbound { 1 } else { 2 };
        arena.stream(p, own);
        arena.uni(p, &Frame::data(own, stream));
        arena.inner_bytes(p, UNI, &inner);
        arena.bytes(p, &bytes);
        assert_orderly(arena, p);
    }

    #[test]
    fn any_bytes_at_all(bytes in vec(any::<u8>(), 0..300), inbound in any::<bool>(), id in any::<bool>()) {
        let mut arena = small();
        let p = if inbound { arena.accept() } else { arena.dial().0 };
        arena.peers[p].manners = NONE;
        if id {
            arena.say_id(p);
        }
        arena.bytes(p, &bytes);
        arena.seconds(30);
        assert!(arena.reason(p).is_some());
        arena.assert_nothing_left();
    }

    #[test]
    fn recorded_sessions_with_anything_changed(
        name in 0..3_usize, from_dialer in any::<bool>(), changes in vec(change(), 0..4),
        cuts in vec(1..400_usize, 1..20)
    ) {
        let mut bytes = recorded(name, from_dialer);
        for change in changes {
            change.apply(&mut bytes);
        }
        let mut arena = small();
        let p = if from_dialer { arena.accept() } else { arena.dial().0 };
        arena.peers[p].manners = NONE;
        let mut rest = &bytes[..];
        for cut in cuts.into_iter().cycle() {
            if rest.is_empty() || arena.peers[p].ended.is_some() {
                break;
            }
            let (first, others) = rest.split_at(cut.min(rest.len()));
            rest = others;
            arena.bytes(p, first);
        }
        arena.eof(p);
        arena.assert_nothing_left();
    }
}

/// Something that happens to recorded bytes; places are taken modulo what is there.
#[derive(Clone, Debug)]
enum Change {
    Flip(usize, u8),
    Set(usize, u8),
    Remove(usize, usize),
    Repeat(usize, usize),
    Swap(usize, usize, usize),
    Cut(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = 0..4000_usize;
    prop_oneof![
        (at.clone(), any::<u8>()).prop_map(|(at, byte)| Change::Flip(at, byte)),
        (at.clone(), prop_oneof![Just(0_u8), Just(0xff), any::<u8>()])
            .prop_map(|(at, byte)| Change::Set(at, byte)),
        (at.clone(), 0..40_usize).prop_map(|(at, len)| Change::Remove(at, len)),
        (at.clone(), 0..40_usize).prop_map(|(at, len)| Change::Repeat(at, len)),
        (at.clone(), at.clone(), 0..40_usize).prop_map(|(a, b, len)| Change::Swap(a, b, len)),
        at.prop_map(Change::Cut),
    ]
}

impl Change {
    fn apply(self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let all = bytes.len();
        let range = |at: usize, len: usize| at % all..(at % all + len).min(all);
        match self {
            Self::Flip(at, byte) => bytes[at % all] ^= byte,
            Self::Set(at, byte) => bytes[at % all] = byte,
            Self::Remove(at, len) => drop(bytes.drain(range(at, len))),
            Self::Repeat(at, len) => {
                let again = bytes[range(at, len)].to_vec();
                bytes.splice(at % all..at % all, again);
            }
            Self::Swap(a, b, len) => {
                let (a, b) = (range(a, len), range(b, len));
                let (one, two) = (bytes[a.clone()].to_vec(), bytes[b.clone()].to_vec());
                bytes.splice(a, two);
                let end = b.end.min(bytes.len());
                bytes.splice(b.start.min(end)..end, one);
            }
            Self::Cut(at) => bytes.truncate(at % all),
        }
    }
}

/// What one side of a recorded session between original nodes sent.
fn recorded(name: usize, from_dialer: bool) -> Vec<u8> {
    let text = [
        include_str!("../vectors/plain.jsonl"),
        include_str!("../vectors/gzip.jsonl"),
        include_str!("../vectors/push.jsonl"),
    ][name];
    let side = if from_dialer { "dialer" } else { "listener" };
    let mut bytes = Vec::new();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        if line["conn"] == 1 && line["from"] == side {
            let hex = line["hex"].as_str().unwrap().as_bytes();
            let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
            bytes.extend(hex.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])));
        }
    }
    bytes
}

#[test]
fn recorded_sessions_as_they_are_end_in_order() {
    for name in 0..3 {
        for from_dialer in [true, false] {
            let bytes = recorded(name, from_dialer);
            assert!(bytes.len() > 500);
            let mut arena = small();
            let p = if from_dialer { arena.accept() } else { arena.dial().0 };
            arena.peers[p].manners = NONE;
            for piece in bytes.chunks(100) {
                arena.bytes(p, piece);
            }
            let connected = |n: &Notification| matches!(n, Notification::Connected { .. });
            assert!(arena.notifications.iter().any(connected), "{:?}", arena.notifications);
            arena.eof(p);
            arena.assert_nothing_left();
        }
    }
}
