use bytes::BytesMut;

use super::*;
use crate::seed::Seed;
use alloc::vec;

fn content(out: &OutBuf) -> Vec<u8> {
    let mut chunks: [&[u8]; 64] = [&[]; 64];
    let count = out.chunks(&mut chunks);
    chunks[..count].concat()
}

#[test]
fn small_pieces_merge_and_large_ones_stand_by_reference() {
    let mut out = OutBuf::new();
    let large = Bytes::from(vec![7; SHARE_MIN]);
    out.put(b"a");
    out.put_shared(Bytes::from_static(b"b"));
    out.put_shared(large.clone());
    out.put(b"c");
    let mut chunks: [&[u8]; 8] = [&[]; 8];
    assert_eq!(out.chunks(&mut chunks), 3);
    assert_eq!(chunks[0], b"ab");
    assert_eq!(chunks[1].as_ptr(), large.as_ptr());
    assert_eq!(chunks[2], b"c");
    assert_eq!(out.chunks(&mut chunks[..1]), 1);
    assert_eq!(out.len(), SHARE_MIN + 3);
    assert_eq!(out.position(), SHARE_MIN as u64 + 3);
}

#[test]
fn advance_is_clamped() {
    let mut out = OutBuf::new();
    out.put(b"abc");
    out.advance(usize::MAX);
    assert!(out.is_empty());
    assert_eq!(out.position(), 3);
    assert_eq!(content(&out), b"");
}

#[test]
fn a_header_is_patched_until_its_first_byte_leaves() {
    let mut out = OutBuf::new();
    out.put(b"x");
    let (one, two) = (out.reserve_header(), out.reserve_header());
    out.advance(1);
    assert!(out.patch(one, [1; 12]));
    assert_eq!(content(&out)[..13], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
    out.advance(13);
    assert!(!out.patch(two, [2; 12]));
    assert_eq!(content(&out), [0; 11]);
}

#[test]
fn a_mark_survives_moving_and_not_clearing() {
    let mut out = OutBuf::new();
    out.put(&[0; 100]);
    let mark = out.reserve_header();
    out.advance(90);
    out.shrink();
    assert_eq!(out.slab_capacity(), 22);
    assert!(out.patch(mark, [3; 12]));
    assert_eq!(content(&out)[10..], [3; 12]);
    let mark = out.reserve_header();
    out.clear();
    out.put(&[0; 200]);
    assert!(!out.patch(mark, [4; 12]));
}

#[test]
fn an_unused_header_is_taken_back_only_at_the_end() {
    let mut out = OutBuf::new();
    let mark = out.reserve_header();
    assert!(out.truncate_mark(mark));
    assert!(out.is_empty());
    assert_eq!(out.position(), 0);
    out.put(b"ab");
    let mark = out.reserve_header();
    assert!(out.truncate_mark(mark));
    assert_eq!(content(&out), b"ab");
    let mark = out.reserve_header();
    out.put_shared(Bytes::from(vec![1; SHARE_MIN]));
    assert!(!out.truncate_mark(mark));
    let mark = out.reserve_header();
    assert!(out.truncate_mark(mark));
    assert_eq!(out.len(), 2 + 12 + SHARE_MIN);
    out.clear();
    let mark = out.reserve_header();
    out.advance(1);
    assert!(!out.truncate_mark(mark));
    assert_eq!(out.len(), 11);
}

#[test]
fn a_buffer_in_steady_use_does_not_grow() {
    let mut out = OutBuf::new();
    let mut capacity = 0;
    for round in 0..10_000 {
        out.put(&[1; 100]);
        if round > 2 {
            out.advance(100);
        }
        if round == 100 {
            capacity = out.slab_capacity();
        }
    }
    assert_eq!(out.len(), 300);
    assert_eq!(out.slab_capacity(), capacity);
    assert!(capacity < 2000, "{capacity}");
}

#[test]
fn any_list_of_operations_gives_the_bytes_of_a_plain_queue() {
    let mut rng = Seed::from_u64(3).rng("out", 0);
    for _ in 0..50 {
        let mut out = OutBuf::new();
        let mut model = VecDeque::new();
        let mut byte = 0_u8;
        for _ in 0..200 {
            byte = byte.wrapping_add(1);
            let len = usize::try_from(rng.below(5000)).unwrap();
            match rng.below(7) {
                0 | 1 => {
                    out.put(&vec![byte; len % 300]);
                    model.extend(vec![byte; len % 300]);
                }
                2 => {
                    out.put_shared(Bytes::from(vec![byte; len]));
                    model.extend(vec![byte; len]);
                }
                3 => {
                    let mark = out.reserve_header();
                    assert!(out.patch(mark, [byte; 12]));
                    model.extend([byte; 12]);
                }
                4 => {
                    let mark = out.reserve_header();
                    assert!(out.truncate_mark(mark));
                }
                5 => {
                    let mut into = BytesMut::new();
                    let moved = out.drain_into(&mut into, len);
                    assert_eq!(moved, len.min(model.len()));
                    assert!(into.iter().copied().eq(model.drain(..moved)));
                }
                _ => {
                    out.advance(len);
                    model.drain(..len.min(model.len()));
                }
            }
            assert_eq!(out.len(), model.len());
            let mut chunks: [&[u8]; 256] = [&[]; 256];
            let count = out.chunks(&mut chunks);
            assert!(chunks[..count].iter().all(|chunk| !chunk.is_empty()));
            assert!(chunks[..count].iter().copied().flatten().eq(model.iter()));
        }
    }
}
