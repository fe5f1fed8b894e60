//! Received messages between a connection's task and the application's.
//!
//! A connection hands over whole batches, and gets each one back, empty and with the credit of
//! what was taken, when the application has reached its end: late, never early. No queue or lock
//! is touched per message.
//!
//! Bounds: of one connection at most one batch waits here while its socket lives, one is with the
//! application and two are on their way back. Each holds `inbox_max` bytes and one message more.
//! Over all connections as many batches wait as there are live ones, and [`ENDED_MAX`]; what finds
//! no place stays in core, which drops what an ended connection has left after `close_deadline`.
//! When the node stops all that core has left comes here, so that no stop waits for a reader.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use headwater_core::message::Batch;

use crate::link::{INBOX, Link};
use crate::wake::{Wake, lock};

/// Batches of connections that have ended, and that nobody has read yet.
const ENDED_MAX: usize = 16;

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

    /// Takes the batches that came back.
    pub(crate) fn take_returned(&mut self, into: &mut Vec<Batch>) {
        if into.is_empty() {
            std::mem::swap(into, &mut self.returned);
        } else {
            into.append(&mut self.returned);
        }
    }
}

/// Which connections have a batch for the application, in the order in which they filled one:
/// one entry for each batch, so that connections take turns.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    /// Wakes the application.
    pub(crate) wake: Wake,
    list: Mutex<List>,
    has_ended: AtomicBool,
    is_unread: AtomicBool,
}

#[derive(Debug, Default)]
struct List {
    links: VecDeque<Arc<Link>>,
    /// Those that found no place and whose tasks run, each once; they are woken when there is one.
    held: Vec<Arc<Link>>,
    /// Connections with a socket.
    live: usize,
    /// The node stops: ended connections leave everything here.
    is_open: bool,
}

impl Arrivals {
    /// A connection with a socket is there.
    pub(crate) fn add_live(&self) {
        lock(&self.list).live += 1;
    }

    /// The socket of a connection is gone.
    pub(crate) fn remove_live(&self) {
        lock(&self.list).live -= 1;
    }

    /// Puts what `take` gives into the inbox of a connection, if the list has a place for it; if
    /// not, the connection hears when it has.
    pub(crate) fn offer(&self, link: &Arc<Link>, take: impl FnOnce() -> Batch) -> bool {
        let mut list = lock(&self.list);
        if list.links.len() >= list.live + ENDED_MAX && !list.is_open {
            if !list.held.iter().any(|held| Arc::ptr_eq(held, link)) {
                list.held.push(Arc::clone(link));
            }
            return false;
        }
        let mut inbox = lock(&link.inbox);
        // Mostly there is one.
        inbox.filled.reserve_exact(1);
        inbox.filled.push_back(take());
        drop(inbox);
        list.links.push_back(Arc::clone(link));
        drop(list);
        self.wake.set(1);
        true
    }

    /// The task of a connection ends: it waits for no place any more.
    pub(crate) fn forget(&self, link: &Arc<Link>) {
        lock(&self.list).held.retain(|held| !Arc::ptr_eq(held, link));
    }

    /// The node stops: from now on there is a place for everything that ended connections have.
    pub(crate) fn open(&self) {
        let held = {
            let mut list = lock(&self.list);
            list.is_open = true;
            std::mem::take(&mut list.held)
        };
        for held in held {
            held.wake.set(INBOX);
        }
    }

    /// The next batch and its connection.
    pub(crate) fn pop(&self) -> Option<(Arc<Link>, Batch)> {
        let (link, held) = {
            let mut list = lock(&self.list);
            let link = list.links.pop_front()?;
            (link, std::mem::take(&mut list.held))
        };
        for held in held {
            held.wake.set(INBOX);
        }
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

#[cfg(test)]
mod tests {
    use headwater_core::id::ConnectionId;
    use headwater_core::pool::{Outbox, OutboxConfig};

    use super::*;

    fn link(index: u32) -> Arc<Link> {
        let outbox = Outbox::new(OutboxConfig::default());
        Arc::new(Link::new(ConnectionId { index, generation: 0 }, outbox))
    }

    #[test]
    fn ended_connections_find_so_many_places_and_leave_nothing_behind() {
        let arrivals = Arrivals::default();
        let mut taken = 0;
        for index in 0..100 {
            let link = link(index);
            taken += usize::from(arrivals.offer(&link, Batch::default));
            arrivals.forget(&link);
        }
        assert_eq!(taken, ENDED_MAX);
        assert!(lock(&arrivals.list).held.is_empty());
        // A live one finds a place beside them, and the next when somebody reads.
        arrivals.add_live();
        let live = link(100);
        assert!(arrivals.offer(&live, Batch::default));
        assert!(!arrivals.offer(&live, Batch::default));
        assert!(arrivals.pop().is_some());
        assert_eq!(live.wake.take(), INBOX);
        assert!(arrivals.offer(&live, Batch::default));
        // At the end there is one for everything.
        assert!(!arrivals.offer(&live, Batch::default));
        arrivals.open();
        assert_eq!(live.wake.take(), INBOX);
        assert!(arrivals.offer(&live, Batch::default));
    }
}
