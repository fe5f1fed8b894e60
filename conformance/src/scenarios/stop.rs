//! Stopping: in order, in time, and with everything delivered that can be.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use headwater_core::address::Address;
use headwater_core::contract::Notification;
use headwater_core::error::{CloseReason, DialError, Refusal, SendError};

use crate::link::Relay;
use crate::pair::{
    ANY_PORT, Pair, await_quiet, id, is_disconnected, patient, payload, start, test, until,
};
use crate::{Adapter, CallError, LONG, ListenError, Messages, Node, Running, Wait};

/// Small and large ones; then the peer is told that it was a close, and nothing was lost.
pub fn what_was_queued_arrives_and_both_sides_are_told<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let Pair { mut one, mut two, .. } = Pair::connect(a, b);
    for number in 0..200 {
        two.node.send_wait(id("one"), &test(), payload(number, 500), LONG).unwrap();
    }
    two.node.send_wait(id("one"), &test(), payload(200, 300_000), LONG).unwrap();
    assert!(two.node.stop(LONG));
    let mut seen = [false; 201];
    for _ in 0..=200 {
        let found = one.message().payload;
        let size = |number: usize| if number == 200 { 300_000 } else { 500 };
        let number = (0..=200).find(|n| !seen[*n] && found == payload(*n, size(*n)));
        seen[number.expect("a message that was sent, once")] = true;
    }
    for (told, expected) in [
        (one.told_until(is_disconnected), CloseReason::RemoteClosed),
        (two.told_until(is_disconnected), CloseReason::Stopping),
    ] {
        let lost = |told: &Notification| matches!(told, Notification::Undelivered { .. });
        assert!(!told.iter().any(lost), "{told:?}");
        let Some(Notification::Disconnected { reason, flaps: 0, .. }) = told.last() else {
            panic!("{told:?}");
        };
        assert_eq!(*reason, expected);
    }
    two.stop();
    one.stop();
}

fn refuses(local: SocketAddr) -> bool {
    TcpStream::connect(local).is_err()
}

/// While a connection still waits for its peer, nobody new is let in.
pub fn listeners_go_first<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let (one, two) = (start(a, "one", patient()), start(b, "two", patient()));
    let mut relay = None;
    let Pair { one, mut two, local } = Pair::connect_these(one, two, |local| {
        Address::from(relay.insert(Relay::start(local)).local())
    });
    let relay = relay.expect("the address was asked for");
    relay.hold();
    one.node.send(id("two"), &test(), "before the end".into()).unwrap();
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| assert!(one.node.stop(LONG)));
        until("the port refuses", || refuses(local));
        assert!(!stopping.is_finished());
        relay.go_on();
        assert_eq!(two.message().payload, "before the end");
    });
    two.told(is_disconnected);
    two.stop();
    one.stop();
}

/// Every call says so, what came before can still be read, and the last word is `Stopped`.
pub fn a_stopped_node_says_so_and_leaves_nothing<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let Pair { mut one, two, local } = Pair::connect(a, b);
    let stream = one.node.borrow(id("two"), &test(), LONG).unwrap();
    two.node.send(id("one"), &test(), "unread".into()).unwrap();
    assert_eq!(one.message().payload, "unread");
    two.node.send(id("one"), &test(), "still there".into()).unwrap();
    // An orderly stop of its sender ends after it has arrived.
    two.stop();
    std::thread::scope(|scope| {
        // From many places at once, and again.
        for _ in 0..3 {
            scope.spawn(|| assert!(one.node.stop(LONG)));
        }
    });
    assert!(one.node.stop(LONG));
    assert!(refuses(local));
    assert_eq!(one.message().payload, "still there");
    assert_eq!(one.messages.recv(LONG), Err(Wait::Ended));
    let told = one.last_words();
    assert_eq!(told.last(), Some(&Notification::Stopped));
    assert_eq!(told.iter().filter(|told| is_disconnected(told)).count(), 1);

    let node = &one.node;
    let refused = node.send(id("two"), &test(), "x".into());
    assert_eq!(refused, Err(SendError::Closed { payload: "x".into() }));
    assert_eq!(node.dial(Address::from(local)), Err(CallError::Stopped));
    assert_eq!(node.listen(ANY_PORT), Err(ListenError::Stopped));
    assert_eq!(node.register(test()), Err(CallError::Stopped));
    assert_eq!(node.disconnect(id("two")), Err(CallError::Stopped));
    assert!(node.peers().is_empty() && !node.supports(id("two"), &test()));
    await_quiet(node);
    drop(stream);
}

