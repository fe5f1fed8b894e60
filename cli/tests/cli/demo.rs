//! `headwater demo`, whole.

use crate::program::{Running, run};
use serde_json::Value;

#[test]
fn six_nodes_talk_across_runtimes_and_every_checksum_is_right() {
    let ended = run(&["demo", "--json"]);
    assert_eq!(ended.status, Some(0), "{:?} {:?}", ended.stdout.last(), ended.stderr);
    let events = ended.events();
    let table = events.last().unwrap();
    assert_eq!((&table["event"], &table["ok"]), (&Value::from("table"), &Value::from(true)));

    let nodes = table["nodes"].as_array().unwrap();
    let on = |runtime: &str| nodes.iter().filter(|node| node["runtime"] == runtime).count();
    assert_eq!((nodes.len(), on("tokio"), on("smol"), on("mio")), (6, 2, 2, 2));

    let traffic = table["traffic"].as_array().unwrap();
    let runtimes = ["tokio", "smol", "mio"];
    for (from, to) in runtimes.iter().flat_map(|from| runtimes.map(|to| (*from, to))) {
        let row = traffic.iter().find(|row| row["from"] == from && row["to"] == to).unwrap();
        assert_eq!(row["messages"], row["expected"], "{row}");
        assert_eq!(row["checksums_right"], row["expected"], "{row}");
        assert_eq!(row["checksums_wrong"], 0, "{row}");
        assert!(row["bytes"].as_u64() >= Some(8 << 20), "{row}");
    }
    assert_eq!(table["pairs"].as_array().unwrap().len(), 30);
    for change in table["protocols"].as_array().unwrap() {
        assert_eq!(change["seen_by"], 5, "{change}");
    }
    let healing = table["healing"].as_array().unwrap();
    let faults: Vec<&Value> = healing.iter().map(|healed| &healed["fault"]).collect();
    assert_eq!(faults, ["killed and restarted", "cut off for a while"]);
    assert!(healing.iter().all(|healed| healed["peers"] == 5), "{healing:?}");

    let sizes = |from: u64, to: u64| {
        let fits = |event: &&Value| {
            event["event"] == "message" && (from..=to).contains(&event["bytes"].as_u64().unwrap())
        };
        events.iter().filter(fits).count()
    };
    assert!(sizes(0, 0) >= 30 && sizes(8 << 20, 8 << 20) == 30);
    let of_all = |event: &&Value| event["event"] == "table" || event["event"] == "admin";
    assert!(events.iter().filter(|event| !of_all(event)).all(|event| event["node"].is_string()));
    assert!(events.iter().any(|event| event["event"] == "admin"));
    let unsupported = events
        .iter()
        .filter(|event| event["event"] == "unsupported" && event["protocol"] == "/demo/gone/1.0.0");
    assert!(unsupported.count() >= 5);
}

#[test]
fn what_is_kept_stays_until_interrupted() {
    let mut demo = Running::start(&["demo", "--keep"]);
    let told = demo.complaint();
    let (_, url) = told.split_once("what the nodes are doing, until interrupted: ").unwrap();
    while !demo.complaint().contains("the nodes stay until interrupted") {}
    let status = run(&["status", "--json", "--admin", url]);
    assert_eq!(status.status, Some(0), "{status:?}");
    let nodes: Value = serde_json::from_str(&status.stdout[0]).unwrap();
    assert!(nodes["nodes"].as_array().unwrap().iter().all(|node| node["running"] == true));
    demo.signal("INT");
    let ended = demo.wait();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(!ended.stdout.iter().any(|line| line.contains("interrupted")), "{ended:?}");
}

#[test]
fn an_interrupt_ends_it() {
    let mut demo = Running::start(&["demo", "--json"]);
    demo.until(|event| event["event"] == "message");
    demo.signal("INT");
    let ended = demo.wait();
    assert_eq!(ended.status, Some(130), "{:?}", ended.stderr);
    assert!(ended.complaint().contains("interrupted"));
    let events = ended.events();
    let table = events.iter().find(|event| event["event"] == "table").unwrap();
    assert_eq!((&table["ok"], &table["interrupted"]), (&false.into(), &true.into()));
    let failure = events.last().unwrap();
    assert_eq!((&failure["event"], &failure["code"]), (&"error".into(), &"sigint".into()));
}

#[test]
fn an_interrupted_demo_says_so_and_judges_nothing() {
    for signal in ["INT", "TERM"] {
        let mut demo = Running::start(&["demo"]);
        while !demo.complaint().contains("sending messages") {}
        demo.signal(signal);
        let ended = demo.wait();
        assert_eq!(ended.status, Some(if signal == "INT" { 130 } else { 143 }), "{ended:?}");
        let first = &ended.stdout[0];
        assert!(first.starts_with("interrupted while sending messages"), "{ended:?}");
        assert!(ended.stdout.last().unwrap().contains("nothing was off until then"), "{ended:?}");
    }
}
