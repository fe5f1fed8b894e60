//! The flight recorder's seam: what each machine was told, and what it answered.
//!
//! A [`Recorder`] that is given to a [`Node`](crate::node::Node) when it is new, before anything
//! else, gets a [`Tape`] for it and for each of its connections. From its birth a machine then
//! notes everything on which its behaviour depends, in the order in which it happened, and
//! everything that comes of it:
//!
//! - *told*: each call that changes something, with its arguments;
//! - *asked*: what the machine had to ask somebody else. The secure channel's answers are the only
//!   way by which randomness, keys and certificates reach a connection, so with them in the notes
//!   it can be run again without any of these. Whether memory was free depends on when the
//!   application drops what it took; it is noted where it was not free;
//! - *said*: what was framed, and what the driver took: commands, notifications, mailboxes.
//!
//! Run again, a machine is given the notes of the first kind and finds the second kind on its
//! tape; it notes all three anew, and must come to the same notes. Whoever writes and reads notes
//! is outside of core.
//!
//! Invariants: T1 without a recorder a call costs one branch more, and nothing is allocated.
//! T2 notes hold no key: of what the channel seals and opens they have the plaintext, of what it
//! sends by itself only the length. T3 a machine behaves the same with a tape and without.
//!
//! Bounds: nothing is kept here.

mod contents;
#[cfg(feature = "serde")]
pub(crate) mod sparse;
#[cfg(feature = "serde")]
mod words;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

pub use contents::Contents;
pub(crate) use contents::{Run, blank_packages};

use crate::address::Address;
use crate::config::Config;
use crate::connection::{LaneId, LaneNews, Setup, ToConnection, ToNode};
use crate::contract::{Event, IoCause, LinkCommand, ListenerId, RequiredId};
use crate::id::{ConnectionId, PeerId, ProtocolId};
use crate::message::{Batch, Share};
use crate::peers::Rule;
use crate::secure::{ChannelError, Opened};
use crate::seed::Seed;
use crate::snapshot::Traffic;
use crate::time::Instant;

/// Gives each machine of a node a tape. One recorder is for one node.
pub trait Recorder: fmt::Debug + Send + Sync {
    /// A machine begins.
    fn begin(&self, at: Instant, birth: Birth) -> Box<dyn Tape>;
}

/// Where one machine notes what happens. It is dropped with its machine.
pub trait Tape: fmt::Debug + Send + Sync {
    /// Takes a note.
    fn note(&mut self, at: Instant, note: Note);

    /// Takes a note that has bytes of the outer session with it, next in their direction.
    fn bytes(&mut self, at: Instant, note: Note, way: Way, pieces: &mut dyn Iterator<Item = &[u8]>);

    /// Messages that were received are handed out: a note of what is said.
    fn taken(&mut self, at: Instant, batch: &Batch);

    /// Whether what messages say is noted, and not just how much it is.
    fn keeps_payloads(&self) -> bool;

    /// Whether there was no memory at this point of the run that is repeated. A tape that records
    /// says no.
    fn repeats_want(&self, want: Want) -> bool {
        let _ = want;
        false
    }
}

/// How a machine begins.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Birth {
    /// A node's.
    Node {
        /// Its configuration.
        config: Box<Config>,
        /// Its seed.
        seed: Seed,
        /// Its id.
        local: PeerId,
    },
    /// A connection's.
    Connection {
        /// What it begins with.
        setup: Box<Setup>,
        /// Whether its channel lets bytes pass unchanged.
        transparent: bool,
    },
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// From the other end.
    In,
    /// To the other end.
    Out,
}

/// What there was no memory for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Want {
    /// A buffer to read into.
    Buffer,
    /// Room to open records into.
    Room,
    /// Slices: messages are copied.
    Slices,
}

/// Where [`SecureChannel::open`](crate::secure::SecureChannel::open) stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Outcome {
    /// It needs more.
    Waiting,
    /// The handshake is over, with this peer.
    Proven(Option<PeerId>),
    /// The peer has announced the end.
    Closed,
    /// It failed.
    Failed(ChannelError),
}

