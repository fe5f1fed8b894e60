//! Bytes on their way out, gathered for one vectored write.
//!
//! Small pieces are copied into one growing slab, large ones stand there by reference; the two
//! kinds alternate as segments. What has left is given up by [`OutBuf::advance`].
//!
//! Invariants:
//! 1. `len` is the sum of the segments, and no segment is empty.
//! 2. The slab segments together cover exactly `slab[head..]`.
//! 3. Two slab segments are never neighbours.
//!
//! Bound: none of its own. Whoever puts bytes asks [`OutBuf::len`] first and keeps to a limit.
//! The slab is reused from its start when all of it has left, and moved down when it is full and
//! at least half of it has left, so after warm-up nothing is allocated.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Buf, BufMut, Bytes};

/// Pieces of at least this many bytes stand in the buffer by reference; smaller ones are copied.
pub const SHARE_MIN: usize = 2048;

/// The length of a header that is reserved first and patched later, in bytes.
pub const RESERVED_LEN: usize = 12;

const RESERVED_LEN_U64: u64 = RESERVED_LEN as u64;

/// Bytes on their way out, gathered; see the module text.
///
/// ```
/// use headwater_core::buffer::out::OutBuf;
///
/// let mut out = OutBuf::new();
/// let mark = out.reserve_header();
/// out.put(b"hello");
/// assert!(out.patch(mark, *b"twelve bytes"));
///
/// let mut chunks: [&[u8]; 4] = [&[]; 4];
/// assert_eq!(out.chunks(&mut chunks), 1);
/// assert_eq!(chunks[0], b"twelve byteshello");
/// out.advance(12);
/// assert_eq!(out.len(), 5);
/// ```
#[derive(Debug, Default)]
pub struct OutBuf {
    slab: Vec<u8>,
    /// How much of the slab has left.
    head: usize,
    /// Slab bytes that are no longer in `slab`; with it a mark keeps its place when bytes move.
    slab_base: u64,
    segments: VecDeque<Segment>,
    len: usize,
    position: u64,
}

#[derive(Debug)]
enum Segment {
    /// The next so many bytes of the slab.
    Slab(usize),
    Shared(Bytes),
}

/// The place of a reserved header in an [`OutBuf`]; good for one patch or one taking back.
#[derive(Debug)]
#[must_use = "a reserved header stays zero until it is patched"]
pub struct Mark {
    slab_at: u64,
    position: u64,
}

