//! Received messages, as the application takes them.

use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use headwater_core::message::{Batch, Message};

use crate::queues::Queues;
use crate::shared::{Arrival, Fed, Mark, Shared};

/// Consumed bytes of which the loop is told at once. The credit of fewer returns when the batch
/// is empty, and wakes the loop when there is nothing else to read.
const CREDIT_MIN: usize = 64 << 10;

/// What peers send, for one reader.
///
/// A message counts against its sender until it is taken: a reader that stops makes its peers
/// stop. When this is dropped, messages are dropped as they arrive and the node goes on.
///
/// ```no_run
/// # fn run(mut messages: headwater_mio::Messages) {
/// while let Some(message) = messages.recv() {
///     println!("{} bytes of {} from {}", message.payload.len(), message.protocol, message.peer);
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Messages {
    shared: Arc<Shared>,
    /// What is popped from now.
    batch: Batch,
    /// Whose messages they are; nobody's when the loop has ended.
    queues: Option<Arc<Queues>>,
    /// Payload bytes popped since credit was returned.
    popped: usize,
}

impl Messages {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, batch: Batch::default(), queues: None, popped: 0 }
    }

    /// Waits for the next message; `None` when the node has stopped and all were taken.
    pub fn recv(&mut self) -> Option<Message> {
        self.await_batch(None).ok()?;
        self.pop()
    }

    /// Waits for the next message, `timeout` at most.
    ///
    /// # Errors
    ///
    /// `Timeout`, or `Disconnected` when the node has stopped and all were taken.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Message, RecvTimeoutError> {
        self.await_batch(Some(timeout))?;
        self.pop().ok_or(RecvTimeoutError::Disconnected)
    }

    /// Takes the next message if there is one.
    pub fn try_recv(&mut self) -> Option<Message> {
        self.await_batch(Some(Duration::ZERO)).ok()?;
        self.pop()
    }

    /// Waits for messages, `timeout` at most, and lends them: all that one connection had. What
    /// is popped is taken; the rest comes again with the next call.
    ///
    /// # Errors
    ///
    /// `Timeout`, or `Disconnected` when the node has stopped and all were taken.
    pub fn recv_batch(&mut self, timeout: Duration) -> Result<&mut Batch, RecvTimeoutError> {
        self.await_batch(Some(timeout))?;
        // It is not seen what is popped from it.
        self.popped = CREDIT_MIN;
        Ok(&mut self.batch)
    }

    fn pop(&mut self) -> Option<Message> {
        let message = self.batch.pop()?;
        self.popped = self.popped.saturating_add(message.payload.len());
        if self.popped >= CREDIT_MIN || self.batch.is_empty() {
            self.return_credit();
        }
        Some(message)
    }

    /// Makes the next batch the one to pop from, unless there is something in the last.
    fn await_batch(&mut self, timeout: Option<Duration>) -> Result<(), RecvTimeoutError> {
        if !self.batch.is_empty() {
            return Ok(());
        }
        self.return_credit();
        let arrival = match self.shared.arrivals.try_take() {
            Fed::Nothing => {
                // The loop may be asleep on credit that a peer waits for.
                self.shared.signal.flush();
                let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
                self.shared.arrivals.take(until)
            }
            arrival => arrival,
        };
        let (arrival, was_held_back) = match arrival {
            Fed::Item(arrival, was_held_back) => (arrival, was_held_back),
            Fed::Nothing => return Err(RecvTimeoutError::Timeout),
            Fed::End => return Err(RecvTimeoutError::Disconnected),
        };
        match arrival {
            Arrival::Inbox(queues) => {
                if queues.take(&mut self.batch) {
                    self.shared.mark_urgent(Mark::Queues(Arc::clone(&queues)));
                }
                self.queues = Some(queues);
            }
            Arrival::Rest(batch) => {
                self.batch = batch;
                self.queues = None;
            }
        }
        if was_held_back {
            self.shared.signal.raise();
        }
        Ok(())
    }

    /// Returns the credit of what was popped: late, never early.
    fn return_credit(&mut self) {
        let popped = std::mem::take(&mut self.popped);
        let consumed = self.batch.consumed();
        let Some(queues) = &self.queues else { return };
        if consumed.is_empty() {
            return;
        }
        queues.add_credit(consumed);
        let mark = Mark::Queues(Arc::clone(queues));
        if popped >= CREDIT_MIN {
            self.shared.mark_urgent(mark);
        } else {
            self.shared.mark(mark);
        }
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        // First, so that what is published from here on is dropped by the loop.
        self.shared.arrivals.leave();
        loop {
            self.batch.discard();
            self.popped = CREDIT_MIN;
            if self.await_batch(Some(Duration::ZERO)).is_err() {
                break;
            }
        }
        self.shared.signal.raise();
    }
}
