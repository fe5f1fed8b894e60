//! Pings of this side: the round trip time and the keep-alive (spec 2.2).
//!
//! At most one ping is under way. A ping that measures may stay unanswered; a keep-alive ping
//! has a deadline, which every sign of life moves: only a silent peer ends the session. A ping
//! that stands behind other output cannot be answered yet: until the carrier has taken it, all
//! that the carrier takes moves the deadline, too (D-24), and nothing that it takes afterwards.

use core::time::Duration;

use super::TimerKind;
use crate::time::Instant;

#[derive(Clone, Copy, Debug)]
enum State {
    Idle,
    /// To be framed.
    Queued,
    /// Framed at `sent`, and not yet answered. `end` is the position behind its frame in the
    /// output, until the carrier is known to have taken it.
    Waiting {
        value: u32,
        sent: Instant,
        end: Option<u64>,
    },
}

/// The ping under way, the timer and the round trip time of a session.
#[derive(Debug)]
pub(super) struct Pinger {
    keep_alive: Option<Duration>,
    pong_timeout: Duration,
    state: State,
    /// When the session ends, if the peer stays silent; set while a keep-alive ping is under way.
    due: Option<Instant>,
    next_value: u32,
    last_received: Instant,
    rtt: Option<Duration>,
    probe: Probe,
}

/// Whether a pong was asked for that proves that the peer is there now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    No,
    /// The ping that is queued, or the one under way.
    Asked {
        since: Instant,
    },
    Answered,
}

/// What comes so long after a probe was asked for is no longer something old that waited to be
/// read: it answers the probe, too. A peer on a slow link may have much to say before its pong.
const STALE: Duration = Duration::from_secs(1);

impl Pinger {
    /// One ping is queued from the start (spec 1.7).
    pub(super) const fn new(
        keep_alive: Option<Duration>,
        pong_timeout: Duration,
        now: Instant,
    ) -> Self {
        Self {
            keep_alive,
            pong_timeout,
            state: State::Queued,
            due: None,
            next_value: 0,
            last_received: now,
            rtt: None,
            probe: Probe::No,
        }
    }

    pub(super) const fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    pub(super) const fn wants_transmit(&self) -> bool {
        matches!(self.state, State::Queued)
    }

    /// Queues a ping, unless one is under way that may still be answered.
    pub(super) fn request(&mut self, now: Instant) {
        match self.state {
            State::Queued => {}
            State::Waiting { sent, .. } if now.since(sent) < self.pong_timeout => {}
            State::Idle | State::Waiting { .. } => self.state = State::Queued,
        }
    }

    /// Queues a ping even if one is under way, whose answer may be old; see
    /// [`poll_probed`](Self::poll_probed).
    pub(super) const fn probe(&mut self, now: Instant) {
        self.state = State::Queued;
        self.probe = Probe::Asked { since: now };
    }

    /// Whether a probe was answered since the last call.
    pub(super) fn poll_probed(&mut self) -> bool {
        let answered = self.probe == Probe::Answered;
        if answered {
            self.probe = Probe::No;
        }
        answered
    }

    /// The value of the ping to frame now, if one is queued; its frame ends at the position `end`
    /// of the output.
    pub(super) const fn frame(&mut self, now: Instant, end: u64) -> Option<u32> {
        if !self.wants_transmit() {
            return None;
        }
        let value = self.next_value;
        self.next_value = value.wrapping_add(1);
        self.state = State::Waiting { value, sent: now, end: Some(end) };
        Some(value)
    }

    /// Takes note that the carrier took something: everything up to the position `taken`.
    pub(super) fn on_transmitted(&mut self, now: Instant, taken: u64) {
        match &mut self.state {
            State::Queued => {}
            State::Waiting { end, .. } if end.is_some() => {
                end.take_if(|end| *end <= taken);
            }
            State::Idle | State::Waiting { .. } => return,
        }
        self.put_off(now);
    }

    /// Takes note of bytes from the peer, which may not be read yet.
    pub(super) fn on_life(&mut self, now: Instant) {
        self.last_received = now;
        self.put_off(now);
    }

    /// Takes note of bytes from the peer.
    pub(super) fn on_received(&mut self, now: Instant) {
        self.on_life(now);
        if matches!(self.probe, Probe::Asked { since } if now.since(since) >= STALE) {
            self.probe = Probe::Answered;
        }
    }

    fn put_off(&mut self, now: Instant) {
        if self.due.is_some() {
            self.due = Some(now.after(self.pong_timeout));
        }
    }

    /// Takes a pong; gives the time it took, if it answers the ping under way.
    pub(super) fn on_pong(&mut self, value: u32, now: Instant) -> Option<Duration> {
        match self.state {
            State::Waiting { value: asked, sent, .. } if asked == value => {
                let took = now.since(sent);
                self.state = State::Idle;
                self.due = None;
                if self.probe != Probe::No {
                    self.probe = Probe::Answered;
                }
                self.rtt = Some(match self.rtt {
                    Some(rtt) => rtt.saturating_add(took).checked_div(2).unwrap_or(took),
                    None => took,
                });
                Some(took)
            }
            _ => None,
        }
    }

    pub(super) fn next_timeout(&self) -> Option<(Instant, TimerKind)> {
        let deadline = match (self.due, self.keep_alive) {
            (Some(due), _) => (due, TimerKind::Pong),
            (None, Some(wait)) => (self.last_received.after(wait), TimerKind::KeepAlive),
            (None, None) => return None,
        };
        (deadline.0 < Instant::MAX).then_some(deadline)
    }

