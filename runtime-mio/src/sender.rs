//! Sending to one peer again and again, and streams that are kept.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_core::error::{SendError, UndeliveredReason};
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::pool::{Outbox, PushError, WasEmpty};

use crate::handle::Handle;
use crate::lane::Lane;
use crate::queues::Patience;
use crate::routes::Way;
use crate::shared::Mark;

/// Messages of one protocol to one peer, without a look-up for each.
///
/// Made by [`Handle::sender`]. It follows the peer from connection to connection; while the peer
/// is away, sending fails. Messages of one sender may overtake each other: see [`Borrowed`] for
/// those that may not.
#[derive(Clone, Debug)]
pub struct Sender {
    handle: Handle,
    peer: PeerId,
    protocol: ProtocolId,
    way: Option<Arc<Way>>,
}

impl Sender {
    pub(crate) fn new(handle: Handle, peer: PeerId, protocol: ProtocolId, way: Arc<Way>) -> Self {
        Self { handle, peer, protocol, way: Some(way) }
    }

    /// Where the messages go.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// For which protocol.
    #[must_use]
    pub const fn protocol(&self) -> &ProtocolId {
        &self.protocol
    }

    /// Queues a message, or says at once why not.
    ///
    /// # Errors
    ///
    /// As [`Handle::send`]; nothing was queued and the payload comes back.
    pub fn send(&mut self, payload: Bytes) -> Result<(), SendError<Bytes>> {
        self.handle.push((&self.peer, &self.protocol), &mut self.way, payload)
    }

    /// Queues a copy of a message; for small ones that are no `Bytes` this is the shortest way.
    ///
    /// # Errors
    ///
    /// As [`Handle::send`]; nothing was queued.
    pub fn send_slice(&mut self, payload: &[u8]) -> Result<(), SendError<()>> {
        let Self { handle, peer, protocol, way } = self;
        handle.offer((peer, protocol), way, |outbox| {
            let (result, was_empty) = outbox.push(|outbox| outbox.push_slice(protocol, payload));
            (result.map(|_| ()), was_empty)
        })
    }

    /// Queues messages from the front of `payloads` under one lock, until it is empty or one is
    /// refused; those that were not queued stay in it.
    ///
    /// # Errors
    ///
    /// Why the first one left in `payloads` was refused, as [`Handle::send`].
    pub fn send_many(&mut self, payloads: &mut VecDeque<Bytes>) -> Result<(), SendError<()>> {
        let Self { handle, peer, protocol, way } = self;
        handle.offer((peer, protocol), way, |outbox| {
            outbox.push(|outbox| push_many(outbox, protocol, payloads))
        })
    }

    /// Waits until there is room for a message, `timeout` at most, and queues it.
    ///
    /// # Errors
    ///
    /// As [`Handle::send`]; `Full` when the time is over.
    pub fn send_wait(&mut self, payload: Bytes, timeout: Duration) -> Result<(), SendError<Bytes>> {
        self.handle.push_wait((&self.peer, &self.protocol), &mut self.way, payload, timeout)
    }
}

fn push_many(
    outbox: &mut Outbox,
    protocol: &ProtocolId,
    payloads: &mut VecDeque<Bytes>,
) -> Result<(), PushError<()>> {
    while let Some(payload) = payloads.front_mut() {
        outbox.push_from(protocol, payload)?;
        payloads.pop_front();
    }
    Ok(())
}

/// A stream to a peer that the application keeps: what is sent on it arrives in order.
///
/// Made by [`Handle::borrow`]. Dropping it gives the stream back once everything sent on it has
/// left. It belongs to one connection: when that is lost, or the peer resets the stream, sending
/// answers [`SendError::Closed`] and [`Borrowed::lost`] says why.
#[derive(Debug)]
pub struct Borrowed {
    handle: Handle,
    lane: Arc<Lane>,
    peer: PeerId,
    protocol: ProtocolId,
}

impl Borrowed {
    pub(crate) const fn new(
        handle: Handle,
        lane: Arc<Lane>,
        peer: PeerId,
        protocol: ProtocolId,
    ) -> Self {
        Self { handle, lane, peer, protocol }
    }

    /// Where the messages go.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// For which protocol.
    #[must_use]
    pub const fn protocol(&self) -> &ProtocolId {
        &self.protocol
    }

    /// Why the stream is gone, if it is. Messages sent on it before may not have arrived; the
    /// node's notifications count them.
    #[must_use]
    pub fn lost(&self) -> Option<UndeliveredReason> {
        self.lane.lost()
    }

    /// Queues a message behind the earlier ones, or says at once why not.
    ///
    /// # Errors
    ///
    /// `Full`, `TooLarge`, or `Closed` when the stream is lost; nothing was queued and the
    /// payload comes back.
    pub fn send(&mut self, mut payload: Bytes) -> Result<(), SendError<Bytes>> {
        let push = |outbox: &mut Outbox| outbox.push_from(&self.protocol, &mut payload);
        let (result, was_empty) = self.lane.outbox.push(push);
        self.tell(was_empty);
        result.map(|_| ()).map_err(|error| refused(error, payload))
    }

    /// Waits until there is room for a message, `timeout` at most, and queues it behind the
    /// earlier ones.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); `Full` when the time is over.
    pub fn send_wait(
        &mut self,
        mut payload: Bytes,
        timeout: Duration,
    ) -> Result<(), SendError<Bytes>> {
        let mut patience = Patience::new(timeout);
        let result = self.lane.outbox.push_wait(&self.protocol, &mut payload, &mut patience);
        result.map(|was_empty| self.tell(was_empty)).map_err(|error| refused(error, payload))
    }

    fn tell(&self, was_empty: WasEmpty) {
        if was_empty.0 {
            self.handle.shared.mark_urgent(Mark::Lane(Arc::clone(&self.lane)));
        }
    }
}

fn refused(error: PushError<()>, payload: Bytes) -> SendError<Bytes> {
    match error {
        PushError::Full(()) => SendError::Full { payload },
        PushError::TooLarge { limit, .. } => SendError::TooLarge { payload, limit },
        PushError::Moved(()) => SendError::Closed { payload },
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        self.lane.leave();
        self.handle.shared.mark_urgent(Mark::Lane(Arc::clone(&self.lane)));
    }
}
