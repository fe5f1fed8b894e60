//! The pool of send streams of one connection (spec 5.1): how many there are, and who has them.
//!
//! The pool decides; its owner opens, closes and resets the real streams and names each by a
//! key of its own. A stream is *opening* (asked for, its SYN is not framed yet), *idle*, *lent*
//! or gone. An acknowledgement is never awaited.
//!
//! ```text
//! poll_open --> opening --opened--> idle --borrow--> lent
//!                  |                 ^ |              | |
//!             open_failed            | +-drop_stream--+ | give_back
//!                  v                 +------------------+
//!                gone
//! ```
//!
//! Growth: while idle and opening streams together are at most a fifth of all
//! ([`threshold`]) and fewer than the cap exist, half of the initial number more are opened; a
//! borrow that finds no stream with credit has the same effect. After a failed or refused open
//! nothing is opened for a while: 100 ms, doubled up to 5 s, by default.
//!
//! Invariants (P7):
//! 1. `idle + lent + opening = current`, after any sequence of calls, failed ones included;
//! 2. `current <= cap`; when [`SendStreamPool::set_cap`] breaks it, streams only leave until it
//!    holds again;
//! 3. no key is twice in the pool;
//! 4. a call that returns an error changes no counter;
//! 5. after [`SendStreamPool::close`] all counters are 0 and stay so.
//!
//! Bounds: one key for each stream, at most [`CAP_MAX`]. A borrow looks at each idle stream at
//! most once, a return at each lent one.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::config::{CAP_MAX, PoolConfig, PoolConfigError};
use crate::time::{Clamp, Instant};

/// The number of idle streams at which a pool of `current` streams grows: a fifth, rounded, with
/// halves away from zero (spec 5.1).
///
/// ```
/// use headwater_core::pool::send::threshold;
///
/// assert_eq!([10, 12, 13, 15, 18, 100].map(threshold), [2, 2, 3, 3, 4, 20]);
/// ```
#[must_use]
pub const fn threshold(current: usize) -> usize {
    current.saturating_mul(2).saturating_add(5) / 10
}

/// Why no stream can be borrowed; nothing changed but the pool's wish to grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BorrowError {
    /// The pool was closed.
    Closed,
    /// All streams that there may be are lent or out of credit.
    Exhausted,
    /// More streams are opening, or will be when a wait or the start is over.
    Pending,
}

impl fmt::Display for BorrowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the stream pool is closed",
            Self::Exhausted => "every stream of the pool is in use",
            Self::Pending => "streams are being opened",
        })
    }
}

impl core::error::Error for BorrowError {}

/// A call that does not fit the state of its stream; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolError {
    /// The stream is not of this pool.
    Unknown,
    /// The stream is idle, so it cannot be given back.
    AlreadyIdle,
    /// The stream is in the pool, so it cannot have been opened just now.
    AlreadyOpened,
    /// No stream is opening.
    NotOpening,
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "the stream is not of this pool",
            Self::AlreadyIdle => "the stream was given back before",
            Self::AlreadyOpened => "the stream is in the pool already",
            Self::NotOpening => "the pool waits for no stream to open",
        })
    }
}

impl core::error::Error for PoolError {}

/// What to do with a stream that came to the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a stream that is not kept has to be closed"]
pub enum Returned {
    /// It is idle now.
    Kept,
    /// The pool is closed or full and has forgotten it: close it.
    Close,
}

/// The numbers of a pool: `idle + lent + opening = current <= max`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounts {
    /// Streams at most.
    pub max: usize,
    /// Streams there are.
    pub current: usize,
    /// Those that can be borrowed.
    pub idle: usize,
    /// Those that are borrowed.
    pub lent: usize,
    /// Those whose SYN is not framed yet.
    pub opening: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    New,
    Started,
    Closed,
}

