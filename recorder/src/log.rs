//! The log of one machine while it is written.
//!
//! Steps stand one behind another in chunks. A step is its length, how much its number and its
//! time are above those of the step before, and the note. A chunk begins with number and time of
//! its first step, so what is before it can be given up.
//!
//! Bounds: a chunk has at most 64 KiB, or one step.

use std::collections::VecDeque;

use headwater_core::time::Instant;

use crate::notes::put_number;

/// A chunk is full at so many bytes.
pub(crate) const CHUNK: usize = 64 * 1024;

/// Three numbers, in bytes.
const STEP_HEAD: usize = 30;

/// What a log costs beside its chunks, in bytes, about.
pub(crate) const LOG_COST: usize = 1024;

/// Steps one behind another.
#[derive(Clone)]
pub(crate) struct Chunk {
    pub(crate) first_sequence: u64,
    pub(crate) first_at: u64,
    pub(crate) steps: u64,
    pub(crate) bytes: Vec<u8>,
}

/// What one machine has noted so far.
#[derive(Clone)]
pub(crate) struct LiveLog {
    /// How the machine began, as it stands in the file.
    pub(crate) birth: Vec<u8>,
    pub(crate) begun: Instant,
    pub(crate) chunks: VecDeque<Chunk>,
    /// Steps that made room for others.
    pub(crate) lost: u64,
    /// The machine is gone.
    pub(crate) closed: bool,
    sequence: u64,
    at: u64,
    /// Bytes of memory.
    pub(crate) held: usize,
}

impl LiveLog {
    pub(crate) fn new(birth: Vec<u8>, begun: Instant) -> Self {
        let held = LOG_COST + birth.len();
        Self {
            birth,
            begun,
            chunks: VecDeque::new(),
            lost: 0,
            closed: false,
            sequence: 0,
            at: 0,
            held,
        }
    }

    /// Appends a step; gives by how many bytes more memory is held.
    pub(crate) fn append(&mut self, sequence: u64, at: Instant, note: &[u8]) -> usize {
        let at = at.as_nanos();
        let fits = |chunk: &Chunk| chunk.bytes.len() + note.len() + STEP_HEAD <= CHUNK;
        if !self.chunks.back().is_some_and(fits) {
            let bytes = Vec::new();
            let (first_sequence, first_at) = (sequence, at);
            (self.sequence, self.at) = (sequence, at);
            self.chunks.push_back(Chunk { first_sequence, first_at, steps: 0, bytes });
        }
        let Some(chunk) = self.chunks.back_mut() else { return 0 };
        let before = chunk.bytes.capacity();
        if note.len() > CHUNK / 2 && before == 0 {
            // It stands alone, or nearly so.
            chunk.bytes.reserve_exact(note.len() + STEP_HEAD);
        }
        put_number(note.len() as u64, &mut chunk.bytes);
        put_number(sequence.wrapping_sub(self.sequence), &mut chunk.bytes);
        put_number(at.saturating_sub(self.at), &mut chunk.bytes);
        chunk.bytes.extend_from_slice(note);
        chunk.steps += 1;
        (self.sequence, self.at) = (sequence, at.max(self.at));
        let more = chunk.bytes.capacity() - before;
        self.held += more;
        more
    }

    /// Gives the first chunk up; gives by how many bytes less memory is held.
    pub(crate) fn forget(&mut self) -> usize {
        let Some(chunk) = self.chunks.pop_front() else { return 0 };
        self.lost += chunk.steps;
        let less = chunk.bytes.capacity();
        self.held -= less;
        less
    }
}
