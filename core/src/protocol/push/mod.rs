//! When a peer is sent our list of protocols again (spec 4.4).
//!
//! # States
//!
//! ```text
//! Idle -- poll_send --> InFlight{version, deadline} -- answered --> Idle
//! InFlight -- deadline or failed --> Waiting{retry_at} -- retry_at --> Idle
//! ```
//!
//! Events: our list changed, a PUSH left, a PUSH_OK came, the connection of a PUSH is lost, time.
//! Output: the version to send now, if any. The owner sends the list that is current then.
//!
//! # Invariants
//!
//! 1. At most one push awaits its answer; changes meanwhile coalesce into one more.
//! 2. As long as the peer answers now and then, it comes to know the latest version (spec D-47):
//!    whatever may have been lost is sent again.
//! 3. A PUSH_OK that nobody waits for changes nothing.
//!
//! A PUSH_OK does not say which PUSH it answers, so one that comes late or twice may be taken for
//! the answer to a later push. That is harmless: the pushes of one connection travel in order on
//! one stream, so the later one arrives too; and when that connection is lost, the list is sent
//! again on another whatever was answered.
//!
//! # Bounds
//!
//! A few words; no queue.

use core::time::Duration;

use crate::time::{Clamp, Instant};

/// How long a push waits, for its answer and before it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushConfig {
    /// The time for an answer.
    pub answer_timeout: Duration,
    /// The wait after the first failure; it doubles with each further one.
    pub retry_first: Duration,
    /// The longest wait.
    pub retry_max: Duration,
}

impl Default for PushConfig {
    /// 10 s for an answer; retries after 500 ms, doubling up to 60 s.
    fn default() -> Self {
        Self {
            answer_timeout: Duration::from_secs(10),
            retry_first: Duration::from_millis(500),
            retry_max: Duration::from_secs(60),
        }
    }
}

/// The shortest wait, whatever the configuration says: a wait of zero would be a busy loop.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// Tells one peer about changes of our list of protocols.
///
/// ```
/// use core::time::Duration;
/// use headwater_core::protocol::{Push, PushConfig};
/// use headwater_core::time::Instant;
///
/// let now = Instant::ZERO;
/// let mut push = Push::new(PushConfig::default(), 0); // the exchange told version 0
/// assert_eq!(push.poll_send(now), None);
/// push.changed(now, 1);
/// push.changed(now, 2);
/// assert_eq!(push.poll_send(now), Some(2));
/// let late = now.after(Duration::from_secs(10));
/// push.handle_timeout(late); // no answer came
/// assert_eq!(push.next_timeout(), Some(late.after(Duration::from_millis(500))));
/// ```
#[derive(Clone, Debug)]
pub struct Push {
    config: PushConfig,
    clock: Clamp,
    state: State,
    latest: u64,
    /// The version that the peer is known to have; `None` if that is not certain.
    known: Option<u64>,
    /// The version pushed last.
    pushed: u64,
    /// How many pushes on the present connection were not answered.
    owed: u32,
    /// Whether the present connection carried a push.
    at_risk: bool,
    /// The wait after the next failure.
    retry: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    InFlight { deadline: Instant },
    Waiting { retry_at: Instant },
}

impl Push {
    /// A machine for a peer that learned `version` of our list in the exchange.
    #[must_use]
    pub fn new(config: PushConfig, version: u64) -> Self {
        Self {
            config,
            clock: Clamp::default(),
            state: State::Idle,
            latest: version,
            known: Some(version),
            pushed: version,
            owed: 0,
            at_risk: false,
            retry: config.retry_first,
        }
    }

    /// Our list has this version now; an older one than the latest is ignored.
    pub fn changed(&mut self, now: Instant, version: u64) {
        self.clock.advance(now);
        self.latest = self.latest.max(version);
    }

    /// The version to send now, if there is one to send; it is in flight with that.
    pub fn poll_send(&mut self, now: Instant) -> Option<u64> {
        let now = self.clock.advance(now);
        if self.state != State::Idle || self.known == Some(self.latest) {
            return None;
        }
        self.state = State::InFlight { deadline: later(now, self.config.answer_timeout) };
        self.pushed = self.latest;
        self.owed = self.owed.saturating_add(1);
        self.at_risk = true;
        Some(self.latest)
    }

    /// The push was handed to the carrier: the time for its answer starts now.
    pub fn sent(&mut self, now: Instant) {
        let now = self.clock.advance(now);
        if let State::InFlight { deadline } = &mut self.state {
            *deadline = later(now, self.config.answer_timeout);
        }
    }

    /// A PUSH_OK came. One that is not owed is ignored; one that comes late still counts.
    pub fn answered(&mut self, now: Instant) {
        self.clock.advance(now);
        if self.owed == 0 {
            return;
        }
        self.owed = self.owed.saturating_sub(1);
        self.known = Some(self.pushed);
        self.state = State::Idle;
        self.retry = self.config.retry_first;
    }

    /// The push could not be sent, or the connection that carries pushes is lost.
    ///
    /// If that connection carried a push, what the peer knows is uncertain from here: the list is
    /// sent again, after a wait. Otherwise nothing changes.
    pub fn failed(&mut self, now: Instant) {
        let now = self.clock.advance(now);
        if !self.at_risk {
            return;
        }
        self.at_risk = false;
        self.owed = 0;
        self.known = None;
        if !matches!(self.state, State::Waiting { .. }) {
            self.back_off(now);
        }
    }

    /// Lets time act: an answer that is overdue, a wait that is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.clock.advance(now);
        match self.state {
            State::InFlight { deadline } if is_due(deadline, now) => {
                self.known = None;
                self.back_off(now);
            }
            State::Waiting { retry_at } if is_due(retry_at, now) => self.state = State::Idle,
            _ => {}
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Idle => None,
            State::InFlight { deadline: at } | State::Waiting { retry_at: at } => Some(at),
        }
    }

    /// Whether the peer is known to have the latest version.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.known == Some(self.latest)
    }

    fn back_off(&mut self, now: Instant) {
        let wait = self.retry.min(self.config.retry_max);
        self.state = State::Waiting { retry_at: later(now, wait) };
        self.retry = wait.saturating_mul(2);
    }
}

fn later(now: Instant, wait: Duration) -> Instant {
    now.after(wait.max(WAIT_MIN))
}

/// The end of time never comes, so that a wait set there does not end and begin for ever.
fn is_due(at: Instant, now: Instant) -> bool {
    at <= now && at != Instant::MAX
}

#[cfg(test)]
mod tests;
