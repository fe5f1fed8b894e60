//! Node and its Connections behind one contract, for a loop that owns everything.
//!
//! The endpoint carries the mailboxes between the two, so its driver sees one machine: events
//! and calls go in, in any number; then it drains `poll_ready`, `poll_command`,
//! `poll_notification` and messages.
//!
//! Invariants: E1 when a call returns no mailbox is undelivered. E2 each connection stands in
//! each ready list at most once. E3 the earliest timer is never later than the deadline of any
//! machine; it may be earlier, because deadlines that move later are not chased.
//!
//! Bounds: as many connections as Node has links, and the latest `ending_max` of those that have
//! ended, until the other side has closed too and the application has taken the last messages,
//! for at most `close_deadline`; per connection one outbox besides its own, and one for each
//! borrowed stream.

mod drive;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod peers;
mod send;
mod share;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use bytes::BytesMut;

pub use send::BorrowedId;

use crate::config::{Config, ConfigError};
use crate::connection::{Connection, LaneId, LaneNews, Setup};
use crate::contract::{Command, Deadline, Event, IoCause, ListenerId, Notification, TimerKind};
use crate::error::{ApplicationError, Refusal, UsageError};
use crate::id::{ConnectionId, PeerId, ProtocolId};
use crate::message::{Batch, Message};
use crate::node::{Node, Route};
use crate::pool::Outbox;
use crate::protocol::ProtocolSet;
use crate::record::Recorder;
use crate::secure::ChannelFactory;
use crate::seed::Seed;
#[cfg(doc)]
use crate::snapshot::ConnectionSnapshot;
use crate::snapshot::Snapshot;
use crate::time::{Clamp, Instant};

#[derive(Debug)]
struct Slot<C> {
    connection: Connection<C>,
    /// Accepted by `send`, not taken by the connection yet.
    outbox: Outbox,
    /// The same for each borrowed stream.
    lanes: BTreeMap<LaneId, Outbox>,
    armed: Option<Deadline>,
    /// Stands in `ready`.
    ready: bool,
    /// Stands in `filled`.
    filled: bool,
    /// The driver was told not to read.
    read_paused: bool,
    /// Node has heard its final report.
    ended: bool,
}

/// A whole node for a loop that owns it.
///
/// ```
/// use headwater_core::config::Config;
/// use headwater_core::endpoint::Endpoint;
/// use headwater_core::id::ProtocolId;
/// use headwater_core::secure::Insecure;
/// use headwater_core::seed::Seed;
/// use headwater_core::time::Instant;
///
/// let local = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse()?;
/// let channels = Insecure::new(local).map_err(|len| format!("{len} bytes"))?;
/// let now = Instant::ZERO;
/// let mut endpoint = Endpoint::new(Config::default(), Seed::from_u64(1), channels, now)?;
/// endpoint.register(now, ProtocolId::new("/echo/1.0.0")?)?;
/// endpoint.listen(now, "127.0.0.1:0".parse()?)?;
/// while let Some(command) = endpoint.poll_command() {
///     println!("the driver does: {command:?}");
/// }
/// assert!(endpoint.next_timeout().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Endpoint<F: ChannelFactory> {
    node: Node,
    factory: F,
    clock: Clamp,
    slots: Vec<Option<Box<Slot<F::Channel>>>>,
    /// Links that Node has forgotten, whose slot went to another one.
    lingering: Vec<Box<Slot<F::Channel>>>,
    touched: VecDeque<ConnectionId>,
    /// Connections that have ended and are not gone, oldest first.
    ending: VecDeque<ConnectionId>,
    ending_max: usize,
    ready: VecDeque<ConnectionId>,
    filled: VecDeque<ConnectionId>,
    commands: VecDeque<Command>,
    news: VecDeque<(BorrowedId, LaneNews)>,
    timers: BTreeSet<(Instant, ConnectionId, TimerKind)>,
    batch: Batch,
    batch_from: Option<ConnectionId>,
    /// Where the last message went, and how routes stood then.
    last_pick: Option<(u64, PeerId, ProtocolId, ConnectionId)>,
    /// Somebody else than `send` has to know of routes.
    watches_routes: bool,
}

