//! What the secure channel adds: an end that is announced, bytes that cannot be changed, output of
//! its own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_core::config::Config;
use headwater_core::contract::LinkCommand;
use headwater_core::secure::Insecure;

use crate::harness::{
    Channels, Cut, World, over_both_channels, pair, pair_with, peer_id, protocol,
};
use crate::record::{OVERHEAD, PLAIN_MAX, Record};

over_both_channels!(
    a_disconnect_ends_both_links_in_order_without_any_time_passing,
    a_refused_peer_is_let_go_in_order,
    a_violation_ends_the_link_without_any_time_passing,
    small_slabs_are_enough,
    few_slabs_are_enough_for_an_application_that_keeps_messages,
    what_has_left_is_let_go_of_although_the_output_never_runs_empty,
);

const IN_ORDER: [LinkCommand; 2] = [LinkCommand::Finish, LinkCommand::Close];

fn a_disconnect_ends_both_links_in_order_without_any_time_passing<F: Channels>() {
    for by in [0, 1] {
        let mut world = pair::<F>(by as u64);
        world.connect(0, 1);
        world.send(0, 1, "/echo", vec![3; 50_000]);
        world.send(1, 0, "/echo", vec![4; 50_000]);
        let peer = world.ends[1 - by].endpoint.local();
        world.ends[by].endpoint.disconnect(world.now, peer).unwrap();
        world.run();
        assert_eq!(world.ends[1 - by].messages.len(), 1);
        assert_eq!(world.told(by).last().unwrap(), "disconnected: closed on request");
        assert_eq!(world.told(1 - by).last().unwrap(), "disconnected: closed by the peer");
        for end in &world.ends {
            assert_eq!(end.link_commands, IN_ORDER);
            assert_eq!(end.endpoint.next_timeout(), None);
        }
    }
}

fn a_refused_peer_is_let_go_in_order<F: Channels>() {
    let mut world = pair::<F>(2);
    world.listen(1);
    let wrong = world.address(1).with_peer(peer_id(5));
    world.ends[0].endpoint.dial(world.now, wrong).unwrap();
    world.run();
    assert!(world.told(0)[0].starts_with("dial failed: "), "{:?}", world.told(0));
    for end in &world.ends {
        assert_eq!(end.link_commands, IN_ORDER);
        assert_eq!(end.endpoint.next_timeout(), None);
    }
}

fn a_violation_ends_the_link_without_any_time_passing<F: Channels>() {
    let mut world = pair::<F>(3);
    world.connect(0, 1);
    let from_here = world.ends[0].written.len();
    // The version of the next outer frame, or a byte of the next record.
    world.ends[0].damaged = Some(from_here);
    world.send(0, 1, "/echo", vec![3; 5000]);
    world.run();
    assert!(world.ends[1].messages.is_empty());
    let told = world.told(1);
    assert!(told.last().unwrap().starts_with("disconnected: "), "{told:?}");
    assert_eq!(world.ends[1].link_commands.first(), Some(&LinkCommand::Finish));
    assert!(world.told(0).last().unwrap().starts_with("disconnected: "));
    for end in &world.ends {
        assert_eq!(end.endpoint.next_timeout(), None);
    }
}

fn small_slabs_are_enough<F: Channels>() {
    let mut config = Config::default();
    config.slab = 4096;
    config.slabs_max = 4;
    let mut world = pair_with::<F>(4, config);
    world.connect(0, 1);
    for len in [0, 5000, 100_000, 1 << 20] {
        world.send(0, 1, "/echo", vec![1; len]);
        world.run();
        assert_eq!(world.ends[1].messages.pop().map(|message| message.payload.len()), Some(len));
    }
}

/// They pin slabs until no further one can be spared; from then on messages are copied.
fn few_slabs_are_enough_for_an_application_that_keeps_messages<F: Channels>() {
    for slab in [4096, 34 << 10, 64 << 10] {
        let mut config = Config::default();
        config.slab = slab;
        config.slabs_max = 4;
        let mut world = pair_with::<F>(4, config);
        world.connect(0, 1);
        world.ends[1].takes = false;
        let (mut kept, mut count) = (Vec::new(), 0);
        for len in (0..60).map(|at| 3000 + at * 71).chain([100_000, 1 << 20]).chain([50; 20]) {
            world.send(0, 1, "/echo", vec![1; len]);
            world.run();
            count += 1;
            let now = world.now;
            kept.extend(world.ends[1].endpoint.poll_message(now));
            assert_eq!(kept.len(), count, "slabs of {slab} bytes");
            assert_eq!(kept[count - 1].payload, vec![1; len]);
        }
        world.advance(Duration::from_secs(60));
        assert_eq!(world.told(1).last().unwrap(), "+/echo");
    }
}

