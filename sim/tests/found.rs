//! Seeds that failed once, each named after what was wrong.

use std::time::Duration;

use headwater_sim::{Options, run};

/// Ten nodes and a minute of faults, as most of these were found.
fn minute(seed: u64) {
    let time = Duration::from_secs(60);
    let options = Options { seed, nodes: 10, time, ..Options::default() };
    if let Err(failure) = run(&options, None) {
        panic!("{failure}\n{}", failure.replay());
    }
}

#[test]
fn streams_granted_in_two_orders_add_up() {
    minute(107);
}

#[test]
fn a_first_connection_leaves_receive_streams_to_the_next() {
    minute(546);
    minute(918);
}

#[test]
fn a_message_that_has_just_begun_is_not_judged_for_its_progress() {
    for seed in [461, 672, 1885, 2380] {
        minute(seed);
    }
}

#[test]
fn marks_in_sealed_output_stand_apart() {
    for seed in [39, 66, 3819] {
        minute(seed);
    }
}

#[test]
fn a_node_that_stops_apart_from_its_connections_keeps_its_books() {
    for seed in [1, 5, 148, 151] {
        minute(seed);
    }
}

#[test]
fn a_slow_link_that_carries_bytes_is_kept() {
    for seed in [151, 423, 1944, 2148] {
        minute(seed);
    }
}

/// Fifty nodes for ten minutes, as `headwater sim` runs them.
fn ten_minutes(seed: u64) {
    let options = Options { seed, nodes: 50, time: Duration::from_secs(600), ..Options::default() };
    if let Err(failure) = run(&options, None) {
        panic!("{failure}\n{}", failure.replay());
    }
}

#[test]
fn a_link_that_a_fault_held_up_is_in_use_only_once_it_has_answered() {
    ten_minutes(140);
}

#[test]
fn a_peer_that_came_back_without_a_protocol_is_not_said_to_have_it() {
    ten_minutes(934);
}

#[test]
fn a_link_that_is_being_closed_on_request_is_not_in_use() {
    ten_minutes(121);
}
