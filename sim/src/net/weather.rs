//! What goes wrong with links and machines.

use std::time::Duration;

use headwater_core::contract::IoCause;
use headwater_core::time::Instant;

use super::link::{Pipe, State};
use super::{Net, NetEvent, Ready, Socket};
use crate::event::{Event, Time};

/// Within which time a probe that was held up has its answer, once it arrives.
const ANSWERED: Duration = Duration::from_secs(2);

/// Something that hits one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// Both ends are told that it broke, wherever its bytes are.
    Reset,
    /// Somebody in between ends both directions in order, after any byte.
    CutOff,
    /// One direction stands still for a while.
    Stall(Duration),
    /// What goes in does not come out any more, in one direction or in both.
    BlackHole { both: bool },
    /// It carries so many bytes a second from now on.
    Slow(u64),
}

impl Net {
    /// Any link that is open at both ends.
    pub(crate) fn any_link(&mut self) -> Option<Socket> {
        let start = self.draw.below(self.slots.len());
        let order = (start..self.slots.len()).chain(0..start);
        for index in order {
            let slot = &self.slots[index];
            let open = |link: &&super::Link| link.ends.iter().all(|e| e.state == State::Open);
            if slot.link.as_ref().filter(open).is_some() {
                let side = self.draw.below(2) as u8;
                let generation = self.slots[index].generation;
                return Some(Socket { link: index as u32, generation, side });
            }
        }
        None
    }

    /// Which nodes a link joins.
    pub(crate) fn nodes_of(&self, socket: Socket) -> Option<(usize, usize)> {
        self.get(socket).map(|link| (link.ends[0].node, link.ends[1].node))
    }

    /// Hits a link.
    pub(crate) fn strike(&mut self, time: &mut Time, socket: Socket, blow: Blow) {
        let now = time.now();
        let share = self.draw.between(0, 100) as usize;
        let Some(nodes) = self.nodes_of(socket) else { return };
        let Some(link) = self.get_mut(socket) else { return };
        let side = usize::from(socket.side);
        match blow {
            Blow::Reset => {
                for (end, pipe) in link.ends.iter_mut().zip(&mut link.pipes) {
                    end.broken = Some(IoCause::Reset);
                    pipe.clear();
                }
            }
            Blow::CutOff => {
                for pipe in &mut link.pipes {
                    // What is beyond the cut never arrives.
                    let kept = pipe.arrived + (pipe.segments.len() - pipe.arrived) * share / 100;
                    let lost = pipe.segments.split_off(kept);
                    pipe.held -= lost.iter().map(|segment| segment.bytes.len()).sum::<usize>();
                    if pipe.arrived < kept {
                        pipe.cut_last(share);
                    }
                    pipe.end_at = Some(now);
                    pipe.ended = pipe.arrived == pipe.segments.len();
                    pipe.swallows = true;
                }
            }
            Blow::Stall(wait) => link.pipes[side].stalled_until = now.after(wait),
            Blow::BlackHole { both } => {
                link.pipes[side].black_hole = true;
                link.pipes[1 - side].black_hole |= both;
            }
            Blow::Slow(bandwidth) => {
                for pipe in &mut link.pipes {
                    pipe.bandwidth = bandwidth;
                }
            }
        }
        if !matches!(blow, Blow::Stall(_)) {
            self.count_loss(now, nodes);
        }
        for socket in [socket, socket.other()] {
            self.wake(socket, Ready::Read);
            self.wake(socket, Ready::Write);
            time.plan_in(Duration::from_millis(1), Event::Net(NetEvent::Arrive(socket)));
        }
    }

    /// Puts a node into one part of a network that is divided from all others.
    pub(crate) fn divide(&mut self, node: usize, part: u8) {
        self.places[node].part = part;
    }

    /// A part of a divided network is one with the rest again.
    pub(crate) fn unite(&mut self, part: u8) {
        for place in self.places.iter_mut().filter(|place| place.part == part) {
            place.part = 0;
        }
    }

