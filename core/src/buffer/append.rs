//! A slab to write into at the end and to cut shared pieces from at the front.
//!
//! Pieces that were cut share the slab's memory, so when its end is reached it can be used from
//! the beginning only if all of them are gone. If not, it is retired for a while and another one
//! goes on.
//!
//! Invariants: the bytes written and not cut are in one run; a retired slab is written to only
//! when no piece of it is left; once the slabs that are in use at a time have their size, nothing
//! allocates.
//!
//! Bounds: what is written and not cut is the owner's to bound. Beside the slab in use at most
//! [`RETIRED_MAX`] slabs are kept, and none is larger than `capacity_min` or twice the most that
//! was ever to be in one.

use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// How many slabs with pieces in flight are kept to be used again.
pub const RETIRED_MAX: usize = 4;

/// A slab that is appended to, and its retired predecessors.
///
/// ```
/// use headwater_core::buffer::AppendSlab;
///
/// let mut slab = AppendSlab::new(1024);
/// slab.room(11).extend_from_slice(b"first piece");
/// let first = slab.cut(5).expect("there are eleven bytes");
/// assert_eq!(&first[..], b"first");
/// assert_eq!(slab.bytes(), b" piece");
/// assert_eq!(slab.cut(7), None);
/// ```
#[derive(Debug)]
pub struct AppendSlab {
    capacity_min: usize,
    /// The size of the next slab: it grows when one proves too small, so that a slab that is
    /// used again is large enough at once.
    capacity: usize,
    current: BytesMut,
    /// Oldest first, at most `retired_max`.
    retired: VecDeque<BytesMut>,
    retired_max: usize,
}

impl AppendSlab {
    /// An empty slab, which begins with `capacity_min` bytes when it is first written to.
    #[must_use]
    pub fn new(capacity_min: usize) -> Self {
        Self {
            capacity_min,
            capacity: capacity_min,
            current: BytesMut::new(),
            retired: VecDeque::new(),
            retired_max: RETIRED_MAX,
        }
    }

    /// The same, for pieces of which many are in use at a time: up to `retired_max` slabs are
    /// kept for when their pieces are dropped.
    #[must_use]
    pub fn with_retired(capacity_min: usize, retired_max: usize) -> Self {
        Self { retired_max, ..Self::new(capacity_min) }
    }

    /// The buffer, with room for `need` more bytes; append to it, and no more than that.
    pub fn room(&mut self, need: usize) -> &mut BytesMut {
        if !self.current.try_reclaim(need) {
            self.renew(need);
        }
        &mut self.current
    }

    /// Cuts the first `n` bytes off, to be shared; `None` if there are fewer.
    pub fn cut(&mut self, n: usize) -> Option<Bytes> {
        (n <= self.current.len()).then(|| self.current.split_to(n).freeze())
    }

