//! Headwater on futures: the tasks of a node over the machines of `headwater_core`, for any
//! runtime that implements [`Runtime`].
//!
//! Most programs take an adapter that has one: `headwater_tokio`, or `headwater_async_std` for
//! smol and async-std. They say [`Builder`] for their own runtime, and everything else here is
//! theirs as it is.
//!
//! One task is the node, one more is each connection, and one each listener. The application
//! has a [`Node`] handle to call and clone, [`Messages`] to read, and [`Notifications`].

#![forbid(unsafe_code)]

mod alarm;
mod builder;
mod call;
mod cause;
mod connection;
mod control;
mod dial;
mod error;
#[cfg(test)]
mod fake;
mod inbox;
mod lanes;
mod link;
mod listen;
mod messages;
mod node;
mod notifications;
mod queue;
mod routes;
mod runtime;
mod sender;
mod shared;
mod tasks;
mod wake;

pub use builder::{Builder, Started};
pub use error::{Error, ListenError, StartError};
pub use messages::Messages;
pub use node::Node;
pub use notifications::Notifications;
pub use runtime::{Listener, Runtime, Socket, Timer};
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
