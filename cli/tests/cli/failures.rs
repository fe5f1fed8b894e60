//! What goes wrong has a status of its own, says so, and leaves no half file.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::program::{Ended, Running, headwater, listen, listening, names, noise, run};

const ID: &str = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";

/// A sender of standard input, and a listener that has received some of it.
fn midway(to: &Path) -> (Running, Running, String) {
    let (mut listener, address) = listen(to, &["--json"]);
    let mut sender = Running::start(&["send", "--json", &address]);
    sender.write(&noise(100_000));
    listener.until(|event| event["event"] == "message" && event["bytes"].as_u64() > Some(1000));
    (sender, listener, address)
}

fn check(ended: &Ended, status: i32, says: &str) {
    assert_eq!(ended.status, Some(status), "{ended:?}");
    assert!(ended.complaint().starts_with("headwater: "), "{ended:?}");
    assert!(ended.complaint().contains(says), "{ended:?}");
}

#[test]
fn unknown_address() {
    let address = format!("/dns/headwater.invalid/tcp/1/p2p/{ID}");
    check(&run(&["send", &address]), 3, "headwater.invalid");
}

#[test]
fn refused_connection() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("/ip4/127.0.0.1/tcp/{free}/p2p/{ID}");
    let ended = run(&["send", "--json", &address]);
    check(&ended, 4, "refused");
    let events = ended.events();
    assert_eq!(events.len(), 1, "{ended:?}");
    assert_eq!((&events[0]["event"], &events[0]["status"]), (&"error".into(), &4.into()));
    assert_eq!(format!("headwater: {}", events[0]["message"].as_str().unwrap()), ended.complaint());
}

#[test]
fn wrong_peer() {
    let folder = tempfile::tempdir().unwrap();
    let (mut listener, address) = listen(&folder.path().join("to"), &[]);
    let (host, right) = address.rsplit_once('/').unwrap();
    let ended = run(&["send", &format!("{host}/{ID}")]);
    check(&ended, 5, ID);
    assert!(ended.complaint().contains(right), "{ended:?}");
    // The listener goes on waiting for the right one.
    let mut sender = Running::start(&["send", &address]);
    sender.write(b"x");
    assert_eq!(sender.end().status, Some(0));
    assert!(listener.line().starts_with("received 1 bytes"));
    assert_eq!(listener.end().status, Some(0));
}

#[test]
fn peer_without_the_protocol() {
    let folder = tempfile::tempdir().unwrap();
    let (_listener, address) = listen(&folder.path().join("to"), &["--protocol", "/other/1.0.0"]);
    check(&run(&["send", &address]), 6, "/headwater/file/1.0.0");
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn a_second_sender_is_refused_and_the_first_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("to");
    let (first, listener, address) = midway(&to);
    check(&run(&["send", &address]), 7, "another sender");
    assert_eq!(first.end().status, Some(0));
    let ended = listener.end();
    assert_eq!(ended.status, Some(0));
    let told =
        "level=warn target=headwater::file msg=\"sender turned away: a transfer is under way\"";
    assert!(ended.stderr.iter().any(|line| line.contains(told)), "{ended:?}");
    assert_eq!(fs::read(to).unwrap(), noise(100_000));
}

#[test]
fn a_listener_says_whom_it_turned_away_and_why_and_counts_the_same() {
    use std::io::{Read as _, Write as _};
    let folder = tempfile::tempdir().unwrap();
    let (mut listener, address) = listen(&folder.path().join("to"), &["--keep"]);
    let port = address.split('/').nth(4).unwrap();
    for _ in 0..3 {
        let mut link = std::net::TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        link.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        // Until it is turned away.
        let _ = link.read_to_end(&mut Vec::new());
    }
    let told = listener.complaint();
    for part in ["msg=\"link refused\"", " remote=127.0.0.1:", " reason=\"", " level=warn "] {
        assert!(told.contains(part), "{told}");
    }
    listener.signal("INT");
    let ended = listener.wait();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(ended.stderr.iter().skip(1).any(|line| line.contains(" again=2 ")), "{ended:?}");
}

