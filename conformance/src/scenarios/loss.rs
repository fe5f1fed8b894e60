//! Links that break, and peers that fall silent.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::contract::{Direction, IoCause, Notification, TimerKind};
use headwater_core::error::{CloseReason, DialError, Refusal, SendError, UndeliveredReason};
use headwater_core::secure::ChannelError;

use crate::link::{Cut, Relay, introduce};
use crate::pair::{ANY_PORT, Pair, id, is_disconnected, patient, payload, start, test, until};
use crate::{Adapter, CallError, LONG, Messages, Node, Security, Stream, Wait};

/// Two nodes, of which `two` has dialled `one` through a relay.
fn through_relay<A: Adapter, B: Adapter>(a: &A, b: &B, config: Config) -> (Pair<A, B>, Relay) {
    let (one, two) = (start(a, "one", patient()), start(b, "two", config));
    let mut relay = None;
    let pair = Pair::connect_these(one, two, |local| {
        Address::from(relay.insert(Relay::start(local)).local())
    });
    (pair, relay.expect("the address was asked for"))
}

fn reason_of(told: &[Notification]) -> &CloseReason {
    let Some(Notification::Disconnected { reason, .. }) = told.last() else { panic!("{told:?}") };
    reason
}

/// Both sides are told, protocols first, and may connect again.
pub fn a_link_that_is_reset_is_told_and_made_anew<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let (Pair { mut one, mut two, local }, relay) = through_relay(a, b, patient());
    let address = Address::from(relay.local());
    for round in 0..3 {
        relay.cut(Cut::Reset);
        for told in [two.told_until(is_disconnected), one.told_until(is_disconnected)] {
            assert_eq!(*reason_of(&told), CloseReason::Io(IoCause::Reset));
            let lost = |told: &Notification| matches!(told, Notification::Unsupported { .. });
            assert_eq!(told.iter().filter(|told| lost(told)).count(), 1, "{told:?}");
            assert!(told.iter().rev().skip(1).take(1).all(lost), "{told:?}");
        }
        assert!(one.node.peers().is_empty() && two.node.peers().is_empty());
        let gone = two.node.send(id("one"), &test(), "gone".into());
        assert!(matches!(gone, Err(SendError::NotConnected { .. })), "{gone:?}");
        // With and without the relay; a way that is there now is not tried twice.
        let address = if round == 2 { Address::from(local) } else { address.clone() };
        assert_eq!(two.node.dial(address), Ok(id("one")));
        two.await_support(id("one"));
        one.await_support(id("two"));
        one.node.send(id("two"), &test(), "again".into()).unwrap();
        assert_eq!(two.message().payload, "again");
    }
    two.stop();
    one.stop();
}

/// Without security, an end between two frames is how a peer closes; elsewhere it is how one dies.
/// Over TLS a peer that closes says so.
pub fn a_link_that_ends_is_told<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let (Pair { mut one, mut two, .. }, relay) = through_relay(a, b, patient());
    relay.cut(Cut::End);
    let (between, within) = match a.security() {
        Security::Insecure => (CloseReason::RemoteClosed, CloseReason::Truncated),
        Security::Tls => {
            let cut = CloseReason::Channel(ChannelError::Truncated);
            (cut.clone(), cut)
        }
    };
    for told in [two.told_until(is_disconnected), one.told_until(is_disconnected)] {
        assert_eq!(*reason_of(&told), between);
    }
    assert_eq!(two.node.dial(Address::from(relay.local())), Ok(id("one")));
    one.await_support(id("two"));
    relay.hold_up_after(1000);
    two.node.send(id("one"), &test(), payload(0, 100_000)).unwrap();
    until("a part of the message is through", || relay.is_spent());
    relay.cut(Cut::End);
    assert_eq!(*reason_of(&one.told_until(is_disconnected)), within);
    two.told(is_disconnected);
    two.stop();
    one.stop();
}

