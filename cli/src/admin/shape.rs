//! What `/status` says: the snapshot of each node as JSON. The names here are an interface; see
//! `docs/status.md`.

use std::time::Duration;

use headwater_core::contract::Direction;
use headwater_core::peers::{AddressSource, Level};
use headwater_core::snapshot::{
    AddressSnapshot, ConnectionSnapshot, Count, Failure, LinkSnapshot, Next, Origin, PeerSnapshot,
    ProtocolCount, Snapshot,
};
use headwater_core::time::Instant;
use serde::{Deserialize, Serialize};

use super::words;
use crate::code;

/// The version of the whole.
pub(crate) const VERSION: u32 = 1;

/// Everything that a program tells of its nodes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// Nodes of the program: one, or those of the demo.
    pub(crate) nodes: Vec<NodeStatus>,
}

/// One node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NodeStatus {
    /// Its name, where there are several.
    pub(crate) name: String,
    /// Its peer id.
    pub(crate) id: String,
    /// Whether it runs: a node of the demo that was killed does not.
    pub(crate) running: bool,
    /// How long it has run.
    pub(crate) uptime_ms: u64,
    /// Whether it stops.
    pub(crate) stopping: bool,
    /// Where it listens.
    pub(crate) listening: Vec<String>,
    /// What it supports.
    pub(crate) protocols: Vec<String>,
    /// Peers, in the order of their ids.
    pub(crate) peers: Vec<PeerStatus>,
    /// Links whose peer is not proven, or not connected yet.
    pub(crate) links: Vec<LinkStatus>,
    /// Messages by protocol.
    pub(crate) traffic: Vec<TrafficStatus>,
    /// Links that were turned away or ended early.
    pub(crate) refusals: Vec<RefusalStatus>,
    /// Bytes held by connections, by place, against what they may hold.
    pub(crate) memory: MemoryStatus,
    /// So much of what is limited.
    pub(crate) usage: Vec<UsageStatus>,
    /// What it did.
    pub(crate) work: WorkStatus,
    /// Timers that are armed.
    pub(crate) timers: usize,
    /// Bytes of each of the last seconds, the oldest first.
    pub(crate) throughput: Throughput,
}

/// A peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PeerStatus {
    /// Its id, if that is known.
    pub(crate) id: Option<String>,
    /// Its name, if it is a node of the demo.
    pub(crate) name: Option<String>,
    /// `high` for required peers, else `low`.
    pub(crate) level: String,
    /// Whether the node keeps it connected.
    pub(crate) required: bool,
    /// `idle`, `waiting`, `dialling`, `handshaking`, `exchanging`, `connected`, `refused`.
    pub(crate) stage: String,
    /// How long it is connected.
    pub(crate) connected_ms: Option<u64>,
    /// Failures in a row, of a required peer.
    pub(crate) failures: u32,
    /// `connected`, `under_way`, `queued`, `at`, `paused`, `gave_up`, `not_required`.
    pub(crate) next: String,
    /// The time until the next attempt, where that is known.
    pub(crate) next_ms: Option<u64>,
    /// What it supports.
    pub(crate) protocols: Vec<String>,
    /// What this node supports and it does not.
    pub(crate) missing: Vec<String>,
    /// Where it may be.
    pub(crate) addresses: Vec<AddressStatus>,
    /// Its connections.
    pub(crate) connections: Vec<ConnectionStatus>,
    /// In few words: what is in the way, or nothing.
    pub(crate) blocked: Vec<String>,
    /// In whole sentences: what was tried, how far it got, what comes next, and what would help.
    pub(crate) why: String,
}

/// An address of a peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AddressStatus {
    /// The address.
    pub(crate) address: String,
    /// `required`, `configured`, `dialed`, `told` or `asked`.
    pub(crate) origin: String,
    /// Attempts that are remembered.
    pub(crate) attempts: u64,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// A rule of the blacklist keeps it out.
    pub(crate) blocked: bool,
    /// The time since an attempt led to a connection.
    pub(crate) succeeded_ms: Option<u64>,
    /// The last failure.
    pub(crate) last: Option<FailureStatus>,
}

/// An attempt that led to nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FailureStatus {
    /// The time since.
    pub(crate) ago_ms: u64,
    /// `nothing`, `resolving`, `dialling`, `handshaking` or `exchanging`.
    pub(crate) reached: String,
    /// Where the address led to.
    pub(crate) remote: Option<String>,
    /// Names of the error, from the outside in, such as `refused.closed.channel.other`.
    pub(crate) code: String,
    /// The error as a sentence.
    pub(crate) error: String,
}

