//! A queue with a bound, whose taker does not wait in it: it has a wake of its own.

use std::collections::VecDeque;
use std::sync::Mutex;

use event_listener::{Event, listener};

use crate::wake::lock;

/// A first-in first-out queue between tasks.
///
/// Bound: `max` items; whoever has one more waits for its turn with the item in hand.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    max: usize,
    room: Event,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    is_closed: bool,
}

/// Nothing is taken from the queue any more.
#[derive(Debug)]
pub(crate) struct Closed;

impl<T> Queue<T> {
    pub(crate) fn new(max: usize) -> Self {
        let state = State { items: VecDeque::new(), is_closed: false };
        Self { state: Mutex::new(state), max, room: Event::new() }
    }

    /// Puts an item in as soon as there is room for it. The taker is not told.
    ///
    /// Cancel-safe: a dropped future has put nothing.
    pub(crate) async fn put(&self, item: T) -> Result<(), Closed> {
        let mut item = Some(item);
        while !self.try_put(&mut item)? {
            listener!(self.room => room);
            // Room may have come before this one listened; from here on none is missed.
            if self.try_put(&mut item)? {
                break;
            }
            room.await;
        }
        Ok(())
    }

    fn try_put(&self, item: &mut Option<T>) -> Result<bool, Closed> {
        let mut state = lock(&self.state);
        if state.is_closed {
            return Err(Closed);
        }
        if state.items.len() >= self.max {
            return Ok(false);
        }
        state.items.extend(item.take());
        Ok(true)
    }

    /// Takes the first item.
    pub(crate) fn take(&self) -> Option<T> {
        let taken = lock(&self.state).items.pop_front()?;
        self.room.notify_additional(1);
        Some(taken)
    }

    /// Takes no more; what waits here is dropped.
    pub(crate) fn close(&self) {
        let items = {
            let mut state = lock(&self.state);
            state.is_closed = true;
            std::mem::take(&mut state.items)
        };
        drop(items);
        self.room.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn whoever_finds_it_full_waits_for_its_turn_or_the_end() {
        let queue = Queue::new(2);
        for item in 1..=2 {
            assert!(matches!(poll(pin!(queue.put(item))), Poll::Ready(Ok(()))));
        }
        let (mut third, mut fourth) = (pin!(queue.put(3)), pin!(queue.put(4)));
        {
            // One that is given up leaves its turn to the next.
            let mut gone = pin!(queue.put(0));
            assert!(poll(gone.as_mut()).is_pending());
            assert!(poll(third.as_mut()).is_pending());
            assert!(poll(fourth.as_mut()).is_pending());
            assert_eq!(queue.take(), Some(1));
        }
        assert!(matches!(poll(third.as_mut()), Poll::Ready(Ok(()))));
        assert!(poll(fourth.as_mut()).is_pending());
        assert_eq!((queue.take(), queue.take()), (Some(2), Some(3)));
        assert!(matches!(poll(fourth.as_mut()), Poll::Ready(Ok(()))));
        assert!(matches!(poll(pin!(queue.put(5))), Poll::Ready(Ok(()))));
        let mut late = pin!(queue.put(6));
        assert!(poll(late.as_mut()).is_pending());
        queue.close();
        assert!(matches!(poll(late), Poll::Ready(Err(Closed))));
        assert_eq!(queue.take(), None);
    }
}
