//! Borrowed streams: messages in order, streams given back, losses told.

mod pair;

use std::time::Duration;

use headwater_mio::{BorrowError, Config, Notification, ProtocolId, SendError};
use pair::{LONG, await_notification, connect, id, payload, protocol, start};

/// Small ones, some of which share a frame, and large ones that could overtake them.
fn size(number: usize) -> usize {
    [0, 10, 300, 8191, 8192, 40_000, 7, 300_000][number % 8]
}

#[test]
fn messages_on_one_stream_arrive_in_order() {
    const COUNT: usize = 800;
    let mut one = start("one", Config::default());
    let mut two = start("two", Config::default());
    connect(&mut one, &mut two);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = two.handle.borrow(&id("one"), &protocol(), LONG).unwrap();
            assert_eq!((stream.peer(), stream.protocol()), (id("one"), &protocol()));
            for number in 0..COUNT {
                let message = payload(number, size(number)).into();
                stream.send_wait(message, LONG).unwrap();
            }
            // Dropped with messages waiting, which leave all the same.
        });
        for number in 0..COUNT {
            let message = one.messages.recv_timeout(LONG).unwrap();
            assert!(message.payload == payload(number, size(number)), "message {number}");
        }
    });
}

#[test]
fn streams_go_back_when_they_are_dropped_and_are_waited_for_while_all_are_out() {
    let mut config = Config::default();
    config.send_streams_initial = 2;
    config.send_streams_max = 6;
    let mut one = start("one", Config::default());
    let mut two = start("two", config);
    connect(&mut one, &mut two);
    let borrow = |timeout| two.handle.borrow(&id("one"), &protocol(), timeout);
    for round in 0..30_u8 {
        let mut stream = borrow(LONG).unwrap();
        stream.send(vec![round].into()).unwrap();
        drop(stream);
        assert_eq!(one.messages.recv_timeout(LONG).unwrap().payload[..], [round]);
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
        std::thread::sleep(Duration::from_millis(100));
        assert!(!waiting.is_finished());
        out.pop();
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn a_stream_is_full_until_the_peer_reads() {
    let mut one = start("one", Config::default());
    let mut two = start("two", Config::default());
    connect(&mut one, &mut two);
    let mut stream = two.handle.borrow(&id("one"), &protocol(), LONG).unwrap();
    let mut sent = 0;
    let short = Duration::from_millis(300);
    let error = loop {
        match stream.send_wait(payload(sent, 10_000).into(), short) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, SendError::Full { payload: payload(sent, 10_000).into() });
    // The other streams are not held up by it.
    two.handle.send(&id("one"), &protocol(), "by another way".into()).unwrap();
    let mut next = 0;
    for _ in 0..=sent {
        let message = one.messages.recv_timeout(LONG).unwrap();
        if message.payload != "by another way" {
            assert!(message.payload == payload(next, 10_000));
            next += 1;
        }
    }
    assert_eq!(next, sent);
    stream.send("there is room again".into()).unwrap();
    assert!(one.messages.recv_timeout(LONG).is_ok());
}

#[test]
fn a_stream_is_lost_with_its_connection() {
    let mut one = start("one", Config::default());
    let mut two = start("two", Config::default());
    connect(&mut one, &mut two);
    let mut stream = two.handle.borrow(&id("one"), &protocol(), LONG).unwrap();
    assert_eq!(stream.lost(), None);
    one.handle.stop();
    await_notification(&mut two.notifications, |told| {
        matches!(told, Notification::Disconnected { .. })
    });
    let error = stream.send_wait("too late".into(), LONG).unwrap_err();
    assert_eq!(error, SendError::Closed { payload: "too late".into() });
    assert!(stream.lost().is_some());
    let error = two.handle.borrow(&id("one"), &protocol(), LONG).unwrap_err();
    assert_eq!(error, BorrowError::NotConnected);
}

#[test]
fn a_protocol_that_the_peer_does_not_support_is_told_by_type() {
    let mut one = start("one", Config::default());
    let mut two = start("two", Config::default());
    connect(&mut one, &mut two);
    let other = ProtocolId::new("/other").unwrap();
    let error = two.handle.borrow(&id("one"), &other, LONG).unwrap_err();
    assert_eq!(error, BorrowError::NotSupported);
}
