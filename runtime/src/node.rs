//! The handle to a running node.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_channel::oneshot;
use headwater_core::address::Address;
use headwater_core::contract::RequiredId;
use headwater_core::error::{BorrowError, SendError};
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::peers::Rule;
use headwater_core::protocol::ProtocolSet;
use headwater_core::snapshot::Snapshot;
use headwater_core::supervisor::RequiredState;

use crate::call::{Call, Change};
use crate::error::{Error, ListenError};
use crate::lanes::request;
use crate::routes::NoWay;
use crate::sender::{Borrowed, Sender, push_wait};
use crate::shared::{Shared, UNHELD};

/// A running node. Clones are handles to the same one; methods may be called from any task.
///
/// The node runs until [`Node::stop`], or until its last handle is dropped (a [`Sender`] and a
/// [`Borrowed`] hold one): then it stops by itself, as orderly as if it were told.
///
/// ```
/// use headwater_tokio::{Builder, NodeKey, Started};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = NodeKey::generate()?;
/// let Started { node, mut messages, .. } = Builder::new(&key)?.start()?;
/// let local = node.listen("127.0.0.1:0".parse()?).await?;
/// assert_ne!(local.port(), 0);
/// node.stop().await;
/// assert!(messages.recv().await.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Node {
    pub(crate) shared: Arc<Shared>,
    _held: Arc<Held>,
}

/// There is a handle to the node.
#[derive(Debug)]
struct Held(Arc<Shared>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.wake.set(UNHELD);
    }
}

