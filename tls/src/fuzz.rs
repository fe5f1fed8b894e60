//! The body of this room's fuzz target: peers whose certificates, records or both are whatever
//! the input says, against one channel. It panics when a promise is broken.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "it is a test"
)]

mod der;
mod rogue;
pub mod stranger;

use std::rc::Rc;

use bytes::BytesMut;
use headwater_core::buffer::SealedBuf;
use headwater_core::buffer::out::OutBuf;
use headwater_core::contract::Direction;
use headwater_core::secure::{ChannelError, ChannelFactory, Opened, SecureChannel};
use headwater_identity::NodeKey;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;

use crate::channel::TlsChannel;
use crate::{Tls, TlsError, certificate};
use rogue::Rogue;

/// Room for what one record opens to, as the connection gives it.
const PLAIN_ROOM: usize = 17 * 1024;

/// What a channel may hold for its peer: an incomplete handshake message, a flight of ours.
const HELD_MAX: usize = 112 * 1024;

/// Rounds in which bytes move, before it is said that they move for ever.
const ROUNDS_MAX: usize = 10_000;

/// What is the same in all runs.
struct World {
    /// Accepts everybody.
    open: Tls,
    /// Accepts whom the authority vouches for.
    strict: Tls,
    honest: Tls,
    /// Who peers may be, with certificates to start from.
    keys: Vec<(NodeKey, Vec<Vec<u8>>)>,
}

thread_local! {
    static WORLD: Rc<World> = Rc::new(World::new());
}

/// That of this thread: who is connected in it is counted.
fn world() -> Rc<World> {
    WORLD.with(Rc::clone)
}

impl World {
    fn new() -> Self {
        let ours = key(1, false);
        let root_params = || {
            let mut params = params("root");
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
            params
        };
        let root = CertifiedIssuer::self_signed(root_params(), pair(&key(2, false))).unwrap();
        let keys = [key(3, false), key(4, true)].into_iter().map(|key| {
            let own = certificate::self_signed(&key).unwrap().to_vec();
            let full = root_params().self_signed(&pair(&key)).unwrap().der().to_vec();
            let vouched = params("peer").signed_by(&pair(&key), &root).unwrap().der().to_vec();
            (key, vec![own, full, vouched])
        });
        let authority = pem(root.der());
        Self {
            open: Tls::new(&ours).unwrap(),
            strict: Tls::builder(&ours).authorities("all", authority).build().unwrap(),
            honest: Tls::new(&key(5, false)).unwrap(),
            keys: keys.collect(),
        }
    }
}

/// Always the same key of P-256, or of P-384, for a number.
fn key(number: u8, large: bool) -> NodeKey {
    let (len, curve): (u8, &[u8]) = if large {
        (48, &[0xa0, 7, 6, 5, 0x2b, 0x81, 4, 0, 0x22])
    } else {
        (32, &[0xa0, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7])
    };
    let mut der = vec![2, 1, 1, 4, len];
    der.extend(std::iter::repeat_n(number, usize::from(len)));
    der.extend_from_slice(curve);
    der.splice(0..0, [0x30, u8::try_from(der.len()).unwrap()]);
    NodeKey::from_sec1_der(&der).unwrap()
}

