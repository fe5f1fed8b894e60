//! Dials: from an address to a link, one resolved address after the other.

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::SocketAddr;

use smallvec::SmallVec;

use super::links::Stage;
use super::{Node, close_order};
use crate::address::{Address, Host};
use crate::contract::{Command, DialId, IoCause, Notification, QueryId, TimerKind};
use crate::error::{ApplicationError, CloseReason, DialError, Refusal};
use crate::id::{ConnectionId, PeerId};
use crate::time::Instant;

#[derive(Debug)]
struct Dial {
    address: Address,
    deadline: Instant,
    step: Step,
    /// Resolved and not tried yet, last one first.
    left: SmallVec<[SocketAddr; 8]>,
    /// The application asked for it, and is told how it went.
    asked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Resolving(QueryId),
    Linking(ConnectionId),
}

/// Bound: `dials_max` that the application asked for, and one for each peer whose connections
/// are hot.
#[derive(Debug, Default)]
pub(super) struct Dials {
    dials: BTreeMap<DialId, Dial>,
    deadlines: BTreeSet<(Instant, DialId)>,
    made: u64,
}

impl Dials {
    pub(super) fn is_empty(&self) -> bool {
        self.dials.is_empty()
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    fn remove(&mut self, id: DialId) -> Option<Dial> {
        let dial = self.dials.remove(&id)?;
        self.deadlines.remove(&(dial.deadline, id));
        Some(dial)
    }
}

impl Node {
    pub(super) fn start_dial(
        &mut self,
        now: Instant,
        address: Address,
    ) -> Result<DialId, ApplicationError> {
        if self.stopping {
            return Err(ApplicationError::Stopping);
        }
        if address.dialable().is_err() {
            return Err(ApplicationError::BadAddress);
        }
        if address.peer == Some(self.local) {
            return Err(ApplicationError::OwnId);
        }
        if self.dials.dials.len() >= self.config.dials_max {
            return Err(ApplicationError::TooManyDials);
        }
        let connected = address.peer.filter(|peer| self.routes.route(peer).is_some());
        if let Some(peer) = connected {
            let dial = self.next_dial();
            self.told.answer(Notification::Dialed { dial, peer });
            return Ok(dial);
        }
        Ok(self.insert_dial(now, address, true))
    }

    fn next_dial(&mut self) -> DialId {
        let dial = DialId(self.dials.made);
        self.dials.made = self.dials.made.wrapping_add(1);
        dial
    }

    fn insert_dial(&mut self, now: Instant, address: Address, asked: bool) -> DialId {
        let id = self.next_dial();
        let deadline = now.after(self.config.dial_deadline);
        self.dials.deadlines.insert((deadline, id));
        let port = address.port;
        let step = match address.host.clone() {
            Host::Ip(ip) => Step::Linking(self.link(id, SocketAddr::new(ip, port), address.peer)),
            Host::Dns { name, family } => {
                let query = QueryId(id.0);
                let name = name.as_str().into();
                self.commands.push_back(Command::Resolve { query, name, port, family });
                Step::Resolving(query)
            }
        };
        let left = SmallVec::new();
        self.dials.dials.insert(id, Dial { address, deadline, step, left, asked });
        id
    }

    fn link(&mut self, id: DialId, remote: SocketAddr, expected: Option<PeerId>) -> ConnectionId {
        let connection = self.links.insert_outbound(remote, expected, Some(id));
        self.commands.push_back(Command::Dial { connection, remote });
        connection
    }

    pub(super) fn on_resolved(&mut self, now: Instant, query: QueryId, found: &[SocketAddr]) {
        let id = DialId(query.0);
        let Some(dial) = self.dials.dials.get_mut(&id) else { return };
        if dial.step != Step::Resolving(query) {
            return;
        }
        dial.left = found.iter().take(8).rev().copied().collect();
        self.try_next(now, id, DialError::Resolve(IoCause::NotFound));
    }

