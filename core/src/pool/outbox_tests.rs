use std::collections::VecDeque;
use std::vec::Vec;

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::pool::Counted;
use crate::wire::{encode_package, encoded_len, gzip, package::Walk};

fn protocol(at: usize) -> ProtocolId {
    ProtocolId::new(["/a", "/bulk/1.0.0", "/c"][at]).unwrap()
}

fn outbox(edit: impl FnOnce(&mut OutboxConfig)) -> Outbox {
    let mut config = OutboxConfig { share_min: 100, ..OutboxConfig::default() };
    edit(&mut config);
    Outbox::new(config)
}

fn encoded(protocol: &ProtocolId, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode_package(&mut out, protocol.as_str(), payload, false);
    out.to_vec()
}

fn flat(message: &LargeMessage) -> Vec<u8> {
    [&message.head[..], &message.payload, &message.tail].concat()
}

#[test]
fn small_messages_leave_as_one_piece_and_large_ones_uncopied() {
    let mut outbox = outbox(|_| {});
    let large = Bytes::from(std::vec![7; 100]);
    assert_eq!(outbox.push_slice(&protocol(0), b""), Ok(WasEmpty(true)));
    assert_eq!(outbox.push(&protocol(1), large.clone()), Ok(WasEmpty(true)));
    assert_eq!(outbox.push(&protocol(2), large.slice(1..)), Ok(WasEmpty(false)));
    assert_eq!((outbox.messages(), outbox.small_messages(), outbox.large_messages()), (3, 2, 1));
    outbox.assert_invariants();

    let batch = outbox.take_small().unwrap();
    let expected = [encoded(&protocol(0), b""), encoded(&protocol(2), &[7; 99])].concat();
    assert_eq!((&batch.bytes[..], batch.messages), (&expected[..], 2));
    let message = outbox.take_large().unwrap();
    assert_eq!(message.payload.as_ptr(), large.as_ptr());
    assert_eq!(flat(&message), encoded(&protocol(1), &large));
    assert_eq!(message.encoded_len(), encoded_len("/bulk/1.0.0".len(), 100));
    assert!(outbox.is_empty() && outbox.take_small().is_none() && outbox.take_large().is_none());
}

#[test]
fn a_full_outbox_hands_the_payload_back() {
    let one = encoded_len(2, 10);
    let mut outbox = outbox(|config| (config.bytes_max, config.ordered) = (one + 1, true));
    let payload = Bytes::from_static(b"0123456789");
    assert_eq!(outbox.push(&protocol(0), payload.clone()), Ok(WasEmpty(true)));
    // One message may exceed the bound, whatever its size.
    assert_eq!(outbox.push(&protocol(0), std::vec![0; 5000].into()), Ok(WasEmpty(false)));
    let bytes = outbox.bytes();
    assert_eq!(outbox.full(), Sizes::BOTH);
    assert_eq!(outbox.push(&protocol(0), payload.clone()), Err(PushError::Full(payload.clone())));
    assert_eq!(outbox.push_slice(&protocol(0), b"x"), Err(PushError::Full(())));
    assert_eq!((outbox.bytes(), outbox.messages()), (bytes, 2));
    outbox.take_small().unwrap();
    outbox.take_large().unwrap();
    assert_eq!((outbox.bytes(), outbox.push(&protocol(0), payload)), (0, Ok(WasEmpty(true))));
    outbox.assert_invariants();
    let mut zero = Outbox::new(OutboxConfig { bytes_max: 0, ..OutboxConfig::default() });
    assert_eq!(zero.push_slice(&protocol(0), b"x"), Ok(WasEmpty(true)));
}

