//! Why a peer is not connected, as the node tells it.

use super::*;
use crate::peers::Rule;
use crate::snapshot::{Next, Origin, PLACES_MAX, Reached, Stage, TURNED_AWAY_MAX};
use crate::supervisor::BackoffConfig;

fn peer_of(node: &Node, peer: usize) -> crate::snapshot::PeerSnapshot {
    let snapshot = node.snapshot(NOW);
    let found = snapshot.peers.into_iter().find(|known| known.peer == Some(id(peer)));
    found.expect("the peer is known")
}

fn required(node: &mut Node, peer: usize) -> ConnectionId {
    node.require(NOW, vec![Address::from(at(9)).with_peer(id(peer))]).unwrap();
    dials(node)[0].0
}

#[test]
fn each_stage_on_the_way_to_a_required_peer_is_told() {
    let mut node = node();
    let link = required(&mut node, 1);
    let peer = peer_of(&node, 1);
    let until = NOW.after(Config::default().dial_deadline);
    assert_eq!(peer.stage, Stage::Dialling);
    assert_eq!(peer.next, Next::UnderWay { until: Some(until) });
    node.handle_dialed(NOW, link, at(1)).unwrap();
    assert_eq!(peer_of(&node, 1).stage, Stage::Handshaking);
    prove(&mut node, link, 1);
    assert_eq!(peer_of(&node, 1).stage, Stage::Exchanging);
    exchange(&mut node, link);
    let peer = peer_of(&node, 1);
    assert_eq!((peer.stage, peer.since, peer.next), (Stage::Connected, Some(NOW), Next::Connected));
    assert_eq!((peer.addresses[0].origin, peer.addresses[0].attempts), (Origin::Required, 1));
    assert_eq!((peer.addresses[0].failures, peer.addresses[0].succeeded), (0, Some(NOW)));
    close(&mut node, link, CloseReason::Truncated);
    let peer = peer_of(&node, 1);
    assert!(matches!(peer.next, Next::At(at) if at > NOW));
    assert_eq!((peer.stage, peer.failures), (Stage::Waiting, 1));
    assert_eq!(peer.lost.unwrap().reason, CloseReason::Truncated);
}

#[test]
fn a_peer_whose_id_is_not_known_is_told_too_and_keeps_its_past_when_it_is() {
    let mut node = node();
    node.require(NOW, vec![Address::from(at(9))]).unwrap();
    let link = dials(&mut node)[0].0;
    let snapshot = node.snapshot(NOW);
    assert_eq!((snapshot.peers[0].peer, snapshot.peers[0].stage), (None, Stage::Dialling));
    node.handle_event(NOW, Event::DialFailed { connection: link, cause: IoCause::Refused });
    let peer = &node.snapshot(NOW).peers[0];
    assert_eq!(peer.stage, Stage::Waiting);
    assert_eq!(peer.addresses[0].last.as_ref().unwrap().reached, Reached::Dialling);
    let later = NOW.after(Duration::from_secs(60));
    node.handle_timeout(later);
    let link = dials(&mut node)[0].0;
    node.handle_dialed(later, link, at(1)).unwrap();
    prove(&mut node, link, 1);
    let peer = peer_of(&node, 1);
    assert_eq!((peer.stage, peer.addresses[0].attempts), (Stage::Exchanging, 2));
    let last = peer.addresses[0].last.as_ref().unwrap();
    assert_eq!(last.error, DialError::Link(IoCause::Refused));
}

#[test]
fn who_ends_a_link_once_both_are_proven_has_turned_us_away() {
    let mut node = node();
    let link = required(&mut node, 1);
    node.handle_dialed(NOW, link, at(1)).unwrap();
    prove(&mut node, link, 1);
    close(&mut node, link, CloseReason::RemoteClosed);
    let peer = peer_of(&node, 1);
    assert_eq!(peer.stage, Stage::Refused);
    let last = peer.addresses[0].last.as_ref().unwrap();
    assert_eq!((last.reached, last.at, last.remote), (Reached::Exchanging, NOW, Some(at(9))));
    assert!(matches!(peer.next, Next::At(_)));
    // Before the proof it is a link that broke.
    let mut node = super::node();
    let link = required(&mut node, 1);
    node.handle_dialed(NOW, link, at(1)).unwrap();
    close(&mut node, link, CloseReason::RemoteClosed);
    let peer = peer_of(&node, 1);
    assert_eq!(peer.stage, Stage::Waiting);
    let last = peer.addresses[0].last.as_ref().unwrap();
    assert_eq!(last.reached, Reached::Handshaking);
}

