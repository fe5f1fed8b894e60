//! The links by name, and what waits to be told to each.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};

use crate::connection::{Parcel, ToConnection};
use crate::contract::{DialId, Direction};
use crate::error::CloseReason;
use crate::id::{ConnectionId, PeerId};
use crate::peers::Source;
use crate::time::Instant;

/// How far a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The driver makes it.
    Dialling,
    /// It is there, its identity is not proven.
    Unproven,
    /// The peer is proven; protocols are exchanged.
    Establishing(PeerId),
    /// Messages travel.
    Live(PeerId),
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) stage: Stage,
    pub(super) direction: Direction,
    pub(super) remote: SocketAddr,
    pub(super) expected: Option<PeerId>,
    pub(super) dial: Option<DialId>,
    /// Where it comes from, while it counts among the unproven ones from there.
    pub(super) source: Option<Source>,
    /// It was told to close.
    pub(super) closing: bool,
    /// It is not known yet whether the other end has gone live, too, and until when it may take
    /// its time.
    pub(super) unsettled: Option<Instant>,
    /// When it was accepted, or began to be made.
    pub(super) since: Instant,
    /// The version of our list that the peer learned at the exchange.
    pub(super) version: u64,
    /// What waits to be told; its id stands in `dirty` once.
    order: Option<Box<ToConnection>>,
}

impl Link {
    /// Messages that were to move to this link and did not reach it.
    pub(super) fn take_adopted(&mut self) -> Vec<Parcel> {
        self.order.as_mut().map(|order| core::mem::take(&mut order.adopt)).unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    link: Option<Link>,
}

/// Bound: one slot for each link that there was at the same time.
#[derive(Debug, Default)]
pub(super) struct Links {
    slots: Vec<Slot>,
    free: VecDeque<u32>,
    dirty: VecDeque<ConnectionId>,
    unproven_inbound: usize,
}

impl Links {
    pub(super) fn insert_inbound(
        &mut self,
        since: Instant,
        remote: SocketAddr,
        source: Option<Source>,
    ) -> ConnectionId {
        self.unproven_inbound = self.unproven_inbound.saturating_add(1);
        self.insert(Link {
            stage: Stage::Unproven,
            direction: Direction::Inbound,
            remote,
            expected: None,
            dial: None,
            source,
            closing: false,
            unsettled: None,
            since,
            version: 0,
            order: None,
        })
    }

    pub(super) fn insert_outbound(
        &mut self,
        since: Instant,
        remote: SocketAddr,
        expected: Option<PeerId>,
        dial: Option<DialId>,
    ) -> ConnectionId {
        self.insert(Link {
            stage: Stage::Dialling,
            direction: Direction::Outbound,
            remote,
            expected,
            dial,
            source: None,
            closing: false,
            unsettled: None,
            since,
            version: 0,
            order: None,
        })
    }

    fn insert(&mut self, link: Link) -> ConnectionId {
        let index = self.free.pop_front().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len().saturating_sub(1)).unwrap_or(u32::MAX)
        });
        let mut generation = 0;
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.link = Some(link);
            generation = slot.generation;
        }
        ConnectionId { index, generation }
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Link> {
        let slot = self.slots.get(id.index as usize)?;
        slot.link.as_ref().filter(|_| slot.generation == id.generation)
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Link> {
        let slot = self.slots.get_mut(id.index as usize)?;
        slot.link.as_mut().filter(|_| slot.generation == id.generation)
    }

    /// The link has passed the proof, or is going.
    pub(super) fn set_stage(&mut self, id: ConnectionId, stage: Stage) {
        let Some(link) = self.get_mut(id) else { return };
        let was = core::mem::replace(&mut link.stage, stage);
        if was == Stage::Unproven && link.direction == Direction::Inbound {
            self.unproven_inbound = self.unproven_inbound.saturating_sub(1);
        }
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Link> {
        self.get(id)?;
        let slot = self.slots.get_mut(id.index as usize)?;
        let link = slot.link.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push_back(id.index);
        if link.stage == Stage::Unproven && link.direction == Direction::Inbound {
            self.unproven_inbound = self.unproven_inbound.saturating_sub(1);
        }
        Some(link)
    }

    pub(super) fn order(&mut self, id: ConnectionId, order: ToConnection) {
        let Some(link) = self.get_mut(id) else { return };
        match &mut link.order {
            Some(earlier) => earlier.merge(order),
            None => {
                link.order = Some(Box::new(order));
                self.dirty.push_back(id);
            }
        }
    }

    /// Tells a link to close.
    pub(super) fn close(&mut self, id: ConnectionId, reason: CloseReason) {
        if let Some(link) = self.get_mut(id) {
            link.closing = true;
        }
        self.order(id, super::close_order(reason));
    }

    /// Whether a link was told to close, or is gone.
    pub(super) fn is_closing(&self, id: ConnectionId) -> bool {
        self.get(id).is_none_or(|link| link.closing)
    }

    pub(super) fn poll_order(&mut self) -> Option<(ConnectionId, ToConnection)> {
        while let Some(id) = self.dirty.pop_front() {
            if let Some(order) = self.get_mut(id).and_then(|link| link.order.take()) {
                return Some((id, *order));
            }
        }
        None
    }

    pub(super) fn describe(&self, id: ConnectionId) -> (Direction, Option<PeerId>, SocketAddr) {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        self.get(id).map_or((Direction::Inbound, None, nowhere), |link| {
            (link.direction, link.expected, link.remote)
        })
    }

    pub(super) fn ids(&self) -> Vec<ConnectionId> {
        self.iter().map(|(id, _)| id).collect()
    }

    /// The links with their names, in the order of those.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnectionId, &Link)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let id = ConnectionId { index, generation: slot.generation };
            Some((id, slot.link.as_ref()?))
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// Accepted links whose peer is not proven.
    pub(super) const fn unproven_inbound(&self) -> usize {
        self.unproven_inbound
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn assert_invariants(&self) {
        let links = || self.slots.iter().filter_map(|slot| slot.link.as_ref());
        let unproven = links()
            .filter(|link| link.stage == Stage::Unproven && link.direction == Direction::Inbound);
        assert_eq!(unproven.count(), self.unproven_inbound);
        assert_eq!(links().count().saturating_add(self.free.len()), self.slots.len());
        let ordered = links().filter(|link| link.order.is_some()).count();
        assert!(ordered <= self.dirty.len());
    }
}
