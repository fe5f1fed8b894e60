//! Sessions of the original, recorded in plain mode: a whole endpoint takes the side of its peer.
//!
//! What the endpoint sends goes nowhere; it must come out with the original's id, its protocols
//! and its messages, and with no complaint, however the bytes are cut.

use std::fs;

use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::contract::{Command, Event, Notification};
use headwater_core::endpoint::Endpoint;
use headwater_core::error::CloseReason;
use headwater_core::id::{ConnectionId, PeerId, ProtocolId};
use headwater_core::secure::Insecure;
use headwater_core::seed::Seed;
use headwater_core::time::Instant;
use serde_json::Value;

const NOW: Instant = Instant::ZERO;
const DIALER: &str = "QmaZbkcHNW7V3r63aFGXr8o6UVVvQWLEHpMoseFo6UUJwR";
const LISTENER: &str = "QmZEph5JaQpAuRkGFuXty4KcbrcpYvrF52a797wGHMi322";

/// The reads of one side's bytes, as they were recorded.
fn recorded(file: &str, from: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let reads = lines.filter(|line| line["from"] == from).map(|line| {
        let hex = line["hex"].as_str().unwrap();
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>()
    });
    reads.filter(|read| !read.is_empty()).collect()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    Recorded,
    Bytes,
    OnePiece,
}

/// Our end, and what came out of it.
struct Side {
    endpoint: Endpoint<Insecure>,
    connection: ConnectionId,
    told: Vec<String>,
    messages: Vec<Vec<u8>>,
}

impl Side {
    /// The end that faces the one that sent a recording.
    fn facing(from: &str) -> Self {
        let local: PeerId = if from == "dialer" { LISTENER } else { DIALER }.parse().unwrap();
        let channels = Insecure::new(local).unwrap();
        let seed = Seed::from_u64(1);
        let mut endpoint = Endpoint::new(Config::default(), seed, channels, NOW).unwrap();
        endpoint.register(NOW, ProtocolId::new("/demo/1").unwrap()).unwrap();
        let address = "127.0.0.1:9".parse().unwrap();
        let connection = if from == "dialer" {
            let listener = endpoint.listen(NOW, address).unwrap();
            assert!(matches!(endpoint.poll_command(), Some(Command::Listen { .. })));
            endpoint.handle_event(NOW, Event::Listening { listener, local: address });
            endpoint.handle_accepted(NOW, listener, address).unwrap()
        } else {
            let peer = LISTENER.parse().unwrap();
            endpoint.dial(NOW, Address::from(address).with_peer(peer)).unwrap();
            let Some(Command::Dial { connection, .. }) = endpoint.poll_command() else {
                panic!("no dial")
            };
            endpoint.handle_dialed(NOW, connection, address).unwrap();
            connection
        };
        Self { endpoint, connection, told: Vec::new(), messages: Vec::new() }
    }

    /// Sends to nobody, and gathers what there is to gather.
    fn drain(&mut self, peer: PeerId) {
        loop {
            let mut chunks: [&[u8]; 8] = [&[]; 8];
            let count = self.endpoint.transmit(NOW, self.connection, &mut chunks);
            let len = chunks[..count].iter().map(|chunk| chunk.len()).sum();
            if len == 0 {
                break;
            }
            self.endpoint.handle_transmitted(NOW, self.connection, len);
        }
        while let Some(message) = self.endpoint.poll_message(NOW) {
            assert_eq!((message.peer, message.protocol.as_str()), (peer, "/demo/1"));
            self.messages.push(message.payload.to_vec());
        }
        while let Some(notification) = self.endpoint.poll_notification() {
            let text = match notification {
                Notification::Connected { peer: who } if who == peer => "connected".into(),
                Notification::Supported { peer: who, protocol } if who == peer => {
                    format!("+{protocol}")
                }
                Notification::Unsupported { peer: who, protocol } if who == peer => {
                    format!("-{protocol}")
                }
                Notification::Disconnected { peer: who, reason, flaps: 0 } if who == peer => {
                    assert_eq!(reason, CloseReason::RemoteClosed);
                    "disconnected".into()
                }
                Notification::Listening { .. } | Notification::Dialed { .. } => continue,
                other => panic!("{other:?}"),
            };
            self.told.push(text);
        }
        self.endpoint.assert_invariants();
    }

    fn read(&mut self, peer: PeerId, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let Some(buffer) = self.endpoint.recv_buf(self.connection) else {
                // The end of the session was in what came before.
                assert!(self.told.contains(&"disconnected".to_owned()));
                return;
            };
            let take = bytes.len().min(buffer.capacity() - buffer.len());
            buffer.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            self.endpoint.handle_received(NOW, self.connection).unwrap();
            self.drain(peer);
        }
    }
}

fn replay(file: &str, from: &str, cut: Cut) -> Side {
    let peer: PeerId = if from == "dialer" { DIALER } else { LISTENER }.parse().unwrap();
    let mut side = Side::facing(from);
    side.drain(peer);
    let reads = recorded(file, from);
    match cut {
        Cut::Recorded => reads.iter().for_each(|read| side.read(peer, read)),
        Cut::Bytes => reads.concat().chunks(1).for_each(|byte| side.read(peer, byte)),
        Cut::OnePiece => {
            // An answer cannot come before what it answers: the listener's frames follow the
            // dialer's id, the dialer's RESPONSE follows the listener's REQUEST.
            let asked = if from == "dialer" { 2 } else { 1 };
            side.read(peer, &reads[..asked].concat());
            side.read(peer, &reads[asked..].concat());
        }
    }
    side.endpoint.handle_eof(NOW, side.connection);
    side.drain(peer);
    side.messages.sort();
    side
}

/// Replays a recording in every cut, and checks what came of it.
fn check(file: &str, from: &str, messages: &[&[u8]], protocols: &[&str]) {
    for cut in [Cut::Recorded, Cut::Bytes, Cut::OnePiece] {
        let side = replay(file, from, cut);
        assert_eq!(side.messages, messages, "{file} {from} {cut:?}");
        assert_eq!(side.told.first().unwrap(), "connected");
        assert_eq!(side.told.last().unwrap(), "disconnected");
        if cut != Cut::OnePiece {
            assert_eq!(side.told[1..1 + protocols.len()], *protocols, "{file} {from} {cut:?}");
        }
    }
}

fn padded(text: &str, len: usize) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(len, 0);
    bytes
}

#[test]
fn plain_messages_arrive() {
    let (one, two) = (padded("0 from the original", 24), padded("1 from the original", 24));
    for from in ["dialer", "listener"] {
        check("plain.jsonl", from, &[&one, &two], &["+/demo/1"]);
    }
}

#[test]
fn a_message_sent_as_gzip_arrives() {
    let message = padded("0 from the original", 100);
    for from in ["dialer", "listener"] {
        check("gzip.jsonl", from, &[&message], &["+/demo/1"]);
    }
}

#[test]
fn pushed_lists_are_told_as_differences() {
    let listener = ["+/demo/1", "+/late/1", "-/late/1"];
    check("push.jsonl", "listener", &[], &listener);
    let dialer = ["+/demo/1", "+/later/1", "-/later/1"];
    check("push.jsonl", "dialer", &[], &dialer);
}
