//! Dials: from addresses to a connection, one resolved address after the other.
//!
//! A dial resolves, then links, then waits for its link to go live. It waits for the peer itself
//! when that is on its way otherwise: by a link that won a tie, or by the supervisor's attempts. A
//! peer whose connections were told to close is dialled when these are gone: until then it may
//! believe that they are alive, and turn the new link away.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::net::SocketAddr;
use core::time::Duration;

use smallvec::SmallVec;

use super::Node;
use super::links::Stage;
use crate::address::{Address, Host};
use crate::contract::{Command, DialId, Direction, IoCause, Notification, QueryId, TimerKind};
use crate::error::{ApplicationError, CloseReason, DialError, Refusal};
use crate::id::{ConnectionId, PeerId};
use crate::peers::{AddressSource, is_dialable};
use crate::snapshot::Reached;
use crate::supervisor::{Action, AttemptId};
use crate::time::Instant;

/// How long a dial that the peer itself ended waits for a link of that peer: it may have chosen
/// the one that it made.
const GRACE: Duration = Duration::from_secs(1);

/// What an address of several has at least, as long as the dial has it.
const SHARE_LEAST: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Dial {
    address: Address,
    /// Of what it is at.
    deadline: Instant,
    /// Of the address, whatever it was resolved to.
    until: Instant,
    step: Step,
    /// Resolved and not tried yet, last one first.
    left: SmallVec<[SocketAddr; 8]>,
    /// To be tried when all of that failed.
    more: VecDeque<Address>,
    /// The time of the first of these has begun.
    begun: bool,
    /// Its link waits for older ones that were told to close. The peer may believe them alive,
    /// and turn the link away; then it is made once more.
    behind_old: bool,
    owner: Owner,
    /// What went wrong before it waits.
    error: DialError,
    /// How far the attempt at the address came, and where that is.
    reached: Reached,
    remote: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It has yet to begin.
    Idle,
    Resolving(QueryId),
    Linking(ConnectionId),
    /// This peer is on its way otherwise.
    Waiting(PeerId),
}

/// Who is told how it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Application,
    Supervisor(AttemptId),
    /// The pool manager, for a peer whose connections are hot.
    Pools(PeerId),
}

/// Bound: `dials_max` that the application asked for, told or not, `required_dials_max` of the
/// supervisor, and one for each peer whose connections are hot.
#[derive(Debug, Default)]
pub(super) struct Dials {
    dials: BTreeMap<DialId, Box<Dial>>,
    deadlines: BTreeSet<(Instant, DialId)>,
    queries: BTreeMap<QueryId, DialId>,
    attempts: BTreeMap<AttemptId, DialId>,
    waiting: BTreeSet<(PeerId, DialId)>,
    /// Those of the application.
    asked: usize,
    made: u64,
    queries_made: u64,
}

impl Dials {
    pub(super) fn is_empty(&self) -> bool {
        self.dials.is_empty()
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(super) fn next_id(&mut self) -> DialId {
        let dial = DialId(self.made);
        self.made = self.made.wrapping_add(1);
        dial
    }

    fn insert(&mut self, id: DialId, dial: Dial) {
        match dial.owner {
            Owner::Application => self.asked = self.asked.saturating_add(1),
            Owner::Supervisor(attempt) => drop(self.attempts.insert(attempt, id)),
            Owner::Pools(_) => {}
        }
        if let Step::Waiting(peer) = dial.step {
            self.waiting.insert((peer, id));
        }
        self.deadlines.insert((dial.deadline, id));
        self.dials.insert(id, Box::new(dial));
    }

    fn remove(&mut self, id: DialId) -> Option<Dial> {
        let dial = *self.dials.remove(&id)?;
        self.deadlines.remove(&(dial.deadline, id));
        match dial.step {
            Step::Resolving(query) => drop(self.queries.remove(&query)),
            Step::Waiting(peer) => drop(self.waiting.remove(&(peer, id))),
            Step::Idle | Step::Linking(_) => {}
        }
        match dial.owner {
            Owner::Application => self.asked = self.asked.saturating_sub(1),
            Owner::Supervisor(attempt) => drop(self.attempts.remove(&attempt)),
            Owner::Pools(_) => {}
        }
        Some(dial)
    }

    /// The dials that wait for a peer.
    fn waiting_for(&self, peer: &PeerId) -> SmallVec<[DialId; 2]> {
        let range = (*peer, DialId(0))..=(*peer, DialId(u64::MAX));
        self.waiting.range(range).map(|(_, id)| *id).collect()
    }

    fn address(&self, id: DialId) -> Option<&Address> {
        self.dials.get(&id).map(|dial| &dial.address)
    }

    /// How many there are, and how many of them the application asked for.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.dials.len(), self.asked)
    }

