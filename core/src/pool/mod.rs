//! How messages find a stream: what waits for one, the streams of a connection, and the
//! connection of a peer that takes a message.
//!
//! [`SendStreamPool`] lends the long-lived streams of one connection (spec 5.1). [`Route`] picks
//! the connection, and [`PoolManager`] makes the routes of all peers and says when one more
//! connection is needed (spec 5.2, 5.3).

mod config;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub mod manager;
pub mod route;
pub mod send;

pub use config::{CAP_MAX, PoolConfig, PoolConfigError};
pub use manager::{ManagerConfig, ManagerError, PoolManager, Removed};
pub use route::{Entry, Load, LoadSource, Route};
pub use send::{BorrowError, PoolCounts, PoolError, Returned, SendStreamPool};
