//! Received messages, as the application takes them.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use headwater_core::message::{Batch, Message};

use crate::inbox::give_back;
use crate::link::Link;
use crate::shared::Shared;

/// Batches that are taken without a pause, after which other tasks of the thread have their turn.
const BATCHES_MAX: u32 = 64;

/// The messages that a node receives, of all peers and protocols; connections take turns.
///
/// It has one owner. While it does not read, peers are held up: each connection keeps
/// `inbox_max` bytes and one message more, then the peer gets no credit. When it is dropped,
/// messages are dropped as they arrive and the node lives on.
///
/// A message is a slice of the slab that it came in: see [`Message::detach`] for those that are
/// kept. The peer gets its credit back a whole batch at a time, when the batch was read to its
/// end and the next is asked for.
#[derive(Debug)]
pub struct Messages {
    shared: Arc<Shared>,
    current: Option<(Arc<Link>, Batch)>,
    /// Batches that came without a wait.
    taken: u32,
}

impl Messages {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared, current: None, taken: 0 }
    }

    /// The next message; `None` when the node has stopped and everything was read.
    ///
    /// Cancel-safe: a dropped future has taken nothing.
    pub async fn recv(&mut self) -> Option<Message> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](Self::recv), for one's own futures.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        loop {
            if let Some(message) = self.current.as_mut().and_then(|(_, batch)| batch.pop()) {
                return Poll::Ready(Some(message));
            }
            if !ready!(self.poll_batch(cx)) {
                return Poll::Ready(None);
            }
        }
    }

    /// The next message, if one is there.
    pub fn try_recv(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.current.as_mut().and_then(|(_, batch)| batch.pop()) {
                return Some(message);
            }
            if !self.next_batch() {
                return None;
            }
        }
    }

    /// Waits for messages and appends at most `limit` of them to `messages`; gives their number,
    /// 0 when the node has stopped and everything was read, or for a `limit` of 0.
    ///
    /// Cancel-safe: a dropped future has taken nothing.
    pub async fn recv_many(&mut self, messages: &mut Vec<Message>, limit: usize) -> usize {
        let mut count = 0;
        if limit == 0 {
            return count;
        }
        let Some(first) = self.recv().await else { return count };
        messages.push(first);
        count += 1;
        while count < limit {
            let Some(message) = self.try_recv() else { break };
            messages.push(message);
            count += 1;
        }
        count
    }

    /// Waits for messages of one connection and lends them as they lie: popping from the batch
    /// by reference touches no reference count. `None` when the node has stopped and everything
    /// was read.
    ///
    /// What is left in the batch is there again in the next call, of whatever kind.
    /// Cancel-safe: a dropped future has taken nothing.
    pub async fn recv_batch(&mut self) -> Option<&mut Batch> {
        let is_there = poll_fn(|cx| {
            if self.current.as_ref().is_some_and(|(_, batch)| !batch.is_empty()) {
                return Poll::Ready(true);
            }
            self.poll_batch(cx)
        })
        .await;
        if !is_there {
            return None;
        }
        self.current.as_mut().map(|(_, batch)| batch)
    }

    /// Makes the next batch the current one; `false` at the end.
    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        // Taking batch after batch without ever waiting would starve the other tasks of a thread.
        if self.taken >= BATCHES_MAX {
            self.taken = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            self.shared.arrivals.wake.take();
            // Asked before the look into the list: nothing is added after the end.
            let has_ended = self.shared.arrivals.has_ended();
            if self.next_batch() {
                self.taken += 1;
                return Poll::Ready(true);
            }
            if has_ended {
                return Poll::Ready(false);
            }
            if self.shared.arrivals.wake.sleep(cx.waker()) {
                self.taken = 0;
                return Poll::Pending;
            }
        }
    }

    fn next_batch(&mut self) -> bool {
        if let Some((link, batch)) = self.current.take() {
            give_back(&link, batch);
        }
        self.current = self.shared.arrivals.pop();
        self.current.is_some()
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        // In this order: a batch that is listed after the loop finds the mark.
        self.shared.arrivals.leave_unread();
        while self.next_batch() {}
    }
}
