//! Required peers: when each is dialled, and how long a failure waits.
//!
//! [`ConnectionSupervisor`] decides, [`Backoff`] gives the waits. Neither dials: the owner carries
//! out each [`Action`] and says how it went.
//!
//! # States
//!
//! Each required peer is in one:
//!
//! ```text
//! Due --a dial is free--> Dialing --another address--> Dialing
//!  ^                         |   \--all failed--> Waiting --its time--> Due
//!  |                         v                       ^  \--as often as allowed--> GaveUp
//!  +---lived long enough-- Connected --ended early---+
//! ```
//!
//! and any of them becomes Connected when the peer is connected, however that came about. Paused
//! is a mark beside it: the application disconnected the peer, so it is not dialled.
//!
//! # Events
//!
//! The application requires, changes, releases, pauses, resumes; a peer is connected or no longer;
//! a dial proves an identity, succeeds or fails; time.
//!
//! # Invariants
//!
//! S1 a peer that is not connected, not paused and not given up is due, being dialled or waiting
//! with a deadline. S2 at most one dial a required peer, and `dials_max` together. S3 what is
//! released or changed has no dial of the old kind left (D-62). S4 an outcome that nobody waits
//! for changes nothing. S5 the waits of each peer follow the series of its [`Backoff`], which
//! begins again after a connection that lived for `stable_after` or that the application ended,
//! and when it asks (D-60).
//!
//! # Bounds
//!
//! `required_max` peers with [`ADDRESSES_MAX`] addresses each; per peer one piece of news, one
//! timer or place in the queue; `dials_max` attempts and at most as many to cancel.

mod backoff;
mod entry;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod machine;
#[cfg(test)]
mod tests;

use core::time::Duration;

pub use backoff::{Backoff, BackoffConfig, BackoffKind};
pub use entry::{RequiredPhase, RequiredState};
pub use machine::ConnectionSupervisor;

use crate::address::Address;
use crate::contract::RequiredId;
use crate::error::RetryCause;
use crate::id::PeerId;

/// Addresses that one required peer may have.
pub const ADDRESSES_MAX: usize = 8;

/// Waits and limits of a [`ConnectionSupervisor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupervisorConfig {
    /// The waits after failures.
    pub backoff: BackoffConfig,
    /// How long a connection has to live for the series to begin again.
    pub stable_after: Duration,
    /// How often what is believed to be connected is compared with what is.
    pub check_interval: Duration,
    /// Dials under way at the same time; 0 counts as 1.
    pub dials_max: usize,
    /// Required peers.
    pub required_max: usize,
}

impl Default for SupervisorConfig {
    /// The default series, 10 s, 5 s, 128 dials, 1024 peers.
    fn default() -> Self {
        Self {
            backoff: BackoffConfig::default(),
            stable_after: Duration::from_secs(10),
            check_interval: Duration::from_secs(5),
            dials_max: 128,
            required_max: 1024,
        }
    }
}

/// One dial to a required peer; its outcome carries the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u64);

/// What the owner of a [`ConnectionSupervisor`] has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Dial; answer with `dialed` or `dial_failed`.
    Dial {
        /// The dial.
        attempt: AttemptId,
        /// For whom.
        required: RequiredId,
        /// Where, and who has to be there if that is known.
        address: Address,
    },
    /// Give a dial up; nobody waits for its outcome.
    Cancel {
        /// Which.
        attempt: AttemptId,
        /// The peer is connected by now, so a link that is further along is left to settle.
        connected: bool,
    },
}

/// What became of the attempts at a required peer, for the application: the latest only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setback {
    /// Which.
    pub required: RequiredId,
    /// Who, if that is known.
    pub peer: Option<PeerId>,
    /// The address that was dialled last.
    pub address: Address,
    /// Failures in a row.
    pub failures: u32,
    /// The wait before the next attempt; `None` if there is to be none.
    pub wait: Option<Duration>,
    /// What went wrong.
    pub cause: RetryCause,
}
