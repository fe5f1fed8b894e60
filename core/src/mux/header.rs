//! The frame header: 12 bytes, big-endian (spec 2.1).

/// The length of a header in bytes.
pub const HEADER_LEN: usize = 12;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Payload of a stream follows the header.
    Data = 0,
    /// The length is credit for a stream.
    WindowUpdate = 1,
    /// The length is an opaque value, to be returned.
    Ping = 2,
    /// The length is the reason why the session ends.
    GoAway = 3,
}

/// The flags of a frame; bits that mean nothing are kept and have no effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u16);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Opens a stream, or asks for a pong.
    pub const SYN: Self = Self(1);
    /// Accepts a stream, or is the pong.
    pub const ACK: Self = Self(2);
    /// Half-closes a stream.
    pub const FIN: Self = Self(4);
    /// Resets a stream.
    pub const RST: Self = Self(8);

    /// Whether all flags of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether none of the four flags that mean something is set.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 & 0xf == 0
    }
}

/// A frame header, parsed.
///
/// ```
/// use headwater_core::mux::{Flags, Header, Kind};
///
/// let header = Header { kind: Kind::Data, flags: Flags::SYN, stream: 3, length: 8 };
/// let bytes = header.encode();
/// assert_eq!(bytes, [0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 8]);
/// assert_eq!(Header::decode(bytes), Ok(header));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub kind: Kind,
    /// Its flags.
    pub flags: Flags,
    /// The stream's id; 0 for pings and go-aways.
    pub stream: u32,
    /// Bytes that follow, credit, opaque value or reason: see [`Kind`].
    pub length: u32,
}

/// Why twelve bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// A version other than 0.
    Version(u8),
    /// A type above 3.
    Kind(u8),
}

impl Header {
    /// The header as it stands on the wire.
    #[must_use]
    pub const fn encode(self) -> [u8; HEADER_LEN] {
        let [f0, f1] = self.flags.0.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        let [l0, l1, l2, l3] = self.length.to_be_bytes();
        [0, self.kind as u8, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3]
    }

    /// Reads a header.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] for a version or a type that does not exist; the version is looked at
    /// first.
    pub const fn decode(bytes: [u8; HEADER_LEN]) -> Result<Self, HeaderError> {
        let [version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = bytes;
        if version != 0 {
            return Err(HeaderError::Version(version));
        }
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::WindowUpdate,
            2 => Kind::Ping,
            3 => Kind::GoAway,
            other => return Err(HeaderError::Kind(other)),
        };
        Ok(Self {
            kind,
            flags: Flags(u16::from_be_bytes([f0, f1])),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 4] = [Kind::Data, Kind::WindowUpdate, Kind::Ping, Kind::GoAway];

    #[test]
    fn every_field_survives_at_its_ends() {
        for kind in KINDS {
            for flags in [0, 1, 2, 4, 8, 15, u16::MAX] {
                for stream in [0, 1, 2, u32::MAX] {
                    for length in [0, 1, u32::MAX] {
                        let header = Header { kind, flags: Flags(flags), stream, length };
                        assert_eq!(Header::decode(header.encode()), Ok(header));
                    }
                }
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_table_in_the_specification() {
        let header = Header {
            kind: Kind::GoAway,
            flags: Flags(0x0102),
            stream: 0x0304_0506,
            length: 0x0708_090a,
        };
        assert_eq!(header.encode(), [0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    }

    #[test]
    fn every_other_version_and_type_is_refused() {
        for byte in 0..=u8::MAX {
            let mut bytes = [0; HEADER_LEN];
            bytes[0] = byte;
            assert_eq!(Header::decode(bytes).is_ok(), byte == 0);
            bytes = [0; HEADER_LEN];
            bytes[1] = byte;
            let expected = KINDS.get(usize::from(byte)).copied().ok_or(HeaderError::Kind(byte));
            assert_eq!(Header::decode(bytes).map(|header| header.kind), expected);
        }
        let both = [1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Header::decode(both), Err(HeaderError::Version(1)));
    }

    #[test]
    fn flags_are_told_apart() {
        let both = Flags::SYN.with(Flags::FIN);
        assert!(both.has(Flags::SYN) && both.has(Flags::FIN));
        assert!(!both.has(Flags::ACK) && !both.has(Flags::RST));
        assert!(!both.is_none());
        assert!(Flags(0xfff0).is_none());
    }
}
