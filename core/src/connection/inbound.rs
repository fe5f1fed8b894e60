//! Bytes in: from the lent buffer through the channel and the sessions to the streams.
//!
//! One flat loop over a cursor: `chunk` is opened input, `at` the place in it, and `inner` the
//! end of the run that belongs to an inner session. So it can stop anywhere, and go on later.

use core::ops::Range;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use super::Connection;
use crate::buffer::{SlabConfig, SlabSet};
use crate::config::Config;
use crate::contract::Direction;
use crate::error::{CloseReason, Layer, Offence, UsageError};
use crate::mux::{self, StreamId};
use crate::record::{Note, Want};
use crate::secure::{ChannelError, Opened, SecureChannel};
use crate::time::Instant;

/// How soon to look again when every receive slab is pinned: dropping a message tells nobody.
const MEMORY_RETRY: Duration = Duration::from_millis(10);

/// Room for one record's plaintext and some more.
const PLAIN_ROOM: usize = 17 * 1024;

/// The least slab of a channel that opens records. A slab is lent again while half of it is free.
const SEALED_SLAB: usize = 2 * PLAIN_ROOM;

/// Slabs that one connection keeps for the next reads while it is busy: about what an inbox that
/// is being read and one that is being filled pin.
const SLABS_RECYCLED: usize = 40;

#[derive(Debug)]
pub(super) struct Inbound {
    slabs: Option<SlabSet>,
    /// What the driver appends to; between calls it holds what the channel has not opened.
    lent: Option<BytesMut>,
    lent_len: usize,
    /// How many of the bytes in it are noted on the tape.
    noted: usize,
    /// What the channel opens into.
    pub(super) plain: Option<BytesMut>,
    chunk: Bytes,
    at: usize,
    inner: Option<(Layer, usize)>,
    /// Messages have to be copied, because too many slabs are pinned.
    copy: bool,
    pub(super) eof: bool,
    /// The channel failed after what was opened so far.
    failed: Option<ChannelError>,
}

impl Inbound {
    /// `transparent` says whether bytes pass the channel unchanged: else a slab has to take what
    /// one record opens to.
    pub(super) fn new(config: &Config, transparent: bool) -> Self {
        let outstanding_max = config.slabs_max;
        let slabs = SlabSet::new(SlabConfig {
            slab: if transparent { config.slab } else { config.slab.max(SEALED_SLAB) },
            recycled: SLABS_RECYCLED.min(outstanding_max),
            outstanding_max,
        });
        Self {
            slabs: slabs.ok(),
            lent: None,
            lent_len: 0,
            noted: 0,
            plain: None,
            chunk: Bytes::new(),
            at: 0,
            inner: None,
            copy: false,
            eof: false,
            failed: None,
        }
    }

    pub(super) fn take_slab(&mut self) -> Option<BytesMut> {
        self.slabs.as_mut()?.take()
    }

    pub(super) fn give_back(&mut self, slab: BytesMut) {
        if let Some(slabs) = &mut self.slabs {
            slabs.give_back(slab);
        }
    }

    /// Bytes of memory of the slabs, pinned ones included.
    pub(super) fn memory(&self) -> usize {
        self.slabs.as_ref().map_or(0, SlabSet::memory)
    }

    /// The same, if no slab is lent but those that are here.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn recount(&self, transparent: bool) -> usize {
        let Some(slabs) = &self.slabs else { return 0 };
        let plain = self.plain.is_some() && !transparent;
        let here = usize::from(self.lent.is_some()).saturating_add(usize::from(plain));
        let others = slabs.outstanding().saturating_sub(slabs.lent());
        others.saturating_add(here).saturating_mul(slabs.slab())
    }

    /// The bytes `range` of the chunk in hand.
    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.chunk.get(range).unwrap_or(&[])
    }

    /// What the driver has appended since this was last asked.
    pub(super) fn not_noted(&mut self) -> &[u8] {
        let lent = self.lent.as_deref().unwrap_or(&[]);
        let noted = core::mem::replace(&mut self.noted, lent.len());
        lent.get(noted..).unwrap_or(&[])
    }

    /// What was read and not opened.
    pub(super) fn unopened(&self) -> &[u8] {
        self.lent.as_deref().unwrap_or(&[])
    }

    /// The place in the chunk in hand.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// Whether all input that came was demultiplexed.
    pub(super) fn is_drained(&self) -> bool {
        self.at >= self.chunk.len() && self.lent.as_ref().is_none_or(BytesMut::is_empty)
    }

    /// Whether there is input that was opened and not demultiplexed.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn has_undone(&self) -> bool {
        self.at < self.chunk.len()
    }

    /// Drops all input and gives slabs back.
    pub(super) fn discard(&mut self) {
        self.chunk = Bytes::new();
        self.at = 0;
        self.inner = None;
        for slab in [self.lent.take(), self.plain.take()].into_iter().flatten() {
            self.give_back(slab);
        }
    }

    /// Frees what an idle connection does not need.
    pub(super) fn shrink(&mut self) {
        let is_read = self.at >= self.chunk.len();
        let slabs = self.slabs.as_mut().filter(|slabs| is_read && slabs.outstanding() > 0);
        let Some(slabs) = slabs else { return };
        self.chunk = Bytes::new();
        self.at = 0;
        if let Some(empty) = self.lent.take_if(|lent| lent.is_empty()) {
            slabs.give_back(empty);
        }
        if let Some(whole) = self.plain.take_if(|plain| plain.try_reclaim(slabs.slab())) {
            slabs.give_back(whole);
        }
        slabs.shrink();
    }
}

