//! Received messages between a connection's task and the application's.
//!
//! A connection hands over whole batches, and gets each one back, empty and with the credit of
//! what was taken, when the application has reached its end: late, never early. No queue or lock
//! is touched per message.
//!
//! Bounds: of one connection at most one batch waits here (two after its end), one is with the
//! application and two are on their way back. Each holds `inbox_max` bytes and one message more.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use headwater_core::message::Batch;

use crate::link::{INBOX, Link};
use crate::wake::{Wake, lock};

/// Batches of one connection that are with nobody.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    filled: VecDeque<Batch>,
    returned: Vec<Batch>,
    /// The connection has more and waits for the place.
    is_awaited: bool,
}

impl Inbox {
    /// Whether there is a place for a batch; if not, the connection hears when there is.
    pub(crate) fn has_place(&mut self) -> bool {
        self.is_awaited = !self.filled.is_empty();
        !self.is_awaited
    }

    /// Puts a batch where the application finds it.
    pub(crate) fn put(&mut self, batch: Batch) {
        self.filled.push_back(batch);
    }

    /// Takes the batches that came back.
    pub(crate) fn take_returned(&mut self, into: &mut Vec<Batch>) {
        into.append(&mut self.returned);
    }
}

/// Which connections have a batch for the application, in the order in which they filled one:
/// one entry for each batch, so that connections take turns.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    /// Wakes the application.
    pub(crate) wake: Wake,
    links: Mutex<VecDeque<Arc<Link>>>,
    has_ended: AtomicBool,
    is_unread: AtomicBool,
}

impl Arrivals {
    /// A connection has put a batch into its inbox.
    pub(crate) fn push(&self, link: Arc<Link>) {
        lock(&self.links).push_back(link);
        self.wake.set(1);
    }

    /// The next batch and its connection.
    pub(crate) fn pop(&self) -> Option<(Arc<Link>, Batch)> {
        let link = lock(&self.links).pop_front()?;
        let mut inbox = lock(&link.inbox);
        let batch = inbox.filled.pop_front().unwrap_or_default();
        let is_awaited = inbox.is_awaited;
        inbox.is_awaited = false;
        drop(inbox);
        if is_awaited {
            link.wake.set(INBOX);
        }
        Some((link, batch))
    }

    /// No more batches will come.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
        self.wake.set(1);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Nobody reads messages any more: connections discard them.
    pub(crate) fn leave_unread(&self) {
        self.is_unread.store(true, Ordering::Release);
    }

    pub(crate) fn is_unread(&self) -> bool {
        self.is_unread.load(Ordering::Acquire)
    }
}

/// Gives a batch back to its connection, with the credit in it. Messages left in it are dropped.
pub(crate) fn give_back(link: &Link, mut batch: Batch) {
    batch.discard();
    lock(&link.inbox).returned.push(batch);
    link.wake.set(INBOX);
}
