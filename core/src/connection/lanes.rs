//! Lanes: which message travels on which send stream.
//!
//! Messages come from the outbox. A batch of small ones borrows one stream of the pool until its
//! last byte is framed; so does each large one, as long as large ones use at most half of the
//! pool. A stream that the application borrowed is a lane of its own, whose messages stay in
//! order. What a failed stream had not begun to send goes to another; the rest is counted.
//!
//! Bounds: the outbox holds half more than `outbox_max`, a small message and a large one; on
//! streams stand unframed at most `outbox_max` bytes and a batch of small messages, and four large
//! ones; parcels that came back wait in `pending`, at most what the lanes held, plus what other
//! connections of the peer left over.

use alloc::boxed::Box;
#[cfg(any(test, feature = "fuzzing"))]
mod check;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use core::time::Duration;

use super::mailbox::Tally;
use super::parcel::{Parcel, parcel_of};
use crate::config::Config;
use crate::error::{BorrowError, UndeliveredReason};
use crate::mux::{Priority, Session, StreamId};
use crate::pool::{self, Item, Outbox, PoolCounts, Returned, SendStreamPool, Sizes};
use crate::snapshot::Traffic;
use crate::time::Instant;

/// How often messages are moved from a stream that the peer reset to another one.
const ATTEMPTS_MAX: u8 = 3;

/// Large messages of one connection that stand on streams at a time.
const LARGE_MAX: usize = 4;

/// A lane's stream holds about this much more before the next message of the lane is taken.
const LENT_AHEAD: usize = 64 * 1024;

/// A borrowed stream of one connection; a recycled slot gets a new generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LaneId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// What the holder of a borrowed stream should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum LaneNews {
    /// Everything given so far is framed: it takes more.
    Wants,
    /// The stream is gone, with what was not framed.
    Lost(UndeliveredReason),
}

#[derive(Debug)]
struct Lane {
    stream: StreamId,
    parcels: VecDeque<Parcel>,
    /// Bytes of `parcels`; what the session still has queued of them is not framed yet.
    len: usize,
    deadline: Instant,
    lent: Option<Box<Lent>>,
}

/// The application's side of a borrowed stream.
#[derive(Debug)]
struct Lent {
    outbox: Outbox,
    /// Memory of the outbox, as it is counted in `lent`.
    counted: usize,
    returning: bool,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    lane: Option<Lane>,
}

/// The send streams of one connection and what travels on them.
#[derive(Debug)]
pub(super) struct Lanes {
    pool: SendStreamPool<StreamId>,
    outbox: Outbox,
    /// Of small messages in the outbox, and of large ones.
    outbox_deadlines: [Instant; 2],
    /// Until when the next small message is expected.
    small_until: Instant,
    /// By their deadlines.
    pending: VecDeque<Parcel>,
    /// Bytes of `pending` and `handed`.
    waiting: usize,
    /// Memory of the outboxes of borrowed streams.
    lent: usize,
    /// Framed as a whole, but not yet taken by the carrier as far as the position in the output
    /// tells. Bound: the last bytes of all are in the output, which holds `output_max` and a
    /// frame; so each is small and there as a whole, or its stream's last.
    handed: VecDeque<(u64, Parcel)>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Which slot a stream's lane is in; as many entries as lanes.
    by_stream: Vec<(StreamId, u32)>,
    /// Deadlines in their order; those of lanes that are done are passed over. Bound: five times
    /// the lanes there were at once, and 64.
    deadlines: VecDeque<(Instant, LaneId)>,
    /// Opened, their SYN not framed yet, oldest first.
    opening: VecDeque<StreamId>,
    unframed: usize,
    /// The part of it that batches of small messages have.
    unframed_small: usize,
    unframed_max: usize,
    /// Large messages on streams, at most [`LARGE_MAX`].
    large: usize,
    news: VecDeque<(LaneId, LaneNews)>,
    send_deadline: Duration,
    /// Emptied deques of finished lanes, so that a new lane allocates nothing.
    spare: Vec<VecDeque<Parcel>>,
    pub(super) undelivered: Tally,
    /// What was accepted for this connection, and refused, so far.
    pub(super) traffic: Traffic,
}

