//! Room that connections share: for messages in assembly, streams, and windows that grow.

use std::time::Duration;

use headwater_core::config::Config;
use headwater_core::snapshot::ConnectionSnapshot;

use crate::frames::{Frame, package};
use crate::raw::{Arena, ECHO, UNI};

const MIB: usize = 1 << 20;
/// A little less than a step of a lease, and than a message may have.
const LEN: usize = 1_000_000;
/// Without more credit than a stream begins with, none of it goes further.
const WINDOW: usize = 256 << 10;

fn config(leases_max: usize, receive_streams_max: usize) -> Config {
    let mut config = Config::default();
    config.message_max = MIB;
    config.assembly_max = 4 * MIB;
    config.leases_max = leases_max;
    config.receive_streams_max = receive_streams_max;
    config.peers_max = 60;
    config
}

/// Room for messages only, of which one connection may have two beyond the one that it is sure of.
fn arena() -> Arena {
    Arena::new(config(8 * MIB, 12))
}

fn snapshot(arena: &Arena, p: usize) -> ConnectionSnapshot {
    let snapshot = arena.node.snapshot(arena.now);
    let id = arena.peers[p].connection;
    snapshot.connections.into_iter().find(|part| part.id == id).unwrap()
}

/// Bytes that are leased, as the node and as its connections say.
fn leased(arena: &Arena) -> usize {
    let snapshot = arena.node.snapshot(arena.now);
    let parts: usize = snapshot.connections.iter().map(|part| part.leased_bytes).sum();
    assert_eq!(parts, charged(arena), "nothing is on its way");
    parts
}

/// The same as the node says, with what connections have that ended.
fn charged(arena: &Arena) -> usize {
    let snapshot = arena.node.snapshot(arena.now);
    let usage = snapshot.node.usage.iter().find(|usage| usage.key == "leases_max").unwrap();
    assert!(usage.used <= usage.max);
    usage.used
}

/// Messages without their last byte, on streams of a peer; how much of each it could send.
fn begin(arena: &mut Arena, p: usize, streams: &[u32]) -> Vec<usize> {
    let bytes = package(ECHO, &vec![1; LEN]);
    let begun = |stream: &u32| {
        arena.stream(p, *stream);
        arena.pour(p, *stream, &bytes[..bytes.len() - 1])
    };
    streams.iter().map(begun).collect()
}

/// Sends what is missing of a message.
fn finish(arena: &mut Arena, p: usize, stream: u32, sent: usize) {
    let bytes = package(ECHO, &vec![1; LEN]);
    assert_eq!(arena.pour(p, stream, &bytes[sent..]), bytes.len() - sent);
}

/// Peers that lease so much for messages that nothing is left.
fn hoarders(arena: &mut Arena) -> Vec<usize> {
    let peers = (0..4).map(|_| {
        let p = arena.opened();
        begin(arena, p, &[1, 3, 5]);
        p
    });
    peers.collect()
}

#[test]
fn a_connection_uses_what_others_do_not_and_gives_it_back() {
    let mut arena = arena();
    let hoarders = hoarders(&mut arena);
    assert_eq!(leased(&arena), 8 * MIB);
    arena.cut(hoarders[0]);
    let [p, q] = [(); 2].map(|()| arena.opened());
    let sent = begin(&mut arena, p, &[1, 3, 5, 7]);
    assert!(sent[..3].iter().all(|sent| *sent > LEN), "{sent:?}");
    assert_eq!((sent[3], leased(&arena)), (WINDOW, 8 * MIB));
    // Of one message everybody is sure.
    let others = begin(&mut arena, q, &[1, 3]);
    assert!(others[0] > LEN && others[1] == WINDOW, "{others:?}");
    for (stream, sent) in [1, 3, 5, 7].into_iter().zip(&sent) {
        finish(&mut arena, p, stream, *sent);
    }
    // The other one waited for it.
    assert_eq!(leased(&arena), 7 * MIB);
    finish(&mut arena, q, 3, others[1]);
    finish(&mut arena, q, 1, others[0]);
    assert_eq!(leased(&arena), 6 * MIB);
    assert_eq!(arena.messages.len(), 6);
}

#[test]
fn what_a_lost_connection_had_leased_goes_to_who_waits() {
    let mut arena = arena();
    let hoarders = hoarders(&mut arena);
    let q = arena.opened();
    let sent = begin(&mut arena, q, &[1, 3, 5]);
    assert_eq!(sent[1..], [WINDOW; 2]);
    for p in hoarders {
        arena.cut(p);
    }
    assert_eq!(leased(&arena), 2 * MIB);
    for (stream, sent) in [3, 5, 1].into_iter().zip([sent[1], sent[2], sent[0]]) {
        finish(&mut arena, q, stream, sent);
    }
    assert_eq!((leased(&arena), arena.messages.len()), (0, 3));
}

