//! One required peer.

use alloc::vec::Vec;

use super::{ADDRESSES_MAX, AttemptId, Backoff, Setback};
use crate::address::Address;
use crate::contract::RequiredId;
use crate::error::{ApplicationError, RetryCause};
use crate::id::PeerId;
use crate::time::Instant;

/// How far the node is with a required peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequiredPhase {
    /// It is connected.
    Connected {
        /// Since when.
        since: Instant,
    },
    /// It is to be dialled, and waits until fewer dials are under way.
    Due,
    /// It is being dialled.
    Dialing,
    /// It failed, and is tried again.
    Waiting {
        /// When.
        until: Instant,
    },
    /// The application disconnected it; `connect` goes on.
    Paused,
    /// It failed as often as the back-off allows.
    GaveUp,
}

/// What is known of a required peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequiredState {
    /// Which.
    pub required: RequiredId,
    /// Who, if an address names it or it is known by now.
    pub peer: Option<PeerId>,
    /// Where, in the order in which they were given.
    pub addresses: Vec<Address>,
    /// How far the node is.
    pub phase: RequiredPhase,
    /// Failures in a row.
    pub failures: u32,
    /// What went wrong last, since it was connected for long enough.
    pub last: Option<RetryCause>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Paused or given up.
    Resting,
    Connected {
        since: Instant,
    },
    /// Its place in the queue.
    Due {
        order: u64,
        /// How many addresses of this round were tried.
        tried: usize,
    },
    Dialing {
        attempt: AttemptId,
        tried: usize,
    },
    Waiting {
        until: Instant,
    },
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) addresses: Vec<Address>,
    pub(super) peer: Option<PeerId>,
    pub(super) phase: Phase,
    pub(super) backoff: Backoff,
    pub(super) paused: bool,
    /// The address that worked last, by its place in the list: it comes first.
    pub(super) preferred: usize,
    /// The one that was dialled last.
    pub(super) dialed: usize,
    pub(super) last: Option<RetryCause>,
    /// Untold; it stands in the list of those with news.
    pub(super) news: Option<Setback>,
}

impl Entry {
    pub(super) fn new(addresses: Vec<Address>, peer: Option<PeerId>, backoff: Backoff) -> Self {
        Self {
            addresses,
            peer,
            phase: Phase::Resting,
            backoff,
            paused: false,
            preferred: 0,
            dialed: 0,
            last: None,
            news: None,
        }
    }

    /// The address that a round tries after `tried` others: the preferred one, then the rest in
    /// their order.
    pub(super) fn pick(&self, tried: usize) -> Option<usize> {
        if tried >= self.addresses.len() {
            return None;
        }
        if tried == 0 {
            return Some(self.preferred.min(self.addresses.len().saturating_sub(1)));
        }
        let before = tried.saturating_sub(1);
        Some(if before < self.preferred { before } else { tried })
    }

    pub(super) fn address(&self, place: usize) -> Option<Address> {
        let address = self.addresses.get(place)?;
        Some(match self.peer {
            Some(peer) => address.with_peer(peer),
            None => address.clone(),
        })
    }

    pub(super) fn state(&self, required: RequiredId) -> RequiredState {
        let phase = match self.phase {
            Phase::Connected { since } => RequiredPhase::Connected { since },
            Phase::Due { .. } => RequiredPhase::Due,
            Phase::Dialing { .. } => RequiredPhase::Dialing,
            Phase::Waiting { until } => RequiredPhase::Waiting { until },
            Phase::Resting if self.paused => RequiredPhase::Paused,
            Phase::Resting => RequiredPhase::GaveUp,
        };
        RequiredState {
            required,
            peer: self.peer,
            addresses: self.addresses.clone(),
            phase,
            failures: self.backoff.failures(),
            last: self.last.clone(),
        }
    }
}

/// The peer that a list of addresses names, and whether the list makes sense.
pub(super) fn named(addresses: &[Address]) -> Result<Option<PeerId>, ApplicationError> {
    let first = addresses.first().ok_or(ApplicationError::NoAddress)?;
    if addresses.len() > ADDRESSES_MAX {
        return Err(ApplicationError::TooManyAddresses);
    }
    if addresses.iter().any(|address| address.dialable().is_err()) {
        return Err(ApplicationError::BadAddress);
    }
    if addresses.iter().any(|address| address.peer != first.peer) {
        return Err(ApplicationError::DifferentPeers);
    }
    Ok(first.peer)
}
