//! A node as one machine: a loop around an `Endpoint`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::contract::{
    Command, Deadline, DialId, Event, IoCause, LinkCommand, ListenerId, Notification, RequiredId,
    TimerKind,
};
use headwater_core::endpoint::Endpoint;
use headwater_core::error::{ApplicationError, BorrowError, SendError};
use headwater_core::id::{ConnectionId, PeerId, ProtocolId};
use headwater_core::message::Message;
use headwater_core::peers::Rule;
use headwater_core::protocol::ProtocolSet;
use headwater_core::record::Recorder;
use headwater_core::secure::ChannelFactory;
use headwater_core::seed::Seed;
use headwater_core::supervisor::RequiredState;
use headwater_core::time::Instant;

use super::socket::{self, Bits};
use super::{Cx, Host, Stream, StreamNews, Violation, Way, ensure};
use crate::event::Task;
use crate::net::{DialKey, Net, Ready, Socket};
use crate::trace::trace;

/// Rounds of one run.
const ROUNDS_MAX: usize = 64;

/// A node that is one machine.
pub(crate) struct Whole<F: ChannelFactory> {
    endpoint: Endpoint<F>,
    node: usize,
    life: u32,
    sockets: BTreeMap<ConnectionId, Socket>,
    bits: BTreeMap<ConnectionId, Bits>,
    /// Connections with something to do.
    work: BTreeSet<ConnectionId>,
    answers: VecDeque<(DialKey, Result<Socket, IoCause>)>,
    dialling: BTreeSet<ConnectionId>,
    listener: Option<ListenerId>,
    paused: bool,
    woken: bool,
    /// Messages were taken since there were none.
    took: bool,
    news: VecDeque<StreamNews>,
    links_max: usize,
}

impl<F: ChannelFactory> Whole<F> {
    pub(crate) fn new(
        (node, life): (usize, u32),
        config: &Config,
        seed: Seed,
        factory: F,
        recorder: Option<Arc<dyn Recorder>>,
        now: Instant,
    ) -> Result<Self, Violation> {
        let endpoint = Endpoint::new(config.clone(), seed, factory, now)
            .map_err(|error| Violation(error.to_string()))?
            .with_recorder(recorder);
        Ok(Self {
            endpoint,
            node,
            life,
            sockets: BTreeMap::new(),
            bits: BTreeMap::new(),
            work: BTreeSet::new(),
            answers: VecDeque::new(),
            dialling: BTreeSet::new(),
            listener: None,
            paused: false,
            woken: true,
            took: false,
            news: VecDeque::new(),
            links_max: super::links_max(config),
        })
    }

