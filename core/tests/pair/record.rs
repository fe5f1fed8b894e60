//! A secure channel for tests: records with a length, a keystream and a checksum.
//!
//! It is shaped like TLS 1.3 and keeps nothing secret. The dialer says hello, the listener answers
//! with its id, the dialer with its own. Data travels in records of at most 16 KiB with 22 bytes
//! of overhead; any wrong byte is noticed. It has output of its own: a ticket after the handshake,
//! and, if asked for, a new key after so many records, which the other side has to answer. Its
//! end is announced, so that a cut is told from an end.

use bytes::{Buf, BufMut, BytesMut};
use headwater_core::buffer::SealedBuf;
use headwater_core::buffer::out::OutBuf;
use headwater_core::contract::Direction;
use headwater_core::id::PeerId;
use headwater_core::secure::{ChannelError, ChannelFactory, Opened, SecureChannel};

/// Plaintext bytes of one record at most.
pub(crate) const PLAIN_MAX: usize = 16 * 1024;
/// Header, kind and checksum of one record.
pub(crate) const OVERHEAD: usize = HEADER + TRAILER;

const HEADER: usize = 5;
const TRAILER: usize = 17;
const MAGIC: [u8; 3] = [0x17, 3, 3];

const HELLO: u8 = 1;
const IDENTITY: u8 = 2;
const TICKET: u8 = 4;
const DATA: u8 = 23;
const KEY_UPDATE: u8 = 24;
const KEY_ANSWER: u8 = 25;
const CLOSE: u8 = 21;

/// Makes record channels.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) local: PeerId,
    /// After how many records a new key is due; 0 is never.
    pub(crate) update_every: u64,
}

impl ChannelFactory for Record {
    type Channel = RecordChannel;

    fn local(&self) -> PeerId {
        self.local
    }

    fn channel(&mut self, direction: Direction, _expected: Option<PeerId>) -> RecordChannel {
        let dialer = direction == Direction::Outbound;
        RecordChannel {
            local: self.local,
            dialer,
            update_every: self.update_every,
            sending: Keys::new(dialer),
            receiving: Keys::new(!dialer),
            due: if dialer { vec![HELLO] } else { Vec::new() },
            heard_hello: false,
            peer: None,
            end: End::Open,
            announced: false,
            since_update: 0,
        }
    }
}

/// One end of a record channel.
#[derive(Debug)]
pub(crate) struct RecordChannel {
    local: PeerId,
    dialer: bool,
    update_every: u64,
    sending: Keys,
    receiving: Keys,
    /// Records of its own that have to leave, in order.
    due: Vec<u8>,
    heard_hello: bool,
    peer: Option<PeerId>,
    end: End,
    /// The other side has announced its end.
    announced: bool,
    since_update: u64,
}

/// How far our own end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Due,
    Announced,
}

/// One direction: which key, and which record.
#[derive(Debug)]
struct Keys {
    key: u64,
    record: u64,
}

impl Keys {
    fn new(of_dialer: bool) -> Self {
        Self { key: 0x9e37_79b9_7f4a_7c15 ^ u64::from(of_dialer), record: 0 }
    }

    fn update(&mut self) {
        self.key = mix(self.key);
        self.record = 0;
    }

    fn next(&mut self) -> u64 {
        self.record += 1;
        mix(self.key ^ self.record)
    }
}

