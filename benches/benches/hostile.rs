//! What hostile peers take from a good pair: its throughput while fifty of them attack, beside a
//! quiet one; and how long a good peer takes to connect and be served while two hundred
//! handshakes stand half-finished, beside an idle node.
//!
//! The attackers run in this process and use its processors as well: the ratios are those of a
//! machine that carries both sides. So it is printed which share of the processors' time the
//! attackers' own threads took (`theirs`), and how many messages of the good pair a second of the
//! time of the others carried, quiet and attacked: what that falls by is the work that attackers
//! make for a node.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use headwater_benches::{mio_nodes, tokio_nodes};
use headwater_conformance::Security;
use headwater_conformance::hostile::{Attack, Hostile, attack};
use headwater_core::config::Config;
use headwater_core::id::ProtocolId;
use rustix::thread::gettid;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;

const ATTACKERS: usize = 50;
const HALF_FINISHED: usize = 200;
const ROUNDS: usize = 5;

/// Payload length and messages a transfer.
const CASES: [(usize, usize); 2] = [(128, 100_000), (1 << 16, 2_000)];

fn config() -> Config {
    let mut config = Config::default();
    // All of them find a place.
    config.peers_max = ATTACKERS + HALF_FINISHED;
    config.pending_max = 2 * HALF_FINISHED;
    config
}

/// A good pair on one of the adapters.
enum Pair {
    Tokio(Runtime, tokio_nodes::Nodes),
    Mio(mio_nodes::Nodes),
}

