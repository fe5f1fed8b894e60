//! Slabs that a driver reads into, used again once nobody looks at them.
//!
//! A received message is a slice of the slab that it was read into, so a slab lives as long as
//! the last message in it, and nobody reports when that one is dropped. The set keeps the empty
//! rest of each slab and asks it, when memory is wanted, whether it is alone again.
//!
//! A slab is in one of four places: *lent* to the owner, *current* (given back with at least
//! half of it unused, so it is lent again before any other), *waiting* (given back, and perhaps
//! still pinned by messages) or *idle* (whole again).
//!
//! Invariants:
//! 1. lent + current + waiting + idle slabs are at most `outstanding_max`;
//! 2. idle slabs are at most `recycled`;
//! 3. no slab is forgotten while messages pin it, so 1 bounds the memory and not just a count;
//! 4. once as many slabs exist as are in use at a time, nothing allocates.
//!
//! Bounds: at most `outstanding_max * slab` bytes.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use bytes::BytesMut;

/// The smallest slab there may be, in bytes.
pub const SLAB_MIN: usize = 4096;

/// Sizes of a [`SlabSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlabConfig {
    /// Bytes in a slab, at least [`SLAB_MIN`]; 64 to 256 KiB is sensible.
    pub slab: usize,
    /// How many unused slabs are kept for later, at most `outstanding_max`.
    pub recycled: usize,
    /// How many slabs may exist at once, pinned ones included; at least 1.
    pub outstanding_max: usize,
}

impl Default for SlabConfig {
    /// 64 KiB, 4 kept, 64 (4 MiB) at most.
    fn default() -> Self {
        Self { slab: 64 << 10, recycled: 4, outstanding_max: 64 }
    }
}

/// A size that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BufferConfigError {
    /// Slabs smaller than [`SLAB_MIN`].
    SlabTooSmall {
        /// The size asked for, in bytes.
        actual: usize,
    },
    /// No slab may exist.
    NoSlabs,
    /// More slabs would be kept than may exist.
    RecycledAboveMax {
        /// How many would be kept.
        recycled: usize,
        /// How many may exist.
        outstanding_max: usize,
    },
}

impl fmt::Display for BufferConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SlabTooSmall { actual } => {
                write!(f, "a slab has at least {SLAB_MIN} bytes, this has {actual}")
            }
            Self::NoSlabs => f.write_str("a slab set needs at least one slab"),
            Self::RecycledAboveMax { recycled, outstanding_max } => {
                write!(f, "{recycled} slabs cannot be kept where only {outstanding_max} may exist")
            }
        }
    }
}

impl core::error::Error for BufferConfigError {}

/// Recycled slabs for a driver to read into; see the module for the states.
///
/// ```
/// use headwater_core::buffer::{SlabConfig, SlabSet};
///
/// let mut slabs = SlabSet::new(SlabConfig::default())?;
/// let mut slab = slabs.take().expect("the bound is far away");
/// slab.extend_from_slice(b"what the socket had");
/// let message = slab.split().freeze(); // a slice of the slab, not a copy
/// slabs.give_back(slab);
/// assert_eq!(slabs.pinned(), 1);
/// drop(message);
/// assert_eq!(slabs.pinned(), 0);
/// # Ok::<(), headwater_core::buffer::BufferConfigError>(())
/// ```
#[derive(Debug)]
pub struct SlabSet {
    config: SlabConfig,
    /// Whole slabs that nobody uses, at most `recycled`.
    idle: Vec<BytesMut>,
    /// The slab that was lent last, if at least half of it is unused.
    current: Option<BytesMut>,
    /// Given back and pinned when last asked, oldest first, at most `outstanding_max`.
    waiting: VecDeque<BytesMut>,
    lent: usize,
}

impl SlabSet {
    /// A set without slabs yet; they are allocated when first taken.
    ///
    /// # Errors
    ///
    /// The first rule of [`SlabConfig`] that is broken.
    pub fn new(config: SlabConfig) -> Result<Self, BufferConfigError> {
        let SlabConfig { slab, recycled, outstanding_max } = config;
        if slab < SLAB_MIN {
            return Err(BufferConfigError::SlabTooSmall { actual: slab });
        }
        if outstanding_max == 0 {
            return Err(BufferConfigError::NoSlabs);
        }
        if recycled > outstanding_max {
            return Err(BufferConfigError::RecycledAboveMax { recycled, outstanding_max });
        }
        Ok(Self { config, idle: Vec::new(), current: None, waiting: VecDeque::new(), lent: 0 })
    }

