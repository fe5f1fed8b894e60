//! What stands in front of a payload, read and checked as early as its bytes allow.

use core::ops::Range;

use bytes::Bytes;

use super::error::{Field, PackageError};
use super::{DecodeLimits, Item};
use crate::wire::varint;

/// The smallest package: a protocol of one byte, no payload, and the compress byte.
const PACKAGE_MIN: usize = 4;

/// The length of a package, if it is one that may come.
pub(super) fn check_declared(declared: u64, limits: &DecodeLimits) -> Result<usize, PackageError> {
    let limit = limits.package_max();
    match usize::try_from(declared) {
        Ok(len) if len < PACKAGE_MIN => {
            Err(PackageError::PackageTooShort { limit: PACKAGE_MIN, actual: len })
        }
        Ok(len) if len <= limit => Ok(len),
        _ => Err(PackageError::PackageTooLong { limit, actual: declared }),
    }
}

/// What stands in front of a payload; the ranges are relative to the package.
#[derive(Clone, Debug)]
pub(super) struct Head {
    protocol: Range<usize>,
    payload: Range<usize>,
}

impl Head {
    /// Reads the head of a package of `declared` bytes of which `bytes` are here; `None` if it is
    /// not all here, which is never the answer when the whole package is.
    pub(super) fn parse(
        bytes: &[u8],
        declared: usize,
        limits: &DecodeLimits,
    ) -> Result<Option<Self>, PackageError> {
        let Some(protocol) = field(bytes, 0, declared, Field::Protocol)? else { return Ok(None) };
        let limit = limits.protocol_len_max;
        let actual = protocol.len;
        if actual == 0 {
            return Err(PackageError::ProtocolEmpty);
        }
        if actual > limit as u64 {
            return Err(PackageError::ProtocolTooLong { limit, actual });
        }
        let protocol = protocol.range(declared)?;
        let Some(text) = bytes.get(protocol.clone()) else { return Ok(None) };
        if let Err(error) = core::str::from_utf8(text) {
            return Err(PackageError::ProtocolNotUtf8 { at: error.valid_up_to() });
        }
        let Some(payload) = field(bytes, protocol.end, declared, Field::Payload)? else {
            return Ok(None);
        };
        let limit = limits.message_max;
        if payload.len > limits.payload_max() as u64 {
            return Err(PackageError::MessageTooLong { limit, actual: payload.len });
        }
        let payload = payload.range(declared)?;
        if payload.end == declared {
            return Err(PackageError::CompressByteMissing);
        }
        Ok(Some(Self { protocol, payload }))
    }
}

/// A length, and where the bytes that it counts start.
struct Announced {
    field: Field,
    len: u64,
    start: usize,
}

impl Announced {
    fn range(&self, declared: usize) -> Result<Range<usize>, PackageError> {
        let available = declared.saturating_sub(self.start);
        match usize::try_from(self.len) {
            Ok(len) if len <= available => Ok(self.start..self.start.saturating_add(len)),
            _ => {
                let field = self.field;
                Err(PackageError::Overrun { field, limit: available, actual: self.len })
            }
        }
    }
}

fn field(
    bytes: &[u8],
    at: usize,
    declared: usize,
    field: Field,
) -> Result<Option<Announced>, PackageError> {
    match varint::decode(bytes.get(at..).unwrap_or(&[])) {
        Ok(Some((len, taken))) => {
            Ok(Some(Announced { field, len, start: at.saturating_add(taken) }))
        }
        Ok(None) if bytes.len() < declared => Ok(None),
        Ok(None) => Err(PackageError::LengthTruncated { field }),
        Err(varint::Overflow) => Err(PackageError::LengthOverflow { field }),
    }
}

/// A package that is all here.
pub(super) struct Whole {
    head: Head,
    compressed: bool,
}

impl Whole {
    pub(super) fn parse(package: &[u8], limits: &DecodeLimits) -> Result<Self, PackageError> {
        Self::new(Head::parse(package, package.len(), limits)?, package, limits)
    }

    pub(super) fn new(
        head: Option<Head>,
        package: &[u8],
        limits: &DecodeLimits,
    ) -> Result<Self, PackageError> {
        let head = head.ok_or(PackageError::CompressByteMissing)?;
        let compress = package.get(head.payload.end).ok_or(PackageError::CompressByteMissing)?;
        let compressed = *compress == 1;
        let (limit, len) = (limits.message_max, head.payload.len());
        if !compressed && len > limit {
            return Err(PackageError::MessageTooLong { limit, actual: len as u64 });
        }
        Ok(Self { head, compressed })
    }

    pub(super) fn inline(self, start: usize) -> Item {
        let shift = |range: Range<usize>| {
            range.start.saturating_add(start)..range.end.saturating_add(start)
        };
        Item::Inline {
            protocol: shift(self.head.protocol),
            payload: shift(self.head.payload),
            compressed: self.compressed,
        }
    }

    pub(super) fn assembled(self, package: Bytes) -> Item {
        let Head { protocol, payload } = self.head;
        Item::Assembled { package, protocol, payload, compressed: self.compressed }
    }
}
