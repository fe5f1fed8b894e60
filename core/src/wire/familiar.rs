//! Packages of the protocol that came last: recognised by their bytes, and not parsed again.
//!
//! Most small messages follow one of the same protocol. Their packages differ in lengths and
//! payload alone, so what stands between is compared as a whole. Whatever is not plainly such a
//! package is for the decoder, which also finds what is wrong with it.

use core::ops::Range;

use super::package::{PREFIX_LEN, TAIL_PLAIN};

/// Names up to this many bytes are remembered; longer ones are rare.
const NAME_MAX: usize = 63;

/// The name and its length, in words.
const WORDS: usize = (1 + NAME_MAX) / 8;

/// What packages of one protocol begin with after their length: the name, with its own length
/// before it.
#[derive(Clone, Debug)]
pub(crate) struct Familiar {
    /// Padded with zeros.
    field: [u64; WORDS],
    /// Which bits of the last word that is in use count.
    mask: u64,
    /// In bytes; 0 when no protocol is remembered.
    len: usize,
}

/// A package that was recognised; both count from the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Recognised {
    /// The payload, which is not compressed.
    pub(crate) payload: Range<usize>,
    /// Where the next package begins.
    pub(crate) end: usize,
}

impl Familiar {
    pub(crate) const fn new() -> Self {
        Self { field: [0; WORDS], mask: 0, len: 0 }
    }

    /// Remembers a protocol instead of the one before.
    pub(crate) fn learn(&mut self, name: &[u8]) {
        *self = Self::new();
        let Some(len) = u8::try_from(name.len()).ok().filter(|_| name.len() <= NAME_MAX) else {
            return;
        };
        let mut bytes = core::iter::once(len).chain(name.iter().copied());
        for word in &mut self.field {
            let mut padded = [0; 8];
            for (to, from) in padded.iter_mut().zip(&mut bytes) {
                *to = from;
            }
            *word = u64::from_le_bytes(padded);
        }
        self.len = name.len().saturating_add(1);
        let in_last = self.len.saturating_sub(1) % 8;
        let unused = 7_u32.saturating_sub(u32::try_from(in_last).unwrap_or(7));
        self.mask = u64::MAX.wrapping_shr(unused.saturating_mul(8));
    }

    /// What follows the field in a package that begins with it. Compared word by word: a call for
    /// so few bytes would cost more than the rest of this. A package that ends within a word of
    /// the field's end is too short to be worth it.
    fn strip<'a>(&self, package: &'a [u8]) -> Option<&'a [u8]> {
        let mut rest = package;
        let last = self.len.saturating_sub(1) / 8;
        for (at, word) in self.field.iter().enumerate() {
            let (bytes, after) = rest.split_first_chunk()?;
            let differs = u64::from_le_bytes(*bytes) ^ word;
            if at == last {
                return if differs & self.mask == 0 { package.get(self.len..) } else { None };
            }
            if differs != 0 {
                return None;
            }
            rest = after;
        }
        None
    }

    /// The package at the front of `input`, if it is all here, of the protocol that is remembered,
    /// and has an uncompressed payload of at most `payload_max` bytes.
    #[inline]
    pub(crate) fn read(&self, input: &[u8], payload_max: usize) -> Option<Recognised> {
        if self.len == 0 {
            return None;
        }
        let (prefix, rest) = input.split_first_chunk()?;
        let declared = usize::try_from(u64::from_be_bytes(*prefix)).ok()?;
        let package = rest.get(..declared)?;
        let (len, payload) = match self.strip(package)? {
            [len @ ..0x80, payload @ ..] => (usize::from(*len), payload),
            // A longer form than needed is not what is usual.
            [low, high @ 1..0x80, payload @ ..] => {
                (usize::from(low & 0x7f) | usize::from(*high) << 7, payload)
            }
            _ => return None,
        };
        let (tail, payload) = payload.split_last()?;
        if payload.len() != len || [*tail] != TAIL_PLAIN || len > payload_max {
            return None;
        }
        let end = declared.saturating_add(PREFIX_LEN);
        let stop = end.saturating_sub(TAIL_PLAIN.len());
        Some(Recognised { payload: stop.saturating_sub(len)..stop, end })
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::wire::{AssemblyBuffers, DecodeLimits, Decoder, Item, encode_package};

    struct Fresh;

    impl AssemblyBuffers for Fresh {
        fn take(&mut self, _declared: usize) -> BytesMut {
            BytesMut::new()
        }
    }

    /// What the decoder makes of an input, if it is a whole package.
    fn decode(input: &[u8], name: &str, limits: &DecodeLimits) -> Option<Recognised> {
        let pushed = Decoder::new().push(input, limits, &mut Fresh).ok()?;
        match pushed.item? {
            Item::Inline { protocol, payload, compressed: false } => (&input[protocol]
                == name.as_bytes())
            .then_some(Recognised { payload, end: pushed.consumed }),
            _ => None,
        }
    }

    #[test]
    fn only_whole_plain_packages_of_the_protocol_are_recognised() {
        let mut familiar = Familiar::new();
        let mut input = BytesMut::new();
        encode_package(&mut input, "/one", &[7; 200], false);
        assert_eq!(familiar.read(&input, 1000), None);
        familiar.learn(b"/one");
        let end = input.len();
        assert_eq!(
            familiar.read(&input, 200),
            Some(Recognised { payload: end - 201..end - 1, end })
        );
        assert_eq!(familiar.read(&input, 199), None);
        assert_eq!(familiar.read(&input[..end - 1], 1000), None);
        familiar.learn(b"/two");
        assert_eq!(familiar.read(&input, 1000), None);
        familiar.learn(&[b'a'; 64]);
        assert_eq!(familiar.read(&input, 1000), None);
        // Another compress byte, and a length in a form that is longer than needed.
        familiar.learn(b"/one");
        input[end - 1] = 1;
        assert_eq!(familiar.read(&input, 1000), None);
        let long = b"\0\0\0\0\0\0\0\x09\x04/one\x81\0x\0";
        assert_eq!(familiar.read(long, 1000), None);
        assert!(decode(long, "/one", &DecodeLimits::new(1000)).is_some());
    }

    fn name() -> impl Strategy<Value = String> {
        prop_oneof![Just(String::from("/a")), Just("b".repeat(63)), Just("c".repeat(64))]
    }

    proptest! {
        /// Whatever is recognised, the decoder finds the same in it.
        #[test]
        fn the_decoder_agrees(
            known in name(), sent in name(), len in 0..40_000_usize,
            changes in prop::collection::vec((0..80_usize, any::<u8>()), 0..3), cut in 0..3_usize,
        ) {
            let limits = DecodeLimits::new(30_000);
            let mut input = BytesMut::new();
            encode_package(&mut input, &sent, &vec![1; len], false);
            encode_package(&mut input, &sent, b"next", false);
            for (at, byte) in changes {
                if let Some(place) = input.get_mut(at) {
                    *place = byte;
                }
            }
            let input: Vec<u8> = input[..input.len() - cut].to_vec();
            let mut familiar = Familiar::new();
            familiar.learn(known.as_bytes());
            if let Some(found) = familiar.read(&input, limits.message_max) {
                prop_assert_eq!(Some(found), decode(&input, &known, &limits));
            } else if known == sent && len < 1 << 14 && known.len() < 64 && len > 8 {
                // The first one is whole and as it was sent, unless a byte of it was changed.
                let mut whole = BytesMut::new();
                encode_package(&mut whole, &sent, &vec![1; len], false);
                prop_assert!(!input.starts_with(&whole));
            }
        }
    }
}
