//! Bytes with long runs of zeros, written as what is between them.

use alloc::vec::Vec;
use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserializer, Serialize, Serializer};

/// Zeros are left out in blocks of so many.
const ZEROS_MIN: usize = 32;

/// The most blocks that are left out at once, so that a few bytes never stand for much: what is
/// read takes at most about a thousand times the memory of what it is read from.
const BLOCKS_MAX: usize = 128;

/// The most that is read, in bytes: more than any message may have.
const LEN_MAX: usize = 256 << 20;

pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
    let mut rest: &[u8] = bytes;
    let mut runs: Vec<(Said<'_>, usize)> = Vec::new();
    while !rest.is_empty() {
        let (said, zeros) = next_run(rest);
        let (said, others) = rest.split_at_checked(said).unwrap_or((rest, &[]));
        runs.push((Said(said), zeros));
        rest = others.get(zeros..).unwrap_or(&[]);
    }
    to.collect_seq(runs)
}

/// How many bytes come before the next long run of zeros, and how long that is. It looks at blocks,
/// so that it costs little where there are none.
fn next_run(bytes: &[u8]) -> (usize, usize) {
    let is_zero = |block: &[u8]| block.iter().all(|byte| *byte == 0);
    let mut blocks = bytes.chunks_exact(ZEROS_MIN);
    let Some(said) = blocks.position(is_zero) else { return (bytes.len(), 0) };
    let more = blocks.take(BLOCKS_MAX - 1).take_while(|block| is_zero(block)).count();
    let zeros = more.saturating_add(1).saturating_mul(ZEROS_MIN);
    (said.saturating_mul(ZEROS_MIN), zeros)
}

/// Written as a whole, and not byte by byte.
struct Said<'a>(&'a [u8]);

impl Serialize for Said<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self.0)
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
    struct Runs;

    impl<'de> Visitor<'de> for Runs {
        type Value = Bytes;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("runs of bytes and zeros")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut runs: A) -> Result<Bytes, A::Error> {
            let mut bytes = BytesMut::new();
            while let Some((said, zeros)) = runs.next_element::<(&[u8], usize)>()? {
                let len = bytes.len().saturating_add(said.len()).saturating_add(zeros);
                if len > LEN_MAX || zeros > BLOCKS_MAX * ZEROS_MIN {
                    return Err(A::Error::custom("too long"));
                }
                bytes.put_slice(said);
                bytes.put_bytes(0, zeros);
            }
            Ok(bytes.freeze())
        }
    }

    from.deserialize_seq(Runs)
}
