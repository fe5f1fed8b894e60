//! One endpoint among peers that are scripted byte by byte, in virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::connection::LaneNews;
use headwater_core::contract::ListenerId;
use headwater_core::contract::{Command, DialId, Event, IoCause, LinkCommand, Notification};
use headwater_core::endpoint::{BorrowedId, Endpoint};
use headwater_core::error::{CloseReason, Refusal, SendError, UndeliveredReason};
use headwater_core::id::{ConnectionId, PeerId, ProtocolId};
use headwater_core::message::Message;
use headwater_core::secure::Insecure;
use headwater_core::seed::Seed;
use headwater_core::time::Instant;
use headwater_core::wire::MessageKind;

use crate::frames::{ACK, DATA, FIN, Frame, PING, RST, SYN, WINDOW, exchanger};

pub(crate) const UNI: usize = 0;
pub(crate) const BI: usize = 1;
/// The outer streams that carry the inner sessions.
const CARRIERS: [u32; 2] = [1, 3];
const WINDOW_LEN: i64 = 262_144;

pub(crate) const ECHO: &str = "/echo";

/// Ids of peers; the node under test has number 0.
pub(crate) fn peer_id(number: usize) -> PeerId {
    const DIGITS: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZ";
    let mut text = *b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";
    text[2] = DIGITS[number % DIGITS.len()];
    text[3] = DIGITS[number / DIGITS.len() % DIGITS.len()];
    text[4] = DIGITS[number / DIGITS.len() / DIGITS.len()];
    PeerId::from_bytes(&text).unwrap()
}

pub(crate) fn protocol(name: &str) -> ProtocolId {
    ProtocolId::new(name).unwrap()
}

/// What a peer does without being told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    /// Answers pings, on all sessions.
    pub(crate) pongs: bool,
    /// Acknowledges and half-closes the streams that it is opened.
    pub(crate) accepts: bool,
    /// Gives credit for what comes, on outer and inner streams.
    pub(crate) credits: bool,
    /// Closes its half when the node has closed its own.
    pub(crate) closes: bool,
}

pub(crate) const GOOD: Manners =
    Manners { pongs: true, accepts: true, credits: true, closes: true };
pub(crate) const NONE: Manners =
    Manners { pongs: false, accepts: false, credits: false, closes: false };

/// A peer that does what the script says.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) id: PeerId,
    pub(crate) connection: ConnectionId,
    /// It made the link.
    dialer: bool,
    pub(crate) manners: Manners,
    /// How many bytes it still takes from its socket.
    pub(crate) reads: usize,
    /// Whether the frames that it reads are kept in `outer` and `inner`.
    pub(crate) keeps: bool,
    /// On its way to the node.
    sent: VecDeque<u8>,
    eof: bool,
    /// What the node did with the link.
    pub(crate) finished: bool,
    pub(crate) ended: Option<LinkCommand>,
    /// The node's id, and what came after it and is not parsed.
    heard: Vec<u8>,
    pub(crate) node_id: Option<Vec<u8>>,
    carried: [Vec<u8>; 2],
    pub(crate) outer: Vec<Frame>,
    pub(crate) inner: [Vec<Frame>; 2],
    /// Inner frames that wait for outer credit.
    queued: [VecDeque<u8>; 2],
    outer_credit: [i64; 2],
    /// Credit of streams that it opened, by layer and id.
    credit: [BTreeMap<u32, i64>; 2],
    /// What it read and gave no credit for yet, by layer and stream.
    owed: BTreeMap<(usize, u32), u32>,
    pub(crate) bytes_read: u64,
}

impl Raw {
    fn new(id: PeerId, connection: ConnectionId, dialer: bool) -> Self {
        Self {
            id,
            connection,
            dialer,
            manners: GOOD,
            reads: usize::MAX,
            keeps: true,
            sent: VecDeque::new(),
            eof: false,
            finished: false,
            ended: None,
            heard: Vec::new(),
            node_id: None,
            carried: [Vec::new(), Vec::new()],
            outer: Vec::new(),
            inner: [Vec::new(), Vec::new()],
            queued: [VecDeque::new(), VecDeque::new()],
            outer_credit: [WINDOW_LEN; 2],
            credit: [BTreeMap::new(), BTreeMap::new()],
            owed: BTreeMap::new(),
            bytes_read: 0,
        }
    }

    pub(crate) const fn is_dialer(&self) -> bool {
        self.dialer
    }

