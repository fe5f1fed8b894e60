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

use futures_channel::oneshot;
use headwater_core::contract::{DialId, ListenerId};
use headwater_core::error::ApplicationError;
use headwater_core::id::{ConnectionId, PeerId};
use headwater_core::node::Node as Core;
use headwater_core::secure::ChannelFactory;

use crate::alarm::Alarm;
use crate::call::CALLS_MAX;
use crate::error::{Error, ListenError};
use crate::link::{HURRY, Link};
use crate::listen::{Accepted, Accepts, Gate};
use crate::runtime::Runtime;
use crate::shared::{Life, Shared, UNHELD};
use crate::tasks::{Cancel, Results, TaskId};
use spawn::{Ended, Kind};

type ListenAnswer = oneshot::Sender<Result<SocketAddr, ListenError>>;
type DialAnswer = oneshot::Sender<Result<PeerId, Error>>;
type Changed = Result<(), ApplicationError>;

/// Rounds without a pause, after which other tasks of the thread have their turn.
const ROUNDS_MAX: usize = 32;

/// Everything that the node's task owns.
pub(crate) struct Control<F, R: Runtime> {
    core: Core,
    factory: F,
    runtime: R,
    alarm: Alarm<R>,
    shared: Arc<Shared>,
    /// Answers that are given once connections have their orders.
    changed: Vec<(oneshot::Sender<Changed>, Changed)>,
    accepts: Arc<Accepts<R::Socket>>,
    results: Arc<Results<Ended<R::Socket>>>,
    next_task: TaskId,
    /// Every task of the node that has not ended.
    kinds: BTreeMap<TaskId, Kind>,
    /// Kept for its memory.
    ended: Vec<(TaskId, Option<Ended<R::Socket>>)>,
    links: BTreeMap<ConnectionId, Arc<Link>>,
    /// Connections that have ended and whose tasks wait for the peer's end or for the
    /// application, the oldest first; at most `ending_max`.
    ending: VecDeque<Arc<Link>>,
    listeners: BTreeMap<ListenerId, (Arc<Cancel>, Arc<Gate>)>,
    dials: BTreeMap<ConnectionId, Arc<Cancel>>,
    listen_answers: BTreeMap<ListenerId, ListenAnswer>,
    dial_answers: BTreeMap<DialId, DialAnswer>,
    reporting: Vec<ConnectionId>,
    /// Connections that changed a route in this round, and up to which of their reports.
    rerouted: Vec<(Arc<Link>, u32)>,
    paused: bool,
    stopping: bool,
    /// The last of the fields: they are dropped in this order.
    _life: Life,
}

impl<F, R> Control<F, R>
where
    R: Runtime,
    F: ChannelFactory + Send + 'static,
    F::Channel: Send + 'static,
{
    pub(crate) fn new(core: Core, factory: F, runtime: R, shared: Arc<Shared>) -> Self {
        Self {
            core,
            factory,
            alarm: Alarm::new(runtime.clone()),
            runtime,
            changed: Vec::new(),
            accepts: Arc::new(Accepts::new(Arc::clone(&shared))),
            results: Arc::new(Results::new(Arc::clone(&shared))),
            next_task: 0,
            kinds: BTreeMap::new(),
            ended: Vec::new(),
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
            _life: Life(Arc::clone(&shared)),
            shared,
        }
    }

    /// Runs until the node has stopped and every task of it has ended.
    pub(crate) async fn run(mut self: Box<Self>) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS_MAX {
            let signals = self.shared.wake.take();
            let mut moved = self.take_reports();
            moved |= self.take_calls();
            if signals & UNHELD != 0 {
                self.stop();
                moved = true;
            }
            moved |= self.take_accepted();
            moved |= self.take_ended();
            let deadline = self.core.next_timeout().map(|deadline| deadline.at);
            if self.alarm.poll(cx, self.runtime.now(), deadline, true).is_ready() {
                self.core.handle_timeout(self.runtime.now());
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
            self.core.handle_report(self.runtime.now(), id, report);
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

    fn take_calls(&mut self) -> bool {
        let mut any = false;
        for _ in 0..CALLS_MAX {
            let Some(call) = self.shared.calls.take() else { break };
            self.on_call(call);
            any = true;
        }
        any
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.shared.arrivals.open();
        self.core.stop(self.runtime.now());
        for kind in self.kinds.values() {
            // The system's resolver may take its time, and nobody asks for the answer any more.
            if matches!(kind, Kind::Resolve(..)) {
                kind.cancel();
            }
        }
    }

    fn take_accepted(&mut self) -> bool {
        let mut any = false;
        // What was accepted just before a pause waits as if it were in the backlog still.
        while !self.paused || self.stopping {
            let Some(accepted) = self.accepts.take() else { break };
            let Accepted { listener, socket, remote } = accepted;
            // Whoever is turned away hears nothing but the end.
            if let Ok(setup) = self.core.handle_accepted(self.runtime.now(), listener, remote) {
                self.spawn_connection(setup, socket);
            }
            any = true;
            self.commands();
        }
        any
    }

    fn is_over(&self) -> bool {
        self.core.is_stopped() && self.kinds.is_empty()
    }
}

/// However the task ends, nobody is left waiting for it, and no other task of the node runs on.
impl<F, R: Runtime> Drop for Control<F, R> {
    fn drop(&mut self) {
        self.kinds.values().for_each(Kind::cancel);
        self.accepts.close();
        self.shared.close();
    }
}
