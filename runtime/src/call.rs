//! Calls of the application on their way to the node's task, and their answers.

use std::net::SocketAddr;

use futures_channel::oneshot;
use headwater_core::address::Address;
use headwater_core::contract::RequiredId;
use headwater_core::error::ApplicationError;
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::peers::Rule;
use headwater_core::snapshot::{ConnectionSnapshot, NodeSnapshot};
use headwater_core::supervisor::RequiredState;

use crate::error::{Error, ListenError};

/// Calls that may wait for the node's task; a caller beyond that waits for its turn.
pub(crate) const CALLS_MAX: usize = 64;

/// What the application wants.
#[derive(Debug)]
pub(crate) enum Call {
    Listen {
        address: SocketAddr,
        answer: oneshot::Sender<Result<SocketAddr, ListenError>>,
    },
    Dial {
        address: Address,
        answer: oneshot::Sender<Result<PeerId, Error>>,
    },
    Connect {
        peer: PeerId,
        answer: oneshot::Sender<Result<PeerId, Error>>,
    },
    Require {
        addresses: Vec<Address>,
        answer: oneshot::Sender<Result<RequiredId, ApplicationError>>,
    },
    RequiredState {
        required: RequiredId,
        answer: oneshot::Sender<Option<RequiredState>>,
    },
    /// What each connection knows: asked before the node, see `headwater_core::snapshot`.
    Parts {
        answer: oneshot::Sender<Vec<oneshot::Receiver<ConnectionSnapshot>>>,
    },
    Snapshot {
        answer: oneshot::Sender<NodeSnapshot>,
    },
    Change {
        change: Change,
        answer: oneshot::Sender<Result<(), ApplicationError>>,
    },
    Stop,
}

/// A call that is answered at once.
#[derive(Debug)]
pub(crate) enum Change {
    Disconnect(PeerId),
    Register(ProtocolId),
    Unregister(ProtocolId),
    Block(Rule),
    Unblock(Rule),
    SetRequired(RequiredId, Vec<Address>),
    Release(RequiredId),
}
