//! What a seed stands for: the nodes, the network, the load and the faults of one run.
//!
//! Each seed has its own mixture. Faults that always come together hide each other, so most
//! seeds leave some kinds out, and how often the others come differs by orders of magnitude.

use std::time::Duration;

use headwater_core::config::Config;
use headwater_core::peers::Elimination;
use headwater_core::supervisor::BackoffKind;

use crate::Options;
use crate::draw::Draw;
use crate::event::Fault;

/// How a node's machines are driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each node is one `Endpoint`, as in a single-owner loop.
    Whole,
    /// Each node is a `Node` and its `Connection`s, each on a task of its own, with mailboxes
    /// that are delivered late and in any order, as in an adapter with many tasks.
    Apart,
}

/// What secures the links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Nothing: ids are said in clear.
    Plain,
    /// Records with a handshake, output of their own, and an end that is announced.
    Record,
}

/// Everything that a run depends on, besides the chances drawn while it goes.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) mode: Mode,
    pub(crate) channel: Channel,
    pub(crate) config: Config,
    /// How long faults come.
    pub(crate) storm: Duration,
    /// Whom each node has to be connected with, as far as it has to see to it.
    pub(crate) required: Vec<Vec<usize>>,
    pub(crate) links: Links,
    pub(crate) tasks: Tasks,
    pub(crate) load: Load,
    pub(crate) faults: Faults,
    /// A deep check of one node's machines once in so many of its rounds.
    pub(crate) deep_every: u64,
}

/// What a link is drawn from.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    pub(crate) latency: (Duration, Duration),
    pub(crate) jitter: Duration,
    /// Bytes a second.
    pub(crate) bandwidth: (u64, u64),
    /// Bytes that a direction holds, written and not read.
    pub(crate) buffer: (u64, u64),
    /// In a hundred links, those whose reads and writes are cut short.
    pub(crate) cut_percent: u64,
}

/// How late tasks run after they were woken.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    pub(crate) usual: Duration,
    pub(crate) late_one_in: u64,
    pub(crate) late: Duration,
}

/// What applications do.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Between two deeds of one application, on average.
    pub(crate) pause: Duration,
    /// In a thousand messages, those of up to 20 KiB, and of up to 300 KiB.
    pub(crate) medium: u64,
    pub(crate) large: u64,
}

/// How often each kind of fault comes in the whole network, on average; `None` is never.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) reset: Option<Duration>,
    pub(crate) cut_off: Option<Duration>,
    pub(crate) stall: Option<Duration>,
    pub(crate) black_hole: Option<Duration>,
    pub(crate) slow_link: Option<Duration>,
    pub(crate) partition: Option<Duration>,
    pub(crate) kill: Option<Duration>,
    pub(crate) power_off: Option<Duration>,
    pub(crate) restart: Option<Duration>,
    pub(crate) freeze: Option<Duration>,
    pub(crate) clock: Option<Duration>,
    pub(crate) slow_application: Option<Duration>,
    pub(crate) disconnect: Option<Duration>,
    pub(crate) block: Option<Duration>,
}

impl Faults {
    /// The kinds that come, and how often.
    pub(crate) fn all(&self) -> Vec<(Fault, Duration)> {
        let all = [
            (Fault::Reset, self.reset),
            (Fault::CutOff, self.cut_off),
            (Fault::Stall, self.stall),
            (Fault::BlackHole, self.black_hole),
            (Fault::SlowLink, self.slow_link),
            (Fault::Partition, self.partition),
            (Fault::Kill, self.kill),
            (Fault::PowerOff, self.power_off),
            (Fault::Restart, self.restart),
            (Fault::Freeze, self.freeze),
            (Fault::Clock, self.clock),
            (Fault::SlowApplication, self.slow_application),
            (Fault::Disconnect, self.disconnect),
            (Fault::Block, self.block),
        ];
        all.into_iter().filter_map(|(fault, mean)| Some((fault, mean?))).collect()
    }
}

/// The farthest that a clock jumps.
pub(crate) const JUMP_MAX: Duration = Duration::from_secs(20);

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

