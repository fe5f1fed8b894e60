//! The body of the endpoint fuzz target: a driver that keeps no contract, and peers that say
//! whatever the input says. The module below has that of two endpoints on a bad link.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "it is a test"
)]

mod link;

use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

pub use link::link;

use super::{BorrowedId, Endpoint};
use crate::address::Address;
use crate::config::Config;
use crate::contract::{Command, Event, IoCause, ListenerId, Notification, QueryId, TimerKind};
use crate::id::{ConnectionId, PeerId, ProtocolId};
use crate::message::Batch;
use crate::mux::{Flags, Header, Kind};
use crate::protocol::ProtocolSet;
use crate::secure::Insecure;
use crate::seed::Seed;
use crate::time::Instant;
use crate::wire::{ExchangerMessage, MessageKind, encode_package};

const LOCAL: &[u8] = b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";
const REMOTE: &[u8] = b"QmaZbkcHNW7V3r63aFGXr8o6UVVvQWLEHpMoseFo6UUJwR";

/// Takes `data` as operations of a lawless driver, application and peer, and checks every
/// invariant after each. In the end a stop has to lead to `Stopped` with nothing left.
///
/// # Panics
///
/// If a promise is broken.
pub fn endpoint(data: &[u8]) {
    let Some(mut loose) = Loose::new(data) else { return };
    while !loose.input.is_empty() {
        loose.operation();
        loose.endpoint.assert_invariants();
    }
    loose.finish();
}

/// A driver that does anything in any order.
struct Loose<'a> {
    input: &'a [u8],
    endpoint: Endpoint<Insecure>,
    now: Instant,
    /// The latest time that the endpoint was told in `wait`.
    latest: Instant,
    /// Connections there are or were, and one that never was.
    known: Vec<ConnectionId>,
    borrowed: Vec<BorrowedId>,
    batch: Batch,
    stopped: usize,
}

impl<'a> Loose<'a> {
    fn new(input: &'a [u8]) -> Option<Self> {
        let config = Config {
            message_max: 64 << 10,
            assembly_max: 1 << 20,
            inbox_max: 8 << 10,
            slab: 4 << 10,
            slabs_max: 6,
            outbox_max: 8 << 10,
            output_max: 16 << 10,
            pending_max: 3,
            ending_max: 3,
            dials_max: 4,
            peers_max: 2,
            connections_per_peer_max: 2,
            send_streams_max: 16,
            send_streams_initial: 3,
            receive_streams_max: 32,
            leases_max: 8 << 20,
            offences_max: 4,
            ..Config::default()
        };
        let local = PeerId::from_bytes(LOCAL).ok()?;
        let now = Instant::from_nanos(1 << 40);
        let factory = Insecure::new(local).ok()?;
        let mut endpoint = Endpoint::new(config, Seed::from_u64(3), factory, now).ok()?;
        let _ = endpoint.register(now, ProtocolId::new("/a").ok()?);
        let _ = endpoint.listen(now, SocketAddr::from(([127, 0, 0, 1], 1)));
        let never = ConnectionId { index: 7, generation: 9 };
        let (known, borrowed, batch) = (vec![never], Vec::new(), Batch::default());
        Some(Self { input, endpoint, now, latest: now, known, borrowed, batch, stopped: 0 })
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.input.split_first() else { return 0 };
        self.input = rest;
        *first
    }

    fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (first, rest) = self.input.split_at(len.min(self.input.len()));
        self.input = rest;
        first
    }

    fn pick(&mut self) -> ConnectionId {
        let at = usize::from(self.byte()) % self.known.len();
        self.known.get(at).copied().unwrap_or(ConnectionId { index: 0, generation: 0 })
    }

    fn operation(&mut self) {
        match self.byte() % 24 {
            0 | 1 => self.accept(),
            2 => self.dial(),
            3 => self.dialed(),
            4 => self.event(),
            5..=7 => self.peer_frames(),
            8 => self.peer_opens(),
            9 => self.peer_bytes(),
            10 => self.spoil_buffer(),
            11 | 12 => self.transmit(),
            13 => {
                let id = self.pick();
                self.endpoint.handle_eof(self.now, id);
            }
            14 => {
                let id = self.pick();
                self.endpoint.handle_io_error(self.now, id, IoCause::Reset);
            }
            15 | 16 => self.wait(),
            17 => self.send(),
            18 | 19 => self.borrowed(),
            20 => self.receive(),
            21 => self.application(),
            22 => self.poll(),
            _ => self.shared(),
        }
    }

    fn accept(&mut self) {
        let listener = ListenerId(u32::from(self.byte() > 250));
        let remote = SocketAddr::from(([127, 0, 0, 1], 9));
        if let Ok(id) = self.endpoint.handle_accepted(self.now, listener, remote) {
            self.known.push(id);
        }
    }

    fn dial(&mut self) {
        let address = match self.byte() % 4 {
            0 => "/dns4/a.example/tcp/80",
            1 => "/ip4/127.0.0.1/tcp/5/p2p/QmaZbkcHNW7V3r63aFGXr8o6UVVvQWLEHpMoseFo6UUJwR",
            _ => "/ip4/127.0.0.1/tcp/5",
        };
        let _ = address.parse::<Address>().map(|address| self.endpoint.dial(self.now, address));
        self.poll();
    }

    fn dialed(&mut self) {
        let id = self.pick();
        let local = SocketAddr::from(([127, 0, 0, 1], 5));
        let _ = self.endpoint.handle_dialed(self.now, id, local);
    }

    fn event(&mut self) {
        let listener = ListenerId(u32::from(self.byte() % 3));
        let query = QueryId(u64::from(self.byte() % 8));
        let local = SocketAddr::from(([127, 0, 0, 1], 4));
        let connection = self.pick();
        let cause = IoCause::Refused;
        let event = match self.byte() % 5 {
            0 => Event::Listening { listener, local },
            1 => Event::ListenFailed { listener, cause },
            2 => Event::Resolved { query, addresses: vec![local; query.0 as usize] },
            3 => Event::ResolveFailed { query, cause },
            _ => Event::DialFailed { connection, cause },
        };
        self.endpoint.handle_event(self.now, event);
    }

    /// The peer of a connection says something.
    fn hear(&mut self, id: ConnectionId, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let Some(buffer) = self.endpoint.recv_buf(id) else { return };
            let room = buffer.capacity() - buffer.len();
            assert!(room > 0, "a lent buffer has room");
            let (first, rest) = bytes.split_at(room.min(bytes.len()));
            buffer.extend_from_slice(first);
            bytes = rest;
            if self.endpoint.handle_received(self.now, id).is_err() {
                return;
            }
        }
    }

    fn peer_bytes(&mut self) {
        let id = self.pick();
        let len = usize::from(self.byte());
        let bytes = self.bytes(len);
        self.hear(id, bytes);
    }

    /// The id, the outer streams, and both answers to an exchange.
    fn peer_opens(&mut self) {
        let id = self.pick();
        let Ok(pid) = PeerId::from_bytes(REMOTE) else { return };
        self.hear(id, REMOTE);
        let syn = |stream| header(Kind::WindowUpdate, Flags::SYN, stream, 0);
        if self.byte() % 2 == 0 {
            self.hear(id, &[syn(1), syn(3)].concat());
        }
        let _ = self.endpoint.transmit(self.now, id, &mut []);
        let kind = if self.byte() % 2 == 0 { MessageKind::Response } else { MessageKind::Request };
        let protocols: ProtocolSet =
            ["/a", "/b"].iter().filter_map(|name| ProtocolId::new(name).ok()).collect();
        let (mut payload, mut package) = (BytesMut::new(), BytesMut::new());
        ExchangerMessage { pid, protocols, kind }.encode(&mut payload);
        encode_package(&mut package, ProtocolId::EXCHANGER, &payload, false);
        let opens = if kind == MessageKind::Request { syn(2) } else { Vec::new() };
        let data = [header(Kind::Data, Flags::NONE, 2, package.len()), package.to_vec()].concat();
        let inner = [opens, data].concat();
        let outer = header(Kind::Data, Flags::NONE, 3, inner.len());
        self.hear(id, &[outer, inner].concat());
    }

    /// A few frames on one of the sessions, nearly right.
    fn peer_frames(&mut self) {
        let id = self.pick();
        let carrier = [0, 1, 1, 1, 3].get(usize::from(self.byte() % 5)).copied().unwrap_or(1);
        let mut frames = Vec::new();
        for _ in 0..=self.byte() % 4 {
            let kind = match self.byte() % 8 {
                0..=3 => Kind::Data,
                4 | 5 => Kind::WindowUpdate,
                6 => Kind::Ping,
                _ => Kind::GoAway,
            };
            let flags = Flags(u16::from(self.byte() % 16));
            let stream = u32::from(self.byte() % 12);
            let mut body = BytesMut::new();
            if kind == Kind::Data {
                let len = usize::from(self.byte());
                let payload = self.bytes(len);
                match self.byte() % 4 {
                    0 => body.extend_from_slice(payload),
                    1 => encode_package(&mut body, "/a", &payload.repeat(40), len % 2 == 1),
                    _ => encode_package(&mut body, "/a", payload, false),
                }
            }
            let length = if kind == Kind::Data { body.len() } else { self.number() << 4 };
            frames.extend(header(kind, flags, stream, length));
            frames.extend_from_slice(&body);
        }
        let outer = header(Kind::Data, Flags::NONE, carrier, frames.len());
        let bytes = if carrier == 0 { frames } else { [outer, frames].concat() };
        self.hear(id, &bytes);
    }

    /// A lent buffer comes back in another shape, or a call comes without one.
    fn spoil_buffer(&mut self) {
        let id = self.pick();
        let shape = self.byte() % 4;
        if let Some(buffer) = self.endpoint.recv_buf(id) {
            match shape {
                0 => *buffer = BytesMut::new(),
                1 => *buffer = BytesMut::from(REMOTE),
                2 => buffer.clear(),
                _ => drop(buffer.split_off(buffer.len() / 2)),
            }
        }
        if self.byte() % 2 == 0 {
            let _ = self.endpoint.handle_received(self.now, id);
        }
    }

    fn transmit(&mut self) {
        let id = self.pick();
        let slots = usize::from(self.byte() % 8);
        let mut chunks: [&[u8]; 8] = [&[]; 8];
        let mut offered = 0;
        if let Some(chunks) = chunks.get_mut(..slots) {
            let count = self.endpoint.transmit(self.now, id, chunks);
            assert!(count <= slots);
            offered = chunks.iter().map(|chunk| chunk.len()).sum();
        }
        let taken = match self.byte() % 4 {
            0 => self.number(),
            1 => usize::MAX,
            _ => offered,
        };
        self.endpoint.handle_transmitted(self.now, id, taken);
    }

    fn wait(&mut self) {
        self.now = match self.byte() % 4 {
            0 => self.now.after(Duration::from_millis(self.number() as u64)),
            1 => self.now.after(Duration::from_secs(u64::from(self.byte()))),
            2 => Instant::from_nanos(self.now.as_nanos() - self.number() as u64),
            _ => self.endpoint.next_timeout().map_or(self.now, |next| next.at.max(self.now)),
        };
        self.endpoint.handle_timeout(self.now);
        self.poll();
        // Time that goes back is none.
        self.latest = self.latest.max(self.now);
        let next = self.endpoint.next_timeout();
        let due = next.filter(|next| next.at <= self.latest && next.why != TimerKind::Budget);
        assert_eq!(due, None, "what was due at {:?} is done", self.latest);
    }

    fn send(&mut self) {
        let len = self.number();
        let payload = Bytes::from(vec![7; if len > 65_000 { len << 4 } else { len }]);
        let (Ok(peer), Ok(a)) = (PeerId::from_bytes(REMOTE), ProtocolId::new("/a")) else { return };
        let _ = self.endpoint.send(self.now, &peer, &a, payload);
    }

    fn borrowed(&mut self) {
        let (Ok(peer), Ok(a)) = (PeerId::from_bytes(REMOTE), ProtocolId::new("/a")) else { return };
        let choice = self.byte();
        if choice % 3 == 0 {
            self.borrowed.extend(self.endpoint.borrow(self.now, &peer, &a));
            return;
        }
        // Those that were given back are used again.
        let at = usize::from(self.byte()) % self.borrowed.len().max(1);
        let Some(stream) = self.borrowed.get(at).copied() else { return };
        if choice % 3 == 1 {
            let payload = Bytes::from(vec![8; self.number()]);
            let _ = self.endpoint.send_borrowed(self.now, stream, &a, payload);
        } else {
            self.endpoint.give_back(self.now, stream);
        }
    }

    /// What an adapter does whose application is on other threads, with anybody's queues.
    fn shared(&mut self) {
        let choice = self.byte();
        let (one, two) = (self.pick(), self.pick());
        let (Ok(peer), Ok(a)) = (PeerId::from_bytes(REMOTE), ProtocolId::new("/a")) else { return };
        match choice % 8 {
            0 => drop(self.endpoint.disconnect(self.now, peer)),
            1 => {
                let payload = Bytes::from(vec![9; self.number() >> 4]);
                let _ = self.endpoint.enqueue(&peer, &a, payload);
            }
            2 => self.endpoint.flush(self.now),
            3 => {
                self.endpoint.watch_routes();
                while self.endpoint.poll_route().is_some() {}
            }
            4 | 5 => {
                let Some(mut outbox) = self.endpoint.outbox(one) else { return };
                let _ = outbox.push(&a, Bytes::from(vec![10; self.number() >> 4]));
                if choice % 8 == 4 {
                    self.endpoint.handle_messages(self.now, two, &mut outbox);
                } else {
                    self.endpoint.handle_last_messages(self.now, two, peer, &mut outbox);
                }
            }
            6 => {
                let at = usize::from(self.byte()) % self.borrowed.len().max(1);
                let Some(stream) = self.borrowed.get(at).copied() else { return };
                let Some(mut outbox) = self.endpoint.lane_outbox(stream) else { return };
                let _ = outbox.push(&a, Bytes::from(vec![11; self.number() >> 4]));
                if choice & 8 == 0 {
                    self.endpoint.handle_lane_messages(self.now, stream, &mut outbox);
                } else {
                    let now = self.now;
                    self.endpoint.handle_last_lane_messages(now, stream, peer, &mut outbox);
                }
            }
            _ => {
                let mut batch = Batch::default();
                let filled = self.endpoint.poll_filled().unwrap_or(one);
                self.endpoint.take_messages_of(self.now, filled, &mut batch);
                batch.discard();
                let to = if choice & 8 == 0 { filled } else { two };
                self.endpoint.handle_consumed(self.now, to, batch.consumed());
            }
        }
    }

    fn receive(&mut self) {
        match self.byte() % 3 {
            0 => drop(self.endpoint.poll_message(self.now)),
            1 => while self.endpoint.poll_message(self.now).is_some() {},
            _ => {
                self.endpoint.take_messages(self.now, &mut self.batch);
                for _ in 0..self.byte() {
                    drop(self.batch.pop());
                }
            }
        }
    }

    fn application(&mut self) {
        let name = ["/a", "/b", "/c"].get(usize::from(self.byte() % 3)).copied().unwrap_or("/a");
        let Ok(protocol) = ProtocolId::new(name) else { return };
        match self.byte() % 16 {
            0..=6 => drop(self.endpoint.register(self.now, protocol)),
            7..=13 => drop(self.endpoint.unregister(self.now, &protocol)),
            14 => self.endpoint.stop_listening(self.now, ListenerId(0)),
            _ => self.endpoint.stop(self.now),
        }
    }

    fn poll(&mut self) {
        while let Some(command) = self.endpoint.poll_command() {
            if let Command::Dial { connection, .. } = command {
                self.known.push(connection);
            }
        }
        while let Some(notification) = self.endpoint.poll_notification() {
            assert_eq!(self.stopped, 0, "nothing follows Stopped");
            self.stopped += usize::from(notification == Notification::Stopped);
        }
        while self.endpoint.poll_ready().is_some() {}
        while self.endpoint.poll_borrowed().is_some() {}
    }

    /// Stops, and lets every deadline pass.
    fn finish(&mut self) {
        self.endpoint.stop(self.now);
        for _ in 0..6 {
            self.poll();
            self.now = self.now.after(Duration::from_secs(6));
            self.endpoint.handle_timeout(self.now);
            self.endpoint.assert_invariants();
        }
        self.poll();
        assert_eq!(self.stopped, 1, "a stop ends");
        assert!(self.endpoint.is_stopped());
        assert_eq!(self.endpoint.connection_count(), 0);
        assert_eq!(self.endpoint.next_timeout(), None);
    }
}

