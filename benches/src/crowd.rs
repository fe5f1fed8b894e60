//! A node with many connections, for counting what one of them costs among all.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::contract::Command;
use headwater_core::contract::{Event, ListenerId};
use headwater_core::endpoint::Endpoint;
use headwater_core::id::{ConnectionId, PeerId, ProtocolId};
use headwater_core::secure::Insecure;
use headwater_core::seed::Seed;
use headwater_core::time::Instant;

use crate::counted::measured;
use crate::pair::transfer;

/// The most connections that the node has.
pub const CROWD: u32 = 10_000;

struct Crowd {
    now: Instant,
    hub: Endpoint<Insecure>,
    protocol: ProtocolId,
    peers: Vec<(PeerId, ConnectionId)>,
}

fn endpoint(id: PeerId, now: Instant) -> Endpoint<Insecure> {
    let mut config = Config::default();
    config.peers_max = CROWD as usize;
    config.pending_per_source_max = config.pending_max;
    config.send_streams_initial = 2;
    let channels = Insecure::new(id).expect("46 bytes");
    Endpoint::new(config, Seed::from_u64(1), channels, now).expect("valid")
}

fn peer_id(mut n: u32) -> PeerId {
    let mut text = *b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";
    for digit in &mut text[2..8] {
        *digit = b"123456789ABCDEFG"[(n & 0xf) as usize];
        n >>= 4;
    }
    PeerId::from_bytes(&text).expect("an id")
}

impl Crowd {
    /// A node with so many peers that are there, and say nothing more.
    fn new(peers: u32) -> Self {
        let now = Instant::from_nanos(1);
        let mut hub = endpoint(peer_id(u32::MAX), now);
        let local: SocketAddr = ([127, 0, 0, 1], 1).into();
        hub.listen(now, local).expect("listening");
        while hub.poll_command().is_some() {}
        hub.handle_event(now, Event::Listening { listener: ListenerId(0), local });
        let protocol = ProtocolId::new("/bench").expect("an id");
        let mut crowd = Self { now, hub, protocol, peers: Vec::new() };
        (0..peers).for_each(|n| crowd.connect(n, local));
        crowd
    }

    fn connect(&mut self, n: u32, local: SocketAddr) {
        let Self { now, hub, protocol, peers } = self;
        // All at different times, as in life.
        *now = now.after(Duration::from_micros(100));
        let mut peer = endpoint(peer_id(n), *now);
        peer.register(*now, protocol.clone()).expect("registered");
        peer.dial(*now, Address::from(local)).expect("dialling");
        let Some(Command::Dial { connection, .. }) = peer.poll_command() else {
            panic!("no dial");
        };
        peer.handle_dialed(*now, connection, local).expect("dialled");
        let accepted = hub.handle_accepted(*now, ListenerId(0), local).expect("accepted");
        loop {
            let forth = transfer(*now, &mut peer, connection, hub, accepted);
            let back = transfer(*now, hub, accepted, &mut peer, connection);
            if !(forth | back) {
                break;
            }
        }
        while hub.poll_notification().is_some() {}
        while hub.poll_ready().is_some() {}
        peers.push((peer.local(), accepted));
    }

    fn tick(&mut self) {
        self.now = self.now.after(Duration::from_millis(100));
        self.hub.handle_timeout(self.now);
        black_box(self.hub.next_timeout());
        self.swallow();
        while self.hub.poll_notification().is_some() {}
        while self.hub.poll_command().is_some() {}
    }

    /// What leaves is lost, as it is on a link that is slow to break.
    fn swallow(&mut self) {
        while let Some(id) = self.hub.poll_ready() {
            while self.hub.wants_transmit(id) {
                let mut pieces: [&[u8]; 64] = [&[]; 64];
                let count = self.hub.transmit(self.now, id, &mut pieces);
                let len = pieces[..count].iter().map(|piece| piece.len()).sum();
                self.hub.handle_transmitted(self.now, id, len);
            }
        }
    }
}

/// Ticks of 100 ms among connections that have nothing to say, keep-alive and all.
///
/// # Panics
///
/// If the peers do not connect.
pub fn ticks(peers: u32, ticks: u32) {
    let mut crowd = Crowd::new(peers);
    measured(&mut || (0..ticks).for_each(|_| crowd.tick()));
    assert_eq!(crowd.hub.peers().count(), peers as usize, "their pongs are due later");
}

/// So many connections that end, because no pong comes.
///
/// # Panics
///
/// If the peers do not connect, or are not lost.
pub fn losses(peers: u32) {
    let mut crowd = Crowd::new(peers);
    (0..150).for_each(|_| crowd.tick());
    measured(&mut || (0..100).for_each(|_| crowd.tick()));
    assert_eq!(crowd.hub.peers().count(), 0, "lost");
}

/// Sends small messages to one of so many peers after another.
///
/// # Panics
///
/// If one is not taken.
pub fn send_around(peers: u32, messages: u32) {
    let mut crowd = Crowd::new(peers);
    let mut send = |messages: u32, from: usize| {
        for n in 0..messages as usize {
            // Far apart, so that no two neighbours are taken.
            let (peer, _) = crowd.peers[(from + n * 37) % crowd.peers.len()];
            let payload = Bytes::from_static(&[7; 128]);
            crowd.hub.send(crowd.now, &peer, &crowd.protocol, payload).expect("taken");
            crowd.swallow();
        }
    };
    send(messages, 0);
    measured(&mut || send(messages, 0));
}
