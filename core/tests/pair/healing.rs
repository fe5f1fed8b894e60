//! Nodes that lose each other, and find each other again without help.

use std::time::Duration;

use headwater_core::config::Config;
use headwater_core::contract::Notification;
use headwater_core::peers::Rule;
use headwater_core::supervisor::RequiredPhase;

use crate::harness::{Channels, World, over_both_channels, pair, pair_with, peer_id, protocol};

over_both_channels!(
    d60_a_required_peer_is_found_when_it_comes_back_however_long_it_was_away,
    a_required_peer_that_restarts_is_connected_again_at_both_ends,
    d24_a_half_open_link_is_found_and_closed_at_both_ends,
    a_peer_that_lost_its_end_takes_the_place_of_the_dead_link,
    a_peer_that_dials_again_while_its_link_lives_is_refused_and_the_link_stays,
    d43_a_peer_that_reconnects_at_once_is_sent_to_again,
    a_peer_that_is_disconnected_and_connected_at_once_is_connected_again,
    d64_required_peers_find_a_full_node_full_and_low_ones_make_room,
    d68_a_blocked_peer_is_cut_off_and_let_in_again_when_the_rule_goes,
);

/// Without jitter, so that waits are known.
fn config() -> Config {
    let mut config = Config::default();
    config.backoff.jitter = 0;
    config
}

fn count(told: &[String], what: &str) -> usize {
    told.iter().filter(|told| told.starts_with(what)).count()
}

fn is_connected<F: Channels>(world: &World<F>, from: usize, to: usize) -> bool {
    world.ends[from].endpoint.route(&peer_id(to)).is_some()
}

/// Both may send, and what they send arrives.
fn talk<F: Channels>(world: &mut World<F>) {
    for end in 0..2 {
        let before = world.ends[1 - end].messages.len();
        world.send(end, 1 - end, "/echo", vec![end as u8; 100]);
        world.run();
        assert_eq!(world.ends[1 - end].messages.len(), before + 1);
    }
}

fn waits<F: Channels>(world: &World<F>, end: usize) -> Vec<u64> {
    let waits = world.ends[end].notifications.iter().filter_map(|told| match told {
        Notification::Retrying { wait, .. } => Some(wait.as_secs()),
        _ => None,
    });
    waits.collect()
}

fn d60_a_required_peer_is_found_when_it_comes_back_however_long_it_was_away<F: Channels>() {
    let mut world = pair_with::<F>(1, config());
    let address = world.address(1).without_peer();
    let required = world.ends[0].endpoint.require(world.now, vec![address]).unwrap();
    world.advance(Duration::from_secs(8 * 3600));
    let waits = waits(&world, 0);
    assert_eq!(waits[..11], [1, 2, 3, 5, 8, 13, 21, 34, 55, 60, 60]);
    assert!(waits.len() > 8 * 59 && waits[11..].iter().all(|wait| *wait == 60));
    world.listen(1);
    world.advance(Duration::from_secs(60));
    let state = world.ends[0].endpoint.required_state(required).unwrap();
    assert!(matches!(state.phase, RequiredPhase::Connected { .. }));
    assert_eq!(state.peer, Some(peer_id(1)));
    talk(&mut world);
}

fn a_required_peer_that_restarts_is_connected_again_at_both_ends<F: Channels>() {
    for broken in [true, false] {
        let mut world = pair_with::<F>(2, config());
        world.listen(1);
        let address = world.address(1);
        world.ends[0].endpoint.require(world.now, vec![address]).unwrap();
        world.advance(Duration::from_secs(30));
        for round in 1..=3 {
            // The system tells of a process that died, or nobody does.
            world.close_door(1);
            if broken {
                world.break_links(1);
                world.run();
            } else {
                world.silence();
            }
            world.restart(1, config(), F::of(peer_id(1)));
            world.listen(1);
            world.advance(Duration::from_secs(30));
            assert!(is_connected(&world, 0, 1) && is_connected(&world, 1, 0), "{broken} {round}");
            talk(&mut world);
            let told = world.told(0);
            let counts = (count(&told, "connected"), count(&told, "disconnected"));
            assert_eq!(counts, (round + 1, round), "{told:?}");
        }
        // It was there for longer than 10 s each time, so the series began anew.
        assert_eq!(waits(&world, 0), if broken { vec![1, 1, 1] } else { vec![] });
    }
}

