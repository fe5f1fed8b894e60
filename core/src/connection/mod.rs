//! One connection: channel, outer session, uni and bi sessions, pool and receive streams,
//! packages (spec 1.7).
//!
//! ```text
//!        messages                 ToNode ^   | ToConnection
//!          ^  |                          |   v
//!   receive|  |lanes              +---------------------+
//!        +-+--v---+ exchange      | phase and deadlines |
//!        |  uni   | +----+        +---------------------+
//!        +---+----+-+ bi |
//!            | outer     |   each one a yamux session
//!        +---+-----------+
//!        |    channel    |
//!        +---------------+
//!      bytes in    bytes out
//! ```
//!
//! Phases: `Handshake` until an identity is proven; then a verdict of Node; `Exchange` of the
//! protocols, if Node wants it; then a second verdict; `Live`; `Draining` once it is to close,
//! until what was accepted is framed; `Ending` until the other side has closed too; `Closed`.
//! While a verdict is due nothing is demultiplexed and the rest of the input is kept, so results
//! do not depend on where Node runs.
//!
//! Invariants: C1 no message is published before the second verdict. C2 the output holds at most
//! `output_max` bytes and one frame. C3 outer credit returns at demultiplexing, inner credit when
//! messages are consumed. C4 every phase but `Live` and `Closed` has a deadline. C5 a connection on
//! which little moves keeps no buffer that nothing lies in.
//!
//! Bounds: `slabs_max` receive slabs; the output; the lanes' and the receive streams' own.

mod beside;
mod exchange;
mod inbound;
mod lanes;
mod ledger;
mod lifecycle;
mod mailbox;
mod marks;
mod offences;
mod outbound;
mod parcel;
mod receive;
mod recording;
mod snapshot;

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::BytesMut;

pub use lanes::{LaneId, LaneNews};
pub use ledger::Memory;
pub use mailbox::{Setup, ToConnection, ToNode};

pub(crate) use mailbox::{Closed, Tally, TallyEntry, Verdict};
pub(crate) use parcel::{Parcel, parcel_of};
pub(crate) use receive::HELD_MAX;

use beside::Beside;
use exchange::Exchange;
use inbound::Inbound;
use lanes::Lanes;
use lifecycle::Phase;
use marks::Marks;
use receive::{Receiver, Spent};

use crate::contract::{Deadline, Direction, IoCause, LinkCommand, TimerKind};
use crate::error::{BorrowError, CloseReason, UsageError};
use crate::id::{ConnectionId, PeerId};
use crate::message::{Batch, Consumed};
use crate::mux::{Role, Session, SessionConfig, StreamId};
use crate::pool::{Load, Outbox, OutboxConfig, Sizes};
use crate::record::{Note, Tape};
use crate::secure::SecureChannel;
use crate::snapshot::Counters;
use crate::time::{Clamp, Instant};

use crate::buffer::SealedBuf;
use crate::buffer::out::OutBuf;

