//! Why there is no key.

use std::path::PathBuf;
use std::{fmt, io};

/// What was found instead of a usable private key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// The text has no PEM block.
    NoPem,
    /// There are PEM blocks, and no private key among them.
    NoKey,
    /// There is more than one private key.
    SeveralKeys,
    /// A PEM block that is not a private key.
    Label {
        /// Its label.
        found: String,
    },
    /// The key is encrypted.
    Encrypted,
    /// A private key of a type that is not supported.
    Unsupported {
        /// The type.
        found: String,
    },
    /// A key on another curve than P-256, P-384 and P-521.
    Curve {
        /// The curve.
        found: String,
    },
    /// An EC key that does not say its curve.
    CurveMissing,
    /// An RSA key of fewer than 2048 or more than 8192 bits.
    RsaSize {
        /// Its size in bits.
        bits: usize,
    },
    /// Something is not well formed.
    Malformed {
        /// What it is.
        what: &'static str,
    },
    /// The operating system gives no randomness.
    Randomness,
    /// The key cannot be encoded.
    Encode,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const EXPECTED: &str = "expected a P-256, P-384, P-521 or RSA key as PRIVATE KEY, \
                                EC PRIVATE KEY or RSA PRIVATE KEY";
        const CURVES: &str = "expected P-256, P-384 or P-521";
        match self {
            Self::NoPem => write!(f, "found no PEM, {EXPECTED}"),
            Self::NoKey => write!(f, "found no private key, {EXPECTED}"),
            Self::SeveralKeys => write!(f, "found several private keys, expected one"),
            Self::Label { found } => write!(f, "found {found:?}, {EXPECTED}"),
            Self::Encrypted => write!(f, "the private key is encrypted, expected a plain one"),
            Self::Unsupported { found } => write!(f, "found a private key of {found}, {EXPECTED}"),
            Self::Curve { found } => write!(f, "found an EC key on {found}, {CURVES}"),
            Self::CurveMissing => write!(f, "the EC key does not say its curve, {CURVES}"),
            Self::RsaSize { bits } => {
                write!(f, "found an RSA key of {bits} bits, expected 2048 to 8192")
            }
            Self::Malformed { what } => write!(f, "malformed {what}"),
            Self::Randomness => write!(f, "the operating system gives no randomness"),
            Self::Encode => write!(f, "the key cannot be encoded"),
        }
    }
}

impl std::error::Error for KeyError {}

/// Why a public key has no peer id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublicKeyError {
    /// A key of a type that the protocol has no peer ids for.
    Unsupported {
        /// The type.
        found: String,
    },
    /// An EC key on a curve that the protocol has no peer ids for.
    Curve {
        /// The curve.
        found: String,
    },
    /// An RSA key of fewer than 2048 or more than 8192 bits.
    RsaSize {
        /// Its size in bits.
        bits: usize,
    },
    /// It is not well formed, or not in the one form that peer ids are made from.
    Malformed {
        /// What is.
        what: &'static str,
    },
}

impl fmt::Display for PublicKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported { found } => write!(f, "there are no peer ids of {found} keys"),
            Self::Curve { found } => write!(f, "there are no peer ids of EC keys on {found}"),
            Self::RsaSize { bits } => {
                write!(f, "an RSA key has 2048 to 8192 bits, this one has {bits}")
            }
            Self::Malformed { what } => write!(f, "malformed {what}"),
        }
    }
}

impl std::error::Error for PublicKeyError {}

/// Why a key file was not read or written.
#[derive(Debug)]
pub struct KeyFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub kind: KeyFileErrorKind,
}

/// What is wrong with a key file.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyFileErrorKind {
    /// The file exists, and is not overwritten.
    Exists,
    /// The file is longer than a key may be.
    TooLong {
        /// The limit in bytes.
        limit: u64,
    },
    /// Others than its owner may read or write the file.
    Open {
        /// Its mode on Unix, such as `0o644`.
        mode: u32,
    },
    /// The file is not text.
    NotText,
    /// The file's text is not a key, or the key is not to be written.
    Key(KeyError),
    /// The operating system refuses.
    Io(io::Error),
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key file {}: ", self.path.display())?;
        match &self.kind {
            KeyFileErrorKind::Exists => f.write_str("it exists and is not overwritten"),
            KeyFileErrorKind::TooLong { limit } => write!(f, "it is longer than {limit} bytes"),
            KeyFileErrorKind::Open { mode } => write!(
                f,
                "its mode is {mode:04o}, so others than its owner may use it; expected 0600: \
                 chmod 600 {}",
                self.path.display()
            ),
            KeyFileErrorKind::NotText => f.write_str("it is not text, expected PEM"),
            KeyFileErrorKind::Key(error) => error.fmt(f),
            KeyFileErrorKind::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for KeyFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            KeyFileErrorKind::Key(error) => Some(error),
            KeyFileErrorKind::Io(error) => Some(error),
            _ => None,
        }
    }
}
