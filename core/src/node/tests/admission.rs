//! Who may not be dialled, who may not go live, and who does not hold others up.

use super::*;
use crate::contract::RequiredId;
use crate::peers::{Elimination, Rule};
use crate::pool::Load;
use crate::supervisor::RequiredPhase;

fn later(millis: u64) -> Instant {
    NOW.after(Duration::from_millis(millis))
}

fn outside(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 80))
}

fn ten() -> Rule {
    "10.0.0.0/8".parse().unwrap()
}

fn blocked() -> DialError {
    DialError::Refused(Refusal::Blocked)
}

fn failure(told: &[Notification]) -> Option<DialError> {
    told.iter().find_map(|told| match told {
        Notification::DialFailed { error, .. } => Some(error.clone()),
        _ => None,
    })
}

fn connected(told: &[Notification]) -> usize {
    told.iter().filter(|told| matches!(told, Notification::Connected { .. })).count()
}

fn required_peer(node: &Node, required: RequiredId) -> Option<PeerId> {
    node.required_state(required).unwrap().peer
}

fn unreachable(node: &mut Node, connection: ConnectionId) {
    node.handle_event(NOW, Event::DialFailed { connection, cause: IoCause::Unreachable });
}

// Blocked places.

#[test]
fn a_blocked_place_is_not_dialled_by_connect_not_even_after_others() {
    let mut node = node();
    node.block(NOW, ten()).unwrap();
    node.add_address(later(1), &Address::from(outside(1)).with_peer(id(1))).unwrap();
    node.connect(later(2), id(1)).unwrap();
    assert!(dials(&mut node).is_empty());
    assert_eq!(failure(&told(&mut node)), Some(blocked()));
    // The latest is the best: two that are allowed with one that is not between them.
    node.add_address(later(3), &Address::from(at(8)).with_peer(id(2))).unwrap();
    node.add_address(later(4), &Address::from(outside(2)).with_peer(id(2))).unwrap();
    node.add_address(later(5), &Address::from(at(9)).with_peer(id(2))).unwrap();
    node.connect(later(6), id(2)).unwrap();
    for expected in [at(9), at(8)] {
        let [(link, remote)] = dials(&mut node)[..] else { panic!("one at a time") };
        assert_eq!(remote, expected);
        unreachable(&mut node, link);
    }
    assert!(dials(&mut node).is_empty());
    assert_eq!(failure(&told(&mut node)), Some(DialError::Link(IoCause::Unreachable)));
}

#[test]
fn a_place_that_is_blocked_after_it_was_resolved_is_not_dialled() {
    let mut node = node();
    node.dial(NOW, named("two.example")).unwrap();
    let Some(Command::Resolve { query, .. }) = node.poll_command() else { panic!("no question") };
    node.handle_event(NOW, Event::Resolved { query, addresses: vec![at(9), outside(2)] });
    let link = dials(&mut node)[0].0;
    node.block(NOW, ten()).unwrap();
    unreachable(&mut node, link);
    assert!(dials(&mut node).is_empty());
    assert_eq!(failure(&told(&mut node)), Some(blocked()));
}

#[test]
fn a_blocked_place_is_not_dialled_for_one_more_connection() {
    for is_blocked in [false, true] {
        let mut node = node_with(|config| config.connections_per_peer_max = 2);
        let listener = listening(&mut node);
        node.add_address(NOW, &Address::from(outside(1)).with_peer(id(1))).unwrap();
        if is_blocked {
            node.block(NOW, ten()).unwrap();
        }
        let link = accepted(&mut node, listener);
        live(&mut node, link, 1);
        let load = Some(Load { queued_bytes: 1, idle_streams: 0, current: 4, max: 4 });
        node.handle_report(NOW, link, ToNode { load, ..ToNode::default() });
        assert_eq!(dials(&mut node).len(), usize::from(!is_blocked));
    }
}

#[test]
fn a_link_to_a_peer_that_was_blocked_meanwhile_is_not_wanted() {
    let mut node = node();
    node.dial(NOW, Address::from(at(9)).with_peer(id(1))).unwrap();
    let link = dials(&mut node)[0].0;
    node.block(NOW, Rule::peer(id(1))).unwrap();
    assert_eq!(
        node.handle_dialed(NOW, link, at(1)).unwrap_err(),
        UsageError::UnknownConnection(link)
    );
    assert_eq!(failure(&told(&mut node)), Some(blocked()));
    assert!(node.links.is_empty());
}

