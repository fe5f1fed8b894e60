//! Required peers, rules, sources, levels, and links that wait for doubtful ones.

use alloc::string::ToString;

use super::*;
use crate::contract::{DialId, RequiredId};
use crate::error::RetryCause;
use crate::peers::Elimination;
use crate::supervisor::RequiredPhase;

const REFUSED: IoCause = IoCause::Refused;

pub(super) fn later(millis: u64) -> Instant {
    NOW.after(Duration::from_millis(millis))
}

pub(super) fn place(port: u16) -> Address {
    Address::from(SocketAddr::from(([10, 0, 0, 1], port)))
}

fn elsewhere(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 1000))
}

/// Whom the application was told of as connected, `+`, or disconnected, `-`.
pub(super) fn comings_and_goings(node: &mut Node) -> Vec<(char, PeerId)> {
    let all = told(node).into_iter().filter_map(|told| match told {
        Notification::Connected { peer } => Some(('+', peer)),
        Notification::Disconnected { peer, .. } => Some(('-', peer)),
        _ => None,
    });
    all.collect()
}

fn phase(node: &Node, required: RequiredId) -> RequiredPhase {
    node.required_state(required).unwrap().phase
}

/// A link that is dialled by itself, and is there.
fn its_dial(node: &mut Node) -> ConnectionId {
    let connection = dials(node)[0].0;
    node.handle_dialed(NOW, connection, at(1)).unwrap();
    connection
}

fn closes(node: &mut Node, link: ConnectionId) -> Option<CloseReason> {
    order(node, link).close
}

fn proceeds(node: &mut Node, link: ConnectionId) -> bool {
    match order(node, link).proven_verdict {
        Some(Verdict::Proceed { exchange }) => exchange,
        other => panic!("{other:?}"),
    }
}

// Required peers.

#[test]
fn a_required_peer_is_dialled_until_it_is_there_and_again_when_it_left() {
    let mut node = node_with(|config| config.backoff.jitter = 0);
    let address = place(1).with_peer(id(1));
    let required = node.require(NOW, vec![address.clone()]).unwrap();
    let [(connection, _)] = dials(&mut node)[..] else { panic!("not dialled") };
    node.handle_event(NOW, Event::DialFailed { connection, cause: REFUSED });
    assert_eq!(
        told(&mut node),
        [Notification::Retrying {
            required,
            peer: Some(id(1)),
            address,
            failures: 1,
            wait: Duration::from_secs(1),
            cause: RetryCause::Dial(DialError::Link(REFUSED)),
        }]
    );
    let due = Deadline { at: later(1000), why: TimerKind::Supervise };
    assert_eq!(node.next_timeout(), Some(due));
    node.handle_timeout(due.at);
    let link = its_dial(&mut node);
    live(&mut node, link, 1);
    assert_eq!(comings_and_goings(&mut node), [('+', id(1))]);
    assert_eq!(phase(&node, required), RequiredPhase::Connected { since: due.at });
    assert_eq!(node.next_timeout().map(|next| next.why), Some(TimerKind::Supervise));
    node.handle_timeout(later(20_000));
    assert_eq!(node.next_timeout(), None);
    close(&mut node, link, CloseReason::RemoteClosed);
    assert_eq!(dials(&mut node).len(), 1);
    assert_eq!(comings_and_goings(&mut node), [('-', id(1))]);
}

#[test]
fn d63_an_address_without_an_id_learns_it_also_from_a_peer_that_is_connected_already() {
    let mut node = node();
    let listener = listening(&mut node);
    let first = accepted(&mut node, listener);
    live(&mut node, first, 1);
    let required = node.require(NOW, vec![place(1)]).unwrap();
    let link = its_dial(&mut node);
    prove(&mut node, link, 1);
    assert_eq!(refusal(&mut node, link), Refusal::TooManyConnections);
    let state = node.required_state(required).unwrap();
    assert_eq!(state.peer, Some(id(1)));
    assert_eq!(state.phase, RequiredPhase::Connected { since: NOW });
    close(&mut node, link, CloseReason::Refused(Refusal::TooManyConnections));
    // It is nobody's dial any more, and the id stays.
    node.handle_timeout(later(20_000));
    close(&mut node, first, CloseReason::RemoteClosed);
    let [Command::Dial { connection, .. }] = commands(&mut node)[..] else { panic!("no dial") };
    node.handle_dialed(NOW, connection, at(1)).unwrap();
    prove(&mut node, connection, 2);
    let wrong = Refusal::WrongPeer { expected: id(1).into(), actual: id(2).into() };
    assert_eq!(refusal(&mut node, connection), wrong);
    close(&mut node, connection, CloseReason::Refused(wrong.clone()));
    let state = node.required_state(required).unwrap();
    assert_eq!(state.last, Some(RetryCause::Dial(DialError::Refused(wrong))));
    assert!(matches!(state.phase, RequiredPhase::Waiting { .. }));
}

