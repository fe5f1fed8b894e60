//! Nodes meet, learn each other's protocols, and send messages both ways.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::contract::Notification;
use headwater_core::error::{ApplicationError, BorrowError, CloseReason, SendError};
use headwater_core::id::{PeerId, ProtocolId};

use crate::pair::{ANY_PORT, Pair, id, is_disconnected, patient, payload, start, test};
use crate::{Adapter, CallError, LONG, Messages, Node, Running};

/// Each change of a peer is told once, in order, and is true for calls when it is told.
pub fn protocols_and_peers_are_told_in_order<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let (mut one, mut two) = (start(a, "one", patient()), start(b, "two", patient()));
    let late = ProtocolId::new("/late/1").unwrap();
    let local = one.node.listen(ANY_PORT).unwrap();
    assert_eq!(two.node.dial(Address::from(local)), Ok(id("one")));
    // The answer to the dial says that messages may be sent.
    assert!(two.node.supports(id("one"), &test()) && !two.node.supports(id("one"), &late));
    assert_eq!(two.node.peers(), [id("one")]);
    let supported = |protocol| Notification::Supported { peer: id("one"), protocol };
    let unsupported = |protocol| Notification::Unsupported { peer: id("one"), protocol };
    let gained = two.told_until(|told| *told == supported(test()));
    // The exchanger's own protocol, which is in every list, is not told.
    let connected = Notification::Connected { peer: id("one") };
    assert_eq!(gained, [connected, supported(test())]);
    one.await_support(id("two"));

    assert_eq!(one.node.register(late.clone()), Ok(()));
    let again = one.node.register(late.clone());
    assert_eq!(again, Err(CallError::Call(ApplicationError::AlreadyRegistered)));
    assert_eq!(two.told_until(|_| true), [supported(late.clone())]);
    two.node.send(id("one"), &late, "late".into()).unwrap();
    let message = one.message();
    assert_eq!((message.peer, &message.protocol), (id("two"), &late));
    assert_eq!(message.payload, "late");

    one.node.unregister(&late).unwrap();
    assert_eq!(two.told_until(|_| true), [unsupported(late.clone())]);
    assert!(!two.node.supports(id("one"), &late));
    // The last one, too; the peer stays.
    one.node.unregister(&test()).unwrap();
    assert_eq!(two.told_until(|_| true), [unsupported(test())]);
    assert_eq!(two.node.peers(), [id("one")]);
    one.node.register(test()).unwrap();
    assert_eq!(two.told_until(|_| true), [supported(test())]);

    two.node.disconnect(id("one")).unwrap();
    let (peer, reason, flaps) = (id("one"), CloseReason::Requested, 0);
    let lost = two.told_until(is_disconnected);
    let gone = Notification::Disconnected { peer, reason, flaps };
    assert_eq!(lost, [unsupported(test()), gone]);
    let (peer, reason) = (id("two"), CloseReason::RemoteClosed);
    let lost = one.told_until(is_disconnected);
    let unsupported = |protocol| Notification::Unsupported { peer, protocol };
    let gone = Notification::Disconnected { peer, reason, flaps };
    assert_eq!(lost, [unsupported(test()), gone]);
    assert!(one.node.peers().is_empty() && two.node.peers().is_empty());
    let again = two.node.disconnect(id("one"));
    assert_eq!(again, Err(CallError::Call(ApplicationError::NotConnected)));
    two.stop();
    one.stop();
}

const SIZES: [usize; 14] =
    [0, 1, 127, 128, 4096, 8191, 8192, 8193, 65_536, 262_143, 262_145, 1 << 20, 3 << 20, 8 << 20];

/// From nothing to 8 MiB, in both directions at the same time, bytes intact.
pub fn messages_of_all_sizes_cross_both_ways_at_once<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let mut pair = Pair::connect(a, b);
    let (one, two) = (&pair.one.node, &pair.two.node);
    std::thread::scope(|scope| {
        scope.spawn(|| send_all(one, id("two")));
        scope.spawn(|| send_all(two, id("one")));
        scope.spawn(|| receive_all(&mut pair.one.messages, id("two")));
        scope.spawn(|| receive_all(&mut pair.two.messages, id("one")));
    });
    pair.stop();
}

fn send_all(from: &impl Node, to: PeerId) {
    for (number, size) in SIZES.into_iter().enumerate() {
        from.send_wait(to, &test(), payload(number, size), LONG).unwrap();
    }
}

