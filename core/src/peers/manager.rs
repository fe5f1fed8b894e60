//! How many peers may be connected, and who makes room for whom (spec 7).
//!
//! # States
//!
//! A peer is unknown, *joining* (its link is being established), *present* (connected) or
//! *leaving* (it was told to go, its links are not gone yet). It is of high level if it is
//! required, else of low level. All but the unknown ones hold a place, because all of them hold
//! memory; there are some more places than peers that may be present.
//!
//! # Events
//!
//! A peer asks to join ([`admit`](ConnectionManager::admit)), has joined
//! ([`joined`](ConnectionManager::joined)), is told to go, is gone; its level changes.
//!
//! # Invariants
//!
//! M1 a peer has one entry, of one level; a change of level moves it (D-52). M2 present
//! peers are at most `peers_max`, and those of low level that join beyond it at most as many as
//! may make room. M3 nobody of high level makes room while somebody of low level is there, and
//! none of high level makes room for one of low level. M4 who has joined is never the one that
//! makes room for itself: newcomers are refused before, not evicted after (D-66). M5 who makes
//! room follows from the calls and the seed alone. M6 of the further places some are kept for high
//! level, so that others, however many join and leave, do not keep required peers out.
//!
//! # Bounds
//!
//! `peers_max` peers that are present, and with those that are joining or leaving `places_max`. All
//! questions are answered in logarithmic time.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::error::Refusal;
use crate::id::PeerId;
use crate::seed::{Rng, Seed};

/// Who makes room when there are as many peers as may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Elimination {
    /// One at random.
    Random,
    /// The one that has been there for longest.
    FirstIn,
    /// The one that came last: the newcomer, so it is refused.
    #[default]
    LastIn,
}

impl fmt::Display for Elimination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Random => "random",
            Self::FirstIn => "first-in",
            Self::LastIn => "last-in",
        })
    }
}

impl FromStr for Elimination {
    type Err = EliminationError;

    /// Reads `random`, `first-in` or `last-in`, in any case.
    ///
    /// # Errors
    ///
    /// [`EliminationError`] for anything else.
    fn from_str(text: &str) -> Result<Self, EliminationError> {
        let all = [Self::Random, Self::FirstIn, Self::LastIn];
        let names = ["random", "first-in", "last-in"];
        let mut known = all.into_iter().zip(names);
        let found = known.find(|(_, name)| name.eq_ignore_ascii_case(text));
        found.map(|(kind, _)| kind).ok_or(EliminationError)
    }
}

/// A text that is not an [`Elimination`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EliminationError;

impl fmt::Display for EliminationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected random, first-in or last-in")
    }
}

impl core::error::Error for EliminationError {}

/// How much a peer matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Anybody.
    Low,
    /// A required peer.
    High,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Joining,
    Present,
    Leaving,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    level: Level,
    stage: Stage,
    /// When it came: its place among all that ever came.
    order: u64,
    /// Its place in `Present::places`, while it is present.
    place: usize,
}

/// The present peers of one level.
#[derive(Debug, Default)]
struct Present {
    by_order: BTreeSet<(u64, PeerId)>,
    /// In no order, to draw from.
    places: Vec<PeerId>,
}

/// Levels and limits.
///
/// ```
/// use headwater_core::peers::{ConnectionManager, Elimination, Level};
/// use headwater_core::seed::Seed;
///
/// let one = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse()?;
/// let two = "QmdQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse()?;
/// let mut manager = ConnectionManager::new(1, Elimination::LastIn, Seed::from_u64(1));
/// manager.admit(one, Level::Low)?;
/// assert_eq!(manager.joined(&one), Ok(None));
/// assert!(manager.admit(two, Level::Low).is_err());
/// // A required peer is let in, and when it has joined somebody has to go.
/// manager.admit(two, Level::High)?;
/// assert_eq!(manager.joined(&two), Ok(Some(one)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ConnectionManager {
    peers_max: usize,
    /// Places for peers that join before somebody has made room, and that are leaving.
    further: usize,
    elimination: Elimination,
    rng: Rng,
    entries: BTreeMap<PeerId, Entry>,
    low: Present,
    high: Present,
    joining_low: usize,
    joining_high: usize,
    leaving: usize,
    came: u64,
}

