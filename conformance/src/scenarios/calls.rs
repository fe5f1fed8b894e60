//! What the application does or fails to do, and what the node makes of it.

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::contract::Notification;
use headwater_core::error::DialError;
use headwater_core::id::ProtocolId;

use crate::pair::{Pair, id, is_disconnected, payload, test, until};
use crate::{Adapter, CallError, LONG, Messages, Node, Notifications, Running};

/// D-19: a receiving thread that panics takes its messages with it and nothing else. Messages
/// that come later vanish, and their senders are not held up.
pub fn d19_a_receiver_that_panics_leaves_the_node_alone<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let Pair { one, two, .. } = Pair::connect(a, b);
    let Running { node, mut messages, notifications } = one;
    let receiver = std::thread::spawn(move || {
        messages.recv(LONG).unwrap();
        // Without the report of a panic on standard error.
        std::panic::resume_unwind(Box::new("a test: the application fails"));
    });
    // Far more than all windows and queues hold.
    let large = payload(1, 1 << 20);
    for _ in 0..64 {
        two.node.send_wait(id("one"), &test(), large.clone(), LONG).unwrap();
    }
    assert!(receiver.join().is_err());
    let mut two = two;
    node.send(id("two"), &test(), "alive".into()).unwrap();
    assert_eq!(two.message().payload, "alive");
    // Nor does it need anybody to be told.
    drop(notifications);
    let late = ProtocolId::new("/late").unwrap();
    node.register(late.clone()).unwrap();
    two.told(|told| *told == Notification::Supported { peer: id("one"), protocol: late.clone() });
    two.stop();
    assert!(node.stop(LONG));
}

/// Every call may be made by who reads the notifications, also at the end of a connection.
pub fn d40_calls_may_be_made_while_notifications_are_read<A: Adapter, B: Adapter>(a: &A, b: &B) {
    const ROUNDS: usize = 10;
    let Pair { mut one, two, local } = Pair::connect(a, b);
    let Running { node, mut messages, mut notifications } = two;
    let handler = std::thread::spawn({
        let node = node.clone();
        move || {
            let mut left = ROUNDS;
            while left > 0 {
                match notifications.recv(LONG).unwrap() {
                    Notification::Disconnected { .. } => {
                        // Sent into nothing, looked up, changed, and dialled again.
                        node.send(id("one"), &test(), "too late".into()).unwrap_err();
                        node.unregister(&test()).unwrap();
                        node.register(test()).unwrap();
                        redial(&node, Address::from(local));
                        left -= 1;
                    }
                    Notification::Supported { protocol, .. } if protocol == test() => {
                        let sent = node.send_wait(id("one"), &test(), "back".into(), LONG);
                        // It may have been disconnected again already.
                        let _ = sent;
                    }
                    _ => {}
                }
            }
            notifications
        }
    });
    for _ in 0..ROUNDS {
        until("it is connected", || one.node.supports(id("two"), &test()));
        one.node.disconnect(id("two")).unwrap();
        one.told(is_disconnected);
    }
    let notifications = handler.join().unwrap();
    until("it is connected", || one.node.supports(id("two"), &test()));
    one.node.send(id("two"), &test(), "the end".into()).unwrap();
    assert_eq!(messages.recv(LONG).unwrap().payload, "the end");
    Running::<B> { node, messages, notifications }.stop();
    one.stop();
}

/// Dials the peer that has just closed. Its close may come before it knows itself that the old
/// connection is over; then it refuses the new one, as one too many.
fn redial(node: &impl Node, address: Address) {
    loop {
        match node.dial(address.clone()) {
            Ok(peer) => return assert_eq!(peer, id("one")),
            Err(CallError::Dial(error)) if matches!(*error, DialError::Refused(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Many more of them than wait anywhere; then they are told in short.
pub fn calls_are_answered_although_nobody_reads_notifications<A, B>(a: &A, b: &B)
where
    A: Adapter,
    B: Adapter,
{
    const ROUNDS: u32 = 80;
    let Pair { one, mut two, local } = Pair::connect(a, b);
    let tiny = Bytes::from_static(b"tiny");
    for _ in 0..ROUNDS {
        two.node.disconnect(id("one")).unwrap();
        until("both have noticed", || one.node.peers().is_empty() && two.node.peers().is_empty());
        assert_eq!(two.node.dial(Address::from(local)), Ok(id("one")));
        two.node.send_wait(id("one"), &test(), tiny.clone(), LONG).unwrap();
        until("it is connected", || one.node.supports(id("two"), &test()));
    }
    assert!(two.node.stop(LONG));
    let told = two.last_words();
    let times: u32 = told
        .iter()
        .map(|told| match told {
            Notification::Disconnected { flaps, .. } => flaps + 1,
            _ => 0,
        })
        .sum();
    assert_eq!(times, ROUNDS + 1);
    one.stop();
}
