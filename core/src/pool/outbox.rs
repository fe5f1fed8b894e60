//! What was accepted for a peer and is not framed yet.
//!
//! A message is encoded when it is pushed (spec 3). A small one goes to the end of a slab, where
//! many lie one after another and leave as one piece; one of `share_min` bytes or more is not
//! copied: its payload stays the caller's shared bytes, with an encoded head before and one byte
//! behind. Small and large messages wait in lanes of their own, and streams do not keep order
//! among messages anyway; with `ordered`, which a stream kept by the application has, they leave
//! in the order of their arrival.
//!
//! Encoding is pure; where several tasks send, the adapter puts a lock around it. The connection
//! then swaps the whole contents for those of an empty outbox and takes them apart without the
//! lock.
//!
//! ```text
//! push --> [ small small small ] --take_small--> one stream for the batch
//!     \--> [ large, large ]      --take_large--> a stream each
//! close: what is inside may still be taken; pushes answer `Moved`
//! ```
//!
//! Invariants:
//! 1. [`Outbox::bytes`] is the sum of the encoded lengths of what is inside, and
//!    [`Outbox::messages`] their number; both are 0 together;
//! 2. a refused push changes nothing, and hands the payload back;
//! 3. a message leaves whole, once, by exactly one of the `take_*` calls;
//! 4. encoding never changes the caller's payload (D-107).
//!
//! Bounds: nothing is accepted while `bytes_max` bytes or more are inside, so one message may
//! exceed it; messages moved in from a lost connection may exceed it too. Neither size keeps the
//! other out: small messages are accepted all the same while they are less than half of it, and a
//! large one while there is no other. So it is half as much again, and a message of each size, at
//! most. An ordered outbox has one bound for all. After warm-up a push without compression
//! allocates nothing.

use alloc::vec::Vec;
use core::fmt;

use bytes::{Bytes, BytesMut};

use super::lanes::{Item, Lanes, LargeMessage, SmallBatch};
use super::tally::Tally;
use crate::id::ProtocolId;
use crate::record::Run;
use crate::snapshot::Traffic;
use crate::wire::gzip::Compressor;

/// Bounds and habits of an [`Outbox`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxConfig {
    /// Encoded bytes at which it is full, but for the room that each size has of its own; 0 counts
    /// as 1.
    pub bytes_max: usize,
    /// The longest payload, in bytes, before compression.
    pub message_max: usize,
    /// Payloads of this many bytes are kept by reference and not copied.
    pub share_min: usize,
    /// Whether payloads travel as gzip where that makes them shorter.
    pub compress: bool,
    /// Whether messages leave in the order in which they came.
    pub ordered: bool,
}

impl Default for OutboxConfig {
    /// 256 KiB, messages of 16 MiB, shared from 8 KiB on, neither compressed nor ordered.
    fn default() -> Self {
        Self {
            bytes_max: 256 << 10,
            message_max: 16 << 20,
            share_min: 8 << 10,
            compress: false,
            ordered: false,
        }
    }
}

/// Why a message was not accepted; nothing changed. `P` is the payload, handed back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushError<P> {
    /// As many bytes wait as may: try again when some have left.
    Full(P),
    /// The payload is longer than a message may be.
    TooLarge {
        /// The message.
        payload: P,
        /// The most that is accepted, in bytes.
        limit: usize,
    },
    /// The connection ended or ends: take the peer's present route and pick again, once.
    Moved(P),
}

impl<P> PushError<P> {
    fn map<Q>(self, f: impl FnOnce(P) -> Q) -> PushError<Q> {
        match self {
            Self::Full(payload) => PushError::Full(f(payload)),
            Self::TooLarge { payload, limit } => PushError::TooLarge { payload: f(payload), limit },
            Self::Moved(payload) => PushError::Moved(f(payload)),
        }
    }
}

impl<P> fmt::Display for PushError<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("the outbox is full"),
            Self::TooLarge { limit, .. } => write!(f, "a message has at most {limit} bytes"),
            Self::Moved(_) => f.write_str("the connection of this outbox ends"),
        }
    }
}

impl<P: fmt::Debug> core::error::Error for PushError<P> {}

/// Whether nothing was inside before, or nothing of that size: then the connection has to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WasEmpty(pub bool);

/// Small messages, large ones, both or none: each have room of their own, and go their own way.
///
/// ```
/// use headwater_core::pool::Sizes;
///
/// let small = Sizes { small: true, large: false };
/// assert!(small.meets(Sizes::BOTH) && !small.meets(Sizes::NONE));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Those that are copied, and leave together.
    pub small: bool,
    /// Those of [`OutboxConfig::share_min`] bytes or more.
    pub large: bool,
}