#[test]
fn small_and_large_messages_have_room_of_their_own() {
    let one = encoded_len(2, 10);
    let mut outbox = outbox(|config| config.bytes_max = 4 * one);
    let (small, large) = (Bytes::from_static(b"0123456789"), Bytes::from(std::vec![0; 5000]));
    let push = |outbox: &mut Outbox, payload: &Bytes| outbox.push(&protocol(0), payload.clone());
    assert_eq!(push(&mut outbox, &large), Ok(WasEmpty(true)));
    assert_eq!(outbox.full(), Sizes { small: false, large: true });
    assert_eq!(push(&mut outbox, &large), Err(PushError::Full(large.clone())));
    assert_eq!(push(&mut outbox, &small), Ok(WasEmpty(true)), "the first of its size");
    assert_eq!(push(&mut outbox, &small), Ok(WasEmpty(false)));
    assert_eq!(outbox.full(), Sizes::BOTH);
    assert_eq!(push(&mut outbox, &small), Err(PushError::Full(small.clone())));

    let mut own = self::outbox(|_| {});
    own.swap_sizes(&mut outbox, Sizes { small: true, large: false });
    assert_eq!((own.messages(), outbox.sizes()), (2, Sizes { small: false, large: true }));
    assert_eq!(push(&mut outbox, &small), Ok(WasEmpty(true)));
    assert_eq!(push(&mut outbox, &large), Err(PushError::Full(large.clone())));
    own.swap_sizes(&mut outbox, Sizes { small: false, large: true });
    assert_eq!((own.large_messages(), own.small_messages(), outbox.messages()), (1, 2, 1));
    assert_eq!(push(&mut outbox, &large), Ok(WasEmpty(true)));
    for outbox in [&outbox, &own] {
        outbox.assert_invariants();
    }
}

/// Whatever comes first, and of whatever sizes, the sum keeps its bound.
#[test]
fn the_bound_holds_for_both_sizes_together() {
    for order in [[10, 100, 700], [100, 10, 700], [700, 10, 100], [10, 700, 100]] {
        let mut outbox = outbox(|config| config.bytes_max = 2000);
        for len in order {
            let payload = Bytes::from(std::vec![0; len]);
            while outbox.push(&protocol(0), payload.clone()).is_ok() {}
        }
        let bound = 3000 + encoded_len(2, 10) + encoded_len(2, 700);
        assert!(outbox.bytes() < bound, "{order:?}: {}", outbox.bytes());
        assert!(outbox.small_messages() > 0 && outbox.large_messages() > 0, "{order:?}");
    }
}

/// What compression makes small takes room of small messages, and does not exceed it.
#[test]
fn large_messages_that_become_small_are_bounded_with_them() {
    let mut outbox =
        outbox(|config| (config.bytes_max, config.compress) = (2 * encoded_len(2, 100), true));
    let payload = Bytes::from(std::vec![7; 5000]);
    let accepted = (0..1000).take_while(|_| outbox.push(&protocol(0), payload.clone()).is_ok());
    assert!(accepted.count() < 10);
    assert!(outbox.large_messages() == 0 && outbox.bytes() < 3 * encoded_len(2, 100));
    outbox.assert_invariants();
}

#[test]
fn a_message_over_the_limit_is_refused_and_one_at_it_is_not() {
    let mut outbox = outbox(|config| config.message_max = 200);
    let refusal = PushError::TooLarge { payload: Bytes::from(std::vec![0; 201]), limit: 200 };
    assert_eq!(outbox.push(&protocol(0), std::vec![0; 201].into()), Err(refusal));
    assert!(outbox.is_empty());
    assert!(outbox.push(&protocol(0), std::vec![0; 200].into()).is_ok());
}

#[test]
fn a_closed_outbox_answers_moved_and_keeps_what_is_inside() {
    let mut outbox = outbox(|_| {});
    outbox.push_slice(&protocol(0), b"in time").unwrap();
    outbox.close();
    let late = Bytes::from_static(b"late");
    assert_eq!(outbox.push(&protocol(0), late.clone()), Err(PushError::Moved(late)));
    assert_eq!(outbox.push_slice(&protocol(0), b"late"), Err(PushError::Moved(())));
    let mut other = self::outbox(|_| {});
    other.push_slice(&protocol(0), b"stays").unwrap();
    assert_eq!(outbox.merge(&mut other), Err(PushError::Moved(())));
    let batch = other.take_small().unwrap();
    assert_eq!(outbox.adopt_small(batch.clone()), Err(PushError::Moved(batch)));
    assert!(outbox.is_closed());
    assert_eq!(outbox.take_small().unwrap().messages, 1);
}

