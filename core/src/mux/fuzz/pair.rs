//! Two sessions joined by pipes, against a model that knows only counts and a byte pattern.
//!
//! Checked: payload arrives whole and in order; a half-close comes after all of it; a reset has a
//! cause on the other side; what is taken back was not sent; when all is said, both sides agree on
//! the credit; and when all streams are reset nothing is left.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use super::Input;
use crate::buffer::out::OutBuf;
use crate::mux::{
    Event, GoAwayCode, Limit, OpenError, Priority, Role, Session, SessionConfig, StreamId,
};
use crate::time::Instant;

/// What one side did and saw of a stream.
#[derive(Default)]
struct Flow {
    /// Payload handed to the session, less what was taken back.
    written: u64,
    received: u64,
    unreleased: usize,
    accepted: bool,
    finished: bool,
    read_closed: bool,
    reset: bool,
    saw_fin: bool,
    saw_reset: bool,
}

struct Side {
    session: Session,
    /// Bytes on their way to this side.
    inbox: VecDeque<u8>,
    flows: BTreeMap<u32, Flow>,
}

struct Pair {
    sides: [Side; 2],
    now: Instant,
}

pub(super) fn run(input: &mut Input<'_>) {
    let mut pair = Pair::new(input.byte());
    while !input.is_empty() {
        pair.step(input);
        for side in &pair.sides {
            side.session.assert_invariants();
        }
    }
    pair.settle();
    pair.check_settled();
    pair.reset_all();
}

/// The byte that a side sends at an offset of a stream.
const fn pattern(side: usize, stream: u32, offset: u64) -> u8 {
    let mixed = offset.wrapping_mul(0x9e37_79b9).wrapping_add(stream as u64 * 7 + side as u64);
    (mixed >> 5) as u8
}

impl Pair {
    fn new(choice: usize) -> Self {
        let free = Limit { burst: u32::MAX, per_second: 0 };
        let config = SessionConfig {
            accept_backlog: 4 + choice % 8,
            streams_max: 12,
            window_max: 1 << 20,
            window_growth_max: 1 << 20,
            keep_alive: (choice & 16 > 0).then_some(Duration::from_secs(10)),
            resets: free,
            refusals: free,
            empty_frames: free,
            tiny_updates: free,
            pings: free,
            ..SessionConfig::default()
        };
        let side = |role, key| Side {
            session: Session::new(role, config.clone(), key, Instant::ZERO),
            inbox: VecDeque::new(),
            flows: BTreeMap::new(),
        };
        Self { sides: [side(Role::Client, 1), side(Role::Server, 2)], now: Instant::ZERO }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let choice = input.byte();
        let at = choice & 1;
        match (choice >> 1) % 18 {
            0 => self.open(at, input.byte()),
            1..=3 => self.write(at, input),
            4..=6 => self.transmit(at, input.size()),
            7..=9 => self.deliver(at, input.size()),
            10 => self.accept(at, input.byte()),
            11 => self.release(at, input),
            12 => self.finish_or_close(at, input.byte()),
            13 => self.reset(at, input.byte()),
            14 => self.take_unsent(at, input.byte()),
            15 => self.pass_time(input.byte()),
            16 => self.settle(),
            _ => self.sundries(at, input.byte()),
        }
    }

    /// One of the streams that a side knows, if any.
    fn pick(&self, at: usize, choice: usize) -> Option<StreamId> {
        let streams = self.sides[at].session.streams();
        let index = choice.checked_rem(streams.len())?;
        streams.get(index).copied()
    }

    fn flow(&mut self, at: usize, stream: StreamId) -> &mut Flow {
        self.sides[at].flows.get_mut(&stream.0).unwrap()
    }

    fn open(&mut self, at: usize, choice: usize) {
        let priority = [Priority::High, Priority::Normal, Priority::Bulk][choice % 3];
        let side = &mut self.sides[at];
        match side.session.open(self.now, priority) {
            Ok(stream) => {
                let flow = Flow { accepted: true, ..Flow::default() };
                assert!(side.flows.insert(stream.0, flow).is_none());
            }
            Err(OpenError::Limit { streams_max }) => {
                assert_eq!(side.session.local_open(), streams_max);
            }
            Err(error) => {
                assert!(matches!(error, OpenError::RemoteGoAway | OpenError::Closed));
                assert!(!side.session.is_closed());
            }
        }
    }