/// What had been accepted and is not handed to the system any more, to the message and the byte;
/// nothing of it arrives all the same.
pub fn what_is_lost_with_a_link_is_counted<A: Adapter, B: Adapter>(a: &A, b: &B) {
    const LEN: usize = 50_000;
    let (Pair { mut one, mut two, .. }, relay) = through_relay(a, b, patient());
    relay.hold();
    let mut stream = two.node.borrow(id("one"), &test(), LONG).unwrap();
    let mut accepted = 0;
    for send in [true, false] {
        loop {
            let payload = payload(accepted, LEN);
            let wait = Duration::from_millis(100);
            let result = if send {
                two.node.send_wait(id("one"), &test(), payload, wait)
            } else {
                stream.send_wait(payload, wait)
            };
            match result {
                Ok(()) => accepted += 1,
                Err(SendError::Full { .. }) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    relay.cut(Cut::Reset);
    let told = two.told_until(is_disconnected);
    let mut lost = 0;
    for told in &told {
        if let Notification::Undelivered { peer, protocol, messages, bytes, reason } = told {
            assert_eq!((*peer, protocol, *bytes), (id("one"), &test(), messages * LEN as u64));
            assert_eq!(*reason, UndeliveredReason::ConnectionLost);
            lost += *messages as usize;
        }
    }
    assert_eq!(stream.lost(), Some(UndeliveredReason::ConnectionLost));
    // The rest was handed to the system, where nobody can tell what became of it.
    assert!(lost > 0 && lost <= accepted, "{lost} of {accepted}");
    one.told(is_disconnected);
    assert!(one.node.stop(LONG));
    let mut arrived = 0;
    loop {
        match one.messages.recv(LONG) {
            Ok(message) => assert_eq!(message.payload.len(), LEN),
            Err(Wait::Ended) => break,
            Err(Wait::Over) => panic!("the node has stopped and does not say so"),
        }
        arrived += 1;
    }
    assert!(arrived + lost <= accepted, "{arrived} arrived, {lost} of {accepted} lost");
    drop(stream);
    two.stop();
}

/// Half-open: the other end is gone and nobody says so.
pub fn a_peer_that_falls_silent_is_given_up<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let mut config = patient();
    config.keep_alive = Duration::from_millis(200);
    config.pong_deadline = Duration::from_millis(200);
    let (Pair { one, mut two, .. }, relay) = through_relay(a, b, config);
    relay.hold();
    let told = two.told_until(is_disconnected);
    assert_eq!(*reason_of(&told), CloseReason::Deadline(TimerKind::Pong));
    two.stop();
    drop(relay);
    one.stop();
}

/// What it would not take in time is given up and counted; what it takes later arrives.
pub fn a_peer_that_takes_nothing_for_a_while_loses_what_waited<A: Adapter, B: Adapter>(
    a: &A,
    b: &B,
) {
    let mut config = patient();
    config.send_deadline = Duration::from_millis(300);
    let (Pair { mut one, mut two, .. }, relay) = through_relay(a, b, config);
    relay.hold_up();
    let mut accepted = 0;
    while two.node.send(id("one"), &test(), payload(0, 60_000)).is_ok() {
        accepted += 1;
    }
    let told = two.told(|told| matches!(told, Notification::Undelivered { .. }));
    let Notification::Undelivered { messages, reason, .. } = told else { panic!("{told:?}") };
    assert_eq!(reason, UndeliveredReason::Deadline);
    let mut lost = messages;
    relay.go_on();
    two.node.send_wait(id("one"), &test(), payload(1, 60_000), LONG).unwrap();
    accepted += 1;
    assert!(two.node.stop(LONG));
    let told = two.last_words();
    for told in &told {
        if let Notification::Undelivered { messages, .. } = told {
            lost += messages;
        }
    }
    let stopped = |told: &Notification| {
        matches!(told, Notification::Disconnected { reason: CloseReason::Stopping, .. })
    };
    assert!(told.iter().any(stopped), "{told:?}");
    one.told(is_disconnected);
    assert!(one.node.stop(LONG));
    let mut arrived = 0;
    while let Ok(message) = one.messages.recv(LONG) {
        assert!([0, 1].iter().any(|number| message.payload == payload(*number, 60_000)));
        arrived += 1;
    }
    assert_eq!(arrived + lost, accepted, "{arrived} arrived, {lost} lost");
    two.stop();
    one.stop();
}

/// It proves its identity and says nothing more: as a listener, and as a dialer.
pub fn a_peer_that_stops_after_its_id_is_given_up<A: Adapter, B: Adapter>(a: &A, _: &B) {
    let mut config = patient();
    config.exchange_deadline = Duration::from_millis(300);
    let mut node = start(a, "one", config);
    let reason = CloseReason::Deadline(TimerKind::Exchange);
    let refusal = Refusal::Closed(Box::new(reason));

    let silent = TcpListener::bind(ANY_PORT).unwrap();
    let address = Address::from(silent.local_addr().unwrap());
    let security = a.security();
    let listener = std::thread::spawn(move || {
        let (mut link, _) = silent.accept().unwrap();
        introduce(&mut link, security, "silent", Direction::Inbound);
        // Until the node closes it.
        let _ = std::io::copy(&mut link, &mut std::io::sink());
    });
    let error = node.node.dial(address);
    assert_eq!(error, Err(CallError::Dial(Box::new(DialError::Refused(refusal.clone())))));
    listener.join().unwrap();

    let local = node.node.listen(ANY_PORT).unwrap();
    let mut link = TcpStream::connect(local).unwrap();
    introduce(&mut link, security, "quiet", Direction::Outbound);
    let told = node.told(
        |told| matches!(told, Notification::Refused { peer, .. } if *peer == Some(id("quiet"))),
    );
    let Notification::Refused { reason, remote, .. } = told else { panic!("{told:?}") };
    assert_eq!((reason, remote), (refusal, link.local_addr().unwrap()));
    link.set_read_timeout(Some(LONG)).unwrap();
    let mut heard = Vec::new();
    // Closed or reset, but not left open.
    if let Err(error) = link.read_to_end(&mut heard) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    node.stop();
}
