//! Which connection of a peer takes a message.
//!
//! A [`Route`] is a snapshot that a sender keeps: the peer's protocols, and for each of its
//! connections a handle through which messages go in and the load comes out. The node makes a
//! new one, with a higher generation, whenever protocols or connections change; a sender that
//! holds an older one finds at worst an outbox that says it moved, and picks once more.
//!
//! The choice: fewest queued bytes, then most idle streams, then the lowest id. The original
//! looks at idle streams alone (spec 5.3), which says nothing while all pools have some.
//!
//! Bounds: one entry for each connection of the peer.

use alloc::sync::Arc;
use core::cmp::Reverse;

use super::send::PoolCounts;
use crate::id::ConnectionId;
use crate::protocol::ProtocolSet;

/// How busy a connection is towards its peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Load {
    /// Bytes accepted and not yet framed.
    pub queued_bytes: usize,
    /// Streams that can be borrowed.
    pub idle_streams: usize,
    /// Streams there are.
    pub current: usize,
    /// Streams there may be.
    pub max: usize,
}

impl Load {
    /// The load of a connection with this pool and so many bytes in its outbox.
    #[must_use]
    pub const fn new(counts: &PoolCounts, queued_bytes: usize) -> Self {
        let PoolCounts { max, current, idle, .. } = *counts;
        Self { queued_bytes, idle_streams: idle, current, max }
    }

    /// Whether one more connection would help (spec 5.3): at least half of the streams that may
    /// exist do, and less than half of those are idle.
    #[must_use]
    pub const fn is_hot(&self) -> bool {
        self.current >= self.max / 2 && self.idle_streams < self.current / 2
    }

    /// Orders loads from the one to pick to the one to avoid.
    pub(super) fn rank(&self) -> (usize, Reverse<usize>) {
        (self.queued_bytes, Reverse(self.idle_streams))
    }
}

/// Something that knows the load of a connection: the load itself in a single-owner loop, a
/// handful of atomics where connections run elsewhere. It may be a moment old.
pub trait LoadSource {
    /// The load as far as it is known.
    fn load(&self) -> Load;
}

impl LoadSource for Load {
    fn load(&self) -> Load {
        *self
    }
}

impl<T: LoadSource + ?Sized> LoadSource for &T {
    fn load(&self) -> Load {
        (**self).load()
    }
}

impl<T: LoadSource + ?Sized> LoadSource for Arc<T> {
    fn load(&self) -> Load {
        (**self).load()
    }
}

/// One connection of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<H> {
    /// Its id.
    pub connection: ConnectionId,
    /// What a sender needs: the outbox, the load, or a key to them.
    pub handle: H,
}

/// The way to a peer, as it was at one moment; cloning it copies pointers.
///
/// ```
/// use headwater_core::id::{ConnectionId, ProtocolId};
/// use headwater_core::pool::{Entry, Load, Route};
///
/// let echo = ProtocolId::new("/echo")?;
/// let entry = |index, queued_bytes| Entry {
///     connection: ConnectionId { index, generation: 0 },
///     handle: Load { queued_bytes, ..Load::default() },
/// };
/// let route = Route::new(1, [echo].into_iter().collect(), [entry(4, 900), entry(5, 100)]);
/// assert!(route.supports("/echo"));
/// let picked = route.pick().expect("there are two");
/// assert_eq!(picked.connection.index, 5);
/// // Its outbox says that it moved: the next best, once.
/// let second = route.pick_after(picked.connection).expect("there is another");
/// assert_eq!(second.connection.index, 4);
/// # Ok::<(), headwater_core::id::ProtocolIdError>(())
/// ```
#[derive(Debug)]
pub struct Route<H> {
    generation: u64,
    protocols: ProtocolSet,
    entries: Arc<[Entry<H>]>,
}

impl<H> Clone for Route<H> {
    fn clone(&self) -> Self {
        let Self { generation, protocols, entries } = self;
        Self { generation: *generation, protocols: protocols.clone(), entries: Arc::clone(entries) }
    }
}

impl<H> Route<H> {
    /// A route with a generation above that of the one it replaces.
    #[must_use]
    pub fn new(
        generation: u64,
        protocols: ProtocolSet,
        entries: impl IntoIterator<Item = Entry<H>>,
    ) -> Self {
        Self { generation, protocols, entries: entries.into_iter().collect() }
    }

    /// Which of two routes to a peer is the newer: the one with the higher number.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// What the peer supports.
    #[must_use]
    pub const fn protocols(&self) -> &ProtocolSet {
        &self.protocols
    }

    /// Whether the peer supports `protocol` (spec 4.6).
    #[must_use]
    pub fn supports(&self, protocol: &str) -> bool {
        self.protocols.contains(protocol)
    }

    /// The connections, in the order in which they came.
    #[must_use]
    pub fn entries(&self) -> &[Entry<H>] {
        &self.entries
    }

    /// The connection that takes the next message; `None` if there is none. Allocates nothing.
    #[must_use]
    pub fn pick(&self) -> Option<&Entry<H>>
    where
        H: LoadSource,
    {
        self.pick_with(|entry| entry.handle.load())
    }

    /// The next best connection when the outbox of the picked one said that it moved.
    #[must_use]
    pub fn pick_after(&self, moved: ConnectionId) -> Option<&Entry<H>>
    where
        H: LoadSource,
    {
        let others = self.entries.iter().filter(|entry| entry.connection != moved);
        best(others, |entry| entry.handle.load())
    }

