//! The receive streams of one connection: from stream bytes to published messages.
//!
//! Each stream carries packages (spec 3). A package that lies in one piece of input is published
//! as a slice of it; any other is assembled, that is copied once. While the inbox is full, bytes
//! wait in the backlog of their stream, whose window bounds it. Only what the exchanger sends
//! passes, unless messages of the same stream are before it: lists are not for the application.
//!
//! Each stream holds room for its window from the moment that the peer opens it; one that finds
//! none is reset at once.
//!
//! Credit (spec 2.2) of a message returns when the application consumes it. A package longer than
//! [`RETAINED`] needs more than that: it reserves its declared length in the ledger, and once
//! admitted all but `RETAINED` bytes of it are credited as they arrive, so that it can finish
//! whatever its length. One that finds no room waits without credit, first come first served, while
//! the connection asks Node for more of it. While messages of other connections wait for that, one
//! that takes longer than `send_deadline` is reset, as long as this connection has more room than
//! it is sure of: an honest sender has given it up by then, too.
//!
//! Invariants: R1 what is promised (reserved by streams and unconsumed messages; the windows of
//! streams; what these have grown) never exceeds what the connection is sure of and has leased. R2
//! the inbox holds at most `inbox_max` bytes and one message; until the link is gone, together with
//! what was taken of it and not consumed. R3 bytes received on a stream and not released are those
//! of its backlog, of its unfinished package up to `RETAINED` (or its window while it waits), and
//! of its unconsumed messages.

mod backlog;
mod decode;

use alloc::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};

use backlog::Backlog;

use super::ledger::Promises;
use super::offences::Offences;
use crate::buffer::{AppendSlab, AssemblyConfig, AssemblyPool};
use crate::config::Config;
use crate::error::Offence;
use crate::id::{PeerId, ProtocolId};
use crate::lease::Room;
use crate::message::{Batch, Consumed, Share};
use crate::mux::{INITIAL_WINDOW, Session, StreamId};
use crate::protocol::ProtocolSet;
use crate::receive::{Admission, StreamGate};
use crate::snapshot::{self, Counters, Traffic};
use crate::time::Instant;
use crate::wire::familiar::Familiar;
use crate::wire::{AssemblyBuffers, DecodeLimits, Decoder, ExchangerLimits};

/// How much of an unfinished package is not credited before it is consumed.
pub(super) const RETAINED: usize = INITIAL_WINDOW as usize / 4;

/// A payload of fewer bytes is that of a small message.
const SMALL: usize = 8 * 1024;

/// What a stream may fill before anything of it is taken.
const WINDOW: usize = INITIAL_WINDOW as usize;

/// Bytes of all streams together that may come before the connection is live. An honest peer's come
/// after the end of the exchange, where reading stops until then.
pub(crate) const HELD_MAX: usize = 2 * WINDOW;

/// Backlogs are kept in slabs of this size, in bytes, or larger where one piece needs it.
const STASH_SLAB: usize = 64 * 1024;

/// Slabs of backlogs that are kept for the next one while the connection is busy.
const STASH_SLABS_KEPT: usize = 64;

/// What a descriptor in the inbox costs beside the bytes it points to.
const DESCRIPTOR: usize = 32;

/// How many receive streams are asked for at a time where connections share a limit.
const LEASE_STEP: u32 = 16;

/// A peer spent its offences; the last one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spent(pub(super) Offence);

#[derive(Debug, Default)]
struct RecvStream {
    decoder: Decoder,
    /// Accepted: counted by the gate, and decoded.
    accepted: bool,
    /// The peer has half-closed it; it goes once its backlog is decoded.
    finished: bool,
    /// Bytes of the current package that were received and not released.
    uncredited: usize,
    /// The declared length of the package in assembly that is reserved in the ledger.
    reserved: usize,
    /// Stands in `waiting`: the package in assembly needs a reservation.
    waits: bool,
    /// Bytes that came since the last look at progress.
    gained: usize,
    /// Since when the package at hand is known to have had credit.
    since: Option<Instant>,
    /// Since when it has what is `reserved`.
    admitted: Option<Instant>,
    /// Stands in `blocked`.
    blocked: bool,
    /// The package at hand is known to be the exchanger's, which a full inbox does not hold up.
    passes: bool,
    /// Counted in `assembling`.
    assembling: bool,
    /// Counted in `large`.
    large: bool,
    /// Received and not decoded.
    backlog: Backlog,
}

