//! Two links between two nodes, in every order in which things can happen at both ends
//! (spec 4.2): both dial, or one dials twice, or one dials, disconnects and dials again.
//!
//! What happens at one end and at the other do not depend on each other until bytes have
//! travelled, so an order is told by what happened at each end, in its order there. All of those
//! are gone through: an end hears that its dial led to a link, that a link was accepted, or the
//! next write of the other end on one of the two links. Time stands still, so nothing is left to
//! a deadline.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::contract::{Command, Event, LinkCommand, ListenerId, Notification};
use headwater_core::endpoint::Endpoint;
use headwater_core::id::{ConnectionId, ProtocolId};
use headwater_core::secure::Insecure;
use headwater_core::seed::Seed;
use headwater_core::time::Instant;

use crate::harness::{Channels, over_both_channels, peer_id};
use crate::record::Record;

over_both_channels!(
    d46_every_order_of_two_dials_leaves_one_connection_the_smaller_id_first,
    d46_every_order_of_two_dials_leaves_one_connection_the_larger_id_first,
);

const NOW: Instant = Instant::from_nanos(1_000_000_000);

/// What one end hears next, and on which of the two links.
type Step = (usize, usize);

/// Who dials whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// The smaller or the larger id is that of end 0, which makes the first link; end 1 makes the
    /// second.
    Cross { ids: [usize; 2] },
    /// End 0 makes both.
    Twice,
    /// The same, but the second when it has been connected by the first and has let go of it;
    /// whether it names whom it dials.
    Again { named: bool },
}

impl Plan {
    fn ids(self) -> [usize; 2] {
        if let Self::Cross { ids } = self { ids } else { [0, 1] }
    }

    /// Who makes a link.
    fn maker(self, link: usize) -> usize {
        if matches!(self, Self::Cross { .. }) { link } else { 0 }
    }
}

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
    /// The links that this end is to make.
    dials: [Option<ConnectionId>; 2],
    /// Its names of the two links.
    links: [Option<ConnectionId>; 2],
    /// Links that this end has let go of.
    closed: [bool; 2],
    told: Vec<Notification>,
    history: Vec<u8>,
    /// It has done what it does when it is connected.
    is_done: bool,
}

struct Play<F: Channels> {
    plan: Plan,
    ends: Vec<End<F>>,
    /// By who writes, and on which link.
    pipes: BTreeMap<Step, Direction>,
}

fn address(end: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, end as u8 + 1], 1000))
}

impl<F: Channels> Play<F> {
    fn new(plan: Plan) -> Self {
        let (mut ends, ids) = (Vec::new(), plan.ids());
        for end in 0..2 {
            let seed = Seed::from_u64(end as u64);
            let mut config = Config::default();
            config.send_streams_initial = 1;
            let mut endpoint = Endpoint::new(config, seed, F::of(peer_id(ids[end])), NOW).unwrap();
            endpoint.register(NOW, ProtocolId::new("/echo").unwrap()).unwrap();
            let listener = endpoint.listen(NOW, address(end)).unwrap();
            endpoint.handle_event(NOW, Event::Listening { listener, local: address(end) });
            let other = Address::from(address(1 - end)).with_peer(peer_id(ids[1 - end]));
            let dials = match plan {
                Plan::Cross { .. } => 1,
                Plan::Twice => 2 * (1 - end),
                Plan::Again { .. } => 1 - end,
            };
            for _ in 0..dials {
                endpoint.dial(NOW, other.clone()).unwrap();
            }
            let (dials, links, closed) = ([None; 2], [None; 2], [false; 2]);
            let (told, history) = (Vec::new(), Vec::new());
            let is_done = false;
            ends.push(End { endpoint, listener, dials, links, closed, told, history, is_done });
        }
        let pipes = (0..2).flat_map(|end| (0..2).map(move |link| (end, link)));
        let pipes = pipes.map(|pipe| (pipe, Direction::default())).collect();
        let mut play = Self { plan, ends, pipes };
        play.settle(0);
        play.settle(1);
        play
    }

    /// What can happen now.
    fn steps(&mut self) -> Vec<Step> {
        let all = [(0, 0), (0, 1), (1, 0), (1, 1)];
        all.into_iter().filter(|step| self.is_possible(*step)).collect()
    }