#[test]
fn pushing_many_stops_at_the_first_refusal() {
    let mut outbox = outbox(|config| config.bytes_max = 2 * encoded_len(2, 1));
    let a = protocol(0);
    let mut messages = (0..5_u8).map(|n| (&a, Bytes::from(std::vec![n])));
    let pushed = outbox.push_many(&mut messages);
    assert_eq!((pushed.messages, pushed.was_empty), (2, WasEmpty(true)));
    assert_eq!(pushed.stopped, Some(PushError::Full(Bytes::from_static(&[2]))));
    assert_eq!(messages.next().unwrap().1, [3][..]);
    outbox.take_small();
    let pushed = outbox.push_many(&mut messages);
    assert_eq!((pushed.messages, pushed.stopped), (1, None));
}

#[test]
fn d107_compression_keeps_the_callers_payload_and_only_shortens() {
    let mut outbox = outbox(|config| config.compress = true);
    let runs = Bytes::from(std::vec![b'x'; 5000]);
    let noise: Bytes =
        (0..300_u32).map(|n| (n.wrapping_mul(2_654_435_761).rotate_left(n) >> 13) as u8).collect();
    outbox.push(&protocol(0), runs.clone()).unwrap();
    outbox.push_slice(&protocol(0), b"short").unwrap();
    outbox.push(&protocol(0), noise.clone()).unwrap();
    assert!(runs.iter().all(|byte| *byte == b'x'));

    // Fifty packed bytes are a small message.
    let batch = outbox.take_small().unwrap();
    let packages: Vec<_> = Walk::new(&batch.bytes).collect();
    assert_eq!((packages.len(), packages[0].compressed, packages[1].compressed), (2, true, false));
    let unpacked = gzip::decompress(&batch.bytes[packages[0].payload.clone()], 5000).unwrap();
    assert_eq!(unpacked, runs);
    let message = outbox.take_large().unwrap();
    assert_eq!((message.payload.as_ptr(), &message.tail[..]), (noise.as_ptr(), &[0][..]));

    let half: Bytes = noise.iter().chain(&runs[..300]).copied().collect();
    outbox.push(&protocol(1), half.clone()).unwrap();
    let message = outbox.take_large().unwrap();
    assert!(message.payload.len() < half.len() && message.tail[..] == [1]);
    assert_eq!(gzip::decompress(&message.payload, 5000).unwrap(), half);
    let mut other = self::outbox(|_| {});
    other.adopt_large(message.clone()).unwrap();
    assert_eq!(other.take_large().unwrap(), message);
}

#[test]
fn a_batch_may_be_cut_between_messages() {
    let mut outbox = outbox(|_| {});
    for payload in ["one", "three", "five!"] {
        outbox.push_slice(&protocol(0), payload.as_bytes()).unwrap();
    }
    let (short, long) = (encoded_len(2, 3), encoded_len(2, 5));
    let table = [
        (1, 1), // one at least
        (short + long - 1, 1),
        (short + long, 2),
        (short + 2 * long - 1, 2),
        (short + 2 * long, 3),
    ];
    for (max, expected) in table {
        let mut copy = self::outbox(|_| {});
        let all = outbox.take_small().unwrap();
        copy.adopt_small(all.clone()).unwrap();
        outbox.adopt_small(all).unwrap();
        assert_eq!(copy.take_small_within(max).unwrap().messages, expected, "{max}");
        copy.assert_invariants();
        assert_eq!(copy.messages(), 3 - expected);
    }
}

#[test]
fn an_ordered_outbox_keeps_the_sequence() {
    let mut outbox = outbox(|config| config.ordered = true);
    let payloads: Vec<Bytes> =
        [3, 200, 4, 5, 150, 160, 6].map(|len| Bytes::from(std::vec![len as u8; len])).into();
    for payload in &payloads {
        outbox.push(&protocol(0), payload.clone()).unwrap();
        outbox.assert_invariants();
    }
    assert!(outbox.take_large().is_none(), "a small one is first");
    assert_eq!(outbox.take_small().unwrap().messages, 1);
    assert!(outbox.take_small().is_none(), "a large one is first");
    let mut left = Vec::new();
    while let Some(item) = outbox.take_next() {
        outbox.assert_invariants();
        match item {
            Item::Small(batch) => left.push((batch.messages, batch.bytes.to_vec())),
            Item::Large(message) => left.push((1, flat(&message))),
        }
    }
    let encoded: Vec<Vec<u8>> = payloads.iter().map(|p| encoded(&protocol(0), p)).collect();
    let expected = [
        (1, encoded[1].clone()),
        (2, encoded[2..4].concat()),
        (1, encoded[4].clone()),
        (1, encoded[5].clone()),
        (1, encoded[6].clone()),
    ];
    assert_eq!(left, expected);
}

