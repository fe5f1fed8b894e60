use std::vec::Vec;

use proptest::prelude::*;

use super::*;

use Purpose::{Growth, Messages, Streams};

fn connection(index: u32) -> ConnectionId {
    ConnectionId { index, generation: 0 }
}

fn grants(leases: &mut ByteLeases) -> Vec<(u32, Purpose, usize)> {
    let granted = core::iter::from_fn(|| leases.poll_grant());
    let granted = granted.map(|(id, purpose, bytes)| (id.index, purpose, bytes)).collect();
    leases.assert_invariants();
    granted
}

#[test]
fn who_asks_first_is_served_first_and_as_a_whole() {
    let mut leases = ByteLeases::new(40);
    for (index, bytes) in [(0, 26), (1, 25), (2, 1)] {
        leases.ask(connection(index), Streams, bytes);
    }
    assert_eq!(grants(&mut leases), [(0, Streams, 26)], "a small request passes no large one");
    leases.give_back(connection(0), 21);
    assert_eq!(grants(&mut leases), [(1, Streams, 25)]);
    leases.give_back(connection(0), 5);
    assert_eq!(grants(&mut leases), [(2, Streams, 1)]);
    assert_eq!((leases.leased(), leases.bound()), (26, 40));
}

#[test]
fn windows_stop_to_grow_first_then_no_more_streams_come_and_messages_go_on() {
    let mut leases = ByteLeases::new(40);
    for purpose in [Growth, Streams, Messages] {
        for index in 0..50 {
            leases.ask(connection(index), purpose, 4);
            let _more = grants(&mut leases);
        }
        let granted = [(Growth, 20), (Streams, 28), (Messages, 40)];
        let (_, sum) = granted.into_iter().find(|(other, _)| *other == purpose).unwrap();
        assert_eq!(leases.leased(), sum, "{purpose:?}");
    }
    // The most pressing of those that wait are first, as long as it is not theirs to wait.
    for index in 0..10 {
        leases.give_back(connection(index), 4);
    }
    assert!(grants(&mut leases).iter().all(|(_, purpose, _)| *purpose == Messages));
}

#[test]
fn one_that_ends_leaves_its_turn_and_one_that_is_done_its_lease() {
    let mut leases = ByteLeases::new(40);
    for (index, bytes) in [(0, 30), (1, 28), (2, 30)] {
        leases.ask(connection(index), Streams, bytes);
    }
    assert_eq!(grants(&mut leases), [(0, Streams, 30)]);
    leases.close(connection(1));
    leases.end(connection(0));
    assert!(grants(&mut leases).is_empty(), "it holds something still");
    leases.close(connection(0));
    assert_eq!(grants(&mut leases), [(2, Streams, 30)]);
    leases.close(connection(7));
    assert_eq!((leases.leased(), leases.lease(connection(2))), (30, 30));
}

#[test]
fn nobody_waits_twice_or_for_more_than_one_may_have() {
    let mut leases = ByteLeases::new(40);
    leases.ask(connection(0), Messages, 0);
    assert!(grants(&mut leases).is_empty());
    for purpose in Purpose::ALL {
        leases.ask(connection(0), purpose, 99);
        leases.ask(connection(0), purpose, 1);
    }
    assert_eq!(grants(&mut leases), [(0, Messages, 10)]);
    leases.give_back(connection(0), 99);
    assert_eq!(grants(&mut leases), [(0, Streams, 30)]);
    leases.give_back(connection(0), 30);
    assert_eq!(grants(&mut leases), [(0, Growth, 20)]);
}

#[test]
fn it_is_crowded_for_all_but_the_only_one_that_waits() {
    let mut leases = ByteLeases::new(40);
    let crowded = |leases: &ByteLeases| [0, 1, 2].map(|at| leases.is_crowded_for(connection(at)));
    for index in 0..4 {
        leases.ask(connection(index), Messages, 10);
    }
    let _all = grants(&mut leases);
    assert!(!leases.poll_crowd() && crowded(&leases) == [false; 3]);
    leases.ask(connection(1), Streams, 10);
    assert!(!leases.poll_crowd(), "only messages press");
    leases.ask(connection(1), Messages, 1);
    assert!(leases.poll_crowd() && !leases.poll_crowd());
    assert_eq!(crowded(&leases), [true, false, true]);
    leases.ask(connection(2), Messages, 1);
    assert!(leases.poll_crowd());
    assert_eq!(crowded(&leases), [true; 3]);
    leases.close(connection(1));
    assert_eq!(grants(&mut leases), [(2, Messages, 1)]);
    assert!(leases.poll_crowd() && crowded(&leases) == [false; 3]);
    assert_eq!(leases.holders().map(|id| id.index).collect::<Vec<_>>(), [0, 2, 3]);
}

