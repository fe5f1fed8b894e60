//! Where peers may be dialled (spec 9.5).
//!
//! State: addresses by peer, each with where it comes from and when it was last good. Events: an
//! address is told, is dialled with success, leads to somebody else, is taken back. Question: where
//! is this peer, best address first?
//!
//! Invariants: A1 only what can be dialled is kept: no port 0, no unspecified, multicast or
//! broadcast address, and nothing that an accepted link seems to come from, which the book is
//! never given (D-57). A2 an address that the application configured stays until it is taken
//! back; others go when they are older than [`AGE_MAX`]. A3 told addresses never push out
//! configured ones, nor those that were dialled.
//!
//! Bounds: [`PER_PEER_MAX`] addresses of a peer, `addresses_max` of all together.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::address::{Address, Host};
use crate::id::PeerId;
use crate::time::{Clamp, Instant};

/// Addresses that are kept of one peer.
pub const PER_PEER_MAX: usize = 8;
/// How long an address stays that is not configured and was not confirmed since.
pub const AGE_MAX: Duration = Duration::from_secs(3600);

/// Where an address comes from; later ones are worth more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AddressSource {
    /// Somebody said so.
    Told,
    /// A dial led to the peer.
    Dialed,
    /// The application said so.
    Configured,
}

/// An address, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Where; it names the peer.
    pub address: Address,
    /// Where it comes from.
    pub source: AddressSource,
    /// When it was last told, or dialled with success.
    pub since: Instant,
}

/// Addresses of peers.
///
/// ```
/// use headwater_core::address::Address;
/// use headwater_core::peers::{AddressBook, AddressSource};
/// use headwater_core::time::Instant;
///
/// let address: Address =
///     "/ip4/10.0.0.1/tcp/80/p2p/QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse()?;
/// let peer = address.peer.unwrap();
/// let now = Instant::ZERO;
/// let mut book = AddressBook::new(100);
/// assert!(book.add(now, &address, AddressSource::Told));
/// assert_eq!(book.of(now, &peer), [address]);
/// let nowhere: Address =
///     "/ip4/0.0.0.0/tcp/80/p2p/QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse()?;
/// assert!(!book.add(now, &nowhere, AddressSource::Configured));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct AddressBook {
    addresses_max: usize,
    clock: Clamp,
    peers: BTreeMap<PeerId, Vec<Known>>,
    /// All that may go, least worth first: by source and age.
    losable: BTreeSet<(AddressSource, Instant, Address)>,
    len: usize,
}

impl AddressBook {
    /// An empty book of at most `addresses_max` addresses.
    #[must_use]
    pub const fn new(addresses_max: usize) -> Self {
        Self {
            addresses_max,
            clock: Clamp::new(),
            peers: BTreeMap::new(),
            losable: BTreeSet::new(),
            len: 0,
        }
    }

    /// Takes an address that names its peer, or makes it younger and its source better. Whether
    /// it is in the book now.
    pub fn add(&mut self, now: Instant, address: &Address, source: AddressSource) -> bool {
        let now = self.clock.advance(now);
        let Some(peer) = address.peer.filter(|_| is_dialable(address)) else { return false };
        let old = self.take(&peer, address);
        let source = old.as_ref().map_or(source, |old| old.source.max(source));
        let known = self.peers.get(&peer).map_or(&[][..], Vec::as_slice);
        if known.len() >= PER_PEER_MAX {
            let worst = known.iter().min_by_key(|known| (known.source, known.since));
            let goes = |worst: &&Known| {
                worst.source <= source && worst.source != AddressSource::Configured
            };
            match worst.filter(goes).map(|worst| worst.address.clone()) {
                Some(worst) => drop(self.take(&peer, &worst)),
                None => return false,
            }
        }
        if self.len >= self.addresses_max && !self.make_room(source) {
            return false;
        }
        self.put(peer, Known { address: address.clone(), source, since: now });
        true
    }

