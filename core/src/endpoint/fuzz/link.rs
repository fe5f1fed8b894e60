//! The body of the link fuzz target: two endpoints that keep the contract, and a link between
//! them that does not.
//!
//! Checked: all invariants, after each step; while no byte was changed on its way, a message
//! arrives as it was sent, once at most, and on a borrowed stream in order; while no connection
//! was lost either, each one arrives or is counted. When the faults stop the two connect again,
//! messages cross, and a stop leaves nothing.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use super::{LOCAL, REMOTE};
use crate::address::Address;
use crate::config::Config;
use crate::contract::{Command, Event, IoCause, LinkCommand, ListenerId, Notification, TimerKind};
use crate::endpoint::{BorrowedId, Endpoint};
use crate::id::{ConnectionId, PeerId, ProtocolId};
use crate::message::Message;
use crate::secure::Insecure;
use crate::seed::Seed;
use crate::time::Instant;

/// Takes `data` as what two applications and the link between their nodes do.
///
/// # Panics
///
/// If a promise is broken.
pub fn link(data: &[u8]) {
    let Some(mut world) = World::new(data) else { return };
    for _ in 0..OPERATIONS_MAX {
        if world.input.is_empty() {
            break;
        }
        world.operation();
        for side in &world.sides {
            side.endpoint.assert_invariants();
        }
    }
    world.finish();
}

/// More is not looked at, so that many inputs are.
const OPERATIONS_MAX: usize = 256;

/// One direction of a link, from the side with the same index.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    /// The writer has nothing more to say.
    finished: bool,
    broken: bool,
    /// The reader knows of the end.
    told: bool,
}

struct Link {
    ids: [ConnectionId; 2],
    pipes: [Pipe; 2],
}

struct Side {
    endpoint: Endpoint<Insecure>,
    id: PeerId,
    address: SocketAddr,
    listener: Option<ListenerId>,
    takes: bool,
    /// What was accepted for sending and has not arrived: its length, and its lane.
    sent: BTreeMap<u32, (usize, Option<usize>)>,
    number: u32,
    lanes: Vec<BorrowedId>,
    /// The last message that arrived on each lane.
    arrived: BTreeMap<usize, u32>,
    undelivered: u64,
    connected: bool,
    losses: usize,
    stopped: bool,
}

struct World<'a> {
    input: &'a [u8],
    sides: [Side; 2],
    links: Vec<Link>,
    now: Instant,
    /// Bytes were changed on their way: who knows what arrives.
    tampered: bool,
}

fn config() -> Config {
    Config {
        message_max: 200 << 10,
        assembly_max: 1 << 20,
        inbox_max: 16 << 10,
        slab: 4 << 10,
        slabs_max: 8,
        outbox_max: 16 << 10,
        output_max: 16 << 10,
        pending_max: 4,
        ending_max: 3,
        dials_max: 4,
        peers_max: 2,
        send_streams_max: 18,
        send_streams_initial: 2,
        receive_streams_max: 20,
        leases_max: 4 << 20,
        // So that little time has to pass until all is told.
        handshake_deadline: Duration::from_secs(3),
        exchange_deadline: Duration::from_secs(3),
        dial_deadline: Duration::from_secs(3),
        send_deadline: Duration::from_secs(3),
        close_deadline: Duration::from_secs(1),
        ..Config::default()
    }
}

/// Byte `at` of message `number` from `side`.
const fn pattern(side: usize, number: u32, at: usize) -> u8 {
    (at as u32 ^ number.wrapping_mul(31) ^ side as u32) as u8
}

fn payload(side: usize, number: u32, len: usize) -> Bytes {
    let head = number.to_be_bytes();
    head.into_iter().chain((4..len).map(|at| pattern(side, number, at))).collect()
}

