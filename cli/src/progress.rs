//! How far a transfer is: a bar on a terminal, events for `--json`, else nothing.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::event::Event;
use crate::report::{self, Report};

/// The time between two events.
const EVENT_EVERY: Duration = Duration::from_millis(500);

/// The bar that stands on the terminal, if there is one.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Writes a line on standard error: what shows a transfer there makes room meanwhile.
pub(crate) fn aside<T>(write: impl FnOnce() -> T) -> T {
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

fn stands(bar: Option<ProgressBar>) {
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = bar;
}

/// Shows one transfer.
#[derive(Debug)]
pub(crate) struct Progress {
    report: Report,
    total: Option<u64>,
    bytes: u64,
    told: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts showing a transfer of `total` bytes, if that is known.
    pub(crate) fn start(report: Report, total: Option<u64>) -> Self {
        let bar = report.draws().then(|| {
            let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
            bar.set_style(style(total.is_some()));
            stands(Some(bar.clone()));
            bar
        });
        Self { report, total, bytes: 0, told: Instant::now(), bar }
    }

    /// More bytes are through.
    pub(crate) fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(bar) = &self.bar {
            bar.set_position(self.bytes);
        }
        if self.told.elapsed() >= EVENT_EVERY {
            self.tell();
        }
    }

    /// The transfer is over; the bar goes away, because the result says the same.
    pub(crate) fn finish(mut self) {
        self.tell();
    }

    fn tell(&mut self) {
        self.told = Instant::now();
        self.report.event(Event::Progress { bytes: self.bytes, total: self.total });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            stands(None);
            bar.finish_and_clear();
        }
    }
}

fn style(known: bool) -> ProgressStyle {
    let template = match (known, report::coloured()) {
        (true, true) => {
            "{bar:20.cyan/blue} {percent:>3}%  {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left"
        }
        (true, false) => {
            "{bar:20} {percent:>3}%  {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left"
        }
        (false, _) => "{bytes}  {bytes_per_sec}  {elapsed}",
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_valid() {
        for known in [true, false] {
            let bar = ProgressBar::hidden();
            bar.set_style(style(known));
            bar.set_position(1);
        }
        assert!(ProgressStyle::with_template("{bar:20.cyan/blue} {eta}").is_ok());
    }

    #[test]
    fn bytes_add_up() {
        let mut progress = Progress::start(Report::new(false), Some(3));
        progress.add(1);
        progress.add(2);
        assert_eq!(progress.bytes, 3);
    }
}