impl ConnectionManager {
    /// A manager that knows nobody, of at most `peers_max` present peers, and as many (or 2) that
    /// are joining or leaving beside them.
    #[must_use]
    pub fn new(peers_max: usize, elimination: Elimination, seed: Seed) -> Self {
        Self {
            peers_max,
            further: peers_max.max(2),
            elimination,
            rng: seed.rng("elimination", 0),
            entries: BTreeMap::new(),
            low: Present::default(),
            high: Present::default(),
            joining_low: 0,
            joining_high: 0,
            leaving: 0,
            came: 0,
        }
    }

    /// The same with `further` places, at least 2, beside those of present peers.
    #[must_use]
    pub fn with_further(self, further: usize) -> Self {
        Self { further: further.max(2), ..self }
    }

    /// How many peers it may know at the same time.
    #[must_use]
    pub const fn places_max(&self) -> usize {
        self.peers_max.saturating_add(self.further)
    }

    /// A peer that is not known asks to join; one that is known stays what it is.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyPeers`] if there is no room, and nobody who would have to make it;
    /// nothing changed.
    pub fn admit(&mut self, peer: PeerId, level: Level) -> Result<(), Refusal> {
        if self.entries.contains_key(&peer) {
            return Ok(());
        }
        if !self.has_room(level) {
            return Err(Refusal::TooManyPeers);
        }
        let order = self.came;
        self.came = self.came.saturating_add(1);
        self.entries.insert(peer, Entry { level, stage: Stage::Joining, order, place: 0 });
        self.count(level, Stage::Joining, true);
        Ok(())
    }

    /// A joining peer is connected. Gives the peer that has to go for it, if one has to; that one
    /// is leaving from now on. Does nothing to a peer that is present.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyPeers`] if there is no room any more, because somebody who matters more
    /// came meanwhile, or if it was not admitted or told to go; nothing changed, tell when it is
    /// [`gone`](Self::gone).
    pub fn joined(&mut self, peer: &PeerId) -> Result<Option<PeerId>, Refusal> {
        let entry = self.entries.get(peer).copied().ok_or(Refusal::TooManyPeers)?;
        match entry.stage {
            Stage::Joining => {}
            Stage::Present => return Ok(None),
            // Who is not counted any more would be connected beyond the limit.
            Stage::Leaving => return Err(Refusal::TooManyPeers),
        }
        let mut victim = None;
        if self.present() >= self.peers_max {
            victim = Some(self.choose(entry.level).ok_or(Refusal::TooManyPeers)?);
        }
        if let Some(victim) = &victim {
            self.leaving(victim);
        }
        self.move_to(peer, entry.level, Stage::Present);
        Ok(victim)
    }

    /// A peer is told to go: it takes no room any more.
    pub fn leaving(&mut self, peer: &PeerId) {
        if let Some(entry) = self.entries.get(peer).copied() {
            self.move_to(peer, entry.level, Stage::Leaving);
        }
    }

    /// A peer has no link any more, or did not join.
    pub fn gone(&mut self, peer: &PeerId) {
        if let Some(entry) = self.entries.get(peer).copied() {
            self.take(peer, entry);
            self.entries.remove(peer);
        }
    }

    /// A peer is of that level from now on, if it is known.
    pub fn set_level(&mut self, peer: &PeerId, level: Level) {
        if let Some(entry) = self.entries.get(peer).copied() {
            self.move_to(peer, level, entry.stage);
        }
    }

    /// The level of a peer, if it is known.
    #[must_use]
    pub fn level(&self, peer: &PeerId) -> Option<Level> {
        self.entries.get(peer).map(|entry| entry.level)
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn is_present(&self, peer: &PeerId) -> bool {
        self.entries.get(peer).is_some_and(|entry| entry.stage == Stage::Present)
    }

    /// Connected peers that have not been told to go.
    #[must_use]
    pub fn present(&self) -> usize {
        self.low.places.len().saturating_add(self.high.places.len())
    }

    /// Peers that are known: joining, present and leaving.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn has_room(&self, level: Level) -> bool {
        if level == Level::High {
            // Those of low level that are joining do not keep it out: they may have to wait.
            let high = self.high.places.len().saturating_add(self.joining_high);
            return self.len() < self.places_max()
                && match self.elimination {
                    Elimination::LastIn => high < self.peers_max,
                    Elimination::Random | Elimination::FirstIn => {
                        self.joining_high < self.peers_max
                    }
                };
        }
        if self.len() >= self.peers_max.saturating_add(self.further.div_ceil(2)) {
            return false;
        }
        let joining = self.joining_low.saturating_add(self.joining_high);
        let taken = self.present().saturating_add(joining);
        // Those that join beyond the limit need somebody each.
        let beyond = taken.checked_sub(self.peers_max);
        beyond.is_none_or(|beyond| beyond < self.rivals(level))
    }

