//! Two nodes meet, learn each other's protocols, and send messages of all sizes both ways.

mod pair;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use headwater_mio::{
    Address, Batch, Config, Handle, Messages, Notification, PeerId, ProtocolId, Started,
};
use pair::{LONG, await_notification, build, connect, id, payload, protocol, start};

const SIZES: [usize; 16] = [
    0,
    1,
    100,
    127,
    128,
    4096,
    8191,
    8192,
    8193,
    65_535,
    65_536,
    262_143,
    262_145,
    1 << 20,
    3 << 20,
    8 << 20,
];

#[test]
fn messages_of_all_sizes_cross_both_ways_at_once() {
    let mut one = start("one", Config::default());
    let mut two = start("two", Config::default());
    connect(&mut one, &mut two);
    std::thread::scope(|scope| {
        for (from, to) in [(&one.handle, two.handle.id()), (&two.handle, one.handle.id())] {
            scope.spawn(move || {
                for (number, size) in SIZES.into_iter().enumerate() {
                    let message = payload(number, size).into();
                    from.send_wait(&to, &protocol(), message, LONG).unwrap();
                }
            });
        }
        scope.spawn(|| receive_all(&mut one.messages, two.handle.id()));
        scope.spawn(|| receive_all(&mut two.messages, one.handle.id()));
    });
    for node in [one, two] {
        node.handle.stop();
        node.thread.join().unwrap().unwrap();
    }
}

fn receive_all(messages: &mut Messages, from: PeerId) {
    // Messages may overtake each other; their lengths tell them apart.
    let mut missing: BTreeMap<usize, usize> =
        SIZES.into_iter().enumerate().map(|(number, size)| (size, number)).collect();
    while !missing.is_empty() {
        let message = messages.recv_timeout(LONG).unwrap();
        assert_eq!((message.peer, message.protocol), (from, protocol()));
        let number = missing.remove(&message.payload.len()).expect("it was sent, and came once");
        assert!(message.payload == payload(number, message.payload.len()));
    }
    assert!(messages.try_recv().is_none());
}

#[test]
fn many_small_messages_arrive_each_once() {
    const COUNT: u32 = 50_000;
    let mut one = start("one", Config::default());
    let mut two = start("two", Config::default());
    connect(&mut one, &mut two);
    let mut seen = vec![false; COUNT as usize];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut sender = two.handle.sender(&one.handle.id(), &protocol()).unwrap();
            for number in 0..COUNT {
                let payload = number.to_be_bytes().repeat(32).into();
                sender.send_wait(payload, LONG).unwrap();
            }
        });
        let mut left = COUNT;
        while left > 0 {
            let batch: &mut Batch = one.messages.recv_batch(LONG).unwrap();
            while let Some(message) = batch.pop_ref() {
                let (number, rest) = message.payload.split_first_chunk().unwrap();
                assert_eq!(rest.len(), 124);
                let seen = &mut seen[u32::from_be_bytes(*number) as usize];
                assert!(!std::mem::replace(seen, true));
                left -= 1;
            }
        }
    });
    assert!(seen.into_iter().all(|seen| seen));
}

#[test]
fn protocols_gained_and_lost_are_told_and_decide_what_may_be_sent() {
    let mut one = start("one", Config::default());
    let mut two = start("two", Config::default());
    connect(&mut one, &mut two);
    let (peer, late) = (one.handle.id(), ProtocolId::new("/late/1").unwrap());
    assert!(two.handle.supports(&peer, &protocol()) && !two.handle.supports(&peer, &late));
    assert!(two.handle.protocols(&peer).unwrap().contains("/test/1.0.0"));
    let error = two.handle.send(&peer, &late, "early".into()).unwrap_err();
    assert!(matches!(error, headwater_mio::SendError::NotSupported { .. }));

    one.handle.register(late.clone()).unwrap();
    let gained = Notification::Supported { peer, protocol: late.clone() };
    await_notification(&mut two.notifications, |told| *told == gained);
    two.handle.send(&peer, &late, "now".into()).unwrap();
    assert_eq!(one.messages.recv_timeout(LONG).unwrap().payload, "now");

    one.handle.unregister(&late).unwrap();
    let lost = Notification::Unsupported { peer, protocol: late.clone() };
    await_notification(&mut two.notifications, |told| *told == lost);
    assert!(!two.handle.supports(&peer, &late));

    assert_eq!(two.handle.peers(), [peer]);
    two.handle.disconnect(peer).unwrap();
    for (notifications, other) in
        [(&mut one.notifications, two.handle.id()), (&mut two.notifications, peer)]
    {
        await_notification(
            notifications,
            |told| matches!(told, Notification::Disconnected { peer, .. } if *peer == other),
        );
    }
    assert!(two.handle.peers().is_empty() && two.handle.disconnect(peer).is_err());
}

#[test]
fn two_loops_share_a_thread_with_their_application() {
    let mut one = build("one", Config::default());
    let mut two = build("two", Config::default());
    one.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let (mut echoes, mut sent) = (0, false);
    let end = Instant::now() + LONG;
    while Instant::now() < end {
        let one_runs = one.turn(Some(Duration::from_millis(1))).unwrap();
        while let Some(told) = one.poll_notification() {
            if let Notification::Listening { local, .. } = told {
                two.dial(Address::from(local).with_peer(id("one"))).unwrap();
            }
        }
        while let Some(message) = one.poll_message() {
            one.send(&message.peer, &message.protocol, message.payload).unwrap();
        }
        let two_runs = two.turn(Some(Duration::from_millis(1))).unwrap();
        while let Some(told) = two.poll_notification() {
            if matches!(told, Notification::Supported { protocol: p, .. } if p == protocol()) {
                for size in [0, 1000, 100_000] {
                    two.send(&id("one"), &protocol(), payload(size, size).into()).unwrap();
                }
                sent = true;
            }
        }
        while let Some(message) = two.poll_message() {
            let len = message.payload.len();
            assert!(message.payload == payload(len, len));
            echoes += 1;
            if echoes == 3 {
                one.stop();
                two.stop();
            }
        }
        if !one_runs && !two_runs {
            break;
        }
    }
    assert!(sent && echoes == 3 && one.is_stopped() && two.is_stopped());
}

#[test]
fn a_dropped_reader_makes_messages_vanish_and_the_node_goes_on() {
    let mut one = start("one", Config::default());
    let mut two = start("two", Config::default());
    connect(&mut one, &mut two);
    let Started { handle, messages, mut notifications, .. } = one;
    two.handle.send(&handle.id(), &protocol(), "read".into()).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    drop(messages);
    // Far more than all windows and queues hold.
    let big = bytes::Bytes::from(vec![1; 1 << 20]);
    for _ in 0..100 {
        two.handle.send_wait(&handle.id(), &protocol(), big.clone(), LONG).unwrap();
    }
    two.handle.stop();
    await_notification(&mut notifications, |told| {
        matches!(told, Notification::Disconnected { .. })
    });
    let _: &Handle = &handle;
}