/// Lends streams, known by keys of type `K`; see the module for states and rules.
///
/// ```
/// use headwater_core::pool::{BorrowError, PoolConfig, Returned, SendStreamPool};
/// use headwater_core::time::Instant;
///
/// let config = PoolConfig { init: 2, cap: 3, ..PoolConfig::default() };
/// let mut pool = SendStreamPool::new(config)?;
/// pool.start(Instant::ZERO);
/// assert_eq!(pool.poll_open(), 2);
/// for stream in [1, 3] {
///     assert_eq!(pool.opened(stream), Ok(Returned::Kept));
/// }
/// let credit = |_: &i32| 262_144;
/// let stream = pool.borrow(credit).expect("two are idle");
/// assert_eq!(pool.give_back(stream), Ok(Returned::Kept));
/// assert_eq!(pool.close().collect::<Vec<_>>(), [3, 1]);
/// assert_eq!(pool.borrow(credit), Err(BorrowError::Closed));
/// # Ok::<(), headwater_core::pool::PoolConfigError>(())
/// ```
#[derive(Debug)]
pub struct SendStreamPool<K> {
    config: PoolConfig,
    /// The present cap; [`SendStreamPool::set_cap`] moves it.
    cap: usize,
    /// The cap, or what there was when it was lowered below that.
    ceiling: usize,
    life: Life,
    /// In the order of their return, so the front one has had the longest time to get credit.
    idle: VecDeque<K>,
    lent: Vec<K>,
    opening: usize,
    /// What the start asks for and [`SendStreamPool::poll_open`] has not given out.
    initial: usize,
    /// A borrow found nothing since a stream came last.
    hungry: bool,
    backoff: Backoff,
}

impl<K: Copy + Eq> SendStreamPool<K> {
    /// An empty pool, to be started when the connection may send.
    ///
    /// # Errors
    ///
    /// Those of [`PoolConfig::validate`].
    pub fn new(config: PoolConfig) -> Result<Self, PoolConfigError> {
        config.validate()?;
        Ok(Self::of(config))
    }

    /// An empty pool of sizes that are known to be valid.
    pub(crate) fn of(config: PoolConfig) -> Self {
        Self {
            config,
            cap: config.cap,
            ceiling: config.cap,
            life: Life::New,
            idle: VecDeque::new(),
            lent: Vec::new(),
            opening: 0,
            initial: 0,
            hungry: false,
            backoff: Backoff::default(),
        }
    }

    /// Wants the initial streams; a second call, or one after the close, does nothing.
    pub fn start(&mut self, now: Instant) {
        self.backoff.clock.advance(now);
        if self.life == Life::New {
            self.life = Life::Started;
            self.initial = self.config.init;
        }
    }

    /// How many streams to open now; they count as opening from here on.
    ///
    /// Each is answered by [`SendStreamPool::opened`] or [`SendStreamPool::open_failed`]. Asked
    /// again without anything having happened, it says 0.
    pub fn poll_open(&mut self) -> usize {
        let mut total: usize = 0;
        loop {
            let batch = self.batch();
            if batch == 0 {
                return total;
            }
            self.initial = 0;
            self.opening = self.opening.saturating_add(batch);
            total = total.saturating_add(batch);
        }
    }

    /// A stream asked for exists, and its SYN is framed.
    ///
    /// # Errors
    ///
    /// [`PoolError::NotOpening`] or [`PoolError::AlreadyOpened`]; nothing changed.
    pub fn opened(&mut self, key: K) -> Result<Returned, PoolError> {
        if self.life == Life::Closed {
            return Ok(Returned::Close);
        }
        if self.opening == 0 {
            return Err(PoolError::NotOpening);
        }
        if self.idle.contains(&key) || self.lent.contains(&key) {
            return Err(PoolError::AlreadyOpened);
        }
        self.opening = self.opening.saturating_sub(1);
        Ok(self.keep(key))
    }

    /// A stream asked for cannot be opened: the next one is not asked for until a wait is over
    /// (D-36). Failures during one wait count once.
    ///
    /// # Errors
    ///
    /// [`PoolError::NotOpening`]; nothing changed.
    pub fn open_failed(&mut self, now: Instant) -> Result<(), PoolError> {
        if self.life == Life::Closed {
            return Ok(());
        }
        if self.opening == 0 {
            return Err(PoolError::NotOpening);
        }
        self.opening = self.opening.saturating_sub(1);
        self.backoff.fail(now, &self.config);
        Ok(())
    }

