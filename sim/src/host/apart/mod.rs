//! A node in parts: a `Node` on one task, each `Connection` on another, nothing shared but
//! mailboxes, outboxes and batches, as in an adapter with many tasks.
//!
//! A task that finds something for another leaves it in a slot and wakes that one; the world runs
//! it some time later. So an order reaches a connection when the world likes, after any number of
//! reads and writes, and folded into a later one where that comes first.

mod application;
mod desk;
mod task;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use headwater_core::config::Config;
use headwater_core::connection::Connection;
use headwater_core::contract::{
    Command, Deadline, Event, IoCause, ListenerId, Notification, TimerKind,
};
use headwater_core::id::{ConnectionId, PeerId};
use headwater_core::message::Batch;
use headwater_core::node::Node;
use headwater_core::protocol::ProtocolSet;
use headwater_core::record::Recorder;
use headwater_core::secure::ChannelFactory;
use headwater_core::seed::Seed;
use headwater_core::snapshot::Traffic;
use headwater_core::time::Instant;

use super::{Cx, StreamNews, Violation, Way, ensure};
use crate::event::Task;
use crate::net::{DialKey, Ready, Socket};
use crate::trace::trace;
use task::{ORDER, Part};

/// Rounds of one run.
const ROUNDS_MAX: usize = 32;

/// A node whose parts run apart.
pub(crate) struct Apart<F: ChannelFactory> {
    node: usize,
    life: u32,
    core: Node,
    factory: F,
    parts: BTreeMap<ConnectionId, Part<F::Channel>>,
    sockets: BTreeMap<ConnectionId, Socket>,
    /// Connections that have ended and wait for their other side, the oldest first.
    ending: VecDeque<ConnectionId>,
    reporting: VecDeque<ConnectionId>,
    /// Connections that are done, with what they counted after their last report, until the node
    /// takes that.
    late: Vec<(ConnectionId, Traffic)>,
    answers: VecDeque<(DialKey, Result<Socket, IoCause>)>,
    dialling: BTreeSet<ConnectionId>,
    listener: Option<ListenerId>,
    paused: bool,
    woken: BTreeSet<Task>,
    /// What senders see.
    routes: BTreeMap<PeerId, Way>,
    news: VecDeque<StreamNews>,
    /// Connections with a batch for the application.
    arrivals: VecDeque<ConnectionId>,
    /// What the application is reading.
    reading: Option<(ConnectionId, Batch)>,
    config: Config,
}

impl<F: ChannelFactory> Apart<F> {
    pub(crate) fn new(
        (node, life): (usize, u32),
        config: &Config,
        seed: Seed,
        factory: F,
        recorder: Option<Arc<dyn Recorder>>,
        now: Instant,
    ) -> Result<Self, Violation> {
        let core = Node::new(config.clone(), seed, factory.local(), now)
            .map_err(|error| Violation(error.to_string()))?
            .with_recorder(recorder);
        Ok(Self {
            node,
            life,
            core,
            factory,
            parts: BTreeMap::new(),
            sockets: BTreeMap::new(),
            ending: VecDeque::new(),
            reporting: VecDeque::new(),
            late: Vec::new(),
            answers: VecDeque::new(),
            dialling: BTreeSet::new(),
            listener: None,
            paused: false,
            woken: BTreeSet::from([Task::Node]),
            routes: BTreeMap::new(),
            news: VecDeque::new(),
            arrivals: VecDeque::new(),
            reading: None,
            config: config.clone(),
        })
    }

