//! A queue of byte chunks that is read as one run of bytes.
//!
//! Invariants: no chunk in the queue is empty; [`ChunkQueue::len`] is the sum of their lengths.
//!
//! Bounds: none of its own. Who pushes looks at [`ChunkQueue::len`] first; a chunk costs
//! 32 bytes beside what it refers to, so a queue of tiny chunks is bounded by
//! [`ChunkQueue::chunks`] as well.

use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Chunks in the order of their arrival, shared and not copied.
///
/// It keeps its memory when it runs empty, so once it has grown nothing allocates.
///
/// ```
/// use bytes::Bytes;
/// use headwater_core::buffer::ChunkQueue;
///
/// let mut queue = ChunkQueue::new();
/// queue.push(Bytes::from_static(b"one "));
/// queue.push(Bytes::from_static(b"two"));
/// assert_eq!(queue.len(), 7);
/// assert_eq!(queue.advance(5), 5);
/// assert_eq!(queue.pop_front().as_deref(), Some(&b"wo"[..]));
/// assert!(queue.is_empty());
/// ```
#[derive(Debug, Default)]
pub struct ChunkQueue {
    chunks: VecDeque<Bytes>,
    len: usize,
}

impl ChunkQueue {
    /// An empty queue; allocates nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { chunks: VecDeque::new(), len: 0 }
    }

    /// Bytes in the queue.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no byte is in the queue.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Chunks in the queue.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Adds a chunk at the end; an empty one is ignored.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.len = self.len.saturating_add(chunk.len());
            self.chunks.push_back(chunk);
        }
    }

    /// Puts a chunk back before all others; an empty one is ignored.
    pub fn push_front(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.len = self.len.saturating_add(chunk.len());
            self.chunks.push_front(chunk);
        }
    }

    /// The first chunk.
    #[must_use]
    pub fn front(&self) -> Option<&Bytes> {
        self.chunks.front()
    }

    /// Removes the first chunk.
    pub fn pop_front(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.pop_front()?;
        self.len = self.len.saturating_sub(chunk.len());
        Some(chunk)
    }

    /// Removes at most `max` bytes of the first chunk, and gives them; `None` if the queue is
    /// empty or `max` is 0.
    pub fn take(&mut self, max: usize) -> Option<Bytes> {
        if max == 0 {
            return None;
        }
        let front = self.chunks.front_mut()?;
        if front.len() <= max {
            return self.pop_front();
        }
        self.len = self.len.saturating_sub(max);
        Some(front.split_to(max))
    }

    /// Removes `n` bytes, or all if there are fewer; tells how many.
    pub fn advance(&mut self, n: usize) -> usize {
        let mut left = n;
        while let Some(chunk) = self.take(left) {
            left = left.saturating_sub(chunk.len());
        }
        n.saturating_sub(left)
    }

    /// Fills `into` with the first chunks, for a vectored write; tells how many it filled.
    pub fn slices<'a>(&'a self, into: &mut [&'a [u8]]) -> usize {
        let mut filled: usize = 0;
        for (slot, chunk) in into.iter_mut().zip(&self.chunks) {
            *slot = chunk;
            filled = filled.saturating_add(1);
        }
        filled
    }

    /// Copies the first bytes to `into` and leaves them in the queue; tells how many.
    pub fn peek(&self, into: &mut [u8]) -> usize {
        let mut rest = into;
        let mut copied: usize = 0;
        for chunk in &self.chunks {
            let n = chunk.len().min(rest.len());
            let (Some((to, after)), Some(from)) =
                (core::mem::take(&mut rest).split_at_mut_checked(n), chunk.get(..n))
            else {
                break;
            };
            to.copy_from_slice(from);
            rest = after;
            copied = copied.saturating_add(n);
        }
        copied
    }

    /// Moves at most `max` bytes to the end of `into`; tells how many.
    pub fn drain_into(&mut self, into: &mut BytesMut, max: usize) -> usize {
        let mut left = max;
        while let Some(chunk) = self.take(left) {
            into.extend_from_slice(&chunk);
            left = left.saturating_sub(chunk.len());
        }
        max.saturating_sub(left)
    }

    /// Removes everything and keeps the memory.
    pub fn clear(&mut self) {
        self.chunks.clear();
        self.len = 0;
    }

    /// Frees memory that the present content does not need.
    pub fn shrink(&mut self) {
        self.chunks.shrink_to_fit();
    }

    /// Checks the invariants of the module. For tests.
    #[doc(hidden)]
    pub fn assert_invariants(&self) {
        assert!(self.chunks.iter().all(|chunk| !chunk.is_empty()));
        assert_eq!(self.chunks.iter().map(Bytes::len).sum::<usize>(), self.len);
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn queue(chunks: &[&'static [u8]]) -> ChunkQueue {
        let mut queue = ChunkQueue::new();
        chunks.iter().for_each(|chunk| queue.push(Bytes::from_static(chunk)));
        queue
    }

    #[test]
    fn empty_chunks_are_not_kept() {
        let mut queue = queue(&[b"", b"a", b""]);
        queue.push_front(Bytes::new());
        assert_eq!((queue.len(), queue.chunks()), (1, 1));
        queue.assert_invariants();
    }

    #[test]
    fn slices_and_peek_stop_at_what_there_is() {
        let queue = queue(&[b"ab", b"cde"]);
        let mut slices: [&[u8]; 3] = [b"-"; 3];
        assert_eq!(queue.slices(&mut slices), 2);
        assert_eq!(slices, [&b"ab"[..], b"cde", b"-"]);
        assert_eq!(queue.slices(&mut slices[..1]), 1);
        let mut four = [0; 4];
        assert_eq!((queue.peek(&mut four), &four), (4, b"abcd"));
        let mut nine = [0; 9];
        assert_eq!((queue.peek(&mut nine), &nine[..5]), (5, &b"abcde"[..]));
        assert_eq!(queue.peek(&mut []), 0);
    }

    #[test]
    fn advancing_beyond_the_end_is_clamped() {
        let mut queue = queue(&[b"ab", b"cde"]);
        assert_eq!(queue.advance(0), 0);
        assert_eq!(queue.advance(usize::MAX), 5);
        assert_eq!(queue.advance(1), 0);
        assert!(queue.is_empty() && queue.front().is_none() && queue.pop_front().is_none());
    }

    #[test]
    fn a_taken_part_is_a_slice_of_the_chunk() {
        let chunk = Bytes::from(std::vec![1, 2, 3]);
        let start = chunk.as_ptr();
        let mut queue = ChunkQueue::new();
        queue.push(chunk);
        assert_eq!(queue.take(0), None);
        assert_eq!(queue.take(2).map(|part| part.as_ptr()), Some(start));
        assert_eq!(queue.len(), 1);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Push(Vec<u8>),
        PushFront(Vec<u8>),
        Pop,
        Take(usize),
        Advance(usize),
        Drain(usize),
        Clear,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..9);
        let op = prop_oneof![
            4 => bytes().prop_map(Op::Push),
            1 => bytes().prop_map(Op::PushFront),
            1 => Just(Op::Pop),
            2 => (0..12_usize).prop_map(Op::Take),
            2 => (0..12_usize).prop_map(Op::Advance),
            1 => (0..12_usize).prop_map(Op::Drain),
            1 => Just(Op::Clear),
        ];
        prop::collection::vec(op, 0..60)
    }

    proptest! {
        #[test]
        fn behaves_like_a_vector_of_bytes(ops in ops()) {
            let mut queue = ChunkQueue::new();
            let mut model: Vec<u8> = Vec::new();
            for op in ops {
                let gone = match op {
                    Op::Push(bytes) => {
                        model.extend(&bytes);
                        queue.push(bytes.into());
                        Vec::new()
                    }
                    Op::PushFront(bytes) => {
                        model.splice(0..0, bytes.iter().copied());
                        queue.push_front(bytes.into());
                        Vec::new()
                    }
                    Op::Pop => queue.pop_front().unwrap_or_default().to_vec(),
                    Op::Take(max) => {
                        let part = queue.take(max).unwrap_or_default();
                        prop_assert!(part.len() <= max);
                        part.to_vec()
                    }
                    Op::Advance(n) => {
                        prop_assert_eq!(queue.advance(n), n.min(model.len()));
                        model[..n.min(model.len())].to_vec()
                    }
                    Op::Drain(max) => {
                        let mut out = BytesMut::new();
                        prop_assert_eq!(queue.drain_into(&mut out, max), max.min(model.len()));
                        out.to_vec()
                    }
                    Op::Clear => {
                        queue.clear();
                        core::mem::take(&mut model)
                    }
                };
                if !model.is_empty() {
                    prop_assert_eq!(&model[..gone.len()], &gone[..]);
                    model.drain(..gone.len());
                }
                let mut seen = std::vec![0; model.len() + 1];
                prop_assert_eq!(queue.peek(&mut seen), model.len());
                prop_assert_eq!(&seen[..model.len()], &model[..]);
                queue.assert_invariants();
            }
        }
    }
}