impl Scenario {
    /// What the seed of `options` stands for.
    pub(crate) fn new(options: &Options) -> Self {
        let mut draw = Draw::new(options.seed, "scenario", 0);
        // All four combinations come in any four seeds in a row.
        let mode = if options.seed % 2 == 0 { Mode::Whole } else { Mode::Apart };
        let channel = if options.seed / 2 % 2 == 0 { Channel::Plain } else { Channel::Record };
        let required = required(options.nodes, &mut draw);
        let config = config(&required, channel, &mut draw);
        Self {
            seed: options.seed,
            mode: options.mode.unwrap_or(mode),
            channel: options.channel.unwrap_or(channel),
            config,
            storm: options.time,
            required,
            links: links(options, &mut draw),
            tasks: tasks(&mut draw),
            load: load(options, &mut draw),
            faults: match (options.faults, draw.one_in(10)) {
                (false, _) => Faults::default(),
                (true, false) => faults(options.nodes, &mut draw),
                (true, true) => gentle(options.nodes, &mut draw),
            },
            deep_every: options.deep_every,
        }
    }

    pub(crate) fn nodes(&self) -> usize {
        self.required.len()
    }
}

/// A ring, so that everybody can be reached, and some more edges; each one is seen to by one of
/// its ends or by both.
fn required(nodes: usize, draw: &mut Draw) -> Vec<Vec<usize>> {
    let mut edges = vec![Vec::new(); nodes];
    let degree = draw.between(0, 3) as usize;
    let mutual = *draw.pick(&[0, 30, 100]).unwrap_or(&0);
    for node in 0..nodes {
        let mut wanted = vec![(node + 1) % nodes];
        wanted.extend((0..draw.below(degree + 1)).map(|_| draw.below(nodes)));
        for other in wanted {
            let known = |edges: &[Vec<usize>]| edges[node].contains(&other);
            if other == node || known(&edges) || edges[other].contains(&node) {
                continue;
            }
            edges[node].push(other);
            if draw.chance(mutual) {
                edges[other].push(node);
            }
        }
    }
    edges
}

/// With how many others each node is to be connected.
pub(crate) fn degrees(required: &[Vec<usize>]) -> Vec<usize> {
    let mut degrees = vec![0; required.len()];
    for (node, others) in required.iter().enumerate() {
        for other in others {
            degrees[node] += 1;
            if !required[*other].contains(&node) {
                degrees[*other] += 1;
            }
        }
    }
    degrees
}

fn config(required: &[Vec<usize>], channel: Channel, draw: &mut Draw) -> Config {
    let degree = degrees(required).into_iter().max().unwrap_or(1);
    let mut config = Config::default();
    config.peers_max = if draw.chance(30) { degree } else { degree.max(20) };
    config.connections_per_peer_max = if draw.chance(25) { 2 } else { 1 };
    config.send_streams_initial = draw.between(1, 10) as usize;
    config.message_max = 1 << 20;
    if draw.chance(40) {
        // Little room everywhere.
        config.outbox_max = 8 << 10;
        config.output_max = 16 << 10;
        config.inbox_max = 8 << 10;
        config.slab = if channel == Channel::Plain { 4 << 10 } else { 34 << 10 };
        config.slabs_max = 6;
        config.assembly_max = 1 << 20;
        config.leases_max = 8 << 20;
        config.message_max = 400 << 10;
        config.send_streams_max = 16;
        config.receive_streams_max = 32;
        config.send_streams_initial = config.send_streams_initial.min(5);
        config.pending_max = 8;
        config.dials_max = 64;
    }
    if draw.chance(30) {
        // Little time.
        config.keep_alive = Duration::from_secs(3);
        config.pong_deadline = Duration::from_secs(4);
        config.handshake_deadline = Duration::from_secs(4);
        config.exchange_deadline = Duration::from_secs(5);
        config.dial_deadline = Duration::from_secs(8);
        config.send_deadline = Duration::from_secs(6);
        config.close_deadline = Duration::from_secs(2);
    }
    config.compress = draw.chance(10);
    if draw.chance(50) {
        config.backoff.ceiling = Duration::from_secs(draw.between(2, 20));
        let kinds = [BackoffKind::Fibonacci, BackoffKind::Exponential, BackoffKind::Constant];
        config.backoff.kind = *draw.pick(&kinds).unwrap_or(&BackoffKind::Fibonacci);
    }
    let eliminations = [Elimination::LastIn, Elimination::FirstIn, Elimination::Random];
    config.elimination = *draw.pick(&eliminations).unwrap_or(&Elimination::LastIn);
    config
}

