//! What came of attempts, links and connections, as far as somebody may ask about it.
//!
//! Nothing here decides anything. Bounds: those of [`crate::snapshot`], and one count for each
//! reason of a refusal; an entry beyond them takes the place of the one that was touched first.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::net::SocketAddr;

use crate::address::Address;
use crate::connection::Tally;
use crate::contract::Direction;
use crate::error::{CloseReason, DialError, Refusal};
use crate::id::PeerId;
use crate::pool::Outbox;
use crate::snapshot::{
    Counters, Failure, Loss, PLACES_MAX, Reached, TURNED_AWAY_MAX, Traffic, TurnedAway,
};
use crate::time::Instant;

/// What came of the attempts at an address.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub(super) attempts: u64,
    /// In a row.
    pub(super) failures: u32,
    pub(super) last: Option<Box<Failure>>,
    pub(super) succeeded: Option<Instant>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) places: Recent<Address, Place>,
    pub(super) turned_away: Recent<PeerId, Box<TurnedAway>>,
    pub(super) losses: Recent<PeerId, Box<Loss>>,
    pub(super) inbound_refusals: BTreeMap<&'static str, u64>,
    pub(super) outbound_refusals: BTreeMap<&'static str, u64>,
    /// Messages of connections that have ended, and all that were given up.
    pub(super) traffic: Traffic,
    pub(super) counters: Counters,
}

impl History {
    /// An attempt at an address has begun.
    pub(super) fn tried(&mut self, address: &Address) {
        let place = self.places.entry(address, PLACES_MAX, Place::default);
        place.attempts = place.attempts.saturating_add(1);
    }

    /// An attempt led to nothing.
    pub(super) fn failed(
        &mut self,
        at: Instant,
        address: Option<&Address>,
        reached: Reached,
        remote: Option<SocketAddr>,
        error: &DialError,
    ) {
        let Some(address) = address else { return };
        let place = self.places.entry(address, PLACES_MAX, Place::default);
        place.failures = place.failures.saturating_add(1);
        place.last = Some(Box::new(Failure { at, reached, remote, error: error.clone() }));
    }

    /// An attempt led to a connection.
    pub(super) fn succeeded(&mut self, now: Instant, address: &Address) {
        let place = self.places.entry(address, PLACES_MAX, Place::default);
        place.failures = 0;
        place.succeeded = Some(now);
    }

    /// A link was turned away, or ended before its peer was connected.
    pub(super) fn turned_away(
        &mut self,
        at: Instant,
        remote: SocketAddr,
        peer: Option<PeerId>,
        direction: Direction,
        reason: &Refusal,
    ) {
        let counts = match direction {
            Direction::Inbound => &mut self.inbound_refusals,
            Direction::Outbound => &mut self.outbound_refusals,
        };
        let count = counts.entry(reason.name()).or_default();
        *count = count.saturating_add(1);
        let Some(peer) = peer else { return };
        let make = || TurnedAway { at, remote, direction, reason: reason.clone(), times: 0 };
        let known = self.turned_away.entry(&peer, TURNED_AWAY_MAX, || Box::new(make()));
        let times = known.times.saturating_add(1);
        **known = TurnedAway { times, ..make() };
    }

    /// The last connection of a peer is gone.
    pub(super) fn lost(&mut self, at: Instant, peer: PeerId, since: Instant, reason: &CloseReason) {
        let make = || Loss { at, since, reason: reason.clone(), times: 0 };
        let known = self.losses.entry(&peer, TURNED_AWAY_MAX, || Box::new(make()));
        let times = known.times.saturating_add(1);
        **known = Loss { times, ..make() };
    }

    /// A connection has ended; this is what it did.
    pub(super) fn ended(&mut self, traffic: &mut Traffic, counters: Counters) {
        self.traffic.take(traffic);
        self.counters = self.counters.and(counters);
    }

    /// Messages were accepted that no connection took.
    pub(super) fn left(&mut self, outbox: &mut Outbox) {
        outbox.take_traffic(&mut self.traffic);
    }

    /// Messages that were accepted were given up.
    pub(super) fn given_up(&mut self, lost: &Tally) {
        for entry in lost.entries() {
            let count = self.traffic.of(&entry.protocol);
            count.lost.add(entry.reason, entry.messages, entry.bytes);
        }
    }

    /// What is known of an address; it may have been tried before it was known who is there.
    pub(super) fn place(&self, address: &Address) -> Option<&Place> {
        self.places.get(address).or_else(|| self.places.get(&address.without_peer()))
    }
}

/// Entries by key, of which the one that was touched first goes when there are too many.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    entries: BTreeMap<K, (u64, V)>,
    order: BTreeMap<u64, K>,
    touched: u64,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), order: BTreeMap::new(), touched: 0 }
    }
}

impl<K: Clone + Ord, V> Recent<K, V> {
    /// The entry of a key, made if it is not there; it is the one touched last now.
    fn entry(&mut self, key: &K, max: usize, make: impl FnOnce() -> V) -> &mut V {
        let touched = self.touched;
        self.touched = touched.saturating_add(1);
        match self.entries.get(key).map(|(order, _)| *order) {
            Some(order) => drop(self.order.remove(&order)),
            None if self.entries.len() >= max => {
                if let Some((_, oldest)) = self.order.pop_first() {
                    self.entries.remove(&oldest);
                }
            }
            None => {}
        }
        self.order.insert(touched, key.clone());
        let (order, value) = self.entries.entry(key.clone()).or_insert_with(|| (touched, make()));
        *order = touched;
        value
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// The entries, in the order of their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, (_, value))| (key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_that_was_touched_first_makes_room() {
        let mut recent: Recent<u8, u8> = Recent::default();
        for key in [1, 2, 3, 1, 4] {
            *recent.entry(&key, 3, || 0) += 1;
        }
        let all: std::vec::Vec<_> = recent.iter().map(|(key, value)| (*key, *value)).collect();
        assert_eq!(all, [(1, 2), (3, 1), (4, 1)]);
        assert_eq!(recent.order.len(), 3);
    }
}
