//! One timer for a task that has one next deadline.

use std::task::{Context, Poll};

use headwater_core::time::Instant;

use crate::runtime::{Runtime, Timer};

/// One timer that follows a deadline.
///
/// A deadline that moves away, as a keep-alive does with each byte received, does not touch the
/// timer: it fires where it stood and is set again then.
pub(crate) struct Alarm<R: Runtime> {
    runtime: R,
    timer: R::Timer,
    armed: Option<Instant>,
    /// It is to be looked at: its waker was called, or it was set.
    has_news: bool,
}

impl<R: Runtime> Alarm<R> {
    pub(crate) fn new(runtime: R) -> Self {
        let timer = runtime.timer();
        Self { runtime, timer, armed: None, has_news: false }
    }

    /// Whether `deadline` has come at `now`; else the task is woken at that time. `fired` says
    /// that the waker of an earlier call was called: only then may the timer have news.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        deadline: Option<Instant>,
        fired: bool,
    ) -> Poll<()> {
        self.has_news |= fired;
        let Some(deadline) = deadline else { return Poll::Pending };
        if now >= deadline {
            return Poll::Ready(());
        }
        loop {
            if self.armed.is_none_or(|armed| deadline < armed) {
                self.timer.set(deadline);
                self.armed = Some(deadline);
                self.has_news = true;
            }
            if !self.has_news {
                return Poll::Pending;
            }
            if self.timer.poll(cx).is_pending() {
                self.has_news = false;
                return Poll::Pending;
            }
            self.armed = None;
            if self.runtime.now() >= deadline {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::Duration;

    use super::*;
    use crate::fake::Fake;

    #[test]
    fn a_deadline_that_moves_away_is_met_late_and_one_that_moves_near_at_once() {
        let runtime = Fake::current().unwrap();
        let mut alarm = Alarm::new(runtime.clone());
        let mut cx = Context::from_waker(Waker::noop());
        let at = |seconds| Instant::ZERO.after(Duration::from_secs(seconds));
        let mut poll = |deadline: Option<u64>, fired| {
            alarm.poll(&mut cx, runtime.now(), deadline.map(at), fired)
        };
        assert!(poll(None, false).is_pending());
        assert!(poll(Some(60), false).is_pending());
        assert!(poll(Some(20), false).is_pending());
        assert!(poll(Some(40), false).is_pending());
        assert_eq!(runtime.timers(), [at(60), at(20)], "not set for one that is later");
        runtime.advance(Duration::from_secs(20));
        assert!(poll(Some(40), true).is_pending(), "fired where it stood");
        assert_eq!(runtime.timers(), [at(60), at(20), at(40)]);
        runtime.advance(Duration::from_secs(20));
        assert!(poll(Some(40), true).is_ready());
        // It fired for a deadline that had come already: the next one is not forgotten.
        assert!(poll(Some(50), false).is_pending());
        assert_eq!(runtime.timers(), [at(60), at(20), at(40), at(50)]);
    }
}
