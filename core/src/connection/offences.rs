//! How much a peer may break before its connection is closed.

use core::time::Duration;

use crate::time::Instant;

/// A budget that is spent by offences and grows back by one every second.
#[derive(Debug)]
pub(super) struct Offences {
    max: u32,
    left: u32,
    since: Instant,
}

const FORGIVEN_EVERY: Duration = Duration::from_secs(1);

impl Offences {
    pub(super) const fn new(max: u32, now: Instant) -> Self {
        Self { max, left: max, since: now }
    }

    /// Counts one offence; false when the budget is spent.
    pub(super) fn spend(&mut self, now: Instant) -> bool {
        while self.left < self.max && now.since(self.since) >= FORGIVEN_EVERY {
            self.left = self.left.saturating_add(1);
            self.since = self.since.after(FORGIVEN_EVERY);
        }
        if self.left == self.max {
            self.since = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_budget_says_so_and_grows_back_by_the_second() {
        let mut offences = Offences::new(2, Instant::ZERO);
        assert!(offences.spend(Instant::ZERO));
        assert!(offences.spend(Instant::ZERO));
        assert!(!offences.spend(Instant::ZERO));
        let later = Instant::ZERO.after(Duration::from_secs(1));
        assert!(offences.spend(later));
        assert!(!offences.spend(later));
        let much_later = later.after(Duration::from_secs(3600));
        assert!(offences.spend(much_later) && offences.spend(much_later));
        assert!(!offences.spend(much_later));
    }
}
