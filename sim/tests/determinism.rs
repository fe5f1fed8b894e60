//! The same options give the same run, step by step.

use std::time::Duration;

use headwater_sim::{Channel, Mode, Options, run};

fn options(seed: u64) -> Options {
    Options { seed, nodes: 6, time: Duration::from_secs(40), ..Options::default() }
}

/// Two runs are the same in everything that can be seen of them, and so is one that is traced.
fn same_twice(seed: u64, mode: Mode, channel: Channel) {
    let mut options = options(seed);
    (options.mode, options.channel) = (Some(mode), Some(channel));
    let first = run(&options, None).unwrap();
    assert_eq!(run(&options, None).unwrap(), first);
    let mut lines = Vec::new();
    assert_eq!(run(&options, Some(&mut lines)).unwrap(), first);
    let mut again = Vec::new();
    run(&options, Some(&mut again)).unwrap();
    assert!(!lines.is_empty() && lines == again);
}

#[test]
fn whole_and_plain() {
    same_twice(1, Mode::Whole, Channel::Plain);
}

#[test]
fn whole_and_record() {
    same_twice(2, Mode::Whole, Channel::Record);
}

#[test]
fn apart_and_plain() {
    same_twice(3, Mode::Apart, Channel::Plain);
}

#[test]
fn apart_and_record() {
    same_twice(4, Mode::Apart, Channel::Record);
}

#[test]
fn another_seed_is_another_run() {
    let hash = |seed| run(&options(seed), None).unwrap().hash;
    assert_ne!(hash(1), hash(5));
}