/// One transport link and everything on it, as a machine.
///
/// The driver moves its bytes and carries its mailboxes to and from `Node`; see the crate's
/// documentation for the loop.
#[derive(Debug)]
pub struct Connection<C> {
    setup: Setup,
    clock: Clamp,
    phase: Phase,
    phase_deadline: Option<Instant>,
    channel: C,
    outer: Session,
    uni: Session,
    bi: Session,
    /// The outer streams that carry the two inner sessions.
    uni_stream: Option<StreamId>,
    bi_stream: Option<StreamId>,
    inbound: Inbound,
    /// Framed; the output itself if the channel is transparent.
    framed: OutBuf,
    /// Sealed, or the channel's own output.
    sealed: SealedBuf,
    /// What sealing did to positions in the output.
    marks: Marks,
    /// When the carrier has to have taken something.
    carrier_deadline: Option<Instant>,
    progress_at: Option<Instant>,
    memory_at: Option<Instant>,
    /// When to see whether buffers are still in use.
    idle_at: Option<Instant>,
    /// Bytes moved either way since `idle_at` was set.
    moved: usize,
    beside: Beside,
    receiver: Receiver,
    lanes: Lanes,
    exchange: Exchange,
    report: ToNode,
    link: lifecycle::Link,
    /// The channel may have something of its own to send.
    channel_dirty: bool,
    /// Our end, and the channel's, stand in the output: nothing is framed after them.
    said_all: bool,
    /// Messages may have found a stream.
    pump_due: bool,
    /// Large transfers stood back behind a small message.
    bulk_waits: bool,
    /// One more connection would help, when last looked at.
    hot: bool,
    /// The other end has gone live, too, and Node has heard of it.
    settled: bool,
    /// What Node hears of the end is made.
    reported: bool,
    /// The last report is taken.
    told: bool,
    /// Messages handed over between the end and its report.
    late: Vec<Parcel>,
    since: Instant,
    counters: Counters,
    /// Notes what happens, if somebody wants that.
    tape: Option<Box<dyn Tape>>,
}

