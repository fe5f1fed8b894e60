//! When to take what waits in the outbox.
//!
//! A task that has just written finds the first messages of the next batch there while their
//! sender is still at it. Taken at once, nearly each of them would cost a system call, and both
//! would wait for the lock that the other has. So the task lets others have their turn, and comes
//! back until there is enough, or until the outbox grows no more. A task that slept takes what it
//! finds: a message that comes alone waits for nothing.

/// So many bytes are worth a write although more are coming.
const ENOUGH: usize = 32 * 1024;

/// Looks at an outbox that grows.
const LOOKS_MAX: u32 = 256;

/// Looks in a row at an outbox that does not.
const VAIN_MAX: u32 = 4;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// Something was written, and the task has not slept since.
    is_due: bool,
    looks: u32,
    vain: u32,
    /// What was there at the last look.
    bytes: usize,
}

impl Gathering {
    /// Something was written.
    pub(super) fn begin(&mut self) {
        self.is_due = true;
    }

    /// Whether an outbox with so many bytes in it is better left alone for now.
    pub(super) fn goes_on(&mut self, bytes: usize) -> bool {
        if !self.has_time() || bytes >= ENOUGH {
            return false;
        }
        self.vain = if bytes > self.bytes { 0 } else { self.vain + 1 };
        self.bytes = bytes;
        if self.vain >= VAIN_MAX {
            return false;
        }
        self.look_again();
        true
    }

    /// Whether the task may come back for the outbox.
    pub(super) const fn has_time(&self) -> bool {
        self.is_due && self.looks < LOOKS_MAX
    }

    /// The outbox was not there to be taken.
    pub(super) fn look_again(&mut self) {
        self.looks += 1;
    }

    /// Whether the task has to come back for the outbox.
    pub(super) const fn is_under_way(&self) -> bool {
        self.looks > 0
    }

    /// The outbox was taken.
    pub(super) fn end(&mut self) {
        *self = Self { is_due: self.is_due, ..Self::default() };
    }

    /// The task sleeps, or is to take what is there now.
    pub(super) fn stop(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_alone_waits_for_nothing() {
        let mut gathering = Gathering::default();
        assert!(!gathering.goes_on(100) && !gathering.is_under_way());
        gathering.begin();
        gathering.stop();
        assert!(!gathering.goes_on(100) && !gathering.has_time());
    }

    #[test]
    fn a_growing_outbox_is_left_alone_until_it_has_enough_or_grows_no_more() {
        let mut gathering = Gathering::default();
        gathering.begin();
        assert!((1..=100).all(|look| gathering.goes_on(look * 300)));
        assert!(gathering.is_under_way());
        assert!(!gathering.goes_on(ENOUGH));
        gathering.end();
        assert!(!gathering.is_under_way());
        let looks = (0..100).take_while(|_| gathering.goes_on(300)).count();
        assert_eq!(looks, VAIN_MAX as usize);
    }

    #[test]
    fn a_trickle_does_not_keep_it_waiting_for_ever() {
        let mut gathering = Gathering::default();
        gathering.begin();
        let looks = (1..).take_while(|bytes| gathering.goes_on(*bytes)).count();
        assert_eq!(looks, LOOKS_MAX as usize);
        assert!(!gathering.has_time());
    }
}
