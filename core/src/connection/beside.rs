//! How much may be on its way to this side while small messages come beside large ones.
//!
//! What the outer window lets the peer send before this side has read it stands in the sockets,
//! and every small message waits behind it. While only large ones come that does no harm, and
//! the window may be as large as it has grown. Once small ones come between them it is limited to
//! what keeps the peer busy: what comes in a round trip and [`SLACK`], or in one and a half.
//!
//! States: alone, and beside, until [`HOLD`] has passed since the last small message. In both the
//! pace of the peer is measured, over two round trips and at least [`PERIOD`]; under a limit it may
//! only show what the limit lets through, so a slower pace counts little by little.
//!
//! Invariants: there is no limit before a pace is known, nor while alone; a limit is at least
//! [`LIMIT_MIN`].

use core::time::Duration;

use crate::time::Instant;

/// For so long the next small message is expected.
pub(super) const HOLD: Duration = Duration::from_secs(1);

/// How long the pace is measured at least: what gathered while this side was busy comes faster than
/// the peer sends.
const PERIOD: Duration = Duration::from_millis(10);

/// What comes within it is under way beside what a round trip takes: both ends write and read in
/// turns, and neither is to wait for the other.
const SLACK: Duration = Duration::from_micros(100);

/// No limit is less, in bytes.
const LIMIT_MIN: u64 = 384 * 1024;

/// A slower pace counts for a part of this.
const SLOWLY: u64 = 64;

/// Whether small messages come beside large ones, and the pace of what comes.
#[derive(Debug)]
pub(super) struct Beside {
    until: Instant,
    since: Instant,
    bytes: u64,
    /// Of the pace that was measured; 0 before that.
    limit: u64,
}

impl Beside {
    pub(super) const fn new() -> Self {
        Self { until: Instant::ZERO, since: Instant::ZERO, bytes: 0, limit: 0 }
    }

    /// A small message came while a large one was under way.
    pub(super) fn on_small(&mut self, now: Instant) {
        self.until = now.after(HOLD);
    }

    /// So many bytes came.
    pub(super) fn on_bytes(&mut self, now: Instant, len: usize, rtt: Option<Duration>) {
        let Some(rtt) = rtt else { return };
        let (period, took) = (rtt.saturating_mul(2).max(PERIOD), now.since(self.since));
        self.bytes = self.bytes.saturating_add(len as u64);
        if took < period {
            return;
        }
        // What came after a pause says nothing.
        if took < period.saturating_mul(4) {
            let ahead = rtt.saturating_add(SLACK.max(rtt.checked_div(2).unwrap_or(rtt)));
            let limit = u128::from(self.bytes).saturating_mul(ahead.as_nanos());
            let limit = limit.checked_div(took.as_nanos()).unwrap_or(0);
            let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(LIMIT_MIN);
            let less = self.limit.saturating_sub(limit).div_ceil(SLOWLY);
            self.limit = limit.max(self.limit.saturating_sub(less));
        }
        (self.since, self.bytes) = (now, 0);
    }

    /// What may be under way, in bytes, if that is limited now.
    pub(super) fn limit(&self, now: Instant) -> Option<u32> {
        let limited = now < self.until && self.limit > 0;
        limited.then(|| u32::try_from(self.limit).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    fn at(micros: u64) -> Instant {
        Instant::ZERO.after(Duration::from_micros(micros))
    }

    /// As many periods of so many bytes in a millisecond, from `start` on; where it ended.
    fn flow(beside: &mut Beside, start: u64, millis: u64, bytes: u64, rtt: u64) -> u64 {
        for step in 1..=millis {
            let rtt = Some(Duration::from_micros(rtt));
            beside.on_bytes(at(start + step * 1000), bytes as usize, rtt);
        }
        start + millis * 1000
    }

    #[test]
    fn there_is_a_limit_from_a_small_message_on_until_a_second_after_the_last() {
        let mut beside = Beside::new();
        let now = flow(&mut beside, 1_000_000, 40, 2000 * KIB, 100);
        assert_eq!(beside.limit(at(now)), None);
        beside.on_small(at(now));
        // What comes in a round trip and 100 us.
        assert_eq!(beside.limit(at(now)), Some(400 * KIB as u32));
        assert_eq!(beside.limit(at(now + 999_999)), Some(400 * KIB as u32));
        assert_eq!(beside.limit(at(now + 1_000_000)), None);
    }

    #[test]
    fn nothing_is_limited_before_a_pace_and_a_round_trip_are_known() {
        let mut beside = Beside::new();
        beside.on_small(at(1));
        beside.on_bytes(at(2), 1000, None);
        beside.on_bytes(at(50_000), 1000, Some(Duration::from_micros(100)));
        assert_eq!(beside.limit(at(50_000)), None);
    }

    #[test]
    fn over_a_long_way_half_as_much_again_as_comes_in_a_round_trip_may_be_under_way() {
        let mut beside = Beside::new();
        let now = flow(&mut beside, 1_000_000, 500, 64 * KIB, 100_000);
        beside.on_small(at(now));
        assert_eq!(beside.limit(at(now)), Some(150 * 64 * KIB as u32));
    }

    #[test]
    fn a_pause_says_nothing_and_a_slower_pace_counts_little_by_little() {
        let mut beside = Beside::new();
        let now = flow(&mut beside, 1_000_000, 40, 4000 * KIB, 100);
        flow(&mut beside, now + 100_000, 1, 10, 100);
        beside.on_small(at(now));
        let before = beside.limit(at(now)).unwrap();
        assert_eq!(u64::from(before), 800 * KIB);
        let now = flow(&mut beside, now + 200_000, 12, 10 * KIB, 100);
        let after = beside.limit(at(now)).unwrap();
        assert!(before - before / 60 < after && after < before, "{after}");
        let now = flow(&mut beside, now, 8000, 10 * KIB, 100);
        beside.on_small(at(now));
        assert_eq!(beside.limit(at(now)).map(u64::from), Some(LIMIT_MIN));
    }
}
