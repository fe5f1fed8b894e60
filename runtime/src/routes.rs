//! Which connections carry messages to a peer: the snapshot that every handle reads.
//!
//! The node's task replaces a peer's [`Route`] when something about it changes and marks the old
//! one stale, so that whoever keeps one has to look at one flag to know that it is the newest.
//!
//! Bound: one route for each connected peer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use headwater_core::error::SendError;
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::pool::PushError;
use headwater_core::protocol::ProtocolSet;

use crate::link::Link;

/// The newest route of each connected peer.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    peers: RwLock<BTreeMap<PeerId, Arc<Route>>>,
    is_closed: AtomicBool,
}

/// How to reach one peer.
#[derive(Debug)]
pub(crate) struct Route {
    protocols: ProtocolSet,
    links: Box<[Arc<Link>]>,
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
    pub(crate) fn with<P>(self, payload: P) -> SendError<P> {
        match self {
            Self::NotConnected => SendError::NotConnected { payload },
            Self::NotSupported => SendError::NotSupported { payload },
            Self::Closed => SendError::Closed { payload },
        }
    }
}

impl Routes {
    /// Replaces the route of a peer; `None` when it is not connected any more.
    pub(crate) fn set(&self, peer: PeerId, route: Option<Route>) {
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        let old = match route {
            Some(route) => peers.insert(peer, Arc::new(route)),
            None => peers.remove(&peer),
        };
        drop(peers);
        if let Some(old) = old {
            old.is_stale.store(true, Ordering::Release);
        }
    }

    /// Forgets all routes for good: the node has stopped.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        for route in std::mem::take(&mut *peers).into_values() {
            route.is_stale.store(true, Ordering::Release);
        }
    }

    pub(crate) fn find(&self, peer: &PeerId) -> Option<Arc<Route>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).get(peer).cloned()
    }

    /// The route for messages of a protocol.
    pub(crate) fn way(&self, peer: &PeerId, protocol: &ProtocolId) -> Result<Arc<Route>, NoWay> {
        let Some(route) = self.find(peer) else {
            let is_closed = self.is_closed.load(Ordering::Acquire);
            return Err(if is_closed { NoWay::Closed } else { NoWay::NotConnected });
        };
        if !route.protocols.contains(protocol.as_str()) {
            return Err(NoWay::NotSupported);
        }
        Ok(route)
    }

    pub(crate) fn peers(&self) -> Vec<PeerId> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Queues a message for a peer, on the way that `cached` remembers if that is the newest.
    /// When it is refused `payload` is as it was.
    pub(crate) fn push(
        &self,
        peer: &PeerId,
        protocol: &ProtocolId,
        payload: &mut Bytes,
        cached: &mut Option<Arc<Route>>,
    ) -> Result<(), Refused> {
        self.offer(peer, protocol, cached, |link| link.push(protocol, payload))
    }

    /// Tries `push` on the best link; where that has just closed, on the best one then left.
    pub(crate) fn offer(
        &self,
        peer: &PeerId,
        protocol: &ProtocolId,
        cached: &mut Option<Arc<Route>>,
        mut push: impl FnMut(&Link) -> Result<(), PushError<()>>,
    ) -> Result<(), Refused> {
        for _ in 0..2 {
            if cached.as_ref().is_none_or(|route| route.is_stale()) {
                *cached = None;
                *cached = Some(self.way(peer, protocol).map_err(Refused::NoWay)?);
            }
            let Some(link) = cached.as_ref().and_then(|route| route.pick()) else { break };
            match push(link) {
                Ok(()) => return Ok(()),
                Err(PushError::Moved(())) => {}
                Err(PushError::Full(())) => return Err(Refused::Full(Arc::clone(link))),
                Err(PushError::TooLarge { limit, .. }) => return Err(Refused::TooLarge(limit)),
            }
        }
        Err(Refused::NoWay(NoWay::NotConnected))
    }
}

/// Why a route did not take something.
#[derive(Debug)]
pub(crate) enum Refused {
    NoWay(NoWay),
    Full(Arc<Link>),
    TooLarge(usize),
}

impl Refused {
    pub(crate) fn with<P>(self, payload: P) -> SendError<P> {
        match self {
            Self::NoWay(no_way) => no_way.with(payload),
            Self::Full(_) => SendError::Full { payload },
            Self::TooLarge(limit) => SendError::TooLarge { payload, limit },
        }
    }
}

impl Route {
    pub(crate) fn new(protocols: ProtocolSet, links: Box<[Arc<Link>]>) -> Self {
        Self { protocols, links, is_stale: AtomicBool::new(false) }
    }

    pub(crate) const fn protocols(&self) -> &ProtocolSet {
        &self.protocols
    }

    /// Whether a newer route has taken this one's place.
    pub(crate) fn is_stale(&self) -> bool {
        self.is_stale.load(Ordering::Acquire)
    }

    /// The connection with the fewest queued bytes, then the most idle streams, then the first.
    pub(crate) fn pick(&self) -> Option<&Arc<Link>> {
        if let [only] = &*self.links {
            return (!only.is_shut()).then_some(only);
        }
        let open = self.links.iter().filter(|link| !link.is_shut());
        open.min_by_key(|link| {
            let (queued, idle) = link.load();
            (queued, std::cmp::Reverse(idle))
        })
    }
}
