//! The phases of a connection, its deadlines, and its end.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::mailbox::Closed;
use super::{Connection, Parcel, ToConnection, Verdict};
use crate::buffer::SealedBuf;
use crate::contract::{Deadline, Direction, IoCause, LinkCommand, TimerKind};
use crate::error::{CloseReason, UndeliveredReason};
use crate::mux::{self, Priority, Session};
use crate::pool::Outbox;
use crate::record::Note;
use crate::secure::SecureChannel;
use crate::time::Instant;

/// Up to this many bytes in `keep_alive` are probes and their answers: the connection falls idle.
const IDLE_BYTES: usize = 1024;

/// An idle connection is in use again after so many bytes. Its beginning and a word now and then
/// are less than that, and not worth keeping buffers for.
const BUSY_BYTES: usize = 16 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The identity is not proven yet.
    Handshake,
    /// Node has to say whether the proven peer is welcome.
    AwaitProven,
    /// The outer streams open and the protocols are exchanged.
    Exchange,
    /// Node has to say whether the connection goes live.
    AwaitLive,
    /// Messages travel.
    Live,
    /// What was accepted leaves; nothing more is accepted.
    Draining(CloseReason),
    /// Our end is on its way; the other side is heard out.
    Ending(CloseReason),
}

impl Phase {
    /// Whether Node's verdict is due, and nothing is demultiplexed until it comes.
    pub(super) const fn is_gated(&self) -> bool {
        matches!(self, Self::AwaitProven | Self::AwaitLive)
    }

    pub(super) const fn is_live(&self) -> bool {
        matches!(self, Self::Live | Self::Draining(_))
    }

    pub(super) const fn is_closing(&self) -> bool {
        matches!(self, Self::Draining(_) | Self::Ending(_))
    }

    pub(super) const fn is_ending(&self) -> bool {
        matches!(self, Self::Ending(_))
    }
}

/// What has to be done with the link, one thing at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Link {
    #[default]
    Open,
    /// Half-close it once the output has left.
    FinishDue,
    Finished,
    CloseDue,
    AbortDue,
    Closed,
}

impl Link {
    pub(super) const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    pub(super) fn poll(&mut self, flushed: impl FnOnce() -> bool) -> Option<LinkCommand> {
        let (next, command) = match self {
            Self::FinishDue if flushed() => (Self::Finished, LinkCommand::Finish),
            Self::CloseDue => (Self::Closed, LinkCommand::Close),
            Self::AbortDue => (Self::Closed, LinkCommand::Abort),
            _ => return None,
        };
        *self = next;
        Some(command)
    }
}

impl<C: SecureChannel> Connection<C> {
    pub(super) const fn is_gated(&self) -> bool {
        self.phase.is_gated()
    }

    pub(super) fn on_proven(&mut self, now: Instant) {
        self.phase = Phase::AwaitProven;
        self.phase_deadline = Some(now.after(self.setup.config.exchange_deadline));
        self.report.proven = self.channel.peer();
        if let Some(peer) = self.channel.peer() {
            self.receiver.set_peer(peer);
        }
    }

    pub(super) fn on_order(&mut self, now: Instant, order: ToConnection) {
        if let Some(ours) = order.ours {
            self.receiver.set_ours(ours.clone());
            self.exchange.set_ours(ours);
        }
        if let Some(version) = order.push {
            self.exchange.push(version);
        }
        if let Some(streams) = order.streams_granted {
            self.receiver.leased(streams);
        }
        self.receiver.room_granted(now, &mut self.uni, order.room_granted);
        if self.is_idle() && order.room_granted.growth > 0 {
            self.receiver.give_up_growth(&mut self.uni);
        }
        if let Some(crowded) = order.crowded {
            self.receiver.set_crowded(crowded);
            self.watch_progress(now);
        }
        if let Some(verdict) = order.proven_verdict {
            self.on_proven_verdict(now, verdict);
        }
        if let Some(verdict) = order.live_verdict {
            self.on_live_verdict(now, verdict);
        }
        // It may come with the verdict that makes the connection live.
        if order.probe && self.phase.is_live() {
            self.outer.probe(now);
        }
        if !order.adopt.is_empty() {
            self.adopt(now, order.adopt);
        }
        if let Some(reason) = order.close {
            self.close(now, reason);
        }
        self.pump(now);
    }

