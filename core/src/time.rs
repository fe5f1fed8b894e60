//! Time as core knows it: a number of nanoseconds that only the driver moves (P8).

use core::fmt;
use core::time::Duration;

/// A point in time, in nanoseconds since an origin that the driver picked.
///
/// Arithmetic saturates, so no value that a peer or a caller chooses can overflow it.
///
/// ```
/// use core::time::Duration;
/// use headwater_core::time::Instant;
///
/// let start = Instant::from_nanos(5);
/// let later = start.after(Duration::from_nanos(7));
/// assert_eq!(later.since(start), Duration::from_nanos(7));
/// assert_eq!(start.since(later), Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Instant(u64);

impl Instant {
    /// The origin of the driver's clock.
    pub const ZERO: Self = Self(0);
    /// The end of time; a deadline there never comes.
    pub const MAX: Self = Self(u64::MAX);

    /// The point `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The point `wait` later, at most [`Instant::MAX`].
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The moment `wait` earlier; not before [`Instant::ZERO`].
    #[must_use]
    pub fn before(self, wait: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The time from `earlier` to here; zero if `earlier` lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{:?}", Duration::from_nanos(self.0))
    }
}

/// A clock that never runs backwards: a `now` that lies before an earlier one counts as that one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clamp(Instant);

impl Clamp {
    /// A clock that has seen no time yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Instant::ZERO)
    }

    /// Takes the caller's `now` and gives the time to go by.
    pub fn advance(&mut self, now: Instant) -> Instant {
        self.0 = self.0.max(now);
        self.0
    }

    /// The latest time seen.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Instant::MAX.after(Duration::MAX), Instant::MAX);
        assert_eq!(Instant::ZERO.since(Instant::MAX), Duration::ZERO);
        assert_eq!(Instant::MAX.since(Instant::ZERO), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn a_clock_that_jumps_back_is_clamped() {
        let mut clock = Clamp::default();
        assert_eq!(clock.advance(Instant::from_nanos(9)), Instant::from_nanos(9));
        assert_eq!(clock.advance(Instant::from_nanos(3)), Instant::from_nanos(9));
        assert_eq!(clock.now(), Instant::from_nanos(9));
    }
}