    fn commands(&mut self, cx: &mut Cx<'_, '_>) -> Result<bool, Violation> {
        let mut any = false;
        while let Some(command) = self.endpoint.poll_command() {
            any = true;
            trace!(cx.trace, "    {command:?}");
            match command {
                Command::Listen { listener, address } => {
                    self.listener = Some(listener);
                    cx.net.listen(cx.time, self.node, true);
                    let event = Event::Listening { listener, local: address };
                    self.endpoint.handle_event(cx.now, event);
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
                Command::Link { connection, command } => {
                    self.link_command(cx, connection, command)?;
                }
                other => return Err(Violation(format!("unknown command {other:?}"))),
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
        // The link may have been made, and not looked at.
        self.answers.retain(|(key, answer)| {
            if key.connection == connection {
                if let Ok(socket) = answer {
                    cx.net.abort(cx.time, *socket);
                }
            }
            key.connection != connection
        });
    }

    fn link_command(
        &mut self,
        cx: &mut Cx<'_, '_>,
        connection: ConnectionId,
        command: LinkCommand,
    ) -> Result<(), Violation> {
        let socket = self.sockets.get(&connection).copied();
        ensure!(socket.is_some(), "{command:?} for {connection}, which has no socket");
        let Some(socket) = socket else { return Ok(()) };
        match command {
            LinkCommand::Finish => cx.net.finish(cx.time, socket),
            LinkCommand::Close => cx.net.close(cx.time, socket),
            LinkCommand::Abort => cx.net.abort(cx.time, socket),
        }
        if command != LinkCommand::Finish {
            self.sockets.remove(&connection);
            self.bits.remove(&connection);
            self.work.remove(&connection);
        }
        Ok(())
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
                    match self.endpoint.handle_dialed(cx.now, connection, local) {
                        Ok(()) => self.adopt(cx.net, connection, socket)?,
                        // Given up just now; the command that says so is still to come.
                        Err(_) => cx.net.abort(cx.time, socket),
                    }
                }
                Err(cause) => {
                    let event = Event::DialFailed { connection, cause };
                    self.endpoint.handle_event(cx.now, event);
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
            match self.endpoint.handle_accepted(cx.now, listener, remote) {
                Ok(connection) => self.adopt(cx.net, connection, socket)?,
                Err(refusal) => {
                    trace!(cx.trace, "    refuses {remote}: {refusal}");
                    cx.net.close(cx.time, socket);
                }
            }
            self.commands(cx)?;
        }
        Ok(any)
    }

    fn adopt(
        &mut self,
        net: &mut Net,
        connection: ConnectionId,
        socket: Socket,
    ) -> Result<(), Violation> {
        net.own(socket, connection);
        let known = self.sockets.insert(connection, socket);
        ensure!(known.is_none(), "{connection} is the name of two links");
        self.bits.insert(connection, Bits::new());
        self.work.insert(connection);
        Ok(())
    }

    /// Serves every connection with something to do, once.
    fn serve(&mut self, cx: &mut Cx<'_, '_>) -> bool {
        while let Some(connection) = self.endpoint.poll_ready() {
            self.work.insert(connection);
        }
        let mut again = BTreeSet::new();
        let mut any = false;
        for connection in std::mem::take(&mut self.work) {
            let Some(socket) = self.sockets.get(&connection) else { continue };
            let Some(bits) = self.bits.get_mut(&connection) else { continue };
            any = true;
            trace!(cx.trace, "  serves {connection}");
            let mut bytes = Side { endpoint: &mut self.endpoint, connection };
            if socket::serve(bits, *socket, &mut bytes, cx) {
                again.insert(connection);
            }
        }
        self.work.append(&mut again);
        any
    }

    fn check_deadline(&self, now: Instant) -> Result<(), Violation> {
        let due = self.endpoint.next_timeout().filter(|next| next.at <= now);
        let due = due.filter(|next| next.why != TimerKind::Budget);
        ensure!(due.is_none(), "P8: {due:?} is due after a full drain at {now:?}");
        Ok(())
    }
}

impl<F: ChannelFactory> Host for Whole<F> {
    fn listen(&mut self, now: Instant, address: SocketAddr) -> Result<(), ApplicationError> {
        self.woken = true;
        self.endpoint.listen(now, address).map(drop)
    }

    fn dial(&mut self, now: Instant, address: Address) -> Result<DialId, ApplicationError> {
        self.woken = true;
        self.endpoint.dial(now, address)
    }

    fn disconnect(&mut self, now: Instant, peer: PeerId) -> Result<(), ApplicationError> {
        self.woken = true;
        self.endpoint.disconnect(now, peer)
    }

    fn register(&mut self, now: Instant, protocol: ProtocolId) -> Result<(), ApplicationError> {
        self.woken = true;
        self.endpoint.register(now, protocol)
    }

    fn unregister(&mut self, now: Instant, protocol: &ProtocolId) -> Result<(), ApplicationError> {
        self.woken = true;
        self.endpoint.unregister(now, protocol)
    }

    fn connect(&mut self, now: Instant, peer: PeerId) -> Result<DialId, ApplicationError> {
        self.woken = true;
        self.endpoint.connect(now, peer)
    }

    fn require(
        &mut self,
        now: Instant,
        addresses: Vec<Address>,
    ) -> Result<RequiredId, ApplicationError> {
        self.woken = true;
        self.endpoint.require(now, addresses)
    }

    fn set_required(
        &mut self,
        now: Instant,
        required: RequiredId,
        addresses: Vec<Address>,
    ) -> Result<(), ApplicationError> {
        self.woken = true;
        self.endpoint.set_required(now, required, addresses)
    }

    fn release(&mut self, now: Instant, required: RequiredId) -> Result<(), ApplicationError> {
        self.woken = true;
        self.endpoint.release(now, required)
    }

    fn block(&mut self, now: Instant, rule: Rule) -> Result<bool, ApplicationError> {
        self.woken = true;
        self.endpoint.block(now, rule)
    }

    fn unblock(&mut self, now: Instant, rule: &Rule) -> bool {
        self.woken = true;
        self.endpoint.unblock(now, rule)
    }

    fn stop(&mut self, now: Instant) {
        self.woken = true;
        self.endpoint.stop(now);
    }

    fn send(
        &mut self,
        now: Instant,
        peer: &PeerId,
        protocol: &ProtocolId,
        payload: Bytes,
    ) -> Result<(), SendError<Bytes>> {
        self.woken = true;
        self.endpoint.send(now, peer, protocol, payload)
    }

    fn borrow(
        &mut self,
        now: Instant,
        request: u64,
        peer: &PeerId,
        protocol: &ProtocolId,
    ) -> Result<(), BorrowError> {
        self.woken = true;
        let stream = self.endpoint.borrow(now, peer, protocol)?;
        self.news.push_back(StreamNews::Lent(request, Ok(Stream::Whole(stream))));
        Ok(())
    }

    fn send_borrowed(
        &mut self,
        now: Instant,
        stream: Stream,
        _peer: &PeerId,
        protocol: &ProtocolId,
        payload: Bytes,
    ) -> Result<(), SendError<Bytes>> {
        self.woken = true;
        match stream {
            Stream::Whole(stream) => self.endpoint.send_borrowed(now, stream, protocol, payload),
            Stream::Apart(..) => Err(SendError::Closed { payload }),
        }
    }

    fn give_back(&mut self, now: Instant, stream: Stream) {
        self.woken = true;
        if let Stream::Whole(stream) = stream {
            self.endpoint.give_back(now, stream);
        }
    }

    fn poll_message(&mut self, now: Instant) -> Option<Message> {
        let message = self.endpoint.poll_message(now);
        // With the end of a batch its credit returns.
        let took = std::mem::replace(&mut self.took, message.is_some());
        self.woken |= took && message.is_none();
        message
    }

    fn poll_notification(&mut self) -> Option<Notification> {
        self.endpoint.poll_notification()
    }

    fn poll_stream(&mut self) -> Option<StreamNews> {
        let told = || {
            let (stream, news) = self.endpoint.poll_borrowed()?;
            Some(StreamNews::Of(Stream::Whole(stream), news))
        };
        self.news.pop_front().or_else(told)
    }

    fn handle_ready(&mut self, ready: Ready) {
        self.woken = true;
        match ready {
            Ready::Read(connection) => {
                if let Some(bits) = self.bits.get_mut(&connection) {
                    bits.readable = true;
                    self.work.insert(connection);
                }
            }
            Ready::Write(connection) => {
                if let Some(bits) = self.bits.get_mut(&connection) {
                    bits.writable = true;
                    self.work.insert(connection);
                }
            }
            Ready::Accept => {}
            Ready::Dialed(key, answer) => self.answers.push_back((key, answer)),
        }
    }

    fn run(&mut self, _task: Task, cx: &mut Cx<'_, '_>) -> Result<bool, Violation> {
        self.woken = false;
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            if self.endpoint.next_timeout().is_some_and(|next| next.at <= cx.now) {
                self.endpoint.handle_timeout(cx.now);
                moved = true;
            }
            moved |= self.answers(cx)?;
            moved |= self.commands(cx)?;
            moved |= self.accept(cx)?;
            moved |= self.serve(cx);
            moved |= self.commands(cx)?;
            if !moved {
                self.check_deadline(cx.now)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn next_timeout(&self, _task: Task) -> Option<Deadline> {
        self.endpoint.next_timeout()
    }

    fn take_woken(&mut self, into: &mut Vec<Task>) {
        if std::mem::take(&mut self.woken) {
            into.push(Task::Node);
        }
    }

    fn peers(&self) -> Vec<PeerId> {
        self.endpoint.peers().collect()
    }

    fn way(&self, peer: &PeerId) -> Option<Way> {
        let route = self.endpoint.route(peer)?;
        let connections = route.entries().iter().map(|entry| entry.connection);
        let connections = connections.map(|id| (id, self.endpoint.load(id))).collect();
        Some(Way { protocols: route.protocols().clone(), connections })
    }

    fn protocols(&self) -> &ProtocolSet {
        self.endpoint.protocols()
    }

    fn sockets(&self) -> &BTreeMap<ConnectionId, Socket> {
        &self.sockets
    }

    fn connections(&self) -> Vec<ConnectionId> {
        // They have no tasks of their own.
        Vec::new()
    }

    fn required_state(&self, required: RequiredId) -> Option<RequiredState> {
        self.endpoint.required_state(required)
    }

    fn received(&self) -> u64 {
        self.endpoint.snapshot(Instant::ZERO).traffic().total().received.messages
    }

    fn is_stopped(&self) -> bool {
        self.endpoint.is_stopped()
    }

    fn check_links(&self) -> Result<(), Violation> {
        let (sockets, machines) = (self.sockets.len(), self.endpoint.connection_count());
        ensure!(sockets <= machines, "{sockets} sockets for {machines} connections");
        ensure!(machines <= self.links_max, "{machines} connections of at most {}", self.links_max);
        for connection in self.sockets.keys() {
            let known = self.endpoint.load(*connection).is_some();
            ensure!(known, "{connection} is gone and its socket is not");
        }
        Ok(())
    }

    fn check_machines(&self) {
        self.endpoint.assert_invariants();
    }
}

/// The byte side of one connection of an endpoint.
struct Side<'a, F: ChannelFactory> {
    endpoint: &'a mut Endpoint<F>,
    connection: ConnectionId,
}

impl<F: ChannelFactory> socket::Bytes for Side<'_, F> {
    fn wants_transmit(&self) -> bool {
        self.endpoint.wants_transmit(self.connection)
    }

    fn transmit<'a>(&'a mut self, now: Instant, chunks: &mut [&'a [u8]]) -> usize {
        self.endpoint.transmit(now, self.connection, chunks)
    }

    fn handle_transmitted(&mut self, now: Instant, n: usize) {
        self.endpoint.handle_transmitted(now, self.connection, n);
    }

    fn recv_buf(&mut self) -> Option<&mut BytesMut> {
        self.endpoint.recv_buf(self.connection)
    }

    fn handle_received(&mut self, now: Instant) {
        // The connection may have gone with what it was told before.
        let _gone = self.endpoint.handle_received(now, self.connection);
    }

    fn handle_eof(&mut self, now: Instant) {
        self.endpoint.handle_eof(now, self.connection);
    }

    fn handle_io_error(&mut self, now: Instant, cause: IoCause) {
        self.endpoint.handle_io_error(now, self.connection, cause);
    }
}
