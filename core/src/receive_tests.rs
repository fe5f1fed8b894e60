use std::vec::Vec;

use proptest::prelude::*;

use super::*;

fn peer(at: usize) -> PeerId {
    ["QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4", "QmPeerTwo", "QmPeerThree"][at]
        .parse()
        .unwrap()
}

fn connection(index: u32) -> ConnectionId {
    ConnectionId { index, generation: 7 }
}

#[test]
fn d8_a_limit_of_zero_is_an_error() {
    assert_eq!(ReceiveStreams::new(0).err(), Some(ZeroLimit));
    let mut ledger = ReceiveStreams::new(3).unwrap();
    assert_eq!((ledger.set_limit(0), ledger.limit()), (Err(ZeroLimit), 3));
}

#[test]
fn the_limit_is_that_of_a_peer_and_not_of_a_connection() {
    let mut ledger = ReceiveStreams::new(10).unwrap();
    assert_eq!(ledger.grant(peer(0), connection(0), 6), 6);
    assert_eq!(ledger.grant(peer(0), connection(1), 6), 4);
    assert_eq!(ledger.grant(peer(0), connection(2), 6), 0);
    assert_eq!(ledger.grant(peer(1), connection(3), 6), 6);
    assert_eq!((ledger.count(&peer(0)), ledger.left(&peer(0))), (10, 0));
    assert_eq!((ledger.count(&peer(1)), ledger.left(&peer(1))), (6, 4));
    assert_eq!((ledger.count(&peer(2)), ledger.left(&peer(2))), (0, 10));
    assert_eq!((ledger.lease(connection(1)), ledger.lease(connection(2))), (4, 0));
    ledger.assert_invariants();
}

#[test]
fn a_connection_is_of_one_peer() {
    let mut ledger = ReceiveStreams::new(10).unwrap();
    assert_eq!(ledger.grant(peer(0), connection(0), 2), 2);
    assert_eq!(ledger.grant(peer(1), connection(0), 2), 0);
    assert_eq!(ledger.count(&peer(1)), 0);
    // The slot's next connection has another generation, so it is another key.
    let next = ConnectionId { index: 0, generation: 8 };
    assert_eq!(ledger.grant(peer(1), next, 2), 2);
}

#[test]
fn d32_closing_a_connection_returns_its_lease_and_no_more() {
    let mut ledger = ReceiveStreams::new(10).unwrap();
    ledger.grant(peer(0), connection(0), 3);
    ledger.grant(peer(0), connection(1), 4);
    assert_eq!(ledger.close_connection(connection(0)), 3);
    assert_eq!(ledger.close_connection(connection(0)), 0);
    assert_eq!(ledger.count(&peer(0)), 4);
    assert_eq!(ledger.close_connection(connection(1)), 4);
    assert_eq!(ledger.leases().count(), 0);
    ledger.assert_invariants();
}

#[test]
fn d32_the_limit_holds_after_any_number_of_refusals() {
    let mut gate = StreamGate::new(0);
    gate.extend(3);
    for _ in 0..3 {
        assert_eq!(gate.admit(), Admission::Admit);
    }
    for _ in 0..1000 {
        assert_eq!(gate.admit(), Admission::Refuse);
    }
    assert_eq!((gate.in_use(), gate.left(), gate.refused()), (3, 0, 1000));
    gate.release();
    assert_eq!((gate.admit(), gate.admit()), (Admission::Admit, Admission::Refuse));
    (0..5).for_each(|_| gate.release());
    assert_eq!((gate.in_use(), gate.left()), (0, 3));
}

#[test]
fn a_lowered_limit_grants_nothing_until_the_excess_is_given_up() {
    let mut ledger = ReceiveStreams::new(10).unwrap();
    ledger.grant(peer(0), connection(0), 10);
    ledger.set_limit(4).unwrap();
    assert_eq!((ledger.excess(&peer(0)), ledger.grant(peer(0), connection(1), 1)), (6, 0));
    assert_eq!(ledger.give_up(connection(0), 7), 7);
    assert_eq!((ledger.excess(&peer(0)), ledger.grant(peer(0), connection(1), 9)), (0, 1));
    assert_eq!((ledger.give_up(connection(0), 9), ledger.give_up(connection(9), 1)), (3, 0));
    ledger.assert_invariants();
    ledger.reset();
    assert_eq!((ledger.count(&peer(0)), ledger.leases().count(), ledger.limit()), (0, 0, 4));
}

#[test]
fn a_gate_gives_up_only_what_it_does_not_use() {
    let mut gate = StreamGate::new(0);
    gate.extend(5);
    let _admitted = [gate.admit(), gate.admit()];
    assert_eq!((gate.give_up(9), gate.lease(), gate.left()), (3, 2, 0));
    assert_eq!(gate.admit(), Admission::Refuse);
}

