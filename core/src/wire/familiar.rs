//! Packages of the protocol that came last: recognised by their bytes, and not parsed again.
//!
//! Most small messages follow one of the same protocol. Their packages differ in lengths and
//! payload alone, so what stands between is compared as a whole. Whatever is not plainly such a
//! package is for the decoder, which also finds what is wrong with it.

use core::ops::Range;

use super::package::{PREFIX_LEN, TAIL_PLAIN};

/// Names up to this many bytes are remembered; longer ones are rare.
const NAME_MAX: usize = 63;

/// What packages of one protocol begin with after their length: the name, with its own length
/// before it.
#[derive(Clone, Debug)]
pub(crate) struct Familiar {
    field: [u8; 1 + NAME_MAX],
    /// 0 when no protocol is remembered.
    len: u8,
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
        Self { field: [0; 1 + NAME_MAX], len: 0 }
    }

    /// Remembers a protocol instead of the one before.
    pub(crate) fn learn(&mut self, name: &[u8]) {
        self.len = 0;
        let Some((first, rest)) = self.field.split_first_mut() else { return };
        let Some(place) = rest.get_mut(..name.len()) else { return };
        place.copy_from_slice(name);
        let Ok(len) = u8::try_from(name.len()) else { return };
        *first = len;
        self.len = len.saturating_add(1);
    }

    /// The package at the front of `input`, if it is all here, of the protocol that is remembered,
    /// and has an uncompressed payload of at most `payload_max` bytes.
    pub(crate) fn read(&self, input: &[u8], payload_max: usize) -> Option<Recognised> {
        let field = self.field.get(..usize::from(self.len)).filter(|field| !field.is_empty())?;
        let (prefix, rest) = input.split_first_chunk()?;
        let declared = usize::try_from(u64::from_be_bytes(*prefix)).ok()?;
        let package = rest.get(..declared)?;
        let (len, payload) = match package.strip_prefix(field)? {
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
            } else if known == sent && len < 1 << 14 && known.len() < 64 && cut > 0 {
                // The first one is whole and as it was sent, unless a byte of it was changed.
                let mut whole = BytesMut::new();
                encode_package(&mut whole, &sent, &vec![1; len], false);
                prop_assert!(!input.starts_with(&whole));
            }
        }
    }
}
