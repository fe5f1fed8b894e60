//! Credit of one stream: what the peer may send, and what this side may send (spec 2.2).
//!
//! Invariants of a [`RecvWindow`]:
//! 1. `credit + unread <= window`; what is missing, as far as the limit goes, is owed to the peer.
//! 2. `window` never shrinks and never exceeds the config's `window_max`.
//! 3. After a release that was not withheld, less than half a window is owed, or of a limited one
//!    less than a sixth.
//!
//! A release is worked off in steps that end exactly where enough is owed, so the credit granted
//! depends on the number of bytes released and on time, not on how they were grouped.

use core::time::Duration;

use super::INITIAL_WINDOW;
use crate::time::Instant;

/// What decides whether a window grows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tune {
    /// The round trip time, once known.
    pub(super) rtt: Option<Duration>,
    pub(super) window_max: u32,
    /// How much the windows of the session may still grow, in bytes.
    pub(super) room: u64,
}

/// How much a window grew, and how much further it would have grown if there had been room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Growth {
    pub(super) bytes: u64,
    pub(super) lack: u64,
}

/// A window grows while the peer uses up half of it in less than so many round trips. What it has
/// beyond that only waits to be read, and whatever comes behind it waits as long.
const ROUND_TRIPS: u32 = 4;

/// So many grants of a window that is [large](LARGE) are looked at together: what gathered while
/// this side was busy comes faster than the peer sends.
const MEASURED: u32 = 4;

/// A window of so many bytes lets a sender on a fast link work while the reader does.
const LARGE: u32 = 4 * INITIAL_WINDOW;

/// The credit that the peer has on a stream.
#[derive(Debug)]
pub(super) struct RecvWindow {
    window: u32,
    /// What the peer may still send.
    credit: u32,
    /// Received and not yet released.
    unread: u32,
    /// Granted, and not yet framed in a window update.
    pending: u32,
    /// Since when the peer's speed is measured, [`Instant::MAX`] before the first grant; and the
    /// grants since then.
    since: Instant,
    grants: u32,
    /// Credit and what is unread are granted up to this, even if the window is larger.
    limit: u32,
}

impl RecvWindow {
    pub(super) const fn new() -> Self {
        Self {
            window: INITIAL_WINDOW,
            credit: INITIAL_WINDOW,
            unread: 0,
            pending: 0,
            since: Instant::MAX,
            grants: 0,
            limit: u32::MAX,
        }
    }

    /// From the next release on no more than `limit` is granted at a time; at least the initial
    /// window, because that much the peer has.
    pub(super) fn set_limit(&mut self, limit: u32) {
        self.limit = limit.max(INITIAL_WINDOW);
    }

    pub(super) const fn credit(&self) -> u32 {
        self.credit
    }

    pub(super) const fn window(&self) -> u32 {
        self.window
    }

    pub(super) const fn unread(&self) -> u32 {
        self.unread
    }

    /// How far the window grew above its initial size.
    pub(super) fn grown(&self) -> u64 {
        u64::from(self.window.saturating_sub(INITIAL_WINDOW))
    }

    pub(super) const fn has_pending(&self) -> bool {
        self.pending > 0
    }

    /// The credit to put into a window update; it counts as told from now on.
    pub(super) const fn take_pending(&mut self) -> u32 {
        core::mem::replace(&mut self.pending, 0)
    }

    /// Spends the credit of a frame of `length` bytes; false if it was not enough.
    pub(super) fn receive(&mut self, length: u32) -> bool {
        let Some(credit) = self.credit.checked_sub(length) else { return false };
        self.credit = credit;
        self.unread = self.unread.saturating_add(length);
        true
    }

    /// Takes note that the application consumed `bytes`, without granting anything.
    pub(super) fn withhold(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.unread = self.unread.saturating_sub(bytes);
    }

