//! Accepted links that have not proven themselves, by where they come from (D-21, D-29).
//!
//! A source is an IPv4 address, or the 64-bit prefix of IPv6 addresses that one subscriber has.
//!
//! # States
//!
//! ```text
//! Unknown --accept--> Open{pending, failures} --RESTS_AFTER failures in a row--> Resting{until}
//!    ^------ nothing pending, and quiet for FORGET_AFTER, or proven ------+---- its time ----+
//! ```
//!
//! Events: a link is accepted, proves itself, or ends without. Question: may this one come in?
//!
//! # Invariants
//!
//! O1 the pending links of a source are those that were let in, and neither settled nor ended:
//! one whose peer is proven is settled when it is decided whether that one is welcome.
//! O2 no source has more than `pending_max`. O3 a rest is at most [`REST_MAX`], and a link that
//! proves itself ends it: who shares an address with an attacker is slowed down, not locked out.
//!
//! # Bounds
//!
//! One entry for each source with pending links, and [`SOURCES_MAX`] others, of which the
//! longest quiet one is forgotten first.

use alloc::collections::BTreeMap;
use core::net::IpAddr;
use core::time::Duration;

use crate::time::{Clamp, Instant};

/// Sources without pending links that are remembered.
pub const SOURCES_MAX: usize = 1024;
/// Failures in a row before a source has to rest.
pub const RESTS_AFTER: u32 = 16;
/// The longest rest.
pub const REST_MAX: Duration = Duration::from_secs(10);
/// How long a quiet source is remembered.
pub const FORGET_AFTER: Duration = Duration::from_secs(60);

/// Where accepted links come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// One IPv4 address.
    V4([u8; 4]),
    /// The first 64 bits of an IPv6 address.
    V6([u8; 8]),
}

impl From<IpAddr> for Source {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => Self::V6(ip.octets().first_chunk().copied().unwrap_or_default()),
        }
    }
}

/// Why a link is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceRefusal {
    /// As many are pending as may be.
    TooMany,
    /// The source has to rest.
    Resting {
        /// Until then.
        until: Instant,
    },
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    pending: usize,
    failures: u32,
    rests_until: Instant,
    heard: Instant,
}

/// The sources of accepted links.
///
/// ```
/// use headwater_core::peers::{Source, SourceRefusal, Sources};
/// use headwater_core::time::Instant;
///
/// let mut sources = Sources::new(1);
/// let source = Source::V4([192, 0, 2, 1]);
/// assert_eq!(sources.admit(Instant::ZERO, source), Ok(()));
/// assert_eq!(sources.admit(Instant::ZERO, source), Err(SourceRefusal::TooMany));
/// sources.proven(source);
/// assert_eq!(sources.admit(Instant::ZERO, source), Ok(()));
/// ```
#[derive(Clone, Debug)]
pub struct Sources {
    pending_max: usize,
    clock: Clamp,
    entries: BTreeMap<Source, Entry>,
    /// Entries with pending links.
    busy: usize,
}

impl Sources {
    /// Knows of no source, and allows each of them `pending_max` unproven links.
    #[must_use]
    pub fn new(pending_max: usize) -> Self {
        Self { pending_max, clock: Clamp::default(), entries: BTreeMap::new(), busy: 0 }
    }

    /// A link comes in from there; if it is let in it is pending.
    ///
    /// # Errors
    ///
    /// [`SourceRefusal`]; nothing changed.
    pub fn admit(&mut self, now: Instant, source: Source) -> Result<(), SourceRefusal> {
        let now = self.clock.advance(now);
        if let Some(entry) = self.entries.get(&source) {
            if entry.pending >= self.pending_max {
                return Err(SourceRefusal::TooMany);
            }
            if entry.rests_until > now {
                return Err(SourceRefusal::Resting { until: entry.rests_until });
            }
        }
        let entry = self.entries.entry(source).or_default();
        if now.since(entry.heard) >= FORGET_AFTER {
            entry.failures = 0;
        }
        if entry.pending == 0 {
            self.busy = self.busy.saturating_add(1);
        }
        entry.pending = entry.pending.saturating_add(1);
        entry.heard = now;
        Ok(())
    }

    /// A pending link has proven who it is.
    pub fn proven(&mut self, source: Source) {
        if let Some(entry) = self.entries.get_mut(&source) {
            entry.failures = 0;
            entry.rests_until = Instant::ZERO;
        }
        self.settled(source);
    }

