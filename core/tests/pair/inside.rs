//! What nodes say of themselves, over both kinds of channel.

use std::time::Duration;

use headwater_core::contract::TimerKind;
use headwater_core::seed::Seed;
use headwater_core::snapshot::{Blockage, ConnectionStage, Snapshot, Stage};

use crate::harness::{Channels, World, over_both_channels, pair, peer_id, protocol};

over_both_channels!(
    counters_of_both_sides_agree_and_never_shrink,
    a_snapshot_changes_nothing,
    an_inbox_that_nobody_reads_is_named,
    messages_of_an_unknown_protocol_are_counted,
    nothing_is_counted_twice_or_forgotten_whatever_happens,
);

fn snapshot<F: Channels>(world: &World<F>, end: usize) -> Snapshot {
    world.ends[end].endpoint.snapshot(world.now)
}

fn counters_of_both_sides_agree_and_never_shrink<F: Channels>() {
    let mut world = pair::<F>(11);
    world.connect(0, 1);
    let mut before = [0, 0];
    for round in 0..3_u64 {
        for _ in 0..10 {
            world.send(0, 1, "/echo", vec![1; 300]);
            world.send(1, 0, "/echo", vec![2; 20_000]);
        }
        world.run();
        let totals = [0, 1].map(|end| snapshot(&world, end).traffic().total());
        assert_eq!(totals[0].sent, totals[1].received);
        assert_eq!(totals[1].sent, totals[0].received);
        assert_eq!(totals[0].sent.messages, 10 * (round + 1));
        assert_eq!(totals[1].sent.bytes, 200_000 * (round + 1));
        let now = world.now;
        world.ends[0].endpoint.disconnect(now, peer_id(1)).unwrap();
        world.run();
        for (end, before) in before.iter_mut().enumerate() {
            let snapshot = snapshot(&world, end);
            assert_eq!(snapshot.traffic().total(), totals[end]);
            assert_eq!(snapshot.peers_connected(), 0);
            let bytes = snapshot.counters().received_bytes;
            assert!(bytes > std::mem::replace(before, bytes));
        }
        let other = snapshot(&world, 1);
        assert_eq!(other.peer(&peer_id(0)).unwrap().lost.as_ref().unwrap().times, round + 1);
        world.connect(0, 1);
    }
}

fn a_snapshot_changes_nothing<F: Channels>() {
    let run = |looks: bool| {
        let mut world = pair::<F>(12);
        world.connect(0, 1);
        for number in 0..20 {
            world.send(0, 1, "/echo", vec![3; 1000 * number]);
            if looks {
                let both = [0, 1].map(|end| snapshot(&world, end));
                assert_eq!(both, [0, 1].map(|end| snapshot(&world, end)));
            }
        }
        world.run();
        (world.ends[0].written.clone(), world.ends[1].written.clone())
    };
    assert!(run(true) == run(false));
}

fn an_inbox_that_nobody_reads_is_named<F: Channels>() {
    let mut world = pair::<F>(13);
    world.connect(0, 1);
    world.ends[1].takes = false;
    let now = world.now;
    let (peer, echo) = (peer_id(1), protocol("/echo"));
    for _ in 0..2000 {
        let endpoint = &mut world.ends[0].endpoint;
        let _full = endpoint.send(now, &peer, &echo, vec![5; 60_000].into());
        world.run();
    }
    let (sender, reader) = (snapshot(&world, 0), snapshot(&world, 1));
    let blocked = |snapshot: &Snapshot| snapshot.connections[0].blocked.clone();
    assert_eq!(blocked(&reader), [Blockage::Application]);
    let waits = blocked(&sender);
    assert!(
        waits.contains(&Blockage::PeerReads) || waits.contains(&Blockage::Streams),
        "{waits:?}"
    );
    assert!(sender.traffic().total().full > 0);
    let part = &reader.connections[0];
    assert!(part.inbox_bytes >= 1 << 20 && reader.memory() > 1 << 20);
    assert_eq!((part.stage, part.at), (ConnectionStage::Live, world.now));
    assert!(sender.connections[0].timers.iter().any(|timer| timer.why == TimerKind::Send));
    world.ends[1].takes = true;
    world.run();
    assert!(blocked(&snapshot(&world, 1)).is_empty());
}

