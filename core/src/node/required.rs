//! What the application asks for about peers: dials, required peers, rules, addresses.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::links::Stage;
use super::{ConnectionId, Node};
use crate::address::Address;
use crate::contract::{DialId, RequiredId};
use crate::error::{ApplicationError, CloseReason};
use crate::id::PeerId;
use crate::peers::{AddressSource, Rule};
use crate::record::Note;
use crate::supervisor::RequiredState;
use crate::time::Instant;

impl Node {
    /// Connects to a peer. The outcome is told by `Notification::Dialed` or `DialFailed`; a peer
    /// that is connected already counts as dialled.
    ///
    /// # Errors
    ///
    /// [`ApplicationError::Stopping`], [`ApplicationError::TooManyDials`] (outcomes that were not
    /// read count), [`ApplicationError::OwnId`], [`ApplicationError::BadAddress`],
    /// [`ApplicationError::Blocked`].
    pub fn dial(&mut self, now: Instant, address: Address) -> Result<DialId, ApplicationError> {
        let now = self.note_told(now, || Note::Dial(Box::new(address.clone())));
        let dial = self.start_dial(now, address);
        self.gave(&dial);
        dial
    }

    /// Connects to a peer at the addresses that are known of it, one after the other, the best
    /// first; `dial_deadline` is for each of them. The outcome is told as with
    /// [`dial`](Self::dial). A required peer that was paused or given up is supervised again, also
    /// where the answer is an error, but for the first two below.
    ///
    /// # Errors
    ///
    /// [`ApplicationError::Stopping`], [`ApplicationError::OwnId`],
    /// [`ApplicationError::NoAddress`], [`ApplicationError::TooManyDials`],
    /// [`ApplicationError::Blocked`].
    pub fn connect(&mut self, now: Instant, peer: PeerId) -> Result<DialId, ApplicationError> {
        let now = self.note_told(now, || Note::Connect(Box::new(peer)));
        let dial = self.start_connect(now, peer);
        self.supervise(now);
        self.gave(&dial);
        dial
    }

    /// Closes every connection of a peer, in order: what was accepted for sending leaves first.
    /// A required peer is not dialled any more until [`connect`](Self::connect), connected now or
    /// not; it may still connect by itself.
    ///
    /// # Errors
    ///
    /// [`ApplicationError::NotConnected`] if it is not, nor required.
    pub fn disconnect(&mut self, now: Instant, peer: PeerId) -> Result<(), ApplicationError> {
        let now = self.note_told(now, || Note::Disconnect(Box::new(peer)));
        let required = self.supervisor.pause(&peer);
        let connected = self.peers.get(&peer).is_some_and(|known| !known.links.is_empty());
        if !connected && !required {
            return Err(ApplicationError::NotConnected);
        }
        self.close_peer(&peer, &CloseReason::Requested);
        self.supervise(now);
        Ok(())
    }

    /// Requires a peer from now on: it is kept connected, dialled again after failures with
    /// growing waits, and makes room for nobody but other required peers. The addresses all name
    /// the same peer, or all name none; then whoever answers first is the required one from then
    /// on. They are tried in their order, the one that worked last first.
    ///
    /// `Notification::Connected` and `Disconnected` tell of it as of any peer, `Retrying` and
    /// `GaveUp` of its failures. Required peers count for `peers_max`, so there may be no more of
    /// them, unless the configuration says `overcommit`: then those that find all places taken by
    /// others are refused and tried again, as long as it takes.
    ///
    /// ```
    /// # use headwater_core::{config::Config, contract::Command, node::Node};
    /// # use headwater_core::{seed::Seed, time::Instant};
    /// # let local = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse()?;
    /// # let now = Instant::ZERO;
    /// # let mut node = Node::new(Config::default(), Seed::from_u64(1), local, now)?;
    /// let required = node.require(now, vec!["/ip4/10.0.0.1/tcp/11301".parse()?])?;
    /// assert!(matches!(node.poll_command(), Some(Command::Dial { .. })));
    /// node.release(now, required)?;
    /// assert!(matches!(node.poll_command(), Some(Command::CancelDial { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ApplicationError::NoAddress`], [`ApplicationError::TooManyAddresses`] (8 are allowed),
    /// [`ApplicationError::BadAddress`], [`ApplicationError::DifferentPeers`],
    /// [`ApplicationError::TooManyRequired`], [`ApplicationError::OwnId`],
    /// [`ApplicationError::Stopping`]; nothing changed.
    pub fn require(
        &mut self,
        now: Instant,
        addresses: Vec<Address>,
    ) -> Result<RequiredId, ApplicationError> {
        let now = self.note_told(now, || Note::Require(addresses.clone()));
        self.may_require(&addresses)?;
        let required = self.supervisor.require(now, addresses)?;
        self.gave(&required);
        self.look_at_required(now, required);
        Ok(required)
    }

    /// Gives a required peer other addresses, at once: it is dialled there if it is not connected,
    /// and no longer where it was. An id that was learned stays, unless the new addresses name
    /// one.
    ///
    /// # Errors
    ///
    /// [`ApplicationError::NotRequired`], and those of [`require`](Self::require) about addresses;
    /// nothing changed.
    pub fn set_required(
        &mut self,
        now: Instant,
        required: RequiredId,
        addresses: Vec<Address>,
    ) -> Result<(), ApplicationError> {
        let now = self.note_told(now, || Note::SetRequired(required, addresses.clone()));
        self.may_require(&addresses)?;
        let before = self.supervisor.state(required).and_then(|state| state.peer);
        self.supervisor.set_addresses(now, required, addresses)?;
        if let Some(before) = before {
            self.sync_level(&before);
        }
        self.look_at_required(now, required);
        Ok(())
    }