    fn on_proven_verdict(&mut self, now: Instant, verdict: Verdict) {
        if self.phase != Phase::AwaitProven {
            return;
        }
        match verdict {
            Verdict::Refuse(refusal) => self.fail(now, CloseReason::Refused(refusal)),
            Verdict::Proceed { exchange } => {
                self.phase = Phase::Exchange;
                if self.setup.direction == Direction::Outbound {
                    self.uni_stream = self.outer.open(now, Priority::Normal).ok();
                    self.bi_stream = self.outer.open(now, Priority::High).ok();
                }
                self.start_exchange(now, exchange);
                self.check_established();
            }
        }
    }

    /// Goes on once both outer streams are open and the exchange is done or not wanted.
    pub(super) fn check_established(&mut self) {
        let open = self.uni_stream.is_some() && self.bi_stream.is_some();
        if self.phase != Phase::Exchange || !open || !self.exchange.done {
            return;
        }
        self.phase = Phase::AwaitLive;
        if self.report.exchanged.is_none() {
            self.report.ready = true;
        }
    }

    fn on_live_verdict(&mut self, now: Instant, verdict: Verdict) {
        if self.phase != Phase::AwaitLive {
            return;
        }
        match verdict {
            Verdict::Refuse(refusal) => self.fail(now, CloseReason::Refused(refusal)),
            Verdict::Proceed { .. } => {
                self.phase = Phase::Live;
                self.phase_deadline = None;
                self.lanes.start(now);
                self.pump_due = true;
                let Self { receiver, uni, .. } = self;
                let done =
                    receiver.go_live(now, uni).and_then(|()| receiver.decode_backlogs(now, uni));
                self.poll_lease();
                self.on_exchanger_messages();
                self.check_offences(now, done);
            }
        }
    }

    /// Tells Node once each time that one more connection begins to be of help.
    pub(super) fn watch_load(&mut self) {
        let load = self.lanes.load();
        let hot = load.is_hot();
        if hot && !self.hot {
            self.report.load = Some(load);
        }
        self.hot = hot;
    }

    /// Takes messages that another connection of the peer left over.
    fn adopt(&mut self, now: Instant, parcels: Vec<Parcel>) {
        if !self.phase.is_ending() {
            self.lanes.adopt(now, parcels);
            self.pump_due = true;
        } else if let Some(closed) = &mut self.report.closed {
            closed.leftover.extend(parcels);
        } else if self.reported {
            for parcel in parcels {
                parcel.count(UndeliveredReason::ConnectionLost, &mut self.lanes.undelivered);
            }
        } else {
            self.late.extend(parcels);
        }
    }

    /// Messages handed over too late for this connection.
    pub(super) fn return_messages(&mut self, outbox: &mut Outbox) {
        let now = self.clock.now();
        let deadline = now.after(self.setup.config.send_deadline);
        outbox.take_traffic(&mut self.lanes.traffic);
        let items = core::iter::from_fn(|| outbox.take_next());
        let parcels = items.map(|item| super::parcel_of(item, deadline)).collect();
        self.adopt(now, parcels);
    }

    /// Closes in order: what was accepted leaves first.
    fn close(&mut self, now: Instant, reason: CloseReason) {
        match &self.phase {
            Phase::Draining(_) | Phase::Ending(_) => {}
            Phase::Live => {
                self.phase = Phase::Draining(reason);
                self.phase_deadline = Some(now.after(self.setup.config.close_deadline));
                self.pump_due = true;
                self.channel_dirty = true;
            }
            // Who has not even said who he is may never say that he has ended either.
            Phase::Handshake => self.abort(now, reason),
            _ => self.fail(now, reason),
        }
    }

    pub(super) fn drain_is_over(&self) -> bool {
        matches!(self.phase, Phase::Draining(_)) && self.lanes.is_drained()
    }

