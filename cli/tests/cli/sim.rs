//! `headwater sim`: what it says while it runs, and when it is interrupted.

use serde_json::Value;

use crate::program::{Running, run};

const SMALL: [&str; 7] = ["sim", "--nodes", "3", "--minutes", "0.1", "--seeds", "0..3"];

#[test]
fn it_says_what_it_does_and_then_what_it_came_to() {
    let ended = run(&SMALL);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let first = &ended.stderr[0];
    assert!(first.contains("3 seeds of 3 nodes, 0.1 min simulated"), "{ended:?}");
    assert!(ended.stdout[0].starts_with("3 seeds, 0 failed: "), "{ended:?}");
    let ended = run(&[&SMALL[..], &["--json"]].concat());
    assert!(ended.stderr.is_empty(), "{ended:?}");
    let events = ended.events();
    let last = events.last().unwrap();
    assert_eq!((&last["seeds"], &last["asked"]), (&Value::from(3), &Value::from(3)));
}

#[test]
fn numbers_that_make_no_sense_are_told_as_such() {
    let said = |args: &[&str]| {
        let ended = run(args);
        assert_eq!(ended.status, Some(2), "{ended:?}");
        ended.stderr[0].clone()
    };
    let one = run(&["sim", "--nodes", "2", "--minutes", "0.05", "--seeds", "7"]);
    assert!(one.stderr[0].contains(" 1 seed of 2 nodes"), "{one:?}");
    assert!(one.stdout[0].starts_with("1 seed, 0 failed"), "{one:?}");
    assert!(said(&["sim", "--jobs", "0"]).contains("a whole number is expected, 1 or more"));
    for (option, command) in [
        ("--jobs", &["sim"][..]),
        ("--nodes", &["sim"]),
        ("--seeds", &["sim"]),
        ("--minutes", &["sim"]),
        ("--rate", &["sim"]),
        ("--timeout", &["listen"]),
        ("--timeout", &["send", "/x"]),
        ("--from", &["replay", "x"]),
        ("--to", &["replay", "x"]),
        ("--record-cap", &["node", "--record", "x"]),
    ] {
        let told = said(&[command, &[option, "-5"]].concat());
        assert!(told.contains("invalid value '-5'") || told.contains("-5 is not in"), "{told}");
        assert!(told.contains(option), "{told}");
    }
}

#[test]
fn an_interrupt_ends_it_with_what_there_is() {
    // More than anybody waits for; runs that are under way are not waited for either.
    let many = ["sim", "--nodes", "60", "--minutes", "1000", "--seeds", "0..1000000"];
    let mut sim = Running::start(&many);
    assert!(sim.complaint().contains("1000000 seeds"));
    sim.signal("INT");
    let ended = sim.wait();
    assert_eq!(ended.status, Some(130), "{ended:?}");
    assert!(ended.stdout[0].contains(" of 1000000 seeds were over; until then:"), "{ended:?}");
    assert!(ended.stdout[1].contains(" seeds, 0 failed: "), "{ended:?}");

    let few = ["sim", "--nodes", "2", "--minutes", "0.05", "--seeds", "0..1000000", "--json"];
    let mut sim = Running::start(&few);
    sim.until(|event| event["event"] == "seed");
    sim.signal("TERM");
    let ended = sim.wait();
    assert_eq!(ended.status, Some(143));
    let events = ended.events();
    let summary = events.iter().find(|event| event["event"] == "simulated").unwrap();
    let seeds = summary["seeds"].as_u64().unwrap();
    assert!((1..1_000_000).contains(&seeds) && summary["asked"] == 1_000_000, "{summary}");
    assert_eq!(events.last().unwrap()["code"], "sigterm");
}
