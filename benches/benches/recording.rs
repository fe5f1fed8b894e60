//! What a flight recorder costs: nodes on tokio, one way over loopback TCP, not recorded, recorded
//! at both ends, and recorded with payloads.
//!
//! The three take turns, A B C A B C, and medians of their ratios to the one that is not recorded
//! are printed: of the time that passes, and of the processor time of the whole process, which says
//! more on a machine that does other things, too.

#![allow(missing_docs, reason = "a program")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use headwater_benches::Security::{self, Insecure, Tls};
use headwater_benches::tokio_nodes::Nodes;
use headwater_core::config::Config;
use headwater_recorder::{Options, Recorder};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;

/// Payload length, and messages of a transfer.
const CASES: [(usize, usize); 2] = [(128, 300_000), (4096, 60_000)];
const TURNS: usize = 9;

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Two nodes, and how to have them recorded.
struct Subject {
    runtime: Runtime,
    nodes: Nodes,
}

impl Subject {
    fn new(security: Security, recorded: Option<bool>) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime");
        let recorder =
            || recorded.map(|payloads| Recorder::new(Options { payloads, ..Options::default() }));
        let recorders = [recorder(), recorder()];
        let nodes = Nodes::connect_recorded(security, Config::default(), recorders);
        let nodes = runtime.block_on(nodes);
        Self { runtime, nodes }
    }

    /// Time that passes and processor time of one transfer, in seconds.
    fn transfer(&mut self, message: &Bytes, count: usize) -> [f64; 2] {
        let (start, cpu) = (Instant::now(), cpu_time());
        self.runtime.block_on(self.nodes.transfer(message, count));
        [start.elapsed().as_secs_f64(), (cpu_time() - cpu).as_secs_f64()]
    }
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn main() {
    println!("cost of recording at both ends: time, processor time");
    for security in [Insecure, Tls] {
        let mut off = Subject::new(security, None);
        let mut on = Subject::new(security, Some(false));
        let mut all = Subject::new(security, Some(true));
        for (len, count) in CASES {
            let message = Bytes::from(vec![7; len]);
            let mut ratios = [const { Vec::new() }; 4];
            let mut rate = Vec::new();
            for turn in 0..=TURNS {
                let [off, on, all] =
                    [&mut off, &mut on, &mut all].map(|subject| subject.transfer(&message, count));
                if turn == 0 {
                    // Memory comes, and windows grow.
                    continue;
                }
                rate.push(count as f64 / off[0]);
                for (ratios, ratio) in ratios.iter_mut().zip([
                    on[0] / off[0],
                    on[1] / off[1],
                    all[0] / off[0],
                    all[1] / off[1],
                ]) {
                    ratios.push(ratio);
                }
            }
            let [time, cpu, time_all, cpu_all] =
                ratios.map(|ratios| format!("{:+.1} %", (median(ratios) - 1.0) * 100.0));
            println!(
                "{security:?} {len:>5} B, {:.0} messages/s: {time}, {cpu}; with payloads {time_all}, \
                 {cpu_all}",
                median(rate),
            );
        }
    }
}