#[test]
fn d62_release_and_change_take_effect_at_once() {
    let mut node = node();
    let required = node.require(NOW, vec![place(1)]).unwrap();
    let [(first, _)] = dials(&mut node)[..] else { panic!("not dialled") };
    node.set_required(NOW, required, vec![place(2)]).unwrap();
    let [Command::CancelDial { connection }, Command::Dial { connection: second, remote }] =
        commands(&mut node)[..]
    else {
        panic!("no change")
    };
    assert_eq!((connection, remote.port()), (first, 2));
    // Further along it is closed, not cancelled.
    node.handle_dialed(NOW, second, at(1)).unwrap();
    node.release(NOW, required).unwrap();
    assert_eq!(closes(&mut node, second), Some(CloseReason::Requested));
    close(&mut node, second, CloseReason::Requested);
    assert!(commands(&mut node).is_empty());
    assert_eq!(node.next_timeout(), None);
    // Nobody asked for those dials.
    assert!(!told(&mut node).iter().any(|t| matches!(t, Notification::DialFailed { .. })));
    // A connection of one that is released stays, as an ordinary one.
    let required = node.require(NOW, vec![place(3).with_peer(id(3))]).unwrap();
    let link = its_dial(&mut node);
    live(&mut node, link, 3);
    node.release(NOW, required).unwrap();
    assert!(node.route(&id(3)).is_some() && closes(&mut node, link).is_none());
    close(&mut node, link, CloseReason::RemoteClosed);
    assert!(commands(&mut node).is_empty() && node.next_timeout().is_none());
}

#[test]
fn d61_a_stop_interrupts_every_wait() {
    let mut node = node();
    for port in 1..6 {
        node.require(NOW, vec![place(port)]).unwrap();
    }
    let all = dials(&mut node);
    node.handle_event(NOW, Event::DialFailed { connection: all[0].0, cause: REFUSED });
    node.stop(NOW);
    let cancelled = commands(&mut node);
    assert_eq!(cancelled.len(), 4);
    assert_eq!(node.next_timeout(), None);
    assert_eq!(told(&mut node).last(), Some(&Notification::Stopped));
    assert_eq!(node.require(NOW, vec![place(1)]), Err(ApplicationError::Stopping));
}

#[test]
fn what_the_application_disconnects_stays_away_until_it_connects_again() {
    let mut node = node();
    let required = node.require(NOW, vec![place(1).with_peer(id(1))]).unwrap();
    let link = its_dial(&mut node);
    live(&mut node, link, 1);
    told(&mut node);
    node.disconnect(NOW, id(1)).unwrap();
    assert_eq!(closes(&mut node, link), Some(CloseReason::Requested));
    close(&mut node, link, CloseReason::Requested);
    assert_eq!(phase(&node, required), RequiredPhase::Paused);
    node.handle_timeout(later(100_000));
    assert!(commands(&mut node).is_empty() && node.next_timeout().is_none());
    told(&mut node);
    // Not connected, but required: a pause of a pause is fine.
    assert_eq!(node.disconnect(NOW, id(1)), Ok(()));
    assert_eq!(node.disconnect(NOW, id(2)), Err(ApplicationError::NotConnected));
    let dial = node.connect(later(100_000), id(1)).unwrap();
    let link = its_dial(&mut node);
    live(&mut node, link, 1);
    assert!(told(&mut node).contains(&Notification::Dialed { dial, peer: id(1) }));
}

#[test]
fn a_connect_to_a_required_peer_fails_as_its_attempt_does() {
    let mut node = node();
    let required = node.require(NOW, vec![place(1).with_peer(id(1))]).unwrap();
    let dial = node.connect(NOW, id(1)).unwrap();
    let [(connection, _)] = dials(&mut node)[..] else { panic!("one dial for both") };
    node.handle_event(NOW, Event::DialFailed { connection, cause: REFUSED });
    let (address, error) = (place(1).with_peer(id(1)), DialError::Link(REFUSED));
    assert_eq!(told(&mut node)[0], Notification::DialFailed { dial, address, error });
    // Nobody comes once it is released.
    let dial = node.connect(NOW, id(1)).unwrap();
    node.release(NOW, required).unwrap();
    let failed = told(&mut node);
    assert!(matches!(failed[..], [Notification::DialFailed { dial: d, .. }] if d == dial));
    assert_eq!(node.connect(NOW, id(1)), Err(ApplicationError::NoAddress));
}

