//! Received messages on their way to the application: batches of descriptors, cut late.
//!
//! A connection publishes what it received as a [`Batch`]: the slabs, and for each message where
//! in them it lies. Whoever takes the batch cuts the messages, so the connection spends no
//! reference count on them. What was popped accumulates as credit in [`Consumed`], which goes back
//! to the connection; until then the peer may not send more in its place (P6).
//!
//! Bounds: a batch holds what `inbox_max` allows and one message more; `Consumed` holds one entry
//! per stream that is open, plus one per run of messages.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::{PeerId, ProtocolId};
use crate::record::Credit;

/// A message from a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who sent it.
    pub peer: PeerId,
    /// For which protocol.
    pub protocol: ProtocolId,
    /// What it says. Usually a slice of the slab it was received in: see [`Message::detach`].
    pub payload: Bytes,
}

impl Message {
    /// The same message with a payload of its own.
    ///
    /// A payload that is kept for long pins the whole slab it was cut from (64 KiB by default),
    /// and a connection has a bounded number of slabs: an application that keeps messages
    /// detaches them.
    #[must_use]
    pub fn detach(self) -> Self {
        Self { payload: Bytes::copy_from_slice(&self.payload), ..self }
    }
}

/// A message that is looked at where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRef<'a> {
    /// Who sent it.
    pub peer: PeerId,
    /// For which protocol.
    pub protocol: &'a ProtocolId,
    /// What it says.
    pub payload: &'a [u8],
}

/// Where one message lies, and what consuming it gives back.
#[derive(Clone, Copy, Debug)]
struct Item {
    chunk: u32,
    offset: u32,
    len: u32,
    protocol: u32,
    share: Share,
}

/// What one message holds of its connection until it is consumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Share {
    /// The stream it came on.
    pub(crate) stream: u32,
    /// Bytes of that stream's window.
    pub(crate) credit: u32,
    /// Bytes of the assembly ledger.
    pub(crate) reserved: u32,
    /// Bytes of the inbox.
    pub(crate) held: u32,
}

/// Messages of one connection, in the order of their arrival.
#[derive(Debug, Default)]
pub struct Batch {
    peer: Option<PeerId>,
    chunks: Vec<Bytes>,
    protocols: Vec<ProtocolId>,
    /// Names listed before this one are not looked for.
    protocols_from: usize,
    items: Vec<Item>,
    next: usize,
    bytes: usize,
    consumed: Consumed,
}

/// How many protocols back a name is looked for before it is listed again.
const PROTOCOLS_SEARCHED: usize = 8;

impl Batch {
    /// Whose messages these are; `None` for a batch that was never filled.
    #[must_use]
    pub const fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    /// Messages left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len().saturating_sub(self.next)
    }

    /// Whether no message is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Payload bytes of the messages left.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the next message, as a slice of what it was received in.
    pub fn pop(&mut self) -> Option<Message> {
        let item = self.advance()?;
        let protocol = self.protocols.get(item.protocol as usize)?.clone();
        let range = item.offset as usize..(item.offset as usize).saturating_add(item.len as usize);
        let chunk = self.chunks.get(item.chunk as usize)?;
        // The ranges come from a decoder that took them within this chunk.
        let payload = if range.end <= chunk.len() { chunk.slice(range) } else { Bytes::new() };
        self.finish_if_empty();
        // Copied once, straight to where it stays: a detour costs more than the rest of this.
        Some(Message { peer: *self.peer.as_ref()?, protocol, payload })
    }

    /// Looks at the next message and takes it, without touching a reference count.
    pub fn pop_ref(&mut self) -> Option<MessageRef<'_>> {
        if self.is_empty() {
            self.finish_if_empty();
            return None;
        }
        let item = self.advance()?;
        let peer = self.peer?;
        let protocol = self.protocols.get(item.protocol as usize)?;
        let range = item.offset as usize..(item.offset as usize).saturating_add(item.len as usize);
        let payload = self.chunks.get(item.chunk as usize)?.get(range)?;
        Some(MessageRef { peer, protocol, payload })
    }

    /// Looks at the messages left, in their order.
    pub fn iter(&self) -> impl Iterator<Item = MessageRef<'_>> {
        let left = self.items.get(self.next..).unwrap_or(&[]);
        left.iter().filter_map(|item| {
            let offset = item.offset as usize;
            let range = offset..offset.saturating_add(item.len as usize);
            let payload = self.chunks.get(item.chunk as usize)?.get(range)?;
            let protocol = self.protocols.get(item.protocol as usize)?;
            Some(MessageRef { peer: self.peer?, protocol, payload })
        })
    }

    /// The credit of what was popped; give it to the connection that filled the batch.
    pub const fn consumed(&mut self) -> &mut Consumed {
        &mut self.consumed
    }

    /// Takes every message left without looking at it.
    pub fn discard(&mut self) {
        while self.pop_ref().is_some() {}
        self.finish_if_empty();
    }

    fn advance(&mut self) -> Option<Item> {
        let item = *self.items.get(self.next)?;
        self.next = self.next.saturating_add(1);
        self.bytes = self.bytes.saturating_sub(item.len as usize);
        self.consumed.add(item.share);
        // Chunks before this one are done with: let go of them, so that they can be used again.
        if let Some(before) = (item.chunk as usize).checked_sub(1) {
            if let Some(chunk) = self.chunks.get_mut(before) {
                if !chunk.is_empty() {
                    *chunk = Bytes::new();
                }
            }
        }
        Some(item)
    }

    fn finish_if_empty(&mut self) {
        if self.is_empty() {
            self.chunks.clear();
            self.protocols.clear();
            self.protocols_from = 0;
            self.items.clear();
            self.next = 0;
            self.bytes = 0;
        }
    }

    /// Prepares an empty batch for the messages of `peer`.
    pub(crate) fn begin(&mut self, peer: PeerId) {
        self.finish_if_empty();
        self.peer = Some(peer);
    }

    /// Frees memory that no message in it needs.
    pub(crate) fn shrink(&mut self) {
        self.chunks.shrink_to_fit();
        self.protocols.shrink_to_fit();
        self.items.shrink_to_fit();
    }

    /// Lists a chunk; the answer is for [`Batch::push`].
    pub(crate) fn chunk(&mut self, chunk: Bytes) -> u32 {
        let index = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        self.chunks.push(chunk);
        index
    }

    /// The place of a protocol that was listed lately.
    pub(crate) fn find_protocol(&self, name: &[u8]) -> Option<u32> {
        let fresh = self.protocols.len().saturating_sub(self.protocols_from);
        let recent = self.protocols.iter().enumerate().rev();
        let mut recent = recent.take(fresh.min(PROTOCOLS_SEARCHED));
        let found = recent.find(|(_, known)| known.as_str().as_bytes() == name);
        found.and_then(|(index, _)| u32::try_from(index).ok())
    }

    /// What is listed so far may not be ours any more.
    pub(crate) fn forget_protocols(&mut self) {
        self.protocols_from = self.protocols.len();
    }

    /// Lists a protocol; the answer is for [`Batch::push`].
    pub(crate) fn protocol(&mut self, protocol: ProtocolId) -> u32 {
        let index = u32::try_from(self.protocols.len()).unwrap_or(u32::MAX);
        self.protocols.push(protocol);
        index
    }

    /// The protocol at a place that [`Batch::protocol`] gave.
    pub(crate) fn protocol_at(&self, place: u32) -> Option<&ProtocolId> {
        self.protocols.get(place as usize)
    }

    /// What its messages hold of the inbox, and their payload bytes, counted anew.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn recount(&self) -> (usize, usize) {
        let left = || self.items.get(self.next..).unwrap_or(&[]).iter();
        let held = left().map(|item| item.share.held as usize).sum();
        (held, left().map(|item| item.len as usize).sum())
    }

    /// Adds a message: `offset` and `len` lie within the chunk.
    pub(crate) fn push(
        &mut self,
        chunk: u32,
        offset: usize,
        len: usize,
        protocol: u32,
        share: Share,
    ) {
        let (Ok(offset), Ok(len)) = (u32::try_from(offset), u32::try_from(len)) else { return };
        self.bytes = self.bytes.saturating_add(len as usize);
        self.items.push(Item { chunk, offset, len, protocol, share });
    }
}

