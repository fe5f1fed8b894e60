//! Buffers in which messages that span several reads are put together, used again.
//!
//! The pool keeps the empty rest of each buffer after its message left, and asks it, when a
//! buffer is wanted, whether that message has been dropped.
//!
//! Invariants: at most `buffers` buffers with at most `bytes` bytes together are kept; a buffer
//! whose message lives is never lent; once the buffers in use have their sizes, nothing
//! allocates.
//!
//! Bounds: those of [`AssemblyConfig`], beside what is lent.

use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// A buffer of at most this many bytes suits a message of any size.
const LOOSE_FIT: usize = 4096;

/// Sizes of an [`AssemblyPool`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssemblyConfig {
    /// How many buffers are kept; 0 keeps none.
    pub buffers: usize,
    /// How many bytes the kept buffers may have together.
    pub bytes: usize,
}

impl Default for AssemblyConfig {
    /// 8 buffers, 4 MiB.
    fn default() -> Self {
        Self { buffers: 8, bytes: 4 << 20 }
    }
}

/// Recycled buffers for messages that span several reads.
///
/// What it lends is not counted here: the owner reserves the declared length of each message
/// before it grants credit for it.
///
/// ```
/// use headwater_core::buffer::{AssemblyConfig, AssemblyPool};
///
/// let mut pool = AssemblyPool::new(AssemblyConfig::default());
/// let mut buffer = pool.take(10_000, 4096); // 10 000 bytes declared, credit for 4096
/// assert_eq!(buffer.capacity(), 4096);
/// buffer.extend_from_slice(&[7; 10_000]); // grows as bytes come
/// let message = pool.freeze(buffer);
/// assert_eq!(message.len(), 10_000);
/// drop(message);
/// assert!(pool.take(10_000, 4096).capacity() >= 10_000); // the same memory again
/// ```
#[derive(Debug)]
pub struct AssemblyPool {
    config: AssemblyConfig,
    /// Rests of buffers with the capacity that each had when whole, oldest first.
    kept: VecDeque<(usize, BytesMut)>,
    /// The sum of those capacities.
    bytes: usize,
}

impl AssemblyPool {
    /// A pool without buffers yet.
    #[must_use]
    pub const fn new(config: AssemblyConfig) -> Self {
        Self { config, kept: VecDeque::new(), bytes: 0 }
    }

    /// Lends an empty buffer for a message of `len` bytes, of which at most `capacity_max`
    /// bytes may be allocated in advance.
    ///
    /// A kept buffer is preferred: the smallest that holds the whole message, else the largest
    /// that holds `capacity_max`; among equals the last that was filled, which is the most likely to
    /// be in the processor's cache. One that is more than twice as large as the message (and
    /// than 4 KiB) is left alone, lest a small message pin a large buffer.
    pub fn take(&mut self, len: usize, capacity_max: usize) -> BytesMut {
        let want = len.min(capacity_max);
        self.reuse(len, want).unwrap_or_else(|| BytesMut::with_capacity(want))
    }

    /// Makes a message of what is in the buffer and keeps the buffer for when it is dropped.
    pub fn freeze(&mut self, mut buffer: BytesMut) -> Bytes {
        let capacity = buffer.capacity();
        let message = buffer.split().freeze();
        self.keep(capacity, buffer);
        message
    }

    /// Takes back a buffer whose message was given up.
    pub fn give_back(&mut self, mut buffer: BytesMut) {
        buffer.clear();
        self.keep(buffer.capacity(), buffer);
    }

    /// Forgets all kept buffers; messages still in them keep theirs alive.
    pub fn shrink(&mut self) {
        self.kept = VecDeque::new();
        self.bytes = 0;
    }

    /// How many bytes the kept buffers have, pinned ones included.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many buffers are kept, pinned ones included.
    #[must_use]
    pub fn buffers(&self) -> usize {
        self.kept.len()
    }

    fn reuse(&mut self, len: usize, want: usize) -> Option<BytesMut> {
        let loose = len.saturating_mul(2).max(LOOSE_FIT);
        let mut best: Option<(usize, usize)> = None;
        for (at, (capacity, buffer)) in self.kept.iter_mut().enumerate().rev() {
            let capacity = *capacity;
            if capacity < want || capacity > loose {
                continue;
            }
            let better = best.is_none_or(|(_, rival)| {
                if capacity >= len { rival < len || capacity < rival } else { capacity > rival }
            });
            if better && buffer.try_reclaim(capacity) {
                best = Some((at, capacity));
            }
        }
        let (capacity, buffer) = self.kept.remove(best?.0)?;
        self.bytes = self.bytes.saturating_sub(capacity);
        Some(buffer)
    }

