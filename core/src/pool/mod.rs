//! How messages find a stream: what waits for one, the streams of a connection, and the
//! connection of a peer that takes a message.
//!
//! An [`Outbox`] holds encoded messages until a connection frames them. [`SendStreamPool`] lends
//! the long-lived streams of that connection (spec 5.1). [`Route`] picks the connection of a
//! peer, and [`PoolManager`] makes the routes of all peers and says when one more connection is
//! needed (spec 5.2, 5.3).

mod config;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod lanes;
pub mod manager;
pub mod outbox;
pub mod route;
pub mod send;
mod tally;

pub use config::{CAP_MAX, PoolConfig, PoolConfigError};
pub use lanes::{Item, LargeMessage, SmallBatch};
pub use manager::{ManagerConfig, ManagerError, PoolManager, Removed};
pub use outbox::{Outbox, OutboxConfig, PushError, PushedMany, Sizes, WasEmpty};
pub use route::{Entry, Load, LoadSource, Route};
pub use send::{BorrowError, PoolCounts, PoolError, Returned, SendStreamPool};
pub use tally::{Counted, Tally};