/// Credit of messages that were taken, gathered per stream.
#[derive(Debug, Default)]
pub struct Consumed {
    entries: Vec<Share>,
}

impl Consumed {
    /// Whether there is nothing to give back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Moves everything from `other` to here.
    pub fn merge(&mut self, other: &mut Self) {
        for share in other.entries.drain(..) {
            self.add(share);
        }
    }

    fn add(&mut self, share: Share) {
        if let Some(last) = self.entries.last_mut() {
            if last.stream == share.stream {
                last.credit = last.credit.saturating_add(share.credit);
                last.reserved = last.reserved.saturating_add(share.reserved);
                last.held = last.held.saturating_add(share.held);
                return;
            }
        }
        self.entries.push(share);
    }

    /// The same as values.
    pub(crate) fn credit(&self) -> Credit {
        Credit(self.entries.clone())
    }

    /// What was taken, as it was noted.
    #[must_use]
    pub fn of(credit: Credit) -> Self {
        Self { entries: credit.0 }
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Share> + '_ {
        self.entries.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> Batch {
        let peer = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse().unwrap();
        let mut batch = Batch::default();
        batch.begin(peer);
        let one = batch.chunk(Bytes::from_static(b"..hello.."));
        let two = batch.chunk(Bytes::from_static(b"world"));
        let echo = batch.protocol(ProtocolId::new("/echo").unwrap());
        batch.push(one, 2, 5, echo, Share { stream: 1, credit: 10, reserved: 0, held: 5 });
        batch.push(one, 7, 0, echo, Share { stream: 1, credit: 4, reserved: 0, held: 0 });
        batch.push(two, 0, 5, echo, Share { stream: 3, credit: 10, reserved: 7, held: 5 });
        batch
    }

    #[test]
    fn messages_are_cut_in_order_and_credit_gathers_per_stream() {
        let mut batch = filled();
        assert_eq!((batch.len(), batch.bytes()), (3, 10));
        assert_eq!(batch.pop().unwrap().payload, "hello");
        assert_eq!(batch.pop_ref().unwrap().payload, b"");
        assert_eq!(batch.pop().unwrap().payload, "world");
        assert_eq!(batch.pop(), None);
        let shares: Vec<Share> = batch.consumed().drain().collect();
        assert_eq!(
            shares,
            [
                Share { stream: 1, credit: 14, reserved: 0, held: 5 },
                Share { stream: 3, credit: 10, reserved: 7, held: 5 },
            ]
        );
        assert!(batch.consumed().is_empty());
    }

    #[test]
    fn discarding_gives_all_credit_back() {
        let mut batch = filled();
        batch.discard();
        assert!(batch.is_empty());
        assert_eq!(batch.consumed().drain().map(|share| share.credit).sum::<u32>(), 24);
    }

    #[test]
    fn a_detached_message_shares_nothing_with_its_slab() {
        let mut batch = filled();
        let slab = batch.chunks[0].clone();
        let message = batch.pop().unwrap().detach();
        drop(batch);
        assert!(!slab.as_ptr_range().contains(&message.payload.as_ptr()));
        assert_eq!(message.payload, "hello");
    }
}
