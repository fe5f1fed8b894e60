//! What was recorded of endpoints in memory is read, and run again.

mod pair;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use headwater_core::config::Config;
use headwater_core::contract::Notification;
use headwater_core::record::Note;
use headwater_recorder::{
    Log, Machine, Options, ReadError, Recorder, Recording, ReplayError, Timeline, WriteError,
    replay,
};
use pair::{DIALER, LISTENER, Pair, id};
use proptest::prelude::*;

fn keeping() -> Options {
    Options { payloads: true, ..Options::default() }
}

fn payload(number: usize, len: usize) -> Bytes {
    (0..len).map(|at| (at * 31 + number * 17 + at / 251) as u8).collect()
}

/// Messages of all sizes, a borrowed stream, two connections one after the other, a stop.
fn session(config: Config, options: Options) -> Pair {
    live(Pair::new(config, options))
}

fn live(mut pair: Pair) -> Pair {
    for number in 0..300 {
        pair.send(payload(number, number % 200));
        if number % 50 == 0 {
            pair.send(payload(number, 10_000 + number));
        }
        if number % 100 == 0 {
            pair.send(payload(number, 300_000));
            pair.settle();
        }
    }
    pair.settle();
    let (now, to, of) = (pair.now, id(LISTENER), pair.protocol.clone());
    let stream = pair.one.endpoint.borrow(now, &to, &of).unwrap();
    for number in 0..10 {
        let message = payload(number, 1000 * number);
        pair.one.endpoint.send_borrowed(pair.now, stream, &of, message).unwrap();
    }
    pair.settle();
    pair.one.endpoint.give_back(pair.now, stream);
    pair.wait(Duration::from_secs(11));
    pair.one.endpoint.disconnect(pair.now, id(LISTENER)).unwrap();
    pair.send_back_to_rest();
    pair.link();
    pair.send(payload(1, 100));
    pair.settle();
    pair.two.endpoint.stop(pair.now);
    pair.send_back_to_rest();
    pair
}

impl Pair {
    /// Lets an end come through on both sides.
    fn send_back_to_rest(&mut self) {
        for _ in 0..4 {
            self.wait(Duration::from_millis(1));
        }
    }
}

fn read(recorder: &Recorder) -> Recording {
    Recording::from_bytes(recorder.to_bytes()).unwrap()
}

fn assert_repeats(recording: &Recording) {
    for log in &recording.logs {
        match replay::run(log) {
            Ok(done) => assert_eq!(done.steps, log.len()),
            Err(error) => panic!("{:?}: {error}", log.machine()),
        }
    }
}

#[test]
fn a_recorded_session_replays_to_the_same_outputs() {
    let pair = session(Config::default(), keeping());
    assert_eq!(pair.two.received.len(), 300 + 6 + 3 + 10 + 1);
    assert!(pair.two.told.contains(&Notification::Stopped));
    for side in [&pair.one, &pair.two] {
        let recording = read(&side.recorder);
        assert_eq!(recording.logs.len(), 3);
        assert!(recording.logs.iter().all(|log| log.lost == 0 && log.len() > 20));
        assert_repeats(&recording);
    }
}

#[test]
fn compressed_messages_replay_too() {
    let mut config = Config::default();
    config.compress = true;
    let mut pair = Pair::new(config, keeping());
    pair.send(Bytes::from(vec![7; 5000]));
    pair.send(Bytes::from(vec![8; 500_000]));
    pair.settle();
    assert_eq!(pair.two.received.len(), 2);
    assert_repeats(&read(&pair.one.recorder));
    assert_repeats(&read(&pair.two.recorder));
}

#[test]
fn the_machines_do_the_same_with_a_tape_and_without() {
    let without = live(Pair::with(Config::default(), None));
    assert!(read(&without.one.recorder).logs.is_empty(), "it is not recorded");
    for options in [keeping(), Options::default()] {
        let with = session(Config::default(), options);
        assert_eq!(with.now, without.now);
        assert_eq!(with.two.received, without.two.received);
        assert_eq!(with.one.told, without.one.told);
    }
}

#[test]
fn without_payloads_a_node_is_run_again_and_a_connection_is_read() {
    let secret = Bytes::from_static(b"nobody writes this anywhere");
    let mut pair = Pair::new(Config::default(), Options::default());
    pair.send(secret.clone());
    pair.settle();
    assert_eq!(pair.two.received, [&secret]);
    for side in [&pair.one, &pair.two] {
        let bytes = side.recorder.to_bytes();
        assert!(!bytes.windows(8).any(|part| part == &secret[..8]));
        let recording = Recording::from_bytes(bytes).unwrap();
        for log in &recording.logs {
            match log.machine() {
                Machine::Node => assert_eq!(replay::run(log).unwrap().steps, log.len()),
                Machine::Connection(_) => {
                    assert_eq!(replay::run(log), Err(ReplayError::NoPayloads));
                }
            }
        }
    }
}