impl Side {
    fn new(id: &[u8], port: u16, now: Instant) -> Option<Self> {
        let id = PeerId::from_bytes(id).ok()?;
        let seed = Seed::from_u64(u64::from(port));
        let mut endpoint = Endpoint::new(config(), seed, Insecure::new(id).ok()?, now).ok()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        endpoint.register(now, ProtocolId::new("/a").ok()?).ok()?;
        endpoint.listen(now, address).ok()?;
        Some(Self {
            endpoint,
            id,
            address,
            listener: None,
            takes: true,
            sent: BTreeMap::new(),
            number: 0,
            lanes: Vec::new(),
            arrived: BTreeMap::new(),
            undelivered: 0,
            connected: false,
            losses: 0,
            stopped: false,
        })
    }

    fn notified(&mut self, notification: &Notification) {
        assert!(!self.stopped, "nothing follows Stopped");
        match notification {
            Notification::Connected { .. } => {
                assert!(!self.connected, "connected twice");
                self.connected = true;
            }
            Notification::Disconnected { .. } => {
                assert!(self.connected, "disconnected without being connected");
                self.connected = false;
                self.losses += 1;
            }
            Notification::Undelivered { messages, .. } => {
                self.undelivered += messages;
                assert!(self.undelivered <= u64::from(self.number), "more are lost than were sent");
            }
            Notification::Stopped => self.stopped = true,
            _ => {}
        }
    }
}

impl<'a> World<'a> {
    fn new(input: &'a [u8]) -> Option<Self> {
        let now = Instant::from_nanos(1 << 40);
        let sides = [Side::new(LOCAL, 1, now)?, Side::new(REMOTE, 2, now)?];
        let mut world = Self { input, sides, links: Vec::new(), now, tampered: false };
        world.dial(0);
        world.settle();
        Some(world)
    }

    fn byte(&mut self) -> usize {
        let Some((first, rest)) = self.input.split_first() else { return 0 };
        self.input = rest;
        usize::from(*first)
    }

    fn operation(&mut self) {
        let choice = self.byte();
        let at = choice >> 7;
        match choice % 20 {
            0..=2 => {
                let len = self.byte();
                self.send(at, 4 + len);
            }
            3 => {
                let len = self.byte() << 8 | self.byte();
                self.send(at, 4 + (len << (choice >> 5 & 3)));
            }
            4 | 5 => self.lane(at),
            6 | 7 => _ = self.write(at, usize::MAX),
            8 | 9 => _ = self.read(at, usize::MAX),
            10 => {
                let amount = self.byte();
                let _ = self.write(at, amount);
            }
            11 => {
                let amount = self.byte();
                let _ = self.read(at, amount);
            }
            12 => self.settle(),
            13 => self.wait(),
            14 => self.sides[at].takes = !self.sides[at].takes,
            15 => self.tamper(at),
            16 => self.cut(at),
            17 => self.dial(at),
            18 => self.control(at),
            _ => {
                self.take(at);
                self.drain(at);
            }
        }
    }

    fn send(&mut self, at: usize, len: usize) {
        let Ok(a) = ProtocolId::new("/a") else { return };
        let peer = self.sides[1 - at].id;
        let side = &mut self.sides[at];
        let payload = payload(at, side.number, len);
        if side.endpoint.send(self.now, &peer, &a, payload).is_ok() {
            side.sent.insert(side.number, (len, None));
            side.number += 1;
        }
    }

    fn lane(&mut self, at: usize) {
        let Ok(a) = ProtocolId::new("/a") else { return };
        let (choice, len) = (self.byte(), self.byte() << 4);
        let peer = self.sides[1 - at].id;
        let side = &mut self.sides[at];
        if choice % 4 == 0 {
            side.lanes.extend(side.endpoint.borrow(self.now, &peer, &a));
            return;
        }
        let lane = choice / 4 % side.lanes.len().max(1);
        let Some(stream) = side.lanes.get(lane).copied() else { return };
        if choice % 4 == 1 {
            side.endpoint.give_back(self.now, stream);
            return;
        }
        let payload = payload(at, side.number, 4 + len);
        if side.endpoint.send_borrowed(self.now, stream, &a, payload).is_ok() {
            side.sent.insert(side.number, (4 + len, Some(lane)));
            side.number += 1;
        }
    }

