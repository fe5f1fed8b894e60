//! What the application asks for about peers, as of [`Node`].

use alloc::vec::Vec;

use super::Endpoint;
use crate::address::Address;
use crate::contract::{DialId, RequiredId};
use crate::error::ApplicationError;
use crate::id::PeerId;
#[cfg(doc)]
use crate::node::Node;
use crate::peers::Rule;
use crate::secure::ChannelFactory;
use crate::supervisor::RequiredState;
use crate::time::Instant;

impl<F: ChannelFactory> Endpoint<F> {
    /// See [`Node::dial`].
    ///
    /// # Errors
    ///
    /// Those of [`Node::dial`].
    pub fn dial(&mut self, now: Instant, address: Address) -> Result<DialId, ApplicationError> {
        self.call(now, |node, now| node.dial(now, address))
    }

    /// See [`Node::connect`].
    ///
    /// # Errors
    ///
    /// Those of [`Node::connect`].
    pub fn connect(&mut self, now: Instant, peer: PeerId) -> Result<DialId, ApplicationError> {
        self.call(now, |node, now| node.connect(now, peer))
    }

    /// See [`Node::disconnect`].
    ///
    /// # Errors
    ///
    /// Those of [`Node::disconnect`].
    pub fn disconnect(&mut self, now: Instant, peer: PeerId) -> Result<(), ApplicationError> {
        self.call(now, |node, now| node.disconnect(now, peer))
    }

    /// See [`Node::require`].
    ///
    /// # Errors
    ///
    /// Those of [`Node::require`].
    pub fn require(
        &mut self,
        now: Instant,
        addresses: Vec<Address>,
    ) -> Result<RequiredId, ApplicationError> {
        self.call(now, |node, now| node.require(now, addresses))
    }

    /// See [`Node::set_required`].
    ///
    /// # Errors
    ///
    /// Those of [`Node::set_required`].
    pub fn set_required(
        &mut self,
        now: Instant,
        required: RequiredId,
        addresses: Vec<Address>,
    ) -> Result<(), ApplicationError> {
        self.call(now, |node, now| node.set_required(now, required, addresses))
    }

    /// See [`Node::release`].
    ///
    /// # Errors
    ///
    /// Those of [`Node::release`].
    pub fn release(&mut self, now: Instant, required: RequiredId) -> Result<(), ApplicationError> {
        self.call(now, |node, now| node.release(now, required))
    }

    /// See [`Node::required_state`].
    #[must_use]
    pub fn required_state(&self, required: RequiredId) -> Option<RequiredState> {
        self.node.required_state(required)
    }

    /// See [`Node::required`].
    pub fn required(&self) -> impl Iterator<Item = RequiredId> + '_ {
        self.node.required()
    }

    /// See [`Node::block`].
    ///
    /// # Errors
    ///
    /// Those of [`Node::block`].
    pub fn block(&mut self, now: Instant, rule: Rule) -> Result<bool, ApplicationError> {
        self.call(now, |node, now| node.block(now, rule))
    }

    /// See [`Node::unblock`].
    pub fn unblock(&mut self, now: Instant, rule: &Rule) -> bool {
        self.call(now, |node, now| node.unblock(now, rule))
    }

    /// See [`Node::rules`].
    pub fn rules(&self) -> impl Iterator<Item = &Rule> + '_ {
        self.node.rules()
    }

    /// See [`Node::add_address`].
    ///
    /// # Errors
    ///
    /// Those of [`Node::add_address`].
    pub fn add_address(&mut self, now: Instant, address: &Address) -> Result<(), ApplicationError> {
        self.call(now, |node, now| node.add_address(now, address))
    }

    /// See [`Node::remove_address`].
    pub fn remove_address(&mut self, now: Instant, address: &Address) -> bool {
        self.call(now, |node, now| node.remove_address(now, address))
    }

    /// See [`Node::addresses_of`].
    #[must_use]
    pub fn addresses_of(&self, now: Instant, peer: &PeerId) -> Vec<Address> {
        self.node.addresses_of(now, peer)
    }
}
