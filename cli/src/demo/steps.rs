//! The steps of the demo, one after the other, each with its deadline.

use std::thread;
use std::time::Duration;

use headwater_core::id::ProtocolId;

use super::heal;
use super::member::Member;
use super::plan::{self, BLOB, GONE, GONE_NODE, HEALED, LATE, LATE_NODE};
use super::scene::{Scene, State};
use super::stage::Stage;
use crate::failure::Failure;
use crate::status::Status;

/// For steps in which only small messages travel.
pub(super) const SHORT: Duration = Duration::from_secs(60);
/// For steps in which all the bytes travel; generous, for slow machines.
pub(super) const LONG: Duration = Duration::from_secs(300);

pub(super) type Members = [Box<dyn Member>];

/// Plays the whole demo.
///
/// # Errors
///
/// The first step that failed.
pub(crate) fn play(stage: &mut Stage) -> Result<(), Failure> {
    connect(stage)?;
    blobs(&stage.scene, &stage.members)?;
    late(&stage.scene, &stage.members)?;
    gone(&stage.scene, &stage.members)?;
    heal::killed(stage)?;
    heal::cut_off(stage)
}

/// All pairs of different nodes.
pub(super) fn pairs(members: &Members) -> impl Iterator<Item = (usize, usize)> {
    let count = members.len();
    (0..count).flat_map(move |from| (0..count).map(move |to| (from, to))).filter(|(a, b)| a != b)
}

fn node(members: &Members, index: usize) -> Result<&dyn Member, Failure> {
    members.get(index).map(|member| &**member).ok_or_else(|| Failure::internal("no such node"))
}

/// Each node listens; of each pair one keeps the connection, on either runtime; all learn each
/// other's protocols.
fn connect(stage: &mut Stage) -> Result<(), Failure> {
    let Stage { scene, members, .. } = stage;
    scene.with(|state| state.step = "connecting each to each");
    for index in 0..members.len() {
        stage.enter(index)?;
    }
    for index in 0..stage.members.len() {
        stage.require(index)?;
    }
    let Stage { scene, members, .. } = stage;
    let (all, gone) = (pairs(members).count(), plan::protocol(GONE));
    scene.wait("exchanging protocols", SHORT, |state| {
        let know = state.supported.iter().filter(|(_, _, known)| *known == gone).count();
        is_whole(state, all) && know == members.len() - 1
    })
}

/// Whether everybody is connected with everybody and knows what everybody supports.
pub(super) fn is_whole(state: &State, pairs: usize) -> bool {
    let know = |name: &str| {
        state.supported.iter().filter(|(_, _, known)| known.as_str() == name).count() == pairs
    };
    state.connected.len() == pairs && know(BLOB) && know(HEALED)
}

/// Whether the first node of a pair dials the second: of each pair exactly one does, and each
/// runtime dials the other.
pub(super) const fn dials(one: usize, other: usize) -> bool {
    if (one + other) % 2 == 0 { one < other } else { one > other }
}

fn joined(result: thread::Result<Result<(), Failure>>) -> Result<(), Failure> {
    result.unwrap_or_else(|_| Err(Failure::internal("a thread panicked")))
}

/// Every node sends the whole plan to every other, all at the same time.
fn blobs(scene: &Scene, members: &Members) -> Result<(), Failure> {
    let blob = plan::protocol(BLOB);
    let all: Vec<_> = pairs(members).collect();
    exchange(scene, members, "sending messages of 0 B to 8 MiB", &blob, &all, LONG)
}

/// One node registers a protocol late: before, nobody can send it; after, everybody can.
fn late(scene: &Scene, members: &Members) -> Result<(), Failure> {
    let late = plan::protocol(LATE);
    let to: Vec<_> = pairs(members).filter(|(_, to)| *to == LATE_NODE).collect();
    refused(scene, members, &late, &to)?;
    node(members, LATE_NODE)?.register(&late)?;
    scene.wait("learning of a late protocol", SHORT, |state| {
        to.iter().all(|(from, to)| state.supported.contains(&(*from, *to, late.clone())))
    })?;
    scene.with(|state| state.late_seen = to.len());
    exchange(scene, members, "sending messages of the late protocol", &late, &to, LONG)
}

