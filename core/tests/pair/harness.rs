//! Endpoints in virtual time, joined by pipes that cut bytes as a seed says.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::contract::{
    Command, Event, IoCause, LinkCommand, ListenerId, Notification, TimerKind,
};
use headwater_core::endpoint::Endpoint;
use headwater_core::id::{ConnectionId, PeerId, ProtocolId};
use headwater_core::message::Message;
use headwater_core::secure::{ChannelFactory, Insecure};
use headwater_core::seed::{Rng, Seed};
use headwater_core::time::Instant;

use crate::record::Record;

/// Ids of peers for tests, in ascending order.
pub(crate) fn peer_id(number: usize) -> PeerId {
    const DIGITS: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZ";
    let mut text = *b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";
    text[2] = DIGITS[number % DIGITS.len()];
    text[3] = DIGITS[number / DIGITS.len()];
    PeerId::from_bytes(&text).unwrap()
}

pub(crate) fn protocol(name: &str) -> ProtocolId {
    ProtocolId::new(name).unwrap()
}

/// A kind of channel that tests run over.
pub(crate) trait Channels: ChannelFactory + Sized {
    /// The largest message that a test can afford to send, in bytes.
    const LARGE: usize;

    fn of(local: PeerId) -> Self;
}

impl Channels for Insecure {
    const LARGE: usize = 64 << 20;

    fn of(local: PeerId) -> Self {
        Self::new(local).unwrap()
    }
}

impl Channels for Record {
    const LARGE: usize = 8 << 20;

    fn of(local: PeerId) -> Self {
        Self { local, update_every: 3 }
    }
}

/// Makes a test of each generic body, over each kind of channel.
macro_rules! over_both_channels {
    ($($body:ident),* $(,)?) => {
        mod plain {
            $(#[test] fn $body() { super::$body::<headwater_core::secure::Insecure>(); })*
        }
        mod record {
            $(#[test] fn $body() { super::$body::<crate::record::Record>(); })*
        }
    };
}
pub(crate) use over_both_channels;

/// Two nodes that support `/echo` and do not know each other yet.
pub(crate) fn pair<F: Channels>(seed: u64) -> World<F> {
    pair_with(seed, Config::default())
}

/// The same, both with this configuration.
pub(crate) fn pair_with<F: Channels>(seed: u64, config: Config) -> World<F> {
    let end = |number| (config.clone(), F::of(peer_id(number)));
    let mut world = World::new(seed, vec![end(0), end(1)]);
    world.register_echo();
    world
}

/// The seed of one end of a world.
pub(crate) fn seed_of(world: u64, end: usize) -> Seed {
    Seed::from_u64(world.wrapping_mul(31).wrapping_add(end as u64))
}

/// One direction of a link.
#[derive(Debug, Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    finished: bool,
    broken: bool,
}

/// How pipes cut bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    /// As much as fits.
    Whole,
    /// One byte a read.
    Bytes,
    /// Whatever the seed says, up to this many.
    Random(usize),
}

pub(crate) struct End<F: ChannelFactory> {
    pub(crate) endpoint: Endpoint<F>,
    pub(crate) notifications: Vec<Notification>,
    pub(crate) messages: Vec<Message>,
    /// Whether messages are taken as they come.
    pub(crate) takes: bool,
    address: SocketAddr,
    listening: Option<ListenerId>,
    /// Bytes written, all links together, in order.
    pub(crate) written: Vec<u8>,
    /// What was to be done with links, in order.
    pub(crate) link_commands: Vec<LinkCommand>,
    /// Which of the written bytes are damaged on their way, counted from the first one.
    pub(crate) damaged: Option<usize>,
    /// What was read, read by read, by link.
    pub(crate) heard: BTreeMap<ConnectionId, Vec<Vec<u8>>>,
}

pub(crate) struct World<F: ChannelFactory> {
    pub(crate) now: Instant,
    pub(crate) ends: Vec<End<F>>,
    /// From one side of a link to the other.
    links: BTreeMap<(usize, ConnectionId), (usize, ConnectionId)>,
    pipes: BTreeMap<(usize, ConnectionId), Pipe>,
    pub(crate) cut: Cut,
    /// Bytes that a pipe holds before writes to it stop.
    pub(crate) pipe_max: usize,
    rng: Rng,
    clock_rng: Rng,
    /// Whether calls are given times that have passed already.
    pub(crate) wobbles: bool,
    /// The order in which ends take their turns.
    pub(crate) turns: Vec<usize>,
}