#[test]
fn a_blocked_peer_does_not_become_the_required_one() {
    let mut node = node();
    node.block(NOW, Rule::peer(id(1))).unwrap();
    let required = node.require(NOW, vec![Address::from(at(9))]).unwrap();
    let link = dials(&mut node)[0].0;
    node.handle_dialed(NOW, link, at(1)).unwrap();
    prove(&mut node, link, 1);
    assert_eq!(refusal(&mut node, link), Refusal::Blocked);
    close(&mut node, link, CloseReason::Refused(Refusal::Blocked));
    assert_eq!(required_peer(&node, required), None);
    let RequiredPhase::Waiting { until } = node.required_state(required).unwrap().phase else {
        panic!("it failed")
    };
    node.handle_timeout(until);
    let link = dials(&mut node)[0].0;
    node.handle_dialed(until, link, at(1)).unwrap();
    prove(&mut node, link, 2);
    assert_eq!(required_peer(&node, required), Some(id(2)));
}

#[test]
fn a_source_of_peers_that_are_turned_away_has_to_rest() {
    let mut node = node();
    let listener = listening(&mut node);
    node.block(NOW, Rule::peer(id(1))).unwrap();
    let mut turn = |peer| {
        let link = node.handle_accepted(NOW, listener, outside(1))?.connection;
        prove(&mut node, link, peer);
        close(&mut node, link, CloseReason::RemoteClosed);
        Ok(())
    };
    for _ in 0..crate::peers::RESTS_AFTER - 1 {
        assert_eq!(turn(1), Ok(()));
    }
    // One who is let in clears it.
    assert_eq!(turn(2), Ok(()));
    for _ in 0..crate::peers::RESTS_AFTER {
        assert_eq!(turn(1), Ok(()));
    }
    assert_eq!(turn(1), Err(Refusal::SourceResting));
}

// Links that were told to close.

#[test]
fn a_peer_that_is_disconnected_while_its_link_is_established_does_not_connect() {
    let mut node = node_with(|config| config.peers_max = 1);
    let listener = listening(&mut node);
    node.require(NOW, vec![Address::from(at(9)).with_peer(id(1))]).unwrap();
    let link = accepted(&mut node, listener);
    prove(&mut node, link, 1);
    order(&mut node, link);
    node.disconnect(NOW, id(1)).unwrap();
    exchange(&mut node, link);
    let order = order(&mut node, link);
    assert_eq!((order.live_verdict, order.close), (None, Some(CloseReason::Requested)));
    close(&mut node, link, CloseReason::Requested);
    assert_eq!(connected(&told(&mut node)), 0);
    assert!(node.manager.is_empty());
    let other = accepted(&mut node, listener);
    live(&mut node, other, 2);
    assert_eq!(node.manager.present(), 1);
}

#[test]
fn a_peer_is_disconnected_with_every_link_that_it_has() {
    let mut node = node_with(|config| config.connections_per_peer_max = 2);
    let listener = listening(&mut node);
    let one = dialled(&mut node, Some(id(1)));
    live(&mut node, one, 1);
    node.handle_report(NOW, one, ToNode { settled: true, ..ToNode::default() });
    let two = accepted(&mut node, listener);
    prove(&mut node, two, 1);
    alive(&mut node, one);
    assert_eq!(order(&mut node, two).proven_verdict, Some(Verdict::Proceed { exchange: false }));
    node.disconnect(NOW, id(1)).unwrap();
    node.handle_report(NOW, two, ToNode { ready: true, ..ToNode::default() });
    let order = order(&mut node, two);
    assert_eq!((order.live_verdict, order.close), (None, Some(CloseReason::Requested)));
    close(&mut node, one, CloseReason::Requested);
    told(&mut node);
    close(&mut node, two, CloseReason::Requested);
    assert_eq!(connected(&told(&mut node)), 0);
    assert!(node.manager.is_empty());
}

#[test]
fn a_blocked_link_that_gets_that_far_takes_no_place_from_anybody() {
    let mut node = node_with(|config| {
        config.peers_max = 1;
        config.elimination = Elimination::FirstIn;
    });
    let listener = listening(&mut node);
    let good = accepted(&mut node, listener);
    live(&mut node, good, 2);
    let bad = accepted(&mut node, listener);
    prove(&mut node, bad, 1);
    order(&mut node, bad);
    told(&mut node);
    node.block(NOW, Rule::peer(id(1))).unwrap();
    // The report crosses the order.
    exchange(&mut node, bad);
    let orders: Vec<_> = core::iter::from_fn(|| node.poll_order()).collect();
    let [(link, order)] = &orders[..] else { panic!("{orders:?}") };
    assert_eq!((*link, order.close.clone()), (bad, Some(CloseReason::Blocked)));
    assert_eq!(order.live_verdict, None);
    assert!(told(&mut node).is_empty());
    assert!(node.is_connected(&id(2)));
}

