//! The supervisor itself.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::entry::{Entry, Phase, RequiredState, named};
use super::{Action, AttemptId, Backoff, Setback, SupervisorConfig};
use crate::address::Address;
use crate::contract::RequiredId;
use crate::error::{ApplicationError, CloseReason, DialError, Refusal, RetryCause};
use crate::id::PeerId;
use crate::seed::Seed;
use crate::time::{Clamp, Instant};

/// Keeps a set of peers connected (spec 8).
///
/// ```
/// use headwater_core::address::Address;
/// use headwater_core::contract::IoCause;
/// use headwater_core::error::DialError;
/// use headwater_core::seed::Seed;
/// use headwater_core::supervisor::{Action, ConnectionSupervisor, SupervisorConfig};
/// use headwater_core::time::Instant;
///
/// let now = Instant::ZERO;
/// let mut supervisor = ConnectionSupervisor::new(SupervisorConfig::default(), Seed::from_u64(1));
/// let seed: Address = "/ip4/10.0.0.1/tcp/11301".parse()?;
/// supervisor.require(now, vec![seed.clone()])?;
/// let Some(Action::Dial { attempt, address, .. }) = supervisor.poll_action() else { panic!() };
/// assert_eq!(address, seed);
/// supervisor.dial_failed(now, attempt, DialError::Link(IoCause::Refused));
/// let setback = supervisor.poll_news().unwrap();
/// assert_eq!(supervisor.next_timeout(), Some(now.after(setback.wait.unwrap())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ConnectionSupervisor {
    config: SupervisorConfig,
    seed: Seed,
    clock: Clamp,
    entries: BTreeMap<RequiredId, Entry>,
    by_peer: BTreeSet<(PeerId, RequiredId)>,
    due: BTreeSet<(u64, RequiredId)>,
    waiting: BTreeSet<(Instant, RequiredId)>,
    /// Dials under way, also those that nobody waits for any more.
    attempts: BTreeMap<AttemptId, RequiredId>,
    cancels: VecDeque<Action>,
    /// Those with news, in the order of their latest.
    news: VecDeque<RequiredId>,
    check_at: Option<Instant>,
    required_made: u64,
    attempts_made: u64,
    orders_made: u64,
}

impl ConnectionSupervisor {
    /// A supervisor that requires nobody.
    #[must_use]
    pub fn new(config: SupervisorConfig, seed: Seed) -> Self {
        Self {
            config,
            seed,
            clock: Clamp::default(),
            entries: BTreeMap::new(),
            by_peer: BTreeSet::new(),
            due: BTreeSet::new(),
            waiting: BTreeSet::new(),
            attempts: BTreeMap::new(),
            cancels: VecDeque::new(),
            news: VecDeque::new(),
            check_at: None,
            required_made: 0,
            attempts_made: 0,
            orders_made: 1,
        }
    }

    /// Requires a peer, which is due at once. If it is connected already, say so with
    /// [`connected`](Self::connected) before the next [`poll_action`](Self::poll_action).
    ///
    /// # Errors
    ///
    /// [`ApplicationError::NoAddress`], [`ApplicationError::TooManyAddresses`],
    /// [`ApplicationError::BadAddress`], [`ApplicationError::DifferentPeers`],
    /// [`ApplicationError::TooManyRequired`]; nothing changed.
    pub fn require(
        &mut self,
        now: Instant,
        addresses: Vec<Address>,
    ) -> Result<RequiredId, ApplicationError> {
        let now = self.clock.advance(now);
        let peer = named(&addresses)?;
        if self.entries.len() >= self.config.required_max {
            return Err(ApplicationError::TooManyRequired);
        }
        let required = RequiredId(self.required_made);
        self.required_made = self.required_made.wrapping_add(1);
        let backoff = Backoff::new(self.config.backoff, self.seed.rng("backoff", required.0));
        self.entries.insert(required, Entry::new(addresses, peer, backoff));
        self.by_peer.extend(peer.map(|peer| (peer, required)));
        self.make_due(now, required, 0);
        Ok(required)
    }

