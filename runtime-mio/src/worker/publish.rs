//! What a turn made, for the application's threads.

use std::sync::Arc;

use headwater_core::contract::Notification;
use headwater_core::id::{ConnectionId, PeerId};
use headwater_core::message::Batch;
use headwater_core::pool::{Entry, Route, Sizes};
use headwater_core::secure::ChannelFactory;

use super::{Carrier, Worker};
use crate::call::give;
use crate::error::{Error, ListenError};
use crate::queues::Queues;
use crate::shared::{Arrival, NOTICES_MAX};

/// Batches of connections that have ended, and that nobody has read yet; beyond that what ended
/// connections leave waits in core, which drops it after `close_deadline`.
const ENDED_MAX: usize = 16;

impl<F: ChannelFactory> Worker<F> {
    pub(super) fn publish(&mut self) {
        self.set_routes();
        self.drop_unread();
        while let Some(id) = self.inner.endpoint.poll_filled() {
            if let Some(queues) = self.queues_of(id) {
                self.receive(&queues);
            }
        }
        self.receive_held();
        self.hear_lanes();
        self.settle_connections();
        self.answer();
        self.notify();
    }

    /// The connections that were worked on may want messages, or no more of them.
    fn settle_connections(&mut self) {
        let Some(journal) = &mut self.inner.journal else { return };
        let (mut served, closed) = (std::mem::take(&mut journal.served), &mut journal.closed);
        let closed = std::mem::take(closed);
        for id in served.drain(..) {
            if self.inner.endpoint.is_closing(id) {
                self.retire(id);
            } else {
                self.send(id);
                self.publish_load(id);
            }
        }
        for id in closed {
            self.retire(id);
            if self.carrier_mut(id).is_some() {
                self.carriers[id.index as usize] = None;
                self.carrying -= 1;
            }
        }
        if let Some(journal) = &mut self.inner.journal {
            // Its memory is used again.
            journal.served = served;
        }
    }

    fn publish_load(&mut self, id: ConnectionId) {
        let Some(load) = self.inner.endpoint.load(id) else { return };
        if let Some(carrier) = self.carrier_mut(id) {
            carrier.queues.publish_load(load);
        }
    }

    fn set_routes(&mut self) {
        while let Some(peer) = self.inner.endpoint.poll_route() {
            self.set_route(peer);
        }
    }

    fn set_route(&mut self, peer: PeerId) {
        let route = self.inner.endpoint.route(&peer).cloned();
        let route = route.map(|route| {
            let mut entries = Vec::with_capacity(route.entries().len());
            for entry in route.entries() {
                let connection = entry.connection;
                let Some(queues) = self.queues_of(connection) else { continue };
                if let Some(carrier) = self.carrier_mut(connection) {
                    carrier.peer = Some(peer);
                }
                entries.push(Entry { connection, handle: queues });
            }
            Route::new(route.generation(), route.protocols().clone(), entries)
        });
        let Some(old) = self.shared.routes.set(peer, route) else { return };
        for entry in old.route.entries() {
            if self.inner.endpoint.is_closing(entry.connection) {
                self.retire(entry.connection);
            }
        }
    }

    /// The queues of a connection, made when they are first needed.
    fn queues_of(&mut self, id: ConnectionId) -> Option<Arc<Queues>> {
        if let Some(carrier) = self.carrier_mut(id) {
            return Some(Arc::clone(&carrier.queues));
        }
        let queues = Arc::new(Queues::new(id, self.inner.endpoint.outbox(id)?));
        let index = id.index as usize;
        if self.carriers.len() <= index {
            self.carriers.resize_with(index + 1, || None);
        }
        if let Some(other) = self.carriers[index].as_ref().map(|other| other.queues.connection) {
            if !self.inner.endpoint.is_closing(other) {
                // A connection whose slot went to another one has messages left, no more.
                return Some(queues);
            }
            self.retire(other);
        } else {
            self.carrying += 1;
        }
        let handle = Arc::clone(&queues);
        self.carriers[index] =
            Some(Carrier { queues, peer: None, unsent: Sizes::NONE, retired: false });
        Some(handle)
    }

    /// Closes the outbox of a connection that takes no more messages; what is in it still leaves,
    /// or moves to another connection of the peer, or is counted.
    pub(super) fn retire(&mut self, id: ConnectionId) {
        let now = self.inner.now();
        let Some(carrier) = self.carrier_mut(id) else { return };
        if std::mem::replace(&mut carrier.retired, true) {
            return;
        }
        let (queues, peer) = (Arc::clone(&carrier.queues), carrier.peer);
        let endpoint = &mut self.inner.endpoint;
        queues.outbox().close(|rest| {
            // An empty one has counts still.
            if let Some(peer) = peer {
                endpoint.handle_last_messages(now, id, peer, rest);
            }
        });
    }

