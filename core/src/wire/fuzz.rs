//! The bodies of this room's fuzz targets: checkers that panic when a promise is broken.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "it is a test"
)]

mod decoders;

use alloc::vec::Vec;

use bytes::BytesMut;

pub use decoders::{exchanger, gzip, varint};

use super::{AssemblyBuffers, DecodeLimits, Decoder, Item, PackageError, Walk, encode_package};

/// Buffers with the capacity that the owner of a decoder might have chosen.
struct Lent {
    capacity: usize,
    taken: usize,
    /// At least as many as were taken: one that was outgrown comes back besides its successor.
    given_back: usize,
}

impl AssemblyBuffers for Lent {
    fn take(&mut self, _declared: usize) -> BytesMut {
        self.taken += 1;
        let mut buffer = BytesMut::with_capacity(self.capacity);
        buffer.extend_from_slice(&b"left over"[..self.capacity.min(9)]);
        buffer
    }

    fn give_back(&mut self, _buffer: BytesMut) {
        self.given_back += 1;
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Package {
    protocol: Vec<u8>,
    payload: Vec<u8>,
    compressed: bool,
}

/// What a stream comes to, whatever its chunks.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    packages: Vec<Package>,
    error: Option<PackageError>,
    between: bool,
    declared: usize,
}

/// Interprets `data` as limits, chunk sizes and a stream, and checks that decoding
/// - never panics, and gives the same in chunks as in one piece;
/// - holds no more memory than twice what came, plus what was lent;
/// - gives back what was encoded.
///
/// # Panics
///
/// If one of these does not hold.
pub fn framing(data: &[u8]) {
    let Some((&[limit, protocol, capacity, chunk], rest)) = data.split_first_chunk() else {
        return;
    };
    let limits = DecodeLimits {
        message_max: usize::from(limit) * 3,
        protocol_len_max: usize::from(protocol) + 1,
    };
    let (stream, clean) = stream(rest);
    let whole = decode(&stream, &limits, 0, &mut core::iter::repeat(usize::MAX));
    let mut sizes = rest.iter().map(|size| 1 + usize::from(size % (chunk % 64 + 1))).cycle();
    let capacity = usize::from(capacity);
    assert_eq!(whole, decode(&stream, &limits, capacity, &mut sizes), "depends on the chunks");
    assert_eq!(whole, decode(&stream, &limits, 0, &mut core::iter::repeat(1)), "one by one");

    let generous = DecodeLimits::new(1 << 16);
    let expected: Vec<Package> = Walk::new(&stream)
        .map(|package| Package {
            protocol: stream[package.protocol].to_vec(),
            payload: stream[package.payload].to_vec(),
            compressed: package.compressed,
        })
        .collect();
    let found = decode(&stream, &generous, 0, &mut core::iter::repeat(usize::MAX));
    if clean {
        assert_eq!(found, Outcome { packages: expected, error: None, between: true, declared: 0 });
    }
    for package in found.packages {
        if package.compressed {
            let _ = super::gzip::decompress(&package.payload, 1 << 12)
                .map(|p| assert!(p.len() <= 1 << 12));
        }
    }
}

/// Makes a stream of good packages, packages with made-up bodies, and raw bytes; says whether
/// all of it is well formed.
fn stream(mut data: &[u8]) -> (BytesMut, bool) {
    let (mut stream, mut clean) = (BytesMut::new(), true);
    while let Some((&[kind, len], rest)) = data.split_first_chunk() {
        let (body, rest) = rest.split_at(usize::from(len).min(rest.len()));
        data = rest;
        match kind % 8 {
            0..=3 => {
                let protocol = &"/a/protocol/of/some/length/1.0.0"[..usize::from(kind / 8) + 1];
                encode_package(&mut stream, protocol, body, kind % 8 == 3);
            }
            4 => {
                let protocol = "/z";
                let payload = body.repeat(usize::from(kind) / 8 + 1);
                encode_package(&mut stream, protocol, &payload, true);
            }
            5 | 6 => {
                stream.extend_from_slice(&(body.len() as u64).to_be_bytes());
                stream.extend_from_slice(body);
                clean = false;
            }
            _ => {
                stream.extend_from_slice(body);
                clean &= body.is_empty();
            }
        }
    }
    (stream, clean)
}

fn decode(
    stream: &[u8],
    limits: &DecodeLimits,
    capacity: usize,
    sizes: &mut dyn Iterator<Item = usize>,
) -> Outcome {
    let mut decoder = Decoder::new();
    let mut buffers = Lent { capacity, taken: 0, given_back: 0 };
    let mut outcome = Outcome { packages: Vec::new(), error: None, between: true, declared: 0 };
    let mut rest = stream;
    'chunks: while !rest.is_empty() {
        let size = sizes.next().unwrap_or(1).min(rest.len());
        let (mut chunk, after) = rest.split_at(size);
        rest = after;
        while !chunk.is_empty() {
            let pushed = match decoder.push(chunk, limits, &mut buffers) {
                Ok(pushed) => pushed,
                Err(error) => {
                    outcome.error = Some(error);
                    let again = decoder.push(chunk, limits, &mut buffers);
                    assert_eq!(again.err(), Some(error), "a poisoned decoder went on");
                    assert!(
                        buffers.given_back >= buffers.taken,
                        "a poisoned decoder keeps a buffer"
                    );
                    break 'chunks;
                }
            };
            assert!((1..=chunk.len()).contains(&pushed.consumed), "no progress");
            note(&mut outcome.packages, pushed.item, &chunk[..pushed.consumed], &decoder);
            chunk = &chunk[pushed.consumed..];
            assert!(decoder.memory() <= 2 * decoder.pending() + capacity, "too much memory");
            assert!(decoder.declared() <= limits.package_max());
            assert!(decoder.pending() <= decoder.declared());
            if decoder.pending() == 0 {
                assert!(buffers.given_back >= buffers.taken, "a buffer is lost");
            }
        }
    }
    if outcome.error.is_none() {
        outcome.between = decoder.is_between();
        outcome.declared = decoder.declared();
    }
    outcome
}

fn note(packages: &mut Vec<Package>, item: Option<Item>, input: &[u8], decoder: &Decoder) {
    match item {
        Some(Item::Inline { protocol, payload, compressed }) => packages.push(Package {
            protocol: input[protocol].to_vec(),
            payload: input[payload].to_vec(),
            compressed,
        }),
        Some(Item::Assembled { package, protocol, payload, compressed }) => {
            packages.push(Package {
                protocol: package[protocol].to_vec(),
                payload: package[payload].to_vec(),
                compressed,
            });
        }
        Some(Item::Begun { len }) => assert_eq!(len, decoder.declared()),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use proptest::prelude::*;

    #[test]
    fn framing_holds_for_inputs_that_look_random() {
        let mut rng = Seed::from_u64(3).rng("framing", 0);
        for _ in 0..2000 {
            let len = rng.below(400);
            let data: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
            framing(&data);
        }
    }

    proptest! {
        #[test]
        fn framing_holds_for_short_packages(
            head in any::<[u8; 4]>(),
            ops in prop::collection::vec((any::<u8>(), prop::collection::vec(0_u8..12, 0..20)), 0..30),
        ) {
            let mut data = head.to_vec();
            for (kind, body) in ops {
                data.extend_from_slice(&[kind, body.len() as u8]);
                data.extend_from_slice(&body);
            }
            framing(&data);
        }
    }
}
