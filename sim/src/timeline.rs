//! Virtual time: what will happen, and when.
//!
//! Events at the same time happen in the order in which they were planned, so a run depends on
//! nothing but its seed. Bound: one entry for each planned event.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use headwater_core::time::Instant;

/// Where every world begins; clocks of nodes lie around it.
pub(crate) const START: Instant = Instant::from_nanos(1 << 52);

/// A queue of events that moves time.
#[derive(Debug)]
pub(crate) struct Timeline<E> {
    now: Instant,
    planned: u64,
    events: BinaryHeap<Reverse<Entry<E>>>,
}

#[derive(Debug)]
struct Entry<E> {
    at: Instant,
    sequence: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl<E> Timeline<E> {
    pub(crate) fn new() -> Self {
        Self { now: START, planned: 0, events: BinaryHeap::new() }
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        self.now.since(START)
    }

    /// Plans an event; one in the past happens next. Gives its number.
    pub(crate) fn plan(&mut self, at: Instant, event: E) -> u64 {
        self.planned += 1;
        let entry = Entry { at: at.max(self.now), sequence: self.planned, event };
        self.events.push(Reverse(entry));
        self.planned
    }

    pub(crate) fn plan_in(&mut self, wait: Duration, event: E) -> u64 {
        self.plan(self.now.after(wait), event)
    }

    /// Moves time to the next event and takes it, with its number.
    pub(crate) fn pop(&mut self) -> Option<(u64, E)> {
        let Reverse(entry) = self.events.pop()?;
        self.now = self.now.max(entry.at);
        Some((entry.sequence, entry.event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_then_in_the_order_of_their_planning() {
        let mut time = Timeline::new();
        for (wait, name) in [(5, "b"), (5, "c"), (1, "a"), (9, "d")] {
            time.plan_in(Duration::from_secs(wait), name);
        }
        let names: Vec<_> = std::iter::from_fn(|| time.pop().map(|(_, name)| name)).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
        assert_eq!(time.elapsed(), Duration::from_secs(9));
    }

    #[test]
    fn what_is_planned_for_the_past_happens_now() {
        let mut time = Timeline::new();
        time.plan_in(Duration::from_secs(2), 1);
        time.pop();
        time.plan(START, 2);
        time.pop();
        assert_eq!(time.elapsed(), Duration::from_secs(2));
    }
}
