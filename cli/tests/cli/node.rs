//! `headwater node`: its configuration, its signals, its end.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Running, headwater, run};

#[test]
fn a_node_runs_until_interrupted_and_ends_in_order() {
    for signal in ["INT", "TERM"] {
        let mut node = Running::start(&["node", "--json"]);
        let listening = node.until(|event| event["event"] == "listening");
        assert_eq!(listening["addresses"].as_array().map(Vec::len), Some(1));
        node.signal(signal);
        let ended = node.wait();
        assert_eq!(ended.status, Some(0), "{ended:?}");
        assert_eq!(ended.stdout.len(), 1);
        let log = ended.stderr.iter().find(|line| line.contains("msg=stopping"));
        assert!(log.is_some_and(|line| line.starts_with("time=")), "{ended:?}");
    }
}

#[test]
fn a_node_whose_output_nobody_reads_ends_at_the_second_signal() {
    let (mut full, kept) = UnixStream::pair().unwrap();
    full.set_nonblocking(true).unwrap();
    while full.write(&[b'x'; 4096]).is_ok() {}
    full.set_nonblocking(false).unwrap();
    let mut command = headwater();
    command.args(["node", "--json"]).stderr(Stdio::piped());
    let mut node = command.stdout(OwnedFd::from(full)).spawn().unwrap();
    let mut log = BufReader::new(node.stderr.take().unwrap()).lines();
    assert!(log.any(|line| line.unwrap().contains("msg=listening")));
    // Two signals at once may count as one.
    let until = Instant::now() + Duration::from_secs(60);
    let status = loop {
        let kill = Command::new("kill").arg("-TERM").arg(node.id().to_string()).status();
        assert!(kill.unwrap().success() && Instant::now() < until);
        thread::sleep(Duration::from_millis(300));
        if let Some(status) = node.try_wait().unwrap() {
            break status;
        }
    };
    assert_eq!(status.code(), Some(143));
    drop(kept);
}

#[test]
fn log_says_how_much_is_logged() {
    for (level, lines) in [("error", 0), ("headwater=info", 2), ("debug", 2)] {
        let mut node = Running::start(&["node", "--log", level]);
        assert!(node.line().starts_with("/ip4/127.0.0.1/tcp/"));
        node.signal("TERM");
        let ended = node.wait();
        let logged = ended.stderr.iter().filter(|line| line.starts_with("time="));
        assert!(logged.count() >= lines, "{ended:?}");
        assert_eq!(ended.stderr.is_empty(), lines == 0, "{ended:?}");
    }
    for wrong in ["a=b=c", "tls=trace"] {
        let ended = run(&["node", "--log", wrong]);
        assert_eq!(ended.status, Some(2), "{ended:?}");
        assert!(ended.stderr.join(" ").contains("node, peer, dial, link"), "{ended:?}");
    }
}

#[test]
fn the_same_trouble_is_logged_once_and_then_counted_unless_every_detail_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.toml");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let quick = "[limits]\nbackoff.first = '10 ms'\nbackoff.ceiling = '20 ms'\n";
    fs::write(&path, format!("peers = ['/ip4/127.0.0.1/tcp/{free}']\n{quick}")).unwrap();
    let path = path.to_str().unwrap();
    for (level, counted) in [("info", true), ("error,dial=debug", false)] {
        let mut node = Running::start(&["node", "--json", "--log", level, "--config", path]);
        for _ in 0..5 {
            node.until(|event| event["event"] == "retrying");
        }
        node.signal("TERM");
        let ended = node.wait();
        let told = |line: &&String| line.contains("target=headwater::dial msg=\"not connected");
        let lines: Vec<&String> = ended.stderr.iter().filter(told).collect();
        if counted {
            assert!(!lines[0].contains("again="), "{ended:?}");
            // What was counted until then does not look like news of a node that stops.
            let place = |what: &str| ended.stderr.iter().position(|line| line.contains(what));
            assert!(place(" again=") < place(" msg=stopping"), "{ended:?}");
            assert!(lines[1].contains("s last=20"), "{ended:?}");
            // One line, unless a minute has passed meanwhile.
            let again = |line: &&String| {
                let (_, again) = line.split_once(" again=").expect("counted");
                again.split(' ').next().unwrap().parse::<u64>().unwrap()
            };
            assert!(lines[1..].iter().map(again).sum::<u64>() >= 4, "{ended:?}");
        } else {
            assert!(lines.len() >= 5, "{ended:?}");
            assert!(lines.iter().all(|line| !line.contains("again=")), "{ended:?}");
        }
    }
}

#[test]
fn a_bad_file_is_told_with_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.toml");
    fs::write(&path, "listen = []\n[limits]\npeers_max = \"many\"\n").unwrap();
    let path = path.to_str().unwrap();
    let ended = run(&["node", "--json", "--config", path]);
    assert_eq!(ended.status, Some(18), "{ended:?}");
    let events = ended.events();
    assert_eq!((&events[0]["event"], &events[0]["status"]), (&"error".into(), &18.into()));
    let message = events[0]["message"].as_str().unwrap();
    let expected = "node.toml:3: limits.peers_max: expected a whole number, found \"many\"";
    assert!(message.ends_with(expected), "{message}");
    assert_eq!(ended.complaint(), format!("headwater: {message}"));
}

