//! Borrowed streams: messages in order, streams given back, losses told.

use std::time::Duration;

use headwater_core::error::{BorrowError, SendError};

use crate::pair::{Pair, id, is_disconnected, patient, payload, start, test};
use crate::{Adapter, LONG, Node, Stream};

/// Small ones, some of which share a frame, and large ones that could overtake them.
fn size(number: usize) -> usize {
    [0, 10, 300, 8191, 8192, 40_000, 7, 300_000][number % 8]
}

/// D-28, for all sizes; the stream may be given back before they have left.
pub fn d28_a_borrowed_stream_keeps_the_order<A: Adapter, B: Adapter>(a: &A, b: &B) {
    const COUNT: usize = 600;
    let Pair { mut one, two, .. } = Pair::connect(a, b);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = two.node.borrow(id("one"), &test(), LONG).unwrap();
            for number in 0..COUNT {
                stream.send_wait(payload(number, size(number)), LONG).unwrap();
            }
        });
        for number in 0..COUNT {
            let message = one.message();
            assert!(message.payload == payload(number, size(number)), "message {number}");
        }
    });
    two.stop();
    one.stop();
}

/// It is full by itself, and holds up nothing else.
pub fn a_stream_is_full_until_the_peer_reads<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let Pair { mut one, two, .. } = Pair::connect(a, b);
    let mut stream = two.node.borrow(id("one"), &test(), LONG).unwrap();
    let mut sent = 0;
    let error = loop {
        match stream.send_wait(payload(sent, 10_000), Duration::from_millis(300)) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, SendError::Full { payload: payload(sent, 10_000) });
    let error = stream.send(payload(sent, 10_000));
    assert_eq!(error, Err(SendError::Full { payload: payload(sent, 10_000) }));
    two.node.send(id("one"), &test(), "by another way".into()).unwrap();
    let mut next = 0;
    for _ in 0..=sent {
        let message = one.message();
        if message.payload != "by another way" {
            assert!(message.payload == payload(next, 10_000));
            next += 1;
        }
    }
    assert_eq!(next, sent);
    stream.send_wait("there is room again".into(), LONG).unwrap();
    assert_eq!(one.message().payload, "there is room again");
    drop(stream);
    two.stop();
    one.stop();
}

/// Whoever holds it is told, and why.
pub fn a_stream_is_lost_with_its_connection<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let Pair { one, mut two, .. } = Pair::connect(a, b);
    let mut stream = two.node.borrow(id("one"), &test(), LONG).unwrap();
    assert_eq!(stream.lost(), None);
    one.stop();
    two.told(is_disconnected);
    let late = || "too late".into();
    assert_eq!(stream.send_wait(late(), LONG), Err(SendError::Closed { payload: late() }));
    assert_eq!(stream.send(late()), Err(SendError::Closed { payload: late() }));
    assert!(stream.lost().is_some());
    let again = two.node.borrow(id("one"), &test(), LONG);
    assert_eq!(again.err(), Some(BorrowError::NotConnected));
    drop(stream);
    two.stop();
}

/// As many as there may be, and no more.
pub fn streams_go_back_and_are_waited_for<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let mut config = patient();
    config.send_streams_initial = 2;
    config.send_streams_max = 6;
    let (one, two) = (start(a, "one", patient()), start(b, "two", config));
    let Pair { mut one, two, .. } = Pair::connect_these(one, two, Into::into);
    let borrow = |wait| two.node.borrow(id("one"), &test(), wait);
    for round in 0..30 {
        let mut stream = borrow(LONG).unwrap();
        stream.send(payload(round, 100)).unwrap();
        drop(stream);
        assert!(one.message().payload == payload(round, 100));
    }
    let mut out = Vec::new();
    let error = loop {
        match borrow(Duration::from_millis(300)) {
            Ok(stream) => out.push(stream),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, BorrowError::Pending | BorrowError::Exhausted), "{error:?}");
    assert!((2..6).contains(&out.len()), "{} streams", out.len());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| borrow(LONG).map(drop));
        std::thread::sleep(Duration::from_millis(50));
        assert!(!waiting.is_finished());
        out.pop();
        waiting.join().unwrap().unwrap();
    });
    drop(out);
    two.stop();
    one.stop();
}
