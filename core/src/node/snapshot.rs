//! What a node knows of itself: see [`crate::snapshot`].

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::Node;
use super::history::Place;
use super::links::{Link, Stage as LinkStage};
use crate::address::Address;
use crate::contract::{Direction, RequiredId, TimerKind};
use crate::error::{CloseReason, DialError, Refusal};
use crate::id::{ConnectionId, PeerId};
use crate::peers::Level;
use crate::protocol::ProtocolSet;
use crate::record::Note;
use crate::secure::ChannelError;
use crate::snapshot::{
    AddressSnapshot, Armed, Counters, Failure, LinkSnapshot, ListenerSnapshot, Next, NodeSnapshot,
    Origin, PeerSnapshot, Reached, RefusalCount, Stage, Traffic, Usage,
};
use crate::supervisor::{RequiredPhase, RequiredState};
use crate::time::Instant;

/// What is under way towards peers.
#[derive(Default)]
struct Progress {
    /// The furthest that a link or dial of a peer is, and when a dial has to be over.
    peers: BTreeMap<PeerId, (Stage, Option<Instant>)>,
    required: BTreeMap<PeerId, Vec<RequiredId>>,
    /// Where peers were dialled, wherever the address came from.
    places: BTreeMap<PeerId, Vec<Address>>,
}

impl Progress {
    fn note(&mut self, peer: PeerId, stage: Stage, until: Option<Instant>) {
        let rank = |stage: Stage| matches!(stage, Stage::Handshaking | Stage::Exchanging);
        let known = self.peers.entry(peer).or_insert((stage, until));
        if rank(stage) && known.0 != Stage::Exchanging {
            known.0 = stage;
        }
        known.1 = known.1.or(until);
    }
}

