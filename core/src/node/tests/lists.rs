//! Any list of operations, by a driver, connections and an application that do what they like.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::address::Address;
use crate::contract::DialId;
use crate::id::ProtocolId;
use crate::peers::{Elimination, Rule};

#[derive(Clone, Debug)]
enum Op {
    Accept,
    Dial { peer: usize },
    DialAnyone,
    Dialled { nth: usize },
    DialFailed { nth: usize },
    Prove { nth: usize, peer: usize },
    Exchange { nth: usize, names: usize },
    Ready { nth: usize },
    Learn { nth: usize, names: usize },
    Close { nth: usize },
    Vanish { nth: usize },
    Disconnect { peer: usize },
    Connect { peer: usize },
    Require { peers: usize, named: bool },
    SetRequired { nth: usize, peer: usize },
    Release { nth: usize },
    Block { rule: usize },
    Unblock { rule: usize },
    Alive { nth: usize },
    Settled { nth: usize },
    Register { name: usize },
    Unregister { name: usize },
    Advance { millis: u64 },
    Poll { count: usize },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let nth = 0..12_usize;
    let op = prop_oneof![
        3 => Just(Op::Accept),
        2 => (0..4_usize).prop_map(|peer| Op::Dial { peer }),
        1 => Just(Op::DialAnyone),
        4 => nth.clone().prop_map(|nth| Op::Dialled { nth }),
        1 => nth.clone().prop_map(|nth| Op::DialFailed { nth }),
        8 => (nth.clone(), 0..5_usize).prop_map(|(nth, peer)| Op::Prove { nth, peer }),
        8 => (nth.clone(), 0..8_usize).prop_map(|(nth, names)| Op::Exchange { nth, names }),
        2 => nth.clone().prop_map(|nth| Op::Ready { nth }),
        3 => (nth.clone(), 0..8_usize).prop_map(|(nth, names)| Op::Learn { nth, names }),
        4 => nth.clone().prop_map(|nth| Op::Close { nth }),
        1 => nth.clone().prop_map(|nth| Op::Vanish { nth }),
        2 => nth.clone().prop_map(|nth| Op::Alive { nth }),
        2 => nth.prop_map(|nth| Op::Settled { nth }),
        1 => (0..4_usize).prop_map(|peer| Op::Disconnect { peer }),
        1 => (0..4_usize).prop_map(|peer| Op::Connect { peer }),
        2 => (0..16_usize, any::<bool>()).prop_map(|(peers, named)| Op::Require { peers, named }),
        1 => (0..4_usize, 0..4_usize).prop_map(|(nth, peer)| Op::SetRequired { nth, peer }),
        1 => (0..4_usize).prop_map(|nth| Op::Release { nth }),
        1 => (0..6_usize).prop_map(|rule| Op::Block { rule }),
        2 => (0..6_usize).prop_map(|rule| Op::Unblock { rule }),
        1 => (0..3_usize).prop_map(|name| Op::Register { name }),
        1 => (0..3_usize).prop_map(|name| Op::Unregister { name }),
        1 => (0..15_000_u64).prop_map(|millis| Op::Advance { millis }),
        3 => (0..4_usize).prop_map(|count| Op::Poll { count }),
    ];
    prop::collection::vec(op, 1..120)
}

fn names(bits: usize) -> ProtocolSet {
    let all = ["/a", "/b", "/c"].iter().enumerate();
    let some = all.filter(|(bit, _)| bits & (1 << bit) != 0);
    some.map(|(_, name)| ProtocolId::new(name).unwrap()).collect()
}

/// What the application believes, from what it was told.
#[derive(Default)]
struct Application {
    connected: BTreeMap<PeerId, Vec<ProtocolId>>,
    dials: Vec<DialId>,
    stopped: bool,
}