    /// Each dial: where it goes, whether it waits for its peer to come otherwise, and when it has
    /// to be over.
    pub(super) fn under_way(&self) -> impl Iterator<Item = (&Address, Option<PeerId>, Instant)> {
        self.dials.values().map(|dial| {
            let waits = if let Step::Waiting(peer) = dial.step { Some(peer) } else { None };
            (&dial.address, waits, dial.until)
        })
    }

    /// How far the dial of an attempt is, and when it has to be over.
    pub(super) fn of_attempt(&self, attempt: AttemptId) -> Option<(Reached, Instant)> {
        let dial = self.dials.get(self.attempts.get(&attempt)?)?;
        Some((dial.reached, dial.until))
    }

    /// The attempt of the supervisor that a dial is made for.
    pub(super) fn attempt(&self, id: DialId) -> Option<AttemptId> {
        match self.dials.get(&id)?.owner {
            Owner::Supervisor(attempt) => Some(attempt),
            Owner::Application | Owner::Pools(_) => None,
        }
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn assert_invariants(&self) {
        let count = |f: &dyn Fn(&Dial) -> bool| self.dials.values().filter(|dial| f(dial)).count();
        assert_eq!(count(&|dial| dial.owner == Owner::Application), self.asked);
        assert_eq!(count(&|dial| matches!(dial.owner, Owner::Supervisor(_))), self.attempts.len());
        assert_eq!(count(&|dial| matches!(dial.step, Step::Resolving(_))), self.queries.len());
        assert_eq!(count(&|dial| matches!(dial.step, Step::Waiting(_))), self.waiting.len());
        assert_eq!(self.dials.len(), self.deadlines.len());
    }
}

impl Node {
    pub(super) fn start_dial(
        &mut self,
        now: Instant,
        address: Address,
    ) -> Result<DialId, ApplicationError> {
        if address.dialable().is_err() {
            return Err(ApplicationError::BadAddress);
        }
        self.may_dial(address.peer.as_ref())?;
        if address.socket_addr().is_some_and(|place| self.blacklist.blocks(place)) {
            return Err(ApplicationError::Blocked);
        }
        let connected = address.peer.filter(|peer| self.is_connected(peer));
        if let Some(peer) = connected {
            return Ok(self.dialed_already(peer));
        }
        Ok(self.insert_dial(now, address, VecDeque::new(), Owner::Application))
    }

    /// Connects to a peer at the addresses that are known of it.
    pub(super) fn start_connect(
        &mut self,
        now: Instant,
        peer: PeerId,
    ) -> Result<DialId, ApplicationError> {
        // Whatever comes of this call, the peer is to be kept again.
        let required = !self.stopping && self.supervisor.resume(now, &peer);
        self.may_dial(Some(&peer))?;
        if self.is_connected(&peer) {
            return Ok(self.dialed_already(peer));
        }
        if !required {
            let mut known: VecDeque<Address> = self.book.of(now, &peer).into();
            let first = known.pop_front().ok_or(ApplicationError::NoAddress)?;
            return Ok(self.insert_dial(now, first, known, Owner::Application));
        }
        // The supervisor dials, and this one waits for what comes of it.
        let id = self.dials.next_id();
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let addresses = self.supervisor.addresses_of(&peer).next();
        let address = addresses.unwrap_or_else(|| Address::from(nowhere).with_peer(peer));
        let until = now.after(self.config.dial_deadline);
        let dial = Dial {
            address,
            deadline: until,
            until,
            step: Step::Waiting(peer),
            left: SmallVec::new(),
            more: VecDeque::new(),
            begun: false,
            behind_old: false,
            owner: Owner::Application,
            error: DialError::Deadline,
            reached: Reached::Nothing,
            remote: None,
        };
        self.dials.insert(id, dial);
        Ok(id)
    }

    fn may_dial(&self, peer: Option<&PeerId>) -> Result<(), ApplicationError> {
        if self.stopping {
            return Err(ApplicationError::Stopping);
        }
        if peer == Some(&self.local) {
            return Err(ApplicationError::OwnId);
        }
        if peer.is_some_and(|peer| self.blacklist.blocks_peer(peer)) {
            return Err(ApplicationError::Blocked);
        }
        if self.dials.asked.saturating_add(self.told.dials()) >= self.config.dials_max {
            return Err(ApplicationError::TooManyDials);
        }
        Ok(())
    }

