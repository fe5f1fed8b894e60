//! One node on tokio with up to ten thousand live connections; its peers are nodes of a second
//! process. Prints markdown, a row for each number of connections, each in processes of their
//! own: what one connection keeps resident, what it costs while nothing is said, what a message
//! costs when ten of them are in use and when all are, and how long they take to come and to go.
//!
//! `cargo bench -p headwater-benches --bench scale`; words behind `--` choose `plain` or `tls`,
//! `one` for a single thread, and one number of connections.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use headwater_benches::runtimes::idle::resident;
use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::id::ProtocolId;
use headwater_identity::NodeKey;
use headwater_tokio::{Builder, Node, Sender, Started};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;

const STEPS: [usize; 5] = [10, 100, 1000, 3000, 10_000];

/// Until nothing is left to do, and then so long while nothing is said.
const SETTLE: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(5);

const MESSAGES: usize = 200_000;

/// So many dials of the other process are under way at once.
const AT_ONCE: usize = 32;

/// So many connections are in use, where not all are.
const ACTIVE: usize = 10;

/// Makes this program the process of one row, and that of its peers.
const ROW: &str = "--row";
const PEERS: &str = "--peers";

/// This program again.
fn again<const N: usize>(words: [&str; N]) -> Command {
    let mut command = Command::new(std::env::args_os().next().expect("a name"));
    command.args(words);
    command
}

fn protocol() -> ProtocolId {
    ProtocolId::new("/bench").expect("an id")
}

fn runtime(threads: usize) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(threads).enable_all().build().expect("a runtime")
}

fn start(is_secure: bool, config: Config) -> Started {
    let key = NodeKey::generate().expect("randomness");
    let started = if is_secure {
        Builder::new(&key).and_then(|builder| builder.config(config).start())
    } else {
        Builder::insecure(key.peer_id()).and_then(|builder| builder.config(config).start())
    };
    started.expect("started")
}

/// Processor time of this process.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("below 10^9"))
}

/// The other process: makes peers until there are as many as a line of its input says, answers
/// `ok`, and ends all at the end of its input.
fn peers(address: SocketAddr, is_secure: bool) {
    runtime(2).block_on(async {
        let mut nodes: Vec<Node> = Vec::new();
        for line in std::io::stdin().lines() {
            let wanted: usize = line.expect("read").trim().parse().expect("a number");
            let mut dials = JoinSet::new();
            while nodes.len() < wanted {
                while dials.len() < AT_ONCE && nodes.len() + dials.len() < wanted {
                    dials.spawn(peer(address, is_secure));
                }
                nodes.push(dials.join_next().await.expect("one").expect("no panic"));
            }
            println!("ok");
        }
        let mut stops = JoinSet::new();
        for node in nodes {
            stops.spawn(async move { node.stop().await });
        }
        stops.join_all().await;
    });
}

/// A node that is connected, and swallows what comes.
async fn peer(address: SocketAddr, is_secure: bool) -> Node {
    let Started { node, mut messages, notifications } = start(is_secure, Config::default());
    node.register(protocol()).await.expect("registered");
    node.dial(Address::from(address)).await.expect("connected");
    tokio::spawn(async move {
        let _kept = notifications;
        while messages.recv().await.is_some() {}
    });
    node
}

/// The process of the peers, as the measured one sees it.
struct Others {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Others {
    fn start(address: SocketAddr, security: &str) -> Self {
        let mut process = again([PEERS, &address.to_string(), security])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let input = process.stdin.take().expect("piped");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        Self { process, input, output }
    }

