//! How messages find a stream: the pool of send streams of a connection, what waits for one,
//! and which connection of a peer takes a message.
//!
//! [`SendStreamPool`] lends the long-lived streams of one connection (spec 5.1).

mod config;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub mod send;

pub use config::{CAP_MAX, PoolConfig, PoolConfigError};
pub use send::{BorrowError, PoolCounts, PoolError, Returned, SendStreamPool};
