//! What happened in a run, as a number that any difference changes, and as text where asked for.

use std::fmt;
use std::io::Write;
use std::time::Duration;

/// The record of one run.
pub(crate) struct Trace<'a> {
    hash: u64,
    out: Option<&'a mut dyn Write>,
    elapsed: Duration,
}

impl fmt::Debug for Trace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl<'a> Trace<'a> {
    pub(crate) fn new(out: Option<&'a mut dyn Write>) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, out, elapsed: Duration::ZERO }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn at(&mut self, elapsed: Duration) {
        self.elapsed = elapsed;
    }

    /// Takes a number in.
    pub(crate) fn number(&mut self, number: u64) {
        self.hash = (self.hash ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.hash ^= self.hash >> 29;
    }

    /// Takes bytes in.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let mut number = [0; 8];
            number.copy_from_slice(word);
            self.number(u64::from_le_bytes(number));
        }
        let mut last = [0; 8];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        self.number(u64::from_le_bytes(last) ^ bytes.len() as u64);
    }

    /// Whether somebody wants lines.
    pub(crate) fn is_wanted(&self) -> bool {
        self.out.is_some()
    }

    /// Writes a line, if somebody wants them.
    pub(crate) fn line(&mut self, text: fmt::Arguments<'_>) {
        if let Some(out) = &mut self.out {
            let seconds = self.elapsed.as_secs_f64();
            // Nobody is left to be told that the trace cannot be written.
            let _ = writeln!(out, "{seconds:12.6} {text}");
        }
    }
}

/// Writes a line of the trace, and formats it only if somebody wants it.
macro_rules! trace {
    ($trace:expr, $($text:tt)*) => { $trace.line(format_args!($($text)*)) };
}
pub(crate) use trace;
