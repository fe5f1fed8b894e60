//! How much may be on its way to this side while small messages come beside large ones.
//!
//! What the outer window lets the peer send before this side has read it stands in the sockets,
//! and every small message waits behind it. While only large ones come that does no harm, and
//! the window may be as large as it has grown. Once small ones come between them it is limited to
//! what keeps the peer busy: what comes in a round trip and [`SLACK`], or in one and a half.
//!
//! States: alone, and beside, until [`HOLD`] has passed since the last small message. In both the
//! pace of the peer is measured, over two round trips and at least [`PERIOD`]. Alone it says what
//! there is to be had. Beside, a pace of less than three eighths of that says that the limit is too
//! low, because the way has become longer than it was: then the limit rises.
//!
//! Invariants: there is no limit before a pace is known, nor while alone; a limit is at least
//! [`LIMIT_MIN`]. What counts is which bytes came when, not how they were cut.

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

/// No limit is less, in bytes; and where less comes in a period, there is no bulk to be measured.
const LIMIT_MIN: u64 = 384 * 1024;

/// A slower pace counts for a part of this.
const SLOWLY: u64 = 64;

/// Whether small messages come beside large ones, and the pace of what comes.
#[derive(Debug)]
pub(super) struct Beside {
    until: Instant,
    since: Instant,
    bytes: u64,
    /// The period follows a pause, and begins with what gathered in it.
    is_first: bool,
    /// Bytes in a second, where nothing is limited; 0 before that is known.
    pace: u64,
    limit: u64,
}

impl Beside {
    pub(super) const fn new() -> Self {
        Self {
            until: Instant::ZERO,
            since: Instant::ZERO,
            bytes: 0,
            is_first: true,
            pace: 0,
            limit: 0,
        }
    }

    /// A small message came while a large one was under way.
    pub(super) fn on_small(&mut self, now: Instant) {
        self.until = now.after(HOLD);
    }

    /// So many bytes came.
    pub(super) fn on_bytes(&mut self, now: Instant, len: usize, rtt: Option<Duration>) {
        let Some(rtt) = rtt else { return };
        let (period, took) = (rtt.saturating_mul(2).max(PERIOD), now.since(self.since));
        if took >= period {
            let was_limited = self.limit(self.since).is_some();
            // A peer may pause because it waits for us.
            let is_flow = was_limited || took < period.saturating_mul(4);
            let is_bulk = self.bytes >= LIMIT_MIN && is_flow;
            if is_bulk && !self.is_first {
                self.measured(per_second(self.bytes, took), was_limited, rtt);
            }
            self.is_first = !is_bulk;
            (self.since, self.bytes) = (now, 0);
        }
        self.bytes = self.bytes.saturating_add(len as u64);
    }

    /// The pace in the period that ends.
    fn measured(&mut self, pace: u64, was_limited: bool, rtt: Duration) {
        if pace > self.pace {
            self.pace = pace;
        } else if !was_limited {
            let less = self.pace.saturating_sub(pace).div_ceil(SLOWLY);
            self.pace = self.pace.saturating_sub(less);
        }
        let ahead = rtt.saturating_add(SLACK.max(rtt.checked_div(2).unwrap_or(rtt)));
        let least = in_time(self.pace, ahead).max(LIMIT_MIN);
        let more = self.limit.saturating_sub(least);
        self.limit = if !was_limited {
            least
        } else if pace < self.pace.saturating_mul(3).div_ceil(8) {
            self.limit.saturating_add(self.limit.div_ceil(4)).max(least)
        } else if pace > self.pace.div_ceil(2) {
            least.saturating_add(more.saturating_sub(more.div_ceil(16)))
        } else {
            self.limit.max(least)
        };
    }

    /// What may be under way, in bytes, if that is limited now.
    pub(super) fn limit(&self, now: Instant) -> Option<u32> {
        let limited = now < self.until && self.limit > 0;
        limited.then(|| u32::try_from(self.limit).unwrap_or(u32::MAX))
    }
}

/// The pace of so many bytes in such a time.
fn per_second(bytes: u64, took: Duration) -> u64 {
    let pace = u128::from(bytes).saturating_mul(1_000_000_000);
    u64::try_from(pace.checked_div(took.as_nanos()).unwrap_or(0)).unwrap_or(u64::MAX)
}

