//! The world: nodes, network and time, one event after the other.
//!
//! A run goes through phases: a storm, in which faults come; healing, without faults, which has
//! to be over within [`heal_bound`]; a steady time, in which nothing may be lost; quiet, in which
//! everything that was accepted has to arrive and every pool to come back to its size; and a
//! stop, after which nothing may be left.

mod faults;
mod life;
mod phases;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use headwater_core::config::Config;
use headwater_core::time::Instant;

use crate::app::App;
use crate::check::ledger::Ledger;
use crate::draw::Draw;
use crate::event::{Event, Task, Time};
use crate::host::{Host, Violation};
use crate::net::Net;
use crate::people::People;
use crate::recorders::Recorders;
use crate::scenario::Scenario;
use crate::timeline::START;
use crate::trace::{Trace, trace};

pub(crate) use phases::{Phase, heal_bound};

/// A node, whether it runs or not.
pub(crate) struct Place {
    /// Gone while the node is down.
    pub(crate) host: Option<Box<dyn Host>>,
    pub(crate) app: App,
    pub(crate) life: u32,
    /// Nanoseconds by which its clock differs from the world's.
    offset: i64,
    /// When each task runs next, and the number of that event.
    tasks: BTreeMap<Task, (Instant, u64)>,
    frozen_until: Instant,
    /// When a stop that was asked for has to be over.
    stop_by: Option<Instant>,
    runs: u64,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("life", &self.life).finish_non_exhaustive()
    }
}

impl Place {
    /// A time of the world by the node's clock.
    fn clock(&self, now: Instant) -> Instant {
        Instant::from_nanos(now.as_nanos().saturating_add_signed(self.offset))
    }

    /// The time of the world at which the node's clock shows `at`.
    fn world_time(&self, at: Instant) -> Instant {
        Instant::from_nanos(at.as_nanos().saturating_add_signed(-self.offset))
    }
}

/// Everything.
#[derive(Debug)]
pub(crate) struct World<'w> {
    pub(crate) scenario: Scenario,
    pub(crate) time: Time,
    pub(crate) net: Net,
    pub(crate) places: Vec<Place>,
    pub(crate) people: People,
    pub(crate) ledger: Ledger,
    pub(crate) trace: Trace<'w>,
    pub(crate) phase: Phase,
    pub(crate) steps: u64,
    pub(crate) faults: u64,
    pub(crate) links_made: u64,
    recorders: Recorders<'w>,
    draw: Draw,
    delays: Draw,
    parts: u8,
    woken: Vec<Task>,
    /// The links that were in use when the network had healed.
    links: BTreeSet<(usize, usize, (u32, u32))>,
}

impl<'w> World<'w> {
    pub(crate) fn new(
        scenario: Scenario,
        trace: Trace<'w>,
        recorders: Recorders<'w>,
    ) -> Result<Self, Violation> {
        let (seed, nodes) = (scenario.seed, scenario.nodes());
        let mut draw = Draw::new(seed, "world", 0);
        let places = (0..nodes).map(|node| Place {
            host: None,
            app: App::new(seed, (node, 0), &scenario.required[node]),
            life: 0,
            // Clocks have nothing to do with each other.
            offset: draw.between(0, 1 << 50) as i64 - (1 << 49),
            tasks: BTreeMap::new(),
            frozen_until: START,
            stop_by: None,
            runs: 0,
        });
        let mut world = Self {
            time: Time::new(),
            net: Net::new(seed, nodes, scenario.links.clone()),
            places: places.collect(),
            people: People::new(seed, nodes),
            ledger: Ledger::default(),
            trace,
            recorders,
            phase: Phase::Storm,
            steps: 0,
            faults: 0,
            links_made: 0,
            draw,
            delays: Draw::new(seed, "delays", 0),
            parts: 0,
            woken: Vec::new(),
            links: BTreeSet::new(),
            scenario,
        };
        for node in 0..nodes {
            let wait = world.draw.any_scale(Duration::from_micros(1), Duration::from_secs(1));
            world.time.plan_in(wait, Event::Start { node });
        }
        world.plan_faults();
        let storm = world.scenario.storm;
        world.time.plan_in(storm, Event::Look);
        Ok(world)
    }

    /// Lets the next event happen.
    pub(crate) fn step(&mut self) -> Result<(), Violation> {
        let Some((sequence, event)) = self.time.pop() else {
            return Err(Violation("nothing is planned any more".to_owned()));
        };
        self.steps += 1;
        self.trace.at(self.time.elapsed());
        match event {
            Event::Net(event) => self.net.handle(&mut self.time, event),
            Event::Run { node, life, task } => self.on_run(node, life, task, sequence)?,
            Event::Act { node, life } => self.on_act(node, life)?,
            Event::Connect { node, life, peer } => self.on_connect(node, life, peer)?,
            Event::Unblock { node, life, peer } => self.on_unblock(node, life, peer)?,
            Event::Fault(fault) => self.on_fault(fault)?,
            Event::Start { node } => self.on_start(node)?,
            Event::Unite { part } => self.on_unite(part),
            Event::ReadAgain { node, life } => self.on_read_again(node, life)?,
            Event::Look => self.on_look()?,
        }
        self.deliver_woken();
        Ok(())
    }

    /// Tells hosts what they can do in the network.
    fn deliver_woken(&mut self) {
        let mut woken = std::mem::take(&mut self.net.woken);
        for one in woken.drain(..) {
            let place = &mut self.places[one.node];
            if let Some(host) = &mut place.host {
                host.handle_ready(one.what);
                self.plan_woken(one.node);
            }
        }
        self.net.woken = woken;
    }

    /// Plans the tasks of a node that something has woken.
    fn plan_woken(&mut self, node: usize) {
        let mut woken = std::mem::take(&mut self.woken);
        if let Some(host) = &mut self.places[node].host {
            host.take_woken(&mut woken);
        }
        for task in woken.drain(..) {
            let tasks = &self.scenario.tasks;
            let late = self.delays.one_in(tasks.late_one_in);
            let high = if late && self.phase.has_faults() { tasks.late } else { tasks.usual };
            let delay = self.delays.time(Duration::ZERO, high);
            self.plan_run(node, task, self.time.now().after(delay));
        }
        self.woken = woken;
    }

    /// Has a task run at `at`, unless it runs earlier anyway.
    fn plan_run(&mut self, node: usize, task: Task, at: Instant) {
        let place = &mut self.places[node];
        let at = at.max(self.time.now());
        if place.tasks.get(&task).is_some_and(|(planned, _)| *planned <= at) {
            return;
        }
        let event = Event::Run { node, life: place.life, task };
        let sequence = self.time.plan(at, event);
        place.tasks.insert(task, (at, sequence));
    }

    /// Every task of a node looks again: its clock has changed.
    fn wake_all(&mut self, node: usize) {
        let place = &mut self.places[node];
        let Some(host) = &place.host else { return };
        let connections = host.connections().into_iter().map(Task::Connection);
        let tasks: Vec<Task> = std::iter::once(Task::Node).chain(connections).collect();
        for task in tasks {
            self.plan_run(node, task, self.time.now());
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.scenario.config
    }

    fn note(&mut self, node: usize, text: std::fmt::Arguments<'_>) {
        trace!(self.trace, "n{node} {text}");
    }
}