fn mix(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Enciphers or deciphers in place.
fn stream(mut key: u64, bytes: &mut [u8]) {
    for chunk in bytes.chunks_mut(8) {
        key = mix(key.wrapping_add(1));
        for (byte, pad) in chunk.iter_mut().zip(key.to_le_bytes()) {
            *byte ^= pad;
        }
    }
}

fn checksum(key: u64, bytes: &[u8]) -> [u8; 16] {
    let fold = |start: u64| bytes.iter().fold(start, |sum, b| mix(sum ^ u64::from(*b)));
    let mut sum = [0; 16];
    sum[..8].copy_from_slice(&fold(key).to_le_bytes());
    sum[8..].copy_from_slice(&mix(fold(!key)).to_le_bytes());
    sum
}

impl RecordChannel {
    fn put(&mut self, kind: u8, plain: &[u8], out: &mut BytesMut) {
        out.put_slice(&MAGIC);
        out.put_u16((plain.len() + TRAILER) as u16);
        let body = out.len();
        out.put_slice(plain);
        out.put_u8(kind);
        self.seal_from(body, out);
    }

    /// Enciphers what was appended since `body`, and appends the checksum.
    fn seal_from(&mut self, body: usize, out: &mut BytesMut) {
        let key = self.sending.next();
        let sum = checksum(key, &out[body..]);
        stream(key, &mut out[body..]);
        out.put_slice(&sum);
    }

    fn put_own(&mut self, kind: u8, out: &mut BytesMut) {
        match kind {
            IDENTITY => self.put(kind, self.local.clone().as_bytes(), out),
            TICKET => self.put(kind, &[7; 100], out),
            _ => self.put(kind, &[], out),
        }
        if kind == KEY_UPDATE || kind == KEY_ANSWER {
            self.sending.update();
        }
    }

    /// Acts on one record; gives what it means for the caller, if anything.
    fn on_record(&mut self, kind: u8, body: &[u8]) -> Result<Option<Opened>, ChannelError> {
        match (kind, self.peer) {
            (HELLO, None) if !self.dialer && !self.heard_hello && body.is_empty() => {
                self.heard_hello = true;
                self.due.push(IDENTITY);
            }
            (IDENTITY, None) if self.dialer || self.heard_hello => {
                let peer = PeerId::from_bytes(body).map_err(ChannelError::BadPeerId)?;
                self.peer = Some(peer);
                self.due.push(if self.dialer { IDENTITY } else { TICKET });
                return Ok(Some(Opened::Proven));
            }
            (TICKET, Some(_)) => {}
            (KEY_UPDATE, Some(_)) => {
                self.receiving.update();
                self.due.push(KEY_ANSWER);
            }
            (KEY_ANSWER, Some(_)) => self.receiving.update(),
            (CLOSE, _) => {
                self.announced = true;
                return Ok(Some(Opened::Closed));
            }
            _ => return Err(ChannelError::Malformed),
        }
        Ok(None)
    }
}

impl SecureChannel for RecordChannel {
    fn open(&mut self, input: &mut BytesMut, plain: &mut BytesMut) -> Result<Opened, ChannelError> {
        loop {
            let Some(header) = input.first_chunk::<HEADER>().copied() else {
                return Ok(Opened::Waiting);
            };
            let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
            if header[..3] != MAGIC || !(TRAILER..=PLAIN_MAX + TRAILER).contains(&len) {
                return Err(ChannelError::Malformed);
            }
            if input.len() < HEADER + len {
                return Ok(Opened::Waiting);
            }
            if plain.capacity() - plain.len() < len {
                return Ok(Opened::Waiting);
            }
            input.advance(HEADER);
            let mut record = input.split_to(len);
            let sum = record.split_off(len - 16);
            let key = self.receiving.next();
            stream(key, &mut record);
            if checksum(key, &record) != sum[..] {
                return Err(ChannelError::BadRecord);
            }
            let (kind, body) = record.split_last().unwrap();
            if *kind == DATA && self.peer.is_some() {
                plain.put_slice(body);
            } else if let Some(news) = self.on_record(*kind, body)? {
                return Ok(news);
            }
        }
    }

    fn flush(&mut self, sealed: &mut SealedBuf) {
        let out = &mut BytesMut::new();
        let due = std::mem::take(&mut self.due);
        if self.end == End::Announced {
            return;
        }
        for kind in due {
            self.put_own(kind, out);
        }
        if self.end == End::Due {
            self.put_own(CLOSE, out);
            self.end = End::Announced;
        }
        sealed.put(out);
    }

    fn seal(&mut self, plain: &mut OutBuf, to: &mut SealedBuf, out_max: usize) -> usize {
        let (out, end) = (&mut BytesMut::new(), out_max);
        let mut sealed = 0;
        while self.end == End::Open && !plain.is_empty() && end - out.len() > 2 * OVERHEAD {
            if self.update_every > 0 && self.since_update >= self.update_every {
                self.since_update = 0;
                self.put_own(KEY_UPDATE, out);
            }
            let take = plain.len().min(PLAIN_MAX).min(end - out.len() - OVERHEAD);
            out.put_slice(&MAGIC);
            out.put_u16((take + TRAILER) as u16);
            let body = out.len();
            plain.drain_into(out, take);
            out.put_u8(DATA);
            self.seal_from(body, out);
            self.since_update += 1;
            sealed += take;
        }
        to.put(out);
        sealed
    }

    fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    fn is_transparent(&self) -> bool {
        false
    }

    fn close(&mut self) {
        if self.end == End::Open {
            self.end = End::Due;
        }
    }

    fn handle_eof(&mut self) -> Result<(), ChannelError> {
        if self.announced { Ok(()) } else { Err(ChannelError::Truncated) }
    }
}
