//! One peer that does what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use headwater_core::buffer::SealedBuf;
use headwater_core::buffer::out::OutBuf;
use headwater_core::contract::Direction;
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::secure::{ChannelFactory, Insecure, SecureChannel};
use headwater_core::wire::MessageKind;
use headwater_tls::Tls;

use crate::Security;
use crate::pair::key;

use super::frames::{ACK, DATA, Frame, PING, RST, SYN, WINDOW, exchanger, package};

/// The inner session of the messages.
pub const UNI: usize = 0;
/// The inner session of the exchange.
pub const BI: usize = 1;

/// The outer streams that carry the inner sessions.
const CARRIERS: [u32; 2] = [1, 3];
const INITIAL: i64 = 262_144;

/// What a sealed record opens to at most.
const PLAIN_ROOM: usize = 70_000;

/// How long a write may take before the link counts as lost.
const WRITE_MAX: Duration = Duration::from_secs(2);

/// A peer on a link that it made.
pub struct Hostile {
    id: PeerId,
    socket: TcpStream,
    channel: Box<dyn SecureChannel + Send>,
    /// Came, and is not opened.
    input: BytesMut,
    /// Answers pings.
    pub pongs: bool,
    /// Gives credit for what comes.
    pub credits: bool,
    ended: bool,
    heard: Vec<u8>,
    carried: [Vec<u8>; 2],
    outer_credit: [i64; 2],
    /// Of the streams of the uni session that it opened.
    credit: BTreeMap<u32, i64>,
    reset: BTreeSet<(usize, u32)>,
    accepted: BTreeSet<u32>,
    /// The node has asked for the exchange.
    asked: bool,
    read: u64,
}

impl fmt::Debug for Hostile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hostile").field("id", &self.id).field("ended", &self.ended).finish()
    }
}

impl Hostile {
    /// The id that a peer of this name has.
    #[must_use]
    pub fn id_of(name: &str) -> PeerId {
        key(name).peer_id()
    }

