//! The lives of nodes: they start, run, act, and end.

use std::time::Duration;

use headwater_core::contract::Notification;
use headwater_core::secure::Insecure;
use headwater_core::seed::Seed;

use super::{Phase, World};
use crate::app::payload::Head;
use crate::app::{App, Desk};
use crate::check::retries;
use crate::event::{Event, Task};
use crate::host::{Apart, Cx, Host, Violation, Whole, ensure};
use crate::record::Record;
use crate::scenario::{Channel, Mode};
use crate::trace::trace;

impl World<'_> {
    pub(super) fn on_start(&mut self, node: usize) -> Result<(), Violation> {
        if self.places[node].host.is_some() || self.phase.is_stopping() {
            return Ok(());
        }
        self.net.light(node);
        let place = &mut self.places[node];
        let life = place.life;
        self.trace.number(0x57a7 ^ node as u64);
        trace!(self.trace, "n{node} starts its life {life}");
        let now = place.clock(self.time.now());
        let seed =
            self.scenario.seed.wrapping_mul(1_000_003) ^ (node as u64) << 32 ^ u64::from(life);
        let (config, seed) = (&self.scenario.config, Seed::from_u64(seed));
        let local = *self.people.id(node);
        let insecure = || Insecure::new(local).map_err(|len| Violation(format!("{len} bytes")));
        let record = || Record { local, update_every: 50 };
        let tape = self.recorders.of(node, life);
        let host: Box<dyn Host> = match (self.scenario.mode, self.scenario.channel) {
            (Mode::Whole, Channel::Plain) => {
                Box::new(Whole::new((node, life), config, seed, insecure()?, tape, now)?)
            }
            (Mode::Whole, Channel::Record) => {
                Box::new(Whole::new((node, life), config, seed, record(), tape, now)?)
            }
            (Mode::Apart, Channel::Plain) => {
                Box::new(Apart::new((node, life), config, seed, insecure()?, tape, now)?)
            }
            (Mode::Apart, Channel::Record) => {
                Box::new(Apart::new((node, life), config, seed, record(), tape, now)?)
            }
        };
        place.host = Some(host);
        self.net.set_deaf(node, false);
        place.app = App::new(self.scenario.seed, (node, life), &self.scenario.required[node]);
        place.tasks.clear();
        place.stop_by = None;
        self.with_app(node, |app, desk| app.start(desk))?;
        let pause = self.places[node].app.pause(&self.scenario.load);
        self.time.plan_in(pause, Event::Act { node, life });
        self.plan_woken(node);
        Ok(())
    }

    /// The life of a node is over; the next one can begin.
    pub(super) fn end_life(&mut self, node: usize, dark: bool) {
        self.net.drop_node(&mut self.time, node, dark);
        let place = &mut self.places[node];
        place.host = None;
        place.life += 1;
        place.tasks.clear();
        place.stop_by = None;
    }

    fn lives(&self, node: usize, life: u32) -> bool {
        self.places[node].life == life && self.places[node].host.is_some()
    }

    /// Lets an application do something.
    pub(super) fn with_app<T>(
        &mut self,
        node: usize,
        act: impl FnOnce(&mut App, &mut Desk<'_>) -> Result<T, Violation>,
    ) -> Result<Option<T>, Violation> {
        let place = &mut self.places[node];
        let now = place.clock(self.time.now());
        let Some(host) = &mut place.host else { return Ok(None) };
        let mut desk = Desk {
            host: host.as_mut(),
            people: &self.people,
            ledger: &mut self.ledger,
            load: &self.scenario.load,
            world_now: self.time.now(),
            now,
            message_max: self.scenario.config.message_max,
            may_dial: self.scenario.config.peers_max >= self.people.count(),
            is_last: !self.phase.has_traffic(),
            may_change: matches!(self.phase, Phase::Storm | Phase::Healing { .. }),
        };
        act(&mut place.app, &mut desk).map(Some)
    }

    pub(super) fn on_run(
        &mut self,
        node: usize,
        life: u32,
        task: Task,
        sequence: u64,
    ) -> Result<(), Violation> {
        let now = self.time.now();
        let place = &mut self.places[node];
        if place.life != life || place.tasks.get(&task).is_none_or(|(_, s)| *s != sequence) {
            return Ok(());
        }
        place.tasks.remove(&task);
        if place.frozen_until > now {
            let at = place.frozen_until;
            self.plan_run(node, task, at);
            return Ok(());
        }
        let place = &mut self.places[node];
        let clock = place.clock(now);
        let Some(host) = &mut place.host else { return Ok(()) };
        self.trace.number(now.as_nanos());
        self.trace.number(node as u64);
        trace!(self.trace, "n{node} runs {task:?}");
        let (net, time, trace) = (&mut self.net, &mut self.time, &mut self.trace);
        let busy = host.run(task, &mut Cx { net, time, trace, now: clock })?;
        self.hear(node)?;
        self.plan_woken(node);
        let place = &mut self.places[node];
        let Some(host) = &place.host else { return Ok(()) };
        if busy {
            self.plan_run(node, task, now.after(Duration::from_micros(10)));
        } else if let Some(next) = host.next_timeout(task) {
            let at = place.world_time(next.at).max(now.after(Duration::from_nanos(1)));
            self.plan_run(node, task, at);
        }
        self.trace_ways(node);
        self.check_node(node)?;
        if self.places[node].host.as_ref().is_some_and(|host| host.is_stopped()) {
            self.on_stopped(node)?;
        }
        Ok(())
    }

    /// Writes down how a node stands to its peers.
    fn trace_ways(&mut self, node: usize) {
        if !self.trace.is_wanted() {
            return;
        }
        let Some(host) = &self.places[node].host else { return };
        for peer in host.peers() {
            for (id, load) in host.way(&peer).map(|way| way.connections).unwrap_or_default() {
                let other = self.people.index(&peer);
                if let (Some(load), Some(other)) = (load, other) {
                    trace!(self.trace, "    {id} to n{other}: {load:?}");
                }
            }
        }
    }

    /// Checks of one node after each of its steps.
    fn check_node(&mut self, node: usize) -> Result<(), Violation> {
        let place = &mut self.places[node];
        place.runs += 1;
        let Some(host) = &place.host else { return Ok(()) };
        host.check_links()?;
        if place.runs % self.scenario.deep_every == 0 {
            host.check_machines();
            crate::check::whole::check_bounds(host.as_ref(), &self.scenario.config)?;
        }
        Ok(())
    }

    /// The application hears what there is, if it listens.
    pub(super) fn hear(&mut self, node: usize) -> Result<(), Violation> {
        let mut told = 0;
        let place = &mut self.places[node];
        let clock = place.clock(self.time.now());
        let Some(host) = &mut place.host else { return Ok(()) };
        if !place.app.reads {
            return Ok(());
        }
        let sender = (node, place.life);
        while let Some(notification) = host.poll_notification() {
            trace!(self.trace, "n{node} is told {notification:?}");
            told += 1;
            place.app.notices.observe(&notification)?;
            match &notification {
                Notification::Connected { .. } => self.links_made += 1,
                Notification::Retrying { failures, wait, .. } => {
                    retries::check(&self.scenario.config.backoff, *failures, *wait)?;
                }
                Notification::Undelivered { peer, messages, .. } => {
                    let to = self.people.index(peer);
                    ensure!(to.is_some(), "undelivered to an unknown {peer}");
                    self.ledger.undelivered(sender, to.unwrap_or(0), *messages)?;
                }
                _ => {}
            }
        }
        let mut taken = 0;
        while let Some(message) = host.poll_message(clock) {
            taken += 1;
            place.app.taken += 1;
            place.app.notices.message_from(&message.peer)?;
            let head = Head::decode(&message.payload);
            ensure!(head.is_some(), "a message of {} was damaged", message.peer);
            let Some(head) = head else { break };
            let from = self.people.index(&message.peer);
            ensure!(from == Some(usize::from(head.from)), "{head:?} came from {from:?}");
            let protocol = self.people.number(&message.protocol);
            ensure!(protocol == Some(usize::from(head.protocol)), "{head:?} came for {protocol:?}");
            let announced = place.app.announced.contains(&usize::from(head.protocol));
            self.ledger.delivered(sender, &head, announced)?;
            self.trace.number(head.number);
            trace!(self.trace, "n{node} takes {head:?}");
        }
        if told + taken > 0 {
            self.trace.number(told << 32 | taken);
        }
        self.with_app(node, |app, desk| app.hear_streams(desk))?;
        Ok(())
    }

    pub(super) fn on_act(&mut self, node: usize, life: u32) -> Result<(), Violation> {
        if !self.lives(node, life) || !self.phase.has_traffic() {
            return Ok(());
        }
        if self.places[node].frozen_until <= self.time.now() && self.places[node].stop_by.is_none()
        {
            self.with_app(node, |app, desk| app.act(desk))?;
            self.hear(node)?;
            self.plan_woken(node);
        }
        let pause = self.places[node].app.pause(&self.scenario.load);
        self.time.plan_in(pause, Event::Act { node, life });
        Ok(())
    }

    pub(super) fn on_connect(
        &mut self,
        node: usize,
        life: u32,
        peer: usize,
    ) -> Result<(), Violation> {
        if self.lives(node, life) && self.places[node].stop_by.is_none() {
            self.with_app(node, |app, desk| app.connect(desk, peer))?;
            self.plan_woken(node);
        }
        Ok(())
    }

    pub(super) fn on_unblock(
        &mut self,
        node: usize,
        life: u32,
        peer: usize,
    ) -> Result<(), Violation> {
        if self.lives(node, life) {
            self.with_app(node, |app, desk| app.unblock(desk, peer))?;
            self.plan_woken(node);
        }
        Ok(())
    }

    pub(super) fn on_read_again(&mut self, node: usize, life: u32) -> Result<(), Violation> {
        if self.lives(node, life) && !self.places[node].app.reads {
            self.places[node].app.reads = true;
            self.net.set_deaf(node, false);
            self.hear(node)?;
            self.plan_woken(node);
            self.plan_run(node, Task::Node, self.time.now());
        }
        Ok(())
    }

    /// A node has stopped in order: nothing of it may be left.
    fn on_stopped(&mut self, node: usize) -> Result<(), Violation> {
        let place = &self.places[node];
        let Some(host) = &place.host else { return Ok(()) };
        ensure!(place.stop_by.is_some(), "stopped without being asked");
        ensure!(host.sockets().is_empty(), "stopped with sockets: {:?}", host.sockets());
        ensure!(place.app.notices.is_stopped(), "stopped without a word");
        self.note(node, format_args!("has stopped"));
        self.end_life(node, false);
        if !self.phase.is_stopping() {
            let wait = self.draw.any_scale(Duration::from_millis(1), Duration::from_secs(10));
            self.time.plan_in(wait, Event::Start { node });
        }
        Ok(())
    }
}
