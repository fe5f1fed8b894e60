//! The control plane: who this node talks to.
//!
//! A [`Node`] owns the listeners, the dials, the links by name, and what is known of each peer.
//! It never sees a byte: each link has a [`Connection`](crate::connection::Connection), and the
//! two tell each other the latest state through mailboxes.
//!
//! A link is dialling, then unproven, then establishing (its peer is proven), then live. The
//! first live link of a peer connects it, the last one to go disconnects it. Of the
//! links of a peer that are establishing one is chosen: of two dials that cross, the one made by
//! the peer with the larger id (spec 4.2). The other goes on until that one is live, because the
//! other end may have settled on it before it knew of both; if the chosen one fails, it is next.
//! Of two that the peer made, the first is chosen; the other waits until that one is live or gone.
//!
//! Invariants: N1 a peer has an entry while it has a link beyond the proof, or the application
//! has something to be told about it. N2 what the application is told of a peer alternates
//! strictly between connected and disconnected. N3 protocols are known only of connected peers
//! (D-51). N4 after a stop no link is left, and nothing follows `Stopped`.
//!
//! A link that is proven may have to wait until older connections of its peer have shown that they
//! are alive, or are gone. Around that stand machines of their own: a supervisor keeps required
//! peers connected, a manager says who may connect and who makes room, a blacklist and a table of
//! sources say who is heard at all, a book knows addresses.
//!
//! What led to nothing is remembered, so that the node can say why it is not connected.
//!
//! Bounds: 64 listeners, `dials_max` dials, `pending_max` accepted links without a proof,
//! `peers_max` peers, and some more that are joining or leaving, with `connections_per_peer_max`
//! live links and two more each; 64 refusals to tell; those of its machines.

mod dials;
mod history;
mod links;
mod notify;
mod peers;
mod recording;
mod required;
mod snapshot;
mod verdict;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::sync::Arc;
use core::net::SocketAddr;
use core::time::Duration;

use dials::Dials;
use history::History;
use links::{Links, Stage};
use notify::Told;
use peers::Peers;

use crate::config::{Config, ConfigError};
use crate::connection::{Setup, ToConnection, ToNode};
use crate::contract::{
    Command, Deadline, Direction, Event, IoCause, ListenerId, Notification, TimerKind,
};
use crate::error::{ApplicationError, CloseReason, DialError, Refusal, UsageError};
use crate::id::{ConnectionId, PeerId, ProtocolId};
use crate::lease::{ByteLeases, STREAMS_SURE};
use crate::peers::{AddressBook, Blacklist, ConnectionManager, Source, SourceRefusal, Sources};
use crate::pool::{ManagerConfig, PoolManager};
use crate::protocol::{ProtocolSet, Registry, RegistryError};
use crate::receive::ReceiveStreams;
use crate::record::{Birth, Note, Recorder, Tape};
use crate::seed::Seed;
use crate::snapshot::{NodeWork, Reached};
use crate::supervisor::{ConnectionSupervisor, SupervisorConfig};
use crate::time::{Clamp, Instant};

/// The way to a peer: its protocols and its connections.
pub type Route = crate::pool::Route<()>;

const LISTENERS_MAX: usize = 64;

#[derive(Debug)]
struct Listener {
    address: SocketAddr,
    local: Option<SocketAddr>,
}