    /// Everything accepted is framed: closes bi, then uni, then the link (spec 1.7).
    pub(super) fn end(&mut self, now: Instant) {
        let Phase::Draining(reason) = self.phase.clone() else { return };
        self.enter_ending(now, reason);
    }

    /// Ends at once, for a reason that leaves nothing to wait for.
    pub(super) fn fail(&mut self, now: Instant, reason: CloseReason) {
        if self.phase.is_ending() {
            return;
        }
        self.enter_ending(now, reason);
        self.channel_dirty = true;
        self.report_closed();
    }

    /// Ends without a word to the other side.
    pub(super) fn abort(&mut self, now: Instant, reason: CloseReason) {
        self.fail(now, reason);
        self.report_closed();
        if !self.link.is_closed() {
            self.link = Link::AbortDue;
        }
        self.phase_deadline = Some(now.after(self.setup.config.close_deadline));
    }

    pub(super) fn on_hurry(&mut self, now: Instant) {
        if !self.reported {
            return;
        }
        self.receiver.discard();
        if self.link.is_closed() {
            self.phase_deadline = None;
        } else {
            self.link = Link::AbortDue;
            self.phase_deadline = Some(now.after(self.setup.config.close_deadline));
        }
    }

    fn enter_ending(&mut self, now: Instant, reason: CloseReason) {
        self.phase = Phase::Ending(reason);
        self.phase_deadline = Some(now.after(self.setup.config.close_deadline));
        for stream in [self.bi_stream, self.uni_stream].into_iter().flatten() {
            self.outer.finish(stream);
        }
        self.link = Link::FinishDue;
        self.progress_at = None;
        self.memory_at = None;
        self.idle_at = None;
    }

    /// Tells Node, once, how it ended.
    pub(super) fn report_closed(&mut self) {
        let Phase::Ending(reason) = &self.phase else { return };
        if core::mem::replace(&mut self.reported, true) {
            return;
        }
        let reason = reason.clone();
        let mut leftover = self.lanes.close(&self.uni);
        leftover.append(&mut self.late);
        self.report.closed = Some(Box::new(Closed { leftover, ..Closed::of(reason) }));
    }

    pub(super) fn on_link_command(&mut self, command: LinkCommand) {
        if command == LinkCommand::Finish {
            self.report_closed();
            if self.inbound.eof {
                self.link = Link::CloseDue;
            }
        }
        if self.link.is_closed() {
            // What the application has not taken waits a little longer.
            let linger = self.clock.now().after(self.setup.config.close_deadline);
            self.phase_deadline = Some(linger);
            self.memory_at = None;
            self.inbound.discard();
            self.receiver.close(self.clock.now(), &mut self.uni);
        }
    }

    pub(super) fn on_eof(&mut self, now: Instant) {
        self.inbound.eof = true;
        if !self.is_gated() {
            self.pump(now);
        }
    }

    /// The other side has ended, and everything it sent is demultiplexed.
    pub(super) fn on_last_byte(&mut self, now: Instant) {
        if !self.phase.is_ending() {
            // The channel has seen all of its input now: an end that it announced, too.
            let ended = self.channel.handle_eof();
            self.note(|| Note::ChannelEof(ended.clone().err().map(Box::new)));
            let reason = match ended {
                Err(error) => CloseReason::Channel(error),
                // An original node may end so, without a word before.
                Ok(()) if self.outer.is_between_frames() => CloseReason::RemoteClosed,
                Ok(()) => CloseReason::Truncated,
            };
            self.fail(now, reason);
        }
        if self.link == Link::Finished {
            self.link = Link::CloseDue;
        }
    }

    pub(super) fn on_io_error(&mut self, now: Instant, cause: IoCause) {
        // Once our end was on its way, how the other side lets go does not matter.
        let reason = match &self.phase {
            Phase::Draining(reason) => reason.clone(),
            _ => CloseReason::Io(cause),
        };
        self.abort(now, reason);
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.deadlines().into_iter().fold(None, Deadline::earlier)
    }