#[test]
fn a_link_whose_dial_is_over_does_not_go_live() {
    let mut node = node();
    let link = dialled(&mut node, Some(id(1)));
    prove(&mut node, link, 1);
    order(&mut node, link);
    node.handle_timeout(later(20_000));
    assert_eq!(failure(&told(&mut node)), Some(DialError::Deadline));
    let report = ToNode { exchanged: Some(ProtocolSet::default()), ..ToNode::default() };
    node.handle_report(later(20_000), link, report);
    let order = order(&mut node, link);
    assert_eq!(order.live_verdict, None);
    assert_eq!(order.close, Some(CloseReason::Deadline(TimerKind::Dial)));
    assert_eq!(connected(&told(&mut node)), 0);
}

// Who waits for whom.

#[test]
fn a_silent_place_leaves_time_for_the_others_of_its_name() {
    for (seconds, shares) in [(20, [5000, 5000, 5000, 5000]), (3, [1000, 1000, 1000, 0])] {
        let mut node = node_with(|config| config.dial_deadline = Duration::from_secs(seconds));
        node.dial(NOW, named("four.example")).unwrap();
        let Some(Command::Resolve { query, .. }) = node.poll_command() else {
            panic!("no question")
        };
        let addresses: Vec<_> = (1..=4).map(outside).collect();
        node.handle_event(NOW, Event::Resolved { query, addresses: addresses.clone() });
        let mut now = NOW;
        for (expected, share) in addresses.into_iter().zip(shares) {
            let tried = dials(&mut node);
            let all: Vec<_> = tried.iter().map(|(_, remote)| *remote).collect();
            assert_eq!(all, if share == 0 { vec![] } else { vec![expected] });
            assert_eq!(failure(&told(&mut node)).is_some(), share == 0);
            now = now.after(Duration::from_millis(share));
            node.handle_timeout(now);
        }
        assert_eq!(now, NOW.after(Duration::from_secs(seconds)));
        assert_eq!(node.next_timeout(), None);
    }
}

#[test]
fn what_a_place_leaves_of_its_time_goes_to_the_next() {
    let mut node = node();
    node.dial(NOW, named("two.example")).unwrap();
    let Some(Command::Resolve { query, .. }) = node.poll_command() else { panic!("no question") };
    node.handle_event(NOW, Event::Resolved { query, addresses: vec![outside(1), outside(2)] });
    let due = |node: &Node| node.next_timeout().unwrap().at;
    assert_eq!(due(&node), later(10_000));
    let link = dials(&mut node)[0].0;
    unreachable(&mut node, link);
    assert_eq!(dials(&mut node)[0].1, outside(2));
    assert_eq!(due(&node), later(20_000));
}

#[test]
fn a_connect_outlives_a_link_that_is_not_the_one_it_waits_for() {
    let mut node = node_with(|config| config.backoff.jitter = 0);
    let listener = listening(&mut node);
    let addresses = [8, 9].map(|port| Address::from(at(port)).with_peer(id(1)));
    node.require(NOW, addresses.to_vec()).unwrap();
    node.connect(NOW, id(1)).unwrap();
    let first = dials(&mut node)[0].0;
    let theirs = accepted(&mut node, listener);
    prove(&mut node, theirs, 1);
    close(&mut node, theirs, CloseReason::RemoteClosed);
    assert_eq!(failure(&told(&mut node)), None);
    unreachable(&mut node, first);
    assert_eq!(failure(&told(&mut node)), None);
    // The last address fails, and with it the round.
    let second = dials(&mut node)[0].0;
    unreachable(&mut node, second);
    assert_eq!(failure(&told(&mut node)), Some(DialError::Link(IoCause::Unreachable)));
}

#[test]
fn what_the_application_ended_early_counts_as_no_failure() {
    let mut node = node();
    let required = node.require(NOW, vec![Address::from(at(9)).with_peer(id(1))]).unwrap();
    let link = dials(&mut node)[0].0;
    node.handle_dialed(NOW, link, at(1)).unwrap();
    live(&mut node, link, 1);
    node.disconnect(later(10), id(1)).unwrap();
    node.connect(later(20), id(1)).unwrap();
    close(&mut node, link, CloseReason::Requested);
    assert_eq!(dials(&mut node).len(), 1);
    let state = node.required_state(required).unwrap();
    assert_eq!((state.failures, state.last), (0, None));
}