    fn write(&mut self, at: usize, input: &mut Input<'_>) {
        let Some(stream) = self.pick(at, input.byte()) else { return };
        let len = input.size();
        let start = self.flow(at, stream).written;
        let payload: Bytes =
            (start..start + len as u64).map(|offset| pattern(at, stream.0, offset)).collect();
        let done = self.sides[at].session.write(stream, payload).is_ok();
        let flow = self.flow(at, stream);
        assert_eq!(done, !flow.finished);
        if done {
            flow.written += len as u64;
        }
    }

    fn transmit(&mut self, at: usize, budget: usize) {
        let mut out = OutBuf::new();
        let session = &mut self.sides[at].session;
        let wants = session.wants_transmit();
        let framed = session.transmit(self.now, &mut out, budget);
        assert!(framed == out.len() && framed <= budget);
        assert!(wants || framed == 0);
        assert!(!wants || framed > 0 || budget < 13);
        let mut bytes = BytesMut::new();
        out.drain_into(&mut bytes, usize::MAX);
        self.sides[1 - at].inbox.extend(bytes);
    }

    fn deliver(&mut self, at: usize, len: usize) {
        let len = len.min(self.sides[at].inbox.len());
        let bytes: Vec<u8> = self.sides[at].inbox.drain(..len).collect();
        let mut rest = bytes.as_slice();
        loop {
            let received = self.sides[at].session.receive(self.now, rest).unwrap();
            let (piece, after) = rest.split_at(received.consumed);
            rest = after;
            match received.event {
                Some(event) => self.on_event(at, event, piece),
                None => break,
            }
        }
        assert!(rest.is_empty());
    }

    fn on_event(&mut self, at: usize, event: Event, piece: &[u8]) {
        match event {
            Event::Opened { stream } => {
                assert!(self.sides[1 - at].flows.contains_key(&stream.0));
                assert!(self.sides[at].flows.insert(stream.0, Flow::default()).is_none());
            }
            Event::Data { stream, len } => {
                assert!(len > 0 && len <= piece.len());
                let sent = self.sides[1 - at].flows[&stream.0].written;
                let flow = self.flow(at, stream);
                assert!(!flow.reset && !flow.saw_reset && !flow.saw_fin && !flow.read_closed);
                for byte in &piece[piece.len() - len..] {
                    assert_eq!(*byte, pattern(1 - at, stream.0, flow.received));
                    flow.received += 1;
                }
                flow.unreleased += len;
                let peer = &self.sides[1 - at].flows[&stream.0];
                assert!(self.sides[at].flows[&stream.0].received <= sent || peer.reset);
            }
            Event::Finished { stream } => {
                let peer = &self.sides[1 - at].flows[&stream.0];
                let (finished, written) = (peer.finished, peer.written);
                let flow = self.flow(at, stream);
                assert!(finished && !flow.saw_fin && !flow.saw_reset && !flow.reset);
                assert!(flow.read_closed || flow.received == written);
                flow.saw_fin = true;
            }
            Event::Reset { stream } => self.on_reset(at, stream),
            Event::Acknowledged { stream } => {
                assert!(self.sides[1 - at].flows[&stream.0].accepted);
            }
            Event::GoAway | Event::Rtt(_) => {}
        }
    }

    fn on_reset(&mut self, at: usize, stream: StreamId) {
        self.check_unsent(at, stream);
        let peer = self.sides[1 - at].flows.get(&stream.0);
        // Reset by the peer, refused by it, or at fault on either side.
        let caused = peer.is_none_or(|peer| peer.reset || peer.saw_reset);
        let flow = self.flow(at, stream);
        assert!(!flow.reset && !flow.saw_reset);
        assert!(caused || flow.read_closed);
        flow.saw_reset = true;
        assert!(!self.sides[at].session.contains(stream));
    }

    /// Takes back what was not framed and checks that it is the end of what was written.
    fn check_unsent(&mut self, at: usize, stream: StreamId) {
        let unsent = self.sides[at].session.take_unsent(stream);
        let total: usize = unsent.iter().map(Bytes::len).sum();
        let flow = self.flow(at, stream);
        flow.written -= total as u64;
        for (offset, byte) in (flow.written..).zip(unsent.iter().flatten()) {
            assert_eq!(*byte, pattern(at, stream.0, offset));
        }
    }

    fn take_unsent(&mut self, at: usize, choice: usize) {
        let Some(stream) = self.pick(at, choice) else { return };
        self.check_unsent(at, stream);
        let session = &self.sides[at].session;
        assert_eq!(session.queued(stream), 0);
        assert_eq!(session.sent(stream), self.sides[at].flows[&stream.0].written);
    }