/// A connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ConnectionStatus {
    /// Its name.
    pub(crate) id: String,
    /// `inbound` or `outbound`.
    pub(crate) direction: String,
    /// Its other end.
    pub(crate) remote: String,
    /// `handshake`, `exchange`, `live`, `draining` or `ending`.
    pub(crate) stage: String,
    /// How old it is.
    pub(crate) age_ms: u64,
    /// The round trip time.
    pub(crate) rtt_us: Option<u64>,
    /// Bytes on the wire.
    pub(crate) received_bytes: u64,
    /// See `received_bytes`.
    pub(crate) sent_bytes: u64,
    /// Messages.
    pub(crate) received_messages: u64,
    /// See `received_messages`.
    pub(crate) sent_messages: u64,
    /// Streams to send on.
    pub(crate) streams: StreamsStatus,
    /// Streams that the peer has opened.
    pub(crate) receive_streams: usize,
    /// Bytes accepted and not framed.
    pub(crate) queued_bytes: usize,
    /// Bytes framed and not taken by the network.
    pub(crate) output_bytes: usize,
    /// Bytes received and not taken by the application.
    pub(crate) inbox_bytes: usize,
    /// Bytes of memory.
    pub(crate) memory_bytes: usize,
    /// Names of what blocks it.
    pub(crate) blocked: Vec<String>,
}

/// Streams to send on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct StreamsStatus {
    /// There are.
    pub(crate) current: usize,
    /// There may be.
    pub(crate) max: usize,
    /// Free.
    pub(crate) idle: usize,
    /// In use.
    pub(crate) lent: usize,
    /// Being opened.
    pub(crate) opening: usize,
}

/// A link that is no connection yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LinkStatus {
    /// `inbound` or `outbound`.
    pub(crate) direction: String,
    /// Its other end.
    pub(crate) remote: String,
    /// Who has to be there, or has proven to be.
    pub(crate) peer: Option<String>,
    /// As with peers.
    pub(crate) stage: String,
    /// How old it is.
    pub(crate) age_ms: u64,
}

/// Messages of one protocol.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TrafficStatus {
    /// Which; `null` for all beyond those that are counted apart.
    pub(crate) protocol: Option<String>,
    /// Messages and bytes.
    pub(crate) received_messages: u64,
    /// See `received_messages`.
    pub(crate) received_bytes: u64,
    /// See `received_messages`.
    pub(crate) sent_messages: u64,
    /// See `received_messages`.
    pub(crate) sent_bytes: u64,
    /// Messages not accepted, by the reason.
    pub(crate) refused: Vec<(String, u64)>,
    /// Messages accepted and given up, by the reason.
    pub(crate) undelivered: Vec<(String, u64)>,
}

/// Links that were turned away.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RefusalStatus {
    /// `inbound` or `outbound`.
    pub(crate) direction: String,
    /// Why.
    pub(crate) reason: String,
    /// How many.
    pub(crate) count: u64,
}

/// Bytes that are held.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MemoryStatus {
    /// All together.
    pub(crate) used: usize,
    /// What may be held.
    pub(crate) max: usize,
    /// What one connection may hold.
    pub(crate) connection_max: usize,
    /// By place.
    pub(crate) places: Vec<(String, usize)>,
}

/// So much of something.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct UsageStatus {
    /// The key of the limit.
    pub(crate) key: String,
    /// How much there is.
    pub(crate) used: usize,
    /// How much there may be.
    pub(crate) max: usize,
}

/// What a node did.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct WorkStatus {
    /// Links accepted.
    pub(crate) accepted: u64,
    /// Links that it began to make.
    pub(crate) dials: u64,
    /// Links that it made.
    pub(crate) dialed: u64,
    /// Attempts that led to nothing.
    pub(crate) failures: u64,
    /// Peers connected.
    pub(crate) connected: u64,
    /// Peers lost.
    pub(crate) disconnected: u64,
    /// Bytes on the wire.
    pub(crate) received_bytes: u64,
    /// See `received_bytes`.
    pub(crate) sent_bytes: u64,
    /// Reads and writes.
    pub(crate) reads: u64,
    /// See `reads`.
    pub(crate) writes: u64,
    /// Deadlines that came.
    pub(crate) timeouts: u64,
    /// Words between connections and node.
    pub(crate) reports: u64,
    /// Messages of protocols that are not registered.
    pub(crate) unknown: u64,
}

/// Bytes a second.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Throughput {
    /// What one sample stands for.
    pub(crate) interval_ms: u64,
    /// Bytes on the wire.
    pub(crate) received: Vec<u64>,
    /// See `received`.
    pub(crate) sent: Vec<u64>,
}

