//! Room that is kept for the next streams and frames, and freed where little moves.

use super::*;

/// Shrinks a session and sees that nothing is kept, and that it says so.
fn assert_freed(session: &mut Session) {
    session.shrink();
    assert!(!session.slots.has_room() && !session.slots.loose);
    session.assert_invariants();
}

#[test]
fn what_nothing_is_in_any_more_is_freed_whatever_it_was() {
    let mut session = opened();
    session.write(StreamId(1), payload(10)).unwrap();
    feed(&mut session, &ping(Flags::SYN, 5));
    assert!(session.memory() > 0 && session.slots.has_room());
    // What is in use stays, and is not forgotten.
    session.shrink();
    assert!(session.slots.has_room() && session.slots.loose);
    flush(&mut session);
    assert!(session.pongs.capacity() > 0);
    assert_freed(&mut session);
    assert_eq!(session.pongs.capacity(), 0);
    // Streams that come and go, one of them with bytes left over.
    let two = session.open(NOW, Priority::Normal).unwrap();
    flush(&mut session);
    assert_freed(&mut session);
    session.write(two, payload(10)).unwrap();
    feed(&mut session, &window(Flags::RST, two.0, 0));
    assert!(session.stash.1.capacity() > 0);
    assert_freed(&mut session);
    assert_eq!(session.stash.1.capacity(), 0);
}

#[test]
fn what_has_not_been_used_since_is_not_looked_at_again() {
    let mut session = opened();
    session.write(StreamId(1), payload(10)).unwrap();
    flush(&mut session);
    // As if nothing had been taken: the queue keeps its room.
    session.slots.loose = false;
    session.shrink();
    assert!(session.slots.has_room());
    session.slots.loose = true;
    assert_freed(&mut session);
    // A window that grows, a ping of our own and credit take no memory.
    feed(&mut session, &window(Flags::NONE, 1, 77));
    session.ping(NOW);
    flush(&mut session);
    assert!(!session.slots.loose);
}
