//! Operation lists for a pair of nodes, and what has to hold whatever they are.

use std::collections::BTreeMap;
use std::time::Duration;

use headwater_core::config::Config;
use headwater_core::contract::Notification;
use headwater_core::endpoint::BorrowedId;
use headwater_core::time::Instant;
use proptest::prelude::*;

use crate::harness::{Channels, Cut, World, peer_id, protocol};

/// Something that an application, a network or a clock does.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Send { from: usize, len: usize },
    Borrow { end: usize },
    SendBorrowed { end: usize, len: usize },
    GiveBack { end: usize },
    Register { end: usize, name: usize },
    Unregister { end: usize, name: usize },
    Takes { end: usize, takes: bool },
    Advance { millis: u64 },
    Steps { count: usize },
    Dial { from: usize },
    Disconnect { by: usize },
    Break { end: usize },
    CutOff { end: usize },
}

/// What applications do on a network without faults.
pub(crate) fn calm_ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(calm_op(), 1..40)
}

/// The same, with connections that come and go.
pub(crate) fn stormy_ops() -> impl Strategy<Value = Vec<Op>> {
    let end = 0..2_usize;
    let op = prop_oneof![
        6 => calm_op(),
        1 => end.clone().prop_map(|from| Op::Dial { from }),
        1 => end.clone().prop_map(|by| Op::Disconnect { by }),
        1 => end.clone().prop_map(|end| Op::Break { end }),
        1 => end.prop_map(|end| Op::CutOff { end }),
    ];
    prop::collection::vec(op, 1..40)
}

fn calm_op() -> impl Strategy<Value = Op> {
    let end = 0..2_usize;
    let len = prop_oneof![8..300_usize, 8..20_000_usize, 8..400_000_usize];
    prop_oneof![
        8 => (end.clone(), len.clone()).prop_map(|(from, len)| Op::Send { from, len }),
        1 => end.clone().prop_map(|end| Op::Borrow { end }),
        3 => (end.clone(), len).prop_map(|(end, len)| Op::SendBorrowed { end, len }),
        1 => end.clone().prop_map(|end| Op::GiveBack { end }),
        1 => (end.clone(), 0..3_usize).prop_map(|(end, name)| Op::Register { end, name }),
        1 => (end.clone(), 0..3_usize).prop_map(|(end, name)| Op::Unregister { end, name }),
        2 => (end, any::<bool>()).prop_map(|(end, takes)| Op::Takes { end, takes }),
        1 => (0..300_u64).prop_map(|millis| Op::Advance { millis }),
        4 => (1..20_usize).prop_map(|count| Op::Steps { count }),
    ]
}

/// How bytes are cut.
pub(crate) fn cuts() -> impl Strategy<Value = Cut> {
    prop_oneof![
        1 => Just(Cut::Whole),
        2 => (1..4000_usize).prop_map(Cut::Random),
        2 => (4000..100_000_usize).prop_map(Cut::Random),
    ]
}

/// A pair of nodes under an operation list, and what it accepted for sending.
pub(crate) struct Run<F: Channels> {
    pub(crate) world: World<F>,
    /// Messages accepted by each end, whose payloads begin with their number.
    pub(crate) accepted: [u64; 2],
    /// The numbers of those sent on each borrowed stream, in order.
    pub(crate) borrowed: BTreeMap<(usize, BorrowedId), Vec<u64>>,
    lent: [Option<BorrowedId>; 2],
}

impl<F: Channels> Run<F> {
    /// Two nodes at `now`, not connected yet.
    pub(crate) fn new(now: Instant, seed: u64, cut: Cut) -> Self {
        let config = Config::default();
        let end = |number| (config.clone(), F::of(peer_id(number)));
        let mut world = World::at(now, seed, vec![end(0), end(1)]);
        world.register_echo();
        world.cut = cut;
        world.listen(0);
        world.listen(1);
        Self { world, accepted: [0; 2], borrowed: BTreeMap::new(), lent: [None; 2] }
    }

    pub(crate) fn apply_all(&mut self, ops: &[Op]) {
        for op in ops {
            self.apply(op);
            for end in &self.world.ends {
                end.endpoint.assert_invariants();
            }
        }
    }

