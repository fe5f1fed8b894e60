//! The result of the demo, for people and for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use headwater_core::id::ProtocolId;
use serde::Serialize;

use super::member::Runtime;
use super::plan::{GONE, GONE_NODE, LATE, LATE_NODE};
use super::scene::{Scene, State, Traffic};

/// The result; its fields are those of the event `table`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Table {
    /// Who took part.
    nodes: Vec<Node>,
    /// Which runtime sent what to which.
    traffic: Vec<Row<Runtime>>,
    /// Which node sent what to which.
    pairs: Vec<Row<&'static str>>,
    /// What became of the two protocols that changed.
    protocols: Vec<Change>,
    /// The nodes that were lost and came back.
    healing: Vec<Healing>,
    /// Whether the user ended it before its end.
    interrupted: bool,
    /// Whether everything is as it should be; an interrupted demo cannot say that.
    pub(crate) ok: bool,
    /// What it was at, if it was interrupted.
    #[serde(skip)]
    step: &'static str,
    /// Messages that nobody sent.
    #[serde(skip)]
    strays: u64,
}

/// How a demo ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All its steps are over.
    Played,
    /// One of them failed.
    Failed,
    /// A signal ended it.
    Interrupted,
}

/// One node.
#[derive(Clone, Debug, Serialize)]
struct Node {
    name: &'static str,
    runtime: Runtime,
}

/// Messages from one side to the other.
#[derive(Clone, Debug, Serialize)]
struct Row<T> {
    from: T,
    to: T,
    #[serde(flatten)]
    sum: Sum,
}

/// What became of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Sum {
    /// Messages that were to arrive.
    expected: u64,
    /// Messages that did.
    messages: u64,
    /// Their payload bytes.
    bytes: u64,
    /// Messages whose checksum was right.
    checksums_right: u64,
    /// Messages whose checksum was wrong.
    checksums_wrong: u64,
}

impl Sum {
    fn add(&mut self, traffic: &Traffic) {
        self.expected += traffic.expected;
        self.messages += traffic.messages;
        self.bytes += traffic.bytes;
        self.checksums_right += traffic.right;
        self.checksums_wrong += traffic.wrong;
    }

    /// What is on the way when a demo is interrupted is no fault.
    fn verdict(&self, interrupted: bool) -> &'static str {
        match self.messages == self.checksums_right && self.checksums_wrong == 0 {
            true if self.expected == self.messages => "ok",
            true if interrupted => "so far",
            _ => "OFF",
        }
    }
}

/// A protocol that a node registered late or withdrew.
#[derive(Clone, Debug, Serialize)]
struct Change {
    protocol: &'static str,
    node: &'static str,
    change: &'static str,
    /// Peers that were told.
    seen_by: usize,
}

/// A node that was lost to the others, and that they found again.
#[derive(Clone, Debug, Serialize)]
struct Healing {
    node: &'static str,
    fault: &'static str,
    /// Peers that have it back.
    peers: usize,
    /// From the end of the fault until all had, in milliseconds.
    millis: u64,
}

impl Table {
    /// The result of a demo whose steps went through, or did not.
    pub(crate) fn of(scene: &Scene, end: End) -> Self {
        scene.with(|state| Self::from_state(scene, state, end))
    }

    fn from_state(scene: &Scene, state: &State, end: End) -> Self {
        let runtime = |node: usize| scene.cast().get(node).map_or(Runtime::Tokio, |(_, r)| *r);
        let mut runtimes: BTreeMap<(Runtime, Runtime), Sum> = BTreeMap::new();
        let mut pairs: BTreeMap<(usize, usize), Sum> = BTreeMap::new();
        for ((from, to, _), traffic) in &state.traffic {
            runtimes.entry((runtime(*from), runtime(*to))).or_default().add(traffic);
            pairs.entry((*from, *to)).or_default().add(traffic);
        }
        let complete = state.traffic.values().all(Traffic::is_complete);
        let change = |protocol, node, change, seen_by| Change {
            protocol,
            node: scene.name(node),
            change,
            seen_by,
        };
        Self {
            nodes: scene.cast().iter().map(|&(name, runtime)| Node { name, runtime }).collect(),
            traffic: runtimes.into_iter().map(|((from, to), sum)| Row { from, to, sum }).collect(),
            pairs: pairs
                .into_iter()
                .map(|((from, to), sum)| Row { from: scene.name(from), to: scene.name(to), sum })
                .collect(),
            protocols: vec![
                change(LATE, LATE_NODE, "registered", state.late_seen),
                change(GONE, GONE_NODE, "unregistered", state.gone_seen),
            ],
            healing: state
                .healed
                .iter()
                .map(|healed| Healing {
                    node: scene.name(healed.node),
                    fault: healed.fault,
                    peers: healed.peers,
                    millis: u64::try_from(healed.time.as_millis()).unwrap_or(u64::MAX),
                })
                .collect(),
            interrupted: end == End::Interrupted,
            step: state.step,
            strays: state.strays,
            ok: end == End::Played && complete && state.strays == 0 && !state.traffic.is_empty(),
        }
    }

