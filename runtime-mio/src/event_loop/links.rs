//! The sockets, each at a place of its own.
//!
//! Core gives the index of a connection that has ended to a new one while the old one's other side
//! is still heard out; so sockets have places of their own, and what the system says about one is
//! never taken for news of another.
//!
//! Bound: one place for each connection of core, those on their way out included, and for each
//! dial under way.

use headwater_core::id::ConnectionId;

use crate::link::Link;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Links {
    places: Vec<Option<Link>>,
    free: Vec<u32>,
    /// By the index of a connection: where the newest link with that index is, or was.
    newest: Vec<u32>,
}

impl Links {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Where the next one will be.
    pub(super) fn next_place(&self) -> u32 {
        // As many links as fit into memory have places that fit into 32 bits.
        self.free.last().copied().unwrap_or(self.places.len() as u32)
    }

    /// Puts a link at [`Links::next_place`].
    pub(super) fn insert(&mut self, mut link: Link) -> &mut Link {
        let place = self.next_place();
        if self.free.pop().is_none() {
            self.places.push(None);
        }
        link.place = place;
        let index = link.id.index as usize;
        if self.newest.len() <= index {
            self.newest.resize(index + 1, 0);
        }
        self.newest[index] = place;
        self.places[place as usize].insert(link)
    }

    /// The one at a place.
    pub(super) fn at(&mut self, place: u32) -> Option<&mut Link> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    /// The one of a connection.
    pub(super) fn of(&mut self, connection: ConnectionId) -> Option<&mut Link> {
        let place = self.place_of(connection)?;
        self.at(place)
    }

    /// Takes the one of a connection out.
    pub(super) fn remove(&mut self, connection: ConnectionId) -> Option<Link> {
        let place = self.place_of(connection)?;
        self.free.push(place);
        self.places[place as usize].take()
    }

    fn place_of(&self, connection: ConnectionId) -> Option<u32> {
        let is_it = |link: &Option<Link>| link.as_ref().is_some_and(|link| link.id == connection);
        let newest = *self.newest.get(connection.index as usize)?;
        if self.places.get(newest as usize).is_some_and(is_it) {
            return Some(newest);
        }
        // On its way out, while its index has gone to another one: rare and soon over.
        self.places.iter().position(is_it).map(|place| place as u32)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use mio::{Poll, Token};

    use super::*;

    fn link(poll: &Poll, index: u32, generation: u32) -> Link {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = listener.local_addr().unwrap();
        let id = ConnectionId { index, generation };
        Link::dial(id, remote, poll.registry(), Token(0)).unwrap()
    }

    #[test]
    fn a_link_on_its_way_out_keeps_its_place_when_its_index_is_given_away() {
        let poll = Poll::new().unwrap();
        let mut links = Links::default();
        let old = ConnectionId { index: 5, generation: 0 };
        let new = ConnectionId { index: 5, generation: 1 };
        assert_eq!(links.insert(link(&poll, 5, 0)).place, 0);
        assert_eq!(links.insert(link(&poll, 5, 1)).place, 1);
        assert_eq!(links.of(old).map(|link| link.place), Some(0));
        assert_eq!(links.of(new).map(|link| link.place), Some(1));
        assert_eq!(links.at(0).map(|link| link.id), Some(old));
        assert_eq!(links.remove(old).map(|link| link.id), Some(old));
        assert!(links.of(old).is_none() && links.at(0).is_none() && links.remove(old).is_none());
        assert_eq!((links.len(), links.next_place()), (1, 0));
        assert_eq!(links.insert(link(&poll, 2, 7)).place, 0);
        assert_eq!(links.of(new).map(|link| link.place), Some(1));
        assert_eq!(links.len(), 2);
    }
}