    /// Takes note that the application consumed `bytes`, at most what is unread, and grants what
    /// is due. Gives how much the window grew.
    pub(super) fn release(&mut self, bytes: usize, now: Instant, tune: Tune) -> Growth {
        let mut left = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.unread);
        let mut growth = Growth::default();
        loop {
            let due = self.threshold().saturating_add(self.excess()).saturating_sub(self.owed());
            let step = left.min(due);
            self.unread = self.unread.saturating_sub(step);
            left = left.saturating_sub(step);
            if self.owed() < self.threshold() {
                return growth;
            }
            self.grant(now, tune, &mut growth);
        }
    }

    /// What the peer may be granted without the window growing.
    fn owed(&self) -> u32 {
        self.window.min(self.limit).saturating_sub(self.credit).saturating_sub(self.unread)
    }

    /// How much more than the limit the peer has, from before.
    fn excess(&self) -> u32 {
        self.credit.saturating_add(self.unread).saturating_sub(self.window.min(self.limit))
    }

    /// Half the window, rounded up: an update below this is not worth a frame. A limited window is
    /// just large enough, so it is filled up sooner.
    const fn threshold(&self) -> u32 {
        if self.limit < self.window { self.limit.div_ceil(6) } else { self.window.div_ceil(2) }
    }

    /// Grants all that is owed, and more if the window is too small for the peer's speed.
    fn grant(&mut self, now: Instant, tune: Tune, growth: &mut Growth) {
        let mut owed = self.owed();
        if self.limit > self.window && self.is_too_small(now, tune.rtt) {
            let target = self.window.saturating_mul(2).min(tune.window_max).min(self.limit);
            let room = u32::try_from(tune.room).unwrap_or(u32::MAX);
            let wanted = target.saturating_sub(self.window);
            let more = wanted.min(room);
            self.window = self.window.saturating_add(more);
            owed = owed.saturating_add(more);
            growth.bytes = u64::from(more);
            growth.lack = u64::from(wanted.saturating_sub(more));
        }
        self.credit = self.credit.saturating_add(owed);
        self.pending = self.pending.saturating_add(owed);
    }

    /// Counts a grant; whether the last ones came so fast that the window has to grow.
    fn is_too_small(&mut self, now: Instant, rtt: Option<Duration>) -> bool {
        let since = self.since;
        if since == Instant::MAX {
            self.since = now;
            return false;
        }
        self.grants = self.grants.saturating_add(1);
        if self.window >= LARGE && self.grants < MEASURED {
            return false;
        }
        let enough = rtt.map(|rtt| rtt.saturating_mul(self.grants.saturating_mul(ROUND_TRIPS)));
        (self.since, self.grants) = (now, 0);
        // Several grants at one instant are one burst of the reader, which says nothing of speed;
        // so a window grows at most once in a release, and `room` is not used up twice.
        since < now && enough.is_some_and(|enough| now.since(since) < enough)
    }
}

/// The credit that this side has on a stream.
#[derive(Debug)]
pub(super) struct SendCredit(u32);

impl SendCredit {
    pub(super) const fn new() -> Self {
        Self(INITIAL_WINDOW)
    }

    pub(super) const fn left(&self) -> u32 {
        self.0
    }

    /// Takes credit from the peer; false if the sum does not fit 32 bits.
    pub(super) const fn add(&mut self, delta: u32) -> bool {
        match self.0.checked_add(delta) {
            Some(sum) => {
                self.0 = sum;
                true
            }
            None => false,
        }
    }

