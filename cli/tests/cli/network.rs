//! Several `headwater node` processes: they keep their connections.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use headwater_core::address::Address;
use headwater_tokio::{Builder, NodeKey, ProtocolId, Started};
use serde_json::Value;

use crate::program::{Running, headwater, run};

/// Fibonacci numbers, as the documentation has them.
const SERIES: [u64; 7] = [1, 2, 3, 5, 8, 13, 21];

/// A node with a configuration file of its own.
fn node(folder: &Path, name: &str, config: &str) -> Running {
    let path = folder.join(format!("{name}.toml"));
    fs::write(&path, config).unwrap();
    Running::spawn(headwater().args(["node", "--json", "--config"]).arg(path))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn is(kind: &str, peer: &str) -> impl Fn(&Value) -> bool {
    let (kind, peer) = (Value::from(kind), Value::from(peer));
    move |event| event["event"] == kind && event["peer"] == peer
}

#[test]
fn a_node_that_is_killed_and_restarted_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("one.pem");
    let id = run(&["keygen", key.to_str().unwrap()]).stdout.remove(0);
    let port = free_port();
    // Short waits, of the documented series, and without chance.
    let waits = "[limits]\nbackoff.first = '100 ms'\nbackoff.jitter = 0\n";
    let first = || {
        let config = format!("key = 'one.pem'\nlisten = ['127.0.0.1:{port}']\n{waits}");
        let mut node = node(folder.path(), "one", &config);
        assert_eq!(node.until(|event| event["event"] == "listening")["id"], Value::from(&*id));
        node
    };
    let one = first();
    let peers = format!("peers = ['/ip4/127.0.0.1/tcp/{port}/p2p/{id}']\n{waits}");
    let mut others = [node(folder.path(), "two", &peers), node(folder.path(), "three", &peers)];
    for other in &mut others {
        other.until(is("connected", &id));
    }

    one.signal("KILL");
    for other in &mut others {
        other.until(is("disconnected", &id));
        // What is told while a node is away: first that the connection ended early, and that it
        // cannot be dialled then.
        for (failures, number) in (1..).zip(&SERIES[..5]) {
            let told = other.until(is("retrying", &id));
            assert_eq!(told["failures"], Value::from(failures), "{told}");
            assert_eq!(told["wait_ms"], Value::from(number * 100), "{told}");
        }
    }
    let mut one = first();
    for other in &mut others {
        other.until(is("connected", &id));
    }
    // Both are back, each once.
    let mut back: Vec<Value> =
        (0..2).map(|_| one.until(|event| event["event"] == "connected")["peer"].clone()).collect();
    back.dedup();
    assert_eq!(back.len(), 2);
    for mut node in others.into_iter().chain([one]) {
        node.signal("TERM");
        let ended = node.wait();
        assert_eq!(ended.status, Some(0), "{ended:?}");
    }
}

#[test]
fn waits_are_those_of_the_documentation_unless_told_otherwise() {
    let address = format!("/ip4/127.0.0.1/tcp/{}", free_port());
    let mut node = Running::start(&["node", "--json", "--peer", &address]);
    for (failures, seconds) in (1..).zip(&SERIES[..3]) {
        let told = node.until(|event| event["event"] == "retrying");
        assert_eq!((&told["failures"], &told["peer"]), (&Value::from(failures), &Value::Null));
        assert_eq!(told["address"], Value::from(&*address));
        assert!(told["reason"].as_str().unwrap().contains("refused"), "{told}");
        let wait = told["wait_ms"].as_u64().unwrap();
        assert!((seconds * 900..=seconds * 1100).contains(&wait), "{told}");
    }
    node.signal("INT");
    let ended = node.wait();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let logged = ended.stderr.iter().filter(|line| line.contains("trying again"));
    let logged: Vec<&String> = logged.collect();
    // The first one, and how often it came again.
    let last = logged.last().unwrap();
    assert!(logged.len() >= 2 && last.contains(" again="), "{logged:?}");
    assert!(logged[0].contains("failures=1 wait=") && logged[0].contains("refused"), "{logged:?}");
}

#[test]
fn a_peer_without_an_id_is_kept_under_the_one_that_answers() {
    let folder = tempfile::tempdir().unwrap();
    let mut one = node(folder.path(), "one", "");
    let listening = one.until(|event| event["event"] == "listening");
    let address = listening["addresses"][0].as_str().unwrap();
    let (place, id) = address.split_once("/p2p/").unwrap();
    let mut two = node(folder.path(), "two", &format!("peers = ['{place}']"));
    two.until(is("connected", id));
}

