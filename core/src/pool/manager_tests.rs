use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::id::ProtocolId;

const HOT: Load = Load { queued_bytes: 0, idle_streams: 3, current: 60, max: 100 };
const COOL: Load = Load { queued_bytes: 0, idle_streams: 50, current: 60, max: 100 };

fn peer(at: usize) -> PeerId {
    ["QmPeerTne", "QmPeerTwo", "QmPeerThree"][at].parse().unwrap()
}

fn connection(index: u32) -> ConnectionId {
    ConnectionId { index, generation: 0 }
}

fn secs(secs: u64) -> Instant {
    Instant::from_nanos(secs * 1_000_000_000)
}

fn manager(connections_per_peer: usize) -> PoolManager<u32> {
    PoolManager::new(ManagerConfig { connections_per_peer, ..ManagerConfig::default() })
}

#[test]
fn duplicates_and_unknown_connections_are_errors_that_change_nothing() {
    let mut manager = manager(2);
    assert_eq!(manager.add(peer(0), connection(0), 10), Ok(()));
    let generation = manager.route(&peer(0)).unwrap().generation();
    for whose in [0, 1] {
        let again = manager.add(peer(whose), connection(0), 11);
        assert_eq!(again, Err(ManagerError::ConnectionExists));
    }
    assert_eq!(manager.remove(connection(9)), Err(ManagerError::ConnectionUnknown));
    let unknown = manager.set_load(secs(0), connection(9), HOT);
    assert_eq!(unknown, Err(ManagerError::ConnectionUnknown));
    let unknown = manager.set_protocols(&peer(1), ProtocolSet::default());
    assert_eq!(unknown, Err(ManagerError::PeerUnknown));
    assert_eq!(manager.route(&peer(0)).unwrap().generation(), generation);
    assert!(manager.route(&peer(1)).is_none() && manager.pick(&peer(1)).is_none());
    assert_eq!((manager.stream_cap(connection(9)), manager.load(connection(9))), (0, None));
    manager.assert_invariants();
}

#[test]
fn a_peer_goes_with_its_last_connection_and_its_protocols_with_it() {
    let mut manager = manager(2);
    manager.add(peer(0), connection(0), 10).unwrap();
    manager.add(peer(0), connection(1), 11).unwrap();
    let protocols: ProtocolSet = [ProtocolId::new("/a").unwrap()].into_iter().collect();
    manager.set_protocols(&peer(0), protocols).unwrap();
    let first = manager.remove(connection(0)).unwrap();
    assert_eq!(first, Removed { peer: peer(0), handle: 10, last: false });
    let route = manager.route(&peer(0)).unwrap().clone();
    assert!(route.supports("/a") && route.entries().len() == 1);
    assert!(manager.remove(connection(1)).unwrap().last);
    assert!(manager.route(&peer(0)).is_none() && manager.peers().count() == 0);
    manager.add(peer(0), connection(1), 12).unwrap();
    let again = manager.route(&peer(0)).unwrap();
    assert!(!again.supports("/a") && again.generation() > route.generation());
    manager.reset();
    assert!(manager.peer_of(connection(1)).is_none() && manager.peers().next().is_none());
    manager.assert_invariants();
}

#[test]
fn the_least_loaded_connection_is_picked() {
    let mut manager = manager(3);
    for index in [2, 0, 1] {
        manager.add(peer(0), connection(index), index).unwrap();
    }
    assert_eq!(manager.pick(&peer(0)), Some(connection(0)));
    manager.set_load(secs(0), connection(2), COOL).unwrap();
    assert_eq!(manager.pick(&peer(0)), Some(connection(2)));
    let queued = Load { queued_bytes: 1, ..COOL };
    manager.set_load(secs(0), connection(2), queued).unwrap();
    assert_eq!(manager.pick(&peer(0)), Some(connection(0)));
    assert_eq!(manager.load(connection(2)), Some(queued));
}

