//! Body of the fuzz target of this room; a unit test runs it on pseudo-random inputs.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "it is a test"
)]

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use super::{
    Action, AttemptId, BackoffConfig, ConnectionSupervisor, RequiredPhase, SupervisorConfig,
};
use crate::address::Address;
use crate::contract::{IoCause, RequiredId};
use crate::error::{CloseReason, DialError};
use crate::id::PeerId;
use crate::seed::Seed;
use crate::time::Instant;

/// How it stands with a required peer, in the reference model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    /// It is to be dialled, or being dialled; so many addresses of the round have failed.
    Wanted(usize),
    Waits(Instant),
    Connected(Instant),
    Paused,
    GaveUp,
}

#[derive(Clone, Debug)]
struct Required {
    addresses: Vec<Address>,
    peer: Option<PeerId>,
    paused: bool,
    stands: Stands,
    failures: u32,
    preferred: usize,
}

struct Model {
    config: SupervisorConfig,
    now: Instant,
    required: BTreeMap<RequiredId, Required>,
    /// Dials under way, what for, and whether the supervisor still waits for them.
    dials: BTreeMap<AttemptId, (RequiredId, Address)>,
    connected: BTreeSet<PeerId>,
}

impl Model {
    fn failed(&mut self, required: RequiredId) {
        let known = self.required.get_mut(&required).unwrap();
        known.failures += 1;
        let spent = self.config.backoff.attempts_max.is_some_and(|max| known.failures >= max);
        // 1 2 3 5 8 13, by its definition.
        let (mut wait, mut next) = (1_u64, 2_u64);
        for _ in 1..known.failures {
            (wait, next) = (next, (wait + next).min(60));
        }
        let until = self.now.after(Duration::from_secs(wait.min(60)));
        known.stands = if spent { Stands::GaveUp } else { Stands::Waits(until) };
    }

    fn begin_again(&mut self, required: RequiredId) {
        let known = self.required.get_mut(&required).unwrap();
        known.failures = 0;
        known.stands = if known.paused { Stands::Paused } else { Stands::Wanted(0) };
    }

    fn of(&self, peer: PeerId) -> Vec<RequiredId> {
        let all = self.required.iter().filter(|(_, known)| known.peer == Some(peer));
        all.map(|(required, _)| *required).collect()
    }

    fn connects(&mut self, required: RequiredId) {
        let known = self.required.get_mut(&required).unwrap();
        if !matches!(known.stands, Stands::Connected(_)) {
            known.stands = Stands::Connected(self.now);
        }
    }

    /// Time has passed: waits are over.
    fn pass(&mut self) {
        for known in self.required.values_mut() {
            if matches!(known.stands, Stands::Waits(until) if until <= self.now) {
                known.stands = Stands::Wanted(0);
            }
        }
    }
}

struct Run {
    model: Model,
    supervisor: ConnectionSupervisor,
}

fn peer(number: u8) -> PeerId {
    let mut text = *b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";
    text[2] = b"1234"[usize::from(number % 4)];
    PeerId::from_bytes(&text).unwrap()
}

fn addresses(number: u8) -> Vec<Address> {
    let place = |n: u8| Address::from(core::net::SocketAddr::from(([10, 0, 0, n], 1)));
    let all = (0..=number % 3).map(|n| place(number / 3 % 8 + n));
    match number % 5 {
        4 => all.collect(),
        who => all.map(|address| address.with_peer(peer(who))).collect(),
    }
}

/// Reads `data` as what an application, dials and peers do, and compares the supervisor with a
/// model after each of it.
///
/// # Panics
///
/// If they differ, or an invariant does not hold.
pub fn supervisor(data: &[u8]) {
    let Some((&[setup], calls)) = data.split_first_chunk::<1>() else { return };
    let backoff = BackoffConfig {
        jitter: 0,
        attempts_max: (setup & 1 != 0).then_some(3),
        ..BackoffConfig::default()
    };
    let config = SupervisorConfig {
        backoff,
        dials_max: usize::from(setup >> 1 & 3) + 1,
        required_max: 6,
        ..SupervisorConfig::default()
    };
    let supervisor = ConnectionSupervisor::new(config, Seed::from_u64(u64::from(setup)));
    let model = Model {
        config,
        now: Instant::ZERO,
        required: BTreeMap::new(),
        dials: BTreeMap::new(),
        connected: BTreeSet::new(),
    };
    let mut run = Run { model, supervisor };
    for call in calls.chunks_exact(2) {
        run.call(call[0], call[1]);
        run.drain();
        run.compare();
    }
}