impl<C: SecureChannel> Connection<C> {
    /// Begins a connection on a new link. The channel is made for `setup.direction`.
    #[must_use]
    pub fn new(setup: Setup, channel: C, now: Instant) -> Self {
        let mut clock = Clamp::default();
        clock.advance(now);
        let config = setup.config.clone();
        let role = match setup.direction {
            Direction::Outbound => Role::Client,
            Direction::Inbound => Role::Server,
        };
        let uni = SessionConfig {
            window_max: config.window_inner_max,
            window_growth_max: config.window_growth_max,
            ..SessionConfig::default()
        };
        // It carries one exchange.
        let bi = SessionConfig { window_growth_max: 0, ..SessionConfig::default() };
        let outer = SessionConfig {
            window_max: config.window_outer_max,
            window_growth_max: u64::from(config.window_outer_max).saturating_mul(2),
            keep_alive: Some(config.keep_alive),
            pong_timeout: config.pong_deadline,
            ..SessionConfig::default()
        };
        let transparent = channel.is_transparent();
        let tape = recording::begin(&setup, transparent, clock.now());
        let inbound = Inbound::new(&config, transparent);
        let key = |n| setup.seed.rng("session", n).next_u64();
        let mut uni = Session::new(role, uni, key(1), now);
        // What windows grow is leased first.
        uni.set_growth_max(0);
        Self {
            clock,
            phase: Phase::Handshake,
            phase_deadline: Some(now.after(config.handshake_deadline)),
            channel,
            outer: Session::new(role, outer, key(0), now),
            uni,
            bi: Session::new(role, bi, key(2), now),
            uni_stream: None,
            bi_stream: None,
            inbound,
            framed: OutBuf::new(),
            sealed: SealedBuf::new(),
            marks: Marks::default(),
            carrier_deadline: None,
            progress_at: None,
            memory_at: None,
            idle_at: None,
            moved: 0,
            beside: Beside::new(),
            receiver: Receiver::new(&config, setup.local, now),
            lanes: Lanes::new(&config),
            exchange: Exchange::default(),
            report: ToNode::default(),
            link: lifecycle::Link::default(),
            channel_dirty: true,
            said_all: false,
            pump_due: false,
            bulk_waits: false,
            hot: false,
            settled: false,
            reported: false,
            told: false,
            late: Vec::new(),
            since: clock.now(),
            counters: Counters::default(),
            tape,
            setup,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> ConnectionId {
        self.setup.connection
    }

    /// Who the other end has proven to be.
    #[must_use]
    pub fn peer(&self) -> Option<PeerId> {
        self.channel.peer()
    }

    /// Takes what Node has to say.
    pub fn handle_order(&mut self, now: Instant, mut order: ToConnection) {
        let now = self.note_told(now, || Note::Order(Box::new(order.clone())));
        let cuts_off = |reason: &mut CloseReason| {
            matches!(reason, CloseReason::Blocked | CloseReason::Deadline(TimerKind::Probe))
        };
        if let Some(reason) = order.close.take_if(cuts_off).filter(|_| !self.is_closed()) {
            self.abort(now, reason);
        }
        self.on_order(now, order);
    }

    /// Takes what Node should hear. Nothing follows a report that is final: whatever was accepted
    /// has to be handed over before, as what comes later is counted nowhere.
    pub fn poll_report(&mut self) -> Option<ToNode> {
        if self.told {
            self.report = ToNode::default();
            return None;
        }
        if !self.lanes.undelivered.is_empty() {
            self.report.undelivered.merge(core::mem::take(&mut self.lanes.undelivered));
        }
        self.report.alive |= self.outer.poll_probed();
        // The other end opens its pool when it has its second verdict.
        if !self.settled && self.phase == Phase::Live && self.uni.remote_open() > 0 {
            self.settled = true;
            self.report.settled = true;
        }
        if let Some(closed) = &mut self.report.closed {
            self.told = true;
            closed.traffic.take(&mut self.lanes.traffic);
            closed.traffic.take(&mut self.receiver.traffic);
            closed.counters = self.receiver.counters(self.counters);
        }
        if let Some((wanted, returned)) = self.receiver.poll_room(&mut self.uni) {
            self.report.room_wanted = self.report.room_wanted.and(wanted);
            self.report.bytes_returned = self.report.bytes_returned.saturating_add(returned);
        }
        if self.report.is_empty() {
            return None;
        }
        let report = core::mem::take(&mut self.report);
        self.note(|| Note::Reported(Box::new(report.clone())));
        Some(report)
    }

    /// Takes what has to be done with the link.
    pub fn poll_link_command(&mut self) -> Option<LinkCommand> {
        let mut link = self.link;
        let command = link.poll(|| !self.has_output())?;
        self.link = link;
        self.note(|| Note::LinkCommand(command));
        self.on_link_command(command);
        Some(command)
    }

    /// Whether the link is done with: `Close` or `Abort` was taken.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.link.is_closed()
    }

    /// Whether no more messages to send are taken: whatever is handed over now goes to another
    /// connection of the peer, or is counted as undelivered.
    #[must_use]
    pub const fn is_closing(&self) -> bool {
        self.phase.is_closing()
    }

    /// The other side has ended its half of the link.
    pub fn handle_eof(&mut self, now: Instant) {
        let now = self.note_told(now, || Note::Eof);
        self.on_eof(now);
    }

    /// The link broke.
    pub fn handle_io_error(&mut self, now: Instant, cause: IoCause) {
        let now = self.note_told(now, || Note::IoError(cause));
        self.on_io_error(now, cause);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.note_told(now, || Note::Timeout);
        self.on_timeout(now);
    }

    /// When it wants to be called, and why. O(1) but for the receive streams' own.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Deadline> {
        self.deadline()
    }

    /// Lends the buffer that received bytes are appended to; it has room. `None` means: do not
    /// read now. Give it back with [`handle_received`](Self::handle_received).
    pub fn recv_buf(&mut self) -> Option<&mut BytesMut> {
        self.lend_buffer()
    }

    /// Takes the lent buffer back, with or without new bytes in it, and acts on them.
    ///
    /// # Errors
    ///
    /// [`UsageError::BufferReplaced`] if the buffer is shorter than when it was lent; the
    /// connection is closed then.
    pub fn handle_received(&mut self, now: Instant) -> Result<(), UsageError> {
        let now = self.clock.advance(now);
        self.on_received(now)
    }

    /// Whether there is something to transmit. O(1).
    #[must_use]
    pub fn wants_transmit(&self) -> bool {
        self.has_output()
    }