#[test]
fn messages_that_a_connection_leaves_over_are_blank_in_a_node_that_is_run_again() {
    let mut pair = Pair::new(Config::default(), Options::default());
    for number in 0..100 {
        let (to, of) = (id(LISTENER), pair.protocol.clone());
        pair.one.endpoint.send(pair.now, &to, &of, payload(number, 2000)).unwrap();
    }
    pair.one.cut(pair.now);
    pair.wait(Duration::from_secs(1));
    let undelivered = |told: &Notification| matches!(told, Notification::Undelivered { .. });
    assert!(pair.one.told.iter().any(undelivered));
    let recording = read(&pair.one.recorder);
    assert_eq!(replay::run(&recording.logs[0]).unwrap().steps, recording.logs[0].len());
}

#[test]
fn a_timeline_shows_frame_by_frame_what_happened() {
    let mut pair = Pair::new(Config::default(), Options::default());
    pair.send(payload(1, 100));
    pair.settle();
    let recording = read(&pair.two.recorder);
    let lines: Vec<_> = Timeline::new(&recording).collect();
    assert!(lines.is_sorted_by_key(|line| (line.at, line.sequence)));
    // Each machine knows the time that it was last told, so its steps stay in their order.
    for machine in [Machine::Node, recording.logs[1].machine()] {
        let own = lines.iter().filter(|line| line.machine == machine);
        assert!(own.is_sorted_by_key(|line| line.sequence));
    }
    let shows = |what: &str| {
        let frame = |line: &String| line.contains(what);
        lines.iter().any(|line| line.text.contains(what) || line.frames.iter().any(frame))
    };
    for what in [
        "listen(127.0.0.1:1)",
        &format!("the other side is {DIALER}"),
        "outer credit, stream 1 SYN",
        "uni data, stream ",
        "bi credit, stream ",
        "notification Connected",
        "hands out 1 messages, 100 bytes",
    ] {
        assert!(shows(what), "{what} is not in {lines:#?}");
    }
    let of_connection = lines.iter().filter(|line| line.machine != Machine::Node);
    assert!(of_connection.clone().count() > 0);
    assert!(of_connection.into_iter().all(|line| line.peer == Some(id(DIALER))));
}

#[test]
fn whole_logs_of_closed_connections_go_first_then_a_live_one_is_a_timeline() {
    let options = Options { cap: 5_000_000, ..keeping() };
    let mut pair = Pair::new(Config::default(), options);
    for number in 0..3 {
        pair.send(payload(number, 500_000));
        pair.settle();
        pair.one.endpoint.disconnect(pair.now, id(LISTENER)).unwrap();
        pair.send_back_to_rest();
        pair.link();
    }
    let recording = read(&pair.one.recorder);
    assert!(recording.logs.iter().all(|log| log.lost == 0));
    assert_eq!(recording.logs.iter().filter(|log| log.closed).count(), 3);
    for number in 0..10 {
        pair.send(payload(number, 500_000));
        pair.settle();
    }
    assert!(pair.one.recorder.memory() <= 5_000_000);
    let recording = read(&pair.one.recorder);
    let [node, connection] = &recording.logs[..] else { panic!("{} logs", recording.logs.len()) };
    assert_eq!((node.lost, connection.closed), (0, false));
    assert!(connection.lost > 0);
    assert_eq!(replay::run(node).unwrap().steps, node.len());
    let lost = connection.lost;
    assert_eq!(replay::run(connection), Err(ReplayError::Timeline { lost }));
    assert!(Timeline::new(&recording).filter(|line| line.machine != Machine::Node).count() > 10);
}

#[test]
fn a_change_of_what_was_recorded_is_named_by_its_step() {
    let mut pair = Pair::new(Config::default(), keeping());
    pair.send(Bytes::from_static(b"it was 4711"));
    pair.settle();
    let bytes = pair.one.recorder.to_bytes();
    let place = bytes.windows(11).position(|part| part == b"it was 4711").unwrap();
    let mut changed = bytes;
    changed[place + 7] = b'9';
    let recording = Recording::from_bytes(headwater_recorder::fuzz::mend(&changed)).unwrap();
    let error = replay::run(&recording.logs[1]).unwrap_err();
    let ReplayError::Diverged { recorded, repeated, .. } = &error else { panic!("{error}") };
    assert!(recorded.contains("framed") && repeated.contains("framed"), "{error}");
}

