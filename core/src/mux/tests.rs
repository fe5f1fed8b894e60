//! A session against hand-made frames, and against another session.

mod closing;
mod hostile;
mod nested;
mod opening;
mod order;
mod room;
mod time;
mod window;

use super::*;
use crate::buffer::out::OutBuf;
use crate::time::Instant;
use bytes::Bytes;
use std::vec;
use std::vec::Vec;

const NOW: Instant = Instant::ZERO;

fn at_millis(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// A session whose first ping has left.
fn quiet(role: Role, config: SessionConfig) -> Session {
    let mut session = Session::new(role, config, 7, NOW);
    assert_eq!(flush(&mut session), [(header(Kind::Ping, Flags::SYN, 0, 0), vec![])]);
    session
}

fn server() -> Session {
    quiet(Role::Server, SessionConfig::default())
}

fn client() -> Session {
    quiet(Role::Client, SessionConfig::default())
}

fn header(kind: Kind, flags: Flags, stream: u32, length: u32) -> Header {
    Header { kind, flags, stream, length }
}

fn window(flags: Flags, stream: u32, delta: u32) -> Vec<u8> {
    header(Kind::WindowUpdate, flags, stream, delta).encode().to_vec()
}

fn data(flags: Flags, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    let mut frame = header(Kind::Data, flags, stream, length).encode().to_vec();
    frame.extend_from_slice(payload);
    frame
}

fn ping(flags: Flags, value: u32) -> Vec<u8> {
    header(Kind::Ping, flags, 0, value).encode().to_vec()
}

/// What `receive` told about `input`, until the end or the error.
fn feed_at(
    session: &mut Session,
    now: Instant,
    mut input: &[u8],
) -> (Vec<Event>, Option<SessionError>) {
    let mut events = Vec::new();
    loop {
        let received = session.receive(now, input);
        session.assert_invariants();
        match received {
            Ok(Received { consumed, event: Some(event) }) => {
                input = &input[consumed..];
                events.push(event);
            }
            Ok(Received { consumed, event: None }) => {
                assert_eq!(consumed, input.len());
                return (events, None);
            }
            Err(error) => return (events, Some(error)),
        }
    }
}

/// The events of an `input` that breaks no rule.
fn feed(session: &mut Session, input: &[u8]) -> Vec<Event> {
    let (events, error) = feed_at(session, NOW, input);
    assert_eq!(error, None);
    events
}

/// The error of an `input` that breaks a rule; checks that the session stays ended.
fn offend(session: &mut Session, input: &[u8]) -> SessionError {
    let (_, error) = feed_at(session, NOW, input);
    let error = error.expect("the input breaks a rule");
    assert_eq!(session.receive(NOW, &[]), Err(error));
    assert_eq!(session.receive(NOW, input), Err(error));
    assert_eq!(session.handle_timeout(NOW), Err(error));
    assert_eq!(session.open(NOW, Priority::Normal), Err(OpenError::Closed));
    assert_eq!((session.is_closed(), session.error()), (true, Some(error)));
    error
}

/// The same, checked to be answered with a go-away of this code and nothing else.
fn offend_and_go_away(session: &mut Session, input: &[u8], code: u32) -> SessionError {
    let error = offend(session, input);
    assert!(session.wants_transmit());
    assert_eq!(flush(session), [(header(Kind::GoAway, Flags::NONE, 0, code), vec![])]);
    assert!(!session.wants_transmit());
    error
}

fn flush_bytes(session: &mut Session, now: Instant, budget: usize) -> Vec<u8> {
    let mut out = OutBuf::new();
    let framed = session.transmit(now, &mut out, budget);
    session.assert_invariants();
    assert_eq!(framed, out.len());
    assert!(framed <= budget);
    let mut bytes = bytes::BytesMut::new();
    out.drain_into(&mut bytes, usize::MAX);
    bytes.to_vec()
}

fn parse(mut bytes: &[u8]) -> Vec<(Header, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk() {
        let header = Header::decode(*head).unwrap();
        let length = if header.kind == Kind::Data { header.length as usize } else { 0 };
        let (body, rest) = rest.split_at(length);
        frames.push((header, body.to_vec()));
        bytes = rest;
    }
    assert!(bytes.is_empty());
    frames
}

/// All frames that the session has to say.
fn flush(session: &mut Session) -> Vec<(Header, Vec<u8>)> {
    let frames = parse(&flush_bytes(session, NOW, usize::MAX));
    assert!(!session.wants_transmit());
    frames
}

/// The same without bodies.
fn headers(session: &mut Session) -> Vec<Header> {
    flush(session).into_iter().map(|(header, _)| header).collect()
}

/// Carries what each side has to say to the other until both are silent; gives the events of
/// both. `Opened` is answered with `accept` if `accept` is set.
fn settle(one: &mut Session, two: &mut Session, accept: bool) -> (Vec<Event>, Vec<Event>) {
    let mut events = (Vec::new(), Vec::new());
    while one.wants_transmit() || two.wants_transmit() {
        for swap in [false, true] {
            let (from, to) = if swap { (&mut *two, &mut *one) } else { (&mut *one, &mut *two) };
            let bytes = flush_bytes(from, NOW, usize::MAX);
            let found = feed(to, &bytes);
            for event in &found {
                if let (true, Event::Opened { stream }) = (accept, event) {
                    to.accept(*stream).unwrap();
                }
            }
            if swap { events.0.extend(found) } else { events.1.extend(found) }
        }
    }
    events
}

/// A server with stream 1 of its peer accepted.
fn accepted() -> Session {
    let mut session = server();
    let events = feed(&mut session, &window(Flags::SYN, 1, 0));
    assert_eq!(events, [Event::Opened { stream: StreamId(1) }]);
    session.accept(StreamId(1)).unwrap();
    assert_eq!(headers(&mut session), [header(Kind::WindowUpdate, Flags::ACK, 1, 0)]);
    session
}

/// A client with stream 1 open and acknowledged.
fn opened() -> Session {
    let mut session = client();
    assert_eq!(session.open(NOW, Priority::Normal), Ok(StreamId(1)));
    assert_eq!(headers(&mut session), [header(Kind::WindowUpdate, Flags::SYN, 1, 0)]);
    let events = feed(&mut session, &window(Flags::ACK, 1, 0));
    assert_eq!(events, [Event::Acknowledged { stream: StreamId(1) }]);
    session
}

fn payload(len: usize) -> Bytes {
    (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}