    /// Moves up to `most` bytes of each link from a node to its carrier.
    fn write(&mut self, at: usize, most: usize) -> bool {
        let mut moved = false;
        for link in &mut self.links {
            let (pipe, id) = (&mut link.pipes[at], link.ids[at]);
            let room = (64_usize << 10).saturating_sub(pipe.bytes.len()).min(most);
            if pipe.finished || pipe.broken || room == 0 {
                continue;
            }
            let mut chunks: [&[u8]; 8] = [&[]; 8];
            let endpoint = &mut self.sides[at].endpoint;
            let count = endpoint.transmit(self.now, id, &mut chunks);
            let before = pipe.bytes.len();
            let offered = chunks[..count].iter().flat_map(|chunk| chunk.iter());
            pipe.bytes.extend(offered.take(room));
            let taken = pipe.bytes.len() - before;
            endpoint.handle_transmitted(self.now, id, taken);
            moved |= taken > 0;
        }
        self.drain(at) || moved
    }

    /// Moves up to `most` bytes of each link from the carrier to a node.
    fn read(&mut self, at: usize, most: usize) -> bool {
        let mut moved = false;
        for link in &mut self.links {
            let (pipe, id) = (&mut link.pipes[1 - at], link.ids[at]);
            let endpoint = &mut self.sides[at].endpoint;
            let mut left = most;
            while left > 0 && !pipe.bytes.is_empty() {
                let Some(buffer) = endpoint.recv_buf(id) else { break };
                let room = (buffer.capacity() - buffer.len()).min(left).min(pipe.bytes.len());
                assert!(room > 0, "a lent buffer has room");
                buffer.extend(pipe.bytes.drain(..room));
                left -= room;
                moved = true;
                if endpoint.handle_received(self.now, id).is_err() {
                    pipe.bytes.clear();
                }
            }
            if !pipe.told && pipe.bytes.is_empty() && (pipe.finished || pipe.broken) {
                pipe.told = true;
                moved = true;
                if pipe.broken {
                    endpoint.handle_io_error(self.now, id, IoCause::Reset);
                } else {
                    endpoint.handle_eof(self.now, id);
                }
            }
        }
        self.drain(at) || moved
    }

    /// Carries out what a node asks for, and hears what it tells.
    fn drain(&mut self, at: usize) -> bool {
        let mut moved = false;
        while let Some(command) = self.sides[at].endpoint.poll_command() {
            moved = true;
            self.command(at, command);
        }
        let side = &mut self.sides[at];
        while let Some(notification) = side.endpoint.poll_notification() {
            moved = true;
            side.notified(&notification);
        }
        while side.endpoint.poll_ready().is_some() {}
        while side.endpoint.poll_borrowed().is_some() {}
        moved
    }

    fn command(&mut self, at: usize, command: Command) {
        match command {
            Command::Listen { listener, address } => {
                let side = &mut self.sides[at];
                side.listener = Some(listener);
                let event = Event::Listening { listener, local: address };
                side.endpoint.handle_event(self.now, event);
            }
            Command::StopListening { .. } => self.sides[at].listener = None,
            Command::Dial { connection, .. } => self.join(at, connection),
            Command::Link { connection, command } => {
                let found = self.links.iter_mut().find(|link| link.ids[at] == connection);
                let Some(link) = found else { return };
                link.pipes[at].finished = true;
                if command != LinkCommand::Finish {
                    // It reads no more.
                    link.pipes[1 - at].bytes.clear();
                    link.pipes[1 - at].told = true;
                }
                link.pipes[at].broken |= command == LinkCommand::Abort;
            }
            _ => {}
        }
        let over = |pipe: &Pipe| pipe.told && pipe.bytes.is_empty();
        self.links.retain(|link| !link.pipes.iter().all(over));
    }

