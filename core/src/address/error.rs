//! Why a text is not an address, or an address not one to use so.

use alloc::boxed::Box;
use core::fmt;

use crate::id::PeerIdError;

/// What is wrong with an address, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    /// The position in the text, in bytes from its start.
    pub at: usize,
    /// What is wrong there.
    pub kind: AddressErrorKind,
}

/// What is wrong with an address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressErrorKind {
    /// The text does not start with `/`.
    NoSlash,
    /// A part is missing, or another one stands in its place.
    Expected {
        /// What should stand there.
        expected: &'static str,
        /// What stands there.
        found: Found,
    },
    /// A `/dnsaddr` name: one that stands for whole addresses.
    Dnsaddr,
    /// Something follows a complete address.
    Trailing {
        /// What follows.
        found: Found,
    },
    /// What follows `/p2p` is not a peer id.
    PeerId(PeerIdError),
    /// A name in an address to listen on.
    ListenName,
    /// A peer in an address to listen on.
    ListenPeer,
    /// Port 0 in an address to dial.
    DialPortZero,
}

/// A part of an address's text as it was found; a long one is cut.
#[derive(Clone, PartialEq, Eq)]
pub struct Found {
    /// `None` if the text ends before the part.
    part: Option<Box<str>>,
}

impl Found {
    /// The most that is kept of a part, in characters.
    pub const LEN_MAX: usize = 64;

    pub(super) fn new(part: Option<&str>) -> Self {
        let cut = |part: &str| part.chars().take(Self::LEN_MAX).collect();
        Self { part: part.map(cut) }
    }

    /// The part's text, cut to [`Found::LEN_MAX`] characters; `None` if the part is missing.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        self.part.as_deref()
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            Some(part) => write!(f, "{part:?}"),
            None => f.write_str("the end"),
        }
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at position {}: {}", self.at, self.kind)
    }
}

impl fmt::Display for AddressErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSlash => f.write_str("an address starts with \"/\""),
            Self::Expected { expected, found } => write!(f, "expected {expected}, found {found}"),
            Self::Dnsaddr => f.write_str("\"dnsaddr\" is not resolved, use \"dns\""),
            Self::Trailing { found } => write!(f, "expected the end, found {found}"),
            Self::PeerId(error) => error.fmt(f),
            Self::ListenName => f.write_str("to listen, an IP address is needed, not a name"),
            Self::ListenPeer => f.write_str("an address to listen on names no peer"),
            Self::DialPortZero => f.write_str("port 0 cannot be dialled"),
        }
    }
}

impl core::error::Error for AddressError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.kind {
            AddressErrorKind::PeerId(error) => Some(error),
            _ => None,
        }
    }
}