    fn dialed_already(&mut self, peer: PeerId) -> DialId {
        let dial = self.dials.next_id();
        self.told.answer(Notification::Dialed { dial, peer });
        dial
    }

    fn insert_dial(
        &mut self,
        now: Instant,
        address: Address,
        mut more: VecDeque<Address>,
        owner: Owner,
    ) -> DialId {
        let id = self.dials.next_id();
        let until = now.after(self.config.dial_deadline);
        more.push_front(address.clone());
        let closing = address.peer.filter(|peer| owner == Owner::Application && self.drains(peer));
        let dial = Dial {
            address,
            deadline: until,
            until,
            step: closing.map_or(Step::Idle, Step::Waiting),
            left: SmallVec::new(),
            more,
            begun: closing.is_some(),
            behind_old: false,
            owner,
            error: DialError::Deadline,
            reached: Reached::Nothing,
            remote: None,
        };
        self.dials.insert(id, dial);
        if closing.is_none() {
            self.try_next(now, id, DialError::Deadline);
        }
        id
    }

    /// Whether a peer has connections, and all of them were told to close.
    fn drains(&self, peer: &PeerId) -> bool {
        let connected = self.peers.get(peer).is_some_and(|known| !known.links.is_empty());
        connected && !self.is_connected(peer)
    }

    /// The link of a dial waits until older connections of its peer are gone.
    pub(super) fn dial_held(&mut self, id: DialId) {
        if let Some(dial) = self.dials.dials.get_mut(&id) {
            dial.behind_old = true;
        }
    }

    /// The last connection of a peer is gone: dials that waited for that go on.
    pub(super) fn drained(&mut self, now: Instant, peer: &PeerId) {
        let trying = self.supervisor.is_trying(peer);
        for id in self.dials.waiting_for(peer) {
            let Some(dial) = self.dials.dials.get(&id).filter(|dial| dial.begun) else { continue };
            if !trying || dial.owner != Owner::Application {
                let error = dial.error.clone();
                self.try_next(now, id, error);
            }
        }
    }

    /// Begins with an address, unless it is blocked.
    fn first_step(&mut self, id: DialId, address: &Address) -> Option<Step> {
        let port = address.port;
        match address.host.clone() {
            Host::Ip(ip) => self.link(id, SocketAddr::new(ip, port), address.peer),
            Host::Dns { .. } if address.peer.is_some_and(|p| self.blacklist.blocks_peer(&p)) => {
                None
            }
            Host::Dns { name, family } => {
                let query = QueryId(self.dials.queries_made);
                self.dials.queries_made = self.dials.queries_made.wrapping_add(1);
                let name = name.as_str().into();
                self.commands.push_back(Command::Resolve { query, name, port, family });
                Some(Step::Resolving(query))
            }
        }
    }

    /// Has a link made to there, unless it is blocked. Whoever dials, and however the place was
    /// found, it comes by here.
    fn link(&mut self, id: DialId, remote: SocketAddr, expected: Option<PeerId>) -> Option<Step> {
        if self.is_blocked(remote, expected) {
            return None;
        }
        self.work.dials = self.work.dials.saturating_add(1);
        let connection = self.links.insert_outbound(self.clock.now(), remote, expected, Some(id));
        self.commands.push_back(Command::Dial { connection, remote });
        Some(Step::Linking(connection))
    }

    pub(super) fn is_blocked(&self, remote: SocketAddr, expected: Option<PeerId>) -> bool {
        self.blacklist.blocks(remote)
            || expected.is_some_and(|peer| self.blacklist.blocks_peer(&peer))
    }

    /// Changes what a dial is at.
    fn set_step(&mut self, id: DialId, step: Step) {
        let Dials { dials, queries, waiting, .. } = &mut self.dials;
        let Some(dial) = dials.get_mut(&id) else { return };
        match core::mem::replace(&mut dial.step, step) {
            Step::Resolving(query) => drop(queries.remove(&query)),
            Step::Waiting(peer) => drop(waiting.remove(&(peer, id))),
            Step::Idle | Step::Linking(_) => {}
        }
        match step {
            Step::Resolving(query) => drop(queries.insert(query, id)),
            Step::Waiting(peer) => drop(waiting.insert((peer, id))),
            Step::Idle | Step::Linking(_) => {}
        }
    }