    fn join(&mut self, at: usize, connection: ConnectionId) {
        let local = self.sides[at].address;
        let listener = self.sides[1 - at].listener.filter(|_| self.links.len() < 6);
        let accepted = listener
            .map(|listener| self.sides[1 - at].endpoint.handle_accepted(self.now, listener, local));
        let Some(Ok(accepted)) = accepted else {
            let event = Event::DialFailed { connection, cause: IoCause::Refused };
            return self.sides[at].endpoint.handle_event(self.now, event);
        };
        let mut ids = [accepted; 2];
        ids[at] = connection;
        self.links.push(Link { ids, pipes: [Pipe::default(), Pipe::default()] });
        // A dial that was given up leaves a link that nobody writes to.
        let dialed = self.sides[at].endpoint.handle_dialed(self.now, connection, local);
        if let Some(link) = self.links.last_mut().filter(|_| dialed.is_err()) {
            link.pipes[at].broken = true;
            link.pipes[1 - at].told = true;
        }
    }

    fn dial(&mut self, at: usize) {
        let address = Address::from(self.sides[1 - at].address);
        let _ = self.sides[at].endpoint.dial(self.now, address);
        self.drain(at);
    }

    fn control(&mut self, at: usize) {
        let choice = self.byte();
        let peer = self.sides[1 - at].id;
        let endpoint = &mut self.sides[at].endpoint;
        let Ok(b) = ProtocolId::new("/b") else { return };
        match choice % 8 {
            0 => drop(endpoint.disconnect(self.now, peer)),
            1..=4 => drop(endpoint.register(self.now, b)),
            _ => drop(endpoint.unregister(self.now, &b)),
        }
        self.drain(at);
    }

    /// Bytes are changed, lost, repeated or made up on their way from a node.
    fn tamper(&mut self, at: usize) {
        let (choice, place, value) = (self.byte(), self.byte(), self.byte());
        let count = self.links.len().max(1);
        let Some(link) = self.links.get_mut(choice / 4 % count) else { return };
        let bytes = &mut link.pipes[at].bytes;
        let place = place % bytes.len().max(1);
        if bytes.is_empty() {
            return;
        }
        self.tampered = true;
        match choice % 4 {
            0 => bytes[place] ^= 1 << (value % 8),
            1 => drop(bytes.drain(place..(place + value).min(bytes.len()))),
            2 => {
                let again: Vec<u8> = bytes.iter().skip(place).take(value).copied().collect();
                bytes.extend(again);
            }
            _ => bytes.insert(place, value as u8),
        }
    }

    /// The link ends: for one side or both, in order or not.
    fn cut(&mut self, at: usize) {
        let choice = self.byte();
        let count = self.links.len().max(1);
        let Some(link) = self.links.get_mut(choice / 8 % count) else { return };
        for (end, pipe) in link.pipes.iter_mut().enumerate() {
            if end == at || choice & 1 == 0 {
                if choice & 2 == 0 {
                    pipe.finished = true;
                } else {
                    pipe.broken = true;
                }
                if choice & 4 == 0 {
                    pipe.bytes.clear();
                }
            }
        }
    }

    fn wait(&mut self) {
        let choice = self.byte();
        let next = self.sides.iter().filter_map(|side| side.endpoint.next_timeout()).min();
        self.now = match choice % 3 {
            0 => self.now.after(Duration::from_millis(choice as u64)),
            1 => self.now.after(Duration::from_secs(choice as u64 / 16)),
            _ => next.map_or(self.now, |next| next.at.max(self.now)),
        };
        self.timeout();
    }

    fn timeout(&mut self) {
        for at in [0, 1] {
            let endpoint = &mut self.sides[at].endpoint;
            endpoint.handle_timeout(self.now);
            self.drain(at);
            let next = self.sides[at].endpoint.next_timeout();
            let due = next.filter(|next| next.at <= self.now && next.why != TimerKind::Budget);
            assert_eq!(due, None, "what is due is done");
        }
    }

    fn take(&mut self, at: usize) -> bool {
        let mut moved = false;
        while let Some(message) = self.sides[at].endpoint.poll_message(self.now) {
            moved = true;
            if !self.tampered {
                self.check(at, &message);
            }
        }
        moved
    }

