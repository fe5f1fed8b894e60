//! `headwater replay`: what a flight recorder wrote, as a timeline, and run again.

pub(crate) mod record;

use std::path::PathBuf;
use std::time::Duration;

use headwater_core::id::PeerId;
use headwater_core::time::Instant;
use headwater_recorder::{Line, Log, Machine, ReadError, Recording, ReplayError, Timeline, replay};
use serde::Serialize;

use crate::event::Event;
use crate::failure::{Failure, foreign};
use crate::report::Report;
use crate::status::Status;

/// Show what was recorded of a node, and run it again.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// What `node --record` wrote.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Show only what has to do with this peer: its id, or at least four characters from either
    /// end of it.
    #[arg(long, value_name = "PEER", value_parser = part_of_id)]
    peer: Option<String>,
    /// Begin so many seconds after the node did.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    from: Option<Duration>,
    /// End so many seconds after the node began.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    to: Option<Duration>,
}

/// What stands above the steps.
const HEADS: &str =
    "     SECONDS  MACHINE   WHAT IT WAS TOLD, ASKED FOR OR SAID; THE FRAMES IN IT BELOW";

/// One step.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StepEvent {
    sequence: u64,
    seconds: f64,
    machine: String,
    peer: Option<String>,
    text: String,
    frames: Vec<String>,
}

/// The log of one machine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LogEvent {
    machine: String,
    steps: usize,
    lost: u64,
    closed: bool,
    repeated: bool,
    reason: Option<String>,
}

/// Runs the command.
///
/// # Errors
///
/// [`Status::Input`] for a file that cannot be read as a recording, or only up to where it is cut
/// off or damaged (what is whole is shown), or a machine's notes in it that make no sense, [`Status::Off`] if a machine does not do again what was recorded,
/// [`Status::NoPeer`] if the peer that is asked for is not in it.
pub(crate) fn run(report: Report, args: &Args) -> Result<(), Failure> {
    let unread =
        |error: ReadError| Failure::new(Status::Input, format!("{}: {error}", args.file.display()));
    let bytes = std::fs::read(&args.file).map_err(|error| unread(error.into()))?;
    let (recording, cut) = Recording::salvage(bytes).map_err(unread)?;
    if let (Some(from), Some(to)) = (args.from, args.to) {
        if from > to {
            return Err(Failure::new(Status::Usage, "--from is later than --to"));
        }
    }
    report.line(HEADS);
    let mut is_there = args.peer.is_none();
    let begun = recording.logs.first().map_or(Instant::ZERO, |log| log.begun);
    for line in Timeline::new(&recording) {
        let since = line.at.since(begun);
        if args.peer.as_ref().is_some_and(|part| !has_to_do_with(&line, part)) {
            continue;
        }
        is_there = true;
        if args.to.is_some_and(|to| since > to) || args.from.is_some_and(|from| since < from) {
            continue;
        }
        show(report, since, line);
    }
    if !is_there && cut.is_none() {
        let part = args.peer.as_deref().unwrap_or_default();
        let text = format!("{part}: nothing in the recording has to do with such a peer");
        return Err(Failure::new(Status::NoPeer, text));
    }
    let (mut differing, mut senseless) = (0, 0);
    for log in &recording.logs {
        let ended = replay::run(log);
        senseless += usize::from(matches!(ended, Err(ReplayError::Malformed { .. })));
        differing += usize::from(matches!(ended, Err(ReplayError::Diverged { .. })));
        show_log(report, log, ended);
    }
    if let Some(error) = cut {
        let what =
            if is_there { "what was whole was shown" } else { "that peer is not in what is whole" };
        return Err(Failure::new(Status::Input, format!("{}; {what}", unread(error).message)));
    }
    match differing {
        0 if senseless > 0 => {
            let text = format!("what {senseless} machines noted makes no sense");
            Err(Failure::new(Status::Input, text))
        }
        0 => Ok(()),
        1 => Err(Failure::new(Status::Off, "a machine does not do again what was recorded")),
        more => {
            let text = format!("{more} machines do not do again what was recorded");
            Err(Failure::new(Status::Off, text))
        }
    }
}

fn has_to_do_with(line: &Line, part: &str) -> bool {
    let is_of = |id: &str| id.starts_with(part) || id.ends_with(part);
    line.peer.is_some_and(|peer| is_of(peer.as_str()))
        || line
            .text
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| is_of(word) && word.parse::<PeerId>().is_ok_and(|_| word.len() >= ID_LEN))
}

/// The shortest id of a key, in characters.
const ID_LEN: usize = 46;

fn show(report: Report, since: Duration, line: Line) {
    let machine = name(line.machine);
    if report.is_json() {
        let Line { sequence, peer, text, frames, .. } = line;
        let peer = peer.map(|peer| peer.to_string());
        let seconds = since.as_secs_f64();
        let step = StepEvent { sequence, seconds, machine, peer, text, frames };
        return report.event(Event::Step(&step));
    }
    let seconds = since.as_secs_f64();
    report.line(&format!("{seconds:>12.6}  {machine:<8}  {}", printable(&line.text)));
    for frame in &line.frames {
        report.line(&format!("{:>12}  {:<8}    {}", "", "", printable(frame)));
    }
}

/// What peers said is in the text, too.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn show_log(report: Report, log: &Log, ended: Result<replay::Replayed, ReplayError>) {
    let machine = name(log.machine());
    let (steps, lost, closed) = (log.len(), log.lost, log.closed);
    let reason = ended.as_ref().err().map(ToString::to_string);
    report.line(&match &reason {
        None => format!("{machine}: {steps} steps, run again: the same"),
        Some(reason) => format!("{machine}: {steps} steps, not run again: {}", foreign(reason)),
    });
    let repeated = ended.is_ok();
    let log = LogEvent { machine, steps, lost, closed, repeated, reason };
    report.event(Event::Log(&log));
}

fn name(machine: Machine) -> String {
    match machine {
        Machine::Node => "node".to_owned(),
        Machine::Connection(id) => id.to_string(),
    }
}

fn part_of_id(text: &str) -> Result<String, String> {
    let good = text.len() >= 4 && text.chars().all(|c| c.is_ascii_alphanumeric());
    good.then(|| text.to_owned())
        .ok_or_else(|| "a peer's id is expected, or four characters of it or more".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    seconds.ok_or_else(|| "a number of seconds is expected".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_peers_have_their_form() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        assert!(seconds("-1").is_err() && seconds("nan").is_err() && seconds("soon").is_err());
        assert!(part_of_id("Qmab").is_ok());
        assert!(part_of_id("Qma").is_err() && part_of_id("Qm/b").is_err());
    }

    #[test]
    fn a_line_has_to_do_with_a_peer_by_its_link_or_its_words() {
        let id = "QmaZbkcHNW7V3r63aFGXr8o6UVVvQWLEHpMoseFo6UUJwR";
        let line = |peer: Option<&str>, text: &str| Line {
            sequence: 0,
            at: Instant::ZERO,
            machine: Machine::Node,
            peer: peer.map(|peer| peer.parse().unwrap()),
            text: text.to_owned(),
            frames: Vec::new(),
        };
        assert!(has_to_do_with(&line(Some(id), ""), "QmaZ"));
        assert!(has_to_do_with(&line(None, &format!("Connected {{ peer: {id} }}")), "UJwR"));
        assert!(!has_to_do_with(&line(None, "notification Stopped"), "Stop"));
    }
}
