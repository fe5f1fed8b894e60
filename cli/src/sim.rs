//! `headwater sim`: many nodes in virtual time, seed by seed.

use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use headwater_recorder::Recorder;
use headwater_sim::{Channel, Mode, Options, Outcome};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::event::Event;
use crate::failure::Failure;
use crate::report::Report;
use crate::signal::Signals;
use crate::status::Status;

/// Run the simulator.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// How many nodes there are.
    #[arg(
        long,
        default_value_t = 50,
        value_parser = clap::value_parser!(u64).range(2..=5000),
        allow_negative_numbers = true,
    )]
    nodes: u64,
    /// Which seeds to run: one, or from A up to B, without B.
    #[arg(
        long,
        value_name = "A..B",
        default_value = "0..8",
        value_parser = seeds,
        allow_negative_numbers = true,
    )]
    seeds: Range<u64>,
    /// Simulated minutes during which faults come; healing comes on top.
    #[arg(long, default_value = "10", value_parser = minutes, allow_negative_numbers = true)]
    minutes: Duration,
    /// What an application does in a simulated second, on average; mostly it sends a message.
    #[arg(long, default_value = "1", value_parser = rate, allow_negative_numbers = true)]
    rate: f64,
    /// How nodes are driven, instead of what each seed says.
    #[arg(long, value_enum)]
    mode: Option<ModeArg>,
    /// What secures the links, instead of what each seed says.
    #[arg(long, value_enum)]
    channel: Option<ChannelArg>,
    /// Run without faults.
    #[arg(long)]
    calm: bool,
    /// Where a seed that fails leaves a recording of each node, for `replay`: it is run once more
    /// for that. Without it, in a new folder among the system's temporary ones.
    #[arg(long, value_name = "FOLDER")]
    record: Option<PathBuf>,
    /// Write every step of the runs to standard error.
    #[arg(long)]
    trace: bool,
    /// Runs at a time; one for each processor unless told otherwise.
    #[arg(long, value_parser = jobs_at_a_time, allow_negative_numbers = true)]
    jobs: Option<NonZeroUsize>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ModeArg {
    /// Each node is one machine in one loop.
    Whole,
    /// A node and its connections run apart, with mailboxes that are late.
    Apart,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ChannelArg {
    /// Plain links.
    Plain,
    /// A channel of records.
    Record,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SeedEvent {
    seed: u64,
    ok: bool,
    hash: Option<String>,
    simulated_ms: u64,
    healed_ms: Option<u64>,
    steps: u64,
    messages: Option<u64>,
    failure: Option<String>,
    replay: Option<String>,
    recordings: Option<String>,
}

/// All runs.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Summary {
    seeds: u64,
    asked: u64,
    failed: u64,
    hours: f64,
    steps: u64,
    messages: u64,
    seconds: f64,
    #[serde(skip)]
    simulated: Duration,
    #[serde(skip)]
    healed: Duration,
}

/// How often somebody who waits is told how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// What the runs have to say.
enum News {
    /// One is over.
    Ran(Ran),
    /// The user ends them all.
    Ended(Failure),
}

/// Runs the command.
///
/// # Errors
///
/// [`Status::Off`] if a seed failed; the signal that ended it, after what there is until then.
pub(crate) fn run(report: Report, args: &Args) -> Result<(), Failure> {
    headwater_sim::catch_panics();
    let count = args.seeds.end - args.seeds.start;
    let jobs = jobs(args, count);
    let (tell, news) = channel();
    // The runtime is there for the signals alone.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format_args!("no runtime: {error}")))?;
    let signals = runtime.block_on(async { Signals::install() })?;
    let ended = tell.clone();
    runtime.spawn(async move {
        let _ = ended.send(News::Ended(signals.first().await));
    });
    let next = Arc::new(AtomicU64::new(args.seeds.start));
    for _ in 0..jobs {
        let (args, next, tell) = (args.clone(), Arc::clone(&next), tell.clone());
        // Whoever ends the program does not wait for runs: one may take minutes.
        thread::spawn(move || work(&args, &next, &tell));
    }
    let mut watch = Watch::start(report, args, jobs);
    let ended = watch.until_over(&news);
    next.store(args.seeds.end, Ordering::Relaxed);
    let summary = watch.finish();
    runtime.shutdown_background();
    report.event(Event::Simulated(&summary));
    if ended.is_some() {
        let Summary { seeds, asked, .. } = summary;
        report.line(&format!("interrupted when {seeds} of {asked} seeds were over; until then:"));
    }
    report.line(&summary.text());
    match (ended, summary.failed) {
        (Some(failure), _) => Err(failure),
        (None, 0) => Ok(()),
        (None, 1) => Err(Failure::new(Status::Off, "a seed failed")),
        (None, failed) => Err(Failure::new(Status::Off, format!("{failed} seeds failed"))),
    }
}

/// Whoever waits for the runs: counts them, and shows how far they are.
struct Watch {
    report: Report,
    summary: Summary,
    start: Instant,
    told: Instant,
    bar: Option<ProgressBar>,
}

impl Watch {
    /// Starts to show them: as a bar on a terminal, else as a line from time to time.
    fn start(report: Report, args: &Args, jobs: usize) -> Self {
        let asked = args.seeds.end - args.seeds.start;
        let summary = Summary { asked, ..Summary::default() };
        let bar = report.draws().then(|| bar(asked));
        let now = Instant::now();
        if bar.is_none() && !report.is_json() {
            let minutes = args.minutes.as_secs_f64() / 60.0;
            report.remark(&format!(
                "{} of {} nodes, {minutes} min simulated, {jobs} at a time",
                counted(asked),
                args.nodes
            ));
        }
        Self { report, summary, start: now, told: now, bar }
    }

    /// Returns when all runs are over, or with what ended them.
    fn until_over(&mut self, news: &Receiver<News>) -> Option<Failure> {
        while self.summary.seeds < self.summary.asked {
            match news.recv_timeout(TOLD_EVERY) {
                Ok(News::Ran(ran)) => self.ran(&ran),
                Ok(News::Ended(failure)) => return Some(failure),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Some(Failure::internal("the runs ended early"));
                }
            }
            if self.told.elapsed() >= TOLD_EVERY {
                self.tell();
            }
        }
        None
    }

    fn ran(&mut self, ran: &Ran) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
        self.summary.add(ran);
        let event = seed_event(ran);
        self.report.event(Event::Seed(&event));
        if let (Some(failure), Some(replay)) = (&event.failure, &event.replay) {
            let where_to = event.recordings.as_deref().unwrap_or("nowhere");
            let text = format!("{failure}\n  {replay}\n  recordings: {where_to}");
            let tell = || self.report.line(&text);
            self.bar.as_ref().map_or_else(tell, |bar| bar.suspend(tell));
        }
    }

    fn tell(&mut self) {
        self.told = Instant::now();
        if self.bar.is_none() && !self.report.is_json() {
            let Summary { seeds, asked, failed, .. } = self.summary;
            let seconds = self.start.elapsed().as_secs();
            self.report.remark(&format!("{seeds} of {asked} seeds, {failed} failed, {seconds} s"));
        }
    }

    fn finish(mut self) -> Summary {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        self.summary.finish(self.start.elapsed());
        self.summary
    }
}

