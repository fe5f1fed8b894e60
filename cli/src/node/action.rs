//! What a node does with the messages that it gets.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use headwater_core::error::SendError;
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::message::Message;
use headwater_tokio::Node;
use tokio::time::timeout;

use crate::failure::foreign;
use crate::logs;

/// What is done with the messages of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// They go back to where they came from.
    Echo,
    /// They are logged, with the beginning of their text.
    Log,
    /// Nothing.
    Drop,
}

impl Action {
    /// What to expect where an action is due.
    pub(crate) const EXPECTED: &str = "\"echo\", \"log\" or \"drop\"";
}

impl FromStr for Action {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "echo" => Ok(Self::Echo),
            "log" => Ok(Self::Log),
            "drop" => Ok(Self::Drop),
            _ => Err(()),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Echo => "echo",
            Self::Log => "log",
            Self::Drop => "drop",
        })
    }
}

/// How long one echo may wait for room, and with it everything behind it.
const ECHO_PATIENCE: Duration = Duration::from_secs(1);

/// How long a peer that let an echo wait in vain is waited for no more.
const PENALTY: Duration = Duration::from_secs(60);

/// Carries out actions.
///
/// A peer that does not read its echoes holds up the others for [`ECHO_PATIENCE`] in each
/// [`PENALTY`]; beyond that its echoes are dropped, and that is logged.
#[derive(Debug)]
pub(crate) struct Actions {
    node: Node,
    protocols: BTreeMap<ProtocolId, Action>,
    /// Peers that do not read, until when. An entry takes a second to come about and lasts for a
    /// minute, so there are few.
    slow: BTreeMap<PeerId, Instant>,
}

impl Actions {
    /// The actions of a node.
    pub(crate) const fn new(node: Node, protocols: BTreeMap<ProtocolId, Action>) -> Self {
        Self { node, protocols, slow: BTreeMap::new() }
    }

    /// Deals with a message; takes [`ECHO_PATIENCE`] at most.
    pub(crate) async fn take(&mut self, message: Message) {
        match self.protocols.get(&message.protocol) {
            Some(Action::Echo) => self.echo(message).await,
            Some(Action::Log) => {
                let Message { peer, protocol, payload, .. } = message;
                let start = payload.get(..payload.len().min(256)).unwrap_or_default();
                let text = foreign(&String::from_utf8_lossy(start));
                tracing::info!(target: logs::MESSAGE, %peer, %protocol, bytes = payload.len(), text, "message");
            }
            Some(Action::Drop) | None => {}
        }
    }

    async fn echo(&mut self, message: Message) {
        let Message { peer, protocol, payload, .. } = message;
        let (payload, bytes) = match self.node.send(&peer, &protocol, payload) {
            Ok(()) => return,
            Err(SendError::Full { payload }) => (payload.clone(), payload.len()),
            Err(error) => {
                tracing::trace!(target: logs::MESSAGE, %peer, %protocol, %error, "no echo");
                return;
            }
        };
        let now = Instant::now();
        self.slow.retain(|_, until| *until > now);
        if self.slow.contains_key(&peer) {
            tracing::trace!(target: logs::MESSAGE, %peer, %protocol, bytes, "an echo was dropped");
            return;
        }
        let sent = timeout(ECHO_PATIENCE, self.node.send_wait(&peer, &protocol, payload)).await;
        match sent {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::trace!(target: logs::MESSAGE, %peer, %protocol, %error, "no echo");
            }
            Err(_) => {
                self.slow.insert(peer, now + PENALTY);
                let text = "echoes are dropped: the peer does not read them";
                tracing::warn!(target: logs::MESSAGE, %peer, %protocol, bytes, "{text}");
            }
        }
    }
}