#[test]
fn a_sender_that_dies() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("to");
    fs::write(&to, "old").unwrap();
    let (sender, mut listener, _) = midway(&to);
    sender.signal("KILL");
    check(&listener.wait(), 8, "lost");
    assert_eq!(names(folder.path()), ["to"]);
    assert_eq!(fs::read(&to).unwrap(), b"old");
}

#[test]
fn a_listener_that_dies() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sender, listener, _) = midway(&folder.path().join("to"));
    listener.signal("KILL");
    check(&sender.wait(), 8, "lost");
    assert!(!folder.path().join("to").exists());
}

#[test]
fn a_sender_that_is_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sender, mut listener, _) = midway(&folder.path().join("to"));
    sender.signal("INT");
    check(&sender.wait(), 130, "interrupted");
    check(&listener.wait(), 9, "the sender ended the transfer: interrupted");
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn a_listener_that_is_terminated() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sender, mut listener, _) = midway(&folder.path().join("to"));
    listener.signal("TERM");
    check(&listener.wait(), 143, "SIGTERM");
    check(&sender.wait(), 9, "the listener ended the transfer: ended by SIGTERM");
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn a_listener_that_waits_in_vain() {
    let folder = tempfile::tempdir().unwrap();
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        let (mut listener, _) = listen(&folder.path().join("to"), &[]);
        listener.signal(signal);
        assert_eq!(listener.wait().status, Some(status));
    }
}

#[test]
fn a_listener_that_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let (_listener, address) = listen(&folder.path().join("to"), &[]);
    let mut sender = Running::start(&["send", "--json", "--timeout", "5", &address]);
    sender.write(b"x");
    // The answer to the offer.
    sender.until(|event| event["event"] == "message");
    _listener.signal("STOP");
    check(&sender.wait(), 14, "no sign of life");
}

#[test]
fn full_device() {
    let (mut listener, address) = listen(Path::new("/dev/full"), &[]);
    let mut sender = Running::start(&["send", &address]);
    sender.write(b"x");
    check(&sender.end(), 10, "no space left to write /dev/full");
    check(&listener.wait(), 10, "no space left to write /dev/full");
}

#[test]
fn full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("from");
    fs::write(&from, noise(3 << 20)).unwrap();
    let to = folder.path().join("to");
    fs::create_dir(&to).unwrap();
    // No file larger than 1 MiB; the limit counts 512 or 1024 bytes.
    let script = "trap '' XFSZ; ulimit -f 1024; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(headwater().get_program());
    command.args(["listen", "--output"]).arg(to.join("a"));
    let (mut listener, address) = listening(&mut command);
    let sent = run(&["send", &address, from.to_str().unwrap()]);
    check(&sent, 10, "no space left");
    check(&listener.wait(), 10, "no space left");
    assert_eq!(names(&to), [""; 0]);
}

#[test]
fn files_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no/such");
    let missing = missing.to_str().unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/1/p2p/{ID}");
    check(&run(&["send", &address, missing]), 12, missing);
    check(&run(&["listen", "--output", missing]), 11, missing);
    check(&run(&["listen", "--key", missing]), 17, missing);
}

#[test]
fn a_place_that_cannot_be_written_is_told_before_anybody_sends() {
    let folder = tempfile::tempdir().unwrap();
    let missing = format!("{}/out/", folder.path().display());
    for keep in [&["--keep"][..], &[]] {
        let ended = run(&[&["listen", "--output", &missing], keep].concat());
        check(&ended, 11, &format!("no folder {missing}"));
    }
    // A folder in which nobody may make a file, not even root.
    check(&run(&["listen", "--keep", "--output", "/proc"]), 11, "cannot write /proc/");
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn something_else_answers() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let closer = std::thread::spawn(move || drop(server.accept()));
    let address = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{ID}");
    check(&run(&["send", &address]), 15, "cannot connect");
    closer.join().unwrap();
}

#[test]
fn an_address_in_use() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap().to_string();
    check(&run(&["listen", "--listen", &address]), 16, &address);
}