impl<C: SecureChannel> Connection<C> {
    pub(super) fn lend_buffer(&mut self) -> Option<&mut BytesMut> {
        if self.link.is_closed() || self.inbound.eof || self.is_gated() {
            return None;
        }
        if self.inbound.at < self.inbound.chunk.len() {
            return None;
        }
        if self.memory_at.is_some() && !self.inbound.is_drained() {
            // Until what is there can be opened, more of it would only pile up.
            return None;
        }
        let unheard = self.inbound.unopened().len() != self.inbound.lent_len;
        if self.inbound.lent.is_some() && (unheard || self.memory_at.is_some()) {
            self.note(|| Note::Lend);
        }
        let lent = match self.inbound.lent.take() {
            Some(mut lent) => {
                if lent.capacity().saturating_sub(lent.len()) < lent.len().max(1024) {
                    // What is left of an unopened record moves to the front, or to more room.
                    lent.reserve(self.setup.config.slab);
                }
                lent
            }
            None => match self.take_slab(Want::Buffer) {
                Some(slab) => {
                    self.note(|| Note::Lend);
                    slab
                }
                None => {
                    self.memory_at = Some(self.clock.now().after(MEMORY_RETRY));
                    return None;
                }
            },
        };
        self.memory_at = None;
        self.inbound.lent_len = lent.len();
        Some(self.inbound.lent.insert(lent))
    }

    pub(super) fn on_received(&mut self, now: Instant) -> Result<(), UsageError> {
        if self.tape.is_some() && self.inbound.lent.is_some() {
            self.note_received();
        }
        let Some(lent) = &self.inbound.lent else { return Ok(()) };
        if lent.len() < self.inbound.lent_len {
            self.abort(now, CloseReason::Truncated);
            return Err(UsageError::BufferReplaced);
        }
        let received = lent.len().saturating_sub(self.inbound.lent_len);
        self.inbound.lent_len = lent.len();
        if received > 0 {
            let counters = &mut self.counters;
            counters.reads = counters.reads.saturating_add(1);
            counters.received_bytes = counters.received_bytes.saturating_add(received as u64);
            // It may be a part of a record that takes longer to come than a peer may be silent.
            self.outer.handle_sign_of_life(now);
        }
        self.count_moved(now, received);
        if received > 0 {
            self.pump(now);
        } else if self.inbound.is_drained() {
            self.inbound.lent.take().into_iter().for_each(|lent| self.inbound.give_back(lent));
        }
        self.rest();
        Ok(())
    }

    /// Demultiplexes what is there, until a verdict is due.
    pub(super) fn pump(&mut self, now: Instant) {
        loop {
            if self.phase.is_ending() || self.link.is_closed() {
                // The other side is heard out, so that it sees our end before a reset.
                self.inbound.discard();
                break;
            }
            if self.is_gated() {
                break;
            }
            if !(self.step(now) || self.next_chunk(now)) {
                if self.phase.is_ending() {
                    // It has just failed, and there may be more input behind what was wrong.
                    continue;
                }
                if self.inbound.eof && self.memory_at.is_none() {
                    // What is left of a record or a frame never becomes whole.
                    self.inbound.discard();
                }
                break;
            }
        }
        if self.inbound.is_drained() {
            if let Some(lent) = self.inbound.lent.take() {
                self.inbound.give_back(lent);
            }
            self.inbound.chunk = Bytes::new();
            self.inbound.at = 0;
            if self.inbound.eof && !self.is_gated() {
                self.on_last_byte(now);
            }
        }
        self.after_input(now);
    }

