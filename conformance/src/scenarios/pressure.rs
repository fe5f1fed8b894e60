//! Back-pressure: who is not read stops sending, loses nothing, and goes on.

use std::time::Duration;

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::contract::Notification;
use headwater_core::error::SendError;
use headwater_core::id::ProtocolId;

use crate::pair::{Pair, id, is_disconnected, patient, payload, start, test};
use crate::{Adapter, LONG, Messages, Node, Running, Wait};

/// Sends until there is no room for a while; gives how many were taken.
fn fill(from: &impl Node, message: impl Fn(usize) -> Bytes) -> usize {
    let mut sent = 0;
    loop {
        let payload = message(sent);
        match from.send_wait(id("one"), &test(), payload.clone(), Duration::from_millis(300)) {
            Ok(()) => sent += 1,
            Err(error) => {
                assert_eq!(error, SendError::Full { payload });
                return sent;
            }
        }
    }
}

/// First it is refused, then everything accepted arrives, then there is room again.
pub fn a_reader_that_stops_fills_the_sender_and_loses_nothing<A: Adapter, B: Adapter>(
    a: &A,
    b: &B,
) {
    let Pair { mut one, two, .. } = Pair::connect(a, b);
    let message = |number: usize| Bytes::from((number as u32).to_be_bytes().repeat(250));
    let sent = fill(&two.node, message);
    // Outbox, output, both sockets, windows of the streams that there are, inbox.
    assert!((500..100_000).contains(&sent), "{sent} messages of 1000 bytes");
    let refused = two.node.send(id("one"), &test(), message(sent));
    assert_eq!(refused, Err(SendError::Full { payload: message(sent) }));

    let mut seen = vec![false; sent];
    for _ in 0..sent {
        let payload = one.message().payload;
        let number = u32::from_be_bytes(*payload.first_chunk().unwrap()) as usize;
        assert!(payload == message(number));
        assert!(!std::mem::replace(&mut seen[number], true), "{number} came twice");
    }
    two.node.send_wait(id("one"), &test(), "room again".into(), LONG).unwrap();
    // Were the refused ones sent after all, they would come first, or with it.
    assert_eq!(one.message().payload, "room again");
    assert!(two.node.stop(LONG));
    assert_eq!(one.messages.recv(Duration::from_millis(50)), Err(Wait::Over));
    one.stop();
}

/// Messages wait for the reader; what nodes tell each other does not.
pub fn d47_a_protocol_is_told_of_past_a_reader_that_stops<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let Pair { mut one, two, .. } = Pair::connect(a, b);
    let sent = fill(&two.node, |number| payload(number, 1000));
    let late = ProtocolId::new("/late/1.0.0").unwrap();
    two.node.register(late.clone()).unwrap();
    one.told(|told| *told == Notification::Supported { peer: id("two"), protocol: late.clone() });
    for _ in 0..sent {
        assert_eq!(one.message().payload.len(), 1000);
    }
    two.stop();
    one.stop();
}

/// Those who give up waiting, many at a time, have sent nothing; one who is patient has.
pub fn what_was_not_sent_in_time_is_not_sent<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let Pair { mut one, two, .. } = Pair::connect(a, b);
    let message = |number: usize| Bytes::from((number as u32).to_be_bytes().repeat(16_384));
    let sent = fill(&two.node, message);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let wait = Duration::from_millis(50);
                // As large as the others: small ones have room of their own.
                let late = Bytes::from(vec![7; 65_536]);
                let result = two.node.send_wait(id("one"), &test(), late.clone(), wait);
                assert_eq!(result, Err(SendError::Full { payload: late }));
            });
        }
    });
    std::thread::scope(|scope| {
        let patient = scope.spawn(|| {
            two.node.send_wait(id("one"), &test(), message(sent), LONG).unwrap();
        });
        let mut seen = vec![false; sent + 1];
        for _ in 0..=sent {
            let found = one.message().payload;
            let number = u32::from_be_bytes(*found.first_chunk().unwrap()) as usize;
            assert!(found == message(number));
            assert!(!std::mem::replace(&mut seen[number], true), "{number} came twice");
        }
        patient.join().unwrap();
    });
    two.stop();
    assert_eq!(one.messages.recv(Duration::from_millis(50)), Err(Wait::Over));
    one.stop();
}