impl Lanes {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            pool: pool_of(config),
            outbox: Outbox::new(outbox_config(config)),
            outbox_deadlines: [Instant::MAX; 2],
            small_until: Instant::ZERO,
            pending: VecDeque::new(),
            waiting: 0,
            lent: 0,
            handed: VecDeque::new(),
            slots: Vec::new(),
            free: Vec::new(),
            by_stream: Vec::new(),
            deadlines: VecDeque::new(),
            opening: VecDeque::new(),
            unframed: 0,
            unframed_small: 0,
            unframed_max: config.outbox_max,
            large: 0,
            news: VecDeque::new(),
            send_deadline: config.send_deadline,
            spare: Vec::new(),
            undelivered: Tally::default(),
            traffic: Traffic::default(),
        }
    }

    pub(super) fn start(&mut self, now: Instant) {
        self.pool.start(now);
    }

    /// Small and large messages wait for none but their like: nor those that came back.
    pub(super) fn wants_messages(&self) -> Sizes {
        let held = self.outbox.sizes();
        let small = !held.small && self.pending.iter().all(Parcel::is_large);
        Sizes { small, large: !held.large }
    }

    pub(super) fn handle_messages(&mut self, now: Instant, outbox: &mut Outbox) {
        let (wanted, there) = (self.wants_messages(), outbox.sizes());
        let taken =
            Sizes { small: wanted.small && there.small, large: wanted.large && there.large };
        outbox.take_traffic(&mut self.traffic);
        self.outbox.swap_sizes(outbox, taken);
        let [small, large] = &mut self.outbox_deadlines;
        let deadline = now.after(self.send_deadline);
        if taken.small {
            *small = deadline;
            self.small_until = now.after(super::beside::HOLD);
        }
        if taken.large {
            *large = deadline;
        }
    }

    /// Whether large messages are on their way, and small ones have come lately.
    pub(super) fn are_mixed(&self, now: Instant) -> bool {
        self.large > 0 && now < self.small_until
    }

    /// Takes messages that another connection of the peer left over; those whose time is over
    /// are counted.
    pub(super) fn adopt(&mut self, now: Instant, parcels: Vec<Parcel>) {
        for parcel in parcels {
            if parcel.deadline <= now {
                parcel.count(UndeliveredReason::Deadline, &mut self.undelivered);
            } else {
                self.wait(parcel);
            }
        }
    }

    fn wait(&mut self, parcel: Parcel) {
        self.waiting = self.waiting.saturating_add(parcel.len());
        in_order(&mut self.pending, parcel, |parcel| parcel.deadline);
    }

    pub(super) fn load(&self) -> pool::Load {
        let counts = self.pool.counts();
        pool::Load {
            queued_bytes: self.unframed.saturating_add(self.outbox.bytes()),
            idle_streams: counts.idle,
            current: counts.current,
            max: counts.max,
        }
    }

    /// Bytes of the messages that were accepted and have not left.
    pub(super) fn memory(&self) -> usize {
        let waiting = self.unframed.saturating_add(self.waiting);
        waiting.saturating_add(self.lent).saturating_add(self.outbox.memory())
    }

    /// Whether everything accepted is framed.
    pub(super) fn is_drained(&self) -> bool {
        let lent_empty = |slot: &Slot| {
            let lent = slot.lane.as_ref().and_then(|lane| lane.lent.as_ref());
            lent.is_none_or(|lent| lent.outbox.is_empty())
        };
        self.unframed == 0
            && self.outbox.is_empty()
            && self.pending.is_empty()
            && self.slots.iter().all(lent_empty)
    }

    /// The numbers of its pool.
    pub(super) fn counts(&self) -> PoolCounts {
        self.pool.counts()
    }

    /// Whether the peer gives no credit to a stream that has something to send, or to any that
    /// could take what waits; and whether what waits could go, if only a stream were free.
    /// O(streams).
    pub(super) fn wants(&self, uni: &Session) -> (bool, bool) {
        let mut lanes = self.slots.iter().filter_map(|slot| slot.lane.as_ref());
        let stuck = lanes.any(|lane| uni.queued(lane.stream) > 0 && uni.credit(lane.stream) == 0);
        let waits = self.has_waiting() && !self.pool.can_lend(|stream| uni.credit(*stream));
        let idle = self.pool.counts().idle;
        (stuck || waits && idle > 0, waits && idle == 0)
    }

    /// Whether messages wait for a stream.
    pub(super) fn has_waiting(&self) -> bool {
        !self.pending.is_empty() || !self.outbox.is_empty()
    }

    /// Brings streams and messages together, as far as both are there.
    pub(super) fn pump(&mut self, now: Instant, uni: &mut Session) {
        self.open_streams(now, uni);
        while self.place_next(now, uni) {}
        self.open_streams(now, uni);
    }

    fn open_streams(&mut self, now: Instant, uni: &mut Session) {
        for _ in 0..self.pool.poll_open() {
            match uni.open(now, Priority::Normal) {
                Ok(stream) => {
                    // Its opener only writes (spec 1.7).
                    uni.close_read(stream);
                    self.opening.push_back(stream);
                }
                Err(_) => {
                    let _known = self.pool.open_failed(now);
                }
            }
        }
        self.look_at_opening(uni);
    }

    /// Streams whose SYN is framed by now can be borrowed; whether there were some.
    pub(super) fn look_at_opening(&mut self, uni: &mut Session) -> bool {
        let before = self.opening.len();
        while let Some(stream) = self.opening.front().copied() {
            if uni.is_opening(stream) {
                break;
            }
            self.opening.pop_front();
            if self.pool.opened(stream) == Ok(Returned::Close) {
                uni.finish(stream);
            }
        }
        self.opening.len() < before
    }

    /// Puts the next parcel on a stream; false if there is none, or no stream for it.
    fn place_next(&mut self, now: Instant, uni: &mut Session) -> bool {
        let (small, large) = (self.may_place(false), self.may_place(true));
        let may_place = |parcel: &Parcel| if parcel.is_large() { large } else { small };
        if let Some(at) = self.pending.iter().position(may_place) {
            let Some(stream) = self.lend_any(uni) else { return false };
            if let Some(parcel) = self.pending.remove(at) {
                self.waiting = self.waiting.saturating_sub(parcel.len());
                self.assign(uni, stream, parcel);
            }
            return true;
        }
        let latest = now.after(self.send_deadline);
        let [small_deadline, large_deadline] = self.outbox_deadlines.map(|at| at.min(latest));
        if small && self.outbox.small_messages() > 0 {
            if let Some(stream) = self.lend_any(uni) {
                // What the stream has credit for, so that the batch never waits half way.
                let credit = uni.credit(stream) as usize;
                match self.outbox.take_small_within(credit) {
                    Some(batch) => {
                        self.assign(uni, stream, Parcel::from_small(batch.bytes, small_deadline));
                    }
                    None => self.give_stream_back(uni, stream),
                }
                return true;
            }
        }
        if large && self.outbox.large_messages() > 0 {
            if let Some(stream) = self.lend_any(uni) {
                match self.outbox.take_large() {
                    Some(large) => {
                        self.assign(uni, stream, Parcel::from_large(large, large_deadline));
                    }
                    None => self.give_stream_back(uni, stream),
                }
                return true;
            }
        }
        false
    }

    /// Whether one more parcel may stand unframed. Large and small ones are counted apart, so
    /// that a large message whose stream has no credit does not hold up small ones.
    fn may_place(&self, large: bool) -> bool {
        if large {
            // Large messages leave half of the pool to small ones.
            self.large < (self.pool.current() / 2).clamp(1, LARGE_MAX)
        } else {
            self.unframed_small < self.unframed_max
        }
    }

    fn lend_any(&mut self, uni: &Session) -> Option<StreamId> {
        self.pool.borrow(|stream| uni.credit(*stream)).ok()
    }

    fn assign(&mut self, uni: &mut Session, stream: StreamId, parcel: Parcel) {
        let large = parcel.is_large();
        uni.set_priority(stream, if large { Priority::Bulk } else { Priority::Normal });
        let deadline = parcel.deadline;
        if large {
            self.large = self.large.saturating_add(1);
        } else {
            self.unframed_small = self.unframed_small.saturating_add(parcel.len());
        }
        let id = self.insert(stream, None);
        self.load_lane(uni, id, parcel);
        in_order(&mut self.deadlines, (deadline, id), |(deadline, _)| *deadline);
    }

    fn insert(&mut self, stream: StreamId, lent: Option<Box<Lent>>) -> LaneId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len().saturating_sub(1)).unwrap_or(u32::MAX)
        });
        let parcels = self.spare.pop().unwrap_or_default();
        let mut generation = 0;
        if let Some(slot) = self.slots.get_mut(index as usize) {
            generation = slot.generation;
            slot.lane = Some(Lane { stream, parcels, len: 0, deadline: Instant::MAX, lent });
        }
        self.by_stream.push((stream, index));
        LaneId { index, generation }
    }

    fn load_lane(&mut self, uni: &mut Session, id: LaneId, parcel: Parcel) {
        let Some(lane) = lane_mut(&mut self.slots, id) else { return };
        parcel.write(uni, lane.stream);
        lane.deadline = lane.deadline.min(parcel.deadline);
        lane.len = lane.len.saturating_add(parcel.len());
        self.unframed = self.unframed.saturating_add(parcel.len());
        lane.parcels.push_back(parcel);
    }

    fn give_stream_back(&mut self, uni: &mut Session, stream: StreamId) {
        if self.pool.give_back(stream) != Ok(Returned::Kept) {
            uni.finish(stream);
        }
    }

    /// The carrier has taken the output up to `position`.
    pub(super) fn transmitted(&mut self, position: u64) {
        while self.handed.front().is_some_and(|(end, _)| *end <= position) {
            let Some((_, parcel)) = self.handed.pop_front() else { break };
            self.waiting = self.waiting.saturating_sub(parcel.len());
        }
    }

    /// The last byte that was queued on a stream is framed; the output ends at `position`.
    pub(super) fn drained(
        &mut self,
        now: Instant,
        uni: &mut Session,
        stream: StreamId,
        position: u64,
    ) {
        let Some(id) = self.lane_of(stream) else { return };
        let Some(slot) = self.slots.get_mut(id.index as usize) else { return };
        let Some(lane) = &mut slot.lane else { return };
        self.unframed = self.unframed.saturating_sub(lane.len);
        let large = lane.parcels.iter().any(Parcel::is_large);
        if lane.lent.is_none() && !large {
            self.unframed_small = self.unframed_small.saturating_sub(lane.len);
        }
        self.waiting = self.waiting.saturating_add(lane.len);
        lane.len = 0;
        lane.deadline = Instant::MAX;
        self.handed.extend(lane.parcels.drain(..).map(|parcel| (position, parcel)));
        if lane.lent.is_some() {
            self.feed_lent(now, uni, id);
        } else {
            self.large = self.large.saturating_sub(usize::from(large));
            self.remove(id);
            self.give_stream_back(uni, stream);
        }
        self.pass_over_deadlines();
    }

    fn lane_of(&self, stream: StreamId) -> Option<LaneId> {
        let (_, index) = self.by_stream.iter().find(|(other, _)| *other == stream)?;
        let generation = self.slots.get(*index as usize)?.generation;
        Some(LaneId { index: *index, generation })
    }

    fn remove(&mut self, id: LaneId) -> Option<Lane> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let mut lane = slot.lane.take()?;
        self.lent = self.lent.saturating_sub(lane.lent.as_ref().map_or(0, |lent| lent.counted));
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index);
        self.by_stream.retain(|(stream, _)| *stream != lane.stream);
        let mut parcels = core::mem::take(&mut lane.parcels);
        parcels.clear();
        self.spare.push(parcels);
        Some(lane)
    }

    fn pass_over_deadlines(&mut self) {
        // One stream that stands still must not keep the deadlines of all others after it.
        if self.deadlines.len() > self.slots.len().saturating_mul(4).saturating_add(64) {
            let slots = &mut self.slots;
            self.deadlines.retain(|(deadline, id)| {
                lane_mut(slots, *id).is_some_and(|lane| lane.deadline <= *deadline)
            });
        }
        while let Some((deadline, id)) = self.deadlines.front().copied() {
            match lane_mut(&mut self.slots, id) {
                Some(lane) if lane.deadline <= deadline => break,
                _ => self.deadlines.pop_front(),
            };
        }
    }

    /// A stream failed: what had not begun to leave goes to another one, the rest is counted.
    fn fail(&mut self, id: LaneId, unsent: usize, reason: UndeliveredReason, retry: bool) {
        let Some(lane) = lane_mut(&mut self.slots, id) else { return };
        let mut framed = lane.len.saturating_sub(unsent);
        let mut parcels = core::mem::take(&mut lane.parcels);
        self.unframed = self.unframed.saturating_sub(lane.len);
        lane.len = 0;
        let lent = self.remove(id).and_then(|lane| lane.lent);
        for parcel in parcels.drain(..) {
            let len = parcel.len();
            if lent.is_none() && parcel.is_large() {
                self.large = self.large.saturating_sub(1);
            } else if lent.is_none() {
                self.unframed_small = self.unframed_small.saturating_sub(len);
            }
            let rest = parcel.split(framed.min(len), reason, &mut self.undelivered);
            framed = framed.saturating_sub(len);
            let Some(mut rest) = rest else { continue };
            rest.attempts = rest.attempts.saturating_add(1);
            // Order holds on a borrowed stream only: its messages go nowhere else.
            if retry && lent.is_none() && rest.attempts <= ATTEMPTS_MAX {
                self.wait(rest);
            } else {
                rest.count(reason, &mut self.undelivered);
            }
        }
        if let Some(mut lent) = lent {
            self.count_outbox(&mut lent.outbox, reason);
            self.news.push_back((id, LaneNews::Lost(reason)));
        }
        self.pass_over_deadlines();
    }

    fn count_outbox(&mut self, outbox: &mut Outbox, reason: UndeliveredReason) {
        outbox.take_traffic(&mut self.traffic);
        while let Some(item) = outbox.take_next() {
            parcel_of(item, Instant::MAX).count(reason, &mut self.undelivered);
        }
    }

    /// The peer reset one of our streams, of whose bytes `unsent` were not framed.
    pub(super) fn stream_reset(&mut self, now: Instant, stream: StreamId, unsent: usize) {
        match self.opening.iter().position(|opening| *opening == stream) {
            // Announced, and the pool does not know it yet.
            Some(at) => {
                self.opening.remove(at);
                let _known = self.pool.open_failed(now);
            }
            None => {
                let _known = self.pool.refused(now, stream);
            }
        }
        if let Some(id) = self.lane_of(stream) {
            self.fail(id, unsent, UndeliveredReason::StreamReset, true);
        }
    }

    /// When the next message has to be framed, or the pool may open again.
    pub(super) fn send_timeout(&self) -> Option<Instant> {
        let [small, large] = self.outbox_deadlines;
        let held = self.outbox.sizes();
        let (small, large) = (held.small.then_some(small), held.large.then_some(large));
        let pending = self.pending.front().map(|parcel| parcel.deadline);
        let lanes = self.deadlines.front().map(|(deadline, _)| *deadline);
        [small, large, pending, lanes].into_iter().flatten().min()
    }

    pub(super) fn pool_timeout(&self) -> Option<Instant> {
        self.pool.next_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, uni: &mut Session) {
        self.pool.handle_timeout(now);
        while let Some((deadline, id)) = self.deadlines.front().copied() {
            if deadline > now {
                break;
            }
            self.deadlines.pop_front();
            let Some(lane) = lane_mut(&mut self.slots, id) else { continue };
            if lane.deadline > now {
                continue;
            }
            // The peer does not take it: the stream is reset and dropped (D-33).
            let stream = lane.stream;
            let unsent = uni.queued(stream);
            uni.reset(stream);
            let _known = self.pool.drop_stream(stream);
            self.fail(id, unsent, UndeliveredReason::Deadline, false);
        }
        while self.pending.front().is_some_and(|parcel| parcel.deadline <= now) {
            if let Some(parcel) = self.pending.pop_front() {
                self.waiting = self.waiting.saturating_sub(parcel.len());
                parcel.count(UndeliveredReason::Deadline, &mut self.undelivered);
            }
        }
        while let Some((item, _)) = self.take_of_outbox(|deadline| deadline <= now) {
            parcel_of(item, now).count(UndeliveredReason::Deadline, &mut self.undelivered);
        }
    }

    /// The connection has ended: counts what had begun to leave and gives the rest.
    pub(super) fn close(&mut self, uni: &Session) -> Vec<Parcel> {
        let reason = UndeliveredReason::ConnectionLost;
        for (_, parcel) in self.handed.drain(..) {
            parcel.count(reason, &mut self.undelivered);
        }
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get(index) else { continue };
            let id = LaneId {
                index: u32::try_from(index).unwrap_or(u32::MAX),
                generation: slot.generation,
            };
            if let Some(lane) = &slot.lane {
                let unsent = uni.queued(lane.stream);
                self.fail(id, unsent, reason, true);
            }
        }
        let mut leftover: Vec<Parcel> = self.pending.drain(..).collect();
        self.waiting = 0;
        while let Some((item, deadline)) = self.take_of_outbox(|_| true) {
            leftover.push(parcel_of(item, deadline));
        }
        self.pool.close().for_each(drop);
        self.opening.clear();
        self.outbox.close();
        leftover
    }

    /// Takes something that waits for a stream, if its deadline is one of these.
    fn take_of_outbox(&mut self, takes: impl Fn(Instant) -> bool) -> Option<(Item, Instant)> {
        let [small, large] = self.outbox_deadlines;
        if takes(small) {
            if let Some(batch) = self.outbox.take_small() {
                return Some((Item::Small(batch), small));
            }
        }
        takes(large).then(|| self.outbox.take_large())?.map(|item| (Item::Large(item), large))
    }

    /// Frees buffers that an idle connection does not need.
    pub(super) fn shrink(&mut self) {
        // Pieces of its slab are on streams, or have not left.
        if self.unframed == 0 && self.handed.is_empty() && !self.has_waiting() {
            self.outbox.shrink();
        }
        self.spare = Vec::new();
        self.handed.shrink_to_fit();
        self.pending.shrink_to_fit();
        self.deadlines.shrink_to_fit();
        self.slots.shrink_to_fit();
        self.opening.shrink_to_fit();
        self.by_stream.shrink_to_fit();
    }

    // Borrowed streams.

    pub(super) fn lend(
        &mut self,
        now: Instant,
        uni: &mut Session,
        outbox: Outbox,
    ) -> Result<LaneId, BorrowError> {
        let borrowed = self.pool.borrow(|stream| uni.credit(*stream));
        self.open_streams(now, uni);
        let stream = borrowed.map_err(|error| match error {
            pool::BorrowError::Closed => BorrowError::Closed,
            pool::BorrowError::Exhausted => BorrowError::Exhausted,
            _ => BorrowError::Pending,
        })?;
        uni.set_priority(stream, Priority::Normal);
        Ok(self.insert(stream, Some(Box::new(Lent { outbox, counted: 0, returning: false }))))
    }

    pub(super) fn lane_wants(&self, id: LaneId) -> bool {
        let slot =
            self.slots.get(id.index as usize).filter(|slot| slot.generation == id.generation);
        let lent = slot.and_then(|slot| slot.lane.as_ref()).and_then(|lane| lane.lent.as_ref());
        lent.is_some_and(|lent| lent.outbox.is_empty() && !lent.returning)
    }

    pub(super) fn handle_lane_messages(
        &mut self,
        now: Instant,
        uni: &mut Session,
        id: LaneId,
        outbox: &mut Outbox,
    ) {
        // Of an empty one too: what it refused is counted.
        outbox.take_traffic(&mut self.traffic);
        if outbox.is_empty() {
            return;
        }
        let lane = lane_mut(&mut self.slots, id);
        match lane.and_then(|lane| lane.lent.as_mut()) {
            Some(lent) if lent.outbox.is_empty() => {
                lent.outbox.swap(outbox);
                self.feed_lent(now, uni, id);
            }
            Some(_) => {}
            // The lane is gone, and nobody else may carry on its order.
            None => self.count_outbox(outbox, self.why_gone()),
        }
    }

    /// Why a lane is gone whose messages come late.
    fn why_gone(&self) -> UndeliveredReason {
        if self.pool.is_closed() {
            UndeliveredReason::ConnectionLost
        } else {
            UndeliveredReason::StreamReset
        }
    }

    pub(super) fn append_lane_messages(
        &mut self,
        now: Instant,
        uni: &mut Session,
        id: LaneId,
        outbox: &mut Outbox,
    ) {
        outbox.take_traffic(&mut self.traffic);
        let lane = lane_mut(&mut self.slots, id);
        match lane.and_then(|lane| lane.lent.as_mut()) {
            Some(lent) => {
                let _open = lent.outbox.merge(outbox);
                self.feed_lent(now, uni, id);
            }
            None => self.count_outbox(outbox, self.why_gone()),
        }
    }

    /// Gives the stream of a lane more to send, and says when the lane wants more.
    fn feed_lent(&mut self, now: Instant, uni: &mut Session, id: LaneId) {
        self.feed(now, uni, id);
        if let Some(lent) = lane_mut(&mut self.slots, id).and_then(|lane| lane.lent.as_mut()) {
            let before = core::mem::replace(&mut lent.counted, lent.outbox.memory());
            self.lent = self.lent.saturating_add(lent.counted).saturating_sub(before);
        }
    }

    fn feed(&mut self, now: Instant, uni: &mut Session, id: LaneId) {
        let deadline = now.after(self.send_deadline);
        let mut begins = false;
        loop {
            let Some(lane) = lane_mut(&mut self.slots, id) else { return };
            let Some(lent) = &mut lane.lent else { return };
            if lane.len >= LENT_AHEAD {
                break;
            }
            let Some(item) = lent.outbox.take_next() else { break };
            begins |= lane.deadline == Instant::MAX;
            self.load_lane(uni, id, parcel_of(item, deadline));
        }
        // The deadline of a stream is that of its oldest message.
        if begins {
            self.deadlines.push_back((deadline, id));
        }
        let Some(lane) = lane_mut(&mut self.slots, id) else { return };
        let stream = lane.stream;
        let Some(lent) = &lane.lent else { return };
        if !lent.outbox.is_empty() {
            return;
        }
        if !lent.returning {
            self.tell(id, LaneNews::Wants);
        } else if lane.len == 0 {
            self.remove(id);
            self.give_stream_back(uni, stream);
        }
    }

    /// Bound: one `Wants` for each lane, and one `Lost` for each that is gone.
    fn tell(&mut self, id: LaneId, news: LaneNews) {
        if !self.news.contains(&(id, news)) {
            self.news.push_back((id, news));
        }
    }

    pub(super) fn give_back(&mut self, now: Instant, uni: &mut Session, id: LaneId) {
        self.news.retain(|(lane, _)| *lane != id);
        if let Some(lent) = lane_mut(&mut self.slots, id).and_then(|lane| lane.lent.as_mut()) {
            lent.returning = true;
            self.feed_lent(now, uni, id);
        }
    }

    pub(super) fn poll_news(&mut self) -> Option<(LaneId, LaneNews)> {
        self.news.pop_front()
    }

    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }
}