#[test]
fn a_connect_that_has_no_place_for_an_answer_ends_the_pause_all_the_same() {
    let mut node = node_with(|config| config.dials_max = 1);
    let required = node.require(NOW, vec![place(1).with_peer(id(1))]).unwrap();
    node.disconnect(NOW, id(1)).unwrap();
    assert_eq!(phase(&node, required), RequiredPhase::Paused);
    node.dial(NOW, place(9)).unwrap();
    commands(&mut node);
    assert_eq!(node.connect(NOW, id(1)), Err(ApplicationError::TooManyDials));
    assert_eq!(phase(&node, required), RequiredPhase::Dialing);
    assert_eq!(dials(&mut node).len(), 1);
}

// Levels and limits.

#[test]
fn d64_a_required_peer_is_let_in_when_all_places_are_taken_and_a_low_one_goes() {
    let mut node = node_with(|config| config.peers_max = 2);
    let listener = listening(&mut node);
    let [one, two] = [0; 2].map(|_| accepted(&mut node, listener));
    live(&mut node, one, 0);
    live(&mut node, two, 1);
    let required = node.require(NOW, vec![place(1).with_peer(id(2))]).unwrap();
    let link = its_dial(&mut node);
    prove(&mut node, link, 2);
    assert!(proceeds(&mut node, link));
    // Nobody goes before it is there.
    assert_eq!(node.route(&id(1)).map(|route| route.entries().len()), Some(1));
    told(&mut node);
    exchange(&mut node, link);
    let orders: Vec<_> = core::iter::from_fn(|| node.poll_order()).collect();
    let evicted: Vec<_> = orders.iter().filter(|(_, order)| order.close.is_some()).collect();
    assert_eq!(evicted.len(), 1);
    // Last in, first out.
    assert_eq!((evicted[0].0, evicted[0].1.close.clone()), (two, Some(CloseReason::Evicted)));
    close(&mut node, two, CloseReason::Evicted);
    assert_eq!(comings_and_goings(&mut node), [('+', id(2)), ('-', id(1))]);
    // Now there is no room, and nobody makes any for one of low level.
    let three = accepted(&mut node, listener);
    prove(&mut node, three, 3);
    assert_eq!(refusal(&mut node, three), Refusal::TooManyPeers);
    // Released, it is one like any other.
    node.release(NOW, required).unwrap();
    node.require(NOW, vec![place(2).with_peer(id(5))]).unwrap();
    let link = its_dial(&mut node);
    live(&mut node, link, 5);
    assert_eq!(node.peers().count(), 3);
}

#[test]
fn d66_a_newcomer_is_refused_before_it_is_announced_or_not_at_all() {
    for (elimination, refused) in
        [(Elimination::LastIn, true), (Elimination::FirstIn, false), (Elimination::Random, false)]
    {
        let mut node = node_with(|config| {
            config.peers_max = 2;
            config.elimination = elimination;
        });
        let listener = listening(&mut node);
        let links = [0; 3].map(|_| accepted(&mut node, listener));
        live(&mut node, links[0], 0);
        live(&mut node, links[1], 1);
        prove(&mut node, links[2], 2);
        if refused {
            assert_eq!(refusal(&mut node, links[2]), Refusal::TooManyPeers);
            continue;
        }
        exchange(&mut node, links[2]);
        told(&mut node);
        let orders: Vec<_> = core::iter::from_fn(|| node.poll_order()).collect();
        let gone: Vec<_> = orders.iter().filter(|(_, order)| order.close.is_some()).collect();
        assert_eq!(gone.len(), 1);
        let victim = gone[0].0;
        assert_ne!(victim, links[2]);
        assert!(elimination == Elimination::Random || victim == links[0]);
        close(&mut node, victim, CloseReason::Evicted);
        assert_eq!(comings_and_goings(&mut node).len(), 1);
        assert_eq!(node.peers().count(), 2);
    }
}