/// And it is not held up longer than it has to be.
pub fn one_who_waits_for_room_goes_on_when_there_is_some<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let Pair { mut one, two, .. } = Pair::connect(a, b);
    let sent = fill(&two.node, |number| payload(number, 1 << 20));
    std::thread::scope(|scope| {
        let mut waiting: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    two.node.send_wait(id("one"), &test(), payload(0, 1 << 20), LONG).unwrap();
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(100));
        assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
        for _ in 0..sent + waiting.len() {
            assert_eq!(one.message().payload.len(), 1 << 20);
        }
        while let Some(waiting) = waiting.pop() {
            waiting.join().unwrap();
        }
    });
    two.stop();
    one.stop();
}

/// The stop waits for no reader, and what had come before it can be read after it: each message
/// was received or is counted by its sender.
pub fn a_stop_leaves_what_had_come_to_the_reader<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let Pair { mut one, mut two, .. } = Pair::connect(a, b);
    let message = |number: usize| Bytes::from((number as u32).to_be_bytes().repeat(250));
    let sent = fill(&two.node, message);
    assert!(one.node.stop(LONG), "the stop waits for the reader");
    assert!(two.node.stop(LONG));
    let lost = two.last_words().into_iter().map(|told| match told {
        Notification::Undelivered { messages, .. } => messages as usize,
        _ => 0,
    });
    let lost: usize = lost.sum();
    let mut seen = vec![false; sent];
    while let Ok(found) = one.messages.recv(LONG) {
        let number = u32::from_be_bytes(*found.payload.first_chunk().unwrap()) as usize;
        assert!(found.payload == message(number));
        assert!(!std::mem::replace(&mut seen[number], true), "{number} came twice");
    }
    let arrived = seen.iter().filter(|seen| **seen).count();
    assert!(arrived + lost >= sent, "{arrived} of {sent} arrived, {lost} are counted as lost");
    two.stop();
    one.stop();
}

/// With the payload, and long before its time is over.
pub fn a_stop_wakes_one_who_waits_for_room<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let Pair { one, two, .. } = Pair::connect(a, b);
    let large = payload(0, 1 << 20);
    fill(&two.node, |_| large.clone());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let forever = Duration::from_secs(3600);
            two.node.send_wait(id("one"), &test(), large.clone(), forever).unwrap_err()
        });
        std::thread::sleep(Duration::from_millis(50));
        assert!(!waiting.is_finished());
        // The other one, whose messages nobody reads, stops first.
        let one: Running<A> = one;
        one.stop();
        let error = waiting.join().unwrap();
        assert!(matches!(error, SendError::NotConnected { .. }), "{error}");
        assert_eq!(error.into_payload(), large);
    });
    two.stop();
}

/// The application never reads, and a peer comes, says something and goes, again and again: what
/// it leaves is dropped where there is too much of it, and does not pile up.
pub fn peers_that_come_and_go_leave_a_bounded_heap<A: Adapter, B: Adapter>(a: &A, b: &B) {
    const ROUNDS: usize = 60;
    let mut config = patient();
    config.close_deadline = Duration::from_millis(200);
    let (one, two) = (start(a, "one", config), start(b, "two", patient()));
    let Pair { mut one, mut two, local } = Pair::connect_these(one, two, Into::into);
    for round in 0..ROUNDS {
        two.node.send(id("one"), &test(), payload(round, 100)).unwrap();
        two.node.disconnect(id("one")).unwrap();
        one.told(is_disconnected);
        two.told(is_disconnected);
        assert_eq!(two.node.dial(Address::from(local)), Ok(id("one")));
        two.await_support(id("one"));
        one.await_support(id("two"));
    }
    // Those that found no place wait this long.
    std::thread::sleep(Duration::from_millis(500));
    let (mut left, mut next) = (0, 0);
    while let Ok(message) = one.messages.recv(Duration::from_millis(50)) {
        let round = (next..ROUNDS).find(|round| message.payload == payload(*round, 100));
        next = round.expect("what was sent, in order") + 1;
        left += 1;
    }
    assert!((1..=ROUNDS / 2).contains(&left), "{left} messages");
    two.node.send(id("one"), &test(), "and on".into()).unwrap();
    assert_eq!(one.message().payload, "and on");
    two.stop();
    one.stop();
}
