//! Bytes with long runs of zeros, written as what is between them.

use alloc::vec::Vec;
use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserializer, Serializer};

/// Zeros are left out from so many on.
const ZEROS_MIN: usize = 32;

/// The most that is read, in bytes: more than any message may have.
const LEN_MAX: usize = 256 << 20;

pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
    let mut rest: &[u8] = bytes;
    let mut runs: Vec<(&[u8], usize)> = Vec::new();
    while !rest.is_empty() {
        let (said, zeros) = next_run(rest);
        let (said, others) = rest.split_at_checked(said).unwrap_or((rest, &[]));
        runs.push((said, zeros));
        rest = others.get(zeros..).unwrap_or(&[]);
    }
    to.collect_seq(runs)
}

/// How many bytes come before the next long run of zeros, and how long that is.
fn next_run(bytes: &[u8]) -> (usize, usize) {
    let mut zeros = 0_usize;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == 0 {
            zeros = zeros.saturating_add(1);
        } else if zeros >= ZEROS_MIN {
            return (at.saturating_sub(zeros), zeros);
        } else {
            zeros = 0;
        }
    }
    if zeros >= ZEROS_MIN { (bytes.len().saturating_sub(zeros), zeros) } else { (bytes.len(), 0) }
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
                if len > LEN_MAX {
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
