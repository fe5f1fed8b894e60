//! What the lanes count, counted anew; for tests and fuzzing.

use super::{LARGE_MAX, Lane, Lanes};
use crate::connection::Parcel;
use crate::pool::Outbox;

impl Lanes {
    /// Checks that nothing is kept that the carrier has taken, up to `position` in the output.
    pub(in crate::connection) fn assert_handed(&self, position: u64) {
        assert!(self.handed.front().is_none_or(|(end, _)| *end > position));
    }

    /// Checks that streams and lanes balance (P7).
    pub(in crate::connection) fn assert_invariants(&self) {
        self.pool.assert_invariants();
        let lanes = self.slots.iter().filter(|slot| slot.lane.is_some()).count();
        assert!(self.deadlines.len() <= self.slots.len().saturating_mul(5).saturating_add(64));
        assert_eq!(lanes, self.pool.counts().lent);
        assert_eq!(lanes, self.by_stream.len());
        assert_eq!(lanes.saturating_add(self.free.len()), self.slots.len());
        assert_eq!(self.opening.len(), self.pool.counts().opening);
        let unframed: usize =
            self.slots.iter().filter_map(|s| s.lane.as_ref()).map(|l| l.len).sum();
        assert_eq!(unframed, self.unframed);
        let small = self
            .slots
            .iter()
            .filter_map(|s| s.lane.as_ref())
            .filter(|lane| lane.lent.is_none() && !lane.parcels.iter().any(Parcel::is_large));
        assert_eq!(small.map(|lane| lane.len).sum::<usize>(), self.unframed_small);
        let large = |lane: &&Lane| lane.lent.is_none() && lane.parcels.iter().any(Parcel::is_large);
        let large = self.slots.iter().filter_map(|s| s.lane.as_ref()).filter(large).count();
        assert_eq!(large, self.large);
        assert!(large <= LARGE_MAX);
    }

    /// [`Lanes::memory`], counted anew.
    pub(in crate::connection) fn recount(&self) -> usize {
        let lanes = || self.slots.iter().filter_map(|slot| slot.lane.as_ref());
        let waiting = self.pending.iter().chain(self.handed.iter().map(|(_, parcel)| parcel));
        let parcels = lanes().flat_map(|lane| &lane.parcels).chain(waiting);
        let lent = lanes().filter_map(|lane| lane.lent.as_ref()).map(|lent| &lent.outbox);
        let outboxes: usize = lent.chain([&self.outbox]).map(Outbox::memory).sum();
        outboxes.saturating_add(parcels.map(Parcel::len).sum())
    }
}
