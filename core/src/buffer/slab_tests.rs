use std::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const SLAB: usize = SLAB_MIN;

fn set(recycled: usize, outstanding_max: usize) -> SlabSet {
    SlabSet::new(SlabConfig { slab: SLAB, recycled, outstanding_max }).unwrap()
}

/// Fills a slab and gives its rest back, as an owner does after a full read.
fn fill(set: &mut SlabSet) -> Bytes {
    let mut slab = set.take().unwrap();
    slab.resize(slab.capacity(), 1);
    let read = slab.split().freeze();
    set.give_back(slab);
    read
}

#[test]
fn sizes_that_make_no_sense_are_refused() {
    let new = |slab, recycled, outstanding_max| {
        SlabSet::new(SlabConfig { slab, recycled, outstanding_max }).err()
    };
    assert_eq!(new(SLAB, 1, 1), None);
    assert_eq!(new(SLAB - 1, 1, 1), Some(BufferConfigError::SlabTooSmall { actual: SLAB - 1 }));
    assert_eq!(new(SLAB, 0, 0), Some(BufferConfigError::NoSlabs));
    let above = BufferConfigError::RecycledAboveMax { recycled: 3, outstanding_max: 2 };
    assert_eq!(new(SLAB, 3, 2), Some(above));
    assert!(SlabSet::new(SlabConfig::default()).is_ok());
}

#[test]
fn a_slab_is_used_again_at_the_same_place() {
    let mut set = set(1, 4);
    let first = fill(&mut set).as_ptr();
    for _ in 0..100 {
        assert_eq!(fill(&mut set).as_ptr(), first);
    }
    assert_eq!(set.outstanding(), 1);
}

#[test]
fn the_unused_half_of_a_pinned_slab_is_lent_again() {
    let mut set = set(1, 4);
    let mut slab = set.take().unwrap();
    slab.extend_from_slice(&[1; 100]);
    let message = slab.split().freeze();
    set.give_back(slab);
    let mut slab = set.take().unwrap();
    assert_eq!(slab.capacity(), SLAB - 100);
    slab.extend_from_slice(&[2; SLAB / 2]);
    let later = slab.split().freeze();
    assert_eq!(later.as_ptr(), message.as_ptr().wrapping_add(100));
    set.give_back(slab);
    // Less than half is left now, so another slab is lent.
    assert_eq!(set.take().unwrap().capacity(), SLAB);
    assert_eq!(message, [1; 100][..]);
    assert_eq!(set.outstanding(), 2);
}

#[test]
fn at_the_bound_nothing_is_lent_until_a_message_is_dropped() {
    let mut set = set(2, 3);
    let mut messages: Vec<Bytes> = (0..3).map(|_| fill(&mut set)).collect();
    assert!(set.take().is_none());
    assert_eq!((set.pinned(), set.outstanding(), set.lent()), (3, 3, 0));
    let freed = messages.remove(1).as_ptr();
    assert_eq!(set.pinned(), 2);
    assert_eq!(fill(&mut set).as_ptr(), freed);
}

#[test]
fn pressure_begins_above_half_of_the_bound_and_ends_with_the_messages() {
    let mut set = set(2, 4);
    let mut messages = Vec::new();
    for expected in [false, false, true, true] {
        messages.push(fill(&mut set));
        assert_eq!(set.pressure(), expected, "{} pinned", messages.len());
    }
    messages.truncate(2);
    assert!(!set.pressure());
}

#[test]
fn pressure_begins_before_the_lent_slabs_are_all_that_is_left() {
    let mut set = set(2, 4);
    let lent = [set.take().unwrap(), set.take().unwrap()];
    let first = fill(&mut set);
    assert!(!set.pressure());
    let second = fill(&mut set);
    assert!(set.pressure());
    drop(first);
    assert!(!set.pressure());
    lent.into_iter().for_each(|slab| set.give_back(slab));
    assert_eq!((set.pinned(), second.len()), (1, SLAB));
}

#[test]
fn shrink_frees_all_but_lent_and_pinned_slabs() {
    let mut set = set(4, 8);
    let pinned = fill(&mut set);
    let lent = set.take().unwrap();
    let more: Vec<Bytes> = (0..3).map(|_| fill(&mut set)).collect();
    drop(more);
    assert_eq!(set.outstanding(), 5);
    set.shrink();
    assert_eq!((set.outstanding(), set.pinned(), set.lent()), (2, 1, 1));
    drop(pinned);
    set.give_back(lent);
    set.shrink();
    assert_eq!(set.outstanding(), 0);
}

#[test]
fn no_more_than_the_recycled_number_of_slabs_is_kept() {
    let mut set = set(2, 8);
    let lent: Vec<BytesMut> = (0..6).map(|_| set.take().unwrap()).collect();
    lent.into_iter().for_each(|slab| set.give_back(slab));
    assert_eq!(set.outstanding(), 3); // two idle ones and the current one
}

#[test]
fn a_slab_that_was_never_lent_is_not_taken() {
    let mut set = set(1, 1);
    set.give_back(BytesMut::with_capacity(SLAB));
    assert_eq!(set.outstanding(), 0);
}

#[derive(Clone, Debug)]
enum Op {
    Take,
    Read(usize),
    GiveBack,
    Drop(usize),
    Shrink,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => Just(Op::Take),
        3 => (0..=SLAB).prop_map(Op::Read),
        3 => Just(Op::GiveBack),
        2 => (0..8_usize).prop_map(Op::Drop),
        1 => Just(Op::Shrink),
    ];
    prop::collection::vec(op, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The bound holds, messages keep their bytes, and dropping all of them frees all slabs.
    #[test]
    fn slabs_are_conserved(ops in ops()) {
        let mut set = set(2, 5);
        let mut lent: Vec<BytesMut> = Vec::new();
        let mut messages: Vec<(Bytes, u8)> = Vec::new();
        let mut stamp = 0_u8;
        for op in ops {
            match op {
                Op::Take => {
                    if let Some(slab) = set.take() {
                        prop_assert!(slab.is_empty() && slab.capacity() >= SLAB / 2);
                        lent.push(slab);
                    } else {
                        prop_assert_eq!(set.outstanding(), 5);
                    }
                }
                Op::Read(n) => {
                    if let Some(slab) = lent.last_mut() {
                        stamp = stamp.wrapping_add(1);
                        slab.resize(n.min(slab.capacity()), stamp);
                        messages.push((slab.split().freeze(), stamp));
                    }
                }
                Op::GiveBack => lent.pop().into_iter().for_each(|slab| set.give_back(slab)),
                Op::Drop(at) if at < messages.len() => drop(messages.swap_remove(at)),
                Op::Drop(_) => {}
                Op::Shrink => set.shrink(),
            }
            prop_assert!(set.outstanding() <= 5 && set.lent() == lent.len());
            for (message, stamp) in &messages {
                prop_assert!(message.iter().all(|byte| byte == stamp));
            }
        }
        messages.clear();
        lent.into_iter().for_each(|slab| set.give_back(slab));
        prop_assert_eq!(set.pinned(), 0);
        set.shrink();
        prop_assert_eq!(set.outstanding(), 0);
    }
}
