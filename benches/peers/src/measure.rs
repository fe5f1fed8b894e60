//! Runs every contestant in turn, so that whatever drifts meets all of them alike.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::scenario::{Connected, Contestant, mixed, one_way};

/// A run that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is done in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Messages of so many bytes one way.
    OneWay(usize),
    /// One small message there and one back, again and again.
    PingPong,
    /// Small messages beside a bulk transfer.
    Mixed,
}

/// All of them, in the order in which they are done.
pub const SCENARIOS: [Scenario; 5] = [
    Scenario::OneWay(128),
    Scenario::OneWay(4 << 10),
    Scenario::OneWay(1 << 20),
    Scenario::PingPong,
    Scenario::Mixed,
];

/// What a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Messages of so many bytes in a second: more is better.
    Rate(usize),
    /// Microseconds: less is better.
    Micros,
}

impl Scenario {
    /// What it is called, and the figures that come of a run.
    #[must_use]
    pub const fn figures(self) -> &'static [(&'static str, Unit)] {
        match self {
            Self::OneWay(128) => &[("one way, 128 B", Unit::Rate(128))],
            Self::OneWay(4096) => &[("one way, 4 KiB", Unit::Rate(4 << 10))],
            Self::OneWay(_) => &[("one way, 1 MiB", Unit::Rate(1 << 20))],
            Self::PingPong => &[
                ("there and back, 128 B, p50", Unit::Micros),
                ("there and back, 128 B, p99", Unit::Micros),
            ],
            Self::Mixed => &[
                ("128 B beside bulk, p99", Unit::Micros),
                ("bulk of 1 MiB meanwhile", Unit::Rate(1 << 20)),
            ],
        }
    }

    /// How much to do first, when nothing is known.
    const fn first_amount(self) -> usize {
        match self {
            Self::OneWay(len) => 8 + (256 << 10) / len,
            Self::PingPong => 200,
            Self::Mixed => 20,
        }
    }

    /// How much to do at least, so that what is the 99th of 100 means something. Beside bulk some
    /// need a second for each, so there it is what the time allows.
    const fn least_amount(self) -> usize {
        match self {
            Self::OneWay(_) | Self::Mixed => 1,
            Self::PingPong => 200,
        }
    }
}

/// Some contestant.
pub trait Subject {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// How it is used.
    fn note(&self) -> &'static str;

    /// Does so much; gives how long that took, and the figures of the scenario.
    ///
    /// # Errors
    ///
    /// Why it failed. It is connected anew for the next run.
    fn run(&mut self, scenario: Scenario, amount: usize) -> Result<(Duration, Vec<f64>), String>;
}

/// A contestant, as soon as it was asked for a run.
pub struct Held<C: Contestant>(Option<Connected<C>>);

/// A contestant that has not started yet.
#[must_use]
pub fn subject<C: Contestant>() -> Box<dyn Subject> {
    Box::new(Held::<C>(None))
}

impl<C: Contestant> Held<C> {
    fn try_run(&mut self, scenario: Scenario, amount: usize) -> (Duration, Vec<f64>) {
        let mut connected = self.0.take().unwrap_or_else(C::connect);
        let handle = connected.handle.clone();
        let begun = Instant::now();
        let run = async {
            let ends = connected.ends;
            match scenario {
                Scenario::OneWay(len) => {
                    let (elapsed, ends) = one_way(ends, len, amount).await;
                    connected.ends = ends;
                    (vec![amount as f64 / elapsed.as_secs_f64()], connected)
                }
                Scenario::PingPong => {
                    let (times, ends) = C::ping_pong(ends, amount).await;
                    connected.ends = ends;
                    (vec![percentile(&times, 0.5), percentile(&times, 0.99)], connected)
                }
                Scenario::Mixed => {
                    connected.ends = ends;
                    let (mixed, connected) = mixed(connected, amount).await;
                    let rate = mixed.bulk as f64 / mixed.elapsed.as_secs_f64();
                    (vec![percentile(&mixed.times, 0.99), rate], connected)
                }
            }
        };
        let ended = handle.block_on(async { tokio::time::timeout(PATIENCE, run).await });
        let (figures, connected) = ended.expect("in time");
        self.0 = Some(connected);
        (begun.elapsed(), figures)
    }
}