    /// Forgets an address, wherever it came from. Whether it was there.
    pub fn remove(&mut self, address: &Address) -> bool {
        address.peer.is_some_and(|peer| self.take(&peer, address).is_some())
    }

    /// Somebody else was found at an address: it goes, unless the application stands for it.
    pub fn disproved(&mut self, address: &Address) {
        let configured =
            |known: &&Known| known.address == *address && known.source == AddressSource::Configured;
        let all = address.peer.and_then(|peer| self.peers.get(&peer));
        if !all.is_some_and(|all| all.iter().any(|known| configured(&known))) {
            self.remove(address);
        }
    }

    /// The addresses of a peer, the best first: configured, then those that worked, then told
    /// ones, each the youngest first.
    #[must_use]
    pub fn of(&self, now: Instant, peer: &PeerId) -> Vec<Address> {
        self.known(now, peer).map(|known| known.address.clone()).collect()
    }

    /// The same with what is known of each.
    pub fn known(&self, now: Instant, peer: &PeerId) -> impl Iterator<Item = &Known> + '_ {
        let now = now.max(self.clock.now());
        let fresh = move |known: &&Known| {
            known.source == AddressSource::Configured || now.since(known.since) < AGE_MAX
        };
        let mut all: Vec<&Known> =
            self.peers.get(peer).into_iter().flatten().filter(fresh).collect();
        all.sort_by_key(|known| core::cmp::Reverse((known.source, known.since)));
        all.into_iter()
    }

    /// How many addresses there are, old ones included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Drops what is too old, and if nothing is, what is worth least, but nothing that is worth
    /// more than `source`.
    fn make_room(&mut self, source: AddressSource) -> bool {
        let now = self.clock.now();
        let old = |known: &(AddressSource, Instant, Address)| now.since(known.1) >= AGE_MAX;
        let first_dialled = self.losable.iter().find(|known| known.0 == AddressSource::Dialed);
        let first = self.losable.first();
        let found = first.filter(|known| old(known));
        let found = found.or_else(|| first_dialled.filter(|known| old(known)));
        let found = found.or_else(|| first.filter(|known| known.0 <= source));
        let Some((_, _, address)) = found.cloned() else { return false };
        self.remove(&address)
    }

    fn put(&mut self, peer: PeerId, known: Known) {
        if known.source != AddressSource::Configured {
            self.losable.insert((known.source, known.since, known.address.clone()));
        }
        self.len = self.len.saturating_add(1);
        let all = self.peers.entry(peer).or_default();
        // Mostly there is one.
        all.reserve_exact(1);
        all.push(known);
    }

    fn take(&mut self, peer: &PeerId, address: &Address) -> Option<Known> {
        let all = self.peers.get_mut(peer)?;
        let place = all.iter().position(|known| known.address == *address)?;
        let known = all.remove(place);
        if all.is_empty() {
            self.peers.remove(peer);
        }
        self.losable.remove(&(known.source, known.since, known.address.clone()));
        self.len = self.len.saturating_sub(1);
        Some(known)
    }

    /// Checks A1, A2 and the bounds.
    ///
    /// # Panics
    ///
    /// If they do not hold.
    #[doc(hidden)]
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn assert_invariants(&self) {
        let all = || self.peers.values().flatten();
        assert_eq!(all().count(), self.len);
        assert!(self.len <= self.addresses_max);
        assert!(self.peers.values().all(|all| !all.is_empty() && all.len() <= PER_PEER_MAX));
        assert!(all().all(|known| is_dialable(&known.address)));
        let losable = all().filter(|known| known.source != AddressSource::Configured);
        assert_eq!(losable.count(), self.losable.len());
    }
}

