//! What was measured, as markdown.

mod chart;
mod machine;
mod place;

pub use chart::chart;
pub use machine::describe;
pub use place::replace;

use std::fmt::Write;

use crate::measure::{Column, Unit};

/// Everything that is told.
#[derive(Debug)]
pub struct Report {
    /// Of each contestant, the ceiling first.
    pub contestants: Vec<(&'static str, &'static str)>,
    /// What was measured.
    pub columns: Vec<Column>,
    /// How often and how long.
    pub effort: String,
}

/// The least, the median and the most of some figures, failed runs left out.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The least.
    pub least: f64,
    /// The one in the middle.
    pub median: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// Of these; not numbers where there are none.
    #[must_use]
    pub fn of(samples: impl IntoIterator<Item = f64>) -> Self {
        let mut samples: Vec<f64> = samples.into_iter().filter(|one| one.is_finite()).collect();
        samples.sort_by(f64::total_cmp);
        let at = |at: usize| samples.get(at).copied().unwrap_or(f64::NAN);
        let last = samples.len().saturating_sub(1);
        Self { least: at(0), median: at(samples.len() / 2), most: at(last) }
    }
}

impl Column {
    /// Of one contestant, by the figure of the ceiling in the same turn.
    #[must_use]
    pub fn ratio(&self, who: usize) -> Spread {
        let pairs = self.samples[who].iter().zip(&self.samples[0]);
        Spread::of(pairs.map(|(theirs, ceiling)| theirs / ceiling))
    }

    /// Of one contestant.
    #[must_use]
    pub fn value(&self, who: usize) -> Spread {
        Spread::of(self.samples[who].iter().copied())
    }

    const fn is_rate(&self) -> bool {
        matches!(self.unit, Unit::Rate(_))
    }
}

/// A number of two or three digits.
fn digits(number: f64) -> String {
    let decimals = match number {
        number if number >= 99.95 => 0,
        number if number >= 9.995 => 1,
        number if number >= 0.0995 => 2,
        number if number >= 0.00995 => 3,
        _ => 4,
    };
    format!("{number:.decimals$}")
}

/// A figure with its unit.
#[must_use]
pub fn figure(value: f64, unit: Unit) -> String {
    match unit {
        _ if value.is_nan() => "failed".to_owned(),
        Unit::Rate(len) => {
            let bytes = format!("{} MB/s", digits(value * len as f64 / 1e6));
            match value {
                value if value >= 1e6 => format!("{} M/s, {bytes}", digits(value / 1e6)),
                value if value >= 1e4 => format!("{} k/s, {bytes}", digits(value / 1e3)),
                value => format!("{}/s, {bytes}", digits(value)),
            }
        }
        Unit::Micros if value >= 1e3 => format!("{} ms", digits(value / 1e3)),
        Unit::Micros => format!("{} µs", digits(value)),
    }
}

/// A ratio and, if wanted, how far it went in single runs.
#[must_use]
pub fn ratio(Spread { least, median, most }: Spread) -> String {
    if median.is_nan() {
        return "failed".to_owned();
    }
    format!("**{}** ({} to {})", digits(median), digits(least), digits(most))
}

impl Report {
    /// What goes into the project's front page: machine, ratios, charts, and the figures.
    #[must_use]
    pub fn summary(&self, results: &str) -> String {
        let mut text = format!("{}\n\n", describe());
        let _ = writeln!(text, "{}\n", self.effort);
        text.push_str("Messages in a second, by those of the ceiling; more is better:\n\n");
        self.table(&mut text, Column::is_rate, |column, who| ratio(column.ratio(who)));
        text.push_str("\nTimes, by those of the ceiling; less is better:\n\n");
        self.table(&mut text, |column| !column.is_rate(), |column, who| ratio(column.ratio(who)));
        let _ = writeln!(
            text,
            "\n![Messages in a second, one way]({results}one-way.svg)\n\n\
             ![How long messages are under way]({results}times.svg)\n\n\
             The medians:\n"
        );
        let value = |column: &Column, who| figure(column.value(who).median, column.unit);
        self.table(&mut text, Column::is_rate, value);
        text.push('\n');
        self.table(&mut text, |column| !column.is_rate(), value);
        text
    }

    /// All of it: the summary, how each contestant is used, and how far the figures went.
    #[must_use]
    pub fn whole(&self) -> String {
        let mut text = "# Headwater beside others\n\nWritten by `benches/peers`.\n\n".to_owned();
        text.push_str(&self.summary(""));
        text.push_str("\n## Least and most of all runs\n\n");
        let range = |column: &Column, who| {
            let Spread { least, most, .. } = column.value(who);
            format!("{} to {}", figure(least, column.unit), figure(most, column.unit))
        };
        self.table(&mut text, Column::is_rate, range);
        text.push('\n');
        self.table(&mut text, |column| !column.is_rate(), range);
        text.push_str("\n## How each is used\n\n");
        for (name, note) in &self.contestants {
            let _ = writeln!(text, "- **{name}.** {note}");
        }
        text
    }

    fn table(
        &self,
        text: &mut String,
        wants: impl Fn(&Column) -> bool,
        cell: impl Fn(&Column, usize) -> String,
    ) {
        let columns: Vec<_> = self.columns.iter().filter(|column| wants(column)).collect();
        let titles: Vec<_> = columns.iter().map(|column| column.title).collect();
        let _ = writeln!(text, "| | {} |", titles.join(" | "));
        let _ = writeln!(text, "| --- |{}", " ---: |".repeat(columns.len()));
        for (who, (name, _)) in self.contestants.iter().enumerate() {
            let cells: Vec<_> = columns.iter().map(|column| cell(column, who)).collect();
            let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_run_is_left_out() {
        let Spread { least, median, most } = Spread::of([3.0, f64::NAN, 1.0, 2.0]);
        assert_eq!((least, median, most), (1.0, 2.0, 3.0));
        assert_eq!(ratio(Spread::of([f64::NAN])), "failed");
    }

    #[test]
    fn ratios_are_those_of_one_turn() {
        let samples = vec![vec![1.0, 10.0, 100.0], vec![2.0, f64::NAN, 50.0]];
        let column = Column { title: "", unit: Unit::Micros, samples };
        let Spread { least, most, .. } = column.ratio(1);
        assert_eq!((least, most), (0.5, 2.0));
    }

    #[test]
    fn figures_have_their_units() {
        assert_eq!(figure(2_500_000.0, Unit::Rate(128)), "2.50 M/s, 320 MB/s");
        assert_eq!(figure(1000.0, Unit::Rate(1 << 20)), "1000/s, 1049 MB/s");
        assert_eq!(figure(12_345.0, Unit::Micros), "12.3 ms");
        assert_eq!(digits(0.0024), "0.0024");
    }
}
