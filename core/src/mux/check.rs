//! The invariants of a session, checked by counting everything anew; for tests and fuzzing.

#![allow(clippy::panic, clippy::unwrap_used, clippy::arithmetic_side_effects)]

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::session::Session;
use super::stream::{Phase, Stream};
use super::{PONGS_MAX, REFUSALS_MAX, UNACKNOWLEDGED_MAX};

impl Session {
    /// Checks that counts and lists agree with the streams, and that the bounds hold.
    ///
    /// # Panics
    ///
    /// If they do not.
    #[doc(hidden)]
    pub fn assert_invariants(&self) {
        let streams: Vec<(u32, &Stream)> = self.slots.iter().collect();
        let count = |wanted: &dyn Fn(&Stream) -> bool| {
            streams.iter().filter(|(_, stream)| wanted(stream)).count()
        };
        let slots_of = |wanted: &dyn Fn(&Stream) -> bool| -> BTreeSet<u32> {
            streams.iter().filter(|(_, stream)| wanted(stream)).map(|(slot, _)| *slot).collect()
        };
        assert_eq!(self.slots.len(), streams.len(), "index");
        let counts = &self.counts;
        assert_eq!(counts.local_open, count(&|s| s.is_visible() && s.local));
        assert_eq!(counts.remote_open, count(&|s| s.is_visible() && !s.local));
        assert_eq!(counts.unaccepted, count(&|s| s.phase == Phase::Unaccepted));
        assert_eq!(counts.unacknowledged, count(&|s| s.unacknowledged));
        assert_eq!(counts.resetting, count(&|s| s.phase == Phase::Resetting));
        let visible = || streams.iter().map(|(_, s)| *s).filter(|s| s.is_visible());
        assert_eq!(counts.queued, visible().map(Stream::recount).sum::<usize>());
        assert_eq!(self.grown, visible().map(|s| s.recv.grown()).sum::<u64>());

        let listed = |found: Vec<u32>| found.into_iter().collect::<BTreeSet<_>>();
        let control = listed(self.control.collect(&self.slots));
        assert_eq!(control, slots_of(&Stream::wants_control), "control");
        let opening = listed(self.opening.collect(&self.slots));
        assert_eq!(opening, slots_of(&|s| s.phase == Phase::Opening), "opening");
        let ready = self.scheduler.collect(&self.slots);
        assert_eq!(ready.len(), self.scheduler.ready(true));
        assert_eq!(listed(ready), slots_of(&Stream::has_data), "ready");
        for slot in self.drained.collect(&self.slots) {
            let stream = self.slots.get(slot).unwrap();
            assert!(stream.is_visible() && stream.queued() == 0, "drained");
        }

        assert!(counts.local_open <= self.config.streams_max);
        assert!(counts.remote_open <= self.config.streams_max);
        assert!(counts.unaccepted <= self.config.accept_backlog);
        assert!(counts.unacknowledged <= UNACKNOWLEDGED_MAX);
        assert!(self.pongs.len() <= PONGS_MAX && self.refused.len() <= REFUSALS_MAX);
        let kept = [self.pongs.capacity(), self.refused.capacity(), self.stash.1.capacity()];
        let has_room = self.slots.has_room() || kept.iter().any(|capacity| *capacity > 0);
        assert!(self.slots.loose || !has_room, "room that shrink passes over");
        assert!(self.growth_max <= self.config.window_growth_max);
        assert!(self.grown <= self.config.window_growth_max);
        for (_, stream) in &streams {
            assert_eq!(stream.queued(), stream.recount());
            assert!(!stream.is_over() || stream.phase != Phase::Open, "closed and still there");
            let recv = &stream.recv;
            assert!(recv.credit().checked_add(recv.unread()).unwrap() <= recv.window());
            assert!(recv.window() <= self.config.window_max);
            assert!(stream.phase != Phase::Lingering || stream.unacknowledged);
        }
    }
}