    /// Requires a peer no longer, at once: a dial to it is cancelled, a connection stays, as one
    /// of any peer.
    ///
    /// # Errors
    ///
    /// [`ApplicationError::NotRequired`]; nothing changed.
    pub fn release(&mut self, now: Instant, required: RequiredId) -> Result<(), ApplicationError> {
        let now = self.note_told(now, || Note::Release(required));
        let peer = self.supervisor.state(required).and_then(|state| state.peer);
        self.supervisor.release(required)?;
        if let Some(peer) = peer {
            self.sync_level(&peer);
            if !self.supervisor.is_trying(&peer) {
                self.fail_waiting(now, &peer, None);
            }
        }
        self.supervise(now);
        Ok(())
    }

    /// How it stands with a required peer, and why.
    #[must_use]
    pub fn required_state(&self, required: RequiredId) -> Option<RequiredState> {
        self.supervisor.state(required)
    }

    /// The required peers, in the order in which they were required.
    pub fn required(&self) -> impl Iterator<Item = RequiredId> + '_ {
        self.supervisor.required()
    }

    /// Keeps somebody out from now on: connections that fall under the rule are cut off at once,
    /// links from there are turned away before anything is read, dials to there fail. Whether the
    /// rule is new.
    ///
    /// # Errors
    ///
    /// [`ApplicationError::TooManyRules`]; nothing changed.
    pub fn block(&mut self, now: Instant, rule: Rule) -> Result<bool, ApplicationError> {
        let now = self.note_told(now, || Note::Block(Box::new(rule)));
        if !self.blacklist.add(rule)? {
            return Ok(false);
        }
        for id in self.links.ids() {
            self.apply(now, id, &rule);
        }
        self.supervise(now);
        Ok(true)
    }

    /// Takes a rule back; required peers that it may have kept out are dialled at once, whatever
    /// they wait for: their waits begin again. Whether it was there.
    pub fn unblock(&mut self, now: Instant, rule: &Rule) -> bool {
        let now = self.note_told(now, || Note::Unblock(Box::new(*rule)));
        let removed = self.blacklist.remove(rule);
        if removed && !self.stopping {
            self.supervisor
                .unblocked(now, |peer, address| rule.may_block(peer, address.socket_addr()));
            self.supervise(now);
        }
        removed
    }

    /// The rules of the blacklist, in a fixed order.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> + '_ {
        self.blacklist.rules()
    }

    /// Remembers an address of a peer for [`connect`](Self::connect), until it is removed.
    ///
    /// # Errors
    ///
    /// [`ApplicationError::BadAddress`] if it names no peer or nobody can be there,
    /// [`ApplicationError::TooManyAddresses`] if the book is full of such addresses (8 of a peer,
    /// `addresses_max` of all); nothing changed.
    pub fn add_address(&mut self, now: Instant, address: &Address) -> Result<(), ApplicationError> {
        let now = self.note_told(now, || Note::AddAddress(Box::new(address.clone())));
        if address.peer.is_none() || !crate::peers::is_dialable(address) {
            return Err(ApplicationError::BadAddress);
        }
        let added = self.book.add(now, address, AddressSource::Configured);
        if added { Ok(()) } else { Err(ApplicationError::TooManyAddresses) }
    }

    /// Forgets an address of a peer. Whether it was known.
    pub fn remove_address(&mut self, now: Instant, address: &Address) -> bool {
        self.note_told(now, || Note::RemoveAddress(Box::new(address.clone())));
        self.book.remove(address)
    }

    /// Where a peer may be dialled, the best address first: those under which it is required,
    /// then those that the application added, those that worked within the last hour, and those
    /// that others told. Where an accepted link seems to come from is never among them (D-57).
    #[must_use]
    pub fn addresses_of(&self, now: Instant, peer: &PeerId) -> Vec<Address> {
        let mut all: Vec<Address> = self.supervisor.addresses_of(peer).collect();
        for address in self.book.of(now, peer) {
            if !all.contains(&address) {
                all.push(address);
            }
        }
        all
    }

    fn may_require(&self, addresses: &[Address]) -> Result<(), ApplicationError> {
        if self.stopping {
            return Err(ApplicationError::Stopping);
        }
        if addresses.iter().any(|address| address.peer == Some(self.local)) {
            return Err(ApplicationError::OwnId);
        }
        Ok(())
    }

    /// A required peer is new or has changed.
    fn look_at_required(&mut self, now: Instant, required: RequiredId) {
        if let Some(peer) = self.supervisor.state(required).and_then(|state| state.peer) {
            self.sync_level(&peer);
            if self.routes.route(&peer).is_some() {
                self.supervisor.connected(now, &peer);
            }
        }
        self.supervise(now);
    }

    /// Cuts a link off if it falls under a rule.
    fn apply(&mut self, now: Instant, id: ConnectionId, rule: &Rule) {
        let Some(link) = self.links.get(id) else { return };
        let peer = match link.stage {
            Stage::Live(peer) | Stage::Establishing(peer) => Some(peer),
            Stage::Dialling | Stage::Unproven => None,
        };
        if !rule.blocks(link.remote) && !peer.is_some_and(|peer| rule.blocks_peer(&peer)) {
            return;
        }
        if link.stage == Stage::Dialling {
            return self.block_dial(now, id);
        }
        self.links.close(id, CloseReason::Blocked);
        if let Some(peer) = peer.filter(|peer| !self.is_connected(peer)) {
            if self.routes.route(&peer).is_some() {
                self.manager.leaving(&peer);
            }
        }
    }
}
