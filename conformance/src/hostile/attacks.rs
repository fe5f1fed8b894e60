//! What hostile peers do, again and again, for as long as they may.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use headwater_core::id::ProtocolId;
use headwater_core::wire::MessageKind;

use crate::Security;

use super::frames::{FIN, Frame, SYN, bomb, exchanger, package};
use super::peer::{BI, Hostile, UNI};

/// A way to attack a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Links that say nothing.
    Silent,
    /// Ids that come byte by byte, and never to their end.
    Slow,
    /// Links that end after the id, and before the exchange.
    Half,
    /// Lists of more protocols than may be.
    Protocols,
    /// Lists pushed without end.
    Push,
    /// Streams opened beyond the limit.
    Syn,
    /// Streams opened and reset.
    Reset,
    /// Pings by one who does not read.
    Ping,
    /// Frames that bring nothing.
    Empty,
    /// Lengths that nobody can have.
    Lengths,
    /// A message on each stream that ends one byte too early.
    Unfinished,
    /// A few bytes that unpack to very many.
    Bombs,
    /// More data than there is credit for.
    Overflow,
    /// Data on streams that are closed or were never there.
    Unknown,
    /// As many messages as go, from one who reads nothing.
    Messages,
    /// Messages, and away; again and again.
    Churn,
    /// Bytes that mean nothing.
    Noise,
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Silent,
        Self::Slow,
        Self::Half,
        Self::Protocols,
        Self::Push,
        Self::Syn,
        Self::Reset,
        Self::Ping,
        Self::Empty,
        Self::Lengths,
        Self::Unfinished,
        Self::Bombs,
        Self::Overflow,
        Self::Unknown,
        Self::Messages,
        Self::Churn,
        Self::Noise,
    ];
}

/// Between two links of one attacker.
const PAUSE: Duration = Duration::from_millis(20);

/// Attacks until `over`, link after link; `name` is the attacker's, and `protocol` one that the
/// node supports. Counts the links in `links`.
pub fn attack(
    how: Attack,
    (target, security): (SocketAddr, Security),
    name: &str,
    protocol: &ProtocolId,
    over: &AtomicBool,
    links: &AtomicU64,
) {
    while !over.load(Ordering::Relaxed) {
        if let Ok(peer) = begin(how, target, security, name, protocol) {
            links.fetch_add(1, Ordering::Relaxed);
            go_on(how, peer, protocol, over);
        }
        std::thread::sleep(PAUSE);
    }
}

fn begin(
    how: Attack,
    target: SocketAddr,
    security: Security,
    name: &str,
    protocol: &ProtocolId,
) -> std::io::Result<Hostile> {
    match how {
        Attack::Silent | Attack::Slow | Attack::Noise => Hostile::connect(target, security, name),
        Attack::Half => {
            let mut peer = Hostile::connect(target, security, name)?;
            peer.say_id();
            Ok(peer)
        }
        Attack::Protocols => {
            let mut peer = Hostile::connect(target, security, name)?;
            peer.say_id();
            peer.open_outer();
            Ok(peer)
        }
        _ => Hostile::open(target, security, name, &[protocol.as_str(), ProtocolId::EXCHANGER]),
    }
}

/// Lets a peer do its worst until the node ends the link, or all is over.
fn go_on(how: Attack, mut peer: Hostile, protocol: &ProtocolId, over: &AtomicBool) {
    let words = if how == Attack::Slow { peer.first_words() } else { Vec::new() };
    let mut script = Script { how, protocol: protocol.as_str(), words, round: 0, stream: 1 };
    while !peer.is_ended() && !over.load(Ordering::Relaxed) {
        if !script.step(&mut peer) {
            return;
        }
        script.round += 1;
        let wait = if script.waits() { Duration::from_millis(50) } else { Duration::ZERO };
        if how != Attack::Ping && how != Attack::Messages {
            peer.listen(wait);
        }
    }
}

struct Script<'a> {
    how: Attack,
    protocol: &'a str,
    /// What comes byte by byte, but for its end.
    words: Vec<u8>,
    round: u32,
    stream: u32,
}

