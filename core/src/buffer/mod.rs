//! Chunk queues and cursors; they know no protocol words.

pub mod out;
