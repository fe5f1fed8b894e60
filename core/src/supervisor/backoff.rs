//! How long to wait after each failure in a row.
//!
//! One state, the number of failures. Events: [`Backoff::failed`], [`Backoff::reset`]. Output:
//! the wait, or that it is time to give up.
//!
//! Invariants: B1 without jitter no wait is shorter than the one before it in its series, and
//! none longer than the ceiling. B2 with jitter each wait is within that share of the series.
//! B3 the same seed and the same calls give the same waits. Bounds: a few words.

use core::time::Duration;

use crate::seed::Rng;

/// How waits grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum BackoffKind {
    /// 1 2 3 5 8 13 21 34 55 times the first wait.
    Fibonacci,
    /// 1 2 4 8 16 times the first wait.
    Exponential,
    /// The first wait, always.
    Constant,
}

/// The series of waits of a [`Backoff`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BackoffConfig {
    /// How waits grow. Default Fibonacci.
    pub kind: BackoffKind,
    /// The wait after the first failure. Default 1 s.
    pub first: Duration,
    /// The longest wait, before jitter. Default 60 s.
    pub ceiling: Duration,
    /// By how many per cent a wait may be shorter or longer, at random; at most 100. Default 10.
    pub jitter: u8,
    /// After how many failures in a row it is time to give up. Default never.
    pub attempts_max: Option<u32>,
}

impl BackoffConfig {
    pub(crate) const DEFAULT: Self = Self {
        kind: BackoffKind::Fibonacci,
        first: Duration::from_secs(1),
        ceiling: Duration::from_secs(60),
        jitter: 10,
        attempts_max: None,
    };
}

impl Default for BackoffConfig {
    /// Fibonacci from 1 s to 60 s, give or take 10 %, for ever.
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The waits between attempts at one thing.
///
/// ```
/// use headwater_core::seed::Seed;
/// use headwater_core::supervisor::{Backoff, BackoffConfig};
///
/// let config = BackoffConfig { jitter: 0, ..BackoffConfig::default() };
/// let mut backoff = Backoff::new(config, Seed::from_u64(1).rng("backoff", 0));
/// let waits: Vec<u64> = (0..5).map(|_| backoff.failed().unwrap().as_secs()).collect();
/// assert_eq!(waits, [1, 2, 3, 5, 8]);
/// backoff.reset();
/// assert_eq!(backoff.failed().unwrap().as_secs(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    config: BackoffConfig,
    rng: Rng,
    failures: u32,
    /// The wait after the next failure, and after the one that follows, before jitter.
    next: (Duration, Duration),
}

impl Backoff {
    /// At the beginning of its series; jitter comes from `rng`.
    #[must_use]
    pub fn new(config: BackoffConfig, rng: Rng) -> Self {
        let mut backoff = Self { config, rng, failures: 0, next: (Duration::ZERO, Duration::ZERO) };
        backoff.reset();
        backoff
    }

    /// An attempt failed: gives the wait before the next one, or `None` if there is to be none.
    pub fn failed(&mut self) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        if self.config.attempts_max.is_some_and(|max| self.failures >= max) {
            return None;
        }
        let (wait, after) = self.next;
        let further = match self.config.kind {
            BackoffKind::Fibonacci => wait.saturating_add(after),
            BackoffKind::Exponential => after.saturating_mul(2),
            BackoffKind::Constant => after,
        };
        self.next = (after, further.min(self.config.ceiling));
        Some(self.jittered(wait))
    }

    /// It worked: the series begins again.
    pub fn reset(&mut self) {
        let first = self.config.first.min(self.config.ceiling);
        let second = match self.config.kind {
            BackoffKind::Constant => first,
            BackoffKind::Fibonacci | BackoffKind::Exponential => first.saturating_mul(2),
        };
        self.failures = 0;
        self.next = (first, second.min(self.config.ceiling));
    }

    /// How many attempts failed in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    fn jittered(&mut self, wait: Duration) -> Duration {
        const WHOLE: u64 = 100_000;
        let share = u64::from(self.config.jitter.min(100)).saturating_mul(1000);
        let drawn = self.rng.below(share.saturating_mul(2).saturating_add(1));
        let factor = WHOLE.saturating_sub(share).saturating_add(drawn);
        let nanos = wait.as_nanos().saturating_mul(u128::from(factor));
        let nanos = nanos.checked_div(u128::from(WHOLE)).unwrap_or(0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::seed::Seed;

    fn backoff(config: BackoffConfig, seed: u64) -> Backoff {
        Backoff::new(config, Seed::from_u64(seed).rng("backoff", 0))
    }

    fn seconds(kind: BackoffKind, count: usize) -> Vec<u64> {
        let config = BackoffConfig { kind, jitter: 0, ..BackoffConfig::default() };
        let mut backoff = backoff(config, 1);
        (0..count).map(|_| backoff.failed().unwrap().as_secs()).collect()
    }

    #[test]
    fn d60_the_series_is_capped_and_never_ends() {
        let expected = [1, 2, 3, 5, 8, 13, 21, 34, 55, 60, 60, 60];
        assert_eq!(seconds(BackoffKind::Fibonacci, 12), expected);
        let long = seconds(BackoffKind::Fibonacci, 100_000);
        assert!(long[9..].iter().all(|wait| *wait == 60));
    }

    #[test]
    fn the_other_series_are_capped_too() {
        assert_eq!(seconds(BackoffKind::Exponential, 8), [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(seconds(BackoffKind::Constant, 4), [1, 1, 1, 1]);
        let config =
            BackoffConfig { first: Duration::from_secs(90), jitter: 0, ..BackoffConfig::default() };
        assert_eq!(backoff(config, 1).failed(), Some(Duration::from_secs(60)));
    }

    #[test]
    fn it_gives_up_only_when_told_how_often() {
        let config = BackoffConfig { attempts_max: Some(3), ..BackoffConfig::default() };
        let mut backoff = backoff(config, 1);
        assert!(backoff.failed().is_some() && backoff.failed().is_some());
        assert_eq!(backoff.failed(), None);
        assert_eq!(backoff.failed(), None);
        backoff.reset();
        assert!(backoff.failed().is_some());
        assert_eq!(backoff.failures(), 1);
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_share_and_follows_the_seed(
            seed: u64, jitter in 0..=100_u8, first in 1..10_000_u64, steps in 1..40_usize,
        ) {
            let config = BackoffConfig {
                first: Duration::from_millis(first), jitter, ..BackoffConfig::default()
            };
            let mut plain = backoff(BackoffConfig { jitter: 0, ..config }, seed);
            let mut one = backoff(config, seed);
            let mut two = backoff(config, seed);
            for _ in 0..steps {
                let wait = one.failed().unwrap();
                prop_assert_eq!(Some(wait), two.failed());
                let exact = plain.failed().unwrap();
                let share = exact * u32::from(jitter) / 100;
                let near = Duration::from_nanos(1);
                prop_assert!(wait + near >= exact - share && wait <= exact + share + near);
            }
        }
    }

    #[test]
    fn jitter_spreads_over_all_of_its_share() {
        let config = BackoffConfig { kind: BackoffKind::Constant, ..BackoffConfig::default() };
        let mut backoff = backoff(config, 7);
        let waits: Vec<u128> = (0..1000).map(|_| backoff.failed().unwrap().as_millis()).collect();
        assert!(waits.iter().any(|wait| *wait < 910) && waits.iter().any(|wait| *wait > 1090));
        assert!(waits.iter().all(|wait| (900..=1100).contains(wait)));
    }
}