#[test]
fn a_link_that_dies_as_it_would_go_live_evicts_nobody() {
    for elimination in [Elimination::FirstIn, Elimination::Random] {
        let mut node = node_with(|config| {
            config.peers_max = 1;
            config.elimination = elimination;
        });
        let listener = listening(&mut node);
        let old = accepted(&mut node, listener);
        live(&mut node, old, 1);
        comings_and_goings(&mut node);
        let link = accepted(&mut node, listener);
        prove(&mut node, link, 2);
        assert!(proceeds(&mut node, link));
        // The mailbox holds both, because nobody looked into it in between.
        let closed = Some(Box::new(Closed::of(CloseReason::Truncated)));
        let exchanged = Some(ProtocolSet::default());
        node.handle_report(NOW, link, ToNode { exchanged, closed, ..ToNode::default() });
        assert_eq!(closes(&mut node, old), None);
        assert_eq!(comings_and_goings(&mut node), []);
        assert_eq!(node.peers().collect::<Vec<_>>(), [id(1)]);
        // One that is blocked meanwhile, or comes too late, evicts nobody either.
        for too_late in [false, true] {
            let link = accepted(&mut node, listener);
            prove(&mut node, link, 3);
            if too_late {
                node.manager.gone(&id(3));
            } else {
                node.block(NOW, crate::peers::Rule::peer(id(3))).unwrap();
            }
            exchange(&mut node, link);
            assert_eq!(closes(&mut node, old), None);
            close(&mut node, link, CloseReason::Blocked);
            node.unblock(NOW, &crate::peers::Rule::peer(id(3)));
        }
        assert_eq!(node.peers().collect::<Vec<_>>(), [id(1)]);
    }
}

#[test]
fn more_required_peers_than_may_be_connected_are_an_error_unless_overcommitted() {
    for overcommit in [false, true] {
        let mut node = node_with(|config| {
            config.peers_max = 2;
            config.overcommit = overcommit;
        });
        let required = [1, 2].map(|n| node.require(NOW, vec![place(n)]).unwrap());
        let third = node.require(NOW, vec![place(3)]);
        if overcommit {
            assert!(third.is_ok());
            continue;
        }
        assert_eq!(third, Err(ApplicationError::TooManyRequired));
        assert!(third.unwrap_err().to_string().contains("peers_max"));
        assert_eq!(dials(&mut node).len(), 2);
        node.release(NOW, required[0]).unwrap();
        assert!(node.require(NOW, vec![place(3)]).is_ok());
    }
}

#[test]
fn d52_a_peer_that_is_required_while_it_is_connected_is_one_peer_and_of_high_level() {
    let mut node = node_with(|config| {
        config.peers_max = 2;
        config.elimination = Elimination::FirstIn;
    });
    let listener = listening(&mut node);
    let links = [0; 3].map(|_| accepted(&mut node, listener));
    live(&mut node, links[0], 0);
    live(&mut node, links[1], 1);
    let required = node.require(NOW, vec![place(1).with_peer(id(0))]).unwrap();
    assert!(dials(&mut node).is_empty());
    assert_eq!(phase(&node, required), RequiredPhase::Connected { since: NOW });
    // The first in would go, but it matters more now.
    prove(&mut node, links[2], 2);
    exchange(&mut node, links[2]);
    assert_eq!(closes(&mut node, links[1]), Some(CloseReason::Evicted));
    node.assert_invariants();
}

#[test]
fn d41_of_two_connections_the_end_of_one_is_told_to_nobody() {
    let mut node = node_with(|config| config.connections_per_peer_max = 2);
    let listener = listening(&mut node);
    let first = accepted(&mut node, listener);
    live(&mut node, first, 1);
    let second = accepted(&mut node, listener);
    prove(&mut node, second, 1);
    assert!(order(&mut node, first).probe);
    alive(&mut node, first);
    assert!(!proceeds(&mut node, second));
    node.handle_report(NOW, second, ToNode { ready: true, ..ToNode::default() });
    assert_eq!(node.route(&id(1)).unwrap().entries().len(), 2);
    assert_eq!(comings_and_goings(&mut node), [('+', id(1))]);
    close(&mut node, first, CloseReason::RemoteClosed);
    assert_eq!(told(&mut node), []);
    assert_eq!(node.route(&id(1)).unwrap().entries()[0].connection, second);
    close(&mut node, second, CloseReason::RemoteClosed);
    assert_eq!(comings_and_goings(&mut node), [('-', id(1))]);
    assert!(node.peers.get(&id(1)).is_none() && node.manager.is_empty());
}

#[test]
fn d49_a_link_that_crossed_one_which_is_live_here_exchanges_lists_all_the_same() {
    let mut node = node_with(|config| config.connections_per_peer_max = 2);
    let listener = listening(&mut node);
    let ours = dialled(&mut node, Some(id(1)));
    let theirs = accepted(&mut node, listener);
    live(&mut node, ours, 1);
    // The other end has settled on neither yet, and answers no other list than one of this link.
    prove(&mut node, theirs, 1);
    let proceed = Some(Verdict::Proceed { exchange: true });
    assert_eq!(order(&mut node, theirs).proven_verdict, proceed);
    exchange(&mut node, theirs);
    assert_eq!(node.route(&id(1)).unwrap().entries().len(), 2);
}

