//! What one life of a node was told of each peer: strictly connected, then disconnected;
//! protocols gained and lost in between, each one that was gained lost before the end.

use std::collections::{BTreeMap, BTreeSet};

use headwater_core::contract::Notification;
use headwater_core::id::{PeerId, ProtocolId};

use crate::host::{Violation, ensure};

/// Everything that one life of a node was told.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    peers: BTreeMap<PeerId, Peer>,
    /// Connected ones that the application disconnects.
    leaving: BTreeSet<PeerId>,
    stopped: bool,
}

#[derive(Debug, Default)]
struct Peer {
    connected: bool,
    protocols: BTreeSet<ProtocolId>,
}

impl Notices {
    /// Takes one notification.
    pub(crate) fn observe(&mut self, told: &Notification) -> Result<(), Violation> {
        ensure!(!self.stopped, "told after `Stopped`: {told:?}");
        match told {
            Notification::Connected { peer } => {
                let known = self.peers.entry(*peer).or_default();
                ensure!(!known.connected, "{peer} connected twice");
                ensure!(known.protocols.is_empty(), "{peer} connected with protocols");
                known.connected = true;
            }
            Notification::Disconnected { peer, .. } => {
                let known = self.peers.entry(*peer).or_default();
                ensure!(known.connected, "{peer} disconnected and was not connected");
                let left = &known.protocols;
                ensure!(left.is_empty(), "{peer} disconnected, not told lost: {left:?}");
                known.connected = false;
                self.leaving.remove(peer);
            }
            Notification::Supported { peer, protocol } => {
                let known = self.peers.entry(*peer).or_default();
                ensure!(known.connected, "{protocol} of {peer}, which is not connected");
                let new = known.protocols.insert(protocol.clone());
                ensure!(new, "{protocol} of {peer} gained twice");
            }
            Notification::Unsupported { peer, protocol } => {
                let known = self.peers.entry(*peer).or_default();
                let had = known.protocols.remove(protocol);
                ensure!(had, "{protocol} of {peer} lost and was not there");
            }
            Notification::Stopped => {
                self.stopped = true;
                let left = self.peers.iter().find(|(_, known)| known.connected);
                ensure!(left.is_none(), "stopped while connected: {left:?}");
            }
            _ => {}
        }
        Ok(())
    }

    /// The application disconnects a peer; if it is connected, it will be told that it is not.
    pub(crate) fn leave(&mut self, peer: &PeerId) {
        if self.is_connected(peer) {
            self.leaving.insert(*peer);
        }
    }

    /// A peer that the application disconnects, and that it was not told to be gone.
    pub(crate) fn leaving(&self) -> Option<&PeerId> {
        self.leaving.first()
    }

    /// A message came: its peer was told before.
    pub(crate) fn message_from(&self, peer: &PeerId) -> Result<(), Violation> {
        ensure!(self.peers.contains_key(peer), "a message of {peer}, which was never connected");
        Ok(())
    }

    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|known| known.connected)
    }

    /// Connected peers, in the order of their ids.
    pub(crate) fn connected(&self) -> impl Iterator<Item = &PeerId> {
        self.peers.iter().filter(|(_, known)| known.connected).map(|(peer, _)| peer)
    }

    /// What was told of a peer's protocols.
    pub(crate) fn protocols(&self, peer: &PeerId) -> Option<&BTreeSet<ProtocolId>> {
        self.peers.get(peer).map(|known| &known.protocols)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }
}

#[cfg(test)]
mod tests {
    use headwater_core::error::CloseReason;

    use super::*;

    fn peer() -> PeerId {
        "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse().unwrap()
    }

    fn told(what: &str) -> Notification {
        let (peer, protocol) = (peer(), ProtocolId::new("/a").unwrap());
        match what {
            "C" => Notification::Connected { peer },
            "D" => Notification::Disconnected { peer, reason: CloseReason::Requested, flaps: 0 },
            "+" => Notification::Supported { peer, protocol },
            "-" => Notification::Unsupported { peer, protocol },
            _ => Notification::Stopped,
        }
    }

    fn run(list: &str) -> Result<(), Violation> {
        let mut notices = Notices::default();
        list.split("").filter(|what| !what.is_empty()).try_for_each(|w| notices.observe(&told(w)))
    }

    #[test]
    fn good_stories_pass_and_each_break_of_the_rules_is_seen() {
        for good in ["C", "CD", "C+-+-DC+-DS", "CDCDCD", "S"] {
            assert_eq!(run(good), Ok(()), "{good}");
        }
        for bad in ["D", "CC", "CDD", "+", "C++", "C-", "C+D", "CS", "SC", "SS", "CD+"] {
            assert!(run(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_message_before_connected_is_seen() {
        let mut notices = Notices::default();
        assert!(notices.message_from(&peer()).is_err());
        notices.observe(&told("C")).unwrap();
        notices.observe(&told("D")).unwrap();
        assert_eq!(notices.message_from(&peer()), Ok(()));
    }
}
