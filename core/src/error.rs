//! Errors and reasons that the application and the driver see.

mod names;

use alloc::boxed::Box;
use core::fmt;

use crate::contract::{IoCause, TimerKind};
use crate::id::{ConnectionId, PeerId};
use crate::mux::SessionError;
use crate::secure::ChannelError;

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum CloseReason {
    /// The application asked for it.
    Requested,
    /// The node stops.
    Stopping,
    /// Node turned it away.
    Refused(Refusal),
    /// It made room for another peer; see `elimination`.
    Evicted,
    /// A rule of the blacklist was added that it falls under; it was cut off, not drained.
    Blocked,
    /// The peer closed it in order.
    RemoteClosed,
    /// The bytes ended in the middle of something: the peer died, or somebody cut them off.
    Truncated,
    /// The link broke.
    Io(IoCause),
    /// Something did not happen in time.
    Deadline(TimerKind),
    /// The secure channel failed.
    Channel(ChannelError),
    /// A multiplexing session was violated or ended with an error.
    Session {
        /// Which one.
        layer: Layer,
        /// How.
        error: SessionError,
    },
    /// The peer opened something other than the protocol's two outer streams in their order.
    Opening,
    /// The protocol exchange went wrong.
    Exchange(ExchangeError),
    /// The peer broke rules on more streams than it may.
    Offences {
        /// The last one.
        last: Offence,
    },
}

/// Which of a connection's three sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Layer {
    /// The one on the secure channel.
    Outer,
    /// The one that carries the send streams.
    Uni,
    /// The one that carries the exchange.
    Bi,
}

/// What a peer did to have one of its streams reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Offence {
    /// A package that breaks the format, or a limit.
    Package,
    /// A payload that is not the gzip it is said to be, or unpacks beyond the limit.
    Gzip,
    /// More streams than allowed, or more on them before the protocols are exchanged.
    Streams,
    /// A protocol list for somebody else, or one that breaks the format.
    Push,
    /// A message that stopped growing, or that grows too slowly in room that others wait for.
    Progress,
    /// A stream where none belongs.
    Misplaced,
}

/// How a protocol exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum ExchangeError {
    /// The message does not follow the format or breaks a limit.
    Malformed,
    /// The package is of another protocol.
    WrongProtocol,
    /// The message is of another kind than is due.
    WrongKind,
    /// The message speaks for somebody else than the proven peer (D-71).
    WrongPeer,
    /// The stream ended before the message did.
    Ended,
}

/// Why a link was turned away, or did not become a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Refusal {
    /// As many links without a proven identity as may be; see `pending_max`.
    TooManyPending,
    /// As many peers as may be; see `peers_max`.
    TooManyPeers,
    /// As many connections of that peer as may be; see `connections_per_peer_max`.
    TooManyConnections,
    /// As many links without a proven identity from that source as may be; see
    /// `pending_per_source_max`.
    TooManyFromSource,
    /// Links from that source failed lately, several in a row; it is heard again a little later.
    SourceResting,
    /// The application has yet to hear of as many peers as may be; it does not read
    /// notifications.
    TooManyUntold,
    /// It falls under a rule of the blacklist.
    Blocked,
    /// The other end is this node itself.
    OwnId,
    /// Another peer than the dialled one answered.
    WrongPeer {
        /// The one that was dialled.
        expected: Box<PeerId>,
        /// The one that answered.
        actual: Box<PeerId>,
    },
    /// Another connection with that peer is further along, or won the tie of two dials.
    Duplicate,
    /// The node stops.
    Stopping,
    /// It ended by itself before it was established.
    Closed(Box<CloseReason>),
}

/// Why a dial led to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DialError {
    /// The name could not be resolved.
    Resolve(IoCause),
    /// No link could be made.
    Link(IoCause),
    /// It took longer than `dial_deadline`.
    Deadline,
    /// A link was made and did not become a connection.
    Refused(Refusal),
}

/// What went wrong with a required peer, before it is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryCause {
    /// It could not be dialled; of several addresses this is the last one's error.
    Dial(DialError),
    /// A connection ended before it lived for `stable_after`.
    Lost(CloseReason),
}

/// Why messages that were accepted for sending are given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum UndeliveredReason {
    /// The connection ended, and the peer has no other or some bytes had left already.
    ConnectionLost,
    /// The peer reset the stream.
    StreamReset,
    /// They could not be framed within `send_deadline`.
    Deadline,
}

