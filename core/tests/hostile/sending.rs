//! Peers that do not take what the node sends: nothing accepted is lost in silence.

use std::time::Duration;

use headwater_core::config::Config;
use headwater_core::connection::LaneNews;
use headwater_core::contract::TimerKind;
use headwater_core::error::{BorrowError, CloseReason, SendError, UndeliveredReason};

use crate::frames::{FIN, Frame, RST};
use crate::raw::{Arena, ECHO, GOOD, Manners, UNI, protocol};

const SMALL: usize = 100;
/// Such a message on the wire.
const SMALL_PACKAGE: usize = 8 + 1 + 5 + 1 + SMALL + 1;

fn live(config: Config) -> (Arena, usize) {
    let mut arena = Arena::new(config);
    let p = arena.opened();
    (arena, p)
}

fn bytes_received(arena: &Arena, p: usize) -> usize {
    let streams = arena.peers[p].opened();
    streams.iter().map(|stream| arena.peers[p].received(UNI, *stream).len()).sum()
}

/// Sends until it is full; tells how many messages were accepted.
fn fill(arena: &mut Arena, p: usize, len: usize) -> u64 {
    for count in 0..1_000_000 {
        match arena.send(p, vec![9; len]) {
            Ok(()) => {}
            Err(SendError::Full { .. }) => return count,
            Err(other) => panic!("{other:?}"),
        }
    }
    panic!("never full");
}

#[test]
fn a_carrier_that_takes_nothing_makes_send_say_full_and_then_ends() {
    for len in [SMALL, 4000, 100_000] {
        let (mut arena, p) = live(Config::default());
        arena.peers[p].reads = 0;
        let accepted = fill(&mut arena, p, len);
        let bound = (256 << 10) * 4 + 4 * len;
        assert!(accepted as usize * len < bound, "{accepted} of {len}");
        // Pings come, so it is not dead; it just does not read.
        for _ in 0..40 {
            arena.seconds(1);
            if arena.peers[p].ended.is_none() {
                arena.bytes(p, &Frame::ping(1).encode());
            }
        }
        assert_eq!(arena.reason(p), Some(CloseReason::Deadline(TimerKind::Send)));
        let lost = arena.undelivered(UndeliveredReason::ConnectionLost);
        let late = arena.undelivered(UndeliveredReason::Deadline);
        assert_eq!(lost.0 + late.0, accepted);
        assert_eq!(lost.1 + late.1, accepted * len as u64);
        arena.assert_nothing_left();
        let refused = arena.send(p, vec![1]);
        assert_eq!(refused, Err(SendError::NotConnected { payload: () }));
    }
}

#[test]
fn d33_a_peer_that_gives_no_credit_has_its_streams_reset_and_is_told_of() {
    for len in [SMALL, 100_000, 1 << 20] {
        let (mut arena, p) = live(Config::default());
        // It reads from its socket, answers pings, and grants no inner credit.
        arena.peers[p].manners = Manners { credits: false, ..GOOD };
        let mut accepted = 0;
        let mut outer = 0;
        for _ in 0..200 {
            accepted += fill(&mut arena, p, len);
            // Outer credit it does give.
            let heard: u64 = arena.peers[p]
                .outer
                .iter()
                .filter(|f| f.kind == 0 && f.stream == 1)
                .map(|f| u64::from(f.length))
                .sum();
            if heard == outer {
                break;
            }
            arena.outer(p, &Frame::update(1, (heard - outer) as u32));
            outer = heard;
        }
        assert!(accepted > 0);
        // What waits in the outbox has its own time once the connection takes it.
        arena.seconds(91);
        assert!(arena.is_connected(p), "{:?}", arena.reason(p));
        let late = arena.undelivered(UndeliveredReason::Deadline);
        let whole = whole_messages(&arena, p, len) as u64;
        // What arrived may be counted, where others of its batch did not; nothing goes uncounted.
        assert!(late.0 + whole >= accepted && late.0 <= accepted, "{late:?} {whole} {accepted}");
        assert_eq!(late.1, late.0 * len as u64);
        if len < 1 << 20 {
            // Every stream was left with less than half its window, and none was lent again.
            continue;
        }
        // New streams have credit, so messages travel again.
        arena.peers[p].manners = GOOD;
        arena.outer(p, &Frame::update(1, 200_000));
        arena.seconds(10);
        let resets = arena.peers[p].inner[UNI].iter().filter(|f| f.flags & RST != 0).count();
        assert!(resets > 0);
        let before = bytes_received(&arena, p);
        arena.send(p, vec![1; SMALL]).unwrap();
        arena.seconds(5);
        assert!(bytes_received(&arena, p) >= before + SMALL_PACKAGE);
    }
}

