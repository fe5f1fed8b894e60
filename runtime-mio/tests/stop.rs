//! Stopping: in order, in time, and with everything delivered that can be.

mod pair;

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use headwater_core::contract::Direction;
use headwater_core::secure::{ChannelFactory, Insecure};
use headwater_mio::{
    Address, Builder, Config, Error, ListenError, Notification, PeerId, SendError, Started,
};
use pair::{LONG, await_notification, connect, id, payload, protocol, start};

#[test]
fn what_was_queued_before_a_stop_arrives() {
    let mut one = start("one", Config::default());
    let mut two = start("two", Config::default());
    connect(&mut one, &mut two);
    for number in 0..200 {
        two.handle.send(&id("one"), &protocol(), payload(number, 500).into()).unwrap();
    }
    let begin = Instant::now();
    two.handle.stop();
    assert!(begin.elapsed() < Duration::from_secs(4), "it took {:?}", begin.elapsed());
    two.thread.join().unwrap().unwrap();
    let mut left = 200;
    while left > 0 {
        assert_eq!(one.messages.recv_timeout(LONG).unwrap().payload.len(), 500);
        left -= 1;
    }
    let told = await_notification(&mut one.notifications, |told| {
        matches!(told, Notification::Disconnected { .. } | Notification::Undelivered { .. })
    });
    assert!(matches!(told, Notification::Disconnected { flaps: 0, .. }), "{told:?}");
}

#[test]
fn a_stopped_node_answers_so_and_tells_it_last() {
    let mut one = start("one", Config::default());
    let mut two = start("two", Config::default());
    let local = connect(&mut one, &mut two);
    two.handle.send(&id("one"), &protocol(), "unread".into()).unwrap();
    let first = one.messages.recv_timeout(LONG).unwrap();
    two.handle.send(&id("one"), &protocol(), "still there".into()).unwrap();
    std::thread::sleep(Duration::from_millis(200));

    let Started { handle, mut messages, mut notifications, thread } = one;
    handle.stop();
    handle.stop();
    thread.join().unwrap().unwrap();
    assert!(TcpStream::connect(local).is_err());
    assert_eq!(first.payload, "unread");
    assert_eq!(messages.recv().unwrap().payload, "still there");
    assert_eq!(messages.recv(), None);
    let told: Vec<Notification> = std::iter::from_fn(|| notifications.recv()).collect();
    assert_eq!(told.last(), Some(&Notification::Stopped));
    let gone = |told: &&Notification| matches!(told, Notification::Disconnected { .. });
    assert_eq!(told.iter().filter(gone).count(), 1);

    let error = handle.send(&id("two"), &protocol(), "x".into()).unwrap_err();
    assert_eq!(error, SendError::Closed { payload: "x".into() });
    assert_eq!(handle.dial(Address::from(local)), Err(Error::Stopped));
    assert_eq!(handle.listen(local), Err(ListenError::Stopped));
    assert_eq!(handle.register(protocol()), Err(Error::Stopped));
    assert!(handle.peers().is_empty());
}

#[test]
fn a_node_without_handles_stops_by_itself() {
    let mut one = start("one", Config::default());
    let mut two = start("two", Config::default());
    connect(&mut one, &mut two);
    let sender = two.handle.sender(&id("one"), &protocol()).unwrap();
    let Started { handle, messages, notifications, thread } = two;
    drop((handle, messages, notifications));
    std::thread::sleep(Duration::from_millis(50));
    assert!(!thread.is_finished(), "a sender holds a handle");
    drop(sender);
    thread.join().unwrap().unwrap();
    await_notification(&mut one.notifications, |told| {
        matches!(told, Notification::Disconnected { .. })
    });
}

#[test]
fn a_stop_ends_in_time_although_the_peer_does_not_answer() {
    let mut config = Config::default();
    config.close_deadline = Duration::from_millis(500);
    let mut one = pair::build("one", Config::default());
    let mut two = start("two", config);
    one.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    one.turn(Some(Duration::ZERO)).unwrap();
    let Some(Notification::Listening { local, .. }) = one.poll_notification() else { panic!() };
    std::thread::scope(|scope| {
        let dialing = scope.spawn(|| two.handle.dial(Address::from(local)).unwrap());
        while !dialing.is_finished() {
            one.turn(Some(Duration::from_millis(1))).unwrap();
        }
    });
    while !two.handle.supports(&id("one"), &protocol()) {
        one.turn(Some(Duration::from_millis(1))).unwrap();
    }
    // From here on `one` neither reads nor answers.
    while two.handle.send(&id("one"), &protocol(), vec![1; 100_000].into()).is_ok() {}
    let begin = Instant::now();
    two.handle.stop();
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(5), "{took:?}");
    let told: Vec<Notification> = std::iter::from_fn(|| two.notifications.recv()).collect();
    let lost = told.iter().position(|t| matches!(t, Notification::Undelivered { .. }));
    let gone = told.iter().position(|t| matches!(t, Notification::Disconnected { .. }));
    assert!(lost.expect("counted") < gone.expect("told"), "{told:?}");
}

#[test]
fn what_is_lost_with_a_connection_is_counted_to_the_message() {
    let mut one = pair::build("one", Config::default());
    let mut two = start("two", Config::default());
    one.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    one.turn(Some(Duration::ZERO)).unwrap();
    let Some(Notification::Listening { local, .. }) = one.poll_notification() else { panic!() };
    std::thread::scope(|scope| {
        let dialing = scope.spawn(|| two.handle.dial(Address::from(local)).unwrap());
        while !dialing.is_finished() || !two.handle.supports(&id("one"), &protocol()) {
            one.turn(Some(Duration::from_millis(1))).unwrap();
        }
    });
    let mut accepted = 0;
    let end = Instant::now() + Duration::from_millis(300);
    while Instant::now() < end {
        let message = vec![1; 50_000].into();
        accepted += u64::from(two.handle.send(&id("one"), &protocol(), message).is_ok());
    }
    // It dies without a word, with unread bytes in its socket.
    drop(one);
    let mut lost = 0;
    loop {
        match two.notifications.recv_timeout(LONG).unwrap() {
            Notification::Undelivered { peer, protocol: p, messages, bytes, .. } => {
                assert_eq!((peer, p, bytes), (id("one"), protocol(), messages * 50_000));
                lost += messages;
            }
            Notification::Disconnected { .. } => break,
            _ => {}
        }
    }
    // The rest was handed to the system, where nobody can tell what became of it.
    assert!(lost > 0 && lost <= accepted, "{lost} of {accepted}");
}

/// Secures links until it is asked for the first one.
struct Broken(Insecure);

impl ChannelFactory for Broken {
    type Channel = <Insecure as ChannelFactory>::Channel;

    fn local(&self) -> PeerId {
        self.0.local()
    }

    fn channel(&mut self, _: Direction, _: Option<PeerId>) -> Self::Channel {
        panic!("a test: this factory is broken");
    }
}

#[test]
fn when_the_loop_panics_nobody_waits_for_it() {
    let factory = Broken(Insecure::new(id("broken")).unwrap());
    let Started { handle, mut messages, mut notifications, thread } =
        Builder::new(factory).start().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::from(silent.local_addr().unwrap());
    assert_eq!(handle.dial(address), Err(Error::Stopped));
    assert_eq!((messages.recv(), notifications.recv()), (None, None));
    assert_eq!(handle.register(protocol()), Err(Error::Stopped));
    handle.stop();
    assert!(thread.join().is_err());
}