#[test]
fn wishes_that_are_not_fulfilled_are_made_less_and_less_often() {
    let mut manager = manager(2);
    manager.add(peer(0), connection(0), 0).unwrap();
    let (mut now, mut pauses) = (0, Vec::new());
    for well in [false, false, false, false, false, false, true, false] {
        let begun = now;
        while manager.poll_wanted().is_none() {
            now += 1;
            manager.set_load(secs(now), connection(0), HOT).unwrap();
        }
        pauses.push(now - begun);
        manager.answered(secs(now), &peer(0), well);
    }
    assert_eq!(pauses[1..], [10, 20, 40, 80, 80, 80, 5]);
}

#[test]
fn a_wish_is_made_once_until_it_is_answered() {
    let mut manager = manager(2);
    manager.add(peer(0), connection(0), 0).unwrap();
    manager.set_load(secs(0), connection(0), COOL).unwrap();
    assert_eq!(manager.poll_wanted(), None);
    for _ in 0..3 {
        manager.set_load(secs(1), connection(0), HOT).unwrap();
    }
    assert_eq!((manager.poll_wanted(), manager.poll_wanted()), (Some(peer(0)), None));
    manager.set_load(secs(90), connection(0), HOT).unwrap();
    assert_eq!(manager.poll_wanted(), None, "it is not answered");
    manager.answered(secs(100), &peer(0), true);
    manager.answered(secs(103), &peer(0), true);
    manager.set_load(secs(104), connection(0), HOT).unwrap();
    assert_eq!(manager.poll_wanted(), None, "the pause is 5 s");
    manager.set_load(secs(105), connection(0), HOT).unwrap();
    assert_eq!(manager.poll_wanted(), Some(peer(0)));
    manager.add(peer(0), connection(1), 1).unwrap();
    manager.answered(secs(106), &peer(0), true);
    for at in [200, 201] {
        manager.set_load(secs(at), connection(0), HOT).unwrap();
        manager.set_load(secs(at), connection(1), HOT).unwrap();
    }
    assert_eq!(manager.poll_wanted(), None, "the peer may have no more");
}

#[test]
fn d56_each_peer_has_a_slot_of_its_own() {
    let mut manager = manager(2);
    for at in 0..3 {
        manager.add(peer(at), connection(at as u32), 0).unwrap();
    }
    manager.set_load(secs(0), connection(2), HOT).unwrap();
    assert_eq!(manager.poll_wanted(), Some(peer(2)));
    // While that one is being dialled, the others are not forgotten.
    manager.set_load(secs(0), connection(0), HOT).unwrap();
    manager.set_load(secs(0), connection(1), HOT).unwrap();
    let mut wanted: Vec<PeerId> = core::iter::from_fn(|| manager.poll_wanted()).collect();
    wanted.sort_unstable();
    let mut expected = [peer(0), peer(1)];
    expected.sort_unstable();
    assert_eq!(wanted, expected);
}

#[test]
fn a_peer_that_left_has_no_wish() {
    let mut manager = manager(2);
    manager.add(peer(0), connection(0), 0).unwrap();
    manager.set_load(secs(0), connection(0), HOT).unwrap();
    manager.remove(connection(0)).unwrap();
    assert_eq!(manager.poll_wanted(), None);
    manager.answered(secs(1), &peer(0), true);
    manager.assert_invariants();
}

#[test]
fn one_hot_connection_beside_a_cool_one_is_no_reason_for_a_wish() {
    let mut manager = manager(3);
    manager.add(peer(0), connection(0), 0).unwrap();
    manager.add(peer(0), connection(1), 1).unwrap();
    manager.set_load(secs(0), connection(1), COOL).unwrap();
    manager.set_load(secs(0), connection(0), HOT).unwrap();
    assert_eq!((manager.pick(&peer(0)), manager.poll_wanted()), (Some(connection(1)), None));
}

#[test]
fn the_connections_of_a_peer_share_its_streams() {
    let mut manager = manager(8);
    let mut caps = Vec::new();
    for index in 0..3 {
        manager.add(peer(0), connection(index), 0).unwrap();
        caps.push((0..=index).map(|i| manager.stream_cap(connection(i))).collect::<Vec<_>>());
    }
    assert_eq!(caps, [std::vec![100], std::vec![50, 50], std::vec![34, 33, 33]]);
    let config = ManagerConfig { streams_per_peer: 0, ..ManagerConfig::default() };
    let mut tiny = PoolManager::new(config);
    tiny.add(peer(0), connection(0), 0).unwrap();
    assert_eq!(tiny.stream_cap(connection(0)), 1);
}