impl<F: ChannelFactory> Endpoint<F> {
    /// A node whose links are secured by `factory`, and that is known by its id.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the configuration does not make sense.
    pub fn new(config: Config, seed: Seed, factory: F, now: Instant) -> Result<Self, ConfigError> {
        let mut clock = Clamp::default();
        clock.advance(now);
        let ending_max = config.ending_max;
        Ok(Self {
            node: Node::new(config, seed, factory.local(), now)?,
            factory,
            clock,
            slots: Vec::new(),
            lingering: Vec::new(),
            touched: VecDeque::new(),
            ending: VecDeque::new(),
            ending_max,
            ready: VecDeque::new(),
            filled: VecDeque::new(),
            commands: VecDeque::new(),
            news: VecDeque::new(),
            timers: BTreeSet::new(),
            batch: Batch::default(),
            batch_from: None,
            last_pick: None,
            watches_routes: false,
        })
    }

    /// The same endpoint, with all that happens to its machines noted, if there is a recorder. It
    /// has to be new.
    #[must_use]
    pub fn with_recorder(self, recorder: Option<Arc<dyn Recorder>>) -> Self {
        Self { node: self.node.with_recorder(recorder), ..self }
    }

    /// This node's own id.
    #[must_use]
    pub const fn local(&self) -> PeerId {
        self.node.local()
    }

    /// What this node supports.
    #[must_use]
    pub const fn protocols(&self) -> &ProtocolSet {
        self.node.protocols()
    }

    /// The way to a connected peer, and what it supports.
    #[must_use]
    pub fn route(&self, peer: &PeerId) -> Option<&Route> {
        self.node.route(peer)
    }

