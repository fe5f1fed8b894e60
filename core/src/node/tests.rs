//! Node alone: its connections are played by hand.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::address::{Address, Family};
use crate::connection::{Closed, Verdict};
use crate::error::DialError;

mod admission;
mod again;
mod bounds;
mod inside;
mod lists;
mod peers;

const NOW: Instant = Instant::from_nanos(5_000_000_000);

fn at(number: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], number))
}

/// Ids in ascending order; 4 is this node's.
pub(super) fn id(number: usize) -> PeerId {
    let mut text = *b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";
    text[2] = b"123456789"[number];
    PeerId::from_bytes(&text).unwrap()
}

const LOCAL: usize = 4;

fn node_with(change: impl FnOnce(&mut Config)) -> Node {
    let mut config = Config::default();
    change(&mut config);
    Node::new(config, Seed::from_u64(1), id(LOCAL), NOW).unwrap()
}

fn node() -> Node {
    node_with(|_| {})
}

fn commands(node: &mut Node) -> Vec<Command> {
    core::iter::from_fn(|| node.poll_command()).collect()
}

fn told(node: &mut Node) -> Vec<Notification> {
    node.assert_invariants();
    core::iter::from_fn(|| node.poll_notification()).collect()
}

/// The addresses that the node wants dialled now.
fn dials(node: &mut Node) -> Vec<(ConnectionId, SocketAddr)> {
    let dials = commands(node).into_iter().filter_map(|command| match command {
        Command::Dial { connection, remote } => Some((connection, remote)),
        _ => None,
    });
    dials.collect()
}

fn listening(node: &mut Node) -> ListenerId {
    let listener = node.listen(NOW, at(1)).unwrap();
    node.handle_event(NOW, Event::Listening { listener, local: at(1) });
    commands(node);
    told(node);
    listener
}

/// A link that was dialled and is there.
fn dialled(node: &mut Node, peer: Option<PeerId>) -> ConnectionId {
    let mut address = Address::from(at(9));
    address.peer = peer;
    node.dial(NOW, address).unwrap();
    let connection = dials(node)[0].0;
    node.handle_dialed(NOW, connection, at(1)).unwrap();
    connection
}

fn accepted(node: &mut Node, listener: ListenerId) -> ConnectionId {
    node.handle_accepted(NOW, listener, at(7)).unwrap().connection
}

fn prove(node: &mut Node, link: ConnectionId, peer: usize) {
    let report = ToNode { proven: Some(id(peer)), ..ToNode::default() };
    node.handle_report(NOW, link, report);
}

fn exchange(node: &mut Node, link: ConnectionId) {
    let report = ToNode { exchanged: Some(ProtocolSet::default()), ..ToNode::default() };
    node.handle_report(NOW, link, report);
}

/// The other end of a link has answered a probe.
fn alive(node: &mut Node, link: ConnectionId) {
    node.handle_report(NOW, link, ToNode { alive: true, ..ToNode::default() });
}

fn close(node: &mut Node, link: ConnectionId, reason: CloseReason) {
    let closed = Some(Box::new(Closed::of(reason)));
    node.handle_report(NOW, link, ToNode { closed, ..ToNode::default() });
}

/// What waits for one connection.
fn order(node: &mut Node, link: ConnectionId) -> ToConnection {
    let mut all = core::iter::from_fn(|| node.poll_order());
    all.find(|(other, _)| *other == link).map(|(_, order)| order).unwrap_or_default()
}