#[derive(Clone, Debug)]
enum Op {
    Add(usize, u32),
    Remove(u32),
    Load(u32, usize, usize),
    Protocols(usize),
    Poll,
    Answer(usize),
    Wait(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => (0..3_usize, 0..8_u32).prop_map(|(p, c)| Op::Add(p, c)),
        2 => (0..8_u32).prop_map(Op::Remove),
        6 => (0..8_u32, 0..3_usize, 0..60_usize).prop_map(|(c, q, i)| Op::Load(c, q, i)),
        1 => (0..3_usize).prop_map(Op::Protocols),
        2 => Just(Op::Poll),
        2 => (0..3_usize).prop_map(Op::Answer),
        2 => (0..9_u64).prop_map(Op::Wait),
    ];
    prop::collection::vec(op, 0..150)
}

proptest! {
    #[test]
    fn behaves_like_a_plain_table(ops in ops()) {
        let mut manager = manager(2);
        let mut table: BTreeMap<ConnectionId, (PeerId, Load)> = BTreeMap::new();
        let mut unanswered: Vec<PeerId> = Vec::new();
        let mut generations: BTreeMap<PeerId, u64> = BTreeMap::new();
        let mut now = 0;
        for op in ops {
            match op {
                Op::Add(p, c) => {
                    let fresh = !table.contains_key(&connection(c));
                    prop_assert_eq!(manager.add(peer(p), connection(c), c).is_ok(), fresh);
                    table.entry(connection(c)).or_insert((peer(p), Load::default()));
                }
                Op::Remove(c) => {
                    let removed = manager.remove(connection(c)).ok();
                    let expected = table.remove(&connection(c)).map(|(peer, _)| peer);
                    prop_assert_eq!(removed.as_ref().map(|removed| removed.peer), expected);
                    if let Some(Removed { peer, handle, last }) = removed {
                        prop_assert_eq!(handle, c);
                        prop_assert_eq!(last, !table.values().any(|(owner, _)| *owner == peer));
                        unanswered.retain(|asking| !last || *asking != peer);
                    }
                }
                Op::Load(c, queued_bytes, idle_streams) => {
                    let load = Load { queued_bytes, idle_streams, current: 60, max: 100 };
                    let known = manager.set_load(secs(now), connection(c), load).is_ok();
                    prop_assert_eq!(known, table.contains_key(&connection(c)));
                    table.entry(connection(c)).and_modify(|entry| entry.1 = load);
                }
                Op::Protocols(p) => {
                    let known = manager.set_protocols(&peer(p), ProtocolSet::default()).is_ok();
                    prop_assert_eq!(known, table.values().any(|(owner, _)| *owner == peer(p)));
                }
                Op::Poll => {
                    if let Some(peer) = manager.poll_wanted() {
                        prop_assert!(!unanswered.contains(&peer), "asked twice");
                        prop_assert!(table.values().any(|(owner, _)| *owner == peer));
                        unanswered.push(peer);
                    }
                }
                Op::Answer(p) => {
                    manager.answered(secs(now), &peer(p), true);
                    unanswered.retain(|asking| *asking != peer(p));
                }
                Op::Wait(secs) => now += secs,
            }
            manager.assert_invariants();
            for p in 0..3 {
                let own = || table.iter().filter(|(_, (owner, _))| *owner == peer(p));
                let best = own().min_by_key(|(id, (_, load))| (load.rank(), **id));
                prop_assert_eq!(manager.pick(&peer(p)), best.map(|(id, _)| *id));
                let caps: usize = own().map(|(id, _)| manager.stream_cap(*id)).sum();
                prop_assert!(caps == 0 && own().count() == 0 || caps == 100);
                if let Some(route) = manager.route(&peer(p)) {
                    let before = generations.insert(peer(p), route.generation());
                    prop_assert!(before.is_none_or(|before| before <= route.generation()));
                }
            }
        }
    }
}
