//! A recording as lines that one reads.

pub(crate) mod words;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use headwater_core::id::PeerId;
use headwater_core::record::{Birth, Note, Outcome};
use headwater_core::time::Instant;

use crate::frames::Track;
use crate::recording::{Log, Machine, Recording, Step};

/// One line of a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The number of the step among those of all machines.
    pub sequence: u64,
    /// When, on the clock of the node.
    pub at: Instant,
    /// Whose step.
    pub machine: Machine,
    /// With whom, once that is proven.
    pub peer: Option<PeerId>,
    /// What happened.
    pub text: String,
    /// The frames in it.
    pub frames: Vec<String>,
}

/// The steps of all machines of a recording, in the order of their times, and of their numbers
/// where these are the same.
pub struct Timeline<'a> {
    logs: Vec<Reading<'a>>,
    /// The next step of each log, by its time and its number.
    next: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    peers: BTreeMap<Machine, PeerId>,
}

struct Reading<'a> {
    machine: Machine,
    steps: Box<dyn Iterator<Item = Step<'a>> + 'a>,
    step: Option<Step<'a>>,
    inward: Track,
    outward: Track,
}

impl<'a> Timeline<'a> {
    /// From the beginning.
    #[must_use]
    pub fn new(recording: &'a Recording) -> Self {
        let mut timeline =
            Self { logs: Vec::new(), next: BinaryHeap::new(), peers: BTreeMap::new() };
        for (place, log) in recording.logs.iter().enumerate() {
            let reading = Reading {
                machine: log.machine(),
                steps: Box::new(log.steps()),
                step: None,
                inward: Track::default(),
                outward: Track::default(),
            };
            timeline.logs.push(reading);
            timeline.advance(place);
            if let Some(peer) = peer_of(log) {
                timeline.peers.insert(log.machine(), peer);
            }
        }
        timeline
    }

    fn advance(&mut self, place: usize) {
        let log = &mut self.logs[place];
        log.step = log.steps.next();
        if let Some(step) = &log.step {
            self.next.push(Reverse((step.at, step.sequence, place)));
        }
    }
}

/// With whom a connection was, as far as its log says so.
fn peer_of(log: &Log) -> Option<PeerId> {
    let Birth::Connection { setup, .. } = &log.birth else { return None };
    let proven = log.steps().find_map(|step| match step.note {
        Note::Opened { outcome, .. } => match *outcome {
            Outcome::Proven(peer) => peer,
            _ => None,
        },
        _ => None,
    });
    proven.or(setup.expected)
}

impl Iterator for Timeline<'_> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        let Reverse((.., place)) = self.next.pop()?;
        let log = &mut self.logs[place];
        let Step { sequence, at, note, parts } = log.step.take()?;
        let track = match note {
            Note::Framed(_) => &mut log.outward,
            _ => &mut log.inward,
        };
        let frames = words::frames(track, parts);
        let machine = log.machine;
        let peer = self.peers.get(&machine).copied();
        self.advance(place);
        Some(Line { sequence, at, machine, peer, text: words::of(&note), frames })
    }
}
