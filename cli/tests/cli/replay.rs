//! `headwater node --record` and `headwater replay`.

use std::fs;

use crate::program::{Running, run};

#[test]
fn a_recorded_node_is_shown_and_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (one, two) = (place("one"), place("two"));
    let mut first = Running::start(&["node", "--json", "--record", &one, "--record-payloads"]);
    let listening = first.until(|event| event["event"] == "listening");
    let address = listening["addresses"][0].as_str().unwrap().to_owned();
    let id = listening["id"].as_str().unwrap().to_owned();
    let mut second = Running::start(&["node", "--json", "--peer", &address, "--record", &two]);
    second.until(|event| event["event"] == "connected");
    first.until(|event| event["event"] == "connected");
    first.signal("USR1");
    second.signal("INT");
    assert_eq!(second.wait().status, Some(0));
    first.until(|event| event["event"] == "disconnected");
    first.signal("INT");
    assert_eq!(first.wait().status, Some(0));

    let shown = run(&["replay", &one]);
    assert_eq!(shown.status, Some(0), "{shown:?}");
    let has = |what: &str| shown.stdout.iter().any(|line| line.contains(what));
    for what in ["node      listen(", "outer data, stream", "reports ", "node: "] {
        assert!(has(what), "{what:?} is not in {shown:?}");
    }
    let again = shown.stdout.iter().filter(|line| line.ends_with("run again: the same"));
    assert_eq!(again.count(), 2, "{shown:?}");

    // Without payloads what the node did is run again, and its link is read.
    let shown = run(&["replay", &two, "--json", "--peer", &id[..6]]).events();
    let logs: Vec<_> = shown.iter().filter(|event| event["event"] == "log").collect();
    assert_eq!(logs.len(), 2, "{logs:?}");
    assert_eq!((&logs[0]["machine"], &logs[0]["repeated"]), (&"node".into(), &true.into()));
    assert_eq!(logs[1]["reason"], "payloads were not recorded");
    let mut steps = shown.iter().filter(|event| event["event"] == "step");
    assert!(steps.clone().count() > 10);
    assert!(steps.all(|step| step["peer"] == id || step["text"].to_string().contains(&id)));

    let nobody = run(&["replay", &one, "--peer", "Qmzzzz"]);
    assert_eq!(nobody.status, Some(19), "{nobody:?}");
    assert_eq!(run(&["replay", &one, "--from", "2", "--to", "1"]).status, Some(2));
    let late = run(&["replay", &one, "--from", "100000"]);
    assert_eq!(late.stdout.len(), 3, "{late:?}");
    assert!(late.stdout[0].starts_with("     SECONDS  MACHINE   WHAT "), "{late:?}");
    assert!(fs::metadata(place("one.1")).is_ok(), "nothing was written when it was asked for");
}

#[test]
fn a_recording_that_was_cut_is_shown_as_far_as_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let place = path.to_str().unwrap();
    let mut node = Running::start(&["node", "--record", place]);
    assert!(node.line().starts_with("/ip4/"));
    node.signal("INT");
    assert_eq!(node.wait().status, Some(0));
    let whole = run(&["replay", place]);
    assert_eq!(whole.status, Some(0), "{whole:?}");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 40]).unwrap();
    let cut = run(&["replay", place]);
    assert_eq!(cut.status, Some(12), "{cut:?}");
    let end = format!("cut off: it ends at byte {}; what was whole was shown", bytes.len() - 40);
    assert!(cut.complaint().ends_with(&end), "{cut:?}");
    let (steps, last) = (cut.stdout.len() - 1, cut.stdout.last().unwrap());
    assert!(steps > 3 && steps < whole.stdout.len() - 1, "{cut:?}");
    assert_eq!(cut.stdout[..steps], whole.stdout[..steps]);
    assert!(last.starts_with("node: ") && last.ends_with("run again: the same"), "{cut:?}");
    let other = run(&["replay", place, "--peer", "Qmzzzz"]);
    assert_eq!(other.status, Some(12), "{other:?}");
    assert!(other.complaint().ends_with("that peer is not in what is whole"), "{other:?}");
    fs::write(&path, &bytes[..20]).unwrap();
    assert_eq!(run(&["replay", place]).status, Some(12));
}

#[test]
fn a_file_that_is_no_recording_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let place = path.to_str().unwrap();
    fs::write(&path, "something else").unwrap();
    let refused = run(&["replay", place]);
    assert_eq!(refused.status, Some(12), "{refused:?}");
    assert!(refused.stderr[0].contains("not a recording of a Headwater node"), "{refused:?}");
    let taken = run(&["node", "--record", place]);
    assert_eq!(taken.status, Some(11), "{taken:?}");
    assert!(taken.stderr[0].contains("exists already"), "{taken:?}");
}

#[test]
fn where_nothing_can_be_written_nothing_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("no folder").join("file");
    let ended = run(&["node", "--record", place.to_str().unwrap()]);
    assert_eq!(ended.status, Some(11), "{ended:?}");
    assert!(ended.stderr[0].contains("no folder"), "{ended:?}");
    let free = folder.path().join("file");
    let checked = run(&["node", "--record", free.to_str().unwrap(), "--print-config"]);
    assert_eq!(checked.status, Some(0), "{checked:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}