    /// Frames and seals what goes next, up to `output_max` bytes, and lends the pieces for one
    /// vectored write; gives their number. Large transfers may be left for the next call, so that
    /// a small message leaves before them: call again while it
    /// [wants to](Self::wants_transmit). Confirm what left with
    /// [`handle_transmitted`](Self::handle_transmitted).
    pub fn transmit<'a>(&'a mut self, now: Instant, chunks: &mut [&'a [u8]]) -> usize {
        let now = self.note_told(now, || Note::Transmit);
        self.fill(now);
        self.output(chunks)
    }

    /// The carrier has taken the first `n` bytes of what was lent.
    pub fn handle_transmitted(&mut self, now: Instant, n: usize) {
        let now = self.note_told(now, || Note::Transmitted(n));
        self.on_transmitted(now, n);
    }

    /// A new outbox with the limits of this connection.
    #[must_use]
    pub fn outbox(&self) -> Outbox {
        Outbox::new(lanes::outbox_config(&self.setup.config))
    }

    /// Which messages are taken now.
    #[must_use]
    pub fn wants_messages(&self) -> Sizes {
        match &self.phase {
            _ if self.is_closing() => Sizes::BOTH,
            phase if phase.is_live() => self.lanes.wants_messages(),
            _ => Sizes::NONE,
        }
    }

    /// Takes what is wanted of an outbox; the send deadline of what was taken starts.
    ///
    /// On a closing connection they are handed to another one of the peer, or counted as
    /// undelivered.
    pub fn handle_messages(&mut self, now: Instant, outbox: &mut Outbox) {
        if !self.is_closing() && !self.phase.is_live() {
            return;
        }
        let now = self.clock.advance(now);
        self.note_messages(None, false, outbox);
        if self.is_closing() {
            self.return_messages(outbox);
        } else {
            self.lanes.handle_messages(now, outbox);
            self.pump_due |= self.lanes.has_waiting();
        }
    }

    /// How busy it is.
    #[must_use]
    pub fn load(&self) -> Load {
        self.lanes.load()
    }

    /// Whether received messages wait to be taken. They may still after the connection closed.
    #[must_use]
    pub fn has_messages(&self) -> bool {
        self.receiver.has_messages()
    }

    /// Exchanges `batch`, from which everything was popped, for the messages that wait.
    ///
    /// While the link lives, more follow when these are consumed. Of a connection that is
    /// [closed](Self::is_closed) everything that is left can be taken at once, batch after batch.
    pub fn take_messages(&mut self, batch: &mut Batch) {
        self.receiver.take_messages(self.clock.now(), &mut self.uni, batch);
        if let Some(tape) = &mut self.tape {
            tape.taken(self.clock.now(), batch);
        }
    }

    /// The application has consumed messages: their credit returns to the peer.
    pub fn handle_consumed(&mut self, now: Instant, consumed: &mut Consumed) {
        let now = self.clock.advance(now);
        self.note_consumed(consumed);
        let done = self.receiver.consumed(now, &mut self.uni, consumed);
        // A list may have waited behind messages.
        self.on_exchanger_messages();
        self.check_offences(now, done);
        // The slabs of what was consumed are free, too.
        self.rest();
    }

    /// Lends a stream on which messages arrive in order.
    ///
    /// # Errors
    ///
    /// See [`BorrowError`]; after `Pending` it is worth asking again.
    pub fn lend(&mut self, now: Instant) -> Result<LaneId, BorrowError> {
        let now = self.note_told(now, || Note::Borrow);
        if !self.phase.is_live() {
            return Err(BorrowError::Closed);
        }
        let outbox = self.lane_outbox();
        self.pump_due = true;
        let lent = self.lanes.lend(now, &mut self.uni, outbox);
        self.gave(&lent);
        lent
    }

    /// Whether a lane takes messages now.
    #[must_use]
    pub fn lane_wants_messages(&self, lane: LaneId) -> bool {
        self.lanes.lane_wants(lane)
    }