/// How many whole packages of payloads of `len` bytes reached the peer.
fn whole_messages(arena: &Arena, p: usize, len: usize) -> usize {
    let mut count = 0;
    for stream in arena.peers[p].opened() {
        let bytes = arena.peers[p].received(UNI, stream);
        let mut rest = &bytes[..];
        while let Some((head, others)) = rest.split_at_checked(8) {
            let length = u64::from_be_bytes(head.try_into().unwrap()) as usize;
            let Some(package) = others.get(..length) else { break };
            assert!(length >= len && package[1..6] == *ECHO.as_bytes());
            count += 1;
            rest = &others[length..];
        }
    }
    count
}

#[test]
fn messages_of_which_bytes_left_are_counted_when_the_link_is_lost() {
    for reads in [0, 1, 500, 5_000, 100_000, 300_000] {
        for len in [SMALL, 20_000] {
            let (mut arena, p) = live(Config::default());
            arena.peers[p].reads = reads;
            let accepted = fill(&mut arena, p, len);
            arena.cut(p);
            let lost = arena.undelivered(UndeliveredReason::ConnectionLost);
            let whole = whole_messages(&arena, p, len) as u64;
            // What the peer has in whole need not be counted; all else must be.
            assert!(lost.0 >= accepted - whole, "{lost:?} of {accepted}, {whole} arrived");
            assert!(lost.0 <= accepted);
            assert_eq!(lost.1, lost.0 * len as u64);
            let last = arena.notifications.last().unwrap();
            assert!(format!("{last:?}").starts_with("Disconnected"), "{last:?}");
            arena.assert_nothing_left();
        }
    }
}

#[test]
fn untouched_messages_move_to_another_connection() {
    let mut config = Config::default();
    config.connections_per_peer_max = 2;
    let (mut arena, first) = live(config);
    let id = arena.peers[first].id;
    arena.peers[first].reads = 0;
    let accepted = fill(&mut arena, first, SMALL);
    let second = arena.accept_as(id).unwrap();
    arena.open_outer(second);
    // Another one is let in when the first has shown that it is alive.
    assert_eq!(arena.node.route(&id).unwrap().entries().len(), 1);
    arena.seconds(1);
    arena.bytes(first, &Frame::ping(1).encode());
    assert_eq!(arena.node.route(&id).unwrap().entries().len(), 2);
    arena.notifications.clear();
    arena.cut(first);
    arena.seconds(1);
    assert!(arena.is_connected(second));
    let lost = arena.undelivered(UndeliveredReason::ConnectionLost);
    let moved = whole_messages(&arena, second, SMALL) as u64;
    assert!(moved > 0 && lost.0 > 0, "{moved} {lost:?}");
    assert_eq!(lost.0 + moved, accepted);
    assert_eq!(arena.reason(first), None);
}

/// The link ends at the very moment at which the messages' own time is over.
#[test]
fn messages_that_move_too_late_are_reported_at_once() {
    let mut config = Config::default();
    config.connections_per_peer_max = 2;
    let (mut arena, first) = live(config);
    let id = arena.peers[first].id;
    arena.peers[first].reads = 0;
    let accepted = fill(&mut arena, first, SMALL);
    let second = arena.accept_as(id).unwrap();
    arena.open_outer(second);
    for _ in 0..30 {
        arena.seconds(1);
        if arena.peers[first].ended.is_none() {
            arena.bytes(first, &Frame::ping(1).encode());
        }
    }
    arena.seconds(60);
    assert!(arena.peers[first].ended.is_some() && arena.is_connected(second));
    let lost = arena.undelivered(UndeliveredReason::ConnectionLost).0;
    let late = arena.undelivered(UndeliveredReason::Deadline).0;
    let moved = whole_messages(&arena, second, SMALL) as u64;
    assert_eq!(lost + late + moved, accepted, "{lost} {late} {moved}");
}

