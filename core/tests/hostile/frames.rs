//! Frames, packages and exchanger messages, made and read by hand.

use bytes::BytesMut;
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::wire::{ExchangerMessage, MessageKind, encode_package};

pub(crate) const SYN: u16 = 1;
pub(crate) const ACK: u16 = 2;
pub(crate) const FIN: u16 = 4;
pub(crate) const RST: u16 = 8;

pub(crate) const DATA: u8 = 0;
pub(crate) const WINDOW: u8 = 1;
pub(crate) const PING: u8 = 2;
pub(crate) const GO_AWAY: u8 = 3;

/// One yamux frame; `length` is what its header says, whatever the body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) version: u8,
    pub(crate) kind: u8,
    pub(crate) flags: u16,
    pub(crate) stream: u32,
    pub(crate) length: u32,
    pub(crate) body: Vec<u8>,
}

impl Frame {
    const fn bare(kind: u8, flags: u16, stream: u32, length: u32) -> Self {
        Self { version: 0, kind, flags, stream, length, body: Vec::new() }
    }

    pub(crate) fn data(stream: u32, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self { body: body.clone(), ..Self::bare(DATA, 0, stream, body.len() as u32) }
    }

    pub(crate) const fn syn(stream: u32) -> Self {
        Self::bare(WINDOW, SYN, stream, 0)
    }

    pub(crate) const fn ack(stream: u32) -> Self {
        Self::bare(WINDOW, ACK, stream, 0)
    }

    pub(crate) const fn fin(stream: u32) -> Self {
        Self::bare(WINDOW, FIN, stream, 0)
    }

    pub(crate) const fn rst(stream: u32) -> Self {
        Self::bare(WINDOW, RST, stream, 0)
    }

    pub(crate) const fn update(stream: u32, credit: u32) -> Self {
        Self::bare(WINDOW, 0, stream, credit)
    }

    pub(crate) const fn ping(value: u32) -> Self {
        Self::bare(PING, SYN, 0, value)
    }

    pub(crate) const fn pong(value: u32) -> Self {
        Self::bare(PING, ACK, 0, value)
    }

    pub(crate) const fn go_away(code: u32) -> Self {
        Self::bare(GO_AWAY, 0, 0, code)
    }

    pub(crate) fn flags(self, flags: u16) -> Self {
        Self { flags, ..self }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.version, self.kind];
        bytes.extend(self.flags.to_be_bytes());
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(self.length.to_be_bytes());
        bytes.extend(&self.body);
        bytes
    }

    /// Takes the first frame off `bytes`, if it is all there.
    pub(crate) fn take(bytes: &mut Vec<u8>) -> Option<Self> {
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        if bytes.len() < 12 {
            return None;
        }
        let (version, kind) = (bytes[0], bytes[1]);
        let flags = u16::from_be_bytes([bytes[2], bytes[3]]);
        let (stream, length) = (word(4), word(8));
        let end = 12 + if kind == DATA { length as usize } else { 0 };
        if bytes.len() < end {
            return None;
        }
        let body = bytes[12..end].to_vec();
        bytes.drain(..end);
        Some(Self { version, kind, flags, stream, length, body })
    }
}

/// A package with its length in front.
pub(crate) fn package(protocol: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode_package(&mut out, protocol, payload, false);
    out.to_vec()
}

/// A package of any bytes, with its true length in front.
pub(crate) fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u64).to_be_bytes()[..], body].concat()
}

/// An exchanger message as payload.
pub(crate) fn list(kind: MessageKind, pid: PeerId, protocols: &[&str]) -> Vec<u8> {
    let protocols = protocols.iter().map(|name| ProtocolId::new(name).unwrap()).collect();
    let mut out = BytesMut::new();
    ExchangerMessage { pid, protocols, kind }.encode(&mut out);
    out.to_vec()
}

/// An exchanger message as package.
pub(crate) fn exchanger(kind: MessageKind, pid: PeerId, protocols: &[&str]) -> Vec<u8> {
    package(ProtocolId::EXCHANGER, &list(kind, pid, protocols))
}