#[test]
fn swapping_exchanges_contents_and_nothing_else() {
    let mut shared = outbox(|_| {});
    let mut own = outbox(|config| config.ordered = true);
    shared.push(&protocol(0), std::vec![1; 100].into()).unwrap();
    shared.push_slice(&protocol(0), b"small").unwrap();
    shared.close();
    shared.swap(&mut own);
    assert!(shared.is_empty() && shared.is_closed() && !own.is_closed());
    shared.assert_invariants();
    own.assert_invariants();
    // An unordered outbox knows no sequence; small messages come first.
    assert!(matches!(own.take_next(), Some(Item::Small(_))));
    assert!(matches!(own.take_next(), Some(Item::Large(_))));
    own.push_slice(&protocol(0), b"small").unwrap();
    shared.swap(&mut own);
    shared.assert_invariants();
    assert_eq!((shared.messages(), own.messages()), (1, 0));
}

#[test]
fn what_a_lost_connection_did_not_frame_moves() {
    let mut lost = outbox(|_| {});
    let mut next = outbox(|config| config.bytes_max = 1);
    for outbox in [&mut lost, &mut next] {
        outbox.push_slice(&protocol(0), b"message").unwrap();
    }
    lost.push(&protocol(1), std::vec![1; 300].into()).unwrap();
    lost.close();
    assert_eq!(next.merge(&mut lost), Ok(WasEmpty(true)), "the first large one");
    assert!(lost.is_empty());
    assert_eq!((next.small_messages(), next.large_messages()), (2, 1));
    next.assert_invariants();
    let mut empty = outbox(|_| {});
    assert_eq!(empty.merge(&mut next), Ok(WasEmpty(true)));
}

#[test]
fn a_batch_splits_into_begun_and_untouched_messages() {
    let batch = || {
        let mut outbox = outbox(|_| {});
        for _ in 0..3 {
            outbox.push_slice(&protocol(0), b"0123").unwrap();
        }
        outbox.take_small().unwrap()
    };
    let one = encoded_len(2, 4);
    let table =
        [(0, 0), (1, 1), (one, 1), (one + 1, 2), (2 * one, 2), (3 * one, 3), (usize::MAX, 3)];
    for (framed, expected) in table {
        let (begun, untouched) = batch().split_framed(framed);
        assert_eq!((begun.messages, untouched.messages), (expected, 3 - expected), "{framed}");
        assert_eq!(
            (begun.bytes.len(), untouched.bytes.len()),
            (expected * one, (3 - expected) * one)
        );
    }
}

#[test]
fn the_tally_counts_by_protocol() {
    let mut outbox = outbox(|_| {});
    for (at, len) in [(1, 4), (0, 3), (1, 250), (1, 0)] {
        outbox.push(&protocol(at), std::vec![0; len].into()).unwrap();
    }
    let mut tally = outbox.tally();
    let (a, bulk) = (protocol(0), protocol(1));
    let counted = |messages, bytes| Counted { messages, bytes };
    assert_eq!(tally.iter().collect::<Vec<_>>(), [(&a, counted(1, 3)), (&bulk, counted(3, 254))]);
    tally.add_outbox(&outbox);
    tally.add_large(&outbox.take_large().unwrap());
    tally.add_small(&outbox.take_small().unwrap().bytes);
    assert_eq!(tally.total(), counted(12, 3 * 257));
    assert!(outbox.tally().is_empty());
}

#[derive(Clone, Debug)]
enum Op {
    Push(usize, usize),
    Small(usize),
    Large,
    Next,
    Swap,
    SwapSizes(bool, bool),
    Merge,
    Shrink,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => (0..3_usize, 0..200_usize).prop_map(|(p, n)| Op::Push(p, n)),
        2 => (0..500_usize).prop_map(Op::Small),
        2 => Just(Op::Large),
        2 => Just(Op::Next),
        1 => Just(Op::Swap),
        1 => any::<(bool, bool)>().prop_map(|(small, large)| Op::SwapSizes(small, large)),
        1 => Just(Op::Merge),
        1 => Just(Op::Shrink),
    ];
    prop::collection::vec(op, 0..120)
}