fn d24_a_half_open_link_is_found_and_closed_at_both_ends<F: Channels>() {
    let mut config = config();
    config.keep_alive = Duration::from_secs(3);
    config.pong_deadline = Duration::from_secs(4);
    for sending in [false, true] {
        let mut world = pair_with::<F>(3, config.clone());
        world.connect(0, 1);
        world.advance(Duration::from_secs(60));
        assert!(is_connected(&world, 0, 1), "an idle link is kept");
        world.silence();
        if sending {
            world.send(0, 1, "/echo", vec![0; 1000]);
        }
        world.advance(Duration::from_secs(8));
        for end in 0..2 {
            assert!(!is_connected(&world, end, 1 - end));
            let told = world.told(end);
            assert_eq!(told.last().unwrap(), "disconnected: not in time: Pong");
        }
    }
}

fn a_peer_that_lost_its_end_takes_the_place_of_the_dead_link<F: Channels>() {
    let mut world = pair_with::<F>(4, config());
    world.connect(1, 0);
    world.send(0, 1, "/echo", vec![1; 10]);
    world.advance(Duration::from_secs(30));
    world.silence();
    world.restart(1, config(), F::of(peer_id(1)));
    let address = world.address(0);
    world.ends[1].endpoint.dial(world.now, address).unwrap();
    world.run();
    // Not before the old one had its time to answer.
    assert!(world.told(1).is_empty());
    world.advance(Duration::from_secs(5));
    assert_eq!(world.told(1), ["dialed", "connected", "+/echo"]);
    let told = world.told(0);
    assert_eq!(
        told[told.len() - 4..],
        ["-/echo", "disconnected: not in time: Probe", "connected", "+/echo"]
    );
    talk(&mut world);
}

fn a_peer_that_dials_again_while_its_link_lives_is_refused_and_the_link_stays<F: Channels>() {
    let mut world = pair_with::<F>(5, config());
    world.connect(1, 0);
    world.advance(Duration::from_secs(30));
    let before = world.ends[0].endpoint.route(&peer_id(1)).unwrap().entries()[0].connection;
    // Under an id that it does not know, it dials whom it has already.
    let address = world.address(0).without_peer();
    for _ in 0..3 {
        world.ends[1].endpoint.dial(world.now, address.clone()).unwrap();
        world.advance(Duration::from_secs(10));
    }
    let route = world.ends[0].endpoint.route(&peer_id(1)).unwrap();
    assert_eq!(route.entries()[0].connection, before);
    assert_eq!((count(&world.told(0), "connected"), count(&world.told(0), "disc")), (1, 0));
    assert_eq!(count(&world.told(1), "dialed"), 4);
    talk(&mut world);
}

fn d43_a_peer_that_reconnects_at_once_is_sent_to_again<F: Channels>() {
    for (who, reads) in [(0, true), (0, false), (1, true), (1, false)] {
        let mut world = pair::<F>(6);
        world.listen(0);
        world.connect(0, 1);
        world.advance(Duration::from_secs(20));
        let now = world.now;
        world.ends[who].endpoint.disconnect(now, peer_id(1 - who)).unwrap();
        if reads {
            world.write_all(who);
        }
        // The old link is on its way out, at one end or at both.
        let address = world.address(1 - who);
        world.ends[who].endpoint.dial(now, address).unwrap();
        world.run();
        for end in 0..2 {
            let told = world.told(end);
            let counts = (count(&told, "connected"), count(&told, "disconnected"));
            assert_eq!(counts, (2, 1), "{who} {reads}: {told:?}");
            assert_eq!(told.last().unwrap(), "+/echo");
        }
        assert_eq!(count(&world.told(who), "dial failed"), 0);
        talk(&mut world);
        world.advance(Duration::from_secs(30));
        talk(&mut world);
    }
}