/// Why a message is not accepted for sending; nothing was sent or queued.
///
/// Where the message comes back, it is the field `payload`, which `Debug` leaves out:
///
/// ```
/// use headwater_core::error::SendError;
///
/// assert_eq!(format!("{:?}", SendError::Full { payload: "secret" }), "Full { .. }");
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError<P> {
    /// The peer has no connection.
    NotConnected {
        /// The message.
        payload: P,
    },
    /// The peer has not announced the protocol.
    NotSupported {
        /// The message.
        payload: P,
    },
    /// As much waits already as may; try again when the peer has taken some (P6).
    Full {
        /// The message.
        payload: P,
    },
    /// The message exceeds `message_max`.
    TooLarge {
        /// The message.
        payload: P,
        /// The limit in bytes.
        limit: usize,
    },
    /// The node has stopped, or the borrowed stream is gone.
    Closed {
        /// The message.
        payload: P,
    },
}

impl<P> SendError<P> {
    /// The message, given back.
    pub fn into_payload(self) -> P {
        match self {
            Self::NotConnected { payload }
            | Self::NotSupported { payload }
            | Self::Full { payload }
            | Self::TooLarge { payload, .. }
            | Self::Closed { payload } => payload,
        }
    }

    /// The same error about another message, such as the one that its caller kept.
    ///
    /// ```
    /// use headwater_core::error::SendError;
    ///
    /// let refused = SendError::TooLarge { payload: (), limit: 3 };
    /// assert_eq!(refused.about("long"), SendError::TooLarge { payload: "long", limit: 3 });
    /// ```
    pub fn about<Q>(self, payload: Q) -> SendError<Q> {
        match self {
            Self::NotConnected { .. } => SendError::NotConnected { payload },
            Self::NotSupported { .. } => SendError::NotSupported { payload },
            Self::Full { .. } => SendError::Full { payload },
            Self::TooLarge { limit, .. } => SendError::TooLarge { payload, limit },
            Self::Closed { .. } => SendError::Closed { payload },
        }
    }
}

/// Without the message: what peers say to each other is in no log, however large it is.
impl<P> fmt::Debug for SendError<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::NotConnected { .. } => "NotConnected",
            Self::NotSupported { .. } => "NotSupported",
            Self::Full { .. } => "Full",
            Self::TooLarge { limit, .. } => {
                return f.debug_struct("TooLarge").field("limit", limit).finish_non_exhaustive();
            }
            Self::Closed { .. } => "Closed",
        };
        f.debug_struct(name).finish_non_exhaustive()
    }
}

/// Why no stream can be borrowed; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BorrowError {
    /// The peer has no connection.
    NotConnected,
    /// The peer has not announced the protocol.
    NotSupported,
    /// Every stream that the peer may have is lent.
    Exhausted,
    /// None is idle now, but more are being opened.
    Pending,
    /// The connection is closing.
    Closed,
}

/// A call that the application may not make now; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApplicationError {
    /// The node is stopping.
    Stopping,
    /// As many dials are under way as may be; see `dials_max`.
    TooManyDials,
    /// As many listeners, or outcomes of listens that were not read, as may be (64).
    TooManyListeners,
    /// The address cannot be dialled or listened on.
    BadAddress,
    /// The address carries this node's own id.
    OwnId,
    /// The peer is not connected.
    NotConnected,
    /// The protocol is registered already.
    AlreadyRegistered,
    /// The protocol is not registered.
    NotRegistered,
    /// As many protocols as may be; see `protocols_max`.
    TooManyProtocols,
    /// The exchanger's protocol belongs to the node.
    ReservedProtocol,
    /// As many required peers as may be: `required_max`, or `peers_max` without `overcommit`.
    TooManyRequired,
    /// No such required peer (any more).
    NotRequired,
    /// The addresses of one required peer name different peers, or only some of them name one.
    DifferentPeers,
    /// There is no address, or none is known of that peer.
    NoAddress,
    /// More addresses than one required peer may have (8).
    TooManyAddresses,
    /// As many rules as may be; see `rules_max`.
    TooManyRules,
    /// It falls under a rule of the blacklist.
    Blocked,
}

/// A call that breaks the contract: a bug in the driver. Nothing changed unless it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsageError {
    /// No such connection; a late answer for a recycled slot is told by its generation.
    UnknownConnection(ConnectionId),
    /// That connection is not waiting for this.
    Unexpected(ConnectionId),
    /// The lent buffer came back shorter than it was; the connection was closed.
    BufferReplaced,
}

macro_rules! display {
    ($type:ident { $($pattern:pat => $text:literal,)+ }) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $($pattern => write!(f, $text),)+ }
            }
        }
        impl core::error::Error for $type {}
    };
}