#[test]
fn a_file_is_private_and_takes_no_others_place() {
    let pair = Pair::new(Config::default(), Options::default());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.hwrec");
    pair.one.recorder.write(&path).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let recording = Recording::read(&path).unwrap();
    assert_eq!(recording.logs.len(), 2);
    assert!(matches!(pair.one.recorder.write(&path), Err(WriteError::Exists(_))));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_machine_that_ends_in_a_panic_leaves_a_recording() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("panic.hwrec");
    let options = Options { on_panic: Some(path.clone()), ..keeping() };
    let broken = std::thread::spawn(move || {
        let _pair = Pair::new(Config::default(), options);
        panic!("an invariant is broken");
    });
    assert!(broken.join().is_err());
    assert_repeats(&Recording::read(&path).unwrap());
}

#[test]
fn a_file_that_is_no_recording_says_so() {
    let error = |bytes: &[u8]| Recording::from_bytes(bytes.to_vec()).unwrap_err();
    assert!(matches!(error(b""), ReadError::Foreign));
    assert!(matches!(error(b"#!/bin/sh\n"), ReadError::Foreign));
    let bytes = Recorder::new(Options::default()).to_bytes();
    assert!(matches!(error(&bytes[..5]), ReadError::CutOff { at: 5 }));
    let mut newer = bytes.clone();
    newer[8] += 1;
    assert!(matches!(error(&newer), ReadError::Version { found: 2, known: 1 }));
    assert!(matches!(error(&[&bytes[..], b"more"].concat()), ReadError::Malformed { .. }));
    assert!(Recording::from_bytes(bytes).unwrap().logs.is_empty());
}

#[test]
fn any_damage_to_any_byte_is_noticed() {
    let mut pair = Pair::new(Config::default(), Options::default());
    pair.send(payload(1, 100));
    let bytes = pair.one.recorder.to_bytes();
    for at in 0..bytes.len() {
        for change in [1, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= change;
            let error = Recording::from_bytes(damaged).unwrap_err();
            assert!(!matches!(error, ReadError::Io(_)), "{error}");
        }
        let error = Recording::from_bytes(bytes[..at].to_vec()).unwrap_err();
        assert!(matches!(error, ReadError::CutOff { .. } | ReadError::Foreign), "{at}: {error}");
    }
}

#[test]
fn what_is_whole_of_a_file_that_was_cut_is_read() {
    let mut pair = Pair::new(Config::default(), Options::default());
    pair.send(payload(1, 100));
    let bytes = pair.one.recorder.to_bytes();
    let whole = Recording::from_bytes(bytes.clone()).unwrap();
    let steps = |log: &Log| log.steps().map(|step| step.sequence).collect::<Vec<_>>();
    let (mut most, mut seen) = (0, BTreeSet::new());
    for at in 0..bytes.len() {
        let Ok((part, end)) = Recording::salvage(bytes[..at].to_vec()) else {
            assert_eq!(most, 0, "{at}: what was there is not there any more");
            continue;
        };
        assert!(matches!(end, Some(ReadError::CutOff { .. })), "{at}: {end:?}");
        for (log, whole) in part.logs.iter().zip(&whole.logs) {
            assert!(steps(whole).starts_with(&steps(log)), "{at}");
        }
        let count = part.logs.iter().map(Log::len).sum();
        assert!(count >= most, "{at}");
        most = count;
        seen.insert(count);
        // Whatever there is can be shown, and run again.
        assert_eq!(Timeline::new(&part).count(), count);
    }
    // Step by step, and in the end all of them.
    let all = whole.logs.iter().map(Log::len).sum::<usize>();
    assert_eq!((most, seen.len()), (all, all + 1));
    let (_, end) = Recording::salvage(bytes).unwrap();
    assert!(end.is_none());
}

#[test]
fn what_comes_between_reading_and_the_word_of_it_is_repeated_too() {
    let mut pair = Pair::new(Config::default(), keeping());
    pair.send(Bytes::from_static(b"first"));
    pair.read_and_stop();
    pair.send_back_to_rest();
    assert_eq!(pair.two.received, ["first"]);
    let recording = read(&pair.two.recorder);
    let read = recording.logs[1].steps().any(|step| matches!(step.note, Note::Read(1..)));
    assert!(read, "nothing came between");
    assert_repeats(&recording);
}

/// A short session, in the two forms that there are.
fn short(payloads: bool) -> Vec<u8> {
    let mut pair = Pair::new(Config::default(), Options { payloads, ..Options::default() });
    pair.send(payload(1, 300));
    pair.settle();
    pair.two.endpoint.stop(pair.now);
    pair.send_back_to_rest();
    pair.two.recorder.to_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_stands_behind_right_checksums_is_no_danger(
        payloads: bool,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut bytes = short(payloads);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        headwater_recorder::fuzz::mended(&bytes);
    }
}

#[test]
fn the_corpus_of_the_fuzz_target_holds() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/recording");
    let mut files = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        headwater_recorder::fuzz::file(&bytes);
        headwater_recorder::fuzz::mended(&bytes);
        files += 1;
    }
    assert!(files >= 10);
}
