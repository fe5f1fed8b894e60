//! One node of the demo, whatever it runs on.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::id::{PeerId, ProtocolId};
use serde::Serialize;

use super::plan::MESSAGE_MAX;
use super::watch::Handle;
use crate::failure::Failure;
use crate::status::Status;

/// What a node runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Runtime {
    /// `headwater-tokio`.
    Tokio,
    /// `headwater-async-std`, on smol.
    Smol,
    /// `headwater-mio`.
    Mio,
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tokio => "tokio",
            Self::Smol => "smol",
            Self::Mio => "mio",
        })
    }
}

/// How long a message may wait for room, and a call that is awaited for its answer; the calls to
/// a node on mio have their deadlines in core.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(60);

/// A node, as the steps of the demo use it. Every call has a deadline.
pub(crate) trait Member: Send + Sync {
    /// Who it is.
    fn id(&self) -> PeerId;
    /// Listens on the loopback interface; on port 0, the system chooses one.
    fn listen(&self, port: u16) -> Result<SocketAddr, Failure>;
    /// Keeps a connection with a peer from now on.
    fn require(&self, address: Address) -> Result<(), Failure>;
    /// Starts to support a protocol.
    fn register(&self, protocol: &ProtocolId) -> Result<(), Failure>;
    /// Ends to support a protocol.
    fn unregister(&self, protocol: &ProtocolId) -> Result<(), Failure>;
    /// Sends a message, waiting for room.
    fn send(&self, to: &PeerId, protocol: &ProtocolId, payload: Bytes) -> Result<(), Failure>;
    /// Whether the node refuses a message because the peer does not support its protocol.
    fn refuses(&self, to: &PeerId, protocol: &ProtocolId) -> bool;
    /// Who can be asked how it does.
    fn handle(&self) -> Handle;
    /// Stops it, closing its connections in order.
    fn stop(&self);
    /// Ends it at once and without a word to anybody; returns when all its sockets are closed.
    /// A node on mio cannot be ended like that: its loop is a thread.
    fn kill(self: Box<Self>) -> Result<(), Failure>;
}

/// The configuration of every node of the demo.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.message_max = MESSAGE_MAX;
    // Nobody wants to wait for a demo: a quarter of the usual waits.
    config.backoff.first = Duration::from_millis(250);
    config
}

/// A call that went wrong.
pub(crate) fn failed(node: &str, what: &str, error: impl fmt::Display) -> Failure {
    Failure::new(Status::Off, format!("{node} cannot {what}: {error}"))
}
