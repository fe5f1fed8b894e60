//! Bytes out: frames inside frames, sealed, lent for one vectored write.
//!
//! Nothing is framed before there is room for it in the output, and nothing framed is taken
//! back. Control comes first: the outer session's own, then the exchange, then the inner
//! session's own, then messages by their priority.

use super::Connection;
use super::lifecycle::Phase;
use crate::buffer::out::OutBuf;
use crate::error::{CloseReason, Layer};
use crate::mux::{Session, StreamId};
use crate::record::Note;
use crate::secure::SecureChannel;
use crate::time::Instant;

/// Credit on the outer stream that large transfers leave to small messages, in bytes: less than
/// half of the smallest window, so that the peer's grants keep coming.
const CREDIT_KEPT: usize = 32 * 1024;

impl<C: SecureChannel> Connection<C> {
    pub(super) fn has_output(&self) -> bool {
        if self.link.is_closed() {
            return false;
        }
        if self.channel_dirty || !self.sealed.is_empty() || !self.framed.is_empty() {
            return true;
        }
        if self.said_all || self.channel.peer().is_none() || self.phase.is_gated() {
            return false;
        }
        self.wants_framing()
    }

    fn wants_framing(&self) -> bool {
        self.outer.wants_transmit()
            || self.wants_frame(Layer::Bi)
            || self.wants_frame(Layer::Uni)
            || !self.phase.is_ending() && (self.pump_due || self.exchange.is_due())
    }

    fn wants_frame(&self, layer: Layer) -> bool {
        let (session, stream) = match layer {
            Layer::Bi => (&self.bi, self.bi_stream),
            _ => (&self.uni, self.uni_stream),
        };
        // While ending only a session that failed has something to say.
        session.wants_transmit_within(self.bulk_credit())
            && stream.is_some_and(|stream| self.outer.can_frame(stream))
            && (!self.phase.is_ending() || session.is_closed())
    }

    /// What the outer stream has credit for of large transfers, in bytes.
    fn bulk_credit(&self) -> usize {
        let credit = self.uni_stream.map_or(0, |stream| self.outer.credit(stream));
        (credit as usize).saturating_sub(CREDIT_KEPT)
    }

    /// Frames and seals until the output is full or there is nothing to frame.
    pub(super) fn fill(&mut self, now: Instant) {
        if self.link.is_closed() {
            return;
        }
        self.channel_dirty = false;
        self.flush_channel(false);
        if !self.said_all && self.channel.peer().is_some() && !self.phase.is_gated() {
            self.fill_frames(now);
        }
        if self.phase.is_ending() && !core::mem::replace(&mut self.said_all, true) {
            if !self.channel.is_transparent() {
                // What a broken channel did not seal never leaves.
                self.framed.clear();
            }
            self.channel.close();
            self.flush_channel(true);
        }
        self.arm_carrier(now);
    }