fn a_peer_that_is_disconnected_and_connected_at_once_is_connected_again<F: Channels>() {
    for named in [true, false] {
        for (backlog, pipe_max) in [(0, 1 << 18), (200, 1 << 14), (2000, 1 << 18)] {
            let mut world = pair_with::<F>(5, config());
            world.connect(0, 1);
            world.pipe_max = pipe_max;
            // The other application takes nothing, so the end of the link has to wait.
            world.ends[1].takes = false;
            for _ in 0..backlog {
                let (now, payload) = (world.now, vec![1; 8000].into());
                let this = &mut world.ends[0].endpoint;
                if this.send(now, &peer_id(1), &protocol("/echo"), payload).is_err() {
                    break;
                }
                world.step();
            }
            let mut address = world.address(1);
            if !named {
                address = address.without_peer();
            }
            let now = world.now;
            world.ends[0].endpoint.disconnect(now, peer_id(1)).unwrap();
            world.ends[0].endpoint.dial(now, address).unwrap();
            world.advance(Duration::from_millis(300));
            world.ends[1].takes = true;
            world.advance(Duration::from_secs(19));
            let told = world.told(0);
            assert_eq!(count(&told, "dialed"), 2, "{named} {backlog}: {told:?}");
            assert_eq!(count(&told, "dial failed"), 0, "{named} {backlog}: {told:?}");
            assert!(is_connected(&world, 0, 1) && is_connected(&world, 1, 0), "{told:?}");
            talk(&mut world);
        }
    }
}

fn d64_required_peers_find_a_full_node_full_and_low_ones_make_room<F: Channels>() {
    let mut small = config();
    small.peers_max = 3;
    let ends = (0..8).map(|n| (if n == 0 { small.clone() } else { config() }, F::of(peer_id(n))));
    let mut world = World::<F>::new(7, ends.collect());
    world.register_echo();
    for end in 1..5 {
        world.connect(end, 0);
    }
    // The fourth was refused.
    assert_eq!(world.ends[0].endpoint.peers().count(), 3);
    for end in 5..8 {
        world.listen(end);
        let address = world.address(end);
        world.ends[0].endpoint.require(world.now, vec![address]).unwrap();
    }
    world.advance(Duration::from_secs(10));
    let peers: Vec<_> = world.ends[0].endpoint.peers().collect();
    assert_eq!(peers, [peer_id(5), peer_id(6), peer_id(7)]);
    for end in 1..4 {
        let told = world.told(end);
        assert_eq!(told.last().unwrap(), "disconnected: closed by the peer", "{told:?}");
    }
    let evicted = |told: &&String| told.ends_with("closed to make room for another peer");
    assert_eq!(world.told(0).iter().filter(evicted).count(), 3);
}

fn d68_a_blocked_peer_is_cut_off_and_let_in_again_when_the_rule_goes<F: Channels>() {
    let mut world = pair_with::<F>(8, config());
    world.listen(1);
    let address = world.address(1);
    world.ends[0].endpoint.require(world.now, vec![address]).unwrap();
    world.advance(Duration::from_secs(20));
    let rule = Rule::peer(peer_id(0));
    let now = world.now;
    assert_eq!(world.ends[1].endpoint.block(now, rule), Ok(true));
    world.run();
    assert!(!is_connected(&world, 0, 1) && !is_connected(&world, 1, 0));
    assert_eq!(world.told(1).last().unwrap(), "refused: blocked");
    assert!(world.told(1).contains(&"disconnected: blocked".to_string()));
    world.advance(Duration::from_secs(20));
    assert!(!is_connected(&world, 0, 1));
    assert!(world.ends[1].endpoint.unblock(world.now, &rule));
    world.advance(Duration::from_secs(60));
    assert!(is_connected(&world, 0, 1) && is_connected(&world, 1, 0));
    world.ends[0].endpoint.register(world.now, protocol("/late")).unwrap();
    talk(&mut world);
}