/// Why a proven link was turned away.
fn refusal(node: &mut Node, link: ConnectionId) -> Refusal {
    match order(node, link).proven_verdict {
        Some(Verdict::Refuse(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

fn live(node: &mut Node, link: ConnectionId, peer: usize) {
    prove(node, link, peer);
    let proceed = Some(Verdict::Proceed { exchange: true });
    assert_eq!(order(node, link).proven_verdict, proceed);
    exchange(node, link);
    assert!(matches!(order(node, link).live_verdict, Some(Verdict::Proceed { .. })));
}

fn named(name: &str) -> Address {
    alloc::format!("/dns4/{name}/tcp/80").parse().unwrap()
}

#[test]
fn a_dial_that_fails_is_told_with_its_cause() {
    let mut node = node();
    let address = Address::from(at(9)).with_peer(id(1));
    let dial = node.dial(NOW, address.clone()).unwrap();
    let connection = dials(&mut node)[0].0;
    node.handle_event(NOW, Event::DialFailed { connection, cause: IoCause::Refused });
    let error = DialError::Link(IoCause::Refused);
    assert_eq!(told(&mut node), [Notification::DialFailed { dial, address, error }]);
    assert_eq!(node.next_timeout(), None);
}

#[test]
fn resolved_addresses_are_tried_one_after_the_other() {
    let mut node = node();
    let dial = node.dial(NOW, named("a.example")).unwrap();
    let Some(Command::Resolve { query, port: 80, family, .. }) = node.poll_command() else {
        panic!("no question")
    };
    assert_eq!(family, Family::V4);
    let addresses: Vec<SocketAddr> = (1..=12).map(at).collect();
    node.handle_event(NOW, Event::Resolved { query, addresses: addresses.clone() });
    for expected in &addresses[..8] {
        let [(connection, remote)] = dials(&mut node)[..] else { panic!("one at a time") };
        assert_eq!(remote, *expected);
        assert!(told(&mut node).is_empty());
        // Half of them fail to link, half of them after that.
        if remote.port() % 2 == 0 {
            let cause = IoCause::Unreachable;
            node.handle_event(NOW, Event::DialFailed { connection, cause });
        } else {
            node.handle_dialed(NOW, connection, at(1)).unwrap();
            close(&mut node, connection, CloseReason::Truncated);
            assert!(matches!(told(&mut node)[..], [Notification::Refused { .. }]));
        }
    }
    assert!(commands(&mut node).is_empty());
    let error = DialError::Link(IoCause::Unreachable);
    let address = named("a.example");
    assert_eq!(told(&mut node), [Notification::DialFailed { dial, address, error }]);
}

#[test]
fn a_name_that_is_not_found_is_a_failed_dial() {
    let mut node = node();
    for answer in [None, Some(Vec::new())] {
        let dial = node.dial(NOW, named("a.example")).unwrap();
        let Some(Command::Resolve { query, .. }) = node.poll_command() else {
            panic!("no question")
        };
        let cause = IoCause::NotFound;
        node.handle_event(
            NOW,
            match answer {
                None => Event::ResolveFailed { query, cause },
                Some(addresses) => Event::Resolved { query, addresses },
            },
        );
        let address = named("a.example");
        let error = DialError::Resolve(cause);
        assert_eq!(told(&mut node), [Notification::DialFailed { dial, address, error }]);
        // The answer comes again, to nobody.
        node.handle_event(NOW, Event::Resolved { query, addresses: vec![at(1)] });
        assert!(commands(&mut node).is_empty());
    }
}

#[test]
fn d21_a_dial_has_a_deadline_at_every_step() {
    for step in 0..4 {
        let mut node = node();
        let dial = node.dial(NOW, named("a.example")).unwrap();
        let Some(Command::Resolve { query, .. }) = node.poll_command() else {
            panic!("no question")
        };
        let mut link = None;
        if step > 0 {
            node.handle_event(NOW, Event::Resolved { query, addresses: vec![at(1)] });
            link = dials(&mut node).first().map(|(connection, _)| *connection);
        }
        if let Some(link) = link.filter(|_| step > 1) {
            node.handle_dialed(NOW, link, at(1)).unwrap();
        }
        if let Some(link) = link.filter(|_| step > 2) {
            prove(&mut node, link, 1);
            order(&mut node, link);
        }
        let due = NOW.after(Duration::from_secs(20));
        assert_eq!(node.next_timeout(), Some(Deadline { at: due, why: TimerKind::Dial }));
        node.handle_timeout(due);
        assert_eq!(node.next_timeout(), None);
        let address = named("a.example");
        let error = DialError::Deadline;
        assert_eq!(told(&mut node), [Notification::DialFailed { dial, address, error }]);
        let cancel = link.map(|connection| Command::CancelDial { connection });
        let expected = cancel.filter(|_| step == 1);
        assert_eq!(node.poll_command(), expected, "step {step}");
        if let Some(link) = link {
            let late = node.handle_dialed(due, link, at(1));
            assert!(late.is_err(), "step {step}");
            let closes = order(&mut node, link).close;
            let reason = CloseReason::Deadline(TimerKind::Dial);
            assert_eq!(closes, (step > 1).then_some(reason), "step {step}");
        }
        // What comes late starts nothing.
        node.handle_event(due, Event::Resolved { query, addresses: vec![at(3)] });
        assert!(commands(&mut node).is_empty());
    }
}

#[test]
fn a_peer_that_is_not_the_dialled_one_is_refused() {
    let mut node = node();
    let link = dialled(&mut node, Some(id(1)));
    prove(&mut node, link, 2);
    let wrong = Refusal::WrongPeer { expected: id(1).into(), actual: id(2).into() };
    assert_eq!(refusal(&mut node, link), wrong);
    close(&mut node, link, CloseReason::Refused(wrong.clone()));
    let told = told(&mut node);
    assert!(
        matches!(&told[..], [
        Notification::DialFailed { error: DialError::Refused(error), .. },
        Notification::Refused { peer: Some(peer), direction: Direction::Outbound, .. },
    ] if *error == wrong && *peer == id(2)),
        "{told:?}"
    );
}

#[test]
fn this_node_is_not_a_peer_of_itself() {
    let mut node = node();
    let address = Address::from(at(9)).with_peer(id(LOCAL));
    assert_eq!(node.dial(NOW, address), Err(ApplicationError::OwnId));
    let link = dialled(&mut node, None);
    prove(&mut node, link, LOCAL);
    assert_eq!(refusal(&mut node, link), Refusal::OwnId);
}

#[test]
fn a_third_link_is_a_duplicate_before_the_first_is_live_and_one_too_many_after() {
    let mut node = node();
    let listener = listening(&mut node);
    let links = [0; 4].map(|_| accepted(&mut node, listener));
    for link in &links[..3] {
        prove(&mut node, *link, 1);
    }
    assert_eq!(refusal(&mut node, links[2]), Refusal::Duplicate);
    close(&mut node, links[2], CloseReason::Refused(Refusal::Duplicate));
    close(&mut node, links[1], CloseReason::RemoteClosed);
    exchange(&mut node, links[0]);
    prove(&mut node, links[3], 1);
    alive(&mut node, links[0]);
    assert_eq!(refusal(&mut node, links[3]), Refusal::TooManyConnections);
    close(&mut node, links[3], CloseReason::Refused(Refusal::TooManyConnections));
    let connected =
        told(&mut node).iter().filter(|t| matches!(t, Notification::Connected { .. })).count();
    assert_eq!(connected, 1);
}

#[test]
fn peers_beyond_the_limit_are_refused_until_one_has_left() {
    let mut node = node_with(|config| config.peers_max = 2);
    let listener = listening(&mut node);
    let links = [0; 4].map(|_| accepted(&mut node, listener));
    live(&mut node, links[0], 0);
    // One that is being established counts.
    prove(&mut node, links[1], 1);
    prove(&mut node, links[2], 2);
    assert_eq!(refusal(&mut node, links[2]), Refusal::TooManyPeers);
    close(&mut node, links[0], CloseReason::RemoteClosed);
    prove(&mut node, links[3], 3);
    let proceed = Some(Verdict::Proceed { exchange: true });
    assert_eq!(order(&mut node, links[3]).proven_verdict, proceed);
}

#[test]
fn accepting_pauses_at_the_limit_of_unproven_links() {
    let mut node = node_with(|config| config.pending_max = 3);
    let listener = listening(&mut node);
    let links = [0; 3].map(|_| accepted(&mut node, listener));
    assert_eq!(commands(&mut node), [Command::PauseAccept]);
    let more = node.handle_accepted(NOW, listener, at(7));
    assert_eq!(more.unwrap_err(), Refusal::TooManyPending);
    // Links of our own do not count: we are never kept from dialling.
    let own = dialled(&mut node, None);
    prove(&mut node, links[0], 1);
    assert_eq!(commands(&mut node), [Command::ResumeAccept]);
    accepted(&mut node, listener);
    assert_eq!(commands(&mut node), [Command::PauseAccept]);
    close(&mut node, links[1], CloseReason::Truncated);
    assert_eq!(commands(&mut node), [Command::ResumeAccept]);
    close(&mut node, own, CloseReason::Truncated);
    assert!(commands(&mut node).is_empty());
}

#[test]
fn of_two_crossing_dials_that_of_the_larger_id_stays() {
    for (peer, own_stays) in [(1, true), (7, false)] {
        for own_first in [true, false] {
            let mut node = node();
            let listener = listening(&mut node);
            let own = dialled(&mut node, Some(id(peer)));
            let theirs = accepted(&mut node, listener);
            let (winner, loser) = if own_stays { (own, theirs) } else { (theirs, own) };
            let (first, second) = if own_first { (own, theirs) } else { (theirs, own) };
            prove(&mut node, first, peer);
            order(&mut node, first);
            prove(&mut node, second, peer);
            if second == loser {
                assert_eq!(refusal(&mut node, loser), Refusal::Duplicate);
            } else {
                // The loser goes on until the winner is live.
                exchange(&mut node, loser);
                assert_eq!(order(&mut node, loser).live_verdict, None);
                exchange(&mut node, winner);
                let close = order(&mut node, loser).close;
                assert_eq!(close, Some(CloseReason::Refused(Refusal::Duplicate)));
                assert_eq!(node.route(&id(peer)).unwrap().entries()[0].connection, winner);
            }
            node.assert_invariants();
        }
    }
}

#[test]
fn the_loser_of_a_tie_takes_the_place_of_a_winner_that_fails() {
    for exchanged_before in [true, false] {
        let mut node = node();
        let listener = listening(&mut node);
        let own = dialled(&mut node, None);
        let theirs = accepted(&mut node, listener);
        prove(&mut node, own, 7);
        prove(&mut node, theirs, 7);
        if exchanged_before {
            exchange(&mut node, own);
            order(&mut node, own);
        }
        close(&mut node, theirs, CloseReason::RemoteClosed);
        if !exchanged_before {
            exchange(&mut node, own);
        }
        let verdict = order(&mut node, own).live_verdict;
        assert_eq!(verdict, Some(Verdict::Proceed { exchange: false }));
        assert_eq!(node.route(&id(7)).unwrap().entries()[0].connection, own);
        node.assert_invariants();
    }
}

#[test]
fn d14_a_stop_is_one_stop_however_often_it_is_asked_for() {
    let mut node = node();
    let listener = listening(&mut node);
    let link = accepted(&mut node, listener);
    live(&mut node, link, 1);
    let dial = node.dial(NOW, named("a.example")).unwrap();
    commands(&mut node);
    node.stop(NOW);
    node.stop(NOW);
    assert_eq!(commands(&mut node), [Command::StopListening { listener }]);
    assert_eq!(order(&mut node, link).close, Some(CloseReason::Stopping));
    let first = told(&mut node);
    assert!(
        first
            .iter()
            .any(|told| matches!(told, Notification::DialFailed { dial: d, .. } if *d == dial))
    );
    assert!(!first.contains(&Notification::Stopped) && !node.is_stopped());
    assert_eq!(node.listen(NOW, at(2)), Err(ApplicationError::Stopping));
    assert_eq!(node.dial(NOW, named("a.example")), Err(ApplicationError::Stopping));
    let late = node.handle_accepted(NOW, listener, at(7));
    assert_eq!(late.unwrap_err(), Refusal::Stopping);
    close(&mut node, link, CloseReason::Stopping);
    node.stop(NOW);
    let last = told(&mut node);
    assert_eq!(last.last(), Some(&Notification::Stopped));
    assert!(node.is_stopped());
    node.stop(NOW);
    assert!(told(&mut node).is_empty() && commands(&mut node).is_empty());
    assert_eq!(node.next_timeout(), None);
}

#[test]
fn late_answers_for_a_name_that_was_given_again_are_ignored() {
    let mut node = node();
    let listener = listening(&mut node);
    let old = accepted(&mut node, listener);
    close(&mut node, old, CloseReason::Truncated);
    let new = dialled(&mut node, None);
    assert_eq!(new.index, old.index);
    assert_ne!(new.generation, old.generation);
    told(&mut node);
    prove(&mut node, old, 1);
    exchange(&mut node, old);
    close(&mut node, old, CloseReason::RemoteClosed);
    node.handle_vanished(NOW, old);
    node.handle_event(NOW, Event::DialFailed { connection: old, cause: IoCause::Refused });
    assert_eq!(
        node.handle_dialed(NOW, old, at(1)).unwrap_err(),
        UsageError::UnknownConnection(old)
    );
    assert!(told(&mut node).is_empty());
    assert!(node.poll_order().is_none());
    live(&mut node, new, 2);
    assert!(matches!(told(&mut node)[0], Notification::Dialed { .. }));
}

#[test]
fn a_link_is_dialled_once() {
    let mut node = node();
    let link = dialled(&mut node, None);
    assert_eq!(node.handle_dialed(NOW, link, at(1)).unwrap_err(), UsageError::Unexpected(link));
    // A failure that comes after the success says nothing of the link.
    node.handle_event(NOW, Event::DialFailed { connection: link, cause: IoCause::Refused });
    live(&mut node, link, 1);
    assert!(node.route(&id(1)).is_some());
}
