//! Dials and listeners that lead to nothing say why; one that leads somewhere may take a detour.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::contract::{Direction, IoCause, Notification, TimerKind};
use headwater_core::error::{ApplicationError, CloseReason, DialError, Refusal};

use crate::pair::{ANY_PORT, Pair, id, patient, start, test};
use crate::{Adapter, CallError, LONG, ListenError, Node, Security};

fn dial_error<A: Adapter>(adapter: &A, config: Config, address: Address) -> DialError {
    let node = start(adapter, "dialer", config);
    let result = node.node.dial(address);
    node.stop();
    match result {
        Err(CallError::Dial(error)) => *error,
        other => panic!("{other:?}"),
    }
}

/// A refused connection is told as such.
pub fn a_port_where_nobody_listens<A: Adapter, B: Adapter>(a: &A, _: &B) {
    let free = TcpListener::bind(ANY_PORT).unwrap().local_addr().unwrap();
    let error = dial_error(a, patient(), Address::from(free));
    assert_eq!(error, DialError::Link(IoCause::Refused));
}

/// What a resolver says without a network differs; that it was the resolver does not.
pub fn a_name_that_does_not_exist<A: Adapter, B: Adapter>(a: &A, _: &B) {
    // RFC 6761: never a name.
    let address = "/dns/nowhere.invalid/tcp/7001".parse().unwrap();
    let error = dial_error(a, patient(), address);
    assert!(matches!(error, DialError::Resolve(_)), "{error:?}");
}

/// A name is resolved; a peer that is connected already is found at once.
pub fn a_name_that_leads_to_a_peer<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let (one, two) = (start(a, "one", patient()), start(b, "two", patient()));
    let Pair { mut one, two, local } = Pair::connect_these(one, two, |local| {
        format!("/dns4/localhost/tcp/{}", local.port()).parse().unwrap()
    });
    assert_eq!(two.node.dial(Address::from(local).with_peer(id("one"))), Ok(id("one")));
    two.node.send(id("one"), &test(), "by name".into()).unwrap();
    assert_eq!(one.message().payload, "by name");
    two.stop();
    one.stop();
}

/// The dialer is told whom it found.
pub fn another_peer_than_the_one_that_was_dialled<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let one = start(b, "one", patient());
    let local = one.node.listen(ANY_PORT).unwrap();
    let error = dial_error(a, patient(), Address::from(local).with_peer(id("else")));
    let (expected, actual) = (id("else").into(), id("one").into());
    assert_eq!(error, DialError::Refused(Refusal::WrongPeer { expected, actual }));
    one.stop();
}

/// By name it is not even dialled; by address it is found out.
pub fn ones_own_id<A: Adapter, B: Adapter>(a: &A, _: &B) {
    let node = start(a, "one", patient());
    let local = node.node.listen(ANY_PORT).unwrap();
    let own = node.node.dial(Address::from(local).with_peer(id("one")));
    assert_eq!(own, Err(CallError::Call(ApplicationError::OwnId)));
    let own = node.node.dial(Address::from(local));
    assert_eq!(own, Err(CallError::Dial(Box::new(DialError::Refused(Refusal::OwnId)))));
    assert!(node.node.peers().is_empty());
    node.stop();
}

/// The deadline of the handshake ends it, and the socket is closed.
pub fn d22_a_listener_that_says_nothing<A: Adapter, B: Adapter>(a: &A, _: &B) {
    let silent = TcpListener::bind(ANY_PORT).unwrap();
    let mut config = patient();
    config.handshake_deadline = Duration::from_millis(200);
    let error = dial_error(a, config, Address::from(silent.local_addr().unwrap()));
    let reason = CloseReason::Deadline(TimerKind::Handshake);
    assert_eq!(error, DialError::Refused(Refusal::Closed(Box::new(reason))));
    let (mut link, _) = silent.accept().unwrap();
    let mut heard = Vec::new();
    // It may be closed or reset.
    let _ = link.read_to_end(&mut heard);
    match a.security() {
        Security::Insecure => assert_eq!(heard, id("dialer").as_bytes()),
        // A hello of TLS.
        Security::Tls => assert_eq!(heard[..3], [22, 3, 1]),
    }
}