    /// Gives a required peer other addresses, at once: a dial to one that it has no longer is
    /// given up, and the series begins again. An id that was learned stays, unless the new
    /// addresses name one. As with `require`, say if the peer is connected.
    ///
    /// # Errors
    ///
    /// Those of [`require`](Self::require), [`ApplicationError::NotRequired`]; nothing changed.
    pub fn set_addresses(
        &mut self,
        now: Instant,
        required: RequiredId,
        addresses: Vec<Address>,
    ) -> Result<(), ApplicationError> {
        let now = self.clock.advance(now);
        let peer = named(&addresses)?;
        let entry = self.entries.get_mut(&required).ok_or(ApplicationError::NotRequired)?;
        let worked = entry.addresses.get(entry.preferred).cloned();
        let place = addresses.iter().position(|address| worked.as_ref() == Some(address));
        entry.addresses = addresses;
        entry.preferred = place.unwrap_or(0);
        entry.dialed = entry.preferred;
        let changed = peer.filter(|peer| entry.peer != Some(*peer));
        if let Some(peer) = changed {
            if let Some(old) = entry.peer.replace(peer) {
                self.by_peer.remove(&(old, required));
            }
            self.by_peer.insert((peer, required));
        } else if matches!(entry.phase, Phase::Connected { .. }) {
            return Ok(());
        }
        self.begin_again(now, required);
        Ok(())
    }

    /// Requires a peer no longer, at once: its dial is given up, a connection is left alone.
    ///
    /// # Errors
    ///
    /// [`ApplicationError::NotRequired`]; nothing changed.
    pub fn release(&mut self, required: RequiredId) -> Result<(), ApplicationError> {
        if !self.entries.contains_key(&required) {
            return Err(ApplicationError::NotRequired);
        }
        self.leave(required, false);
        self.forget_news(required);
        if let Some(peer) = self.entries.remove(&required).and_then(|entry| entry.peer) {
            self.by_peer.remove(&(peer, required));
        }
        if self.entries.is_empty() {
            self.check_at = None;
        }
        Ok(())
    }

    /// The application disconnects a peer: it is not dialled until [`resume`](Self::resume).
    /// Whether it is required.
    pub fn pause(&mut self, peer: &PeerId) -> bool {
        let all = self.of(peer);
        for required in &all {
            let Some(entry) = self.entries.get_mut(required) else { continue };
            entry.paused = true;
            if !matches!(entry.phase, Phase::Connected { .. }) {
                self.leave(*required, false);
            }
            self.forget_news(*required);
        }
        !all.is_empty()
    }

    /// The application wants a peer again: if it is not connected it is due at once, and its
    /// series begins again. Whether it is required.
    pub fn resume(&mut self, now: Instant, peer: &PeerId) -> bool {
        let now = self.clock.advance(now);
        let all = self.of(peer);
        for required in &all {
            let Some(entry) = self.entries.get_mut(required) else { continue };
            entry.paused = false;
            let under_way = matches!(entry.phase, Phase::Dialing { .. } | Phase::Connected { .. });
            if !under_way {
                self.begin_again(now, *required);
            }
        }
        !all.is_empty()
    }

    /// A rule that kept peers out is gone: those that it may have concerned are due, whatever
    /// they wait for, and also if they were given up because they were blocked. `concerns` says
    /// so of a peer, if it is known, and of one of its addresses.
    pub fn unblocked(
        &mut self,
        now: Instant,
        concerns: impl Fn(Option<&PeerId>, &Address) -> bool,
    ) {
        let now = self.clock.advance(now);
        let mut due = Vec::new();
        for (required, entry) in &self.entries {
            let was_blocked = entry.last.as_ref().is_some_and(is_blocked);
            let begins = match entry.phase {
                Phase::Waiting { .. } => true,
                // An address of this round was passed over; or the peer is given up.
                Phase::Dialing { .. } | Phase::Due { .. } => was_blocked,
                Phase::Resting => was_blocked && !entry.paused,
                Phase::Connected { .. } => false,
            };
            let mut addresses = entry.addresses.iter();
            if begins && addresses.any(|address| concerns(entry.peer.as_ref(), address)) {
                due.push(*required);
            }
        }
        for required in due {
            self.begin_again(now, required);
        }
    }

    /// A peer is connected, whoever made the connection.
    pub fn connected(&mut self, now: Instant, peer: &PeerId) {
        let now = self.clock.advance(now);
        for required in self.of(peer) {
            self.on_connected(now, required);
        }
    }