impl Run {
    fn call(&mut self, what: u8, number: u8) {
        match what % 16 {
            0 | 1 => self.require(number),
            2 => self.change(number, what),
            3 => self.release(number),
            4 => self.pause(peer(number)),
            5 => self.resume(peer(number)),
            6 | 7 => self.connect(peer(number)),
            8 | 9 => self.disconnect(peer(number)),
            10..=12 => self.dial_fails(number),
            13 => self.dial_succeeds(number),
            14 => self.wait(Duration::from_millis(u64::from(number) * 50)),
            _ => {
                let next = self.supervisor.next_timeout();
                self.wait(next.map_or(Duration::ZERO, |at| at.since(self.model.now)));
            }
        }
    }

    fn nth(&self, number: u8) -> Option<RequiredId> {
        let place = usize::from(number).checked_rem(self.model.required.len())?;
        self.model.required.keys().nth(place).copied()
    }

    /// As the owner does: says if the peer is connected already.
    fn look_at(&mut self, required: RequiredId) {
        let peer = self.model.required[&required].peer;
        if let Some(peer) = peer.filter(|peer| self.model.connected.contains(peer)) {
            self.supervisor.connected(self.model.now, &peer);
            self.model.connects(required);
        }
    }

    fn require(&mut self, number: u8) {
        let addresses = addresses(number);
        let required = self.supervisor.require(self.model.now, addresses.clone());
        assert_eq!(required.is_ok(), self.model.required.len() < 6);
        let Ok(required) = required else { return };
        let peer = addresses[0].peer;
        let stands = Stands::Wanted(0);
        let new = Required { addresses, peer, paused: false, stands, failures: 0, preferred: 0 };
        assert!(self.model.required.insert(required, new).is_none());
        self.look_at(required);
    }

    fn change(&mut self, number: u8, what: u8) {
        let Some(required) = self.nth(what >> 4) else { return };
        let addresses = addresses(number);
        let now = self.model.now;
        self.supervisor.set_addresses(now, required, addresses.clone()).unwrap();
        let known = self.model.required.get_mut(&required).unwrap();
        let worked = known.addresses[known.preferred].clone();
        known.preferred = addresses.iter().position(|address| *address == worked).unwrap_or(0);
        let named = addresses[0].peer.filter(|peer| known.peer != Some(*peer));
        known.addresses = addresses;
        if named.is_some() {
            known.peer = named;
        } else if matches!(known.stands, Stands::Connected(_)) {
            return;
        }
        self.model.begin_again(required);
        self.look_at(required);
    }

    fn release(&mut self, number: u8) {
        let Some(required) = self.nth(number) else { return };
        self.supervisor.release(required).unwrap();
        self.model.required.remove(&required);
    }

    fn pause(&mut self, peer: PeerId) {
        let all = self.model.of(peer);
        assert_eq!(self.supervisor.pause(&peer), !all.is_empty());
        for required in all {
            let known = self.model.required.get_mut(&required).unwrap();
            known.paused = true;
            if !matches!(known.stands, Stands::Connected(_)) {
                known.stands = Stands::Paused;
            }
        }
    }

    fn resume(&mut self, peer: PeerId) {
        let all = self.model.of(peer);
        // What is being dialled goes on; a place in the queue is taken anew.
        let dialing: Vec<bool> = all
            .iter()
            .map(|r| self.supervisor.state(*r).unwrap().phase == RequiredPhase::Dialing)
            .collect();
        assert_eq!(self.supervisor.resume(self.model.now, &peer), !all.is_empty());
        for (required, dialing) in all.into_iter().zip(dialing) {
            let known = self.model.required.get_mut(&required).unwrap();
            known.paused = false;
            if !dialing && !matches!(known.stands, Stands::Connected(_)) {
                self.model.begin_again(required);
            }
        }
    }

    fn connect(&mut self, peer: PeerId) {
        self.model.connected.insert(peer);
        self.supervisor.connected(self.model.now, &peer);
        for required in self.model.of(peer) {
            self.model.connects(required);
        }
    }

    fn disconnect(&mut self, peer: PeerId) {
        if !self.model.connected.remove(&peer) {
            return;
        }
        self.supervisor.disconnected(self.model.now, &peer, &CloseReason::RemoteClosed);
        for required in self.model.of(peer) {
            let stable = self.model.config.stable_after;
            let known = self.model.required.get_mut(&required).unwrap();
            let Stands::Connected(since) = known.stands else { panic!("{known:?}") };
            if known.paused {
                known.stands = Stands::Paused;
            } else if self.model.now.since(since) < stable {
                self.model.failed(required);
            } else {
                self.model.begin_again(required);
            }
        }
    }