impl OutBuf {
    /// An empty buffer; it allocates with the first byte.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slab: Vec::new(),
            head: 0,
            slab_base: 0,
            segments: VecDeque::new(),
            len: 0,
            position: 0,
        }
    }

    /// Bytes that are in the buffer and have not left.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether everything has left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of bytes ever put, less those taken back: the position of the next byte.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Bytes of memory that the buffer holds for its slab, used or not.
    #[must_use]
    pub fn slab_capacity(&self) -> usize {
        self.slab.capacity()
    }

    /// Appends a copy of `bytes`.
    pub fn put(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.make_room(bytes.len());
        self.slab.extend_from_slice(bytes);
        self.count_slab(bytes.len());
    }

    /// Appends `bytes`, by reference from [`SHARE_MIN`] bytes on and else as a copy.
    pub fn put_shared(&mut self, bytes: Bytes) {
        if bytes.len() < SHARE_MIN {
            self.put(&bytes);
            return;
        }
        self.count(bytes.len());
        self.segments.push_back(Segment::Shared(bytes));
    }

    /// Appends [`RESERVED_LEN`] zero bytes, to be patched once it is known what follows them.
    pub fn reserve_header(&mut self) -> Mark {
        let position = self.position;
        self.make_room(RESERVED_LEN);
        let slab_at = self.slab_base.wrapping_add(self.slab.len() as u64);
        self.put(&[0; RESERVED_LEN]);
        Mark { slab_at, position }
    }

    /// Writes a reserved header. Gives false, and changes nothing, if a byte of it has left.
    pub fn patch(&mut self, mark: Mark, header: [u8; RESERVED_LEN]) -> bool {
        let Some(place) = self.place(&mark).and_then(|at| self.slab.get_mut(at..)) else {
            return false;
        };
        let Some(place) = place.first_chunk_mut() else { return false };
        *place = header;
        true
    }

    /// Takes back a reserved header that stands at the very end. Gives false, and changes
    /// nothing, if bytes follow it or a byte of it has left.
    pub fn truncate_mark(&mut self, mark: Mark) -> bool {
        let at_end = mark.position.checked_add(RESERVED_LEN_U64) == Some(self.position);
        let Some(at) = self.place(&mark).filter(|_| at_end) else { return false };
        let Some(Segment::Slab(len)) = self.segments.back_mut() else { return false };
        let Some(rest) = len.checked_sub(RESERVED_LEN) else { return false };
        *len = rest;
        if rest == 0 {
            self.segments.pop_back();
        }
        self.slab.truncate(at);
        self.len = self.len.saturating_sub(RESERVED_LEN);
        self.position = mark.position;
        true
    }

    /// Fills `into` with the pieces that have not left, in order, for a vectored write, and
    /// gives their number. Pieces beyond the length of `into` are left out.
    pub fn chunks<'a>(&'a self, into: &mut [&'a [u8]]) -> usize {
        let mut slab = self.slab.get(self.head..).unwrap_or(&[]);
        let mut count = 0_usize;
        for (slot, segment) in into.iter_mut().zip(&self.segments) {
            *slot = match segment {
                Segment::Slab(len) => {
                    let (piece, rest) = slab.split_at_checked(*len).unwrap_or((slab, &[]));
                    slab = rest;
                    piece
                }
                Segment::Shared(bytes) => bytes,
            };
            count = count.saturating_add(1);
        }
        count
    }

    /// The pieces of the last `n` bytes, in order.
    pub fn last(&self, n: usize) -> impl Iterator<Item = &[u8]> {
        let mut slab = self.slab.get(self.head..).unwrap_or(&[]);
        let mut skip = self.len.saturating_sub(n);
        self.segments.iter().filter_map(move |segment| {
            let piece: &[u8] = match segment {
                Segment::Slab(len) => {
                    let (piece, rest) = slab.split_at_checked(*len).unwrap_or((slab, &[]));
                    slab = rest;
                    piece
                }
                Segment::Shared(bytes) => bytes,
            };
            let piece = match piece.get(skip..) {
                Some(piece) => {
                    skip = 0;
                    piece
                }
                None => {
                    skip = skip.saturating_sub(piece.len());
                    &[]
                }
            };
            (!piece.is_empty()).then_some(piece)
        })
    }

    /// Gives up the first `n` bytes, because they were written; at most all of them.
    pub fn advance(&mut self, n: usize) {
        let mut left = n.min(self.len);
        self.len = self.len.saturating_sub(left);
        while left > 0 {
            let Some(segment) = self.segments.front_mut() else { break };
            let whole = match segment {
                Segment::Slab(len) => {
                    let step = left.min(*len);
                    *len = len.saturating_sub(step);
                    self.head = self.head.saturating_add(step);
                    left = left.saturating_sub(step);
                    *len == 0
                }
                Segment::Shared(bytes) => {
                    let step = left.min(bytes.len());
                    bytes.advance(step);
                    left = left.saturating_sub(step);
                    bytes.is_empty()
                }
            };
            if whole {
                self.segments.pop_front();
            }
        }
        if self.head >= self.slab.len() {
            self.restart_slab();
        }
    }

    /// Moves the first bytes, at most `max` and what there is room for, to the end of `into`; gives
    /// their number.
    pub fn drain_into(&mut self, into: &mut impl BufMut, max: usize) -> usize {
        let mut left = max.min(self.len).min(into.remaining_mut());
        let moved = left;
        let mut slab = self.slab.get(self.head..).unwrap_or(&[]);
        for segment in &self.segments {
            if left == 0 {
                break;
            }
            let piece: &[u8] = match segment {
                Segment::Slab(len) => {
                    let (piece, rest) = slab.split_at_checked(*len).unwrap_or((slab, &[]));
                    slab = rest;
                    piece
                }
                Segment::Shared(bytes) => bytes,
            };
            let piece = piece.get(..left).unwrap_or(piece);
            into.put_slice(piece);
            left = left.saturating_sub(piece.len());
        }
        self.advance(moved);
        moved
    }

    /// Drops everything that has not left. Marks from before no longer patch anything.
    pub fn clear(&mut self) {
        self.segments.clear();
        self.len = 0;
        self.restart_slab();
    }

    /// Frees memory that no byte needs now, for a connection that fell idle.
    pub fn shrink(&mut self) {
        self.move_down();
        self.slab.shrink_to_fit();
        self.segments.shrink_to_fit();
    }

    /// Where a reserved header stands in the slab, if all of it is there still.
    fn place(&self, mark: &Mark) -> Option<usize> {
        let at = usize::try_from(mark.slab_at.checked_sub(self.slab_base)?).ok()?;
        let end = at.checked_add(RESERVED_LEN)?;
        (at >= self.head && end <= self.slab.len()).then_some(at)
    }

    /// Moves the slab down rather than let it grow, when that is worth it.
    fn make_room(&mut self, more: usize) {
        let full = self.slab.len().saturating_add(more) > self.slab.capacity();
        if full && self.head >= self.slab.len().div_ceil(2) {
            self.move_down();
        }
    }

    fn move_down(&mut self) {
        if self.head > 0 {
            self.slab.drain(..self.head.min(self.slab.len()));
            self.slab_base = self.slab_base.wrapping_add(self.head as u64);
            self.head = 0;
        }
    }

    fn restart_slab(&mut self) {
        self.slab_base = self.slab_base.wrapping_add(self.slab.len() as u64);
        self.slab.clear();
        self.head = 0;
    }

    fn count_slab(&mut self, more: usize) {
        if let Some(Segment::Slab(len)) = self.segments.back_mut() {
            *len = len.saturating_add(more);
        } else {
            self.segments.push_back(Segment::Slab(more));
        }
        self.count(more);
    }

    fn count(&mut self, more: usize) {
        self.len = self.len.saturating_add(more);
        self.position = self.position.wrapping_add(more as u64);
    }
}

#[cfg(test)]
mod tests;