/// The control plane of one node, as a machine.
///
/// ```
/// use headwater_core::config::Config;
/// use headwater_core::contract::Command;
/// use headwater_core::node::Node;
/// use headwater_core::seed::Seed;
/// use headwater_core::time::Instant;
///
/// let local = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse()?;
/// let now = Instant::ZERO;
/// let mut node = Node::new(Config::default(), Seed::from_u64(1), local, now)?;
/// let listener = node.listen(now, "127.0.0.1:0".parse()?)?;
/// assert!(matches!(node.poll_command(), Some(Command::Listen { listener: l, .. }) if l == listener));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Node {
    config: Arc<Config>,
    seed: Seed,
    local: PeerId,
    clock: Clamp,
    registry: Registry,
    listeners: BTreeMap<ListenerId, Listener>,
    listeners_made: u32,
    dials: Dials,
    links: Links,
    peers: Peers,
    supervisor: ConnectionSupervisor,
    manager: ConnectionManager,
    blacklist: Blacklist,
    sources: Sources,
    book: AddressBook,
    routes: PoolManager<()>,
    streams: ReceiveStreams,
    leases: ByteLeases,
    commands: VecDeque<Command>,
    told: Told,
    history: History,
    work: NodeWork,
    /// Of peers whose links are live, or were when it changed. A set, because many change at once
    /// when a network breaks.
    routes_changed: BTreeSet<PeerId>,
    routes_state: u64,
    paused: bool,
    stopping: bool,
    /// Notes what happens, if somebody wants that.
    tape: Option<Box<dyn Tape>>,
    recorder: Option<Arc<dyn Recorder>>,
}

impl Node {
    /// A node that is known as `local` and has done nothing yet.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the configuration does not make sense.
    pub fn new(
        config: Config,
        seed: Seed,
        local: PeerId,
        now: Instant,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut clock = Clamp::default();
        clock.advance(now);
        let receive_max = u32::try_from(config.receive_streams_max).unwrap_or(u32::MAX);
        let Ok(streams) = ReceiveStreams::new(receive_max) else {
            let (key, actual) = ("receive_streams_max", 0);
            return Err(ConfigError { key, actual, min: 1, max: 256 });
        };
        let connections = u32::try_from(config.connections_per_peer_max).unwrap_or(u32::MAX);
        let streams_sure = u32::try_from(STREAMS_SURE).unwrap_or(u32::MAX);
        Ok(Self {
            registry: Registry::new(config.protocols_max),
            routes: PoolManager::new(ManagerConfig {
                connections_per_peer: config.connections_per_peer_max,
                streams_per_peer: config.send_streams_max,
                ask_again: Duration::from_secs(5),
            }),
            streams: streams.with_reserve(connections, streams_sure),
            leases: ByteLeases::new(config.leases_max),
            supervisor: ConnectionSupervisor::new(
                SupervisorConfig {
                    backoff: config.backoff,
                    stable_after: config.stable_after,
                    check_interval: config.check_interval,
                    dials_max: config.required_dials_max,
                    required_max: config.required_places(),
                },
                seed,
            ),
            manager: ConnectionManager::new(config.peers_max, config.elimination, seed)
                .with_further(config.further_places()),
            blacklist: Blacklist::new(config.rules_max),
            sources: Sources::new(config.pending_per_source_max),
            book: AddressBook::new(config.addresses_max),
            config: Arc::new(config),
            seed,
            local,
            clock,
            listeners: BTreeMap::new(),
            listeners_made: 0,
            dials: Dials::default(),
            links: Links::default(),
            peers: Peers::default(),
            commands: VecDeque::new(),
            told: Told::default(),
            history: History::default(),
            work: NodeWork::default(),
            routes_changed: BTreeSet::new(),
            routes_state: 0,
            paused: false,
            stopping: false,
            tape: None,
            recorder: None,
        })
    }

    /// The same node, with all that happens to it and its connections noted, if there is a recorder.
    /// It has to be new.
    #[must_use]
    pub fn with_recorder(mut self, recorder: Option<Arc<dyn Recorder>>) -> Self {
        let Some(recorder) = recorder else { return self };
        let (config, seed, local) = (Box::new(Config::clone(&self.config)), self.seed, self.local);
        let birth = Birth::Node { config, seed, local };
        self.tape = Some(recorder.begin(self.clock.now(), birth));
        self.recorder = Some(recorder);
        self
    }

    /// This node's own id.
    #[must_use]
    pub const fn local(&self) -> PeerId {
        self.local
    }

