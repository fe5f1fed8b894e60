//! The same scenarios on every runtime, of two nodes and of hand-written framing: one file for
//! each scenario, written once over [`Place`], [`Peer`] and [`Wire`].

pub mod idle;
pub mod mixed;
pub mod one_way;
pub mod ping_pong;
pub mod places;
pub mod setup;
mod wire;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use headwater_core::config::Config;
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::message::Message;
use rustls::{ClientConfig, ServerConfig};

use crate::Security;
pub use wire::{Framed, cut};

/// Any port of loopback.
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A runtime.
pub trait Place: Copy + Send + Sync + 'static {
    /// One end of a connection, in the clear or over TLS.
    type Wire: Wire;
    /// A node.
    type Peer: Peer;

    /// What it is called in tables.
    const NAME: &'static str;

    /// Waits for a future on the calling thread.
    fn block_on<T>(self, future: impl Future<Output = T>) -> T;

    /// Runs a task in the background, or on a thread of its own where there are no tasks.
    fn spawn<T: Send + 'static>(
        self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T> + Send;

    /// Sleeps.
    fn sleep(self, time: Duration) -> impl Future<Output = ()> + Send;

    /// Connects a socket to a listener, and gives both ends without TLS.
    fn connect(self, listener: &TcpListener) -> impl Future<Output = [Self::Wire; 2]> + Send;

    /// Has two ends make a TLS session.
    fn secure(
        self,
        ends: [Self::Wire; 2],
        configs: &(Arc<ClientConfig>, Arc<ServerConfig>),
    ) -> impl Future<Output = [Self::Wire; 2]> + Send;

    /// Starts a node.
    fn start(self, security: Security, config: Config) -> Self::Peer;
}

/// One end of a connection, as hand-written code has it.
pub trait Wire: Send + 'static {
    /// Writes all bytes.
    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = ()> + Send;

    /// Writes what was gathered and a payload behind it, from where they are.
    fn write_both(&mut self, gathered: Bytes, payload: Bytes) -> impl Future<Output = ()> + Send;

    /// Has everything leave.
    fn flush(&mut self) -> impl Future<Output = ()> + Send;

    /// Appends at most `room` bytes to the buffer, as soon as there are some.
    fn read(&mut self, buffer: &mut BytesMut, room: usize) -> impl Future<Output = ()> + Send;
}

/// A node.
pub trait Peer: Send + 'static {
    /// Sends messages of one protocol to one peer.
    type Sender: Clone + Send + 'static;

    /// Takes messages of a protocol.
    fn register(&self, protocol: &ProtocolId) -> impl Future<Output = ()> + Send;

    /// Listens on loopback.
    fn listen(&self) -> impl Future<Output = SocketAddr> + Send;

    /// Connects.
    fn dial(&self, address: SocketAddr) -> impl Future<Output = PeerId> + Send;

    /// A sender to a connected peer; `None` if it does not support the protocol (yet).
    fn sender(&self, peer: &PeerId, protocol: &ProtocolId) -> Option<Self::Sender>;

    /// Sends a message, waiting for room.
    fn send(sender: &mut Self::Sender, payload: Bytes) -> impl Future<Output = ()> + Send;

    /// The next message.
    fn recv(&mut self) -> impl Future<Output = Message> + Send;
}

/// The protocol of the benches.
///
/// # Panics
///
/// Never: the name is a constant.
#[must_use]
pub fn protocol() -> ProtocolId {
    ProtocolId::new("/bench").expect("an id")
}

/// Two nodes, the first of which has dialled the second, with a sender each to the other.
///
/// # Panics
///
/// If loopback does not work.
pub async fn peers<P: Place>(place: P, security: Security) -> [(P::Peer, Sender<P>); 2] {
    let one = place.start(security, Config::default());
    let two = place.start(security, Config::default());
    for peer in [&one, &two] {
        peer.register(&protocol()).await;
    }
    let address = two.listen().await;
    let second = one.dial(address).await;
    let forth = one.sender(&second, &protocol()).expect("supported");
    P::Peer::send(&mut forth.clone(), Bytes::from_static(b"first")).await;
    let mut two = two;
    let first = two.recv().await.peer;
    let back = two.sender(&first, &protocol()).expect("supported");
    [(one, forth), (two, back)]
}

/// What sends on a place.
pub type Sender<P> = <<P as Place>::Peer as Peer>::Sender;

/// The two ends of a connection, with framing around them.
///
/// # Panics
///
/// If loopback does not work.
pub async fn framed<P: Place>(place: P, security: Security) -> [Framed<P::Wire>; 2] {
    let listener = TcpListener::bind(ANY).expect("bound");
    let mut ends = place.connect(&listener).await;
    if security == Security::Tls {
        ends = place.secure(ends, &crate::configs::configs()).await;
    }
    ends.map(Framed::new)
}

/// A payload whose first bytes are a time, in nanoseconds since `base`.
fn stamped(base: std::time::Instant, len: usize) -> Bytes {
    let mut payload = BytesMut::with_capacity(len);
    let nanos = u64::try_from(base.elapsed().as_nanos()).unwrap_or(u64::MAX);
    payload.put_u64(nanos);
    payload.resize(len, 7);
    payload.freeze()
}

/// How long a stamped payload was under way.
fn age(base: std::time::Instant, payload: &[u8]) -> Duration {
    let sent = payload.first_chunk().map_or(0, |stamp| u64::from_be_bytes(*stamp));
    base.elapsed().saturating_sub(Duration::from_nanos(sent))
}
