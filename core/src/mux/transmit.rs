//! Which frames leave, and in which order.
//!
//! Control frames go first: go-away, pongs, ping, refusals, then per stream RST, or ACK with
//! credit and FIN, then SYNs. Between any two data frames they are looked at again.

use super::header::{Flags, HEADER_LEN, Header, Kind};
use super::session::Session;
use super::stream::Phase;
use super::{Priority, StreamId, UNACKNOWLEDGED_MAX};
use crate::buffer::out::{Mark, OutBuf};
use crate::time::Instant;

/// The smallest body that a frame made on demand is worth: a header and one byte.
const SLOT_MIN: usize = HEADER_LEN + 1;

/// A frame that the budget would cut below this waits for the next call, unless it is the first.
pub(super) const PIECE_MIN: usize = 1024;

/// A frame under way whose header is reserved; see [`Session::frame_start`].
#[derive(Debug)]
#[must_use = "a frame that was started must be ended"]
pub struct FrameSlot {
    /// The stream.
    pub stream: StreamId,
    /// The longest body that may follow, in bytes: at least 13, at most `frame_max`.
    pub max: usize,
    mark: Mark,
}

/// Where frames go, and how much room there is.
struct Room<'a> {
    out: &'a mut OutBuf,
    left: usize,
    /// Of these bytes, what may be payload of large transfers, if they have a share of their own.
    bulk: Option<&'a mut usize>,
}

impl Room<'_> {
    const fn fits_header(&self) -> bool {
        self.left >= HEADER_LEN
    }

    fn bulk(&self) -> usize {
        self.bulk.as_deref().copied().unwrap_or(usize::MAX)
    }

    /// Puts a frame without body; false if there is no room for it.
    fn put(&mut self, kind: Kind, flags: Flags, stream: u32, length: u32) -> bool {
        let fits = self.fits_header();
        if fits {
            self.out.put(&Header { kind, flags, stream, length }.encode());
            self.left = self.left.saturating_sub(HEADER_LEN);
        }
        fits
    }
}

impl Session {
    /// Frames what there is to say, at most `budget` bytes; gives their number. What is framed is
    /// committed: it must reach the peer, in order.
    ///
    /// A budget below 13 bytes may frame nothing although [`Session::wants_transmit`].
    pub fn transmit(&mut self, now: Instant, out: &mut OutBuf, budget: usize) -> usize {
        self.frame_all(now, Room { out, left: budget, bulk: None })
    }

    /// The same, with at most `bulk` bytes of [`Priority::Bulk`], and none behind payload of a
    /// higher class: that one may leave first. What is left of `bulk` is 0 after such payload;
    /// less than 1 KiB is as good as none.
    pub fn transmit_within(
        &mut self,
        now: Instant,
        out: &mut OutBuf,
        budget: usize,
        bulk: &mut usize,
    ) -> usize {
        self.frame_all(now, Room { out, left: budget, bulk: Some(bulk) })
    }

    fn frame_all(&mut self, now: Instant, mut room: Room<'_>) -> usize {
        let now = self.clock.advance(now);
        let budget = room.left;
        while self.frame_control(now, &mut room) {
            let is_first = room.left == budget;
            if !self.frame_data(&mut room, is_first) {
                break;
            }
        }
        budget.saturating_sub(room.left)
    }

    /// Starts a data frame whose body its owner makes: reserves the header at the end of `out`.
    /// Until [`Session::frame_end`] nothing but the body may be put there.
    ///
    /// `None` if the stream is not open for sending, has bytes queued, or has credit for less
    /// than 13 bytes, the least that an inner frame needs.
    pub fn frame_start(&mut self, stream: StreamId, out: &mut OutBuf) -> Option<FrameSlot> {
        let max = self.frame_room(stream)?;
        Some(FrameSlot { stream, max, mark: out.reserve_header() })
    }

    /// Whether [`Session::frame_start`] would give a slot.
    #[must_use]
    pub fn can_frame(&self, stream: StreamId) -> bool {
        self.frame_room(stream).is_some()
    }

    fn frame_room(&self, stream: StreamId) -> Option<usize> {
        if self.failed.is_some() {
            return None;
        }
        let found = self.look(stream)?;
        let credit = usize::try_from(found.send.left()).unwrap_or(usize::MAX);
        let max = credit.min(self.config.frame_max);
        let open = found.phase == Phase::Open && !found.ack_pending && !found.finishing;
        (open && found.queued() == 0 && max >= SLOT_MIN).then_some(max)
    }

    /// Ends a frame: its body are the last `body_len` bytes of `out`. With 0 the header is taken
    /// back. More than the slot's `max` is the owner's mistake: false, as when `out` gave up the
    /// header meanwhile, and what stands in `out` is no frame.
    pub fn frame_end(&mut self, frame: FrameSlot, body_len: usize, out: &mut OutBuf) -> bool {
        let FrameSlot { stream, max, mark } = frame;
        if body_len == 0 {
            return out.truncate_mark(mark);
        }
        let length = u32::try_from(body_len).unwrap_or(u32::MAX);
        let header = Header { kind: Kind::Data, flags: Flags::NONE, stream: stream.0, length };
        if body_len > max || !out.patch(mark, header.encode()) {
            return false;
        }
        let slot = self.visible(stream);
        if let Some(stream) = slot.and_then(|slot| self.slots.get_mut(slot)) {
            stream.spend(body_len);
        }
        true
    }