impl Pair {
    fn on_tokio() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime");
        let nodes = runtime.block_on(tokio_nodes::Nodes::connect_with(
            headwater_benches::Security::Insecure,
            config(),
        ));
        Self::Tokio(runtime, nodes)
    }

    fn on_mio() -> Self {
        Self::Mio(mio_nodes::Nodes::connect_with(headwater_benches::Security::Insecure, config()))
    }

    const fn address(&self) -> SocketAddr {
        match self {
            Self::Tokio(_, nodes) => nodes.address(),
            Self::Mio(nodes) => nodes.address(),
        }
    }

    fn transfer(&mut self, message: &Bytes, count: usize) -> f64 {
        let start = Instant::now();
        match self {
            Self::Tokio(runtime, nodes) => runtime.block_on(nodes.transfer(message, count)),
            Self::Mio(nodes) => nodes.transfer(message, count),
        }
        count as f64 / start.elapsed().as_secs_f64()
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Processor time in seconds, of this thread or of the whole process.
fn processor_time(clock: ClockId) -> f64 {
    let spent = clock_gettime(clock);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}

/// What transfers came to.
struct Measured {
    /// Messages a second, the median of the rounds.
    rate: f64,
    /// Messages for each second of processor time that was not the attackers'.
    per_cpu: f64,
    /// The attackers' share of the processor time.
    theirs: f64,
}

/// Rounds of transfers, while nobody or these attack.
fn rounds(pair: &mut Pair, message: &Bytes, count: usize, attackers: &Attackers) -> Measured {
    let (before, theirs_before) = (processor_time(ClockId::ProcessCPUTime), attackers.time());
    let rates = (0..ROUNDS).map(|_| pair.transfer(message, count)).collect();
    let all = processor_time(ClockId::ProcessCPUTime) - before;
    let theirs = attackers.time() - theirs_before;
    Measured {
        rate: median(rates),
        per_cpu: (ROUNDS * count) as f64 / (all - theirs).max(1e-6),
        theirs: theirs / all.max(1e-6),
    }
}

/// The threads that attack, by their numbers with the system.
#[derive(Default)]
struct Attackers(Mutex<Vec<u32>>);

impl Attackers {
    /// This thread is one.
    fn join(&self) {
        let thread = u32::try_from(gettid().as_raw_nonzero().get()).expect("a number");
        self.0.lock().expect("nobody panicked").push(thread);
    }

    /// Their processor time so far, in seconds.
    fn time(&self) -> f64 {
        let threads = self.0.lock().expect("nobody panicked");
        let times = threads.iter().filter_map(|thread| {
            let stat =
                std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
            stat.split(' ').next()?.parse::<u64>().ok()
        });
        times.sum::<u64>() as f64 / 1e9
    }
}

/// A pair: quiet, and under attack; and how many links the attackers made.
fn throughput(pair: &mut Pair, len: usize, count: usize) -> (Measured, Measured, u64) {
    let message = Bytes::from(vec![7; len]);
    let target = (pair.address(), Security::Insecure);
    // They speak a protocol that nobody reads, so that only the pair's messages are counted.
    let protocol = ProtocolId::new("/hostile").expect("a name");
    pair.transfer(&message, count / 10);
    let attackers = Attackers::default();
    let quiet = rounds(pair, &message, count, &attackers);
    let (over, links) = (AtomicBool::new(false), AtomicU64::new(0));
    let attacked = std::thread::scope(|scope| {
        for number in 0..ATTACKERS {
            let how = Attack::ALL[number % Attack::ALL.len()];
            let (over, links, protocol, attackers) = (&over, &links, &protocol, &attackers);
            scope.spawn(move || {
                attackers.join();
                attack(how, target, &format!("attacker {number}"), protocol, over, links);
            });
        }
        std::thread::sleep(Duration::from_secs(1));
        let attacked = rounds(pair, &message, count, &attackers);
        over.store(true, Ordering::SeqCst);
        attacked
    });
    (quiet, attacked, links.load(Ordering::SeqCst))
}

/// Milliseconds from the dial until a message of the one that dialled has arrived.
fn service(target: SocketAddr) -> f64 {
    let times = (0..ROUNDS * 3).map(|round| {
        let start = Instant::now();
        let name = format!("good {round}");
        let mut peer =
            Hostile::open(target, Security::Insecure, &name, &["/bench"]).expect("a link");
        // A stream that is accepted has been served.
        peer.message(1, &ProtocolId::new("/unread").expect("a name"), b"hello");
        let served = peer.listen_until(Duration::from_secs(10), |peer| peer.was_accepted(1));
        assert!(served, "the good peer is not served within its deadline");
        start.elapsed().as_secs_f64() * 1e3
    });
    median(times.collect())
}

/// The same on an idle node, and while handshakes are pending: silent, half an id, no exchange.
fn handshakes(pair: &Pair) -> (f64, f64) {
    let target = pair.address();
    let idle = service(target);
    let pending: Vec<Hostile> = (0..HALF_FINISHED)
        .map(|number| {
            let name = format!("half {number}");
            let mut peer = Hostile::connect(target, Security::Insecure, &name).expect("a link");
            let words = peer.first_words();
            match number % 3 {
                0 => {}
                1 => peer.raw(&words[..23]),
                _ => peer.raw(&words),
            }
            peer
        })
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    let busy = service(target);
    drop(pending);
    (idle, busy)
}

fn ratios() {
    println!("\nthroughput of a good pair while {ATTACKERS} hostile links attack, plain TCP");
    println!(
        "{:<8} {:>9} {:>12} {:>10} {:>6} {:>7} {:>7} {:>13} {:>10} {:>6}",
        "runtime",
        "payload",
        "quiet msg/s",
        "attacked",
        "ratio",
        "links",
        "theirs",
        "quiet msg/cpu",
        "attacked",
        "ratio"
    );
    for (name, make) in [("tokio", Pair::on_tokio as fn() -> Pair), ("mio", Pair::on_mio)] {
        for (len, count) in CASES {
            let (quiet, attacked, links) = throughput(&mut make(), len, count);
            println!(
                "{name:<8} {len:>9} {:>12.0} {:>10.0} {:>6.2} {links:>7} {:>6.0}% {:>13.0} {:>10.0} \
                 {:>6.2}",
                quiet.rate,
                attacked.rate,
                attacked.rate / quiet.rate,
                attacked.theirs * 100.0,
                quiet.per_cpu,
                attacked.per_cpu,
                attacked.per_cpu / quiet.per_cpu,
            );
        }
    }
    println!("\nconnect and be served with {HALF_FINISHED} handshakes pending, plain TCP");
    println!("{:<8} {:>9} {:>9} {:>7}", "runtime", "idle ms", "busy ms", "ratio");
    for (name, make) in [("tokio", Pair::on_tokio as fn() -> Pair), ("mio", Pair::on_mio)] {
        let (idle, busy) = handshakes(&make());
        println!("{name:<8} {idle:>9.2} {busy:>9.2} {:>7.2}", busy / idle);
    }
}

fn main() {
    // `cargo test --benches` only sees that it is built.
    if std::env::args().any(|arg| arg == "--bench") {
        ratios();
    }
}