/// It holds its place no longer than the handshake may take, and is told.
pub fn an_accepted_link_that_says_nothing<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let mut config = patient();
    config.handshake_deadline = Duration::from_millis(200);
    config.pending_max = 1;
    let (mut one, two) = (start(a, "one", config), start(b, "two", patient()));
    let local = one.node.listen(ANY_PORT).unwrap();
    let mut link = TcpStream::connect(local).unwrap();
    // It comes after the silent one, and waits until that has given its place back.
    assert_eq!(two.node.dial(Address::from(local)), Ok(id("one")));
    let told = one.told(|told| matches!(told, Notification::Refused { .. }));
    let Notification::Refused { remote, peer: None, reason, .. } = told else { panic!("{told:?}") };
    assert_eq!(remote, link.local_addr().unwrap());
    let deadline = CloseReason::Deadline(TimerKind::Handshake);
    assert_eq!(reason, Refusal::Closed(Box::new(deadline)));
    link.set_read_timeout(Some(LONG)).unwrap();
    // Closed or reset, but not left open.
    match link.read(&mut [0; 64]) {
        Ok(read) => assert_eq!(read, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    two.stop();
    one.stop();
}

/// It breaks the channel, not the node.
pub fn a_peer_that_answers_nonsense<A: Adapter, B: Adapter>(a: &A, _: &B) {
    let server = TcpListener::bind(ANY_PORT).unwrap();
    let address = Address::from(server.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (mut link, _) = server.accept().unwrap();
        link.write_all(&[b'!'; 64]).unwrap();
        let _ = link.read_to_end(&mut Vec::new());
    });
    let error = dial_error(a, patient(), address);
    let DialError::Refused(Refusal::Closed(reason)) = error else { panic!("{error:?}") };
    assert!(matches!(*reason, CloseReason::Channel(_)), "{reason:?}");
    thread.join().unwrap();
}

/// The node that dialled it, the one that accepted it, and a stranger with the same id.
pub fn a_second_connection_of_one_peer_is_refused_and_the_first_lives_on<A, B>(a: &A, b: &B)
where
    A: Adapter,
    B: Adapter,
{
    let Pair { mut one, mut two, local } = Pair::connect(a, b);
    // The dial leads to a peer that is connected, though not by the link that it made.
    assert_eq!(two.node.dial(Address::from(local)), Ok(id("one")));
    // With the same id, but without the connection: the one that listens refuses.
    let stranger = start(b, "two", patient());
    assert!(matches!(stranger.node.dial(Address::from(local)), Err(CallError::Dial(_))));
    stranger.stop();
    for _ in 0..2 {
        let told = one.told(|_| true);
        let Notification::Refused { peer, direction, reason, .. } = told else {
            panic!("{told:?}");
        };
        assert_eq!((peer, direction), (Some(id("two")), Direction::Inbound));
        // The second may come while it is still asked whether the connection lives.
        assert!(matches!(reason, Refusal::TooManyConnections | Refusal::Duplicate), "{reason:?}");
    }
    two.node.send(id("one"), &test(), "still here".into()).unwrap();
    assert_eq!(one.message().payload, "still here");
    one.node.send(id("two"), &test(), "me too".into()).unwrap();
    assert_eq!(two.message().payload, "me too");
    two.stop();
    one.stop();
}

/// Nobody's port is shared: neither a node's, nor anybody else's.
pub fn d67_a_port_in_use<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let (one, two) = (start(a, "one", patient()), start(b, "two", patient()));
    let local = one.node.listen(ANY_PORT).unwrap();
    let in_use = Err(ListenError::Bind(IoCause::AddressInUse));
    assert_eq!(two.node.listen(local), in_use);
    assert_eq!(one.node.listen(local), in_use);
    let other = TcpListener::bind(ANY_PORT).unwrap();
    assert_eq!(two.node.listen(other.local_addr().unwrap()), in_use);
    // The one that listens still does, and the other one may elsewhere.
    assert_eq!(two.node.dial(Address::from(local)), Ok(id("one")));
    assert!(two.node.listen(ANY_PORT).is_ok());
    two.stop();
    one.stop();
}
