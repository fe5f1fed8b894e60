//! The contents of an outbox: small messages in a slab, large ones by reference, and in an
//! ordered outbox the sequence of both.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{BufMut, Bytes};

use super::outbox::Sizes;
use super::tally::Tally;
use crate::buffer::AppendSlab;
use crate::id::ProtocolId;
use crate::record;
use crate::snapshot::Traffic;
use crate::wire::package::{self, LastHead, Walk};

/// The first size of a slab of small messages, in bytes.
const SMALL_SLAB: usize = 16 << 10;

/// Messages are counted off every so many bytes, so that the place where a part of them ends is
/// found without a walk over all.
const MARK_STEP: u64 = 8 << 10;

/// The first size of a slab of heads, in bytes.
const HEAD_SLAB: usize = 1 << 10;

/// How much longer the length of a payload may be than that of an empty one, in bytes.
const MORE_DIGITS: usize = 9;

/// Small messages that leave together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmallBatch {
    /// Their encoded packages, one after another.
    pub bytes: Bytes,
    /// How many there are.
    pub messages: usize,
}

impl SmallBatch {
    /// Splits the batch of a lost connection that framed its first `framed` bytes: the messages
    /// of which at least one byte was framed, and those that may move elsewhere.
    #[must_use]
    pub fn split_framed(mut self, framed: usize) -> (Self, Self) {
        let mut begun = Self { bytes: Bytes::new(), messages: 0 };
        if framed == 0 {
            return (begun, self);
        }
        let mut end = 0;
        for package in Walk::new(&self.bytes).take_while(|package| package.range.start < framed) {
            end = package.range.end;
            begun.messages = begun.messages.saturating_add(1);
        }
        begun.bytes = self.bytes.split_to(end.min(self.bytes.len()));
        self.messages = self.messages.saturating_sub(begun.messages);
        (begun, self)
    }
}

/// A message whose payload was not copied: head, payload and tail are its package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LargeMessage {
    /// The length, the protocol and the payload's length.
    pub head: Bytes,
    /// The payload, in the form that travels.
    pub payload: Bytes,
    /// The compress byte.
    pub tail: Bytes,
    /// The protocol.
    pub protocol: ProtocolId,
}

impl LargeMessage {
    /// Encoded bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.head.len().saturating_add(self.payload.len()).saturating_add(self.tail.len())
    }
}

/// What leaves next, see [`Outbox::take_next`](super::Outbox::take_next).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Small messages.
    Small(SmallBatch),
    /// A large message.
    Large(LargeMessage),
}

/// Small and large messages; see the invariants of the outbox.
#[derive(Debug)]
pub(super) struct Lanes {
    small: SmallLane,
    large: LargeLane,
    ordered: bool,
    /// The sequence of arrival; empty if not `ordered`.
    runs: VecDeque<Run>,
    /// What was accepted and refused since it was last taken.
    pub(super) traffic: Traffic,
}

#[derive(Debug)]
struct SmallLane {
    /// Encoded packages, one after another.
    slab: AppendSlab,
    messages: usize,
    /// Bytes and messages that were ever put into the slab, and taken out of it.
    put: Place,
    taken: Place,
    /// Ends of messages among those inside, [`MARK_STEP`] bytes or more apart.
    marks: VecDeque<Place>,
    last_head: LastHead,
}

#[derive(Debug)]
struct LargeLane {
    /// The heads of `queue`, one after another.
    heads: AppendSlab,
    queue: VecDeque<Large>,
    /// The encoded length of `queue`.
    bytes: usize,
}

/// A place in the sequence of small messages: so many bytes and messages come before it.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    bytes: u64,
    messages: u64,
}

impl Place {
    const fn advance(&mut self, bytes: usize, messages: usize) {
        self.bytes = self.bytes.wrapping_add(bytes as u64);
        self.messages = self.messages.wrapping_add(messages as u64);
    }

    /// Bytes and messages between an earlier place and this one.
    fn since(self, earlier: Self) -> (usize, usize) {
        let bytes = self.bytes.wrapping_sub(earlier.bytes);
        let messages = self.messages.wrapping_sub(earlier.messages);
        (usize::try_from(bytes).unwrap_or(0), usize::try_from(messages).unwrap_or(0))
    }
}

#[derive(Debug)]
struct Large {
    head_len: usize,
    payload: Bytes,
    compressed: bool,
    protocol: ProtocolId,
}

impl Large {
    fn encoded_len(&self) -> usize {
        self.head_len.saturating_add(self.payload.len()).saturating_add(package::TAIL_PLAIN.len())
    }
}

#[derive(Clone, Copy, Debug)]
enum Run {
    /// Neighbours in the small lane.
    Small { bytes: usize, messages: usize },
    /// The next of the large lane.
    Large,
}

