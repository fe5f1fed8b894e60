//! How streams come off the lists and out of the counts: closing, resetting, forgetting.

use super::StreamId;
use super::credit::Tune;
use super::error::SessionError;
use super::session::Session;
use super::stream::{Phase, Stream};

impl Session {
    /// The slot of a stream that the owner knows.
    pub(super) fn visible(&mut self, stream: StreamId) -> Option<u32> {
        let slot = self.slots.find(stream.0)?;
        self.slots.get(slot).filter(|stream| stream.is_visible()).map(|_| slot)
    }

    /// Ends the session; the peer is told, if it is not the one who said so.
    pub(super) fn fail(&mut self, error: SessionError) -> SessionError {
        if let Some(first) = self.failed {
            return first;
        }
        self.failed = Some(error);
        self.go_away = error.code();
        error
    }

    /// Puts a stream on the lists that its state demands, and off the others.
    pub(super) fn refresh(&mut self, slot: u32) {
        match self.slots.get(slot) {
            Some(stream) if stream.wants_control() => self.control.push_back(&mut self.slots, slot),
            Some(_) => {
                self.control.remove(&mut self.slots, slot);
            }
            None => return,
        }
        self.scheduler.update(&mut self.slots, slot);
    }

    /// Gives credit back for `bytes` that were consumed.
    pub(super) fn credit_back(&mut self, slot: u32, bytes: usize) {
        let tune = Tune {
            rtt: self.ping.rtt(),
            window_max: self.config.window_max,
            room: self.growth_max.saturating_sub(self.grown),
        };
        let now = self.clock.now();
        let Some(stream) = self.slots.get_mut(slot) else { return };
        if stream.phase == Phase::Unaccepted || !stream.takes_data() {
            stream.recv.withhold(bytes);
        } else {
            let growth = stream.recv.release(bytes, now, tune);
            self.grown = self.grown.saturating_add(growth.bytes);
            if growth.lack > 0 {
                let allowed = self.config.window_growth_max.saturating_sub(self.growth_max);
                self.growth_lack = growth.lack.min(allowed);
            }
        }
    }

    /// Takes note that the peer knows a stream of ours; true if that was news.
    pub(super) fn settle(&mut self, slot: u32) -> bool {
        let Some(stream) = self.slots.get_mut(slot) else { return false };
        let news = core::mem::replace(&mut stream.unacknowledged, false);
        if news {
            self.counts.unacknowledged = self.counts.unacknowledged.saturating_sub(1);
        }
        news
    }

    /// Forgets a stream whose both directions are closed. One that the peer has not acknowledged
    /// stays hidden until it does, so that never more than the peer's backlog are under way.
    pub(super) fn close_if_over(&mut self, slot: u32) {
        let over = self.slots.get(slot).filter(|stream| stream.is_over() && stream.is_visible());
        let Some(unacknowledged) = over.map(|stream| stream.unacknowledged) else { return };
        self.hide(slot);
        if !unacknowledged {
            self.slots.remove(slot);
        } else if let Some(stream) = self.slots.get_mut(slot) {
            stream.phase = Phase::Lingering;
        }
    }

    /// Forgets a stream at once.
    pub(super) fn forget(&mut self, slot: u32) {
        self.hide(slot);
        self.settle(slot);
        self.slots.remove(slot);
    }

    /// Resets a stream from this side: an RST is to be framed, if the peer knows the stream.
    pub(super) fn start_reset(&mut self, slot: u32) {
        if !self.slots.get(slot).is_some_and(Stream::is_on_wire) {
            self.forget(slot);
            return;
        }
        self.hide(slot);
        if let Some(stream) = self.slots.get_mut(slot) {
            stream.phase = Phase::Resetting;
            stream.drop_queue();
        }
        self.counts.resetting = self.counts.resetting.saturating_add(1);
        self.control.push_back(&mut self.slots, slot);
    }

    /// Takes a stream off all lists and out of all counts but that of unacknowledged ones. The
    /// caller changes its phase or removes it.
    fn hide(&mut self, slot: u32) {
        self.control.remove(&mut self.slots, slot);
        self.opening.remove(&mut self.slots, slot);
        self.drained.remove(&mut self.slots, slot);
        self.scheduler.remove(&mut self.slots, slot);
        let Some(stream) = self.slots.get(slot) else { return };
        let counts = &mut self.counts;
        match stream.phase {
            Phase::Vacant | Phase::Lingering => return,
            Phase::Resetting => {
                counts.resetting = counts.resetting.saturating_sub(1);
                return;
            }
            Phase::Unaccepted => counts.unaccepted = counts.unaccepted.saturating_sub(1),
            Phase::Opening | Phase::Open => {}
        }
        let open = if stream.local { &mut counts.local_open } else { &mut counts.remote_open };
        *open = open.saturating_sub(1);
        counts.queued = counts.queued.saturating_sub(stream.queued());
        let grown = stream.recv.grown();
        self.grown = self.grown.saturating_sub(grown);
        if grown > 0 {
            self.growth_lack = 0;
        }
    }
}
