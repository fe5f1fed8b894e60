//! The task of one connection: its machine, its socket, its timer.
//!
//! The task goes round while there is anything to do: mailbox, outbox, lanes and credit in,
//! then write, then read within a budget, then everything out. It sleeps on the socket's
//! readiness, the timer and its [`Wake`](crate::wake::Wake).

mod bytes;
mod desk;
mod gather;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use headwater_core::connection::{Connection, LaneId};
use headwater_core::contract::LinkCommand;
use headwater_core::error::UndeliveredReason;
use headwater_core::message::Batch;
use headwater_core::pool::{Outbox, Sizes};
use headwater_core::secure::SecureChannel;
use headwater_core::snapshot::Traffic;
use headwater_core::time::Instant;

use gather::Gathering;

use crate::alarm::Alarm;
use crate::inbox::give_back;
use crate::lanes::Lane;
use crate::link::{
    ASKED, HURRY, INBOX, LANES, LEAVE, Link, ORDER, OUTBOX, READABLE, TIMER, WRITABLE,
};
use crate::runtime::{Runtime, Socket};
use crate::shared::Shared;
use crate::wake::lock;

/// Rounds without a pause, and bytes read and written in them, after which other tasks of the
/// thread have their turn: a peer that floods takes no more of it than others do.
const ROUNDS_MAX: usize = 32;
const BYTES_MAX: usize = 512 * 1024;

/// A last batch of this size makes it worth looking once more before the task sleeps: those who
/// filled it are likely to have filled the next one.
const LOOK_AGAIN_BYTES: usize = 8 * 1024;

/// Everything that one connection's task owns.
pub(crate) struct Task<C, R: Runtime> {
    connection: Connection<C>,
    /// Gone once the machine is done with it.
    socket: Option<R::Socket>,
    link: Arc<Link>,
    shared: Arc<Shared>,
    runtime: R,
    alarm: Alarm<R>,
    /// Not known to be empty, until a read finds it so; then `read_waker` tells.
    readable: bool,
    /// Not known to be full.
    writable: bool,
    read_waker: Waker,
    write_waker: Waker,
    timer_waker: Waker,
    timer_fired: bool,
    /// The other side has ended its half.
    ended: bool,
    /// What the shared outbox may have in it.
    outbox_filled: Sizes,
    /// Empty batches, at most three.
    spare: Vec<Batch>,
    lanes: BTreeMap<LaneId, Arc<Lane>>,
    /// Requests for streams are on the desk that could not be met.
    borrowers_wait: bool,
    /// Kept for its memory.
    marked: Vec<LaneId>,
    /// Bytes written in this round and, until the task looked once more, in the one before.
    written: usize,
    /// Bytes read and written in this poll.
    moved: usize,
    gathering: Gathering,
    shut: bool,
    /// Its last report is with Node.
    has_reported_end: bool,
    /// There is nobody any more to whom it matters.
    leaves: bool,
}

/// However the task ends, nobody is left waiting for it: a task that broke is told by its node,
/// and what it had accepted is lost with it.
impl<C, R: Runtime> Drop for Task<C, R> {
    fn drop(&mut self) {
        if !self.shut {
            self.link.shut(|_| {});
        }
        if self.socket.is_some() {
            self.shared.arrivals.remove_live();
        }
        self.shared.arrivals.forget(&self.link);
        for lane in std::mem::take(&mut self.lanes).into_values() {
            lane.lose(UndeliveredReason::ConnectionLost);
        }
        lock(&self.link.desk).close();
        self.link.tell_nobody();
    }
}

impl<C: SecureChannel, R: Runtime> Task<C, R> {
    pub(crate) fn new(
        connection: Connection<C>,
        socket: R::Socket,
        link: Arc<Link>,
        shared: Arc<Shared>,
        runtime: R,
    ) -> Self {
        // Without it small messages wait for acknowledgements.
        socket.set_nodelay();
        shared.arrivals.add_live();
        Self {
            connection,
            socket: Some(socket),
            read_waker: link.nudge(READABLE),
            write_waker: link.nudge(WRITABLE),
            timer_waker: link.nudge(TIMER),
            timer_fired: false,
            link,
            shared,
            alarm: Alarm::new(runtime.clone()),
            runtime,
            readable: true,
            writable: true,
            ended: false,
            outbox_filled: Sizes::NONE,
            spare: Vec::new(),
            lanes: BTreeMap::new(),
            borrowers_wait: false,
            marked: Vec::new(),
            written: 0,
            moved: 0,
            gathering: Gathering::default(),
            shut: false,
            has_reported_end: false,
            leaves: false,
        }
    }

