//! The message by which nodes tell each other what they support (spec 4.1).
//!
//! It is the payload of a package whose protocol is
//! [`ProtocolId::EXCHANGER`], in protobuf (proto3):
//!
//! ```text
//! 1 pid: string   2 protocols: repeated string   3 msg_type: PUSH 0, PUSH_OK 1, REQUEST 2, RESPONSE 3
//! ```
//!
//! Whether `pid` is the peer that proved itself is for the reader of the message to check.

use alloc::vec::Vec;
use core::fmt;

use bytes::{BufMut, BytesMut};

use super::varint;
use crate::id::{PROTOCOL_ID_LEN_MAX, PeerId, PeerIdError, ProtocolId, ProtocolIdError};
use crate::protocol::ProtocolSet;

mod fields;
#[cfg(test)]
mod tests;

use fields::{Fields, Value};

const PID: u64 = 1;
const PROTOCOLS: u64 = 2;
const KIND: u64 = 3;

const TAG_PID: u8 = 0x0a;
const TAG_PROTOCOLS: u8 = 0x12;
const TAG_KIND: u8 = 0x18;

/// What an exchanger message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MessageKind {
    /// The sender's protocols changed.
    Push = 0,
    /// The answer to a push.
    PushOk = 1,
    /// The listener's question on a new connection.
    Request = 2,
    /// The dialer's answer to it.
    Response = 3,
}

/// What is accepted of an exchanger message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangerLimits {
    /// The most protocols in one message, counted before duplicates collapse.
    pub protocols_max: usize,
    /// The longest message in bytes.
    pub message_max: usize,
}

impl Default for ExchangerLimits {
    /// 1024 protocols, and as many bytes as that many of the longest ones take.
    fn default() -> Self {
        let protocols_max = 1024_usize;
        let message_max = protocols_max.saturating_mul(PROTOCOL_ID_LEN_MAX.saturating_add(3));
        Self { protocols_max, message_max: message_max.saturating_add(128) }
    }
}

/// One message of the protocol exchanger.
///
/// ```
/// use bytes::BytesMut;
/// use headwater_core::id::ProtocolId;
/// use headwater_core::wire::{ExchangerLimits, ExchangerMessage, MessageKind};
///
/// let message = ExchangerMessage {
///     pid: "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse().unwrap(),
///     protocols: [ProtocolId::exchanger(), ProtocolId::new("/test").unwrap()].into_iter().collect(),
///     kind: MessageKind::Request,
/// };
/// let mut bytes = BytesMut::new();
/// message.encode(&mut bytes);
/// assert_eq!(bytes.len(), message.encoded_len());
/// assert_eq!(ExchangerMessage::decode(&bytes, &ExchangerLimits::default()), Ok(message));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangerMessage {
    /// The sender's own id.
    pub pid: PeerId,
    /// The protocols that the sender supports; written in bytewise order, read in any.
    pub protocols: ProtocolSet,
    /// What the message is for.
    pub kind: MessageKind,
}

impl ExchangerMessage {
    /// How many bytes [`encode`](Self::encode) writes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let text = |bytes: &str| {
            varint::len(bytes.len() as u64).saturating_add(bytes.len()).saturating_add(1)
        };
        let protocols =
            self.protocols.iter().fold(0, |sum: usize, p| sum.saturating_add(text(p.as_str())));
        let kind = if self.kind == MessageKind::Push { 0 } else { 2 };
        text(self.pid.as_str()).saturating_add(protocols).saturating_add(kind)
    }

    /// Appends the message to `out`; a kind of PUSH is not written, being proto3's default.
    pub fn encode(&self, out: &mut BytesMut) {
        out.reserve(self.encoded_len());
        put_text(out, TAG_PID, self.pid.as_bytes());
        for protocol in &self.protocols {
            put_text(out, TAG_PROTOCOLS, protocol.as_str().as_bytes());
        }
        if self.kind != MessageKind::Push {
            out.put_slice(&[TAG_KIND, self.kind as u8]);
        }
    }

    /// Reads a message.
    ///
    /// Unknown fields are skipped, of a repeated scalar the last counts, and duplicates in the
    /// list of protocols collapse.
    ///
    /// # Errors
    ///
    /// The first rule that the bytes break; see [`ExchangerError`].
    pub fn decode(input: &[u8], limits: &ExchangerLimits) -> Result<Self, ExchangerError> {
        if input.len() > limits.message_max {
            let (limit, actual) = (limits.message_max, input.len());
            return Err(ExchangerError::MessageTooLong { limit, actual });
        }
        let (mut pid, mut kind) = (&[][..], 0);
        let mut protocols = Vec::new();
        for field in Fields::new(input) {
            match field? {
                (PID, Value::Bytes(bytes)) => pid = bytes,
                (PROTOCOLS, Value::Bytes(_)) if protocols.len() >= limits.protocols_max => {
                    return Err(ExchangerError::TooManyProtocols { limit: limits.protocols_max });
                }
                (PROTOCOLS, Value::Bytes(bytes)) => {
                    protocols.push(protocol(bytes, protocols.len())?);
                }
                (KIND, Value::Number(number)) => kind = number,
                (field @ (PID | PROTOCOLS | KIND), _) => {
                    return Err(ExchangerError::WrongType { field });
                }
                _ => {}
            }
        }
        let pid = PeerId::from_bytes(pid).map_err(ExchangerError::PeerId)?;
        let kind = match kind {
            0 => MessageKind::Push,
            1 => MessageKind::PushOk,
            2 => MessageKind::Request,
            3 => MessageKind::Response,
            actual => return Err(ExchangerError::UnknownKind { actual }),
        };
        Ok(Self { pid, protocols: protocols.into_iter().collect(), kind })
    }
}

