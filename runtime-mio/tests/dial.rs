//! Dials that lead to nothing say why, in time.

mod pair;

use std::io::Read;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use headwater_core::contract::{IoCause, TimerKind};
use headwater_core::error::{ApplicationError, CloseReason, DialError, Refusal};
use headwater_mio::{Address, Config, Error, ListenError, Notification};
use pair::{await_notification, connect, id, start};

fn dial_error(config: Config, address: Address) -> DialError {
    let node = start("dialer", config);
    match node.handle.dial(address) {
        Err(Error::Dial(error)) => *error,
        other => panic!("{other:?}"),
    }
}

fn hasty() -> Config {
    let mut config = Config::default();
    config.handshake_deadline = Duration::from_millis(300);
    config.dial_deadline = Duration::from_secs(2);
    config
}

#[test]
fn nobody_listens_there() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = dial_error(Config::default(), Address::from(free));
    assert_eq!(error, DialError::Link(IoCause::Refused));
}

#[test]
fn a_name_that_does_not_exist() {
    // RFC 6761: never a name. What the resolver of a machine without a network says differs.
    let address = "/dns/nowhere.invalid/tcp/7001".parse().unwrap();
    let error = dial_error(Config::default(), address);
    assert!(matches!(error, DialError::Resolve(_)), "{error:?}");
}

#[test]
fn a_name_that_leads_to_a_peer() {
    let one = start("one", Config::default());
    let two = start("two", Config::default());
    let local = one.handle.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = format!("/dns4/localhost/tcp/{}", local.port()).parse().unwrap();
    assert_eq!(two.handle.dial(address), Ok(id("one")));
    // Connected already: at once.
    assert_eq!(two.handle.dial(Address::from(local).with_peer(id("one"))), Ok(id("one")));
}

#[test]
fn a_peer_that_accepts_and_never_speaks() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let begin = Instant::now();
    let error = dial_error(hasty(), Address::from(silent.local_addr().unwrap()));
    let reason = CloseReason::Deadline(TimerKind::Handshake);
    assert_eq!(error, DialError::Refused(Refusal::Closed(Box::new(reason))));
    assert!(begin.elapsed() >= Duration::from_millis(300));
    assert!(begin.elapsed() < Duration::from_secs(10));
    // And the socket is closed: all that came is the dialer's id.
    let (mut link, _) = silent.accept().unwrap();
    let mut heard = Vec::new();
    let _ = link.read_to_end(&mut heard);
    assert_eq!(heard, id("dialer").as_bytes());
}

#[test]
fn a_peer_that_answers_nonsense() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::from(server.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (mut link, _) = server.accept().unwrap();
        std::io::Write::write_all(&mut link, &[b'!'; 64]).unwrap();
        let _ = link.read_to_end(&mut Vec::new());
    });
    let error = dial_error(hasty(), address);
    let DialError::Refused(Refusal::Closed(reason)) = error else { panic!("{error:?}") };
    assert!(matches!(*reason, CloseReason::Channel(_)), "{reason:?}");
    thread.join().unwrap();
}

#[test]
fn another_peer_than_the_one_that_was_dialled() {
    let one = start("one", Config::default());
    let local = one.handle.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = dial_error(Config::default(), Address::from(local).with_peer(id("else")));
    let (expected, actual) = (id("else"), id("one"));
    assert_eq!(error, DialError::Refused(Refusal::WrongPeer { expected, actual }));
}

#[test]
fn ones_own_id_and_a_port_in_use() {
    let node = start("one", Config::default());
    let local = node.handle.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let own = node.handle.dial(Address::from(local).with_peer(id("one")));
    assert_eq!(own, Err(Error::Call(ApplicationError::OwnId)));
    // D-67: the port is not shared.
    assert_eq!(node.handle.listen(local), Err(ListenError::Bind(IoCause::AddressInUse)));
}

#[test]
fn an_accepted_link_that_never_speaks_is_refused_and_told() {
    let mut node = start("one", hasty());
    let local = node.handle.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut link = std::net::TcpStream::connect(local).unwrap();
    let told = await_notification(&mut node.notifications, |told| {
        matches!(told, Notification::Refused { .. })
    });
    let Notification::Refused { remote, peer: None, reason, .. } = told else { panic!("{told:?}") };
    assert_eq!(remote, link.local_addr().unwrap());
    let deadline = CloseReason::Deadline(TimerKind::Handshake);
    assert_eq!(reason, Refusal::Closed(Box::new(deadline)));
    let _ = link.read_to_end(&mut Vec::new());
}

#[test]
fn answers_come_although_nobody_reads_notifications() {
    let mut one = start("one", Config::default());
    let mut two = start("two", Config::default());
    let local = connect(&mut one, &mut two);
    // Each of these leaves a notification; many more than wait in the adapter.
    for _ in 0..100 {
        two.handle.disconnect(id("one")).unwrap();
        while two.handle.peers().contains(&id("one")) || one.handle.peers().contains(&id("two")) {
            std::thread::sleep(Duration::from_millis(1));
        }
        two.handle.dial(Address::from(local)).unwrap();
    }
    assert_eq!(two.handle.peers(), [id("one")]);
}