    /// Each deadline that may be set.
    pub(super) fn deadlines(&self) -> [Option<Deadline>; 8] {
        let at = |at: Option<Instant>, why| at.map(|at| Deadline { at, why });
        let why = match self.phase {
            Phase::Handshake => TimerKind::Handshake,
            Phase::AwaitProven | Phase::Exchange | Phase::AwaitLive => TimerKind::Exchange,
            _ => TimerKind::Close,
        };
        let phase = at(self.phase_deadline, why);
        let memory = at(self.memory_at, TimerKind::Memory);
        if self.phase.is_ending() {
            return [phase, memory, None, None, None, None, None, None];
        }
        let outer = self.outer.next_timeout().map(|(at, why)| Deadline { at, why: timer(why) });
        [
            phase,
            memory,
            at(self.carrier_deadline, TimerKind::Send),
            at(self.lanes.send_timeout(), TimerKind::Send),
            at(self.lanes.pool_timeout(), TimerKind::Expand),
            at(self.progress_at, TimerKind::Progress),
            at(self.idle_at, TimerKind::Idle),
            outer.filter(|_| self.phase.is_live()),
        ]
    }

    pub(super) fn on_timeout(&mut self, now: Instant) {
        self.counters.timeouts = self.counters.timeouts.saturating_add(1);
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.phase_deadline) {
            return self.on_phase_deadline(now);
        }
        if due(self.memory_at) {
            self.memory_at = None;
            self.pump(now);
        }
        if self.phase.is_ending() {
            return;
        }
        if due(self.carrier_deadline) {
            return self.abort(now, CloseReason::Deadline(TimerKind::Send));
        }
        self.lanes.handle_timeout(now, &mut self.uni);
        self.pump_due |= self.lanes.has_waiting();
        if due(self.progress_at) {
            let config = self.setup.config.clone();
            let watched = self.receiver.is_watched();
            self.progress_at = watched.then(|| now.after(config.progress_interval));
            let done = self.receiver.check_progress(now, &mut self.uni, &config);
            self.check_offences(now, done);
        }
        if due(self.idle_at) {
            self.on_idle_check(now);
        }
        if self.phase.is_live() && self.outer.handle_timeout(now).is_err() {
            self.abort(now, CloseReason::Deadline(TimerKind::Pong));
        }
    }

    /// Bytes have moved: buffers are in use.
    pub(super) fn count_moved(&mut self, now: Instant, bytes: usize) {
        self.moved = self.moved.saturating_add(bytes);
        if self.idle_at.is_none() && self.moved > BUSY_BYTES {
            self.idle_at = Some(now.after(self.setup.config.keep_alive));
            self.moved = 0;
        }
    }

    /// Frees what an idle connection does not need. Buffers come and go with each use while it is
    /// idle; while it is in use they stay. So do those that messages lie in, because to begin
    /// with a new one for each message would pin many.
    pub(super) fn rest(&mut self) {
        if self.is_idle() {
            self.inbound.shrink();
            self.receiver.shrink();
            self.lanes.shrink();
            [&mut self.outer, &mut self.uni, &mut self.bi].into_iter().for_each(Session::shrink);
            if self.framed.is_empty() && self.sealed.is_empty() {
                self.framed.shrink();
                self.sealed = SealedBuf::new();
            }
        }
    }

    fn on_idle_check(&mut self, now: Instant) {
        let busy = core::mem::take(&mut self.moved) > IDLE_BYTES;
        self.idle_at = busy.then(|| now.after(self.setup.config.keep_alive));
        if !busy {
            self.receiver.give_up_growth(&mut self.uni);
        }
        self.rest();
    }

    fn on_phase_deadline(&mut self, now: Instant) {
        if self.link.is_closed() {
            // Nobody took what was left.
            self.phase_deadline = None;
            self.receiver.discard();
            return;
        }
        let reason = match &self.phase {
            Phase::Draining(reason) | Phase::Ending(reason) => reason.clone(),
            Phase::Handshake => CloseReason::Deadline(TimerKind::Handshake),
            _ => CloseReason::Deadline(TimerKind::Exchange),
        };
        self.abort(now, reason);
    }
}

const fn timer(why: mux::TimerKind) -> TimerKind {
    match why {
        mux::TimerKind::KeepAlive => TimerKind::KeepAlive,
        mux::TimerKind::Pong => TimerKind::Pong,
    }
}
