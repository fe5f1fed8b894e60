//! The frame header against the table of spec 2.1.

use crate::mux::{Flags, HEADER_LEN, Header, HeaderError, Kind};

/// Takes `data` as headers, one behind the other.
///
/// # Panics
///
/// If one reads otherwise than the table says, or is written otherwise than it was read.
pub fn header(data: &[u8]) {
    for bytes in data.chunks_exact(HEADER_LEN).filter_map(|chunk| chunk.first_chunk()) {
        let be32 = |at: usize| bytes[at..at + 4].iter().fold(0, |n: u32, b| n << 8 | u32::from(*b));
        match Header::decode(*bytes) {
            Ok(header) => {
                assert_eq!((bytes[0], header.kind as u8), (0, bytes[1]));
                assert_eq!(u32::from(header.flags.0), be32(0) & 0xffff);
                assert_eq!((header.stream, header.length), (be32(4), be32(8)));
                assert_eq!(header.encode(), *bytes);
                let flags = [Flags::SYN, Flags::ACK, Flags::FIN, Flags::RST];
                let set = flags.iter().filter(|flag| header.flags.has(**flag)).count();
                assert_eq!(set == 0, header.flags.is_none());
            }
            Err(HeaderError::Version(version)) => {
                assert_eq!(version, bytes[0]);
                assert_ne!(version, 0);
            }
            Err(HeaderError::Kind(kind)) => {
                assert_eq!((bytes[0], kind), (0, bytes[1]));
                assert!(kind > Kind::GoAway as u8);
            }
        }
    }
}
