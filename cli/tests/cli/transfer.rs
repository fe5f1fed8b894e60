//! Files from one process to another.

use std::fs;

use crate::program::{Running, headwater, listen, listening, names, noise, run};
use sha2::{Digest as _, Sha256};

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn files_of_every_size_arrive_with_the_same_sum() {
    let folder = tempfile::tempdir().unwrap();
    for len in [0, 1, 5 << 20] {
        let bytes = noise(len);
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, &bytes).unwrap();
        let (listener, address) = listen(&to, &[]);
        let sent = run(&["send", &address, from.to_str().unwrap()]);
        let received = listener.end();
        assert_eq!((sent.status, received.status), (Some(0), Some(0)), "{sent:?} {received:?}");
        assert_eq!(fs::read(&to).unwrap(), bytes);
        let sum = format!("{len} bytes, sha256 {}", hex(&bytes));
        assert_eq!(sent.stdout, [format!("sent {sum}")]);
        assert_eq!(received.stdout[1..], [format!("received {sum} as {}", to.display())]);
        assert_eq!(names(folder.path()), ["from", "to"]);
    }
}

#[test]
fn standard_input_arrives_on_standard_output() {
    let mut command = headwater();
    command.args(["listen", "--output", "-"]);
    let mut listener = Running::spawn(&mut command);
    let address = listener.complaint();
    let mut sender = Running::start(&["send", &address]);
    sender.write(b"one line\n");
    // The bytes come through while the sender is still open.
    assert_eq!(listener.line(), "one line");
    sender.write(b"another\n");
    let (sent, received) = (sender.end(), listener.end());
    assert_eq!((sent.status, received.status), (Some(0), Some(0)), "{sent:?} {received:?}");
    assert_eq!(received.stdout, ["one line", "another"]);
    let sum = format!("17 bytes, sha256 {}", hex(b"one line\nanother\n"));
    assert_eq!(received.complaint(), format!("received {sum}"));
}

#[test]
fn a_folder_gets_the_file_under_its_name_and_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("a.txt"), folder.path().join("to"));
    fs::write(&from, "water").unwrap();
    fs::create_dir(&to).unwrap();
    fs::write(to.join("a.txt"), "old").unwrap();
    let (listener, address) = listen(&to, &[]);
    let sent = run(&["send", &address, from.to_str().unwrap()]);
    assert_eq!((sent.status, listener.end().status), (Some(0), Some(0)), "{sent:?}");
    assert_eq!(names(&to), ["a-1.txt", "a.txt"]);
    assert_eq!(fs::read(to.join("a-1.txt")).unwrap(), b"water");
    assert_eq!(fs::read(to.join("a.txt")).unwrap(), b"old");
}

#[test]
fn a_listener_that_keeps_on_serves_many_and_ends_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("to");
    let (mut listener, address) = listen(&to, &["--keep"]);
    for text in ["first", "second"] {
        let mut sender = Running::start(&["send", &address, "-"]);
        sender.write(text.as_bytes());
        assert_eq!(sender.end().status, Some(0));
        assert!(listener.line().starts_with("received "));
        assert_eq!(fs::read(&to).unwrap(), text.as_bytes());
    }
    listener.signal("TERM");
    let ended = listener.end();
    assert_eq!(ended.status, Some(0), "{ended:?}");
}

#[test]
fn a_protocol_of_ones_own_and_a_key_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (key, to) = (folder.path().join("key"), folder.path().join("to"));
    let id = run(&["keygen", key.to_str().unwrap()]).stdout.remove(0);
    let (listener, address) =
        listen(&to, &["--protocol", "/mine/1.0.0", "--key", key.to_str().unwrap()]);
    assert!(address.ends_with(&format!("/p2p/{id}")), "{address}");
    let sent = run(&["send", "--protocol", "/mine/1.0.0", &address]);
    assert_eq!((sent.status, listener.end().status), (Some(0), Some(0)), "{sent:?}");
    assert_eq!(fs::read(&to).unwrap(), b"");
}

#[test]
fn events_have_the_documented_names_and_fields() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = headwater();
    command.args(["listen", "--json", "--output"]).arg(folder.path().join("to"));
    let (listener, address) = listening(&mut command);
    let mut sender = Running::start(&["--json", "send", &address]);
    sender.write(&noise(600_000));
    let (sent, received) = (sender.end(), listener.end());
    assert_eq!((sent.status, received.status), (Some(0), Some(0)), "{sent:?} {received:?}");
    for run in [&sent, &received] {
        for event in run.events() {
            let fields: Vec<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
            let name = event["event"].as_str().unwrap();
            // The map is sorted here; that `event` comes first was checked before.
            let expected: &[&str] = match name {
                "listening" => &["addresses", "event", "id"],
                "connected" => &["event", "peer"],
                "disconnected" => &["code", "event", "peer", "reason"],
                "supported" | "unsupported" => &["event", "peer", "protocol"],
                "message" => &["bytes", "event", "peer", "protocol"],
                "progress" => &["bytes", "event", "total"],
                "done" => &["bytes", "event", "sha256"],
                _ => panic!("{event} is not documented"),
            };
            assert_eq!(fields, expected);
        }
    }
    let of = |run: &crate::program::Ended, name: &str| -> Vec<serde_json::Value> {
        run.events().into_iter().filter(|event| event["event"] == name).collect()
    };
    for run in [&sent, &received] {
        for name in ["connected", "supported", "message", "disconnected"] {
            assert!(!of(run, name).is_empty(), "{name}: {run:?}");
        }
        assert_eq!(of(run, "progress").last().unwrap()["bytes"], 600_000);
        let done = of(run, "done");
        assert_eq!(done.len(), 1);
        assert_eq!(done[0]["bytes"], 600_000);
        assert_eq!(done[0]["sha256"], hex(&noise(600_000)));
    }
    assert_eq!(of(&received, "listening").len(), 1);
}
