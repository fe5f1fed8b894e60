//! What can go wrong with a recording.

use std::path::PathBuf;
use std::{fmt, io};

/// Why a recording could not be written. Nothing is left behind.
#[derive(Debug)]
#[non_exhaustive]
pub enum WriteError {
    /// There is something of that name; a recording never takes its place.
    Exists(PathBuf),
    /// The system said no.
    Io(io::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(path) => write!(f, "{} exists already", path.display()),
            Self::Io(error) => write!(f, "the recording could not be written: {error}"),
        }
    }
}

impl std::error::Error for WriteError {}

/// Why a file could not be read as a recording. Positions are in bytes from its start.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The system said no.
    Io(io::Error),
    /// It is something else.
    Foreign,
    /// It is of a format that this version does not know.
    Version {
        /// The format's number.
        found: u16,
        /// The one that is known.
        known: u16,
    },
    /// The file ends too early.
    CutOff {
        /// Where it ends.
        at: u64,
    },
    /// A checksum does not fit.
    Damaged {
        /// Where the part begins that it is of.
        at: u64,
    },
    /// The checksums fit, and yet it makes no sense.
    Malformed {
        /// Where the part begins.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the recording could not be read: {error}"),
            Self::Foreign => f.write_str("not a recording of a Headwater node"),
            Self::Version { found, known } => {
                write!(f, "a recording of format {found}; this program reads format {known}")
            }
            Self::CutOff { at } => write!(f, "the recording is cut off: it ends at byte {at}"),
            Self::Damaged { at } => {
                write!(f, "the recording is damaged: wrong checksum of the part at byte {at}")
            }
            Self::Malformed { at, what } => {
                write!(f, "the recording is damaged: {what} in the part at byte {at}")
            }
        }
    }
}

impl std::error::Error for ReadError {}

/// Why a log could not be run again, or came to something else.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayError {
    /// Its beginning made room for others: it is a timeline.
    Timeline {
        /// How many steps are gone.
        lost: u64,
    },
    /// What messages say was not kept, and a connection depends on it.
    NoPayloads,
    /// The machine did something else.
    Diverged {
        /// The number of the first step that differs.
        sequence: u64,
        /// What was recorded, in words.
        recorded: String,
        /// What the machine did now, in words.
        repeated: String,
    },
    /// A step cannot be read, or makes no sense.
    Malformed {
        /// Its number.
        sequence: u64,
    },
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeline { lost } => {
                write!(f, "only a timeline: its first {lost} steps made room for others")
            }
            Self::NoPayloads => f.write_str("payloads were not recorded"),
            Self::Diverged { sequence, recorded, repeated } => {
                write!(f, "step {sequence} differs: recorded {recorded}, repeated {repeated}")
            }
            Self::Malformed { sequence } => write!(f, "step {sequence} makes no sense"),
        }
    }
}

impl std::error::Error for ReplayError {}