#[test]
fn an_address_in_use_and_a_missing_key_have_their_statuses() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    assert_eq!(run(&["node", "--listen", &at]).status, Some(16));
    assert_eq!(run(&["node", "--key", "/nowhere/node.pem"]).status, Some(17));
}

#[test]
fn what_a_node_is_told_is_printed_as_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.toml");
    let args = ["--listen", "127.0.0.1:4100", "--protocol", "/x=log", "--print-config"];
    let printed = run(&[&["node"], &args[..]].concat());
    assert_eq!(printed.status, Some(0), "{printed:?}");
    fs::write(&path, printed.stdout.join("\n")).unwrap();
    let again = run(&["node", "--print-config", "--config", path.to_str().unwrap()]);
    assert_eq!(again.stdout, printed.stdout, "{again:?}");
    assert!(printed.stdout.contains(&"\"/x\" = \"log\"".to_owned()));
}

#[test]
fn the_documented_file_runs_as_it_lies_there() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/node.toml");
    let mut node = Running::start(&["node", "--config", path]);
    assert!(node.line().starts_with("/ip4/127.0.0.1/tcp/"));
    node.signal("TERM");
    assert_eq!(node.wait().status, Some(0));
}

#[test]
fn limits_that_max_memory_lowers_are_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.toml");
    fs::write(&path, "[limits]\nmax_memory = '1 GiB'\n").unwrap();
    let mut node = Running::start(&["node", "--config", path.to_str().unwrap()]);
    let told = node.complaint();
    assert!(told.contains("msg=\"lowered to fit max_memory\""), "{told}");
    assert!(told.contains("limits=\"message_max from 16 MiB to "), "{told}");
}

#[test]
fn a_key_beside_the_file_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("node.pem");
    let id = run(&["keygen", key.to_str().unwrap()]).stdout.remove(0);
    let path = folder.path().join("node.toml");
    fs::write(&path, "key = \"node.pem\"\n").unwrap();
    let mut command = headwater();
    command.args(["node", "--json", "--config"]).arg(&path);
    let mut node = Running::spawn(&mut command);
    let listening = node.until(|event| event["event"] == "listening");
    assert_eq!(listening["id"], Value::from(id));
}

#[test]
fn printing_the_configuration_finds_what_a_start_would() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("node.pem");
    let key = key.to_str().unwrap();
    let id = run(&["keygen", key]).stdout.remove(0);
    let own = format!("/ip4/127.0.0.1/tcp/1/p2p/{id}");
    let token = folder.path().join("token");
    fs::write(&token, "short").unwrap();
    let token = token.to_str().unwrap();
    let many: Vec<String> = (1..=21).map(|port| format!("/ip4/127.0.0.1/tcp/{port}")).collect();
    let many: Vec<&str> = many.iter().flat_map(|peer| ["--peer", peer]).collect();
    for (args, status, says) in [
        (&["--key", "/nowhere/node.pem"][..], 17, "/nowhere/node.pem"),
        (&["--admin", "--admin-token", token], 18, token),
        (&["--admin", "192.0.2.1:1"], 18, "needs a token"),
        (&["--key", key, "--peer", &own], 18, "cannot be kept: that is this node's own id"),
        (&many, 18, "tcp/21 cannot be kept: too many required peers"),
        (&["--peer", "/ip4/127.0.0.1/tcp/1/p2p/Qmfoo"], 2, "no key has the id Qmfoo"),
    ] {
        for more in [&["node", "--print-config"][..], &["node"]] {
            let ended = run(&[more, args].concat());
            assert_eq!(ended.status, Some(status), "{ended:?}");
            assert!(ended.complaint().contains(says), "{ended:?}");
        }
    }
}

#[test]
fn a_peer_that_comes_and_goes_is_logged_a_few_times_and_then_counted() {
    let mut node = Running::start(&["node", "--json", "--log", "info"]);
    let listening = node.until(|event| event["event"] == "listening");
    let address = listening["addresses"][0].as_str().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    let key = key.to_str().unwrap();
    run(&["keygen", key]);
    let start = Instant::now();
    for _ in 0..8 {
        // It ends by itself: the node has no protocol for files.
        assert_eq!(run(&["send", "--key", key, &address]).status, Some(6));
        node.until(|event| event["event"] == "disconnected");
    }
    node.signal("TERM");
    let ended = node.wait();
    for message in [" msg=connected ", " msg=disconnected "] {
        let lines: Vec<_> = ended.stderr.iter().filter(|line| line.contains(message)).collect();
        let (counted, told): (Vec<_>, Vec<_>) =
            lines.iter().partition(|line| line.contains(" again="));
        let again = |line: &&&String| {
            let (_, again) = line.split_once(" again=").unwrap();
            again.split(' ').next().unwrap().parse::<u64>().unwrap()
        };
        let counted: u64 = counted.iter().map(again).sum();
        assert_eq!(told.len() as u64 + counted, 8, "{ended:?}");
        // On a machine so slow that they were in two windows, more of them are written.
        assert!(counted == 3 || start.elapsed() > Duration::from_secs(60), "{ended:?}");
    }
}
