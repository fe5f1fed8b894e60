//! One link: two directions, each a queue of segments on their way.
//!
//! It is a TCP connection as applications see one: bytes in order, a bounded buffer, ends that
//! are closed, reset or gone without a word.

use std::collections::VecDeque;
use std::time::Duration;

use headwater_core::contract::IoCause;
use headwater_core::id::ConnectionId;
use headwater_core::time::Instant;

/// What one end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// Its process is done with it: its system answers with a reset.
    Closed,
    /// Its machine went without a word.
    Dark,
}

#[derive(Debug)]
pub(super) struct End {
    pub(super) node: usize,
    /// The connection that it belongs to, once there is one.
    pub(super) owner: Option<ConnectionId>,
    pub(super) state: State,
    pub(super) broken: Option<IoCause>,
}

/// Bytes on their way to one end. Bound: `buffer` bytes.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) segments: VecDeque<Segment>,
    /// How many of the segments are there.
    pub(super) arrived: usize,
    /// What was read of the first one.
    pub(super) head: usize,
    /// Bytes inside.
    pub(super) held: usize,
    pub(super) buffer: usize,
    /// When the end of the bytes is there.
    pub(super) end_at: Option<Instant>,
    pub(super) ended: bool,
    pub(super) busy_until: Instant,
    pub(super) last_at: Instant,
    /// The writer found no room.
    pub(super) wants_room: bool,
    pub(super) stalled_until: Instant,
    pub(super) black_hole: bool,
    /// What is written goes nowhere.
    pub(super) swallows: bool,
    /// What arrives next was put off already.
    pub(super) waiting: bool,
    /// Bytes a second.
    pub(super) bandwidth: u64,
    /// Until when deadlines may fall for what a fault had held up.
    pub(super) unsettled_until: Instant,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) at: Instant,
    pub(super) bytes: Vec<u8>,
}

impl Pipe {
    pub(super) fn new(now: Instant, buffer: usize, bandwidth: u64) -> Self {
        Self {
            segments: VecDeque::new(),
            arrived: 0,
            head: 0,
            held: 0,
            buffer,
            end_at: None,
            ended: false,
            busy_until: now,
            last_at: now,
            wants_room: false,
            stalled_until: now,
            black_hole: false,
            swallows: false,
            waiting: false,
            bandwidth,
            unsettled_until: now,
        }
    }

    pub(super) fn room(&self) -> usize {
        self.buffer.saturating_sub(self.held)
    }

    /// Bytes that can be read.
    pub(super) fn readable(&self) -> usize {
        let there = self.segments.iter().take(self.arrived);
        there.map(|segment| segment.bytes.len()).sum::<usize>() - self.head
    }

    /// When something sent now is there.
    pub(super) fn arrival(&mut self, now: Instant, bytes: usize, delay: Duration) -> Instant {
        let sending = Duration::from_nanos(bytes as u64 * 1_000_000_000 / self.bandwidth.max(1));
        self.busy_until = self.busy_until.max(now).after(sending);
        self.last_at = self.last_at.max(self.busy_until.after(delay));
        self.last_at
    }

    /// Sends bytes on their way; when they are there stands in `last_at`.
    pub(super) fn send(&mut self, now: Instant, bytes: Vec<u8>, delay: Duration) {
        let at = self.arrival(now, bytes.len(), delay);
        self.held += bytes.len();
        self.segments.push_back(Segment { at, bytes });
    }

    /// Marks what is there by now; whether there is something new.
    pub(super) fn arrive(&mut self, now: Instant) -> bool {
        let before = (self.arrived, self.ended);
        while self.segments.get(self.arrived).is_some_and(|segment| segment.at <= now) {
            self.arrived += 1;
        }
        if self.arrived == self.segments.len() && self.end_at.is_some_and(|at| at <= now) {
            self.ended = true;
        }
        before != (self.arrived, self.ended)
    }

    /// Reads up to `max` bytes.
    pub(super) fn read(&mut self, mut max: usize, mut into: impl FnMut(&[u8])) -> usize {
        let mut read = 0;
        while self.arrived > 0 && max > 0 {
            let Some(first) = self.segments.front() else { break };
            let rest = &first.bytes[self.head..];
            let taken = rest.len().min(max);
            into(&rest[..taken]);
            max -= taken;
            read += taken;
            self.head += taken;
            if self.head == first.bytes.len() {
                self.segments.pop_front();
                self.arrived -= 1;
                self.head = 0;
            }
        }
        self.held -= read;
        read
    }

    /// Everything inside is lost.
    pub(super) fn clear(&mut self) {
        self.segments.clear();
        self.arrived = 0;
        self.head = 0;
        self.held = 0;
    }
}

/// How a link that ends in order ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// This side ended, and the other did when it had heard that.
    First(u8),
    /// Both ended before they heard of each other.
    Crossed,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) closing: Option<Closing>,
    pub(super) ends: [End; 2],
    /// By the end that reads.
    pub(super) pipes: [Pipe; 2],
    pub(super) latency: Duration,
    pub(super) jitter: Duration,
    /// The most that one read or write moves; 0 is no limit.
    pub(super) cut: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO.after(Duration::from_millis(millis))
    }

    #[test]
    fn segments_arrive_in_order_and_are_read_in_pieces() {
        let mut pipe = Pipe::new(Instant::ZERO, 100, 1000);
        for (delay, bytes) in [(50, vec![1; 10]), (1, vec![2; 10])] {
            let at = pipe.arrival(Instant::ZERO, bytes.len(), Duration::from_millis(delay));
            pipe.held += bytes.len();
            pipe.segments.push_back(Segment { at, bytes });
        }
        // Ten bytes take 10 ms; the second does not overtake the first.
        assert!(!pipe.arrive(at(59)));
        assert!(pipe.arrive(at(60)));
        assert_eq!((pipe.readable(), pipe.room()), (20, 80));
        let mut got = Vec::new();
        assert_eq!(pipe.read(13, |bytes| got.extend_from_slice(bytes)), 13);
        assert_eq!(got, [[1; 10].as_slice(), &[2; 3]].concat());
        assert_eq!((pipe.readable(), pipe.room()), (7, 93));
        pipe.end_at = Some(at(70));
        assert!(!pipe.arrive(at(60)));
        assert!(pipe.arrive(at(70)) && pipe.ended);
    }
}