fn links(options: &Options, draw: &mut Draw) -> Links {
    // Whatever applications say has room on any link: one that cannot carry it loses messages.
    let least = (options.rate * 20_000.0).max(50_000.0) as u64;
    let far = draw.chance(50);
    Links {
        latency: (MILLI / 20, if far { 150 * MILLI } else { 5 * MILLI }),
        jitter: *draw.pick(&[Duration::ZERO, MILLI, 30 * MILLI]).unwrap_or(&MILLI),
        bandwidth: *draw
            .pick(&[(least, 20 * least), (20 * least, 2000 * least)])
            .unwrap_or(&(1, 1)),
        buffer: *draw.pick(&[(2 << 10, 16 << 10), (64 << 10, 256 << 10)]).unwrap_or(&(1, 1)),
        cut_percent: *draw.pick(&[0, 10, 100]).unwrap_or(&0),
    }
}

fn tasks(draw: &mut Draw) -> Tasks {
    Tasks {
        usual: draw.any_scale(Duration::from_micros(1), MILLI),
        late_one_in: *draw.pick(&[10, 200, 5000]).unwrap_or(&200),
        late: draw.any_scale(10 * MILLI, 2 * SECOND),
    }
}

fn load(options: &Options, draw: &mut Draw) -> Load {
    let large = draw.chance(30);
    Load {
        pause: SECOND.div_f64(options.rate.max(0.001)),
        medium: if large { 50 } else { 10 },
        large: if large { 10 } else { 1 },
    }
}

/// Means are for the whole network: what hits one link in so many seconds hits one of many links
/// more often.
fn faults(nodes: usize, draw: &mut Draw) -> Faults {
    // What comes to each node, or to each of its links, once in so long.
    let mut often = |low: u64, high: u64, percent: u64| {
        let mean = draw.any_scale(Duration::from_secs(low), Duration::from_secs(high));
        draw.chance(percent).then(|| mean / u32::try_from(nodes).unwrap_or(1).max(1))
    };
    Faults {
        reset: often(20, 600, 70),
        cut_off: often(40, 1200, 50),
        stall: often(20, 300, 60),
        black_hole: often(60, 1200, 60),
        slow_link: often(60, 600, 40),
        partition: often(600, 6000, 60),
        kill: often(100, 2000, 60),
        power_off: often(200, 4000, 50),
        restart: often(200, 4000, 50),
        freeze: often(60, 1200, 50),
        clock: often(60, 1200, 40),
        slow_application: often(40, 600, 60),
        disconnect: often(100, 2000, 50),
        block: often(100, 2000, 30),
    }
}

/// Only what applications do themselves: nothing that they ask for makes messages vanish.
fn gentle(nodes: usize, draw: &mut Draw) -> Faults {
    let nodes = u32::try_from(nodes).unwrap_or(1).max(1);
    let mut often = |percent: u64| {
        let mean = draw.any_scale(Duration::from_secs(10), Duration::from_secs(200));
        draw.chance(percent).then(|| mean / nodes)
    };
    Faults {
        disconnect: often(100),
        restart: often(50),
        slow_application: often(50),
        ..Faults::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_makes_a_valid_configuration_and_a_connected_network() {
        for seed in 0..400 {
            let scenario = Scenario::new(&Options { seed, nodes: 9, ..Options::default() });
            assert_eq!(scenario.config.validate(), Ok(()), "seed {seed}");
            for (node, others) in scenario.required.iter().enumerate() {
                assert!(!others.contains(&node));
                let next = (node + 1) % 9;
                assert!(others.contains(&next) || scenario.required[next].contains(&node));
            }
            let degrees = degrees(&scenario.required);
            assert!(degrees.iter().all(|degree| *degree <= scenario.config.peers_max));
        }
    }

    #[test]
    fn four_seeds_in_a_row_have_all_combinations() {
        let mut seen = Vec::new();
        for seed in 8..12 {
            let scenario = Scenario::new(&Options { seed, ..Options::default() });
            assert!(!seen.contains(&(scenario.mode, scenario.channel)));
            seen.push((scenario.mode, scenario.channel));
        }
    }
}