impl<C: Contestant> Subject for Held<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn note(&self) -> &'static str {
        C::NOTE
    }

    fn run(&mut self, scenario: Scenario, amount: usize) -> Result<(Duration, Vec<f64>), String> {
        let run = AssertUnwindSafe(|| self.try_run(scenario, amount));
        catch_unwind(run).map_err(|panic| reason(panic.as_ref()).to_owned())
    }
}

fn reason(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked")
}

/// The figure that a share of all are not above, in microseconds.
fn percentile(times: &[Duration], share: f64) -> f64 {
    let mut times = times.to_vec();
    times.sort();
    let at = (times.len().saturating_sub(1) as f64 * share).round() as usize;
    times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
}

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Runs of each contestant in each scenario.
    pub runs: usize,
    /// What a run is to take.
    pub target: Duration,
}

/// A figure of all contestants in all runs.
#[derive(Debug)]
pub struct Column {
    /// What the figure is of.
    pub title: &'static str,
    /// What it is.
    pub unit: Unit,
    /// Of each contestant, of each run; not a number where a run failed.
    pub samples: Vec<Vec<f64>>,
}

/// Runs all contestants in the scenarios that have `of` in the name of a figure, and tells of the
/// progress on standard error.
pub fn measure(subjects: &mut [Box<dyn Subject>], of: &str, effort: Effort) -> Vec<Column> {
    let begun = Instant::now();
    let mut columns = Vec::new();
    let is_wanted = |one: &Scenario| one.figures().iter().any(|(title, _)| title.contains(of));
    let scenarios: Vec<_> = SCENARIOS.into_iter().filter(is_wanted).collect();
    let count = scenarios.len();
    for (at, scenario) in scenarios.into_iter().enumerate() {
        let figures = scenario.figures();
        let step = format!("{}/{} {}", at + 1, count, figures[0].0);
        eprintln!("[{:4.0} s] {step}: warming up", begun.elapsed().as_secs_f64());
        let amounts: Vec<_> =
            subjects.iter_mut().map(|one| warm_up(one.as_mut(), scenario, effort)).collect();
        let mut samples = vec![vec![Vec::new(); subjects.len()]; figures.len()];
        for run in 0..effort.runs {
            eprintln!(
                "[{:4.0} s] {step}: run {} of {}",
                begun.elapsed().as_secs_f64(),
                run + 1,
                effort.runs
            );
            for turn in 0..subjects.len() {
                // Everybody comes first once.
                let who = (turn + run) % subjects.len();
                let subject = subjects[who].as_mut();
                let values = subject.run(scenario, amounts[who]).map_or_else(
                    |reason| {
                        eprintln!("{} failed: {reason}", subject.name());
                        vec![f64::NAN; figures.len()]
                    },
                    |(_, values)| values,
                );
                for (samples, value) in samples.iter_mut().zip(values) {
                    samples[who].push(value);
                }
            }
        }
        let with_names = figures.iter().zip(samples);
        columns.extend(with_names.map(|(&(title, unit), samples)| Column { title, unit, samples }));
    }
    columns
}

/// Runs until a run is long enough to say how much a run of the wanted length is.
fn warm_up(subject: &mut dyn Subject, scenario: Scenario, effort: Effort) -> usize {
    let mut amount = scenario.first_amount();
    for _ in 0..12 {
        match subject.run(scenario, amount) {
            Ok((elapsed, _)) if elapsed >= effort.target / 4 => {
                let share = effort.target.as_secs_f64() / elapsed.as_secs_f64();
                let amount = (amount as f64 * share).ceil() as usize;
                return amount.max(scenario.least_amount());
            }
            Ok(_) => amount *= 4,
            Err(reason) => {
                eprintln!("{} failed: {reason}", subject.name());
                return amount;
            }
        }
    }
    amount
}