    /// The last connection of a peer is gone.
    pub fn disconnected(&mut self, now: Instant, peer: &PeerId, reason: &CloseReason) {
        let now = self.clock.advance(now);
        for required in self.of(peer) {
            let Some(entry) = self.entries.get_mut(&required) else { continue };
            let Phase::Connected { since } = entry.phase else { continue };
            entry.phase = Phase::Resting;
            if entry.paused {
                continue;
            }
            // What the application ended has not failed, however short it was.
            let requested = matches!(reason, CloseReason::Requested);
            if !requested && now.since(since) < self.config.stable_after {
                self.failed(now, required, RetryCause::Lost(reason.clone()));
                continue;
            }
            entry.backoff.reset();
            entry.last = None;
            self.make_due(now, required, 0);
        }
    }

    /// The link of an attempt has proven who is there. Whether that is learned by it: then it is
    /// who is required from now on.
    pub fn proven(&mut self, attempt: AttemptId, peer: PeerId) -> bool {
        let Some(required) = self.waits_for(attempt) else { return false };
        let Some(entry) = self.entries.get_mut(&required) else { return false };
        let learned = entry.peer.is_none();
        if *entry.peer.get_or_insert(peer) == peer {
            entry.preferred = entry.dialed;
        }
        self.by_peer.extend(entry.peer.map(|peer| (peer, required)));
        learned
    }

    /// An attempt led to a connected peer.
    pub fn dialed(&mut self, now: Instant, attempt: AttemptId, peer: PeerId) {
        let now = self.clock.advance(now);
        self.proven(attempt, peer);
        let required = self.waits_for(attempt);
        self.attempts.remove(&attempt);
        let Some(required) = required else { return };
        if let Some(entry) = self.entries.get_mut(&required) {
            entry.phase = Phase::Resting;
        }
        self.on_connected(now, required);
    }

    /// An attempt failed: the next address of the round, or the wait after it.
    pub fn dial_failed(&mut self, now: Instant, attempt: AttemptId, error: DialError) {
        let now = self.clock.advance(now);
        let required = self.waits_for(attempt);
        self.attempts.remove(&attempt);
        let Some(required) = required else { return };
        let Some(entry) = self.entries.get_mut(&required) else { return };
        let Phase::Dialing { tried, .. } = entry.phase else { return };
        entry.phase = Phase::Resting;
        let cause = RetryCause::Dial(error);
        if entry.pick(tried).is_some() {
            entry.last = Some(cause);
            self.make_due(now, required, tried);
        } else {
            self.failed(now, required, cause);
        }
    }

    /// Ends everything: nobody is required any more. Attempts are the owner's to give up.
    pub fn stop(&mut self) {
        self.entries.clear();
        self.by_peer.clear();
        self.due.clear();
        self.waiting.clear();
        self.attempts.clear();
        self.cancels.clear();
        self.news.clear();
        self.check_at = None;
    }

    /// Time has passed. `is_connected` says of a peer how things really are.
    pub fn handle_timeout(&mut self, now: Instant, is_connected: impl Fn(&PeerId) -> bool) {
        let now = self.clock.advance(now);
        while let Some((until, required)) = self.waiting.first().copied() {
            if until > now {
                break;
            }
            self.waiting.remove(&(until, required));
            self.make_due(now, required, 0);
        }
        if self.check_at.is_some_and(|at| at <= now) {
            self.check(now, is_connected);
        }
    }