#[test]
fn a_peer_may_be_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let config = format!(
        "peers = ['/ip4/127.0.0.1/tcp/{port}']\n\
         [limits]\nbackoff = {{ kind = 'constant', first = '50 ms', attempts_max = 3 }}\n"
    );
    let mut node = node(folder.path(), "node", &config);
    for failures in 1..=2 {
        let told = node.until(|event| event["event"] == "retrying");
        assert_eq!(told["failures"], Value::from(failures));
    }
    let told = node.until(|event| event["event"] == "gaveup");
    assert_eq!(told["failures"], Value::from(3), "{told}");
}

#[test]
fn whom_the_blacklist_has_is_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let mut one = node(folder.path(), "one", "blacklist = ['127.0.0.0/8']");
    let listening = one.until(|event| event["event"] == "listening");
    let address = listening["addresses"][0].as_str().unwrap();
    let mut two = Running::start(&["node", "--json", "--peer", address]);
    let told = two.until(|event| event["event"] == "retrying");
    assert_eq!(told["failures"], Value::from(1), "{told}");
    let told = one.until(|event| event["event"] == "refused");
    assert_eq!((&told["outbound"], &told["reason"]), (&Value::from(false), &"blocked".into()));
}

#[test]
fn messages_are_echoed_logged_or_dropped() {
    let args =
        ["--protocol", "/echo/1=echo", "--protocol", "/log/1=log", "--protocol", "/no/1=drop"];
    let mut node = Running::start(&[&["node", "--json"], &args[..]].concat());
    let listening = node.until(|event| event["event"] == "listening");
    let address: Address = listening["addresses"][0].as_str().unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let key = NodeKey::generate().unwrap();
        let Started { node, mut messages, .. } = Builder::new(&key).unwrap().start().unwrap();
        let [echo, log, no] =
            ["/echo/1", "/log/1", "/no/1"].map(|name| ProtocolId::new(name).unwrap());
        node.register(echo.clone()).await.unwrap();
        let peer = node.dial(address).await.unwrap();
        // More than fits into the queues on the way, so that echoes have to wait for room.
        let echoed = async {
            let mut came = Vec::new();
            while came.len() < 100 {
                let message = messages.recv().await.unwrap();
                assert_eq!((message.peer, &message.protocol), (peer, &echo));
                let (number, len) = (message.payload[0], message.payload.len());
                assert!(len == 100_000 && message.payload.iter().all(|byte| *byte == number));
                came.push(number);
            }
            // They may overtake each other.
            came.sort_unstable();
            assert_eq!(came, (0..100).collect::<Vec<u8>>());
        };
        let mut lane = node.borrow(&peer, &echo).await.unwrap();
        let sent = async {
            for number in 0..100_u8 {
                lane.send_wait(vec![number; 100_000].into()).await.unwrap();
            }
        };
        tokio::join!(echoed, sent);
        for protocol in [&no, &log] {
            node.send_wait(&peer, protocol, "a \u{1b}[31mred\" line".into()).await.unwrap();
        }
        node.stop().await;
    });
    for _ in 0..102 {
        node.until(|event| event["event"] == "message");
    }
    node.signal("TERM");
    let ended = node.wait();
    let logged: Vec<&String> =
        ended.stderr.iter().filter(|line| line.contains("msg=message")).collect();
    assert_eq!(logged.len(), 1, "{ended:?}");
    assert!(logged[0].contains("protocol=/log/1 bytes=16"), "{logged:?}");
    assert!(!logged[0].contains('\u{1b}') && logged[0].contains("red"), "{logged:?}");
}

#[test]
fn peers_that_cannot_be_kept_are_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let id = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";
    let many: Vec<String> =
        (1..10).map(|port| format!("'/ip4/127.0.0.1/tcp/{port}/p2p/{id}'")).collect();
    for peers in [many.join(","), "'/ip4/127.0.0.1/tcp/0'".to_owned()] {
        let mut node = node(folder.path(), "node", &format!("peers = [{peers}]"));
        let ended = node.wait();
        assert_eq!(ended.status, Some(18), "{ended:?}");
        assert!(ended.complaint().contains("/ip4/127.0.0.1/tcp/"), "{ended:?}");
    }
}
