//! Node and one Connection apart, as an adapter drives them that gives each a task of its own.

use std::time::Duration;

use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::connection::Connection;
use headwater_core::contract::{Command, TimerKind};
use headwater_core::id::PeerId;
use headwater_core::node::Node;
use headwater_core::secure::{ChannelFactory, Insecure, PlainChannel};
use headwater_core::seed::Seed;
use headwater_core::time::Instant;

const NOW: Instant = Instant::from_nanos(1_000_000_000_000);

fn dialled() -> Connection<PlainChannel> {
    let local: PeerId = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse().unwrap();
    let mut channels = Insecure::new(local).unwrap();
    let mut node = Node::new(Config::default(), Seed::from_u64(1), local, NOW).unwrap();
    let remote = "127.0.0.1:9".parse().unwrap();
    node.dial(NOW, Address::from(remote)).unwrap();
    let Some(Command::Dial { connection, .. }) = node.poll_command() else { panic!("no dial") };
    let setup = node.handle_dialed(NOW, connection, remote).unwrap();
    let channel = channels.channel(setup.direction, setup.expected);
    Connection::new(setup, channel, NOW)
}

#[test]
fn p8_a_connection_knows_the_time_from_its_beginning() {
    let mut connection = dialled();
    // A call with an earlier time counts as one at the beginning.
    let mut chunks: [&[u8]; 1] = [&[]];
    assert_eq!(connection.transmit(Instant::ZERO, &mut chunks), 1);
    let next = connection.next_timeout().unwrap();
    assert_eq!((next.at, next.why), (NOW.after(Duration::from_secs(10)), TimerKind::Handshake));
}
