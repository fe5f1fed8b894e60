//! A fixed band of seeds, few nodes and a short storm each; `headwater sim` runs more.

use std::time::Duration;

use headwater_sim::{Options, run};

fn seeds(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let time = Duration::from_secs(60);
        let options = Options { seed, nodes: 8, time, deep_every: 16, ..Options::default() };
        if let Err(failure) = run(&options, None) {
            panic!("{failure}\n{}", failure.replay());
        }
    }
}

#[test]
fn seeds_0_to_15() {
    seeds(0..16);
}

#[test]
fn seeds_16_to_31() {
    seeds(16..32);
}

#[test]
fn a_network_without_faults_loses_nothing() {
    for seed in 0..8 {
        let time = Duration::from_secs(60);
        let options = Options { seed, nodes: 8, time, faults: false, ..Options::default() };
        let outcome = run(&options, None).unwrap();
        assert_eq!((outcome.faults, outcome.undelivered), (0, 0), "seed {seed}");
        assert!(outcome.healed_after <= Duration::from_secs(30), "seed {seed}: {outcome:?}");
    }
}