impl<F: ChannelFactory> World<F> {
    pub(crate) fn new(seed: u64, configs: Vec<(Config, F)>) -> Self {
        Self::at(Instant::from_nanos(1_000_000_000), seed, configs)
    }

    /// A world whose clock starts at `now`.
    pub(crate) fn at(now: Instant, seed: u64, configs: Vec<(Config, F)>) -> Self {
        let mut ends = Vec::new();
        for (number, (config, factory)) in configs.into_iter().enumerate() {
            let seed = seed_of(seed, number);
            ends.push(End {
                endpoint: Endpoint::new(config, seed, factory, now).unwrap(),
                notifications: Vec::new(),
                messages: Vec::new(),
                takes: true,
                address: SocketAddr::from(([127, 0, 0, 1], 1000 + number as u16)),
                listening: None,
                written: Vec::new(),
                link_commands: Vec::new(),
                damaged: None,
                heard: BTreeMap::new(),
            });
        }
        let turns = (0..ends.len()).collect();
        Self {
            now,
            ends,
            wobbles: false,
            turns,
            links: BTreeMap::new(),
            pipes: BTreeMap::new(),
            cut: Cut::Whole,
            pipe_max: 256 * 1024,
            rng: Seed::from_u64(seed).rng("pipes", 0),
            clock_rng: Seed::from_u64(seed).rng("clock", 0),
        }
    }

    /// The time that a call is given.
    pub(crate) fn clock(&mut self) -> Instant {
        if !self.wobbles {
            return self.now;
        }
        Instant::from_nanos(self.now.as_nanos() - self.clock_rng.below(self.now.as_nanos()))
    }

    pub(crate) fn register_echo(&mut self) {
        for end in &mut self.ends {
            end.endpoint.register(self.now, protocol("/echo")).unwrap();
        }
    }

    pub(crate) fn address(&self, end: usize) -> Address {
        Address::from(self.ends[end].address).with_peer(self.ends[end].endpoint.local())
    }

    pub(crate) fn listen(&mut self, end: usize) {
        let address = self.ends[end].address;
        let listener = self.ends[end].endpoint.listen(self.now, address).unwrap();
        self.ends[end].listening = Some(listener);
        self.run();
    }

    /// Lets `from` dial `to`, and everything that follows happen.
    pub(crate) fn connect(&mut self, from: usize, to: usize) {
        if self.ends[to].listening.is_none() {
            self.listen(to);
        }
        let address = self.address(to);
        self.ends[from].endpoint.dial(self.now, address).unwrap();
        self.run();
    }

    pub(crate) fn send(
        &mut self,
        from: usize,
        to: usize,
        name: &str,
        payload: impl Into<bytes::Bytes>,
    ) {
        let peer = self.ends[to].endpoint.local();
        let now = self.now;
        self.ends[from].endpoint.send(now, &peer, &protocol(name), payload.into()).unwrap();
    }

    /// Runs until nothing moves any more, without letting time pass.
    pub(crate) fn run(&mut self) {
        for round in 0.. {
            assert!(round < 5_000_000, "the world does not come to rest");
            if !self.step() {
                break;
            }
        }
    }