    fn grow(&mut self, peers: usize) {
        writeln!(self.input, "{peers}").expect("it runs");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it runs");
        assert_eq!(line, "ok\n", "it connects all");
    }
}

/// Waits until so many peers are connected.
fn reach(node: &Node, peers: usize) {
    let begun = Instant::now();
    while node.peers().len() != peers {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} peers", node.peers().len());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Messages to one peer after another, of so many; gives microseconds of work for each.
fn send_around(runtime: &tokio::runtime::Runtime, node: &Node, active: usize) -> f64 {
    let peers = node.peers();
    let mut senders: Vec<Sender> = peers
        .iter()
        .take(active)
        .map(|peer| node.sender(peer, &protocol()).expect("it supports that"))
        .collect();
    let threads = runtime.metrics().num_workers();
    let share = senders.len().div_ceil(threads);
    let rounds = MESSAGES / senders.len();
    let sent = rounds * senders.len();
    let before = worked();
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        while !senders.is_empty() {
            let some = senders.split_off(senders.len().saturating_sub(share));
            tasks.spawn(send_to_each(some, rounds));
        }
        tasks.join_all().await;
    });
    (worked() - before).as_secs_f64() * 1e6 / sent as f64
}

async fn send_to_each(mut senders: Vec<Sender>, rounds: usize) {
    for _ in 0..rounds {
        for sender in &mut senders {
            sender.send_wait(Bytes::copy_from_slice(&[7; 128])).await.expect("sent");
        }
    }
}

/// Measures one row, in a process that has done nothing else.
fn row(security: &str, threads: usize, peers: usize) {
    let is_secure = security == "tls";
    let runtime = runtime(threads);
    let _inside = runtime.enter();
    let mut config = Config::default();
    config.peers_max = peers;
    config.pending_per_source_max = config.pending_max;
    let Started { node, notifications, messages } = start(is_secure, config);
    let _kept = (notifications, messages);
    runtime.block_on(node.register(protocol())).expect("registered");
    let address = runtime.block_on(node.listen(([127, 0, 0, 1], 0).into())).expect("listening");
    let mut others = Others::start(address, security);
    let empty = resident();
    let begun = Instant::now();
    others.grow(peers);
    reach(&node, peers);
    let setup = begun.elapsed().as_secs_f64() * 1e6 / peers as f64;
    std::thread::sleep(SETTLE);
    let each = resident().saturating_sub(empty) as f64 / 1024.0 / peers as f64;
    let before = worked();
    std::thread::sleep(IDLE);
    let idle = (worked() - before).as_secs_f64() * 1e6 / IDLE.as_secs_f64() / peers as f64;
    let few = send_around(&runtime, &node, ACTIVE);
    let all = send_around(&runtime, &node, usize::MAX);
    let begun = Instant::now();
    drop(others.input);
    reach(&node, 0);
    let gone = begun.elapsed().as_secs_f64() * 1e6 / peers as f64;
    others.process.wait().expect("it ends");
    println!(
        "| {security} | {threads} | {peers} | {each:.1} | {idle:.2} | {few:.2} | {all:.2} | \
         {setup:.0} | {gone:.0} |"
    );
    runtime.block_on(node.stop());
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let texts: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse().expect("a number");
    match texts.as_slice() {
        [PEERS, address, security] => {
            return peers(address.parse().expect("an address"), *security == "tls");
        }
        [ROW, security, threads, peers] => return row(security, number(threads), number(peers)),
        _ => {}
    }
    // Without `--bench` it is only seen that it runs.
    let steps: &[usize] = if texts.contains(&"--bench") { &STEPS } else { &STEPS[..1] };
    let asked = texts.iter().find_map(|word| word.parse().ok());
    let steps = asked.as_ref().map_or(steps, std::slice::from_ref);
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    println!(
        "| security | threads | connections | KiB of one | \u{b5}s a second of an idle one | \
         \u{b5}s of work a message, among ten | among all | \u{b5}s to come | to go |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    );
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = if texts.contains(&"one") { 1 } else { cores }.to_string();
    for security in ["plain", "tls"] {
        let others = if security == "tls" { "plain" } else { "tls" };
        for step in steps.iter().filter(|_| !texts.contains(&others)) {
            assert!(files > *step as u64 + 100, "{files} descriptors are too few: ulimit -n");
            let status = again([ROW, security, &threads, &step.to_string()]).status();
            assert!(status.expect("started").success(), "a row of {step} connections");
        }
    }
}