/// What comes in such a time at such a pace, in bytes.
fn in_time(pace: u64, time: Duration) -> u64 {
    let bytes = u128::from(pace).saturating_mul(time.as_nanos()).checked_div(1_000_000_000);
    u64::try_from(bytes.unwrap_or(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(micros: u64) -> Instant {
        Instant::ZERO.after(Duration::from_micros(micros))
    }

    /// So many bytes in each of so many milliseconds from `start` on; where it ended.
    fn flow(beside: &mut Beside, start: u64, millis: u64, bytes: u64, rtt: u64) -> u64 {
        for step in 1..=millis {
            let rtt = Some(Duration::from_micros(rtt));
            beside.on_bytes(at(start + step * 1000), bytes as usize, rtt);
        }
        start + millis * 1000
    }

    fn limit(beside: &Beside, now: u64) -> u64 {
        beside.limit(at(now)).expect("limited").into()
    }

    #[test]
    fn there_is_a_limit_from_a_small_message_on_until_a_second_after_the_last() {
        let mut beside = Beside::new();
        let now = flow(&mut beside, 1_000_000, 40, 2 * MIB, 100);
        assert_eq!(beside.limit(at(now)), None);
        beside.on_small(at(now));
        // What comes in a round trip and 100 us.
        assert_eq!(limit(&beside, now) / 10, 2 * MIB / 50);
        assert!(beside.limit(at(now + 999_999)).is_some());
        assert_eq!(beside.limit(at(now + 1_000_000)), None);
    }

    #[test]
    fn nothing_is_limited_before_a_pace_and_a_round_trip_are_known() {
        let mut beside = Beside::new();
        beside.on_small(at(1));
        beside.on_bytes(at(2), 1000, None);
        flow(&mut beside, 0, 40, 1000, 100);
        assert_eq!(beside.limit(at(40_000)), None);
        flow(&mut beside, 40_000, 40, MIB, 100);
        assert!(beside.limit(at(80_000)).is_some());
    }

    #[test]
    fn over_a_long_way_half_as_much_again_as_comes_in_a_round_trip_may_be_under_way() {
        let mut beside = Beside::new();
        let now = flow(&mut beside, 1_000_000, 700, MIB / 16, 100_000);
        beside.on_small(at(now));
        assert_eq!(limit(&beside, now), 150 * MIB / 16);
    }

    #[test]
    fn small_messages_alone_and_what_gathered_in_a_pause_say_nothing() {
        let mut beside = Beside::new();
        let now = flow(&mut beside, 1_000_000, 40, 4 * MIB, 100);
        let pace = beside.pace;
        let now = flow(&mut beside, now, 1000, 10_000, 100);
        assert_eq!(beside.pace, pace);
        // Ten times as much at once, and then on as before.
        beside.on_bytes(at(now + 200_000), (400 * MIB) as usize, Some(Duration::from_micros(100)));
        flow(&mut beside, now + 200_000, 40, 4 * MIB, 100);
        assert_eq!(beside.pace, pace);
    }

    #[test]
    fn how_bytes_are_cut_changes_nothing() {
        let run = |piece: u64| {
            let mut beside = Beside::new();
            for step in 1..=60 {
                let (now, mut left) = (at(step * 1000), MIB + step * 1000);
                while left > 0 {
                    let len = left.min(piece);
                    beside.on_bytes(now, len as usize, Some(Duration::from_micros(100)));
                    left -= len;
                }
            }
            beside.on_small(at(60_000));
            limit(&beside, 60_000)
        };
        assert_eq!(run(u64::MAX), run(7777));
    }

    /// A peer that has as much under way as it may, on a way that takes `rtt` microseconds: its pace
    /// in bytes a millisecond at the end, and the limit.
    fn limited(beside: &mut Beside, start: u64, rtt: u64, measured: u64) -> (u64, u64) {
        let (mut now, mut pace) = (start, 0);
        for _ in 0..20_000 {
            beside.on_small(at(now));
            pace = limit(beside, now).min(8 * MIB) * 1000 / rtt;
            now = flow(beside, now, 1, pace.min(2 * MIB), measured);
        }
        (pace.min(2 * MIB), limit(beside, now))
    }

    #[test]
    fn a_way_that_became_longer_costs_no_more_than_a_part_of_the_pace() {
        for (measured, longer) in [(100, 2000), (100, 400), (1000, 3000)] {
            let mut beside = Beside::new();
            let now = flow(&mut beside, 1_000_000, 100, 2 * MIB, measured);
            let (pace, _) = limited(&mut beside, now, longer, measured);
            assert!(pace > MIB * 11 / 16, "{measured} {longer}: {pace} in a millisecond");
        }
    }

    #[test]
    fn a_peer_that_pauses_because_it_may_not_send_is_let_send_more() {
        let mut beside = Beside::new();
        let mut now = flow(&mut beside, 1_000_000, 100, 2 * MIB, 100);
        // Every 80 ms as much as it may.
        for _ in 0..100 {
            beside.on_small(at(now));
            let burst = limit(&beside, now) as usize;
            beside.on_bytes(at(now), burst, Some(Duration::from_micros(100)));
            now += 80_000;
        }
        assert!(limit(&beside, now) > 32 * MIB);
    }

    #[test]
    fn a_limit_that_suffices_stays_low() {
        let mut beside = Beside::new();
        let now = flow(&mut beside, 1_000_000, 100, 2 * MIB, 100);
        let (pace, limit) = limited(&mut beside, now, 240, 100);
        assert!(pace > MIB && limit < MIB / 2, "{pace} {limit}");
    }
}