    fn flush(&mut self) {
        for layer in [UNI, BI] {
            while self.outer_credit[layer] > 0 && !self.queued[layer].is_empty() {
                let len = self.queued[layer].len().min(65_524);
                let len = len.min(self.outer_credit[layer] as usize);
                self.outer_credit[layer] -= len as i64;
                let body: Vec<u8> = self.queued[layer].drain(..len).collect();
                self.sent.extend(Frame::data(CARRIERS[layer], body).encode());
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.bytes_read += bytes.len() as u64;
        self.heard.extend(bytes);
        if self.node_id.is_none() && self.heard.len() >= 46 {
            self.node_id = Some(self.heard.drain(..46).collect());
        }
        while self.node_id.is_some() {
            let Some(frame) = Frame::take(&mut self.heard) else { break };
            self.on_outer(frame);
        }
        self.flush();
    }

    fn on_outer(&mut self, frame: Frame) {
        let layer = CARRIERS.iter().position(|carrier| *carrier == frame.stream);
        match (frame.kind, layer) {
            (PING, _) if frame.flags & SYN != 0 && self.manners.pongs => {
                self.sent.extend(Frame::pong(frame.length).encode());
            }
            (DATA, Some(layer)) => {
                let gives = self.manners.credits;
                if let Some(credit) = owe(&mut self.owed, (2, frame.stream), frame.length, gives) {
                    self.sent.extend(Frame::update(frame.stream, credit).encode());
                }
                self.carried[layer].extend(&frame.body);
                while let Some(inner) = Frame::take(&mut self.carried[layer]) {
                    self.on_inner(layer, inner);
                }
            }
            (WINDOW, Some(layer)) => {
                self.outer_credit[layer] += i64::from(frame.length);
                if !self.dialer && frame.flags & SYN != 0 && self.manners.accepts {
                    self.sent.extend(Frame::ack(frame.stream).encode());
                }
            }
            _ => {}
        }
        if self.keeps {
            self.outer.push(frame);
        }
    }

    fn on_inner(&mut self, layer: usize, frame: Frame) {
        let Manners { pongs, accepts, credits, .. } = self.manners;
        let mut answer = Vec::new();
        if frame.kind == PING && frame.flags & SYN != 0 && pongs {
            answer.push(Frame::pong(frame.length));
        }
        if frame.kind < PING && frame.flags & SYN != 0 && accepts {
            answer.push(Frame::ack(frame.stream));
            if layer == UNI {
                answer.push(Frame::fin(frame.stream));
            }
        }
        if frame.kind == DATA {
            let credit = owe(&mut self.owed, (layer, frame.stream), frame.length, credits);
            answer.extend(credit.map(|credit| Frame::update(frame.stream, credit)));
        }
        if frame.kind == WINDOW {
            *self.credit[layer].entry(frame.stream).or_insert(WINDOW_LEN) +=
                i64::from(frame.length);
        }
        for frame in answer {
            self.queued[layer].extend(frame.encode());
        }
        if self.keeps {
            self.inner[layer].push(frame);
        }
    }

    /// The frames of an inner session that the node sent on a stream with these flags, at least.
    pub(crate) fn seen(&self, layer: usize, stream: u32, flags: u16) -> usize {
        let matches = |f: &&Frame| f.kind < PING && f.stream == stream && f.flags & flags == flags;
        self.inner[layer].iter().filter(matches).count()
    }

    pub(crate) fn was_reset(&self, layer: usize, stream: u32) -> bool {
        self.seen(layer, stream, RST) > 0
    }

    pub(crate) fn was_accepted(&self, layer: usize, stream: u32) -> bool {
        self.seen(layer, stream, ACK) > 0
    }

    /// The streams that the node has opened on the uni session.
    pub(crate) fn opened(&self) -> Vec<u32> {
        let syn = |f: &&Frame| f.kind < PING && f.flags & SYN != 0;
        self.inner[UNI].iter().filter(syn).map(|frame| frame.stream).collect()
    }

    /// The payload of the node's data frames on a stream, in one piece.
    pub(crate) fn received(&self, layer: usize, stream: u32) -> Vec<u8> {
        let frames = self.inner[layer].iter().filter(|f| f.kind == DATA && f.stream == stream);
        frames.flat_map(|frame| frame.body.clone()).collect()
    }

    /// The credit that it has on a stream that it opened, sent bytes not counted.
    pub(crate) fn credit(&self, layer: usize, stream: u32) -> i64 {
        self.credit[layer].get(&stream).copied().unwrap_or(WINDOW_LEN)
    }
}

/// The node under test, its application, and its peers.
pub(crate) struct Arena {
    pub(crate) now: Instant,
    pub(crate) node: Endpoint<Insecure>,
    pub(crate) peers: Vec<Raw>,
    pub(crate) notifications: Vec<Notification>,
    pub(crate) messages: Vec<Message>,
    pub(crate) news: Vec<(BorrowedId, LaneNews)>,
    /// Commands that concern no link.
    pub(crate) commands: Vec<Command>,
    /// Whether messages are taken as they come, and whether they are kept.
    pub(crate) takes: bool,
    pub(crate) keeps: bool,
    /// Rounds of the loop.
    pub(crate) steps: u64,
    listener: ListenerId,
    dialled: Option<usize>,
    next_peer: usize,
}

pub(crate) fn arena() -> Arena {
    Arena::new(Config::default())
}

impl Arena {
    pub(crate) fn new(config: Config) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let factory = Insecure::new(peer_id(0)).unwrap();
        let mut node = Endpoint::new(config, Seed::from_u64(7), factory, now).unwrap();
        node.register(now, protocol(ECHO)).unwrap();
        let local = SocketAddr::from(([127, 0, 0, 1], 1000));
        let listener = node.listen(now, local).unwrap();
        node.handle_event(now, Event::Listening { listener, local });
        let mut arena = Self {
            now,
            node,
            peers: Vec::new(),
            notifications: Vec::new(),
            messages: Vec::new(),
            news: Vec::new(),
            commands: Vec::new(),
            takes: true,
            keeps: true,
            steps: 0,
            listener,
            dialled: None,
            next_peer: 1,
        };
        arena.run();
        arena.notifications.clear();
        arena
    }

    fn next_id(&mut self) -> PeerId {
        self.next_peer += 1;
        peer_id(self.next_peer - 1)
    }

    /// A peer made a link, and has said nothing yet.
    pub(crate) fn accept(&mut self) -> usize {
        let id = self.next_id();
        self.accept_as(id).unwrap()
    }

    #[allow(clippy::result_large_err, reason = "the error of the endpoint")]
    pub(crate) fn accept_as(&mut self, id: PeerId) -> Result<usize, Refusal> {
        let port = 2000 + (self.peers.len() % 60_000) as u16;
        let remote = SocketAddr::from(([127, 0, 0, 1], port));
        let connection = self.node.handle_accepted(self.now, self.listener, remote)?;
        self.peers.push(Raw::new(id, connection, true));
        Ok(self.peers.len() - 1)
    }

    /// The node made a link to a peer, which has said nothing yet.
    pub(crate) fn dial(&mut self) -> (usize, DialId) {
        let id = self.next_id();
        self.dial_as(id)
    }

    pub(crate) fn dial_as(&mut self, id: PeerId) -> (usize, DialId) {
        let remote = SocketAddr::from(([127, 0, 0, 1], 3000 + self.peers.len() as u16));
        let dial = self.node.dial(self.now, Address::from(remote)).unwrap();
        self.run();
        let p = self.dialled.take().unwrap();
        self.peers[p].id = id;
        (p, dial)
    }

    // What peers do. All but `queue` let everything happen that follows.

    pub(crate) fn queue(&mut self, p: usize, bytes: &[u8]) {
        self.peers[p].sent.extend(bytes);
    }

    pub(crate) fn bytes(&mut self, p: usize, bytes: &[u8]) {
        self.queue(p, bytes);
        self.run();
    }

    pub(crate) fn outer(&mut self, p: usize, frame: &Frame) {
        self.bytes(p, &frame.encode());
    }

    /// Sends on an inner session, within the outer window.
    pub(crate) fn inner(&mut self, p: usize, layer: usize, frame: &Frame) {
        self.inner_bytes(p, layer, &frame.encode());
    }

    pub(crate) fn uni(&mut self, p: usize, frame: &Frame) {
        self.inner(p, UNI, frame);
    }

    pub(crate) fn bi(&mut self, p: usize, frame: &Frame) {
        self.inner(p, BI, frame);
    }

    pub(crate) fn inner_bytes(&mut self, p: usize, layer: usize, bytes: &[u8]) {
        self.peers[p].queued[layer].extend(bytes);
        self.peers[p].flush();
        self.run();
    }

    /// Sends bytes on a stream of the uni session in frames, as far as its credit goes; tells how
    /// many were sent.
    pub(crate) fn pour(&mut self, p: usize, stream: u32, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        loop {
            let credit = self.peers[p].credit(UNI, stream).max(0) as usize;
            let len = rest.len().min(credit).min(32_768);
            if len == 0 {
                return bytes.len() - rest.len();
            }
            *self.peers[p].credit[UNI].entry(stream).or_insert(WINDOW_LEN) -= len as i64;
            let (first, others) = rest.split_at(len);
            rest = others;
            self.uni(p, &Frame::data(stream, first));
        }
    }

    pub(crate) fn eof(&mut self, p: usize) {
        self.peers[p].eof = true;
        self.run();
    }

    pub(crate) fn cut(&mut self, p: usize) {
        if self.peers[p].ended.is_none() {
            let connection = self.peers[p].connection;
            self.node.handle_io_error(self.now, connection, IoCause::Reset);
        }
        self.run();
    }

    pub(crate) fn say_id(&mut self, p: usize) {
        let id = self.peers[p].id;
        self.bytes(p, id.as_bytes());
    }

    /// The id, and the two outer streams of a dialer.
    pub(crate) fn open_outer(&mut self, p: usize) {
        self.say_id(p);
        if self.peers[p].dialer {
            self.bytes(p, &[Frame::syn(1).encode(), Frame::syn(3).encode()].concat());
        }
    }

    /// Our part of the protocol exchange.
    pub(crate) fn exchange(&mut self, p: usize, protocols: &[&str]) {
        let id = self.peers[p].id;
        let (kind, first) = if self.peers[p].dialer {
            (MessageKind::Response, Vec::new())
        } else {
            (MessageKind::Request, Frame::syn(2).encode())
        };
        let data = Frame::data(2, exchanger(kind, id, protocols)).encode();
        self.inner_bytes(p, BI, &[first, data].concat());
    }

    /// An honest opening, until messages may travel.
    pub(crate) fn open(&mut self, p: usize) {
        self.open_outer(p);
        self.exchange(p, &[ECHO, ProtocolId::EXCHANGER]);
        let peer = self.peers[p].id;
        assert!(self.notifications.contains(&Notification::Connected { peer }));
    }

    /// A peer with an honest opening behind it.
    pub(crate) fn opened(&mut self) -> usize {
        let p = self.accept();
        self.open(p);
        p
    }

    /// A stream of the peer on the uni session, accepted.
    pub(crate) fn stream(&mut self, p: usize, stream: u32) {
        self.uni(p, &Frame::syn(stream));
        assert!(!self.peers[p].keeps || self.peers[p].was_accepted(UNI, stream));
    }

    /// A message that the peer sends on a stream of its own.
    pub(crate) fn message(&mut self, p: usize, stream: u32, payload: &[u8]) {
        let bytes = crate::frames::package(ECHO, payload);
        self.pour(p, stream, &bytes);
    }

    /// The application sends.
    pub(crate) fn send(&mut self, p: usize, payload: Vec<u8>) -> Result<(), SendError<()>> {
        let peer = self.peers[p].id;
        let sent = self.node.send(self.now, &peer, &protocol(ECHO), payload.into());
        self.run();
        sent.map_err(|error| match error {
            SendError::NotConnected { .. } => SendError::NotConnected { payload: () },
            SendError::NotSupported { .. } => SendError::NotSupported { payload: () },
            SendError::TooLarge { limit, .. } => SendError::TooLarge { payload: (), limit },
            SendError::Full { .. } => SendError::Full { payload: () },
            _ => SendError::Closed { payload: () },
        })
    }

    // Time.

    pub(crate) fn run(&mut self) {
        for round in 0.. {
            assert!(round < 1_000_000, "the node does not come to rest");
            self.steps += 1;
            if !self.step() {
                break;
            }
        }
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.now.after(by);
        for round in 0.. {
            assert!(round < 1_000_000, "deadlines do not advance");
            self.run();
            let next = self.node.next_timeout().filter(|next| next.at <= end);
            let Some(next) = next else { break };
            assert!(round == 0 || next.at > self.now, "{next:?} was due and is not done");
            self.now = self.now.max(next.at);
            self.node.handle_timeout(self.now);
        }
        self.now = end;
        self.node.handle_timeout(self.now);
        self.run();
    }

    pub(crate) fn seconds(&mut self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }

    fn step(&mut self) -> bool {
        let mut moved = false;
        while let Some(command) = self.node.poll_command() {
            moved = true;
            self.command(command);
        }
        while self.node.poll_ready().is_some() {}
        for p in 0..self.peers.len() {
            if self.peers[p].ended.is_none() {
                moved |= self.write(p);
                moved |= self.read(p);
            }
        }
        while let Some(notification) = self.node.poll_notification() {
            self.notifications.push(notification);
            moved = true;
        }
        while let Some(news) = self.node.poll_borrowed() {
            self.news.push(news);
        }
        while self.takes {
            let Some(message) = self.node.poll_message(self.now) else { break };
            moved = true;
            if self.keeps {
                self.messages.push(message.detach());
            }
        }
        self.node.assert_invariants();
        moved
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Dial { connection, remote } => {
                self.node.handle_dialed(self.now, connection, remote).unwrap();
                self.peers.push(Raw::new(peer_id(1), connection, false));
                self.dialled = Some(self.peers.len() - 1);
            }
            Command::Link { connection, command } => {
                let peer = self.peers.iter_mut().rev().find(|peer| peer.connection == connection);
                let peer = peer.unwrap();
                match command {
                    LinkCommand::Finish => {
                        peer.finished = true;
                        peer.eof |= peer.manners.closes;
                    }
                    end => peer.ended = Some(end),
                }
            }
            other => self.commands.push(other),
        }
    }