// Links that wait.

#[test]
fn a_peer_that_lost_its_connection_is_let_in_again_once_ours_is_gone() {
    let mut node = node();
    let listener = listening(&mut node);
    let [old, new] = [0; 2].map(|_| accepted(&mut node, listener));
    live(&mut node, old, 1);
    told(&mut node);
    prove(&mut node, new, 1);
    let orders: Vec<_> = core::iter::from_fn(|| node.poll_order()).collect();
    assert!(orders.iter().any(|(link, order)| *link == old && order.probe));
    assert!(orders.iter().all(|(_, order)| order.proven_verdict.is_none()));
    let due = Deadline { at: later(5000), why: TimerKind::Probe };
    assert_eq!(node.next_timeout(), Some(due));
    node.handle_timeout(due.at);
    let reason = CloseReason::Deadline(TimerKind::Probe);
    assert_eq!(closes(&mut node, old), Some(reason.clone()));
    assert_eq!(node.next_timeout(), None);
    close(&mut node, old, reason);
    assert!(proceeds(&mut node, new));
    exchange(&mut node, new);
    assert_eq!(comings_and_goings(&mut node), [('-', id(1)), ('+', id(1))]);
}

#[test]
fn a_link_waits_for_connections_that_were_told_to_close() {
    for outbound in [true, false] {
        let mut node = node();
        let listener = listening(&mut node);
        let old = accepted(&mut node, listener);
        live(&mut node, old, 1);
        node.disconnect(NOW, id(1)).unwrap();
        // What closes does not count as connected.
        let new = if outbound { dialled(&mut node, None) } else { accepted(&mut node, listener) };
        // A dial that names the peer waits until the old ones are gone.
        node.dial(NOW, place(9).with_peer(id(1))).unwrap();
        assert_eq!(dials(&mut node), []);
        prove(&mut node, new, 1);
        assert_eq!(order(&mut node, new).proven_verdict, None);
        // Its last word may be an answer to an older probe.
        alive(&mut node, old);
        assert_eq!(order(&mut node, new).proven_verdict, None);
        told(&mut node);
        close(&mut node, old, CloseReason::Requested);
        assert!(proceeds(&mut node, new));
        exchange(&mut node, new);
        assert_eq!(comings_and_goings(&mut node), [('-', id(1)), ('+', id(1))]);
    }
}

#[test]
fn a_link_that_ends_while_it_waits_leaves_nothing() {
    let mut node = node();
    let listener = listening(&mut node);
    let [old, new] = [0; 2].map(|_| accepted(&mut node, listener));
    live(&mut node, old, 1);
    prove(&mut node, new, 1);
    close(&mut node, new, CloseReason::Truncated);
    node.assert_invariants();
    assert_eq!(node.next_timeout(), None);
    alive(&mut node, old);
    close(&mut node, old, CloseReason::RemoteClosed);
    assert!(node.manager.is_empty());
}

#[test]
fn a_further_connection_of_a_peer_that_may_have_lost_the_others_exchanges_lists_again() {
    let mut node = node_with(|config| config.connections_per_peer_max = 2);
    let listener = listening(&mut node);
    let [old, new] = [0; 2].map(|_| accepted(&mut node, listener));
    live(&mut node, old, 1);
    prove(&mut node, new, 1);
    assert_eq!(order(&mut node, new).proven_verdict, None);
    // The old one says nothing. It may be slow: it stays.
    node.handle_timeout(later(5000));
    assert!(proceeds(&mut node, new));
    assert_eq!(closes(&mut node, old), None);
    exchange(&mut node, new);
    assert_eq!(node.route(&id(1)).unwrap().entries().len(), 2);
}

#[test]
fn d46_a_loser_that_gets_that_far_does_not_make_the_winner_fail() {
    let mut node = node();
    let listener = listening(&mut node);
    let own = dialled(&mut node, Some(id(1)));
    let theirs = accepted(&mut node, listener);
    // The smaller id's link is live before the winner is proven.
    live(&mut node, theirs, 1);
    prove(&mut node, own, 1);
    assert_eq!(refusal(&mut node, own), Refusal::TooManyConnections);
    close(&mut node, own, CloseReason::Refused(Refusal::TooManyConnections));
    assert_eq!(node.route(&id(1)).unwrap().entries()[0].connection, theirs);
    let told = told(&mut node);
    assert!(told.iter().any(|told| matches!(told, Notification::Dialed { .. })), "{told:?}");
}

