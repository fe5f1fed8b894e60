//! Headwater on smol and on async-std: sockets and timers of async-io for the machines of
//! `headwater_core`.
//!
//! One task is the node, one more is each connection, and one each listener. The application
//! has a [`Node`] handle to call and clone, [`Messages`] to read, and [`Notifications`]. All of
//! that is `headwater_runtime`; this crate has the [`Builder`] of nodes on smol (feature `smol`,
//! the default), that of nodes on async-std (feature `async-std`), and [`BuilderOn`] for any
//! other [`Executor`]. Both features may be on in one program, and their nodes talk to each other.
//!
//! **async-std is discontinued** ([RUSTSEC-2025-0052]): take smol for anything new. For programs
//! that still run on async-std nothing of that crate is needed here, only the executor that it
//! uses itself.
//!
//! [RUSTSEC-2025-0052]: https://rustsec.org/advisories/RUSTSEC-2025-0052.html
//!
//! ```
//! # #[cfg(all(feature = "smol", feature = "tls"))]
//! # mod example {
//! use headwater_async_std::{Address, Builder, NodeKey, ProtocolId, Started};
//!
//! # pub fn main() -> Result<(), Box<dyn std::error::Error>> {
//! smol::block_on(async {
//!     let server = Builder::new(&NodeKey::generate()?)?;
//!     let client = Builder::new(&NodeKey::generate()?)?;
//!     let Started { node: server, mut messages, .. } = server.start()?;
//!     let Started { node: client, .. } = client.start()?;
//!
//!     let echo = ProtocolId::new("/echo/1.0.0")?;
//!     server.register(echo.clone()).await?;
//!     let address = server.listen("127.0.0.1:0".parse()?).await?;
//!     let peer = client.dial(Address::from(address)).await?;
//!     client.send_wait(&peer, &echo, "hello".into()).await?;
//!     assert_eq!(messages.recv().await.expect("the node runs").payload, "hello");
//!
//!     client.stop().await;
//!     server.stop().await;
//!     Ok(())
//! })
//! # }
//! # }
//! # #[cfg(all(feature = "smol", feature = "tls"))]
//! # example::main().unwrap();
//! ```

#![deny(unsafe_code)]

mod executor;
mod runtime;
mod socket;

#[cfg(feature = "async-std")]
pub use executor::AsyncStd;
pub use executor::Executor;
#[cfg(feature = "smol")]
pub use executor::Smol;
pub use runtime::{AsyncIo, IoTimer};
pub use socket::{IoListener, IoSocket};

#[doc(inline)]
pub use headwater_runtime::{
    Address, Batch, BorrowError, Borrowed, Bytes, Config, Error, ListenError, Message, MessageRef,
    Messages, Node, Notification, Notifications, PeerId, ProtocolId, SendError, Sender, StartError,
    Started,
};
#[cfg(feature = "tls")]
#[doc(inline)]
pub use headwater_runtime::{NodeKey, Tls};

/// What a node on smol is made of: its secure channels, its configuration, its seed. It starts on
/// the executor of `smol::spawn`.
#[cfg(feature = "smol")]
pub type Builder<F> = BuilderOn<F, Smol>;

/// The same on async-std: it starts on the executor of `async_std::task::spawn`.
///
/// ```
/// # #[cfg(all(feature = "async-std", feature = "tls"))]
/// # async_std::task::block_on(async {
/// use headwater_async_std::{AsyncStdBuilder, NodeKey, Started};
///
/// let key = NodeKey::generate()?;
/// let Started { node, .. } = AsyncStdBuilder::new(&key)?.start()?;
/// assert_eq!(node.id(), key.peer_id());
/// node.stop().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[cfg(feature = "async-std")]
pub type AsyncStdBuilder<F> = BuilderOn<F, AsyncStd>;

/// The same on any executor. One that is not global is named:
///
/// ```
/// # #[cfg(all(feature = "smol", feature = "tls"))]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
///
/// use headwater_async_std::{AsyncIo, BuilderOn, NodeKey, Started};
///
/// let executor = Arc::new(smol::Executor::new());
/// let runtime = AsyncIo::new(Arc::downgrade(&executor));
/// smol::block_on(executor.run(async {
///     let builder = BuilderOn::new(&NodeKey::generate()?)?.runtime(runtime);
///     let Started { node, .. } = builder.start()?;
///     node.stop().await;
///     Ok(())
/// }))
/// # }
/// # #[cfg(not(all(feature = "smol", feature = "tls")))]
/// # fn main() {}
/// ```
pub type BuilderOn<F, E> = headwater_runtime::Builder<F, AsyncIo<E>>;

/// The examples of the README compile.
#[cfg(all(doctest, feature = "smol", feature = "tls"))]
#[doc = include_str!("../README.md")]
struct Readme;
