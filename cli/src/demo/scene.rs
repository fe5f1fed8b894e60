//! What the whole demo knows: who sees whom, what was sent, and what arrived.
//!
//! The nodes' threads and tasks write into it, the steps wait for it to become as it should be.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use headwater_core::contract::Notification;
use headwater_core::id::{PeerId, ProtocolId};
use sha2::{Digest as _, Sha256};

use super::member::Runtime;
use crate::admin::Feed;
use crate::event::Event;
use crate::failure::Failure;
use crate::report::Report;
use crate::status::Status;
use crate::transfer::Digest;

/// The state of a demo, shared by all its threads.
pub(crate) struct Scene {
    report: Report,
    cast: Vec<(&'static str, Runtime)>,
    feed: Feed,
    state: Mutex<State>,
    changed: Condvar,
}

/// A task or thread that writes into the scene what a node has to say.
pub(crate) struct Collecting(Arc<Scene>);

impl std::ops::Deref for Collecting {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.0
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        self.0.with(|state| state.collecting = state.collecting.saturating_sub(1));
    }
}

/// What is known.
#[derive(Default)]
pub(crate) struct State {
    /// The nodes' ids, set before anything is sent.
    ids: HashMap<PeerId, usize>,
    /// Who is connected to whom, as the first one sees it.
    pub(crate) connected: BTreeSet<(usize, usize)>,
    /// Which protocols the first one knows of the second one.
    pub(crate) supported: BTreeSet<(usize, usize, ProtocolId)>,
    /// Messages from the first one to the second one.
    pub(crate) traffic: BTreeMap<(usize, usize, ProtocolId), Traffic>,
    /// Messages that nobody sent: from somebody else, or before the demo knew the sender.
    pub(crate) strays: u64,
    /// What the nodes saw of the late and of the withdrawn protocol.
    pub(crate) late_seen: usize,
    /// See `late_seen`.
    pub(crate) gone_seen: usize,
    /// Sends that were refused, as they should be.
    pub(crate) refused: usize,
    /// Nodes that were lost and came back.
    pub(crate) healed: Vec<Healed>,
    /// Attempts to reach a lost peer that failed.
    pub(crate) retries: usize,
    /// Bytes that the senders will have sent in the end.
    pub(crate) planned: u64,
    /// What the steps are at.
    pub(crate) step: &'static str,
    /// Tasks and threads that still wait for what a node has to say.
    collecting: usize,
    end: Option<Failure>,
}

/// A node that was lost to the others, and that they found again by themselves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Healed {
    /// Which.
    pub(crate) node: usize,
    /// What had become of it.
    pub(crate) fault: &'static str,
    /// Peers that have it back.
    pub(crate) peers: usize,
    /// From the end of the fault until all had.
    pub(crate) time: Duration,
}

impl State {
    /// Connections of a node, as its two sides see them; a whole one counts twice.
    pub(crate) fn links(&self, node: usize) -> usize {
        self.connected.iter().filter(|(one, other)| *one == node || *other == node).count()
    }
}

/// Messages of one protocol from one node to another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    /// Digests of messages that were sent, or are about to be, and did not arrive yet.
    due: HashMap<Digest, u32>,
    /// Messages to be sent.
    pub(crate) expected: u64,
    /// Messages that arrived.
    pub(crate) messages: u64,
    /// Their payload bytes.
    pub(crate) bytes: u64,
    /// Those whose checksum was due.
    pub(crate) right: u64,
    /// Those whose checksum was not.
    pub(crate) wrong: u64,
}

impl Traffic {
    /// Whether everything arrived, and nothing else.
    pub(crate) fn is_complete(&self) -> bool {
        self.right == self.expected && self.messages == self.expected && self.wrong == 0
    }
}

