//! One peer: how far the node is with it, and why not further.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::address::Address;
use crate::contract::{Direction, RequiredId};
use crate::error::{CloseReason, DialError, Refusal, RetryCause};
use crate::id::{ConnectionId, PeerId};
use crate::peers::{AddressSource, Level};
use crate::protocol::ProtocolSet;
use crate::time::Instant;

/// A peer, and how it stands with it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PeerSnapshot {
    /// Who; `None` for a required peer whose id is not known yet.
    pub peer: Option<PeerId>,
    /// Under which names it is required.
    pub required: Vec<RequiredId>,
    /// How much it matters.
    pub level: Level,
    /// How far the node is.
    pub stage: Stage,
    /// Since when it is connected, if it is.
    pub since: Option<Instant>,
    /// Its live connections, oldest first.
    pub connections: Vec<ConnectionId>,
    /// What it supports, while it is connected.
    pub protocols: ProtocolSet,
    /// Where it may be dialled, the best address first.
    pub addresses: Vec<AddressSnapshot>,
    /// Failures in a row, of a required peer.
    pub failures: u32,
    /// What went wrong with a required peer last, since it was connected for long enough.
    pub cause: Option<RetryCause>,
    /// When it is tried next.
    pub next: Next,
    /// A rule of the blacklist names it.
    pub blocked: bool,
    /// When one of its links was last turned away, or ended before it was connected.
    pub turned_away: Option<TurnedAway>,
    /// How its last connection ended.
    pub lost: Option<Loss>,
}

/// How far the node is with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Nothing is under way, and nothing is due.
    Idle,
    /// It is tried again later.
    Waiting,
    /// A name is being resolved, or a link is being made.
    Dialling,
    /// There is a link, whose other end has to prove who it is.
    Handshaking,
    /// It has; the protocols are exchanged.
    Exchanging,
    /// Messages travel.
    Connected,
    /// It was turned away, by this node or by itself; it may be tried again all the same.
    Refused,
}

/// How far an attempt came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reached {
    /// It was not begun.
    #[default]
    Nothing,
    /// The name was being resolved.
    Resolving,
    /// A link was being made.
    Dialling,
    /// There was a link, and no proven identity.
    Handshaking,
    /// The peer had proven who it is; the protocols were not exchanged yet.
    Exchanging,
}

/// An address of a peer, and what came of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AddressSnapshot {
    /// Where.
    pub address: Address,
    /// Where it comes from.
    pub origin: Origin,
    /// A rule of the blacklist keeps it out.
    pub blocked: bool,
    /// How often it was tried, as far as that is remembered.
    pub attempts: u64,
    /// Failures in a row.
    pub failures: u32,
    /// The last failure, also where an attempt succeeded later.
    pub last: Option<Failure>,
    /// When an attempt led to a connection last.
    pub succeeded: Option<Instant>,
}

/// Where an address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// The peer is required under it.
    Required,
    /// The book of addresses has it.
    Book(AddressSource),
    /// The application dialled it, and nobody keeps it.
    Asked,
}

/// An attempt that led to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// When.
    pub at: Instant,
    /// How far it came.
    pub reached: Reached,
    /// Where the name led to, or the address itself.
    pub remote: Option<SocketAddr>,
    /// Why.
    pub error: DialError,
}

/// When a peer is tried next, and why then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Next {
    /// It is connected.
    Connected,
    /// An attempt is under way.
    UnderWay {
        /// When it has to be over, if it is a dial.
        until: Option<Instant>,
    },
    /// It is its turn as soon as fewer dials to required peers are under way; see
    /// `required_dials_max`.
    Queued,
    /// After a wait that grows with the failures in a row; see `backoff`.
    At(Instant),
    /// When the application asks for it: it has disconnected the peer.
    Paused,
    /// When the application asks for it: it failed as often as `backoff.attempts_max` allows.
    GaveUp,
    /// When the application dials it, or it comes by itself: nobody requires it.
    NotRequired,
}

/// A link that was turned away, or ended before its peer was connected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TurnedAway {
    /// When.
    pub at: Instant,
    /// Its other end.
    pub remote: SocketAddr,
    /// Who made it.
    pub direction: Direction,
    /// Why.
    pub reason: Refusal,
    /// How often, with whatever reason.
    pub times: u64,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// When.
    pub at: Instant,
    /// Since when the peer had been connected.
    pub since: Instant,
    /// Why.
    pub reason: CloseReason,
    /// How often its last connection ended.
    pub times: u64,
}
