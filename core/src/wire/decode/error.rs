//! Why a stream of packages cannot go on.

use core::fmt;

/// A field of a package that has a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The protocol id.
    Protocol,
    /// The payload.
    Payload,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protocol => "protocol id",
            Self::Payload => "payload",
        })
    }
}

/// Why a stream of packages cannot go on; lengths are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PackageError {
    /// The declared length is less than any package has (spec D-3).
    PackageTooShort {
        /// The length of the smallest package.
        limit: usize,
        /// The declared length.
        actual: usize,
    },
    /// The declared length is above the limit (spec D-1, D-2).
    PackageTooLong {
        /// The limit, which follows from [`DecodeLimits`](super::DecodeLimits).
        limit: usize,
        /// The declared length.
        actual: u64,
    },
    /// The package ends inside the length of a field.
    LengthTruncated {
        /// The field.
        field: Field,
    },
    /// The length of a field does not fit 64 bits.
    LengthOverflow {
        /// The field.
        field: Field,
    },
    /// A field reaches beyond the end of the package.
    Overrun {
        /// The field.
        field: Field,
        /// What the package has left for it.
        limit: usize,
        /// The length of the field.
        actual: u64,
    },
    /// The protocol id is empty.
    ProtocolEmpty,
    /// The protocol id is longer than the limit.
    ProtocolTooLong {
        /// The limit.
        limit: usize,
        /// Its length.
        actual: u64,
    },
    /// The protocol id is not UTF-8.
    ProtocolNotUtf8 {
        /// How many of its bytes are well formed.
        at: usize,
    },
    /// The payload is longer than a message may be.
    MessageTooLong {
        /// The longest message.
        limit: usize,
        /// The length of the payload.
        actual: u64,
    },
    /// The package ends with its payload; the compress byte does not come.
    CompressByteMissing,
}

impl fmt::Display for PackageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PackageTooShort { limit, actual } => {
                write!(f, "a package of {actual} bytes, it has at least {limit}")
            }
            Self::PackageTooLong { limit, actual } => {
                write!(f, "a package of {actual} bytes, the limit is {limit}")
            }
            Self::LengthTruncated { field } => {
                write!(f, "a package ends inside the length of its {field}")
            }
            Self::LengthOverflow { field } => {
                write!(f, "the length of a {field} does not fit 64 bits")
            }
            Self::Overrun { field, limit, actual } => {
                write!(f, "a {field} of {actual} bytes in a package that has {limit} left")
            }
            Self::ProtocolEmpty => f.write_str("a package without protocol id"),
            Self::ProtocolTooLong { limit, actual } => {
                write!(f, "a protocol id of {actual} bytes, the limit is {limit}")
            }
            Self::ProtocolNotUtf8 { at } => {
                write!(f, "a protocol id is not UTF-8 from byte {at} on")
            }
            Self::MessageTooLong { limit, actual } => {
                write!(f, "a payload of {actual} bytes, the limit is {limit}")
            }
            Self::CompressByteMissing => f.write_str("a package without compress byte"),
        }
    }
}

impl core::error::Error for PackageError {}
