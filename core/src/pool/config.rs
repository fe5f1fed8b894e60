//! The sizes and waits of a pool of send streams, and the rules they keep (D-8).

use core::fmt;
use core::time::Duration;

/// The most streams that a pool may be configured to have.
pub const CAP_MAX: usize = 1024;

/// Sizes and waits of a [`SendStreamPool`](super::SendStreamPool).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Streams opened at the start; below `cap`. Half of it are opened at each growth.
    pub init: usize,
    /// Streams at most; 1 to [`CAP_MAX`].
    pub cap: usize,
    /// An idle stream with less credit than this, in bytes, is not lent. Half of the peer's
    /// window: it returns credit before the rest falls below that.
    pub credit_min: u32,
    /// The stream that has been idle longest is lent without looking for a better one if it has
    /// this much credit, in bytes: what it lacks of a window is about to come back.
    pub credit_full: u32,
    /// The wait after a failed open; above zero.
    pub backoff_min: Duration,
    /// The longest wait, reached by doubling; at least `backoff_min`.
    pub backoff_max: Duration,
}

impl Default for PoolConfig {
    /// 10 streams, 100 at most; half a window of 256 KiB is enough and full; 100 ms to 5 s.
    fn default() -> Self {
        Self {
            init: 10,
            cap: 100,
            credit_min: 128 << 10,
            credit_full: 128 << 10,
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
        }
    }
}

impl PoolConfig {
    /// Tells whether a pool can be made with these sizes.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), PoolConfigError> {
        let Self { init, cap, credit_min, credit_full, backoff_min, backoff_max } = *self;
        if cap == 0 || cap > CAP_MAX {
            return Err(PoolConfigError::Cap { actual: cap });
        }
        if init >= cap {
            return Err(PoolConfigError::InitNotBelowCap { init, cap });
        }
        if credit_min > credit_full {
            return Err(PoolConfigError::CreditOrder { credit_min, credit_full });
        }
        if backoff_min.is_zero() || backoff_min > backoff_max {
            return Err(PoolConfigError::Backoff { backoff_min, backoff_max });
        }
        Ok(())
    }
}

/// Why a pool cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolConfigError {
    /// The cap is 0 or above [`CAP_MAX`].
    Cap {
        /// The cap asked for.
        actual: usize,
    },
    /// Not fewer streams at the start than at most.
    InitNotBelowCap {
        /// Streams at the start.
        init: usize,
        /// Streams at most.
        cap: usize,
    },
    /// The credit that is enough lies above the credit that is full.
    CreditOrder {
        /// The credit that is enough, in bytes.
        credit_min: u32,
        /// The credit that is full, in bytes.
        credit_full: u32,
    },
    /// The first wait is zero, or longer than the longest.
    Backoff {
        /// The first wait.
        backoff_min: Duration,
        /// The longest wait.
        backoff_max: Duration,
    },
}

impl fmt::Display for PoolConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cap { actual } => {
                write!(f, "a stream pool has room for 1 to {CAP_MAX} streams, not for {actual}")
            }
            Self::InitNotBelowCap { init, cap } => {
                write!(f, "a stream pool starts with fewer streams than its cap: {init} of {cap}")
            }
            Self::CreditOrder { credit_min, credit_full } => {
                write!(f, "the least credit, {credit_min}, is above the full one, {credit_full}")
            }
            Self::Backoff { backoff_min, backoff_max } => {
                write!(
                    f,
                    "the waits after a failed open run from {backoff_min:?} to {backoff_max:?}"
                )
            }
        }
    }
}

impl core::error::Error for PoolConfigError {}
