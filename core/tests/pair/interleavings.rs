//! Two nodes that dial each other, in every order in which things can happen at both ends
//! (spec 4.2).
//!
//! What happens at one end and at the other do not depend on each other until bytes have
//! travelled, so an order is told by what happened at each end, in its order there. All of those
//! are gone through: an end hears that its dial led to a link, that a link was accepted, or the
//! next write of the other end on one of the two links.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::contract::{Command, Event, LinkCommand, ListenerId, Notification};
use headwater_core::endpoint::Endpoint;
use headwater_core::id::{ConnectionId, ProtocolId};
use headwater_core::seed::Seed;
use headwater_core::time::Instant;

use crate::harness::{Channels, over_both_channels, peer_id};

over_both_channels!(
    d46_every_order_of_two_dials_leaves_one_connection_the_smaller_id_first,
    d46_every_order_of_two_dials_leaves_one_connection_the_larger_id_first,
);

const NOW: Instant = Instant::from_nanos(1_000_000_000);

/// What one end hears next: on the link that end 0 made, or on the one that end 1 made.
type Step = (usize, usize);

#[derive(Default)]
struct Direction {
    /// Writes on their way.
    writes: VecDeque<Vec<u8>>,
    finished: bool,
    broken: bool,
}

struct End<F: Channels> {
    endpoint: Endpoint<F>,
    listener: ListenerId,
    /// The dial that this end is to make.
    dial: Option<ConnectionId>,
    /// Its names of the two links, by who made them.
    links: [Option<ConnectionId>; 2],
    /// Links that this end has let go of.
    closed: [bool; 2],
    told: Vec<Notification>,
    history: Vec<u8>,
}

struct Crossing<F: Channels> {
    ends: Vec<End<F>>,
    /// By who writes, and on which link.
    pipes: BTreeMap<Step, Direction>,
}

fn address(end: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, end as u8 + 1], 1000))
}

impl<F: Channels> Crossing<F> {
    fn new(ids: [usize; 2]) -> Self {
        let mut ends = Vec::new();
        for end in 0..2 {
            let seed = Seed::from_u64(end as u64);
            let mut config = Config::default();
            config.send_streams_initial = 1;
            let mut endpoint = Endpoint::new(config, seed, F::of(peer_id(ids[end])), NOW).unwrap();
            endpoint.register(NOW, ProtocolId::new("/echo").unwrap()).unwrap();
            let listener = endpoint.listen(NOW, address(end)).unwrap();
            endpoint.handle_event(NOW, Event::Listening { listener, local: address(end) });
            let other = Address::from(address(1 - end)).with_peer(peer_id(ids[1 - end]));
            endpoint.dial(NOW, other).unwrap();
            let (links, closed) = ([None; 2], [false; 2]);
            let (told, history) = (Vec::new(), Vec::new());
            ends.push(End { endpoint, listener, dial: None, links, closed, told, history });
        }
        let pipes = (0..2).flat_map(|end| (0..2).map(move |link| (end, link)));
        let pipes = pipes.map(|pipe| (pipe, Direction::default())).collect();
        let mut crossing = Self { ends, pipes };
        crossing.settle(0);
        crossing.settle(1);
        crossing
    }

    /// What can happen now.
    fn steps(&mut self) -> Vec<Step> {
        let all = [(0, 0), (0, 1), (1, 0), (1, 1)];
        all.into_iter().filter(|step| self.is_possible(*step)).collect()
    }

    fn is_possible(&mut self, (end, link): Step) -> bool {
        let this = &mut self.ends[end];
        if this.closed[link] {
            return false;
        }
        let Some(connection) = this.links[link] else { return true };
        let pipe = &self.pipes[&(1 - end, link)];
        if !pipe.broken && !pipe.writes.is_empty() {
            // Who waits for a verdict reads later.
            return this.endpoint.recv_buf(connection).is_some();
        }
        pipe.finished || pipe.broken
    }

    fn step(&mut self, (end, link): Step) {
        self.ends[end].history.push(link as u8);
        match self.ends[end].links[link] {
            None if end == link => {
                let connection = self.ends[end].dial.take().unwrap();
                self.ends[end].links[link] = Some(connection);
                self.ends[end].endpoint.handle_dialed(NOW, connection, address(end)).unwrap();
            }
            None => {
                let listener = self.ends[end].listener;
                let accepted =
                    self.ends[end].endpoint.handle_accepted(NOW, listener, address(1 - end));
                self.ends[end].links[link] = Some(accepted.unwrap());
            }
            Some(connection) => self.read(end, link, connection),
        }
        self.settle(end);
    }

