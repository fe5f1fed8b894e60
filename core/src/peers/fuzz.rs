//! Bodies of the fuzz targets of this room; unit tests run them on pseudo-random inputs.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "it is a test"
)]

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::{
    AGE_MAX, AddressBook, AddressSource, ConnectionManager, Elimination, FORGET_AFTER, Level,
    PER_PEER_MAX, REST_MAX, RESTS_AFTER, Source, SourceRefusal, Sources,
};
use crate::address::Address;
use crate::id::PeerId;
use crate::seed::Seed;
use crate::time::Instant;

fn peer(number: u8) -> PeerId {
    let mut text = *b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";
    text[2] = b"123456789ABCDEFG"[usize::from(number % 16)];
    PeerId::from_bytes(&text).unwrap()
}

/// Reads `data` as calls to the machine that its first byte names, and compares that with a
/// model, or holds it to its invariants.
///
/// # Panics
///
/// If something differs or does not hold.
pub fn peers(data: &[u8]) {
    let Some((which, calls)) = data.split_first() else { return };
    match which % 3 {
        0 => manager(which / 3, calls),
        1 => sources(calls),
        _ => book(calls),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Joining,
    Present,
    Leaving,
}

/// Peers in the order in which they came.
struct Crowd {
    peers_max: usize,
    further: usize,
    elimination: Elimination,
    all: Vec<(PeerId, Level, Stage)>,
}

impl Crowd {
    fn count(&self, stage: Stage, level: Option<Level>) -> usize {
        let matches = |entry: &&(PeerId, Level, Stage)| {
            entry.2 == stage && level.is_none_or(|level| level == entry.1)
        };
        self.all.iter().filter(matches).count()
    }

    /// Spec 7.2, with what D-64 and D-66 add.
    fn admits(&self, level: Level) -> bool {
        let max = self.peers_max;
        let last_in = self.elimination == Elimination::LastIn;
        let present = self.count(Stage::Present, None);
        let low = self.count(Stage::Present, Some(Level::Low));
        let joining = self.count(Stage::Joining, None);
        let joining_high = self.count(Stage::Joining, Some(Level::High));
        let places = match level {
            Level::High => max + self.further,
            Level::Low => max + self.further.div_ceil(2),
        };
        if self.all.len() >= places {
            return false;
        }
        match level {
            Level::High if last_in => present - low + joining_high < max,
            Level::High => joining_high < max,
            Level::Low if last_in => present + joining < max,
            Level::Low => present + joining < max + low,
        }
    }

    /// Who may have to go for a newcomer of that level.
    fn candidates(&self, level: Level) -> Vec<PeerId> {
        let present = |level: Level| -> Vec<PeerId> {
            let all = self.all.iter().filter(|e| e.2 == Stage::Present && e.1 == level);
            all.map(|entry| entry.0).collect()
        };
        let low = present(Level::Low);
        let last_in = self.elimination == Elimination::LastIn;
        let mut all = match level {
            Level::Low if last_in => Vec::new(),
            Level::Low => low,
            Level::High if !low.is_empty() => low,
            Level::High if last_in => Vec::new(),
            Level::High => present(Level::High),
        };
        match self.elimination {
            Elimination::Random => {}
            Elimination::FirstIn => all.truncate(1),
            Elimination::LastIn => all = all.pop().into_iter().collect(),
        }
        all
    }

    fn at(&mut self, peer: PeerId) -> Option<&mut (PeerId, Level, Stage)> {
        self.all.iter_mut().find(|entry| entry.0 == peer)
    }
}

fn manager(setup: u8, calls: &[u8]) {
    let elimination = match setup % 3 {
        0 => Elimination::Random,
        1 => Elimination::FirstIn,
        _ => Elimination::LastIn,
    };
    let peers_max = usize::from(setup / 3 % 5) + 1;
    let seed = Seed::from_u64(u64::from(setup));
    // From the least to plenty.
    let further = 2 + usize::from(setup / 15 % 5);
    let manager = ConnectionManager::new(peers_max, elimination, seed);
    let mut manager = manager.with_further(further);
    let mut crowd = Crowd { peers_max, further, elimination, all: Vec::new() };
    for call in calls {
        let (who, what) = (peer(*call), call >> 4);
        let level = if what & 1 == 0 { Level::Low } else { Level::High };
        match what {
            0..=3 => {
                let known = crowd.at(who).is_some();
                let admitted = manager.admit(who, level);
                assert_eq!(admitted.is_ok(), known || crowd.admits(level));
                if admitted.is_ok() && !known {
                    crowd.all.push((who, level, Stage::Joining));
                }
            }
            4..=8 => joins(&mut manager, &mut crowd, who),
            9..=10 => {
                manager.gone(&who);
                crowd.all.retain(|entry| entry.0 != who);
            }
            11 => {
                manager.leaving(&who);
                if let Some(entry) = crowd.at(who) {
                    entry.2 = Stage::Leaving;
                }
            }
            _ => {
                manager.set_level(&who, level);
                if let Some(entry) = crowd.at(who) {
                    entry.1 = level;
                }
            }
        }
        manager.assert_invariants();
        assert_eq!(manager.len(), crowd.all.len());
        assert_eq!(manager.present(), crowd.count(Stage::Present, None));
        assert_eq!(manager.level(&who), crowd.at(who).map(|entry| entry.1));
    }
}

fn joins(manager: &mut ConnectionManager, crowd: &mut Crowd, who: PeerId) {
    let known = crowd.at(who).copied();
    let full = crowd.count(Stage::Present, None) >= crowd.peers_max;
    match (manager.joined(&who), known) {
        (Err(_), None | Some((_, _, Stage::Leaving))) => {}
        (Err(_), Some((_, level, Stage::Joining))) => {
            assert!(full && crowd.candidates(level).is_empty());
        }
        (Ok(None), Some((_, _, Stage::Present))) => {}
        (Ok(victim), Some((_, level, Stage::Joining))) => {
            assert_eq!(victim.is_some(), full);
            if let Some(victim) = victim {
                assert!(crowd.candidates(level).contains(&victim));
                crowd.at(victim).unwrap().2 = Stage::Leaving;
            }
            crowd.at(who).unwrap().2 = Stage::Present;
        }
        (joined, known) => panic!("{joined:?} {known:?}"),
    }
}

/// What is known of a source: links pending, failures in a row, the rest, when it was heard.
#[derive(Clone, Copy, Default)]
struct Record {
    pending: usize,
    failures: u32,
    rests_until: Instant,
    heard: Instant,
}

fn sources(calls: &[u8]) {
    const PENDING_MAX: usize = 3;
    let mut sources = Sources::new(PENDING_MAX);
    let mut records: BTreeMap<u8, Record> = BTreeMap::new();
    let mut now = Instant::ZERO.after(FORGET_AFTER);
    for call in calls {
        let (number, what) = (call & 7, call >> 3);
        let source = Source::V4([192, 0, 2, number]);
        let record = records.entry(number).or_default();
        match what {
            0..=11 => {
                let expected = if record.pending >= PENDING_MAX {
                    Err(SourceRefusal::TooMany)
                } else if record.rests_until > now {
                    Err(SourceRefusal::Resting { until: record.rests_until })
                } else {
                    Ok(())
                };
                assert_eq!(sources.admit(now, source), expected);
                if expected.is_ok() {
                    let forgotten = now.since(record.heard) >= FORGET_AFTER;
                    record.failures = if forgotten { 0 } else { record.failures };
                    record.pending += 1;
                    record.heard = now;
                }
            }
            12..=26 if record.pending > 0 => {
                record.pending -= 1;
                record.failures += 1;
                record.heard = now;
                if record.failures >= RESTS_AFTER {
                    let doubled = (record.failures - RESTS_AFTER).min(20);
                    let rest = Duration::from_millis(250 << doubled).min(REST_MAX);
                    record.rests_until = now.after(rest);
                }
                sources.failed(now, source);
            }
            27 if record.pending > 0 => {
                *record = Record { pending: record.pending - 1, heard: now, ..Record::default() };
                sources.proven(source);
            }
            28..=30 => now = now.after(Duration::from_millis(500)),
            31 => now = now.after(Duration::from_secs(30)),
            _ => {}
        }
        sources.assert_invariants();
        assert_eq!(sources.pending(source), records.get(&number).map_or(0, |r| r.pending));
    }
}

fn book(calls: &[u8]) {
    const MAX: usize = 24;
    let mut book = AddressBook::new(MAX);
    let mut configured: Vec<Address> = Vec::new();
    let mut now = Instant::ZERO;
    for call in calls.chunks_exact(2) {
        let (what, number) = (call[0], call[1]);
        let place = SocketAddr::from(([10, 0, 0, number >> 4], u16::from(what >> 4)));
        let address = Address::from(place).with_peer(peer(number & 3));
        let of_peer = |all: &[Address]| all.iter().filter(|a| a.peer == address.peer).count();
        match what % 8 {
            0..=2 => {
                let added = book.add(now, &address, AddressSource::Told);
                assert!(!added || place.port() != 0);
            }
            3..=4 => drop(book.add(now, &address, AddressSource::Dialed)),
            5 => {
                let known = configured.contains(&address);
                let room = of_peer(&configured) < PER_PEER_MAX && configured.len() < MAX;
                let added = book.add(now, &address, AddressSource::Configured);
                // What the application says pushes out anything else.
                assert_eq!(added, place.port() != 0 && (known || room));
                if added && !known {
                    configured.push(address);
                }
            }
            6 => {
                book.disproved(&address);
                if number & 8 != 0 {
                    book.remove(&address);
                    configured.retain(|other| *other != address);
                }
            }
            _ => now = now.after(Duration::from_secs(u64::from(number) * 20)),
        }
        book.assert_invariants();
        for number in 0..4 {
            let known: Vec<_> = book.known(now, &peer(number)).cloned().collect();
            assert!(known.len() <= PER_PEER_MAX);
            assert!(known.windows(2).all(|two| two[0].source >= two[1].source));
            assert!(known.iter().all(|known| {
                let kept = known.source == AddressSource::Configured;
                kept == configured.contains(&known.address)
                    && (kept || now.since(known.since) < AGE_MAX)
            }));
        }
        let kept = (0..4).flat_map(|number| book.of(now, &peer(number)));
        let kept: Vec<Address> = kept.collect();
        assert!(configured.iter().all(|address| kept.contains(address)), "one was lost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_list_of_calls_does_what_the_models_do() {
        for seed in 0..600 {
            let mut rng = Seed::from_u64(seed).rng("fuzz", 0);
            let mut data: Vec<u8> =
                (0..1 + rng.below(300)).map(|_| rng.next_u64().to_le_bytes()[3]).collect();
            data[0] = u8::try_from(seed % 251).unwrap();
            peers(&data);
        }
    }
}
