//! Which stream sends next.
//!
//! Streams with payload and credit wait in one list per class. A higher class goes first; within
//! a class streams take turns. A lower class that waited while `starvation_max` bytes of higher
//! classes were framed sends one piece, so with the default of 256 KiB and a quantum of 16 KiB
//! each lower class keeps at least one byte in 18 or so of what is framed.
//!
//! A turn is one piece, but in the class of large transfers it lasts for 1 MiB, or until another
//! one has less left: side by side all of them would arrive as late as the last. One that has more
//! left than the others still gets a piece for each of their turns.
//!
//! Invariant: a stream is listed if and only if it has payload and credit, in the list of the
//! class it had when it was listed.

use super::list::{List, Place};
use super::slots::Slots;

/// The class of a stream's payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Priority {
    /// Small and urgent: heartbeats, the protocol exchange.
    High,
    /// Ordinary messages.
    #[default]
    Normal,
    /// Large transfers that must not hold up others.
    Bulk,
}

/// Bytes of one large transfer in a row, while others of its class wait.
const BULK_TURN: u64 = 1 << 20;

/// How many classes there are.
pub(super) const CLASSES: usize = 3;

/// One class: its streams, and how many bytes of higher classes were framed since it waits.
#[derive(Debug)]
struct Class {
    ready: List,
    waited: u64,
    /// What the first of the list has sent of its turn, in bytes.
    turn: u64,
}

/// The ready lists of a session.
#[derive(Debug)]
pub(super) struct Scheduler {
    classes: [Class; CLASSES],
    ready: usize,
    starvation_max: u64,
}

impl Scheduler {
    pub(super) const fn new(starvation_max: u64) -> Self {
        const EMPTY: Class = Class { ready: List::new(Place::Data), waited: 0, turn: 0 };
        Self { classes: [EMPTY; CLASSES], ready: 0, starvation_max }
    }

    /// How many streams are ready, with those of large transfers or without.
    pub(super) fn ready(&self, with_bulk: bool) -> usize {
        let bulk = self.classes.last().filter(|_| !with_bulk);
        self.ready.saturating_sub(bulk.map_or(0, |bulk| bulk.ready.len()))
    }

    /// Lists a stream at the end of its class, or takes it off, as its state demands.
    pub(super) fn update(&mut self, slots: &mut Slots, slot: u32) {
        let Some(stream) = slots.get(slot) else { return };
        if !stream.has_data() {
            self.remove(slots, slot);
            return;
        }
        if let Some(class) = self.classes.get_mut(stream.priority as usize) {
            let before = class.ready.len();
            class.ready.push_back(slots, slot);
            let more = class.ready.len().saturating_sub(before);
            self.ready = self.ready.saturating_add(more);
        }
    }

    /// Takes a stream off the list of the class that it has now.
    pub(super) fn remove(&mut self, slots: &mut Slots, slot: u32) {
        let Some(stream) = slots.get(slot) else { return };
        let Some(class) = self.classes.get_mut(stream.priority as usize) else { return };
        if class.ready.front() == Some(slot) {
            class.turn = 0;
        }
        if class.ready.remove(slots, slot) {
            self.ready = self.ready.saturating_sub(1);
        }
        if class.ready.is_empty() {
            class.waited = 0;
        }
    }

    /// The stream whose turn it is, with large transfers or without; it stays listed.
    pub(super) fn pick(&self, with_bulk: bool) -> Option<u32> {
        let mut first = None;
        let classes = if with_bulk { CLASSES } else { Priority::Bulk as usize };
        for class in self.classes.iter().take(classes) {
            let Some(slot) = class.ready.front() else { continue };
            if class.waited >= self.starvation_max {
                return Some(slot);
            }
            first = first.or(Some(slot));
        }
        first
    }

    /// Takes note that `bytes` of the picked stream were framed; it goes behind the others when its
    /// turn is over.
    pub(super) fn framed(&mut self, slots: &mut Slots, slot: u32, bytes: usize) {
        let Some(served) = slots.get(slot).map(|stream| stream.priority as usize) else { return };
        for (at, class) in self.classes.iter_mut().enumerate() {
            if at == served {
                class.waited = 0;
            } else if at > served && !class.ready.is_empty() {
                class.waited = class.waited.saturating_add(bytes as u64);
            }
        }
        if !self.keeps_turn(slots, slot, bytes) {
            self.remove(slots, slot);
            self.update(slots, slot);
        }
    }

    /// Whether a stream that has just sent so many bytes is to send more before the others do.
    fn keeps_turn(&mut self, slots: &Slots, slot: u32, bytes: usize) -> bool {
        let Some(stream) = slots.get(slot).filter(|stream| stream.has_data()) else { return false };
        let Some(bulk) = self.classes.get_mut(Priority::Bulk as usize) else { return false };
        if stream.priority != Priority::Bulk || bulk.ready.front() != Some(slot) {
            return false;
        }
        bulk.turn = bulk.turn.saturating_add(bytes as u64);
        let next = bulk.ready.after(slots, slot).and_then(|next| slots.get(next));
        bulk.turn < BULK_TURN && next.is_none_or(|next| stream.queued() <= next.queued())
    }