    fn keep(&mut self, capacity: usize, buffer: BytesMut) {
        if capacity == 0 || capacity > self.config.bytes || self.config.buffers == 0 {
            return;
        }
        let room = self.config.bytes.saturating_sub(capacity);
        while self.kept.len() >= self.config.buffers || self.bytes > room {
            let Some((oldest, _)) = self.kept.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest);
        }
        self.bytes = self.bytes.saturating_add(capacity);
        self.kept.push_back((capacity, buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assembly_prefers_the_smallest_buffer_that_holds_the_message() {
        let mut pool = AssemblyPool::new(AssemblyConfig::default());
        for size in [20_000, 12_000, 10_000, 15_000] {
            pool.give_back(BytesMut::with_capacity(size));
        }
        assert_eq!(pool.take(11_000, 4096).capacity(), 12_000);
        assert_eq!(pool.take(11_000, 4096).capacity(), 15_000);
        assert_eq!(pool.take(11_000, 4096).capacity(), 20_000);
        // None holds the message now; one that holds the credit saves most of the growing.
        assert_eq!(pool.take(11_000, 4096).capacity(), 10_000);
        assert_eq!(pool.take(11_000, 4096).capacity(), 4096);
        assert_eq!((pool.buffers(), pool.bytes()), (0, 0));
    }

    #[test]
    fn of_equal_buffers_the_last_that_was_filled_comes_first() {
        let mut pool = AssemblyPool::new(AssemblyConfig::default());
        let fill = |pool: &mut AssemblyPool| {
            let mut buffer = pool.take(10_000, 10_000);
            buffer.extend_from_slice(&[1; 10_000]);
            let place = buffer.as_ptr();
            (place, pool.freeze(buffer))
        };
        let [(_, _kept), (first, one), (second, two)] = core::array::from_fn(|_| fill(&mut pool));
        drop((one, two));
        assert_eq!(fill(&mut pool).0, second);
        let (place, _held) = fill(&mut pool);
        assert_eq!(place, second);
        assert_eq!(fill(&mut pool).0, first);
    }

    #[test]
    fn a_small_message_does_not_get_a_large_buffer() {
        let mut pool = AssemblyPool::new(AssemblyConfig::default());
        pool.give_back(BytesMut::with_capacity(1 << 20));
        assert_eq!(pool.take(5000, 5000).capacity(), 5000);
        assert_eq!(pool.buffers(), 1);
        assert_eq!(pool.take(600_000, 5000).capacity(), 1 << 20);
    }

    #[test]
    fn a_pinned_assembly_buffer_is_not_lent() {
        let mut pool = AssemblyPool::new(AssemblyConfig::default());
        let mut buffer = pool.take(8000, 8000);
        let place = buffer.as_ptr();
        buffer.extend_from_slice(&[9; 8000]);
        let message = pool.freeze(buffer);
        assert_ne!(pool.take(8000, 8000).as_ptr(), place);
        assert_eq!(message, [9; 8000][..]);
        drop(message);
        assert_eq!(pool.take(8000, 8000).as_ptr(), place);
    }

    #[test]
    fn the_assembly_pool_keeps_within_its_bounds() {
        let mut pool = AssemblyPool::new(AssemblyConfig { buffers: 2, bytes: 10_000 });
        pool.give_back(BytesMut::with_capacity(10_001));
        pool.give_back(BytesMut::new());
        assert_eq!((pool.buffers(), pool.bytes()), (0, 0));
        for size in [4000, 5000, 6000] {
            pool.give_back(BytesMut::with_capacity(size));
        }
        assert_eq!((pool.buffers(), pool.bytes()), (1, 6000));
        pool.give_back(BytesMut::with_capacity(100));
        pool.give_back(BytesMut::with_capacity(200));
        assert_eq!((pool.buffers(), pool.bytes()), (2, 300));
        pool.shrink();
        assert_eq!((pool.buffers(), pool.bytes()), (0, 0));
        let mut none = AssemblyPool::new(AssemblyConfig { buffers: 0, bytes: 10_000 });
        none.give_back(BytesMut::with_capacity(100));
        assert_eq!(none.buffers(), 0);
    }
}
