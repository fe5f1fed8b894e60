//! Room for messages in assembly that connections share.

use headwater_core::config::Config;

use crate::frames::package;
use crate::raw::{Arena, ECHO};

const MIB: usize = 1 << 20;
/// A little less than a step of a lease, and than a message may have.
const LEN: usize = 1_000_000;
/// Without more credit than a stream begins with, none of it goes further.
const WINDOW: usize = 256 << 10;

fn arena() -> Arena {
    let mut config = Config::default();
    config.message_max = MIB;
    config.assembly_max = 4 * MIB;
    config.leases_max = 2 * MIB;
    Arena::new(config)
}

/// Bytes that are leased, as the node and as its connections say.
fn leased(arena: &Arena) -> usize {
    let snapshot = arena.node.snapshot(arena.now);
    let usage = snapshot.node.usage.iter().find(|usage| usage.key == "leases_max").unwrap();
    let parts: usize = snapshot.connections.iter().map(|part| part.leased_bytes).sum();
    assert_eq!(parts, usage.used, "nothing is on its way");
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

#[test]
fn a_connection_uses_what_others_do_not_and_gives_it_back() {
    let mut arena = arena();
    let [p, q] = [(); 2].map(|()| arena.opened());
    let sent = begin(&mut arena, p, &[1, 3, 5, 7]);
    assert!(sent[..3].iter().all(|sent| *sent > LEN), "{sent:?}");
    assert_eq!((sent[3], leased(&arena)), (WINDOW, 2 * MIB));
    // Of one message everybody is sure.
    let others = begin(&mut arena, q, &[1, 3]);
    assert!(others[0] > LEN && others[1] == WINDOW, "{others:?}");
    for (stream, sent) in [1, 3, 5, 7].into_iter().zip(&sent) {
        finish(&mut arena, p, stream, *sent);
    }
    // The other one waited for it.
    assert_eq!(leased(&arena), MIB);
    finish(&mut arena, q, 3, others[1]);
    finish(&mut arena, q, 1, others[0]);
    assert_eq!(leased(&arena), 0);
    assert_eq!(arena.messages.len(), 6);
}

#[test]
fn what_a_lost_connection_had_leased_goes_to_who_waits() {
    let mut arena = arena();
    let [p, q] = [(); 2].map(|()| arena.opened());
    begin(&mut arena, p, &[1, 3, 5]);
    let sent = begin(&mut arena, q, &[1, 3, 5]);
    assert_eq!(sent[1..], [WINDOW; 2]);
    arena.cut(p);
    assert_eq!(leased(&arena), 2 * MIB);
    for (stream, sent) in [3, 5, 1].into_iter().zip([sent[1], sent[2], sent[0]]) {
        finish(&mut arena, q, stream, sent);
    }
    assert_eq!((leased(&arena), arena.messages.len()), (0, 3));
}