impl Node {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { _held: Arc::new(Held(Arc::clone(&shared))), shared }
    }

    /// This node's id.
    #[must_use]
    pub fn id(&self) -> PeerId {
        self.shared.local
    }

    /// Listens on an address; port 0 leaves the choice to the system. Gives what it is bound to.
    ///
    /// The port is not shared: one that is in use is an error (D-67). If the future is dropped
    /// the node may listen all the same.
    ///
    /// # Errors
    ///
    /// [`ListenError`]; the node does not listen there.
    pub async fn listen(&self, address: SocketAddr) -> Result<SocketAddr, ListenError> {
        let (answer, result) = oneshot::channel();
        let call = Call::Listen { address, answer };
        self.shared.call(call).await.map_err(|_| ListenError::Stopped)?;
        result.await.unwrap_or(Err(ListenError::Stopped))
    }

    /// Connects to a peer; gives its id once messages may be sent to it. If it is connected
    /// already, at once.
    ///
    /// It ends within `dial_deadline`. If the future is dropped the dial goes on.
    ///
    /// # Errors
    ///
    /// [`Error::Dial`] with the reason of the last attempt, [`Error::Call`] if it was not even
    /// begun.
    pub async fn dial(&self, address: Address) -> Result<PeerId, Error> {
        let (answer, result) = oneshot::channel();
        let call = Call::Dial { address, answer };
        self.shared.call(call).await.map_err(|_| Error::Stopped)?;
        result.await.unwrap_or(Err(Error::Stopped))
    }

    /// Connects to a peer at the addresses that are known of it, the best first: those under which
    /// it is required, and those that worked lately. A required peer that was disconnected or given
    /// up is kept connected again.
    ///
    /// # Errors
    ///
    /// As [`dial`](Self::dial).
    pub async fn connect(&self, peer: PeerId) -> Result<PeerId, Error> {
        let (answer, result) = oneshot::channel();
        let call = Call::Connect { peer, answer };
        self.shared.call(call).await.map_err(|_| Error::Stopped)?;
        result.await.unwrap_or(Err(Error::Stopped))
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
    pub async fn require(&self, addresses: Vec<Address>) -> Result<RequiredId, Error> {
        let (answer, result) = oneshot::channel();
        let call = Call::Require { addresses, answer };
        self.shared.call(call).await.map_err(|_| Error::Stopped)?;
        result.await.map_err(|_| Error::Stopped)?.map_err(Error::Call)
    }

    /// Gives a required peer other addresses, at once: it is dialled there if it is not connected,
    /// and no longer where it was.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; nothing changed.
    pub async fn set_required(
        &self,
        required: RequiredId,
        addresses: Vec<Address>,
    ) -> Result<(), Error> {
        self.change(Change::SetRequired(required, addresses)).await
    }

    /// Requires a peer no longer, at once: a dial to it is cancelled, a connection stays.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; nothing changed.
    pub async fn release(&self, required: RequiredId) -> Result<(), Error> {
        self.change(Change::Release(required)).await
    }

    /// How it stands with a required peer, and why; `None` if there is none of that name.
    pub async fn required_state(&self, required: RequiredId) -> Option<RequiredState> {
        let (answer, result) = oneshot::channel();
        let call = Call::RequiredState { required, answer };
        self.shared.call(call).await.ok()?;
        result.await.ok()?
    }

    /// What the node knows of itself: its peers and why they are not connected, its connections
    /// and what blocks them, counters and limits. Times in it are on the node's own clock;
    /// `node.at` is now.
    ///
    /// Each connection is consistent in itself, and the node is. It costs each of them a moment,
    /// so it is for a look now and then.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        let (answer, result) = oneshot::channel();
        self.shared.call(Call::Parts { answer }).await.map_err(|_| Error::Stopped)?;
        let mut parts = Vec::new();
        for part in result.await.map_err(|_| Error::Stopped)? {
            // One that has ended meanwhile is in the node's totals.
            parts.extend(part.await);
        }
        let (answer, result) = oneshot::channel();
        self.shared.call(Call::Snapshot { answer }).await.map_err(|_| Error::Stopped)?;
        let node = result.await.map_err(|_| Error::Stopped)?;
        Ok(Snapshot::join(node, parts))
    }

    /// Keeps a peer or a place out from now on; connections that fall under the rule are cut off.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; nothing changed.
    pub async fn block(&self, rule: Rule) -> Result<(), Error> {
        self.change(Change::Block(rule)).await
    }

    /// Takes a rule back; required peers that it kept out are dialled at once.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`]; nothing changed.
    pub async fn unblock(&self, rule: Rule) -> Result<(), Error> {
        self.change(Change::Unblock(rule)).await
    }

    /// Closes the connections to a peer, in order; the end is told as a notification. A
    /// required peer is left alone then, until [`connect`](Self::connect).
    ///
    /// # Errors
    ///
    /// [`Error::Call`] if it is not connected, nor required.
    pub async fn disconnect(&self, peer: PeerId) -> Result<(), Error> {
        self.change(Change::Disconnect(peer)).await
    }

    /// Takes messages of a protocol from now on, and tells every peer so. Messages of a protocol
    /// that is not registered are dropped on arrival.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; nothing changed.
    pub async fn register(&self, protocol: ProtocolId) -> Result<(), Error> {
        self.change(Change::Register(protocol)).await
    }

    /// Takes messages of a protocol no more, and tells every peer so.
    ///
    /// # Errors
    ///
    /// [`Error::Call`]; nothing changed.
    pub async fn unregister(&self, protocol: &ProtocolId) -> Result<(), Error> {
        self.change(Change::Unregister(protocol.clone())).await
    }

    async fn change(&self, change: Change) -> Result<(), Error> {
        let (answer, result) = oneshot::channel();
        let call = Call::Change { change, answer };
        self.shared.call(call).await.map_err(|_| Error::Stopped)?;
        result.await.map_err(|_| Error::Stopped)?.map_err(Error::Call)
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
        mut payload: Bytes,
    ) -> Result<(), SendError<Bytes>> {
        let result = self.shared.routes.push(peer, protocol, &mut payload, &mut None);
        result.map_err(|refused| refused.with(payload))
    }

    /// Waits until there is room for a message, and queues it. Those who wait take turns.
    ///
    /// Cancel-safe: a dropped future has sent nothing.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), without `Full`.
    pub async fn send_wait(
        &self,
        peer: &PeerId,
        protocol: &ProtocolId,
        payload: Bytes,
    ) -> Result<(), SendError<Bytes>> {
        push_wait(&self.shared.routes, peer, protocol, payload, &mut None).await
    }

    /// A sender that remembers the way to a peer, for more than a few messages.
    ///
    /// # Errors
    ///
    /// `NotConnected`, `NotSupported` or `Closed`.
    pub fn sender(&self, peer: &PeerId, protocol: &ProtocolId) -> Result<Sender, SendError<()>> {
        let route = self.shared.routes.way(peer, protocol).map_err(|no_way| no_way.with(()))?;
        Ok(Sender::new(self.clone(), *peer, protocol.clone(), route))
    }

    /// Takes a stream of a peer for one's own: messages on it arrive in order. Waits while all
    /// streams are in use.
    ///
    /// Cancel-safe: a stream that comes too late for a dropped future goes back.
    ///
    /// # Errors
    ///
    /// [`BorrowError`].
    pub async fn borrow(
        &self,
        peer: &PeerId,
        protocol: &ProtocolId,
    ) -> Result<Borrowed, BorrowError> {
        let answer = {
            let route = self.shared.routes.way(peer, protocol).map_err(|no_way| match no_way {
                NoWay::NotConnected => BorrowError::NotConnected,
                NoWay::NotSupported => BorrowError::NotSupported,
                NoWay::Closed => BorrowError::Closed,
            })?;
            request(route.pick().ok_or(BorrowError::NotConnected)?)?
        };
        let hold = answer.await.unwrap_or(Err(BorrowError::Closed))?;
        Ok(Borrowed::new(self.clone(), hold, *peer, protocol.clone()))
    }

    /// Whether a peer is connected and supports a protocol.
    #[must_use]
    pub fn supports(&self, peer: &PeerId, protocol: &ProtocolId) -> bool {
        self.shared.routes.way(peer, protocol).is_ok()
    }

    /// What a connected peer supports.
    #[must_use]
    pub fn protocols(&self, peer: &PeerId) -> Option<ProtocolSet> {
        self.shared.routes.find(peer).map(|route| route.protocols().clone())
    }

    /// The connected peers, in the order of their ids.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerId> {
        self.shared.routes.peers()
    }

    /// Stops the node: listeners first, then each connection sends what it has and closes, within
    /// `close_deadline`. Returns when every task of the node has ended.
    ///
    /// It waits for no reader: messages and notifications that came before, all of them, can
    /// still be read after it. Calling it again, from here or there, waits for the same end; if
    /// the future is dropped the node stops all the same.
    pub async fn stop(&self) {
        // An error means that the task has ended.
        let _ = self.shared.call(Call::Stop).await;
        self.shared.ended().await;
    }
}
