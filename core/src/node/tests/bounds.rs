//! What nobody reads, or nobody answers, does not grow.

use super::peers::{comings_and_goings, later, place};
use super::*;
use crate::node::links::Stage;
use crate::peers::Elimination;
use crate::supervisor::RequiredPhase;

#[test]
fn nobody_new_is_let_in_while_the_application_does_not_hear_of_those_that_left() {
    let mut node = node_with(|config| config.pending_max = 2000);
    let listener = listening(&mut node);
    let mut refused = 0;
    for number in 0..729 {
        let link = accepted(&mut node, listener);
        let proven = Some(name(number));
        node.handle_report(NOW, link, ToNode { proven, ..ToNode::default() });
        if order(&mut node, link).proven_verdict == Some(Verdict::Refuse(Refusal::TooManyUntold)) {
            refused += 1;
        } else {
            exchange(&mut node, link);
        }
        close(&mut node, link, CloseReason::RemoteClosed);
        assert!(node.peers.len() <= 64, "ids that are ever new fill the table");
    }
    assert_eq!(refused, 729 - 64);
    // Those that were let in are told, and then there is room again.
    assert_eq!(comings_and_goings(&mut node).len(), 128);
    let link = accepted(&mut node, listener);
    live(&mut node, link, 1);
}

/// Ids of many peers.
fn name(number: usize) -> PeerId {
    let mut text = *b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";
    text[3] = b"123456789"[number % 9];
    text[4] = b"123456789"[number / 9 % 9];
    text[5] = b"123456789"[number / 81 % 9];
    PeerId::from_bytes(&text).unwrap()
}

#[test]
fn links_of_peers_that_make_room_and_do_not_go_are_within_what_memory_is_counted_for() {
    for elimination in [Elimination::FirstIn, Elimination::Random, Elimination::LastIn] {
        for per_peer in [1, 2] {
            let mut node = node_with(|config| {
                (config.peers_max, config.ending_max) = (4, 3);
                config.connections_per_peer_max = per_peer;
                (config.pending_max, config.elimination) = (2000, elimination);
            });
            let listener = listening(&mut node);
            let further = node.config().further_places();
            let places = 4 + further;
            let (mut live_most, mut all_most) = (0, 0);
            for number in 0..600 {
                // Each peer comes three times, and nobody goes who was told to.
                let link = accepted(&mut node, listener);
                let proven = Some(name(number / 3 % 40));
                node.handle_report(NOW, link, ToNode { proven, ..ToNode::default() });
                let verdict = order(&mut node, link).proven_verdict;
                if matches!(verdict, Some(Verdict::Refuse(_))) {
                    close(&mut node, link, CloseReason::RemoteClosed);
                } else if number % 7 != 0 && verdict.is_some() {
                    exchange(&mut node, link);
                }
                told(&mut node);
                let is_live = |id: &&ConnectionId| {
                    node.links.get(**id).is_some_and(|link| matches!(link.stage, Stage::Live(_)))
                };
                let all = node.links.ids();
                live_most = live_most.max(all.iter().filter(is_live).count());
                all_most = all_most.max(all.len());
            }
            let connections = places * per_peer;
            assert!(live_most <= connections, "{elimination:?} {per_peer}: {live_most}");
            assert!(all_most <= connections + 4 + 2 * further, "{all_most}");
            // A required peer finds a place all the same.
            let required = node.require(NOW, vec![place(1).with_peer(name(700))]).unwrap();
            let link = dials(&mut node)[0].0;
            node.handle_dialed(NOW, link, at(1)).unwrap();
            let proven = Some(name(700));
            node.handle_report(NOW, link, ToNode { proven, ..ToNode::default() });
            assert!(matches!(order(&mut node, link).proven_verdict, Some(Verdict::Proceed { .. })));
            exchange(&mut node, link);
            let phase = node.required_state(required).unwrap().phase;
            assert!(matches!(phase, RequiredPhase::Connected { .. }), "{phase:?}");
        }
    }
}

