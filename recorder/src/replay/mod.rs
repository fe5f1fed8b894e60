//! Runs the machine of a log again.
//!
//! A fresh machine, made of what the log says of its birth, is told what the log says it was
//! told, at the times of then. It notes everything anew, and its tape compares each note with the
//! recorded one, byte for byte: told, asked and said. In the channel's place stands one that
//! gives the recorded answers; sealed bytes, which nobody reads again, are zeros.
//!
//! The first note that differs ends the replay. It is a defect: either the machine depends on
//! something that it does not note, or it is not the version that was recorded.

mod channel;
mod connection;
mod cursor;
mod node;

use headwater_core::record::{Birth, Note};
use headwater_core::time::Instant;

use crate::error::ReplayError;
use crate::recording::Log;
use cursor::Cursor;

/// What came of a replay that did as recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// How many steps were repeated.
    pub steps: usize,
}

/// Runs the machine of a log again and compares everything that it does.
///
/// # Errors
///
/// [`ReplayError`]: it cannot be run, or something differs.
pub fn run(log: &Log) -> Result<Replayed, ReplayError> {
    if log.lost > 0 {
        return Err(ReplayError::Timeline { lost: log.lost });
    }
    let cursor = Cursor::new(log);
    match log.birth.clone() {
        Birth::Node { config, seed, local } => node::run(&cursor, log, *config, seed, local)?,
        Birth::Connection { .. } if !log.payloads => return Err(ReplayError::NoPayloads),
        Birth::Connection { setup, transparent } => {
            connection::run(&cursor, log, *setup, transparent)?;
        }
    }
    Ok(Replayed { steps: log.len() })
}

/// Goes through a log: `tell` tells the machine one note, and gives false for those that it
/// should have made by itself.
fn each(
    cursor: &Cursor,
    mut tell: impl FnMut(Instant, Note, u64) -> Result<bool, ReplayError>,
) -> Result<(), ReplayError> {
    while let Some(step) = cursor.step() {
        let (at, note) = cursor.note(step)?;
        let recorded = cursor.words(step);
        let is_read = matches!(note, Note::Read(_));
        let mut told = tell(at, note, cursor.sequence(step))?;
        if is_read {
            // It is noted together with what the machine is told next.
            let Some(next) = cursor.after(step) else { return Ok(()) };
            let (at, note) = cursor.note(next)?;
            told = tell(at, note, cursor.sequence(next))?;
        }
        if !told {
            return Err(cursor.missing(step, recorded));
        }
        cursor.check()?;
        if cursor.step() == Some(step) {
            return Err(cursor.missing(step, recorded));
        }
    }
    Ok(())
}
