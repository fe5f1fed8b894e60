//! `headwater why` in every case that somebody may ask about, against running nodes.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Ended, Running, headwater, run};

/// A node with a status page.
pub(crate) struct Node {
    pub(crate) running: Running,
    pub(crate) id: String,
    pub(crate) port: u16,
    pub(crate) url: String,
}

impl Node {
    /// Starts a node with a configuration of its own, and more arguments.
    pub(crate) fn start(folder: &Path, name: &str, config: &str, more: &[&str]) -> Self {
        let path = folder.join(format!("{name}.toml"));
        fs::write(&path, config).unwrap();
        let mut command = headwater();
        command.args(["node", "--json", "--admin", "127.0.0.1:0", "--config"]).arg(path);
        let mut running = Running::spawn(command.args(more));
        let listening = running.until(|event| event["event"] == "listening");
        let id = listening["id"].as_str().unwrap().to_owned();
        let address = listening["addresses"][0].as_str().unwrap();
        let port = address.split('/').nth(4).unwrap().parse().unwrap();
        let admin = running.until(|event| event["event"] == "admin");
        let url = admin["url"].as_str().unwrap().to_owned();
        Self { running, id, port, url }
    }

    /// Runs `why` about a peer.
    pub(crate) fn why(&self, peer: &str) -> String {
        let ended = run(&["why", peer, "--admin", &self.url]);
        assert_eq!(ended.status, Some(0), "{ended:?}");
        ended.stdout.join("\n")
    }

    /// What `/status` says.
    pub(crate) fn status(&self) -> Value {
        let ended = run(&["status", "--json", "--admin", &self.url]);
        assert_eq!(ended.status, Some(0), "{ended:?}");
        serde_json::from_str(&ended.stdout[0]).unwrap()
    }

