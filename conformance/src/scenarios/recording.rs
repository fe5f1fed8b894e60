//! Nodes are recorded, and what was recorded is run again.

use std::thread::scope;

use headwater_core::address::Address;
use headwater_core::id::PeerId;
use headwater_recorder::{Log, Machine, Options, Recorder, Recording, ReplayError, Step, replay};

use crate::pair::{ANY_PORT, id, is_disconnected, key, patient, payload, test};
use crate::{Adapter, LONG, Messages, Node, Running, Stream};

/// Lengths of messages; a gap between two lots of small ones.
const SIZES: [usize; 9] = [0, 1, 128, 4096, 8191, 8192, 65_536, 262_145, 1 << 20];

/// Small messages of one lot.
const SMALL: usize = 500;

/// Both ends come to the same outputs from their own recordings: messages both ways at once, a
/// stream of one's own, a peer that goes and comes back, the end.
pub fn a_recorded_session_replays_to_the_same_outputs<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let recorder = || Recorder::new(Options { cap: 1 << 30, payloads: true, on_panic: None });
    let (of_one, of_two) = (recorder(), recorder());
    let mut one = start(a, "one", &of_one);
    let mut two = start(b, "two", &of_two);
    let local = one.node.listen(ANY_PORT).unwrap();
    for _ in 0..2 {
        assert_eq!(two.node.dial(Address::from(local)), Ok(id("one")));
        one.await_support(id("two"));
        scope(|scope| {
            scope.spawn(|| send(&one.node, id("two")));
            scope.spawn(|| send(&two.node, id("one")));
            scope.spawn(|| receive(&mut one.messages));
            scope.spawn(|| receive(&mut two.messages));
        });
        let mut stream = two.node.borrow(id("one"), &test(), LONG).unwrap();
        for number in 0..20 {
            stream.send_wait(payload(number, 5000), LONG).unwrap();
        }
        for number in 0..20 {
            assert_eq!(one.message().payload, payload(number, 5000));
        }
        drop(stream);
        two.node.disconnect(id("one")).unwrap();
        one.told_until(is_disconnected);
    }
    two.stop();
    one.stop();
    check(&of_one);
    check(&of_two);
}

fn start<A: Adapter>(adapter: &A, name: &str, recorder: &Recorder) -> Running<A> {
    let running = adapter.start_recorded(&key(name), patient(), Some(recorder.clone()));
    running.node.register(test()).unwrap();
    running
}

fn send(node: &impl Node, to: PeerId) {
    for len in SIZES {
        for number in 0..SMALL / SIZES.len() {
            node.send_wait(to, &test(), payload(number, 100), LONG).unwrap();
        }
        node.send_wait(to, &test(), payload(len, len), LONG).unwrap();
    }
}

fn receive(messages: &mut impl Messages) {
    for _ in 0..SIZES.len() * (1 + SMALL / SIZES.len()) {
        messages.recv(LONG).unwrap();
    }
}

/// The steps of a machine before the one that differs.
fn before(log: &Log, error: &ReplayError) -> Vec<String> {
    let ReplayError::Diverged { sequence, .. } = error else { return Vec::new() };
    let steps: Vec<Step<'_>> = log.steps().take_while(|step| step.sequence <= *sequence).collect();
    let last = steps.iter().rev().take(24).rev();
    last.map(|step| format!("{} {:?} {:.200}", step.sequence, step.at, format!("{:?}", step.note)))
        .collect()
}

/// Everything was recorded from birth to end, and is repeated.
fn check(recorder: &Recorder) {
    let recording = Recording::from_bytes(recorder.to_bytes()).unwrap();
    assert_eq!(recording.logs.len(), 3);
    for log in &recording.logs {
        assert!(log.closed && log.lost == 0, "{:?}", log.machine());
        let least = if log.machine() == Machine::Node { 20 } else { 100 };
        assert!(log.len() > least, "{:?}: {} steps", log.machine(), log.len());
        match replay::run(log) {
            Ok(done) => assert_eq!(done.steps, log.len()),
            Err(error) => {
                panic!("{:?}: {error}; before it {:#?}", log.machine(), before(log, &error))
            }
        }
    }
}