/// The receive streams, the inbox and the ledger of one connection.
#[derive(Debug)]
pub(super) struct Receiver {
    peer: PeerId,
    ours: ProtocolSet,
    limits: DecodeLimits,
    exchanger_limits: ExchangerLimits,
    /// By id; bounded by the room for streams and by the gate.
    streams: BTreeMap<StreamId, RecvStream>,
    /// Opened by the peer and not accepted yet; bounded by the room for streams.
    held: VecDeque<StreamId>,
    /// Whether streams are accepted; not before the connection is live.
    open: bool,
    gate: StreamGate,
    buffers: Buffers,
    /// What backlogs are kept in.
    stash: AppendSlab,
    /// What the peer may make it hold, and whether that has changed since Node was told.
    promises: Promises,
    promises_changed: bool,
    /// Streams whose package waits for a reservation; one entry a stream.
    waiting: VecDeque<StreamId>,
    /// Streams with a backlog; one entry a stream.
    blocked: VecDeque<StreamId>,
    /// How many streams are inside a package and have no backlog.
    assembling: usize,
    /// Those of them whose package is longer than `RETAINED`.
    large: usize,
    /// A small message came while there was one.
    small_beside: bool,
    /// Bytes of all backlogs.
    backlog: usize,
    /// Memory of all packages in assembly, in bytes.
    assemblies: usize,
    /// Some decoder keeps memory for packages in parts.
    parted: bool,
    inbox: Batch,
    inbox_held: usize,
    /// The part of it that was taken and is not consumed.
    taken: usize,
    inbox_max: usize,
    /// The link is gone: credit means nothing any more, and what is left is there to be taken.
    closed: bool,
    /// The place in the inbox of the chunk that is being decoded, once it is listed.
    listed: Option<u32>,
    /// The protocol of the message that was listed last, and its place in the inbox once it has one.
    familiar: Familiar,
    familiar_name: Option<ProtocolId>,
    familiar_place: Option<u32>,
    offences: Offences,
    /// Latest protocol lists of the peer that came as messages.
    pub(super) pushed: Option<ProtocolSet>,
    pub(super) push_ok: Option<ProtocolSet>,
    /// Messages that were published.
    pub(super) traffic: Traffic,
    /// Messages of protocols that are not ours.
    unknown: u64,
    offended: snapshot::Offences,
}

#[derive(Debug)]
struct Buffers {
    pool: AssemblyPool,
    /// What the stream in hand may still receive without being credited.
    granted: usize,
}

impl AssemblyBuffers for Buffers {
    fn take(&mut self, declared: usize) -> BytesMut {
        self.pool.take(declared, self.granted)
    }

    fn freeze(&mut self, buffer: BytesMut) -> Bytes {
        self.pool.freeze(buffer)
    }

    fn give_back(&mut self, buffer: BytesMut) {
        self.pool.give_back(buffer);
    }
}

impl Receiver {
    pub(super) fn new(config: &Config, local: PeerId, now: Instant) -> Self {
        let step = if config.connections_per_peer_max == 1 { 0 } else { LEASE_STEP };
        Self {
            // Known once it is proven.
            peer: local,
            ours: ProtocolSet::default(),
            limits: DecodeLimits::new(config.message_max),
            exchanger_limits: super::exchange::limits(config),
            streams: BTreeMap::new(),
            held: VecDeque::new(),
            open: false,
            gate: StreamGate::new(step),
            buffers: Buffers {
                pool: AssemblyPool::new(AssemblyConfig {
                    buffers: 64,
                    bytes: config.inbox_max.saturating_mul(4),
                }),
                granted: 0,
            },
            stash: AppendSlab::with_retired(STASH_SLAB, STASH_SLABS_KEPT),
            promises: Promises::new(config),
            promises_changed: false,
            waiting: VecDeque::new(),
            blocked: VecDeque::new(),
            assembling: 0,
            large: 0,
            small_beside: false,
            backlog: 0,
            assemblies: 0,
            parted: false,
            inbox: Batch::default(),
            inbox_held: 0,
            taken: 0,
            inbox_max: config.inbox_max,
            closed: false,
            listed: None,
            familiar: Familiar::new(),
            familiar_name: None,
            familiar_place: None,
            offences: Offences::new(config.offences_max, now),
            pushed: None,
            push_ok: None,
            traffic: Traffic::default(),
            unknown: 0,
            offended: snapshot::Offences::default(),
        }
    }