#[test]
fn a_gate_asks_once_for_what_a_message_lacks_and_gives_it_back_when_nothing_waits() {
    let mut gate = ByteGate::new(100, 3 * LEASE_STEP);
    assert!(gate.admit(100) && gate.poll_request().is_none());
    assert!(!gate.admit(LEASE_STEP + 1));
    assert_eq!(gate.poll_request(), Some(2 * LEASE_STEP));
    assert!(!gate.admit(LEASE_STEP + 1) && gate.poll_request().is_none(), "asked already");
    gate.granted(2 * LEASE_STEP);
    assert!(gate.poll_return().is_none(), "it is for the one that waits");
    assert!(gate.admit(LEASE_STEP + 1));
    assert_eq!((gate.in_use(), gate.lease()), (LEASE_STEP + 101, 2 * LEASE_STEP));
    assert!(gate.poll_return().is_none());
    gate.release(LEASE_STEP);
    assert_eq!((gate.poll_return(), gate.room()), (Some(LEASE_STEP), LEASE_STEP + 100));
    gate.release(101);
    assert_eq!((gate.poll_return(), gate.poll_return()), (Some(LEASE_STEP), None));
}

#[test]
fn what_may_never_be_leased_is_not_asked_for() {
    let mut gate = ByteGate::new(100, LEASE_STEP);
    assert!(gate.admit(80));
    assert!(!gate.admit(LEASE_STEP + 21) && gate.poll_request().is_none());
    assert!(!gate.admit(LEASE_STEP + 20));
    assert_eq!(gate.poll_request(), Some(LEASE_STEP));
    gate.forget();
    gate.granted(LEASE_STEP);
    assert_eq!(gate.poll_return(), Some(LEASE_STEP), "nobody waits for it any more");
}

#[test]
fn while_others_wait_what_is_left_free_goes_back_before_it_is_used_again() {
    let mut gate = ByteGate::new(100, 8 * LEASE_STEP);
    assert!(gate.admit(100) && !gate.admit(2 * LEASE_STEP));
    assert_eq!(gate.poll_request(), Some(2 * LEASE_STEP));
    gate.granted(2 * LEASE_STEP);
    assert!(gate.admit(2 * LEASE_STEP) && !gate.admit(2 * LEASE_STEP));
    assert_eq!((gate.poll_request(), gate.owes()), (Some(2 * LEASE_STEP), 0));
    gate.set_crowded(true);
    assert_eq!((gate.poll_return(), gate.owes()), (None, 2 * LEASE_STEP));
    gate.release(2 * LEASE_STEP);
    assert!(!gate.admit(2 * LEASE_STEP), "it is the turn of others");
    assert_eq!((gate.poll_return(), gate.owes(), gate.lease()), (Some(2 * LEASE_STEP), 0, 0));
    // Its own turn comes.
    gate.granted(2 * LEASE_STEP);
    assert!(gate.admit(2 * LEASE_STEP) && gate.owes() == 2 * LEASE_STEP);
    // Of what nobody can use alone nothing is held back.
    gate.set_crowded(false);
    assert!(!gate.admit(3 * LEASE_STEP));
    assert_eq!(gate.poll_request(), Some(3 * LEASE_STEP));
    gate.granted(LEASE_STEP);
    assert!(!gate.admit(3 * LEASE_STEP));
    gate.set_crowded(true);
    assert_eq!((gate.poll_return(), gate.poll_request()), (Some(LEASE_STEP), Some(3 * LEASE_STEP)));
}

#[test]
fn a_gate_that_is_ahead_refuses_nobody_who_comes_at_the_usual_pace() {
    let mut gate = ByteGate::new(12, 1000).with_ahead(8);
    assert_eq!(gate.poll_request(), None, "the first step was asked for");
    gate.granted(8);
    for stream in 0..60 {
        assert!(gate.admit(1), "{stream}");
        if let Some(asked) = gate.poll_request() {
            assert_eq!(asked, 8);
            // The answer takes as long as what it was ahead by.
            for _ in 0..7 {
                assert!(gate.admit(1));
            }
            gate.granted(asked);
        }
        assert!(gate.poll_return().is_none());
        assert!(gate.room() <= gate.in_use() + 20, "no more than it began with");
    }
    for _ in 0..50 {
        gate.release(1);
        assert!(gate.poll_return().is_none_or(|given| given == 8));
    }
    assert!(gate.room() - gate.in_use() <= 24);
    assert_eq!(ByteGate::new(12, 0).with_ahead(0).poll_request(), None);
}