/// What has been received of a lost connection is its lease's until the application has it.
#[test]
fn one_that_has_ended_keeps_its_lease_while_it_holds_anything() {
    let mut arena = arena();
    let p = arena.opened();
    arena.takes = false;
    let sent = begin(&mut arena, p, &[1, 3]);
    finish(&mut arena, p, 3, sent[1]);
    arena.cut(p);
    assert_eq!(charged(&arena), MIB);
    arena.takes = true;
    arena.run();
    assert_eq!((charged(&arena), arena.messages.len()), (0, 1));
}

/// More of each message, as slowly as it may come.
fn trickle(arena: &mut Arena, peers: &[usize], streams: &[u32], sent: &mut usize) {
    let bytes = package(ECHO, &vec![1; LEN]);
    for p in peers {
        for stream in streams {
            if !arena.peers[*p].was_reset(UNI, *stream) {
                arena.pour(*p, *stream, &bytes[*sent..*sent + 5000]);
            }
        }
    }
    *sent += 5000;
    arena.seconds(9);
}

#[test]
fn messages_that_trickle_give_way_to_those_that_wait_within_the_send_deadline() {
    let mut arena = arena();
    let (slow, streams) = ([(); 4].map(|()| arena.opened()), [1, 3, 5]);
    for p in slow {
        streams.iter().for_each(|stream| arena.stream(p, *stream));
    }
    let mut sent = 0;
    for _ in 0..8 {
        trickle(&mut arena, &slow, &streams, &mut sent);
    }
    let resets = |arena: &Arena| {
        let reset = |p: &&usize| streams.iter().any(|s| arena.peers[**p].was_reset(UNI, *s));
        slow.iter().filter(reset).count()
    };
    assert_eq!((leased(&arena), resets(&arena)), (8 * MIB, 0), "as long as nobody waits");
    let honest = arena.opened();
    let begun = begin(&mut arena, honest, &[1, 3]);
    assert_eq!(begun[1], WINDOW);
    let rounds = (0..).find(|_| {
        trickle(&mut arena, &slow, &streams, &mut sent);
        snapshot(&arena, honest).leased_bytes > 0
    });
    assert!(rounds.is_some_and(|rounds| rounds < 2));
    finish(&mut arena, honest, 3, begun[1]);
    finish(&mut arena, honest, 1, begun[0]);
    assert_eq!(resets(&arena), 4);
    // What they are sure of goes on, however slowly.
    for p in slow {
        assert!(arena.is_connected(p));
        assert_eq!(streams.iter().filter(|s| arena.peers[p].was_reset(UNI, **s)).count(), 2);
    }
}

#[test]
fn a_full_inbox_hides_no_message_that_trickles() {
    let mut arena = arena();
    let (slow, streams) = ([(); 4].map(|()| arena.opened()), [1, 3, 5]);
    for p in slow {
        streams.iter().for_each(|stream| arena.stream(p, *stream));
    }
    let mut sent = 0;
    trickle(&mut arena, &slow, &streams, &mut sent);
    assert_eq!(leased(&arena), 8 * MIB);
    // What follows on their streams waits behind messages that the application does not take.
    arena.takes = false;
    let flood = package(ECHO, &[1; 1000]).repeat(256);
    for p in slow {
        for stream in [7, 9, 11, 13, 15] {
            arena.stream(p, stream);
            arena.pour(p, stream, &flood);
        }
        assert!(snapshot(&arena, p).inbox_bytes >= MIB);
    }
    let honest = arena.opened();
    begin(&mut arena, honest, &[1, 3]);
    let rounds = (0..10).find(|_| {
        trickle(&mut arena, &slow, &streams, &mut sent);
        slow.iter().all(|p| snapshot(&arena, *p).leased_bytes == 0)
    });
    assert!(rounds.is_some_and(|rounds| rounds < 5), "{rounds:?}");
}

