//! Faults: when they come, and what they do.

use std::time::Duration;

use super::World;
use crate::event::{Event, Fault};
use crate::host::Violation;
use crate::net::Blow;
use crate::scenario::JUMP_MAX;
use crate::trace::trace;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Nodes stay down, and links stand still, for so long at most.
const LONGEST: Duration = Duration::from_secs(40);

/// How long a stop may take while faults come: applications that do not read, frozen processes
/// and clocks that stand still included.
pub(super) const STORMY_STOP: Duration = Duration::from_secs(180);

impl World<'_> {
    pub(super) fn plan_faults(&mut self) {
        let means = self.scenario.faults.all();
        for (fault, mean) in means {
            let wait = self.draw.around(mean);
            self.time.plan_in(wait, Event::Fault(fault));
        }
    }

    pub(super) fn on_fault(&mut self, fault: Fault) -> Result<(), Violation> {
        if !self.phase.has_faults() {
            return Ok(());
        }
        self.faults += 1;
        self.trace.number(0xfa_u64 << 32 | fault as u64);
        trace!(self.trace, "! {fault:?}");
        match fault {
            Fault::Reset => self.strike(Blow::Reset),
            Fault::CutOff => self.strike(Blow::CutOff),
            Fault::Stall => {
                let wait = self.draw.any_scale(50 * MILLI, LONGEST);
                self.strike(Blow::Stall(wait));
            }
            Fault::BlackHole => {
                let both = self.draw.chance(50);
                self.strike(Blow::BlackHole { both });
            }
            Fault::SlowLink => {
                let bandwidth = self.draw.between(500, 20_000);
                self.strike(Blow::Slow(bandwidth));
            }
            Fault::Partition => self.divide(),
            Fault::Kill => self.take_down(false),
            Fault::PowerOff => self.take_down(true),
            Fault::Restart => self.stop_any(),
            Fault::Freeze => {
                let node = self.draw.below(self.places.len());
                let wait = self.draw.any_scale(20 * MILLI, LONGEST);
                self.places[node].frozen_until = self.time.now().after(wait);
                self.note(node, format_args!("is frozen for {wait:?}"));
            }
            Fault::Clock => self.jump(),
            Fault::SlowApplication => {
                let node = self.draw.below(self.places.len());
                let wait = self.draw.any_scale(20 * MILLI, LONGEST);
                let place = &mut self.places[node];
                place.app.reads = false;
                self.net.set_deaf(node, true);
                let life = place.life;
                self.time.plan_in(wait, Event::ReadAgain { node, life });
                self.note(node, format_args!("does not read for {wait:?}"));
            }
            Fault::Disconnect => self.disconnect_any()?,
            Fault::Block => self.block_any()?,
        }
        if let Some((_, mean)) = self.scenario.faults.all().into_iter().find(|f| f.0 == fault) {
            let wait = self.draw.around(mean);
            self.time.plan_in(wait, Event::Fault(fault));
        }
        Ok(())
    }

    fn strike(&mut self, blow: Blow) {
        if let Some(socket) = self.net.any_link() {
            trace!(self.trace, "! {blow:?} of the link of {:?}", self.net.nodes_of(socket));
            self.net.strike(&mut self.time, socket, blow);
        }
    }

    /// Some nodes cannot reach the others for a while.
    fn divide(&mut self) {
        self.parts = self.parts.checked_add(1).unwrap_or(1);
        let part = self.parts;
        let half = self.places.len() / 2;
        let count = if self.draw.chance(50) { 1 } else { 1 + self.draw.below(half) };
        for _ in 0..count {
            let node = self.draw.below(self.places.len());
            self.net.divide(node, part);
            self.note(node, format_args!("is in part {part}"));
        }
        let wait = self.draw.any_scale(SECOND, 2 * LONGEST);
        self.time.plan_in(wait, Event::Unite { part });
    }

    pub(super) fn on_unite(&mut self, part: u8) {
        trace!(self.trace, "! part {part} is one with the rest again");
        self.net.unite(part);
    }

    /// A process ends without a word of its own, with its machine or without.
    fn take_down(&mut self, dark: bool) {
        let node = self.draw.below(self.places.len());
        if self.places[node].host.is_none() {
            return;
        }
        self.note(node, format_args!("goes down, its machine too: {dark}"));
        self.end_life(node, dark);
        let wait = self.draw.any_scale(MILLI, LONGEST);
        self.time.plan_in(wait, Event::Start { node });
    }

    /// A node stops in order, and starts again later.
    fn stop_any(&mut self) {
        let node = self.draw.below(self.places.len());
        self.stop(node, STORMY_STOP);
    }

    pub(super) fn stop(&mut self, node: usize, within: Duration) {
        let now = self.time.now();
        let place = &mut self.places[node];
        let clock = place.clock(now);
        let Some(host) = &mut place.host else { return };
        let stop_by = now.after(within);
        place.stop_by = Some(place.stop_by.map_or(stop_by, |by| by.min(stop_by)));
        host.stop(clock);
        self.note(node, format_args!("stops"));
        self.plan_woken(node);
    }

    /// A clock is set: forward or backward.
    fn jump(&mut self) {
        let node = self.draw.below(self.places.len());
        let by = self.draw.any_scale(MILLI, JUMP_MAX).as_nanos() as i64;
        let by = if self.draw.chance(50) { by } else { -by };
        self.places[node].offset += by;
        self.note(node, format_args!("has its clock set by {by} ns"));
        self.wake_all(node);
    }

    fn disconnect_any(&mut self) -> Result<(), Violation> {
        let node = self.draw.below(self.places.len());
        let count = self.places[node].app.notices.connected().count();
        let nth = self.draw.below(count);
        let Some(peer) = self.places[node].app.notices.connected().nth(nth).copied() else {
            return Ok(());
        };
        self.note(node, format_args!("disconnects {peer}"));
        let Some(peer) = self.people.index(&peer) else { return Ok(()) };
        self.with_app(node, |app, desk| {
            app.disconnect(desk, peer);
            Ok(())
        })?;
        self.plan_woken(node);
        let wait = self.draw.any_scale(MILLI, LONGEST);
        let life = self.places[node].life;
        self.time.plan_in(wait, Event::Connect { node, life, peer });
        Ok(())
    }

    fn block_any(&mut self) -> Result<(), Violation> {
        let (node, peer) = (self.draw.below(self.places.len()), self.draw.below(self.places.len()));
        self.note(node, format_args!("keeps {peer} out"));
        self.with_app(node, |app, desk| app.block(desk, peer))?;
        self.plan_woken(node);
        let wait = self.draw.any_scale(MILLI, LONGEST);
        let life = self.places[node].life;
        self.time.plan_in(wait, Event::Unblock { node, life, peer });
        Ok(())
    }
}
