//! The session and what its owner does with streams.

use alloc::collections::VecDeque;

use bytes::Bytes;

use super::budget::Budgets;
use super::config::SessionConfig;
use super::error::{Abuse, AcceptError, OpenError, SessionError, WriteError};
use super::list::{List, Place};
use super::ping::Pinger;
use super::receive::{Inbound, Target};
use super::scheduler::{Priority, Scheduler};
use super::slots::Slots;
use super::stream::{Phase, Stream};
use super::transmit::PIECE_MIN;
use super::{GoAwayCode, Role, StreamId, TimerKind, UNACKNOWLEDGED_MAX};
use crate::time::{Clamp, Instant};

/// One side of a yamux session; see the text of the [module](super).
///
/// ```
/// use bytes::Bytes;
/// use headwater_core::buffer::out::OutBuf;
/// use headwater_core::mux::{Event, Priority, Role, Session, SessionConfig};
/// use headwater_core::time::Instant;
///
/// let now = Instant::ZERO;
/// let mut client = Session::new(Role::Client, SessionConfig::default(), 1, now);
/// let mut server = Session::new(Role::Server, SessionConfig::default(), 2, now);
///
/// let stream = client.open(now, Priority::Normal)?;
/// client.write(stream, Bytes::from_static(b"hello"))?;
/// let mut out = OutBuf::new();
/// client.transmit(now, &mut out, usize::MAX);
///
/// let mut chunk: [&[u8]; 1] = [&[]];
/// assert_eq!(out.chunks(&mut chunk), 1);
/// let mut input = chunk[0];
/// let mut payload = Vec::new();
/// loop {
///     let received = server.receive(now, input)?;
///     let (consumed, rest) = input.split_at(received.consumed);
///     input = rest;
///     match received.event {
///         Some(Event::Opened { stream }) => server.accept(stream)?,
///         Some(Event::Data { stream, len }) => {
///             payload.extend_from_slice(&consumed[consumed.len() - len..]);
///             server.release(now, stream, len);
///         }
///         Some(_) => {}
///         None => break,
///     }
/// }
/// assert_eq!(payload, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Session {
    pub(super) role: Role,
    pub(super) config: SessionConfig,
    pub(super) clock: Clamp,
    pub(super) slots: Slots,
    /// Streams with control frames to be framed.
    pub(super) control: List,
    /// Streams of this side whose SYN is to be framed.
    pub(super) opening: List,
    pub(super) drained: List,
    pub(super) scheduler: Scheduler,
    pub(super) inbound: Inbound,
    /// A half-close of the frame that was read last, to be told next.
    pub(super) fin: Option<Target>,
    pub(super) ping: Pinger,
    /// Values of pings to be answered; at most `PONGS_MAX`.
    pub(super) pongs: VecDeque<u32>,
    /// Streams of the peer that were never made; at most `REFUSALS_MAX`.
    pub(super) refused: VecDeque<u32>,
    pub(super) budgets: Budgets,
    /// What the stream of the last `Reset` had queued.
    pub(super) stash: (Option<StreamId>, VecDeque<Bytes>),
    pub(super) counts: Counts,
    next_id: Option<u32>,
    /// The sum of the growth of all windows, in bytes.
    pub(super) grown: u64,
    /// What that may be, at most `window_growth_max`.
    pub(super) growth_max: u64,
    /// What a window was short of when it was last to grow; 0 if that is told.
    pub(super) growth_lack: u64,
    /// A go-away to be framed.
    pub(super) go_away: Option<GoAwayCode>,
    pub(super) local_gone: bool,
    pub(super) remote_gone: bool,
    pub(super) failed: Option<SessionError>,
}

/// How many streams there are in each state.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) local_open: usize,
    pub(super) remote_open: usize,
    pub(super) unaccepted: usize,
    pub(super) unacknowledged: usize,
    pub(super) resetting: usize,
    pub(super) queued: usize,
}