    pub(super) fn set_ours(&mut self, ours: ProtocolSet) {
        self.ours = ours;
        self.familiar_name = None;
        self.familiar_place = None;
        self.inbox.forget_protocols();
    }

    pub(super) fn has_messages(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Whether messages wait in the inbox, or to be decoded once it has room.
    pub(super) fn has_more(&self) -> bool {
        self.has_messages() || !self.blocked.is_empty()
    }

    /// Exchanges the inbox for a batch that was consumed.
    pub(super) fn take_messages(&mut self, now: Instant, uni: &mut Session, batch: &mut Batch) {
        if batch.is_empty() {
            batch.begin(self.peer);
            core::mem::swap(&mut self.inbox, batch);
            self.taken = self.inbox_held;
            self.listed = None;
            self.familiar_place = None;
            self.refill(now, uni);
        }
    }

    /// The link is gone. From here on backlogs are decoded whenever the inbox was taken, whether
    /// or not what was taken before is consumed.
    pub(super) fn close(&mut self, now: Instant, uni: &mut Session) {
        self.closed = true;
        self.refill(now, uni);
    }

    fn refill(&mut self, now: Instant, uni: &mut Session) {
        if self.closed && self.inbox.is_empty() {
            (self.inbox_held, self.taken) = (0, 0);
            // There is no connection left that offences could end.
            let _spent = self.decode_backlogs(now, uni);
        }
    }

    pub(super) const fn set_peer(&mut self, peer: PeerId) {
        self.peer = peer;
    }

    /// The peer opened a stream.
    pub(super) fn opened(
        &mut self,
        now: Instant,
        uni: &mut Session,
        stream: StreamId,
    ) -> Result<(), Spent> {
        self.promises_changed = true;
        if !self.promises.streams.admit(WINDOW) {
            uni.reset(stream);
            // How much room there is the peer cannot know; of that the session counts refusals.
            // Before the connection is live streams wait unaccepted, but they count (D-104).
            let is_innocent = self.open && self.gate.left() > 0;
            return if is_innocent { Ok(()) } else { self.offence(now, Offence::Streams) };
        }
        self.streams.insert(stream, RecvStream::default());
        self.held.push_back(stream);
        if self.open { self.accept_held(now, uni) } else { Ok(()) }
    }

    /// The connection is live: accepts what waits.
    pub(super) fn go_live(&mut self, now: Instant, uni: &mut Session) -> Result<(), Spent> {
        self.open = true;
        self.inbox.begin(self.peer);
        self.accept_held(now, uni)
    }

    fn accept_held(&mut self, now: Instant, uni: &mut Session) -> Result<(), Spent> {
        while let Some(stream) = self.held.front().copied() {
            if self.gate.admit() == Admission::Refuse {
                // A refused stream is reset, so that its opener learns of it (D-30, D-31).
                self.offend(now, uni, stream, Offence::Streams)?;
                continue;
            }
            self.held.pop_front();
            let Some(state) = self.streams.get_mut(&stream) else { continue };
            state.accepted = true;
            // The peer writes, we only read: acknowledge, then half-close (spec 1.7).
            let _gone = uni.accept(stream);
            uni.finish(stream);
            if !state.backlog.is_empty() && !state.blocked {
                state.blocked = true;
                self.blocked.push_back(stream);
            } else if state.finished {
                self.forget(stream);
            }
        }
        Ok(())
    }

    /// How many more streams to ask Node for, if it is time.
    pub(super) fn poll_lease(&mut self) -> Option<u32> {
        self.gate.poll_request()
    }

    /// Node's answer to a request for more streams.
    pub(super) fn leased(&mut self, granted: u32) {
        self.gate.extend(granted);
    }

    /// The peer half-closed a stream.
    pub(super) fn finished(&mut self, now: Instant, uni: &mut Session, stream: StreamId) {
        let Some(state) = self.streams.get_mut(&stream) else { return };
        state.finished = true;
        if state.accepted && state.backlog.is_empty() {
            self.forget(stream);
            // What it had reserved is for whoever waits.
            self.admit_waiting(now, uni);
        }
    }

    /// The peer reset a stream. Packages that came whole before that, and wait for the inbox, are
    /// messages all the same: their sender has done with them.
    pub(super) fn reset(&mut self, now: Instant, uni: &mut Session, stream: StreamId) {
        match self.streams.get_mut(&stream) {
            Some(state) if state.accepted && !state.backlog.is_empty() => state.finished = true,
            _ => self.forget(stream),
        }
        self.admit_waiting(now, uni);
    }

    fn forget(&mut self, stream: StreamId) {
        let Some(state) = self.streams.remove(&stream) else { return };
        self.promises.messages.release(state.reserved);
        self.promises.streams.release(WINDOW);
        self.promises_changed = true;
        self.backlog = self.backlog.saturating_sub(state.backlog.bytes());
        self.assemblies = self.assemblies.saturating_sub(state.decoder.memory());
        if let Some(buffer) = state.decoder.into_buffer() {
            self.buffers.pool.give_back(buffer);
        }
        if state.accepted {
            self.gate.release();
        } else {
            self.held.retain(|held| *held != stream);
        }
        if state.waits {
            self.waiting.retain(|waiting| *waiting != stream);
        }
        if state.blocked {
            self.blocked.retain(|blocked| *blocked != stream);
        }
        self.assembling = self.assembling.saturating_sub(usize::from(state.assembling));
        self.large = self.large.saturating_sub(usize::from(state.large));
    }

    /// Counts a stream that may have begun or ended a package, or got or lost a backlog.
    fn recount(&mut self, stream: StreamId) {
        let Some(state) = self.streams.get_mut(&stream) else { return };
        let inside = !state.blocked && !state.decoder.is_between();
        let large = inside && state.decoder.declared() > RETAINED;
        self.large = self.large.saturating_sub(usize::from(state.large));
        self.large = self.large.saturating_add(usize::from(large));
        state.large = large;
        match (core::mem::replace(&mut state.assembling, inside), inside) {
            (false, true) => self.assembling = self.assembling.saturating_add(1),
            (true, false) => self.assembling = self.assembling.saturating_sub(1),
            _ => {}
        }
    }

    /// Whether a small message has come, since the last call, while a large one was under way.
    pub(super) const fn poll_small_beside(&mut self) -> bool {
        core::mem::replace(&mut self.small_beside, false)
    }

    /// The peer broke a rule on a stream: reset it.
    fn offend(
        &mut self,
        now: Instant,
        uni: &mut Session,
        stream: StreamId,
        what: Offence,
    ) -> Result<(), Spent> {
        uni.reset(stream);
        self.forget(stream);
        self.admit_waiting(now, uni);
        self.offence(now, what)
    }

    /// Counts an offence.
    pub(super) fn offence(&mut self, now: Instant, what: Offence) -> Result<(), Spent> {
        self.offended.count(what);
        if self.offences.spend(now) { Ok(()) } else { Err(Spent(what)) }
    }

    /// A package of `len` bytes has begun and is not all here.
    fn begin(&mut self, now: Instant, uni: &mut Session, stream: StreamId, len: usize) {
        if len > RETAINED {
            if let Some(state) = self.streams.get_mut(&stream) {
                state.waits = true;
                self.waiting.push_back(stream);
            }
            self.admit_waiting(now, uni);
        }
    }

    /// Admits packages to the ledger in their order, as long as the next one fits.
    fn admit_waiting(&mut self, now: Instant, uni: &mut Session) {
        while let Some(stream) = self.waiting.front().copied() {
            self.promises_changed = true;
            if let Some(state) = self.streams.get_mut(&stream) {
                let len = state.decoder.declared();
                if !self.promises.messages.admit(len) {
                    return;
                }
                state.reserved = len;
                state.admitted = Some(now);
                state.waits = false;
            }
            self.waiting.pop_front();
            self.credit_progress(now, uni, stream);
        }
    }

    /// How much more room to ask Node for, and how many bytes go back to it, if any of that may
    /// have changed.
    pub(super) fn poll_room(&mut self, uni: &mut Session) -> Option<(Room, usize)> {
        let changed = core::mem::take(&mut self.promises_changed);
        if !changed && !self.promises.has_growth_news(uni) {
            return None;
        }
        if self.waiting.is_empty() {
            self.promises.messages.forget();
        }
        Some(self.promises.poll(uni))
    }

    /// Node has granted what was asked for.
    pub(super) fn room_granted(&mut self, now: Instant, uni: &mut Session, room: Room) {
        if room.total() == 0 {
            return;
        }
        self.promises_changed = true;
        self.promises.granted(uni, room);
        if room.messages > 0 {
            self.admit_waiting(now, uni);
        }
    }

    /// Messages of other connections wait for room, or they do no longer.
    pub(super) fn set_crowded(&mut self, crowded: bool) {
        self.promises_changed = true;
        self.promises.messages.set_crowded(crowded);
    }

    /// What it has promised.
    pub(super) const fn promises(&self) -> &Promises {
        &self.promises
    }

    /// Credits what an admitted package may have credited before it is consumed.
    fn credit_progress(&mut self, now: Instant, uni: &mut Session, stream: StreamId) {
        let Some(state) = self.streams.get_mut(&stream) else { return };
        if state.reserved == 0 {
            return;
        }
        let excess = state.uncredited.saturating_sub(RETAINED);
        if excess > 0 {
            state.uncredited = RETAINED;
            uni.release(now, stream, excess);
        }
    }

    fn give_back(&mut self, now: Instant, uni: &mut Session, share: Share) {
        uni.release(now, StreamId(share.stream), share.credit as usize);
        if !self.closed {
            self.inbox_held = self.inbox_held.saturating_sub(share.held as usize);
            self.taken = self.taken.saturating_sub(share.held as usize);
        }
        if share.reserved > 0 {
            self.promises_changed = true;
            self.promises.messages.release(share.reserved as usize);
            self.admit_waiting(now, uni);
        }
    }

    /// The application consumed messages: credit returns, and backlogs move up.
    pub(super) fn consumed(
        &mut self,
        now: Instant,
        uni: &mut Session,
        consumed: &mut Consumed,
    ) -> Result<(), Spent> {
        for share in consumed.drain() {
            self.give_back(now, uni, share);
        }
        self.decode_backlogs(now, uni)
    }

    /// Decodes backlogs while the inbox has room.
    pub(super) fn decode_backlogs(&mut self, now: Instant, uni: &mut Session) -> Result<(), Spent> {
        while self.inbox_held < self.inbox_max {
            let Some(stream) = self.blocked.pop_front() else { break };
            let Some(state) = self.streams.get_mut(&stream) else { continue };
            state.blocked = false;
            let Some(chunk) = state.backlog.pop() else { continue };
            self.backlog = self.backlog.saturating_sub(chunk.len());
            self.decode_kept(now, uni, stream, chunk)?;
            let Some(state) = self.streams.get_mut(&stream) else { continue };
            if !state.backlog.is_empty() {
                state.blocked = true;
                self.blocked.push_back(stream);
            } else if state.finished {
                self.forget(stream);
            }
            self.recount(stream);
        }
        Ok(())
    }

    /// Whether a stream is inside a package, or messages have room that others wait for: so that
    /// progress has to be looked at. O(1).
    pub(super) const fn is_watched(&self) -> bool {
        self.assembling > 0 || self.promises.messages.owes() > 0
    }

    /// Resets the streams whose unfinished package had credit and gained less than `progress_min`
    /// since the last look; and those that take too long, if others wait for their room.
    pub(super) fn check_progress(
        &mut self,
        now: Instant,
        uni: &mut Session,
        config: &Config,
    ) -> Result<(), Spent> {
        let (interval, least) = (config.progress_interval, config.progress_min);
        let mut owes = self.promises.messages.owes();
        let mut stuck = VecDeque::new();
        for (stream, state) in &mut self.streams {
            let gained = core::mem::take(&mut state.gained);
            let missing = state.decoder.declared().saturating_sub(state.decoder.pending());
            let inside = state.accepted && !state.decoder.is_between() && !state.blocked;
            let had_credit = uni.receive_credit(*stream) > 0;
            let mut stands = false;
            if inside && had_credit && !state.waits {
                // One that began only now has had less time than is due.
                let age = now.since(*state.since.get_or_insert(now));
                stands = age >= interval && gained < least.min(missing.saturating_add(gained));
            } else {
                state.since = None;
            }
            let held = state.admitted.filter(|_| owes > 0 && state.reserved > 0);
            let late = held.is_some_and(|since| now.since(since) >= config.send_deadline);
            if stands || late {
                owes = owes.saturating_sub(state.reserved);
                stuck.push_back(*stream);
            }
        }
        for stream in stuck {
            self.offend(now, uni, stream, Offence::Progress)?;
        }
        Ok(())
    }

    /// Drops what the application has not taken.
    pub(super) fn discard(&mut self) {
        self.inbox.discard();
        self.familiar_place = None;
        (self.inbox_held, self.taken) = (0, 0);
        for stream in core::mem::take(&mut self.blocked) {
            if let Some(state) = self.streams.get_mut(&stream) {
                state.blocked = false;
                let dropped = core::mem::take(&mut state.backlog);
                self.backlog = self.backlog.saturating_sub(dropped.bytes());
            }
            self.recount(stream);
        }
    }

    /// Gives up what windows may still grow, of a connection that has fallen idle.
    pub(super) fn give_up_growth(&mut self, uni: &mut Session) {
        self.promises_changed = true;
        self.promises.give_up_growth(uni);
    }

    /// Frees buffers that an idle connection does not need.
    pub(super) fn shrink(&mut self) {
        if self.buffers.pool.bytes() > 0 {
            self.buffers.pool.shrink();
        }
        if self.blocked.is_empty() && self.stash.memory() > 0 {
            self.stash.shrink();
        }
        if core::mem::take(&mut self.parted) {
            for state in self.streams.values_mut() {
                self.parted |= !state.decoder.shrink();
            }
        }
        self.inbox.shrink();
        self.held.shrink_to_fit();
    }

    /// Bytes that wait undecoded, those of unfinished packages, those of the inbox, and those of
    /// buffers kept for the next ones.
    pub(super) fn memory(&self) -> [usize; 4] {
        let inbox = self.inbox_held.saturating_add(self.inbox.bytes());
        let kept = self.buffers.pool.bytes().saturating_add(self.stash.memory());
        [self.backlog, self.assemblies, inbox, kept]
    }

    /// Bytes of what is known of each stream.
    pub(super) fn streams_memory(&self) -> usize {
        let each = size_of::<(StreamId, RecvStream)>().saturating_add(Decoder::KEPT);
        self.streams.len().saturating_mul(each)
    }

    /// The first three of [`Receiver::memory`], counted anew.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn memory_recount(&self) -> [usize; 3] {
        let sum = |bytes: fn(&RecvStream) -> usize| self.streams.values().map(bytes).sum();
        let (held, bytes) = self.inbox.recount();
        let inbox = held.saturating_add(self.taken).saturating_add(bytes);
        [sum(|state| state.backlog.recount()), sum(|state| state.decoder.memory()), inbox]
    }