    /// As [`Route::pick`], with loads that the caller looks up; each is read once.
    #[must_use]
    pub fn pick_with(&self, load: impl Fn(&Entry<H>) -> Load) -> Option<&Entry<H>> {
        match &*self.entries {
            // Nothing to choose, and no load to look up.
            [only] => Some(only),
            entries => best(entries.iter(), load),
        }
    }
}

fn best<'a, H>(
    entries: impl Iterator<Item = &'a Entry<H>>,
    load: impl Fn(&Entry<H>) -> Load,
) -> Option<&'a Entry<H>> {
    // `min_by_key` calls the key function once for each entry, so a load that changes meanwhile
    // cannot confuse it.
    entries.min_by_key(|entry| (load(entry).rank(), entry.connection))
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::id::ProtocolId;

    fn connection(index: u32) -> ConnectionId {
        ConnectionId { index, generation: 0 }
    }

    fn route(loads: &[(usize, usize)]) -> Route<Load> {
        let entries = loads.iter().enumerate().map(|(at, (queued_bytes, idle_streams))| Entry {
            connection: connection(at as u32),
            handle: Load {
                queued_bytes: *queued_bytes,
                idle_streams: *idle_streams,
                ..Load::default()
            },
        });
        Route::new(1, ProtocolSet::default(), entries)
    }

    #[test]
    fn hot_is_half_of_the_streams_with_less_than_half_of_them_idle() {
        // max, current, idle; integer divisions as in spec 5.3
        let table = [
            ((100, 50, 24), true),
            ((100, 50, 25), false),
            ((100, 49, 0), false),
            ((100, 51, 24), true),
            ((100, 51, 25), false),
            ((100, 100, 49), true),
            ((3, 1, 0), false),
            ((3, 2, 0), true),
            ((0, 0, 0), false),
        ];
        for ((max, current, idle_streams), expected) in table {
            let load = Load { queued_bytes: 0, idle_streams, current, max };
            assert_eq!(load.is_hot(), expected, "{load:?}");
        }
        let counts = PoolCounts { max: 9, current: 6, idle: 2, lent: 3, opening: 1 };
        let load = Load { queued_bytes: 5, idle_streams: 2, current: 6, max: 9 };
        assert_eq!(Load::new(&counts, 5), load);
    }

    #[test]
    fn bytes_decide_then_streams_then_the_id() {
        let none: &[(usize, usize)] = &[];
        let table = [
            (none, None),
            (&[(7, 0)], Some(0)),
            (&[(7, 9), (6, 0)], Some(1)),
            (&[(7, 1), (7, 2), (8, 9)], Some(1)),
            (&[(7, 2), (7, 2)], Some(0)),
            (&[(9, 0), (7, 2), (7, 2)], Some(1)),
        ];
        for (loads, expected) in table {
            let picked = route(loads).pick().map(|entry| entry.connection.index);
            assert_eq!(picked, expected, "{loads:?}");
        }
    }

    #[test]
    fn after_a_moved_outbox_the_next_best_is_picked() {
        let two = route(&[(1, 0), (2, 0), (3, 0)]);
        assert_eq!(two.pick_after(connection(0)).unwrap().connection, connection(1));
        assert_eq!(two.pick_after(connection(1)).unwrap().connection, connection(0));
        assert!(route(&[(1, 0)]).pick_after(connection(0)).is_none());
    }

    #[test]
    fn loads_are_read_when_picking_and_once_each() {
        #[derive(Default)]
        struct Live {
            queued: AtomicUsize,
            reads: AtomicUsize,
        }
        impl LoadSource for Live {
            fn load(&self) -> Load {
                self.reads.fetch_add(1, Ordering::Relaxed);
                Load { queued_bytes: self.queued.load(Ordering::Relaxed), ..Load::default() }
            }
        }
        let lives: Vec<Arc<Live>> = (0..3)
            .map(|n| Arc::new(Live { queued: n.into(), reads: AtomicUsize::default() }))
            .collect();
        let entries = lives.iter().enumerate().map(|(at, live)| Entry {
            connection: connection(at as u32),
            handle: Arc::clone(live),
        });
        let route = Route::new(3, ProtocolSet::default(), entries);
        let copy = route.clone();
        assert_eq!(route.pick().unwrap().connection, connection(0));
        lives[0].queued.store(9, Ordering::Relaxed);
        assert_eq!(copy.pick().unwrap().connection, connection(1));
        assert!(lives.iter().all(|live| live.reads.load(Ordering::Relaxed) == 2));
        assert_eq!((copy.generation(), copy.entries().len()), (3, 3));
    }

    #[test]
    fn supports_asks_the_peers_own_set() {
        let protocols = [ProtocolId::new("/a").unwrap()].into_iter().collect();
        let route: Route<Load> = Route::new(0, protocols, []);
        assert!(route.supports("/a") && !route.supports("/b"));
        assert!(route.pick().is_none());
    }

    proptest! {
        #[test]
        fn no_other_connection_is_better(
            loads in prop::collection::vec((0..4_usize, 0..4_usize), 1..7),
        ) {
            let picked = route(&loads).pick().unwrap().connection.index as usize;
            for (at, load) in loads.iter().enumerate() {
                let better = load.0 < loads[picked].0
                    || load.0 == loads[picked].0 && load.1 > loads[picked].1
                    || *load == loads[picked] && at < picked;
                prop_assert!(!better);
            }
        }
    }
}
