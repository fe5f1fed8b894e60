//! What a stream received and nobody could decode yet.

use alloc::collections::VecDeque;
use core::ops::Range;

use bytes::Bytes;

use crate::buffer::AppendSlab;

/// Pieces of a backlog have at least this many bytes, but for the last.
const PIECE_MIN: usize = 1024;

/// Bytes of one stream in pieces, oldest first; at most the stream's window.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

impl Backlog {
    /// Keeps bytes of a chunk for later: where they are if that is allowed, else as a copy.
    /// Pieces too small to be worth a descriptor are copied together.
    pub(super) fn keep(
        &mut self,
        stash: &mut AppendSlab,
        chunk: &Bytes,
        range: Range<usize>,
        copy: bool,
    ) {
        let Some(bytes) = chunk.get(range.clone()) else { return };
        self.bytes = self.bytes.saturating_add(bytes.len());
        if !copy && bytes.len() > PIECE_MIN {
            return self.pieces.push_back(chunk.slice(range));
        }
        let last = self.pieces.pop_back().unwrap_or_default();
        let joined = if last.len().saturating_add(bytes.len()) <= PIECE_MIN {
            &last[..]
        } else {
            self.pieces.extend((!last.is_empty()).then(|| last.clone()));
            &[]
        };
        let len = joined.len().saturating_add(bytes.len());
        let room = stash.room(len);
        room.extend_from_slice(joined);
        room.extend_from_slice(bytes);
        self.pieces.extend(stash.cut(len));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map(|piece| &piece[..])
    }

    /// Takes the oldest piece.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let piece = self.pieces.pop_front()?;
        self.bytes = self.bytes.saturating_sub(piece.len());
        Some(piece)
    }

    /// Puts back what is left of the oldest piece.
    pub(super) fn unpop(&mut self, piece: Bytes) {
        self.bytes = self.bytes.saturating_add(piece.len());
        self.pieces.push_front(piece);
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn recount(&self) -> usize {
        self.pieces().map(<[u8]>::len).sum()
    }
}
