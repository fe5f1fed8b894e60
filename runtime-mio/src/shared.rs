//! What the loop's thread and the application's threads share.
//!
//! Bounds: a list of marks has one entry for each connection and each borrowed stream; the list
//! of arrivals one for each connection, a few for ended ones, and when the loop ends what core has
//! left; see [`NOTICES_MAX`] for the notifications.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use headwater_core::contract::Notification;
use headwater_core::id::PeerId;
use headwater_core::message::Batch;

use crate::lane::Lane;
use crate::lock;
use crate::queues::Queues;
use crate::routes::Routes;
use crate::signal::Signal;

/// Notifications that wait for the application here; further ones stay in core, where what
/// cancels out collapses.
pub(crate) const NOTICES_MAX: usize = 64;

/// Something that the loop has to look at.
#[derive(Clone, Debug)]
pub(crate) enum Mark {
    Queues(Arc<Queues>),
    Lane(Arc<Lane>),
}

impl Mark {
    pub(crate) fn flag(&self) -> &AtomicBool {
        match self {
            Self::Queues(queues) => &queues.marked,
            Self::Lane(lane) => &lane.marked,
        }
    }
}

/// Received messages for the application.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// There is a batch in the inbox of these queues.
    Inbox(Arc<Queues>),
    /// What was left when the loop ended.
    Rest(Batch),
}

/// A queue between the loop and one reader.
#[derive(Debug)]
pub(crate) struct Feed<T> {
    state: Mutex<FeedState<T>>,
    news: Condvar,
}

#[derive(Debug)]
struct FeedState<T> {
    items: VecDeque<T>,
    /// The reader is gone.
    is_unread: bool,
    /// The loop has ended: nothing is added.
    has_ended: bool,
    /// The loop has held something back.
    holds_back: bool,
}

/// What a look into a [`Feed`] found.
#[derive(Debug)]
pub(crate) enum Fed<T> {
    /// The next one, and whether the loop may go on.
    Item(T, bool),
    /// Nothing until the time was over.
    Nothing,
    /// Nothing, and nothing will follow.
    End,
}

impl<T> Default for Feed<T> {
    fn default() -> Self {
        let items = VecDeque::new();
        let state = FeedState { items, is_unread: false, has_ended: false, holds_back: false };
        Self { state: Mutex::new(state), news: Condvar::new() }
    }
}

impl<T> Feed<T> {
    /// Adds one; who pushes looks at [`Feed::is_full`]. Without a reader it is dropped.
    pub(crate) fn push(&self, item: T) {
        let mut state = lock(&self.state);
        if !state.is_unread {
            state.items.push_back(item);
            drop(state);
            self.news.notify_one();
        }
    }

    /// Whether a further item is to be held back, there being `max` already.
    pub(crate) fn is_full(&self, max: usize) -> bool {
        let mut state = lock(&self.state);
        state.holds_back = state.items.len() >= max && !state.is_unread;
        state.holds_back
    }

    /// Takes the next one, waiting `until` then at most; `None` is without end.
    pub(crate) fn take(&self, until: Option<Instant>) -> Fed<T> {
        let mut state = lock(&self.state);
        loop {
            if let Some(item) = state.items.pop_front() {
                return Fed::Item(item, std::mem::take(&mut state.holds_back));
            }
            if state.has_ended {
                return Fed::End;
            }
            state = match self.wait(state, until) {
                Ok(state) => state,
                Err(_) => return Fed::Nothing,
            };
        }
    }

    /// Takes the next one if it is there.
    pub(crate) fn try_take(&self) -> Fed<T> {
        let mut state = lock(&self.state);
        match state.items.pop_front() {
            Some(item) => Fed::Item(item, std::mem::take(&mut state.holds_back)),
            None if state.has_ended => Fed::End,
            None => Fed::Nothing,
        }
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, FeedState<T>>,
        until: Option<Instant>,
    ) -> Result<MutexGuard<'a, FeedState<T>>, ()> {
        let Some(until) = until else {
            return Ok(self.news.wait(state).unwrap_or_else(PoisonError::into_inner));
        };
        let wait = until.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            return Err(());
        }
        Ok(self.news.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Nobody reads this any more.
    pub(crate) fn leave(&self) {
        lock(&self.state).is_unread = true;
    }

    pub(crate) fn is_unread(&self) -> bool {
        lock(&self.state).is_unread
    }

    /// Nothing will be added.
    pub(crate) fn end(&self) {
        lock(&self.state).has_ended = true;
        self.news.notify_all();
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) local: PeerId,
    pub(crate) signal: Arc<Signal>,
    pub(crate) routes: Routes,
    pub(crate) arrivals: Feed<Arrival>,
    pub(crate) notices: Feed<Notification>,
    marks: Mutex<Vec<Mark>>,
    ended: Mutex<bool>,
    end: Condvar,
}

impl Shared {
    pub(crate) fn new(local: PeerId, signal: Arc<Signal>) -> Self {
        Self {
            local,
            signal,
            routes: Routes::default(),
            arrivals: Feed::default(),
            notices: Feed::default(),
            marks: Mutex::default(),
            ended: Mutex::new(false),
            end: Condvar::new(),
        }
    }

    /// Has the loop look at something, when it is awake next.
    pub(crate) fn mark(&self, mark: Mark) {
        if !mark.flag().swap(true, Ordering::AcqRel) {
            lock(&self.marks).push(mark);
        }
        self.signal.note();
    }

    /// Has the loop look at something now.
    pub(crate) fn mark_urgent(&self, mark: Mark) {
        self.mark(mark);
        self.signal.flush();
    }

    /// Exchanges the marks for an empty list.
    pub(crate) fn take_marks(&self, empty: &mut Vec<Mark>) {
        std::mem::swap(&mut *lock(&self.marks), empty);
    }

    /// The loop has ended; everybody who waits for it is told.
    pub(crate) fn end(&self) {
        self.routes.close();
        self.arrivals.end();
        self.notices.end();
        *lock(&self.ended) = true;
        self.end.notify_all();
    }

    /// Waits for the end of the loop.
    pub(crate) fn await_end(&self) {
        let mut ended = lock(&self.ended);
        while !*ended {
            ended = self.end.wait(ended).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