    /// Works off what is due; false if the peer was silent for too long.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        match self.next_timeout() {
            Some((at, TimerKind::Pong)) => at > now,
            Some((at, TimerKind::KeepAlive)) if at <= now => {
                self.due = Some(now.after(self.pong_timeout));
                self.state = State::Queued;
                true
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::ZERO.after(Duration::from_secs(secs))
    }

    fn pinger() -> Pinger {
        let ten = Duration::from_secs(10);
        let mut ping = Pinger::new(Some(ten), ten, at(0));
        assert_eq!(ping.frame(at(0), 12), Some(0));
        ping
    }

    #[test]
    fn the_first_ping_measures_and_may_stay_unanswered() {
        let mut ping = Pinger::new(None, Duration::from_secs(10), at(0));
        assert_eq!(ping.frame(at(1), 12), Some(0));
        assert_eq!(ping.frame(at(1), 24), None);
        assert_eq!(ping.next_timeout(), None);
        assert!(ping.handle_timeout(at(1000)));
        assert_eq!(ping.on_pong(1, at(3)), None);
        assert_eq!(ping.on_pong(0, at(3)), Some(Duration::from_secs(2)));
        assert_eq!(ping.on_pong(0, at(4)), None);
        assert_eq!(ping.rtt(), Some(Duration::from_secs(2)));
    }

    #[test]
    fn one_ping_is_under_way_at_a_time() {
        let mut ping = pinger();
        ping.request(at(9));
        assert!(!ping.wants_transmit());
        ping.request(at(10));
        assert_eq!(ping.frame(at(10), 24), Some(1));
        assert_eq!(ping.on_pong(0, at(11)), None);
        assert_eq!(ping.on_pong(1, at(12)), Some(Duration::from_secs(2)));
    }

    #[test]
    fn silence_is_answered_with_a_ping_and_then_with_the_end() {
        let mut ping = pinger();
        ping.on_pong(0, at(1));
        ping.on_received(at(1));
        assert_eq!(ping.next_timeout(), Some((at(11), TimerKind::KeepAlive)));
        assert!(ping.handle_timeout(at(10)) && !ping.wants_transmit());
        assert!(ping.handle_timeout(at(11)));
        assert_eq!(ping.next_timeout(), Some((at(21), TimerKind::Pong)));
        assert!(ping.wants_transmit());
        assert!(ping.handle_timeout(at(20)));
        assert!(!ping.handle_timeout(at(21)));
    }

    #[test]
    fn any_sign_of_life_moves_the_deadline_and_the_answer_removes_it() {
        let mut ping = pinger();
        assert!(ping.handle_timeout(at(10)));
        assert_eq!(ping.frame(at(10), 24), Some(1));
        ping.on_received(at(19));
        assert_eq!(ping.next_timeout(), Some((at(29), TimerKind::Pong)));
        ping.on_received(at(20));
        ping.on_pong(1, at(20));
        assert_eq!(ping.next_timeout(), Some((at(30), TimerKind::KeepAlive)));
    }

    #[test]
    fn d24_what_the_carrier_takes_moves_the_deadline_until_it_has_taken_the_ping() {
        let due = |secs| Some((at(secs), TimerKind::Pong));
        let mut ping = pinger();
        ping.on_transmitted(at(5), 6);
        assert_eq!(ping.next_timeout(), Some((at(10), TimerKind::KeepAlive)));
        assert!(ping.handle_timeout(at(10)));
        // While there is no room to frame it.
        ping.on_transmitted(at(12), 500);
        assert_eq!(ping.next_timeout(), due(22));
        assert_eq!(ping.frame(at(13), 1000), Some(1));
        ping.on_transmitted(at(20), 999);
        assert_eq!(ping.next_timeout(), due(30));
        assert!(ping.handle_timeout(at(29)));
        ping.on_transmitted(at(29), 1000);
        assert_eq!(ping.next_timeout(), due(39));
        ping.on_transmitted(at(30), 2000);
        assert_eq!(ping.next_timeout(), due(39));
        assert!(!ping.handle_timeout(at(39)));
    }

    #[test]
    fn a_clock_that_jumped_leads_to_a_ping_first() {
        let mut ping = pinger();
        assert!(ping.handle_timeout(at(1_000_000)));
        assert_eq!(ping.next_timeout(), Some((at(1_000_010), TimerKind::Pong)));
        assert!(ping.handle_timeout(at(1_000_009)));
    }

    #[test]
    fn a_probe_is_answered_by_its_own_pong_or_by_what_comes_a_second_later() {
        let mut ping = pinger();
        ping.probe(at(5));
        // The answer to an earlier ping, and bytes that may have waited to be read.
        assert_eq!(ping.on_pong(0, at(5)), None);
        ping.on_received(at(5));
        assert!(!ping.poll_probed());
        assert_eq!(ping.frame(at(5), 0), Some(1));
        ping.on_pong(1, at(5));
        assert!(ping.poll_probed() && !ping.poll_probed());
        ping.probe(at(7));
        ping.on_received(at(8));
        assert!(ping.poll_probed());
        // Nobody asked for this one to be told.
        assert_eq!(ping.frame(at(8), 0), Some(2));
        ping.on_pong(2, at(8));
        assert!(!ping.poll_probed());
    }

    #[test]
    fn at_the_end_of_time_there_is_no_deadline() {
        let mut ping = pinger();
        assert!(ping.handle_timeout(Instant::MAX));
        assert_eq!(ping.next_timeout(), None);
    }
}
