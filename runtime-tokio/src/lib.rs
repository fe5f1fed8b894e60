//! Headwater on tokio: sockets, timers and tasks for the machines of `headwater_core`.
//!
//! One task is the node, one more is each connection, and one each listener. The application
//! has a [`Node`] handle to call and clone, [`Messages`] to read, and [`Notifications`]. All of
//! that is `headwater_runtime`; this crate has the [`Builder`] of nodes on [`Tokio`].
//!
//! ```
//! use headwater_tokio::{Address, Builder, NodeKey, ProtocolId, Started};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Builder::new(&NodeKey::generate()?)?;
//! let client = Builder::new(&NodeKey::generate()?)?;
//! let Started { node: server, mut messages, .. } = server.start()?;
//! let Started { node: client, .. } = client.start()?;
//!
//! let echo = ProtocolId::new("/echo/1.0.0")?;
//! server.register(echo.clone()).await?;
//! let address = server.listen("127.0.0.1:0".parse()?).await?;
//! let peer = client.dial(Address::from(address)).await?;
//! client.send_wait(&peer, &echo, "hello".into()).await?;
//! assert_eq!(messages.recv().await.expect("the node runs").payload, "hello");
//!
//! client.stop().await;
//! server.stop().await;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod runtime;

pub use runtime::{Tokio, TokioListener, TokioSocket, TokioTimer};

#[doc(inline)]
pub use headwater_runtime::{
    Address, Batch, BorrowError, Borrowed, Bytes, Config, Error, ListenError, Message, MessageRef,
    Messages, Node, Notification, Notifications, PeerId, ProtocolId, SendError, Sender, StartError,
    Started,
};
#[cfg(feature = "tls")]
#[doc(inline)]
pub use headwater_runtime::{NodeKey, Tls};

/// What a node on tokio is made of: its secure channels, its configuration, its seed. It starts
/// on the runtime around the call of `start`, which has to have its I/O and time drivers enabled.
///
/// ```
/// use headwater_tokio::{Builder, Config, NodeKey, Started};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = Config::default();
/// config.peers_max = 5;
/// let key = NodeKey::generate()?;
/// let Started { node, .. } = Builder::new(&key)?.config(config).start()?;
/// assert_eq!(node.id(), key.peer_id());
/// # Ok(())
/// # }
/// ```
pub type Builder<F> = headwater_runtime::Builder<F, Tokio>;