impl Node {
    /// What it knows at `now`, or at the latest time that it has seen. O(peers, links, addresses).
    ///
    /// ```
    /// # use headwater_core::{config::Config, node::Node, seed::Seed, time::Instant};
    /// use headwater_core::snapshot::{Next, Stage};
    /// # let local = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse()?;
    /// # let now = Instant::ZERO;
    /// # let mut node = Node::new(Config::default(), Seed::from_u64(1), local, now)?;
    /// node.require(now, vec!["/ip4/10.0.0.1/tcp/11301".parse()?])?;
    /// let snapshot = node.snapshot(now);
    /// let peer = &snapshot.peers[0];
    /// assert_eq!((peer.peer, peer.stage), (None, Stage::Dialling));
    /// assert!(matches!(peer.next, Next::UnderWay { .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> NodeSnapshot {
        let at = self.clock.now().max(now);
        NodeSnapshot {
            at,
            local: self.local,
            stopping: self.stopping,
            listeners: self
                .listeners
                .iter()
                .map(|(listener, known)| {
                    let (address, local) = (known.address, known.local);
                    ListenerSnapshot { listener: *listener, address, local }
                })
                .collect(),
            protocols: self.registry.protocols().clone(),
            peers: self.peer_snapshots(at),
            links: self.links.iter().map(|(id, link)| link_snapshot(id, link)).collect(),
            usage: self.usage(),
            memory_max: self.config.memory_max(),
            connection_memory_max: self.config.connection_memory_max(),
            refusals: self.refusals(),
            ended: self.history.traffic.clone(),
            ended_counters: self.history.counters,
            work: self.work,
            timers: self.armed(),
        }
    }

    /// A connection that has ended is done with: it holds nothing any more, so its lease is over.
    /// Takes what it has counted after its last report, for the totals.
    pub fn handle_late(&mut self, connection: ConnectionId, mut late: Traffic) {
        self.note(|| Note::Late { connection, traffic: Box::new(late.clone()) });
        self.history.ended(&mut late, Counters::default());
        self.leases.close(connection);
        self.grant_leases();
    }

    /// Bytes that a connection has leased, as the node counts.
    #[doc(hidden)]
    #[must_use]
    pub fn lease(&self, connection: ConnectionId) -> usize {
        self.leases.lease(connection)
    }

    fn usage(&self) -> Vec<Usage> {
        let config = &self.config;
        let (dials, asked) = self.dials.counts();
        let required = self.supervisor.required().count();
        [
            ("peers_max", self.manager.present(), config.peers_max),
            ("pending_max", self.links.unproven_inbound(), config.pending_max),
            ("dials_max", asked, config.dials_max),
            ("required_dials_max", dials.saturating_sub(asked), config.required_dials_max),
            ("required_max", required, config.required_places()),
            ("rules_max", self.blacklist.rules().count(), config.rules_max),
            ("addresses_max", self.book.len(), config.addresses_max),
            ("leases_max", self.leases.leased(), config.leases_max),
            ("protocols_max", self.registry.protocols().len(), config.protocols_max),
        ]
        .map(|(key, used, max)| Usage { key, used, max })
        .into()
    }

    fn refusals(&self) -> Vec<RefusalCount> {
        let of = |direction, counts: &BTreeMap<&'static str, u64>| {
            let counts = counts.iter();
            let all = counts.map(|(reason, count)| (*reason, *count));
            all.map(|(reason, count)| RefusalCount { direction, reason, count }).collect()
        };
        let mut all: Vec<RefusalCount> = of(Direction::Inbound, &self.history.inbound_refusals);
        all.extend(of(Direction::Outbound, &self.history.outbound_refusals));
        all
    }

    fn armed(&self) -> Vec<Armed> {
        let (pushes, holds) = self.peers.timers();
        let (supervised, next_supervised) = self.supervisor.timers();
        [
            (TimerKind::Dial, self.dials.counts().0, self.dials.next_timeout()),
            (TimerKind::Push, pushes, self.peers.next_timeout()),
            (TimerKind::Probe, holds, self.peers.next_hold()),
            (TimerKind::Supervise, supervised, next_supervised),
        ]
        .into_iter()
        .filter_map(|(why, count, next)| Some(Armed { why, count, next: next? }))
        .collect()
    }

    fn peer_snapshots(&self, now: Instant) -> Vec<PeerSnapshot> {
        let progress = self.progress();
        let mut known: BTreeSet<PeerId> = self.peers.iter().map(|(peer, _)| *peer).collect();
        known.extend(progress.peers.keys());
        known.extend(progress.required.keys());
        known.extend(progress.places.keys());
        known.extend(self.history.turned_away.iter().map(|(peer, _)| peer));
        known.extend(self.history.losses.iter().map(|(peer, _)| peer));
        let named = known.iter().map(|peer| self.peer_snapshot(now, *peer, &progress));
        let states = self.supervisor.required().filter_map(|id| self.supervisor.state(id));
        let unnamed = states.filter(|state| state.peer.is_none());
        named.chain(unnamed.map(|state| self.unnamed_snapshot(&state))).collect()
    }

    fn progress(&self) -> Progress {
        let mut progress = Progress::default();
        for (_, link) in self.links.iter() {
            let stage = match link.stage {
                LinkStage::Dialling => Stage::Dialling,
                LinkStage::Unproven => Stage::Handshaking,
                LinkStage::Establishing(_) => Stage::Exchanging,
                LinkStage::Live(_) => continue,
            };
            let proven = match link.stage {
                LinkStage::Establishing(peer) => Some(peer),
                _ => link.expected,
            };
            if let Some(peer) = proven {
                progress.note(peer, stage, None);
            }
        }
        for (address, waits, until) in self.dials.under_way() {
            if let Some(peer) = address.peer.filter(|_| waits.is_none()) {
                progress.note(peer, Stage::Dialling, Some(until));
            }
        }
        for required in self.supervisor.required() {
            let peer = self.supervisor.state(required).and_then(|state| state.peer);
            if let Some(peer) = peer {
                progress.required.entry(peer).or_default().push(required);
            }
        }
        for (address, _) in self.history.places.iter() {
            if let Some(peer) = address.peer {
                progress.places.entry(peer).or_default().push(address.clone());
            }
        }
        progress
    }

    fn peer_snapshot(&self, now: Instant, peer: PeerId, progress: &Progress) -> PeerSnapshot {
        let required = progress.required.get(&peer).cloned().unwrap_or_default();
        // One of several entries that are about one peer speaks for all.
        let state = required.first().and_then(|first| self.supervisor.state(*first));
        let known = self.peers.get(&peer);
        let live = known.filter(|known| !known.links.is_empty());
        let under_way = progress.peers.get(&peer).copied();
        let blocked = self.blacklist.blocks_peer(&peer);
        let addresses = self.address_snapshots(now, peer, progress);
        let turned_away = self.history.turned_away.get(&peer).map(|known| (**known).clone());
        let stage = match (live, under_way, &state) {
            (Some(_), ..) => Stage::Connected,
            (None, Some((stage, _)), _) => stage,
            (None, None, _) if blocked => Stage::Refused,
            (None, None, state) => {
                let last = addresses.iter().filter_map(|place| place.last.as_ref());
                let last = last.max_by_key(|failure| failure.at);
                let turned = turned_away.as_ref().filter(|t| is_refusal(&t.reason, false));
                let later = match (last, turned) {
                    (Some(last), Some(turned)) => turned.at >= last.at || was_refused(last),
                    (Some(last), None) => was_refused(last),
                    (None, turned) => turned.is_some(),
                };
                idle_stage(state.as_ref(), later)
            }
        };
        let next = match (stage, under_way, &state) {
            (Stage::Connected, ..) => Next::Connected,
            (_, Some((_, until)), _) => Next::UnderWay { until },
            (_, None, Some(state)) => next_of(state),
            (_, None, None) => Next::NotRequired,
        };
        PeerSnapshot {
            peer: Some(peer),
            level: if required.is_empty() { Level::Low } else { Level::High },
            required,
            stage,
            since: live.map(|known| known.since),
            connections: live.map(|known| known.links.to_vec()).unwrap_or_default(),
            protocols: live.map_or_else(ProtocolSet::default, |k| k.theirs.protocols().clone()),
            addresses,
            failures: state.as_ref().map_or(0, |state| state.failures),
            cause: state.and_then(|state| state.last),
            next,
            blocked,
            turned_away,
            lost: self.history.losses.get(&peer).map(|known| (**known).clone()),
        }
    }

    /// A required peer whose id nobody knows yet.
    fn unnamed_snapshot(&self, state: &RequiredState) -> PeerSnapshot {
        let attempt = self.supervisor.attempt_of(state.required);
        let dial = attempt.and_then(|attempt| self.dials.of_attempt(attempt));
        let of = |address: &Address| self.address_snapshot(address.clone(), Origin::Required);
        let addresses: Vec<AddressSnapshot> = state.addresses.iter().map(of).collect();
        let last = addresses.iter().filter_map(|place| place.last.as_ref());
        let refused = last.max_by_key(|failure| failure.at).is_some_and(was_refused);
        let (stage, next) = match dial {
            Some((reached, until)) => {
                let stage = match reached {
                    Reached::Handshaking => Stage::Handshaking,
                    Reached::Exchanging => Stage::Exchanging,
                    _ => Stage::Dialling,
                };
                (stage, Next::UnderWay { until: Some(until) })
            }
            None => (idle_stage(Some(state), refused), next_of(state)),
        };
        PeerSnapshot {
            peer: None,
            required: alloc::vec![state.required],
            level: Level::High,
            stage,
            since: None,
            connections: Vec::new(),
            protocols: ProtocolSet::default(),
            addresses,
            failures: state.failures,
            cause: state.last.clone(),
            next,
            blocked: false,
            turned_away: None,
            lost: None,
        }
    }

    fn address_snapshots(
        &self,
        now: Instant,
        peer: PeerId,
        progress: &Progress,
    ) -> Vec<AddressSnapshot> {
        let mut all: Vec<AddressSnapshot> = Vec::new();
        let required = self.supervisor.addresses_of(&peer).map(|a| (a, Origin::Required));
        let book = self.book.known(now, &peer);
        let book = book.map(|known| (known.address.clone(), Origin::Book(known.source)));
        let asked = progress.places.get(&peer).into_iter().flatten();
        let asked = asked.map(|address| (address.clone(), Origin::Asked));
        for (address, origin) in required.chain(book).chain(asked) {
            if !all.iter().any(|known| known.address == address) {
                all.push(self.address_snapshot(address, origin));
            }
        }
        all
    }

    fn address_snapshot(&self, address: Address, origin: Origin) -> AddressSnapshot {
        let unknown = Place::default();
        let place = self.history.place(&address).unwrap_or(&unknown);
        let socket = address.socket_addr();
        AddressSnapshot {
            blocked: socket.is_some_and(|place| self.blacklist.blocks(place)),
            address,
            origin,
            attempts: place.attempts,
            failures: place.failures,
            last: place.last.as_deref().cloned(),
            succeeded: place.succeeded,
        }
    }
}

