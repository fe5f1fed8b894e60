//! Each check is fed a violation, in a network that is whole but for that.

use std::time::Duration;

use headwater_core::contract::Notification;
use headwater_core::error::CloseReason;

use super::*;
use crate::Options;
use crate::app::payload::Head;
use crate::net::Blow;
use crate::recorders::Recorders;
use crate::scenario::{Channel, Mode, Scenario};
use crate::trace::Trace;
use crate::world::Phase;

/// Three nodes without faults, connected in a ring, in their steady phase.
fn world(mode: Mode) -> World<'static> {
    let options = Options {
        nodes: 3,
        time: Duration::from_secs(5),
        faults: false,
        mode: Some(mode),
        channel: Some(Channel::Plain),
        ..Options::default()
    };
    let mut world = World::new(Scenario::new(&options), Trace::new(None), Recorders(None)).unwrap();
    while !matches!(world.phase, Phase::Steady { .. }) {
        world.step().unwrap();
    }
    check_healed(&world).unwrap();
    world
}

fn why(checked: Result<(), Violation>) -> String {
    checked.unwrap_err().0
}

#[test]
fn a_required_peer_that_is_missing_is_seen() {
    let mut world = world(Mode::Whole);
    let peer = *world.people.id(1);
    let gone = Notification::Disconnected { peer, reason: CloseReason::Requested, flaps: 0 };
    let known = world.places[0].app.notices.protocols(&peer).cloned();
    for protocol in known.unwrap() {
        let lost = Notification::Unsupported { peer, protocol };
        world.places[0].app.notices.observe(&lost).unwrap();
    }
    world.places[0].app.notices.observe(&gone).unwrap();
    assert_eq!(why(check_healed(&world)), "0 is not connected with 1");
}

#[test]
fn a_node_that_is_down_is_seen() {
    for mode in [Mode::Whole, Mode::Apart] {
        let mut world = world(mode);
        world.places[2].host = None;
        let why = why(check_healed(&world));
        assert!(why.contains("which is down") || why == "2 is down", "{why}");
    }
}

#[test]
fn a_dead_link_that_both_sides_believe_in_is_seen() {
    for mode in [Mode::Whole, Mode::Apart] {
        let mut world = world(mode);
        let socket = world.net.any_link().unwrap();
        world.net.strike(&mut world.time, socket, Blow::BlackHole { both: false });
        assert!(why(check_healed(&world)).contains("has a dead link to"));
    }
}

#[test]
fn a_protocol_that_was_not_told_is_seen() {
    let mut world = world(Mode::Apart);
    let (peer, protocol) = (*world.people.id(1), world.people.protocol(0).clone());
    let lost = Notification::Unsupported { peer, protocol };
    world.places[0].app.notices.observe(&lost).unwrap();
    assert!(why(check_healed(&world)).ends_with("0 was told false"));
}

#[test]
fn a_link_that_was_lost_is_seen() {
    let world = world(Mode::Whole);
    let mut before = links_in_use(&world);
    assert_eq!(before.len(), 6, "three links, seen from both ends");
    assert_eq!(check_nothing_lost(&world, &before), Ok(()));
    before.insert((0, 1, (99, 0)));
    assert!(why(check_nothing_lost(&world, &before)).contains("lost without a fault"));
}

#[test]
fn a_message_that_vanished_is_seen() {
    let mut world = world(Mode::Whole);
    let life = world.places[0].life;
    let number = world.ledger.next_number((0, life));
    let head = Head { from: 0, life, to: 1, number, stream: 0, place: 0, protocol: 0, len: 50 };
    world.ledger.accepted(&head, world.time.now(), false);
    assert!(why(check_quiet(&world)).contains("vanished on a link that lives"));
}

#[test]
fn a_message_that_was_taken_and_not_counted_is_seen() {
    for mode in [Mode::Whole, Mode::Apart] {
        let mut world = world(mode);
        while !matches!(world.phase, Phase::Quiet { .. }) || check_quiet(&world).is_err() {
            world.step().unwrap();
        }
        let counted = world.places[1].host.as_deref().unwrap().received();
        assert!(counted > 0);
        world.places[1].app.taken = counted + 1;
        assert!(why(check_quiet(&world)).starts_with("1 took"));
    }
}

#[test]
fn bounds_that_are_exceeded_are_seen() {
    for mode in [Mode::Whole, Mode::Apart] {
        let world = world(mode);
        let host = world.places[0].host.as_deref().unwrap();
        let good = world.scenario.config.clone();
        assert_eq!(check_bounds(host, &good), Ok(()));
        let mut config = good.clone();
        config.peers_max = 1;
        assert_eq!(why(check_bounds(host, &config)), "2 peers of at most 1");
        config = good.clone();
        config.connections_per_peer_max = 0;
        assert!(why(check_bounds(host, &config)).contains("1 connections of"));
        config = good;
        config.send_streams_max = 0;
        assert!(why(check_bounds(host, &config)).contains("streams to"));
    }
}