    /// All listed slots, for checks.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn collect(&self, slots: &Slots) -> alloc::vec::Vec<u32> {
        self.classes.iter().flat_map(|class| class.ready.collect(slots)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::out::OutBuf;
    use bytes::Bytes;
    use std::{vec, vec::Vec};

    fn setup(priorities: &[Priority]) -> (Slots, Scheduler, Vec<u32>) {
        let mut slots = Slots::new(0);
        let mut scheduler = Scheduler::new(1000);
        let mut taken = Vec::new();
        for (id, priority) in (1..).zip(priorities) {
            let slot = slots.insert(id);
            let stream = slots.get_mut(slot).unwrap();
            stream.priority = *priority;
            stream.push(Bytes::from_static(b"payload"));
            scheduler.update(&mut slots, slot);
            taken.push(slot);
        }
        (slots, scheduler, taken)
    }

    #[test]
    fn streams_of_a_class_take_turns() {
        let (mut slots, mut scheduler, taken) = setup(&[Priority::Normal; 3]);
        for turn in 0..7 {
            assert_eq!(scheduler.pick(true), Some(taken[turn % 3]));
            scheduler.framed(&mut slots, taken[turn % 3], 1);
        }
    }

    #[test]
    fn large_transfers_take_long_turns_and_one_with_less_left_goes_first() {
        let (mut slots, mut scheduler, taken) = setup(&[Priority::Bulk; 3]);
        let mebibyte = BULK_TURN as usize;
        for (slot, len) in [(taken[0], 4 * mebibyte), (taken[1], 3000), (taken[2], 3 * mebibyte)] {
            let stream = slots.get_mut(slot).unwrap();
            stream.drop_queue();
            stream.push(Bytes::from(vec![0; len]));
            assert!(stream.send.add(8 << 20));
        }
        let mut out = OutBuf::new();
        let mut served = Vec::new();
        while let Some(slot) = scheduler.pick(true) {
            let stream = slots.get_mut(slot).unwrap();
            let len = stream.queued().min(1000);
            stream.frame_payload(len, &mut out);
            scheduler.framed(&mut slots, slot, len);
            match served.last_mut() {
                Some((last, bytes)) if *last == slot => *bytes += len,
                _ => served.push((slot, len)),
            }
        }
        assert_eq!(served[..2], [(taken[0], 1000), (taken[1], 3000)]);
        // A turn at a time of the one with less left, a piece of the other in between.
        let turn = mebibyte.next_multiple_of(1000);
        assert_eq!(
            served[2..6],
            [(taken[2], turn), (taken[0], 1000), (taken[2], turn), (taken[0], 1000),]
        );
        assert_eq!(served.len(), 8, "{served:?}");
    }

    #[test]
    fn higher_classes_go_first_but_lower_ones_are_not_starved() {
        let classes = [Priority::Bulk, Priority::High, Priority::Normal];
        let (mut slots, mut scheduler, taken) = setup(&classes);
        let mut turns = [0; 3];
        for _ in 0..240 {
            let slot = scheduler.pick(true).unwrap();
            turns[taken.iter().position(|s| *s == slot).unwrap()] += 1;
            scheduler.framed(&mut slots, slot, 100);
        }
        // In each round 10 or 11 turns of the higher classes precede one of a lower class.
        assert!(turns[0] >= 18 && turns[2] >= 18, "{turns:?}");
        assert!(turns[1] >= 190, "{turns:?}");
    }

    #[test]
    fn a_higher_class_does_not_wait_for_a_lower_one() {
        let classes = [Priority::High, Priority::Normal, Priority::Bulk];
        let (mut slots, mut scheduler, taken) = setup(&classes);
        scheduler.framed(&mut slots, taken[2], 5000);
        scheduler.framed(&mut slots, taken[0], 100);
        assert_eq!(scheduler.pick(true), Some(taken[0]));
    }

    #[test]
    fn a_class_that_ran_empty_has_not_waited() {
        let (mut slots, mut scheduler, taken) = setup(&[Priority::High, Priority::Bulk]);
        scheduler.framed(&mut slots, taken[0], 5000);
        assert_eq!(scheduler.pick(true), Some(taken[1]));
        scheduler.remove(&mut slots, taken[1]);
        scheduler.update(&mut slots, taken[1]);
        assert_eq!((scheduler.pick(true), scheduler.ready(true)), (Some(taken[0]), 2));
    }

    #[test]
    fn a_stream_without_payload_is_not_listed() {
        let (mut slots, mut scheduler, taken) = setup(&[Priority::High]);
        slots.get_mut(taken[0]).unwrap().drop_queue();
        scheduler.update(&mut slots, taken[0]);
        assert_eq!((scheduler.pick(true), scheduler.ready(true)), (None, 0));
    }
}
