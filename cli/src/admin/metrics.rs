//! What `/metrics` says: OpenMetrics text (version 1.0.0). Names and labels are an interface; see
//! `docs/status.md`.
//!
//! Bound: a peer is named in one sample of each gauge about peers, so the whole grows with the
//! peers that it is connected with or keeps, and with no more than `PROTOCOLS_MAX` protocols.

use std::fmt::Write as _;

use headwater_core::snapshot::{Count, Snapshot, Stage};

use super::{shape, words};

/// Every stage that a peer may be in.
const STAGES: [Stage; 7] = [
    Stage::Idle,
    Stage::Waiting,
    Stage::Dialling,
    Stage::Handshaking,
    Stage::Exchanging,
    Stage::Connected,
    Stage::Refused,
];

/// The text, of one or several nodes; with several, each sample is labelled with its node.
pub(crate) fn text(nodes: &[(String, Snapshot)]) -> String {
    let mut out = Text { text: String::new(), nodes };
    node(&mut out);
    peers(&mut out);
    traffic(&mut out);
    limits(&mut out);
    out.text.push_str("# EOF\n");
    out.text
}

/// One sample: its labels and its value.
type Sample = (Vec<(&'static str, String)>, f64);

struct Text<'a> {
    text: String,
    nodes: &'a [(String, Snapshot)],
}

impl Text<'_> {
    fn gauge(&mut self, name: &str, unit: &str, help: &str, of: impl Fn(&Snapshot) -> Vec<Sample>) {
        self.family(name, "gauge", unit, help, "", of);
    }

    fn counter(
        &mut self,
        name: &str,
        unit: &str,
        help: &str,
        of: impl Fn(&Snapshot) -> Vec<Sample>,
    ) {
        self.family(name, "counter", unit, help, "_total", of);
    }

    fn family(
        &mut self,
        name: &str,
        kind: &str,
        unit: &str,
        help: &str,
        suffix: &str,
        of: impl Fn(&Snapshot) -> Vec<Sample>,
    ) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# TYPE {name} {kind}");
        if !unit.is_empty() {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.text, "# HELP {name} {help}");
        for (node, snapshot) in self.nodes {
            for (labels, value) in of(snapshot) {
                let named = (self.nodes.len() > 1).then(|| ("node", node.clone()));
                let labels: Vec<String> = named
                    .into_iter()
                    .chain(labels)
                    .map(|(label, value)| format!("{label}=\"{}\"", escaped(&value)))
                    .collect();
                let labels = if labels.is_empty() {
                    labels.join("")
                } else {
                    format!("{{{}}}", labels.join(","))
                };
                let _ = writeln!(self.text, "{name}{suffix}{labels} {value}");
            }
        }
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A number without labels.
#[expect(clippy::cast_precision_loss, reason = "values of OpenMetrics are floats")]
fn one(value: u64) -> Vec<Sample> {
    vec![(Vec::new(), value as f64)]
}

#[expect(clippy::cast_precision_loss, reason = "values of OpenMetrics are floats")]
fn labelled(label: &'static str, values: impl IntoIterator<Item = (String, u64)>) -> Vec<Sample> {
    values.into_iter().map(|(name, value)| (vec![(label, name)], value as f64)).collect()
}

fn node(out: &mut Text<'_>) {
    out.gauge("headwater_uptime_seconds", "seconds", "How long the node has run.", |snapshot| {
        let uptime = snapshot.node.at.since(headwater_core::time::Instant::ZERO);
        vec![(Vec::new(), uptime.as_secs_f64())]
    });
    out.gauge("headwater_stopping", "", "1 while the node stops, else 0.", |snapshot| {
        one(u64::from(snapshot.node.stopping))
    });
    out.counter("headwater_links_accepted", "", "Links that were accepted.", |snapshot| {
        one(snapshot.node.work.accepted)
    });
    out.counter("headwater_dials", "", "Links that the node began to make.", |snapshot| {
        one(snapshot.node.work.dials)
    });
    out.counter(
        "headwater_dial_failures",
        "",
        "Attempts at an address that led to no connection.",
        |snapshot| one(snapshot.node.work.failures),
    );
    out.counter("headwater_peers_connected", "", "Times that a peer was connected.", |snapshot| {
        one(snapshot.node.work.connected)
    });
    out.counter("headwater_peers_lost", "", "Times that a connected peer was lost.", |snapshot| {
        one(snapshot.node.work.disconnected)
    });
    out.counter(
        "headwater_links_refused",
        "",
        "Links that were turned away or ended before their peer was connected.",
        |snapshot| {
            let refusals = snapshot.node.refusals.iter();
            #[expect(clippy::cast_precision_loss, reason = "values of OpenMetrics are floats")]
            let sample = |one: &headwater_core::snapshot::RefusalCount| {
                let direction = shape::direction(one.direction).to_owned();
                let labels = vec![("direction", direction), ("reason", one.reason.to_owned())];
                (labels, one.count as f64)
            };
            refusals.map(sample).collect()
        },
    );
    out.gauge("headwater_timers", "", "Deadlines that are armed.", |snapshot| {
        one(snapshot.timers() as u64)
    });
    out.counter("headwater_wakeups", "", "What the machines took in, by kind.", |snapshot| {
        let (work, counters) = (snapshot.node.work, snapshot.counters());
        let kinds = [
            ("read", counters.reads),
            ("write", counters.writes),
            ("timeout", work.timeouts.saturating_add(counters.timeouts)),
            ("report", work.reports),
            ("event", work.events),
        ];
        labelled("kind", kinds.map(|(kind, count)| (kind.to_owned(), count)))
    });
}

fn peers(out: &mut Text<'_>) {
    out.gauge("headwater_peers", "", "Peers that the node knows of, by stage.", |snapshot| {
        let count = |stage| snapshot.node.peers.iter().filter(|peer| peer.stage == stage).count();
        labelled("stage", STAGES.map(|stage| (words::stage(stage).to_owned(), count(stage) as u64)))
    });
    out.gauge(
        "headwater_peer_connected",
        "",
        "1 for each peer that is connected, 0 for one that is not, though the node keeps it.",
        |snapshot| {
            let peers = snapshot.node.peers.iter();
            let peers = peers.filter(|p| p.stage == Stage::Connected || !p.required.is_empty());
            let connected = |stage| u64::from(stage == Stage::Connected);
            let named = peers.filter_map(|p| Some((p.peer?.to_string(), connected(p.stage))));
            labelled("peer", named)
        },
    );
    out.gauge(
        "headwater_peer_round_trip_seconds",
        "seconds",
        "The round trip time of the best connection of a peer, smoothed.",
        |snapshot| {
            let peers = snapshot.node.peers.iter();
            let best = peers.filter_map(|peer| {
                let rtt = snapshot.connections_of(peer).filter_map(|part| part.rtt).min()?;
                Some((vec![("peer", peer.peer?.to_string())], rtt.as_secs_f64()))
            });
            best.collect()
        },
    );
    out.gauge(
        "headwater_peer_queued_bytes",
        "bytes",
        "Bytes of messages to a peer that were accepted and have not left.",
        |snapshot| {
            // Not of everybody who was turned away: their number is up to them.
            let peers = snapshot.node.peers.iter();
            let known = peers.filter(|p| !p.connections.is_empty() || !p.required.is_empty());
            let queued = known.filter_map(|peer| {
                let parts = snapshot.connections_of(peer);
                let bytes: usize = parts.map(|part| part.queued_bytes + part.waiting_bytes).sum();
                Some((peer.peer?.to_string(), bytes as u64))
            });
            labelled("peer", queued)
        },
    );
    streams(out);
}

/// Connections and their streams.
fn streams(out: &mut Text<'_>) {
    out.gauge("headwater_connections", "", "Connections, by what blocks them.", |snapshot| {
        let mut kinds: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
        for part in &snapshot.connections {
            let first = part.blocked.first().map_or("nothing", words::blockage);
            *kinds.entry(first.to_owned()).or_default() += 1;
        }
        labelled("blocked", kinds)
    });
    out.gauge("headwater_send_streams", "", "Streams to send on, by state.", |snapshot| {
        let sum = |of: fn(&headwater_core::pool::PoolCounts) -> usize| -> u64 {
            snapshot.connections.iter().map(|part| of(&part.streams) as u64).sum()
        };
        let states = [
            ("idle", sum(|counts| counts.idle)),
            ("lent", sum(|counts| counts.lent)),
            ("opening", sum(|counts| counts.opening)),
        ];
        labelled("state", states.map(|(state, count)| (state.to_owned(), count)))
    });
}

#[expect(clippy::cast_precision_loss, reason = "values of OpenMetrics are floats")]
fn traffic(out: &mut Text<'_>) {
    let by_protocol = |snapshot: &Snapshot, of: fn(Count) -> u64| -> Vec<Sample> {
        let counts = snapshot.traffic();
        let samples = counts.iter().flat_map(|count| {
            let name = count.protocol.as_ref().map_or_else(String::new, ToString::to_string);
            [("in", count.received), ("out", count.sent)].map(|(direction, count)| {
                let labels = vec![("protocol", name.clone()), ("direction", direction.to_owned())];
                (labels, of(count) as f64)
            })
        });
        samples.collect()
    };
    out.counter(
        "headwater_messages",
        "",
        "Messages received, and accepted for sending, by protocol; the empty name is for all \
         beyond the first 256 protocols.",
        |snapshot| by_protocol(snapshot, |count| count.messages),
    );
    out.counter("headwater_message_bytes", "bytes", "Bytes of their payloads.", |snapshot| {
        by_protocol(snapshot, |count| count.bytes)
    });
    losses(out);
    wire(out);
}

/// Messages that did not go where they were to go.
#[expect(clippy::cast_precision_loss, reason = "values of OpenMetrics are floats")]
fn losses(out: &mut Text<'_>) {
    out.counter(
        "headwater_messages_refused",
        "",
        "Messages that were not accepted for sending, or received for nobody.",
        |snapshot| {
            let counts = snapshot.traffic();
            let refused = counts.iter().flat_map(|count| {
                let name = count.protocol.as_ref().map_or_else(String::new, ToString::to_string);
                [("full", count.full), ("too_large", count.too_large)].map(|(reason, count)| {
                    let labels = vec![("protocol", name.clone()), ("direction", "out".to_owned())];
                    (with(labels, reason), count as f64)
                })
            });
            let unknown = vec![("protocol", String::new()), ("direction", "in".to_owned())];
            let unknown = (with(unknown, "unregistered"), snapshot.counters().unknown as f64);
            refused.chain([unknown]).collect()
        },
    );
    out.counter(
        "headwater_messages_undelivered",
        "",
        "Messages that were accepted for sending and given up.",
        |snapshot| {
            let counts = snapshot.traffic();
            let lost = counts.iter().flat_map(|count| {
                let name = count.protocol.as_ref().map_or_else(String::new, ToString::to_string);
                let reasons = [
                    ("connection_lost", count.lost.connection_lost),
                    ("stream_reset", count.lost.stream_reset),
                    ("deadline", count.lost.deadline),
                ];
                reasons.map(|(reason, count)| {
                    (with(vec![("protocol", name.clone())], reason), count.messages as f64)
                })
            });
            lost.collect()
        },
    );
}

/// What connections carry, and what peers do on them that they may not.
fn wire(out: &mut Text<'_>) {
    out.counter(
        "headwater_network_bytes",
        "bytes",
        "Bytes on the wire, everything included.",
        |snapshot| {
            let counters = snapshot.counters();
            let both = [("in", counters.received_bytes), ("out", counters.sent_bytes)];
            labelled("direction", both.map(|(name, bytes)| (name.to_owned(), bytes)))
        },
    );
    out.counter(
        "headwater_offences",
        "",
        "Streams that were reset for what the peer did on them.",
        |snapshot| {
            let each = snapshot.counters().offences.each();
            labelled("kind", each.map(|(kind, count)| (kind.name().to_owned(), count)))
        },
    );
}

fn with(mut labels: Vec<(&'static str, String)>, reason: &str) -> Vec<(&'static str, String)> {
    labels.push(("reason", reason.to_owned()));
    labels
}

fn limits(out: &mut Text<'_>) {
    out.gauge("headwater_memory_bytes", "bytes", "What connections hold, by place.", |snapshot| {
        let places = shape::places(snapshot);
        labelled("place", places.map(|(place, bytes)| (place.to_owned(), bytes as u64)))
    });
    out.gauge(
        "headwater_memory_max_bytes",
        "bytes",
        "What the node may hold, whatever its peers do.",
        |snapshot| one(snapshot.node.memory_max as u64),
    );
    out.gauge("headwater_used", "", "How much there is of what is limited.", |snapshot| {
        let usage = snapshot.node.usage.iter();
        labelled("limit", usage.map(|one| (one.key.to_owned(), one.used as u64)))
    });
    out.gauge("headwater_limit", "", "How much of it there may be.", |snapshot| {
        let usage = snapshot.node.usage.iter();
        labelled("limit", usage.map(|one| (one.key.to_owned(), one.max as u64)))
    });
}
