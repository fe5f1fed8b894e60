//! Borrowed streams between the application's tasks and the connection's.
//!
//! A lane is one borrowed stream: an outbox of its own, whose messages leave in their order. The
//! application leaves requests, returns and "my outbox turned non-empty" on the desk of the
//! connection, which answers a request with a [`Hold`]; dropping that gives the stream back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use event_listener::Event;
use futures_channel::oneshot;
use headwater_core::connection::LaneId;
use headwater_core::error::{BorrowError, UndeliveredReason};
use headwater_core::id::ProtocolId;
use headwater_core::pool::{Outbox, PushError, WasEmpty};

use crate::link::{LANES, Link};
use crate::wake::lock;

/// Requests that may wait for a stream of one connection.
pub(crate) const REQUESTS_MAX: usize = 256;

/// Where the answer to a request goes.
pub(crate) type Request = oneshot::Sender<Result<Hold, BorrowError>>;

/// What the application has left for the connection's task.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// Wanted streams, at most [`REQUESTS_MAX`].
    pub(crate) requests: VecDeque<Request>,
    /// Lanes whose outbox turned non-empty.
    pub(crate) filled: Vec<LaneId>,
    /// Lanes that nobody holds any more.
    pub(crate) returned: Vec<LaneId>,
    /// The connection has ended.
    pub(crate) is_closed: bool,
}

impl Desk {
    /// The connection has ended: whoever waits hears so, and nothing is left here any more.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        for request in self.requests.drain(..) {
            let _ = request.send(Err(BorrowError::Closed));
        }
        self.filled.clear();
        self.returned.clear();
    }
}

/// One borrowed stream, shared by its holder and the connection's task.
#[derive(Debug)]
pub(crate) struct Lane {
    id: LaneId,
    outbox: Mutex<Outbox>,
    /// Wakes the holder when its outbox was taken, or the stream is lost.
    pub(crate) room: Event,
    lost: OnceLock<UndeliveredReason>,
}

impl Lane {
    pub(crate) fn new(id: LaneId, outbox: Outbox) -> Self {
        Self { id, outbox: Mutex::new(outbox), room: Event::new(), lost: OnceLock::new() }
    }

    /// Lends the outbox to the connection that takes what is in it.
    pub(crate) fn swap_outbox(&self, take: impl FnOnce(&mut Outbox)) {
        take(&mut lock(&self.outbox));
        self.room.notify(1);
    }

    /// Looks at what the connection has not taken yet.
    pub(crate) fn look(&self, look: impl FnOnce(&Outbox)) {
        look(&lock(&self.outbox));
    }

    /// The stream is gone.
    pub(crate) fn lose(&self, reason: UndeliveredReason) {
        let _ = self.lost.set(reason);
        lock(&self.outbox).close();
        self.room.notify(1);
    }

    pub(crate) fn lost(&self) -> Option<UndeliveredReason> {
        self.lost.get().copied()
    }
}

/// The holder's side of a lane; the stream goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) lane: Arc<Lane>,
    pub(crate) link: Arc<Link>,
}

impl Hold {
    /// Queues a message behind the earlier ones.
    pub(crate) fn push(
        &self,
        protocol: &ProtocolId,
        payload: Bytes,
    ) -> Result<(), PushError<Bytes>> {
        let WasEmpty(was_empty) = lock(&self.lane.outbox).push(protocol, payload)?;
        if was_empty {
            lock(&self.link.desk).filled.push(self.lane.id);
            self.link.wake.set(LANES);
        }
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut desk = lock(&self.link.desk);
        if !desk.is_closed {
            desk.returned.push(self.lane.id);
            drop(desk);
            self.link.wake.set(LANES);
        }
    }
}

/// Asks a connection for a stream of its own.
pub(crate) fn request(
    link: &Link,
) -> Result<oneshot::Receiver<Result<Hold, BorrowError>>, BorrowError> {
    let (request, answer) = oneshot::channel();
    let mut desk = lock(&link.desk);
    if desk.is_closed {
        return Err(BorrowError::NotConnected);
    }
    if desk.requests.len() >= REQUESTS_MAX {
        // Most of them may have been given up.
        desk.requests.retain(|waiting| !waiting.is_canceled());
        if desk.requests.len() >= REQUESTS_MAX {
            return Err(BorrowError::Exhausted);
        }
    }
    desk.requests.push_back(request);
    drop(desk);
    link.wake.set(LANES);
    Ok(answer)
}