/// Puts an item where its deadline belongs, which is nearly always the end.
fn in_order<T>(queue: &mut VecDeque<T>, item: T, deadline: impl Fn(&T) -> Instant) {
    let at = deadline(&item);
    if queue.back().is_none_or(|last| deadline(last) <= at) {
        return queue.push_back(item);
    }
    let place = queue.partition_point(|other| deadline(other) <= at);
    queue.insert(place, item);
}

fn lane_mut(slots: &mut [Slot], id: LaneId) -> Option<&mut Lane> {
    let slot = slots.get_mut(id.index as usize)?;
    if slot.generation == id.generation { slot.lane.as_mut() } else { None }
}

/// The limits of an outbox whose messages travel on a connection of this configuration.
pub(super) fn outbox_config(config: &Config) -> pool::OutboxConfig {
    pool::OutboxConfig {
        bytes_max: config.outbox_max,
        message_max: config.message_max,
        share_min: config.large_min,
        compress: config.compress,
        ordered: false,
    }
}

fn pool_of(config: &Config) -> SendStreamPool<StreamId> {
    let sizes = pool::PoolConfig {
        init: config.send_streams_initial,
        cap: config.send_pool_max(),
        ..pool::PoolConfig::default()
    };
    // A validated configuration has sizes that a pool takes.
    SendStreamPool::of(sizes)
}