    /// The configuration, as validated.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What this node supports.
    #[must_use]
    pub const fn protocols(&self) -> &ProtocolSet {
        self.registry.protocols()
    }

    // What the application asks for.

    /// Listens for peers. The outcome is told by `Notification::Listening` or `ListenFailed`.
    ///
    /// # Errors
    ///
    /// [`ApplicationError::Stopping`], [`ApplicationError::TooManyListeners`] (outcomes that were
    /// not read count, as those to come do).
    pub fn listen(
        &mut self,
        now: Instant,
        address: SocketAddr,
    ) -> Result<ListenerId, ApplicationError> {
        self.note_told(now, || Note::Listen(address));
        let answer = self.start_listening(address);
        self.gave(&answer);
        answer
    }

    fn start_listening(&mut self, address: SocketAddr) -> Result<ListenerId, ApplicationError> {
        if self.stopping {
            return Err(ApplicationError::Stopping);
        }
        let to_come = self.listeners.values().filter(|listener| listener.local.is_none()).count();
        let untold = self.told.listens().saturating_add(to_come);
        if self.listeners.len().max(untold) >= LISTENERS_MAX {
            return Err(ApplicationError::TooManyListeners);
        }
        let listener = ListenerId(self.listeners_made);
        self.listeners_made = self.listeners_made.wrapping_add(1);
        self.listeners.insert(listener, Listener { address, local: None });
        self.commands.push_back(Command::Listen { listener, address });
        Ok(listener)
    }

    /// Stops listening there; connections stay. Does nothing if it is not listening there.
    pub fn stop_listening(&mut self, now: Instant, listener: ListenerId) {
        self.note_told(now, || Note::StopListening(listener));
        if self.listeners.remove(&listener).is_some() {
            self.commands.push_back(Command::StopListening { listener });
        }
    }

    /// Where this node listens, with real ports.
    pub fn listening(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.listeners.values().filter_map(|listener| listener.local)
    }

    /// Supports a protocol from now on; connected peers are told.
    ///
    /// # Errors
    ///
    /// [`ApplicationError::Stopping`], [`ApplicationError::AlreadyRegistered`],
    /// [`ApplicationError::TooManyProtocols`], [`ApplicationError::ReservedProtocol`].
    pub fn register(&mut self, now: Instant, protocol: ProtocolId) -> Result<(), ApplicationError> {
        let now = self.note_told(now, || Note::Register(protocol.clone()));
        if self.stopping {
            return Err(ApplicationError::Stopping);
        }
        if protocol.as_str() == ProtocolId::EXCHANGER {
            return Err(ApplicationError::ReservedProtocol);
        }
        self.registry.register(protocol).map_err(registry_error)?;
        self.announce(now);
        Ok(())
    }

    /// Supports a protocol no longer; connected peers are told.
    ///
    /// # Errors
    ///
    /// [`ApplicationError::Stopping`], [`ApplicationError::NotRegistered`],
    /// [`ApplicationError::ReservedProtocol`].
    pub fn unregister(
        &mut self,
        now: Instant,
        protocol: &ProtocolId,
    ) -> Result<(), ApplicationError> {
        let now = self.note_told(now, || Note::Unregister(protocol.clone()));
        if self.stopping {
            return Err(ApplicationError::Stopping);
        }
        self.registry.unregister(protocol.as_str()).map_err(registry_error)?;
        self.announce(now);
        Ok(())
    }

    /// Stops in order: listeners first, then every link, each within `close_deadline`.
    /// `Notification::Stopped` is the last word. Further calls do nothing (D-14).
    pub fn stop(&mut self, now: Instant) {
        let now = self.note_told(now, || Note::Stop);
        if self.stopping {
            return;
        }
        self.stopping = true;
        let listeners = core::mem::take(&mut self.listeners);
        for listener in listeners.into_keys() {
            self.commands.push_back(Command::StopListening { listener });
        }
        self.supervisor.stop();
        self.stop_dials(now);
        for id in self.links.ids() {
            self.links.close(id, CloseReason::Stopping);
        }
    }