/// A payload that is counted as long as somebody holds it.
struct Counted(#[expect(dead_code, reason = "it counts")] Arc<()>, Vec<u8>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.1
    }
}

fn what_has_left_is_let_go_of_although_the_output_never_runs_empty<F: Channels>() {
    const LEN: usize = 20_000;
    let mut world = pair::<F>(8);
    world.connect(0, 1);
    world.pipe_max = 8 << 10;
    let connection = world.links_of(0)[0];
    let (count, peer) = (Arc::new(()), world.ends[1].endpoint.local());
    let (mut sent, mut most) = (0, 0);
    while sent < 300 {
        let node = &mut world.ends[0].endpoint;
        let payload = || Bytes::from_owner(Counted(Arc::clone(&count), vec![7; LEN]));
        while node.send(world.now, &peer, &protocol("/echo"), payload()).is_ok() {
            sent += 1;
        }
        world.step();
        most = most.max(Arc::strong_count(&count) - 1);
        assert!(world.ends[0].endpoint.wants_transmit(connection));
    }
    // Two outboxes, four on streams, and the output.
    assert!(most < (256 << 10) * 3 / LEN + 10, "{most} payloads are held");
    world.run();
    assert_eq!(world.ends[1].messages.len(), sent);
    assert_eq!(Arc::strong_count(&count), 1);
}

fn damaged_anywhere(at: usize) -> World<Record> {
    let mut world = pair::<Record>(5);
    world.connect(0, 1);
    world.ends[0].damaged = Some(world.ends[0].written.len() + at);
    world.send(0, 1, "/echo", vec![3; 20_000]);
    world.run();
    world
}

#[test]
fn a_byte_that_was_changed_on_its_way_is_never_a_message() {
    for at in (0..6).chain([PLAIN_MAX - 1, PLAIN_MAX + 5, PLAIN_MAX + OVERHEAD, 19_000]) {
        let world = damaged_anywhere(at);
        assert!(world.ends[1].messages.is_empty(), "{at}");
        let told = world.told(1);
        assert!(told.last().unwrap().contains("secure channel: "), "{at}: {told:?}");
    }
}

#[test]
fn what_came_before_a_changed_byte_arrives_even_in_the_same_read() {
    let mut world = pair::<Record>(5);
    world.connect(0, 1);
    world.send(0, 1, "/echo", vec![3; 200]);
    world.write_all(0);
    world.ends[0].damaged = Some(world.ends[0].written.len() + 50);
    world.send(0, 1, "/echo", vec![4; 200]);
    world.write_all(0);
    world.run();
    assert_eq!(world.ends[1].messages.len(), 1);
    assert_eq!(world.ends[1].messages[0].payload, vec![3; 200]);
}

#[test]
fn an_end_that_was_not_announced_is_told_as_a_cut() {
    let mut world = pair::<Record>(6);
    world.connect(0, 1);
    world.cut_off(1);
    world.run();
    let told = world.told(0);
    assert_eq!(told.last().unwrap(), "disconnected: secure channel: cut off before its end");
}

#[test]
fn an_end_inside_a_record_is_noticed_at_once() {
    let mut world = pair::<Record>(9);
    world.connect(0, 1);
    world.pipe_max = 100;
    world.send(0, 1, "/echo", vec![3; 5000]);
    world.write_all(0);
    world.cut_off(0);
    world.run();
    let told = world.told(1);
    assert_eq!(told.last().unwrap(), "disconnected: secure channel: cut off before its end");
}

#[test]
fn the_plain_channel_takes_an_end_between_frames_for_an_end() {
    let mut world = pair::<Insecure>(6);
    world.connect(0, 1);
    world.cut_off(1);
    world.run();
    assert_eq!(world.told(0).last().unwrap(), "disconnected: closed by the peer");
}

#[test]
fn new_keys_are_answered_where_nobody_sends_messages() {
    let mut world = pair::<Record>(7);
    world.cut = Cut::Random(700);
    world.connect(0, 1);
    for round in 0..50 {
        world.send(0, 1, "/echo", vec![round; 1000]);
        world.run();
    }
    assert_eq!(world.ends[1].messages.len(), 50);
    // Each key was answered, or the next one would have made the records unreadable.
    world.send(1, 0, "/echo", vec![9]);
    world.run();
    assert_eq!(world.ends[0].messages.len(), 1);
}
