//! Where streams live: recycled slots, and an index from yamux id to slot.
//!
//! Bound: slots are never given back, so their number is the most streams there ever were at a
//! time, which the session bounds.

use alloc::vec::Vec;
use core::hash::{BuildHasher, Hasher};

use hashbrown::HashMap;

use super::list::{Link, Place};
use super::stream::Stream;

/// The slots of a session's streams.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Stream>,
    free: Vec<u32>,
    index: HashMap<u32, u32, Key>,
    /// The slot that was found last: frames of one stream often follow each other.
    last: u32,
    /// Memory was taken since [`Slots::shrink`] last freed all that nothing is in: by streams, by
    /// their queues, or by what else the session keeps.
    pub(super) loose: bool,
}

impl Slots {
    /// Bytes of memory of the table and of its index, roughly.
    pub(super) fn memory(&self) -> usize {
        let index = self.index.capacity().saturating_mul(size_of::<[(u32, u32); 2]>());
        let free = self.free.capacity().saturating_mul(size_of::<u32>());
        let slots = self.slots.capacity().saturating_mul(Stream::MEMORY);
        slots.saturating_add(index).saturating_add(free)
    }

    /// No streams; `key` decides how ids are spread over the index.
    pub(super) fn new(key: u64) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            index: HashMap::with_hasher(Key(key)),
            last: u32::MAX,
            loose: false,
        }
    }

    /// Frees room that no stream needs; what is queued keeps its own, until a later call.
    pub(super) fn shrink(&mut self) {
        self.loose = false;
        for stream in &mut self.slots {
            self.loose |= !stream.shrink();
        }
        self.slots.shrink_to_fit();
        self.free.shrink_to_fit();
        self.index.shrink_to_fit();
    }

    /// How many streams there are, hidden ones included.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Makes a stream with an id that is not there yet.
    pub(super) fn insert(&mut self, id: u32) -> u32 {
        self.loose = true;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Stream::vacant());
            u32::try_from(self.slots.len().saturating_sub(1)).unwrap_or(u32::MAX)
        });
        if let Some(stream) = self.get_mut(slot) {
            stream.occupy(id);
        }
        self.index.insert(id, slot);
        slot
    }

    /// Frees a slot; the stream must be off all lists.
    pub(super) fn remove(&mut self, slot: u32) {
        let Some(stream) = self.slots.get_mut(slot as usize) else { return };
        if let Some(id) = stream.vacate() {
            self.index.remove(&id);
            self.free.push(slot);
            self.loose = true;
        }
    }

    pub(super) fn find(&mut self, id: u32) -> Option<u32> {
        if self.get(self.last).is_some_and(|stream| stream.id() == Some(id)) {
            return Some(self.last);
        }
        let slot = self.index.get(&id).copied()?;
        self.last = slot;
        Some(slot)
    }

    /// The same as [`Slots::find`], without taking note.
    pub(super) fn peek(&self, id: u32) -> Option<u32> {
        if self.get(self.last).is_some_and(|stream| stream.id() == Some(id)) {
            return Some(self.last);
        }
        self.index.get(&id).copied()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Stream> {
        self.slots.get(slot as usize)
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Stream> {
        self.slots.get_mut(slot as usize)
    }

    pub(super) fn link_mut(&mut self, slot: u32, place: Place) -> Option<&mut Link> {
        self.get_mut(slot)?.links.get_mut(place as usize)
    }

    pub(super) fn link(&self, slot: u32, place: Place) -> Option<Link> {
        self.get(slot)?.links.get(place as usize).copied()
    }

    /// Whether [`Slots::shrink`] would free something, for checks.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn has_room(&self) -> bool {
        self.slots.iter().any(Stream::has_room)
            || self.slots.capacity() > self.slots.len()
            || self.free.capacity() > self.free.len()
    }

    /// Every slot that is taken, in the order of slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Stream)> {
        (0..).zip(&self.slots).filter(|(_, stream)| stream.id().is_some())
    }
}

/// Spreads ids by a key that the peer does not know, so it cannot choose ids that collide.
#[derive(Clone, Debug)]
struct Key(u64);

impl BuildHasher for Key {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher(self.0)
    }
}

/// Two rounds of multiply and fold; enough for tables of some hundred ids.
#[derive(Debug)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        let mut z = self.0 ^ u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        self.0 = z ^ (z >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recycled_slot_is_not_found_by_its_old_id() {
        let mut slots = Slots::new(1);
        let one = slots.insert(1);
        assert_eq!(slots.find(1), Some(one));
        slots.remove(one);
        slots.remove(one);
        assert_eq!((slots.find(1), slots.len()), (None, 0));
        assert_eq!(slots.insert(3), one);
        assert_eq!((slots.find(1), slots.peek(3), slots.len()), (None, Some(one), 1));
        assert_eq!(slots.insert(5), 1);
    }

    #[test]
    fn neighbouring_ids_differ_in_the_bits_that_the_table_uses() {
        for key in [0, 1, u64::MAX] {
            let mut seen = std::vec![0_u32; 256];
            for id in (1..512).step_by(2) {
                let hash = Key(key).hash_one(id);
                seen[usize::try_from(hash % 256).unwrap()] += 1;
            }
            assert!(seen.iter().all(|count| *count < 10), "{seen:?}");
        }
    }
}
