//! Waking one task, with a word about why, at the price of one atomic while it is awake.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Set while the task sleeps: only then does a signal cost a wake-up.
const ASLEEP: u32 = 1 << 31;

/// Signals to one task. Signals of one kind collapse, so nothing here grows.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    state: AtomicU32,
    waker: Mutex<Option<Waker>>,
}

impl Wake {
    /// Leaves `signal` for the task; wakes it if it sleeps.
    pub(crate) fn set(&self, signal: u32) {
        if self.state.fetch_or(signal, Ordering::AcqRel) & ASLEEP == 0 {
            return;
        }
        // Of several callers the one that clears the bit wakes.
        if self.state.fetch_and(!ASLEEP, Ordering::AcqRel) & ASLEEP != 0 {
            if let Some(waker) = &*lock(&self.waker) {
                waker.wake_by_ref();
            }
        }
    }

    /// Takes all signals. The task is awake from here on.
    pub(crate) fn take(&self) -> u32 {
        self.state.swap(0, Ordering::AcqRel) & !ASLEEP
    }

    /// Whether one of these signals is there.
    pub(crate) fn has(&self, signals: u32) -> bool {
        self.state.load(Ordering::Acquire) & signals != 0
    }

    /// Goes to sleep; `false` if a signal is there, and the task has to look again.
    pub(crate) fn sleep(&self, waker: &Waker) -> bool {
        {
            let mut slot = lock(&self.waker);
            if !slot.as_ref().is_some_and(|known| known.will_wake(waker)) {
                *slot = Some(waker.clone());
            }
        }
        let asleep = self.state.compare_exchange(0, ASLEEP, Ordering::AcqRel, Ordering::Acquire);
        // It slept already if something else woke it, and nobody has called `take` since.
        asleep.is_ok() || asleep == Err(ASLEEP)
    }
}

/// Locks. What a panicking holder left is still used: no lock here is held over foreign code, and
/// one broken connection must not spread.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_a_sleeping_task_is_woken_and_only_once() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let wake = Wake::default();
        wake.set(1);
        assert!(!wake.sleep(&waker), "a signal keeps the task awake");
        assert_eq!(wake.take(), 1);
        assert!(wake.sleep(&waker));
        assert!(wake.sleep(&waker), "asleep already");
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        wake.set(2);
        wake.set(4);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!((wake.take(), wake.take()), (6, 0));
    }
}