#[test]
fn d31_a_message_moves_to_another_stream_three_times_and_is_then_reported() {
    let mut config = Config::default();
    config.large_min = 64 * 1024;
    let (mut arena, p) = live(config);
    // No outer credit, neither for bulk nor what that leaves to others: streams are lent, and not
    // a byte of theirs is framed.
    arena.peers[p].manners = Manners { credits: false, ..GOOD };
    for len in [200_000, 100_000, 40_000] {
        arena.send(p, vec![1; len]).unwrap();
    }
    arena.send(p, vec![2; SMALL]).unwrap();
    let idle: Vec<u32> = arena.peers[p].opened();
    let idle: Vec<u32> =
        idle.into_iter().filter(|s| arena.peers[p].received(UNI, *s).is_empty()).collect();
    // The first is the one that it is on, the next ones are those that it moves to.
    for (number, stream) in idle.into_iter().enumerate().take(4) {
        assert_eq!(arena.undelivered(UndeliveredReason::StreamReset), (0, 0), "after {number}");
        arena.uni(p, &Frame::rst(stream));
    }
    let lost = arena.undelivered(UndeliveredReason::StreamReset);
    assert_eq!(lost, (1, SMALL as u64));
    assert!(arena.is_connected(p));
}

#[test]
fn d31_a_message_on_a_stream_that_is_reset_arrives_on_another() {
    let (mut arena, p) = live(Config::default());
    let streams = arena.peers[p].opened();
    // Every stream of the pool is reset at the moment a message is accepted.
    let peer = arena.peers[p].id;
    for _ in 0..50 {
        arena.node.send(arena.now, &peer, &protocol(ECHO), vec![3; SMALL].into()).unwrap();
    }
    for stream in streams {
        let rst = Frame::rst(stream).encode();
        arena.queue(p, &Frame::data(1, rst).encode());
    }
    arena.run();
    arena.seconds(5);
    let reset = arena.undelivered(UndeliveredReason::StreamReset).0 as usize;
    assert_eq!(whole_messages(&arena, p, SMALL) + reset, 50);
}

#[test]
fn a_borrowed_stream_that_is_reset_is_lost_with_its_messages() {
    let (mut arena, p) = live(Config::default());
    let peer = arena.peers[p].id;
    let lane = arena.node.borrow(arena.now, &peer, &protocol(ECHO)).unwrap();
    let send = |arena: &mut Arena, len: usize| {
        let sent = arena.node.send_borrowed(arena.now, lane, &protocol(ECHO), vec![4; len].into());
        arena.run();
        sent
    };
    send(&mut arena, SMALL).unwrap();
    let used = |arena: &Arena| {
        let streams = arena.peers[p].opened();
        streams.into_iter().find(|s| !arena.peers[p].received(UNI, *s).is_empty()).unwrap()
    };
    let stream = used(&arena);
    arena.peers[p].manners = Manners { credits: false, ..GOOD };
    let mut sent = 0;
    while send(&mut arena, 100_000).is_ok() {
        sent += 1;
        assert!(sent < 100);
    }
    arena.news.clear();
    arena.uni(p, &Frame::rst(stream));
    assert_eq!(arena.news, [(lane, LaneNews::Lost(UndeliveredReason::StreamReset))]);
    let whole = whole_messages(&arena, p, SMALL) as u64 - 1;
    let lost = arena.undelivered(UndeliveredReason::StreamReset).0;
    assert_eq!(lost + whole, sent);
    assert!(matches!(send(&mut arena, 1), Err(SendError::Closed { .. })));
    arena.node.give_back(arena.now, lane);
    arena.run();
    assert!(arena.is_connected(p));
}

#[test]
fn many_messages_one_by_one_on_a_borrowed_stream_that_stands_still() {
    let (mut arena, p) = live(Config::default());
    let peer = arena.peers[p].id;
    let lane = arena.node.borrow(arena.now, &peer, &protocol(ECHO)).unwrap();
    arena.peers[p].manners = Manners { credits: false, ..GOOD };
    let send = |arena: &mut Arena, len: usize| {
        let sent = arena.node.send_borrowed(arena.now, lane, &protocol(ECHO), vec![4; len].into());
        arena.run();
        sent
    };
    // The window of the stream, and more than that for the carrier.
    send(&mut arena, (256 << 10) - 100).unwrap();
    arena.outer(p, &Frame::update(1, 1 << 20));
    for _ in 0..500 {
        send(&mut arena, 1).unwrap();
        arena.advance(Duration::from_millis(1));
    }
    arena.seconds(31);
    assert_eq!(arena.news.last(), Some(&(lane, LaneNews::Lost(UndeliveredReason::Deadline))));
    let late = arena.undelivered(UndeliveredReason::Deadline);
    assert!((490..=500).contains(&late.0) && late.0 == late.1, "{late:?}");
}