impl Application {
    fn hear(&mut self, told: Notification) {
        assert!(!self.stopped, "told after the end: {told:?}");
        match told {
            Notification::Connected { peer } => {
                assert!(self.connected.insert(peer, Vec::new()).is_none(), "connected twice");
            }
            Notification::Disconnected { peer, .. } => {
                let left = self.connected.remove(&peer).expect("disconnected before connected");
                assert!(left.is_empty(), "not told lost: {left:?}");
            }
            Notification::Supported { peer, protocol } => {
                let theirs = self.connected.get_mut(&peer).expect("supported, not connected");
                assert!(!theirs.contains(&protocol));
                theirs.push(protocol);
            }
            Notification::Unsupported { peer, protocol } => {
                let theirs = self.connected.get_mut(&peer).expect("unsupported, not connected");
                let place = theirs.iter().position(|known| *known == protocol);
                theirs.remove(place.expect("lost before it was gained"));
            }
            Notification::Dialed { dial, .. } | Notification::DialFailed { dial, .. } => {
                let place = self.dials.iter().position(|asked| *asked == dial);
                self.dials.remove(place.expect("an answer to no dial, or a second one"));
            }
            Notification::Stopped => self.stopped = true,
            _ => {}
        }
    }
}

struct Run {
    node: Node,
    now: Instant,
    listener: ListenerId,
    links: Vec<ConnectionId>,
    /// Links that ended, whose late reports may come.
    gone: Vec<ConnectionId>,
    application: Application,
}

impl Run {
    fn new(connections_per_peer: usize, elimination: Elimination) -> Self {
        let mut node = node_with(|config| {
            config.connections_per_peer_max = connections_per_peer;
            config.peers_max = 3;
            config.pending_max = 4;
            config.pending_per_source_max = 2;
            config.required_max = 4;
            config.required_dials_max = 2;
            config.elimination = elimination;
        });
        let listener = listening(&mut node);
        let (links, gone) = (Vec::new(), Vec::new());
        Self { node, now: NOW, listener, links, gone, application: Application::default() }
    }

    fn report(&mut self, nth: usize, report: ToNode) {
        let all = self.links.len() + self.gone.len().min(3);
        let Some(nth) = nth.checked_rem(all) else { return };
        let late = || self.gone[self.gone.len() - 1 - (nth - self.links.len())];
        let link = self.links.get(nth).copied().unwrap_or_else(late);
        if report.is_final() {
            self.end(link);
        }
        self.node.handle_report(self.now, link, report);
    }

    fn end(&mut self, link: ConnectionId) {
        self.links.retain(|other| *other != link);
        self.gone.push(link);
    }