/// Encoded messages in the order of their arrival; true for large ones.
type Model = VecDeque<(bool, Vec<u8>)>;

/// Removes the messages that `bytes` consists of: of their kind always the first ones, and if
/// the sequence counts, the first ones of all.
fn remove(model: &mut Model, ordered: bool, large: bool, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let at = model.iter().position(|(kind, _)| *kind == large).expect("it was pushed");
        assert!(!ordered || at == 0, "out of turn");
        let (_, message) = model.remove(at).unwrap();
        rest = rest.strip_prefix(&message[..]).expect("whole messages, in turn");
    }
}

/// Exchanges the small messages, the large ones, or both.
fn exchange(one: &mut Model, two: &mut Model, sizes: [bool; 2]) {
    let part = |model: &mut Model| {
        let (moved, kept) = model.drain(..).partition(|(large, _)| sizes[usize::from(*large)]);
        *model = kept;
        moved
    };
    let (mut first, mut second): (Model, Model) = (part(one), part(two));
    one.append(&mut second);
    two.append(&mut first);
}

proptest! {
    #[test]
    fn every_accepted_message_leaves_once_and_whole(ops in ops(), ordered: bool) {
        let make = || outbox(|config| (config.bytes_max, config.ordered) = (700, ordered));
        let (mut outbox, mut other) = (make(), make());
        let (mut model, mut other_model) = (Model::new(), Model::new());
        let mut stamp = 0_u8;
        for op in ops {
            match op {
                Op::Push(p, len) => {
                    stamp = stamp.wrapping_add(1);
                    let payload = Bytes::from(std::vec![stamp; len]);
                    let is_large = len >= 100;
                    let all = model.iter().map(|(_, message)| message.len()).sum::<usize>();
                    let alike = (model.iter())
                        .filter(|(large, _)| ordered || *large == is_large)
                        .map(|(_, message)| message.len())
                        .sum::<usize>();
                    let full = match (ordered, is_large) {
                        (true, _) => all >= 700,
                        (false, false) => all >= 700 && alike >= 350,
                        (false, true) => alike > 0 && all >= 700,
                    };
                    match outbox.push(&protocol(p), payload.clone()) {
                        Ok(was_empty) => {
                            prop_assert!(!full && was_empty.0 == (alike == 0));
                            model.push_back((is_large, encoded(&protocol(p), &payload)));
                        }
                        Err(refusal) => prop_assert!(full && refusal == PushError::Full(payload)),
                    }
                }
                Op::Small(max) => {
                    if let Some(batch) = outbox.take_small_within(max) {
                        prop_assert!(batch.messages == 1 || batch.bytes.len() <= max);
                        remove(&mut model, ordered, false, &batch.bytes);
                    }
                }
                Op::Large => {
                    if let Some(message) = outbox.take_large() {
                        remove(&mut model, ordered, true, &flat(&message));
                    }
                }
                Op::Next => match outbox.take_next() {
                    Some(Item::Small(batch)) => remove(&mut model, ordered, false, &batch.bytes),
                    Some(Item::Large(message)) => remove(&mut model, ordered, true, &flat(&message)),
                    None => prop_assert!(model.is_empty()),
                },
                Op::Swap => {
                    outbox.swap(&mut other);
                    core::mem::swap(&mut model, &mut other_model);
                }
                Op::SwapSizes(small, large) => {
                    outbox.swap_sizes(&mut other, Sizes { small, large });
                    if ordered {
                        core::mem::swap(&mut model, &mut other_model);
                    } else {
                        exchange(&mut model, &mut other_model, [small, large]);
                    }
                }
                Op::Merge => {
                    let before = outbox.sizes();
                    let was_empty = outbox.merge(&mut other).unwrap().0;
                    let grew = before != outbox.sizes() && (!ordered || before.is_none());
                    prop_assert_eq!(was_empty, grew);
                    model.extend(other_model.drain(..));
                }
                Op::Shrink => outbox.shrink(),
            }
            for (outbox, model) in [(&outbox, &model), (&other, &other_model)] {
                outbox.assert_invariants();
                prop_assert_eq!(outbox.messages(), model.len());
                let bytes: usize = model.iter().map(|(_, message)| message.len()).sum();
                prop_assert_eq!(outbox.bytes(), bytes);
            }
        }
    }
}