    /// The connected peers, in the order of their ids.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.node.peers()
    }

    /// Where this node listens, with real ports.
    pub fn listening(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.node.listening()
    }

    /// See [`Node::listen`].
    ///
    /// # Errors
    ///
    /// Those of [`Node::listen`].
    pub fn listen(
        &mut self,
        now: Instant,
        address: SocketAddr,
    ) -> Result<ListenerId, ApplicationError> {
        self.call(now, |node, now| node.listen(now, address))
    }

    /// See [`Node::stop_listening`].
    pub fn stop_listening(&mut self, now: Instant, listener: ListenerId) {
        self.call(now, |node, now| node.stop_listening(now, listener));
    }

    /// See [`Node::register`].
    ///
    /// # Errors
    ///
    /// Those of [`Node::register`].
    pub fn register(&mut self, now: Instant, protocol: ProtocolId) -> Result<(), ApplicationError> {
        self.call(now, |node, now| node.register(now, protocol))
    }

    /// See [`Node::unregister`].
    ///
    /// # Errors
    ///
    /// Those of [`Node::unregister`].
    pub fn unregister(
        &mut self,
        now: Instant,
        protocol: &ProtocolId,
    ) -> Result<(), ApplicationError> {
        self.call(now, |node, now| node.unregister(now, protocol))
    }

    /// See [`Node::stop`].
    pub fn stop(&mut self, now: Instant) {
        self.call(now, Node::stop);
    }

    /// Whether the node has stopped, everything was told and every link is done with.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.node.is_stopped()
            && self.commands.is_empty()
            && self.slots.iter().flatten().chain(&self.lingering).all(|s| s.connection.is_closed())
    }

    /// Takes what happened outside. Late events for what is gone are ignored.
    pub fn handle_event(&mut self, now: Instant, event: Event) {
        self.call(now, |node, now| node.handle_event(now, event));
    }

    /// A link was accepted: gives its name.
    ///
    /// # Errors
    ///
    /// Why the link is turned away; close it.
    pub fn handle_accepted(
        &mut self,
        now: Instant,
        listener: ListenerId,
        remote: SocketAddr,
    ) -> Result<ConnectionId, Refusal> {
        let now = self.clock.advance(now);
        let setup = self.node.handle_accepted(now, listener, remote)?;
        Ok(self.begin(now, setup))
    }

    /// A dial led to a link.
    ///
    /// # Errors
    ///
    /// [`UsageError`] if that dial is not under way (any more); close the link.
    pub fn handle_dialed(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        local: SocketAddr,
    ) -> Result<(), UsageError> {
        let now = self.clock.advance(now);
        let setup = self.node.handle_dialed(now, connection, local)?;
        self.begin(now, setup);
        Ok(())
    }

    /// The other side has ended its half of a link.
    pub fn handle_eof(&mut self, now: Instant, connection: ConnectionId) {
        self.with(now, connection, |slot, now| slot.connection.handle_eof(now));
    }

    /// A link broke.
    pub fn handle_io_error(&mut self, now: Instant, connection: ConnectionId, cause: IoCause) {
        self.with(now, connection, |slot, now| slot.connection.handle_io_error(now, cause));
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.clock.advance(now);
        self.node.handle_timeout(now);
        self.fire_timers(now);
        self.settle(now);
    }

    /// When it wants to be called, and why. A past time means at once.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Deadline> {
        let first = self.timers.first().map(|(at, _, why)| Deadline { at: *at, why: *why });
        Deadline::earlier(first, self.node.next_timeout())
    }

    /// Takes the next thing that the driver has to do.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.node.poll_command().or_else(|| self.commands.pop_front())
    }

    /// Takes the next thing that the application should know.
    pub fn poll_notification(&mut self) -> Option<Notification> {
        self.node.poll_notification()
    }

    /// See [`Node::poll_answer`].
    pub fn poll_answer(&mut self) -> Option<Notification> {
        self.node.poll_answer()
    }

    /// Takes the next connection whose byte side has news: something to transmit, or reading
    /// allowed again.
    pub fn poll_ready(&mut self) -> Option<ConnectionId> {
        let id = self.ready.pop_front()?;
        if let Some(slot) = self.slot_mut(id) {
            slot.ready = false;
        }
        Some(id)
    }

    /// Lends a connection's receive buffer; see [`Connection::recv_buf`]. When it was `None`,
    /// `poll_ready` says when to ask again.
    pub fn recv_buf(&mut self, connection: ConnectionId) -> Option<&mut BytesMut> {
        // The set of timers may have to learn of a memory deadline.
        let slot = self.slot_mut(connection)?;
        let paused = slot.connection.recv_buf().is_none();
        slot.read_paused = paused;
        if paused {
            self.arm(connection);
            return None;
        }
        self.slot_mut(connection)?.connection.recv_buf()
    }

    /// Takes the lent buffer back; see [`Connection::handle_received`].
    ///
    /// # Errors
    ///
    /// [`UsageError::UnknownConnection`], [`UsageError::BufferReplaced`].
    pub fn handle_received(
        &mut self,
        now: Instant,
        connection: ConnectionId,
    ) -> Result<(), UsageError> {
        let received = self.with(now, connection, |slot, now| slot.connection.handle_received(now));
        received.unwrap_or(Err(UsageError::UnknownConnection(connection)))
    }

    /// Whether a connection has something to transmit.
    #[must_use]
    pub fn wants_transmit(&self, connection: ConnectionId) -> bool {
        self.slot(connection).is_some_and(|slot| slot.connection.wants_transmit())
    }

    /// Lends what a connection has to transmit; see [`Connection::transmit`].
    pub fn transmit<'a>(
        &'a mut self,
        now: Instant,
        connection: ConnectionId,
        chunks: &mut [&'a [u8]],
    ) -> usize {
        let now = self.clock.advance(now);
        // What is framed makes room for messages that wait, which are framed right away.
        self.with(now, connection, |slot, now| {
            slot.feed(now);
            slot.connection.transmit(now, &mut [])
        });
        let Some(slot) = self.slot_mut(connection) else { return 0 };
        slot.feed(now);
        slot.connection.transmit(now, chunks)
    }

    /// The carrier has taken `n` bytes; see [`Connection::handle_transmitted`].
    pub fn handle_transmitted(&mut self, now: Instant, connection: ConnectionId, n: usize) {
        self.with(now, connection, |slot, now| slot.connection.handle_transmitted(now, n));
    }

    /// Takes the next received message. Its credit returns to the sender with the last one of
    /// its batch.
    pub fn poll_message(&mut self, now: Instant) -> Option<Message> {
        if self.batch.is_empty() && !self.next_batch(now) {
            return None;
        }
        self.batch.pop()
    }

    /// Exchanges `batch`, from which everything was popped, for the next received messages;
    /// false if there are none. The credit in it returns.
    pub fn take_messages(&mut self, now: Instant, batch: &mut Batch) -> bool {
        core::mem::swap(&mut self.batch, batch);
        let found = !self.batch.is_empty() || self.next_batch(now);
        core::mem::swap(&mut self.batch, batch);
        found
    }

    /// What it holds for its connections, in bytes: all that is waiting on them, before and behind
    /// them. O(connections, streams and messages on them): for a look now and then.
    ///
    /// Never more than [`Config::memory_max`] allows.
    #[must_use]
    pub fn memory(&self) -> usize {
        let slots = self.slots.iter().flatten().chain(&self.lingering);
        slots.fold(self.batch.bytes(), |sum, slot| {
            let outboxes = slot.lanes.values().chain([&slot.outbox]);
            let waiting = outboxes.fold(0, |sum: usize, out| sum.saturating_add(out.memory()));
            sum.saturating_add(slot.connection.memory().total()).saturating_add(waiting)
        })
    }

    /// What it knows, at `now` or at the latest time that it has seen. O(peers, connections,
    /// addresses and streams): for a look now and then.
    ///
    /// Where others keep outboxes of connections they add them, with
    /// [`ConnectionSnapshot::add_waiting`].
    ///
    /// ```
    /// # use headwater_core::{config::Config, endpoint::Endpoint, secure::Insecure, seed::Seed};
    /// # use headwater_core::time::Instant;
    /// # let local = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse()?;
    /// # let channels = Insecure::new(local).map_err(|len| format!("{len} bytes"))?;
    /// # let now = Instant::ZERO;
    /// # let mut endpoint = Endpoint::new(Config::default(), Seed::from_u64(1), channels, now)?;
    /// endpoint.listen(now, "127.0.0.1:0".parse()?)?;
    /// let snapshot = endpoint.snapshot(now);
    /// assert_eq!(snapshot.node.listeners.len(), 1);
    /// assert_eq!(snapshot.memory(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let now = self.clock.now().max(now);
        let slots = self.slots.iter().flatten().chain(&self.lingering);
        let parts = slots.map(|slot| {
            let mut part = slot.connection.snapshot(now);
            for outbox in slot.lanes.values().chain([&slot.outbox]) {
                part.add_waiting(outbox);
            }
            part
        });
        let parts = parts.collect();
        Snapshot::join(self.node.snapshot(now), parts)
    }

    fn call<T>(&mut self, now: Instant, call: impl FnOnce(&mut Node, Instant) -> T) -> T {
        let now = self.clock.advance(now);
        let answer = call(&mut self.node, now);
        self.settle(now);
        answer
    }

    fn begin(&mut self, now: Instant, setup: Setup) -> ConnectionId {
        let id = setup.connection;
        let channel = self.factory.channel(setup.direction, setup.expected);
        let connection = Connection::new(setup, channel, now);
        let slot = Box::new(Slot {
            outbox: connection.outbox(),
            connection,
            lanes: BTreeMap::new(),
            armed: None,
            ready: false,
            filled: false,
            read_paused: false,
            ended: false,
        });
        self.insert(id, slot);
        self.touched.push_back(id);
        self.settle(now);
        id
    }
}
