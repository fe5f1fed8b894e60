//! Messages out of the application: by route, or on a borrowed stream.

use bytes::Bytes;

use super::Endpoint;
use crate::connection::{LaneId, LaneNews};
use crate::error::{BorrowError, SendError};
use crate::id::{ConnectionId, PeerId, ProtocolId};
use crate::pool::{Load, PushError, WasEmpty};
use crate::secure::ChannelFactory;
use crate::time::Instant;

/// A stream that the application has borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BorrowedId {
    pub(super) connection: ConnectionId,
    pub(super) lane: LaneId,
}

impl BorrowedId {
    /// The connection that it is a stream of.
    #[must_use]
    pub const fn connection(&self) -> ConnectionId {
        self.connection
    }
}

impl<F: ChannelFactory> Endpoint<F> {
    /// Sends a message to a peer, on its least loaded connection. Accepted means queued.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the payload; nothing is queued then.
    pub fn send(
        &mut self,
        now: Instant,
        peer: &PeerId,
        protocol: &ProtocolId,
        payload: Bytes,
    ) -> Result<(), SendError<Bytes>> {
        let queued = self.enqueue(peer, protocol, payload);
        if !self.touched.is_empty() {
            self.flush(now);
        }
        queued
    }

    /// Queues a message as [`send`](Self::send) does, for a loop that reads no clock for each:
    /// its connection takes it at the next call that has a `now`, and its deadline starts there.
    /// [`flush`](Self::flush) is such a call and does nothing else.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the payload; nothing is queued then.
    pub fn enqueue(
        &mut self,
        peer: &PeerId,
        protocol: &ProtocolId,
        payload: Bytes,
    ) -> Result<(), SendError<Bytes>> {
        // It is lent and not handed on: each hand-over would wait for the one before.
        let mut payload = payload;
        // A connection that is just closing answers that it moved; there may be another.
        for _ in 0..2 {
            let id = match &self.last_pick {
                Some((state, p, name, id))
                    if *state == self.node.routes_state() && p == peer && name == protocol =>
                {
                    *id
                }
                _ => match self.pick(peer, protocol) {
                    Ok(id) => id,
                    Err(refused) => return Err(refused.with(payload)),
                },
            };
            let Some(slot) = self.slot_mut(id) else { break };
            match slot.outbox.push_from(protocol, &mut payload) {
                // Somebody else has woken the connection already.
                Ok(WasEmpty(false)) => return Ok(()),
                Ok(WasEmpty(true)) => {
                    self.touched.push_back(id);
                    return Ok(());
                }
                Err(PushError::Moved(())) => {
                    self.touched.push_back(id);
                    self.settle(self.clock.now());
                }
                Err(PushError::Full(())) => return Err(SendError::Full { payload }),
                Err(PushError::TooLarge { limit, .. }) => {
                    return Err(SendError::TooLarge { payload, limit });
                }
            }
        }
        Err(SendError::NotConnected { payload })
    }

    /// Has the connections take what was queued for them.
    pub fn flush(&mut self, now: Instant) {
        let now = self.clock.advance(now);
        self.settle(now);
    }

    /// The least loaded connection of a peer that supports a protocol.
    fn pick(&mut self, peer: &PeerId, protocol: &ProtocolId) -> Result<ConnectionId, Refused> {
        let route = self.node.route(peer).ok_or(Refused::NotConnected)?;
        if !route.supports(protocol.as_str()) {
            return Err(Refused::NotSupported);
        }
        if let [only] = route.entries() {
            // Most messages go where the one before went.
            let id = only.connection;
            self.last_pick = Some((self.node.routes_state(), *peer, protocol.clone(), id));
            return Ok(id);
        }
        let load = |entry: &crate::pool::Entry<()>| {
            let slot = self.slot(entry.connection);
            let load = slot.map_or_else(Load::default, |slot| slot.connection.load());
            let waiting = slot.map_or(usize::MAX, |slot| slot.outbox.bytes());
            Load { queued_bytes: load.queued_bytes.saturating_add(waiting), ..load }
        };
        let picked = route.pick_with(load).ok_or(Refused::NotConnected)?;
        Ok(picked.connection)
    }

