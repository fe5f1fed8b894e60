//! Core's time on tokio's clock, and one timer for a task that has one next deadline.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use headwater_core::time::Instant;

/// The one mapping between tokio's clock and core's: origin at the start of the node.
///
/// tokio's clock, not the system's: where a test pauses it, core pauses as well.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: tokio::time::Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: tokio::time::Instant::now() }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::ZERO.after(self.origin.elapsed())
    }

    fn at(&self, instant: Instant) -> tokio::time::Instant {
        let far = Duration::from_secs(24 * 3600);
        // A timer that far away fires early, and is then set again.
        let wait = instant.since(self.now()).min(far);
        tokio::time::Instant::now() + wait
    }
}

/// One timer that follows a deadline.
///
/// A deadline that moves away, as a keep-alive does with each byte received, does not touch the
/// timer: it fires where it stood and is set again then.
#[derive(Debug)]
pub(crate) struct Timer {
    clock: Clock,
    sleep: Pin<Box<tokio::time::Sleep>>,
    armed: Option<Instant>,
}

impl Timer {
    pub(crate) fn new(clock: Clock) -> Self {
        let sleep = Box::pin(tokio::time::sleep_until(clock.at(Instant::ZERO)));
        Self { clock, sleep, armed: None }
    }

    /// Whether `deadline` has come; else the task is woken at that time.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline else { return Poll::Pending };
        if self.clock.now() >= deadline {
            return Poll::Ready(());
        }
        loop {
            if self.armed.is_none_or(|armed| deadline < armed) {
                self.sleep.as_mut().reset(self.clock.at(deadline));
                self.armed = Some(deadline);
            }
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.armed = None;
            if self.clock.now() >= deadline {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_deadline_that_moves_away_is_met_late_and_one_that_moves_near_at_once() {
        let clock = Clock::start();
        let mut timer = Timer::new(clock);
        let soon = clock.now().after(Duration::from_millis(20));
        let far = soon.after(Duration::from_secs(60));
        std::future::poll_fn(|cx| {
            assert!(timer.poll(cx, Some(far)).is_pending());
            timer.poll(cx, Some(soon))
        })
        .await;
        assert!(clock.now() >= soon && clock.now() < far);

        let waker = std::task::Waker::noop();
        let mut cx = Context::from_waker(waker);
        // However slow the machine is, one of them is not over when it is looked at.
        while timer.poll(&mut cx, Some(clock.now().after(Duration::from_millis(5)))).is_ready() {}
        let second = far;
        tokio::time::sleep(Duration::from_millis(40)).await;
        assert!(timer.poll(&mut cx, Some(second)).is_pending(), "fired where it stood");
        assert_eq!(timer.armed, Some(second));
        assert!(timer.poll(&mut cx, None).is_pending());
    }
}
