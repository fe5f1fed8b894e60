//! Links that carry little, and links that carry nothing any more (D-24).

use std::time::Duration;

use headwater_core::config::Config;
use headwater_core::time::Instant;

use crate::harness::{Channels, World, over_both_channels, pair, pair_with};
use crate::record::Record;

over_both_channels!(
    d24_a_link_that_is_slow_to_take_a_ping_is_kept_through_a_connection,
    d24_a_slow_link_that_takes_nothing_any_more_is_cut_in_time,
    d24_a_link_that_died_is_found_within_the_keep_alive_and_the_pong_deadline,
    d24_once_a_ping_has_left_only_what_comes_is_life,
);

const TICK: Duration = Duration::from_secs(1);
/// The keep-alive and the pong deadline, each.
const TEN: Duration = Duration::from_secs(10);

/// Lets a second pass in which each link takes one write, of as much as a pipe holds.
fn tick<F: Channels>(world: &mut World<F>) {
    world.now = world.now.after(TICK);
    for end in &mut world.ends {
        end.endpoint.handle_timeout(world.now);
    }
    world.step();
}

/// Lets seconds pass until an end is told of the end of its connection; gives when that was.
fn ticks_to_the_end<F: Channels>(world: &mut World<F>, end: usize) -> Instant {
    for _ in 0..1000 {
        tick(world);
        if let Some(last) = world.told(end).last().filter(|last| last.starts_with("disc")) {
            assert_eq!(last, "disconnected: not in time: Pong");
            return world.now;
        }
    }
    panic!("still connected: {:?}", world.told(end));
}

/// A link of 5 KB a second whose output is full.
fn slow<F: Channels>(seed: u64) -> World<F> {
    let mut world = pair::<F>(seed);
    world.connect(0, 1);
    world.pipe_max = 5000;
    world.send(0, 1, "/echo", vec![7; 220_000]);
    world
}

/// It takes 44 s until a ping behind all of it has left, and nothing comes back before.
fn d24_a_link_that_is_slow_to_take_a_ping_is_kept_through_a_connection<F: Channels>() {
    let mut world = slow::<F>(1);
    for _ in 0..200 {
        tick(&mut world);
    }
    assert_eq!(world.ends[1].messages.len(), 1, "{:?}", world.told(0));
    assert_eq!(world.told(0).last().unwrap(), "+/echo");
}

fn d24_a_slow_link_that_takes_nothing_any_more_is_cut_in_time<F: Channels>() {
    let mut world = slow::<F>(2);
    for _ in 0..15 {
        tick(&mut world);
    }
    let died = world.now;
    world.pipe_max = 0;
    // Later than the former only where the other channel has sent something of its own.
    let found = ticks_to_the_end(&mut world, 0);
    assert!(found >= died.after(TEN) && found <= died.after(TEN).after(TEN), "{found:?}");
}

fn d24_a_link_that_died_is_found_within_the_keep_alive_and_the_pong_deadline<F: Channels>() {
    for queued in [0, 220_000] {
        let mut world = pair::<F>(3);
        world.connect(0, 1);
        let died = world.now;
        world.pipe_max = 0;
        if queued > 0 {
            world.send(0, 1, "/echo", vec![7; queued]);
        }
        assert_eq!(ticks_to_the_end(&mut world, 0), died.after(TEN).after(TEN));
    }
}

/// The carrier takes everything, as a kernel does for a while, and nobody is behind it.
fn d24_once_a_ping_has_left_only_what_comes_is_life<F: Channels>() {
    let mut world = pair::<F>(4);
    world.connect(0, 1);
    let died = world.now;
    for second in 1..20 {
        world.now = died.after(TICK * second);
        world.ends[0].endpoint.handle_timeout(world.now);
        world.send(0, 1, "/echo", vec![7; 100]);
        let written = world.ends[0].written.len();
        world.write_all(0);
        assert!(world.ends[0].written.len() > written);
        assert_eq!(world.ends[0].endpoint.connection_count(), 1);
    }
    world.now = died.after(TEN).after(TEN);
    world.ends[0].endpoint.handle_timeout(world.now);
    while let Some(notification) = world.ends[0].endpoint.poll_notification() {
        world.ends[0].notifications.push(notification);
    }
    assert!(world.told(0).last().unwrap().starts_with("disconnected: "), "{:?}", world.told(0));
}

/// Nothing can be opened before the whole record has come, which takes half a minute.
#[test]
fn d24_a_record_that_takes_longer_to_come_than_a_peer_may_be_silent_is_life() {
    let mut config = Config::default();
    config.progress_interval = Duration::from_secs(3600);
    let mut world = pair_with::<Record>(5, config);
    world.connect(0, 1);
    world.pipe_max = 500;
    world.send(0, 1, "/echo", vec![7; 30_000]);
    for _ in 0..90 {
        tick(&mut world);
    }
    for end in [0, 1] {
        assert_eq!(world.told(end).last().unwrap(), "+/echo");
    }
    assert_eq!(world.ends[1].messages.len(), 1);
}
