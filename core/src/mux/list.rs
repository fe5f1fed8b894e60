//! Ready lists threaded through the streams: a stream is on a list of each kind at most once, so
//! a list holds no more than there are streams, and every operation takes constant time.

use super::slots::Slots;

const NONE: u32 = u32::MAX;
const OFF: u32 = u32::MAX - 1;

/// The kinds of lists; a stream has one place in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Place {
    /// Control frames to be framed.
    Control,
    /// Its SYN is to be framed.
    Opening,
    /// Payload to be framed.
    Data,
    /// The last byte of its queue was framed.
    Drained,
}

/// The number of kinds.
pub(super) const PLACES: usize = 4;

/// A stream's place in one list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    prev: u32,
    next: u32,
}

impl Link {
    pub(super) const OFF: Self = Self { prev: OFF, next: OFF };

    pub(super) const fn is_on(self) -> bool {
        self.next != OFF
    }
}

/// A list of streams, by slot.
#[derive(Debug)]
pub(super) struct List {
    place: Place,
    head: u32,
    tail: u32,
    len: u32,
}

impl List {
    pub(super) const fn new(place: Place) -> Self {
        Self { place, head: NONE, tail: NONE, len: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) const fn front(&self) -> Option<u32> {
        if self.is_empty() { None } else { Some(self.head) }
    }

    /// The stream behind this one, which is on the list.
    pub(super) fn after(&self, slots: &Slots, slot: u32) -> Option<u32> {
        slots.link(slot, self.place).map(|link| link.next).filter(|next| *next < OFF)
    }

    /// Appends a stream; one that is on a list of this kind stays where it is.
    pub(super) fn push_back(&mut self, slots: &mut Slots, slot: u32) {
        let Some(link) = slots.link_mut(slot, self.place) else { return };
        if link.is_on() {
            return;
        }
        *link = Link { prev: self.tail, next: NONE };
        match slots.link_mut(self.tail, self.place) {
            Some(tail) => tail.next = slot,
            None => self.head = slot,
        }
        self.tail = slot;
        self.len = self.len.saturating_add(1);
    }

    /// Takes a stream off this list; true if it was on it.
    pub(super) fn remove(&mut self, slots: &mut Slots, slot: u32) -> bool {
        let Some(link) = slots.link_mut(slot, self.place) else { return false };
        if !link.is_on() {
            return false;
        }
        let Link { prev, next } = core::mem::replace(link, Link::OFF);
        match slots.link_mut(prev, self.place) {
            Some(prev) => prev.next = next,
            None => self.head = next,
        }
        match slots.link_mut(next, self.place) {
            Some(next) => next.prev = prev,
            None => self.tail = prev,
        }
        self.len = self.len.saturating_sub(1);
        true
    }

    pub(super) fn pop_front(&mut self, slots: &mut Slots) -> Option<u32> {
        let slot = self.front()?;
        self.remove(slots, slot);
        Some(slot)
    }

    /// The slots from front to back, for checks.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn collect(&self, slots: &Slots) -> alloc::vec::Vec<u32> {
        let mut found = alloc::vec::Vec::new();
        let mut at = self.head;
        while let Some(link) = slots.link(at, self.place) {
            found.push(at);
            at = link.next;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn streams(count: u32) -> (Slots, Vec<u32>) {
        let mut slots = Slots::new(0);
        let taken = (1..=count).map(|id| slots.insert(id)).collect();
        (slots, taken)
    }

    #[test]
    fn a_list_is_first_in_first_out_and_holds_each_once() {
        let (mut slots, taken) = streams(3);
        let mut list = List::new(Place::Data);
        for slot in &taken {
            list.push_back(&mut slots, *slot);
            list.push_back(&mut slots, *slot);
        }
        assert_eq!(list.collect(&slots), taken);
        assert_eq!(list.len(), 3);
        assert_eq!(list.pop_front(&mut slots), Some(taken[0]));
        list.push_back(&mut slots, taken[0]);
        assert_eq!(list.collect(&slots), [taken[1], taken[2], taken[0]]);
    }

    #[test]
    fn removal_works_at_both_ends_and_in_the_middle() {
        for removed in 0..3 {
            let (mut slots, mut taken) = streams(3);
            let mut list = List::new(Place::Control);
            taken.iter().for_each(|slot| list.push_back(&mut slots, *slot));
            assert!(list.remove(&mut slots, taken[removed]));
            assert!(!list.remove(&mut slots, taken[removed]));
            let gone = taken.remove(removed);
            assert_eq!(list.collect(&slots), taken);
            list.push_back(&mut slots, gone);
            taken.push(gone);
            assert_eq!(list.collect(&slots), taken);
        }
    }

    #[test]
    fn lists_of_different_kinds_do_not_meet() {
        let (mut slots, taken) = streams(1);
        let mut one = List::new(Place::Control);
        let mut two = List::new(Place::Drained);
        one.push_back(&mut slots, taken[0]);
        two.push_back(&mut slots, taken[0]);
        assert_eq!(one.pop_front(&mut slots), Some(taken[0]));
        assert_eq!((one.front(), two.front()), (None, Some(taken[0])));
    }
}
