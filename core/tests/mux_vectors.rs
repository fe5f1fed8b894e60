//! Sessions of the original, recorded in plain mode: we take the side of its peer.

use std::fs;

use headwater_core::buffer::out::OutBuf;
use headwater_core::mux::{Event, Priority, Role, Session, SessionConfig, StreamId};
use headwater_core::time::Instant;
use serde_json::Value;

const NOW: Instant = Instant::ZERO;

/// The length of the peer id that each side sends first.
const PEER_ID_LEN: usize = 46;

/// All that one side sent, after its peer id.
fn recorded(file: &str, from: &str) -> Vec<u8> {
    let path = format!("{}/tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(path).expect("the recording is part of the project");
    let mut bytes = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("each line is an object");
        if line["from"] == from {
            let hex = line["hex"].as_str().expect("hex is a string").as_bytes();
            let byte =
                |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            bytes.extend(hex.chunks(2).map(byte));
        }
    }
    bytes.split_off(PEER_ID_LEN)
}

/// The outer session and the two inner ones.
struct Side {
    outer: Session,
    uni: Session,
    bi: Session,
    events: Vec<(&'static str, Event)>,
    /// Payload on the bi session's only stream, and on all streams of uni.
    exchange: Vec<u8>,
    messages: Vec<(StreamId, Vec<u8>)>,
}

impl Side {
    fn new(role: Role) -> Self {
        let session = |key| Session::new(role, SessionConfig::default(), key, NOW);
        let (mut outer, uni, bi) = (session(1), session(2), session(3));
        if role == Role::Client {
            assert_eq!(outer.open(NOW, Priority::Normal), Ok(StreamId(1)));
            assert_eq!(outer.open(NOW, Priority::Normal), Ok(StreamId(3)));
        }
        let (events, exchange, messages) = (Vec::new(), Vec::new(), Vec::new());
        Self { outer, uni, bi, events, exchange, messages }
    }

    fn read(&mut self, mut input: &[u8]) {
        for session in [&mut self.outer, &mut self.uni, &mut self.bi] {
            session.transmit(NOW, &mut OutBuf::new(), usize::MAX);
        }
        loop {
            let received = self.outer.receive(NOW, input).expect("the original is honest");
            let (piece, rest) = input.split_at(received.consumed);
            input = rest;
            match received.event {
                None => break,
                Some(Event::Data { stream, len }) => {
                    self.outer.release(NOW, stream, len);
                    self.read_inner(stream, &piece[piece.len() - len..]);
                }
                Some(event) => {
                    if let Event::Opened { stream } = event {
                        self.outer.accept(stream).unwrap();
                    }
                    self.events.push(("outer", event));
                }
            }
        }
    }

    fn read_inner(&mut self, outer: StreamId, mut input: &[u8]) {
        let is_uni = outer == StreamId(1);
        let session = if is_uni { &mut self.uni } else { &mut self.bi };
        loop {
            let received = session.receive(NOW, input).expect("the original is honest");
            let (piece, rest) = input.split_at(received.consumed);
            input = rest;
            match received.event {
                None => break,
                Some(Event::Data { stream, len }) => {
                    session.release(NOW, stream, len);
                    let payload = &piece[piece.len() - len..];
                    match self.messages.iter_mut().find(|(known, _)| is_uni && *known == stream) {
                        _ if !is_uni => self.exchange.extend(payload),
                        Some((_, message)) => message.extend(payload),
                        None => self.messages.push((stream, payload.to_vec())),
                    }
                }
                Some(event) => {
                    if let Event::Opened { stream } = event {
                        session.accept(stream).unwrap();
                    }
                    self.events.push((if is_uni { "uni" } else { "bi" }, event));
                }
            }
        }
    }

    fn count(&self, session: &str, wanted: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|(name, event)| *name == session && wanted(event)).count()
    }
}

/// Reads a recording in pieces of some size.
fn replay(file: &str, from: &str, piece: usize) -> Side {
    let mut side = Side::new(if from == "dialer" { Role::Server } else { Role::Client });
    recorded(file, from).chunks(piece).for_each(|bytes| side.read(bytes));
    side
}

#[test]
fn a_dialing_original_is_read_in_pieces_of_any_size() {
    for file in ["plain.jsonl", "gzip.jsonl", "push.jsonl"] {
        let whole = replay(file, "dialer", usize::MAX);
        let is_opened = |event: &Event| matches!(event, Event::Opened { .. });
        let opened = [1, 3].map(|id| ("outer", Event::Opened { stream: StreamId(id) }));
        let outer =
            whole.events.iter().filter(|(name, event)| *name == "outer" && is_opened(event));
        assert!(outer.eq(&opened));
        assert_eq!((whole.count("uni", is_opened), whole.count("bi", is_opened)), (10, 0));
        let is_rtt = |event: &Event| matches!(event, Event::Rtt(_));
        let pongs = ["outer", "uni", "bi"].map(|name| whole.count(name, is_rtt));
        assert_eq!(pongs, [1; 3]);
        for piece in [1, 7, 12, 1000] {
            let cut = replay(file, "dialer", piece);
            assert_eq!((&cut.events, &cut.messages), (&whole.events, &whole.messages));
        }
    }
}

#[test]
fn a_listening_original_opens_its_exchange_and_its_send_streams() {
    for file in ["plain.jsonl", "gzip.jsonl", "push.jsonl"] {
        let whole = replay(file, "listener", usize::MAX);
        let acknowledged = |event: &Event| matches!(event, Event::Acknowledged { .. });
        assert_eq!(whole.count("outer", acknowledged), 2);
        let is_opened = |event: &Event| matches!(event, Event::Opened { .. });
        assert_eq!((whole.count("uni", is_opened), whole.count("bi", is_opened)), (10, 1));
        // The length and the protocol of a REQUEST: spec 3.
        assert_eq!(whole.exchange[8..35], *b"\x1a/protocol-exchanger/v0.0.1");
        let cut = replay(file, "listener", 1);
        assert_eq!((&cut.events, &cut.exchange), (&whole.events, &whole.exchange));
    }
}

#[test]
fn the_messages_of_an_original_arrive_whole() {
    let side = replay("plain.jsonl", "dialer", 5);
    let mut texts: Vec<_> = side.messages.iter().map(|(_, message)| message).collect();
    texts.sort();
    assert_eq!(texts.len(), 2);
    for (at, text) in texts.iter().enumerate() {
        let wanted = format!("{at} from the original");
        assert!(text.windows(wanted.len()).any(|window| window == wanted.as_bytes()));
    }
}