impl Sizes {
    /// Neither.
    pub const NONE: Self = Self { small: false, large: false };
    /// All messages.
    pub const BOTH: Self = Self { small: true, large: true };

    /// Whether both have one in common.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.small && other.small || self.large && other.large
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_none(self) -> bool {
        !self.small && !self.large
    }
}

/// What came of [`Outbox::push_many`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "not all messages need have been accepted"]
pub struct PushedMany {
    /// How many messages were accepted.
    pub messages: usize,
    /// Whether the connection has to be woken.
    pub was_empty: WasEmpty,
    /// Why the last message taken from the iterator was refused; the rest are still in it.
    pub stopped: Option<PushError<Bytes>>,
}

/// Messages accepted and not yet framed; see the module.
///
/// ```
/// use bytes::Bytes;
/// use headwater_core::id::ProtocolId;
/// use headwater_core::pool::{Outbox, OutboxConfig, WasEmpty};
///
/// let echo = ProtocolId::new("/echo")?;
/// let mut outbox = Outbox::new(OutboxConfig::default());
/// assert_eq!(outbox.push_slice(&echo, b"one"), Ok(WasEmpty(true)));
/// assert_eq!(outbox.push(&echo, Bytes::from_static(b"two")), Ok(WasEmpty(false)));
/// assert_eq!(outbox.push(&echo, vec![0; 10_000].into()), Ok(WasEmpty(true)));
///
/// let small = outbox.take_small().expect("two are small");
/// assert_eq!(small.messages, 2);
/// let large = outbox.take_large().expect("one is large");
/// assert_eq!(large.payload.len(), 10_000);
/// assert!(outbox.is_empty());
/// # Ok::<(), headwater_core::id::ProtocolIdError>(())
/// ```
#[derive(Debug)]
pub struct Outbox {
    config: OutboxConfig,
    lanes: Lanes,
    closed: bool,
    /// Made when first needed; 300 KiB.
    compressor: Option<Compressor>,
    /// Where a payload is compressed to.
    packed: BytesMut,
}

impl Outbox {
    /// An empty outbox; it allocates when something is pushed.
    #[must_use]
    pub fn new(config: OutboxConfig) -> Self {
        let lanes = Lanes::new(config.ordered);
        Self { config, lanes, closed: false, compressor: None, packed: BytesMut::new() }
    }

    /// Accepts a message.
    ///
    /// # Errors
    ///
    /// [`PushError`], with the payload; nothing changed.
    pub fn push(
        &mut self,
        protocol: &ProtocolId,
        mut payload: Bytes,
    ) -> Result<WasEmpty, PushError<Bytes>> {
        self.push_from(protocol, &mut payload).map_err(|refusal| refusal.map(|()| payload))
    }

    /// Accepts a message out of the caller's hands. A large payload is taken and leaves an empty
    /// one; a small one was copied and stays, for the caller to drop outside of any lock.
    ///
    /// # Errors
    ///
    /// [`PushError`]; nothing changed, `payload` neither.
    pub fn push_from(
        &mut self,
        protocol: &ProtocolId,
        payload: &mut Bytes,
    ) -> Result<WasEmpty, PushError<()>> {
        self.check(protocol, payload.len())?;
        let before = self.sizes();
        if self.pack(payload) {
            self.push_packed(protocol);
        } else if payload.len() < self.config.share_min {
            self.lanes.push_small(protocol, payload, false);
        } else {
            self.lanes.push_large(protocol, core::mem::take(payload), false);
        }
        Ok(self.woken_by(before))
    }

    /// Accepts a message that is not in shared bytes; it is copied whatever its length.
    ///
    /// # Errors
    ///
    /// [`PushError`]; nothing changed.
    pub fn push_slice(
        &mut self,
        protocol: &ProtocolId,
        payload: &[u8],
    ) -> Result<WasEmpty, PushError<()>> {
        self.check(protocol, payload.len())?;
        let before = self.sizes();
        if self.pack(payload) {
            self.push_packed(protocol);
        } else if payload.len() < self.config.share_min {
            self.lanes.push_small(protocol, payload, false);
        } else {
            let payload = Bytes::copy_from_slice(payload);
            self.lanes.push_large(protocol, payload, false);
        }
        Ok(self.woken_by(before))
    }

    /// Accepts messages until one is refused or there are no more.
    pub fn push_many<'a>(
        &mut self,
        messages: &mut impl Iterator<Item = (&'a ProtocolId, Bytes)>,
    ) -> PushedMany {
        let before = self.sizes();
        let mut pushed: usize = 0;
        let mut stopped = None;
        for (protocol, payload) in messages {
            match self.push(protocol, payload) {
                Ok(_) => pushed = pushed.saturating_add(1),
                Err(refusal) => {
                    stopped = Some(refusal);
                    break;
                }
            }
        }
        PushedMany { messages: pushed, was_empty: self.woken_by(before), stopped }
    }

