//! What one peer has queued does not hold up another.

use std::time::Duration;

use headwater_core::config::Config;
use headwater_core::error::{SendError, UndeliveredReason};
use headwater_core::id::PeerId;

use crate::frames::package;
use crate::raw::{Arena, ECHO, GOOD, Manners, UNI};

const INBOX: usize = 64 << 10;
const LARGE: usize = 5000;

/// A node that takes nothing, with a peer that has sent all that it has credit for, and another
/// one that has a stream.
fn flooded(streams: u32) -> (Arena, usize, usize) {
    let mut config = Config::default();
    config.inbox_max = INBOX;
    let mut arena = Arena::new(config);
    let (flood, quiet) = (arena.opened(), arena.opened());
    arena.takes = false;
    for stream in 0..streams {
        arena.stream(flood, 2 * stream + 1);
        flow(&mut arena, flood, 2 * stream + 1);
    }
    arena.stream(quiet, 1);
    (arena, flood, quiet)
}

/// Sends messages, as many as there is credit for.
fn flow(arena: &mut Arena, p: usize, stream: u32) {
    let message = package(ECHO, &[1; LARGE]);
    while arena.peers[p].credit(UNI, stream) >= message.len() as i64 {
        arena.pour(p, stream, &message);
    }
}

/// How many messages of others the application takes before it gets to one of `peer`.
fn taken_before(arena: &mut Arena, peer: PeerId) -> usize {
    for count in 0.. {
        let message = arena.node.poll_message(arena.now).expect("its message is there");
        if message.peer == peer {
            return count;
        }
    }
    unreachable!()
}

#[test]
fn a_message_waits_for_one_inbox_of_another_peer_and_no_more() {
    for streams in [1, 10, 90] {
        let (mut arena, flood, quiet) = flooded(streams);
        let peer = arena.peers[quiet].id;
        for round in 0..20_u8 {
            arena.message(quiet, 1, &[round; 10]);
            let before = taken_before(&mut arena, peer);
            assert!(before <= 2 * (INBOX / LARGE + 1), "{before} messages of {streams} streams");
            arena.run();
            for stream in 0..streams {
                flow(&mut arena, flood, 2 * stream + 1);
            }
        }
        arena.node.assert_invariants();
    }
}

#[test]
fn a_peer_that_takes_nothing_holds_up_nobody_else() {
    let mut arena = Arena::new(Config::default());
    let (stuck, slow, good) = (arena.opened(), arena.opened(), arena.opened());
    arena.stream(good, 1);
    arena.peers[stuck].reads = 0;
    arena.peers[slow].manners = Manners { credits: false, ..GOOD };
    for p in [stuck, slow] {
        while arena.send(p, vec![1; 60_000]).is_ok() {}
        while arena.send(p, vec![1]).is_ok() {}
        assert_eq!(arena.send(p, vec![1; 60_000]), Err(SendError::Full { payload: () }));
    }
    let received = |arena: &Arena| {
        let streams = arena.peers[good].opened();
        streams.iter().map(|stream| arena.peers[good].received(UNI, *stream).len()).sum::<usize>()
    };
    let whole = package(ECHO, &[2; 1000]).len();
    for count in 1..=500 {
        // No time passes.
        arena.send(good, vec![2; 1000]).unwrap();
        assert_eq!(received(&arena), count * whole);
        arena.message(good, 1, b"and back");
    }
    assert_eq!(arena.undelivered(UndeliveredReason::Deadline), (0, 0));
    arena.advance(Duration::from_secs(29));
    assert!(arena.is_connected(good));
}
