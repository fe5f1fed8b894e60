//! Which framed bytes have left, where a channel seals them before they leave.
//!
//! A mark says: once so many sealed bytes have left, the framed ones up to this position have.
//!
//! Bound: marks stand at least [`STEP`] sealed bytes apart, but for the last, so there is one for
//! each `STEP` bytes of sealed output, and one.

use alloc::collections::VecDeque;

/// Marks closer than this to each other become one, in bytes.
pub(super) const STEP: u64 = 4096;

#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Sealed bytes that have left.
    left: u64,
    /// Ends of sealed output, counted as `left` is, and positions in the framed output.
    marks: VecDeque<(u64, u64)>,
    /// The end of the mark that was taken away last.
    before: u64,
    /// Framed bytes that have left.
    position: u64,
}

impl Marks {
    /// The output is sealed up to `position`, and `sealed` bytes of it have not left.
    pub(super) fn put(&mut self, sealed: usize, position: u64) {
        let end = self.left.saturating_add(sealed as u64);
        let last = self.marks.len().checked_sub(1);
        let before = last.and_then(|last| last.checked_sub(1)).and_then(|at| self.marks.get(at));
        let before = before.map_or(self.before, |(end, _)| *end);
        match self.marks.back_mut() {
            Some(last) if last.0.saturating_sub(before) < STEP || last.1 == position => {
                // What a channel adds on its own carries no mark.
                if last.1 != position {
                    *last = (end, position);
                }
            }
            _ => self.marks.push_back((end, position)),
        }
    }

    /// So many sealed bytes have left; gives the position up to which framed ones have.
    pub(super) fn advance(&mut self, sealed: usize) -> u64 {
        self.left = self.left.saturating_add(sealed as u64);
        while let Some((end, position)) = self.marks.front().copied() {
            if end > self.left {
                break;
            }
            self.marks.pop_front();
            self.before = end;
            self.position = position;
        }
        self.position
    }

    /// The position up to which framed bytes have left.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// Checks the bound.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn assert_invariants(&self, sealed: usize) {
        let bound = (sealed as u64).div_ceil(STEP).saturating_add(2);
        assert!(self.marks.len() as u64 <= bound, "{} marks", self.marks.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_follow_what_left_and_marks_stand_apart() {
        let mut marks = Marks::default();
        marks.put(5000, 4900);
        marks.put(10_000, 9800);
        assert_eq!(marks.advance(4999), 0);
        assert_eq!(marks.advance(1), 4900);
        for record in 1..=100_u64 {
            marks.put(5000 + record as usize * 100, 9800 + record * 80);
        }
        marks.assert_invariants(15_000);
        assert!(marks.marks.len() <= 5, "{marks:?}");
        // A ticket after the last record changes nothing.
        marks.put(15_100, 17_800);
        assert_eq!(marks.advance(15_000), 17_800);
        assert_eq!((marks.position(), marks.marks.len()), (17_800, 0));
    }
    #[test]
    fn records_of_any_length_keep_marks_apart() {
        let mut marks = Marks::default();
        let mut end = 0;
        for length in [4000, 100, 4000, 100, 4000, 100, 1, 1, 9000, 3] {
            end += length;
            marks.put(end, end as u64);
            marks.assert_invariants(end);
        }
        assert_eq!(marks.advance(end), end as u64);
    }
}
