//! Which connections carry messages to a peer: the snapshot that every handle reads.
//!
//! The loop replaces a peer's entry when something about it changes and marks the old one stale,
//! so whoever keeps one looks at one flag to know whether it is the newest.
//!
//! Bound: one entry for each connected peer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use headwater_core::error::SendError;
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::pool::{PushError, Route, WasEmpty};

use crate::queues::{Queues, Sending};

/// The newest route of each connected peer.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    peers: RwLock<HashMap<PeerId, Arc<Way>>>,
    is_closed: AtomicBool,
}

/// A route to a peer, as long as it is the newest.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) route: Route<Arc<Queues>>,
    is_stale: AtomicBool,
}

/// Why there is no way for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoWay {
    NotConnected,
    NotSupported,
    Closed,
}

impl NoWay {
    pub(crate) const fn error(self) -> SendError<()> {
        let payload = ();
        match self {
            Self::NotConnected => SendError::NotConnected { payload },
            Self::NotSupported => SendError::NotSupported { payload },
            Self::Closed => SendError::Closed { payload },
        }
    }
}

impl Routes {
    /// Replaces the route of a peer, `None` when it is not connected any more; gives the old one.
    pub(crate) fn set(&self, peer: PeerId, route: Option<Route<Arc<Queues>>>) -> Option<Arc<Way>> {
        let way = route.map(|route| Arc::new(Way { route, is_stale: AtomicBool::new(false) }));
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        let old = match way {
            Some(way) => peers.insert(peer, way),
            None => peers.remove(&peer),
        };
        drop(peers);
        if let Some(old) = &old {
            old.is_stale.store(true, Ordering::Release);
        }
        old
    }

    /// Forgets all routes for good: the node has stopped.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *peers)
            .into_values()
            .for_each(|way| way.is_stale.store(true, Ordering::Release));
    }

    pub(crate) fn find(&self, peer: &PeerId) -> Option<Arc<Way>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).get(peer).cloned()
    }

    /// The way for messages of a protocol.
    pub(crate) fn way(&self, peer: &PeerId, protocol: &ProtocolId) -> Result<Arc<Way>, NoWay> {
        let Some(way) = self.find(peer) else {
            let is_closed = self.is_closed.load(Ordering::Acquire);
            return Err(if is_closed { NoWay::Closed } else { NoWay::NotConnected });
        };
        if !way.route.supports(protocol.as_str()) {
            return Err(NoWay::NotSupported);
        }
        Ok(way)
    }

    /// The connected peers, in the order of their ids.
    pub(crate) fn peers(&self) -> Vec<PeerId> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        let mut peers: Vec<PeerId> = peers.keys().copied().collect();
        peers.sort_unstable();
        peers
    }

    /// Lets `push` put something into the outbox to use now, and `tell` the loop of one that
    /// turned non-empty. `cached` is the way that the caller remembers, and is kept the newest.
    ///
    /// If the outbox has just been closed this tries once more with what there is then.
    pub(crate) fn offer(
        &self,
        to: (&PeerId, &ProtocolId),
        cached: &mut Option<Arc<Way>>,
        mut push: impl FnMut(&Sending) -> Offer,
        tell: impl Fn(&Arc<Queues>),
    ) -> Result<(), SendError<()>> {
        let mut moved = None;
        for _ in 0..2 {
            if cached.as_ref().is_none_or(|way| way.is_stale.load(Ordering::Acquire)) {
                *cached = None;
                match self.way(to.0, to.1) {
                    Ok(way) => *cached = Some(way),
                    Err(no_way) => return Err(no_way.error()),
                }
            }
            let route = cached.as_ref().map(|way| &way.route);
            let entry = route.and_then(|route| match moved {
                None => route.pick(),
                Some(moved) => route.pick_after(moved),
            });
            let Some(entry) = entry else { break };
            let (result, was_empty) = push(entry.handle.outbox());
            if was_empty.0 {
                tell(&entry.handle);
            }
            match result {
                Ok(()) => return Ok(()),
                Err(PushError::Full(payload)) => return Err(SendError::Full { payload }),
                Err(PushError::TooLarge { payload, limit, .. }) => {
                    return Err(SendError::TooLarge { payload, limit });
                }
                Err(PushError::Moved(())) => moved = Some(entry.connection),
            }
        }
        let is_closed = self.is_closed.load(Ordering::Acquire);
        Err(if is_closed { NoWay::Closed } else { NoWay::NotConnected }.error())
    }
}

/// What came of putting something into an outbox, and whether that turned non-empty by it.
pub(crate) type Offer = (Result<(), PushError<()>>, WasEmpty);