    /// What a connection counts, with what is counted here.
    pub(super) const fn counters(&self, counters: Counters) -> Counters {
        Counters { unknown: self.unknown, offences: self.offended, ..counters }
    }

    /// Streams that the peer has opened.
    pub(super) fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Bytes of the inbox, taken and not consumed ones included.
    pub(super) const fn inbox_held(&self) -> usize {
        self.inbox_held
    }

    /// Whether nothing more is decoded before the application takes messages.
    pub(super) const fn is_full(&self) -> bool {
        self.inbox_held >= self.inbox_max
    }

    /// Whether a message waits for room among those that are being received.
    pub(super) fn waits_for_room(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Checks R1 and the bookkeeping of the queues.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn assert_invariants(&self, uni: &Session) {
        let streams: usize = self.streams.values().map(|state| state.reserved).sum();
        assert!(streams <= self.promises.messages.in_use());
        assert_eq!(self.promises.streams.in_use(), self.streams.len().saturating_mul(WINDOW));
        self.promises.assert_invariants(uni);
        let waits = self.streams.values().filter(|state| state.waits).count();
        assert_eq!(waits, self.waiting.len());
        let blocked = self.streams.values().filter(|state| state.blocked).count();
        assert_eq!(blocked, self.blocked.len());
        let inside = |state: &&RecvStream| !state.blocked && !state.decoder.is_between();
        assert_eq!(self.streams.values().filter(inside).count(), self.assembling);
        let held = self.streams.values().filter(|state| !state.accepted).count();
        assert_eq!(held, self.held.len());
        assert!(self.parted || !self.streams.values().any(|state| state.decoder.is_kept()));
        assert_eq!(self.gate.in_use() as usize, self.streams.len().saturating_sub(held));
        for state in self.streams.values() {
            assert_eq!(state.backlog.bytes(), state.backlog.recount());
        }
    }
}