    fn write(&mut self, p: usize) -> bool {
        let peer = &mut self.peers[p];
        if !self.node.wants_transmit(peer.connection) {
            return false;
        }
        let mut chunks: [&[u8]; 16] = [&[]; 16];
        let count = self.node.transmit(self.now, peer.connection, &mut chunks);
        let mut taken = 0;
        for chunk in &chunks[..count] {
            let len = chunk.len().min(peer.reads);
            peer.reads -= if peer.reads == usize::MAX { 0 } else { len };
            peer.hear(&chunk[..len]);
            taken += len;
        }
        self.node.handle_transmitted(self.now, peer.connection, taken);
        taken > 0
    }

    fn read(&mut self, p: usize) -> bool {
        let peer = &mut self.peers[p];
        if !peer.sent.is_empty() {
            let Some(buffer) = self.node.recv_buf(peer.connection) else { return false };
            let room = (buffer.capacity() - buffer.len()).min(peer.sent.len());
            assert!(room > 0, "a lent buffer has room");
            buffer.extend(peer.sent.drain(..room));
            self.node.handle_received(self.now, peer.connection).unwrap();
            return true;
        }
        if std::mem::take(&mut peer.eof) {
            self.node.handle_eof(self.now, peer.connection);
            return true;
        }
        false
    }