    /// Borrows a stream to a peer: messages sent on it arrive in order.
    ///
    /// # Errors
    ///
    /// [`BorrowError`]; after `Pending` it is worth asking again once something has been
    /// transmitted.
    pub fn borrow(
        &mut self,
        now: Instant,
        peer: &PeerId,
        protocol: &ProtocolId,
    ) -> Result<BorrowedId, BorrowError> {
        let connection = self.pick(peer, protocol).map_err(|refused| match refused {
            Refused::NotConnected => BorrowError::NotConnected,
            Refused::NotSupported => BorrowError::NotSupported,
        })?;
        let lent = self.with(now, connection, |slot, now| {
            let lane = slot.connection.lend(now)?;
            slot.lanes.insert(lane, slot.connection.lane_outbox());
            Ok(lane)
        });
        let lane = lent.unwrap_or(Err(BorrowError::NotConnected))?;
        Ok(BorrowedId { connection, lane })
    }

    /// Sends a message on a borrowed stream.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the payload; nothing is queued then.
    pub fn send_borrowed(
        &mut self,
        now: Instant,
        stream: BorrowedId,
        protocol: &ProtocolId,
        payload: Bytes,
    ) -> Result<(), SendError<Bytes>> {
        let peer = self.slot(stream.connection).and_then(|slot| slot.connection.peer());
        let Some(peer) = peer else { return Err(SendError::Closed { payload }) };
        if !self.node.route(&peer).is_some_and(|route| route.supports(protocol.as_str())) {
            return Err(SendError::NotSupported { payload });
        }
        let Some(slot) = self.slot_mut(stream.connection) else {
            return Err(SendError::Closed { payload });
        };
        let Some(outbox) = slot.lanes.get_mut(&stream.lane) else {
            return Err(SendError::Closed { payload });
        };
        outbox.push(protocol, payload).map_err(send_error)?;
        self.with(now, stream.connection, |slot, now| slot.feed(now));
        Ok(())
    }

    /// Gives a borrowed stream back. What was sent on it still leaves.
    pub fn give_back(&mut self, now: Instant, stream: BorrowedId) {
        self.news.retain(|(other, _)| *other != stream);
        self.with(now, stream.connection, |slot, now| {
            slot.feed(now);
            if let Some(mut rest) = slot.lanes.remove(&stream.lane) {
                // What the lane has no room for yet goes with the stream's last breath.
                slot.connection.handle_last_lane_messages(now, stream.lane, &mut rest);
            }
            slot.connection.give_back(now, stream.lane);
        });
    }

    /// Takes the next news of a borrowed stream: that it takes more, or that it is lost.
    pub fn poll_borrowed(&mut self) -> Option<(BorrowedId, LaneNews)> {
        self.news.pop_front()
    }

    pub(super) fn on_lane_news(
        &mut self,
        now: Instant,
        id: ConnectionId,
        lane: LaneId,
        news: LaneNews,
    ) {
        let stream = BorrowedId { connection: id, lane };
        if let LaneNews::Lost(_) = news {
            if let Some(slot) = self.slot_mut(id) {
                if let Some(mut rest) = slot.lanes.remove(&lane).filter(|rest| !rest.is_empty()) {
                    // Accepted, and not handed over yet: counted with the rest.
                    slot.connection.handle_lane_messages(now, lane, &mut rest);
                    self.touched.push_back(id);
                }
            }
        }
        if !self.news.contains(&(stream, news)) {
            self.news.push_back((stream, news));
        }
    }
}

/// Why no connection takes a message.
enum Refused {
    NotConnected,
    NotSupported,
}

impl Refused {
    fn with<P>(&self, payload: P) -> SendError<P> {
        match self {
            Self::NotConnected => SendError::NotConnected { payload },
            Self::NotSupported => SendError::NotSupported { payload },
        }
    }
}

fn send_error(refused: PushError<Bytes>) -> SendError<Bytes> {
    match refused {
        PushError::Full(payload) => SendError::Full { payload },
        PushError::TooLarge { payload, limit } => SendError::TooLarge { payload, limit },
        PushError::Moved(payload) => SendError::Closed { payload },
    }
}
