//! yamux as a pure machine (spec 1.7 and 2): many streams over one byte stream.
//!
//! A [`Session`] decides which frames leave, in which order and when, how much credit each side
//! has, and when the peer has broken the rules. It moves no bytes by itself: the owner lends what
//! was read to [`Session::receive`], which answers with events and points at payload where it
//! lies, and asks [`Session::transmit`] for frames when it can send some. Nothing is framed before
//! that, and what is framed is committed.
//!
//! A connection runs three of them. The two inner sessions carry the streams of messages. The
//! outer session carries the two inner ones: its two streams have no queue, their frames are made
//! on demand between [`Session::frame_start`] and [`Session::frame_end`].
//!
//! A stream of this side is *opening* until its SYN is framed, which happens while fewer than 256
//! are unacknowledged; one of the peer is *unaccepted* until the owner takes it. Then it is open,
//! until both directions are closed or one side resets it.
//!
//! Invariants:
//! 1. An event about a stream comes after its `Opened` (or after `open`) and none after `Reset`,
//!    nor after both directions are closed.
//! 2. Never more payload is framed than the peer granted, nor taken than was granted to it.
//! 3. A stream is on a ready list exactly when it has something to frame.
//! 4. After an error the session takes nothing more and frames at most one go-away.
//! 5. The events, the errors and the credit granted do not depend on how the input is cut (P9);
//!    only `Flood` tells of output that does not leave.
//!
//! Bounds: `streams_max` streams a side, 256 more that wait for their acknowledgement, 1024 whose
//! reset is not framed yet, 256 refusals and 32 pongs; what the owner queues is bounded by the
//! owner, what the peer sends by the windows. An event holds no bytes.

mod budget;
#[cfg(any(test, feature = "fuzzing"))]
mod check;
mod config;
mod credit;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod header;
mod lifecycle;
mod list;
mod ping;
mod receive;
mod scheduler;
mod session;
mod slots;
mod stream;
mod transmit;
mod view;

#[cfg(test)]
mod tests;

use core::fmt;
use core::time::Duration;

pub use config::{ConfigError, FRAME_MAX, Limit, SessionConfig};
pub use error::{Abuse, AcceptError, OpenError, SessionError, WriteError};
pub use header::{Flags, HEADER_LEN, Header, HeaderError, Kind};
pub use scheduler::Priority;
pub use session::Session;
pub use transmit::FrameSlot;

/// The window of a new stream, each way, in bytes (spec 2.2).
pub const INITIAL_WINDOW: u32 = 262_144;

/// How many streams of a side may wait for their acknowledgement (spec 1.7).
pub const UNACKNOWLEDGED_MAX: usize = 256;

/// How many pongs wait to be framed; further pings go unanswered (spec 2.2).
pub const PONGS_MAX: usize = 32;

/// How many refusals wait to be framed; one more ends the session.
pub const REFUSALS_MAX: usize = 256;

/// How many resets of streams wait to be framed before a new stream of the peer ends the session.
pub const RESETS_MAX: usize = 1024;

/// Which side of a session this is; it decides who has the odd ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The dialer; its ids are odd.
    Client,
    /// The listener; its ids are even.
    Server,
}

/// The yamux id of a stream within its session; not the id that an application sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StreamId(pub u32);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the peer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// It opened a stream, which waits to be accepted or reset.
    Opened {
        /// The stream.
        stream: StreamId,
    },
    /// It sent payload: the last `len` bytes of what this call consumed.
    Data {
        /// The stream.
        stream: StreamId,
        /// The length of the run, at least 1.
        len: usize,
    },
    /// It half-closed a stream: no payload comes any more. On a stream that this side opened to
    /// send, that is normal.
    Finished {
        /// The stream.
        stream: StreamId,
    },
    /// A stream is gone both ways: the peer reset it, or sent on it what it must not.
    /// [`Session::take_unsent`] gives what was not framed until the next call of
    /// [`Session::receive`].
    Reset {
        /// The stream.
        stream: StreamId,
    },
    /// It accepted a stream.
    Acknowledged {
        /// The stream.
        stream: StreamId,
    },
    /// It takes no new streams; those that exist go on.
    GoAway,
    /// It answered a ping after this time.
    Rtt(Duration),
}

/// What [`Session::receive`] made of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// How many bytes of the input were consumed; the next call starts after them.
    pub consumed: usize,
    /// What happened, if anything. `None` says that all input was consumed and nothing more
    /// is to be told.
    pub event: Option<Event>,
}

/// Why a side ends a session; the numbers are those of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum GoAwayCode {
    /// It is done.
    Normal = 0,
    /// The other side broke the protocol.
    Protocol = 1,
    /// Something else failed.
    Internal = 2,
}

/// Why a session wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimerKind {
    /// The peer was silent for so long that a ping is due.
    KeepAlive,
    /// The answer to a keep-alive ping is overdue.
    Pong,
}