    fn apply(&mut self, op: &Op) {
        let world = &mut self.world;
        let now = world.clock();
        match *op {
            Op::Send { from, len } => {
                let payload = numbered(self.accepted[from], len);
                let peer = peer_id(1 - from);
                let sent = world.ends[from].endpoint.send(now, &peer, &protocol("/echo"), payload);
                self.accepted[from] += u64::from(sent.is_ok());
            }
            Op::Borrow { end } => {
                let endpoint = &mut world.ends[end].endpoint;
                if self.lent[end].is_none() {
                    let lent = endpoint.borrow(now, &peer_id(1 - end), &protocol("/echo"));
                    self.lent[end] = lent.ok();
                }
            }
            Op::SendBorrowed { end, len } => {
                let Some(stream) = self.lent[end] else { return };
                let number = self.accepted[end];
                let endpoint = &mut world.ends[end].endpoint;
                let payload = numbered(number, len);
                let sent = endpoint.send_borrowed(now, stream, &protocol("/echo"), payload);
                if sent.is_ok() {
                    self.accepted[end] += 1;
                    self.borrowed.entry((end, stream)).or_default().push(number);
                }
            }
            Op::GiveBack { end } => {
                if let Some(stream) = self.lent[end].take() {
                    world.ends[end].endpoint.give_back(now, stream);
                }
            }
            Op::Register { end, name } => {
                let name = protocol(["/a", "/b", "/c"][name]);
                let _twice = world.ends[end].endpoint.register(now, name);
            }
            Op::Unregister { end, name } => {
                let name = protocol(["/a", "/b", "/c"][name]);
                let _unknown = world.ends[end].endpoint.unregister(now, &name);
            }
            Op::Takes { end, takes } => world.ends[end].takes = takes,
            Op::Advance { millis } => world.advance(Duration::from_millis(millis)),
            Op::Steps { count } => {
                let _moved = (0..count).filter(|_| world.step()).count();
            }
            Op::Dial { from } => {
                let address = world.address(1 - from);
                let _full = world.ends[from].endpoint.dial(now, address);
            }
            Op::Disconnect { by } => {
                let _gone = world.ends[by].endpoint.disconnect(now, peer_id(1 - by));
            }
            Op::Break { end } => world.break_links(end),
            Op::CutOff { end } => world.cut_off(end),
        }
        for (end, lent) in self.lent.iter_mut().enumerate() {
            while let Some((stream, news)) = self.world.ends[end].endpoint.poll_borrowed() {
                let lost = matches!(news, headwater_core::connection::LaneNews::Lost(_));
                if lost && *lent == Some(stream) {
                    *lent = None;
                }
            }
        }
    }

    /// Lets everything come to rest, with applications that take what they get.
    pub(crate) fn finish(&mut self) {
        for end in &mut self.world.ends {
            end.takes = true;
        }
        self.world.run();
        self.world.advance(Duration::from_secs(1));
    }

    /// The numbers of the messages that an end got, in their order.
    pub(crate) fn got(&self, end: usize) -> Vec<u64> {
        let numbers = self.world.ends[end].messages.iter().map(|message| {
            let (number, rest) = message.payload.split_first_chunk::<8>().unwrap();
            let number = u64::from_be_bytes(*number);
            assert!(rest.iter().all(|byte| *byte == number as u8), "message {number}");
            number
        });
        numbers.collect()
    }

    /// Checks what holds after any list: no message twice, notifications in pairs, and a stop
    /// that ends.
    pub(crate) fn check_end(&mut self) {
        for end in 0..2 {
            let mut got = self.got(1 - end);
            let count = got.len();
            got.sort_unstable();
            got.dedup();
            assert_eq!(got.len(), count, "a message came twice");
            assert!(got.last().is_none_or(|last| *last < self.accepted[end]));
        }
        let now = self.world.now;
        self.world.ends.iter_mut().for_each(|end| end.endpoint.stop(now));
        self.world.run();
        self.world.advance(Duration::from_secs(60));
        for end in &self.world.ends {
            assert!(end.endpoint.is_stopped());
            assert_eq!(end.endpoint.next_timeout(), None);
            check_notifications(&end.notifications);
            assert_eq!(end.notifications.last(), Some(&Notification::Stopped));
        }
    }
}

fn numbered(number: u64, len: usize) -> bytes::Bytes {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(len.max(8), number as u8);
    payload.into()
}

/// One peer only: connected and disconnected alternate, protocols are gained and lost in between,
/// each one that was gained is lost before the end.
pub(crate) fn check_notifications(told: &[Notification]) {
    let mut connected = false;
    let mut theirs = Vec::new();
    for notification in told {
        match notification {
            Notification::Connected { .. } => {
                assert!(!std::mem::replace(&mut connected, true), "connected twice");
                assert!(theirs.is_empty());
            }
            Notification::Disconnected { .. } => {
                assert!(std::mem::replace(&mut connected, false), "disconnected twice");
                assert!(theirs.is_empty(), "not told lost: {theirs:?}");
            }
            Notification::Supported { protocol, .. } => {
                assert!(connected && !theirs.contains(protocol));
                theirs.push(protocol.clone());
            }
            Notification::Unsupported { protocol, .. } => {
                assert!(connected);
                let place = theirs.iter().position(|known| known == protocol);
                theirs.remove(place.expect("was not told supported"));
            }
            _ => {}
        }
    }
    assert!(!connected);
}