impl Scene {
    /// A scene before anything happened.
    pub(crate) fn new(report: Report, cast: &[(&'static str, Runtime)]) -> Self {
        let state = Mutex::new(State { step: "starting", ..State::default() });
        let feed = Feed::new();
        Self { report, cast: cast.to_vec(), feed, state, changed: Condvar::new() }
    }

    /// What the nodes tell, for the status page.
    pub(crate) fn feed(&self) -> Feed {
        self.feed.clone()
    }

    /// Who takes part.
    pub(crate) fn cast(&self) -> &[(&'static str, Runtime)] {
        &self.cast
    }

    /// A node's name.
    pub(crate) fn name(&self, node: usize) -> &'static str {
        self.cast.get(node).map_or("?", |(name, _)| name)
    }

    /// Looks at the state, or changes it.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let result = look(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// A thread that panicked leaves a state that the table shows to be incomplete.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells who has which id, and that a node listens.
    pub(crate) fn listens(&self, node: usize, id: PeerId, address: &str) {
        self.with(|state| state.ids.insert(id, node));
        let addresses = [address.to_owned()];
        let event = Event::Listening { id: id.as_str(), addresses: &addresses };
        self.report.event_of(Some(self.name(node)), event);
        tracing::info!(target: crate::logs::NODE, node = self.name(node), address, "listening");
    }

    /// A node is dead, and so is what it knew.
    pub(crate) fn died(&self, node: usize) {
        self.with(|state| {
            state.connected.retain(|(from, _)| *from != node);
            state.supported.retain(|(from, ..)| *from != node);
        });
        tracing::info!(target: crate::logs::NODE, node = self.name(node), "killed");
    }

    /// Ends every wait with a failure.
    pub(crate) fn end(&self, failure: Failure) {
        self.with(|state| state.end.get_or_insert(failure).status);
    }

    /// Counts a task or thread that collects what a node has to say, until the result is dropped.
    pub(crate) fn collecting(self: &Arc<Self>) -> Collecting {
        self.with(|state| state.collecting += 1);
        Collecting(Arc::clone(self))
    }

    /// Waits until everything that stopped nodes had to say is known, or `deadline` has passed.
    pub(crate) fn settle(&self, deadline: Duration) {
        let state = self.lock();
        // A poisoned or late state shows in the table.
        let _ = self.changed.wait_timeout_while(state, deadline, |state| state.collecting > 0);
    }

    /// A message will be sent.
    pub(crate) fn due(&self, from: usize, to: usize, protocol: &ProtocolId, payload: &[u8]) {
        let digest = Sha256::digest(payload).into();
        self.with(|state| {
            let traffic = state.traffic.entry((from, to, protocol.clone())).or_default();
            let count = traffic.due.entry(digest).or_default();
            *count = count.saturating_add(1);
        });
    }

    /// A message arrived at `node`.
    pub(crate) fn arrived(
        &self,
        node: usize,
        peer: &PeerId,
        protocol: &ProtocolId,
        payload: &[u8],
    ) {
        let bytes = payload.len() as u64;
        let event = Event::Message { peer: peer.as_str(), protocol: protocol.as_str(), bytes };
        self.report.event_of(Some(self.name(node)), event);
        let digest: Digest = Sha256::digest(payload).into();
        self.with(|state| {
            let Some(from) = state.ids.get(peer).copied() else {
                state.strays += 1;
                return;
            };
            let traffic = state.traffic.entry((from, node, protocol.clone())).or_default();
            traffic.messages += 1;
            traffic.bytes += bytes;
            match traffic.due.get_mut(&digest) {
                Some(count) if *count > 0 => {
                    *count -= 1;
                    traffic.right += 1;
                }
                _ => traffic.wrong += 1,
            }
        });
    }

    /// `node` was notified.
    pub(crate) fn noted(&self, node: usize, notification: &Notification) {
        self.feed.notification(Some(self.name(node)), notification);
        self.report.notification(Some(self.name(node)), notification);
        self.with(|state| {
            let ids = &state.ids;
            let index = |peer: &PeerId| ids.get(peer).copied();
            match notification {
                Notification::Connected { peer } => {
                    state.connected.extend(index(peer).map(|peer| (node, peer)));
                }
                Notification::Disconnected { peer, .. } => {
                    if let Some(peer) = index(peer) {
                        state.connected.remove(&(node, peer));
                        state.supported.retain(|(from, to, _)| (*from, *to) != (node, peer));
                    }
                }
                Notification::Supported { peer, protocol } => {
                    let seen = index(peer).map(|peer| (node, peer, protocol.clone()));
                    state.supported.extend(seen);
                }
                Notification::Unsupported { peer, protocol } => {
                    if let Some(peer) = index(peer) {
                        state.supported.remove(&(node, peer, protocol.clone()));
                    }
                }
                Notification::Retrying { .. } => state.retries += 1,
                _ => {}
            }
        });
    }

    /// Waits until the state is as it should be.
    ///
    /// # Errors
    ///
    /// [`Status::Off`] when `deadline` has passed, or the failure that ended the demo.
    pub(crate) fn wait(
        &self,
        step: &'static str,
        deadline: Duration,
        mut over: impl FnMut(&State) -> bool,
    ) -> Result<(), Failure> {
        let until = Instant::now() + deadline;
        let mut state = self.lock();
        state.step = step;
        loop {
            if let Some(failure) = &state.end {
                return Err(failure.clone());
            }
            if over(&state) {
                return Ok(());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let text = format!("not over after {} s: {step}", deadline.as_secs());
                return Err(Failure::new(Status::Off, text));
            }
            state =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the demo is ended from outside.
    pub(crate) fn until_ended(&self) {
        let state = self.lock();
        drop(self.changed.wait_while(state, |state| state.end.is_none()));
    }

    /// Fails if the demo was ended.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.lock().end.clone().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene() -> (Scene, PeerId, ProtocolId) {
        let scene = Scene::new(Report::new(false), &[("a", Runtime::Tokio), ("b", Runtime::Mio)]);
        let id: PeerId = "Qma".parse().unwrap();
        scene.listens(0, id, "/x");
        (scene, id, ProtocolId::new("/p").unwrap())
    }

    fn traffic(scene: &Scene, protocol: &ProtocolId) -> Traffic {
        scene.with(|state| state.traffic.get(&(0, 1, protocol.clone())).cloned().unwrap())
    }

    #[test]
    fn a_message_counts_once_and_only_with_the_checksum_of_one_that_is_due() {
        let (scene, id, protocol) = scene();
        scene.due(0, 1, &protocol, b"water");
        scene.with(|s| s.traffic.values_mut().for_each(|traffic| traffic.expected = 1));
        assert!(!traffic(&scene, &protocol).is_complete());
        scene.arrived(1, &id, &protocol, b"water");
        assert!(traffic(&scene, &protocol).is_complete());
        scene.arrived(1, &id, &protocol, b"water");
        assert_eq!(traffic(&scene, &protocol).wrong, 1);
        assert!(!traffic(&scene, &protocol).is_complete());
    }

    #[test]
    fn a_damaged_message_is_wrong() {
        let (scene, id, protocol) = scene();
        scene.due(0, 1, &protocol, b"water");
        scene.arrived(1, &id, &protocol, b"wader");
        let traffic = traffic(&scene, &protocol);
        assert_eq!((traffic.right, traffic.wrong), (0, 1));
    }

    #[test]
    fn a_message_of_a_stranger_is_a_stray() {
        let (scene, _, protocol) = scene();
        scene.arrived(1, &"Qmz".parse().unwrap(), &protocol, b"");
        assert_eq!(scene.with(|state| state.strays), 1);
    }

    #[test]
    fn a_wait_ends_by_its_condition_by_its_deadline_or_by_the_end() {
        let (scene, ..) = scene();
        assert_eq!(scene.wait("x", Duration::from_secs(9), |_| true), Ok(()));
        let late = scene.wait("x", Duration::ZERO, |_| false).unwrap_err();
        assert_eq!(late.status, Status::Off);
        scene.end(Failure::new(Status::SigInt, "interrupted"));
        let ended = scene.wait("x", Duration::from_secs(9), |_| false).unwrap_err();
        assert_eq!(ended.status, Status::SigInt);
    }
}
