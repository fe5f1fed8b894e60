//! Ways to use the adapter that others do not have: batches, and two loops on one thread.

mod pair;

use std::time::{Duration, Instant};

use headwater_mio::{Address, Batch, Config, Notification};
use pair::{LONG, build, connect, id, payload, protocol, start};

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