    pub(super) fn spend(&mut self, bytes: usize) {
        self.0 = self.0.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: usize = INITIAL_WINDOW as usize / 2;
    const NO_TUNE: Tune = Tune { rtt: None, window_max: INITIAL_WINDOW, room: 0 };
    const TUNE: Tune =
        Tune { rtt: Some(Duration::from_nanos(10)), window_max: 4 * INITIAL_WINDOW, room: 1 << 30 };

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn credit_returns_at_half_a_window() {
        let mut window = RecvWindow::new();
        assert!(window.receive(INITIAL_WINDOW));
        assert!(!window.receive(1));
        window.release(HALF - 1, at(0), NO_TUNE);
        assert!(!window.has_pending());
        window.release(1, at(0), NO_TUNE);
        assert_eq!(window.take_pending(), INITIAL_WINDOW / 2);
        assert_eq!((window.credit(), window.unread()), (INITIAL_WINDOW / 2, INITIAL_WINDOW / 2));
    }

    #[test]
    fn more_than_was_received_is_never_released() {
        let mut window = RecvWindow::new();
        assert!(window.receive(10));
        window.release(usize::MAX, at(0), TUNE);
        assert_eq!((window.unread(), window.credit()), (0, INITIAL_WINDOW - 10));
    }

    #[test]
    fn a_fast_reader_doubles_the_window_up_to_its_maximum() {
        let mut window = RecvWindow::new();
        let mut grown = 0;
        for (step, expected) in [1, 2, 4, 4].into_iter().enumerate() {
            let bytes = window.credit();
            assert!(window.receive(bytes));
            grown += window.release(bytes as usize, at(39 * step as u64), TUNE).bytes;
            assert_eq!(window.window(), expected * INITIAL_WINDOW);
            assert_eq!(window.grown(), grown);
        }
    }

    #[test]
    fn no_growth_at_four_round_trips_nor_within_one_instant_nor_without_rtt() {
        for (wait, tune) in [(40, TUNE), (0, TUNE), (39, Tune { rtt: None, ..TUNE })] {
            let mut window = RecvWindow::new();
            for step in 0..4 {
                assert!(window.receive(INITIAL_WINDOW / 2));
                assert_eq!(window.release(HALF, at(wait * step), tune), Growth::default());
            }
        }
    }

    #[test]
    fn what_gathered_while_the_reader_was_busy_is_no_speed() {
        for (stop, expected) in [(0, 8), (200, 4)] {
            let tune = Tune { window_max: 8 * INITIAL_WINDOW, ..TUNE };
            let mut window = RecvWindow { window: 4 * INITIAL_WINDOW, ..RecvWindow::new() };
            window.credit = window.window;
            let half = window.window / 2;
            for now in [0, 1, stop + 2, stop + 3, stop + 4].map(at) {
                assert!(window.receive(half));
                window.release(half as usize, now, tune);
            }
            assert_eq!(window.window(), expected * INITIAL_WINDOW);
        }
    }

    #[test]
    fn growth_keeps_to_the_room_of_the_session() {
        let mut window = RecvWindow::new();
        for step in 0..3 {
            assert!(window.receive(INITIAL_WINDOW / 2));
            window.release(HALF, at(step), Tune { room: 100, ..TUNE });
        }
        assert!(window.grown() <= 200);
    }

    #[test]
    fn credit_does_not_depend_on_how_releases_are_grouped() {
        let run = |piece: usize| {
            let mut window = RecvWindow::new();
            let mut told = 0_u64;
            for step in 0..12 {
                window.set_limit(if step < 6 { u32::MAX } else { 400_000 });
                let bytes = window.credit().min(200_000);
                assert!(window.receive(bytes));
                let mut left = bytes as usize;
                while left > 0 {
                    let now = left.min(piece);
                    window.release(now, at(step), TUNE);
                    left -= now;
                }
                told += u64::from(window.take_pending());
            }
            (told, window.credit(), window.window())
        };
        assert_eq!(run(1), run(usize::MAX));
        assert_eq!(run(777), run(131_073));
    }

    #[test]
    fn a_limit_holds_credit_back_until_the_peer_has_used_up_what_it_had() {
        let mut window = RecvWindow { window: 1 << 20, credit: 1 << 20, ..RecvWindow::new() };
        window.set_limit(600_000);
        let use_up = |window: &mut RecvWindow, bytes: u32| {
            assert!(window.receive(bytes));
            window.release(bytes as usize, at(1), TUNE);
            window.take_pending()
        };
        // A sixth below the limit, 500 000, is where the first is due.
        assert_eq!(use_up(&mut window, (1 << 20) - 500_001), 0);
        assert_eq!(use_up(&mut window, 1), 100_000);
        assert_eq!(use_up(&mut window, 99_999), 0);
        assert_eq!(use_up(&mut window, 1), 100_000);
        assert_eq!((window.window(), window.credit()), (1 << 20, 600_000));
        window.set_limit(u32::MAX);
        assert_eq!(use_up(&mut window, 100_000), 1 << 19);
        window.set_limit(0);
        assert_eq!(window.limit, INITIAL_WINDOW);
    }

    #[test]
    fn a_window_below_its_limit_is_as_any_and_one_above_does_not_grow() {
        let grown = |limit| {
            let mut window = RecvWindow::new();
            window.set_limit(limit);
            for step in 0..6 {
                let bytes = window.credit();
                assert!(window.receive(bytes));
                window.release(bytes as usize, at(step), TUNE);
            }
            window.window()
        };
        assert_eq!(grown(u32::MAX), 4 * INITIAL_WINDOW);
        assert_eq!(grown(INITIAL_WINDOW), INITIAL_WINDOW);
        assert_eq!(grown(INITIAL_WINDOW + 1), INITIAL_WINDOW + 1);
    }

    #[test]
    fn withheld_bytes_are_granted_by_the_next_release() {
        let mut window = RecvWindow::new();
        assert!(window.receive(INITIAL_WINDOW));
        window.withhold(INITIAL_WINDOW as usize - 7);
        assert!(!window.has_pending());
        window.release(0, at(0), NO_TUNE);
        assert_eq!(window.take_pending(), INITIAL_WINDOW - 7);
    }

    #[test]
    fn credit_to_send_does_not_wrap() {
        let mut credit = SendCredit::new();
        assert!(credit.add(u32::MAX - INITIAL_WINDOW));
        assert!(!credit.add(1));
        assert_eq!(credit.left(), u32::MAX);
        credit.spend(usize::MAX);
        assert_eq!(credit.left(), 0);
    }
}
