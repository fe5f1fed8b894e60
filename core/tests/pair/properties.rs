//! Properties of a pair of nodes under any operation list: determinism (P2), back-pressure (P6),
//! conservation (P7), time (P8).

use std::time::Duration;

use headwater_core::config::Config;
use headwater_core::error::SendError;
use headwater_core::secure::Insecure;
use headwater_core::time::Instant;
use proptest::prelude::*;

use crate::harness::{Channels, Cut, over_both_channels, pair, peer_id, protocol};
use crate::record::Record;
use crate::script::{Op, Run, calm_ops, cuts, stormy_ops};

const START: Instant = Instant::from_nanos(1_000_000_000);

pub(crate) fn cases(count: u32) -> ProptestConfig {
    // `PROPTEST_CASES` asks for more.
    let asked = ProptestConfig::default().cases;
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { asked } else { count };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Everything that came out of a run: bytes, notifications, messages.
type Outcome = Vec<(Vec<u8>, Vec<String>, Vec<u64>)>;

fn outcome<F: Channels>(now: Instant, wobbles: bool, seed: u64, cut: Cut, ops: &[Op]) -> Outcome {
    let mut run = Run::<F>::new(now, seed, cut);
    run.world.wobbles = wobbles;
    run.world.connect(0, 1);
    run.apply_all(ops);
    run.finish();
    let side =
        |end: usize| (run.world.ends[end].written.clone(), run.world.told(end), run.got(end));
    vec![side(0), side(1)]
}

fn nothing_is_lost_on_a_calm_network<F: Channels>(seed: u64, cut: Cut, ops: &[Op]) {
    let mut run = Run::<F>::new(START, seed, cut);
    run.world.connect(0, 1);
    run.apply_all(ops);
    run.finish();
    for end in 0..2 {
        let got = run.got(1 - end);
        for ((by, _), sent) in &run.borrowed {
            if *by == end {
                let arrived: Vec<u64> =
                    got.iter().filter(|number| sent.contains(number)).copied().collect();
                assert_eq!(arrived, *sent, "order on a borrowed stream");
            }
        }
        let mut sorted = got;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..run.accepted[end]).collect::<Vec<_>>());
    }
    run.check_end();
}

fn a_stormy_network_comes_to_rest<F: Channels>(seed: u64, cut: Cut, ops: &[Op]) {
    let mut run = Run::<F>::new(START, seed, cut);
    run.world.connect(0, 1);
    run.apply_all(ops);
    run.finish();
    run.check_end();
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn p2_the_same_inputs_give_the_same_bytes(
        seed: u64, cut in cuts(), ops in stormy_ops(), record: bool,
    ) {
        let outcome = if record { outcome::<Record> } else { outcome::<Insecure> };
        prop_assert!(outcome(START, false, seed, cut, &ops) == outcome(START, false, seed, cut, &ops));
    }

    #[test]
    fn p7_nothing_is_lost_on_a_calm_network_plain(
        seed: u64, cut in cuts(), ops in calm_ops(),
    ) {
        nothing_is_lost_on_a_calm_network::<Insecure>(seed, cut, &ops);
    }

    #[test]
    fn p7_nothing_is_lost_on_a_calm_network_record(
        seed: u64, cut in cuts(), ops in calm_ops(),
    ) {
        nothing_is_lost_on_a_calm_network::<Record>(seed, cut, &ops);
    }

    #[test]
    fn p7_a_stormy_network_comes_to_rest_plain(
        seed: u64, cut in cuts(), ops in stormy_ops(),
    ) {
        a_stormy_network_comes_to_rest::<Insecure>(seed, cut, &ops);
    }

    #[test]
    fn p7_a_stormy_network_comes_to_rest_record(
        seed: u64, cut in cuts(), ops in stormy_ops(),
    ) {
        a_stormy_network_comes_to_rest::<Record>(seed, cut, &ops);
    }

    #[test]
    fn p8_a_clock_that_goes_backwards_counts_as_standing_still(
        seed: u64, cut in cuts(), ops in stormy_ops(),
    ) {
        let steady = outcome::<Insecure>(START, false, seed, cut, &ops);
        prop_assert!(steady == outcome::<Insecure>(START, true, seed, cut, &ops));
    }

    #[test]
    fn p8_the_origin_of_time_does_not_matter(
        seed: u64, cut in cuts(), ops in stormy_ops(), shift in 0..u64::MAX / 4,
    ) {
        let later = START.after(Duration::from_nanos(shift));
        let here = outcome::<Insecure>(START, false, seed, cut, &ops);
        prop_assert!(here == outcome::<Insecure>(later, false, seed, cut, &ops));
    }
}