    /// Takes all small messages; in an ordered outbox those before the first large one, and
    /// `None` if a large one is first.
    pub fn take_small(&mut self) -> Option<SmallBatch> {
        self.take_small_within(usize::MAX)
    }

    /// As [`Outbox::take_small`], but only as many as are at most `max` encoded bytes together,
    /// and at least one. It walks over what it takes, unless that is all.
    pub fn take_small_within(&mut self, max: usize) -> Option<SmallBatch> {
        self.lanes.take_small(max)
    }

    /// Takes the first large message; in an ordered outbox only if no small one came before.
    pub fn take_large(&mut self) -> Option<LargeMessage> {
        self.lanes.take_large()
    }

    /// Takes what is first: in an ordered outbox by arrival, else small messages first.
    pub fn take_next(&mut self) -> Option<Item> {
        if let Some(batch) = self.take_small() {
            return Some(Item::Small(batch));
        }
        self.take_large().map(Item::Large)
    }

    /// Exchanges the contents of two outboxes; each keeps its settings, and stays closed or not.
    /// Costs the same whatever is inside, as long as both are ordered or neither is; the contents
    /// of an outbox that is not come into one that is with the small messages first.
    pub fn swap(&mut self, other: &mut Self) {
        core::mem::swap(&mut self.lanes, &mut other.lanes);
        self.lanes.set_ordered(self.config.ordered);
        other.lanes.set_ordered(other.config.ordered);
    }

    /// Takes the messages of these sizes from `other` in exchange for those that are here; as
    /// [`Outbox::swap`], where either is ordered.
    pub fn swap_sizes(&mut self, other: &mut Self, sizes: Sizes) {
        if self.config.ordered || other.config.ordered {
            return self.swap(other);
        }
        self.lanes.swap(&mut other.lanes, sizes);
    }

    /// Moves everything from `other` here, behind what is inside, whatever the bound.
    ///
    /// # Errors
    ///
    /// [`PushError::Moved`] if this outbox is closed; nothing changed.
    pub fn merge(&mut self, other: &mut Self) -> Result<WasEmpty, PushError<()>> {
        if self.closed {
            return Err(PushError::Moved(()));
        }
        let before = self.sizes();
        other.take_traffic(&mut self.lanes.traffic);
        while let Some(item) = other.take_next() {
            self.append(item);
        }
        Ok(self.woken_by(before))
    }

    /// Accepts small messages that a lost connection took and did not frame, whatever the bound.
    ///
    /// # Errors
    ///
    /// [`PushError::Moved`] with the batch if this outbox is closed; nothing changed.
    pub fn adopt_small(&mut self, batch: SmallBatch) -> Result<WasEmpty, PushError<SmallBatch>> {
        if self.closed {
            return Err(PushError::Moved(batch));
        }
        let before = self.sizes();
        self.append(Item::Small(batch));
        Ok(self.woken_by(before))
    }

    /// Accepts a large message that a lost connection took and did not frame, whatever the bound.
    ///
    /// # Errors
    ///
    /// [`PushError::Moved`] with the message if this outbox is closed; nothing changed.
    pub fn adopt_large(
        &mut self,
        message: LargeMessage,
    ) -> Result<WasEmpty, PushError<LargeMessage>> {
        if self.closed {
            return Err(PushError::Moved(message));
        }
        let before = self.sizes();
        self.append(Item::Large(message));
        Ok(self.woken_by(before))
    }

    /// What is not accepted until some of what is inside has left.
    #[must_use]
    pub fn full(&self) -> Sizes {
        let max = self.config.bytes_max.max(1);
        if self.bytes() < max {
            return Sizes::NONE;
        }
        if self.config.ordered {
            return Sizes::BOTH;
        }
        let small = self.lanes.small_bytes() >= max.div_ceil(2);
        let large = self.large_messages() > 0;
        // Compression may make a small message of a large one.
        Sizes { small, large: large || self.config.compress && small }
    }

    /// The size that a payload of so many bytes has.
    #[must_use]
    pub const fn size_of(&self, len: usize) -> Sizes {
        let large = len >= self.config.share_min;
        Sizes { small: !large, large }
    }

