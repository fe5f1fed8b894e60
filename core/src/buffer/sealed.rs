//! Sealed bytes on their way out.
//!
//! Whoever seals writes into memory that stands ready, and says how much of it was used: nothing
//! is zeroed for each record, and nothing is copied into place.
//!
//! Invariants:
//! 1. `start <= end <= memory.len()`; what waits is `memory[start..end]`, and if nothing waits both
//!    are 0.
//! 2. What waits keeps its order and its bytes until it has left.
//!
//! Bound: none of its own, the owner asks for its length first. The memory is at most twice
//! what was ever wanted at a time; when its end is reached, at least half of it has left, so what
//! waits is moved to its front, and after warm-up nothing is allocated.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

/// Sealed bytes on their way out; see the module text. It reads as what waits.
///
/// ```
/// use headwater_core::buffer::SealedBuf;
///
/// let mut out = SealedBuf::new();
/// let room = out.room(16);
/// room[..6].copy_from_slice(b"record");
/// out.filled(6);
/// out.put(b" and more");
/// out.advance(4);
/// assert_eq!(&out[..], b"rd and more");
/// ```
#[derive(Default)]
pub struct SealedBuf {
    memory: Vec<u8>,
    start: usize,
    end: usize,
}

impl SealedBuf {
    /// An empty buffer; it allocates with the first byte.
    #[must_use]
    pub const fn new() -> Self {
        Self { memory: Vec::new(), start: 0, end: 0 }
    }

    /// Bytes of memory that it keeps.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.memory.capacity()
    }

    /// Room for `len` bytes behind those that wait. What stands there means nothing.
    pub fn room(&mut self, len: usize) -> &mut [u8] {
        if self.memory.len().saturating_sub(self.end) < len {
            self.make_room(len);
        }
        let end = self.end.saturating_add(len);
        self.memory.get_mut(self.end..end).unwrap_or_default()
    }

    /// Moves what waits to the front, into memory that is twice as large if it fills over half.
    fn make_room(&mut self, len: usize) {
        let waiting = self.end.saturating_sub(self.start);
        self.memory.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, waiting);
        let most = waiting.saturating_add(len).saturating_mul(2);
        if self.memory.len() < most {
            self.memory.resize(most, 0);
        }
    }

    /// Takes note that the first `len` bytes of the [room](Self::room) are to leave, at most all of
    /// it.
    pub fn filled(&mut self, len: usize) {
        self.end = self.end.saturating_add(len).min(self.memory.len());
    }

    /// Appends a copy of `bytes`.
    pub fn put(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
        self.filled(bytes.len());
    }

    /// Gives up the first `len` bytes, which have left; at most all that wait.
    pub fn advance(&mut self, len: usize) {
        self.start = self.start.saturating_add(len).min(self.end);
        if self.start == self.end {
            self.clear();
        }
    }

    /// Gives up all that waits.
    pub const fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }
}

impl Deref for SealedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.memory.get(self.start..self.end).unwrap_or_default()
    }
}

impl fmt::Debug for SealedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedBuf").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Fill { room: usize, used: usize },
        Put(usize),
        Advance(usize),
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..300_usize, 0..300_usize)
                .prop_map(|(room, used)| Step::Fill { room, used: used.min(room) }),
            2 => (0..100_usize).prop_map(Step::Put),
            4 => (0..400_usize).prop_map(Step::Advance),
            1 => Just(Step::Clear),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_queue_of_bytes(steps in prop::collection::vec(step(), 0..200)) {
            let mut out = SealedBuf::new();
            let mut model = VecDeque::new();
            let (mut next, mut most) = (0_u8, 0);
            let mut byte = || { next = next.wrapping_add(1); next };
            for step in steps {
                match step {
                    Step::Fill { room, used } => {
                        most = most.max(model.len() + room);
                        let place = out.room(room);
                        prop_assert_eq!(place.len(), room);
                        for to in &mut place[..used] {
                            *to = byte();
                            model.push_back(*to);
                        }
                        out.filled(used);
                    }
                    Step::Put(len) => {
                        most = most.max(model.len() + len);
                        let bytes: Vec<u8> = (0..len).map(|_| byte()).collect();
                        model.extend(&bytes);
                        out.put(&bytes);
                    }
                    Step::Advance(len) => {
                        model.drain(..len.min(model.len()));
                        out.advance(len);
                    }
                    Step::Clear => {
                        model.clear();
                        out.clear();
                    }
                }
                prop_assert!(out.iter().eq(&model));
                prop_assert!(out.memory.len() <= 2 * most);
            }
        }
    }

    #[test]
    fn a_steady_flow_keeps_its_memory() {
        let mut out = SealedBuf::new();
        let mut flow = |rounds: usize| {
            for _ in 0..rounds {
                out.put(&[1; 100]);
                let left = out.len().min(70 + usize::from(out.len() > 1000) * 60);
                out.advance(left);
            }
            (out.memory.len(), out.memory.as_ptr())
        };
        let before = flow(200);
        assert_eq!(flow(10_000), before);
    }
}