/// The deadline of the close ends it, and what was not delivered is counted.
pub fn a_stop_does_not_wait_for_a_peer_for_ever<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let mut config = patient();
    config.close_deadline = Duration::from_millis(500);
    let (one, two) = (start(a, "one", patient()), start(b, "two", config));
    let mut relay = None;
    let Pair { one, mut two, .. } = Pair::connect_these(one, two, |local| {
        Address::from(relay.insert(Relay::start(local)).local())
    });
    let relay = relay.expect("the address was asked for");
    relay.hold();
    let wait = Duration::from_millis(100);
    while two.node.send_wait(id("one"), &test(), payload(0, 100_000), wait).is_ok() {}
    assert!(two.node.stop(LONG));
    let told = two.last_words();
    let lost = told.iter().position(|told| matches!(told, Notification::Undelivered { .. }));
    let gone = told.iter().position(is_disconnected);
    assert!(lost.expect("counted") < gone.expect("told"), "{told:?}");
    two.stop();
    drop(relay);
    one.stop();
}

/// The one who waits for the dial is told.
pub fn a_stop_ends_a_dial<A: Adapter, B: Adapter>(a: &A, _: &B) {
    let silent = TcpListener::bind(ANY_PORT).unwrap();
    let address = Address::from(silent.local_addr().unwrap());
    let mut config = patient();
    config.handshake_deadline = 2 * LONG;
    config.dial_deadline = 2 * LONG;
    let node = start(a, "one", config);
    std::thread::scope(|scope| {
        let dialling = scope.spawn(|| node.node.dial(address));
        let (_link, _) = silent.accept().unwrap();
        assert!(node.node.stop(LONG));
        let stopping = DialError::Refused(Refusal::Stopping);
        assert_eq!(dialling.join().unwrap(), Err(CallError::Dial(Box::new(stopping))));
    });
    node.stop();
}

/// The last handle may be a stream's.
pub fn d44_dropping_every_handle_stops_the_node<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let Pair { mut one, two, .. } = Pair::connect(a, b);
    let Running { node, mut messages, notifications } = two;
    let stream = node.borrow(id("one"), &test(), LONG).unwrap();
    let other = node.clone();
    drop((node, notifications));
    drop(other);
    assert_eq!(messages.recv(Duration::from_millis(50)), Err(Wait::Over));
    assert_eq!(one.node.peers(), [id("two")]);
    drop(stream);
    assert_eq!(messages.recv(LONG), Err(Wait::Ended));
    let told = one.told(is_disconnected);
    let Notification::Disconnected { reason, .. } = told else { panic!("{told:?}") };
    assert_eq!(reason, CloseReason::RemoteClosed);
    one.stop();
}

/// Although the system remembers the connections of its predecessor.
pub fn a_node_restarts_on_its_port_at_once<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let Pair { one, mut two, local } = Pair::connect(a, b);
    let mut last = one;
    for _ in 0..3 {
        last.stop();
        two.told(is_disconnected);
        let mut next = start(a, "one", patient());
        assert_eq!(next.node.listen(local), Ok(local));
        assert_eq!(two.node.dial(Address::from(local)), Ok(id("one")));
        two.node.send_wait(id("one"), &test(), "again".into(), LONG).unwrap();
        assert_eq!(next.message().payload, "again");
        last = next;
    }
    two.stop();
    last.stop();
}
