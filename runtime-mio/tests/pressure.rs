//! What cannot go on costs no time.
#![cfg(unix)]

mod pair;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use headwater_core::secure::Insecure;
use headwater_mio::{Address, Config, EventLoop, Notification};
use pair::{LONG, build, id, protocol, start};
use socket2::{Domain, Socket, Type};

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