    fn read(&mut self, end: usize, link: usize, connection: ConnectionId) {
        let pipe = self.pipes.get_mut(&(1 - end, link)).unwrap();
        let endpoint = &mut self.ends[end].endpoint;
        if pipe.broken {
            endpoint.handle_io_error(NOW, connection, headwater_core::contract::IoCause::Reset);
            pipe.broken = false;
        } else if let Some(write) = pipe.writes.front_mut() {
            let buffer = endpoint.recv_buf(connection).unwrap();
            assert!(buffer.capacity() - buffer.len() >= write.len());
            buffer.extend_from_slice(write);
            pipe.writes.pop_front();
            endpoint.handle_received(NOW, connection).unwrap();
        } else {
            pipe.finished = false;
            endpoint.handle_eof(NOW, connection);
        }
    }

    /// What an end does at once after each step: it writes, and carries out commands.
    fn settle(&mut self, end: usize) {
        let this = &mut self.ends[end];
        for link in 0..2 {
            let Some(connection) = this.links[link] else { continue };
            let pipe = self.pipes.get_mut(&(end, link)).unwrap();
            while this.endpoint.wants_transmit(connection) {
                let mut chunks: [&[u8]; 16] = [&[]; 16];
                let count = this.endpoint.transmit(NOW, connection, &mut chunks);
                let bytes = chunks[..count].concat();
                this.endpoint.handle_transmitted(NOW, connection, bytes.len());
                if !bytes.is_empty() {
                    pipe.writes.push_back(bytes);
                }
            }
        }
        while let Some(command) = this.endpoint.poll_command() {
            match command {
                Command::Dial { connection, .. } => this.dial = Some(connection),
                Command::Link { connection, command } => {
                    let link = this.links.iter().position(|l| *l == Some(connection)).unwrap();
                    let pipe = self.pipes.get_mut(&(end, link)).unwrap();
                    match command {
                        LinkCommand::Finish => pipe.finished = true,
                        LinkCommand::Close => this.closed[link] = true,
                        LinkCommand::Abort => {
                            this.closed[link] = true;
                            pipe.broken = true;
                        }
                    }
                }
                _ => {}
            }
        }
        this.told.extend(std::iter::from_fn(|| this.endpoint.poll_notification()));
        while this.endpoint.poll_ready().is_some() {}
    }

    fn history(&self) -> [Vec<u8>; 2] {
        [self.ends[0].history.clone(), self.ends[1].history.clone()]
    }

    /// Nothing can happen any more: one connection is left, the same at both ends, and it was
    /// all one story.
    fn check(&self, ids: [usize; 2]) {
        let how = self.history();
        let mut left = Vec::new();
        for end in 0..2 {
            let this = &self.ends[end];
            let route = this.endpoint.route(&peer_id(ids[1 - end]));
            let route = route.unwrap_or_else(|| panic!("{how:?}: {end} is not connected"));
            assert_eq!(route.entries().len(), 1, "{how:?}");
            let kept = Some(route.entries()[0].connection);
            left.push(this.links.iter().position(|link| *link == kept).unwrap());
            let count = |is: &dyn Fn(&Notification) -> bool| {
                this.told.iter().filter(|told| is(told)).count()
            };
            let connected = count(&|told| matches!(told, Notification::Connected { .. }));
            let lost = count(&|told| matches!(told, Notification::Disconnected { .. }));
            let dialed = count(&|told| matches!(told, Notification::Dialed { .. }));
            let failed = count(&|told| matches!(told, Notification::DialFailed { .. }));
            let story = (connected, lost, dialed, failed);
            assert_eq!(story, (1, 0, 1, 0), "{how:?}: {end}: {:?}", this.told);
        }
        assert_eq!(left[0], left[1], "{how:?}");
    }
}

/// Goes through all orders, and gives how many there are.
fn explore<F: Channels>(ids: [usize; 2]) -> usize {
    let mut seen: BTreeSet<[Vec<u8>; 2]> = BTreeSet::new();
    let mut open: Vec<Vec<Step>> = vec![Vec::new()];
    let mut orders = 0;
    while let Some(mut path) = open.pop() {
        let mut crossing = Crossing::<F>::new(ids);
        for step in &path {
            crossing.step(*step);
        }
        loop {
            let steps = crossing.steps();
            let Some((first, others)) = steps.split_first() else {
                crossing.check(ids);
                orders += 1;
                break;
            };
            for other in others {
                open.push(path.iter().copied().chain([*other]).collect());
            }
            path.push(*first);
            crossing.step(*first);
            crossing.ends[first.0].endpoint.assert_invariants();
            if !seen.insert(crossing.history()) {
                break;
            }
        }
    }
    println!("{orders} orders, {} states", seen.len());
    orders
}

fn d46_every_order_of_two_dials_leaves_one_connection_the_smaller_id_first<F: Channels>() {
    assert!(explore::<F>([0, 1]) > 2000);
}

fn d46_every_order_of_two_dials_leaves_one_connection_the_larger_id_first<F: Channels>() {
    assert!(explore::<F>([1, 0]) > 2000);
}
