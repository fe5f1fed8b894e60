//! What ends a session, and why an operation on a stream was not possible.

use core::fmt;

use super::header::HeaderError;
use super::{GoAwayCode, StreamId};

/// Why a session ended. It stays ended: every later input gives the same error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum SessionError {
    /// A frame of a version other than 0.
    Version(u8),
    /// A frame of a type above 3.
    Kind(u8),
    /// The peer opened a stream whose id is not one of its ids.
    Parity {
        /// The stream.
        stream: StreamId,
    },
    /// The peer opened a stream that exists.
    DuplicateSyn {
        /// The stream.
        stream: StreamId,
    },
    /// The peer sent more than its credit.
    Window {
        /// The stream.
        stream: StreamId,
        /// The length of the frame, in bytes.
        length: u32,
        /// The credit that the peer had, in bytes.
        credit: u32,
    },
    /// The peer granted credit that does not fit 32 bits in sum.
    CreditOverflow {
        /// The stream.
        stream: StreamId,
    },
    /// The peer ended the session with this code, which is not 0.
    GoAway(u32),
    /// The peer did not answer a keep-alive ping in time.
    KeepAlive,
    /// The peer makes us owe it more frames than are kept, because it reads too slowly.
    Flood,
    /// The peer spent a budget.
    Abuse {
        /// The budget.
        what: Abuse,
    },
}

impl SessionError {
    /// The code with which the peer is told, if it is told.
    #[must_use]
    pub const fn code(self) -> Option<GoAwayCode> {
        match self {
            Self::GoAway(_) => None,
            Self::KeepAlive => Some(GoAwayCode::Internal),
            _ => Some(GoAwayCode::Protocol),
        }
    }
}

impl From<HeaderError> for SessionError {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Version(version) => Self::Version(version),
            HeaderError::Kind(kind) => Self::Kind(kind),
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "frame version {version}, only 0 is known"),
            Self::Kind(kind) => write!(f, "frame type {kind}, only 0 to 3 are known"),
            Self::Parity { stream } => write!(f, "stream {stream} is not the peer's to open"),
            Self::DuplicateSyn { stream } => write!(f, "stream {stream} was opened twice"),
            Self::Window { stream, length, credit } => {
                write!(f, "a frame of {length} bytes on stream {stream}, its credit was {credit}")
            }
            Self::CreditOverflow { stream } => {
                write!(f, "the credit of stream {stream} would exceed {}", u32::MAX)
            }
            Self::GoAway(code) => write!(f, "the peer ended the session with code {code}"),
            Self::KeepAlive => f.write_str("the peer did not answer a keep-alive ping"),
            Self::Flood => f.write_str("the peer provokes frames and does not read them"),
            Self::Abuse { what } => write!(f, "the peer sent too many {what}"),
        }
    }
}

impl core::error::Error for SessionError {}

/// A budget that a peer can spend; each refills over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Abuse {
    /// Streams reset by the peer, or by us because of what the peer sent on them.
    Resets,
    /// Streams of the peer refused before they were accepted.
    Refusals,
    /// Data frames without payload and flags.
    EmptyFrames,
    /// Window updates too small to be of use, without flags.
    WindowUpdates,
    /// Ping requests.
    Pings,
}

impl fmt::Display for Abuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resets => "resets",
            Self::Refusals => "streams that were refused",
            Self::EmptyFrames => "empty data frames",
            Self::WindowUpdates => "tiny window updates",
            Self::Pings => "pings",
        })
    }
}

/// Why no stream was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The session has ended, or this side said that it goes away.
    Closed,
    /// The peer said that it takes no new streams.
    RemoteGoAway,
    /// All ids were used.
    IdsExhausted,
    /// This side has as many open streams as its config allows.
    Limit {
        /// The bound, `SessionConfig::streams_max`.
        streams_max: usize,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the session has ended"),
            Self::RemoteGoAway => f.write_str("the peer takes no new streams"),
            Self::IdsExhausted => f.write_str("all stream ids of the session were used"),
            Self::Limit { streams_max } => {
                write!(f, "{streams_max} streams are open, the bound `streams_max`")
            }
        }
    }
}

impl core::error::Error for OpenError {}

/// Why nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// There is no such stream: it was reset, or closed both ways.
    UnknownStream,
    /// The stream was finished by this side.
    Finished,
    /// The session has ended.
    Closed,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownStream => "the stream was reset or closed",
            Self::Finished => "the stream was finished",
            Self::Closed => "the session has ended",
        })
    }
}

impl core::error::Error for WriteError {}

/// There is no such stream waiting to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptError;

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such stream waits to be accepted")
    }
}

impl core::error::Error for AcceptError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn the_peer_is_told_of_every_end_but_its_own() {
        assert_eq!(SessionError::GoAway(1).code(), None);
        assert_eq!(SessionError::KeepAlive.code(), Some(GoAwayCode::Internal));
        assert_eq!(SessionError::Flood.code(), Some(GoAwayCode::Protocol));
    }

    #[test]
    fn errors_carry_the_limit_and_the_actual_value() {
        let error = SessionError::Window { stream: StreamId(3), length: 5, credit: 4 };
        assert_eq!(error.to_string(), "a frame of 5 bytes on stream 3, its credit was 4");
        assert!(OpenError::Limit { streams_max: 7 }.to_string().contains('7'));
    }
}