    /// Frames everything but payload; false if the room was not enough, or the session has ended.
    fn frame_control(&mut self, now: Instant, room: &mut Room<'_>) -> bool {
        if let Some(code) = self.go_away {
            if !room.put(Kind::GoAway, Flags::NONE, 0, code as u32) {
                return false;
            }
            self.go_away = None;
        }
        if self.failed.is_some() {
            return false;
        }
        while let Some(value) = self.pongs.front().copied() {
            if !room.put(Kind::Ping, Flags::ACK, 0, value) {
                return false;
            }
            self.pongs.pop_front();
        }
        if self.ping.wants_transmit() {
            if !room.fits_header() {
                return false;
            }
            let end = room.out.position().saturating_add(HEADER_LEN as u64);
            if let Some(value) = self.ping.frame(now, end) {
                room.put(Kind::Ping, Flags::SYN, 0, value);
            }
        }
        while let Some(stream) = self.refused.front().copied() {
            if !room.put(Kind::WindowUpdate, Flags::RST, stream, 0) {
                return false;
            }
            self.refused.pop_front();
        }
        self.frame_streams(room) && self.frame_syns(room) && self.frame_streams(room)
    }

    /// Frames the control frames of streams.
    fn frame_streams(&mut self, room: &mut Room<'_>) -> bool {
        while let Some(slot) = self.control.front() {
            if !self.frame_stream(slot, room) {
                return false;
            }
        }
        true
    }

    /// Frames the control frames of one stream and takes it off the list.
    fn frame_stream(&mut self, slot: u32, room: &mut Room<'_>) -> bool {
        let Some(stream) = self.slots.get_mut(slot) else { return false };
        let Some(id) = stream.id() else { return false };
        if stream.phase == Phase::Resetting {
            let done = room.put(Kind::WindowUpdate, Flags::RST, id, 0);
            if done {
                self.forget(slot);
            }
            return done;
        }
        if stream.ack_pending || stream.recv.has_pending() {
            if !room.fits_header() {
                return false;
            }
            let flags = if stream.ack_pending { Flags::ACK } else { Flags::NONE };
            stream.ack_pending = false;
            room.put(Kind::WindowUpdate, flags, id, stream.recv.take_pending());
        }
        if stream.fin_due() {
            if !room.put(Kind::WindowUpdate, Flags::FIN, id, 0) {
                return false;
            }
            stream.fin_framed = true;
        }
        self.refresh(slot);
        self.close_if_over(slot);
        true
    }

    /// Frames SYNs, oldest first, as far as the peer's backlog is sure to take them.
    fn frame_syns(&mut self, room: &mut Room<'_>) -> bool {
        while self.counts.unacknowledged < UNACKNOWLEDGED_MAX {
            let Some(slot) = self.opening.front() else { break };
            let id = self.slots.get(slot).and_then(|stream| stream.id());
            if !room.put(Kind::WindowUpdate, Flags::SYN, id.unwrap_or(0), 0) {
                return false;
            }
            self.opening.pop_front(&mut self.slots);
            if let Some(stream) = self.slots.get_mut(slot) {
                stream.phase = Phase::Open;
                stream.unacknowledged = true;
            }
            self.counts.unacknowledged = self.counts.unacknowledged.saturating_add(1);
            self.refresh(slot);
        }
        true
    }

    /// Frames one piece of the stream whose turn it is; false if there is none or no room.
    fn frame_data(&mut self, room: &mut Room<'_>, is_first: bool) -> bool {
        let with_bulk = room.bulk() >= PIECE_MIN;
        let Some(slot) = self.scheduler.pick(with_bulk) else { return false };
        let Some(stream) = self.slots.get_mut(slot) else { return false };
        // Large transfers go one after another; only who else is ready has them cut.
        let others = match stream.priority {
            Priority::Bulk => self.scheduler.ready(false),
            _ => self.scheduler.ready(true).saturating_sub(1),
        };
        let cut = if others == 0 { self.config.frame_max } else { self.config.quantum };
        let cut = cut.min(self.config.frame_max);
        let Some(id) = stream.id() else { return false };
        let credit = usize::try_from(stream.send.left()).unwrap_or(usize::MAX);
        let wanted = stream.queued().min(credit).min(cut);
        let is_bulk = stream.priority == Priority::Bulk;
        let wanted = if is_bulk { wanted.min(room.bulk()) } else { wanted };
        let length = wanted.min(room.left.saturating_sub(HEADER_LEN));
        if length == 0 || (length < wanted && length < PIECE_MIN && !is_first) {
            return false;
        }
        let length_u32 = u32::try_from(length).unwrap_or(u32::MAX);
        room.put(Kind::Data, Flags::NONE, id, length_u32);
        stream.frame_payload(length, room.out);
        room.left = room.left.saturating_sub(length);
        if let Some(bulk) = &mut room.bulk {
            **bulk = if is_bulk { bulk.saturating_sub(length) } else { 0 };
        }
        let is_drained = stream.queued() == 0;
        self.counts.queued = self.counts.queued.saturating_sub(length);
        if is_drained {
            self.drained.push_back(&mut self.slots, slot);
        }
        self.scheduler.framed(&mut self.slots, slot, length);
        self.refresh(slot);
        true
    }
}