#[test]
fn d45_a_link_that_is_refused_at_the_last_step_leaves_nothing() {
    let mut node = node_with(|config| config.peers_max = 1);
    let listener = listening(&mut node);
    let low = accepted(&mut node, listener);
    prove(&mut node, low, 1);
    assert!(proceeds(&mut node, low));
    // A required peer comes in between.
    node.require(NOW, vec![place(1).with_peer(id(2))]).unwrap();
    let high = its_dial(&mut node);
    live(&mut node, high, 2);
    exchange(&mut node, low);
    let verdict = Some(Verdict::Refuse(Refusal::TooManyPeers));
    assert_eq!(order(&mut node, low).live_verdict, verdict);
    close(&mut node, low, CloseReason::Refused(Refusal::TooManyPeers));
    assert!(node.route(&id(1)).is_none() && node.peers.get(&id(1)).is_none());
    assert_eq!(comings_and_goings(&mut node), [('+', id(2))]);
    assert_eq!(node.manager.len(), 1);
}

// A dial is one story.

#[test]
fn a_dial_whose_link_lost_a_tie_is_over_when_the_winner_is_live() {
    let mut node = node();
    let listener = listening(&mut node);
    let own = dialled(&mut node, Some(id(7)));
    let theirs = accepted(&mut node, listener);
    prove(&mut node, own, 7);
    prove(&mut node, theirs, 7);
    // The other end has closed the loser already.
    close(&mut node, own, CloseReason::RemoteClosed);
    let answers = |node: &mut Node| core::iter::from_fn(|| node.poll_answer()).collect::<Vec<_>>();
    assert_eq!(answers(&mut node), []);
    exchange(&mut node, theirs);
    assert_eq!(answers(&mut node), [Notification::Dialed { dial: DialId(0), peer: id(7) }]);
    node.assert_invariants();
}

#[test]
fn a_dial_that_the_peer_ended_waits_a_moment_for_the_link_that_it_may_have_made() {
    for comes in [true, false] {
        let mut node = node();
        let listener = listening(&mut node);
        let own = dialled(&mut node, Some(id(7)));
        let theirs = accepted(&mut node, listener);
        prove(&mut node, own, 7);
        close(&mut node, own, CloseReason::RemoteClosed);
        assert_eq!(node.poll_answer(), None);
        if comes {
            live(&mut node, theirs, 7);
            let dialed = Notification::Dialed { dial: DialId(0), peer: id(7) };
            assert_eq!(node.poll_answer(), Some(dialed));
        } else {
            node.handle_timeout(later(1000));
            let failed = node.poll_answer();
            let closed = Refusal::Closed(Box::new(CloseReason::RemoteClosed));
            assert!(
                matches!(&failed, Some(Notification::DialFailed { error: DialError::Refused(e), .. })
                    if *e == closed),
                "{failed:?}"
            );
        }
        node.assert_invariants();
    }
}

#[test]
fn known_addresses_are_tried_one_after_the_other_with_a_deadline_each() {
    let mut node = node();
    for port in 1..=3 {
        node.add_address(later(u64::from(port)), &place(port).with_peer(id(1))).unwrap();
    }
    let dial = node.connect(later(10), id(1)).unwrap();
    let mut now = later(10);
    let mut ports = Vec::new();
    for _ in 0..3 {
        let [Command::Dial { connection: _, remote }] = commands(&mut node)[..] else {
            panic!("one at a time")
        };
        ports.push(remote.port());
        assert_eq!(node.poll_answer(), None);
        now = now.after(Duration::from_secs(20));
        assert_eq!(node.next_timeout().map(|next| next.at), Some(now));
        node.handle_timeout(now);
        assert!(matches!(node.poll_command(), Some(Command::CancelDial { .. })));
    }
    assert_eq!(ports, [3, 2, 1]);
    let address = place(1).with_peer(id(1));
    let error = DialError::Deadline;
    assert_eq!(node.poll_answer(), Some(Notification::DialFailed { dial, address, error }));
}

// Who is heard at all.

