use std::vec::Vec;

use proptest::prelude::*;

use super::*;

fn connection(index: u32) -> ConnectionId {
    ConnectionId { index, generation: 0 }
}

fn grants(leases: &mut ByteLeases) -> Vec<(u32, usize)> {
    let granted = core::iter::from_fn(|| leases.poll_grant()).map(|(id, bytes)| (id.index, bytes));
    let granted = granted.collect();
    leases.assert_invariants();
    granted
}

#[test]
fn who_asks_first_is_served_first_and_as_a_whole() {
    let mut leases = ByteLeases::new(10);
    for (index, bytes) in [(0, 6), (1, 5), (2, 1)] {
        leases.ask(connection(index), bytes);
    }
    assert_eq!(grants(&mut leases), [(0, 6)], "a small request does not pass a large one");
    leases.give_back(connection(0), 1);
    assert_eq!(grants(&mut leases), [(1, 5)]);
    leases.give_back(connection(0), 5);
    assert_eq!(grants(&mut leases), [(2, 1)]);
    assert_eq!((leases.leased(), leases.bound()), (6, 10));
}

#[test]
fn one_that_ends_leaves_its_lease_and_its_turn() {
    let mut leases = ByteLeases::new(10);
    for (index, bytes) in [(0, 10), (1, 8), (2, 10)] {
        leases.ask(connection(index), bytes);
    }
    assert_eq!(grants(&mut leases), [(0, 10)]);
    leases.close(connection(1));
    leases.close(connection(0));
    assert_eq!(grants(&mut leases), [(2, 10)]);
    leases.close(connection(7));
    assert_eq!(leases.leased(), 10);
}

#[test]
fn nobody_waits_twice_or_for_more_than_there_is() {
    let mut leases = ByteLeases::new(10);
    leases.ask(connection(0), 0);
    assert!(grants(&mut leases).is_empty());
    leases.ask(connection(0), 99);
    leases.ask(connection(0), 1);
    assert_eq!(grants(&mut leases), [(0, 10)]);
    leases.give_back(connection(0), 99);
    assert_eq!(leases.leased(), 0);
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

#[derive(Clone, Debug)]
enum Op {
    /// A message comes on a connection.
    Come(usize, usize),
    /// The oldest one that was admitted is consumed.
    Consume(usize),
    /// The mailbox of a connection is delivered, both ways.
    Carry(usize),
    Close(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0..4_usize, 1..3 * LEASE_STEP).prop_map(|(at, len)| Op::Come(at, len)),
        4 => (0..4_usize).prop_map(Op::Consume),
        6 => (0..4_usize).prop_map(Op::Carry),
        1 => (0..4_usize).prop_map(Op::Close),
    ];
    prop::collection::vec(op, 0..200)
}

/// A connection with its messages, and what lies in its mailboxes.
struct Part {
    gate: ByteGate,
    generation: u32,
    waiting: Vec<usize>,
    admitted: Vec<usize>,
    asked: usize,
    returned: usize,
    granted: usize,
}

const BASE: usize = 3 * LEASE_STEP;
const BOUND: usize = 5 * LEASE_STEP;

impl Part {
    fn new(generation: u32) -> Self {
        let gate = ByteGate::new(BASE, BOUND);
        let (waiting, admitted) = (Vec::new(), Vec::new());
        Self { gate, generation, waiting, admitted, asked: 0, returned: 0, granted: 0 }
    }

    fn id(&self, at: usize) -> ConnectionId {
        ConnectionId { index: at as u32, generation: self.generation }
    }

    fn step(&mut self) {
        while self.waiting.first().is_some_and(|len| self.gate.admit(*len)) {
            self.admitted.push(self.waiting.remove(0));
        }
        if self.waiting.is_empty() {
            self.gate.forget();
        }
        self.asked += self.gate.poll_request().unwrap_or(0);
        self.returned += self.gate.poll_return().unwrap_or(0);
        assert_eq!(self.gate.in_use(), self.admitted.iter().sum::<usize>());
        assert!(self.gate.in_use() <= self.gate.room());
    }
}

fn carry(leases: &mut ByteLeases, parts: &mut [Part], at: usize) {
    let id = parts[at].id(at);
    leases.give_back(id, core::mem::take(&mut parts[at].returned));
    leases.ask(id, core::mem::take(&mut parts[at].asked));
    while let Some((id, bytes)) = leases.poll_grant() {
        let part = &mut parts[id.index as usize];
        assert_eq!(part.generation, id.generation);
        part.granted += bytes;
    }
    let part = &mut parts[at];
    match core::mem::take(&mut part.granted) {
        0 => {}
        bytes => part.gate.granted(bytes),
    }
    part.step();
}

proptest! {
    #[test]
    fn leases_keep_the_bound_and_everything_is_admitted_in_the_end(ops in ops()) {
        let mut leases = ByteLeases::new(BOUND);
        let mut parts: Vec<Part> = (0..4).map(|_| Part::new(0)).collect();
        for op in ops {
            match op {
                Op::Come(at, len) => parts[at].waiting.push(len),
                Op::Consume(at) => {
                    let part = &mut parts[at];
                    if !part.admitted.is_empty() {
                        part.gate.release(part.admitted.remove(0));
                    }
                }
                Op::Carry(at) => carry(&mut leases, &mut parts, at),
                Op::Close(at) => {
                    leases.close(parts[at].id(at));
                    parts[at] = Part::new(parts[at].generation + 1);
                }
            }
            parts.iter_mut().for_each(Part::step);
            leases.assert_invariants();
            let used: usize = parts.iter().map(|part| part.gate.lease()).sum();
            prop_assert!(used <= leases.leased() && leases.leased() <= BOUND);
        }
        // Whoever reads what has come gets all of it, whatever the others do.
        for _ in 0..2000 {
            for at in 0..4 {
                carry(&mut leases, &mut parts, at);
            }
            if parts.iter().all(|part| part.waiting.is_empty() && part.admitted.is_empty()) {
                break;
            }
            for part in &mut parts {
                if !part.admitted.is_empty() {
                    part.gate.release(part.admitted.remove(0));
                }
                part.step();
            }
        }
        for at in 0..4 {
            carry(&mut leases, &mut parts, at);
            carry(&mut leases, &mut parts, at);
        }
        prop_assert!(parts.iter().all(|part| part.waiting.is_empty()));
        prop_assert_eq!(leases.leased(), 0);
    }
}
