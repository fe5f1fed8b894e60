//! Headwater on tokio: sockets, timers and tasks for the machines of `headwater_core`.
//!
//! One task is the node, one more is each connection, and one each listener. The application
//! has a [`Node`] handle to call and clone, [`Messages`] to read, and [`Notifications`].
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

mod builder;
mod call;
mod cause;
mod clock;
mod connection;
mod control;
mod dial;
mod error;
mod inbox;
mod lanes;
mod link;
mod listen;
mod messages;
mod node;
mod notifications;
mod routes;
mod sender;
mod shared;
mod wake;

pub use builder::{Builder, Started};
pub use error::{Error, ListenError, StartError};
pub use messages::Messages;
pub use node::Node;
pub use notifications::Notifications;
pub use sender::{Borrowed, Sender};

pub use bytes::Bytes;
pub use headwater_core::address::Address;
pub use headwater_core::config::Config;
pub use headwater_core::contract::Notification;
pub use headwater_core::error::{BorrowError, SendError};
pub use headwater_core::id::{PeerId, ProtocolId};
pub use headwater_core::message::{Batch, Message, MessageRef};
#[cfg(feature = "tls")]
pub use headwater_identity::NodeKey;
#[cfg(feature = "tls")]
pub use headwater_tls::Tls;
