//! Who is connected now, so that they can be judged again.
//!
//! Invariant: an entry is there exactly as long as its channel. Bound: one entry a channel that
//! is past its handshake.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use headwater_core::id::PeerId;

use crate::admission::ProvenPeer;
use crate::error::Refusal;

/// The peers that are connected.
#[derive(Debug, Default)]
pub(crate) struct Live {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    by_number: BTreeMap<u64, Arc<Entry>>,
}

/// One connected peer.
#[derive(Debug)]
pub(crate) struct Entry {
    peer: Mutex<Arc<ProvenPeer>>,
    refusal: OnceLock<Refusal>,
}

impl Entry {
    pub(crate) fn peer(&self) -> Arc<ProvenPeer> {
        Arc::clone(&self.peer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_peer(&self, peer: ProvenPeer) {
        *self.peer.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(peer);
    }

    /// It is not accepted any more.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        // The first reason stays.
        let _ = self.refusal.set(refusal);
    }

    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        self.refusal.get()
    }
}

impl Live {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, peer: ProvenPeer) -> (u64, Arc<Entry>) {
        let peer = Mutex::new(Arc::new(peer));
        let entry = Arc::new(Entry { peer, refusal: OnceLock::new() });
        let mut entries = self.entries();
        let number = entries.next;
        entries.next = number.wrapping_add(1);
        entries.by_number.insert(number, Arc::clone(&entry));
        (number, entry)
    }

    pub(crate) fn remove(&self, number: u64) {
        self.entries().by_number.remove(&number);
    }

    /// All entries, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.entries().by_number.values().cloned().collect()
    }

    /// The newest entry of a peer.
    pub(crate) fn of(&self, peer: PeerId) -> Option<Arc<ProvenPeer>> {
        let entries = self.entries();
        let mut peers = entries.by_number.values().rev().map(|entry| entry.peer());
        peers.find(|one| one.peer_id() == peer)
    }
}
