//! Misbehaviour in the protocol exchange and in what follows it.

use headwater_core::config::Config;
use headwater_core::contract::{Notification, TimerKind};
use headwater_core::error::{CloseReason, ExchangeError, Offence, Refusal};
use headwater_core::id::ProtocolId;
use headwater_core::wire::MessageKind;

use crate::frames::{FIN, Frame, RST, exchanger, framed, list, package};
use crate::raw::{Arena, BI, ECHO, UNI, arena, is_fin, peer_id};

/// Lets the peer answer the exchange with these bytes, on either side.
fn answers(bytes: &dyn Fn(&Arena, usize) -> Vec<u8>) -> [Option<CloseReason>; 2] {
    [true, false].map(|inbound| {
        let mut arena = arena();
        let p = if inbound { arena.accept() } else { arena.dial().0 };
        arena.open_outer(p);
        if !inbound {
            arena.bi(p, &Frame::syn(2));
        }
        let bytes = bytes(&arena, p);
        arena.bi(p, &Frame::data(2, bytes));
        let reason = arena.reason(p);
        if reason.is_some() {
            assert!(!arena.is_connected(p));
            arena.assert_nothing_left();
        }
        reason
    })
}

fn kind(inbound: bool) -> MessageKind {
    if inbound { MessageKind::Response } else { MessageKind::Request }
}

fn is_inbound(p: &crate::raw::Raw) -> bool {
    p.is_dialer()
}

fn both(error: ExchangeError) -> [Option<CloseReason>; 2] {
    [Some(CloseReason::Exchange(error)), Some(CloseReason::Exchange(error))]
}

#[test]
fn d71_a_list_for_somebody_else_is_refused() {
    let reasons =
        answers(&|arena, p| exchanger(kind(is_inbound(&arena.peers[p])), peer_id(77), &[ECHO]));
    assert_eq!(reasons, both(ExchangeError::WrongPeer));
}

#[test]
fn d71_a_pushed_list_for_somebody_else_resets_its_stream_and_changes_nothing() {
    for kind in [MessageKind::Push, MessageKind::PushOk] {
        let mut arena = arena();
        let p = arena.opened();
        arena.stream(p, 1);
        arena.pour(p, 1, &exchanger(kind, peer_id(77), &["/other"]));
        assert!(arena.peers[p].was_reset(UNI, 1));
        let route = arena.node.route(&arena.peers[p].id).unwrap();
        assert!(route.supports(ECHO) && !route.supports("/other"));
    }
}

#[test]
fn the_wrong_message_ends_the_exchange() {
    for wrong in [MessageKind::Push, MessageKind::PushOk] {
        let reasons = answers(&|arena, p| exchanger(wrong, arena.peers[p].id, &[]));
        assert_eq!(reasons, both(ExchangeError::WrongKind));
    }
    let reasons =
        answers(&|arena, p| exchanger(kind(!is_inbound(&arena.peers[p])), arena.peers[p].id, &[]));
    assert_eq!(reasons, both(ExchangeError::WrongKind));
    let reasons = answers(&|arena, p| {
        let list = list(kind(is_inbound(&arena.peers[p])), arena.peers[p].id, &[]);
        package(ECHO, &list)
    });
    assert_eq!(reasons, both(ExchangeError::WrongProtocol));
}

