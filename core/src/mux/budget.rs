//! What a peer may do that costs us more than it, counted: one store for each kind of abuse.
//!
//! A store holds at most its burst and refills with time alone, so that it does not matter into
//! how many reads the peer's bytes were cut.

use super::config::{Limit, SessionConfig};
use super::error::{Abuse, SessionError};
use crate::time::Instant;

const NANOS: u64 = 1_000_000_000;

/// A store of permits.
#[derive(Debug)]
struct Store {
    left: u32,
    /// The time up to which refills were counted.
    at: Instant,
}

impl Store {
    const fn new(limit: Limit, now: Instant) -> Self {
        Self { left: limit.burst, at: now }
    }

    /// Takes one permit, if there is one.
    fn take(&mut self, limit: Limit, now: Instant) -> bool {
        self.refill(limit, now);
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    fn refill(&mut self, limit: Limit, now: Instant) {
        let rate = u64::from(limit.per_second);
        if self.left >= limit.burst {
            self.at = now;
            return;
        }
        let passed = u128::from(now.as_nanos().saturating_sub(self.at.as_nanos()));
        let whole = passed.saturating_mul(u128::from(rate)).checked_div(u128::from(NANOS));
        let more = whole.and_then(|more| u32::try_from(more).ok()).unwrap_or(u32::MAX);
        if more == 0 {
            return;
        }
        self.left = self.left.saturating_add(more).min(limit.burst);
        // What is left of the last permit's time is kept, so slow and fast polling agree.
        let used = u64::from(more).saturating_mul(NANOS).checked_div(rate).unwrap_or(0);
        self.at = Instant::from_nanos(self.at.as_nanos().saturating_add(used)).min(now);
    }
}

/// The stores of a session.
#[derive(Debug)]
pub(super) struct Budgets {
    resets: Store,
    refusals: Store,
    empty_frames: Store,
    tiny_updates: Store,
    pings: Store,
}

impl Budgets {
    pub(super) const fn new(config: &SessionConfig, now: Instant) -> Self {
        Self {
            resets: Store::new(config.resets, now),
            refusals: Store::new(config.refusals, now),
            empty_frames: Store::new(config.empty_frames, now),
            tiny_updates: Store::new(config.tiny_updates, now),
            pings: Store::new(config.pings, now),
        }
    }

    /// Counts one thing of the kind `what`; an error if there were too many.
    pub(super) fn charge(
        &mut self,
        config: &SessionConfig,
        what: Abuse,
        now: Instant,
    ) -> Result<(), SessionError> {
        let (store, limit) = match what {
            Abuse::Resets => (&mut self.resets, config.resets),
            Abuse::Refusals => (&mut self.refusals, config.refusals),
            Abuse::EmptyFrames => (&mut self.empty_frames, config.empty_frames),
            Abuse::WindowUpdates => (&mut self.tiny_updates, config.tiny_updates),
            Abuse::Pings => (&mut self.pings, config.pings),
        };
        if store.take(limit, now) { Ok(()) } else { Err(SessionError::Abuse { what }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_refills_at_its_rate_up_to_its_burst() {
        let limit = Limit { burst: 3, per_second: 2 };
        let mut store = Store::new(limit, Instant::ZERO);
        let take = |store: &mut Store, at| store.take(limit, Instant::from_nanos(at));
        assert!(take(&mut store, 0) && take(&mut store, 0) && take(&mut store, 0));
        assert!(!take(&mut store, NANOS / 2 - 1));
        assert!(take(&mut store, NANOS / 2));
        assert!(!take(&mut store, NANOS - 1));
        assert!(take(&mut store, NANOS));
        let later = 100 * NANOS;
        assert!(take(&mut store, later) && take(&mut store, later) && take(&mut store, later));
        assert!(!take(&mut store, later));
        assert!(take(&mut store, u64::MAX));
    }

    #[test]
    fn frequent_refusals_do_not_delay_the_refill() {
        let limit = Limit { burst: 1, per_second: 3 };
        let mut store = Store::new(limit, Instant::ZERO);
        let taken = (0..=1000).filter(|at| store.take(limit, Instant::from_nanos(at * 1_000_000)));
        assert_eq!(taken.count(), 1 + 3);
        assert!(!store.take(limit, Instant::from_nanos(NANOS + 1_000_000)));
    }

    #[test]
    fn a_rate_of_zero_never_refills() {
        let limit = Limit { burst: 1, per_second: 0 };
        let mut store = Store::new(limit, Instant::ZERO);
        assert!(store.take(limit, Instant::ZERO));
        assert!(!store.take(limit, Instant::MAX));
    }
}
