//! A peer that dials again while a link that it made before is being established here.

use super::peers::{comings_and_goings, later};
use super::*;
use crate::peers::Rule;
use crate::snapshot::Stage;

/// A node with a link of peer 1 that is being established, and a later one of the same peer.
fn twice_with(change: impl FnOnce(&mut Config)) -> (Node, ListenerId, ConnectionId, ConnectionId) {
    let mut node = node_with(change);
    let listener = listening(&mut node);
    let [first, second] = [0; 2].map(|_| accepted(&mut node, listener));
    prove(&mut node, first, 1);
    assert!(proceeds(&mut node, first));
    prove(&mut node, second, 1);
    assert_eq!(order(&mut node, second).proven_verdict, None);
    node.assert_invariants();
    (node, listener, first, second)
}

fn twice() -> (Node, ListenerId, ConnectionId, ConnectionId) {
    twice_with(|_| {})
}

fn proceeds(node: &mut Node, link: ConnectionId) -> bool {
    order(node, link).proven_verdict == Some(Verdict::Proceed { exchange: true })
}

#[test]
fn the_later_link_takes_the_place_of_one_that_ends() {
    for reason in [CloseReason::RemoteClosed, CloseReason::Deadline(TimerKind::Exchange)] {
        let (mut node, _, first, second) = twice();
        close(&mut node, first, reason);
        assert!(proceeds(&mut node, second));
        exchange(&mut node, second);
        assert_eq!(comings_and_goings(&mut node), [('+', id(1))]);
        assert_eq!(node.route(&id(1)).unwrap().entries()[0].connection, second);
        close(&mut node, second, CloseReason::RemoteClosed);
        assert!(told(&mut node).len() == 1 && node.manager.is_empty() && node.peers.len() == 0);
    }
}

#[test]
fn one_that_is_live_after_all_has_to_show_that_it_is_alive() {
    for is_alive in [true, false] {
        let (mut node, _, first, second) = twice();
        exchange(&mut node, first);
        let orders: Vec<_> = core::iter::from_fn(|| node.poll_order()).collect();
        let [(link, order)] = &orders[..] else { panic!("{orders:?}") };
        assert_eq!(*link, first);
        // The probe comes with the verdict that makes it live.
        assert!(order.probe && matches!(order.live_verdict, Some(Verdict::Proceed { .. })));
        let due = Deadline { at: later(5000), why: TimerKind::Probe };
        assert_eq!(node.next_timeout(), Some(due));
        if is_alive {
            alive(&mut node, first);
            assert_eq!(refusal(&mut node, second), Refusal::TooManyConnections);
            close(&mut node, second, CloseReason::Refused(Refusal::TooManyConnections));
            assert_eq!(comings_and_goings(&mut node), [('+', id(1))]);
        } else {
            close(&mut node, first, CloseReason::RemoteClosed);
            assert!(proceeds(&mut node, second));
            exchange(&mut node, second);
            let all = [('+', id(1)), ('-', id(1)), ('+', id(1))];
            // What the application slept through collapses.
            assert!(all.ends_with(&comings_and_goings(&mut node)));
            assert_eq!(node.route(&id(1)).unwrap().entries()[0].connection, second);
        }
        assert_eq!(node.next_timeout(), None);
    }
}

#[test]
fn where_a_peer_may_have_two_connections_both_stay() {
    let (mut node, _, first, second) = twice_with(|config| config.connections_per_peer_max = 2);
    exchange(&mut node, first);
    alive(&mut node, first);
    let proceed = Some(Verdict::Proceed { exchange: false });
    assert_eq!(order(&mut node, second).proven_verdict, proceed);
    node.handle_report(NOW, second, ToNode { ready: true, ..ToNode::default() });
    assert_eq!(node.route(&id(1)).unwrap().entries().len(), 2);
}

#[test]
fn of_a_peer_one_link_waits_and_further_ones_are_refused() {
    let (mut node, listener, first, second) = twice();
    for _ in 0..3 {
        let third = accepted(&mut node, listener);
        prove(&mut node, third, 1);
        assert_eq!(refusal(&mut node, third), Refusal::Duplicate);
        close(&mut node, third, CloseReason::Refused(Refusal::Duplicate));
    }
    exchange(&mut node, first);
    // Nor does one wait behind a link that is held.
    let third = accepted(&mut node, listener);
    prove(&mut node, third, 1);
    assert_eq!(refusal(&mut node, third), Refusal::Duplicate);
    assert_eq!(order(&mut node, second).proven_verdict, None);
    node.assert_invariants();
}

#[test]
fn a_link_that_waits_counts_for_its_source_until_it_is_judged() {
    let source = SocketAddr::from(([192, 0, 2, 1], 1000));
    let mut node = node_with(|config| config.pending_per_source_max = 1);
    let listener = listening(&mut node);
    let accept = |node: &mut Node| node.handle_accepted(NOW, listener, source);
    let first = accept(&mut node).unwrap().connection;
    prove(&mut node, first, 1);
    for takes_place in [true, false] {
        let second = accept(&mut node).unwrap().connection;
        prove(&mut node, second, 1);
        assert_eq!(accept(&mut node).unwrap_err(), Refusal::TooManyFromSource);
        if takes_place {
            // Its own deadline ends it; that says nothing about where it came from.
            close(&mut node, second, CloseReason::Deadline(TimerKind::Exchange));
        } else {
            close(&mut node, first, CloseReason::RemoteClosed);
            assert!(proceeds(&mut node, second));
        }
    }
    assert!(accept(&mut node).is_ok());
    node.assert_invariants();
}

