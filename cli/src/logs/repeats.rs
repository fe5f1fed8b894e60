//! Lines that say the same again and again: the first ones are written, further ones are counted
//! and written as one line when their window is over.
//!
//! Whoever logs says what makes two lines the same, by the field `same`, which is not written. A
//! window is a minute at first, and longer each time as long as there is something to count, so
//! that a peer that stays away for a week is told of once an hour. Whoever was quiet for a whole
//! window is forgotten: its next line is news, and so is the next line about a peer that was
//! connected in between.
//!
//! Invariant: of lines that are the same, those written and those counted in written lines are all
//! that came, once [`Repeats::all`] was called.
//!
//! Bounds: [`KEPT`] kinds of lines, the last line of each cut to [`LINE_MAX`] bytes, its key to
//! [`KEY_MAX`]. What comes when there is no room is counted together, by what it says.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Kinds of lines that are told apart.
const KEPT: usize = 512;

/// Bytes that are kept of a line.
const LINE_MAX: usize = 1024;

/// Bytes of a key that count.
const KEY_MAX: usize = 256;

/// How long lines are counted before they are told, the first time, the second time and so on.
const WINDOWS: [Duration; 4] = [
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(60 * 60),
];

/// A line that may have come before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// What makes it the same as another.
    pub(super) same: &'a str,
    /// Whom it is about, if it is about a peer.
    pub(super) peer: &'a str,
    /// What it says about whomever.
    pub(super) message: &'a str,
    /// All of it, without the time.
    pub(super) text: &'a str,
    /// The time.
    pub(super) time: &'a str,
    /// How many of them in a window are written before the others are counted.
    pub(super) burst: u64,
}

/// Lines that were written lately, and how often they came since.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    kinds: BTreeMap<String, Kind>,
}

#[derive(Debug)]
struct Kind {
    peer: String,
    /// The last one that was not written, and its time.
    text: String,
    last: String,
    /// How many were written in this window, and how many may be.
    written: u64,
    burst: u64,
    /// How many were not written.
    count: u64,
    since: Instant,
    window: usize,
}

impl Kind {
    fn is_over(&self, now: Instant) -> bool {
        let window = WINDOWS.get(self.window).copied().unwrap_or(WINDOWS[0]);
        now.saturating_duration_since(self.since) >= window
    }

    /// What is to be written of it, if there is anything.
    fn told(&self, now: Instant) -> Option<String> {
        let Self { count, text, last, .. } = self;
        let seconds = now.saturating_duration_since(self.since).as_secs();
        (*count > 0).then(|| format!("{text} again={count} within={seconds}s last={last}"))
    }
}

impl Repeats {
    /// A table without lines.
    pub(super) const fn new() -> Self {
        Self { kinds: BTreeMap::new() }
    }

    /// Whether a line is to be written; else it is counted.
    pub(super) fn is_new(&mut self, now: Instant, line: Line<'_>) -> bool {
        let key = start(line.same, KEY_MAX);
        let full = self.kinds.len() >= KEPT && !self.kinds.contains_key(key);
        let key = if full { line.message } else { key };
        if let Some(kind) = self.kinds.get_mut(key) {
            if kind.written < kind.burst {
                kind.written += 1;
                return true;
            }
            kind.count = kind.count.saturating_add(1);
            line.time.clone_into(&mut kind.last);
            kind.text = if full {
                format!("msg={:?} of=others", line.message)
            } else {
                start(line.text, LINE_MAX).to_owned()
            };
            return false;
        }
        let kind = Kind {
            peer: line.peer.to_owned(),
            text: String::new(),
            last: String::new(),
            written: 1,
            burst: line.burst,
            count: 0,
            since: now,
            window: 0,
        };
        self.kinds.insert(key.to_owned(), kind);
        true
    }

    /// Lines whose window is over, for writing. Those that came again are counted anew.
    pub(super) fn due(&mut self, now: Instant) -> Vec<String> {
        let mut told = Vec::new();
        self.kinds.retain(|_, kind| {
            if !kind.is_over(now) {
                return true;
            }
            told.extend(kind.told(now));
            let again = kind.count > 0;
            // Whoever goes on is heard no sooner than in the next line that counts.
            kind.written = kind.burst;
            (kind.count, kind.since) = (0, now);
            kind.window = WINDOWS.len().saturating_sub(1).min(kind.window.saturating_add(1));
            again
        });
        told
    }

