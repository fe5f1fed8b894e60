//! The phases of a run, and what has to hold in each.

use std::time::Duration;

use headwater_core::config::Config;
use headwater_core::time::Instant;

use super::World;
use crate::check::whole;
use crate::event::{Event, Task};
use crate::host::{Violation, ensure};
use crate::scenario::JUMP_MAX;
use crate::trace::trace;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Faults come.
    Storm,
    /// No more faults; the network heals.
    Healing { since: Instant },
    /// Everybody is connected with whom it has to be.
    Steady { since: Instant },
    /// Nothing new is sent.
    Quiet { since: Instant },
    /// All nodes stop.
    Stopping { since: Instant },
    /// All is over.
    Over,
}

impl Phase {
    pub(crate) fn has_faults(self) -> bool {
        self == Self::Storm
    }

    pub(crate) fn has_traffic(self) -> bool {
        matches!(self, Self::Storm | Self::Healing { .. } | Self::Steady { .. })
    }

    pub(crate) fn is_stopping(self) -> bool {
        matches!(self, Self::Stopping { .. } | Self::Over)
    }
}

/// How often the world looks whether a phase is over.
const LOOK: Duration = Duration::from_secs(1);

/// How long a healed network has to stay so.
const STEADY: Duration = Duration::from_secs(20);

/// How long healing may take once faults have stopped.
///
/// A clock that was set back stands still for as long. Then a dead link is found by its probe;
/// a dial may have begun just before, and fail for it at its deadline; the wait after it is the
/// longest one, with what chance adds, and the dial after it may wait for the next check; it has
/// two places at most that do not answer. The second attempt may cross one of the other side,
/// and lose; the third has nothing in its way, and ends in time or at its deadline. A list of
/// protocols that was not answered is pushed again after as long as a probe and two waits.
pub(crate) fn heal_bound(config: &Config) -> Duration {
    let found = config.keep_alive + config.pong_deadline + config.close_deadline;
    let wait = config.backoff.ceiling.mul_f64(1.0 + f64::from(config.backoff.jitter) / 100.0);
    let attempt = 2 * config.dial_deadline + wait + config.check_interval;
    let push = 2 * config.push_deadline + Duration::from_secs(30);
    JUMP_MAX * 2 + found + 3 * attempt + config.stable_after + push
}

/// How long it may take until everything accepted has arrived or was given up.
fn quiet_bound(config: &Config) -> Duration {
    config.send_deadline + config.push_deadline + JUMP_MAX * 2 + Duration::from_secs(10)
}

/// How long a stop may take: every link closes within its deadline, and what the application has
/// not taken waits as long again.
fn stop_bound(config: &Config) -> Duration {
    3 * config.close_deadline + JUMP_MAX * 2 + Duration::from_secs(10)
}

impl World<'_> {
    /// Looks whether a phase is over.
    pub(super) fn on_look(&mut self) -> Result<(), Violation> {
        let now = self.time.now();
        match self.phase {
            Phase::Storm => self.calm()?,
            Phase::Healing { since } => match whole::check_healed(self) {
                Ok(()) => {
                    self.links = whole::links_in_use(self);
                    self.enter(Phase::Steady { since: now });
                }
                Err(Violation(why)) => {
                    let (waited, bound) = (now.since(since), heal_bound(self.config()));
                    ensure!(waited < bound, "not healed within {bound:?}: {why}");
                }
            },
            Phase::Steady { since } if now.since(since) >= STEADY => {
                whole::check_healed(self)?;
                whole::check_nothing_lost(self, &self.links)?;
                self.enter(Phase::Quiet { since: now });
                for node in 0..self.places.len() {
                    self.with_app(node, |app, desk| {
                        app.give_back_all(desk);
                        Ok(())
                    })?;
                    self.plan_woken(node);
                }
            }
            Phase::Quiet { since } => match whole::check_quiet(self) {
                Ok(()) => {
                    whole::check_healed(self)?;
                    self.stop_all(now);
                }
                Err(Violation(why)) => {
                    let (waited, bound) = (now.since(since), quiet_bound(self.config()));
                    ensure!(waited < bound, "not at rest within {bound:?}: {why}");
                }
            },
            Phase::Stopping { .. } => {
                if self.places.iter().all(|place| place.host.is_none()) {
                    let left = self.net.open_links();
                    ensure!(left == 0, "{left} links are left after everybody has stopped");
                    self.enter(Phase::Over);
                }
            }
            Phase::Steady { .. } | Phase::Over => {}
        }
        for (node, place) in self.places.iter().enumerate() {
            let late = place.stop_by.filter(|by| *by < now && place.host.is_some());
            ensure!(late.is_none(), "node {node} has not stopped in time");
        }
        self.time.plan_in(LOOK, Event::Look);
        Ok(())
    }

    fn enter(&mut self, phase: Phase) {
        trace!(self.trace, "! {phase:?}");
        self.phase = phase;
    }

    /// Faults stop: links carry again, processes run, applications read.
    fn calm(&mut self) -> Result<(), Violation> {
        let now = self.time.now();
        self.enter(Phase::Healing { since: now });
        self.net.clear_up(&mut self.time, self.scenario.links.bandwidth.0);
        for node in 0..self.places.len() {
            self.places[node].frozen_until = now;
            let life = self.places[node].life;
            self.on_start(node)?;
            self.on_read_again(node, life)?;
            if self.places[node].stop_by.is_none() {
                self.with_app(node, |app, desk| app.allow_all(desk))?;
            }
            self.plan_woken(node);
            self.wake_all(node);
        }
        Ok(())
    }

    fn stop_all(&mut self, now: Instant) {
        self.enter(Phase::Stopping { since: now });
        let within = stop_bound(self.config());
        for node in 0..self.places.len() {
            self.stop(node, within);
            self.plan_run(node, Task::Node, now);
        }
    }
}