    /// Lends the idle stream with the most credit, told by `credit` in bytes; of equals the one
    /// that has been idle longest. One with less than [`PoolConfig::credit_min`] is passed over,
    /// and the first is taken unseen if it has [`PoolConfig::credit_full`].
    ///
    /// # Errors
    ///
    /// [`BorrowError`]: the pool is closed, exhausted, or grows because of this call (D-34).
    pub fn borrow(&mut self, credit: impl Fn(&K) -> u32) -> Result<K, BorrowError> {
        if self.life == Life::Closed {
            return Err(BorrowError::Closed);
        }
        if let Some(key) = self.best(credit).and_then(|at| self.idle.remove(at)) {
            self.lent.push(key);
            self.hungry = false;
            return Ok(key);
        }
        if self.current() >= self.cap && self.opening == 0 {
            return Err(BorrowError::Exhausted);
        }
        self.hungry = true;
        Err(BorrowError::Pending)
    }

    /// Whether [`SendStreamPool::borrow`] would find a stream.
    pub(crate) fn can_lend(&self, credit: impl Fn(&K) -> u32) -> bool {
        self.best(credit).is_some()
    }

    /// Takes a lent stream back when its last byte has been handed on.
    ///
    /// # Errors
    ///
    /// [`PoolError::AlreadyIdle`] or [`PoolError::Unknown`] for a stream that is not lent;
    /// nothing changed (D-37).
    pub fn give_back(&mut self, key: K) -> Result<Returned, PoolError> {
        if self.life == Life::Closed {
            return Ok(Returned::Close);
        }
        if !self.remove_lent(key) {
            let idle = self.idle.contains(&key);
            return Err(if idle { PoolError::AlreadyIdle } else { PoolError::Unknown });
        }
        Ok(self.keep(key))
    }

    /// Forgets a lent or idle stream that was reset or closed; another may be opened for it
    /// (D-34).
    ///
    /// # Errors
    ///
    /// [`PoolError::Unknown`]; nothing changed. After the close every stream is forgotten, and
    /// this is no error.
    pub fn drop_stream(&mut self, key: K) -> Result<(), PoolError> {
        if self.life == Life::Closed || self.remove_lent(key) {
            return Ok(());
        }
        let at = self.idle.iter().position(|idle| *idle == key).ok_or(PoolError::Unknown)?;
        self.idle.remove(at);
        Ok(())
    }

    /// Forgets a stream that the peer reset. A peer that admits fewer streams than the cap does
    /// so, so the next is not asked for until a wait is over, as after a failed open.
    ///
    /// # Errors
    ///
    /// [`PoolError::Unknown`]; nothing changed.
    pub fn refused(&mut self, now: Instant, key: K) -> Result<(), PoolError> {
        self.drop_stream(key)?;
        if self.life != Life::Closed {
            self.backoff.fail(now, &self.config);
        }
        Ok(())
    }

    /// Changes the cap, clamped to 1 to [`CAP_MAX`]; what is idle above it comes out of
    /// [`SendStreamPool::poll_surplus`], what is lent is closed when it returns.
    pub fn set_cap(&mut self, cap: usize) {
        self.cap = cap.clamp(1, CAP_MAX);
        self.ceiling = self.cap.max(self.current());
    }

    /// Removes an idle stream above the cap; close it.
    pub fn poll_surplus(&mut self) -> Option<K> {
        if self.current() <= self.cap {
            return None;
        }
        self.idle.pop_back()
    }

    /// Ends the pool and gives out all idle and then all lent streams, to be closed. Nothing is
    /// lent afterwards, and a stream that comes later is answered with [`Returned::Close`]
    /// (D-35). A second call gives nothing.
    #[must_use = "the streams have to be closed"]
    pub fn close(&mut self) -> impl Iterator<Item = K> {
        self.life = Life::Closed;
        self.opening = 0;
        self.initial = 0;
        self.hungry = false;
        self.backoff.retry_at = None;
        self.idle.drain(..).chain(self.lent.drain(..))
    }

    /// When to call [`SendStreamPool::handle_timeout`]: the end of the wait after a failed open.
    #[must_use]
    pub const fn next_timeout(&self) -> Option<Instant> {
        self.backoff.retry_at
    }

