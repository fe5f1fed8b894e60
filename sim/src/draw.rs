//! Chance in the words of the simulator; all of it comes from the seed.

use std::time::Duration;

use headwater_core::seed::{Rng, Seed};

/// A stream of choices.
#[derive(Clone, Debug)]
pub(crate) struct Draw(Rng);

impl Draw {
    /// The stream that belongs to a label and a number, so that a choice more in one place
    /// changes nothing in another.
    pub(crate) fn new(seed: u64, label: &str, id: u64) -> Self {
        Self(Seed::from_u64(seed).rng(label, id))
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`; 0 if that is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound as u64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.below(high.saturating_sub(low).saturating_add(1))
    }

    /// True in `percent` of a hundred cases.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.0.below(100) < percent
    }

    /// True in one of so many cases.
    pub(crate) fn one_in(&mut self, cases: u64) -> bool {
        self.0.below(cases) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }

    /// A time between two, evenly.
    pub(crate) fn time(&mut self, low: Duration, high: Duration) -> Duration {
        Duration::from_nanos(self.between(low.as_nanos() as u64, high.as_nanos() as u64))
    }

    /// A time between two where each order of magnitude is as likely as another.
    pub(crate) fn any_scale(&mut self, low: Duration, high: Duration) -> Duration {
        let (low, high) = (low.as_nanos().max(1) as u64, high.as_nanos() as u64);
        let doublings = (high / low).checked_ilog2().unwrap_or(0);
        let base = low << self.0.below(u64::from(doublings) + 1);
        Duration::from_nanos(self.between(base, (base * 2).min(high)))
    }

    /// A wait until something that happens once in `mean`, up to twice as long.
    pub(crate) fn around(&mut self, mean: Duration) -> Duration {
        Duration::from_nanos(self.between(1, 2 * mean.as_nanos() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_within_their_bounds() {
        let mut draw = Draw::new(1, "test", 0);
        let (low, high) = (Duration::from_millis(3), Duration::from_secs(40));
        for _ in 0..2000 {
            assert!((low..=high).contains(&draw.any_scale(low, high)));
            assert!((low..=high).contains(&draw.time(low, high)));
            assert!((7..=9).contains(&draw.between(7, 9)));
            assert!(draw.around(low) <= 2 * low);
        }
        assert!((0..1000).any(|_| draw.one_in(10)) && !draw.chance(0) && draw.chance(100));
        assert_eq!(draw.pick::<u8>(&[]), None);
    }
}