    /// The result as a short text.
    pub(crate) fn text(&self) -> String {
        let mut lines = Vec::new();
        if self.interrupted {
            lines.push(format!("interrupted while {}; until then:", self.step));
        }
        lines.push(format!(
            "{:<6} {:<6} {:>9} {:>10} {:>10}  {}",
            "from", "to", "messages", "bytes", "checksums", "result"
        ));
        for Row { from, to, sum } in &self.traffic {
            lines.push(format!(
                "{from:<6} {to:<6} {:>9} {:>10} {:>10}  {}",
                format!("{}/{}", sum.messages, sum.expected),
                bytes(sum.bytes),
                format!("{} right", sum.checksums_right),
                sum.verdict(self.interrupted)
            ));
        }
        let is_off = |row: &&Row<&str>| row.sum.verdict(self.interrupted) == "OFF";
        for Row { from, to, sum } in self.pairs.iter().filter(is_off) {
            lines.push(format!(
                "off: {from} to {to}: {} of {} messages arrived, {} checksums wrong",
                sum.messages, sum.expected, sum.checksums_wrong
            ));
        }
        let happened = |change: &&Change| !self.interrupted || change.seen_by > 0;
        for change in self.protocols.iter().filter(happened) {
            let Change { protocol, node, change, seen_by } = change;
            lines.push(format!("{node} {change} {protocol}, seen by {seen_by} peers"));
        }
        for Healing { node, fault, peers, millis } in &self.healing {
            let seconds = Duration::from_millis(*millis).as_secs_f32();
            lines.push(format!("{node} was {fault}, back with {peers} peers after {seconds:.1} s"));
        }
        let off = self.strays > 0 || self.pairs.iter().any(|row| is_off(&row));
        lines.push(match (self.ok, self.interrupted && !off) {
            (true, _) => "all right".to_owned(),
            (false, true) => "interrupted before the end: nothing was off until then".to_owned(),
            (false, false) => "something is off".to_owned(),
        });
        lines.join("\n")
    }
}

/// A number of bytes as people read it.
pub(crate) fn bytes(count: u64) -> String {
    format!("{}", indicatif::BinaryBytes(count))
}

/// The bytes of all traffic so far.
pub(crate) fn arrived(state: &State) -> u64 {
    state.traffic.values().map(|traffic: &Traffic| traffic.bytes).sum()
}

/// What one node got, of all protocols: messages that arrived, and those that are to.
pub(crate) fn received(state: &State, node: usize) -> (u64, u64, u64) {
    let mine = |key: &&(usize, usize, ProtocolId)| key.1 == node;
    let mut sum = Sum::default();
    for key in state.traffic.keys().filter(mine) {
        if let Some(traffic) = state.traffic.get(key) {
            sum.add(traffic);
        }
    }
    (sum.messages, sum.expected, sum.bytes)
}

#[cfg(test)]
mod tests {
    use super::super::plan;
    use super::*;
    use crate::report::Report;

    fn table(damage: bool) -> Table {
        let cast = [("tokio-1", Runtime::Tokio), ("mio-1", Runtime::Mio)];
        let scene = Scene::new(Report::new(false), &cast);
        let ids = ["Qma".parse().unwrap(), "Qmb".parse().unwrap()];
        let blob = plan::protocol(plan::BLOB);
        for (node, id) in ids.iter().enumerate() {
            scene.listens(node, *id, "/x");
        }
        for (from, to) in [(0, 1), (1, 0)] {
            scene.due(from, to, &blob, b"water");
            scene.with(|state| {
                state.traffic.values_mut().for_each(|traffic| traffic.expected = 1);
            });
            let payload: &[u8] = if damage && from == 1 { b"wader" } else { b"water" };
            scene.arrived(to, &ids[from], &blob, payload);
        }
        Table::of(&scene, End::Played)
    }

    #[test]
    fn rows_say_which_runtime_talked_to_which() {
        let table = table(false);
        assert!(table.ok);
        let json = serde_json::to_value(&table).unwrap();
        assert_eq!(json["traffic"][0]["from"], "tokio");
        assert_eq!(json["traffic"][0]["to"], "mio");
        assert_eq!(json["traffic"][1]["bytes"], 5);
        assert_eq!(json["pairs"][0]["from"], "tokio-1");
        let text = table.text();
        assert!(text.contains("tokio  mio          1/1"), "{text}");
        assert!(text.ends_with("all right"), "{text}");
    }

    #[test]
    fn a_wrong_checksum_is_off() {
        let table = table(true);
        assert!(!table.ok);
        let text = table.text();
        assert!(text.contains("off: mio-1 to tokio-1: 1 of 1 messages arrived, 1 checksums wrong"));
        assert!(text.ends_with("something is off"), "{text}");
    }

    #[test]
    fn what_an_interrupt_leaves_undone_is_not_off_and_a_wrong_checksum_is() {
        let whole = table(false);
        let mut cut = Table { interrupted: true, ok: false, step: "waiting", ..whole };
        cut.traffic[0].sum.expected = 9;
        cut.pairs[0].sum.expected = 9;
        let text = cut.text();
        assert!(text.starts_with("interrupted while waiting; until then:\nfrom "), "{text}");
        assert!(text.contains("1/9") && text.contains("so far"), "{text}");
        assert!(!text.contains("off:") && !text.contains("OFF"), "{text}");
        assert!(text.ends_with("nothing was off until then"), "{text}");
        cut.strays = 1;
        assert!(cut.text().ends_with("something is off"), "{}", cut.text());
        cut.strays = 0;
        cut.pairs[0].sum.checksums_wrong = 1;
        assert!(cut.text().ends_with("something is off"), "{}", cut.text());
    }
}