#[test]
fn fifty_greedy_peers_take_nothing_that_an_honest_one_is_sure_of() {
    let mut arena = Arena::new(config(16 * MIB, 100));
    let greedy: Vec<usize> = (0..50).map(|_| arena.opened()).collect();
    let head = &package(ECHO, &vec![1; LEN])[..100];
    for p in &greedy {
        let streams = (1..200).step_by(2).flat_map(|stream| Frame::syn(stream).encode());
        arena.inner_bytes(*p, UNI, &streams.collect::<Vec<u8>>());
        for stream in [1, 3, 5, 7] {
            arena.pour(*p, stream, head);
        }
    }
    assert!(leased(&arena) > 15 * MIB, "{}", leased(&arena));
    let honest = arena.opened();
    for stream in (1..24).step_by(2) {
        arena.stream(honest, stream);
    }
    for stream in (1..24).step_by(2) {
        arena.message(honest, stream, &vec![1; MIB]);
    }
    assert_eq!(arena.messages.len(), 12);
    assert!(arena.messages.iter().all(|message| message.payload.len() == MIB));
    // One more than that is refused, which is no offence.
    arena.uni(honest, &Frame::syn(25));
    assert!(arena.peers[honest].was_reset(UNI, 25));
    for _ in 0..40 {
        arena.uni(honest, &Frame::syn(25));
    }
    assert!(arena.is_connected(honest));
    for p in greedy {
        arena.cut(p);
    }
    arena.stream(honest, 27);
    assert!(leased(&arena) < 5 * MIB);
}

#[test]
fn streams_that_come_at_the_usual_pace_are_all_served_and_their_room_goes_back() {
    let mut arena = Arena::new(config(64 * MIB, 100));
    let p = arena.opened();
    let ahead = leased(&arena);
    assert_eq!(ahead, 8 * WINDOW);
    // Ten to begin with, then five at a time (spec 5.1).
    let streams: Vec<u32> = (0..100).map(|number| 2 * number + 1).collect();
    for some in std::iter::once(&streams[..10]).chain(streams[10..].chunks(5)) {
        let bytes: Vec<u8> = some.iter().flat_map(|stream| Frame::syn(*stream).encode()).collect();
        arena.inner_bytes(p, UNI, &bytes);
        assert!(some.iter().all(|stream| arena.peers[p].was_accepted(UNI, *stream)));
    }
    assert_eq!(leased(&arena), 88 * WINDOW);
    arena.uni(p, &Frame::syn(201));
    assert!(arena.peers[p].was_reset(UNI, 201), "beyond what one peer may have");
    for stream in &streams {
        arena.uni(p, &Frame::fin(*stream));
    }
    assert!(leased(&arena) <= 2 * ahead, "{}", leased(&arena));
    arena.cut(p);
    assert_eq!(leased(&arena), 0);
}

/// A peer whose round trip takes 50 ms.
fn distant(arena: &mut Arena) -> usize {
    let p = arena.accept();
    arena.peers[p].manners.pongs = false;
    arena.open(p);
    arena.advance(Duration::from_millis(50));
    arena.uni(p, &Frame::pong(0));
    arena.peers[p].manners.pongs = true;
    p
}

/// How wide the window of a stream becomes that is read at once.
fn widest(arena: &mut Arena, p: usize, stream: u32) -> usize {
    let messages = package(ECHO, &[1; 1000]).repeat(16_000);
    arena.stream(p, stream);
    let (mut sent, mut widest) = (0, 0);
    while sent < messages.len() {
        sent += arena.pour(p, stream, &messages[sent..][..(messages.len() - sent).min(240_000)]);
        widest = widest.max(arena.peers[p].credit(UNI, stream));
        arena.advance(Duration::from_millis(10));
    }
    arena.messages.clear();
    usize::try_from(widest).unwrap()
}

#[test]
fn under_pressure_windows_stop_to_grow_first_then_streams_are_refused_and_messages_go_on() {
    let mut arena = Arena::new(config(16 * MIB, 100));
    let near = distant(&mut arena);
    assert!(widest(&mut arena, near, 1) > 3 * MIB);
    let grown = leased(&arena);
    assert!(grown > 3 * MIB);
    arena.cut(near);
    assert_eq!(leased(&arena), 0);
    // Each has some streams ahead, which makes half of it.
    let peers = [(); 4].map(|()| distant(&mut arena));
    assert_eq!(leased(&arena), 8 * MIB);
    assert!(widest(&mut arena, peers[0], 1) <= WINDOW);
    // Two more make three quarters.
    let others = [(); 2].map(|()| arena.opened());
    let late = arena.opened();
    assert_eq!((leased(&arena), snapshot(&arena, late).leased_bytes), (12 * MIB, 0));
    for stream in (1..26).step_by(2) {
        arena.uni(late, &Frame::syn(stream));
        assert_eq!(arena.peers[late].was_reset(UNI, stream), stream == 25, "{stream}");
    }
    let bytes = package(ECHO, &vec![1; LEN]);
    for stream in [1, 3, 5, 7, 9, 11] {
        assert_eq!(arena.pour(late, stream, &bytes), bytes.len());
    }
    // One whose streams have gone leaves them to those that waited.
    arena.cut(others[0]);
    assert_eq!(snapshot(&arena, late).leased_bytes, 2 * MIB);
}