/// Milliseconds, as numbers of JSON hold them.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What a snapshot says, for people and programs.
pub(crate) fn node(
    name: &str,
    snapshot: &Snapshot,
    throughput: Throughput,
    name_of: &dyn Fn(&str) -> Option<String>,
) -> NodeStatus {
    let node = &snapshot.node;
    let peers = node.peers.iter().map(|known| peer(snapshot, known, name_of));
    let pending = node
        .links
        .iter()
        .filter(|link| !matches!(link.stage, headwater_core::snapshot::Stage::Connected));
    NodeStatus {
        name: name.to_owned(),
        id: node.local.to_string(),
        running: true,
        uptime_ms: millis(node.at.since(Instant::ZERO)),
        stopping: node.stopping,
        listening: node
            .listeners
            .iter()
            .filter_map(|listener| listener.local)
            .flat_map(|at| crate::address::reachable(at, &node.local))
            .collect(),
        protocols: texts(&node.protocols),
        peers: peers.collect(),
        links: pending.map(|one| link(one, node.at)).collect(),
        traffic: snapshot.traffic().iter().map(traffic).collect(),
        refusals: node
            .refusals
            .iter()
            .map(|refusal| RefusalStatus {
                direction: direction(refusal.direction).to_owned(),
                reason: refusal.reason.to_owned(),
                count: refusal.count,
            })
            .collect(),
        memory: memory(snapshot),
        usage: node
            .usage
            .iter()
            .map(|one| UsageStatus { key: one.key.to_owned(), used: one.used, max: one.max })
            .collect(),
        work: work(snapshot),
        timers: snapshot.timers(),
        throughput,
    }
}

/// What is known of a peer.
fn peer(
    snapshot: &Snapshot,
    known: &PeerSnapshot,
    name_of: &dyn Fn(&str) -> Option<String>,
) -> PeerStatus {
    let node = &snapshot.node;
    let protocols = texts(&known.protocols);
    let missing = texts(&node.protocols).into_iter().filter(|name| !protocols.contains(name));
    let connected = known.since.map(|since| millis(node.at.since(since)));
    let missing = if connected.is_some() { missing.collect() } else { Vec::new() };
    let (next, next_ms) = next_of(known, node.at);
    PeerStatus {
        id: known.peer.map(|id| id.to_string()),
        name: known.peer.and_then(|id| name_of(id.as_str())),
        level: if known.level == Level::High { "high" } else { "low" }.to_owned(),
        required: !known.required.is_empty(),
        stage: words::stage(known.stage).to_owned(),
        connected_ms: connected,
        failures: known.failures,
        next: next.to_owned(),
        next_ms,
        protocols,
        missing,
        addresses: known.addresses.iter().map(|place| address(place, node.at)).collect(),
        connections: snapshot.connections_of(known).map(connection).collect(),
        blocked: words::in_the_way(snapshot, known),
        why: words::why(snapshot, known),
    }
}

fn link(link: &LinkSnapshot, now: Instant) -> LinkStatus {
    LinkStatus {
        direction: direction(link.direction).to_owned(),
        remote: link.remote.to_string(),
        peer: link.peer.or(link.expected).map(|peer| peer.to_string()),
        stage: words::stage(link.stage).to_owned(),
        age_ms: millis(now.since(link.since)),
    }
}

/// The names of protocols, but for the nodes' own.
fn texts(protocols: &headwater_core::protocol::ProtocolSet) -> Vec<String> {
    protocols.iter().filter(|protocol| !is_own(protocol)).map(ToString::to_string).collect()
}

/// The exchanger's protocol is nobody's business but the nodes'.
fn is_own(protocol: &headwater_core::id::ProtocolId) -> bool {
    protocol.as_str() == headwater_core::id::ProtocolId::EXCHANGER
}

pub(crate) const fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    }
}

fn next_of(peer: &PeerSnapshot, now: Instant) -> (&'static str, Option<u64>) {
    match peer.next {
        Next::Connected => ("connected", None),
        Next::UnderWay { until } => ("under_way", until.map(|until| millis(until.since(now)))),
        Next::Queued => ("queued", None),
        Next::At(at) => ("at", Some(millis(at.since(now)))),
        Next::Paused => ("paused", None),
        Next::GaveUp => ("gave_up", None),
        _ => ("not_required", None),
    }
}

fn address(place: &AddressSnapshot, now: Instant) -> AddressStatus {
    let origin = match place.origin {
        Origin::Required => "required",
        Origin::Book(AddressSource::Configured) => "configured",
        Origin::Book(AddressSource::Dialed) => "dialed",
        Origin::Book(_) => "told",
        _ => "asked",
    };
    AddressStatus {
        address: place.address.to_string(),
        origin: origin.to_owned(),
        attempts: place.attempts,
        failures: place.failures,
        blocked: place.blocked,
        succeeded_ms: place.succeeded.map(|at| millis(now.since(at))),
        last: place.last.as_ref().map(|last| failure(last, now)),
    }
}