    pub(super) fn on_resolve_failed(&mut self, query: QueryId, cause: IoCause) {
        let id = DialId(query.0);
        let resolving = Step::Resolving(query);
        if self.dials.dials.get(&id).is_some_and(|dial| dial.step == resolving) {
            self.give_up(id, DialError::Resolve(cause));
        }
    }

    pub(super) fn on_dial_failed(&mut self, now: Instant, id: ConnectionId, cause: IoCause) {
        if self.links.get(id).is_none_or(|link| link.stage != Stage::Dialling) {
            return;
        }
        if let Some(dial) = self.links.remove(id).and_then(|link| link.dial) {
            self.dial_failed(now, dial, DialError::Link(cause));
        }
    }

    /// An attempt failed: the next address, if there is one, else the end.
    pub(super) fn dial_failed(&mut self, now: Instant, id: DialId, error: DialError) {
        let late = self.dials.dials.get(&id).is_some_and(|dial| dial.deadline <= now);
        self.try_next(now, id, if late { DialError::Deadline } else { error });
    }

    fn try_next(&mut self, now: Instant, id: DialId, error: DialError) {
        let Some(dial) = self.dials.dials.get_mut(&id) else { return };
        let expected = dial.address.peer;
        let in_time = dial.deadline > now && !self.stopping;
        match dial.left.pop().filter(|_| in_time) {
            Some(remote) => {
                let connection = self.link(id, remote, expected);
                if let Some(dial) = self.dials.dials.get_mut(&id) {
                    dial.step = Step::Linking(connection);
                }
            }
            None => self.give_up(id, error),
        }
    }

    fn give_up(&mut self, id: DialId, error: DialError) {
        if let Some(Dial { address, asked: true, .. }) = self.dials.remove(id) {
            self.told.answer(Notification::DialFailed { dial: id, address, error });
        }
    }

    /// A dial's link went live.
    pub(super) fn dial_done(&mut self, id: DialId, peer: PeerId) {
        if self.dials.remove(id).is_some_and(|dial| dial.asked) {
            self.told.answer(Notification::Dialed { dial: id, peer });
        }
    }

    pub(super) fn dials_timeout(&mut self, now: Instant) {
        while let Some((at, id)) = self.dials.deadlines.first().copied() {
            if at > now {
                break;
            }
            self.end_dial(id, CloseReason::Deadline(TimerKind::Dial), DialError::Deadline);
        }
    }

    pub(super) fn stop_dials(&mut self, _now: Instant) {
        while let Some(id) = self.dials.dials.keys().next().copied() {
            self.end_dial(id, CloseReason::Stopping, DialError::Refused(Refusal::Stopping));
        }
    }

    fn end_dial(&mut self, id: DialId, reason: CloseReason, error: DialError) {
        if let Some(Step::Linking(connection)) = self.dials.dials.get(&id).map(|dial| dial.step) {
            match self.links.get(connection).map(|link| link.stage) {
                Some(Stage::Dialling) => {
                    self.links.remove(connection);
                    self.commands.push_back(Command::CancelDial { connection });
                }
                Some(_) => self.links.order(connection, close_order(reason)),
                None => {}
            }
        }
        self.give_up(id, error);
    }

    /// Dials one more connection for peers that wish for it (spec 7.4), where we know an address
    /// at which they listen (D-56).
    pub(super) fn expand(&mut self, now: Instant) {
        while let Some(peer) = self.routes.poll_wanted() {
            self.routes.answered(now, &peer);
            let links = self.peers.get(&peer).map(|known| known.links.clone()).unwrap_or_default();
            let dialled = links.iter().filter_map(|id| self.links.get(*id));
            let mut dialled =
                dialled.filter(|link| link.direction == crate::contract::Direction::Outbound);
            let Some(remote) = dialled.next().map(|link| link.remote) else { continue };
            if !self.stopping {
                let address = Address::from(remote).with_peer(peer);
                self.insert_dial(now, address, false);
            }
        }
    }
}
