//! What goes wrong, as the user sees it: a status and a sentence.

use std::{fmt, io};

use crate::status::Status;

/// Why a command did not do what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// How the program ends.
    pub(crate) status: Status,
    /// What to print on standard error, without the program's name.
    pub(crate) message: String,
}

impl Failure {
    /// A failure with its sentence.
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// A write that failed; a full disk has a status of its own.
    pub(crate) fn writing(what: impl fmt::Display, error: &io::Error) -> Self {
        let full = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        if full {
            return Self::new(Status::NoSpace, format!("no space left to write {what}: {error}"));
        }
        Self::new(Status::Output, format!("cannot write {what}: {error}"))
    }

    /// A read that failed.
    pub(crate) fn reading(what: impl fmt::Display, error: &io::Error) -> Self {
        Self::new(Status::Input, format!("cannot read {what}: {error}"))
    }

    /// Something that only a fault of the program explains.
    pub(crate) fn internal(what: impl fmt::Display) -> Self {
        Self::new(Status::Internal, format!("internal error: {what}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// A text of the other side, made safe for a terminal and cut to a line's length.
pub(crate) fn foreign(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_errors() {
        let full = io::Error::from_raw_os_error(28);
        assert_eq!(Failure::writing("x", &full).status, Status::NoSpace);
        let broken = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(Failure::writing("x", &broken).status, Status::Output);
    }

    #[test]
    fn foreign_text_carries_no_escape_sequences() {
        assert_eq!(foreign("a\u{1b}[31mb\nc"), "a\u{fffd}[31mb\u{fffd}c");
        assert_eq!(foreign(&"x".repeat(1000)).len(), 200);
    }
}