    /// Ends the wait after a failed open, if `now` has come to it.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.backoff.clock.advance(now);
        if self.backoff.retry_at.is_some_and(|at| at <= now) {
            self.backoff.retry_at = None;
        }
    }

    /// All counters at once.
    #[must_use]
    pub fn counts(&self) -> PoolCounts {
        PoolCounts {
            max: if self.life == Life::Closed { 0 } else { self.cap },
            current: self.current(),
            idle: self.idle.len(),
            lent: self.lent.len(),
            opening: self.opening,
        }
    }

    /// Streams there are: idle, lent and opening ones.
    #[must_use]
    pub fn current(&self) -> usize {
        self.idle.len().saturating_add(self.lent.len()).saturating_add(self.opening)
    }

    /// Whether [`SendStreamPool::close`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.life == Life::Closed
    }

    /// Whether the stream is lent.
    #[must_use]
    pub fn is_lent(&self, key: K) -> bool {
        self.lent.contains(&key)
    }

    /// Checks the invariants of the module. For tests.
    #[doc(hidden)]
    pub fn assert_invariants(&self) {
        let counts = self.counts();
        let sum = [counts.idle, counts.lent, counts.opening].iter().sum::<usize>();
        assert_eq!(sum, counts.current);
        if self.life == Life::Closed {
            assert_eq!(counts, PoolCounts::default());
            assert!(self.next_timeout().is_none());
        }
        assert!(counts.current <= self.ceiling);
        let keys = || self.idle.iter().chain(&self.lent);
        for (at, key) in keys().enumerate() {
            assert!(!keys().skip(at.saturating_add(1)).any(|other| other == key));
        }
    }

    /// How many streams to open in one step of growth; 0 if the pool does not grow now.
    fn batch(&self) -> usize {
        if self.life != Life::Started || self.backoff.retry_at.is_some() {
            return 0;
        }
        let room = self.cap.saturating_sub(self.current());
        if self.initial > 0 {
            return self.initial.min(room);
        }
        let free = self.idle.len().saturating_add(self.opening);
        let starved = self.hungry && self.opening == 0;
        if starved || free <= threshold(self.current()) {
            (self.config.init / 2).max(1).min(room)
        } else {
            0
        }
    }

    fn best(&self, credit: impl Fn(&K) -> u32) -> Option<usize> {
        let mut best: Option<(usize, u32)> = None;
        for (at, key) in self.idle.iter().enumerate() {
            let credit = credit(key);
            if at == 0 && credit >= self.config.credit_full {
                return Some(at);
            }
            let enough = credit >= self.config.credit_min;
            if enough && best.is_none_or(|(_, most)| credit > most) {
                best = Some((at, credit));
            }
        }
        best.map(|(at, _)| at)
    }

    fn keep(&mut self, key: K) -> Returned {
        if self.current() >= self.cap {
            return Returned::Close;
        }
        self.hungry = false;
        self.idle.push_back(key);
        Returned::Kept
    }

    fn remove_lent(&mut self, key: K) -> bool {
        // The latest loan is the likeliest to end.
        let Some(at) = self.lent.iter().rposition(|lent| *lent == key) else { return false };
        self.lent.swap_remove(at);
        true
    }
}

/// The wait after failed opens. A failure soon after the last wait doubles the next one.
#[derive(Debug, Default)]
struct Backoff {
    clock: Clamp,
    /// The end of the wait under way.
    retry_at: Option<Instant>,
    /// The length and the end of the latest wait, over or not.
    latest: Option<(Duration, Instant)>,
}

impl Backoff {
    fn fail(&mut self, now: Instant, config: &PoolConfig) {
        let now = self.clock.advance(now);
        if self.retry_at.is_some() {
            return;
        }
        let wait = match self.latest {
            Some((wait, end)) if now.since(end) <= config.backoff_max => {
                wait.saturating_mul(2).min(config.backoff_max)
            }
            _ => config.backoff_min,
        };
        let end = now.after(wait);
        self.latest = Some((wait, end));
        self.retry_at = Some(end);
    }
}

#[cfg(test)]
#[path = "send_tests.rs"]
mod tests;