fn pair(key: &NodeKey) -> KeyPair {
    let der = PrivatePkcs8KeyDer::from(key.to_pkcs8_der().to_vec());
    KeyPair::try_from(&der).unwrap()
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["example.org".into()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params
}

fn pem(der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in der.chunks(3) {
        let all = three.iter().fold(0_u32, |all, byte| (all << 8) | u32::from(*byte));
        let all = all << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = usize::try_from((all >> (18 - 6 * at)) & 63).unwrap();
            text.push(if at <= three.len() { char::from(DIGITS[digit]) } else { '=' });
        }
    }
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

/// Our end, and what came of it.
struct Ours {
    channel: TlsChannel,
    input: BytesMut,
    received: Vec<u8>,
    proven: bool,
    closed: bool,
    error: Option<ChannelError>,
}

impl Ours {
    fn new(tls: &Tls, direction: Direction) -> Self {
        Self {
            channel: tls.clone().channel(direction, None),
            input: BytesMut::new(),
            received: Vec::new(),
            proven: false,
            closed: false,
            error: None,
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while self.error.is_none() && !self.closed {
            let mut plain = BytesMut::with_capacity(PLAIN_ROOM);
            let before = self.input.len();
            let opened = self.channel.open(&mut self.input, &mut plain);
            assert!(plain.capacity() < 2 * PLAIN_ROOM, "it grew what it was lent");
            assert!(self.channel.held() <= HELD_MAX, "{} bytes are held", self.channel.held());
            let moved = before != self.input.len() || !plain.is_empty();
            self.received.extend_from_slice(&plain);
            match opened {
                Ok(Opened::Waiting) if moved => {}
                Ok(Opened::Waiting) => break,
                Ok(Opened::Proven) => {
                    assert!(!self.proven && plain.is_empty() && self.channel.peer().is_some());
                    self.proven = true;
                }
                Ok(Opened::Closed) => self.closed = true,
                Err(error) => self.error = Some(error),
            }
        }
    }

    fn say(&mut self) -> SealedBuf {
        let mut said = SealedBuf::new();
        self.channel.flush(&mut said);
        said
    }

    /// What holds however it went.
    fn check(&mut self, tls: &Tls) {
        assert_eq!(self.error.is_some(), self.channel.failure().is_some());
        assert_eq!(self.proven, self.channel.peer().is_some());
        assert_eq!(self.proven, self.channel.proven().is_some());
        if let Some(error) = &self.error {
            // A failed channel stays failed, and says nothing new.
            assert!(!error.to_string().is_empty());
            let mut plain = BytesMut::with_capacity(PLAIN_ROOM);
            let again = self.channel.open(&mut BytesMut::from(&[23, 3, 3, 0, 0][..]), &mut plain);
            assert_eq!(again.unwrap_err(), *error);
            self.say();
            assert!(self.say().is_empty());
        }
        let known = tls.shared.live.all().len();
        assert_eq!(known, usize::from(self.proven), "peers that are gone are listed");
    }
}

/// Interprets `data` as a peer: its kind, its certificate, its records. Whatever it is, it is
/// accepted as whoever it has proven to be, or refused by type and told so by an alert.
///
/// # Panics
///
/// If one of these does not hold.
pub fn peer(data: &[u8]) {
    let Some((&[kind, who], rest)) = data.split_first_chunk() else { return };
    let direction = if kind & 1 == 0 { Direction::Inbound } else { Direction::Outbound };
    match (kind >> 1) % 4 {
        0 => shows(direction, kind, who, rest),
        1 => changes(direction, rest),
        2 => seals(direction, rest),
        _ => says(direction, rest),
    }
}

/// A peer that shows a changed certificate, and has its key or does not.
fn shows(direction: Direction, kind: u8, who: u8, changes: &[u8]) {
    let world = world();
    let tls = if kind & 8 == 0 { &world.open } else { &world.strict };
    let forges = kind & 16 != 0;
    let (key, bases) = &world.keys[usize::from(who & 1)];
    let base = &bases[usize::from(who >> 1) % bases.len()];
    let mut chain = vec![der::changed(base, changes)];
    chain.extend(std::iter::repeat_n(base.clone(), usize::from(kind >> 6)));
    let rogue = Rogue { certificates: chain, key, forges };
    let mut peer = rogue.connection(direction);
    let mut ours = Ours::new(tls, direction);
    let error = meet(&mut peer, &mut ours);
    match ours.channel.failure() {
        None => {
            assert!(ours.proven && !forges, "proven by a forged signature");
            assert_eq!(ours.channel.peer(), Some(key.peer_id()));
            assert_eq!(error, None);
        }
        Some(failure) => {
            assert!(!ours.proven);
            let told = matches!(error, Some(rustls::Error::AlertReceived(_)));
            assert!(told, "{failure} is told as {error:?}");
        }
    }
    ours.check(tls);
}

/// Moves bytes until there are none; how the peer failed.
fn meet(peer: &mut rustls::Connection, ours: &mut Ours) -> Option<rustls::Error> {
    let mut error = None;
    for _ in 0..ROUNDS_MAX {
        let heard = ours.say();
        let mut said = Vec::new();
        while peer.wants_write() {
            peer.write_tls(&mut said).unwrap();
        }
        if heard.is_empty() && said.is_empty() {
            return error;
        }
        let mut heard = &heard[..];
        while !heard.is_empty() && error.is_none() {
            peer.read_tls(&mut heard).unwrap();
            error = peer.process_new_packets().err();
        }
        ours.hear(&said);
    }
    panic!("it goes on for ever");
}

/// Somebody in the middle of us and an honest peer, who changes what comes to us.
fn changes(direction: Direction, mut orders: &[u8]) {
    const SENT: &[u8] = b"what an honest peer sends when it has heard who we are";
    let world = world();
    let other =
        if direction == Direction::Inbound { Direction::Outbound } else { Direction::Inbound };
    let mut ours = Ours::new(&world.open, direction);
    let mut theirs = Ours::new(&world.honest, other);
    let (mut sent, mut out) = (false, OutBuf::new());
    for _ in 0..ROUNDS_MAX {
        let said = ours.say();
        theirs.hear(&said);
        let mut coming = theirs.say();
        if theirs.proven && !sent {
            sent = true;
            out.put(SENT);
            theirs.channel.seal(&mut out, &mut coming, usize::MAX);
            theirs.channel.close();
            theirs.channel.flush(&mut coming);
        }
        if said.is_empty() && coming.is_empty() {
            break;
        }
        carry(&mut ours, &coming, &mut orders);
    }
    if ours.proven {
        assert_eq!(ours.channel.peer(), Some(world.honest.local()));
    }
    assert!(SENT.starts_with(&ours.received), "{:?}", ours.received);
    assert!(!ours.closed || ours.received == SENT, "cut off in silence");
    ours.check(&world.open);
    drop(ours);
}

/// Takes `coming` to us as the orders say; what they do not mention comes as it is.
fn carry(ours: &mut Ours, mut coming: &[u8], orders: &mut &[u8]) {
    while let Some((&[what, len], rest)) = orders.split_first_chunk::<2>() {
        if coming.is_empty() {
            return;
        }
        *orders = rest;
        let take = (usize::from(len) * if what & 8 == 0 { 1 } else { 16 }).min(coming.len());
        let (first, others) = coming.split_at(take);
        match what % 8 {
            0..=2 => ours.hear(first),
            3 => {
                let mut changed = first.to_vec();
                if let Some(last) = changed.last_mut() {
                    *last ^= (what >> 4) | 1;
                }
                ours.hear(&changed);
            }
            4 => {}
            5 => {
                ours.hear(first);
                ours.hear(first);
            }
            6 => {
                let body = usize::from(len).min(orders.len());
                let (body, rest) = orders.split_at(body);
                *orders = rest;
                ours.hear(&record(what >> 4, body));
                continue;
            }
            _ => {
                let raw = usize::from(len).min(orders.len());
                let (raw, rest) = orders.split_at(raw);
                *orders = rest;
                ours.hear(raw);
                continue;
            }
        }
        coming = others;
    }
    ours.hear(coming);
}

/// A record of a type near the known ones.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind + 18, 3, 3, len[0], len[1]], body].concat()
}

/// A proven peer that puts anything into records that are sealed as they should be.
fn seals(direction: Direction, mut orders: &[u8]) {
    let world = world();
    let (key, bases) = &world.keys[0];
    let rogue = Rogue { certificates: vec![bases[0].clone()], key, forges: false };
    let mut peer = rogue.connection(direction);
    let mut ours = Ours::new(&world.open, direction);
    assert_eq!(meet(&mut peer, &mut ours), None);
    let mut sealer = rogue::Sealer::new(peer);
    let mut payload = Vec::new();
    while let Some((&[what, len], rest)) = orders.split_first_chunk::<2>() {
        let (body, rest) = rest.split_at(usize::from(len).min(rest.len()));
        orders = rest;
        // 20 to 25, mostly application data and handshake messages.
        let kind = [23, 22, 23, 22, 21, 20, 24, 25][usize::from(what % 8)];
        let times = if what & 8 == 0 { 1 } else { usize::from(what >> 4) * 16 };
        let body = body.repeat(times);
        if kind == 23 && ours.error.is_none() {
            payload.extend_from_slice(&body);
        }
        for piece in body.chunks(16 * 1024).chain(body.is_empty().then_some(&[][..])) {
            let sealed = sealer.seal(kind, piece);
            ours.hear(&sealed);
        }
        if what & 16 != 0 {
            ours.say();
        }
        if !ours.received.is_empty() {
            assert!(payload.starts_with(&ours.received));
        }
    }
    assert_eq!(ours.channel.peer(), Some(key.peer_id()));
    if let Some(error) = ours.channel.failure() {
        assert!(!matches!(error, TlsError::Refused(_)), "{error}");
    }
    ours.check(&world.open);
}

/// Somebody who says anything, in pieces of any size.
fn says(direction: Direction, mut bytes: &[u8]) {
    let world = world();
    let mut ours = Ours::new(&world.open, direction);
    while let Some((len, rest)) = bytes.split_first() {
        let (piece, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        bytes = rest;
        ours.hear(piece);
        ours.say();
    }
    assert!(!ours.proven && ours.received.is_empty());
    ours.check(&world.open);
    ours.channel.close();
    let _ended = ours.channel.handle_eof();
}

#[cfg(test)]
mod tests {
    use headwater_core::seed::Seed;

    use super::*;

    #[test]
    fn d110_any_peer_is_accepted_or_refused() {
        for seed in 0..400 {
            let mut rng = Seed::from_u64(seed).rng("fuzz", 0);
            let mut data: Vec<u8> =
                (0..2 + rng.below(60)).map(|_| rng.next_u64().to_le_bytes()[3]).collect();
            data[0] = u8::try_from(seed % 64).unwrap();
            peer(&data);
        }
    }

    #[test]
    fn unchanged_certificates_are_accepted() {
        for direction in [0, 1] {
            for who in 0..6 {
                peer(&[direction, who]);
                let world = world();
                let tls = &world.strict;
                let (key, bases) = &world.keys[usize::from(who & 1)];
                let base = usize::from(who >> 1);
                let rogue = Rogue { certificates: vec![bases[base].clone()], key, forges: false };
                let direction = [Direction::Inbound, Direction::Outbound][usize::from(direction)];
                let mut ours = Ours::new(tls, direction);
                meet(&mut rogue.connection(direction), &mut ours);
                // The authority vouches for the last one only.
                assert_eq!(ours.proven, base == 2, "{:?}", ours.channel.failure());
            }
        }
    }
}