#[test]
fn who_is_turned_away_here_is_told_with_the_reason() {
    let mut node = node_with(|config| config.peers_max = 1);
    let listener = listening(&mut node);
    let first = accepted(&mut node, listener);
    live(&mut node, first, 1);
    for times in 1..=2 {
        let second = accepted(&mut node, listener);
        prove(&mut node, second, 2);
        assert_eq!(refusal(&mut node, second), Refusal::TooManyPeers);
        close(&mut node, second, CloseReason::Refused(Refusal::TooManyPeers));
        let peer = peer_of(&node, 2);
        assert_eq!((peer.stage, peer.next), (Stage::Refused, Next::NotRequired));
        let turned = peer.turned_away.unwrap();
        assert_eq!((turned.reason, turned.times), (Refusal::TooManyPeers, times));
        assert_eq!((turned.direction, turned.remote), (Direction::Inbound, at(7)));
    }
    let snapshot = node.snapshot(NOW);
    let counts: Vec<_> = snapshot.refusals.iter().map(|c| (c.reason, c.count)).collect();
    assert_eq!(counts, [("too_many_peers", 2)]);
    let peers = snapshot.usage.iter().find(|usage| usage.key == "peers_max").unwrap();
    assert_eq!((peers.used, peers.max), (1, 1));
    assert_eq!(snapshot.work.accepted, 3);
}

#[test]
fn rules_pauses_and_giving_up_are_told() {
    let mut node = node_with(|config| {
        config.backoff = BackoffConfig { attempts_max: Some(1), ..BackoffConfig::default() };
    });
    let link = required(&mut node, 1);
    node.handle_event(NOW, Event::DialFailed { connection: link, cause: IoCause::Refused });
    let peer = peer_of(&node, 1);
    assert_eq!((peer.stage, peer.next), (Stage::Idle, Next::GaveUp));
    node.disconnect(NOW, id(1)).unwrap();
    assert_eq!(peer_of(&node, 1).next, Next::Paused);
    node.block(NOW, Rule::peer(id(1))).unwrap();
    let peer = peer_of(&node, 1);
    assert!(peer.blocked);
    assert_eq!(peer.stage, Stage::Refused);
    node.block(NOW, Rule::socket(at(9))).unwrap();
    assert!(peer_of(&node, 1).addresses[0].blocked);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut node = node_with(|config| config.pending_max = 10_000);
    let listener = listening(&mut node);
    for number in 0..PLACES_MAX + 100 {
        let address = Address::from(at(u16::try_from(number).unwrap() + 1));
        node.dial(NOW, address).unwrap();
        let connection = dials(&mut node)[0].0;
        node.handle_event(NOW, Event::DialFailed { connection, cause: IoCause::Refused });
        told(&mut node);
        let link = accepted(&mut node, listener);
        let mut text = *b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";
        for (place, digit) in
            [number % 9, number / 9 % 9, number / 81 % 9, number / 729].iter().enumerate()
        {
            text[place + 3] = b"123456789"[*digit];
        }
        let peer = PeerId::from_bytes(&text).unwrap();
        let proven = Some(peer);
        node.handle_report(NOW, link, ToNode { proven, ..ToNode::default() });
        close(&mut node, link, CloseReason::Truncated);
        told(&mut node);
    }
    assert_eq!(node.history.places.iter().count(), PLACES_MAX);
    assert_eq!(node.history.turned_away.iter().count(), TURNED_AWAY_MAX);
    assert!(node.snapshot(NOW).peers.len() <= TURNED_AWAY_MAX);
}
