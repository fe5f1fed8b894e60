//! What the application's threads and the loop share about one connection.
//!
//! A sender encodes into the outbox under a short lock and tells the loop only when that turned
//! non-empty; the loop swaps the whole outbox for an empty one. Received messages are published a
//! batch at a time; who takes it pops the messages on its own and returns their credit in one go.
//!
//! Bounds: the outbox holds half more than `outbox_max` and two messages, the inbox one batch; the
//! credit has an entry for each run of messages of a stream in the batches taken.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use headwater_core::id::{ConnectionId, ProtocolId};
use headwater_core::message::{Batch, Consumed};
use headwater_core::pool::{Load, LoadSource, Outbox, PushError, Sizes, WasEmpty};

use crate::lock;

/// The queues of one connection.
#[derive(Debug)]
pub(crate) struct Queues {
    pub(crate) connection: ConnectionId,
    /// They stand in the list of those that the loop has to look at.
    pub(crate) marked: AtomicBool,
    outbox: Sending,
    queued_bytes: AtomicUsize,
    idle_streams: AtomicUsize,
    inbox: Mutex<Inbox>,
    credit: Mutex<Consumed>,
}

#[derive(Debug, Default)]
struct Inbox {
    batch: Batch,
    /// `batch` has not been taken.
    is_full: bool,
    /// More waits in the connection.
    has_more: bool,
}

impl Queues {
    pub(crate) fn new(connection: ConnectionId, outbox: Outbox) -> Self {
        Self {
            connection,
            marked: AtomicBool::new(false),
            outbox: Sending::new(outbox),
            queued_bytes: AtomicUsize::new(0),
            idle_streams: AtomicUsize::new(0),
            inbox: Mutex::default(),
            credit: Mutex::default(),
        }
    }

    /// Where messages to send are put.
    pub(crate) const fn outbox(&self) -> &Sending {
        &self.outbox
    }

    /// Says how much the connection has to do, for whoever chooses between several.
    pub(crate) fn publish_load(&self, load: Load) {
        self.queued_bytes.store(load.queued_bytes, Ordering::Relaxed);
        self.idle_streams.store(load.idle_streams, Ordering::Relaxed);
    }

    /// Publishes a batch if `fill` makes one. Gives false, and remembers it, if the last one was
    /// not taken yet.
    pub(crate) fn publish(&self, fill: impl FnOnce(&mut Batch) -> bool) -> bool {
        let mut inbox = lock(&self.inbox);
        inbox.has_more = inbox.is_full;
        if inbox.is_full {
            return false;
        }
        inbox.is_full = fill(&mut inbox.batch);
        true
    }

    /// Exchanges `batch`, from which everything was popped, for the published one. Says whether
    /// the connection has to be asked for more.
    pub(crate) fn take(&self, batch: &mut Batch) -> bool {
        let mut inbox = lock(&self.inbox);
        std::mem::swap(&mut inbox.batch, batch);
        inbox.is_full = false;
        std::mem::take(&mut inbox.has_more)
    }

    /// Returns credit, to be settled by the loop.
    pub(crate) fn add_credit(&self, consumed: &mut Consumed) {
        lock(&self.credit).merge(consumed);
    }

    /// Hands over the credit that was returned.
    pub(crate) fn settle(&self, take: impl FnOnce(&mut Consumed)) {
        let mut credit = lock(&self.credit);
        if !credit.is_empty() {
            take(&mut credit);
        }
    }
}

impl LoadSource for Queues {
    fn load(&self) -> Load {
        let queued = self.queued_bytes.load(Ordering::Relaxed);
        let waiting = self.outbox.bytes.load(Ordering::Relaxed);
        let idle_streams = self.idle_streams.load(Ordering::Relaxed);
        Load { queued_bytes: queued.saturating_add(waiting), idle_streams, ..Load::default() }
    }
}

/// How long a caller waits. It looks at the clock only when it has to wait, because that costs as
/// much as queueing a small message.
#[derive(Debug)]
pub(crate) struct Patience {
    timeout: Duration,
    until: Option<Instant>,
}