    /// Lets time pass, firing deadlines as they come.
    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.now.after(by);
        for round in 0.. {
            assert!(round < 1_000_000, "deadlines do not advance");
            self.run();
            let next = self.ends.iter().filter_map(|end| end.endpoint.next_timeout()).min();
            let Some(next) = next.filter(|next| next.at <= end) else { break };
            self.now = self.now.max(next.at);
            for end in &mut self.ends {
                end.endpoint.handle_timeout(self.now);
            }
        }
        self.now = end;
        for end in &mut self.ends {
            end.endpoint.handle_timeout(self.now);
        }
        self.run();
        for end in &self.ends {
            let next = end.endpoint.next_timeout();
            let due = next.filter(|next| next.at <= self.now && next.why != TimerKind::Budget);
            assert_eq!(due, None, "due after a full drain at {:?}", self.now);
        }
    }

    /// One round over all ends; whether anything happened.
    pub(crate) fn step(&mut self) -> bool {
        let mut moved = false;
        for turn in 0..self.turns.len() {
            let end = self.turns[turn];
            moved |= self.commands(end);
            moved |= self.bytes(end);
            let now = self.clock();
            let this = &mut self.ends[end];
            while let Some(notification) = this.endpoint.poll_notification() {
                this.notifications.push(notification);
                moved = true;
            }
            while this.takes {
                let Some(message) = this.endpoint.poll_message(now) else { break };
                this.messages.push(message.detach());
                moved = true;
            }
            this.endpoint.assert_invariants();
        }
        moved
    }

    pub(crate) fn commands(&mut self, end: usize) -> bool {
        let mut moved = false;
        while let Some(command) = self.ends[end].endpoint.poll_command() {
            moved = true;
            match command {
                Command::Listen { listener, address } => {
                    let event = Event::Listening { listener, local: address };
                    let now = self.clock();
                    self.ends[end].endpoint.handle_event(now, event);
                }
                Command::StopListening { .. } => self.ends[end].listening = None,
                Command::Dial { connection, remote } => self.dial(end, connection, remote),
                Command::Link { connection, command } => {
                    self.link_command(end, connection, command);
                }
                _ => {}
            }
        }
        moved
    }

    fn dial(&mut self, from: usize, connection: ConnectionId, remote: SocketAddr) {
        let now = self.clock();
        let listens = |end: &End<F>| end.address == remote && end.listening.is_some();
        let Some(to) = self.ends.iter().position(listens) else {
            let event = Event::DialFailed { connection, cause: IoCause::Refused };
            return self.ends[from].endpoint.handle_event(now, event);
        };
        let listener = self.ends[to].listening.unwrap();
        let local = self.ends[from].address;
        if self.ends[from].endpoint.handle_dialed(now, connection, local).is_err() {
            return;
        }
        self.pipes.insert((from, connection), Pipe::default());
        match self.ends[to].endpoint.handle_accepted(now, listener, local) {
            Ok(accepted) => {
                self.pipes.insert((to, accepted), Pipe::default());
                self.links.insert((from, connection), (to, accepted));
                self.links.insert((to, accepted), (from, connection));
            }
            Err(_) => {
                self.ends[from].endpoint.handle_io_error(now, connection, IoCause::Reset);
            }
        }
    }

    fn link_command(&mut self, end: usize, connection: ConnectionId, command: LinkCommand) {
        self.ends[end].link_commands.push(command);
        let Some(pipe) = self.pipes.get_mut(&(end, connection)) else { return };
        match command {
            LinkCommand::Finish => pipe.finished = true,
            LinkCommand::Close => {
                pipe.finished = true;
                self.forget(end, connection);
            }
            LinkCommand::Abort => {
                pipe.broken = true;
                self.forget(end, connection);
            }
        }
    }

    /// This side reads no more; what it wrote still arrives.
    fn forget(&mut self, end: usize, connection: ConnectionId) {
        if let Some(other) = self.links.get(&(end, connection)) {
            if let Some(pipe) = self.pipes.get_mut(other) {
                pipe.bytes.clear();
            }
        }
    }

    /// Breaks a link in both directions, as a peer that died does.
    pub(crate) fn break_links(&mut self, end: usize) {
        for (key, pipe) in &mut self.pipes {
            if key.0 == end {
                pipe.broken = true;
            }
        }
    }

    /// From now on nothing travels on the links there are, and nobody is told.
    pub(crate) fn silence(&mut self) {
        self.links.clear();
    }

    /// Nobody reaches this end any more, whatever it believes.
    pub(crate) fn close_door(&mut self, end: usize) {
        self.ends[end].listening = None;
    }

    /// Replaces an end by one that knows nothing of what was before.
    pub(crate) fn restart(&mut self, end: usize, config: Config, factory: F) {
        let old = self.links_of(end);
        for connection in &old {
            self.links
                .retain(|one, other| *one != (end, *connection) && *other != (end, *connection));
            self.pipes.remove(&(end, *connection));
        }
        let seed = seed_of(self.rng.next_u64(), end);
        let endpoint = Endpoint::new(config, seed, factory, self.now).unwrap();
        let this = &mut self.ends[end];
        this.endpoint = endpoint;
        this.listening = None;
        this.endpoint.register(self.now, protocol("/echo")).unwrap();
        this.notifications.clear();
        this.messages.clear();
    }

    /// Ends what one side sends, as somebody in between can.
    pub(crate) fn cut_off(&mut self, end: usize) {
        for (key, pipe) in &mut self.pipes {
            if key.0 == end {
                pipe.finished = true;
            }
        }
    }

    /// Writes what an end has to write on all its links, and reads nothing.
    pub(crate) fn write_all(&mut self, end: usize) {
        for connection in self.links_of(end) {
            while self.write(end, connection) {}
        }
    }

    /// The links of an end, those that have ended too.
    pub(crate) fn links_of(&self, end: usize) -> Vec<ConnectionId> {
        self.pipes.keys().filter(|(e, _)| *e == end).map(|(_, c)| *c).collect()
    }

    /// The other end of a link.
    pub(crate) fn other_end(&self, end: usize, connection: ConnectionId) -> (usize, ConnectionId) {
        self.links[&(end, connection)]
    }

    fn bytes(&mut self, end: usize) -> bool {
        let mut moved = false;
        while self.ends[end].endpoint.poll_ready().is_some() {}
        for connection in self.links_of(end) {
            moved |= self.write(end, connection);
            moved |= self.read(end, connection);
        }
        moved
    }

    fn quantum(&mut self, available: usize) -> usize {
        match self.cut {
            Cut::Whole => available,
            Cut::Bytes => available.min(1),
            Cut::Random(max) => available.min(1 + self.rng.below(max as u64) as usize),
        }
    }

    pub(crate) fn write(&mut self, end: usize, connection: ConnectionId) -> bool {
        let mut chunks: [&[u8]; 16] = [&[]; 16];
        let now = self.clock();
        let endpoint = &mut self.ends[end].endpoint;
        if !endpoint.wants_transmit(connection) {
            return false;
        }
        let count = endpoint.transmit(now, connection, &mut chunks);
        let offered: Vec<u8> = chunks[..count].concat();
        let pipe = &self.pipes[&(end, connection)];
        let room = self.pipe_max.saturating_sub(pipe.bytes.len());
        let closed = pipe.finished || pipe.broken;
        let taken = self.quantum(offered.len().min(room));
        if taken == 0 || closed {
            return false;
        }
        let End { endpoint, written, damaged, .. } = &mut self.ends[end];
        let start = written.len();
        written.extend(&offered[..taken]);
        let sent = self.pipes.get_mut(&(end, connection)).unwrap();
        let at = sent.bytes.len();
        sent.bytes.extend(&offered[..taken]);
        if let Some(hit) = damaged.filter(|hit| (start..start + taken).contains(hit)) {
            sent.bytes[at + hit - start] ^= 1;
        }
        endpoint.handle_transmitted(now, connection, taken);
        true
    }

    pub(crate) fn read(&mut self, end: usize, connection: ConnectionId) -> bool {
        let Some(other) = self.links.get(&(end, connection)).copied() else { return false };
        let available = self.pipes[&other].bytes.len();
        let take = self.quantum(available);
        let now = self.clock();
        let End { endpoint, heard, .. } = &mut self.ends[end];
        if take > 0 {
            let Some(buffer) = endpoint.recv_buf(connection) else { return false };
            let room = (buffer.capacity() - buffer.len()).min(take);
            let start = buffer.len();
            buffer.extend(self.pipes.get_mut(&other).unwrap().bytes.drain(..room));
            heard.entry(connection).or_default().push(buffer[start..].to_vec());
            endpoint.handle_received(now, connection).unwrap();
            return true;
        }
        let pipe = &self.pipes[&other];
        if !pipe.finished && !pipe.broken {
            return false;
        }
        if pipe.broken {
            endpoint.handle_io_error(now, connection, IoCause::Reset);
        } else {
            endpoint.handle_eof(now, connection);
        }
        self.links.remove(&(end, connection));
        true
    }

    /// What an end was told, in a short form.
    pub(crate) fn told(&self, end: usize) -> Vec<String> {
        self.ends[end].notifications.iter().map(short).collect()
    }
}

/// A notification in a short form.
pub(crate) fn short(notification: &Notification) -> String {
    match notification {
        Notification::Connected { .. } => "connected".into(),
        Notification::Disconnected { reason, .. } => format!("disconnected: {reason}"),
        Notification::Supported { protocol, .. } => format!("+{protocol}"),
        Notification::Unsupported { protocol, .. } => format!("-{protocol}"),
        Notification::Undelivered { messages, .. } => format!("undelivered {messages}"),
        Notification::Listening { .. } => "listening".into(),
        Notification::Dialed { .. } => "dialed".into(),
        Notification::DialFailed { error, .. } => format!("dial failed: {error}"),
        Notification::Refused { reason, .. } => format!("refused: {reason}"),
        Notification::Stopped => "stopped".into(),
        other => format!("{other:?}"),
    }
}