    /// A new outbox for a lane: its messages keep their order.
    #[must_use]
    pub fn lane_outbox(&self) -> Outbox {
        Outbox::new(OutboxConfig { ordered: true, ..lanes::outbox_config(&self.setup.config) })
    }

    /// Takes the whole outbox of a lane, if the lane wants messages.
    ///
    /// On a closing connection, or for a lane that is gone, they are counted as undelivered.
    pub fn handle_lane_messages(&mut self, now: Instant, lane: LaneId, outbox: &mut Outbox) {
        let now = self.clock.advance(now);
        self.note_messages(Some(lane), false, outbox);
        self.lanes.handle_lane_messages(now, &mut self.uni, lane, outbox);
    }

    /// Takes the next news of a lane.
    pub fn poll_lane(&mut self) -> Option<(LaneId, LaneNews)> {
        let (lane, news) = self.lanes.poll_news()?;
        self.note(|| Note::LaneNews(lane, news));
        Some((lane, news))
    }

    /// Returns a lane's stream to the pool, once its last byte is framed.
    pub fn give_back(&mut self, now: Instant, lane: LaneId) {
        let now = self.note_told(now, || Note::GiveBack(lane));
        self.lanes.give_back(now, &mut self.uni, lane);
    }

    /// Whether the receive side has nothing left for the application and the link is done with.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_closed() && !self.receiver.has_more() && !self.lanes.has_news()
    }

    /// Whether few bytes have moved lately: it keeps no buffers then, and its driver need not keep
    /// any for it.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.idle_at.is_none()
    }

    /// Whether reading is allowed, as far as no memory is asked for.
    #[must_use]
    pub fn may_read(&self) -> bool {
        !self.link.is_closed() && self.memory_at.is_none() && !self.is_gated() && !self.inbound.eof
    }

    /// The last messages of a lane that is given back: they are taken even while others wait. Of
    /// a lane that is gone they are counted as undelivered.
    pub fn handle_last_lane_messages(&mut self, now: Instant, lane: LaneId, outbox: &mut Outbox) {
        let now = self.clock.advance(now);
        self.note_messages(Some(lane), true, outbox);
        self.lanes.append_lane_messages(now, &mut self.uni, lane, outbox);
    }

    /// Lets go of a connection that has ended without waiting for its other side any longer, nor
    /// for the application to take its last messages. Does nothing to one that has not ended.
    ///
    /// A driver bounds with it how many connections are on their way out (P4).
    pub fn hurry(&mut self, now: Instant) {
        let now = self.note_told(now, || Note::Hurry);
        self.on_hurry(now);
    }

    /// Checks R1, P7 and the bookkeeping of the parts.
    #[doc(hidden)]
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn assert_invariants(&self) {
        self.outer.assert_invariants();
        self.uni.assert_invariants();
        self.bi.assert_invariants();
        self.receiver.assert_invariants(&self.uni);
        self.lanes.assert_invariants();
        // A driver whose socket is readable does not ask in vain, again and again.
        assert!(!self.inbound.has_undone() || !self.may_read(), "input is left over");
        self.assert_counted();
        let output = self.framed.len().saturating_add(self.sealed.len());
        // One frame, an end and the channel's own words come on top.
        let output_max = self.setup.config.output_max.saturating_add(128 * 1024);
        assert!(output <= output_max);
        self.marks.assert_invariants(self.sealed.len());
        let left = self.left_position();
        self.lanes.assert_handed(left);
        let kept = self.framed.position().saturating_sub(left);
        assert!(kept <= (output_max as u64).saturating_add(marks::STEP), "{kept} bytes not left");
    }

    fn check_offences(&mut self, now: Instant, done: Result<(), Spent>) {
        if let Err(Spent(last)) = done {
            self.fail(now, CloseReason::Offences { last });
        }
    }
}

#[cfg(test)]
mod tests;
