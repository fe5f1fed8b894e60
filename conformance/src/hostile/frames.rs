//! Frames and packages made by hand, right or wrong.

use bytes::BytesMut;
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::wire::{ExchangerMessage, MessageKind, encode_package, gzip};

/// Opens a stream, or asks for a pong.
pub const SYN: u16 = 1;
/// Accepts a stream, or is a pong.
pub const ACK: u16 = 2;
/// Half-closes a stream.
pub const FIN: u16 = 4;
/// Resets a stream.
pub const RST: u16 = 8;

pub(super) const DATA: u8 = 0;
pub(super) const WINDOW: u8 = 1;
pub(super) const PING: u8 = 2;
const GO_AWAY: u8 = 3;

/// One yamux frame; `length` is what its header says, whatever the body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// 0, if it is a good one.
    pub version: u8,
    /// 0 to 3, if it is a good one.
    pub kind: u8,
    /// See [`SYN`] and the others.
    pub flags: u16,
    /// The stream.
    pub stream: u32,
    /// What the header says that the body has, or grants, or asks back.
    pub length: u32,
    /// What follows the header.
    pub body: Vec<u8>,
}

impl Frame {
    const fn bare(kind: u8, flags: u16, stream: u32, length: u32) -> Self {
        Self { version: 0, kind, flags, stream, length, body: Vec::new() }
    }

    /// Payload of a stream.
    #[must_use]
    pub fn data(stream: u32, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = u32::try_from(body.len()).expect("a body that fits its header");
        Self { body, ..Self::bare(DATA, 0, stream, length) }
    }

    /// Opens a stream.
    #[must_use]
    pub const fn syn(stream: u32) -> Self {
        Self::bare(WINDOW, SYN, stream, 0)
    }

    /// Accepts a stream.
    #[must_use]
    pub const fn ack(stream: u32) -> Self {
        Self::bare(WINDOW, ACK, stream, 0)
    }

    /// Half-closes a stream.
    #[must_use]
    pub const fn fin(stream: u32) -> Self {
        Self::bare(WINDOW, FIN, stream, 0)
    }

    /// Resets a stream.
    #[must_use]
    pub const fn rst(stream: u32) -> Self {
        Self::bare(WINDOW, RST, stream, 0)
    }

    /// Grants credit.
    #[must_use]
    pub const fn update(stream: u32, credit: u32) -> Self {
        Self::bare(WINDOW, 0, stream, credit)
    }

    /// Asks for a pong.
    #[must_use]
    pub const fn ping(value: u32) -> Self {
        Self::bare(PING, SYN, 0, value)
    }

    /// A pong.
    #[must_use]
    pub const fn pong(value: u32) -> Self {
        Self::bare(PING, ACK, 0, value)
    }

    /// Ends a session.
    #[must_use]
    pub const fn go_away(code: u32) -> Self {
        Self::bare(GO_AWAY, 0, 0, code)
    }

    /// The same with other flags.
    #[must_use]
    pub fn flags(self, flags: u16) -> Self {
        Self { flags, ..self }
    }

    /// The frame as it stands on the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.version, self.kind];
        bytes.extend(self.flags.to_be_bytes());
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(self.length.to_be_bytes());
        bytes.extend(&self.body);
        bytes
    }

    /// Takes the first frame off `bytes`, if it is all there.
    pub(super) fn take(bytes: &mut Vec<u8>) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<12>()?;
        let word =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (kind, length) = (head[1], word(8));
        let len = if kind == DATA { length as usize } else { 0 };
        let body = rest.get(..len)?.to_vec();
        let flags = u16::from_be_bytes([head[2], head[3]]);
        let frame = Self { version: head[0], kind, flags, stream: word(4), length, body };
        bytes.drain(..12 + len);
        Some(frame)
    }
}

/// A package with its length in front.
#[must_use]
pub fn package(protocol: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode_package(&mut out, protocol, payload, false);
    out.to_vec()
}

/// A package of any bytes, with its true length in front.
#[must_use]
pub fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u64).to_be_bytes()[..], body].concat()
}

/// A package of which a few bytes unpack to `len`.
#[must_use]
pub fn bomb(protocol: &str, len: usize) -> Vec<u8> {
    let mut packed = BytesMut::new();
    gzip::compress(&vec![0; len], &mut packed);
    let mut package = package(protocol, &packed);
    if let Some(compressed) = package.last_mut() {
        *compressed = 1;
    }
    package
}

/// An exchanger message as package.
///
/// # Panics
///
/// If a name is no protocol id.
#[must_use]
pub fn exchanger(kind: MessageKind, pid: PeerId, protocols: &[&str]) -> Vec<u8> {
    let protocols = protocols.iter().map(|name| ProtocolId::new(name).expect("a name")).collect();
    let mut out = BytesMut::new();
    ExchangerMessage { pid, protocols, kind }.encode(&mut out);
    package(ProtocolId::EXCHANGER, &out)
}
