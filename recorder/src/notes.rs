//! Notes as bytes: the same for whoever records and whoever repeats.
//!
//! A note is its value in postcard's form, and behind it the [parts](crate::frames) of the bytes
//! that came with it, up to the end.

use std::hash::Hasher as _;

use headwater_core::message::Batch;
use headwater_core::record::{Note, Way};
use twox_hash::XxHash3_64;

use crate::frames::{Keep, Track};
use crate::log::CHUNK;

/// Makes bytes of the notes of one machine.
#[derive(Debug)]
pub(crate) struct Encoder {
    keep: Keep,
    inward: Track,
    outward: Track,
    /// The note that was made last. One that is longer than [`CHUNK`] is let go by the next.
    bytes: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new(keep: Keep) -> Self {
        let (inward, outward) = (Track::default(), Track::default());
        Self { keep, inward, outward, bytes: Vec::new() }
    }

    pub(crate) const fn keeps_payloads(&self) -> bool {
        matches!(self.keep, Keep::Whole)
    }

    pub(crate) fn note(&mut self, mut note: Note) -> &[u8] {
        if !self.keeps_payloads() {
            note.blank();
        }
        self.value(&note);
        &self.bytes
    }

    pub(crate) fn bytes(
        &mut self,
        note: &Note,
        way: Way,
        pieces: &mut dyn Iterator<Item = &[u8]>,
    ) -> &[u8] {
        self.value(note);
        let track = if way == Way::In { &mut self.inward } else { &mut self.outward };
        for piece in pieces {
            track.write(piece, &self.keep, &mut self.bytes);
        }
        &self.bytes
    }

    pub(crate) fn taken(&mut self, batch: &Batch) -> &[u8] {
        let mut hash = XxHash3_64::new();
        if self.keeps_payloads() {
            for message in batch.iter() {
                hash.write(message.protocol.as_str().as_bytes());
                hash.write(&message.payload.len().to_le_bytes());
                hash.write(message.payload);
            }
        }
        let (messages, bytes) = (batch.len(), batch.bytes());
        self.value(&Note::Taken { messages, bytes, hash: hash.finish() });
        &self.bytes
    }

    fn value(&mut self, note: &Note) {
        let mut bytes = std::mem::take(&mut self.bytes);
        if bytes.capacity() > CHUNK {
            bytes = Vec::new();
        }
        bytes.clear();
        // Writing to memory cannot fail, and every note has a form.
        self.bytes = postcard::to_extend(note, bytes).unwrap_or_default();
    }
}

/// The note, and the parts behind it; `None` if it makes no sense.
pub(crate) fn decode(bytes: &[u8]) -> Option<(Note, &[u8])> {
    postcard::take_from_bytes(bytes).ok()
}

/// Appends a number, seven bits to a byte.
pub(crate) fn put_number(mut number: u64, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// Takes a number off the front.
pub(crate) fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
