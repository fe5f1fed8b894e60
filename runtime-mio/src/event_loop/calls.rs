//! What an application calls that runs the loop itself.

use std::net::SocketAddr;

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::connection::LaneNews;
use headwater_core::contract::{DialId, ListenerId, Notification, RequiredId};
use headwater_core::endpoint::BorrowedId;
use headwater_core::error::{ApplicationError, BorrowError, SendError};
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::message::{Batch, Message};
use headwater_core::peers::Rule;
use headwater_core::secure::ChannelFactory;
use headwater_core::snapshot::Snapshot;

use super::EventLoop;

/// None of these waits for anything: each is answered at once, and what it set off comes out of
/// the next turns.
impl<F: ChannelFactory> EventLoop<F> {
    /// The machine that this loop drives, to look at.
    #[must_use]
    pub const fn endpoint(&self) -> &headwater_core::endpoint::Endpoint<F> {
        &self.endpoint
    }

    /// Listens on an address; port 0 leaves the choice to the system. Whether it succeeded is a
    /// notification.
    ///
    /// The port is not shared: one that is in use is a failure (D-67).
    ///
    /// # Errors
    ///
    /// [`ApplicationError`]; nothing changed.
    pub fn listen(&mut self, address: SocketAddr) -> Result<ListenerId, ApplicationError> {
        self.endpoint.listen(self.clock.now(), address)
    }

    /// Closes a listener; connections made through it stay.
    pub fn stop_listening(&mut self, listener: ListenerId) {
        self.endpoint.stop_listening(self.clock.now(), listener);
    }

    /// Connects to a peer, within `dial_deadline`. Whether it succeeded is a notification.
    ///
    /// # Errors
    ///
    /// [`ApplicationError`]; nothing changed.
    pub fn dial(&mut self, address: Address) -> Result<DialId, ApplicationError> {
        self.endpoint.dial(self.clock.now(), address)
    }

    /// Connects to a peer at the addresses that are known of it, the best first, within
    /// `dial_deadline` each. Whether it succeeded is a notification. A required peer that was
    /// disconnected or given up is kept connected again.
    ///
    /// # Errors
    ///
    /// [`ApplicationError`]; nothing changed.
    pub fn connect(&mut self, peer: PeerId) -> Result<DialId, ApplicationError> {
        self.endpoint.connect(self.clock.now(), peer)
    }

    /// Keeps a connection with a peer from now on, at one or more addresses: it is dialled, and
    /// again after waits that grow (`backoff`) whenever that fails or its connection ends. It
    /// makes room for nobody but other required peers; mind that it counts for `peers_max`.
    ///
    /// The addresses all name the same peer, or none does: then whoever answers first is the peer.
    /// Notifications tell of it as of any peer, and of each failure.
    ///
    /// # Errors
    ///
    /// [`ApplicationError`]; nothing changed.
    pub fn require(&mut self, addresses: Vec<Address>) -> Result<RequiredId, ApplicationError> {
        self.endpoint.require(self.clock.now(), addresses)
    }

    /// Gives a required peer other addresses, at once: it is dialled there if it is not connected,
    /// and no longer where it was.
    ///
    /// # Errors
    ///
    /// [`ApplicationError`]; nothing changed.
    pub fn set_required(
        &mut self,
        required: RequiredId,
        addresses: Vec<Address>,
    ) -> Result<(), ApplicationError> {
        self.endpoint.set_required(self.clock.now(), required, addresses)
    }

    /// Requires a peer no longer, at once: a dial to it is cancelled, a connection stays.
    ///
    /// # Errors
    ///
    /// [`ApplicationError::NotRequired`]; nothing changed.
    pub fn release(&mut self, required: RequiredId) -> Result<(), ApplicationError> {
        self.endpoint.release(self.clock.now(), required)
    }

