//! The loop inside somebody else's: its descriptor says when a turn has something to do.
#![cfg(unix)]

mod pair;

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use headwater_core::secure::Insecure;
use headwater_mio::{Address, Config, EventLoop, Notification};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use pair::{LONG, build, id, protocol};

/// Sleeps in a poll of its own until one of the loops has something to do; then each does it.
fn turn_all(poll: &mut Poll, loops: &mut [EventLoop<Insecure>]) -> usize {
    let mut wait = Some(LONG);
    for node in &mut *loops {
        wait = [wait, node.next_timeout()].into_iter().flatten().min();
    }
    let mut events = Events::with_capacity(8);
    poll.poll(&mut events, wait).unwrap();
    for node in &mut *loops {
        node.turn(Some(Duration::ZERO)).unwrap();
    }
    1
}

#[test]
fn two_loops_sleep_in_one_foreign_poll() {
    let mut poll = Poll::new().unwrap();
    let mut loops = [build("one", Config::default()), build("two", Config::default())];
    for (number, node) in loops.iter().enumerate() {
        let fd = node.as_raw_fd();
        let registry = poll.registry();
        registry.register(&mut SourceFd(&fd), Token(number), Interest::READABLE).unwrap();
    }
    loops[0].listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let (begin, mut turns, mut echoes) = (Instant::now(), 0, 0);
    while echoes < 100 && begin.elapsed() < LONG {
        turns += turn_all(&mut poll, &mut loops);
        let [one, two] = &mut loops;
        while let Some(told) = one.poll_notification() {
            if let Notification::Listening { local, .. } = told {
                // By name, so that the answer of another thread has to wake the foreign poll.
                let address: Address =
                    format!("/dns4/localhost/tcp/{}", local.port()).parse().unwrap();
                two.dial(address).unwrap();
            }
        }
        while let Some(told) = two.poll_notification() {
            if matches!(told, Notification::Supported { protocol: p, .. } if p == protocol()) {
                two.send(&id("one"), &protocol(), "ping".into()).unwrap();
            }
        }
        while let Some(message) = one.poll_message() {
            one.send(&message.peer, &message.protocol, message.payload).unwrap();
        }
        while let Some(message) = two.poll_message() {
            echoes += 1;
            two.send(&message.peer, &message.protocol, message.payload).unwrap();
        }
    }
    assert_eq!(echoes, 100);
    assert!(begin.elapsed() < LONG / 2, "slept through something: {:?}", begin.elapsed());
    assert!(turns < 5000, "{turns} turns for 100 echoes");
}