#[test]
fn a_gate_keeps_a_little_to_grow_and_gives_that_up_as_well() {
    let mut gate = ByteGate::new(0, 16 * LEASE_STEP).with_spare(2 * LEASE_STEP);
    gate.want(1);
    assert_eq!((gate.poll_request(), gate.poll_return()), (Some(LEASE_STEP), None));
    gate.granted(LEASE_STEP);
    assert_eq!((gate.poll_return(), gate.poll_request()), (None, None));
    gate.hold(LEASE_STEP / 2);
    gate.want(4 * LEASE_STEP);
    assert_eq!(gate.poll_request(), Some(4 * LEASE_STEP));
    gate.granted(4 * LEASE_STEP);
    assert_eq!(gate.poll_return(), Some(2 * LEASE_STEP));
    gate.give_up();
    assert_eq!((gate.poll_return(), gate.lease()), (Some(2 * LEASE_STEP), LEASE_STEP));
}

#[derive(Clone, Debug)]
enum Op {
    /// A message comes on a connection.
    Come(usize, usize),
    /// The oldest one that was admitted is consumed.
    Consume(usize),
    /// A stream is opened, or one ends.
    Open(usize),
    End(usize),
    /// Windows have grown as far as they may, or are as small as at first.
    Grow(usize, bool),
    /// The mailbox of a connection is delivered, both ways.
    Carry(usize),
    Close(usize),
}

const PARTS: usize = 4;

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let at = || 0..PARTS;
    let op = prop_oneof![
        4 => (at(), 1..3 * LEASE_STEP).prop_map(|(at, len)| Op::Come(at, len)),
        4 => at().prop_map(Op::Consume),
        6 => at().prop_map(Op::Open),
        3 => at().prop_map(Op::End),
        2 => (at(), any::<bool>()).prop_map(|(at, more)| Op::Grow(at, more)),
        9 => at().prop_map(Op::Carry),
        1 => at().prop_map(Op::Close),
    ];
    prop::collection::vec(op, 0..300)
}

/// A connection with its messages, and what lies in its mailboxes.
struct Part {
    messages: ByteGate,
    streams: ByteGate,
    growth: ByteGate,
    generation: u32,
    waiting: Vec<usize>,
    admitted: Vec<usize>,
    refused: usize,
    asked: Room,
    returned: usize,
    granted: Room,
    crowded: Option<bool>,
}

const BASE: usize = 3 * LEASE_STEP;
const BOUND: usize = 16 * LEASE_STEP;
const STREAM: usize = LEASE_STEP / 4;

impl Part {
    fn new(generation: u32, leases: &mut ByteLeases, at: usize) -> Self {
        let gate = |base, purpose: Purpose| ByteGate::new(base, purpose.request_max(BOUND));
        let part = Self {
            messages: gate(BASE, Messages),
            streams: gate(12 * STREAM, Streams).with_ahead(8 * STREAM),
            growth: gate(0, Growth).with_spare(2 * LEASE_STEP),
            generation,
            waiting: Vec::new(),
            admitted: Vec::new(),
            refused: 0,
            asked: Room::default(),
            returned: 0,
            granted: Room::default(),
            crowded: None,
        };
        leases.ask(part.id(at), Streams, 8 * STREAM);
        part
    }

    fn id(&self, at: usize) -> ConnectionId {
        ConnectionId { index: at as u32, generation: self.generation }
    }

    /// Leased, or on its way from one to the other.
    fn charged(&self) -> usize {
        let gates = [&self.messages, &self.streams, &self.growth];
        let gates: usize = gates.into_iter().map(ByteGate::charged).sum();
        gates + self.returned + self.granted.total()
    }

    fn step(&mut self) {
        while self.waiting.first().is_some_and(|len| self.messages.admit(*len)) {
            self.admitted.push(self.waiting.remove(0));
        }
        if self.waiting.is_empty() {
            self.messages.forget();
        }
        let ask = |gate: &mut ByteGate| gate.poll_request().unwrap_or(0);
        self.asked = self.asked.and(Room {
            messages: ask(&mut self.messages),
            streams: ask(&mut self.streams),
            growth: ask(&mut self.growth),
        });
        for gate in [&mut self.messages, &mut self.streams, &mut self.growth] {
            self.returned += gate.poll_return().unwrap_or(0);
            assert!(gate.in_use() <= gate.room());
        }
        assert_eq!(self.messages.in_use(), self.admitted.iter().sum::<usize>());
    }