fn link_snapshot(id: ConnectionId, link: &Link) -> LinkSnapshot {
    let (stage, peer) = match link.stage {
        LinkStage::Dialling => (Stage::Dialling, None),
        LinkStage::Unproven => (Stage::Handshaking, None),
        LinkStage::Establishing(peer) => (Stage::Exchanging, Some(peer)),
        LinkStage::Live(peer) => (Stage::Connected, Some(peer)),
    };
    LinkSnapshot {
        id,
        peer,
        expected: link.expected,
        direction: link.direction,
        remote: link.remote,
        stage,
        since: link.since,
        closing: link.closing,
    }
}

/// The stage of a peer towards which nothing is under way.
fn idle_stage(state: Option<&RequiredState>, refused: bool) -> Stage {
    match state.map(|state| state.phase) {
        _ if refused => Stage::Refused,
        Some(RequiredPhase::Waiting { .. } | RequiredPhase::Due) => Stage::Waiting,
        _ => Stage::Idle,
    }
}

const fn next_of(state: &RequiredState) -> Next {
    match state.phase {
        RequiredPhase::Connected { .. } => Next::Connected,
        RequiredPhase::Due => Next::Queued,
        RequiredPhase::Dialing => Next::UnderWay { until: None },
        RequiredPhase::Waiting { until } => Next::At(until),
        RequiredPhase::Paused => Next::Paused,
        RequiredPhase::GaveUp => Next::GaveUp,
    }
}

/// Whether an attempt ended because somebody did not want it.
fn was_refused(failure: &Failure) -> bool {
    let proven = failure.reached >= Reached::Exchanging;
    matches!(&failure.error, DialError::Refused(refusal) if is_refusal(refusal, proven))
}

/// Whether a link ended because one side did not want the other. One that the peer closes in order
/// once both are `proven` is turned away: nothing else ends there.
fn is_refusal(refusal: &Refusal, proven: bool) -> bool {
    match refusal {
        Refusal::Closed(reason) => match &**reason {
            CloseReason::RemoteClosed => proven,
            CloseReason::Channel(ChannelError::Refused(_) | ChannelError::Unwelcome(_)) => true,
            reason => matches!(reason, CloseReason::Refused(_) | CloseReason::Blocked),
        },
        Refusal::Stopping | Refusal::Duplicate => false,
        _ => true,
    }
}