#[test]
fn what_is_no_package_or_no_list_ends_the_exchange() {
    let bad: [Vec<u8>; 8] = [
        vec![0; 8],
        vec![0xff; 8],
        framed(&[0x80; 11]),
        framed(&[200, 1]),
        package(ProtocolId::EXCHANGER, &[]),
        package(ProtocolId::EXCHANGER, &[0xff; 3]),
        package(ProtocolId::EXCHANGER, &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        package("", b"x"),
    ];
    for bytes in bad {
        let reasons = answers(&|_, _| bytes.clone());
        for reason in reasons {
            let reason = reason.unwrap();
            let expected = [ExchangeError::Malformed, ExchangeError::WrongProtocol];
            assert!(expected.iter().any(|e| reason == CloseReason::Exchange(*e)), "{reason:?}");
        }
    }
}

/// Every field at its ends, missing, and twice.
#[test]
fn every_field_of_a_list_at_its_ends() {
    let varint = |mut value: u64| {
        let mut out = Vec::new();
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
        out
    };
    let text = |tag: u8, len: u64, bytes: &[u8]| [&[tag][..], &varint(len), bytes].concat();
    let id = peer_id(1);
    let pid = text(0x0a, 46, id.as_bytes());
    let response = vec![0x18, 3];
    let name_max = vec![b'a'; 1024];
    let name_over = vec![b'a'; 1025];
    let protocols = |count: usize| text(0x12, 2, b"/a").repeat(count);
    let max_len = u64::from(u32::MAX);
    let cases: Vec<(Vec<u8>, bool)> = vec![
        ([&pid[..], &response].concat(), true),
        ([&response[..], &pid].concat(), true),
        ([&pid[..], &pid, &response, &response].concat(), true),
        ([&text(0x0a, 46, peer_id(5).as_bytes())[..], &pid, &response].concat(), true),
        ([&pid[..], &text(0x0a, 46, peer_id(5).as_bytes()), &response].concat(), false),
        ([&pid[..], &[0x18, 0, 0x18, 3]].concat(), true),
        ([&pid[..], &[0x18, 3, 0x18, 0]].concat(), false),
        (pid.clone(), false),
        (response.clone(), false),
        ([&text(0x0a, 0, b"")[..], &response].concat(), false),
        ([&text(0x0a, 61, &[b'1'; 61])[..], &response].concat(), false),
        ([&text(0x0a, max_len, id.as_bytes())[..], &response].concat(), false),
        ([&text(0x0a, u64::MAX, id.as_bytes())[..], &response].concat(), false),
        ([&pid[..], &text(0x12, 0, b""), &response].concat(), false),
        ([&pid[..], &text(0x12, 1024, &name_max), &response].concat(), true),
        ([&pid[..], &text(0x12, 1025, &name_over), &response].concat(), false),
        ([&pid[..], &text(0x12, u64::MAX, b"x"), &response].concat(), false),
        ([&pid[..], &text(0x12, 2, &[0xff, 0xfe]), &response].concat(), false),
        ([&pid[..], &protocols(1024), &response].concat(), true),
        ([&pid[..], &protocols(1025), &response].concat(), false),
        ([&pid[..], &[0x18], &varint(u64::MAX)].concat(), false),
        ([&pid[..], &[0x18], &varint(4)].concat(), false),
        ([&pid[..], &[0x18], &[0x83, 0x80, 0x80, 0x80, 0, 0]].concat(), false),
        // Fields that nobody knows are passed over, of any number and kind.
        ([&pid[..], &[0x20, 7], &response].concat(), true),
        ([&pid[..], &[0xfa, 0xff, 0xff, 0xff, 0x0f, 1, 7], &response].concat(), true),
        ([&pid[..], &[0x02, 0], &response].concat(), false),
    ];
    for (number, (message, good)) in cases.into_iter().enumerate() {
        let mut arena = arena();
        let p = arena.accept();
        arena.open_outer(p);
        arena.bi(p, &Frame::data(2, package(ProtocolId::EXCHANGER, &message)));
        assert_eq!(arena.is_connected(p), good, "case {number}: {:?}", arena.notifications);
        assert_eq!(arena.reason(p).is_none(), good);
    }
}

#[test]
fn a_silent_peer_and_one_that_ends_the_stream_end_the_exchange() {
    for inbound in [true, false] {
        let mut arena = arena();
        let p = if inbound { arena.accept() } else { arena.dial().0 };
        arena.open_outer(p);
        arena.seconds(9);
        assert_eq!(arena.reason(p), None);
        arena.seconds(1);
        assert_eq!(arena.reason(p), Some(CloseReason::Deadline(TimerKind::Exchange)));
        arena.assert_nothing_left();
        for flags in [FIN, RST] {
            let p = if inbound { arena.accept() } else { arena.dial().0 };
            arena.open_outer(p);
            if !inbound {
                arena.bi(p, &Frame::syn(2));
            }
            arena.bi(p, &Frame::update(2, 0).flags(flags));
            let ended = CloseReason::Exchange(ExchangeError::Ended);
            assert_eq!(arena.reason(p), Some(ended));
            arena.assert_nothing_left();
        }
    }
}

/// A dialer that never opens its outer streams, or only one of them.
#[test]
fn missing_outer_streams_end_at_the_deadline() {
    for streams in [&[][..], &[1]] {
        let mut arena = arena();
        let p = arena.accept();
        arena.say_id(p);
        for stream in streams {
            arena.outer(p, &Frame::syn(*stream));
        }
        arena.seconds(10);
        assert_eq!(arena.reason(p), Some(CloseReason::Deadline(TimerKind::Exchange)));
        arena.assert_nothing_left();
    }
}

#[test]
fn d49_a_request_is_answered_where_none_was_expected_and_an_exchange_that_never_comes_ends() {
    let mut config = Config::default();
    config.connections_per_peer_max = 2;
    let mut arena = Arena::new(config);
    let first = arena.opened();
    let id = arena.peers[first].id;
    // Our second connection with it, once the first is settled on both sides, is established
    // without an exchange ...
    arena.seconds(11);
    let (second, _) = arena.dial_as(id);
    arena.open_outer(second);
    assert_eq!(arena.node.route(&id).unwrap().entries().len(), 2);
    // ... but the peer has forgotten the first one.
    arena.notifications.clear();
    arena.exchange(second, &[ECHO, "/more", ProtocolId::EXCHANGER]);
    let answer = arena.peers[second].received(BI, 2);
    let expected = list(MessageKind::Response, peer_id(0), &[ECHO, ProtocolId::EXCHANGER]);
    assert_eq!(answer, package(ProtocolId::EXCHANGER, &expected));
    assert!(arena.node.route(&id).unwrap().supports("/more"));
    assert!(matches!(arena.notifications[..], [Notification::Supported { .. }, ..]));
    // The other way round: we expect one and the peer does not begin.
    arena.cut(first);
    arena.cut(second);
    let (third, _) = arena.dial_as(id);
    arena.open_outer(third);
    arena.notifications.clear();
    arena.seconds(10);
    assert_eq!(arena.reason(third), Some(CloseReason::Deadline(TimerKind::Exchange)));
    arena.assert_nothing_left();
}

#[test]
fn d59_the_exchange_stream_is_closed_and_a_peer_that_does_not_is_tolerated() {
    for inbound in [true, false] {
        let mut arena = arena();
        let p = if inbound { arena.accept() } else { arena.dial().0 };
        arena.open(p);
        let fin = arena.peers[p].inner[BI].iter().filter(|f| f.stream == 2 && is_fin(f)).count();
        assert_eq!(fin, 1);
        // The peer leaves it open, even uses it once more: that is skipped.
        arena.seconds(60);
        assert!(arena.is_connected(p));
        arena.bi(p, &Frame::data(2, vec![1; 100]));
        assert!(arena.is_connected(p));
        arena.stream(p, if inbound { 1 } else { 2 });
        arena.message(p, if inbound { 1 } else { 2 }, b"still here");
        assert_eq!(arena.messages.len(), 1);
    }
}

#[test]
fn d104_streams_that_have_no_place_are_reset_at_once() {
    let mut arena = arena();
    let p = arena.opened();
    for stream in [5, 7, 9] {
        arena.outer(p, &Frame::syn(stream));
        let rst = Frame::rst(stream);
        assert!(arena.peers[p].outer.contains(&rst));
        // What is on its way when the reset leaves is skipped.
        arena.outer(p, &Frame::data(stream, vec![1; 1000]));
    }
    for stream in [1, 3, 5] {
        arena.bi(p, &Frame::syn(stream));
        assert!(arena.peers[p].was_reset(BI, stream));
    }
    assert!(arena.is_connected(p));
    // On a link that we made the peer opens no outer stream at all, and one bi stream.
    let (p, _) = arena.dial();
    arena.open(p);
    arena.outer(p, &Frame::syn(2));
    assert!(arena.peers[p].outer.contains(&Frame::rst(2)));
    arena.bi(p, &Frame::syn(4));
    assert!(arena.peers[p].was_reset(BI, 4));
    assert!(arena.is_connected(p));
}

#[test]
fn streams_that_have_no_place_without_end_spend_the_budget() {
    for layer in [None, Some(UNI), Some(BI)] {
        let mut arena = arena();
        let p = arena.opened();
        let first = if layer.is_none() { 5 } else { 1 };
        for stream in (first..2000).step_by(2) {
            if arena.peers[p].ended.is_some() {
                break;
            }
            match layer {
                None => arena.outer(p, &Frame::syn(stream)),
                Some(layer) => arena.inner(p, layer, &Frame::syn(stream)),
            }
        }
        let last = if layer == Some(UNI) { Offence::Streams } else { Offence::Misplaced };
        assert_eq!(arena.reason(p), Some(CloseReason::Offences { last }));
        arena.assert_nothing_left();
    }
}

#[test]
fn d104_uni_streams_before_the_exchange_are_held_and_get_no_credit() {
    let mut arena = arena();
    let p = arena.accept();
    arena.open_outer(p);
    for number in 0..20_u32 {
        arena.uni(p, &Frame::syn(2 * number + 1));
    }
    let reset: Vec<u32> = (0..20)
        .map(|number| 2 * number + 1)
        .filter(|stream| arena.peers[p].was_reset(UNI, *stream))
        .collect();
    assert_eq!(reset, (12..20).map(|number| 2 * number + 1).collect::<Vec<_>>());
    let sent = arena.pour(p, 1, &package(ECHO, &vec![5; 400_000]));
    assert_eq!(sent, 262_144);
    assert!(!arena.peers[p].was_accepted(UNI, 1) && arena.messages.is_empty());
    arena.exchange(p, &[]);
    assert!(arena.is_connected(p) && arena.peers[p].was_accepted(UNI, 1));
    let rest = &package(ECHO, &vec![5; 400_000])[sent..];
    assert_eq!(arena.pour(p, 1, rest), rest.len());
    assert_eq!(arena.messages[0].payload.len(), 400_000);
}

#[test]
fn d104_little_is_held_before_the_exchange_whatever_the_windows_are() {
    let mut arena = arena();
    let p = arena.accept();
    arena.open_outer(p);
    let bytes = package(ECHO, &vec![5; 262_000]);
    for stream in [1, 3, 5, 7] {
        arena.uni(p, &Frame::syn(stream));
        arena.pour(p, stream, &bytes);
    }
    let reset = [1, 3, 5, 7].map(|stream| arena.peers[p].was_reset(UNI, stream));
    assert_eq!(reset, [false, false, true, true]);
    arena.exchange(p, &[]);
    assert_eq!((arena.messages.len(), arena.is_connected(p)), (2, true));
}

#[test]
fn a_pushed_list_of_any_size_is_taken_once_at_a_time() {
    let mut arena = arena();
    let p = arena.opened();
    arena.stream(p, 1);
    let id = arena.peers[p].id;
    let names: Vec<String> = (0..1024).map(|number| format!("/p/{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for round in 0..50 {
        let some = if round % 2 == 0 { &names[..512] } else { &names[512..] };
        arena.pour(p, 1, &exchanger(MessageKind::Push, id, some));
    }
    let route = arena.node.route(&id).unwrap();
    assert!(route.supports("/p/1023") && !route.supports("/p/0"));
    assert_eq!(route.protocols().iter().count(), 512);
    let over: Vec<&str> = names.iter().copied().chain(["/p/1024"]).collect();
    arena.pour(p, 1, &exchanger(MessageKind::Push, id, &over));
    assert!(arena.peers[p].was_reset(UNI, 1));
    assert!(arena.is_connected(p));
}

#[test]
fn a_refusal_says_nothing_to_the_wrong_peer() {
    let mut arena = arena();
    let expected = peer_id(40);
    let remote = std::net::SocketAddr::from(([127, 0, 0, 1], 3999));
    let address = headwater_core::address::Address::from(remote).with_peer(expected);
    let dial = arena.node.dial(arena.now, address).unwrap();
    arena.run();
    let p = arena.peers.len() - 1;
    arena.peers[p].id = peer_id(41);
    arena.open_outer(p);
    let refusal = Refusal::WrongPeer { expected: expected.into(), actual: peer_id(41).into() };
    assert_eq!(arena.reason(p), Some(CloseReason::Refused(refusal)));
    assert!(arena.peers[p].outer.iter().all(|frame| frame.kind == crate::frames::PING));
    let failed =
        |n: &Notification| matches!(n, Notification::DialFailed { dial: d, .. } if *d == dial);
    assert!(arena.notifications.iter().any(failed));
    arena.assert_nothing_left();
}

/// A node whose application takes nothing, and whose peer has sent until its inbox was full.
fn full_inbox() -> (Arena, usize) {
    let mut config = Config::default();
    config.inbox_max = 64 << 10;
    let mut arena = Arena::new(config);
    let p = arena.opened();
    arena.takes = false;
    for stream in [1, 3, 5] {
        arena.stream(p, stream);
        let message = package(ECHO, &[7; 10_000]);
        let sent = arena.pour(p, stream, &message.repeat(30));
        assert!(sent < 30 * message.len() && arena.peers[p].credit(UNI, stream) == 0);
    }
    arena.stream(p, 7);
    (arena, p)
}

/// Whether the node answered a list with its own.
fn answered(arena: &Arena, p: usize) -> bool {
    let streams = arena.peers[p].opened();
    let names = b"\x1a/protocol-exchanger/v0.0.1";
    streams.iter().any(|stream| {
        let received = arena.peers[p].received(UNI, *stream);
        received.windows(names.len()).any(|window| window == names)
    })
}

#[test]
fn d47_a_list_passes_an_inbox_that_nobody_empties() {
    let whole = {
        let (arena, p) = full_inbox();
        exchanger(MessageKind::Push, arena.peers[p].id, &["/new"])
    };
    for cut in 0..whole.len() {
        let (mut arena, p) = full_inbox();
        let peer = arena.peers[p].id;
        let news = Notification::Supported { peer, protocol: crate::raw::protocol("/new") };
        for piece in [&whole[..cut], &whole[cut..]] {
            assert!(!arena.notifications.contains(&news));
            arena.uni(p, &Frame::data(7, piece));
        }
        assert!(arena.notifications.contains(&news), "cut at {cut}");
        assert!(answered(&arena, p));
    }
}

#[test]
fn d47_lists_pass_an_inbox_byte_by_byte_and_messages_behind_them_wait() {
    let (mut arena, p) = full_inbox();
    let id = arena.peers[p].id;
    let lists = [&["/a"][..], &["/b"], &["/a", "/b"]];
    let mut bytes: Vec<u8> = Vec::new();
    for list in lists {
        bytes.extend(exchanger(MessageKind::Push, id, list));
    }
    bytes.extend(package(ECHO, b"behind"));
    for byte in bytes.chunks(1) {
        arena.uni(p, &Frame::data(7, byte));
    }
    // A list behind a message waits with it.
    arena.uni(p, &Frame::data(7, exchanger(MessageKind::Push, id, &["/c"])));
    let route = arena.node.route(&id).unwrap();
    assert!(route.supports("/a") && route.supports("/b") && !route.supports("/c"));
    assert!(arena.peers[p].credit(UNI, 7) <= 262_144);
    arena.takes = true;
    arena.run();
    assert!(arena.node.route(&id).unwrap().supports("/c"));
    let messages = std::mem::take(&mut arena.messages);
    let (small, large): (Vec<_>, Vec<_>) = messages.iter().partition(|m| m.payload.len() == 6);
    assert_eq!(small.len(), 1);
    // What the windows let through, whole.
    assert_eq!(large.len(), 3 * (262_144 / package(ECHO, &[7; 10_000]).len()));
    assert!(large.iter().all(|message| message.payload == [7; 10_000][..]));
}

/// What has begun as a list while there was room is one when there is none, and is bad if it is.
#[test]
fn d71_a_bad_list_is_refused_while_the_inbox_is_full() {
    let mut arena = arena();
    let p = arena.opened();
    arena.takes = false;
    let bad = exchanger(MessageKind::Push, peer_id(77), &["/other"]);
    for (stream, cut) in [(1, 4), (3, 20), (5, 60)] {
        arena.stream(p, stream);
        arena.uni(p, &Frame::data(stream, &bad[..cut]));
    }
    for stream in [7, 9, 11, 13, 15, 17] {
        arena.stream(p, stream);
        arena.pour(p, stream, &package(ECHO, &[7; 200_000]));
    }
    for (stream, cut) in [(1, 4), (3, 20), (5, 60)] {
        arena.uni(p, &Frame::data(stream, &bad[cut..]));
        assert!(arena.peers[p].was_reset(UNI, stream), "{stream}");
    }
    assert!(arena.is_connected(p));
}
