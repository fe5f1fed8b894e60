//! The end of the loop, and of its thread.

mod pair;

use std::net::TcpListener;
use std::time::Duration;

use headwater_core::contract::Direction;
use headwater_core::secure::{ChannelFactory, Insecure};
use headwater_mio::{Address, Builder, Config, Error, Notification, PeerId, Started};
use pair::{await_notification, connect, id, protocol, start};

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
        Builder::with_channels(factory).start().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::from(silent.local_addr().unwrap());
    assert_eq!(handle.dial(address), Err(Error::Stopped));
    assert_eq!((messages.recv(), notifications.recv()), (None, None));
    assert_eq!(handle.register(protocol()), Err(Error::Stopped));
    handle.stop();
    assert!(thread.join().is_err());
}