/// Whether somebody could be there.
pub(crate) fn is_dialable(address: &Address) -> bool {
    let somewhere = match address.host {
        Host::Ip(ip) => match ip.to_canonical() {
            IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
            IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
        },
        Host::Dns { .. } => true,
    };
    somewhere && address.dialable().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: usize) -> PeerId {
        let mut text = *b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";
        text[2] = b"123456789"[number % 9];
        text[3] = b"123456789"[number / 9 % 9];
        text[4] = b"123456789"[number / 81 % 9];
        PeerId::from_bytes(&text).unwrap()
    }

    fn address(who: usize, port: u16) -> Address {
        let address: Address = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
        Address { port, ..address.with_peer(peer(who)) }
    }

    fn at(secs: u64) -> Instant {
        Instant::ZERO.after(Duration::from_secs(secs))
    }

    #[test]
    fn d57_what_cannot_be_dialled_is_not_kept() {
        let mut book = AddressBook::new(100);
        for text in [
            "/ip4/10.0.0.1/tcp/0",
            "/ip4/0.0.0.0/tcp/1",
            "/ip6/::/tcp/1",
            "/ip6/::ffff:0.0.0.0/tcp/1",
            "/ip4/224.0.0.1/tcp/1",
            "/ip4/255.255.255.255/tcp/1",
            "/ip6/ff02::1/tcp/1",
            "/dns/a.example/tcp/0",
        ] {
            let address: Address = text.parse().unwrap();
            let address = address.with_peer(peer(1));
            assert!(!book.add(at(0), &address, AddressSource::Configured), "{text}");
        }
        // Nobody is named.
        assert!(!book.add(at(0), &"/ip4/10.0.0.1/tcp/1".parse().unwrap(), AddressSource::Told));
        assert!(book.is_empty());
        let name: Address = "/dns/a.example/tcp/1".parse().unwrap();
        assert!(book.add(at(0), &name.with_peer(peer(1)), AddressSource::Told));
    }

    #[test]
    fn the_best_address_comes_first_and_old_ones_not_at_all() {
        let mut book = AddressBook::new(100);
        book.add(at(0), &address(1, 1), AddressSource::Told);
        book.add(at(1), &address(1, 2), AddressSource::Told);
        book.add(at(2), &address(1, 3), AddressSource::Dialed);
        book.add(at(0), &address(1, 4), AddressSource::Configured);
        let ports = |book: &AddressBook, now| -> Vec<u16> {
            book.of(now, &peer(1)).iter().map(|address| address.port).collect()
        };
        assert_eq!(ports(&book, at(3)), [4, 3, 2, 1]);
        // A dial that worked makes a told address a better one; telling it again does not.
        book.add(at(4), &address(1, 1), AddressSource::Dialed);
        book.add(at(5), &address(1, 1), AddressSource::Told);
        assert_eq!(ports(&book, at(6)), [4, 1, 3, 2]);
        assert_eq!(ports(&book, at(3602)), [4, 1]);
        // Somebody else is there: only what the application stands for stays.
        book.disproved(&address(1, 4));
        book.disproved(&address(1, 1));
        assert_eq!(ports(&book, at(9000)), [4]);
        assert!(book.remove(&address(1, 4)) && !book.remove(&address(1, 4)));
        book.assert_invariants();
    }

    #[test]
    fn a_flood_of_told_addresses_pushes_out_told_ones_only() {
        let mut book = AddressBook::new(20);
        book.add(at(0), &address(0, 1), AddressSource::Configured);
        book.add(at(0), &address(0, 2), AddressSource::Dialed);
        for number in 0..700 {
            for port in 10..30 {
                book.add(at(1), &address(number, port), AddressSource::Told);
                book.assert_invariants();
            }
        }
        assert_eq!(book.len(), 20);
        let ports: Vec<u16> = book.of(at(2), &peer(0)).iter().map(|a| a.port).collect();
        assert_eq!(ports[..2], [1, 2]);
        // Configured ones fill the book; then nothing told has a place.
        for number in 1..20 {
            assert!(book.add(at(3), &address(number, 1), AddressSource::Configured));
        }
        assert!(!book.add(at(3), &address(30, 1), AddressSource::Told));
        assert!(!book.add(at(3), &address(30, 1), AddressSource::Configured));
        book.assert_invariants();
    }
}