display!(CloseReason {
    Self::Requested => "closed on request",
    Self::Stopping => "the node stops",
    Self::Refused(refusal) => "{refusal}",
    Self::Evicted => "closed to make room for another peer",
    Self::Blocked => "blocked",
    Self::RemoteClosed => "closed by the peer",
    Self::Truncated => "cut off: the bytes ended without the peer's close",
    Self::Io(cause) => "{cause}",
    Self::Deadline(why) => "not in time: {why:?}",
    Self::Channel(error) => "{error}",
    Self::Session { layer, error } => "{layer:?} session: {error}",
    Self::Opening => "the peer did not open the two outer streams in order",
    Self::Exchange(error) => "{error}",
    Self::Offences { last } => "too many streams had to be reset, the last one for: {last}",
});

display!(Offence {
    Self::Package => "a malformed or oversized package",
    Self::Gzip => "a bad or oversized gzip payload",
    Self::Streams => "more streams than allowed",
    Self::Push => "a bad protocol list",
    Self::Progress => "a message that stopped growing",
    Self::Misplaced => "a stream where none belongs",
});

display!(ExchangeError {
    Self::Malformed => "protocol exchange: malformed message",
    Self::WrongProtocol => "protocol exchange: package of another protocol",
    Self::WrongKind => "protocol exchange: message of another kind than is due",
    Self::WrongPeer => "protocol exchange: message of somebody else than the proven peer",
    Self::Ended => "protocol exchange: the stream ended early",
});

display!(Refusal {
    Self::TooManyPending => "too many links without a proven identity (pending_max)",
    Self::TooManyPeers => "too many peers (peers_max)",
    Self::TooManyConnections => "too many connections of that peer (connections_per_peer_max)",
    Self::TooManyFromSource =>
        "too many links without a proven identity from there (pending_per_source_max)",
    Self::SourceResting => "links from there failed lately, it is heard again a little later",
    Self::TooManyUntold => "too many peers that the application has yet to be told of",
    Self::Blocked => "blocked",
    Self::OwnId => "the other end is this node itself",
    Self::WrongPeer { expected, actual } => "expected peer {expected}, found {actual}",
    Self::Duplicate => "another connection with that peer comes first",
    Self::Stopping => "the node stops",
    Self::Closed(reason) => "{reason}",
});

display!(DialError {
    Self::Resolve(cause) => "cannot resolve the name: {cause}",
    Self::Link(cause) => "cannot connect: {cause}",
    Self::Deadline => "not connected in time (dial_deadline)",
    Self::Refused(refusal) => "{refusal}",
});

display!(RetryCause {
    Self::Dial(error) => "{error}",
    Self::Lost(reason) => "ended early: {reason}",
});

display!(UndeliveredReason {
    Self::ConnectionLost => "the connection was lost",
    Self::StreamReset => "the peer reset the stream",
    Self::Deadline => "not sent in time (send_deadline)",
});

display!(BorrowError {
    Self::NotConnected => "the peer is not connected",
    Self::NotSupported => "the peer does not support the protocol",
    Self::Exhausted => "every stream to the peer is lent (send_streams_max)",
    Self::Pending => "no stream is idle yet",
    Self::Closed => "the connection is closing",
});

display!(ApplicationError {
    Self::Stopping => "the node is stopping",
    Self::TooManyDials => "too many dials under way (dials_max)",
    Self::TooManyListeners => "too many listeners (64)",
    Self::BadAddress => "not an address that can be used for this",
    Self::OwnId => "that is this node's own id",
    Self::NotConnected => "the peer is not connected",
    Self::AlreadyRegistered => "the protocol is registered already",
    Self::NotRegistered => "the protocol is not registered",
    Self::TooManyProtocols => "too many protocols (protocols_max)",
    Self::ReservedProtocol => "that protocol belongs to the node",
    Self::TooManyRequired =>
        "too many required peers (required_max, or peers_max without overcommit)",
    Self::NotRequired => "no such required peer",
    Self::DifferentPeers => "the addresses do not all name the same peer",
    Self::NoAddress => "no address to dial",
    Self::TooManyAddresses => "too many addresses for one required peer (8)",
    Self::TooManyRules => "too many rules (rules_max)",
    Self::Blocked => "blocked",
});

display!(UsageError {
    Self::UnknownConnection(id) => "no connection {id}",
    Self::Unexpected(id) => "connection {id} is not waiting for this",
    Self::BufferReplaced => "the lent buffer came back shorter than it was",
});

impl<P> fmt::Display for SendError<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected { .. } => f.write_str("the peer is not connected"),
            Self::NotSupported { .. } => f.write_str("the peer does not support the protocol"),
            Self::Full { .. } => f.write_str("as much waits to be sent as may (outbox_max)"),
            Self::TooLarge { limit, .. } => {
                write!(f, "the message is larger than message_max, {limit} bytes")
            }
            Self::Closed { .. } => f.write_str("the node or the stream is closed"),
        }
    }
}

impl<P> core::error::Error for SendError<P> {}
