//! Short names of what goes wrong, for logs, metrics and documentation.

use super::{
    ApplicationError, BorrowError, CloseReason, DialError, ExchangeError, Offence, Refusal,
    RetryCause, UndeliveredReason,
};
use crate::contract::{IoCause, TimerKind};
use crate::secure::ChannelError;

macro_rules! names {
    ($($type:ident { $($pattern:pat => $name:literal,)+ })+) => { $(
        impl $type {
            /// Every name there is.
            pub const NAMES: &[&str] = &[$($name),+];

            /// Its name: words of lower case with `_` between them, which stay as they are.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $($pattern => $name,)+ }
            }
        }
    )+ };
}

names! {
    CloseReason {
        Self::Requested => "requested",
        Self::Stopping => "stopping",
        Self::Refused(_) => "refused",
        Self::Evicted => "evicted",
        Self::Blocked => "blocked",
        Self::RemoteClosed => "remote_closed",
        Self::Truncated => "truncated",
        Self::Io(_) => "io",
        Self::Deadline(_) => "deadline",
        Self::Channel(_) => "channel",
        Self::Session { .. } => "session",
        Self::Opening => "opening",
        Self::Exchange(_) => "exchange",
        Self::Offences { .. } => "offences",
    }
    Offence {
        Self::Package => "package",
        Self::Gzip => "gzip",
        Self::Streams => "streams",
        Self::Push => "push",
        Self::Progress => "progress",
        Self::Misplaced => "misplaced",
    }
    ExchangeError {
        Self::Malformed => "malformed",
        Self::WrongProtocol => "wrong_protocol",
        Self::WrongKind => "wrong_kind",
        Self::WrongPeer => "wrong_peer",
        Self::Ended => "ended",
    }
    Refusal {
        Self::TooManyPending => "too_many_pending",
        Self::TooManyPeers => "too_many_peers",
        Self::TooManyConnections => "too_many_connections",
        Self::TooManyFromSource => "too_many_from_source",
        Self::SourceResting => "source_resting",
        Self::TooManyUntold => "too_many_untold",
        Self::Blocked => "blocked",
        Self::OwnId => "own_id",
        Self::WrongPeer { .. } => "wrong_peer",
        Self::Duplicate => "duplicate",
        Self::Stopping => "stopping",
        Self::Closed(_) => "closed",
    }
    DialError {
        Self::Resolve(_) => "resolve",
        Self::Link(_) => "link",
        Self::Deadline => "deadline",
        Self::Refused(_) => "refused",
    }
    RetryCause {
        Self::Dial(_) => "dial",
        Self::Lost(_) => "lost",
    }
    UndeliveredReason {
        Self::ConnectionLost => "connection_lost",
        Self::StreamReset => "stream_reset",
        Self::Deadline => "deadline",
    }
    BorrowError {
        Self::NotConnected => "not_connected",
        Self::NotSupported => "not_supported",
        Self::Exhausted => "exhausted",
        Self::Pending => "pending",
        Self::Closed => "closed",
    }
    ApplicationError {
        Self::Stopping => "stopping",
        Self::TooManyDials => "too_many_dials",
        Self::TooManyListeners => "too_many_listeners",
        Self::BadAddress => "bad_address",
        Self::OwnId => "own_id",
        Self::NotConnected => "not_connected",
        Self::AlreadyRegistered => "already_registered",
        Self::NotRegistered => "not_registered",
        Self::TooManyProtocols => "too_many_protocols",
        Self::ReservedProtocol => "reserved_protocol",
        Self::TooManyRequired => "too_many_required",
        Self::NotRequired => "not_required",
        Self::DifferentPeers => "different_peers",
        Self::NoAddress => "no_address",
        Self::TooManyAddresses => "too_many_addresses",
        Self::TooManyRules => "too_many_rules",
        Self::Blocked => "blocked",
    }
    IoCause {
        Self::Refused => "refused",
        Self::Unreachable => "unreachable",
        Self::TimedOut => "timed_out",
        Self::Reset => "reset",
        Self::AddressInUse => "address_in_use",
        Self::AddressNotAvailable => "address_not_available",
        Self::PermissionDenied => "permission_denied",
        Self::TooManyFiles => "too_many_files",
        Self::NotFound => "not_found",
        Self::Other => "other",
    }
    TimerKind {
        Self::Budget => "budget",
        Self::Memory => "memory",
        Self::Dial => "dial",
        Self::Supervise => "supervise",
        Self::Probe => "probe",
        Self::Handshake => "handshake",
        Self::Exchange => "exchange",
        Self::Send => "send",
        Self::Idle => "idle",
        Self::KeepAlive => "keep_alive",
        Self::Pong => "pong",
        Self::Progress => "progress",
        Self::Push => "push",
        Self::Expand => "expand",
        Self::Close => "close",
    }
    ChannelError {
        Self::BadPeerId(_) => "bad_peer_id",
        Self::SpeaksTls => "speaks_tls",
        Self::SpeaksPlain => "speaks_plain",
        Self::Malformed => "malformed",
        Self::BadRecord => "bad_record",
        Self::Silent => "silent",
        Self::Truncated => "truncated",
        Self::Refused(_) => "refused",
        Self::Unwelcome(_) => "unwelcome",
        Self::Other(_) => "other",
    }
}
