//! The handle to a node that runs on a thread of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::contract::RequiredId;
use headwater_core::error::{BorrowError, SendError};
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::peers::Rule;
use headwater_core::pool::WasEmpty;
use headwater_core::protocol::ProtocolSet;
use headwater_core::snapshot::Snapshot;
use headwater_core::supervisor::RequiredState;

use crate::call::{Borrow, Call, Caller, Change};
use crate::error::{Error, ListenError};
use crate::queues::{Patience, Sending};
use crate::routes::{NoWay, Offer, Way};
use crate::sender::{Borrowed, Sender};
use crate::shared::{Mark, Shared};

/// A running node. Clones are handles to the same one; methods may be called from any thread, and
/// those that wait block it.
///
/// The node runs until [`Handle::stop`], or until its last handle is dropped (a [`Sender`] and a
/// [`Borrowed`] hold one): then it stops by itself, as orderly as if it were told.
///
/// ```
/// use headwater_mio::{Builder, NodeKey, Started};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = NodeKey::generate()?;
/// let Started { handle, mut messages, thread, .. } = Builder::new(&key)?.start()?;
/// let local = handle.listen("127.0.0.1:0".parse()?)?;
/// assert_ne!(local.port(), 0);
/// handle.stop();
/// assert!(messages.recv().is_none());
/// thread.join().expect("the loop does not panic")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
    caller: Arc<Caller>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>, caller: Caller) -> Self {
        Self { shared, caller: Arc::new(caller) }
    }

    /// This node's id.
    #[must_use]
    pub fn id(&self) -> PeerId {
        self.shared.local
    }

    /// Listens on an address; port 0 leaves the choice to the system. Gives what it is bound to.
    ///
    /// The port is not shared: one that is in use is an error (D-67). Waits for the loop alone.
    ///
    /// # Errors
    ///
    /// [`ListenError`]; the node does not listen there.
    pub fn listen(&self, address: SocketAddr) -> Result<SocketAddr, ListenError> {
        let answer = self.caller.call(|answer| Call::Listen { address, answer });
        answer.unwrap_or(Err(ListenError::Stopped))
    }

    /// Connects to a peer; gives its id once messages may be sent to it. If it is connected
    /// already, at once.
    ///
    /// Waits `dial_deadline` at most.
    ///
    /// # Errors
    ///
    /// [`Error::Dial`] with the reason of the last attempt, [`Error::Call`] if it was not even
    /// begun.
    pub fn dial(&self, address: Address) -> Result<PeerId, Error> {
        let answer = self.caller.call(|answer| Call::Dial { address, answer });
        answer.unwrap_or(Err(Error::Stopped))
    }

    /// Connects to a peer at the addresses that are known of it, the best first: those under which
    /// it is required, and those that worked lately. A required peer that was disconnected or given
    /// up is kept connected again.
    ///
    /// # Errors
    ///
    /// As [`dial`](Self::dial).
    pub fn connect(&self, peer: PeerId) -> Result<PeerId, Error> {
        let answer = self.caller.call(|answer| Call::Connect { peer, answer });
        answer.unwrap_or(Err(Error::Stopped))
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
    /// [`Error::Call`]; nothing changed.
    pub fn require(&self, addresses: Vec<Address>) -> Result<RequiredId, Error> {
        let answer = self.caller.call(|answer| Call::Require { addresses, answer });
        answer.ok_or(Error::Stopped)?.map_err(Error::Call)
    }

    /// Gives a required peer other addresses, at once: it is dialled there if it is not connected,
    /// and no longer where it was.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; nothing changed.
    pub fn set_required(&self, required: RequiredId, addresses: Vec<Address>) -> Result<(), Error> {
        self.change(Change::SetRequired(required, addresses))
    }

    /// Requires a peer no longer, at once: a dial to it is cancelled, a connection stays.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; nothing changed.
    pub fn release(&self, required: RequiredId) -> Result<(), Error> {
        self.change(Change::Release(required))
    }

    /// How it stands with a required peer, and why; `None` if there is none of that name.
    pub fn required_state(&self, required: RequiredId) -> Option<RequiredState> {
        self.caller.call(|answer| Call::RequiredState { required, answer })?
    }

    /// What the node knows of itself: its peers and why they are not connected, its connections
    /// and what blocks them, counters and limits. Times in it are on the node's own clock;
    /// `node.at` is now. It holds the loop up for a moment, so it is for a look now and then.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        let answer = self.caller.call(|answer| Call::Snapshot { answer });
        answer.map(|snapshot| *snapshot).ok_or(Error::Stopped)
    }

    /// Keeps a peer or a place out from now on; connections that fall under the rule are cut off.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; nothing changed.
    pub fn block(&self, rule: Rule) -> Result<(), Error> {
        self.change(Change::Block(rule))
    }

    /// Takes a rule back; required peers that it kept out are dialled at once.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`]; nothing changed.
    pub fn unblock(&self, rule: Rule) -> Result<(), Error> {
        self.change(Change::Unblock(rule))
    }

    /// Closes the connections to a peer, in order; the end is told as a notification. A
    /// required peer is left alone then, until [`connect`](Self::connect).
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if it is not connected, nor required.
    pub fn disconnect(&self, peer: PeerId) -> Result<(), Error> {
        self.change(Change::Disconnect(peer))
    }

    /// Takes messages of a protocol from now on, and tells every peer so. Messages of a protocol
    /// that is not registered are dropped on arrival.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; nothing changed.
    pub fn register(&self, protocol: ProtocolId) -> Result<(), Error> {
        self.change(Change::Register(protocol))
    }

    /// Takes messages of a protocol no more, and tells every peer so.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; nothing changed.
    pub fn unregister(&self, protocol: &ProtocolId) -> Result<(), Error> {
        self.change(Change::Unregister(protocol.clone()))
    }

    fn change(&self, change: Change) -> Result<(), Error> {
        let answer = self.caller.call(|answer| Call::Change { change, answer });
        answer.ok_or(Error::Stopped)?.map_err(Error::Call)
    }

    /// Queues a message for a peer, or says at once why not. It never waits.
    ///
    /// `Ok` means queued: what is then lost with a connection is counted in a notification.
    /// Messages to one peer may overtake each other, unless they go on a [`Borrowed`] stream.
    ///
    /// # Errors
    ///
    /// [`SendError`], by type; nothing was queued and the payload comes back.
    pub fn send(
        &self,
        peer: &PeerId,
        protocol: &ProtocolId,
        payload: Bytes,
    ) -> Result<(), SendError<Bytes>> {
        self.push((peer, protocol), &mut None, payload)
    }

    /// Waits until there is room for a message, `timeout` at most, and queues it.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); `Full` when the time is over.
    pub fn send_wait(
        &self,
        peer: &PeerId,
        protocol: &ProtocolId,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<(), SendError<Bytes>> {
        self.push_wait((peer, protocol), &mut None, payload, timeout)
    }

    pub(crate) fn push(
        &self,
        to: (&PeerId, &ProtocolId),
        cached: &mut Option<Arc<Way>>,
        mut payload: Bytes,
    ) -> Result<(), SendError<Bytes>> {
        let pushed = self.offer(to, cached, |outbox| {
            let (result, was_empty) = outbox.push(|outbox| outbox.push_from(to.1, &mut payload));
            (result.map(|_| ()), was_empty)
        });
        pushed.map_err(|error| error.about(payload))
    }

    pub(crate) fn push_wait(
        &self,
        to: (&PeerId, &ProtocolId),
        cached: &mut Option<Arc<Way>>,
        mut payload: Bytes,
        timeout: Duration,
    ) -> Result<(), SendError<Bytes>> {
        let mut patience = Patience::new(timeout);
        let pushed = self.offer(to, cached, |outbox| {
            match outbox.push_wait(to.1, &mut payload, &mut patience) {
                Ok(was_empty) => (Ok(()), was_empty),
                Err(error) => (Err(error), WasEmpty(false)),
            }
        });
        pushed.map_err(|error| error.about(payload))
    }

    pub(crate) fn offer(
        &self,
        to: (&PeerId, &ProtocolId),
        cached: &mut Option<Arc<Way>>,
        push: impl FnMut(&Sending) -> Offer,
    ) -> Result<(), SendError<()>> {
        self.shared.routes.offer(to, cached, push, |queues| {
            self.shared.mark_urgent(Mark::Queues(Arc::clone(queues)));
        })
    }

    /// A sender that remembers the way to a peer, for more than a few messages.
    ///
    /// # Errors
    ///
    /// `NotConnected`, `NotSupported` or `Closed`.
    pub fn sender(&self, peer: &PeerId, protocol: &ProtocolId) -> Result<Sender, SendError<()>> {
        let way = self.shared.routes.way(peer, protocol).map_err(NoWay::error)?;
        Ok(Sender::new(self.clone(), *peer, protocol.clone(), way))
    }

    /// Takes a stream of a peer for one's own: messages on it arrive in order. Waits while all
    /// streams are in use, `timeout` at most.
    ///
    /// # Errors
    ///
    /// [`BorrowError`]; `Pending` when the time is over.
    pub fn borrow(
        &self,
        peer: &PeerId,
        protocol: &ProtocolId,
        timeout: Duration,
    ) -> Result<Borrowed, BorrowError> {
        let until = Instant::now().checked_add(timeout);
        let (peer, protocol) = (*peer, protocol.clone());
        let name = protocol.clone();
        let answer =
            self.caller.call(|answer| Call::Borrow(Borrow { peer, protocol: name, until, answer }));
        let lane = answer.unwrap_or(Err(BorrowError::Closed))?;
        Ok(Borrowed::new(self.clone(), lane, peer, protocol))
    }

    /// Whether a peer is connected and supports a protocol.
    #[must_use]
    pub fn supports(&self, peer: &PeerId, protocol: &ProtocolId) -> bool {
        self.shared.routes.way(peer, protocol).is_ok()
    }

    /// What a connected peer supports.
    #[must_use]
    pub fn protocols(&self, peer: &PeerId) -> Option<ProtocolSet> {
        self.shared.routes.find(peer).map(|way| way.route.protocols().clone())
    }

    /// The connected peers, in the order of their ids.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerId> {
        self.shared.routes.peers()
    }

    /// Stops the node: listeners first, then each connection sends what it has and closes, within
    /// `close_deadline`. Returns when the loop has ended and its sockets are closed.
    ///
    /// It waits for no reader: messages and notifications that came before, all of them, can
    /// still be read after it. Calling it again, from here or there, waits for the same end.
    pub fn stop(&self) {
        self.caller.send(Call::Stop);
        self.shared.await_end();
    }
}