    /// How many could make room for a newcomer of that level.
    fn rivals(&self, level: Level) -> usize {
        let low = self.low.places.len();
        match (self.elimination, level) {
            (Elimination::LastIn, Level::Low) => 0,
            (Elimination::LastIn, Level::High) | (_, Level::Low) => low,
            (_, Level::High) => low.saturating_add(self.high.places.len()),
        }
    }

    /// Who makes room for a peer of that level.
    fn choose(&mut self, level: Level) -> Option<PeerId> {
        if self.rivals(level) == 0 {
            return None;
        }
        let from = if self.low.places.is_empty() { &self.high } else { &self.low };
        match self.elimination {
            Elimination::FirstIn => from.by_order.first().map(|(_, peer)| *peer),
            Elimination::LastIn => from.by_order.last().map(|(_, peer)| *peer),
            Elimination::Random => {
                let drawn = self.rng.below(u64::try_from(from.places.len()).unwrap_or(0));
                from.places.get(usize::try_from(drawn).unwrap_or(0)).copied()
            }
        }
    }

    fn move_to(&mut self, peer: &PeerId, level: Level, stage: Stage) {
        let Some(entry) = self.entries.get(peer).copied() else { return };
        if (entry.level, entry.stage) == (level, stage) {
            return;
        }
        self.take(peer, entry);
        let mut place = 0;
        if stage == Stage::Present {
            let present = self.present_of(level);
            place = present.places.len();
            present.places.push(*peer);
            present.by_order.insert((entry.order, *peer));
        } else {
            self.count(level, stage, true);
        }
        self.entries.insert(*peer, Entry { level, stage, place, ..entry });
    }

    /// Takes a peer out of what counts it.
    fn take(&mut self, peer: &PeerId, entry: Entry) {
        if entry.stage != Stage::Present {
            return self.count(entry.level, entry.stage, false);
        }
        let present = self.present_of(entry.level);
        present.by_order.remove(&(entry.order, *peer));
        if entry.place < present.places.len() {
            present.places.swap_remove(entry.place);
        }
        let moved = present.places.get(entry.place).copied();
        if let Some(moved) = moved.and_then(|moved| self.entries.get_mut(&moved)) {
            moved.place = entry.place;
        }
    }

    const fn present_of(&mut self, level: Level) -> &mut Present {
        match level {
            Level::Low => &mut self.low,
            Level::High => &mut self.high,
        }
    }

    const fn count(&mut self, level: Level, stage: Stage, up: bool) {
        let counter = match (stage, level) {
            (Stage::Joining, Level::Low) => &mut self.joining_low,
            (Stage::Joining, Level::High) => &mut self.joining_high,
            (Stage::Leaving, _) => &mut self.leaving,
            (Stage::Present, _) => return,
        };
        *counter = if up { counter.saturating_add(1) } else { counter.saturating_sub(1) };
    }

    /// Checks M1, M2 and that counters and lists agree with the entries.
    ///
    /// # Panics
    ///
    /// If they do not.
    #[doc(hidden)]
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn assert_invariants(&self) {
        let count = |level, stage| {
            let all = self.entries.values();
            all.filter(|entry| entry.stage == stage && entry.level == level).count()
        };
        assert_eq!(count(Level::Low, Stage::Joining), self.joining_low);
        assert_eq!(count(Level::High, Stage::Joining), self.joining_high);
        let leaving =
            count(Level::Low, Stage::Leaving).saturating_add(count(Level::High, Stage::Leaving));
        assert_eq!(leaving, self.leaving);
        for (present, level) in [(&self.low, Level::Low), (&self.high, Level::High)] {
            assert_eq!(count(level, Stage::Present), present.places.len());
            assert_eq!(present.by_order.len(), present.places.len());
            for (place, peer) in present.places.iter().enumerate() {
                let entry = self.entries.get(peer).copied();
                assert!(entry.is_some_and(|entry| {
                    entry.place == place && present.by_order.contains(&(entry.order, *peer))
                }));
            }
        }
        assert!(self.present() <= self.peers_max);
        assert!(self.entries.len() <= self.places_max());
    }
}