fn messages_of_an_unknown_protocol_are_counted<F: Channels>() {
    let mut world = pair::<F>(14);
    let begun = world.now;
    world.connect(0, 1);
    let now = world.now;
    let connected = now;
    world.ends[1].endpoint.unregister(now, &protocol("/echo")).unwrap();
    // The other side has not heard of it.
    world.send(0, 1, "/echo", vec![0; 10]);
    world.run();
    let reader = snapshot(&world, 1);
    assert_eq!(reader.counters().unknown, 1);
    assert_eq!(reader.traffic().total().received.messages, 0);
    let peer = reader.peer(&peer_id(0)).unwrap();
    assert_eq!(peer.stage, Stage::Connected);
    let since = peer.since.unwrap();
    assert!(begun <= since && since <= connected, "{begun:?}, {since:?}, {connected:?}");
}

/// Totals only grow, nothing comes that was not accepted, and whatever the application got was
/// counted; where nothing goes wrong, all that was accepted comes.
fn nothing_is_counted_twice_or_forgotten_whatever_happens<F: Channels>() {
    for seed in 0..6 {
        let mut world = pair::<F>(100 + seed);
        // Nothing is lost on the way, or to one that ends, or to a reader that stops.
        let calm = seed % 2 == 0;
        let mut rng = Seed::from_u64(seed).rng("inside", 0);
        world.listen(0);
        let mut before = [[0; 5]; 2];
        let (echo, mut accepted) = (protocol("/echo"), [0, 0]);
        for _ in 0..60 {
            let (end, now) = ((rng.below(2)) as usize, world.now);
            let peer = peer_id(1 - end);
            match rng.below(10) {
                0 if !calm => world.break_links(end),
                1 if !calm => {
                    let _gone = world.ends[end].endpoint.disconnect(now, peer);
                }
                2 if !calm => world.ends[end].takes = !world.ends[end].takes,
                3 => world.advance(Duration::from_secs(rng.below(40))),
                4 | 5 => {
                    let address = world.address(0);
                    let _connected = world.ends[1].endpoint.dial(now, address);
                }
                _ => {
                    for _ in 0..rng.below(30) {
                        let payload = vec![1; [10, 5000, 70_000][rng.below(3) as usize]];
                        let endpoint = &mut world.ends[end].endpoint;
                        let sent = endpoint.send(now, &peer, &echo, payload.into());
                        accepted[end] += u64::from(sent.is_ok());
                    }
                }
            }
            if rng.below(3) > 0 {
                world.run();
            }
            check(&world, &mut before, accepted);
        }
        for end in &mut world.ends {
            end.takes = true;
        }
        world.run();
        world.advance(Duration::from_secs(120));
        check(&world, &mut before, accepted);
        for (end, accepted) in accepted.into_iter().enumerate() {
            let total = snapshot(&world, end).traffic().total();
            let lost = total.lost.connection_lost.messages + total.lost.deadline.messages;
            let came = snapshot(&world, 1 - end).traffic().total().received.messages;
            assert!(world.ends[1 - end].messages.len() as u64 <= came, "seed {seed}");
            let whole = !calm || (accepted, lost) == (came, 0);
            assert!(came <= accepted && whole, "seed {seed}: {accepted} {came} {lost}");
        }
    }
}

fn check<F: Channels>(world: &World<F>, before: &mut [[u64; 5]; 2], accepted: [u64; 2]) {
    for (end, before) in before.iter_mut().enumerate() {
        let snapshot = snapshot(world, end);
        let (total, counters) = (snapshot.traffic().total(), snapshot.counters());
        assert_eq!(total.sent.messages, accepted[end]);
        let lost = total.lost.connection_lost.messages + total.lost.deadline.messages;
        let now =
            [total.received.messages, total.full, lost, counters.received_bytes, counters.writes];
        assert!(now.iter().zip(&*before).all(|(now, before)| now >= before), "{now:?} {before:?}");
        *before = now;
        assert!(snapshot.memory() <= snapshot.node.memory_max);
    }
}
