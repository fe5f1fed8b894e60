//! The peers that one node requires, as its application knows them.

use std::collections::{BTreeMap, BTreeSet};

use headwater_core::address::Address;
use headwater_core::contract::RequiredId;
use headwater_core::peers::Rule;
use headwater_core::supervisor::RequiredPhase;

use super::{App, Desk};
use crate::host::{Violation, ensure};

/// Required peers, by their nodes.
#[derive(Debug)]
pub(crate) struct Required {
    wanted: Vec<usize>,
    ids: BTreeMap<usize, RequiredId>,
    /// Disconnected by the application, and not connected again.
    paused: BTreeSet<usize>,
    blocked: BTreeSet<usize>,
}

impl Required {
    pub(super) fn new(wanted: &[usize]) -> Self {
        Self {
            wanted: wanted.to_vec(),
            ids: BTreeMap::new(),
            paused: BTreeSet::new(),
            blocked: BTreeSet::new(),
        }
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = usize> + '_ {
        self.wanted.iter().copied()
    }

    pub(crate) fn id(&self, peer: usize) -> Option<RequiredId> {
        self.ids.get(&peer).copied()
    }
}

impl App {
    /// Where a peer is: often that alone, at times with places where it is not.
    fn addresses(&mut self, desk: &Desk<'_>, peer: usize) -> Vec<Address> {
        let at =
            |address: std::net::SocketAddr| Address::from(address).with_peer(*desk.people.id(peer));
        let right = crate::net::address(peer);
        let (mut closed, mut nowhere) = (right, crate::net::address(60_000));
        closed.set_port(4002);
        nowhere.set_port(4003);
        match self.draw.below(10) {
            0 => vec![at(closed), at(right)],
            1 => vec![at(right), at(nowhere)],
            2 => vec![at(nowhere), at(right), at(closed)],
            // Without an id it is learned.
            3 => vec![Address::from(right)],
            _ => vec![at(right)],
        }
    }

    /// Requires everybody that it wants.
    pub(super) fn require_all(&mut self, desk: &mut Desk<'_>) -> Result<(), Violation> {
        for peer in self.required.wanted.clone() {
            self.require(desk, peer)?;
        }
        Ok(())
    }

    fn require(&mut self, desk: &mut Desk<'_>, peer: usize) -> Result<(), Violation> {
        let addresses = self.addresses(desk, peer);
        let required = desk.host.require(desk.now, addresses);
        ensure!(required.is_ok(), "{required:?} when requiring {peer}");
        self.required.ids.extend(required.ok().map(|id| (peer, id)));
        Ok(())
    }

    /// Changes something about a required peer that makes no difference in the end.
    pub(super) fn change_required(&mut self, desk: &mut Desk<'_>) -> Result<(), Violation> {
        let wanted = self.required.wanted.clone();
        let Some(peer) = self.draw.pick(&wanted).copied() else { return Ok(()) };
        let Some(id) = self.required.id(peer) else { return Ok(()) };
        if self.draw.chance(50) {
            let addresses = self.addresses(desk, peer);
            let set = desk.host.set_required(desk.now, id, addresses);
            ensure!(set.is_ok(), "{set:?} when changing {peer}");
        } else {
            let released = desk.host.release(desk.now, id);
            ensure!(released.is_ok(), "{released:?} when releasing {peer}");
            self.required.paused.remove(&peer);
            self.require(desk, peer)?;
        }
        Ok(())
    }

    /// Disconnects a peer; a required one stays so until [`connect`](Self::connect).
    pub(crate) fn disconnect(&mut self, desk: &mut Desk<'_>, peer: usize) {
        // It may be gone, and the application not told yet.
        let id = desk.people.id(peer);
        if desk.host.disconnect(desk.now, *id).is_ok() {
            self.notices.leave(id);
            self.required.paused.insert(peer);
        }
    }

    /// Connects a peer that it has disconnected.
    pub(crate) fn connect(&mut self, desk: &mut Desk<'_>, peer: usize) -> Result<(), Violation> {
        if self.required.paused.remove(&peer) && self.required.wanted.contains(&peer) {
            // Too many dials, or blocked: it is supervised again all the same.
            let _dial = desk.host.connect(desk.now, *desk.people.id(peer));
            let state = self.required.id(peer).and_then(|id| desk.host.required_state(id));
            let paused = state.is_none_or(|state| state.phase == RequiredPhase::Paused);
            ensure!(!paused, "{peer} is paused after a connect");
        }
        Ok(())
    }

    /// Keeps a peer out, by its id or by its address.
    pub(crate) fn block(&mut self, desk: &mut Desk<'_>, peer: usize) -> Result<(), Violation> {
        let rule = rule(desk, peer);
        let added = desk.host.block(desk.now, rule);
        ensure!(added == Ok(self.required.blocked.insert(peer)), "{added:?} when blocking {peer}");
        Ok(())
    }

    pub(crate) fn unblock(&mut self, desk: &mut Desk<'_>, peer: usize) -> Result<(), Violation> {
        let rule = rule(desk, peer);
        let removed = desk.host.unblock(desk.now, &rule);
        let known = self.required.blocked.remove(&peer);
        ensure!(removed == known, "{removed} when taking back {peer}");
        Ok(())
    }

    /// Takes back everything that keeps a required peer away.
    pub(crate) fn allow_all(&mut self, desk: &mut Desk<'_>) -> Result<(), Violation> {
        for peer in self.required.blocked.clone() {
            self.unblock(desk, peer)?;
        }
        for peer in self.required.paused.clone() {
            self.connect(desk, peer)?;
        }
        Ok(())
    }
}

fn rule(desk: &Desk<'_>, peer: usize) -> Rule {
    if peer % 2 == 0 {
        Rule::peer(*desk.people.id(peer))
    } else {
        Rule::ip(crate::net::address(peer).ip())
    }
}