    /// Whether a link carries bytes both ways, and what a fault had held up has arrived and was
    /// answered.
    pub(crate) fn is_sound(&self, socket: Socket, now: Instant) -> bool {
        self.get(socket).is_some_and(|link| {
            let ends = link.ends.iter().all(|e| e.state == State::Open && e.broken.is_none());
            let sound = |p: &Pipe| !p.black_hole && !p.swallows && p.unsettled_until <= now;
            ends && link.pipes.iter().all(sound)
        })
    }

    /// Every link carries at least so many bytes a second, and none stands still.
    pub(crate) fn clear_up(&mut self, time: &mut Time, bandwidth: u64) {
        let now = time.now();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let Some(link) = &mut slot.link else { continue };
            if link.pipes.iter().any(|pipe| pipe.bandwidth < bandwidth) {
                // Messages that stood still for too long were given up by those who got them.
                let (one, two) = (link.ends[0].node, link.ends[1].node);
                self.losses.insert((one, two), now);
                self.losses.insert((two, one), now);
            }
            for (side, pipe) in link.pipes.iter_mut().enumerate() {
                pipe.clear_up(now, bandwidth);
                let (link, generation, side) = (index as u32, slot.generation, side as u8);
                let socket = Socket { link, generation, side };
                time.plan(pipe.last_at, Event::Net(NetEvent::Arrive(socket)));
            }
        }
        for place in &mut self.places {
            place.part = 0;
        }
        self.links.bandwidth.0 = self.links.bandwidth.0.max(bandwidth);
        self.links.bandwidth.1 = self.links.bandwidth.1.max(bandwidth);
    }

    /// The process of a node is gone. Its system says so to the other ends, unless the machine
    /// went with it.
    pub(crate) fn drop_node(&mut self, time: &mut Time, node: usize, dark: bool) {
        self.dials.retain(|dial, _| dial.node != node);
        let resets = self.draw.chance(50);
        self.places[node].listens = false;
        self.places[node].backlog.clear();
        for index in 0..self.slots.len() {
            for side in 0..2 {
                let slot = &self.slots[index];
                let Some(link) = &slot.link else { continue };
                let end = &link.ends[side];
                if end.node != node || end.state != State::Open {
                    continue;
                }
                let (link, generation) = (index as u32, slot.generation);
                let socket = Socket { link, generation, side: side as u8 };
                if dark {
                    self.let_go(time, socket, State::Dark);
                } else if resets {
                    self.abort(time, socket);
                } else {
                    self.close(time, socket);
                }
            }
        }
        self.places[node].dark = dark;
    }

    /// A machine is on again.
    pub(crate) fn light(&mut self, node: usize) {
        self.places[node].dark = false;
    }

    /// How many links there are of which at least one end is held.
    pub(crate) fn open_links(&self) -> usize {
        let held = |link: &&super::Link| link.ends.iter().any(|end| end.owner.is_some());
        self.slots.iter().filter_map(|slot| slot.link.as_ref()).filter(held).count()
    }
}

impl Pipe {
    /// Nothing holds up what is on its way any longer.
    fn clear_up(&mut self, now: Instant, bandwidth: u64) {
        self.bandwidth = self.bandwidth.max(bandwidth);
        self.stalled_until = self.stalled_until.min(now);
        self.waiting = false;
        let held = Duration::from_nanos(self.held as u64 * 1_000_000_000 / self.bandwidth);
        let latest = now.after(held).after(Duration::from_millis(200));
        self.busy_until = self.busy_until.min(latest);
        self.last_at = self.last_at.min(latest);
        for segment in &mut self.segments {
            segment.at = segment.at.min(latest);
        }
        self.end_at = self.end_at.map(|at| at.min(latest));
        if self.arrived < self.segments.len() {
            self.unsettled_until = latest.after(ANSWERED);
        }
    }

    /// Keeps only a part of the last segment.
    fn cut_last(&mut self, percent: usize) {
        if let Some(last) = self.segments.back_mut() {
            let kept = (last.bytes.len() * percent / 100).max(1);
            self.held -= last.bytes.len() - kept;
            last.bytes.truncate(kept);
        }
    }
}
