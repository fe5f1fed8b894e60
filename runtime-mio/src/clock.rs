//! Core's time on the system's monotonic clock.

use std::time::Duration;

use headwater_core::time::Instant;

/// The one mapping between the system's clock and core's: origin at the start of the loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: std::time::Instant::now() }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::ZERO.after(self.origin.elapsed())
    }

    /// As if so much time had passed.
    #[cfg(test)]
    pub(crate) fn jump_ahead(&mut self, by: Duration) {
        self.origin -= by;
    }

    /// As if so much time had not passed yet.
    #[cfg(test)]
    pub(crate) fn jump_back(&mut self, by: Duration) {
        self.origin += by;
    }

    /// How long it is until `at`; zero if that is past.
    pub(crate) fn until(&self, at: Instant) -> Duration {
        at.since(self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_runs_forwards_from_the_origin() {
        let clock = Clock::start();
        let before = clock.now();
        let later = before.after(Duration::from_secs(60));
        let wait = clock.until(later);
        assert!(wait <= Duration::from_secs(60) && wait > Duration::from_secs(50));
        assert_eq!(clock.until(before), Duration::ZERO);
        assert!(clock.now() >= before);
    }
}