    /// Runs until the connection has ended and its last messages are taken; gives what was counted
    /// after its last report.
    ///
    /// Boxed, because a future has a place of its own for whatever it is handed, on each level.
    pub(crate) async fn run(mut self: Box<Self>) -> Traffic {
        poll_fn(|cx| self.poll(cx)).await;
        self.connection.take_late()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.moved = 0;
        for _ in 0..ROUNDS_MAX {
            self.round();
            if self.is_done() {
                return Poll::Ready(());
            }
            if self.moved >= BYTES_MAX {
                break;
            }
            if self.finish_link() || self.can_move() {
                continue;
            }
            if self.gathering.is_under_way() {
                break;
            }
            if std::mem::take(&mut self.written) >= LOOK_AGAIN_BYTES {
                break;
            }
            if self.link.wake.sleep(cx.waker()) {
                self.gathering.stop();
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does once everything that can be done without waiting.
    fn round(&mut self) {
        let now = self.runtime.now();
        self.take_signals(now);
        self.write(now);
        self.read(now);
        self.publish(now);
        self.lane_news(now);
        self.report(now);
        self.link.publish_load(self.connection.load());
        let deadline = self.connection.next_timeout().map(|deadline| deadline.at);
        let fired = std::mem::take(&mut self.timer_fired);
        let mut cx = Context::from_waker(&self.timer_waker);
        if self.alarm.poll(&mut cx, now, deadline, fired).is_ready() {
            self.connection.handle_timeout(self.runtime.now());
            self.link.wake.set(ORDER);
            if self.connection.is_idle() {
                self.link.shrink_outbox();
            }
        }
    }

    fn take_signals(&mut self, now: Instant) {
        let signals = self.link.wake.take();
        self.readable |= signals & READABLE != 0 && !self.ended;
        self.writable |= signals & WRITABLE != 0;
        self.timer_fired |= signals & TIMER != 0;
        if signals & OUTBOX != 0 {
            self.outbox_filled = Sizes::BOTH;
        }
        if signals & ORDER != 0 {
            self.take_order(now);
        }
        if signals & LANES != 0 {
            self.serve_desk(now);
        }
        if signals & INBOX != 0 {
            self.take_credit(now);
        }
        if signals & HURRY != 0 {
            self.connection.hurry(now);
        }
        self.leaves |= signals & LEAVE != 0;
        self.feed(now);
        if signals & ASKED != 0 {
            self.tell(now);
        }
    }

    /// Says how it does to whoever has asked.
    fn tell(&self, now: Instant) {
        self.link.tell(|| {
            let mut snapshot = self.connection.snapshot(now);
            self.lanes.values().for_each(|lane| lane.look(|out| snapshot.add_waiting(out)));
            snapshot
        });
    }

    fn take_order(&mut self, now: Instant) {
        if self.has_reported_end {
            // What is there now Node takes back.
            return;
        }
        let Some(order) = self.link.take_order() else { return };
        // It may be to close: what was accepted before goes first.
        if self.link.outbox_bytes() > 0 {
            self.outbox_filled = Sizes::BOTH;
        }
        self.gathering.stop();
        self.feed(now);
        self.connection.handle_order(now, order);
    }

    /// Takes of the shared outbox what is there and the machine wants, if it is not better left
    /// alone for now.
    fn feed(&mut self, now: Instant) {
        if self.shut || !self.outbox_filled.meets(self.connection.wants_messages()) {
            return self.gathering.end();
        }
        // What goes with other bytes costs no write of its own.
        let is_idle = !self.connection.wants_transmit();
        if is_idle && self.gathering.goes_on(self.link.outbox_bytes()) {
            return;
        }
        let connection = &mut self.connection;
        let take = |outbox: &mut Outbox| connection.handle_messages(now, outbox);
        // Whoever is putting something in is likely to do so again: waiting for the lock would
        // cost both of them more than coming back.
        let left = if self.gathering.has_time() {
            self.link.try_swap_outbox(take)
        } else {
            Some(self.link.swap_outbox(take))
        };
        let Some(left) = left else { return self.gathering.look_again() };
        self.outbox_filled = left;
        self.gathering.end();
    }

    /// The connection ends: nothing more is accepted, and what was goes with it.
    fn shut_outbox(&mut self, now: Instant) {
        debug_assert!(!self.has_reported_end, "nothing counts what is handed over now");
        self.shut = true;
        let connection = &mut self.connection;
        self.link.shut(|outbox| connection.handle_messages(now, outbox));
        self.end_lanes(now);
    }

    fn take_credit(&mut self, now: Instant) {
        let mut returned = std::mem::take(&mut self.spare);
        let before = returned.len();
        lock(&self.link.inbox).take_returned(&mut returned);
        for batch in returned.iter_mut().skip(before) {
            self.connection.handle_consumed(now, batch.consumed());
        }
        if self.connection.is_idle() {
            returned = Vec::new();
        }
        returned.truncate(3);
        self.spare = returned;
    }

    /// Leaves for Node what the machine tells it.
    ///
    /// A connection that ends accepts nothing more before it reports: what was accepted goes with
    /// the last report, because Node takes none after that one.
    fn report(&mut self, now: Instant) {
        if self.connection.is_closing() && !self.shut {
            self.shut_outbox(now);
        }
        if let Some(report) = self.connection.poll_report() {
            self.has_reported_end |= report.is_final();
            if self.link.leave_report(report) {
                self.shared.has_report(self.link.id());
            }
        }
    }

    /// Hands received messages over, if the place for them is free: one batch while the socket
    /// lives, and after it everything that the list of arrivals takes, so that the task can end.
    fn publish(&mut self, now: Instant) {
        while self.connection.has_messages() {
            // What the peer told of itself before these messages comes before them.
            self.report(now);
            if self.link.awaits_route() {
                return;
            }
            if self.shared.arrivals.is_unread() {
                self.drop_batch(now);
                continue;
            }
            if self.socket.is_some() && !lock(&self.link.inbox).has_place() {
                return;
            }
            let Self { connection, spare, .. } = self;
            let offered = self.shared.arrivals.offer(&self.link, || {
                let mut batch = spare.pop().unwrap_or_default();
                connection.take_messages(&mut batch);
                batch
            });
            if !offered {
                return;
            }
            if self.shared.arrivals.is_unread() {
                // The reader went while the batch was put: nobody else will take it out.
                if let Some((link, batch)) = self.shared.arrivals.pop() {
                    give_back(&link, batch);
                }
            }
        }
    }

    /// Drops what was received, and returns its credit.
    fn drop_batch(&mut self, now: Instant) {
        let mut batch = self.spare.pop().unwrap_or_default();
        self.connection.take_messages(&mut batch);
        batch.discard();
        self.connection.handle_consumed(now, batch.consumed());
        self.spare.push(batch);
    }

    /// Does what the machine wants done with the link; whether there was something.
    fn finish_link(&mut self) -> bool {
        let Some(command) = self.connection.poll_link_command() else { return false };
        match command {
            LinkCommand::Finish => {
                if let Some(socket) = &self.socket {
                    socket.finish();
                }
            }
            LinkCommand::Close => self.close(),
            LinkCommand::Abort => {
                if let Some(socket) = &self.socket {
                    socket.reset_on_drop();
                }
                self.close();
            }
        }
        true
    }

    fn close(&mut self) {
        if self.socket.take().is_some() {
            self.shared.arrivals.remove_live();
        }
    }

    fn is_done(&self) -> bool {
        self.leaves || (self.socket.is_none() && self.shut && self.connection.is_done())
    }
}