    fn set_deadline(&mut self, id: DialId, deadline: Instant) {
        let Some(dial) = self.dials.dials.get_mut(&id) else { return };
        let old = core::mem::replace(&mut dial.deadline, deadline);
        self.dials.deadlines.remove(&(old, id));
        self.dials.deadlines.insert((deadline, id));
    }

    pub(super) fn on_resolved(&mut self, now: Instant, query: QueryId, found: &[SocketAddr]) {
        let Some(id) = self.dials.queries.get(&query).copied() else { return };
        let Some(dial) = self.dials.dials.get_mut(&id) else { return };
        let all = found.iter().take(8).rev();
        dial.left = all.filter(|place| !self.blacklist.blocks(**place)).copied().collect();
        let error = if dial.left.is_empty() && !found.is_empty() {
            DialError::Refused(Refusal::Blocked)
        } else {
            DialError::Resolve(IoCause::NotFound)
        };
        self.try_next(now, id, error);
    }

    pub(super) fn on_resolve_failed(&mut self, now: Instant, query: QueryId, cause: IoCause) {
        if let Some(id) = self.dials.queries.get(&query).copied() {
            self.try_next(now, id, DialError::Resolve(cause));
        }
    }

    pub(super) fn on_dial_failed(&mut self, now: Instant, id: ConnectionId, cause: IoCause) {
        self.link_failed(now, id, DialError::Link(cause));
    }

    /// A link that was being made is not to be.
    pub(super) fn link_failed(&mut self, now: Instant, id: ConnectionId, error: DialError) {
        if self.links.get(id).is_none_or(|link| link.stage != Stage::Dialling) {
            return;
        }
        if let Some(dial) = self.links.remove(id).and_then(|link| link.dial) {
            self.dial_failed(now, dial, error);
        }
    }

    /// An attempt failed: the next address, if there is one, else the end.
    pub(super) fn dial_failed(&mut self, now: Instant, id: DialId, error: DialError) {
        let late = self.dials.dials.get(&id).is_some_and(|dial| dial.until <= now);
        self.try_next(now, id, if late { DialError::Deadline } else { error });
    }

    fn try_next(&mut self, now: Instant, id: DialId, mut error: DialError) {
        self.note_failure(now, id, &error);
        while let Some(dial) = self.dials.dials.get_mut(&id).filter(|_| !self.stopping) {
            let step = if let Some(remote) = dial.left.pop().filter(|_| dial.until > now) {
                let expected = dial.address.peer;
                self.link(id, remote, expected)
            } else if let Some(address) = dial.more.pop_front() {
                dial.left.clear();
                dial.address = address.clone();
                if !core::mem::take(&mut dial.begun) {
                    dial.until = now.after(self.config.dial_deadline);
                } else if dial.until <= now {
                    continue;
                }
                self.first_step(id, &address)
            } else {
                break;
            };
            if let Some(step) = step {
                self.share_deadline(now, id);
                self.dial_begun(id, step);
                return self.set_step(id, step);
            }
            error = DialError::Refused(Refusal::Blocked);
            self.history.failed(now, self.dials.address(id), Reached::Nothing, None, &error);
        }
        self.give_up(now, id, error);
    }

    /// An attempt at an address has begun.
    fn dial_begun(&mut self, id: DialId, step: Step) {
        let Some(dial) = self.dials.dials.get_mut(&id) else { return };
        dial.reached = Reached::Resolving;
        dial.remote = None;
        // It waited with the link of the address before.
        dial.behind_old = false;
        if let Step::Linking(connection) = step {
            dial.reached = Reached::Dialling;
            dial.remote = self.links.get(connection).map(|link| link.remote);
        }
        self.history.tried(&dial.address);
    }

    /// An attempt has come further.
    pub(super) fn dial_reached(&mut self, id: Option<DialId>, reached: Reached) {
        if let Some(dial) = id.and_then(|id| self.dials.dials.get_mut(&id)) {
            dial.reached = reached;
        }
    }

    /// Remembers an attempt that led to nothing, if it was begun.
    fn note_failure(&mut self, now: Instant, id: DialId, error: &DialError) {
        let Some(dial) = self.dials.dials.get_mut(&id) else { return };
        let (reached, remote) = (core::mem::take(&mut dial.reached), dial.remote);
        if reached > Reached::Nothing && !self.stopping {
            self.work.failures = self.work.failures.saturating_add(1);
            self.history.failed(now, Some(&dial.address), reached, remote, error);
        }
    }

