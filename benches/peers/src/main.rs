//! Measures all contestants, prints tables, and writes them and charts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use headwater_peers::contestants::{
    Batches, ByHand, Commonware, Libp2pRequests, Libp2pStream, OneByOne, QuicMessages, QuicStream,
};
use headwater_peers::measure::{Effort, Subject, Unit, measure, subject};
use headwater_peers::report::{Report, chart, replace};

const HELP: &str = "\
Measures all contestants, prints markdown, and writes tables and charts.

  --quick        short runs, and few: only to see that everything works; writes nothing
                 unless --out is given
  --out DIR      where tables and charts go (benches/results)
  --readme FILE  replaces what is between the marks of this page
  --no-run       measures nothing: for --readme with the tables that are there
  --runs N       runs of each contestant in each scenario (7)
  --seconds S    what a run takes (0.7)
  --only NAME    only contestants that have this in their names, and the ceiling
  --of NAME      only scenarios that have this in the names of their figures; writes nothing
";

/// Where tables and charts go, unless told otherwise.
const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../results");
/// The same, as seen from the project's front page.
const FROM_README: &str = "benches/results/";
const SUMMARY: &str = "summary.md";

/// What is asked for.
struct Asked {
    effort: Effort,
    out: Option<PathBuf>,
    readme: Option<PathBuf>,
    measures: bool,
    only: String,
    of: String,
}

impl Asked {
    fn from_args() -> Result<Self, String> {
        let mut effort = Effort { runs: 7, target: Duration::from_millis(700) };
        let mut asked = Self {
            effort,
            out: Some(RESULTS.into()),
            readme: None,
            measures: true,
            only: String::new(),
            of: String::new(),
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value\n\n{HELP}"));
            match arg.as_str() {
                "--quick" => {
                    effort = Effort { runs: 2, target: Duration::from_millis(60) };
                    asked.out = None;
                }
                "--out" => asked.out = Some(value()?.into()),
                "--readme" => asked.readme = Some(value()?.into()),
                "--no-run" => asked.measures = false,
                "--runs" => effort.runs = parse(&value()?)?,
                "--seconds" => effort.target = Duration::from_secs_f64(parse(&value()?)?),
                "--only" => asked.only = value()?,
                "--of" => asked.of = value()?,
                _ => return Err(HELP.to_owned()),
            }
        }
        asked.effort = effort;
        Ok(asked)
    }
}

fn parse<T: std::str::FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{value} is not a number"))
}

/// Everybody, the ceiling first.
fn subjects(only: &str) -> Vec<Box<dyn Subject>> {
    let all = [
        subject::<ByHand>(),
        subject::<OneByOne>(),
        subject::<Batches>(),
        subject::<Libp2pStream>(),
        subject::<Libp2pRequests>(),
        subject::<QuicStream>(),
        subject::<QuicMessages>(),
        subject::<Commonware>(),
    ];
    let wanted = |(at, one): &(usize, Box<dyn Subject>)| *at == 0 || one.name().contains(only);
    all.into_iter().enumerate().filter(wanted).map(|(_, one)| one).collect()
}

fn run(asked: &Asked) -> Result<(), String> {
    let mut summary = None;
    if asked.measures {
        let mut subjects = subjects(&asked.only);
        let columns = measure(&mut subjects, &asked.of, asked.effort);
        let Effort { runs, target } = asked.effort;
        let report = Report {
            contestants: subjects.iter().map(|one| (one.name(), one.note())).collect(),
            columns,
            effort: format!(
                "The medians of {runs} runs of about {} s each, all contestants in turns; in \
                 brackets the least and the most.",
                target.as_secs_f64()
            ),
        };
        println!("{}", report.whole());
        if let Some(out) = asked.out.as_ref().filter(|_| asked.of.is_empty()) {
            write_all(out, &report)?;
        }
        summary = Some(report.summary(FROM_README));
    }
    if let Some(readme) = &asked.readme {
        let results = asked.out.as_deref().unwrap_or(Path::new(RESULTS));
        let summary = summary.map_or_else(|| read(&results.join(SUMMARY)), Ok)?;
        let page = replace(&read(readme)?, &summary)?;
        write(readme, &page)?;
    }
    Ok(())
}

fn write_all(out: &Path, report: &Report) -> Result<(), String> {
    fs::create_dir_all(out).map_err(|error| format!("{}: {error}", out.display()))?;
    let one_way = chart(report, "Messages in a second, one way", |column| {
        column.title.starts_with("one way")
    });
    let times =
        chart(report, "How long messages are under way", |column| column.unit == Unit::Micros);
    write(&out.join("one-way.svg"), &one_way)?;
    write(&out.join("times.svg"), &times)?;
    write(&out.join(SUMMARY), &report.summary(FROM_README))?;
    write(&out.join("peers.md"), &report.whole())
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn main() -> ExitCode {
    match Asked::from_args().and_then(|asked| run(&asked)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
