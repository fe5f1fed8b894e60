//! The contract between core and whoever drives it: what happened, what to do, what to tell.
//!
//! An [`Event`] happened outside and is given to core. A [`Command`] is something that the driver
//! has to do. A [`Notification`] is for the application. Control is small values; bytes are lent,
//! borrowed and confirmed on a connection's byte side and never ride in any of the three.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use crate::address::{Address, Family};
use crate::error::{CloseReason, DialError, Refusal, RetryCause, UndeliveredReason};
use crate::id::{ConnectionId, PeerId, ProtocolId};
use crate::time::Instant;

/// A socket that listens, named by core when the application asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ListenerId(pub u32);

/// A dial that the application asked for; its outcome carries the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DialId(pub u64);

/// A peer that the application requires, under one or more addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RequiredId(pub u64);

/// A name that core wants resolved; the answer carries the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct QueryId(pub u64);

/// Who made a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Direction {
    /// The peer did; we accepted it.
    Inbound,
    /// We did.
    Outbound,
}

/// Something that happened outside of core.
///
/// An accepted link is not an event but a call, because it is answered at once: see
/// `handle_accepted` of `Node` and `Endpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Event {
    /// A listener is bound; `local` is what it is bound to, with the real port.
    Listening {
        /// Which.
        listener: ListenerId,
        /// Where.
        local: SocketAddr,
    },
    /// A listener could not be bound, or broke.
    ListenFailed {
        /// Which.
        listener: ListenerId,
        /// Why.
        cause: IoCause,
    },
    /// A name was resolved; at most the first eight addresses are tried, in their order.
    Resolved {
        /// The question.
        query: QueryId,
        /// The addresses; empty counts as a failure.
        addresses: Vec<SocketAddr>,
    },
    /// A name could not be resolved.
    ResolveFailed {
        /// The question.
        query: QueryId,
        /// Why.
        cause: IoCause,
    },
    /// A dial did not lead to a link.
    DialFailed {
        /// Which.
        connection: ConnectionId,
        /// Why.
        cause: IoCause,
    },
}

/// Something that the driver has to do.
///
/// What has an answer gets it exactly once, at any later time. Core waits for it with a deadline
/// only where that is said; where it does not care any more it ignores the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Bind a listening socket, without sharing its port (D-67).
    ///
    /// Answer: [`Event::Listening`] or [`Event::ListenFailed`]. Once it listens, `ListenFailed`
    /// says that it broke; an accepted link is given to `handle_accepted`.
    Listen {
        /// Its name.
        listener: ListenerId,
        /// Where; port 0 leaves the choice to the system.
        address: SocketAddr,
    },
    /// Close a listening socket. No answer; links that it accepted just before are refused.
    StopListening {
        /// Which.
        listener: ListenerId,
    },
    /// Resolve a name.
    ///
    /// Answer: [`Event::Resolved`] or [`Event::ResolveFailed`], before the deadline of the dial,
    /// or the dial fails without it.
    Resolve {
        /// The question.
        query: QueryId,
        /// The name.
        name: Arc<str>,
        /// The port that the addresses have to carry.
        port: u16,
        /// Which addresses are wanted.
        family: Family,
    },
    /// Make a link.
    ///
    /// Answer: `handle_dialed` or [`Event::DialFailed`], before the deadline of the dial, or the
    /// command is taken back with `CancelDial`. If `handle_dialed` gives an error nobody wants
    /// the link any more: close it.
    Dial {
        /// The name of the link to be.
        connection: ConnectionId,
        /// Where.
        remote: SocketAddr,
    },
    /// Give up a dial that is under way, or drop the link if it was just made. No answer, and
    /// none to its `Dial`.
    CancelDial {
        /// Which.
        connection: ConnectionId,
    },
    /// Leave new links in the listeners' backlogs: the node has as many unproven ones as it may.
    /// No answer; one that was accepted all the same waits, or is refused by `handle_accepted`.
    PauseAccept,
    /// Take new links again. No answer.
    ResumeAccept,
    /// Something to do with a link; see [`LinkCommand`]. For a link that is gone, nothing.
    Link {
        /// Which.
        connection: ConnectionId,
        /// What.
        command: LinkCommand,
    },
}

/// What the driver has to do with one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum LinkCommand {
    /// Everything to send has been handed over: half-close the link, keep reading. No answer but
    /// what the link itself says: its other end comes as `handle_eof`, or `handle_io_error`.
    Finish,
    /// Both sides are done: close the socket. No answer; nothing more is said of the link, and
    /// messages that it brought may still be taken.
    Close,
    /// Close the socket at once, discarding what is queued, with a reset if the system can. No
    /// answer, as after `Close`.
    Abort,
}

