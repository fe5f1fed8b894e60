//! Carrying mailboxes between Node and the connections, and everything that follows from a touch.

use alloc::boxed::Box;

use super::{Endpoint, Slot};
use crate::contract::Command;
use crate::id::ConnectionId;
use crate::secure::{ChannelFactory, SecureChannel};
use crate::time::Instant;

impl<C: SecureChannel> Slot<C> {
    /// Hands over messages that wait, if the connection wants them.
    pub(super) fn feed(&mut self, now: Instant) {
        let closing = self.connection.is_closing();
        if closing {
            self.outbox.close();
        }
        // An empty one has counts still.
        if closing || self.outbox.sizes().meets(self.connection.wants_messages()) {
            self.connection.handle_messages(now, &mut self.outbox);
        }
        for (lane, outbox) in &mut self.lanes {
            if !outbox.is_empty()
                && (self.connection.is_closing() || self.connection.lane_wants_messages(*lane))
            {
                self.connection.handle_lane_messages(now, *lane, outbox);
            }
        }
    }
}

impl<F: ChannelFactory> Endpoint<F> {
    pub(super) fn slot(&self, id: ConnectionId) -> Option<&Slot<F::Channel>> {
        let slot = self.slots.get(id.index as usize).and_then(Option::as_deref);
        slot.filter(|slot| slot.connection.id() == id).or_else(|| {
            let mut others = self.lingering.iter().map(Box::as_ref);
            others.find(|slot| slot.connection.id() == id)
        })
    }

    pub(super) fn slot_mut(&mut self, id: ConnectionId) -> Option<&mut Slot<F::Channel>> {
        let slot = self.slots.get_mut(id.index as usize).and_then(Option::as_deref_mut);
        slot.filter(|slot| slot.connection.id() == id).or_else(|| {
            let mut others = self.lingering.iter_mut().map(Box::as_mut);
            others.find(|slot| slot.connection.id() == id)
        })
    }

    pub(super) fn insert(&mut self, id: ConnectionId, slot: Box<Slot<F::Channel>>) {
        while self.slots.len() <= id.index as usize {
            self.slots.push(None);
        }
        if let Some(place) = self.slots.get_mut(id.index as usize) {
            self.lingering.extend(place.replace(slot));
        }
    }

    fn remove(&mut self, id: ConnectionId) {
        if let Some(armed) = self.slot(id).and_then(|slot| slot.armed) {
            self.timers.remove(&(armed.at, id, armed.why));
        }
        self.ending.retain(|ending| *ending != id);
        let place = self.slots.get_mut(id.index as usize);
        match place.filter(|place| place.as_ref().is_some_and(|s| s.connection.id() == id)) {
            Some(place) => *place = None,
            None => self.lingering.retain(|slot| slot.connection.id() != id),
        }
    }

    /// Does something with a connection, and all that follows from it.
    pub(super) fn with<T>(
        &mut self,
        now: Instant,
        id: ConnectionId,
        act: impl FnOnce(&mut Slot<F::Channel>, Instant) -> T,
    ) -> Option<T> {
        let now = self.clock.advance(now);
        let answer = act(self.slot_mut(id)?, now);
        self.touched.push_back(id);
        self.settle(now);
        Some(answer)
    }

    /// Delivers mailboxes until none is left, then looks at what was touched.
    pub(super) fn settle(&mut self, now: Instant) {
        loop {
            while let Some((id, order)) = self.node.poll_order() {
                if let Some(slot) = self.slot_mut(id) {
                    slot.connection.handle_order(now, order);
                    self.touched.push_back(id);
                }
            }
            let Some(id) = self.touched.pop_front() else { break };
            self.look_at(now, id);
        }
        while !self.watches_routes && self.node.poll_route().is_some() {}
    }

    fn look_at(&mut self, now: Instant, id: ConnectionId) {
        let Some(slot) = self.slot_mut(id) else { return };
        slot.feed(now);
        let report = slot.connection.poll_report();
        while let Some((lane, news)) = self.slot_mut(id).and_then(|s| s.connection.poll_lane()) {
            self.on_lane_news(now, id, lane, news);
        }
        if let Some(report) = report {
            let ended = report.is_final();
            self.node.handle_report(now, id, report);
            if ended {
                self.on_ended(now, id);
            }
            self.touched.push_back(id);
        }
        let Some(slot) = self.slot_mut(id) else { return };
        let command = slot.connection.poll_link_command();
        if let Some(command) = command {
            self.commands.push_back(Command::Link { connection: id, command });
            self.touched.push_back(id);
        }
        let Some(slot) = self.slot_mut(id) else { return };
        let wants = slot.connection.wants_transmit();
        let resumed = slot.read_paused && slot.connection.may_read();
        if (wants || resumed) && !slot.ready {
            slot.ready = true;
            slot.read_paused = false;
            self.ready.push_back(id);
        }
        let Some(slot) = self.slot_mut(id) else { return };
        if slot.connection.has_messages() && !slot.filled {
            slot.filled = true;
            self.filled.push_back(id);
        }
        self.arm(id);
        let done = |slot: &&mut Slot<_>| slot.ended && slot.connection.is_done();
        if let Some(slot) = self.slot_mut(id).filter(done) {
            let late = slot.connection.take_late();
            self.node.handle_late(id, late);
            self.remove(id);
        }
    }

