//! Bars, drawn as SVG: on whatever background, light or dark, and to be read without colours.

use std::fmt::Write;

use super::{Report, digits, figure};
use crate::measure::Column;

const WIDTH: usize = 760;
/// Where bars begin, and the longest one.
const LEFT: usize = 210;
const LONGEST: f64 = 300.0;
const ROW: usize = 24;
const BAR: usize = 14;
const TITLE: usize = 40;

/// The text is dark on light and light on dark; the ceiling is an outline, ours has a mark.
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}\
    .title{font-weight:600}.ours{font-weight:600}\
    rect{fill:#9aa4af;stroke:#9aa4af}rect.ours{fill:#0969da;stroke:#0969da}\
    rect.ceiling{fill:none;stroke:#57606a;stroke-dasharray:3 2}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}\
    rect{fill:#6e7681;stroke:#6e7681}rect.ours{fill:#58a6ff;stroke:#58a6ff}\
    rect.ceiling{stroke:#9aa4af}}";

/// A panel of bars for each of the columns that are wanted.
#[must_use]
pub fn chart(report: &Report, title: &str, wants: impl Fn(&Column) -> bool) -> String {
    let columns: Vec<_> = report.columns.iter().filter(|column| wants(column)).collect();
    let panel = TITLE + ROW * report.contestants.len();
    let height = panel * columns.len() + ROW / 2;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n"
    );
    for (at, column) in columns.into_iter().enumerate() {
        draw(&mut svg, report, column, at * panel);
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw(svg: &mut String, report: &Report, column: &Column, top: usize) {
    let better = if column.is_rate() { "longer is better" } else { "shorter is better" };
    let _ = writeln!(
        svg,
        "<text class=\"title\" x=\"0\" y=\"{}\">{} ({better})</text>",
        top + TITLE - 14,
        column.title
    );
    let medians = (0..report.contestants.len()).map(|who| column.value(who).median);
    let most = medians.filter(|median| median.is_finite()).fold(f64::MIN_POSITIVE, f64::max);
    for (who, (name, _)) in report.contestants.iter().enumerate() {
        let y = top + TITLE + ROW * who;
        let base = y + BAR - 2;
        let (class, mark) = match name {
            _ if who == 0 => ("ceiling", ""),
            name if name.starts_with("Headwater") => ("ours", "▸ "),
            _ => ("other", ""),
        };
        let median = column.value(who).median;
        let length = if median.is_finite() { (median / most * LONGEST).max(1.0) } else { 0.0 };
        let _ = writeln!(
            svg,
            "<text class=\"{class}\" x=\"{}\" y=\"{base}\" text-anchor=\"end\">{mark}{}</text>",
            LEFT - 10,
            name.replace('`', "")
        );
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\"/>"
        );
        let times = column.ratio(who).median;
        let times = if times.is_nan() { String::new() } else { format!(" ({} ×)", digits(times)) };
        let _ = writeln!(
            svg,
            "<text class=\"{class}\" x=\"{:.1}\" y=\"{base}\">{}{times}</text>",
            LEFT as f64 + length + 8.0,
            figure(median, column.unit)
        );
    }
}