    /// Each place that a name stands for has its share of the time that is left: one that is
    /// silent does not keep the others from being tried.
    fn share_deadline(&mut self, now: Instant, id: DialId) {
        let Some(dial) = self.dials.dials.get(&id) else { return };
        let places = u32::try_from(dial.left.len()).unwrap_or(u32::MAX).saturating_add(1);
        let share = dial.until.since(now).checked_div(places).unwrap_or_default();
        let deadline = now.after(share.max(SHARE_LEAST)).min(dial.until);
        self.set_deadline(id, deadline);
    }

    fn give_up(&mut self, now: Instant, id: DialId, error: DialError) {
        let Some(Dial { address, owner, .. }) = self.dials.remove(id) else { return };
        match owner {
            Owner::Application => {
                self.told.answer(Notification::DialFailed { dial: id, address, error });
            }
            Owner::Supervisor(attempt) => {
                self.attempt_failed(now, attempt, address.peer, error);
            }
            Owner::Pools(peer) => self.routes.answered(now, &peer, false),
        }
    }

    /// A dial led to a connected peer.
    pub(super) fn dial_done(&mut self, now: Instant, id: DialId, peer: PeerId) {
        let Some(Dial { address, owner, step, .. }) = self.dials.remove(id) else { return };
        if matches!(step, Step::Linking(_)) {
            self.history.succeeded(now, &address);
        }
        if matches!(step, Step::Linking(_)) && is_dialable(&address) {
            self.book.add(now, &address.with_peer(peer), AddressSource::Dialed);
        }
        match owner {
            Owner::Application => self.told.answer(Notification::Dialed { dial: id, peer }),
            Owner::Supervisor(attempt) => {
                self.supervisor.dialed(now, attempt, peer);
                self.sync_level(&peer);
            }
            Owner::Pools(peer) => self.routes.answered(now, &peer, true),
        }
    }

    /// A peer is connected: so is who waits for it.
    pub(super) fn waiting_done(&mut self, now: Instant, peer: PeerId) {
        for id in self.dials.waiting_for(&peer) {
            self.dial_done(now, id, peer);
        }
    }

    /// A peer that dials waited for does not come; `error` is why, or each has its own.
    pub(super) fn fail_waiting(&mut self, now: Instant, peer: &PeerId, error: Option<&DialError>) {
        for id in self.dials.waiting_for(peer) {
            let own = self.dials.dials.get(&id).map(|dial| dial.error.clone());
            if let Some(error) = error.cloned().or(own) {
                self.try_next(now, id, error);
            }
        }
    }

    /// A link of a dial ended before it was live, after its peer was proven. That peer may still
    /// be on its way by another link, and then the dial is not over.
    pub(super) fn dial_lost(&mut self, now: Instant, id: DialId, peer: PeerId, refusal: Refusal) {
        // However the link ended: who was there is not who was dialled.
        let dialed = self.dials.dials.get(&id).and_then(|dial| dial.address.peer);
        let somebody_else = peer == self.local || dialed.is_some_and(|dialed| dialed != peer);
        let final_word = somebody_else || matches!(refusal, Refusal::Stopping | Refusal::Blocked);
        let by_peer = matches!(refusal, Refusal::Closed(_));
        let error = DialError::Refused(refusal);
        if let Some(dial) = self.dials.dials.get(&id).filter(|_| somebody_else) {
            self.book.disproved(&dial.address);
        }
        if final_word || self.stopping {
            return self.dial_failed(now, id, error);
        }
        if self.is_connected(&peer) {
            return self.dial_done(now, id, peer);
        }
        let drains = self.drains(&peer);
        let Some(dial) = self.dials.dials.get_mut(&id) else { return };
        if by_peer && core::mem::take(&mut dial.behind_old) {
            dial.more.push_front(dial.address.clone());
            (dial.begun, dial.error) = (true, error.clone());
            let until = dial.until;
            if !drains {
                return self.try_next(now, id, error);
            }
            self.set_deadline(id, until);
            return self.set_step(id, Step::Waiting(peer));
        }
        let establishing = self.peers.get(&peer).is_some_and(|known| known.is_establishing());
        let until = if establishing {
            dial.until
        } else if by_peer && self.links.unproven_inbound() > 0 {
            dial.until.min(now.after(GRACE))
        } else {
            return self.dial_failed(now, id, error);
        };
        dial.error = error;
        self.set_deadline(id, until);
        self.set_step(id, Step::Waiting(peer));
    }