    /// Whether the node has stopped and everything was told.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.told.is_over()
    }

    // What the driver does.

    /// Takes what happened outside. Late events for what is gone are ignored.
    pub fn handle_event(&mut self, now: Instant, event: Event) {
        let now = self.note_told(now, || Note::Event(Box::new(event.clone())));
        self.work.events = self.work.events.saturating_add(1);
        match event {
            Event::Listening { listener, local } => {
                if let Some(known) = self.listeners.get_mut(&listener) {
                    known.local = Some(local);
                    self.told.answer(Notification::Listening { listener, local });
                }
            }
            Event::ListenFailed { listener, cause } => {
                if let Some(Listener { address, .. }) = self.listeners.remove(&listener) {
                    let failed = Notification::ListenFailed { listener, address, cause };
                    self.told.answer(failed);
                }
            }
            Event::Resolved { query, addresses } => self.on_resolved(now, query, &addresses),
            Event::ResolveFailed { query, cause } => self.on_resolve_failed(now, query, cause),
            Event::DialFailed { connection, cause } => self.on_dial_failed(now, connection, cause),
        }
        self.supervise(now);
    }

    /// A link was accepted: gives what its connection begins with.
    ///
    /// # Errors
    ///
    /// Why the link is turned away; close it.
    pub fn handle_accepted(
        &mut self,
        now: Instant,
        listener: ListenerId,
        remote: SocketAddr,
    ) -> Result<Setup, Refusal> {
        let now = self.note_told(now, || Note::Accepted { listener, remote });
        if self.stopping || !self.listeners.contains_key(&listener) {
            return Err(Refusal::Stopping);
        }
        match self.let_in(now, remote) {
            Ok(source) => {
                self.work.accepted = self.work.accepted.saturating_add(1);
                let id = self.links.insert_inbound(now, remote, source);
                self.pause_or_resume();
                Ok(self.setup(id))
            }
            Err(reason) => {
                self.tell_refusal(now, remote, None, Direction::Inbound, reason.clone());
                Err(reason)
            }
        }
    }

    /// Whether a link from there is heard; gives where it counts.
    fn let_in(&mut self, now: Instant, remote: SocketAddr) -> Result<Option<Source>, Refusal> {
        if self.blacklist.blocks(remote) {
            return Err(Refusal::Blocked);
        }
        if self.links.unproven_inbound() >= self.config.pending_max {
            return Err(Refusal::TooManyPending);
        }
        // What comes from this machine may come for anybody.
        let source = (!remote.ip().to_canonical().is_loopback()).then(|| remote.ip().into());
        if let Some(source) = source {
            self.sources.admit(now, source).map_err(|refusal| match refusal {
                SourceRefusal::TooMany => Refusal::TooManyFromSource,
                SourceRefusal::Resting { .. } => Refusal::SourceResting,
            })?;
        }
        Ok(source)
    }

    /// A dial led to a link: gives what its connection begins with.
    ///
    /// # Errors
    ///
    /// [`UsageError`] if that dial is not under way (any more), or leads to somebody who was
    /// blocked meanwhile; close the link.
    pub fn handle_dialed(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        local: SocketAddr,
    ) -> Result<Setup, UsageError> {
        let now = self.note_told(now, || Note::Dialed { connection, local });
        let Some(link) = self.links.get(connection) else {
            return Err(UsageError::UnknownConnection(connection));
        };
        if link.stage != Stage::Dialling {
            return Err(UsageError::Unexpected(connection));
        }
        let (remote, expected) = (link.remote, link.expected);
        if self.is_blocked(remote, expected) {
            self.link_failed(now, connection, DialError::Refused(Refusal::Blocked));
            self.supervise(now);
            return Err(UsageError::UnknownConnection(connection));
        }
        let dial = link.dial;
        self.work.dialed = self.work.dialed.saturating_add(1);
        self.dial_reached(dial, Reached::Handshaking);
        self.links.set_stage(connection, Stage::Unproven);
        Ok(self.setup(connection))
    }

    /// Takes what a connection has to say. A report of a link that is gone is ignored.
    pub fn handle_report(&mut self, now: Instant, connection: ConnectionId, report: ToNode) {
        let now =
            self.note_told(now, || Note::Report { connection, report: Box::new(report.clone()) });
        self.work.reports = self.work.reports.saturating_add(1);
        self.on_report(now, connection, report);
        self.supervise(now);
    }

    /// A link's connection was lost without its final report: its task broke, for example.
    pub fn handle_vanished(&mut self, now: Instant, connection: ConnectionId) {
        let now = self.note_told(now, || Note::Vanished(connection));
        self.on_vanished(now, connection);
        self.supervise(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.note_told(now, || Note::Timeout);
        self.work.timeouts = self.work.timeouts.saturating_add(1);
        self.dials_timeout(now);
        self.push_timeouts(now);
        self.holds_timeout(now);
        let Self { supervisor, routes, .. } = self;
        supervisor.handle_timeout(now, |peer| routes.route(peer).is_some());
        self.supervise(now);
    }

    /// When it wants to be called, and why.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Deadline> {
        let at = |at: Option<Instant>, why| at.map(|at| Deadline { at, why });
        [
            at(self.dials.next_timeout(), TimerKind::Dial),
            at(self.peers.next_timeout(), TimerKind::Push),
            at(self.peers.next_hold(), TimerKind::Probe),
            at(self.supervisor.next_timeout(), TimerKind::Supervise),
        ]
        .into_iter()
        .fold(None, Deadline::earlier)
    }

    /// Takes the next thing that the driver has to do.
    pub fn poll_command(&mut self) -> Option<Command> {
        let command = self.commands.pop_front()?;
        self.note(|| Note::Command(format!("{command:?}")));
        Some(command)
    }

    /// Takes the next mailbox for a connection.
    pub fn poll_order(&mut self) -> Option<(ConnectionId, ToConnection)> {
        let (connection, order) = self.links.poll_order()?;
        self.note(|| Note::Ordered { connection, order: Box::new(order.clone()) });
        Some((connection, order))
    }

    /// Takes the next thing that the application should know.
    pub fn poll_notification(&mut self) -> Option<Notification> {
        let had_news = self.told.has_news() || self.supervisor.has_news();
        let notification = self.next_notification();
        match &notification {
            Some(told) => self.note(|| Note::Notification(format!("{told:?}"))),
            // Whoever had news has none any more, and goes behind the others when it has some.
            None if had_news => self.note(|| Note::NothingToTell),
            None => {}
        }
        notification
    }

    /// Takes the next answer to a call of the application, ahead of all other notifications: an
    /// adapter whose calls wait for their outcome uses it. Each is given once, here or by
    /// [`poll_notification`](Self::poll_notification).
    pub fn poll_answer(&mut self) -> Option<Notification> {
        let answer = self.told.poll_answer()?;
        self.note(|| Note::Answered(format!("{answer:?}")));
        Some(answer)
    }

    /// Takes the next peer whose route has changed, or ended.
    pub fn poll_route(&mut self) -> Option<PeerId> {
        let peer = self.routes_changed.pop_first()?;
        self.note(|| Note::Route(Box::new(peer)));
        Some(peer)
    }

    /// The way to a connected peer.
    #[must_use]
    pub fn route(&self, peer: &PeerId) -> Option<&Route> {
        self.routes.route(peer)
    }

    /// The connected peers, in the order of their ids.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.routes.peers()
    }

    fn setup(&self, id: ConnectionId) -> Setup {
        let (direction, expected, remote) = self.links.describe(id);
        let nonce = (u64::from(id.index) << 32) | u64::from(id.generation);
        let seed = self.seed.rng("connection", nonce).next_u64();
        Setup {
            connection: id,
            direction,
            expected,
            remote,
            local: self.local,
            config: self.config.clone(),
            seed: Seed::from_u64(seed),
            recorder: self.recorder.clone(),
        }
    }

    /// A number that grows whenever any route changes.
    pub(crate) const fn routes_state(&self) -> u64 {
        self.routes_state
    }

    fn route_changed(&mut self, peer: PeerId) {
        self.routes_state = self.routes_state.wrapping_add(1);
        self.routes_changed.insert(peer);
    }

    fn pause_or_resume(&mut self) {
        let full = self.links.unproven_inbound() >= self.config.pending_max;
        if full != self.paused {
            self.paused = full;
            let command = if full { Command::PauseAccept } else { Command::ResumeAccept };
            self.commands.push_back(command);
        }
    }

    /// Checks N1, N2 and the bookkeeping of links and peers.
    #[doc(hidden)]
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn assert_invariants(&self) {
        use crate::peers::Level;
        use crate::supervisor::RequiredPhase;
        self.links.assert_invariants();
        self.dials.assert_invariants();
        self.manager.assert_invariants();
        self.sources.assert_invariants();
        self.book.assert_invariants();
        self.supervisor.assert_invariants();
        self.routes.assert_invariants();
        self.streams.assert_invariants();
        self.leases.assert_invariants();
        self.peers.assert_invariants();
        for (peer, known) in self.peers.iter() {
            assert_eq!(known.links.is_empty(), self.routes.route(peer).is_none());
            // A hold keeps the place of connections that make room for the link that waits.
            let connected = self.is_connected(peer);
            let kept = known.hold.is_some() && !known.links.is_empty();
            let present = self.manager.is_present(peer);
            assert!(self.stopping || connected == present || present && kept, "{peer}");
            let takes_place =
                !known.links.is_empty() || (known.establishing.is_some() && known.hold.is_none());
            if takes_place && !self.stopping {
                let level = if self.supervisor.requires(peer) { Level::High } else { Level::Low };
                // Whoever was required is so no more in a node that stops, and keeps its place.
                assert!(self.stopping || self.manager.level(peer).unwrap_or(level) == level);
            }
        }
        let placed = self.peers.iter().filter(|(peer, _)| self.manager.level(peer).is_some());
        assert_eq!(placed.count(), self.manager.len());
        for required in self.supervisor.required() {
            let Some(state) = self.supervisor.state(required) else { continue };
            let connected = state.peer.is_some_and(|peer| self.routes.route(&peer).is_some());
            let believed = matches!(state.phase, RequiredPhase::Connected { .. });
            // A dial without an id may have found a connected peer; its link is about to say so.
            let dialing = state.phase == RequiredPhase::Dialing;
            assert!(connected == believed || connected && dialing, "{state:?}");
        }
    }
}

fn close_order(reason: CloseReason) -> ToConnection {
    ToConnection { close: Some(reason), ..ToConnection::default() }
}

const fn registry_error(error: RegistryError) -> ApplicationError {
    match error {
        RegistryError::AlreadyRegistered => ApplicationError::AlreadyRegistered,
        RegistryError::NotRegistered => ApplicationError::NotRegistered,
        RegistryError::TooMany { .. } => ApplicationError::TooManyProtocols,
        RegistryError::Permanent => ApplicationError::ReservedProtocol,
    }
}

impl Node {
    fn on_vanished(&mut self, now: Instant, id: ConnectionId) {
        let closed = crate::connection::Closed::of(CloseReason::Io(IoCause::Other));
        self.on_closed(now, id, closed);
        self.leases.close(id);
        self.grant_leases();
    }
}

#[cfg(test)]
mod tests;