/// Something that the application is told. Order is kept per peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notification {
    /// A listener is ready for peers.
    Listening {
        /// Which.
        listener: ListenerId,
        /// Where, with the real port.
        local: SocketAddr,
    },
    /// A listener could not be bound, or broke.
    ListenFailed {
        /// Which.
        listener: ListenerId,
        /// Where it was to listen.
        address: SocketAddr,
        /// Why.
        cause: IoCause,
    },
    /// The first connection of a peer is up. Messages of the peer come only after this.
    Connected {
        /// Who.
        peer: PeerId,
    },
    /// A connected peer has announced a protocol: messages may be sent to it now. The exchanger's
    /// own protocol, which every list has (spec 9.1), is never told.
    Supported {
        /// Who.
        peer: PeerId,
        /// What.
        protocol: ProtocolId,
    },
    /// A peer no longer supports a protocol; also told for each one when it disconnects.
    Unsupported {
        /// Who.
        peer: PeerId,
        /// What.
        protocol: ProtocolId,
    },
    /// Messages that were accepted for sending will not arrive, or may not have.
    Undelivered {
        /// To whom.
        peer: PeerId,
        /// Of which protocol.
        protocol: ProtocolId,
        /// How many.
        messages: u64,
        /// Their payload bytes.
        bytes: u64,
        /// Why.
        reason: UndeliveredReason,
    },
    /// The last connection of a peer is gone.
    Disconnected {
        /// Who.
        peer: PeerId,
        /// Why.
        reason: CloseReason,
        /// Further times that the peer came and went since the application was last told.
        flaps: u32,
    },
    /// A dial that the application asked for led to a connected peer.
    Dialed {
        /// Which dial.
        dial: DialId,
        /// Who answered.
        peer: PeerId,
    },
    /// A dial that the application asked for led to nothing.
    DialFailed {
        /// Which dial.
        dial: DialId,
        /// Where it went.
        address: Address,
        /// Why the last attempt failed.
        error: DialError,
    },
    /// A required peer could not be reached, or left too early; it is tried again after a wait.
    /// Of several failures that the application slept through, the last one is told.
    Retrying {
        /// Which.
        required: RequiredId,
        /// Who, if an address named it or it is known by now.
        peer: Option<PeerId>,
        /// The address that was dialled last.
        address: Address,
        /// How many attempts failed in a row.
        failures: u32,
        /// How long the wait is, from the failure.
        wait: Duration,
        /// What went wrong.
        cause: RetryCause,
    },
    /// A required peer failed as often as the back-off allows; it is left alone until the
    /// application connects to it or changes its addresses.
    GaveUp {
        /// Which.
        required: RequiredId,
        /// Who, if an address named it or it is known by now.
        peer: Option<PeerId>,
        /// The address that was dialled last.
        address: Address,
        /// How many attempts failed in a row.
        failures: u32,
        /// What went wrong.
        cause: RetryCause,
    },
    /// A link was turned away, or ended before it became a connection. The newest 64 are kept.
    Refused {
        /// Its other end.
        remote: SocketAddr,
        /// Who it was, if that was proven.
        peer: Option<PeerId>,
        /// Who made it.
        direction: Direction,
        /// Why.
        reason: Refusal,
    },
    /// The node has stopped; nothing follows.
    Stopped,
}

/// When a machine wants to be called, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    /// When; a past time means: at once.
    pub at: Instant,
    /// Why.
    pub why: TimerKind,
}

impl Deadline {
    /// The earlier of two deadlines that may be there.
    #[must_use]
    pub fn earlier(one: Option<Self>, two: Option<Self>) -> Option<Self> {
        match (one, two) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        }
    }
}

/// Why a deadline is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum TimerKind {
    /// Core stopped on its work budget and has more to do.
    Budget,
    /// All receive memory is pinned; look again soon.
    Memory,
    /// A dial has to be over.
    Dial,
    /// A required peer may be tried again, or whether it is connected is looked at again.
    Supervise,
    /// A connection has to show that its other end still knows of it.
    Probe,
    /// An identity has to be proven.
    Handshake,
    /// The protocols have to be exchanged.
    Exchange,
    /// A message has to be framed, or the carrier has to take something.
    Send,
    /// A connection may have fallen idle; then it frees its buffers.
    Idle,
    /// A silent connection has to be probed.
    KeepAlive,
    /// A probe has to be answered.
    Pong,
    /// A half-received message has to have grown.
    Progress,
    /// A pushed protocol list has to be answered, or may be pushed again.
    Push,
    /// A pool may try again to open streams.
    Expand,
    /// A close has to be over.
    Close,
}

/// What went wrong with a socket, in the kinds that a peer-to-peer node tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum IoCause {
    /// Nobody listens there.
    Refused,
    /// No route to it.
    Unreachable,
    /// It did not answer.
    TimedOut,
    /// The other side dropped the link.
    Reset,
    /// The address is in use.
    AddressInUse,
    /// The address is not one of this machine.
    AddressNotAvailable,
    /// The system does not allow it.
    PermissionDenied,
    /// The process has no descriptor left.
    TooManyFiles,
    /// The name is unknown.
    NotFound,
    /// Anything else.
    Other,
}

impl fmt::Display for IoCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed out",
            Self::Reset => "reset by the other side",
            Self::AddressInUse => "address in use",
            Self::AddressNotAvailable => "not an address of this machine",
            Self::PermissionDenied => "permission denied",
            Self::TooManyFiles => "too many open files",
            Self::NotFound => "name not found",
            Self::Other => "input/output error",
        })
    }
}