    fn apply(&mut self, op: &Op) {
        let now = self.now;
        match *op {
            Op::Accept => {
                // From somewhere else each time, and from here too.
                let number = self.gone.len() + self.links.len();
                let ip = [[127, 0, 0, 1], [10, 0, 0, 1], [10, 0, 0, 2]][number % 3];
                let remote = SocketAddr::from((ip, 7));
                let setup = self.node.handle_accepted(now, self.listener, remote);
                self.links.extend(setup.map(|setup| setup.connection));
            }
            Op::Dial { peer } => {
                let address = Address::from(at(9)).with_peer(id(peer));
                self.application.dials.extend(self.node.dial(now, address));
            }
            Op::DialAnyone => {
                self.application.dials.extend(self.node.dial(now, Address::from(at(9))));
            }
            Op::Dialled { nth } => {
                if let Some(link) = self.links.get(nth).copied() {
                    let _again = self.node.handle_dialed(now, link, at(1));
                }
            }
            Op::DialFailed { nth } => {
                if let Some(connection) = self.links.get(nth).copied() {
                    let cause = IoCause::Refused;
                    self.node.handle_event(now, Event::DialFailed { connection, cause });
                }
            }
            Op::Prove { nth, peer } => {
                let proven = Some(id(peer));
                self.report(nth, ToNode { proven, ..ToNode::default() });
            }
            Op::Exchange { nth, names: bits } => {
                let exchanged = Some(names(bits));
                self.report(nth, ToNode { exchanged, ..ToNode::default() });
            }
            Op::Ready { nth } => self.report(nth, ToNode { ready: true, ..ToNode::default() }),
            Op::Learn { nth, names: bits } => {
                let learned = Some(names(bits));
                self.report(nth, ToNode { learned, ..ToNode::default() });
            }
            Op::Close { nth } => self.report(nth, closed()),
            Op::Vanish { nth } => {
                if let Some(link) = self.links.get(nth).copied() {
                    self.end(link);
                    self.node.handle_vanished(now, link);
                }
            }
            Op::Disconnect { peer } => {
                let _gone = self.node.disconnect(now, id(peer));
            }
            Op::Connect { peer } => {
                self.application.dials.extend(self.node.connect(now, id(peer)));
            }
            Op::Require { peers, named } => {
                let place = |n: usize| {
                    let address = Address::from(at(20 + n as u16));
                    if named { address.with_peer(id(peers % 4)) } else { address }
                };
                let addresses = (0..=peers / 4 % 3).map(place).collect();
                let _many = self.node.require(now, addresses);
            }
            Op::SetRequired { nth, peer } => {
                let required = self.node.required().nth(nth);
                let addresses = vec![Address::from(at(30)).with_peer(id(peer))];
                if let Some(required) = required {
                    assert_eq!(self.node.set_required(now, required, addresses), Ok(()));
                }
            }
            Op::Release { nth } => {
                let required = self.node.required().nth(nth);
                if let Some(required) = required {
                    assert_eq!(self.node.release(now, required), Ok(()));
                }
            }
            Op::Block { rule: number } => {
                assert!(self.node.block(now, rule(number)).is_ok());
            }
            Op::Unblock { rule: number } => drop(self.node.unblock(now, &rule(number))),
            Op::Alive { nth } => self.report(nth, ToNode { alive: true, ..ToNode::default() }),
            Op::Settled { nth } => {
                self.report(nth, ToNode { settled: true, ..ToNode::default() });
            }
            Op::Register { name } => {
                let _again = self.node.register(now, protocol(name));
            }
            Op::Unregister { name } => {
                let _gone = self.node.unregister(now, &protocol(name));
            }
            Op::Advance { millis } => {
                self.now = now.after(Duration::from_millis(millis));
                self.node.handle_timeout(self.now);
                assert!(self.node.next_timeout().is_none_or(|next| next.at > self.now));
            }
            Op::Poll { count } => {
                for told in core::iter::from_fn(|| self.node.poll_notification()).take(count) {
                    self.application.hear(told);
                }
            }
        }
        self.drain();
    }

    /// What a driver does after each call.
    fn drain(&mut self) {
        while let Some(command) = self.node.poll_command() {
            match command {
                Command::Dial { connection, .. } => self.links.push(connection),
                Command::CancelDial { connection } => self.end(connection),
                _ => {}
            }
        }
        while self.node.poll_order().is_some() {}
        while self.node.poll_route().is_some() {}
        self.node.assert_invariants();
    }

    fn finish(mut self) {
        self.node.stop(self.now);
        self.drain();
        while let Some(link) = self.links.pop() {
            self.node.handle_report(self.now, link, closed());
        }
        while let Some(told) = self.node.poll_notification() {
            self.application.hear(told);
        }
        self.drain();
        assert!(self.application.stopped && self.node.is_stopped());
        assert!(self.application.connected.is_empty());
        assert!(self.application.dials.is_empty(), "unanswered: {:?}", self.application.dials);
        assert_eq!(self.node.next_timeout(), None);
        assert_eq!(self.node.peers().count(), 0);
    }
}

fn closed() -> ToNode {
    let closed = Closed::of(CloseReason::RemoteClosed);
    ToNode { closed: Some(Box::new(closed)), ..ToNode::default() }
}

fn rule(number: usize) -> Rule {
    match number {
        0..4 => Rule::peer(id(number)),
        4 => "10.0.0.2".parse().unwrap(),
        _ => "127.0.0.1:9".parse().unwrap(),
    }
}

fn protocol(name: usize) -> ProtocolId {
    ProtocolId::new(["/x", "/y", "/z"][name]).unwrap()
}

proptest! {
    #[test]
    fn what_the_application_is_told_alternates_and_every_dial_is_answered_once(
        ops in ops(), connections_per_peer in 1..3_usize, elimination in 0..3_usize,
    ) {
        let all = [Elimination::Random, Elimination::FirstIn, Elimination::LastIn];
        let mut run = Run::new(connections_per_peer, all[elimination]);
        for op in &ops {
            run.apply(op);
        }
        run.finish();
    }
}