impl Lanes {
    pub(super) fn new(ordered: bool) -> Self {
        Self {
            small: SmallLane {
                slab: AppendSlab::new(SMALL_SLAB),
                messages: 0,
                put: Place::default(),
                taken: Place::default(),
                marks: VecDeque::new(),
                last_head: LastHead::new(),
            },
            large: LargeLane {
                heads: AppendSlab::new(HEAD_SLAB),
                queue: VecDeque::new(),
                bytes: 0,
            },
            ordered,
            runs: VecDeque::new(),
            traffic: Traffic::default(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.small_bytes().saturating_add(self.large.bytes)
    }

    pub(super) fn small_bytes(&self) -> usize {
        self.small.slab.len()
    }

    pub(super) const fn large_bytes(&self) -> usize {
        self.large.bytes
    }

    /// Bytes of memory: of the slabs, and of what is held by reference.
    pub(super) fn memory(&self) -> usize {
        let slabs = self.small.slab.memory().saturating_add(self.large.heads.memory());
        slabs.saturating_add(self.large.bytes)
    }

    pub(super) const fn small_messages(&self) -> usize {
        self.small.messages
    }

    pub(super) fn large_messages(&self) -> usize {
        self.large.queue.len()
    }

    /// Adds a payload, in the form that travels, to the slab.
    pub(super) fn push_small(&mut self, protocol: &ProtocolId, payload: &[u8], compressed: bool) {
        let len = package::encoded_len(protocol.as_str().len(), payload.len());
        let out = self.small.slab.room(len);
        self.small.last_head.write(out, protocol, payload, compressed);
        self.count_small(len, 1);
    }

    /// Adds a payload, in the form that travels, by reference.
    pub(super) fn push_large(&mut self, protocol: &ProtocolId, payload: Bytes, compressed: bool) {
        let before = self.large.heads.len();
        let room = package::encoded_len(protocol.as_str().len(), 0).saturating_add(MORE_DIGITS);
        package::package_head(self.large.heads.room(room), protocol.as_str(), payload.len());
        let head_len = self.large.heads.len().saturating_sub(before);
        let large = Large { head_len, payload, compressed, protocol: protocol.clone() };
        self.large.bytes = self.large.bytes.saturating_add(large.encoded_len());
        self.large.queue.push_back(large);
        if self.ordered {
            self.runs.push_back(Run::Large);
        }
    }

    /// Adds packages that were encoded before.
    pub(super) fn adopt_small(&mut self, batch: &SmallBatch) {
        if batch.messages > 0 {
            self.small.slab.room(batch.bytes.len()).put_slice(&batch.bytes);
            self.count_small(batch.bytes.len(), batch.messages);
        }
    }

    /// Adds a message that was taken before.
    pub(super) fn adopt_large(&mut self, message: LargeMessage) {
        let compressed = message.tail[..] == package::TAIL_GZIP;
        self.push_large(&message.protocol, message.payload, compressed);
    }

    /// Takes small messages of at most `max` bytes together, and at least one.
    pub(super) fn take_small(&mut self, max: usize) -> Option<SmallBatch> {
        let (all, messages) = match (self.ordered, self.runs.front()) {
            (false, _) => (self.small.slab.len(), self.small.messages),
            (true, Some(Run::Small { bytes, messages })) => (*bytes, *messages),
            (true, _) => return None,
        };
        if messages == 0 {
            return None;
        }
        let (len, count) = if all <= max { (all, messages) } else { self.fit(max) };
        let bytes = self.small.slab.cut(len)?;
        self.small.messages = self.small.messages.saturating_sub(count);
        self.small.taken.advance(len, count);
        while self.small.marks.front().is_some_and(|mark| mark.bytes <= self.small.taken.bytes) {
            self.small.marks.pop_front();
        }
        if let Some(Run::Small { bytes, messages }) = self.runs.front_mut() {
            *bytes = bytes.saturating_sub(len);
            *messages = messages.saturating_sub(count);
            if *messages == 0 {
                self.runs.pop_front();
            }
        }
        Some(SmallBatch { bytes, messages: count })
    }

    /// Takes the first large message.
    pub(super) fn take_large(&mut self) -> Option<LargeMessage> {
        if self.ordered && !matches!(self.runs.front()?, Run::Large) {
            return None;
        }
        let large = self.large.queue.pop_front()?;
        self.runs.pop_front();
        self.large.bytes = self.large.bytes.saturating_sub(large.encoded_len());
        let Large { head_len, payload, compressed, protocol } = large;
        let head = self.large.heads.cut(head_len)?;
        Some(LargeMessage { head, payload, tail: package::tail(compressed), protocol })
    }

    /// Exchanges the messages of these sizes; neither keeps a sequence.
    pub(super) fn swap(&mut self, other: &mut Self, sizes: Sizes) {
        if sizes.small {
            core::mem::swap(&mut self.small, &mut other.small);
        }
        if sizes.large {
            core::mem::swap(&mut self.large, &mut other.large);
        }
    }

    /// What is inside of these sizes, in an order in which it can be put in again.
    pub(super) fn contents(&self, sizes: Sizes) -> Vec<record::Run> {
        let mut slab = self.small.slab.bytes();
        let mut small = |bytes: usize, messages| {
            let (said, rest) = slab.split_at_checked(bytes).unwrap_or((slab, &[]));
            slab = rest;
            record::Run::Small { bytes: Bytes::copy_from_slice(said), messages }
        };
        let mut large = self.large.queue.iter().map(|large| record::Run::Large {
            protocol: large.protocol.clone(),
            payload: large.payload.clone(),
            compressed: large.compressed,
        });
        let mut all = Vec::new();
        if self.ordered {
            for run in &self.runs {
                match run {
                    Run::Small { bytes, messages } => all.push(small(*bytes, *messages)),
                    Run::Large => all.extend(large.next()),
                }
            }
            return all;
        }
        if sizes.small && self.small.messages > 0 {
            all.push(small(self.small.slab.len(), self.small.messages));
        }
        if sizes.large {
            all.extend(large);
        }
        all
    }

    /// Keeps a sequence from now on, or no more. What is inside comes small messages first.
    pub(super) fn set_ordered(&mut self, ordered: bool) {
        if self.ordered == ordered {
            return;
        }
        self.ordered = ordered;
        self.runs.clear();
        if ordered {
            let (bytes, messages) = (self.small.slab.len(), self.small.messages);
            if messages > 0 {
                self.runs.push_back(Run::Small { bytes, messages });
            }
            self.runs.extend(self.large.queue.iter().map(|_| Run::Large));
        }
    }

    pub(super) fn tally(&self, tally: &mut Tally) {
        tally.add_small(self.small.slab.bytes());
        for large in &self.large.queue {
            tally.add(&large.protocol, 1, large.payload.len());
        }
    }

    pub(super) fn shrink(&mut self) {
        for slab in [&mut self.small.slab, &mut self.large.heads] {
            if slab.memory() > 0 {
                slab.shrink();
            }
        }
        self.large.queue.shrink_to_fit();
        self.small.marks.shrink_to_fit();
        self.runs.shrink_to_fit();
    }

    pub(super) fn assert_invariants(&self) {
        let mut walk = Walk::new(self.small.slab.bytes());
        assert_eq!(walk.by_ref().count(), self.small.messages);
        assert_eq!(walk.position(), self.small.slab.len());
        assert_eq!(
            self.small.put.since(self.small.taken),
            (self.small.slab.len(), self.small.messages)
        );
        for mark in &self.small.marks {
            let (bytes, messages) = mark.since(self.small.taken);
            let mut walk = Walk::new(self.small.slab.bytes().get(..bytes).unwrap_or(&[]));
            assert_eq!((walk.by_ref().count(), walk.position()), (messages, bytes));
        }
        assert_eq!(
            self.large.queue.iter().map(Large::encoded_len).sum::<usize>(),
            self.large.bytes
        );
        assert_eq!(
            self.large.queue.iter().map(|large| large.head_len).sum::<usize>(),
            self.large.heads.len()
        );
        let mut sums: (usize, usize, usize) = (0, 0, 0);
        for run in &self.runs {
            let (bytes, messages, large) = match run {
                Run::Small { bytes, messages } => (*bytes, *messages, 0),
                Run::Large => (0, 0, 1),
            };
            sums.0 = sums.0.saturating_add(bytes);
            sums.1 = sums.1.saturating_add(messages);
            sums.2 = sums.2.saturating_add(large);
        }
        let all = (self.small.slab.len(), self.small.messages, self.large.queue.len());
        assert_eq!(sums, if self.ordered { all } else { (0, 0, 0) });
    }

    #[inline]
    fn count_small(&mut self, len: usize, count: usize) {
        self.small.messages = self.small.messages.saturating_add(count);
        self.small.put.advance(len, count);
        let last = self.small.marks.back().unwrap_or(&self.small.taken);
        if self.small.put.bytes.wrapping_sub(last.bytes) >= MARK_STEP {
            self.small.marks.push_back(self.small.put);
        }
        if !self.ordered {
            return;
        }
        if let Some(Run::Small { bytes, messages }) = self.runs.back_mut() {
            *bytes = bytes.saturating_add(len);
            *messages = messages.saturating_add(count);
        } else {
            self.runs.push_back(Run::Small { bytes: len, messages: count });
        }
    }

    /// The length and number of the first small messages that are at most `max` bytes together,
    /// or of the first if that one is longer.
    fn fit(&self, max: usize) -> (usize, usize) {
        let after = self.small.marks.partition_point(|mark| mark.since(self.small.taken).0 <= max);
        let mark = after.checked_sub(1).and_then(|last| self.small.marks.get(last));
        let mut fitting = mark.map_or((0, 0), |mark| mark.since(self.small.taken));
        let start = fitting.0;
        for package in Walk::new(self.small.slab.bytes().get(start..).unwrap_or(&[])) {
            let end = start.saturating_add(package.range.end);
            if fitting.1 > 0 && end > max {
                break;
            }
            fitting = (end, fitting.1.saturating_add(1));
        }
        fitting
    }
}
