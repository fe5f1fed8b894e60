//! One-way over loopback TCP, plain and over TLS, on both adapters, beside hand-written framing on
//! the same runtime (over TLS: tokio-rustls for both adapters). A fresh payload for each message,
//! one `send` for each, counted at the receiver.
//!
//! After criterion's figures the pairs are run in turn, A B A B, and the ratio of the median of
//! seven pairs is printed: the figure to compare between machines. `-- only=NAME` leaves criterion
//! out, and all runtimes but one.

#![allow(missing_docs, reason = "what the macro makes has none")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use headwater_benches::Security::{self, Insecure, Tls};
use headwater_benches::tokio_framing::Framing;
use headwater_benches::{mio_framing, mio_nodes, mio_turns, tokio_nodes};
use headwater_core::secure::ChannelFactory;
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;

/// Payload length, messages a transfer, and the ratio that is asked for.
const CASES: [(usize, usize, f64); 2] = [(128, 400_000, 0.5), (1 << 20, 512, 0.9)];
const PAIRS: usize = 7;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Something that moves `count` messages and returns when all have been received.
trait Subject {
    fn transfer(&mut self, message: &Bytes, count: usize);
}

struct TokioFraming<S>(Runtime, Option<Framing<S>>);
struct TokioNodes(Runtime, tokio_nodes::Nodes);
struct MioFraming(mio_framing::Framing);
struct MioNodes(mio_nodes::Nodes);
struct MioTurns<F: ChannelFactory>(mio_turns::Turns<F>);

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Subject for TokioFraming<S> {
    fn transfer(&mut self, message: &Bytes, count: usize) {
        let framing = self.1.take().expect("put back");
        self.1 = Some(self.0.block_on(framing.transfer(message.clone(), count)));
    }
}

impl Subject for TokioNodes {
    fn transfer(&mut self, message: &Bytes, count: usize) {
        self.0.block_on(self.1.transfer(message, count));
    }
}

impl Subject for MioFraming {
    fn transfer(&mut self, message: &Bytes, count: usize) {
        self.0.transfer(message, count);
    }
}

impl Subject for MioNodes {
    fn transfer(&mut self, message: &Bytes, count: usize) {
        self.0.transfer(message, count);
    }
}

impl<F: ChannelFactory + Send> Subject for MioTurns<F>
where
    F::Channel: Send,
{
    fn transfer(&mut self, message: &Bytes, count: usize) {
        self.0.transfer(message, count);
    }
}

/// The name of the runtime, ours, and the ceiling on the same runtime.
type Subjects = (&'static str, Box<dyn Subject>, Box<dyn Subject>);

fn tokio_nodes(security: Security) -> Box<dyn Subject> {
    let runtime = runtime();
    let nodes = runtime.block_on(tokio_nodes::Nodes::connect(security));
    Box::new(TokioNodes(runtime, nodes))
}

fn plain_framing() -> Box<dyn Subject> {
    let runtime = runtime();
    let framing = runtime.block_on(Framing::connect());
    Box::new(TokioFraming(runtime, Some(framing)))
}

fn tls_framing() -> Box<dyn Subject> {
    let runtime = runtime();
    let framing = runtime.block_on(Framing::connect_tls());
    Box::new(TokioFraming(runtime, Some(framing)))
}

fn mio_framing() -> Box<dyn Subject> {
    Box::new(MioFraming(mio_framing::Framing::connect()))
}

fn mio_nodes(security: Security) -> Box<dyn Subject> {
    Box::new(MioNodes(mio_nodes::Nodes::connect(security)))
}

const RUNTIMES: [&str; 5] = ["tokio", "mio", "mio thread", "tokio tls", "mio tls"];

fn subjects(runtime: &'static str) -> Subjects {
    let (ours, ceiling): (Box<dyn Subject>, _) = match runtime {
        "tokio" => (tokio_nodes(Insecure), plain_framing()),
        "mio" => (Box::new(MioTurns(mio_turns::Turns::insecure())), mio_framing()),
        "mio thread" => (mio_nodes(Insecure), mio_framing()),
        "tokio tls" => (tokio_nodes(Tls), tls_framing()),
        _ => (Box::new(MioTurns(mio_turns::Turns::tls())), tls_framing()),
    };
    (runtime, ours, ceiling)
}

fn one_way(criterion: &mut Criterion) {
    let mut subjects = RUNTIMES.map(subjects);
    for (len, count, _) in CASES {
        let message = Bytes::from(vec![7_u8; len]);
        let count = count / 8;
        let mut group = criterion.benchmark_group(format!("loopback/{len}"));
        group.throughput(Throughput::Bytes((len * count) as u64)).sample_size(10);
        for (name, ours, ceiling) in &mut subjects {
            for (what, subject) in [("headwater", ours), ("framing", ceiling)] {
                group.bench_function(BenchmarkId::new(what, *name), |bencher| {
                    bencher.iter(|| subject.transfer(&message, count));
                });
            }
        }
        group.finish();
    }
}

/// Seconds on the wall and seconds of processors that a transfer takes.
fn seconds(subject: &mut dyn Subject, message: &Bytes, count: usize) -> (f64, f64) {
    let (start, before) = (Instant::now(), processor_seconds());
    subject.transfer(message, count);
    let wall = start.elapsed().max(Duration::from_nanos(1)).as_secs_f64();
    (wall, processor_seconds() - before)
}

/// What the process has used of processors, user and system.
fn processor_seconds() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

fn ratios(only: Option<&str>) {
    println!(
        "\nheadwater / hand-written framing, loopback TCP, median of {PAIRS} alternating pairs"
    );
    println!("(ns: of all processors, a message, hand-written and then ours)");
    let head = ["payload", "ratio", "range", "asked", "ns theirs", "ns ours"];
    println!(
        "{:<10} {:>9} {:>7} {:>13} {:>7} {:>11} {:>11}",
        "runtime", head[0], head[1], head[2], head[3], head[4], head[5]
    );
    for name in RUNTIMES.into_iter().filter(|name| only.is_none_or(|only| only == *name)) {
        let (_, mut ours, mut ceiling) = subjects(name);
        for (len, count, asked) in CASES {
            let message = Bytes::from(vec![7_u8; len]);
            ours.transfer(&message, count);
            ceiling.transfer(&message, count);
            let mut ratios = Vec::new();
            let mut used = [0.0; 2];
            for _ in 0..PAIRS {
                let (our_wall, our_used) = seconds(ours.as_mut(), &message, count);
                let (wall, their_used) = seconds(ceiling.as_mut(), &message, count);
                ratios.push(wall / our_wall);
                used = [used[0] + their_used, used[1] + our_used];
            }
            ratios.sort_by(f64::total_cmp);
            let range = format!("{:.2}..{:.2}", ratios[0], ratios[PAIRS - 1]);
            let median = ratios[PAIRS / 2];
            let [theirs, ours] = used.map(|seconds| seconds * 1e9 / (PAIRS * count) as f64);
            println!(
                "{name:<10} {len:>9} {median:>7.2} {range:>13} {asked:>7.2} {theirs:>11.0} {ours:>11.0}"
            );
        }
    }
}

criterion_group!(benches, one_way);

fn main() {
    if let Some(only) = std::env::args().find_map(|arg| Some(arg.strip_prefix("only=")?.to_owned()))
    {
        return ratios(Some(&only));
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
    // `cargo test --benches` and `--test` only see that it runs.
    let timed = |arg: &str| std::env::args().any(|other| other == arg);
    if timed("--bench") && !timed("--profile-time") {
        ratios(None);
    }
}
