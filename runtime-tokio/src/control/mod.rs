//! The task of the node: its machine, and every task that belongs to it.
//!
//! The task goes round while there is anything to do: reports of connections, calls, accepted
//! links and ended tasks in, then everything that the machine says out. It never waits for any of
//! them, so they may wait for it.
//!
//! Bounds: a round takes [`CALLS_MAX`] calls; what is kept is one entry for each listener, dial
//! and link of the machine, and for `ending_max` connections that have ended.

mod answers;
mod outcome;
mod publish;
mod spawn;

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use headwater_core::contract::{DialId, ListenerId};
use headwater_core::error::ApplicationError;
use headwater_core::id::{ConnectionId, PeerId};
use headwater_core::node::Node as Core;
use headwater_core::secure::ChannelFactory;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, Id, JoinSet};

use crate::call::{CALLS_MAX, Call};
use crate::clock::{Clock, Timer};
use crate::error::{Error, ListenError};
use crate::link::{HURRY, Link};
use crate::listen::{ACCEPTED_MAX, Accepted, Gate};
use crate::shared::Shared;
use spawn::{Ended, Kind};

type ListenAnswer = oneshot::Sender<Result<SocketAddr, ListenError>>;
type DialAnswer = oneshot::Sender<Result<PeerId, Error>>;
type Changed = Result<(), ApplicationError>;

/// Rounds without a pause, after which other tasks of the thread have their turn.
const ROUNDS_MAX: usize = 32;

/// Everything that the node's task owns.
pub(crate) struct Control<F> {
    core: Core,
    factory: F,
    clock: Clock,
    timer: Timer,
    shared: Arc<Shared>,
    calls: mpsc::Receiver<Call>,
    /// Not every handle is gone.
    calls_open: bool,
    /// Answers that are given once connections have their orders.
    changed: Vec<(oneshot::Sender<Changed>, Changed)>,
    accepted: mpsc::Receiver<Accepted>,
    accepts: mpsc::Sender<Accepted>,
    tasks: JoinSet<Ended>,
    /// What each task is for, in case it does not come to its end.
    kinds: BTreeMap<Id, (Kind, AbortHandle)>,
    links: BTreeMap<ConnectionId, Arc<Link>>,
    /// Connections that have ended and whose tasks wait for the peer's end or for the
    /// application, the oldest first; at most `ending_max`.
    ending: VecDeque<Arc<Link>>,
    listeners: BTreeMap<ListenerId, (AbortHandle, Arc<Gate>)>,
    dials: BTreeMap<ConnectionId, AbortHandle>,
    listen_answers: BTreeMap<ListenerId, ListenAnswer>,
    dial_answers: BTreeMap<DialId, DialAnswer>,
    reporting: Vec<ConnectionId>,
    /// Connections that changed a route in this round, and up to which of their reports.
    rerouted: Vec<(Arc<Link>, u32)>,
    paused: bool,
    stopping: bool,
}

impl<F> Control<F>
where
    F: ChannelFactory + Send + 'static,
    F::Channel: Send + 'static,
{
    pub(crate) fn new(
        core: Core,
        factory: F,
        clock: Clock,
        shared: Arc<Shared>,
        calls: mpsc::Receiver<Call>,
    ) -> Self {
        let (accepts, accepted) = mpsc::channel(ACCEPTED_MAX);
        Self {
            core,
            factory,
            clock,
            timer: Timer::new(clock),
            shared,
            calls,
            calls_open: true,
            changed: Vec::new(),
            accepted,
            accepts,
            tasks: JoinSet::new(),
            kinds: BTreeMap::new(),
            links: BTreeMap::new(),
            ending: VecDeque::new(),
            listeners: BTreeMap::new(),
            dials: BTreeMap::new(),
            listen_answers: BTreeMap::new(),
            dial_answers: BTreeMap::new(),
            reporting: Vec::new(),
            rerouted: Vec::new(),
            paused: false,
            stopping: false,
        }
    }

    /// Runs until the node has stopped and every task of it has ended.
    pub(crate) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS_MAX {
            self.shared.wake.take();
            let mut moved = self.take_reports();
            moved |= self.take_calls(cx);
            moved |= self.take_accepted(cx);
            moved |= self.take_ended(cx);
            let deadline = self.core.next_timeout().map(|deadline| deadline.at);
            if self.timer.poll(cx, deadline).is_ready() {
                self.core.handle_timeout(self.clock.now());
                moved = true;
            }
            moved |= self.drain();
            if self.is_over() {
                return Poll::Ready(());
            }
            if !moved && self.shared.wake.sleep(cx.waker()) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn take_reports(&mut self) -> bool {
        let mut reporting = std::mem::take(&mut self.reporting);
        self.shared.take_reporting(&mut reporting);
        let any = !reporting.is_empty();
        for id in reporting.drain(..) {
            let Some(link) = self.links.get(&id) else { continue };
            let Some((mut report, told)) = link.take_report() else { continue };
            if report.changes_route() {
                self.rerouted.push((Arc::clone(link), told));
            }
            let is_final = report.is_final();
            if let Some(order) = is_final.then(|| link.take_order()).flatten() {
                // It came too late for the connection.
                order.send_back(&mut report);
            }
            self.core.handle_report(self.clock.now(), id, report);
            if is_final {
                self.links.remove(&id).into_iter().for_each(|link| self.see_off(link));
            }
        }
        self.reporting = reporting;
        any
    }

    /// A connection has ended: its other side is heard out, and the application may still take
    /// what it received, as long as there are not too many of that kind.
    fn see_off(&mut self, link: Arc<Link>) {
        self.ending.push_back(link);
        while self.ending.len() > self.core.config().ending_max {
            if let Some(oldest) = self.ending.pop_front() {
                oldest.wake.set(HURRY);
            }
        }
    }

    fn take_calls(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        for _ in 0..CALLS_MAX {
            if !self.calls_open {
                break;
            }
            match self.calls.poll_recv(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => {
                    self.calls_open = false;
                    self.stop();
                }
                Poll::Ready(Some(call)) => self.on_call(call),
            }
            any = true;
        }
        any
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.shared.arrivals.open();
        self.core.stop(self.clock.now());
        for (kind, task) in self.kinds.values() {
            // The system's resolver may take its time, and nobody asks for the answer any more.
            if matches!(kind, Kind::Resolve(_)) {
                task.abort();
            }
        }
    }

    fn take_accepted(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        // What was accepted just before a pause waits as if it were in the backlog still.
        while !self.paused || self.stopping {
            let Poll::Ready(Some(accepted)) = self.accepted.poll_recv(cx) else { break };
            let Accepted { listener, socket, remote } = accepted;
            // Whoever is turned away hears nothing but the end.
            if let Ok(setup) = self.core.handle_accepted(self.clock.now(), listener, remote) {
                self.spawn_connection(setup, socket);
            }
            any = true;
            self.commands();
        }
        any
    }

    fn is_over(&self) -> bool {
        self.core.is_stopped() && self.tasks.is_empty()
    }
}

/// However the task ends, nobody is left waiting for it.
impl<F> Drop for Control<F> {
    fn drop(&mut self) {
        self.calls.close();
        self.shared.close();
    }
}

impl<F> std::fmt::Debug for Control<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("core", &self.core).finish_non_exhaustive()
    }
}