over_both_channels!(
    p6_a_reader_that_stops_stops_the_sender_and_nothing_is_lost,
    p6_one_reader_that_stops_does_not_hold_up_the_other_direction,
    p8_an_idle_pair_wakes_up_only_to_probe,
);

/// Sends until the outbox is full and stays full; gives how many messages were accepted.
fn send_until_full<F: Channels>(run: &mut Run<F>, len: usize) -> u64 {
    loop {
        let number = run.accepted[0];
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(len, number as u8);
        let world = &mut run.world;
        let (now, to) = (world.now, peer_id(1));
        match world.ends[0].endpoint.send(now, &to, &protocol("/echo"), payload.into()) {
            Ok(()) => run.accepted[0] += 1,
            Err(SendError::Full { payload }) => {
                assert_eq!(payload.len(), len, "the payload is handed back");
                if !world.step() {
                    return number;
                }
            }
            Err(other) => panic!("{other}"),
        }
    }
}

fn p6_a_reader_that_stops_stops_the_sender_and_nothing_is_lost<F: Channels>() {
    for len in [100, 6000, 70_000, 1 << 20] {
        let mut run = Run::<F>::new(START, 1, Cut::Whole);
        run.world.connect(0, 1);
        run.world.ends[1].takes = false;
        let count = send_until_full(&mut run, len);
        let config = Config::default();
        // Outboxes, output and pipe here; the inbox and the windows of the streams there.
        let bound = 3 * config.outbox_max
            + config.output_max
            + run.world.pipe_max
            + config.inbox_max
            + config.assembly_max
            + (config.receive_streams_max << 18)
            + config.window_growth_max as usize
            + 4 * len;
        assert!(count as usize * len <= bound, "{count} messages of {len} bytes were accepted");
        run.world.advance(Duration::from_secs(5));
        assert!(run.world.ends[1].messages.is_empty());
        run.finish();
        let mut got = run.got(1);
        got.sort_unstable();
        assert_eq!(got, (0..count).collect::<Vec<_>>());
        // And it takes more.
        run.world.send(0, 1, "/echo", vec![0; 8]);
        run.check_end();
    }
}

fn p6_one_reader_that_stops_does_not_hold_up_the_other_direction<F: Channels>() {
    let mut run = Run::<F>::new(START, 2, Cut::Whole);
    run.world.connect(0, 1);
    run.world.ends[1].takes = false;
    send_until_full(&mut run, 5000);
    for round in 1..100_usize {
        run.world.send(1, 0, "/echo", vec![0; 20_000]);
        run.world.run();
        assert_eq!(run.world.ends[0].messages.len(), round);
    }
}

fn p8_an_idle_pair_wakes_up_only_to_probe<F: Channels>() {
    let mut world = pair::<F>(3);
    world.connect(0, 1);
    world.advance(Duration::from_secs(30));
    let before = [0, 1].map(|end| world.ends[end].written.len());
    let mut wakes = 0;
    let end = world.now.after(Duration::from_secs(100));
    while world.now < end {
        let next = world.ends.iter().filter_map(|end| end.endpoint.next_timeout()).min().unwrap();
        assert!(next.at > world.now);
        world.advance(next.at.since(world.now));
        wakes += 1;
    }
    assert!(wakes <= 40, "{wakes} times in 100 s");
    for (end, before) in before.into_iter().enumerate() {
        // A ping and its answer every 10 s, each perhaps in a record, or three with new keys.
        assert!(world.ends[end].written.len() - before <= 20 * 4 * 34);
        assert!(!world.told(end).iter().any(|told| told.starts_with("disconnected")));
    }
}
