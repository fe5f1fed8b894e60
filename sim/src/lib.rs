//! Many nodes in one thread and in virtual time, on a network that fails as a seed says.
//!
//! A run is decided by its [`Options`] alone: the same ones give the same run, step by step.
//! Half of the seeds drive each node as one `Endpoint`, the others drive a `Node` and its
//! `Connection`s apart, whose mailboxes the seed delays and interleaves; half of each go over
//! plain links, the others over a channel of records. After every step it is checked that
//! nothing was promised and not kept; then faults stop, and the network has to heal within a
//! bound that follows from the configuration.
//!
//! ```
//! use std::time::Duration;
//!
//! use headwater_sim::{Options, run};
//!
//! let options = Options { nodes: 4, time: Duration::from_secs(20), ..Options::default() };
//! let outcome = run(&options, None)?;
//! assert_eq!(run(&options, None)?.hash, outcome.hash);
//! println!("healed within {:?}", outcome.healed_after);
//! # Ok::<(), headwater_sim::Failure>(())
//! ```

mod app;
mod check;
mod draw;
mod event;
mod host;
mod net;
mod people;
#[path = "../../core/tests/pair/record.rs"]
mod record;
mod recorders;
mod scenario;
mod timeline;
mod trace;
mod world;

use std::cell::RefCell;
use std::fmt;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

pub use recorders::MakeRecorder;
pub use scenario::{Channel, Mode};

use recorders::Recorders;
use scenario::Scenario;
use trace::Trace;
use world::{Phase, World};

/// What decides a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The seed.
    pub seed: u64,
    /// How many nodes there are, at least 2.
    pub nodes: usize,
    /// Simulated time during which faults come.
    pub time: Duration,
    /// What one application does in a second, on average; nearly always that is a message.
    pub rate: f64,
    /// Whether faults come at all.
    pub faults: bool,
    /// How nodes are driven, if not as the seed says.
    pub mode: Option<Mode>,
    /// What secures the links, if not as the seed says.
    pub channel: Option<Channel>,
    /// The invariants of all machines of a node are checked once in so many of its steps.
    pub deep_every: u64,
}

impl Default for Options {
    /// Seed 0, 50 nodes, 10 minutes with faults, one deed of each application in a second.
    fn default() -> Self {
        Self {
            seed: 0,
            nodes: 50,
            time: Duration::from_secs(600),
            rate: 1.0,
            faults: true,
            mode: None,
            channel: None,
            deep_every: 16,
        }
    }
}

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// A number of everything that happened.
    pub hash: u64,
    /// Simulated time, until the last node had stopped.
    pub simulated: Duration,
    /// Events that happened.
    pub steps: u64,
    /// Faults that came.
    pub faults: u64,
    /// Connections that were told to applications.
    pub connected: u64,
    /// Messages accepted for sending, and those that came.
    pub accepted: u64,
    /// Messages that came.
    pub delivered: u64,
    /// Messages that were told undelivered.
    pub undelivered: u64,
    /// Payload bytes that came.
    pub bytes: u64,
    /// How long after the last fault the network was whole.
    pub healed_after: Duration,
    /// How long that may take with this configuration.
    pub heal_bound: Duration,
}

/// A run in which something was not as promised.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The run.
    pub options: Options,
    /// The simulated time at which it was seen.
    pub at: Duration,
    /// The step at which it was seen.
    pub step: u64,
    /// What was seen.
    pub what: String,
}

thread_local! {
    /// Where the last panic of this thread was.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Has invariants of machines that do not hold told by [`Failure`] alone, with their place, and
/// not printed by every thread that finds one. It stays so for all panics of the process.
pub fn catch_panics() {
    std::panic::set_hook(Box::new(|panic| {
        PLACE.set(panic.location().map(ToString::to_string));
    }));
}

impl Failure {
    /// The command that shows the same again, and how it came to it.
    #[must_use]
    pub fn replay(&self) -> String {
        let Options { seed, nodes, time, rate, faults, mode, channel, .. } = &self.options;
        let minutes = time.as_secs_f64() / 60.0;
        let mut line = format!("headwater sim --nodes {nodes} --seeds {seed} --minutes {minutes}");
        if *rate != 1.0 {
            line.push_str(&format!(" --rate {rate}"));
        }
        line.push_str(match mode {
            Some(Mode::Whole) => " --mode whole",
            Some(Mode::Apart) => " --mode apart",
            None => "",
        });
        line.push_str(match channel {
            Some(Channel::Plain) => " --channel plain",
            Some(Channel::Record) => " --channel record",
            None => "",
        });
        if !faults {
            line.push_str(" --calm");
        }
        line + " --trace"
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { options, at, step, what } = self;
        write!(f, "seed {}, at {at:?}, step {step}: {what}", options.seed)
    }
}

impl std::error::Error for Failure {}

/// Runs what `options` say, writing a line of each step to `trace`.
///
/// # Errors
///
/// [`Failure`] at the first thing that was not as promised.
pub fn run(options: &Options, trace: Option<&mut dyn Write>) -> Result<Outcome, Failure> {
    run_with(options, trace, Recorders(None))
}

/// Runs what `options` say, with all that happens to each life of a node noted by the recorder that
/// `make` gives for it. The run is the same.
///
/// # Errors
///
/// Those of [`run`].
pub fn run_recorded<'a>(
    options: &Options,
    make: &'a mut MakeRecorder<'a>,
) -> Result<Outcome, Failure> {
    run_with(options, None, Recorders(Some(make)))
}

fn run_with<'w>(
    options: &Options,
    trace: Option<&'w mut dyn Write>,
    recorders: Recorders<'w>,
) -> Result<Outcome, Failure> {
    let options = Options { nodes: options.nodes.clamp(2, 10_000), ..options.clone() };
    let fail = |at, step, what| Failure { options: options.clone(), at, step, what };
    let scenario = Scenario::new(&options);
    let heal_bound = world::heal_bound(&scenario.config);
    let mut world = World::new(scenario, Trace::new(trace), recorders)
        .map_err(|violation| fail(Duration::ZERO, 0, violation.0))?;
    let mut healed_after = Duration::ZERO;
    let ran = catch_unwind(AssertUnwindSafe(|| {
        while world.phase != Phase::Over {
            world.step()?;
            if let Phase::Healing { since } = world.phase {
                healed_after = world.time.now().since(since);
            }
        }
        Ok(())
    }));
    let (at, step) = (world.time.elapsed(), world.steps);
    match ran {
        Ok(Ok(())) => {}
        Ok(Err(host::Violation(what))) => return Err(fail(at, step, what)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let what = text.unwrap_or_else(|| "an invariant does not hold".to_owned());
            let place = PLACE.take().map(|place| format!(", at {place}")).unwrap_or_default();
            let what = format!("{what}{place}");
            return Err(fail(at, step, what));
        }
    }
    Ok(Outcome {
        hash: world.trace.hash(),
        simulated: at,
        steps: step,
        faults: world.faults,
        connected: world.links_made,
        accepted: world.ledger.accepted,
        delivered: world.ledger.delivered,
        undelivered: world.ledger.undelivered,
        bytes: world.ledger.bytes,
        healed_after,
        heal_bound,
    })
}
