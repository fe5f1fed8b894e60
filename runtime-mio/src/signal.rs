//! Waking the loop from another thread, at the cost of a system call only when it sleeps.
//!
//! Invariant: a note made before the loop falls asleep keeps it awake, one made while it sleeps
//! wakes it or waits for the next [`Signal::flush`]; so none is lost between the loop's last look
//! and its sleep.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::{Registry, Token, Waker};

/// Says that there is something to do for the loop.
#[derive(Debug)]
pub(crate) struct Signal {
    waker: Waker,
    /// There is news that the loop has not looked at.
    noted: AtomicBool,
    /// The loop is in its poll, or about to be.
    asleep: AtomicBool,
}

impl Signal {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let waker = Waker::new(registry, token)?;
        Ok(Self { waker, noted: AtomicBool::new(false), asleep: AtomicBool::new(false) })
    }

    /// There is news, and it cannot wait.
    pub(crate) fn raise(&self) {
        self.note();
        self.flush();
    }

    /// There is news, for a loop that may sleep in somebody else's poll.
    pub(crate) fn wake(&self) -> io::Result<()> {
        self.note();
        self.waker.wake()
    }

    /// There is news for when the loop is awake next.
    pub(crate) fn note(&self) {
        self.noted.store(true, Ordering::SeqCst);
    }

    /// What was noted cannot wait any longer.
    pub(crate) fn flush(&self) {
        if self.noted.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            // It fails only where the system is out of memory; the loop wakes by its deadlines.
            let _ = self.waker.wake();
        }
    }

    /// Called by the loop before it looks at what may have been noted.
    pub(crate) fn clear(&self) {
        self.noted.store(false, Ordering::SeqCst);
    }

    /// Called by the loop before it sleeps; `false` if there is news, so that it must not.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        if self.noted.load(Ordering::SeqCst) {
            self.asleep.store(false, Ordering::SeqCst);
            return false;
        }
        true
    }

    /// Called by the loop when it is awake again.
    pub(crate) fn wake_up(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use mio::{Events, Poll};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn news_before_the_sleep_prevents_it_and_news_in_it_ends_it() {
        let mut poll = Poll::new().unwrap();
        let signal = Signal::new(poll.registry(), Token(7)).unwrap();
        signal.note();
        assert!(!signal.fall_asleep());
        signal.clear();
        assert!(signal.fall_asleep());
        std::thread::scope(|scope| {
            scope.spawn(|| signal.raise());
            let begin = Instant::now();
            let mut events = Events::with_capacity(4);
            poll.poll(&mut events, Some(LONG)).unwrap();
            assert!(begin.elapsed() < LONG / 2);
            assert_eq!(events.iter().map(|event| event.token()).collect::<Vec<_>>(), [Token(7)]);
        });
    }

    #[test]
    fn a_note_alone_does_not_end_the_sleep_and_a_flush_does() {
        let mut poll = Poll::new().unwrap();
        let signal = Signal::new(poll.registry(), Token(7)).unwrap();
        let mut events = Events::with_capacity(4);
        assert!(signal.fall_asleep());
        signal.note();
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty());
        signal.flush();
        poll.poll(&mut events, Some(LONG)).unwrap();
        assert!(!events.is_empty());
        // Awake already: no further system call.
        signal.wake_up();
        signal.raise();
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty());
    }
}
