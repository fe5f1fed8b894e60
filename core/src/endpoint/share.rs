//! Queues that others than the loop's thread fill and empty.
//!
//! An adapter whose application runs on other threads keeps an outbox for each connection and for
//! each borrowed stream where they can reach it, and hands it over whenever the connection wants
//! messages; received messages it takes connection by connection. It uses these calls in place of
//! `send`, `send_borrowed`, `poll_message` and `take_messages`.

use super::{BorrowedId, Endpoint};
use crate::id::{ConnectionId, PeerId};
use crate::message::{Batch, Consumed};
use crate::pool::{Load, Outbox, Sizes};
use crate::secure::ChannelFactory;
use crate::time::Instant;

impl<F: ChannelFactory> Endpoint<F> {
    /// Has [`poll_route`](Self::poll_route) tell of routes that change from now on.
    pub fn watch_routes(&mut self) {
        self.watches_routes = true;
    }

    /// Takes the next peer whose route has changed, or ended. To be drained after each step; it
    /// tells nothing before [`watch_routes`](Self::watch_routes).
    pub fn poll_route(&mut self) -> Option<PeerId> {
        if self.watches_routes { self.node.poll_route() } else { None }
    }

    /// A new outbox with the limits of a connection.
    #[must_use]
    pub fn outbox(&self, connection: ConnectionId) -> Option<Outbox> {
        Some(self.slot(connection)?.connection.outbox())
    }

    /// Which messages to send a connection takes now. When that changes, it is because bytes of
    /// the connection moved, or because `poll_ready` says so.
    #[must_use]
    pub fn wants_messages(&self, connection: ConnectionId) -> Sizes {
        self.slot(connection).map_or(Sizes::NONE, |slot| slot.connection.wants_messages())
    }

    /// Takes what the connection wants of an outbox now.
    pub fn handle_messages(&mut self, now: Instant, connection: ConnectionId, outbox: &mut Outbox) {
        self.with(now, connection, |slot, now| slot.connection.handle_messages(now, outbox));
    }

    /// Whether a connection takes no more messages, or is gone: its outbox is to be closed, and
    /// what is in it handed over with [`handle_last_messages`](Self::handle_last_messages).
    #[must_use]
    pub fn is_closing(&self, connection: ConnectionId) -> bool {
        self.slot(connection).is_none_or(|slot| slot.connection.is_closing())
    }

    /// Takes what was accepted for a connection of `peer` that is closing or gone: it still
    /// leaves on this connection or moves to another one of the peer; what cannot is counted in
    /// `Undelivered`.
    pub fn handle_last_messages(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        peer: PeerId,
        outbox: &mut Outbox,
    ) {
        if self.slot(connection).is_some_and(|slot| !slot.ended) {
            return self.handle_messages(now, connection, outbox);
        }
        self.call(now, |node, now| node.handle_leftover(now, peer, outbox));
    }

    /// How busy a connection is.
    #[must_use]
    pub fn load(&self, connection: ConnectionId) -> Option<Load> {
        Some(self.slot(connection)?.connection.load())
    }

    /// Takes the next connection that has received messages since it was last given here. It may
    /// have ended.
    pub fn poll_filled(&mut self) -> Option<ConnectionId> {
        loop {
            let id = self.filled.pop_front()?;
            if let Some(slot) = self.slot_mut(id) {
                slot.filled = false;
                return Some(id);
            }
        }
    }

    /// Exchanges `batch`, from which everything was popped, for the messages of one connection;
    /// false if there are none. What was consumed of them goes to
    /// [`handle_consumed`](Self::handle_consumed).
    pub fn take_messages_of(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        batch: &mut Batch,
    ) -> bool {
        let taken = self.with(now, connection, |slot, _| {
            slot.connection.has_messages().then(|| slot.connection.take_messages(batch))
        });
        taken.flatten().is_some()
    }

    /// The credit of consumed messages of a connection returns; `consumed` is empty then.
    pub fn handle_consumed(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        consumed: &mut Consumed,
    ) {
        self.with(now, connection, |slot, now| slot.connection.handle_consumed(now, consumed));
        consumed.clear();
    }

    /// A new outbox with the limits of a borrowed stream.
    #[must_use]
    pub fn lane_outbox(&self, stream: BorrowedId) -> Option<Outbox> {
        Some(self.slot(stream.connection)?.connection.lane_outbox())
    }

    /// Whether a borrowed stream takes messages now; `poll_borrowed` says when it does again.
    #[must_use]
    pub fn lane_wants_messages(&self, stream: BorrowedId) -> bool {
        let slot = self.slot(stream.connection);
        slot.is_some_and(|slot| slot.connection.lane_wants_messages(stream.lane))
    }

    /// Takes a whole outbox of a borrowed stream, if the stream takes messages now.
    pub fn handle_lane_messages(&mut self, now: Instant, stream: BorrowedId, outbox: &mut Outbox) {
        self.with(now, stream.connection, |slot, now| {
            slot.connection.handle_lane_messages(now, stream.lane, outbox);
        });
    }

    /// Takes what was accepted for a borrowed stream to `peer` that is given back or lost: it
    /// still leaves if the stream is there, and else is counted in `Undelivered`. Gives the
    /// stream back.
    pub fn handle_last_lane_messages(
        &mut self,
        now: Instant,
        stream: BorrowedId,
        peer: PeerId,
        outbox: &mut Outbox,
    ) {
        if self.slot(stream.connection).is_some_and(|slot| !slot.ended) {
            self.with(now, stream.connection, |slot, now| {
                slot.connection.handle_last_lane_messages(now, stream.lane, outbox);
            });
        } else {
            self.call(now, |node, _| node.handle_lost(peer, outbox));
        }
        self.give_back(now, stream);
    }
}
