//! The steps in which the network heals: a node is killed and comes back, another is cut off for
//! a while. Nobody tells the others; they notice, and connect again by themselves. Then messages
//! go from each to each.

use std::time::Instant;

use super::plan::{self, CUT_NODE, HEALED, KILLED_NODE};
use super::scene::Healed;
use super::stage::Stage;
use super::steps::{LONG, SHORT, exchange, is_whole, pairs};
use crate::failure::Failure;

/// Attempts that fail before the wire of the cut-off node is mended.
const RETRIES: usize = 4;

/// A node is killed, and starts again with its key, on its port, and without memory.
///
/// # Errors
///
/// The others do not notice in time, or do not find it again, or messages are lost after that.
pub(crate) fn killed(stage: &mut Stage) -> Result<(), Failure> {
    stage.scene.with(|state| state.step = "killing a node");
    stage.watch.leave(stage.scene.name(KILLED_NODE));
    stage.members.remove(KILLED_NODE).kill()?;
    stage.scene.died(KILLED_NODE);
    stage
        .scene
        .wait("noticing that a node is dead", SHORT, |state| state.links(KILLED_NODE) == 0)?;
    let since = Instant::now();
    let member = stage.member(KILLED_NODE)?;
    stage.members.insert(KILLED_NODE, member);
    stage.enter(KILLED_NODE)?;
    stage.require(KILLED_NODE)?;
    healed(stage, KILLED_NODE, "killed and restarted", since)
}

/// A node is cut off from all others until some attempts to reach it have failed.
///
/// # Errors
///
/// The two sides do not notice in time, or do not find each other again, or messages are lost
/// after that.
pub(crate) fn cut_off(stage: &Stage) -> Result<(), Failure> {
    stage.scene.with(|state| {
        state.step = "cutting a node off";
        state.retries = 0;
    });
    stage.wire.cut();
    stage.scene.wait("noticing that a node is cut off", SHORT, |state| {
        state.links(CUT_NODE) == 0 && state.retries >= RETRIES
    })?;
    let since = Instant::now();
    stage.wire.mend();
    healed(stage, CUT_NODE, "cut off for a while", since)
}

/// Waits until the network is whole again, and then for messages from each to each.
fn healed(stage: &Stage, node: usize, fault: &'static str, since: Instant) -> Result<(), Failure> {
    let Stage { scene, members, .. } = stage;
    let all: Vec<_> = pairs(members).collect();
    scene.wait("finding each other again", SHORT, |state| is_whole(state, all.len()))?;
    let time = since.elapsed();
    scene.with(|state| {
        let peers = state.connected.iter().filter(|(_, to)| *to == node).count();
        state.healed.push(Healed { node, fault, peers, time });
    });
    let protocol = plan::protocol(HEALED);
    exchange(scene, members, "sending messages through the healed network", &protocol, &all, LONG)
}
