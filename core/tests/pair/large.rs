//! Messages larger than windows, and more of them than the assembly bound holds.

use std::time::Duration;

use headwater_core::config::Config;
use headwater_core::connection::LaneNews;
use headwater_core::error::{SendError, UndeliveredReason};

use crate::harness::{Channels, Cut, World, over_both_channels, pair_with, peer_id, protocol};

over_both_channels!(
    a_message_of_many_windows_reaches_a_reader_that_takes_its_time,
    a_message_that_does_not_fit_beside_another_waits_for_it,
    messages_that_wait_are_served_in_their_order,
    a_message_that_never_grows_is_reset_and_its_place_is_free,
    a_small_message_is_accepted_and_arrives_while_a_bulk_queue_is_full,
    so_many_bytes_of_bulk_leave_before_a_small_message_that_was_accepted,
    bulk_leaves_credit_to_small_messages,
);

const MIB: usize = 1 << 20;

/// Windows that never grow, and messages of up to 64 MiB.
fn narrow(message_max: usize, assembly_max: usize) -> Config {
    let mut config = Config::default();
    config.message_max = message_max;
    config.assembly_max = assembly_max;
    config.window_inner_max = 262_144;
    config.window_outer_max = 262_144;
    config
}

/// The lengths of what an end got, in the order of their arrival.
fn lengths<F: Channels>(world: &World<F>, end: usize) -> Vec<usize> {
    world.ends[end].messages.iter().map(|message| message.payload.len()).collect()
}

fn payload(len: usize, salt: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 251 + at + salt) as u8).collect()
}

fn a_message_of_many_windows_reaches_a_reader_that_takes_its_time<F: Channels>() {
    let mut world = pair_with::<F>(1, narrow(64 * MIB, 65 * MIB));
    world.connect(0, 1);
    world.ends[1].takes = false;
    let sent = payload(F::LARGE, 1);
    world.send(0, 1, "/echo", sent.clone());
    // It comes as a whole although nobody takes anything.
    world.run();
    world.advance(Duration::from_secs(25));
    world.ends[1].takes = true;
    world.run();
    assert_eq!(world.ends[1].messages.len(), 1);
    assert!(world.ends[1].messages[0].payload == sent);
    // The stream is good for the next one.
    world.send(0, 1, "/echo", vec![1; MIB]);
    world.run();
    assert_eq!(lengths(&world, 1), [F::LARGE, MIB]);
}

fn a_message_that_does_not_fit_beside_another_waits_for_it<F: Channels>() {
    let mut world = pair_with::<F>(2, narrow(2 * MIB, 3 * MIB));
    world.cut = Cut::Random(100_000);
    world.connect(0, 1);
    for salt in 0..2 {
        world.send(0, 1, "/echo", payload(2 * MIB, salt));
    }
    world.run();
    let mut got: Vec<&[u8]> = world.ends[1].messages.iter().map(|m| &m.payload[..]).collect();
    got.sort_unstable();
    assert_eq!(got.len(), 2);
    assert!(got[0] == payload(2 * MIB, 0) && got[1] == payload(2 * MIB, 1));
}

fn messages_that_wait_are_served_in_their_order<F: Channels>() {
    let mut world = pair_with::<F>(3, narrow(2 * MIB, 3 * MIB));
    world.connect(0, 1);
    // Each begins before the next one, and none but the first fits.
    let lens: Vec<usize> = (0..4).map(|n| 2 * MIB - n).collect();
    world.ends[1].takes = false;
    for len in &lens {
        world.send(0, 1, "/echo", vec![7; *len]);
        world.run();
    }
    // The first one is whole and not taken: it holds its place.
    for len in &lens {
        let now = world.now;
        let message = world.ends[1].endpoint.poll_message(now).expect("the next one came");
        assert_eq!(message.payload.len(), *len);
        assert_eq!(world.ends[1].endpoint.poll_message(now), None);
        world.run();
    }
    // Others that are small went past them all the time.
    world.send(0, 1, "/echo", vec![1; 10]);
    world.run();
    assert!(world.ends[1].endpoint.poll_message(world.now).is_some());
}

