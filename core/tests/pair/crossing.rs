//! Two nodes that dial each other at the same time: one connection is left, the same one at both
//! ends, whatever the order of things (spec 4.2).

use std::time::Duration;

use headwater_core::error::Refusal;
use headwater_core::id::ConnectionId;
use headwater_core::seed::Seed;

use crate::harness::{Channels, Cut, World, over_both_channels, pair, peer_id};

over_both_channels!(
    links_of_any_speed_leave_the_same_one,
    any_order_of_things_leaves_the_same_one,
    a_second_dial_from_the_same_end_changes_nothing,
    a_dial_that_finds_its_peer_connected_meanwhile_counts_as_dialled,
);

/// Both have asked for a dial, and nothing has happened yet.
fn about_to_cross<F: Channels>(seed: u64) -> World<F> {
    let mut world = pair::<F>(seed);
    world.listen(0);
    world.listen(1);
    for end in 0..2 {
        let address = world.address(1 - end);
        world.ends[end].endpoint.dial(world.now, address).unwrap();
    }
    world
}

fn only_connection<F: Channels>(world: &World<F>, end: usize, how: &str) -> ConnectionId {
    let route = world.ends[end].endpoint.route(&peer_id(1 - end));
    let route = route.unwrap_or_else(|| panic!("{how}: {end} is not connected"));
    assert_eq!(route.entries().len(), 1, "{how}");
    route.entries()[0].connection
}

/// Lets everything happen that is left, and checks what came of it.
fn check<F: Channels>(mut world: World<F>, how: &str) {
    world.cut = Cut::Whole;
    world.run();
    let here = only_connection(&world, 0, how);
    let there = only_connection(&world, 1, how);
    assert_eq!(world.other_end(0, here), (1, there), "{how}");
    for end in 0..2 {
        let told = world.told(end);
        let count = |what: &str| told.iter().filter(|told| told.starts_with(what)).count();
        let counts = (count("connected"), count("disconnected"));
        assert_eq!(counts, (1, 0), "{how}: {told:?}");
        assert_eq!(count("dialed") + count("dial failed"), 1, "{how}: {told:?}");
        world.send(end, 1 - end, "/echo", vec![1; 10]);
    }
    world.advance(Duration::from_secs(30));
    for end in 0..2 {
        assert_eq!(world.ends[end].messages.len(), 1, "{how}");
        // Of the other link nothing is left.
        assert_eq!(world.ends[end].link_commands.len(), 2, "{how}");
    }
}

/// Writes, or reads, on the `nth` link that an end has made or taken.
fn touch<F: Channels>(world: &mut World<F>, end: usize, nth: usize, reads: bool) {
    let Some(connection) = world.links_of(end).get(nth).copied() else { return };
    if reads {
        world.read(end, connection);
    } else {
        world.write(end, connection);
    }
}

fn links_of_any_speed_leave_the_same_one<F: Channels>() {
    let paces = [1, 3, 9, 27];
    for choice in (0..1024_usize).step_by(3) {
        let pace = |pipe: u32| paces[choice / 4_usize.pow(pipe) % 4];
        let mut world = about_to_cross::<F>(1);
        world.cut = if choice < 256 { Cut::Whole } else { Cut::Random(60) };
        let first = choice / 512;
        world.commands(first);
        world.commands(1 - first);
        for turn in 0..200 {
            for pipe in 0..4_u32 {
                if turn % pace(pipe) == 0 {
                    let (end, nth) = (pipe as usize / 2, pipe as usize % 2);
                    touch(&mut world, end, nth, true);
                    touch(&mut world, end, nth, false);
                }
            }
            for end in 0..2 {
                world.commands(end);
            }
        }
        check(world, &format!("choice {choice}"));
    }
}

fn any_order_of_things_leaves_the_same_one<F: Channels>() {
    for seed in 0..500 {
        let mut rng = Seed::from_u64(seed).rng("order", 0);
        let mut world = about_to_cross::<F>(seed);
        world.cut = if seed % 2 == 0 { Cut::Whole } else { Cut::Random(100) };
        for _ in 0..150 {
            let (end, nth) = (rng.below(2) as usize, rng.below(2) as usize);
            match rng.below(5) {
                0 => drop(world.commands(end)),
                1 | 2 => touch(&mut world, end, nth, true),
                _ => touch(&mut world, end, nth, false),
            }
        }
        check(world, &format!("seed {seed}"));
    }
}

fn a_dial_that_finds_its_peer_connected_meanwhile_counts_as_dialled<F: Channels>() {
    let mut world = pair::<F>(2);
    world.listen(1);
    let address = world.address(1);
    for _ in 0..2 {
        world.ends[0].endpoint.dial(world.now, address.clone()).unwrap();
    }
    world.commands(0);
    // The first link is live before the second one has said anything.
    let second = world.links_of(1)[1];
    while world.ends[1].endpoint.route(&peer_id(0)).is_none() {
        for end in 0..2 {
            touch(&mut world, end, 0, true);
            touch(&mut world, end, 0, false);
        }
    }
    world.run();
    assert!(world.links_of(1).contains(&second));
    assert_eq!(world.told(0).iter().filter(|told| *told == "dialed").count(), 2);
    assert!(!world.told(0).iter().any(|told| told.starts_with("dial failed")));
}

fn a_second_dial_from_the_same_end_changes_nothing<F: Channels>() {
    let mut world = pair::<F>(1);
    world.listen(1);
    let address = world.address(1);
    for _ in 0..3 {
        world.ends[0].endpoint.dial(world.now, address.clone()).unwrap();
    }
    world.run();
    let here = only_connection(&world, 0, "three dials");
    assert_eq!(world.other_end(0, here), (1, only_connection(&world, 1, "three dials")));
    let told = world.told(0);
    assert_eq!(told.iter().filter(|told| *told == "connected").count(), 1);
    let duplicate = format!("refused: {}", Refusal::Duplicate);
    assert!(world.told(1).contains(&duplicate), "{:?}", world.told(1));
}