    /// A connection has ended: it is heard out, as long as there are not too many of that kind.
    fn on_ended(&mut self, now: Instant, id: ConnectionId) {
        let Some(slot) = self.slot_mut(id) else { return };
        slot.ended = true;
        self.ending.push_back(id);
        while self.ending.len() > self.ending_max {
            let Some(oldest) = self.ending.pop_front() else { return };
            if let Some(slot) = self.slot_mut(oldest) {
                slot.connection.hurry(now);
                self.touched.push_back(oldest);
            }
        }
    }

    /// Sets the timer of a connection. A deadline that moved later is left to fire early, so that
    /// the moving deadlines of busy connections cost nothing.
    pub(super) fn arm(&mut self, id: ConnectionId) {
        let Some(slot) = self.slot_mut(id) else { return };
        let next = slot.connection.next_timeout();
        let armed = slot.armed;
        let earlier = match (next, armed) {
            (Some(next), Some(armed)) => next.at < armed.at,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if !earlier {
            return;
        }
        slot.armed = next;
        if let Some(armed) = armed {
            self.timers.remove(&(armed.at, id, armed.why));
        }
        if let Some(next) = next {
            self.timers.insert((next.at, id, next.why));
        }
    }

    /// Fires what is due, each connection at most once.
    pub(super) fn fire_timers(&mut self, now: Instant) {
        let mut due = alloc::vec::Vec::new();
        while let Some((at, id, why)) = self.timers.first().copied().filter(|(at, ..)| *at <= now) {
            self.timers.remove(&(at, id, why));
            due.push(id);
        }
        for id in due {
            let Some(slot) = self.slot_mut(id) else { continue };
            slot.armed = None;
            slot.connection.handle_timeout(now);
            if slot.connection.is_idle() && slot.outbox.is_empty() {
                slot.outbox.shrink();
            }
            self.touched.push_back(id);
        }
    }

    pub(super) fn next_batch(&mut self, now: Instant) -> bool {
        self.return_credit(now);
        while let Some(id) = self.filled.pop_front() {
            let mut batch = core::mem::take(&mut self.batch);
            if let Some(slot) = self.slot_mut(id) {
                slot.filled = false;
                slot.connection.take_messages(&mut batch);
            }
            self.batch = batch;
            self.batch_from = Some(id);
            if !self.batch.is_empty() {
                return true;
            }
        }
        false
    }

    fn return_credit(&mut self, now: Instant) {
        let Some(id) = self.batch_from.take() else { return };
        let mut consumed = core::mem::take(self.batch.consumed());
        if !consumed.is_empty() {
            self.with(now, id, |slot, now| slot.connection.handle_consumed(now, &mut consumed));
        }
        *self.batch.consumed() = consumed;
        self.batch.consumed().clear();
    }

    /// How many connections there are, those on their way out included.
    #[doc(hidden)]
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn connection_count(&self) -> usize {
        self.slots.iter().flatten().count().saturating_add(self.lingering.len())
    }

    /// Checks that timers match what is armed, and every machine's own invariants.
    #[doc(hidden)]
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn assert_invariants(&self) {
        self.node.assert_invariants();
        let slots = || self.slots.iter().flatten().chain(&self.lingering);
        for slot in slots() {
            slot.connection.assert_invariants();
            // What is on its way counts here and not there.
            assert!(slot.connection.leased() <= self.node.lease(slot.connection.id()));
            let next = slot.connection.next_timeout();
            let late =
                |next: crate::contract::Deadline| slot.armed.is_none_or(|armed| armed.at > next.at);
            assert!(!next.is_some_and(late), "{next:?} is not armed: {:?}", slot.armed);
        }
        let armed = slots().filter(|slot| slot.armed.is_some()).count();
        assert_eq!(armed, self.timers.len());
    }
}