impl Outcome {
    pub(crate) fn of(opened: &Result<Opened, ChannelError>, peer: Option<PeerId>) -> Self {
        match opened {
            Ok(Opened::Waiting) => Self::Waiting,
            Ok(Opened::Proven) => Self::Proven(peer),
            Ok(Opened::Closed) => Self::Closed,
            Err(error) => Self::Failed(error.clone()),
        }
    }
}

/// One step of a machine. Lengths are in bytes.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[allow(missing_docs)] // Named after the methods of the machines.
pub enum Note {
    // Node is told.
    Listen(SocketAddr),
    StopListening(ListenerId),
    Register(ProtocolId),
    Unregister(ProtocolId),
    Stop,
    Event(Box<Event>),
    Accepted {
        listener: ListenerId,
        remote: SocketAddr,
    },
    Dialed {
        connection: ConnectionId,
        local: SocketAddr,
    },
    Report {
        connection: ConnectionId,
        report: Box<ToNode>,
    },
    Vanished(ConnectionId),
    Dial(Box<Address>),
    Connect(Box<PeerId>),
    Disconnect(Box<PeerId>),
    Require(Vec<Address>),
    SetRequired(RequiredId, Vec<Address>),
    Release(RequiredId),
    Block(Box<Rule>),
    Unblock(Box<Rule>),
    AddAddress(Box<Address>),
    RemoveAddress(Box<Address>),
    Leftover {
        peer: Box<PeerId>,
        contents: Box<Contents>,
    },
    Lost {
        peer: Box<PeerId>,
        contents: Box<Contents>,
    },
    Late {
        connection: ConnectionId,
        traffic: Box<Traffic>,
    },
    // Node says; the driver took it.
    Command(String),
    Ordered {
        connection: ConnectionId,
        order: Box<ToConnection>,
    },
    Notification(String),
    NothingToTell,
    Answered(String),
    Route(Box<PeerId>),
    // Either is told.
    Timeout,
    // Either says: what a call gave.
    Gave(String),
    // A connection is told.
    Order(Box<ToConnection>),
    Eof,
    IoError(IoCause),
    Lend,
    /// So many bytes were appended and are there, although they are not told of yet.
    Read(usize),
    /// What was appended is told of; so many bytes of it are new.
    Received(usize),
    Transmit,
    Transmitted(usize),
    Messages {
        lane: Option<LaneId>,
        /// The lane is given back with them.
        last: bool,
        messages: usize,
        bytes: usize,
        /// If payloads are kept.
        contents: Option<Box<Contents>>,
    },
    /// It is empty where payloads are not kept.
    Consumed(Credit),
    Borrow,
    GiveBack(LaneId),
    Hurry,
    TakeLate,
    // A connection has asked.
    Wants(Want),
    Opened {
        consumed: usize,
        opened: usize,
        outcome: Box<Outcome>,
    },
    Sealed {
        plain: usize,
        sealed: usize,
    },
    /// The channel's own output; `last` after its close.
    Flushed {
        bytes: usize,
        last: bool,
    },
    ChannelEof(Option<Box<ChannelError>>),
    // A connection says.
    Framed(usize),
    Reported(Box<ToNode>),
    LinkCommand(LinkCommand),
    Taken {
        messages: usize,
        bytes: usize,
        /** Of what they say, if it is kept. */
        hash: u64,
    },
    LaneNews(LaneId, LaneNews),
}

/// Credit of messages that were consumed.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Credit(pub(crate) Vec<Share>);

impl Note {
    /// Replaces what messages say by zeros, where the note has any of it.
    pub fn blank(&mut self) {
        match self {
            Self::Report { report, .. } | Self::Reported(report) => report.blank(),
            Self::Ordered { order, .. } | Self::Order(order) => order.blank(),
            Self::Leftover { contents, .. } | Self::Lost { contents, .. } => contents.blank(),
            Self::Messages { contents, .. } => *contents = None,
            _ => {}
        }
    }
}