fn receive_all(messages: &mut impl Messages, from: PeerId) {
    // Messages may overtake each other; their lengths tell them apart.
    let mut missing: BTreeMap<usize, usize> =
        SIZES.into_iter().enumerate().map(|(number, size)| (size, number)).collect();
    while !missing.is_empty() {
        let message = messages.recv(LONG).unwrap();
        assert_eq!((message.peer, message.protocol), (from, test()));
        let number = missing.remove(&message.payload.len()).expect("it was sent, and came once");
        assert!(message.payload == payload(number, message.payload.len()));
    }
}

/// 20,000 of them, while the reader falls asleep now and then.
pub fn small_messages_arrive_once_each_while_the_reader_lags<A: Adapter, B: Adapter>(a: &A, b: &B) {
    const COUNT: u32 = 20_000;
    let mut pair = Pair::connect(a, b);
    let mut seen = vec![false; COUNT as usize];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..COUNT {
                let payload = number.to_be_bytes().repeat(32).into();
                pair.two.node.send_wait(id("one"), &test(), payload, LONG).unwrap();
            }
        });
        for count in 0..COUNT {
            let payload = pair.one.messages.recv(LONG).unwrap().payload;
            let number = u32::from_be_bytes(*payload.first_chunk().unwrap());
            assert!(payload == number.to_be_bytes().repeat(32));
            assert!(!std::mem::replace(&mut seen[number as usize], true), "{number} came twice");
            if count % 4000 == 0 {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    });
    pair.stop();
}

/// Before any byte leaves, and with the payload.
pub fn what_cannot_be_sent_is_refused_by_type_and_comes_back<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let Pair { mut one, two, .. } = Pair::connect(a, b);
    let payload = Bytes::from_static(b"back");
    let other = ProtocolId::new("/other").unwrap();
    let back = || payload.clone();
    for refused in [
        two.node.send(id("one"), &other, back()),
        two.node.send_wait(id("one"), &other, back(), LONG),
    ] {
        assert_eq!(refused, Err(SendError::NotSupported { payload: back() }));
    }
    for refused in [
        two.node.send(id("nobody"), &test(), back()),
        two.node.send_wait(id("nobody"), &test(), back(), LONG),
    ] {
        assert_eq!(refused, Err(SendError::NotConnected { payload: back() }));
    }
    let limit = Config::default().message_max;
    let large = Bytes::from(vec![0; limit + 1]);
    for refused in [
        two.node.send(id("one"), &test(), large.clone()),
        two.node.send_wait(id("one"), &test(), large.clone(), LONG),
    ] {
        assert!(refused == Err(SendError::TooLarge { payload: large.clone(), limit }));
    }
    assert_eq!(two.node.borrow(id("one"), &other, LONG).err(), Some(BorrowError::NotSupported));
    let borrowed = two.node.borrow(id("nobody"), &test(), LONG);
    assert_eq!(borrowed.err(), Some(BorrowError::NotConnected));
    // Nothing of it has left.
    two.node.send(id("one"), &test(), "the first".into()).unwrap();
    assert_eq!(one.message().payload, "the first");

    assert!(two.node.stop(LONG));
    for refused in [
        two.node.send(id("one"), &test(), back()),
        two.node.send_wait(id("one"), &test(), back(), LONG),
    ] {
        assert_eq!(refused, Err(SendError::Closed { payload: back() }));
    }
    let borrowed = two.node.borrow(id("one"), &test(), LONG);
    assert_eq!(borrowed.err(), Some(BorrowError::Closed));
    let _: Running<B> = two;
    one.stop();
}

/// Whoever reads a message can answer it: the way back is known before the message is, however
/// fresh the connection or the protocol.
pub fn a_message_can_be_answered_as_soon_as_it_is_read<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let (mut one, mut two) = (start(a, "one", patient()), start(b, "two", patient()));
    let address = Address::from(one.node.listen(ANY_PORT).unwrap());
    let late = ProtocolId::new("/late/1").unwrap();
    one.node.register(late.clone()).unwrap();
    for round in 0..50 {
        two.node.dial(address.clone()).unwrap();
        two.node.send(id("one"), &test(), "first".into()).unwrap();
        let first = one.message();
        one.node.send(first.peer, &test(), "answer".into()).unwrap_or_else(|error| {
            panic!("the answer to a first message, round {round}: {error}")
        });
        assert_eq!(two.message().payload, "answer");
        // The list and the message may come in one read.
        two.node.register(late.clone()).unwrap();
        two.node.send(id("one"), &late, "late".into()).unwrap();
        let first = one.message();
        one.node.send(first.peer, &late, "answer".into()).unwrap_or_else(|error| {
            panic!("the answer of a fresh protocol, round {round}: {error}")
        });
        assert_eq!(two.message().payload, "answer");
        two.node.unregister(&late).unwrap();
        two.node.disconnect(id("one")).unwrap();
        one.told(is_disconnected);
        two.told(is_disconnected);
    }
    two.stop();
    one.stop();
}