    /// What is inside.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes { small: self.small_messages() > 0, large: self.large_messages() > 0 }
    }

    /// Refuses all pushes from now on; what is inside stays to be taken.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Whether it was closed.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether nothing is inside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// Encoded bytes inside.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lanes.bytes()
    }

    /// Bytes of memory: of its slabs, used or not, and of the payloads inside.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.lanes.memory().saturating_add(self.packed.capacity())
    }

    /// What was accepted and refused, by protocol, since somebody took these counts; they move
    /// with the contents.
    #[must_use]
    pub const fn traffic(&self) -> &Traffic {
        &self.lanes.traffic
    }

    /// Takes the counts of [`Outbox::traffic`].
    pub(crate) fn take_traffic(&mut self, into: &mut Traffic) {
        into.take(&mut self.lanes.traffic);
    }

    /// Messages inside.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.small_messages().saturating_add(self.large_messages())
    }

    /// Small messages inside.
    #[must_use]
    pub fn small_messages(&self) -> usize {
        self.lanes.small_messages()
    }

    /// Large messages inside.
    #[must_use]
    pub fn large_messages(&self) -> usize {
        self.lanes.large_messages()
    }

    /// Counts what is inside by protocol.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.lanes.tally(&mut tally);
        tally
    }

    /// Frees memory that the present contents do not need.
    pub fn shrink(&mut self) {
        self.compressor = None;
        self.packed = BytesMut::new();
        self.lanes.shrink();
    }

    /// Checks the invariants of the module by a recount. For tests.
    #[doc(hidden)]
    pub fn assert_invariants(&self) {
        self.lanes.assert_invariants();
        assert_eq!(self.bytes() == 0, self.messages() == 0);
    }

    /// Whether something came to where nothing was, as `before` tells.
    fn woken_by(&self, before: Sizes) -> WasEmpty {
        let grew = self.sizes() != before;
        WasEmpty(grew && (!self.config.ordered || before.is_none()))
    }

    /// Whether a payload of that length is accepted; it is counted, whatever the answer.
    #[inline]
    fn check(&mut self, protocol: &ProtocolId, len: usize) -> Result<(), PushError<()>> {
        let message_max = self.config.message_max;
        if self.closed {
            return Err(PushError::Moved(()));
        }
        let is_full = self.full().meets(self.size_of(len));
        let count = self.lanes.traffic.of(protocol);
        if len > message_max {
            count.too_large = count.too_large.saturating_add(1);
            Err(PushError::TooLarge { payload: (), limit: message_max })
        } else if is_full {
            count.full = count.full.saturating_add(1);
            Err(PushError::Full(()))
        } else {
            count.sent.add(1, len as u64);
            Ok(())
        }
    }

    /// Compresses a payload to `packed` if that is asked for, and tells whether it is shorter.
    fn pack(&mut self, payload: &[u8]) -> bool {
        self.config.compress && self.compress(payload)
    }

    // Out of line: a compressor's tables on the stack would cost every push a walk over 64 KiB.
    #[cold]
    #[inline(never)]
    fn compress(&mut self, payload: &[u8]) -> bool {
        self.packed.clear();
        let compressor = self.compressor.get_or_insert_with(Compressor::new);
        compressor.compress(payload, &mut self.packed);
        self.packed.len() < payload.len()
    }

    fn push_packed(&mut self, protocol: &ProtocolId) {
        if self.packed.len() < self.config.share_min {
            self.lanes.push_small(protocol, &self.packed, true);
        } else {
            let payload = self.packed.split().freeze();
            self.lanes.push_large(protocol, payload, true);
        }
    }

    /// What is inside of these sizes, in an order in which it can be put in again.
    pub(crate) fn runs(&self, sizes: Sizes) -> Vec<Run> {
        self.lanes.contents(sizes)
    }

    /// How many messages of these sizes are inside, and their encoded bytes.
    pub(crate) fn count_of(&self, sizes: Sizes) -> (usize, usize) {
        let (mut messages, mut bytes) = (0_usize, 0_usize);
        if sizes.small {
            messages = self.small_messages();
            bytes = self.lanes.small_bytes();
        }
        if sizes.large {
            messages = messages.saturating_add(self.large_messages());
            bytes = bytes.saturating_add(self.lanes.large_bytes());
        }
        (messages, bytes)
    }

    /// Has counted this, beside what it has.
    pub(crate) fn set_traffic(&mut self, traffic: Traffic) {
        let before = core::mem::replace(&mut self.lanes.traffic, traffic);
        self.lanes.traffic.merge(&before);
    }

    /// Accepts what was taken out of an outbox, whatever the bound.
    pub(crate) fn append(&mut self, item: Item) {
        match item {
            Item::Small(batch) => self.lanes.adopt_small(&batch),
            Item::Large(message) => self.lanes.adopt_large(message),
        }
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