fn protocol(bytes: &[u8], index: usize) -> Result<ProtocolId, ExchangerError> {
    let text =
        core::str::from_utf8(bytes).map_err(|_| ExchangerError::ProtocolNotUtf8 { index })?;
    ProtocolId::new(text).map_err(|error| ExchangerError::Protocol { index, error })
}

fn put_text(out: &mut BytesMut, tag: u8, text: &[u8]) {
    out.put_u8(tag);
    out.put_slice(&varint::encode(text.len() as u64));
    out.put_slice(text);
}

/// Why bytes are not an exchanger message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExchangerError {
    /// More bytes than allowed.
    MessageTooLong {
        /// The most bytes.
        limit: usize,
        /// How many there are.
        actual: usize,
    },
    /// More protocols than allowed.
    TooManyProtocols {
        /// The most protocols.
        limit: usize,
    },
    /// The bytes end inside a field.
    Truncated {
        /// Where the field starts.
        at: usize,
    },
    /// A number does not fit 64 bits.
    Overflow {
        /// Where the field starts.
        at: usize,
    },
    /// A field number of 0, or a wire type that proto3 does not have.
    BadTag {
        /// Where the field starts.
        at: usize,
        /// The tag found.
        actual: u64,
    },
    /// A known field has the wrong wire type.
    WrongType {
        /// The field's number.
        field: u64,
    },
    /// The sender's id is missing or not a peer id.
    PeerId(PeerIdError),
    /// A protocol is not UTF-8.
    ProtocolNotUtf8 {
        /// Its place in the list.
        index: usize,
    },
    /// A protocol is empty or too long.
    Protocol {
        /// Its place in the list.
        index: usize,
        /// What is wrong.
        error: ProtocolIdError,
    },
    /// A kind that does not exist.
    UnknownKind {
        /// The number found.
        actual: u64,
    },
}

impl fmt::Display for ExchangerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MessageTooLong { limit, actual } => {
                write!(f, "an exchanger message of {actual} bytes, the limit is {limit}")
            }
            Self::TooManyProtocols { limit } => {
                write!(f, "more than {limit} protocols in an exchanger message")
            }
            Self::Truncated { at } => write!(f, "the field at byte {at} is cut off"),
            Self::Overflow { at } => write!(f, "a number at byte {at} does not fit 64 bits"),
            Self::BadTag { at, actual } => write!(f, "the tag at byte {at} is {actual:#x}"),
            Self::WrongType { field } => write!(f, "field {field} has the wrong wire type"),
            Self::PeerId(error) => write!(f, "the sender's id is bad: {error}"),
            Self::ProtocolNotUtf8 { index } => write!(f, "protocol {index} is not UTF-8"),
            Self::Protocol { index, error } => write!(f, "protocol {index} is bad: {error}"),
            Self::UnknownKind { actual } => write!(f, "{actual} is no kind of message"),
        }
    }
}

impl core::error::Error for ExchangerError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::PeerId(error) => Some(error),
            Self::Protocol { error, .. } => Some(error),
            _ => None,
        }
    }
}