/// One node unregisters a protocol: before, everybody can send it; after, nobody can.
fn gone(scene: &Scene, members: &Members) -> Result<(), Failure> {
    let gone = plan::protocol(GONE);
    let to: Vec<_> = pairs(members).filter(|(_, to)| *to == GONE_NODE).collect();
    exchange(scene, members, "sending messages of a protocol to be withdrawn", &gone, &to, LONG)?;
    node(members, GONE_NODE)?.unregister(&gone)?;
    scene.wait("learning of a withdrawn protocol", SHORT, |state| {
        to.iter().all(|(from, to)| !state.supported.contains(&(*from, *to, gone.clone())))
    })?;
    scene.with(|state| state.gone_seen = to.len());
    refused(scene, members, &gone, &to)
}

/// Checks that no node sends what the other does not support.
fn refused(
    scene: &Scene,
    members: &Members,
    protocol: &ProtocolId,
    pairs: &[(usize, usize)],
) -> Result<(), Failure> {
    for (from, to) in pairs {
        if !node(members, *from)?.refuses(&node(members, *to)?.id(), protocol) {
            let (from, to) = (scene.name(*from), scene.name(*to));
            let text = format!("{from} does not refuse to send {protocol} to {to}");
            return Err(Failure::new(Status::Off, text));
        }
        scene.with(|state| state.refused += 1);
    }
    Ok(())
}

/// Sends the plan of a protocol over the given pairs, one thread a sender, and waits until
/// everything has arrived.
pub(super) fn exchange(
    scene: &Scene,
    members: &Members,
    step: &'static str,
    protocol: &ProtocolId,
    pairs: &[(usize, usize)],
    deadline: Duration,
) -> Result<(), Failure> {
    let sizes = plan::sizes(protocol);
    scene.with(|state| {
        state.step = step;
        for (from, to) in pairs {
            let traffic = state.traffic.entry((*from, *to, protocol.clone())).or_default();
            traffic.expected += sizes.len() as u64;
            state.planned += sizes.iter().sum::<usize>() as u64;
        }
    });
    let send = |from: usize| -> Result<(), Failure> {
        let member = node(members, from)?;
        for size in &sizes {
            for (_, to) in pairs.iter().filter(|(sender, _)| *sender == from) {
                scene.check()?;
                let payload = plan::payload(from, *to, protocol, *size);
                scene.due(from, *to, protocol, &payload);
                member.send(&node(members, *to)?.id(), protocol, payload)?;
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let send = &send;
        let senders: Vec<_> =
            (0..members.len()).map(|from| scope.spawn(move || send(from))).collect();
        senders.into_iter().try_for_each(|sender| joined(sender.join()))
    })?;
    scene.wait(step, deadline, |state| {
        pairs.iter().all(|(from, to)| {
            let traffic = state.traffic.get(&(*from, *to, protocol.clone()));
            traffic.is_some_and(|traffic| traffic.messages >= traffic.expected)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::CAST;
    use super::*;

    #[test]
    fn of_each_pair_one_dials_and_each_runtime_dials_each_other() {
        let mut kinds = std::collections::BTreeSet::new();
        for (one, (_, from)) in CAST.iter().enumerate() {
            assert!(!dials(one, one));
            for (other, (_, to)) in CAST.iter().enumerate().filter(|(other, _)| *other != one) {
                assert_ne!(dials(one, other), dials(other, one));
                if dials(one, other) {
                    kinds.insert((from, to));
                }
            }
        }
        assert_eq!(kinds.len(), 9);
    }
}
