//! One session against any frames, read in pieces of several sizes: what comes out must be the
//! same however the input is cut (P9).

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::Input;
use crate::buffer::out::OutBuf;
use crate::mux::{
    Event, Flags, HEADER_LEN, Header, INITIAL_WINDOW, Kind, Role, Session, SessionConfig,
    SessionError, StreamId,
};
use crate::time::Instant;

/// All that one run told, with neighbouring runs of payload joined.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    events: Vec<Event>,
    payload: Vec<u8>,
    error: Option<SessionError>,
    counts: [usize; 5],
    /// Of each stream: its id, the credit and window granted, and what is unreleased.
    credit: Vec<(StreamId, u32, u32, u32)>,
    /// What the session had to say at the end, if it said nothing before.
    output: Vec<u8>,
}

/// Runs end here, so that reading byte by byte stays quick.
const BYTES_MAX: usize = 1 << 14;

pub(super) fn run(input: &mut Input<'_>) {
    let role = if input.byte() & 1 == 0 { Role::Client } else { Role::Server };
    let piece = 1 + input.byte();
    let mut bytes = Vec::new();
    while !input.is_empty() && bytes.len() < BYTES_MAX {
        push_frame(&mut bytes, role, input);
    }
    let whole = feed(role, &bytes, usize::MAX, false);
    assert_eq!(whole, feed(role, &bytes, 1, false));
    assert_eq!(whole, feed(role, &bytes, piece, false));
    // With output between the pieces it is not said at once, but the rest is the same.
    let mut early = feed(role, &bytes, piece, true);
    early.output.clone_from(&whole.output);
    assert_eq!(whole, early);
}

/// Appends a frame that is well-formed more often than not.
fn push_frame(bytes: &mut Vec<u8>, role: Role, input: &mut Input<'_>) {
    let (choice, stream) = (input.byte(), input.byte());
    let kinds = [Kind::Data, Kind::WindowUpdate, Kind::Data, Kind::WindowUpdate, Kind::Ping];
    let kind = if choice == 255 { Kind::GoAway } else { kinds[choice % 5] };
    let flags = if choice & 0x80 == 0 { 0 } else { 1 << (choice >> 5 & 3) };
    let length = match input.byte() {
        0..=9 => [0, 1, INITIAL_WINDOW, INITIAL_WINDOW + 1, u32::MAX][choice % 5],
        small @ 10..=199 => small as u32,
        _ => input.size() as u32,
    };
    let stream = if stream > 250 { u32::MAX - stream as u32 } else { (stream % 24) as u32 };
    // A SYN of the wrong parity would end most runs early.
    let is_odd = if role == Role::Server { 1 } else { 0 };
    let stream = if flags == 1 && choice != 253 { (stream | 1) ^ 1 ^ is_odd } else { stream };
    let header = Header { kind, flags: Flags(flags), stream, length };
    let at = bytes.len();
    bytes.extend(header.encode());
    if choice == 254 {
        bytes[at + stream as usize % 2] = choice as u8;
    }
    if kind == Kind::Data {
        let body = (0..length.min(5000)).map(|at| (at ^ stream) as u8);
        bytes.extend(body);
    }
}

/// Runs the bytes through a session whose owner acts on events alone.
fn feed(role: Role, bytes: &[u8], piece: usize, drains: bool) -> Told {
    let mut session = Session::new(role, SessionConfig::default(), 3, Instant::ZERO);
    let mut told = Told::default();
    let mut out = OutBuf::new();
    for _ in 0..4 {
        let _ = session
            .open(Instant::ZERO, crate::mux::Priority::Normal)
            .map(|stream| session.write(stream, Bytes::from_static(&[7; 3 * HEADER_LEN])));
    }
    session.transmit(Instant::ZERO, &mut out, usize::MAX);
    out.clear();
    for mut chunk in bytes.chunks(piece) {
        while told.error.is_none() {
            match session.receive(Instant::ZERO, chunk) {
                Ok(received) => {
                    let (consumed, rest) = chunk.split_at(received.consumed);
                    chunk = rest;
                    let Some(event) = received.event else { break };
                    on_event(&mut session, &mut told, event, consumed);
                }
                Err(error) => told.error = Some(error),
            }
        }
        if drains {
            session.transmit(Instant::ZERO, &mut out, usize::MAX);
            out.clear();
        }
        if piece > 100 || session.is_closed() {
            session.assert_invariants();
        }
    }
    told.finish(&mut session);
    told
}

/// Accepts or refuses by id, and consumes payload at once or never.
fn on_event(session: &mut Session, told: &mut Told, event: Event, consumed: &[u8]) {
    if let Event::Data { stream, len } = event {
        told.payload.extend(&consumed[consumed.len() - len..]);
        if stream.0 % 3 > 0 {
            session.release(Instant::ZERO, stream, len);
        }
        if let Some(Event::Data { stream: last, len: sum }) = told.events.last_mut() {
            if *last == stream {
                *sum += len;
                return;
            }
        }
    }
    told.events.push(event);
    if let Event::Opened { stream } = event {
        match stream.0 % 7 {
            0 => session.reset(stream),
            1 => {}
            other => {
                session.accept(stream).unwrap();
                if other == 2 {
                    session.close_read(stream);
                }
            }
        }
    }
}

impl Told {
    fn finish(&mut self, session: &mut Session) {
        self.counts = [
            session.local_open(),
            session.remote_open(),
            session.unaccepted(),
            session.unacknowledged(),
            session.queued_total(),
        ];
        let credit = |stream: StreamId| {
            let (credit, window) = (session.receive_credit(stream), session.receive_window(stream));
            (stream, credit, window, session.unreleased(stream))
        };
        self.credit = session.streams().into_iter().map(credit).collect();
        let mut out = OutBuf::new();
        session.transmit(Instant::ZERO, &mut out, usize::MAX);
        let mut bytes = BytesMut::new();
        out.drain_into(&mut bytes, usize::MAX);
        self.output = bytes.to_vec();
        session.assert_invariants();
    }
}