#[test]
fn a_gate_asks_early_and_once_at_a_time() {
    let mut gate = StreamGate::new(10);
    assert_eq!((gate.poll_request(), gate.poll_request()), (Some(10), None));
    gate.extend(10);
    assert_eq!(gate.poll_request(), None);
    for left in [9, 8, 7, 6] {
        assert_eq!(
            (gate.admit(), gate.left(), gate.poll_request()),
            (Admission::Admit, left, None)
        );
    }
    assert_eq!((gate.admit(), gate.poll_request()), (Admission::Admit, Some(10)));
    // Less than asked for: the next request waits for a refused stream.
    gate.extend(1);
    for _ in 0..6 {
        assert_eq!((gate.admit(), gate.poll_request()), (Admission::Admit, None));
    }
    assert_eq!((gate.admit(), gate.poll_request()), (Admission::Refuse, Some(10)));
    assert_eq!((gate.admit(), gate.poll_request()), (Admission::Refuse, None));
    gate.extend(0);
    assert_eq!(gate.poll_request(), None);
}

#[derive(Clone, Debug)]
enum Op {
    Ask(u32, u32),
    Open(u32),
    End(u32),
    GiveUp(u32, u32),
    Close(u32),
    Limit(u32),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let connection = 0..6_u32;
    let op = prop_oneof![
        3 => (connection.clone(), 0..9_u32).prop_map(|(c, n)| Op::Ask(c, n)),
        5 => connection.clone().prop_map(Op::Open),
        3 => connection.clone().prop_map(Op::End),
        1 => (connection.clone(), 0..9_u32).prop_map(|(c, n)| Op::GiveUp(c, n)),
        1 => connection.prop_map(Op::Close),
        1 => (1..20_u32).prop_map(Op::Limit),
    ];
    prop::collection::vec(op, 0..150)
}

proptest! {
    /// Ledger and gates agree, and the streams of a peer stay within the highest limit since its
    /// leases last fitted.
    #[test]
    fn streams_stay_within_the_limit(ops in ops()) {
        let mut ledger = ReceiveStreams::new(12).unwrap();
        let mut gates: Vec<StreamGate> = (0..6).map(|_| StreamGate::new(0)).collect();
        let mut streams = [0_u32; 6];
        let mut bound = [12_u32; 3];
        // Two connections for each of three peers.
        let whose = |c: u32| peer(c as usize % 3);
        for op in ops {
            match op {
                Op::Ask(c, want) => {
                    let left = ledger.left(&whose(c));
                    let granted = ledger.grant(whose(c), connection(c), want);
                    prop_assert_eq!(granted, want.min(left));
                    gates[c as usize].extend(granted);
                }
                Op::Open(c) => {
                    let gate = &mut gates[c as usize];
                    let room = streams[c as usize] < gate.lease();
                    prop_assert_eq!(gate.admit() == Admission::Admit, room);
                    streams[c as usize] += u32::from(room);
                }
                Op::End(c) => {
                    if streams[c as usize] > 0 {
                        streams[c as usize] -= 1;
                        gates[c as usize].release();
                    }
                }
                Op::GiveUp(c, n) => {
                    let given = gates[c as usize].give_up(n);
                    prop_assert_eq!(ledger.give_up(connection(c), given), given);
                }
                Op::Close(c) => {
                    let lease = gates[c as usize].lease();
                    prop_assert_eq!(ledger.close_connection(connection(c)), lease);
                    gates[c as usize] = StreamGate::new(0);
                    streams[c as usize] = 0;
                }
                Op::Limit(limit) => ledger.set_limit(limit).unwrap(),
            }
            ledger.assert_invariants();
            for at in 0..3 {
                if ledger.excess(&peer(at)) == 0 {
                    bound[at] = ledger.limit();
                }
                prop_assert!(streams[at] + streams[at + 3] <= bound[at]);
                prop_assert_eq!(gates[at].lease() + gates[at + 3].lease(), ledger.count(&peer(at)));
                prop_assert_eq!(gates[at].in_use(), streams[at]);
                prop_assert_eq!(ledger.lease(connection(at as u32)), gates[at].lease());
            }
        }
    }
}

#[test]
fn a_connection_that_asks_for_more_leaves_something_to_those_that_may_come() {
    let mut ledger = ReceiveStreams::new(40).unwrap().with_reserve(3, 12);
    assert_eq!(ledger.grant(peer(0), connection(0), 13), 13);
    assert_eq!(ledger.extend(peer(0), connection(0), 13), 3);
    assert_eq!(ledger.extend(peer(0), connection(0), 13), 0);
    assert_eq!(ledger.grant(peer(0), connection(1), 12), 12);
    assert_eq!(ledger.extend(peer(0), connection(0), 13), 0);
    assert_eq!(ledger.grant(peer(0), connection(2), 13), 12);
    ledger.close_connection(connection(1));
    assert_eq!(ledger.extend(peer(0), connection(2), 20), 0);
    assert_eq!(ledger.grant(peer(0), connection(3), 12), 12);
    ledger.assert_invariants();
}