fn header(kind: Kind, flags: Flags, stream: u32, length: usize) -> Vec<u8> {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    Header { kind, flags, stream, length }.encode().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_promise_holds_for_inputs_that_look_random() {
        let mut rng = Seed::from_u64(11).rng("endpoint", 0);
        for _ in 0..1500 {
            let len = rng.below(600);
            let data: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
            endpoint(&data);
        }
    }

    /// The same behind a connection that is up, where most of the machinery is.
    #[test]
    fn every_promise_holds_behind_an_honest_opening() {
        let mut rng = Seed::from_u64(12).rng("endpoint", 0);
        for round in 0..1500 {
            // Accept; the peer of the new connection opens as a dialer and answers.
            let mut data = vec![0, 0, 8, 1, 0, 0];
            if round % 2 == 0 {
                data.extend([0, 0, 8, 2, 0, 0]);
            }
            let len = rng.below(800);
            data.extend((0..len).map(|_| rng.next_u64() as u8));
            endpoint(&data);
        }
    }

    #[test]
    fn the_opening_is_one() {
        let data = [0, 0, 8, 1, 0, 0];
        let mut loose = Loose::new(&data).unwrap();
        while !loose.input.is_empty() {
            loose.operation();
        }
        assert_eq!(loose.endpoint.peers().count(), 1);
    }
}