fn jobs(args: &Args, seeds: u64) -> usize {
    if args.trace {
        // Their steps would be mixed up.
        return 1;
    }
    let jobs = args.jobs.or_else(|| thread::available_parallelism().ok());
    jobs.map_or(1, NonZeroUsize::get).min(usize::try_from(seeds).unwrap_or(usize::MAX))
}

type Ran = (u64, Result<Outcome, headwater_sim::Failure>, Option<String>);

fn work(args: &Args, next: &AtomicU64, tell: &Sender<News>) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= args.seeds.end {
            return;
        }
        let options = options(args, seed);
        let ran = if args.trace {
            // Not locked: whoever ends the program has a word to say there.
            let mut out = BufWriter::new(io::stderr());
            let ran = headwater_sim::run(&options, Some(&mut out));
            let _ = out.flush();
            ran
        } else {
            headwater_sim::run(&options, None)
        };
        let recorded = ran.is_err().then(|| record(args, &options));
        if tell.send(News::Ran((seed, ran, recorded))).is_err() {
            return;
        }
    }
}

/// Runs a seed once more, recorded; gives the folder, or why there is none.
fn record(args: &Args, options: &Options) -> String {
    let folder = args.record.clone().unwrap_or_else(|| {
        let name = format!("headwater-sim-{}-{}", options.seed, std::process::id());
        std::env::temp_dir().join(name)
    });
    let mut nodes = Vec::new();
    // It ends as it did before.
    let _ = headwater_sim::run_recorded(options, &mut |node, life| {
        let keep = headwater_recorder::Options { cap: 4 << 20, payloads: true, on_panic: None };
        let recorder = Recorder::new(keep);
        nodes.push((node, life, recorder.clone()));
        Arc::new(recorder)
    });
    match write_all(&folder, options.seed, &nodes) {
        Ok(()) => folder.display().to_string(),
        Err(error) => error.to_string(),
    }
}

/// A file for each life of each node.
fn write_all(
    folder: &Path,
    seed: u64,
    nodes: &[(usize, u32, Recorder)],
) -> Result<(), headwater_recorder::WriteError> {
    std::fs::create_dir_all(folder)?;
    for (node, life, recorder) in nodes {
        recorder.write(&folder.join(format!("seed-{seed}-node-{node}-life-{life}.hwrec")))?;
    }
    Ok(())
}

fn options(args: &Args, seed: u64) -> Options {
    Options {
        seed,
        nodes: usize::try_from(args.nodes).unwrap_or(usize::MAX),
        time: args.minutes,
        rate: args.rate,
        faults: !args.calm,
        mode: args.mode.map(|mode| match mode {
            ModeArg::Whole => Mode::Whole,
            ModeArg::Apart => Mode::Apart,
        }),
        channel: args.channel.map(|channel| match channel {
            ChannelArg::Plain => Channel::Plain,
            ChannelArg::Record => Channel::Record,
        }),
        ..Options::default()
    }
}