impl Patience {
    pub(crate) const fn new(timeout: Duration) -> Self {
        Self { timeout, until: None }
    }

    /// What is left of it, counted from the first time that this is asked. A timeout beyond the
    /// end of time stays as long as it is.
    fn left(&mut self) -> Duration {
        let now = Instant::now();
        if self.until.is_none() {
            self.until = now.checked_add(self.timeout);
        }
        self.until.map_or(self.timeout, |until| until.saturating_duration_since(now))
    }
}

/// An outbox that threads put messages into and the loop takes them from.
#[derive(Debug)]
pub(crate) struct Sending {
    state: Mutex<State>,
    /// Room for small messages, and for large ones.
    rooms: [Condvar; 2],
    bytes: AtomicUsize,
}

#[derive(Debug)]
struct State {
    outbox: Outbox,
    /// Threads that wait for each kind of room.
    waiting: [usize; 2],
}

impl Sending {
    pub(crate) fn new(outbox: Outbox) -> Self {
        let state = Mutex::new(State { outbox, waiting: [0; 2] });
        Self { state, rooms: Default::default(), bytes: AtomicUsize::new(0) }
    }

    /// Lets `push` put messages in. Says whether the outbox has turned non-empty by it, or has
    /// messages of a size that it had not, so that the loop has to be told.
    pub(crate) fn push<T>(&self, push: impl FnOnce(&mut Outbox) -> T) -> (T, WasEmpty) {
        let mut state = lock(&self.state);
        let before = state.outbox.sizes();
        let result = push(&mut state.outbox);
        self.bytes.store(state.outbox.bytes(), Ordering::Relaxed);
        (result, WasEmpty(state.outbox.sizes() != before))
    }

    /// Looks at what the connection has not taken yet.
    pub(crate) fn look(&self, look: impl FnOnce(&Outbox)) {
        look(&lock(&self.state).outbox);
    }

    /// Puts a message in as soon as there is room for it, if the patience lasts.
    pub(crate) fn push_wait(
        &self,
        protocol: &ProtocolId,
        payload: &mut Bytes,
        patience: &mut Patience,
    ) -> Result<WasEmpty, PushError<()>> {
        let mut state = lock(&self.state);
        loop {
            let result = state.outbox.push_from(protocol, payload);
            if result != Err(PushError::Full(())) {
                self.bytes.store(state.outbox.bytes(), Ordering::Relaxed);
                return result;
            }
            let wait = patience.left();
            if wait.is_zero() {
                return result;
            }
            let at = usize::from(state.outbox.size_of(payload.len()).large);
            state.waiting[at] += 1;
            let result = self.rooms[at].wait_timeout(state, wait);
            state = result.unwrap_or_else(PoisonError::into_inner).0;
            state.waiting[at] -= 1;
        }
    }

    /// Lends the outbox to the loop, which takes what is in it. Gives what is left.
    ///
    /// An empty one is not lent: a lane would answer that it still wants messages, for ever.
    pub(crate) fn take(&self, take: impl FnOnce(&mut Outbox)) -> Sizes {
        let mut state = lock(&self.state);
        if state.outbox.is_empty() {
            return Sizes::NONE;
        }
        take(&mut state.outbox);
        self.bytes.store(state.outbox.bytes(), Ordering::Relaxed);
        let full = state.outbox.full();
        for (at, is_full) in [full.small, full.large].into_iter().enumerate() {
            if !is_full && state.waiting[at] > 0 {
                self.rooms[at].notify_all();
            }
        }
        state.outbox.sizes()
    }

    /// Closes the outbox for good; what is in it is for `take`.
    pub(crate) fn close(&self, take: impl FnOnce(&mut Outbox)) {
        let mut state = lock(&self.state);
        state.outbox.close();
        take(&mut state.outbox);
        self.rooms.iter().for_each(Condvar::notify_all);
    }
}
