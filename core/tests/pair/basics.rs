//! What a pair of nodes does when nobody misbehaves.

use std::time::Duration;

use headwater_core::config::Config;

use crate::harness::{Channels, Cut, over_both_channels, pair, pair_with, protocol};

over_both_channels!(
    two_nodes_learn_of_each_other_and_of_their_protocols,
    messages_of_all_sizes_arrive_both_ways,
    byte_by_byte_gives_the_same,
    a_late_registration_is_pushed_and_an_early_end_too,
    a_list_that_waited_behind_unread_messages_is_learned_once_they_are_taken,
    stop_closes_in_order_and_tells_both,
    a_broken_link_is_told_with_its_cause_and_protocols_are_lost_first,
);

fn two_nodes_learn_of_each_other_and_of_their_protocols<F: Channels>() {
    let mut world = pair::<F>(1);
    world.connect(0, 1);
    assert_eq!(world.told(0), ["dialed", "connected", "+/echo"]);
    assert_eq!(world.told(1), ["listening", "connected", "+/echo"]);
}

fn messages_of_all_sizes_arrive_both_ways<F: Channels>() {
    let mut world = pair::<F>(2);
    world.cut = Cut::Random(50_000);
    world.connect(0, 1);
    for (from, to) in [(0, 1), (1, 0)] {
        for len in [0, 1, 127, 128, 8191, 8192, 65_536, 300_000, 1 << 20, 8 << 20] {
            let payload: Vec<u8> = (0..len).map(|i| (i * 7 + len) as u8).collect();
            world.send(from, to, "/echo", payload.clone());
            world.run();
            let message = world.ends[to].messages.pop().unwrap();
            assert_eq!(message.payload.len(), len);
            assert!(message.payload == payload);
            assert_eq!(message.peer, world.ends[from].endpoint.local());
        }
    }
}

fn byte_by_byte_gives_the_same<F: Channels>() {
    let mut world = pair::<F>(3);
    world.cut = Cut::Bytes;
    world.connect(0, 1);
    world.send(0, 1, "/echo", vec![7; 1000]);
    world.run();
    assert_eq!(world.ends[1].messages[0].payload, vec![7; 1000]);
}

fn a_late_registration_is_pushed_and_an_early_end_too<F: Channels>() {
    let mut world = pair::<F>(4);
    world.connect(0, 1);
    world.ends[0].notifications.clear();
    let now = world.now;
    world.ends[1].endpoint.register(now, protocol("/late")).unwrap();
    world.run();
    assert_eq!(world.told(0), ["+/late"]);
    world.ends[1].endpoint.unregister(now, &protocol("/late")).unwrap();
    world.run();
    assert_eq!(world.told(0), ["+/late", "-/late"]);
}

fn a_list_that_waited_behind_unread_messages_is_learned_once_they_are_taken<F: Channels>() {
    let mut config = Config::default();
    config.inbox_max = 4096;
    let mut world = pair_with::<F>(4, config);
    world.connect(0, 1);
    world.ends[1].takes = false;
    world.send(0, 1, "/echo", vec![0; 5000]);
    world.run();
    world.ends[0].endpoint.register(world.now, protocol("/late")).unwrap();
    world.run();
    world.ends[1].takes = true;
    world.run();
    assert_eq!(world.told(1).last().unwrap(), "+/late");
    // It was answered, or it would be pushed again: a probe is all that leaves.
    let before = world.ends[0].written.len();
    world.advance(Duration::from_secs(11));
    assert!(world.ends[0].written.len() - before < 120);
}

fn stop_closes_in_order_and_tells_both<F: Channels>() {
    let mut world = pair::<F>(5);
    world.connect(0, 1);
    world.send(0, 1, "/echo", vec![1; 100_000]);
    let now = world.now;
    world.ends[0].endpoint.stop(now);
    world.run();
    assert_eq!(world.ends[1].messages.len(), 1);
    assert_eq!(world.told(0).last().unwrap(), "stopped");
    assert!(world.told(1).contains(&"disconnected: closed by the peer".to_string()));
    world.advance(Duration::from_secs(20));
    assert!(world.ends[0].endpoint.is_stopped());
}

fn a_broken_link_is_told_with_its_cause_and_protocols_are_lost_first<F: Channels>() {
    let mut world = pair::<F>(6);
    world.connect(0, 1);
    world.ends[0].notifications.clear();
    world.break_links(1);
    world.run();
    let told = world.told(0);
    let (last, lost) = told.split_last().unwrap();
    assert_eq!(last, "disconnected: reset by the other side");
    assert_eq!(lost, ["-/echo"]);
}