    /// Makes a link and says nothing. The name has at most 32 bytes.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    ///
    /// # Panics
    ///
    /// If the key of that name cannot be used.
    pub fn connect(target: SocketAddr, security: Security, name: &str) -> io::Result<Self> {
        let socket = TcpStream::connect(target)?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(WRITE_MAX))?;
        let key = key(name);
        let channel: Box<dyn SecureChannel + Send> = match security {
            Security::Insecure => {
                let mut channels = Insecure::new(key.peer_id()).expect("46 bytes");
                Box::new(channels.channel(Direction::Outbound, None))
            }
            Security::Tls => {
                let mut channels = Tls::new(&key).expect("a key that TLS takes");
                Box::new(channels.channel(Direction::Outbound, None))
            }
        };
        Ok(Self {
            id: key.peer_id(),
            socket,
            channel,
            input: BytesMut::new(),
            pongs: true,
            credits: true,
            ended: false,
            heard: Vec::new(),
            carried: [Vec::new(), Vec::new()],
            outer_credit: [INITIAL; 2],
            credit: BTreeMap::new(),
            reset: BTreeSet::new(),
            accepted: BTreeSet::new(),
            asked: false,
            read: 0,
        })
    }

    /// Makes a link and opens it as a good peer would that supports `protocols`.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    pub fn open(
        target: SocketAddr,
        security: Security,
        name: &str,
        protocols: &[&str],
    ) -> io::Result<Self> {
        let mut peer = Self::connect(target, security, name)?;
        peer.say_id();
        peer.open_outer();
        peer.exchange(protocols);
        Ok(peer)
    }

    /// Who it says that it is.
    #[must_use]
    pub const fn id(&self) -> PeerId {
        self.id
    }

    /// Whether the node has ended the link, as far as it was read.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Whether the node has reset a stream, as far as was read.
    #[must_use]
    pub fn was_reset(&self, layer: usize, stream: u32) -> bool {
        self.reset.contains(&(layer, stream))
    }

    /// Whether the node has accepted a stream of the uni session, as far as was read.
    #[must_use]
    pub fn was_accepted(&self, stream: u32) -> bool {
        self.accepted.contains(&stream)
    }

    /// How many bytes were read.
    #[must_use]
    pub const fn bytes_read(&self) -> u64 {
        self.read
    }

    // What it says.

    /// What a good peer would say first; it is not said.
    pub fn first_words(&mut self) -> Vec<u8> {
        let mut out = SealedBuf::new();
        self.channel.flush(&mut out);
        out.to_vec()
    }

    /// Writes bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        if !self.ended && self.socket.write_all(bytes).is_err() {
            self.ended = true;
        }
    }

    /// Writes bytes as the channel wants them, which has to be open.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let (mut plain, mut out) = (OutBuf::new(), SealedBuf::new());
        plain.put(bytes);
        while !plain.is_empty() && self.channel.seal(&mut plain, &mut out, usize::MAX / 2) > 0 {}
        self.channel.flush(&mut out);
        self.raw(&out);
    }

    /// Says who it is, and waits until it knows who the other one is.
    pub fn say_id(&mut self) {
        let words = self.first_words();
        self.raw(&words);
        self.listen_until(WRITE_MAX, |peer| peer.channel.peer().is_some());
        self.ended |= self.channel.peer().is_none();
    }

    /// The two outer streams.
    pub fn open_outer(&mut self) {
        self.bytes(&[Frame::syn(1).encode(), Frame::syn(3).encode()].concat());
    }

    /// Waits for the question of the exchange; whether it came.
    pub fn await_question(&mut self) -> bool {
        self.listen_until(WRITE_MAX, |peer| peer.asked)
    }

    /// The answer to the exchange, once it is asked for.
    pub fn exchange(&mut self, protocols: &[&str]) {
        self.await_question();
        let list = exchanger(MessageKind::Response, self.id, protocols);
        self.inner(BI, &Frame::data(2, list));
    }

    /// A frame of the outer session.
    pub fn outer(&mut self, frame: &Frame) {
        self.bytes(&frame.encode());
    }

    /// A frame of an inner session, within the outer window.
    pub fn inner(&mut self, layer: usize, frame: &Frame) {
        self.inner_bytes(layer, &frame.encode());
    }

    /// Bytes of an inner session, within the outer window: reads until there is credit, and counts
    /// the link as lost if none comes.
    pub fn inner_bytes(&mut self, layer: usize, bytes: &[u8]) {
        let (mut rest, mut last) = (bytes, Instant::now());
        while !rest.is_empty() && !self.ended {
            let credit = usize::try_from(self.outer_credit[layer]).unwrap_or(0);
            let len = rest.len().min(32_768).min(credit);
            if len == 0 {
                // The node owes this at once: it has given the link up.
                self.ended = last.elapsed() > WRITE_MAX;
                self.listen(Duration::from_millis(20));
                continue;
            }
            self.outer_credit[layer] -= len as i64;
            last = Instant::now();
            let (first, others) = rest.split_at(len);
            self.bytes(&Frame::data(CARRIERS[layer], first).encode());
            rest = others;
        }
    }

    /// Bytes of a stream of the uni session, within its window; gives how many were sent. It does
    /// not wait for credit longer than `patience`.
    pub fn pour(&mut self, stream: u32, bytes: &[u8], patience: Duration) -> usize {
        let mut rest = bytes;
        let mut last = Instant::now();
        while !rest.is_empty() && !self.ended && !self.was_reset(UNI, stream) {
            let credit = self.credit.entry(stream).or_insert(INITIAL);
            let len = rest.len().min(16_384).min(usize::try_from(*credit).unwrap_or(0));
            if len == 0 {
                if last.elapsed() > patience {
                    break;
                }
                self.listen(Duration::from_millis(5));
                continue;
            }
            *credit -= len as i64;
            last = Instant::now();
            let (first, others) = rest.split_at(len);
            self.inner(UNI, &Frame::data(stream, first));
            rest = others;
        }
        bytes.len() - rest.len()
    }

    /// A whole message on a new stream of the uni session.
    pub fn message(&mut self, stream: u32, protocol: &ProtocolId, payload: &[u8]) {
        self.inner(UNI, &Frame::syn(stream));
        self.pour(stream, &package(protocol.as_str(), payload), WRITE_MAX);
    }

    /// Says nothing more.
    pub fn finish(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    // What it hears.

    /// Reads what comes within `wait`, once; whether something came.
    pub fn listen(&mut self, wait: Duration) -> bool {
        let mut bytes = [0; 65_536];
        let wait = wait.max(Duration::from_millis(1));
        if self.ended || self.socket.set_read_timeout(Some(wait)).is_err() {
            return false;
        }
        match self.socket.read(&mut bytes) {
            Ok(0) => self.ended = true,
            Ok(len) => self.hear(&bytes[..len]),
            Err(error) => {
                let nothing = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted];
                self.ended |= !nothing.contains(&error.kind());
                return false;
            }
        }
        true
    }

    /// Reads until something holds; whether it did within `wait`.
    pub fn listen_until(&mut self, wait: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let end = Instant::now() + wait;
        while !holds(self) {
            if Instant::now() > end {
                return false;
            }
            if !self.listen(Duration::from_millis(20)) && self.ended {
                return holds(self);
            }
        }
        true
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.read += bytes.len() as u64;
        self.input.extend_from_slice(bytes);
        let mut plain = BytesMut::with_capacity(PLAIN_ROOM);
        loop {
            let before = self.input.len();
            self.ended |= self.channel.open(&mut self.input, &mut plain).is_err();
            let words = self.first_words();
            self.raw(&words);
            self.heard.extend_from_slice(&plain);
            plain.clear();
            if self.ended || self.input.len() == before {
                break;
            }
        }
        while let Some(frame) = Frame::take(&mut self.heard) {
            self.on_outer(frame);
        }
    }

    fn on_outer(&mut self, frame: Frame) {
        let layer = CARRIERS.iter().position(|carrier| *carrier == frame.stream);
        match (frame.kind, layer) {
            (PING, _) if frame.flags & SYN != 0 && self.pongs => {
                self.outer(&Frame::pong(frame.length));
            }
            (DATA, Some(layer)) => {
                if self.credits && frame.length > 0 {
                    self.outer(&Frame::update(frame.stream, frame.length));
                }
                self.carried[layer].extend(&frame.body);
                while let Some(inner) = Frame::take(&mut self.carried[layer]) {
                    self.on_inner(layer, &inner);
                }
            }
            (WINDOW, Some(layer)) => self.outer_credit[layer] += i64::from(frame.length),
            _ => {}
        }
    }

    fn on_inner(&mut self, layer: usize, frame: &Frame) {
        if frame.kind == PING && frame.flags & SYN != 0 && self.pongs {
            self.answer(layer, &Frame::pong(frame.length));
        }
        self.asked |= frame.kind == DATA && layer == BI;
        if frame.kind == DATA && self.credits && frame.length > 0 {
            self.answer(layer, &Frame::update(frame.stream, frame.length));
        }
        if frame.kind < PING && frame.flags & RST != 0 {
            self.reset.insert((layer, frame.stream));
        }
        if frame.kind < PING && frame.flags & ACK != 0 && layer == UNI {
            self.accepted.insert(frame.stream);
        }
        if frame.kind < PING && frame.flags & SYN != 0 && layer == UNI {
            self.answer(layer, &Frame::ack(frame.stream));
        }
        if frame.kind == WINDOW && layer == UNI {
            *self.credit.entry(frame.stream).or_insert(INITIAL) += i64::from(frame.length);
        }
    }

    /// What is said without being told to, if the outer window has room.
    fn answer(&mut self, layer: usize, frame: &Frame) {
        let bytes = frame.encode();
        if self.outer_credit[layer] >= bytes.len() as i64 {
            self.outer_credit[layer] -= bytes.len() as i64;
            self.bytes(&Frame::data(CARRIERS[layer], bytes).encode());
        }
    }
}