    /// Publishes received messages of a connection, if there are any and there is room.
    pub(super) fn receive(&mut self, queues: &Arc<Queues>) {
        // Whoever reads a message can answer it.
        self.set_routes();
        let (now, id) = (self.inner.now(), queues.connection);
        if self.unread {
            return self.discard(queues);
        }
        if self.shared.arrivals.is_full(self.carrying + ENDED_MAX) {
            let endpoint = &self.inner.endpoint;
            // What core has dropped meanwhile waits for no place any more.
            self.held.retain(|id, _| endpoint.load(*id).is_some());
            self.held.insert(id, Arc::clone(queues));
            return;
        }
        let endpoint = &mut self.inner.endpoint;
        let mut filled = false;
        let free = queues.publish(|batch| {
            filled = endpoint.take_messages_of(now, id, batch);
            filled
        });
        if filled {
            self.shared.arrivals.push(Arrival::Inbox(Arc::clone(queues)));
        }
        if free {
            self.waiting.remove(&id);
        } else {
            self.waiting.insert(id, Arc::clone(queues));
        }
    }

    /// What found no place in the list of arrivals tries again.
    fn receive_held(&mut self) {
        if self.held.is_empty() || self.shared.arrivals.is_full(self.carrying + ENDED_MAX) {
            return;
        }
        for queues in std::mem::take(&mut self.held).into_values() {
            self.receive(&queues);
        }
    }

    /// Drops what waits once nobody reads messages any more.
    fn drop_unread(&mut self) {
        if self.unread || !self.shared.arrivals.is_unread() {
            return;
        }
        self.unread = true;
        let mut all: Vec<Arc<Queues>> = std::mem::take(&mut self.held).into_values().collect();
        all.extend(std::mem::take(&mut self.waiting).into_values());
        all.extend(self.carriers.iter().flatten().map(|carrier| Arc::clone(&carrier.queues)));
        for queues in all {
            // Published after the reader had left, perhaps.
            queues.take(&mut self.scratch);
            self.discard(&queues);
        }
    }

    fn discard(&mut self, queues: &Queues) {
        let (now, id) = (self.inner.now(), queues.connection);
        loop {
            self.scratch.discard();
            self.inner.endpoint.handle_consumed(now, id, self.scratch.consumed());
            if !self.inner.endpoint.take_messages_of(now, id, &mut self.scratch) {
                return;
            }
        }
    }

    /// The outcomes of calls whose callers wait.
    fn answer(&mut self) {
        while let Some(outcome) = self.inner.endpoint.poll_answer() {
            match &outcome {
                Notification::Listening { listener, local } => {
                    if let Some(answer) = self.listening.remove(listener) {
                        give(&answer, Ok(*local));
                        continue;
                    }
                }
                Notification::ListenFailed { listener, cause, .. } => {
                    if let Some(answer) = self.listening.remove(listener) {
                        give(&answer, Err(ListenError::Bind(*cause)));
                        continue;
                    }
                }
                Notification::Dialed { dial, peer } => {
                    if let Some(answer) = self.dialing.remove(dial) {
                        give(&answer, Ok(*peer));
                        continue;
                    }
                }
                Notification::DialFailed { dial, error, .. } => {
                    if let Some(answer) = self.dialing.remove(dial) {
                        give(&answer, Err(Error::Dial(Box::new(error.clone()))));
                        continue;
                    }
                }
                _ => {}
            }
            // Of a call before the thread began, or of a listener that broke: there is a bound
            // to both in core.
            self.shared.notices.push(outcome);
        }
    }

    fn notify(&mut self) {
        // Of a node that stops nobody may read any more; what it has left to tell is bounded.
        while self.stopping || !self.shared.notices.is_full(NOTICES_MAX) {
            let Some(notification) = self.inner.endpoint.poll_notification() else { break };
            self.shared.notices.push(notification);
        }
    }

    /// The loop ends, and every link is closed: what was held back follows, all that core has.
    pub(super) fn publish_rest(&mut self) {
        let now = self.inner.now();
        let rest = std::mem::take(&mut self.waiting).into_keys();
        for id in rest.chain(std::mem::take(&mut self.held).into_keys()) {
            let mut batch = Batch::default();
            while self.inner.endpoint.take_messages_of(now, id, &mut batch) {
                self.shared.arrivals.push(Arrival::Rest(std::mem::take(&mut batch)));
            }
        }
        while let Some(notification) = self.inner.endpoint.poll_notification() {
            self.shared.notices.push(notification);
        }
    }

    /// What core had to tell before there was this thread.
    pub(super) fn adopt(&mut self) {
        let connected: Vec<PeerId> = self.inner.endpoint.peers().collect();
        for peer in connected {
            self.set_route(peer);
        }
        self.publish();
    }
}