    /// When it wants to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let waiting = self.waiting.first().map(|(until, _)| *until);
        [waiting, self.check_at].into_iter().flatten().min()
    }

    /// Takes the next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        if let Some(cancel) = self.cancels.pop_front() {
            return Some(cancel);
        }
        while self.attempts.len() < self.config.dials_max.max(1) {
            let (_, required) = self.due.pop_first()?;
            let Some(entry) = self.entries.get_mut(&required) else { continue };
            let Phase::Due { tried, .. } = entry.phase else { continue };
            let Some(place) = entry.pick(tried) else { continue };
            let Some(address) = entry.address(place) else { continue };
            let attempt = AttemptId(self.attempts_made);
            self.attempts_made = self.attempts_made.wrapping_add(1);
            entry.dialed = place;
            entry.phase = Phase::Dialing { attempt, tried: tried.saturating_add(1) };
            self.attempts.insert(attempt, required);
            return Some(Action::Dial { attempt, required, address });
        }
        None
    }

    /// Takes the next setback that the application should know of: one for each peer, the latest.
    pub fn poll_news(&mut self) -> Option<Setback> {
        let required = self.news.pop_front()?;
        self.entries.get_mut(&required)?.news.take()
    }

    /// Whether [`poll_news`](Self::poll_news) would look at something.
    pub(crate) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Whether a peer is required.
    #[must_use]
    pub fn requires(&self, peer: &PeerId) -> bool {
        let first = (*peer, RequiredId(0));
        self.by_peer.range(first..).next().is_some_and(|(other, _)| other == peer)
    }

    /// Whether a peer is being dialled, or about to be.
    #[must_use]
    pub fn is_trying(&self, peer: &PeerId) -> bool {
        let phases = self.of(peer).into_iter().filter_map(|required| self.entries.get(&required));
        phases
            .map(|e| e.phase)
            .any(|phase| matches!(phase, Phase::Due { .. } | Phase::Dialing { .. }))
    }

    /// The addresses under which a peer is required.
    pub fn addresses_of(&self, peer: &PeerId) -> impl Iterator<Item = Address> + '_ {
        let entries = self.of(peer).into_iter().filter_map(|required| self.entries.get(&required));
        entries.flat_map(|entry| (0..entry.addresses.len()).filter_map(|n| entry.address(n)))
    }

    /// What is known of a required peer.
    #[must_use]
    pub fn state(&self, required: RequiredId) -> Option<RequiredState> {
        self.entries.get(&required).map(|entry| entry.state(required))
    }

    /// The dial that is under way for a required peer.
    pub(crate) fn attempt_of(&self, required: RequiredId) -> Option<AttemptId> {
        match self.entries.get(&required)?.phase {
            Phase::Dialing { attempt, .. } => Some(attempt),
            _ => None,
        }
    }

    /// How many timers there are, and the first.
    pub(crate) fn timers(&self) -> (usize, Option<Instant>) {
        let count = self.waiting.len().saturating_add(usize::from(self.check_at.is_some()));
        (count, self.next_timeout())
    }

    /// All required peers, in the order in which they were required.
    pub fn required(&self) -> impl Iterator<Item = RequiredId> + '_ {
        self.entries.keys().copied()
    }

    fn of(&self, peer: &PeerId) -> Vec<RequiredId> {
        let range = (*peer, RequiredId(0))..=(*peer, RequiredId(u64::MAX));
        self.by_peer.range(range).map(|(_, required)| *required).collect()
    }

    /// Whose attempt it is, if the outcome still matters (S4).
    fn waits_for(&self, attempt: AttemptId) -> Option<RequiredId> {
        let required = self.attempts.get(&attempt)?;
        match self.entries.get(required)?.phase {
            Phase::Dialing { attempt: current, .. } if current == attempt => Some(*required),
            _ => None,
        }
    }

    /// Takes a peer out of its phase: no dial, no place in the queue, no timer.
    fn leave(&mut self, required: RequiredId, connected: bool) {
        let Some(entry) = self.entries.get_mut(&required) else { return };
        match core::mem::replace(&mut entry.phase, Phase::Resting) {
            Phase::Due { order, .. } => {
                self.due.remove(&(order, required));
            }
            Phase::Waiting { until } => {
                self.waiting.remove(&(until, required));
            }
            Phase::Dialing { attempt, .. } => {
                self.cancels.push_back(Action::Cancel { attempt, connected });
                if !connected {
                    self.attempts.remove(&attempt);
                }
            }
            Phase::Resting | Phase::Connected { .. } => {}
        }
    }

    fn make_due(&mut self, now: Instant, required: RequiredId, tried: usize) {
        let Some(entry) = self.entries.get_mut(&required) else { return };
        // A round that has begun goes on before others begin.
        let order = if tried == 0 { self.orders_made } else { 0 };
        self.orders_made = self.orders_made.saturating_add(1);
        entry.phase = Phase::Due { order, tried };
        self.due.insert((order, required));
        self.arm_check(now);
    }

    fn begin_again(&mut self, now: Instant, required: RequiredId) {
        self.leave(required, false);
        self.forget_news(required);
        let Some(entry) = self.entries.get_mut(&required) else { return };
        entry.backoff.reset();
        entry.last = None;
        if !entry.paused {
            self.make_due(now, required, 0);
        }
    }

    fn on_connected(&mut self, now: Instant, required: RequiredId) {
        if self.entries.get(&required).is_some_and(|e| matches!(e.phase, Phase::Connected { .. })) {
            return;
        }
        self.leave(required, true);
        self.forget_news(required);
        if let Some(entry) = self.entries.get_mut(&required) {
            entry.phase = Phase::Connected { since: now };
        }
    }

    /// A round failed, or a connection ended early.
    fn failed(&mut self, now: Instant, required: RequiredId, cause: RetryCause) {
        let Some(entry) = self.entries.get_mut(&required) else { return };
        let wait = entry.backoff.failed();
        if let Some(wait) = wait {
            let until = now.after(wait);
            entry.phase = Phase::Waiting { until };
            self.waiting.insert((until, required));
        }
        entry.last = Some(cause.clone());
        let Some(address) = entry.address(entry.dialed) else { return };
        let (peer, failures) = (entry.peer, entry.backoff.failures());
        let setback = Setback { required, peer, address, failures, wait, cause };
        if entry.news.replace(setback).is_none() {
            self.news.push_back(required);
        }
        self.arm_check(now);
    }

    fn forget_news(&mut self, required: RequiredId) {
        let told = self.entries.get_mut(&required).and_then(|entry| entry.news.take());
        if told.is_some() {
            self.news.retain(|other| *other != required);
        }
    }

    fn arm_check(&mut self, now: Instant) {
        if self.check_at.is_none() {
            self.check_at = Some(now.after(self.config.check_interval));
        }
    }

    /// Nothing should differ: events say all. If one was missed, this finds out.
    fn check(&mut self, now: Instant, is_connected: impl Fn(&PeerId) -> bool) {
        self.check_at = None;
        let all: Vec<RequiredId> = self.entries.keys().copied().collect();
        for required in all {
            let Some(entry) = self.entries.get(&required) else { continue };
            let really = entry.peer.as_ref().is_some_and(&is_connected);
            let believed = matches!(entry.phase, Phase::Connected { .. });
            let paused = entry.paused;
            if really && !believed {
                self.on_connected(now, required);
            } else if believed && !really {
                self.leave(required, false);
                if !paused {
                    self.make_due(now, required, 0);
                }
            } else if !believed && !matches!(entry.phase, Phase::Resting) {
                self.arm_check(now);
            }
        }
    }

    /// Checks S1, S2 and that the queues agree with the phases.
    ///
    /// # Panics
    ///
    /// If they do not.
    #[doc(hidden)]
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn assert_invariants(&self) {
        let (mut due, mut waiting, mut open) = (0_usize, 0_usize, false);
        for (required, entry) in &self.entries {
            assert_eq!(entry.news.is_some(), self.news.contains(required));
            assert!(entry.preferred < entry.addresses.len());
            if let Some(peer) = entry.peer {
                assert!(self.by_peer.contains(&(peer, *required)));
            }
            open |= !matches!(entry.phase, Phase::Connected { .. } | Phase::Resting);
            match entry.phase {
                Phase::Due { order, .. } => {
                    due = due.saturating_add(1);
                    assert!(self.due.contains(&(order, *required)));
                }
                Phase::Waiting { until } => {
                    waiting = waiting.saturating_add(1);
                    assert!(self.waiting.contains(&(until, *required)));
                }
                Phase::Dialing { attempt, .. } => {
                    assert_eq!(self.attempts.get(&attempt), Some(required));
                }
                Phase::Connected { .. } => {}
                Phase::Resting => {
                    let spent = self.config.backoff.attempts_max;
                    let spent = spent.is_some_and(|max| entry.backoff.failures() >= max);
                    assert!(entry.paused || spent, "{required:?} rests for no reason");
                }
            }
        }
        assert_eq!((due, waiting), (self.due.len(), self.waiting.len()));
        assert!(self.attempts.len() <= self.config.dials_max.max(1));
        assert!(self.news.len() <= self.entries.len());
        assert!(!open || self.check_at.is_some());
    }
}

/// Whether somebody was kept out by a rule.
const fn is_blocked(cause: &RetryCause) -> bool {
    matches!(
        cause,
        RetryCause::Dial(DialError::Refused(Refusal::Blocked))
            | RetryCause::Lost(CloseReason::Blocked)
    )
}