    /// What was written and not cut.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.current
    }

    /// How many bytes those are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.current.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.current.is_empty()
    }

    /// Drops what was written and not cut, and keeps the memory.
    pub fn clear(&mut self) {
        self.current.clear();
    }

    /// Bytes of memory of the slabs it knows of, those that pieces pin included.
    #[must_use]
    pub fn memory(&self) -> usize {
        let current = usize::from(self.current.capacity() > 0);
        self.retired.len().saturating_add(current).saturating_mul(self.capacity)
    }

    /// Frees the memory that nothing is in.
    pub fn shrink(&mut self) {
        self.retired = VecDeque::new();
        self.capacity = self.capacity_min;
        if self.current.is_empty() {
            self.current = BytesMut::new();
        }
    }

    /// Goes on in another slab, with what is in this one.
    fn renew(&mut self, need: usize) {
        let want = self.current.len().saturating_add(need);
        if !self.current.is_empty() && want > self.capacity / 2 || want > self.capacity {
            self.capacity = self.capacity.max(want.saturating_mul(2));
        }
        let mut next = self.reuse().unwrap_or_else(|| BytesMut::with_capacity(self.capacity));
        next.extend_from_slice(&self.current);
        let mut old = core::mem::replace(&mut self.current, next);
        old.clear();
        if self.retired.len() >= self.retired_max {
            self.retired.pop_front();
        }
        self.retired.push_back(old);
    }

    fn reuse(&mut self) -> Option<BytesMut> {
        let whole = self.capacity;
        let at = self.retired.iter_mut().position(|slab| slab.try_reclaim(whole))?;
        self.retired.remove(at)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slab_without_pieces_in_flight_is_used_from_the_beginning() {
        let mut slab = AppendSlab::new(100);
        slab.room(60).extend_from_slice(&[1; 60]);
        let place = slab.bytes().as_ptr();
        for _ in 0..10 {
            drop(slab.cut(60));
            slab.room(60).extend_from_slice(&[1; 60]);
            assert_eq!(slab.bytes().as_ptr(), place);
        }
    }

    #[test]
    fn slabs_with_pieces_in_flight_take_turns() {
        let mut slab = AppendSlab::new(100);
        let mut places = Vec::new();
        let mut flight: Vec<Bytes> = Vec::new();
        for _ in 0..12 {
            slab.room(100).extend_from_slice(&[1; 100]);
            places.push(slab.bytes().as_ptr());
            flight.push(slab.cut(100).unwrap());
            if flight.len() == 3 {
                flight.remove(0);
            }
        }
        assert_eq!(places[3..6], places[6..9]);
        assert!(slab.retired.len() <= 3);
    }

    #[test]
    fn what_was_not_cut_goes_along_to_the_next_slab() {
        let mut slab = AppendSlab::new(100);
        let mut places = Vec::new();
        for _ in 0..4 {
            slab.room(80).extend_from_slice(&[1; 80]);
            let flight = slab.cut(80);
            slab.room(10).extend_from_slice(&[2; 10]);
            slab.room(20).extend_from_slice(&[3; 20]);
            assert_eq!(slab.bytes(), [[2; 10], [3; 10], [3; 10]].concat());
            places.push(slab.bytes().as_ptr());
            slab.clear();
            drop(flight);
        }
        assert_ne!(places[0], places[1]);
        assert_eq!(places[..2], places[2..]);
    }

    #[test]
    fn no_more_than_the_bound_is_retired_and_shrink_frees_it() {
        let mut slab = AppendSlab::new(100);
        let flight: Vec<Bytes> = (0..9)
            .map(|_| {
                slab.room(100).extend_from_slice(&[1; 100]);
                slab.cut(100).unwrap()
            })
            .collect();
        assert_eq!(slab.retired.len(), RETIRED_MAX);
        drop(flight);
        slab.room(3).extend_from_slice(b"abc");
        slab.shrink();
        assert_eq!((slab.bytes(), slab.retired.len()), (&b"abc"[..], 0));
        slab.clear();
        slab.shrink();
        assert_eq!(slab.current.capacity(), 0);
    }

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(
            ops in prop::collection::vec((any::<bool>(), 0..300_usize, any::<u8>()), 0..60),
        ) {
            let mut slab = AppendSlab::new(64);
            let mut model: Vec<u8> = Vec::new();
            let mut flight: Vec<(Bytes, Vec<u8>)> = Vec::new();
            for (write, n, byte) in ops {
                if write {
                    slab.room(n).extend_from_slice(&std::vec![byte; n]);
                    model.extend(std::vec![byte; n]);
                } else if let Some(piece) = slab.cut(n) {
                    flight.push((piece, model.drain(..n).collect()));
                    flight.truncate(usize::from(byte % 8));
                } else {
                    prop_assert!(n > model.len());
                }
                prop_assert_eq!(slab.bytes(), &model[..]);
                prop_assert!(flight.iter().all(|(piece, expected)| piece == expected));
            }
        }
    }
}
