//! Any bytes as a recording: an error or a recording, and never a panic.

use crate::{Recording, Timeline, replay};

/// Steps of one log that are run again.
const STEPS_MAX: usize = 10_000;

/// Reads `bytes` as a file; reads and runs again as much as is whole of what is in it.
pub fn file(bytes: &[u8]) {
    let Ok((recording, _)) = Recording::salvage(bytes.to_vec()) else { return };
    for line in Timeline::new(&recording).take(STEPS_MAX) {
        assert!(!line.text.is_empty());
    }
    for log in recording.logs.iter().filter(|log| log.len() <= STEPS_MAX) {
        let _ = replay::run(log);
    }
}

/// The same for `bytes` whose checksums were made right, so that what is behind them is reached.
pub fn mended(bytes: &[u8]) {
    file(&crate::file::mend(bytes));
}

/// The same file with right checksums, and an end, as far as it has parts.
#[must_use]
pub fn mend(bytes: &[u8]) -> Vec<u8> {
    crate::file::mend(bytes)
}