    /// Forgets the lines about a peer of which one in a window is written, for what comes about it
    /// now is news; what was counted is to be written.
    pub(super) fn forget(&mut self, now: Instant, peer: &str) -> Vec<String> {
        let mut told = Vec::new();
        self.kinds.retain(|_, kind| {
            let other = kind.peer != peer || kind.burst > 1;
            if !other {
                told.extend(kind.told(now));
            }
            other
        });
        told
    }

    /// Everything that was counted and not written, at the end.
    pub(super) fn all(&mut self, now: Instant) -> Vec<String> {
        std::mem::take(&mut self.kinds).values().filter_map(|kind| kind.told(now)).collect()
    }
}

/// The start of a text, of so many bytes at most.
fn start(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<'a>(same: &'a str, peer: &'a str) -> Line<'a> {
        Line { same, peer, message: "refused", text: "level=warn msg=refused", time: "T", burst: 1 }
    }

    #[test]
    fn the_first_is_written_and_the_others_are_counted_window_by_window() {
        let (mut repeats, start) = (Repeats::new(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(repeats.is_new(start, line("a", "")));
        for second in 1..=59 {
            assert!(!repeats.is_new(at(second), line("a", "")));
            assert!(repeats.due(at(second)).is_empty());
        }
        assert_eq!(repeats.due(at(60)), ["level=warn msg=refused again=59 within=60s last=T"]);
        // The next window is longer.
        assert!(!repeats.is_new(at(61), line("a", "")));
        assert!(repeats.due(at(359)).is_empty());
        assert_eq!(repeats.due(at(361)), ["level=warn msg=refused again=1 within=301s last=T"]);
        // Whoever was quiet for a window is news.
        assert!(repeats.due(at(361 + 1800)).is_empty());
        assert!(repeats.is_new(at(2200), line("a", "")));
    }

    #[test]
    fn a_week_of_attempts_is_a_line_an_hour() {
        let (mut repeats, start) = (Repeats::new(), Instant::now());
        let (mut written, mut counted) = (0, 0);
        for minute in 0..7 * 24 * 60 {
            let now = start + Duration::from_secs(60 * minute);
            written += u64::from(repeats.is_new(now, line("a", "")));
            for told in repeats.due(now) {
                let (_, again) = told.split_once("again=").unwrap();
                counted += again.split(' ').next().unwrap().parse::<u64>().unwrap();
                written += 1;
            }
        }
        assert_eq!(repeats.all(start).len(), 1);
        assert!(written < 180, "{written}");
        assert!(counted > 7 * 24 * 60 - 70, "{counted}");
    }

    #[test]
    fn different_lines_are_all_written_and_a_peer_that_was_there_is_news() {
        let (mut repeats, now) = (Repeats::new(), Instant::now());
        assert!(repeats.is_new(now, line("a", "Qma")) && repeats.is_new(now, line("b", "Qmb")));
        assert!(!repeats.is_new(now, line("a", "Qma")));
        assert_eq!(repeats.forget(now, "Qma"), ["level=warn msg=refused again=1 within=0s last=T"]);
        assert!(repeats.is_new(now, line("a", "Qma")));
        assert!(!repeats.is_new(now, line("b", "Qmb")));
        assert_eq!(repeats.all(now).len(), 1);
        assert!(repeats.all(now).is_empty());
    }

    #[test]
    fn a_burst_is_written_and_is_not_forgotten_with_its_peer() {
        let (mut repeats, now) = (Repeats::new(), Instant::now());
        let line = Line { burst: 3, ..line("up a", "Qma") };
        let written = (0..10).filter(|_| {
            let _ = repeats.forget(now, "Qma");
            repeats.is_new(now, line)
        });
        assert_eq!(written.count(), 3);
        assert_eq!(
            repeats.due(now + WINDOWS[0]),
            ["level=warn msg=refused again=7 within=60s last=T"]
        );
        assert!(!repeats.is_new(now + WINDOWS[0], line));
    }

    #[test]
    fn what_is_kept_is_bounded_and_nothing_is_uncounted() {
        let (mut repeats, now) = (Repeats::new(), Instant::now());
        let (many, long) = (10 * KEPT as u64, "é".repeat(LINE_MAX));
        let mut written = 0;
        for number in 0..many {
            let same = format!("{number}{long}");
            let line = Line { text: &long, ..line(&same, "") };
            written += u64::from(repeats.is_new(now, line));
        }
        assert!(repeats.kinds.len() <= KEPT + 1);
        let keys = repeats.kinds.iter();
        assert!(keys.clone().all(|(key, kind)| key.len() <= 256 && kind.text.len() <= LINE_MAX));
        let told = repeats.all(now);
        let expected =
            format!("msg=\"refused\" of=others again={} within=0s last=T", many - written);
        assert_eq!(told, [expected]);
    }
}