#[test]
fn d68_rules_hold_for_new_links_for_dials_and_for_what_is_there() {
    let mut node = node();
    let listener = listening(&mut node);
    let accept = |node: &mut Node, from| node.handle_accepted(NOW, listener, from);
    let live_one = accept(&mut node, elsewhere(1)).unwrap().connection;
    live(&mut node, live_one, 1);
    let pending = accept(&mut node, elsewhere(1)).unwrap().connection;
    let mapped: SocketAddr = "[::ffff:192.0.2.1]:7".parse().unwrap();
    let dial = node.dial(NOW, Address::from(mapped)).unwrap();
    let dialled = dials(&mut node)[0].0;
    assert_eq!(node.block(NOW, "192.0.2.0/24".parse().unwrap()), Ok(true));
    assert_eq!(node.block(NOW, "192.0.2.9/24".parse().unwrap()), Ok(false));
    let orders: Vec<_> = core::iter::from_fn(|| node.poll_order()).collect();
    for link in [live_one, pending] {
        let order = orders.iter().find(|(id, _)| *id == link);
        assert_eq!(order.and_then(|(_, order)| order.close.clone()), Some(CloseReason::Blocked));
        close(&mut node, link, CloseReason::Blocked);
    }
    assert_eq!(commands(&mut node), [Command::CancelDial { connection: dialled }]);
    let blocked = DialError::Refused(Refusal::Blocked);
    let answer = node.poll_answer();
    assert!(matches!(&answer, Some(Notification::DialFailed { dial: d, error, .. })
            if *d == dial && *error == blocked));
    // Before any work is spent.
    assert_eq!(accept(&mut node, elsewhere(200)).unwrap_err(), Refusal::Blocked);
    assert!(told(&mut node).iter().any(|told| matches!(told,
        Notification::Refused { remote, reason: Refusal::Blocked, .. } if *remote == elsewhere(200))));
    let again = node.dial(NOW, Address::from(elsewhere(3)));
    assert_eq!(again, Err(ApplicationError::Blocked));
    // By who it is, which is known later.
    node.block(NOW, "Qm9QHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse().unwrap()).unwrap();
    let link = accepted(&mut node, listener);
    prove(&mut node, link, 8);
    assert_eq!(refusal(&mut node, link), Refusal::Blocked);
    assert!(node.unblock(NOW, &"192.0.2.0/24".parse().unwrap()));
    assert!(accept(&mut node, elsewhere(200)).is_ok());
}

#[test]
fn a_required_peer_that_is_blocked_waits_and_comes_back_with_the_rule() {
    let mut node = node_with(|config| config.backoff.jitter = 0);
    let required = node.require(NOW, vec![place(1).with_peer(id(1))]).unwrap();
    let link = its_dial(&mut node);
    live(&mut node, link, 1);
    let rule = crate::peers::Rule::peer(id(1));
    node.block(NOW, rule).unwrap();
    close(&mut node, link, CloseReason::Blocked);
    node.handle_timeout(later(1000));
    let blocked = RetryCause::Dial(DialError::Refused(Refusal::Blocked));
    assert_eq!(node.required_state(required).unwrap().last, Some(blocked));
    assert!(dials(&mut node).is_empty());
    assert!(node.unblock(later(1000), &rule));
    assert_eq!(dials(&mut node).len(), 1);
}

#[test]
fn a_required_peer_is_dialled_at_once_when_its_rule_goes_whatever_it_waits_for() {
    // Both fail: one address is blocked, the other is dead, and the dead one has the last word.
    for rule in ["192.0.2.0/24", "192.0.2.1"] {
        let mut node = node_with(|config| config.backoff.jitter = 0);
        let rule: crate::peers::Rule = rule.parse().unwrap();
        node.block(NOW, rule).unwrap();
        let blocked = Address::from(elsewhere(1)).with_peer(id(1));
        let addresses = vec![blocked.clone(), place(1).with_peer(id(1))];
        let required = node.require(NOW, addresses).unwrap();
        let unrelated = node.require(NOW, vec![place(2).with_peer(id(2))]).unwrap();
        for (link, remote) in dials(&mut node) {
            assert_ne!(Some(remote), blocked.socket_addr());
            node.handle_event(NOW, Event::DialFailed { connection: link, cause: IoCause::Refused });
        }
        for required in [required, unrelated] {
            let state = node.required_state(required).unwrap();
            let refused = RetryCause::Dial(DialError::Link(IoCause::Refused));
            assert_eq!((state.last, state.failures), (Some(refused), 1));
        }
        assert!(node.unblock(later(10), &rule));
        let [(_, remote)] = dials(&mut node)[..] else { panic!("only the one that it kept out") };
        assert_eq!(Some(remote), blocked.socket_addr());
        assert_eq!(node.required_state(required).unwrap().failures, 0);
    }
}

#[test]
fn a_required_peer_whose_connection_was_cut_off_by_a_rule_comes_back_with_it() {
    for attempts_max in [None, Some(1)] {
        let mut node = node_with(|config| config.backoff.attempts_max = attempts_max);
        let required = node.require(NOW, vec![place(1).with_peer(id(1))]).unwrap();
        let link = its_dial(&mut node);
        live(&mut node, link, 1);
        let rule = crate::peers::Rule::peer(id(1));
        node.block(NOW, rule).unwrap();
        close(&mut node, link, CloseReason::Blocked);
        assert_eq!(
            node.required_state(required).unwrap().last,
            Some(RetryCause::Lost(CloseReason::Blocked))
        );
        assert!(node.unblock(NOW, &rule));
        assert_eq!(dials(&mut node).len(), 1, "{attempts_max:?}");
    }
}

#[test]
fn d21_one_source_cannot_take_all_places_of_unproven_links() {
    let mut node = node_with(|config| {
        config.pending_max = 8;
        config.pending_per_source_max = 3;
    });
    let listener = listening(&mut node);
    let accept =
        |node: &mut Node, from| node.handle_accepted(NOW, listener, from).map(|s| s.connection);
    let silent: Vec<_> = (0..3).map(|_| accept(&mut node, elsewhere(1)).unwrap()).collect();
    assert_eq!(accept(&mut node, elsewhere(1)), Err(Refusal::TooManyFromSource));
    let good = accept(&mut node, elsewhere(2)).unwrap();
    live(&mut node, good, 1);
    assert!(commands(&mut node).is_empty());
    // Who proves himself, and who ends, makes room.
    prove(&mut node, silent[0], 2);
    assert!(accept(&mut node, elsewhere(1)).is_ok());
    close(&mut node, silent[1], CloseReason::Truncated);
    assert!(accept(&mut node, elsewhere(1)).is_ok());
    assert_eq!(accept(&mut node, elsewhere(1)), Err(Refusal::TooManyFromSource));
    // What comes from this machine is not counted.
    assert!((0..3).all(|_| accept(&mut node, at(7)).is_ok()));
}

#[test]
fn d29_a_source_whose_links_fail_over_and_over_is_not_heard_for_a_while() {
    let mut node = node();
    let listener = listening(&mut node);
    let mut refused = 0;
    for _ in 0..20 {
        match node.handle_accepted(NOW, listener, elsewhere(1)) {
            Ok(setup) => close(&mut node, setup.connection, CloseReason::Truncated),
            Err(refusal) => {
                assert_eq!(refusal, Refusal::SourceResting);
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 4);
    assert!(node.handle_accepted(NOW, listener, elsewhere(2)).is_ok());
    assert!(node.handle_accepted(later(250), listener, elsewhere(1)).is_ok());
}

#[test]
fn d57_of_accepted_links_no_address_is_kept_however_short_they_are() {
    let mut node = node();
    let listener = listening(&mut node);
    for _ in 0..3 {
        let setup = node.handle_accepted(NOW, listener, elsewhere(1)).unwrap();
        prove(&mut node, setup.connection, 1);
        exchange(&mut node, setup.connection);
        assert_eq!(node.addresses_of(NOW, &id(1)), []);
        close(&mut node, setup.connection, CloseReason::RemoteClosed);
        assert!(node.addresses_of(NOW, &id(1)).is_empty() && node.book.is_empty());
    }
    // One that was dialled with success is, and one where somebody else is goes.
    let link = dialled(&mut node, Some(id(1)));
    live(&mut node, link, 1);
    assert_eq!(node.addresses_of(NOW, &id(1)), [Address::from(at(9)).with_peer(id(1))]);
    close(&mut node, link, CloseReason::RemoteClosed);
    node.connect(NOW, id(1)).unwrap();
    let link = its_dial(&mut node);
    prove(&mut node, link, 2);
    let wrong = Refusal::WrongPeer { expected: id(1).into(), actual: id(2).into() };
    close(&mut node, link, CloseReason::Refused(wrong));
    assert_eq!(node.connect(NOW, id(1)), Err(ApplicationError::NoAddress));
}

#[test]
fn d69_this_node_is_refused_by_itself_and_not_required() {
    let mut node = node();
    let own = place(1).with_peer(id(LOCAL));
    assert_eq!(node.require(NOW, vec![own]), Err(ApplicationError::OwnId));
    // An address without an id may lead here: that is a failure, and nothing is learned.
    let required = node.require(NOW, vec![place(1)]).unwrap();
    let link = its_dial(&mut node);
    prove(&mut node, link, LOCAL);
    assert_eq!(refusal(&mut node, link), Refusal::OwnId);
    close(&mut node, link, CloseReason::Refused(Refusal::OwnId));
    let state = node.required_state(required).unwrap();
    assert_eq!((state.peer, state.failures), (None, 1));
}