fn failure(failure: &Failure, now: Instant) -> FailureStatus {
    FailureStatus {
        ago_ms: millis(now.since(failure.at)),
        reached: words::reached(failure.reached).to_owned(),
        remote: failure.remote.map(|remote| remote.to_string()),
        code: code::dial(&failure.error),
        error: failure.error.to_string(),
    }
}

fn connection(part: &ConnectionSnapshot) -> ConnectionStatus {
    let total = part.traffic.total();
    let streams = part.streams;
    ConnectionStatus {
        id: part.id.to_string(),
        direction: direction(part.direction).to_owned(),
        remote: part.remote.to_string(),
        stage: words::connection_stage(part.stage).to_owned(),
        age_ms: millis(part.at.since(part.since)),
        rtt_us: part.rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
        received_bytes: part.counters.received_bytes,
        sent_bytes: part.counters.sent_bytes,
        received_messages: total.received.messages,
        sent_messages: total.sent.messages,
        streams: StreamsStatus {
            current: streams.current,
            max: streams.max,
            idle: streams.idle,
            lent: streams.lent,
            opening: streams.opening,
        },
        receive_streams: part.receive_streams,
        queued_bytes: part.queued_bytes.saturating_add(part.waiting_bytes),
        output_bytes: part.output_bytes,
        inbox_bytes: part.inbox_bytes,
        memory_bytes: part.memory.total(),
        blocked: part.blocked.iter().map(|what| words::blockage(what).to_owned()).collect(),
    }
}

fn traffic(count: &ProtocolCount) -> TrafficStatus {
    let given_up = |name: &str, count: Count| (name.to_owned(), count.messages);
    TrafficStatus {
        protocol: count.protocol.as_ref().map(ToString::to_string),
        received_messages: count.received.messages,
        received_bytes: count.received.bytes,
        sent_messages: count.sent.messages,
        sent_bytes: count.sent.bytes,
        refused: vec![("full".into(), count.full), ("too_large".into(), count.too_large)],
        undelivered: vec![
            given_up("connection_lost", count.lost.connection_lost),
            given_up("stream_reset", count.lost.stream_reset),
            given_up("deadline", count.lost.deadline),
        ],
    }
}

/// What connections hold, by place.
pub(crate) fn places(snapshot: &Snapshot) -> [(&'static str, usize); 8] {
    let sum = |of: fn(&headwater_core::connection::Memory) -> usize| {
        snapshot.connections.iter().map(|part| of(&part.memory)).sum()
    };
    let waiting: usize = snapshot.connections.iter().map(|part| part.waiting_bytes).sum();
    [
        ("slabs", sum(|memory| memory.slabs)),
        ("backlog", sum(|memory| memory.backlog)),
        ("assemblies", sum(|memory| memory.assemblies)),
        ("inbox", sum(|memory| memory.inbox)),
        ("kept", sum(|memory| memory.kept)),
        ("sending", waiting + sum(|memory| memory.sending)),
        ("output", sum(|memory| memory.output)),
        ("control", sum(|memory| memory.control)),
    ]
}

fn memory(snapshot: &Snapshot) -> MemoryStatus {
    MemoryStatus {
        used: snapshot.memory(),
        max: snapshot.node.memory_max,
        connection_max: snapshot.node.connection_memory_max,
        places: places(snapshot).map(|(name, bytes)| (name.to_owned(), bytes)).into(),
    }
}

fn work(snapshot: &Snapshot) -> WorkStatus {
    let (work, counters) = (snapshot.node.work, snapshot.counters());
    WorkStatus {
        accepted: work.accepted,
        dials: work.dials,
        dialed: work.dialed,
        failures: work.failures,
        connected: work.connected,
        disconnected: work.disconnected,
        received_bytes: counters.received_bytes,
        sent_bytes: counters.sent_bytes,
        reads: counters.reads,
        writes: counters.writes,
        timeouts: work.timeouts.saturating_add(counters.timeouts),
        reports: work.reports,
        unknown: counters.unknown,
    }
}

/// A node of the demo that does not run.
pub(crate) fn not_running(name: &str, id: &str) -> NodeStatus {
    let memory = MemoryStatus { used: 0, max: 0, connection_max: 0, places: Vec::new() };
    NodeStatus {
        name: name.to_owned(),
        id: id.to_owned(),
        running: false,
        uptime_ms: 0,
        stopping: false,
        listening: Vec::new(),
        protocols: Vec::new(),
        peers: Vec::new(),
        links: Vec::new(),
        traffic: Vec::new(),
        refusals: Vec::new(),
        memory,
        usage: Vec::new(),
        work: WorkStatus::default(),
        timers: 0,
        throughput: Throughput::default(),
    }
}