    // What became of it.

    /// Why a peer's link ended, as the application was told; `None` if it was not.
    pub(crate) fn reason(&self, p: usize) -> Option<CloseReason> {
        let id = self.peers[p].id;
        self.notifications.iter().rev().find_map(|notification| match notification {
            Notification::Disconnected { peer, reason, .. } if *peer == id => Some(reason.clone()),
            Notification::Refused { peer, reason, .. } if peer.is_none_or(|peer| peer == id) => {
                Some(match reason {
                    Refusal::Closed(reason) => (**reason).clone(),
                    refusal => CloseReason::Refused(refusal.clone()),
                })
            }
            _ => None,
        })
    }

    pub(crate) fn is_connected(&self, p: usize) -> bool {
        self.node.route(&self.peers[p].id).is_some()
    }

    /// What was told as undelivered: messages and payload bytes, by reason.
    pub(crate) fn undelivered(&self, why: UndeliveredReason) -> (u64, u64) {
        let mut sum = (0, 0);
        for notification in &self.notifications {
            if let Notification::Undelivered { messages, bytes, reason, .. } = notification {
                if *reason == why {
                    sum = (sum.0 + messages, sum.1 + bytes);
                }
            }
        }
        sum
    }

    /// Lets every deadline of a close pass, then checks that the node holds nothing of its peers.
    pub(crate) fn assert_nothing_left(&mut self) {
        self.seconds(11);
        self.node.assert_invariants();
        assert_eq!(self.node.connection_count(), 0, "{:?}", self.notifications);
        assert_eq!(self.node.peers().count(), 0);
        assert_eq!(self.node.next_timeout(), None);
        assert!(self.peers.iter().all(|peer| peer.ended.is_some()));
    }
}

/// Credit is given when half a window is due, as everybody does.
fn owe(
    owed: &mut BTreeMap<(usize, u32), u32>,
    stream: (usize, u32),
    length: u32,
    gives: bool,
) -> Option<u32> {
    let due = owed.entry(stream).or_insert(0);
    *due += length;
    (gives && *due >= 131_072).then(|| std::mem::take(due))
}

/// Whether a frame half-closes.
pub(crate) fn is_fin(frame: &Frame) -> bool {
    frame.kind < PING && frame.flags & FIN != 0
}