    fn check(&mut self, at: usize, message: &Message) {
        let (sides, from) = (&mut self.sides, 1 - at);
        assert_eq!((message.peer, message.protocol.as_str()), (sides[from].id, "/a"));
        let Some((head, _)) = message.payload.split_first_chunk() else { panic!("cut short") };
        let number = u32::from_be_bytes(*head);
        let Some((len, lane)) = sides[from].sent.remove(&number) else {
            panic!("message {number} was not sent, or came already");
        };
        assert_eq!(message.payload, payload(from, number, len), "another message");
        if let Some(lane) = lane {
            let last = sides[at].arrived.insert(lane, number);
            assert!(last.is_none_or(|last| last < number), "{number} after {last:?}");
        }
    }

    /// Lets everything happen that needs no time.
    fn settle(&mut self) {
        for _ in 0..20_000 {
            let mut moved = false;
            for at in [0, 1] {
                moved |= self.drain(at);
                moved |= self.write(at, usize::MAX);
                moved |= self.read(at, usize::MAX);
                moved |= self.sides[at].takes && self.take(at);
            }
            if !moved {
                return;
            }
        }
        panic!("the two never fall silent");
    }

    /// Lets time pass, deadline by deadline.
    fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        for _ in 0..20_000 {
            self.settle();
            let next = self.sides.iter().filter_map(|side| side.endpoint.next_timeout()).min();
            let Some(next) = next.filter(|next| next.at <= end) else {
                self.now = end;
                return self.timeout();
            };
            self.now = self.now.max(next.at);
            self.timeout();
        }
        panic!("deadlines do not advance");
    }

    fn finish(&mut self) {
        for side in &mut self.sides {
            side.takes = true;
            while let Some(stream) = side.lanes.pop() {
                side.endpoint.give_back(self.now, stream);
            }
        }
        self.pass(Duration::from_secs(8));
        if !self.tampered && self.sides.iter().all(|side| side.losses == 0) {
            for side in &self.sides {
                let missing = side.sent.len() as u64;
                assert!(missing <= side.undelivered, "{missing} are missing and not counted");
            }
        }
        self.heal();
        for at in [0, 1] {
            self.sides[at].endpoint.stop(self.now);
        }
        self.pass(Duration::from_secs(8));
        for side in &self.sides {
            side.endpoint.assert_invariants();
            assert!(side.stopped && side.endpoint.is_stopped(), "a stop ends");
            assert_eq!((side.endpoint.connection_count(), side.endpoint.next_timeout()), (0, None));
        }
    }

    /// Every link is broken, then the two meet again.
    fn heal(&mut self) {
        for link in &mut self.links {
            for pipe in &mut link.pipes {
                pipe.bytes.clear();
                pipe.broken = true;
            }
        }
        self.pass(Duration::from_secs(8));
        self.tampered = false;
        self.dial(0);
        self.settle();
        for at in [0, 1] {
            assert!(self.sides[at].connected, "the two do not meet again");
            self.sides[at].sent.clear();
            self.send(at, 100);
            self.send(at, 30_000);
            assert_eq!(self.sides[at].sent.len(), 2, "a new connection takes messages");
        }
        self.pass(Duration::from_secs(1));
        for side in &self.sides {
            assert!(side.sent.is_empty(), "what was sent arrives: {:?}", side.sent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_promise_holds_for_inputs_that_look_random() {
        let mut rng = Seed::from_u64(21).rng("link", 0);
        for _ in 0..120 {
            let len = rng.below(400);
            let data: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
            link(&data);
        }
    }

    /// The same on a link that changes nothing and is not cut, where everything is checked.
    #[test]
    fn every_promise_holds_on_a_good_link() {
        let mut rng = Seed::from_u64(22).rng("link", 0);
        for _ in 0..80 {
            let mut data = Vec::new();
            for _ in 0..rng.below(150) {
                let byte = rng.next_u64() as u8;
                let choice = byte % 20;
                data.push(if (13..=18).contains(&choice) { byte - choice + 12 } else { byte });
                data.extend((0..rng.below(3)).map(|_| rng.next_u64() as u8 % 12));
            }
            link(&data);
        }
    }
}
