//! Runs that are recorded are the same as others, and every machine of them is run again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use headwater_recorder::{Options as Keep, Recorder, Recording, replay};
use headwater_sim::{Channel, Mode, Options, run, run_recorded};

fn a_recorded_run_replays_to_the_same_outputs(mode: Mode, channel: Channel) {
    let options = Options {
        seed: 5,
        nodes: 6,
        time: Duration::from_secs(40),
        rate: 4.0,
        mode: Some(mode),
        channel: Some(channel),
        ..Options::default()
    };
    let recorders = Mutex::new(Vec::new());
    let recorded = run_recorded(&options, &mut |_, _| {
        let recorder = Recorder::new(Keep { cap: 1 << 30, payloads: true, on_panic: None });
        recorders.lock().unwrap().push(recorder.clone());
        Arc::new(recorder)
    });
    let recorded = recorded.unwrap();
    assert!(recorded.delivered > 100 && recorded.faults > 0, "{recorded:?}");
    assert_eq!(recorded.hash, run(&options, None).unwrap().hash, "recording changes the run");
    let (mut machines, mut steps) = (0, 0);
    for recorder in recorders.into_inner().unwrap() {
        let recording = Recording::from_bytes(recorder.to_bytes()).unwrap();
        for log in &recording.logs {
            match replay::run(log) {
                Ok(done) => steps += done.steps,
                Err(error) => panic!("{:?}: {error}", log.machine()),
            }
            machines += 1;
        }
    }
    assert!(machines > 20 && steps > 2000, "{machines} machines, {steps} steps");
}

#[test]
fn endpoints_on_plain_links() {
    a_recorded_run_replays_to_the_same_outputs(Mode::Whole, Channel::Plain);
}

#[test]
fn endpoints_on_a_channel_of_records() {
    a_recorded_run_replays_to_the_same_outputs(Mode::Whole, Channel::Record);
}

#[test]
fn nodes_and_connections_apart_on_plain_links() {
    a_recorded_run_replays_to_the_same_outputs(Mode::Apart, Channel::Plain);
}

#[test]
fn nodes_and_connections_apart_on_a_channel_of_records() {
    a_recorded_run_replays_to_the_same_outputs(Mode::Apart, Channel::Record);
}
