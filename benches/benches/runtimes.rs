//! The same scenarios on tokio, smol, async-std and mio, each beside hand-written framing on the
//! same runtime, in turns; prints markdown.
//!
//! `cargo bench -p headwater-benches --bench runtimes` does all; words behind `--` choose
//! scenarios (`one-way`, `ping-pong`, `mixed`, `setup`, `idle`), runtimes (by name), `plain` or
//! `tls`, and `quick` for shorter ones.

use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use headwater_benches::Security::{self, Insecure, Tls};
use headwater_benches::runtimes::one_way::{Framing, Mover, Nodes};
use headwater_benches::runtimes::places::{AsyncStd, Mio, Smol, Tokio};
use headwater_benches::runtimes::{Place, idle, mixed, ping_pong, setup};

/// Threads for tasks, on runtimes that are told by the environment.
const THREADS: [&str; 2] = ["SMOL_THREADS", "ASYNC_STD_THREAD_COUNT"];

/// Asks for one figure of [`idle`], in a process of its own.
const IDLE: &str = "--idle";

/// What is asked for.
struct Asked {
    words: Vec<String>,
    /// Pairs of runs, ours and theirs in turn.
    pairs: usize,
    /// Shorter by this.
    divisor: usize,
}

impl Asked {
    fn from_args() -> Self {
        let words: Vec<String> =
            std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
        let is_bench = std::env::args().any(|arg| arg == "--bench");
        let is_quick = words.iter().any(|word| word == "quick");
        let (pairs, divisor) = match (is_bench, is_quick) {
            (true, false) => (7, 1),
            (true, true) => (3, 4),
            // Only to see that it runs.
            (false, _) => (1, 100),
        };
        Self { words, pairs, divisor }
    }

    /// Whether a word of a group was given, or none of that group.
    fn wants(&self, group: &[&str], word: &str) -> bool {
        let given = |word: &str| self.words.iter().any(|given| given == word);
        given(word) || !group.iter().any(|other| given(other))
    }
}

const SCENARIOS: [&str; 5] = ["one-way", "ping-pong", "mixed", "setup", "idle"];
const RUNTIMES: [&str; 4] = ["tokio", "smol", "async-std", "mio"];
const SECURITIES: [&str; 2] = ["plain", "tls"];

const fn name(security: Security) -> &'static str {
    match security {
        Insecure => "plain",
        Tls => "tls",
    }
}

fn median<T: PartialOrd + Copy>(mut figures: Vec<T>) -> T {
    figures.sort_by(|one, other| one.partial_cmp(other).expect("numbers"));
    figures[figures.len() / 2]
}

/// The figure that a share of all are not above.
fn percentile(mut times: Vec<Duration>, share: f64) -> f64 {
    times.sort();
    let at = ((times.len() - 1) as f64 * share) as usize;
    times[at].as_secs_f64() * 1e6
}