    /// Waits until the peers are as they should be.
    pub(crate) fn await_peers(&self, what: &str, fits: impl Fn(&[Value]) -> bool) {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let status = self.status();
            let peers = status["nodes"][0]["peers"].as_array().unwrap();
            if fits(peers) {
                return;
            }
            assert!(Instant::now() < until, "{what}: {peers:#?}");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The id of somebody who is nowhere.
fn nobody(number: usize) -> String {
    format!("QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qi{}X", b"ABCDEFGH"[number] as char)
}

/// Nothing is tried twice while the test looks.
const PATIENT: &str =
    "[limits]\nbackoff.first = '1 h'\nbackoff.ceiling = '1 h'\nhandshake_deadline = '500 ms'\n";

#[test]
fn each_cause_is_told_in_words_with_what_would_help() {
    let folder = tempfile::tempdir().unwrap();
    let start = |name, config: &str, more: &[&str]| Node::start(folder.path(), name, config, more);
    let listen = "listen = ['127.0.0.1:0']\n";
    let plain = start("plain", listen, &["--insecure"]);
    let bare = start("bare", listen, &[]);
    let busy = start("busy", listen, &[]);
    let kept = format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", busy.port, busy.id);
    let full =
        start("full", &format!("{listen}peers = ['{kept}']\n[limits]\npeers_max = 1\n"), &[]);
    full.await_peers("it is full", |peers| peers.iter().any(|p| p["stage"] == "connected"));
    let strict = start("strict", &format!("{listen}allow = ['{}']\n", busy.id), &[]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();

    let own = free_port();
    let at = |port: u16, id: &str| format!("/ip4/127.0.0.1/tcp/{port}/p2p/{id}");
    let peers = [
        at(free_port(), &nobody(0)),
        at(busy.port, &nobody(1)),
        at(plain.port, &plain.id),
        at(free_port(), &nobody(2)),
        at(full.port, &full.id),
        at(bare.port, &bare.id),
        format!("/ip4/127.0.0.1/tcp/{own}"),
        format!("/dns/nowhere.invalid/tcp/7001/p2p/{}", nobody(3)),
        at(silent.local_addr().unwrap().port(), &nobody(4)),
        at(strict.port, &strict.id),
    ];
    let list: Vec<String> = peers.iter().map(|peer| format!("'{peer}'")).collect();
    let config = format!(
        "listen = ['127.0.0.1:{own}']\npeers = [{}]\nblacklist = ['{}']\n[protocols]\n'/echo' = \
         'echo'\n{PATIENT}",
        list.join(","),
        nobody(2)
    );
    let node = start("node", &config, &[]);
    node.await_peers("all were tried", |all| {
        let tried = all.iter().filter(|peer| {
            peer["stage"] == "connected" || peer["next"] == "at" && peer["required"] == true
        });
        tried.count() == peers.len()
    });

    for (peer, words) in [
        (nobody(0), &["connection refused", "nobody listens on that port", "Start the peer"][..]),
        (nobody(1), &["another peer answered", &busy.id, "write /p2p/"]),
        (plain.id, &["no secure channel", "no identity was proven", "--insecure"]),
        (nobody(2), &["A rule of this node's blacklist names it", "take the rule out"]),
        (full.id.clone(), &["turned it away without a word", "as many peers as it may"]),
        (bare.id.clone(), &["does not support /echo", "register it. Nothing else blocks it."]),
        (peers[6].clone(), &["leads to this node itself", "one of this node's own"]),
        (nobody(3), &["name cannot be resolved", "nowhere.invalid", "spelling"]),
        (strict.id, &["does not accept this node", "access_denied", "--allow"]),
        (nobody(4), &["was silent for handshake_deadline", "answers nothing"]),
    ] {
        let said = node.why(&peer);
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
        if !said.contains("is connected") {
            assert!(said.contains("is tried again in"), "{said}");
        }
    }
    // The other side of it, where the limit is.
    let said = full.why(&node.id);
    assert!(
        said.contains("too many peers (peers_max)") && said.contains("Raise peers_max"),
        "{said}"
    );
    // A part of the id is enough, and JSON has the same words.
    let part = &nobody(0)[30..];
    let json = run(&["why", part, "--json", "--admin", &node.url]);
    let peer: Value = serde_json::from_str(&json.stdout[0]).unwrap();
    assert!(peer["why"].as_str().unwrap().contains("nobody listens on that port"), "{peer}");
    assert_eq!(peer["addresses"][0]["last"]["code"], "link.refused");
    // So is a place, written in either way.
    let address = peer["addresses"][0]["address"].as_str().unwrap();
    let parts: Vec<&str> = address.split('/').collect();
    let place = format!("{}:{}", parts[2], parts[4]);
    assert!(node.why(&place).contains("nobody listens on that port"));
    table_has_all(&node, &bare.id);
    nobody_else(&node);
}

fn table_has_all(node: &Node, connected: &str) {
    let table = run(&["status", "--admin", &node.url]);
    assert_eq!(table.status, Some(0), "{table:?}");
    let of = |stage: &str| table.stdout.iter().filter(|line| line.contains(stage)).count();
    assert!(table.stdout[0].starts_with(&format!("node {}, up ", node.id)), "{table:?}");
    assert!(
        of("  connected  ") == 1 && of("  refused  ") >= 4 && of("  waiting  ") >= 2,
        "{table:#?}"
    );
    // Whoever was only met is not one who is missed.
    assert!(table.stdout[3].starts_with("1 peer connected, 9 to keep and missing"), "{table:#?}");
    let one = run(&["status", connected, "--admin", &node.url]);
    assert_eq!(one.stdout.iter().filter(|line| line.contains("  connected  ")).count(), 1);
}

fn nobody_else(node: &Node) {
    let status = |ended: Ended| (ended.status, ended.complaint().to_owned());
    let (code, said) = status(run(&["why", &nobody(7), "--admin", &node.url]));
    assert!(code == Some(19) && said.contains("knows no peer"), "{said}");
    let (code, said) = status(run(&["why", "Qm", "--admin", &node.url]));
    assert!(code == Some(19) && said.contains("at least 4 characters"), "{said}");
    let nowhere = format!("127.0.0.1:{}", free_port());
    let (code, said) = status(run(&["why", &nowhere, "--admin", &node.url]));
    assert!(code == Some(19) && said.contains("knows no peer"), "{said}");
    let (code, said) = status(run(&["status", "--admin", &nowhere]));
    assert!(code == Some(20) && said.contains("cannot ask the node"), "{said}");
    let peers = format!("127.0.0.1:{}", node.port);
    let (code, said) = status(run(&["status", "--admin", &peers]));
    assert!(code == Some(20) && said.contains("not one that peers connect to"), "{said}");
}

#[test]
fn a_peer_that_dies_and_returns_is_told_as_it_happens() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("one.pem");
    let id = run(&["keygen", key.to_str().unwrap()]).stdout.remove(0);
    let port = free_port();
    let first = || {
        let config = format!("key = 'one.pem'\nlisten = ['127.0.0.1:{port}']\n");
        Node::start(folder.path(), "one", &config, &[])
    };
    let one = first();
    let config = format!(
        "peers = ['/ip4/127.0.0.1/tcp/{port}/p2p/{id}']\n[limits]\nbackoff.first = '200 ms'\n"
    );
    let two = Node::start(folder.path(), "two", &config, &[]);
    let is = |stage: &'static str| move |peers: &[Value]| peers.iter().any(|p| p["stage"] == stage);
    two.await_peers("it connects", is("connected"));
    assert!(two.why(&id).contains("Nothing blocks it"));
    let counts = |node: &Node| run(&["status", "--admin", &node.url]).stdout[3].clone();
    assert_eq!(counts(&one), "1 peer connected");
    one.running.signal("KILL");
    two.await_peers("it is missed", |peers| {
        peers.iter().any(|p| p["stage"] != "connected" && p["addresses"][0]["failures"] != 0)
    });
    let said = two.why(&id);
    assert!(said.contains("is not connected. It was, for") && said.contains("refused"), "{said}");
    drop(one);
    let one = first();
    two.await_peers("it is back", is("connected"));
    drop(two);
    one.await_peers("it is gone", |peers| peers.iter().all(|p| p["stage"] != "connected"));
    assert_eq!(counts(&one), "0 peers connected, 1 known and not connected");
}
