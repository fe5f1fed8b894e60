use super::*;
use crate::seed::Seed;
use proptest::prelude::*;

/// The payload of the message in the recording of an original node, and what it unpacks to.
const RECORDED: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x32\x50\x48\x2b\xca\xcf\x55\x28\xc9\x48\x55\
    \xc8\x2f\xca\x4c\xcf\xcc\x4b\xcc\x61\xa0\x36\0\x04\0\0\xff\xff\x99\x27\xe9\x51\x64\0\0\0";

fn recorded_text() -> Vec<u8> {
    let mut text = b"0 from the original".to_vec();
    text.resize(100, 0);
    text
}

fn packed(payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    compress(payload, &mut out);
    out.to_vec()
}

#[test]
fn what_an_original_packed_is_unpacked() {
    assert_eq!(decompress(RECORDED, 100).unwrap(), recorded_text());
    assert_eq!(decompress(RECORDED, 99), Err(GzipError::TooLong { limit: 99 }));
}

#[test]
fn several_members_give_their_data_one_after_another() {
    let mut input = packed(b"one ");
    input.extend(packed(b""));
    input.extend(packed(b"two"));
    assert_eq!(decompress(&input, 7).unwrap(), &b"one two"[..]);
    assert_eq!(decompress(&input, 6), Err(GzipError::TooLong { limit: 6 }));
}

#[test]
fn a_member_cannot_refer_to_the_one_before_it() {
    // Fixed Huffman: a match of length 3 at distance 1, then the end.
    let body = [0x03, 0x02, 0x00];
    let mut input = packed(b"aaaa");
    input.extend_from_slice(&HEADER);
    input.extend_from_slice(&body);
    input.extend_from_slice(&[0; 8]);
    assert_eq!(decompress(&input, 1000), Err(GzipError::Deflate));
}

#[test]
fn a_cap_of_exactly_the_length_suffices() {
    for len in [0, 1, 511, 512, 513, 1024, 1025, 70_000] {
        let stored: Vec<u8> = {
            let mut rng = Seed::from_u64(len).rng("noise", 0);
            (0..len).map(|_| rng.next_u64() as u8).collect()
        };
        let same = std::vec![7; stored.len()];
        for payload in [stored, same] {
            let input = packed(&payload);
            let cap = payload.len();
            assert_eq!(decompress(&input, cap).unwrap(), payload);
            if let Some(limit) = cap.checked_sub(1) {
                assert_eq!(decompress(&input, limit), Err(GzipError::TooLong { limit }));
            }
        }
    }
}

#[test]
fn d25_a_bomb_stops_at_the_cap() {
    let bomb = packed(&std::vec![0; 4 << 20]);
    assert!(bomb.len() < 64 << 10);
    assert_eq!(decompress(&bomb, 1 << 20), Err(GzipError::TooLong { limit: 1 << 20 }));
}

#[test]
fn input_that_ends_early_is_an_error_wherever_it_ends() {
    let input = packed(b"some text, some text, some text");
    for cut in 0..input.len() {
        assert_eq!(decompress(&input[..cut], 1000), Err(GzipError::Truncated), "cut at {cut}");
    }
}

#[test]
fn what_follows_the_last_member_is_refused() {
    let mut input = packed(b"text");
    input.push(0);
    assert_eq!(decompress(&input, 1000), Err(GzipError::Truncated));
    input.extend_from_slice(&[0; 20]);
    assert_eq!(decompress(&input, 1000), Err(GzipError::NotGzip));
}

#[test]
fn checksum_and_length_are_checked() {
    let input = packed(b"text");
    let trailer = input.len() - 8;
    for (at, error) in [(trailer, GzipError::Checksum), (trailer + 4, GzipError::Length)] {
        let mut bad = input.clone();
        bad[at] ^= 1;
        assert_eq!(decompress(&bad, 1000), Err(error));
    }
}

#[test]
fn optional_header_fields_are_skipped_and_bad_headers_refused() {
    let plain = packed(b"text");
    let flags = FLAG_EXTRA | FLAG_NAME | FLAG_COMMENT | FLAG_HEADER_CRC;
    let mut input = plain[..10].to_vec();
    input[3] = flags;
    input.extend_from_slice(b"\x03\0abcname\0comment\0");
    let crc = crc32fast::hash(&input) as u16;
    input.extend_from_slice(&crc.to_le_bytes());
    input.extend_from_slice(&plain[10..]);
    assert_eq!(decompress(&input, 4).unwrap(), &b"text"[..]);
    input[12] ^= 1;
    assert_eq!(decompress(&input, 4), Err(GzipError::Checksum));

    for (at, byte, error) in [
        (0, 0x1e, GzipError::NotGzip),
        (1, 0, GzipError::NotGzip),
        (2, 7, GzipError::Method { actual: 7 }),
        (3, 0x20, GzipError::Flags { actual: 0x20 }),
    ] {
        let mut bad = plain.clone();
        bad[at] = byte;
        assert_eq!(decompress(&bad, 4), Err(error));
    }
}

#[test]
fn a_compressor_gives_the_same_bytes_each_time() {
    let mut compressor = Compressor::new();
    for payload in [&b"first"[..], &[0; 5000], b"first"] {
        let mut out = BytesMut::new();
        compressor.compress(payload, &mut out);
        assert_eq!(out, packed(payload));
    }
}

proptest! {
    #[test]
    fn what_is_packed_is_unpacked(payload in prop::collection::vec(0_u8..4, 0..5000)) {
        let input = packed(&payload);
        prop_assert_eq!(&decompress(&input, payload.len()).unwrap(), &payload);
    }

    #[test]
    fn any_bytes_behind_a_header_are_survived(
        body in prop::collection::vec(any::<u8>(), 0..200), cap in 0_usize..3000,
    ) {
        let mut input = HEADER.to_vec();
        input.extend_from_slice(&body);
        if let Ok(output) = decompress(&input, cap) {
            prop_assert!(output.len() <= cap);
        }
    }
}