    /// Gets the next opened bytes; false if there are none.
    fn next_chunk(&mut self, now: Instant) -> bool {
        if let Some(error) = self.inbound.failed.take() {
            self.fail(now, CloseReason::Channel(error));
            return false;
        }
        let Some(lent) = self.inbound.lent.as_mut().filter(|lent| !lent.is_empty()) else {
            return false;
        };
        if self.channel.peer().is_some() && self.channel.is_transparent() {
            let chunk = lent.split().freeze();
            self.begin_chunk(chunk);
            return true;
        }
        // What was opened before would pin its slab while another one is asked for.
        self.inbound.chunk = Bytes::new();
        self.inbound.at = 0;
        let mut plain = match self.take_plain() {
            Some(plain) => {
                self.memory_at = None;
                plain
            }
            None => {
                self.memory_at = Some(now.after(MEMORY_RETRY));
                return false;
            }
        };
        let Some(lent) = &mut self.inbound.lent else { return false };
        let before = lent.len();
        let opened = self.channel.open(lent, &mut plain);
        if self.tape.is_some() {
            self.note_opened(before, &plain, &opened);
        }
        let Some(lent) = &mut self.inbound.lent else { return false };
        self.inbound.lent_len = lent.len();
        let moved = lent.len() != before || !plain.is_empty();
        let chunk = plain.split().freeze();
        self.inbound.plain = Some(plain);
        if !chunk.is_empty() {
            self.begin_chunk(chunk);
        }
        self.flush_channel(false);
        match opened {
            Ok(Opened::Waiting) => moved,
            Ok(Opened::Proven) => {
                self.on_proven(now);
                true
            }
            Ok(Opened::Closed) => {
                self.inbound.eof = true;
                if let Some(lent) = &mut self.inbound.lent {
                    lent.clear();
                    self.inbound.lent_len = 0;
                }
                true
            }
            Err(error) => {
                // What was opened before it counts, however the bytes were cut (P9).
                self.inbound.failed = Some(error);
                true
            }
        }
    }

    fn take_plain(&mut self) -> Option<BytesMut> {
        if self.repeats_want(Want::Room) {
            // What is left of a slab depends on when messages were dropped.
            self.inbound.plain.take().into_iter().for_each(|plain| self.inbound.give_back(plain));
        }
        if let Some(plain) = self.inbound.plain.take() {
            if plain.capacity() >= PLAIN_ROOM {
                return Some(plain);
            }
            if self.channel.is_transparent() {
                return Some(plain);
            }
            self.inbound.give_back(plain);
        } else if self.channel.is_transparent() {
            // Before it is transparent it opens nothing.
            return Some(BytesMut::new());
        }
        self.take_slab(Want::Room)
    }

    fn begin_chunk(&mut self, chunk: Bytes) {
        self.inbound.chunk = chunk;
        self.inbound.at = 0;
        self.receiver.new_chunk();
        let pressure = self.inbound.slabs.as_mut().is_some_and(SlabSet::pressure);
        self.inbound.copy = pressure || self.repeats_want(Want::Slices);
        if self.inbound.copy {
            self.note(|| Note::Wants(Want::Slices));
        }
    }

    /// Takes one header or one run of bytes off the chunk; false if nothing is left to take.
    fn step(&mut self, now: Instant) -> bool {
        let at = self.inbound.at;
        let Some((layer, end)) = self.inbound.inner else { return self.step_outer(now) };
        let session = if layer == Layer::Uni { &mut self.uni } else { &mut self.bi };
        let input = self.inbound.chunk.get(at..end).unwrap_or(&[]);
        match session.receive(now, input) {
            Ok(received) => {
                self.inbound.at = at.saturating_add(received.consumed);
                match received.event {
                    Some(event) if layer == Layer::Uni => self.on_uni(now, event),
                    Some(event) => self.on_bi(now, event),
                    None if received.consumed == 0 => self.inbound.inner = None,
                    None => {}
                }
            }
            Err(error) => self.fail(now, CloseReason::Session { layer, error }),
        }
        true
    }