    fn take(&mut self) {
        let granted = core::mem::take(&mut self.granted);
        let gates = [&mut self.messages, &mut self.streams, &mut self.growth];
        for (gate, purpose) in gates.into_iter().zip(Purpose::ALL) {
            if granted.get(purpose) > 0 {
                gate.granted(granted.get(purpose));
            }
        }
        self.step();
        if let Some(crowded) = self.crowded.take() {
            self.messages.set_crowded(crowded);
        }
        self.step();
    }

    fn consume(&mut self) {
        if !self.admitted.is_empty() {
            self.messages.release(self.admitted.remove(0));
        }
    }
}

fn settle(leases: &mut ByteLeases, parts: &mut [Part]) {
    while let Some((id, purpose, bytes)) = leases.poll_grant() {
        assert!(leases.leased() <= purpose.ceiling(BOUND));
        let part = &mut parts[id.index as usize];
        assert_eq!(part.generation, id.generation);
        part.granted = part.granted.and(Room::of(purpose, bytes));
        part.crowded = Some(leases.is_crowded_for(id));
    }
    if leases.poll_crowd() {
        for (at, part) in parts.iter_mut().enumerate() {
            part.crowded = Some(leases.is_crowded_for(part.id(at)));
        }
    }
}

fn carry(leases: &mut ByteLeases, parts: &mut [Part], at: usize) {
    let id = parts[at].id(at);
    leases.give_back(id, core::mem::take(&mut parts[at].returned));
    let asked = core::mem::take(&mut parts[at].asked);
    Purpose::ALL.into_iter().for_each(|purpose| leases.ask(id, purpose, asked.get(purpose)));
    settle(leases, parts);
    parts[at].take();
}

fn apply(leases: &mut ByteLeases, parts: &mut [Part], op: &Op) {
    match *op {
        Op::Come(at, len) => parts[at].waiting.push(len),
        Op::Consume(at) => parts[at].consume(),
        Op::Open(at) => {
            let before = parts[at].streams.room();
            let admitted = parts[at].streams.admit(STREAM);
            assert!(admitted || before < parts[at].streams.in_use() + STREAM);
            parts[at].refused += usize::from(!admitted);
        }
        Op::End(at) => parts[at].streams.release(STREAM),
        Op::Grow(at, true) => {
            let part = &mut parts[at];
            part.growth.hold(part.growth.room());
            part.growth.want(LEASE_STEP / 2);
        }
        Op::Grow(at, false) => {
            parts[at].growth.hold(0);
            parts[at].growth.give_up();
        }
        Op::Carry(at) => carry(leases, parts, at),
        Op::Close(at) => {
            leases.close(parts[at].id(at));
            parts[at] = Part::new(parts[at].generation + 1, leases, at);
            settle(leases, parts);
        }
    }
}

proptest! {
    #[test]
    fn leases_keep_the_bound_and_everything_is_admitted_in_the_end(ops in ops()) {
        let mut leases = ByteLeases::new(BOUND);
        let mut parts: Vec<Part> = Vec::new();
        for at in 0..PARTS {
            parts.push(Part::new(0, &mut leases, at));
        }
        settle(&mut leases, &mut parts);
        for op in ops {
            apply(&mut leases, &mut parts, &op);
            parts.iter_mut().for_each(Part::step);
            leases.assert_invariants();
            for (at, part) in parts.iter().enumerate() {
                prop_assert_eq!(part.charged(), leases.lease(part.id(at)));
            }
        }
        // Whoever reads what has come gets all of it, whatever streams and windows the others keep.
        for _ in 0..4000 {
            for at in 0..PARTS {
                carry(&mut leases, &mut parts, at);
            }
            if parts.iter().all(|part| part.waiting.is_empty() && part.admitted.is_empty()) {
                break;
            }
            for part in &mut parts {
                part.consume();
                part.step();
            }
        }
        prop_assert!(parts.iter().all(|part| part.waiting.is_empty()));
        // Once streams have ended and windows are as at first, little is kept.
        for part in &mut parts {
            part.streams.hold(0);
            part.growth.hold(0);
            part.growth.give_up();
            part.step();
        }
        for at in (0..PARTS).chain(0..PARTS) {
            carry(&mut leases, &mut parts, at);
        }
        prop_assert!(leases.leased() <= PARTS * 3 * LEASE_STEP, "{}", leases.leased());
    }
}