#[test]
fn a_borrowed_stream_of_a_lost_link_is_lost_too() {
    let (mut arena, p) = live(Config::default());
    let peer = arena.peers[p].id;
    let lanes: Vec<_> =
        (0..3).map(|_| arena.node.borrow(arena.now, &peer, &protocol(ECHO)).unwrap()).collect();
    arena.peers[p].reads = 0;
    for lane in &lanes {
        let payload = vec![4; 200_000].into();
        arena.node.send_borrowed(arena.now, *lane, &protocol(ECHO), payload).unwrap();
    }
    arena.run();
    arena.news.clear();
    arena.cut(p);
    let lost = LaneNews::Lost(UndeliveredReason::ConnectionLost);
    assert_eq!(arena.news, lanes.iter().map(|lane| (*lane, lost)).collect::<Vec<_>>());
    assert_eq!(arena.undelivered(UndeliveredReason::ConnectionLost), (3, 600_000));
    let again = arena.node.borrow(arena.now, &peer, &protocol(ECHO));
    assert_eq!(again, Err(BorrowError::NotConnected));
    arena.assert_nothing_left();
}

#[test]
fn d34_after_all_streams_are_dropped_the_next_send_succeeds_through_a_connection() {
    let (mut arena, p) = live(Config::default());
    for round in 0..3 {
        for stream in arena.peers[p].opened() {
            arena.uni(p, &Frame::rst(stream));
        }
        arena.send(p, vec![round; SMALL]).unwrap();
        arena.seconds(5);
        assert_eq!(whole_messages(&arena, p, SMALL), usize::from(round) + 1);
    }
}

#[test]
fn d37_a_stream_that_is_reset_as_soon_as_it_is_announced_leaves_the_pool() {
    let mut config = Config::default();
    config.output_max = 64 << 10;
    for room in 40..140 {
        let (mut arena, p) = live(config.clone());
        let peer = arena.peers[p].id;
        arena.peers[p].reads = 0;
        arena.send(p, vec![1; 200_000]).unwrap();
        // The pool grows; the announcements wait, because the output is full.
        while arena.node.borrow(arena.now, &peer, &protocol(ECHO)).is_ok() {}
        arena.peers[p].reads = room;
        arena.run();
        // The peer guesses which streams will come.
        for stream in (22..60).step_by(2) {
            arena.uni(p, &Frame::rst(stream));
        }
        arena.peers[p].reads = usize::MAX;
        arena.run();
        arena.send(p, vec![1; SMALL]).unwrap();
        arena.seconds(10);
        assert_eq!(whole_messages(&arena, p, SMALL), 2, "{room}");
    }
}

#[test]
fn d38_streams_that_are_never_acknowledged_carry_messages() {
    let (mut arena, p) = live(Config::default());
    arena.cut(p);
    let p = arena.accept();
    arena.peers[p].manners = Manners { accepts: false, ..GOOD };
    arena.open(p);
    for _ in 0..1000 {
        arena.send(p, vec![5; 1000]).unwrap();
    }
    assert_eq!(whole_messages(&arena, p, 1000), 1000);
    assert!(arena.peers[p].opened().len() <= 99);
    // The acceptor's half-close is normal, an acknowledgement of nothing is nothing.
    for stream in arena.peers[p].opened() {
        arena.uni(p, &Frame::fin(stream));
        arena.uni(p, &Frame::update(stream, 0).flags(FIN));
    }
    arena.send(p, vec![5; 1000]).unwrap();
    assert_eq!(whole_messages(&arena, p, 1000), 1001);
}

#[test]
fn d47_a_peer_that_answers_no_push_is_pushed_again_at_growing_waits() {
    let (mut arena, p) = live(Config::default());
    arena.node.register(arena.now, protocol("/late")).unwrap();
    arena.run();
    arena.seconds(600);
    assert!(arena.is_connected(p));
    let pushes = |arena: &Arena| {
        let streams = arena.peers[p].opened();
        let all: Vec<u8> = streams.iter().flat_map(|s| arena.peers[p].received(UNI, *s)).collect();
        all.windows(5).filter(|window| *window == b"/late").count()
    };
    let count = pushes(&arena);
    assert!((3..=40).contains(&count), "{count}");
}

#[test]
fn many_small_messages_one_by_one() {
    let (mut arena, p) = live(Config::default());
    arena.peers[p].keeps = false;
    for _ in 0..20_000 {
        arena.send(p, vec![5; 10]).unwrap();
    }
    arena.advance(Duration::from_secs(1));
    assert!(arena.is_connected(p));
}
