//! The task of the node: its machine, and every task that belongs to it.

mod spawn;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use headwater_core::contract::{Command, DialId, Event, ListenerId, Notification};
use headwater_core::id::{ConnectionId, PeerId};
use headwater_core::node::Node as Core;
use headwater_core::secure::ChannelFactory;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, Id, JoinSet};

use crate::call::{Call, Change};
use crate::clock::{Clock, Timer};
use crate::dial;
use crate::error::{Error, ListenError};
use crate::link::Link;
use crate::listen::{ACCEPTED_MAX, Accepted, Gate};
use crate::routes::Route;
use crate::shared::Shared;
use spawn::{Ended, Kind};

type ListenAnswer = oneshot::Sender<Result<SocketAddr, ListenError>>;
type DialAnswer = oneshot::Sender<Result<PeerId, Error>>;

/// Everything that the node's task owns.
pub(crate) struct Control<F> {
    core: Core,
    factory: F,
    clock: Clock,
    timer: Timer,
    shared: Arc<Shared>,
    /// `None` once every handle is gone, or the node was told to stop.
    calls: mpsc::Receiver<Call>,
    calls_open: bool,
    accepted: mpsc::Receiver<Accepted>,
    accepts: mpsc::Sender<Accepted>,
    tasks: JoinSet<Ended>,
    /// What each task is for, in case it does not come to its end.
    kinds: BTreeMap<Id, (Kind, AbortHandle)>,
    links: BTreeMap<ConnectionId, Arc<Link>>,
    listeners: BTreeMap<ListenerId, (AbortHandle, Arc<Gate>)>,
    dials: BTreeMap<ConnectionId, AbortHandle>,
    listen_answers: BTreeMap<ListenerId, ListenAnswer>,
    dial_answers: BTreeMap<DialId, DialAnswer>,
    reporting: Vec<ConnectionId>,
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
            accepted,
            accepts,
            tasks: JoinSet::new(),
            kinds: BTreeMap::new(),
            links: BTreeMap::new(),
            listeners: BTreeMap::new(),
            dials: BTreeMap::new(),
            listen_answers: BTreeMap::new(),
            dial_answers: BTreeMap::new(),
            reporting: Vec::new(),
            paused: false,
            stopping: false,
        }
    }

    /// Runs until the node has stopped and every task of it has ended.
    pub(crate) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
        self.calls.close();
        self.shared.close();
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
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
    }

    fn take_reports(&mut self) -> bool {
        let mut reporting = std::mem::take(&mut self.reporting);
        self.shared.take_reporting(&mut reporting);
        let any = !reporting.is_empty();
        for id in reporting.drain(..) {
            let Some(report) = self.links.get(&id).and_then(|link| link.take_report()) else {
                continue;
            };
            let is_final = report.is_final();
            self.core.handle_report(self.clock.now(), id, report);
            if is_final {
                self.links.remove(&id);
            }
        }
        self.reporting = reporting;
        any
    }

    fn take_calls(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        while self.calls_open {
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

    fn on_call(&mut self, call: Call) {
        let now = self.clock.now();
        match call {
            Call::Listen { address, answer } => match self.core.listen(now, address) {
                Ok(listener) => {
                    self.listen_answers.insert(listener, answer);
                }
                Err(error) => {
                    let _ = answer.send(Err(error.into()));
                }
            },
            Call::Dial { address, answer } => match self.core.dial(now, address) {
                Ok(dial) => {
                    self.dial_answers.insert(dial, answer);
                }
                Err(error) => {
                    let _ = answer.send(Err(error.into()));
                }
            },
            Call::Change { change, answer } => {
                let done = match change {
                    Change::Disconnect(peer) => self.core.disconnect(now, peer),
                    Change::Register(protocol) => self.core.register(now, protocol),
                    Change::Unregister(protocol) => self.core.unregister(now, &protocol),
                };
                let _ = answer.send(done);
            }
            Call::Stop => self.stop(),
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
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
        while let Poll::Ready(Some(accepted)) = self.accepted.poll_recv(cx) {
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

    fn take_ended(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        while let Poll::Ready(Some(ended)) = self.tasks.poll_join_next_with_id(cx) {
            any = true;
            match ended {
                Ok((id, ended)) => {
                    self.kinds.remove(&id);
                    self.on_ended(ended);
                }
                Err(error) => {
                    let kind = self.kinds.remove(&error.id()).map(|(kind, _)| kind);
                    // A listener that was closed, a dial that was given up: nothing is lost.
                    if let (Some(kind), true) = (kind, error.is_panic()) {
                        self.on_broken(kind);
                    }
                }
            }
        }
        any
    }

    fn on_ended(&mut self, ended: Ended) {
        let now = self.clock.now();
        match ended {
            Ended::Connection(id) => {
                // Its last report may be on its way still.
                self.take_reports();
                if self.links.remove(&id).is_some() {
                    self.core.handle_vanished(now, id);
                }
            }
            Ended::Listener(listener, cause) => {
                self.listeners.remove(&listener);
                self.core.handle_event(now, Event::ListenFailed { listener, cause });
            }
            Ended::Dial(connection, made) => {
                self.dials.remove(&connection);
                match made {
                    Ok((socket, local)) => {
                        if let Ok(setup) = self.core.handle_dialed(now, connection, local) {
                            self.spawn_connection(setup, socket);
                        }
                    }
                    Err(cause) => {
                        self.core.handle_event(now, Event::DialFailed { connection, cause });
                    }
                }
            }
            Ended::Resolve(query, found) => {
                let event = match found {
                    Ok(addresses) => Event::Resolved { query, addresses },
                    Err(cause) => Event::ResolveFailed { query, cause },
                };
                self.core.handle_event(now, event);
            }
        }
    }

    /// Carries out and hands on everything that the machine has; whether there was something.
    fn drain(&mut self) -> bool {
        let mut any = self.commands();
        while let Some((id, order)) = self.core.poll_order() {
            if let Some(link) = self.links.get(&id) {
                link.leave_order(order);
            }
            any = true;
        }
        // Before the answers: whoever hears of a peer can send to it.
        while let Some(peer) = self.core.poll_route() {
            self.publish_route(peer);
            any = true;
        }
        while let Some(answer) = self.core.poll_answer() {
            self.answer(answer);
            any = true;
        }
        // At the end nothing is held back, or the end would wait for the application.
        while self.shared.news.has_room() || (self.stopping && self.tasks.is_empty()) {
            let Some(notification) = self.core.poll_notification() else { break };
            self.shared.news.put(notification);
            any = true;
        }
        any
    }

    fn commands(&mut self) -> bool {
        let mut any = false;
        while let Some(command) = self.core.poll_command() {
            any = true;
            match command {
                Command::Listen { listener, address } => self.listen(listener, address),
                Command::StopListening { listener } => {
                    if let Some((task, _)) = self.listeners.remove(&listener) {
                        task.abort();
                    }
                }
                Command::Resolve { query, name, port, family } => {
                    let resolve = async move {
                        Ended::Resolve(query, dial::resolve(&name, port, family).await)
                    };
                    self.spawn(Kind::Resolve(query), resolve);
                }
                Command::Dial { connection, remote } => {
                    let dial = async move { Ended::Dial(connection, dial::connect(remote).await) };
                    let task = self.spawn(Kind::Dial(connection), dial);
                    self.dials.insert(connection, task);
                }
                Command::CancelDial { connection } => {
                    if let Some(task) = self.dials.remove(&connection) {
                        task.abort();
                    }
                }
                Command::PauseAccept => self.pause(true),
                Command::ResumeAccept => self.pause(false),
                _ => {}
            }
        }
        any
    }

    fn pause(&mut self, paused: bool) {
        self.paused = paused;
        for (_, gate) in self.listeners.values() {
            gate.set(paused);
        }
    }

    fn publish_route(&self, peer: PeerId) {
        let route = self.core.route(&peer).map(|route| {
            let entries = route.entries().iter();
            let links = entries.filter_map(|entry| self.links.get(&entry.connection).cloned());
            Route::new(route.protocols().clone(), links.collect())
        });
        self.shared.routes.set(peer, route);
    }

    fn answer(&mut self, answer: Notification) {
        match answer {
            Notification::Listening { listener, local } => {
                if let Some(answer) = self.listen_answers.remove(&listener) {
                    let _ = answer.send(Ok(local));
                }
            }
            Notification::ListenFailed { listener, cause, .. } => {
                match self.listen_answers.remove(&listener) {
                    Some(answer) => {
                        let _ = answer.send(Err(ListenError::Bind(cause)));
                    }
                    // It had listened and broke: nobody waits for that.
                    None => self.shared.news.put(answer),
                }
            }
            Notification::Dialed { dial, peer } => {
                if let Some(answer) = self.dial_answers.remove(&dial) {
                    let _ = answer.send(Ok(peer));
                }
            }
            Notification::DialFailed { dial, error, .. } => {
                if let Some(answer) = self.dial_answers.remove(&dial) {
                    let _ = answer.send(Err(Error::Dial(error)));
                }
            }
            _ => {}
        }
    }

    fn is_over(&self) -> bool {
        self.core.is_stopped() && self.tasks.is_empty()
    }

    /// A task did not come to its end.
    fn on_broken(&mut self, kind: Kind) {
        use headwater_core::contract::IoCause::Other;
        let now = self.clock.now();
        match kind {
            Kind::Connection(id) => {
                self.links.remove(&id);
                self.core.handle_vanished(now, id);
            }
            Kind::Listener(listener) => self.on_ended(Ended::Listener(listener, Other)),
            Kind::Dial(connection) => self.on_ended(Ended::Dial(connection, Err(Other))),
            Kind::Resolve(query) => self.on_ended(Ended::Resolve(query, Err(Other))),
        }
    }
}

impl<F> std::fmt::Debug for Control<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("core", &self.core).finish_non_exhaustive()
    }
}
