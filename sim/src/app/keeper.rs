//! Keeping the required peers connected, from the side of the application.
//!
//! After a failure it waits, longer each time, up to [`WAIT_MAX`]; a peer that goes away is
//! dialled at once, and every [`CHECK`] it looks whether one is missing that nobody dials.

use std::collections::BTreeMap;
use std::time::Duration;

use headwater_core::contract::DialId;
use headwater_core::time::Instant;

/// The longest wait between two attempts.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(21);

/// How often it looks by itself.
pub(crate) const CHECK: Duration = Duration::from_secs(5);

const WAITS: [u64; 8] = [1, 1, 2, 3, 5, 8, 13, 21];

/// The required peers of one node.
#[derive(Debug)]
pub(crate) struct Keeper {
    peers: BTreeMap<usize, Kept>,
    dials: BTreeMap<DialId, usize>,
}

#[derive(Debug, Default)]
struct Kept {
    failures: usize,
    dialling: bool,
    not_before: Option<Instant>,
}

impl Keeper {
    pub(crate) fn new(required: &[usize]) -> Self {
        let peers = required.iter().map(|peer| (*peer, Kept::default())).collect();
        Self { peers, dials: BTreeMap::new() }
    }

    /// Whom to dial now, of those that `is_connected` does not say are there.
    pub(crate) fn due(&self, now: Instant, is_connected: impl Fn(usize) -> bool) -> Vec<usize> {
        let due = |kept: &Kept| !kept.dialling && kept.not_before.is_none_or(|at| at <= now);
        let due = self.peers.iter().filter(|(peer, kept)| due(kept) && !is_connected(**peer));
        due.map(|(peer, _)| *peer).collect()
    }

    pub(crate) fn dialling(&mut self, dial: DialId, peer: usize) {
        self.dials.insert(dial, peer);
        self.peers.entry(peer).or_default().dialling = true;
    }

    /// A dial is over; false if it was not one of ours.
    pub(crate) fn dial_over(&mut self, now: Instant, dial: DialId, connected: bool) -> bool {
        let Some(peer) = self.dials.remove(&dial) else { return false };
        let kept = self.peers.entry(peer).or_default();
        kept.dialling = false;
        if connected {
            kept.failures = 0;
            kept.not_before = None;
        } else {
            let wait = WAITS[kept.failures.min(WAITS.len() - 1)];
            kept.failures += 1;
            kept.not_before = Some(now.after(Duration::from_secs(wait)));
        }
        true
    }

    pub(crate) fn required(&self) -> impl Iterator<Item = usize> + '_ {
        self.peers.keys().copied()
    }

    /// When it may have something to do, other than at the next check.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        self.peers.values().filter_map(|kept| kept.not_before).filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_ceiling_and_a_success_ends_them() {
        let mut keeper = Keeper::new(&[4]);
        let mut now = Instant::ZERO;
        let mut waits = Vec::new();
        for number in 0..9 {
            assert_eq!(keeper.due(now, |_| false), [4]);
            keeper.dialling(DialId(number), 4);
            assert!(keeper.due(now, |_| false).is_empty());
            assert!(keeper.dial_over(now, DialId(number), false));
            let next = keeper.next(now).unwrap();
            waits.push(next.since(now).as_secs());
            now = next;
        }
        assert_eq!(waits, [1, 1, 2, 3, 5, 8, 13, 21, 21]);
        keeper.dialling(DialId(20), 4);
        assert!(keeper.dial_over(now, DialId(20), true));
        assert!(!keeper.dial_over(now, DialId(20), true));
        assert_eq!((keeper.next(now), keeper.due(now, |_| true).len()), (None, 0));
    }
}
