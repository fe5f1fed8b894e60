//! Back-pressure: what is not read stops its sender, costs no time, and is not lost.
#![cfg(unix)]

mod pair;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use headwater_core::secure::Insecure;
use headwater_mio::{Address, Config, EventLoop, Notification, SendError};
use pair::{LONG, build, connect, id, protocol, start};
use socket2::{Domain, Socket, Type};

#[test]
fn an_application_that_does_not_read_stops_its_peer_and_then_gets_everything() {
    let mut one = start("one", Config::default());
    let mut two = start("two", Config::default());
    connect(&mut one, &mut two);
    let message = |number: u32| Bytes::from(number.to_be_bytes().repeat(250));
    let short = Duration::from_millis(500);
    let mut sent = 0;
    let error = loop {
        match two.handle.send_wait(&one.handle.id(), &protocol(), message(sent), short) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, SendError::Full { payload: message(sent) });
    // Outbox, output, both sockets, windows of the streams that there are, inbox.
    assert!((500..100_000).contains(&sent), "{sent} messages of 1000 bytes");
    let again = two.handle.send(&one.handle.id(), &protocol(), message(sent));
    assert!(matches!(again, Err(SendError::Full { .. })));

    let mut seen = vec![false; sent as usize];
    for _ in 0..sent {
        let payload = one.messages.recv_timeout(LONG).unwrap().payload;
        let number = u32::from_be_bytes(*payload.first_chunk().unwrap());
        assert!(payload == message(number));
        assert!(!std::mem::replace(&mut seen[number as usize], true));
    }
    assert!(one.messages.recv_timeout(Duration::from_millis(50)).is_err());
    two.handle.send(&one.handle.id(), &protocol(), message(1)).unwrap();
    assert!(one.messages.recv_timeout(LONG).is_ok());
}

#[test]
fn one_who_waits_for_room_goes_on_when_there_is_some() {
    let mut one = start("one", Config::default());
    let mut two = start("two", Config::default());
    connect(&mut one, &mut two);
    let big = Bytes::from(vec![7; 1 << 20]);
    while two.handle.send_wait(&one.handle.id(), &protocol(), big.clone(), LONG / 60).is_ok() {}
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let begin = Instant::now();
            two.handle.send_wait(&one.handle.id(), &protocol(), big.clone(), LONG).unwrap();
            begin.elapsed()
        });
        std::thread::sleep(Duration::from_millis(200));
        assert!(!waiting.is_finished());
        while !waiting.is_finished() {
            one.messages.recv_timeout(LONG).unwrap();
        }
        assert!(waiting.join().unwrap() >= Duration::from_millis(150));
    });
}

#[test]
fn stopping_wakes_one_who_waits_for_room() {
    let mut one = start("one", Config::default());
    let mut two = start("two", Config::default());
    connect(&mut one, &mut two);
    let big = Bytes::from(vec![7; 1 << 20]);
    while two.handle.send_wait(&one.handle.id(), &protocol(), big.clone(), LONG / 60).is_ok() {}
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            two.handle.send_wait(&one.handle.id(), &protocol(), big.clone(), LONG).unwrap_err()
        });
        std::thread::sleep(Duration::from_millis(100));
        two.handle.stop();
        let error = waiting.join().unwrap();
        let gone = matches!(error, SendError::NotConnected { .. } | SendError::Closed { .. });
        assert!(gone, "{error}");
        assert_eq!(error.into_payload(), big);
    });
}

/// Makes turns of both loops until `two` may send to `one`.
fn connect_loops(one: &mut EventLoop<Insecure>, two: &mut EventLoop<Insecure>) {
    one.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let end = Instant::now() + LONG;
    while Instant::now() < end {
        one.turn(Some(Duration::from_millis(1))).unwrap();
        two.turn(Some(Duration::from_millis(1))).unwrap();
        if let Some(Notification::Listening { local, .. }) = one.poll_notification() {
            two.dial(Address::from(local)).unwrap();
        }
        if two.endpoint().route(&id("one")).is_some_and(|route| route.supports("/test/1.0.0")) {
            return;
        }
    }
    panic!("not connected in time");
}

/// Turns that the loop makes within `time`.
fn count_turns(node: &mut EventLoop<Insecure>, time: Duration) -> usize {
    let end = Instant::now() + time;
    let mut turns = 0;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return turns;
        }
        node.turn(Some(left)).unwrap();
        turns += 1;
    }
}

/// Forwards one link to `to` until it is told to read no more. Its receive buffer and its segments
/// are small, so that the sender's socket holds less than the streams' windows.
fn forward(to: SocketAddr, reads: Arc<AtomicBool>) -> SocketAddr {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.set_tcp_mss(536).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(1).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut near, _) = listener.accept().unwrap();
        let mut far = TcpStream::connect(to).unwrap();
        let (mut back, mut answers) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
        let mut buf = [0; 1024];
        while reads.load(Ordering::SeqCst) {
            let n = near.read(&mut buf).unwrap();
            far.write_all(&buf[..n]).unwrap();
        }
        std::thread::sleep(LONG);
    });
    address
}

#[test]
fn a_peer_that_never_reads_costs_no_turns() {
    let one = start("one", Config::default());
    let mut two = build("two", Config::default());
    let reads = Arc::new(AtomicBool::new(true));
    let local = one.handle.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    two.dial(Address::from(forward(local, Arc::clone(&reads)))).unwrap();
    while !two.endpoint().route(&id("one")).is_some_and(|way| way.supports("/test/1.0.0")) {
        two.turn(Some(LONG)).unwrap();
    }
    let connection = two.endpoint().route(&id("one")).unwrap().entries()[0].connection;
    let big = Bytes::from(vec![7; 100_000]);
    let (mut sent, mut quiet) = (0, 0);
    reads.store(false, Ordering::SeqCst);
    while quiet < 50 {
        quiet += 1;
        while two.send(&id("one"), &protocol(), big.clone()).is_ok() {
            sent += 1;
            quiet = 0;
        }
        two.turn(Some(Duration::from_millis(2))).unwrap();
    }
    assert!(two.endpoint().wants_transmit(connection), "{sent} messages do not fill the socket");
    let turns = count_turns(&mut two, Duration::from_secs(2));
    assert!(turns < 20, "{turns} turns in two seconds of nothing to do");
}

#[test]
fn an_idle_pair_costs_no_turns() {
    let mut one = build("one", Config::default());
    let mut two = build("two", Config::default());
    connect_loops(&mut one, &mut two);
    for _ in 0..50 {
        one.turn(Some(Duration::from_millis(2))).unwrap();
        two.turn(Some(Duration::from_millis(2))).unwrap();
    }
    let turns = count_turns(&mut two, Duration::from_secs(1));
    assert!(turns < 20, "{turns} turns in a second of nothing to do");
}

#[test]
fn a_link_that_is_never_spoken_on_costs_no_turns() {
    let mut node = build("one", Config::default());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    node.dial(Address::from(silent.local_addr().unwrap())).unwrap();
    node.turn(Some(Duration::from_millis(100))).unwrap();
    let (link, _): (TcpStream, _) = silent.accept().unwrap();
    let turns = count_turns(&mut node, Duration::from_secs(1));
    assert!(turns < 20, "{turns} turns in a second of nothing to do");
    drop(link);
}