    /// The node's own task.
    fn run_node(&mut self, cx: &mut Cx<'_, '_>) -> Result<bool, Violation> {
        for _ in 0..ROUNDS_MAX {
            let mut moved = self.take_reports(cx.now);
            moved |= self.answers(cx)?;
            moved |= self.accept(cx)?;
            if self.core.next_timeout().is_some_and(|next| next.at <= cx.now) {
                self.core.handle_timeout(cx.now);
                moved = true;
            }
            moved |= self.drain(cx)?;
            if !moved {
                check_deadline(self.core.next_timeout(), cx.now)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn take_reports(&mut self, now: Instant) -> bool {
        let mut any = false;
        for (id, late) in self.late.drain(..) {
            self.core.handle_late(id, late);
        }
        while let Some(id) = self.reporting.pop_front() {
            let Some(part) = self.parts.get_mut(&id) else { continue };
            let Some(report) = part.report.take() else { continue };
            any = true;
            part.is_known &= !report.is_final();
            let ended = report.is_final();
            self.core.handle_report(now, id, report);
            if ended {
                self.see_off(id);
            }
        }
        any
    }

    fn see_off(&mut self, id: ConnectionId) {
        self.ending.push_back(id);
        while self.ending.len() > self.config.ending_max {
            let Some(oldest) = self.ending.pop_front() else { break };
            self.signal(oldest, task::HURRY);
        }
    }

    fn answers(&mut self, cx: &mut Cx<'_, '_>) -> Result<bool, Violation> {
        let mut any = false;
        while let Some((key, answer)) = self.answers.pop_front() {
            any = true;
            let connection = key.connection;
            ensure!(self.dialling.remove(&connection), "{connection} was not dialled");
            match answer {
                Ok(socket) => {
                    let local = crate::net::address(self.node);
                    match self.core.handle_dialed(cx.now, connection, local) {
                        Ok(setup) => self.begin(cx, setup, socket)?,
                        // Given up just now; the command that says so is still to come.
                        Err(_) => cx.net.abort(cx.time, socket),
                    }
                }
                Err(cause) => {
                    self.core.handle_event(cx.now, Event::DialFailed { connection, cause });
                }
            }
        }
        Ok(any)
    }

    fn accept(&mut self, cx: &mut Cx<'_, '_>) -> Result<bool, Violation> {
        let mut any = false;
        while !self.paused {
            let Some(listener) = self.listener else { break };
            let Some((socket, remote)) = cx.net.accept(self.node) else { break };
            any = true;
            match self.core.handle_accepted(cx.now, listener, remote) {
                Ok(setup) => self.begin(cx, setup, socket)?,
                Err(refusal) => {
                    trace!(cx.trace, "    refuses {remote}: {refusal}");
                    cx.net.close(cx.time, socket);
                }
            }
            self.commands(cx)?;
        }
        Ok(any)
    }

    fn begin(
        &mut self,
        cx: &mut Cx<'_, '_>,
        setup: headwater_core::connection::Setup,
        socket: Socket,
    ) -> Result<(), Violation> {
        let id = setup.connection;
        let channel = self.factory.channel(setup.direction, setup.expected);
        let connection = Connection::new(setup, channel, cx.now);
        cx.net.own(socket, id);
        let known = self.parts.insert(id, Part::new(connection));
        ensure!(known.is_none(), "{id} is the name of two links");
        self.sockets.insert(id, socket);
        self.woken.insert(Task::Connection(id));
        Ok(())
    }

    /// Everything that comes out of the machine, handed to whoever it is for.
    fn drain(&mut self, cx: &mut Cx<'_, '_>) -> Result<bool, Violation> {
        let mut any = self.commands(cx)?;
        while let Some((id, order)) = self.core.poll_order() {
            any = true;
            if let Some(part) = self.parts.get_mut(&id).filter(|part| part.is_known) {
                match &mut part.order {
                    Some(earlier) => earlier.merge(order),
                    None => part.order = Some(order),
                }
                self.signal(id, ORDER);
            }
        }
        while let Some(peer) = self.core.poll_route() {
            any = true;
            self.publish_route(peer);
        }
        Ok(any)
    }

    fn publish_route(&mut self, peer: PeerId) {
        let Some(route) = self.core.route(&peer) else {
            self.routes.remove(&peer);
            return;
        };
        let connections = route.entries().iter().map(|entry| (entry.connection, None)).collect();
        self.routes.insert(peer, Way { protocols: route.protocols().clone(), connections });
    }

    fn commands(&mut self, cx: &mut Cx<'_, '_>) -> Result<bool, Violation> {
        let mut any = false;
        while let Some(command) = self.core.poll_command() {
            any = true;
            trace!(cx.trace, "    {command:?}");
            match command {
                Command::Listen { listener, address } => {
                    self.listener = Some(listener);
                    cx.net.listen(cx.time, self.node, true);
                    let event = Event::Listening { listener, local: address };
                    self.core.handle_event(cx.now, event);
                }
                Command::StopListening { .. } => {
                    self.listener = None;
                    cx.net.listen(cx.time, self.node, false);
                }
                Command::Dial { connection, remote } => {
                    self.dialling.insert(connection);
                    cx.net.dial(cx.time, self.key(connection), remote);
                }
                Command::CancelDial { connection } => self.cancel(cx, connection),
                Command::PauseAccept => self.paused = true,
                Command::ResumeAccept => self.paused = false,
                other => return Err(Violation(format!("not for a node's task: {other:?}"))),
            }
        }
        Ok(any)
    }

    fn key(&self, connection: ConnectionId) -> DialKey {
        DialKey { node: self.node, life: self.life, connection }
    }

    fn cancel(&mut self, cx: &mut Cx<'_, '_>, connection: ConnectionId) {
        self.dialling.remove(&connection);
        cx.net.cancel(self.key(connection));
        self.answers.retain(|(key, answer)| {
            if key.connection == connection {
                if let Ok(socket) = answer {
                    cx.net.abort(cx.time, *socket);
                }
            }
            key.connection != connection
        });
    }

    /// Wakes the task of a connection.
    fn signal(&mut self, id: ConnectionId, signal: u32) {
        if let Some(part) = self.parts.get_mut(&id) {
            part.signals |= signal;
            self.woken.insert(Task::Connection(id));
        }
    }

    fn on_ready(&mut self, ready: Ready) {
        match ready {
            Ready::Read(id) => {
                if let Some(part) = self.parts.get_mut(&id) {
                    part.bits.readable = true;
                    self.woken.insert(Task::Connection(id));
                }
            }
            Ready::Write(id) => {
                if let Some(part) = self.parts.get_mut(&id) {
                    part.bits.writable = true;
                    self.woken.insert(Task::Connection(id));
                }
            }
            Ready::Accept => {
                self.woken.insert(Task::Node);
            }
            Ready::Dialed(key, answer) => {
                self.answers.push_back((key, answer));
                self.woken.insert(Task::Node);
            }
        }
    }

    fn poll_told(&mut self) -> Option<Notification> {
        self.core.poll_notification()
    }

    fn protocols_now(&self) -> &ProtocolSet {
        self.core.protocols()
    }
}

/// P8, of one machine.
fn check_deadline(next: Option<Deadline>, now: Instant) -> Result<(), Violation> {
    let due = next.filter(|next| next.at <= now && next.why != TimerKind::Budget);
    ensure!(due.is_none(), "P8: {due:?} is due after a full drain at {now:?}");
    Ok(())
}