    fn accept(&mut self, at: usize, choice: usize) {
        let Some(stream) = self.pick(at, choice) else { return };
        let done = self.sides[at].session.accept(stream).is_ok();
        let flow = self.flow(at, stream);
        assert_eq!(done, !flow.accepted);
        flow.accepted = true;
    }

    fn release(&mut self, at: usize, input: &mut Input<'_>) {
        let Some(stream) = self.pick(at, input.byte()) else { return };
        let bytes = input.size();
        let flow = self.flow(at, stream);
        let bytes = bytes.min(flow.unreleased);
        flow.unreleased -= bytes;
        self.sides[at].session.release(self.now, stream, bytes);
    }

    fn finish_or_close(&mut self, at: usize, choice: usize) {
        let Some(stream) = self.pick(at, choice >> 1) else { return };
        let flow = self.flow(at, stream);
        if choice & 1 == 0 {
            flow.finished = true;
            self.sides[at].session.finish(stream);
        } else {
            flow.read_closed = true;
            self.sides[at].session.close_read(stream);
        }
    }

    fn reset(&mut self, at: usize, choice: usize) {
        let Some(stream) = self.pick(at, choice) else { return };
        self.flow(at, stream).reset = true;
        self.sides[at].session.reset(stream);
        assert!(!self.sides[at].session.contains(stream));
    }

    fn pass_time(&mut self, choice: usize) {
        // Short enough that no peer is ever silent for the pong deadline.
        self.now = self.now.after(Duration::from_millis(choice as u64));
        for side in &mut self.sides {
            let silent = side.session.next_timeout().is_some_and(|(at, _)| at <= self.now);
            if side.session.handle_timeout(self.now).is_err() {
                assert!(silent);
            }
            assert!(side.session.next_timeout().is_none_or(|(at, _)| at > self.now));
        }
    }

    fn sundries(&mut self, at: usize, choice: usize) {
        let picked = self.pick(at, choice);
        let session = &mut self.sides[at].session;
        match choice >> 5 {
            0 => session.ping(self.now),
            1 => session.set_growth_max(((choice & 1) << 20) as u64),
            2 if choice == 2 << 5 => session.go_away(GoAwayCode::Normal),
            3 => session.shrink(),
            _ => {
                if let Some(stream) = picked {
                    session.set_priority(stream, Priority::High);
                }
                while let Some(stream) = session.poll_drained() {
                    assert!(session.contains(stream) && session.queued(stream) == 0);
                }
            }
        }
    }

    /// Lets both sides say, accept and consume everything.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            for at in [0, 1] {
                self.consume_all(at);
                self.transmit(at, usize::MAX);
                self.deliver(1 - at, usize::MAX);
            }
            self.consume_all(0);
            if self.sides.iter().all(|s| !s.session.wants_transmit() && s.inbox.is_empty()) {
                return;
            }
        }
        panic!("the two never fall silent");
    }

    fn consume_all(&mut self, at: usize) {
        for stream in self.sides[at].session.streams() {
            let _ = self.sides[at].session.accept(stream);
            let flow = self.flow(at, stream);
            flow.accepted = true;
            let bytes = core::mem::take(&mut flow.unreleased);
            self.sides[at].session.release(self.now, stream, bytes);
        }
    }

    /// Checks what must be true when both sides are silent.
    fn check_settled(&self) {
        for at in [0, 1] {
            let (from, to) = (&self.sides[at], &self.sides[1 - at]);
            assert_eq!((from.session.opening(), from.session.unacknowledged()), (0, 0));
            for (id, sent) in &from.flows {
                let Some(got) = to.flows.get(id) else { continue };
                let ended = [sent, got].iter().any(|flow| flow.reset || flow.saw_reset);
                if ended || got.read_closed {
                    continue;
                }
                assert_eq!(got.received, sent.written, "stream {id}");
                assert_eq!(got.saw_fin, sent.finished, "stream {id}");
                let stream = StreamId(*id);
                if from.session.contains(stream) && !sent.finished {
                    let credit = from.session.credit(stream);
                    assert_eq!(credit, to.session.receive_credit(stream), "stream {id}");
                }
            }
        }
    }

    /// Resets everything and checks that nothing is left.
    fn reset_all(&mut self) {
        for at in [0, 1] {
            while let Some(stream) = self.pick(at, 0) {
                self.flow(at, stream).reset = true;
                self.sides[at].session.reset(stream);
            }
        }
        self.settle();
        for side in &self.sides {
            let session = &side.session;
            session.assert_invariants();
            assert_eq!(session.slots.len(), 0);
            assert_eq!((session.local_open(), session.remote_open()), (0, 0));
            assert_eq!((session.queued_total(), session.window_growth()), (0, 0));
        }
    }
}