#[test]
fn a_link_that_ends_while_it_waits_leaves_the_first_alone() {
    let (mut node, listener, first, second) = twice();
    close(&mut node, second, CloseReason::Truncated);
    // Its place is free for another one.
    let third = accepted(&mut node, listener);
    prove(&mut node, third, 1);
    assert_eq!(order(&mut node, third).proven_verdict, None);
    close(&mut node, third, CloseReason::Truncated);
    exchange(&mut node, first);
    assert_eq!(comings_and_goings(&mut node), [('+', id(1))]);
    assert_eq!(node.next_timeout(), None);
}

#[test]
fn rules_are_those_of_the_moment_when_it_is_judged() {
    for is_live in [true, false] {
        let (mut node, _, first, second) = twice();
        node.block(NOW, Rule::peer(id(1))).unwrap();
        let orders: Vec<_> = core::iter::from_fn(|| node.poll_order()).collect();
        let blocked = Some(CloseReason::Blocked);
        assert_eq!(orders.len(), 2);
        assert!(orders.iter().all(|(_, order)| order.close == blocked));
        if is_live {
            exchange(&mut node, first);
        }
        close(&mut node, first, CloseReason::Blocked);
        assert_eq!(order(&mut node, second).proven_verdict, None);
        close(&mut node, second, CloseReason::Blocked);
        assert_eq!(comings_and_goings(&mut node), []);
        assert!(node.manager.is_empty() && node.peers.len() == 0);
    }
    // A place that was taken meanwhile by somebody who matters more is not given twice.
    let (mut node, _, first, second) = twice_with(|config| config.peers_max = 1);
    node.require(NOW, vec![Address::from(at(9)).with_peer(id(2))]).unwrap();
    let high = dials(&mut node)[0].0;
    node.handle_dialed(NOW, high, at(1)).unwrap();
    live(&mut node, high, 2);
    exchange(&mut node, first);
    close(&mut node, first, CloseReason::Refused(Refusal::TooManyPeers));
    exchange(&mut node, second);
    close(&mut node, second, CloseReason::Refused(Refusal::TooManyPeers));
    assert_eq!(comings_and_goings(&mut node), [('+', id(2))]);
    assert_eq!(node.manager.len(), 1);
}

#[test]
fn a_stop_and_a_disconnect_end_both() {
    let (mut node, _, first, second) = twice();
    node.stop(NOW);
    for link in [first, second] {
        close(&mut node, link, CloseReason::Stopping);
    }
    assert_eq!(told(&mut node).last(), Some(&Notification::Stopped));
    let (mut node, _, first, second) = twice();
    node.require(NOW, vec![Address::from(at(9)).with_peer(id(1))]).unwrap();
    node.disconnect(NOW, id(1)).unwrap();
    let orders: Vec<_> = core::iter::from_fn(|| node.poll_order()).collect();
    let closed = orders.iter().filter(|(_, order)| order.close == Some(CloseReason::Requested));
    assert_eq!(closed.count(), 2);
    close(&mut node, first, CloseReason::Requested);
    close(&mut node, second, CloseReason::Requested);
    assert_eq!(comings_and_goings(&mut node), []);
    assert!(node.manager.is_empty());
}

#[test]
fn a_dial_of_ours_that_wins_the_tie_wins_it_against_both() {
    // Peer 1 has the smaller id.
    let (mut node, _, first, second) = twice();
    let own = dialled(&mut node, Some(id(1)));
    prove(&mut node, own, 1);
    let orders: Vec<_> = core::iter::from_fn(|| node.poll_order()).collect();
    let verdicts: Vec<_> = orders
        .into_iter()
        .filter_map(|(link, order)| Some((link, order.proven_verdict?)))
        .collect();
    let duplicate = Verdict::Refuse(Refusal::Duplicate);
    assert_eq!(verdicts, [(second, duplicate), (own, Verdict::Proceed { exchange: true })]);
    close(&mut node, second, CloseReason::Refused(Refusal::Duplicate));
    node.assert_invariants();
    // The first goes on, because the other end may have settled on it.
    close(&mut node, own, CloseReason::RemoteClosed);
    exchange(&mut node, first);
    assert!(comings_and_goings(&mut node).contains(&('+', id(1))));
}

#[test]
fn a_second_link_that_was_made_here_does_not_wait() {
    let mut node = node();
    let [first, second] = [0; 2].map(|_| dialled(&mut node, None));
    prove(&mut node, first, 1);
    prove(&mut node, second, 1);
    assert_eq!(refusal(&mut node, second), Refusal::Duplicate);
}

#[test]
fn a_snapshot_shows_that_both_are_on_their_way() {
    let (node, _, first, second) = twice();
    let snapshot = node.snapshot(NOW);
    for id in [first, second] {
        let link = snapshot.links.iter().find(|link| link.id == id).unwrap();
        assert_eq!(link.stage, Stage::Exchanging);
    }
    assert_eq!(snapshot.peers[0].stage, Stage::Exchanging);
}