fn a_message_that_never_grows_is_reset_and_its_place_is_free<F: Channels>() {
    let mut config = narrow(2 * MIB, 3 * MIB);
    // Nothing else is to notice that the link stands still.
    config.keep_alive = Duration::from_secs(60);
    let mut world = pair_with::<F>(4, config);
    world.connect(0, 1);
    let stream = world.ends[0].endpoint.borrow(world.now, &peer_id(1), &protocol("/echo")).unwrap();
    let large = vec![7; 2 * MIB].into();
    world.ends[0].endpoint.send_borrowed(world.now, stream, &protocol("/echo"), large).unwrap();
    for _ in 0..3 {
        world.step();
    }
    world.pipe_max = 0;
    world.advance(Duration::from_secs(22));
    world.pipe_max = 1 << 18;
    world.run();
    let lost = LaneNews::Lost(UndeliveredReason::StreamReset);
    let news = std::iter::from_fn(|| world.ends[0].endpoint.poll_borrowed()).last();
    assert_eq!(news, Some((stream, lost)));
    assert_eq!(world.told(0).last().unwrap(), "undelivered 1");
    for salt in 0..2 {
        world.send(0, 1, "/echo", payload(2 * MIB, salt));
    }
    world.run();
    assert_eq!(lengths(&world, 1), [2 * MIB; 2]);
}

/// Sends messages of one MiB until no more are accepted.
fn fill<F: Channels>(world: &mut World<F>) -> usize {
    let (now, to) = (world.now, peer_id(1));
    let mut accepted = 0;
    loop {
        let payload = payload(MIB, accepted).into();
        match world.ends[0].endpoint.send(now, &to, &protocol("/echo"), payload) {
            Ok(()) => accepted += 1,
            Err(SendError::Full { .. }) => return accepted,
            Err(other) => panic!("{other}"),
        }
    }
}

/// Runs until a small message is there; how many large ones came before, after the first `arrived`.
fn until_small<F: Channels>(world: &mut World<F>, arrived: usize) -> usize {
    loop {
        let mut came = world.ends[1].messages[arrived..].iter();
        if let Some(passed) = came.position(|message| message.payload.len() < MIB) {
            return passed;
        }
        assert!(world.step(), "the small message got lost");
    }
}

fn a_small_message_is_accepted_and_arrives_while_a_bulk_queue_is_full<F: Channels>() {
    let mut world = pair_with::<F>(5, Config::default());
    world.connect(0, 1);
    let mut bulk = fill(&mut world);
    assert!(bulk >= 2, "one on a stream, one that waits");
    for round in 0..6 {
        for _ in 0..round * 20 {
            world.step();
        }
        bulk += fill(&mut world);
        let arrived = world.ends[1].messages.len();
        world.send(0, 1, "/echo", vec![round as u8; 100]);
        let passed = until_small(&mut world, arrived);
        // What was framed before it is the rest of one at most.
        assert!(passed <= 2, "{passed} messages came first");
    }
    world.run();
    let got = lengths(&world, 1);
    assert_eq!(got.iter().filter(|len| **len == MIB).count(), bulk);
    assert_eq!(got.len(), bulk + 6);
}

fn so_many_bytes_of_bulk_leave_before_a_small_message_that_was_accepted<F: Channels>() {
    let mut config = Config::default();
    config.output_max = 64 * 1024;
    let output_max = config.output_max;
    let mut world = pair_with::<F>(6, config);
    world.connect(0, 1);
    // Of a link that takes little at a time the output is as full as it may be.
    world.pipe_max = 1000;
    for round in 0..8 {
        let _bulk = fill(&mut world);
        for _ in 0..round * 50 {
            world.step();
        }
        let (arrived, written) = (world.ends[1].messages.len(), world.ends[0].written.len());
        world.send(0, 1, "/echo", vec![7; 100]);
        until_small(&mut world, arrived);
        let before = world.ends[0].written.len() - written;
        assert!(before < output_max + 2 * world.pipe_max, "{before} bytes left before it");
    }
}

fn bulk_leaves_credit_to_small_messages<F: Channels>() {
    let mut world = pair_with::<F>(7, narrow(64 * MIB, 65 * MIB));
    world.connect(0, 1);
    world.pipe_max = 64 * MIB;
    // The other end reads nothing, and grants nothing.
    world.turns = vec![0];
    let _bulk = fill(&mut world);
    world.run();
    for _ in 0..20 {
        let written = world.ends[0].written.len();
        world.send(0, 1, "/echo", vec![7; 1000]);
        world.run();
        let more = world.ends[0].written.len() - written;
        assert!((1000..2000).contains(&more), "{more} bytes left");
    }
    world.turns = vec![0, 1];
    world.run();
    assert_eq!(lengths(&world, 1).iter().filter(|len| **len == 1000).count(), 20);
}
