//! Numbers of variable length: unsigned LEB128, seven bits a byte, low group first (spec 0).

use core::fmt;
use core::ops::Deref;

/// The most bytes a number takes.
pub const LEN_MAX: usize = 10;

/// How many bytes `value` takes, 1 to [`LEN_MAX`].
///
/// ```
/// use headwater_core::wire::varint;
///
/// assert_eq!(varint::len(127), 1);
/// assert_eq!(varint::len(128), 2);
/// assert_eq!(varint::len(u64::MAX), varint::LEN_MAX);
/// ```
#[must_use]
pub const fn len(value: u64) -> usize {
    let mut groups = 1;
    let mut rest = value >> 7;
    while rest != 0 {
        groups = usize::saturating_add(groups, 1);
        rest >>= 7;
    }
    groups
}

/// Writes `value` in its shortest form.
///
/// ```
/// use headwater_core::wire::varint;
///
/// assert_eq!(&varint::encode(300)[..], [0xac, 0x02]);
/// ```
#[must_use]
pub fn encode(value: u64) -> Encoded {
    let mut encoded = Encoded { bytes: [0; LEN_MAX], len: 0 };
    let mut rest = value;
    for byte in &mut encoded.bytes {
        let group = u8::try_from(rest & 0x7f).unwrap_or(0);
        rest >>= 7;
        encoded.len = encoded.len.saturating_add(1);
        if rest == 0 {
            *byte = group;
            break;
        }
        *byte = group | 0x80;
    }
    encoded
}

/// Reads a number from the front of `input`: its value and how many bytes it took, or `None` if
/// `input` ends before the number does.
///
/// Forms longer than needed are accepted, as the original accepts them, up to [`LEN_MAX`] bytes.
///
/// ```
/// use headwater_core::wire::varint;
///
/// assert_eq!(varint::decode(&[0xac, 0x02, 0xff]), Ok(Some((300, 2))));
/// assert_eq!(varint::decode(&[0xac]), Ok(None));
/// assert!(varint::decode(&[0xff; 10]).is_err());
/// ```
///
/// # Errors
///
/// [`Overflow`] if the number does not fit 64 bits or takes more than [`LEN_MAX`] bytes.
pub fn decode(input: &[u8]) -> Result<Option<(u64, usize)>, Overflow> {
    let mut value = 0_u64;
    let mut shift = 0_u32;
    let mut taken = 0_usize;
    for byte in input.iter().take(LEN_MAX) {
        let group = u64::from(byte & 0x7f);
        // The tenth group has room for one bit, and nothing may follow it.
        if shift == 63 && *byte > 1 {
            return Err(Overflow);
        }
        value |= group << shift;
        shift = shift.saturating_add(7);
        taken = taken.saturating_add(1);
        if byte & 0x80 == 0 {
            return Ok(Some((value, taken)));
        }
    }
    Ok(None)
}

/// A written number; it dereferences to its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    bytes: [u8; LEN_MAX],
    len: u8,
}

impl Deref for Encoded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

/// A number that does not fit 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of variable length does not fit 64 bits")
    }
}

impl core::error::Error for Overflow {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn edges_have_their_known_forms() {
        let max = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        for (value, bytes) in [
            (0_u64, &[0x00][..]),
            (127, &[0x7f]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xff, 0x7f]),
            (16_384, &[0x80, 0x80, 0x01]),
            (u64::MAX, &max),
        ] {
            assert_eq!(&encode(value)[..], bytes);
            assert_eq!(decode(bytes), Ok(Some((value, bytes.len()))));
        }
    }

    #[test]
    fn over_long_forms_are_read_up_to_ten_groups() {
        assert_eq!(decode(&[0x80, 0x00]), Ok(Some((0, 2))));
        assert_eq!(decode(&[0x8c, 0x80, 0x80, 0x00]), Ok(Some((12, 4))));
        let ten = [0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00];
        assert_eq!(decode(&ten), Ok(Some((1, 10))));
        let eleven = [0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00];
        assert_eq!(decode(&eleven), Err(Overflow));
    }

    #[test]
    fn more_than_64_bits_are_refused_as_soon_as_that_shows() {
        let mut bytes = [0xff; 10];
        assert_eq!(decode(&bytes), Err(Overflow));
        bytes[9] = 0x02;
        assert_eq!(decode(&bytes), Err(Overflow));
        assert_eq!(decode(&bytes[..9]), Ok(None));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value: u64, tail in any::<[u8; 2]>()) {
            let encoded = encode(value);
            prop_assert_eq!(encoded.len(), len(value));
            let mut bytes = encoded.to_vec();
            bytes.extend_from_slice(&tail);
            prop_assert_eq!(decode(&bytes), Ok(Some((value, encoded.len()))));
            for cut in 0..encoded.len() {
                prop_assert_eq!(decode(&bytes[..cut]), Ok(None));
            }
        }
    }
}