    pub(super) fn dials_timeout(&mut self, now: Instant) {
        while let Some((at, id)) = self.dials.deadlines.first().copied() {
            if at > now {
                break;
            }
            let waited = self.dials.dials.get(&id).map(|dial| (dial.step, dial.error.clone()));
            let error = match waited {
                Some((Step::Waiting(_), error)) => error,
                _ => DialError::Deadline,
            };
            self.drop_link_of(id, CloseReason::Deadline(TimerKind::Dial));
            self.try_next(now, id, error);
        }
    }

    pub(super) fn stop_dials(&mut self, now: Instant) {
        while let Some(id) = self.dials.dials.keys().next().copied() {
            self.drop_link_of(id, CloseReason::Stopping);
            self.give_up(now, id, DialError::Refused(Refusal::Stopping));
        }
    }

    /// Ends what a dial is at.
    fn drop_link_of(&mut self, id: DialId, reason: CloseReason) {
        let Some(Step::Linking(connection)) = self.dials.dials.get(&id).map(|dial| dial.step)
        else {
            return;
        };
        match self.links.get_mut(connection) {
            Some(link) if link.stage == Stage::Dialling => {
                self.links.remove(connection);
                self.commands.push_back(Command::CancelDial { connection });
            }
            Some(link) => {
                link.dial = None;
                self.links.close(connection, reason);
            }
            None => {}
        }
    }

    /// A link that is being made leads to a blocked place.
    pub(super) fn block_dial(&mut self, now: Instant, connection: ConnectionId) {
        let Some(id) = self.links.get(connection).and_then(|link| link.dial) else { return };
        self.drop_link_of(id, CloseReason::Blocked);
        self.try_next(now, id, DialError::Refused(Refusal::Blocked));
    }

    /// Carries out what the supervisor wants.
    pub(super) fn supervise(&mut self, now: Instant) {
        while let Some(action) = self.supervisor.poll_action() {
            match action {
                Action::Dial { attempt, address, .. } => self.attempt(now, attempt, address),
                Action::Cancel { attempt, connected } => self.cancel(now, attempt, connected),
            }
        }
    }

    fn attempt(&mut self, now: Instant, attempt: AttemptId, address: Address) {
        self.insert_dial(now, address, VecDeque::new(), Owner::Supervisor(attempt));
    }

    fn attempt_failed(
        &mut self,
        now: Instant,
        attempt: AttemptId,
        peer: Option<PeerId>,
        error: DialError,
    ) {
        self.supervisor.dial_failed(now, attempt, error.clone());
        if let Some(peer) = peer.filter(|peer| !self.supervisor.is_trying(peer)) {
            self.fail_waiting(now, &peer, Some(&error));
        }
    }

    fn cancel(&mut self, now: Instant, attempt: AttemptId, connected: bool) {
        let Some(id) = self.dials.attempts.get(&attempt).copied() else { return };
        let step = self.dials.dials.get(&id).map(|dial| dial.step);
        let further = match step {
            Some(Step::Linking(connection)) => {
                self.links.get(connection).is_some_and(|link| link.stage != Stage::Dialling)
            }
            _ => false,
        };
        // A link that is further along may be the one that the other end settles on.
        if connected && further {
            return;
        }
        self.drop_link_of(id, CloseReason::Requested);
        if let Some(Dial { owner: Owner::Supervisor(attempt), .. }) = self.dials.remove(id) {
            self.supervisor.dial_failed(now, attempt, DialError::Refused(Refusal::Stopping));
        }
    }

    /// Dials one more connection for peers that wish for it (spec 7.4), where we know an address
    /// at which they listen (D-56).
    pub(super) fn expand(&mut self, now: Instant) {
        while let Some(peer) = self.routes.poll_wanted() {
            let links = self.peers.get(&peer).map(|known| known.links.clone()).unwrap_or_default();
            let links = links.iter().filter_map(|id| self.links.get(*id));
            let dialed = links.filter(|link| link.direction == Direction::Outbound);
            let mut dialed = dialed.map(|link| Address::from(link.remote).with_peer(peer));
            let address =
                dialed.next().or_else(|| self.addresses_of(now, &peer).into_iter().next());
            match address.filter(|_| !self.stopping) {
                Some(address) => {
                    self.insert_dial(now, address, VecDeque::new(), Owner::Pools(peer));
                }
                None => self.routes.answered(now, &peer, false),
            }
        }
    }
}