#[test]
fn outcomes_of_dials_that_nobody_reads_are_bounded() {
    let mut node = node_with(|config| config.dials_max = 3);
    let link = dialled(&mut node, Some(id(1)));
    live(&mut node, link, 1);
    let again = |node: &mut Node| node.dial(NOW, Address::from(at(9)).with_peer(id(1)));
    let outcomes: Vec<_> = (0..10).map(|_| again(&mut node)).collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 2);
    assert_eq!(outcomes[9], Err(ApplicationError::TooManyDials));
    told(&mut node);
    assert!(again(&mut node).is_ok());
}

#[test]
fn outcomes_of_listens_that_nobody_reads_are_bounded() {
    let mut node = node();
    let mut taken = 0;
    for _ in 0..500 {
        // In turn: it fails, it works and is stopped, it is stopped before it is known.
        let Ok(listener) = node.listen(NOW, at(1)) else { break };
        taken += 1;
        match taken % 3 {
            0 => node
                .handle_event(NOW, Event::ListenFailed { listener, cause: IoCause::AddressInUse }),
            1 => node.handle_event(NOW, Event::Listening { listener, local: at(1) }),
            _ => {}
        }
        node.stop_listening(NOW, listener);
    }
    // A third of them has no outcome.
    assert_eq!(taken, 96);
    assert_eq!(node.listen(NOW, at(1)), Err(ApplicationError::TooManyListeners));
    assert_eq!(told(&mut node).len(), 64);
    assert!(node.listen(NOW, at(1)).is_ok());
    // Those whose outcome is to come have their place.
    let more = (0..500).take_while(|_| node.listen(NOW, at(1)).is_ok()).count();
    assert_eq!(more, 63);
}

#[test]
fn messages_that_were_to_move_to_a_link_that_is_gone_are_counted() {
    let mut node = node_with(|config| config.connections_per_peer_max = 2);
    let listener = listening(&mut node);
    let [first, second] = [0; 2].map(|_| accepted(&mut node, listener));
    live(&mut node, first, 1);
    prove(&mut node, second, 1);
    alive(&mut node, first);
    node.handle_report(NOW, second, ToNode { ready: true, ..ToNode::default() });
    told(&mut node);
    let mut outbox = crate::pool::Outbox::new(crate::pool::OutboxConfig::default());
    let protocol = ProtocolId::new("/echo").unwrap();
    outbox.push(&protocol, bytes::Bytes::from_static(&[0; 10])).unwrap();
    while node.poll_order().is_some() {}
    // It waits to be told to the first, which ends before it is; then the second does.
    node.handle_leftover(NOW, id(1), &mut outbox);
    close(&mut node, first, CloseReason::RemoteClosed);
    close(&mut node, second, CloseReason::RemoteClosed);
    let told = told(&mut node);
    assert!(
        matches!(
            told[..],
            [
                Notification::Undelivered { messages: 1, bytes: 10, .. },
                Notification::Disconnected { .. }
            ]
        ),
        "{told:?}"
    );
}

#[test]
fn five_hundred_unreachable_peers_cost_a_few_calls_a_second() {
    let mut node = node_with(|config| config.overcommit = true);
    for number in 0..500 {
        node.require(NOW, vec![place(number + 1)]).unwrap();
    }
    let (mut now, mut calls, mut dialled) = (NOW, 0, 0);
    let (minute, end) = (later(540_000), later(600_000));
    while now < end {
        while let Some(command) = node.poll_command() {
            let Command::Dial { connection, .. } = command else { panic!("{command:?}") };
            dialled += u32::from(now >= minute);
            node.handle_event(now, Event::DialFailed { connection, cause: IoCause::Refused });
        }
        while node.poll_notification().is_some() {}
        now = node.next_timeout().unwrap().at;
        node.handle_timeout(now);
        calls += u32::from(now >= minute);
    }
    // About one a minute of each, of which no two wait for exactly as long.
    assert!((450..=600).contains(&dialled), "{dialled}");
    assert!(calls <= dialled + 20, "{calls}");
    node.assert_invariants();
}