    /// What the node knows of itself: see [`Endpoint::snapshot`].
    ///
    /// [`Endpoint::snapshot`]: headwater_core::endpoint::Endpoint::snapshot
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.endpoint.snapshot(self.clock.now())
    }

    /// Keeps a peer or a place out from now on; connections that fall under the rule are cut off.
    ///
    /// # Errors
    ///
    /// [`ApplicationError`]; nothing changed.
    pub fn block(&mut self, rule: Rule) -> Result<bool, ApplicationError> {
        self.endpoint.block(self.clock.now(), rule)
    }

    /// Takes a rule back; required peers that it kept out are dialled at once. Whether it was
    /// there.
    pub fn unblock(&mut self, rule: &Rule) -> bool {
        self.endpoint.unblock(self.clock.now(), rule)
    }

    /// Closes the connections to a peer, in order; the end is a notification. A required peer is
    /// left alone then, until [`connect`](Self::connect).
    ///
    /// # Errors
    ///
    /// [`ApplicationError::NotConnected`], if it is not required either.
    pub fn disconnect(&mut self, peer: PeerId) -> Result<(), ApplicationError> {
        self.endpoint.disconnect(self.clock.now(), peer)
    }

    /// Takes messages of a protocol from now on, and tells every peer so. Messages of a protocol
    /// that is not registered are dropped on arrival.
    ///
    /// # Errors
    ///
    /// [`ApplicationError`]; nothing changed.
    pub fn register(&mut self, protocol: ProtocolId) -> Result<(), ApplicationError> {
        self.endpoint.register(self.clock.now(), protocol)
    }

    /// Takes messages of a protocol no more, and tells every peer so.
    ///
    /// # Errors
    ///
    /// [`ApplicationError`]; nothing changed.
    pub fn unregister(&mut self, protocol: &ProtocolId) -> Result<(), ApplicationError> {
        self.endpoint.unregister(self.clock.now(), protocol)
    }

    /// Queues a message for a peer, or says why not.
    ///
    /// `Ok` means queued: what is then lost with a connection is counted in a notification.
    /// Messages to one peer may overtake each other, unless they go on a borrowed stream. After
    /// `Full` there is room again when turns have sent some.
    ///
    /// # Errors
    ///
    /// [`SendError`], by type; nothing was queued and the payload comes back.
    pub fn send(
        &mut self,
        peer: &PeerId,
        protocol: &ProtocolId,
        payload: Bytes,
    ) -> Result<(), SendError<Bytes>> {
        // No look at the clock for each message: the next turn has one.
        self.queued = true;
        self.endpoint.enqueue(peer, protocol, payload)
    }

    /// Takes the next received message; its credit returns to the peer.
    ///
    /// The payload is a slice of what was received: see [`Message::detach`] for keeping it.
    pub fn poll_message(&mut self) -> Option<Message> {
        self.endpoint.poll_message(self.clock.now())
    }

    /// Exchanges `batch`, from which everything was popped, for received messages of one
    /// connection; `false` if there are none.
    pub fn take_messages(&mut self, batch: &mut Batch) -> bool {
        self.endpoint.take_messages(self.clock.now(), batch)
    }

    /// Takes the next notification.
    pub fn poll_notification(&mut self) -> Option<Notification> {
        self.endpoint.poll_notification()
    }

    /// Takes a stream of a peer for one's own: messages on it arrive in order.
    ///
    /// # Errors
    ///
    /// [`BorrowError`]; after `Pending` it is worth asking again after a turn.
    pub fn borrow(
        &mut self,
        peer: &PeerId,
        protocol: &ProtocolId,
    ) -> Result<BorrowedId, BorrowError> {
        self.endpoint.borrow(self.clock.now(), peer, protocol)
    }

    /// Queues a message on a borrowed stream, behind the earlier ones.
    ///
    /// # Errors
    ///
    /// `Full`, `TooLarge`, or `Closed` when the stream is lost; nothing was queued and the
    /// payload comes back.
    pub fn send_borrowed(
        &mut self,
        stream: BorrowedId,
        protocol: &ProtocolId,
        payload: Bytes,
    ) -> Result<(), SendError<Bytes>> {
        self.endpoint.send_borrowed(self.clock.now(), stream, protocol, payload)
    }

    /// Gives a borrowed stream back; what was sent on it still leaves.
    pub fn give_back(&mut self, stream: BorrowedId) {
        self.endpoint.give_back(self.clock.now(), stream);
    }

    /// Takes the next news of a borrowed stream.
    pub fn poll_borrowed(&mut self) -> Option<(BorrowedId, LaneNews)> {
        self.endpoint.poll_borrowed()
    }

    /// Stops the node: listeners first, then each connection sends what it has and closes, within
    /// `close_deadline`. Turns go on until they say that it is over.
    pub fn stop(&mut self) {
        self.endpoint.stop(self.clock.now());
    }

    /// Whether the node has stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.endpoint.is_stopped()
    }
}