    /// Takes a dial under way; and its peer, if the supervisor waits for it.
    fn take_dial(&mut self, number: u8) -> Option<(AttemptId, RequiredId, Address, bool)> {
        let place = usize::from(number).checked_rem(self.model.dials.len())?;
        let attempt = *self.model.dials.keys().nth(place)?;
        let (required, address) = self.model.dials.remove(&attempt).unwrap();
        let state = self.supervisor.state(required);
        let dialing = state.is_some_and(|state| state.phase == RequiredPhase::Dialing);
        // Nothing else of this peer is under way, except what nobody waits for.
        let later =
            self.model.dials.iter().any(|(other, dial)| *other > attempt && dial.0 == required);
        Some((attempt, required, address, dialing && !later))
    }

    fn dial_fails(&mut self, number: u8) {
        let Some((attempt, required, _, waits)) = self.take_dial(number) else { return };
        let error = DialError::Link(IoCause::Refused);
        self.supervisor.dial_failed(self.model.now, attempt, error);
        if !waits {
            return;
        }
        let known = self.model.required.get_mut(&required).unwrap();
        let Stands::Wanted(tried) = known.stands else { panic!("{known:?}") };
        known.stands = Stands::Wanted(tried + 1);
        if tried + 1 == known.addresses.len() {
            self.model.failed(required);
        }
    }

    fn dial_succeeds(&mut self, number: u8) {
        let Some((attempt, required, address, waits)) = self.take_dial(number) else { return };
        let who = address.peer.unwrap_or_else(|| peer(number >> 6));
        let learned = self.supervisor.proven(attempt, who);
        self.supervisor.dialed(self.model.now, attempt, who);
        self.model.connected.insert(who);
        self.supervisor.connected(self.model.now, &who);
        assert!(!learned || waits && address.peer.is_none());
        if waits {
            let known = self.model.required.get_mut(&required).unwrap();
            known.peer = Some(who);
            let place = address.without_peer();
            let worked = known.addresses.iter().position(|other| other.without_peer() == place);
            known.preferred = worked.unwrap();
        }
        for required in self.model.of(who) {
            self.model.connects(required);
        }
    }

    fn wait(&mut self, time: Duration) {
        self.model.now = self.model.now.after(time);
        let connected = &self.model.connected;
        self.supervisor.handle_timeout(self.model.now, |peer| connected.contains(peer));
        assert!(self.supervisor.next_timeout().is_none_or(|at| at > self.model.now));
        self.model.pass();
    }

    fn drain(&mut self) {
        while let Some(action) = self.supervisor.poll_action() {
            match action {
                Action::Cancel { attempt, connected } => {
                    if !connected {
                        assert!(self.model.dials.remove(&attempt).is_some());
                    }
                }
                Action::Dial { attempt, required, address } => {
                    self.on_dial(attempt, required, address);
                }
            }
        }
        while let Some(told) = self.supervisor.poll_news() {
            let known = &self.model.required[&told.required];
            assert_eq!((told.failures, told.peer), (known.failures, known.peer));
            assert_eq!(told.wait.is_none(), known.stands == Stands::GaveUp);
        }
        self.supervisor.assert_invariants();
    }

    /// It is somebody who is wanted, and the right address.
    fn on_dial(&mut self, attempt: AttemptId, required: RequiredId, address: Address) {
        let known = &self.model.required[&required];
        let Stands::Wanted(tried) = known.stands else { panic!("{known:?}") };
        let mut order: Vec<&Address> = known.addresses.iter().collect();
        let first = order.remove(known.preferred);
        order.insert(0, first);
        assert_eq!(order[tried].without_peer(), address.without_peer());
        assert_eq!(known.peer, address.peer);
        assert!(self.model.dials.insert(attempt, (required, address)).is_none());
        assert!(self.model.dials.len() <= self.model.config.dials_max);
    }

    fn compare(&self) {
        let free = self.model.dials.len() < self.model.config.dials_max;
        for (required, known) in &self.model.required {
            let state = self.supervisor.state(*required).unwrap();
            let same = match (known.stands, state.phase) {
                (Stands::Wanted(_), RequiredPhase::Due) => !free,
                (Stands::Wanted(_), RequiredPhase::Dialing)
                | (Stands::Paused, RequiredPhase::Paused)
                | (Stands::GaveUp, RequiredPhase::GaveUp) => true,
                (Stands::Waits(model), RequiredPhase::Waiting { until }) => model == until,
                (Stands::Connected(model), RequiredPhase::Connected { since }) => model == since,
                _ => false,
            };
            assert!(same, "{known:?} {state:?}");
            assert_eq!((state.peer, state.failures), (known.peer, known.failures));
            let peer = known.peer;
            assert!(peer.is_none_or(|peer| self.supervisor.requires(&peer)));
        }
        assert_eq!(self.supervisor.required().count(), self.model.required.len());
        for number in 0..4 {
            let wanted = !self.model.of(peer(number)).is_empty();
            assert_eq!(self.supervisor.requires(&peer(number)), wanted);
        }
    }
}