impl Session {
    /// Starts a session and queues its first ping, which measures the round trip time.
    ///
    /// `key` spreads stream ids over a table and comes from the node's seed. A setting out of
    /// its bounds counts as the nearest bound; [`SessionConfig::validate`] tells beforehand.
    #[must_use]
    pub fn new(role: Role, config: SessionConfig, key: u64, now: Instant) -> Self {
        let config = config.clamped();
        let config_growth = config.window_growth_max;
        let mut clock = Clamp::default();
        let now = clock.advance(now);
        Self {
            role,
            clock,
            slots: Slots::new(key),
            control: List::new(Place::Control),
            opening: List::new(Place::Opening),
            drained: List::new(Place::Drained),
            scheduler: Scheduler::new(config.starvation_max),
            inbound: Inbound::new(),
            fin: None,
            ping: Pinger::new(config.keep_alive, config.pong_timeout, now),
            pongs: VecDeque::new(),
            refused: VecDeque::new(),
            budgets: Budgets::new(&config, now),
            config,
            stash: (None, VecDeque::new()),
            counts: Counts::default(),
            next_id: Some(if role == Role::Client { 1 } else { 2 }),
            growth_max: config_growth,
            grown: 0,
            growth_lack: 0,
            go_away: None,
            local_gone: false,
            remote_gone: false,
            failed: None,
        }
    }

    /// Opens a stream. Its SYN is framed by [`Session::transmit`] once fewer than
    /// [`UNACKNOWLEDGED_MAX`] streams wait for their acknowledgement; it can be written to at once.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing changed.
    pub fn open(&mut self, now: Instant, priority: Priority) -> Result<StreamId, OpenError> {
        self.clock.advance(now);
        if self.failed.is_some() || self.local_gone {
            return Err(OpenError::Closed);
        }
        if self.remote_gone {
            return Err(OpenError::RemoteGoAway);
        }
        let id = self.next_id.ok_or(OpenError::IdsExhausted)?;
        let streams_max = self.config.streams_max;
        if self.counts.local_open >= streams_max {
            return Err(OpenError::Limit { streams_max });
        }
        // The last ids of either side are 2^32 - 3 and 2^32 - 2.
        self.next_id = id.checked_add(2).filter(|id| *id < u32::MAX);
        let slot = self.slots.insert(id);
        if let Some(stream) = self.slots.get_mut(slot) {
            stream.phase = Phase::Opening;
            stream.local = true;
            stream.priority = priority;
        }
        self.counts.local_open = self.counts.local_open.saturating_add(1);
        self.opening.push_back(&mut self.slots, slot);
        Ok(StreamId(id))
    }

    /// Accepts a stream of the peer: its acknowledgement is framed, and it gets credit from now on.
    ///
    /// # Errors
    ///
    /// [`AcceptError`] if no such stream waits; nothing changed.
    pub fn accept(&mut self, stream: StreamId) -> Result<(), AcceptError> {
        let slot = self.visible(stream).ok_or(AcceptError)?;
        match self.slots.get_mut(slot) {
            Some(stream) if stream.phase == Phase::Unaccepted => {
                stream.phase = Phase::Open;
                stream.ack_pending = true;
            }
            _ => return Err(AcceptError),
        }
        self.counts.unaccepted = self.counts.unaccepted.saturating_sub(1);
        self.credit_back(slot, 0);
        self.refresh(slot);
        Ok(())
    }