/// Runs both in turn; gives the medians of both, and that of the quotients, ours by theirs.
fn in_turns(
    pairs: usize,
    mut ours: impl FnMut() -> f64,
    mut theirs: impl FnMut() -> f64,
) -> [f64; 3] {
    let (mut us, mut them, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..pairs {
        let (our, their) = (ours(), theirs());
        us.push(our);
        them.push(their);
        ratios.push(our / their);
    }
    [us, them, ratios].map(median)
}

/// One row: what it is of, ours, theirs, and the quotient.
fn row(runtime: &str, security: Security, what: &str, [ours, theirs, ratio]: [f64; 3]) {
    let digits = usize::from(ours < 100.0) + usize::from(ours < 10.0);
    // Not a number: there is nothing to compare with.
    let figure = |figure: f64, digits| {
        if figure.is_nan() { "-".to_owned() } else { format!("{figure:.digits$}") }
    };
    let [ratio, ours, theirs] = [figure(ratio, 2), figure(ours, digits), figure(theirs, digits)];
    println!("| {what} | {runtime} | {} | **{ratio}** | {ours} | {theirs} |", name(security));
}

fn one_way<P: Place>(place: P, security: Security, asked: &Asked) {
    let mut ours = Nodes::connect(place, security);
    let mut theirs = Framing::connect(place, security);
    let cases = [(128, 400_000, "messages of 128 B, 1000/s"), (1 << 20, 512, "of 1 MiB, MiB/s")];
    for (len, count, what) in cases {
        let count = count / asked.divisor;
        let message = Bytes::from(vec![7_u8; len]);
        let rate = |time: Duration| {
            let unit = if len == 128 { 1000.0 } else { 1.0 };
            count as f64 / time.as_secs_f64() / unit
        };
        // Windows and buffers find their size.
        ours.transfer(&message, count / 2);
        theirs.transfer(&message, count / 2);
        let figures = in_turns(
            asked.pairs,
            || rate(ours.transfer(&message, count)),
            || rate(theirs.transfer(&message, count)),
        );
        row(P::NAME, security, what, figures);
    }
}

fn scenarios<P: Place>(place: P, scenario: &str, security: Security, asked: &Asked) {
    let Asked { pairs, divisor, .. } = *asked;
    match scenario {
        "one-way" => one_way(place, security, asked),
        "ping-pong" => {
            let rounds = 10_000 / divisor;
            let figures = in_turns(
                pairs,
                || percentile(ping_pong::nodes(place, security, rounds), 0.5),
                || percentile(ping_pong::framing(place, security, rounds), 0.5),
            );
            row(P::NAME, security, "there and back, 128 B, p50 in µs", figures);
        }
        "mixed" => {
            let count = 1000 / divisor;
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..pairs {
                ours.push(mixed::nodes(place, security, count));
                theirs.push(mixed::framing(place, security, count));
            }
            let figures = |share| {
                let (mut ours, mut theirs) = (ours.iter(), theirs.iter());
                let next = |runs: &mut std::slice::Iter<'_, Vec<Duration>>| {
                    percentile(runs.next().expect("one for each pair").clone(), share)
                };
                in_turns(pairs, || next(&mut ours), || next(&mut theirs))
            };
            row(P::NAME, security, "128 B beside 1 MiB back to back, p50 in µs", figures(0.5));
            row(P::NAME, security, "the same, p99 in µs", figures(0.99));
        }
        "setup" => {
            let count = 200 / divisor.min(50);
            let rate = |time: Duration| count as f64 / time.as_secs_f64();
            let figures = in_turns(
                pairs,
                || rate(setup::nodes(place, security, count)),
                || rate(setup::framing(place, security, count)),
            );
            row(P::NAME, security, "connections one after another, 1/s", figures);
        }
        _ => {
            let alone = |what: &str| {
                let kib = in_process(&[P::NAME, name(security), what]);
                kib.map_or(f64::NAN, |bytes| bytes / 1024.0)
            };
            let figures =
                in_turns(if divisor == 1 { 3 } else { 1 }, || alone("nodes"), || alone("framing"));
            row(P::NAME, security, "idle connection, both ends, KiB", figures);
        }
    }
}

/// Has a process of its own measure one figure of [`idle`].
fn in_process(what: &[&str]) -> Option<f64> {
    let this = std::env::current_exe().expect("a name");
    let output = Command::new(this).arg(IDLE).args(what).output().expect("run");
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

fn idle<P: Place>(place: P, security: Security, what: &str) {
    let bytes = match (what, P::NAME) {
        ("nodes", _) => Some(idle::nodes(place, security)),
        // Where each end would need a thread, it would not be written like that.
        (_, "mio") => None,
        _ => Some(idle::framing(place, security)),
    };
    println!("{}", bytes.map_or_else(String::new, |bytes| bytes.to_string()));
}

/// Does something on each of the runtimes that are asked for.
macro_rules! on {
    ($wanted:expr, $place:ident => $what:expr) => {
        match $wanted {
            "tokio" => {
                let $place = Tokio;
                $what
            }
            "smol" => {
                let $place = Smol;
                $what
            }
            "async-std" => {
                let $place = AsyncStd;
                $what
            }
            _ => {
                let $place = Mio;
                $what
            }
        }
    };
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if std::env::var_os(THREADS[0]).is_none() {
        // Before the first thread starts.
        let mut again = Command::new(&args[0]);
        again.args(&args[1..]).envs(THREADS.map(|name| (name, "2")));
        std::process::exit(again.status().expect("run").code().unwrap_or(1));
    }
    if let Some(at) = args.iter().position(|arg| arg == IDLE) {
        let security = if args[at + 2] == "tls" { Tls } else { Insecure };
        return on!(args[at + 1].as_str(), place => idle(place, security, &args[at + 3]));
    }
    let asked = Asked::from_args();
    println!("| what | runtime | | ours / by hand | ours | by hand |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for scenario in SCENARIOS.iter().filter(|name| asked.wants(&SCENARIOS, name)) {
        for security in [Insecure, Tls] {
            if !asked.wants(&SECURITIES, name(security)) {
                continue;
            }
            for runtime in RUNTIMES.iter().filter(|name| asked.wants(&RUNTIMES, name)) {
                on!(*runtime, place => scenarios(place, scenario, security, &asked));
            }
        }
    }
}