    fn fill_frames(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Ending(CloseReason::Channel(_))) {
            return;
        }
        let transparent = self.channel.is_transparent();
        let max = self.output_max(now);
        let mut bulk = max;
        loop {
            if !transparent {
                self.seal(max.saturating_sub(self.sealed.len()));
            }
            if bulk == 0 && core::mem::take(&mut self.bulk_waits) {
                bulk = max;
            }
            let filled = self.framed.len().saturating_add(self.sealed.len());
            let Some(budget) = max.checked_sub(filled).filter(|budget| *budget > 0) else { break };
            if !self.wants_framing() || !self.frame_some(now, budget, &mut bulk) {
                break;
            }
        }
        // Small messages that come one by one, each in time for the next write, must not keep bulk
        // from ever being written: it stands back once, and goes with the next one.
        self.bulk_waits |= bulk == 0 && self.wants_frame(Layer::Uni);
        if self.drain_is_over() {
            self.end(now);
        }
        if self.phase.is_ending() {
            // Our end leaves even where the output is full, and before the channel's own.
            self.frame_some(now, self.setup.config.output_max, &mut bulk);
            if !transparent {
                self.seal(usize::MAX);
            }
        }
    }

    /// How much may stand in the output. Where small messages come beside large ones the peer lets
    /// little be under way: it is to read one half while the other is written.
    fn output_max(&self, now: Instant) -> usize {
        let max = self.setup.config.output_max;
        if self.lanes.are_mixed(now) { max / 2 } else { max }
    }

    /// Takes what the channel has to say by itself; `last` is what it says after its close.
    pub(super) fn flush_channel(&mut self, last: bool) {
        let before = self.sealed.len();
        self.channel.flush(&mut self.sealed);
        let bytes = self.sealed.len().saturating_sub(before);
        if bytes > 0 {
            self.note(|| Note::Flushed { bytes, last });
        }
    }

    fn seal(&mut self, room: usize) {
        let (unsealed, before) = (self.framed.len(), self.sealed.len());
        let plain = self.channel.seal(&mut self.framed, &mut self.sealed, room);
        let sealed = self.sealed.len().saturating_sub(before);
        if unsealed > 0 || sealed > 0 {
            self.note(|| Note::Sealed { plain, sealed });
        }
        if plain > 0 {
            let unsealed = self.framed.len() as u64;
            self.marks.put(self.sealed.len(), self.framed.position().saturating_sub(unsealed));
        }
    }

    /// Frames what comes next; false if there was nothing.
    fn frame_some(&mut self, now: Instant, budget: usize, bulk: &mut usize) -> bool {
        let before = self.framed.position();
        self.outer.transmit(now, &mut self.framed, budget);
        if self.wants_frame(Layer::Bi) {
            if let Some(stream) = self.bi_stream {
                frame(now, &mut self.outer, stream, &mut self.bi, &mut self.framed, budget, &mut 0);
            }
        }
        if !self.phase.is_ending() {
            self.pump_due = false;
            self.write_pushes(now);
            self.lanes.pump(now, &mut self.uni);
        }
        if self.wants_frame(Layer::Uni) {
            *bulk = self.bulk_credit().min(*bulk);
            if let Some(stream) = self.uni_stream {
                frame(now, &mut self.outer, stream, &mut self.uni, &mut self.framed, budget, bulk);
            }
        }
        let position = self.framed.position();
        if self.tape.is_some() && position != before {
            self.note_framed(position.saturating_sub(before));
        }
        let mut is_free = self.lanes.look_at_opening(&mut self.uni);
        while let Some(stream) = self.uni.poll_drained() {
            self.exchange.unpark();
            self.lanes.drained(now, &mut self.uni, stream, position);
            is_free = true;
        }
        // There is a stream for what waits.
        self.pump_due |= is_free && self.lanes.has_waiting();
        while self.bi.poll_drained().is_some() {}
        self.watch_load();
        position != before
    }

    pub(super) fn output<'a>(&'a self, chunks: &mut [&'a [u8]]) -> usize {
        let mut count = 0_usize;
        let mut rest = chunks;
        if !self.sealed.is_empty() {
            let Some((first, others)) = rest.split_first_mut() else { return 0 };
            *first = &self.sealed;
            rest = others;
            count = 1;
        }
        if self.channel.is_transparent() {
            count = count.saturating_add(self.framed.chunks(rest));
        }
        count
    }

    pub(super) fn on_transmitted(&mut self, now: Instant, n: usize) {
        let sealed = n.min(self.sealed.len());
        self.sealed.advance(sealed);
        if self.sealed.is_empty() {
            self.framed.advance(n.saturating_sub(sealed));
        }
        self.marks.advance(sealed);
        let left = self.left_position();
        self.lanes.transmitted(left);
        if n > 0 {
            self.counters.writes = self.counters.writes.saturating_add(1);
            self.counters.sent_bytes = self.counters.sent_bytes.saturating_add(n as u64);
            self.outer.handle_transmitted(now, left);
            self.carrier_deadline = None;
            self.count_moved(now, n);
        }
        self.arm_carrier(now);
        self.rest();
    }

    /// The position in the framed output up to which the carrier has taken it.
    pub(super) fn left_position(&self) -> u64 {
        if self.channel.is_transparent() {
            self.framed.position().saturating_sub(self.framed.len() as u64)
        } else {
            self.marks.position()
        }
    }

    /// The carrier has to take something in time, as long as there is something to take.
    fn arm_carrier(&mut self, now: Instant) {
        if self.sealed.is_empty() && self.framed.is_empty() {
            self.carrier_deadline = None;
        } else if self.carrier_deadline.is_none() {
            self.carrier_deadline = Some(now.after(self.setup.config.send_deadline));
        }
    }
}

/// One outer frame with what an inner session has to send.
fn frame(
    now: Instant,
    outer: &mut Session,
    stream: StreamId,
    inner: &mut Session,
    out: &mut OutBuf,
    budget: usize,
    bulk: &mut usize,
) {
    if let Some(slot) = outer.frame_start(stream, out) {
        let body = inner.transmit_within(now, out, slot.max.min(budget), bulk);
        outer.frame_end(slot, body, out);
    }
}