fn seed_event((seed, ran, recorded): &Ran) -> SeedEvent {
    let mut event = SeedEvent {
        seed: *seed,
        ok: ran.is_ok(),
        hash: None,
        simulated_ms: 0,
        healed_ms: None,
        steps: 0,
        messages: None,
        failure: None,
        replay: None,
        recordings: recorded.clone(),
    };
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    match ran {
        Ok(outcome) => {
            event.hash = Some(format!("{:016x}", outcome.hash));
            event.simulated_ms = millis(outcome.simulated);
            event.healed_ms = Some(millis(outcome.healed_after));
            event.steps = outcome.steps;
            event.messages = Some(outcome.delivered);
        }
        Err(failure) => {
            event.simulated_ms = millis(failure.at);
            event.steps = failure.step;
            event.failure = Some(failure.to_string());
            event.replay = Some(failure.replay());
        }
    }
    event
}

impl Summary {
    fn add(&mut self, (_, ran, _): &Ran) {
        self.seeds += 1;
        match ran {
            Ok(outcome) => {
                self.simulated += outcome.simulated;
                self.steps += outcome.steps;
                self.messages += outcome.delivered;
                self.healed = self.healed.max(outcome.healed_after);
            }
            Err(failure) => {
                self.failed += 1;
                self.simulated += failure.at;
                self.steps += failure.step;
            }
        }
    }

    fn finish(&mut self, took: Duration) {
        self.seconds = took.as_secs_f64();
        self.hours = self.simulated.as_secs_f64() / 3600.0;
    }

    fn text(&self) -> String {
        let Self { seeds, failed, hours, steps, messages, seconds, healed, .. } = self;
        let rate = steps.checked_div(seconds.max(1.0) as u64).unwrap_or(*steps);
        format!(
            "{}, {failed} failed: {hours:.1} simulated hours, {steps} steps, {messages} \
             messages\nhealed after {:.0} s at most; took {seconds:.1} s, {rate} steps and {:.2} \
             simulated hours a second",
            counted(*seeds),
            healed.as_secs_f64(),
            hours / seconds.max(0.001),
        )
    }
}

/// So many seeds, in words.
fn counted(seeds: u64) -> String {
    if seeds == 1 { "1 seed".to_owned() } else { format!("{seeds} seeds") }
}

fn bar(seeds: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{wide_bar} {pos} of {len} seeds  {elapsed}, {eta} left");
    let bar = ProgressBar::new(seeds);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    // It shows that something is done before the first run is over.
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| text.parse::<u64>().ok();
    let range = match text.split_once("..") {
        Some((from, to)) => number(from).zip(number(to)).map(|(from, to)| from..to),
        None => number(text).and_then(|one| Some(one..one.checked_add(1)?)),
    };
    let range = range.filter(|range| !range.is_empty());
    range
        .ok_or_else(|| "a number is expected, or two as in 0..50, the first one smaller".to_owned())
}

fn jobs_at_a_time(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "a whole number is expected, 1 or more".to_owned())
}

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes = text.parse::<f64>().ok().filter(|minutes| (0.05..=10_000.0).contains(minutes));
    let time = minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0));
    time.ok_or_else(|| "a number from 0.05 to 10000 is expected".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.001..=1000.0).contains(rate));
    rate.ok_or_else(|| "a number from 0.001 to 1000 is expected".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_run_once_more_and_leaves_a_recording_of_each_node() {
        use clap::Parser as _;
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("new").display().to_string();
        let line = ["sim", "--nodes", "3", "--minutes", "0.1", "--record", &place];
        let args = Line::parse_from(line).args;
        assert_eq!(record(&args, &options(&args, 1)), place);
        let files: Vec<_> = std::fs::read_dir(&place).unwrap().map(|f| f.unwrap().path()).collect();
        assert!(files.len() >= 3, "{files:?}");
        for file in files {
            let recording = headwater_recorder::Recording::read(&file).unwrap();
            for log in recording.logs.iter().filter(|log| log.lost == 0) {
                assert!(headwater_recorder::replay::run(log).is_ok());
            }
        }
    }

    #[test]
    fn seeds_are_one_or_a_range() {
        assert_eq!(seeds("7"), Ok(7..8));
        assert_eq!(seeds("0..50"), Ok(0..50));
        for bad in ["", "..", "5..5", "6..5", "a..b", "-1", "18446744073709551615"] {
            assert!(seeds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_have_their_bounds() {
        assert_eq!(minutes("0.5"), Ok(Duration::from_secs(30)));
        assert!(minutes("0").is_err() && minutes("nan").is_err() && minutes("1e9").is_err());
        assert!(jobs_at_a_time("2").is_ok() && jobs_at_a_time("0").is_err());
        assert!(rate("1").is_ok() && rate("0").is_err() && rate("inf").is_err());
    }
}