    fn is_possible(&mut self, (end, link): Step) -> bool {
        let maker = &self.ends[self.plan.maker(link)];
        let is_dialled = maker.dials[link].is_some() || maker.links[link].is_some();
        let this = &mut self.ends[end];
        if this.closed[link] {
            return false;
        }
        let Some(connection) = this.links[link] else { return is_dialled };
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
            None if end == self.plan.maker(link) => {
                let connection = self.ends[end].dials[link].take().unwrap();
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
        self.carry_out(end);
        if self.play(end) {
            self.carry_out(end);
        }
    }

    /// End 0 lets go of its first connection as soon as it has it, and dials again as soon as it
    /// may; whether it has done something now.
    fn play(&mut self, end: usize) -> bool {
        let Plan::Again { named } = self.plan else { return false };
        let this = &mut self.ends[end];
        let is_dialed = |told: &Notification| matches!(told, Notification::Dialed { .. });
        if end != 0 || this.is_done || !this.told.iter().any(is_dialed) {
            return false;
        }
        this.is_done = true;
        let other = Address::from(address(1));
        let other = if named { other.with_peer(peer_id(1)) } else { other };
        this.endpoint.disconnect(NOW, peer_id(1)).unwrap();
        this.endpoint.dial(NOW, other).unwrap();
        true
    }

    fn carry_out(&mut self, end: usize) {
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
                Command::Dial { connection, .. } => {
                    let mine = |link: &usize| self.plan.maker(*link) == end;
                    let free = |link: &usize| this.links[*link].or(this.dials[*link]).is_none();
                    let link = (0..2).find(|link| mine(link) && free(link)).unwrap();
                    this.dials[link] = Some(connection);
                }
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

    /// Nothing can happen any more: one connection is left, the same at both ends, of the other
    /// link nothing is, and no dial failed.
    fn check(&self) {
        let (how, ids) = (self.history(), self.plan.ids());
        let mut left = Vec::new();
        for end in 0..2 {
            let this = &self.ends[end];
            let route = this.endpoint.route(&peer_id(ids[1 - end]));
            let route = route.unwrap_or_else(|| panic!("{how:?}: {end} is not connected"));
            assert_eq!(route.entries().len(), 1, "{how:?}");
            let kept = Some(route.entries()[0].connection);
            left.push(this.links.iter().position(|link| *link == kept).unwrap());
            assert!(this.closed[1 - left[end]], "{how:?}: {end} waits with the other link");
            let count = |is: &dyn Fn(&Notification) -> bool| {
                this.told.iter().filter(|told| is(told)).count()
            };
            let connected = count(&|told| matches!(told, Notification::Connected { .. }));
            let lost = count(&|told| matches!(told, Notification::Disconnected { .. }));
            let dialed = count(&|told| matches!(told, Notification::Dialed { .. }));
            let failed = count(&|told| matches!(told, Notification::DialFailed { .. }));
            let story = (connected, lost, dialed, failed);
            let expected = match (self.plan, end) {
                (Plan::Cross { .. }, _) => (1, 0, 1, 0),
                (Plan::Twice, _) => (1, 0, 2 * (1 - end), 0),
                (Plan::Again { .. }, _) => (2, 1, 2 * (1 - end), 0),
            };
            assert_eq!(story, expected, "{how:?}: {end}: {:?}", this.told);
        }
        assert_eq!(left[0], left[1], "{how:?}");
        assert!(left[0] == 1 || !matches!(self.plan, Plan::Again { .. }), "{how:?}");
    }
}

/// Goes through all orders, and gives how many there are.
fn explore<F: Channels>(plan: Plan) -> usize {
    let mut seen: BTreeSet<[Vec<u8>; 2]> = BTreeSet::new();
    let mut open: Vec<Vec<Step>> = vec![Vec::new()];
    let mut orders = 0;
    while let Some(mut path) = open.pop() {
        let mut play = Play::<F>::new(plan);
        for step in &path {
            play.step(*step);
        }
        loop {
            let steps = play.steps();
            let Some((first, others)) = steps.split_first() else {
                play.check();
                orders += 1;
                break;
            };
            for other in others {
                open.push(path.iter().copied().chain([*other]).collect());
            }
            path.push(*first);
            play.step(*first);
            play.ends[first.0].endpoint.assert_invariants();
            if !seen.insert(play.history()) {
                break;
            }
        }
    }
    println!("{orders} orders, {} states", seen.len());
    orders
}

fn d46_every_order_of_two_dials_leaves_one_connection_the_smaller_id_first<F: Channels>() {
    assert!(explore::<F>(Plan::Cross { ids: [0, 1] }) > 2000);
}

fn d46_every_order_of_two_dials_leaves_one_connection_the_larger_id_first<F: Channels>() {
    assert!(explore::<F>(Plan::Cross { ids: [1, 0] }) > 2000);
}

/// Each end proves the links in an order of its own, and refuses or keeps waiting another one.
#[test]
fn every_order_of_two_dials_from_one_end_leaves_one_connection() {
    assert!(explore::<Insecure>(Plan::Twice) > 500);
}

/// The other end may still establish the first link when it hears of the second.
#[test]
fn every_order_of_a_disconnect_and_another_dial_leaves_the_later_connection() {
    for named in [true, false] {
        assert!(explore::<Record>(Plan::Again { named }) > 200, "{named}");
    }
}
