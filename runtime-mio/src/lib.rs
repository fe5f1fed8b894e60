//! Headwater on mio: a hand-rolled readiness loop.
//!
//! Everything that a node decides is in `headwater-core`; this crate moves its bytes. It comes in
//! two forms:
//!
//! - [`EventLoop`], the loop itself, made by [`Builder::build`]. It belongs to one thread, which
//!   calls [`EventLoop::turn`] and in between whatever else it wants; nothing is locked.
//! - [`Handle`], [`Messages`] and [`Notifications`], made by [`Builder::start`] or
//!   [`EventLoop::spawn`]: the loop runs on a thread of its own, and others talk to it.
//!
//! To wait on this loop and on something else together, wait for the loop's descriptor (on Unix it
//! has `AsRawFd`) to become readable, for [`EventLoop::next_timeout`] at most, and then call
//! `turn(Some(Duration::ZERO))`.
//!
//! # An echo, both ways
//!
//! ```
//! use headwater_mio::{Address, Builder, NodeKey, ProtocolId, Started};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let echo = ProtocolId::new("/echo/1.0.0")?;
//! let server = Builder::new(&NodeKey::generate()?)?;
//! let Started { handle: server, messages: mut requests, .. } = server.start()?;
//! server.register(echo.clone())?;
//! let local = server.listen("127.0.0.1:0".parse()?)?;
//!
//! let answering = server.clone();
//! let thread = std::thread::spawn(move || {
//!     while let Some(message) = requests.recv() {
//!         // A node that says no has changed its mind since it asked.
//!         let _ = answering.send(&message.peer, &message.protocol, message.payload);
//!     }
//! });
//!
//! let client = Builder::new(&NodeKey::generate()?)?;
//! let Started { handle: client, mut messages, mut notifications, .. } = client.start()?;
//! client.register(echo.clone())?;
//! let peer = client.dial(Address::from(local))?;
//! while !client.supports(&peer, &echo) {
//!     notifications.recv();
//! }
//! client.send(&peer, &echo, "hello".into())?;
//! assert_eq!(messages.recv().expect("the node runs").payload, "hello");
//!
//! client.stop();
//! server.stop();
//! thread.join().expect("it ends with the node");
//! # Ok(())
//! # }
//! ```

#![deny(unsafe_code)]

mod builder;
mod call;
mod cause;
mod clock;
mod error;
mod event_loop;
mod handle;
mod lane;
mod link;
mod listener;
mod messages;
mod notifications;
mod queues;
mod resolver;
mod routes;
mod sender;
mod shared;
mod signal;
mod worker;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use builder::{Builder, Started};
pub use error::{Error, ListenError, StartError};
pub use event_loop::EventLoop;
pub use handle::Handle;
pub use messages::Messages;
pub use notifications::Notifications;
pub use sender::{Borrowed, Sender};

pub use bytes::Bytes;
pub use headwater_core::address::Address;
pub use headwater_core::config::Config;
pub use headwater_core::contract::Notification;
pub use headwater_core::error::{BorrowError, SendError};
pub use headwater_core::id::{PeerId, ProtocolId};
pub use headwater_core::message::{Batch, Message};
#[cfg(feature = "tls")]
pub use headwater_identity::NodeKey;
#[cfg(feature = "tls")]
pub use headwater_tls::Tls;

/// Locks, also after a panic of another thread: no invariant spans two statements under a lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