    /// Queues payload by reference. The queue has no bound of its own: the owner asks
    /// [`Session::queued`] first.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing was queued.
    pub fn write(&mut self, stream: StreamId, bytes: Bytes) -> Result<(), WriteError> {
        if self.failed.is_some() {
            return Err(WriteError::Closed);
        }
        let slot = self.visible(stream).ok_or(WriteError::UnknownStream)?;
        let Some(stream) = self.slots.get_mut(slot) else { return Err(WriteError::UnknownStream) };
        if stream.finishing {
            return Err(WriteError::Finished);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.counts.queued = self.counts.queued.saturating_add(bytes.len());
        stream.push(bytes);
        self.slots.loose = true;
        self.drained.remove(&mut self.slots, slot);
        self.scheduler.update(&mut self.slots, slot);
        Ok(())
    }

    /// Half-closes a stream: a FIN follows what is queued, and nothing more can be written.
    pub fn finish(&mut self, stream: StreamId) {
        let Some(slot) = self.visible(stream) else { return };
        if let Some(stream) = self.slots.get_mut(slot) {
            stream.finishing = true;
        }
        self.refresh(slot);
    }

    /// Takes nothing more from a stream. The peer is not told; if it sends payload nevertheless
    /// the stream is reset (D-108).
    pub fn close_read(&mut self, stream: StreamId) {
        let Some(slot) = self.visible(stream) else { return };
        if let Some(stream) = self.slots.get_mut(slot) {
            stream.read_closed = true;
        }
        self.close_if_over(slot);
    }

    /// Resets a stream both ways and drops its queue. For a stream of the peer that was not
    /// accepted this is a refusal, which costs the peer one of its refusals.
    pub fn reset(&mut self, stream: StreamId) {
        let Some(slot) = self.visible(stream) else { return };
        let phase = self.slots.get(slot).map(|stream| stream.phase);
        self.start_reset(slot);
        if phase == Some(Phase::Unaccepted) {
            let now = self.clock.now();
            if let Err(error) = self.budgets.charge(&self.config, Abuse::Refusals, now) {
                self.fail(error);
            }
        }
    }

    /// Charges the peer for something that only the owner can judge, such as a stream that the
    /// owner resets because of its content.
    ///
    /// # Errors
    ///
    /// [`SessionError::Abuse`] if the budget is spent, and the session has ended; or the error
    /// with which it ended before.
    pub fn charge(&mut self, now: Instant, what: Abuse) -> Result<(), SessionError> {
        let now = self.clock.advance(now);
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.budgets.charge(&self.config, what, now).map_err(|error| self.fail(error))
    }

    /// Takes note that the application consumed `bytes` of a stream, so that the peer gets credit
    /// once half a window is due (spec 2.2). More than was received counts as all of it.
    pub fn release(&mut self, now: Instant, stream: StreamId, bytes: usize) {
        self.clock.advance(now);
        let Some(slot) = self.visible(stream) else { return };
        self.credit_back(slot, bytes);
        self.refresh(slot);
    }

    /// Holds what the peer may have under way on a stream to `limit` bytes from the next release
    /// on, at least the initial window; `None` for no more than its window. The window keeps its
    /// size, and does not grow meanwhile.
    pub fn limit_window(&mut self, stream: StreamId, limit: Option<u32>) {
        if let Some(stream) = self.visible(stream).and_then(|slot| self.slots.get_mut(slot)) {
            stream.recv.set_limit(limit.unwrap_or(u32::MAX));
        }
    }

    /// Lets windows grow by so many bytes together, at most
    /// [`SessionConfig::window_growth_max`], which is how it begins. What has grown stays.
    pub fn set_growth_max(&mut self, bytes: u64) {
        let bytes = bytes.min(self.config.window_growth_max);
        if bytes > self.growth_max {
            self.growth_lack = 0;
        }
        self.growth_max = bytes;
    }

    /// How many bytes were missing for a window to grow, where only [`Session::set_growth_max`] was
    /// in the way; 0 if nothing was since that allowed more, or a window was gone.
    #[must_use]
    pub const fn growth_lack(&self) -> u64 {
        self.growth_lack
    }

    /// Moves a stream to another class, behind those that wait there.
    pub fn set_priority(&mut self, stream: StreamId, priority: Priority) {
        let Some(slot) = self.visible(stream) else { return };
        self.scheduler.remove(&mut self.slots, slot);
        if let Some(stream) = self.slots.get_mut(slot) {
            stream.priority = priority;
        }
        self.scheduler.update(&mut self.slots, slot);
    }

    /// Takes back what was written and not framed, in order; the first piece may be the rest of
    /// one that was framed in part. For a stream that was just reset see [`Event::Reset`](super::Event::Reset).
    pub fn take_unsent(&mut self, stream: StreamId) -> VecDeque<Bytes> {
        let mut unsent = VecDeque::new();
        if let Some(slot) = self.visible(stream) {
            if let Some(stream) = self.slots.get_mut(slot) {
                self.counts.queued = self.counts.queued.saturating_sub(stream.queued());
                stream.swap_queue(&mut unsent);
            }
            self.refresh(slot);
        } else if self.stash.0 == Some(stream) {
            core::mem::swap(&mut unsent, &mut self.stash.1);
        }
        unsent
    }

    /// The next stream whose queue has become empty, its last byte framed, and stayed so. A
    /// stream that was closed or reset since is left out.
    pub fn poll_drained(&mut self) -> Option<StreamId> {
        let slot = self.drained.pop_front(&mut self.slots)?;
        self.slots.get(slot).and_then(Stream::id).map(StreamId)
    }

    /// Frees memory that is kept for the next streams and frames. Of use when nothing moves; O(1)
    /// if nothing was taken since the last call.
    pub fn shrink(&mut self) {
        if !self.slots.loose {
            return;
        }
        self.slots.shrink();
        self.pongs.shrink_to_fit();
        self.refused.shrink_to_fit();
        self.stash.1.shrink_to_fit();
        let has_more =
            !self.pongs.is_empty() || !self.refused.is_empty() || !self.stash.1.is_empty();
        self.slots.loose |= has_more;
    }

    /// Queues a ping, unless one is under way that may still be answered.
    pub fn ping(&mut self, now: Instant) {
        let now = self.clock.advance(now);
        self.ping.request(now);
    }

    /// Queues a ping whose answer proves that the peer is there now, as do bytes that come a
    /// second later; [`Session::poll_probed`] tells of it.
    pub fn probe(&mut self, now: Instant) {
        let now = self.clock.advance(now);
        self.ping.probe(now);
    }

    /// Whether a [`Session::probe`] was answered since the last call.
    pub fn poll_probed(&mut self) -> bool {
        self.ping.poll_probed()
    }

    /// Tells the peer that this side goes away: from now on its new streams are refused and none
    /// are opened here. With [`GoAwayCode::Normal`] streams that exist go on.
    pub fn go_away(&mut self, code: GoAwayCode) {
        if self.failed.is_none() && !self.local_gone {
            self.local_gone = true;
            self.go_away = Some(code);
        }
    }

    /// Takes note that the carrier took something of what it was offered: of what was framed,
    /// all up to `position`, counted as [`OutBuf::position`](crate::buffer::out::OutBuf::position)
    /// does in the one buffer that [`Session::transmit`] frames into.
    ///
    /// A keep-alive ping that stands behind other output has its deadline moved by it, until it
    /// has been taken itself (D-24). Without these calls the deadline counts from the timer on.
    pub fn handle_transmitted(&mut self, now: Instant, position: u64) {
        let now = self.clock.advance(now);
        self.ping.on_transmitted(now, position);
    }

    /// Takes note that bytes of the peer came which the layers below cannot hand on yet, such as
    /// a part of a record: it is alive. [`Session::receive`] notices its input by itself.
    pub fn handle_sign_of_life(&mut self, now: Instant) {
        let now = self.clock.advance(now);
        self.ping.on_life(now);
    }

    /// When [`Session::handle_timeout`] has something to do, and what.
    #[must_use]
    pub fn next_timeout(&self) -> Option<(Instant, TimerKind)> {
        if self.failed.is_some() { None } else { self.ping.next_timeout() }
    }

    /// Works off the timers; early calls do nothing.
    ///
    /// # Errors
    ///
    /// [`SessionError::KeepAlive`] if the peer was silent for too long, and the session has
    /// ended; or the error with which it ended before.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        let now = self.clock.advance(now);
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.ping.handle_timeout(now) { Ok(()) } else { Err(self.fail(SessionError::KeepAlive)) }
    }

    /// Whether [`Session::transmit`] would frame something, given room.
    #[must_use]
    pub fn wants_transmit(&self) -> bool {
        self.wants_transmit_within(usize::MAX)
    }

    /// Whether [`Session::transmit_within`] would frame something, given room and so many bytes
    /// of large transfers.
    #[must_use]
    pub fn wants_transmit_within(&self, bulk: usize) -> bool {
        if self.go_away.is_some() {
            return true;
        }
        self.failed.is_none()
            && (self.scheduler.ready(bulk >= PIECE_MIN) > 0
                || !self.control.is_empty()
                || !self.pongs.is_empty()
                || !self.refused.is_empty()
                || self.ping.wants_transmit()
                || (!self.opening.is_empty() && self.counts.unacknowledged < UNACKNOWLEDGED_MAX))
    }

    /// Goes on with this id, for tests of the last ids.
    #[cfg(test)]
    pub(super) const fn skip_ids_to(&mut self, id: u32) {
        self.next_id = Some(id);
    }
}