    /// Lends an empty slab with room for at least half of [`SlabConfig::slab`].
    ///
    /// `None` means that as many slabs exist as may, and messages pin every one that is not
    /// lent. Dropping a message tells nobody, so the owner asks again later.
    pub fn take(&mut self) -> Option<BytesMut> {
        let slab = self.reuse().or_else(|| self.allocate())?;
        self.lent = self.lent.saturating_add(1);
        Some(slab)
    }

    /// Takes a lent slab back, after what was read has been split off it.
    ///
    /// Bytes still in it are dropped. A slab that is dropped instead counts as lent for ever.
    pub fn give_back(&mut self, mut slab: BytesMut) {
        if self.lent == 0 {
            return;
        }
        self.lent = self.lent.saturating_sub(1);
        slab.clear();
        if slab.try_reclaim(self.config.slab) || slab.capacity() >= self.half() {
            if let Some(older) = self.current.replace(slab) {
                self.shelve(older);
            }
        } else {
            self.waiting.push_back(slab);
        }
    }

    /// How many slabs messages pin, not counting lent ones. Asks each slab: O(slabs).
    pub fn pinned(&mut self) -> usize {
        self.sweep();
        let current = match &mut self.current {
            Some(slab) => usize::from(!slab.try_reclaim(self.config.slab)),
            None => 0,
        };
        self.waiting.len().saturating_add(current)
    }

    /// Whether messages pin more than half of the slabs that may exist, or all but the lent
    /// ones, so that none could take the place of one that is pinned, too. The owner then copies
    /// small messages out of their slabs instead of slicing. O(1) unless it is so.
    pub fn pressure(&mut self) -> bool {
        let spared = self.config.outstanding_max.saturating_sub(self.lent).saturating_sub(1);
        let most = spared.min(self.config.outstanding_max / 2);
        self.waiting.len().saturating_add(usize::from(self.current.is_some())) > most
            && self.pinned() > most
    }

    /// Frees every slab that is neither lent nor pinned, for a connection that fell silent.
    pub fn shrink(&mut self) {
        let slab = self.config.slab;
        // What is left of a pinned one is good for what comes next.
        drop(self.current.take_if(|current| current.try_reclaim(slab)));
        self.sweep();
        self.idle = Vec::new();
        self.waiting.shrink_to_fit();
    }

    /// How many slabs exist: lent, pinned and idle; at most [`SlabConfig::outstanding_max`].
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.lent
            .saturating_add(usize::from(self.current.is_some()))
            .saturating_add(self.waiting.len())
            .saturating_add(self.idle.len())
    }

    /// Bytes of memory of the slabs that exist.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.outstanding().saturating_mul(self.config.slab)
    }

    /// Bytes in a slab.
    #[must_use]
    pub const fn slab(&self) -> usize {
        self.config.slab
    }

    /// How many slabs are lent.
    #[must_use]
    pub const fn lent(&self) -> usize {
        self.lent
    }

    fn reuse(&mut self) -> Option<BytesMut> {
        if let Some(mut slab) = self.current.take() {
            // Alone again it becomes whole; else the messages in it keep their part and the
            // rest is used, which is what keeps small reads from pinning a slab each.
            let _whole = slab.try_reclaim(self.config.slab);
            return Some(slab);
        }
        if let Some(slab) = self.idle.pop() {
            return Some(slab);
        }
        // Messages mostly end in the order of their arrival, so the oldest is asked first, and
        // one that stays pinned goes behind the others.
        for _ in 0..self.waiting.len() {
            let mut slab = self.waiting.pop_front()?;
            if slab.try_reclaim(self.config.slab) {
                return Some(slab);
            }
            self.waiting.push_back(slab);
        }
        None
    }

    fn allocate(&self) -> Option<BytesMut> {
        (self.outstanding() < self.config.outstanding_max)
            .then(|| BytesMut::with_capacity(self.config.slab))
    }

    /// Puts a slab where it belongs once it is not the current one.
    fn shelve(&mut self, mut slab: BytesMut) {
        if !slab.try_reclaim(self.config.slab) {
            self.waiting.push_back(slab);
        } else if self.idle.len() < self.config.recycled {
            self.idle.push(slab);
        }
    }

    /// Asks every waiting slab, and moves or frees those that are whole.
    fn sweep(&mut self) {
        for _ in 0..self.waiting.len() {
            if let Some(slab) = self.waiting.pop_front() {
                self.shelve(slab);
            }
        }
    }

    const fn half(&self) -> usize {
        self.config.slab / 2
    }
}

#[cfg(test)]
#[path = "slab_tests.rs"]
mod tests;