    /// A pending link ended without a proof.
    pub fn failed(&mut self, now: Instant, source: Source) {
        let now = self.clock.advance(now);
        if let Some(entry) = self.entries.get_mut(&source) {
            entry.failures = entry.failures.saturating_add(1);
            entry.heard = now;
            let beyond = entry.failures.saturating_sub(RESTS_AFTER);
            if entry.failures >= RESTS_AFTER {
                let rest = Duration::from_millis(250).saturating_mul(1 << beyond.min(10));
                entry.rests_until = now.after(rest.min(REST_MAX));
            }
        }
        self.settled(source);
    }

    /// A pending link is none any more, and that says nothing about its source.
    pub fn settled(&mut self, source: Source) {
        let Some(entry) = self.entries.get_mut(&source) else { return };
        if entry.pending == 1 {
            self.busy = self.busy.saturating_sub(1);
        }
        entry.pending = entry.pending.saturating_sub(1);
        if entry.pending == 0 && entry.failures == 0 {
            self.entries.remove(&source);
        } else if self.entries.len().saturating_sub(self.busy) > SOURCES_MAX {
            self.forget();
        }
    }

    /// Unproven links from there.
    #[must_use]
    pub fn pending(&self, source: Source) -> usize {
        self.entries.get(&source).map_or(0, |entry| entry.pending)
    }

    /// Makes room: drops quiet sources that are long past, or at least the longest quiet one.
    fn forget(&mut self) {
        let now = self.clock.now();
        let quiet = |entry: &Entry| entry.pending == 0;
        self.entries.retain(|_, entry| !quiet(entry) || now.since(entry.heard) < FORGET_AFTER);
        if self.entries.len().saturating_sub(self.busy) <= SOURCES_MAX {
            return;
        }
        let all = self.entries.iter().filter(|(_, entry)| quiet(entry));
        let oldest = all.min_by_key(|(_, entry)| entry.heard).map(|(source, _)| *source);
        if let Some(oldest) = oldest {
            self.entries.remove(&oldest);
        }
    }

    /// Checks O2 and the bounds.
    ///
    /// # Panics
    ///
    /// If they do not hold.
    #[doc(hidden)]
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn assert_invariants(&self) {
        assert!(self.entries.values().all(|entry| entry.pending <= self.pending_max));
        let busy = self.entries.values().filter(|entry| entry.pending > 0).count();
        assert_eq!(busy, self.busy);
        assert!(self.entries.len() <= busy.saturating_add(SOURCES_MAX));
        let limit = self.clock.now().after(REST_MAX);
        assert!(self.entries.values().all(|entry| entry.rests_until <= limit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Source = Source::V4([192, 0, 2, 1]);

    fn at(millis: u64) -> Instant {
        Instant::ZERO.after(Duration::from_millis(millis))
    }

    #[test]
    fn ipv6_addresses_of_one_subscriber_are_one_source() {
        let of = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:192.0.2.1"), A);
    }

    #[test]
    fn d29_a_source_that_fails_over_and_over_rests_longer_and_longer() {
        let mut sources = Sources::new(100);
        let mut now = at(0);
        let mut rests = alloc::vec::Vec::new();
        for _ in 0..24 {
            if let Err(SourceRefusal::Resting { until }) = sources.admit(now, A) {
                rests.push(until.since(now).as_millis());
                now = until;
                sources.admit(now, A).unwrap();
            }
            sources.failed(now, A);
            sources.assert_invariants();
        }
        assert_eq!(rests, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        // Who proves himself has a clean record.
        now = now.after(REST_MAX);
        sources.admit(now, A).unwrap();
        sources.proven(A);
        assert_eq!(sources.admit(now, A), Ok(()));
        assert_eq!(sources.pending(A), 1);
    }

    #[test]
    fn the_table_forgets_the_longest_quiet_source() {
        let mut sources = Sources::new(4);
        for number in 0..3000_u32 {
            let source = Source::V4(number.to_be_bytes());
            sources.admit(at(u64::from(number)), source).unwrap();
            if number % 3 != 0 {
                sources.failed(at(u64::from(number)), source);
            }
            if number % 100 == 0 {
                sources.assert_invariants();
            }
        }
        sources.assert_invariants();
        assert_eq!(sources.entries.len(), 1000 + SOURCES_MAX);
        // Those with pending links are all there.
        assert!(
            (0..3000_u32).step_by(3).all(|n| sources.pending(Source::V4(n.to_be_bytes())) == 1)
        );
    }
}