impl Script<'_> {
    /// Whether there is nothing to do but to be there.
    const fn waits(&self) -> bool {
        matches!(
            self.how,
            Attack::Silent | Attack::Slow | Attack::Half | Attack::Unfinished | Attack::Protocols
        )
    }

    fn next_stream(&mut self) -> u32 {
        self.stream = self.stream.wrapping_add(2);
        self.stream - 2
    }

    /// One step of the attack; false ends the link.
    fn step(&mut self, peer: &mut Hostile) -> bool {
        match self.how {
            Attack::Silent | Attack::Half => {}
            Attack::Slow => {
                let at = self.round as usize;
                peer.raw(self.words.get(at..=at).unwrap_or(&[]));
                std::thread::sleep(PAUSE);
                return at + 2 < self.words.len();
            }
            Attack::Protocols => {
                if self.round == 0 {
                    let names: Vec<String> = (0..2000).map(|n| format!("/{n}")).collect();
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    peer.exchange(&names);
                }
            }
            Attack::Push => self.push(peer),
            Attack::Syn => {
                let streams: Vec<u8> =
                    (0..100).flat_map(|_| Frame::syn(self.next_stream()).encode()).collect();
                peer.inner_bytes(if self.round % 2 == 0 { UNI } else { BI }, &streams);
            }
            Attack::Reset => {
                let mut frames = Vec::new();
                for _ in 0..100 {
                    let stream = self.next_stream();
                    frames.extend(Frame::syn(stream).encode());
                    frames.extend(Frame::rst(stream).encode());
                }
                peer.inner_bytes(UNI, &frames);
            }
            Attack::Ping => {
                peer.pongs = false;
                peer.bytes(&Frame::ping(self.round).encode().repeat(200));
            }
            Attack::Empty => peer.bytes(&Frame::data(1, []).encode().repeat(1000)),
            Attack::Lengths => {
                let stream = self.next_stream();
                let length = u64::MAX >> (self.round % 24);
                peer.inner(UNI, &Frame::data(stream, length.to_be_bytes()).flags(SYN));
            }
            Attack::Unfinished => self.unfinished(peer),
            Attack::Bombs => {
                let stream = self.next_stream();
                peer.inner(UNI, &Frame::syn(stream));
                peer.pour(stream, &ready_bomb(self.protocol), PAUSE);
            }
            Attack::Overflow => {
                let stream = self.next_stream();
                peer.inner(UNI, &Frame::syn(stream));
                let beyond = package(self.protocol, &vec![1; 300_000]);
                peer.inner(UNI, &Frame::data(stream, beyond));
            }
            Attack::Unknown => {
                let gone = self.next_stream();
                let frames = [
                    Frame::data(gone, *b"x").flags(SYN | FIN).encode(),
                    Frame::data(gone, vec![2; 1000]).encode(),
                    Frame::data(gone + 100_000, vec![2; 1000]).encode(),
                    Frame::update(gone + 100_000, 1 << 20).encode(),
                ];
                peer.inner_bytes(UNI, &frames.concat());
            }
            Attack::Messages => {
                peer.credits = false;
                let stream = self.next_stream();
                let many = package(self.protocol, &[3; 2000]).repeat(100);
                peer.inner(UNI, &Frame::syn(stream));
                peer.pour(stream, &many, PAUSE);
            }
            Attack::Churn => {
                let stream = self.next_stream();
                peer.inner(UNI, &Frame::syn(stream));
                peer.pour(stream, &package(self.protocol, &[4; 50_000]).repeat(4), PAUSE);
                return self.round < 2;
            }
            Attack::Noise => {
                let word = self.round.wrapping_mul(0x9e37_79b9).to_be_bytes();
                if self.round == 0 {
                    peer.say_id();
                }
                peer.bytes(&word.repeat(10));
            }
        }
        true
    }

    fn push(&mut self, peer: &mut Hostile) {
        if self.round == 0 {
            peer.inner(UNI, &Frame::syn(1));
        }
        let names: Vec<String> = (0..64).map(|n| format!("/{}/{n}", self.round)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let list = exchanger(MessageKind::Push, peer.id(), &names);
        peer.pour(1, &list, PAUSE);
    }

    fn unfinished(&mut self, peer: &mut Hostile) {
        if self.round > 20 {
            // One byte a step: never fast enough.
            peer.pour(2 * (self.round % 20) + 1, &[5], Duration::ZERO);
            return;
        }
        let stream = self.next_stream();
        let message = package(self.protocol, &vec![5; 1 << 20]);
        peer.inner(UNI, &Frame::syn(stream));
        peer.pour(stream, &message[..message.len() - 1000], PAUSE);
    }
}

/// A bomb for a protocol, made once: making it costs more than all that it does.
fn ready_bomb(protocol: &str) -> Arc<Vec<u8>> {
    static BOMBS: Mutex<BTreeMap<String, Arc<Vec<u8>>>> = Mutex::new(BTreeMap::new());
    let mut bombs = BOMBS.lock().unwrap_or_else(PoisonError::into_inner);
    let made = bombs.entry(protocol.to_owned());
    Arc::clone(made.or_insert_with(|| Arc::new(bomb(protocol, 8 << 20))))
}