    fn step_outer(&mut self, now: Instant) -> bool {
        let at = self.inbound.at;
        let input = self.inbound.chunk.get(at..).unwrap_or(&[]);
        let received = match self.outer.receive(now, input) {
            Ok(received) => received,
            Err(error) => {
                self.fail(now, CloseReason::Session { layer: Layer::Outer, error });
                return false;
            }
        };
        self.inbound.at = at.saturating_add(received.consumed);
        match received.event {
            Some(event) => self.on_outer(now, event),
            None => return received.consumed > 0,
        }
        true
    }

    fn on_outer(&mut self, now: Instant, event: mux::Event) {
        match event {
            mux::Event::Data { stream, len } => {
                let layer = match Some(stream) {
                    stream if stream == self.uni_stream => Layer::Uni,
                    stream if stream == self.bi_stream => Layer::Bi,
                    _ => return,
                };
                if layer == Layer::Uni {
                    self.beside.on_bytes(now, len, self.outer.rtt());
                    self.outer.limit_window(stream, self.beside.limit(now));
                }
                // What bounds memory is the inner windows; waiting for the application here
                // would let stalled streams block the window updates of all others.
                self.outer.release(now, stream, len);
                let end = self.inbound.at;
                self.inbound.at = end.saturating_sub(len);
                self.inbound.inner = Some((layer, end));
            }
            mux::Event::Opened { stream } => self.on_outer_opened(now, stream),
            mux::Event::Finished { stream } if self.carries(stream) => {
                self.fail(now, CloseReason::RemoteClosed);
            }
            mux::Event::Reset { stream } if self.carries(stream) => {
                self.fail(now, CloseReason::Opening);
            }
            _ => {}
        }
    }

    fn carries(&self, stream: StreamId) -> bool {
        Some(stream) == self.uni_stream || Some(stream) == self.bi_stream
    }

    /// The dialer opens two outer streams, uni and then bi; there are no others (spec 1.7).
    fn on_outer_opened(&mut self, now: Instant, stream: StreamId) {
        let slot = match (self.setup.direction, self.uni_stream, self.bi_stream) {
            (Direction::Inbound, None, _) => &mut self.uni_stream,
            (Direction::Inbound, Some(_), None) => &mut self.bi_stream,
            _ => {
                // Each further one could make us buffer a window (D-104).
                self.outer.reset(stream);
                let done = self.receiver.offence(now, Offence::Misplaced);
                return self.check_offences(now, done);
            }
        };
        *slot = Some(stream);
        let _gone = self.outer.accept(stream);
        self.check_established();
    }

    fn on_uni(&mut self, now: Instant, event: mux::Event) {
        match event {
            mux::Event::Data { stream, len } => {
                let end = self.inbound.at;
                let range = end.saturating_sub(len)..end;
                let Self { receiver, uni, inbound, .. } = self;
                let done = receiver.data(now, uni, stream, &inbound.chunk, range, inbound.copy);
                if receiver.poll_small_beside() {
                    self.beside.on_small(now);
                }
                self.on_exchanger_messages();
                self.check_offences(now, done);
            }
            mux::Event::Opened { stream } => {
                let done = self.receiver.opened(now, &mut self.uni, stream);
                self.poll_lease();
                self.check_offences(now, done);
            }
            // The acceptor of a send stream half-closes it at once: that is normal.
            mux::Event::Finished { stream } if !self.is_own(stream) => {
                self.receiver.finished(now, &mut self.uni, stream);
            }
            mux::Event::Reset { stream } => {
                if !self.is_own(stream) {
                    self.receiver.reset(now, &mut self.uni, stream);
                } else if !self.push_stream_reset(stream) {
                    let unsent = self.uni.take_unsent(stream).iter().map(Bytes::len).sum();
                    self.lanes.stream_reset(now, stream, unsent);
                }
            }
            _ => {}
        }
    }

    /// Whether we opened an inner stream: the dialer's ids are odd.
    fn is_own(&self, stream: StreamId) -> bool {
        let odd = stream.0 % 2 == 1;
        odd == (self.setup.direction == Direction::Outbound)
    }

    pub(super) fn poll_lease(&mut self) {
        if let Some(streams) = self.receiver.poll_lease() {
            self.report.streams_wanted = Some(streams);
        }
    }

    /// Input may have made room for messages that wait for a stream, or begun a message.
    fn after_input(&mut self, now: Instant) {
        self.pump_due |= self.lanes.has_waiting();
        self.exchange.unpark();
        self.watch_progress(now);
    }

    pub(super) fn watch_progress(&mut self, now: Instant) {
        if self.progress_at.is_none() && self.receiver.is_watched() {
            self.progress_at = Some(now.after(self.setup.config.progress_interval));
        }
    }
}
