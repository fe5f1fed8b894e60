//! Messages and bytes by protocol.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::error::UndeliveredReason;
use crate::id::ProtocolId;

/// Protocols that are counted apart in each direction; further ones are in one sum.
pub const PROTOCOLS_MAX: usize = 256;

/// Messages, and the bytes of their payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Count {
    /// How many.
    pub messages: u64,
    /// Their payload bytes, as the application has them.
    pub bytes: u64,
}

impl Count {
    /// Counts so many more.
    pub const fn add(&mut self, messages: u64, bytes: u64) {
        self.messages = self.messages.saturating_add(messages);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    const fn and(&mut self, other: Self) {
        self.add(other.messages, other.bytes);
    }
}

/// Messages that were accepted for sending and given up, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Lost {
    /// With their connection.
    pub connection_lost: Count,
    /// With their stream, which the peer reset.
    pub stream_reset: Count,
    /// Not framed within `send_deadline`.
    pub deadline: Count,
}

impl Lost {
    /// Counts messages of one reason.
    pub const fn add(&mut self, reason: UndeliveredReason, messages: u64, bytes: u64) {
        let count = match reason {
            UndeliveredReason::ConnectionLost => &mut self.connection_lost,
            UndeliveredReason::StreamReset => &mut self.stream_reset,
            UndeliveredReason::Deadline => &mut self.deadline,
        };
        count.add(messages, bytes);
    }

    const fn and(&mut self, other: Self) {
        self.connection_lost.and(other.connection_lost);
        self.stream_reset.and(other.stream_reset);
        self.deadline.and(other.deadline);
    }
}

/// What became of the messages of one protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ProtocolCount {
    /// Which; `None` is the sum of those beyond [`PROTOCOLS_MAX`].
    pub protocol: Option<ProtocolId>,
    /// Received and given to the application, or waiting for it.
    pub received: Count,
    /// Taken from the application for sending.
    pub sent: Count,
    /// Not taken because as much waited as may; only messages are counted that found a connection.
    pub full: u64,
    /// Not taken because they were longer than `message_max`.
    pub too_large: u64,
    /// Taken, and given up.
    pub lost: Lost,
}

impl ProtocolCount {
    const fn new(protocol: Option<ProtocolId>) -> Self {
        const ZERO: Count = Count { messages: 0, bytes: 0 };
        let lost = Lost { connection_lost: ZERO, stream_reset: ZERO, deadline: ZERO };
        Self { protocol, received: ZERO, sent: ZERO, full: 0, too_large: 0, lost }
    }

    fn is_zero(&self) -> bool {
        let Self { protocol: _, received, sent, full, too_large, lost } = self;
        (*full, *too_large) == (0, 0)
            && *lost == Lost::default()
            && (*received, *sent) == (Count::default(), Count::default())
    }

    const fn and(&mut self, other: &Self) {
        self.received.and(other.received);
        self.sent.and(other.sent);
        self.full = self.full.saturating_add(other.full);
        self.too_large = self.too_large.saturating_add(other.too_large);
        self.lost.and(other.lost);
    }
}

/// Counts by protocol.
///
/// To count costs one comparison of pointers as long as protocols do not alternate, and nothing is
/// allocated for a protocol that was counted before. Bound: [`PROTOCOLS_MAX`] entries and one.
///
/// ```
/// use headwater_core::id::ProtocolId;
/// use headwater_core::snapshot::Traffic;
///
/// let echo = ProtocolId::new("/echo")?;
/// let mut traffic = Traffic::default();
/// traffic.of(&echo).sent.add(1, 100);
/// traffic.of(&echo).sent.add(1, 20);
/// assert_eq!(traffic.iter().next().map(|count| count.sent.bytes), Some(120));
/// # Ok::<(), headwater_core::id::ProtocolIdError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Traffic {
    entries: Vec<ProtocolCount>,
    /// Made when first needed.
    others: Option<Box<ProtocolCount>>,
    /// The entry that was asked for last.
    last: usize,
}

impl PartialEq for Traffic {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

#[cold]
fn others(sum: &mut Option<Box<ProtocolCount>>) -> &mut ProtocolCount {
    sum.get_or_insert_with(|| Box::new(ProtocolCount::new(None)))
}

impl Traffic {
    /// The counts of a protocol, to be added to.
    pub fn of(&mut self, protocol: &ProtocolId) -> &mut ProtocolCount {
        let same = self.entries.get(self.last).and_then(|entry| entry.protocol.as_ref());
        if !same.is_some_and(|last| last.is_same(protocol)) {
            self.last = self.find(protocol);
        }
        match self.entries.get_mut(self.last) {
            Some(entry) => entry,
            None => others(&mut self.others),
        }
    }

    /// The place of a protocol, made if there is room for it.
    #[cold]
    fn find(&mut self, protocol: &ProtocolId) -> usize {
        let mut known = self.entries.iter();
        if let Some(place) = known.position(|entry| entry.protocol.as_ref() == Some(protocol)) {
            return place;
        }
        if self.entries.len() >= PROTOCOLS_MAX {
            return usize::MAX;
        }
        // Most count one or two.
        self.entries.reserve_exact(1);
        self.entries.push(ProtocolCount::new(Some(protocol.clone())));
        self.entries.len().saturating_sub(1)
    }

    /// Adds all that another one has counted.
    pub fn merge(&mut self, other: &Self) {
        for entry in other.entries.iter().filter(|entry| !entry.is_zero()) {
            if let Some(protocol) = &entry.protocol {
                self.of(protocol).and(entry);
            }
        }
        if let Some(others) = &other.others {
            self::others(&mut self.others).and(others);
        }
    }

    /// Adds all that another one has counted, and sets that one to zero. It keeps the names that it
    /// knows, so that nothing is allocated or referred to anew when they are counted again.
    pub fn take(&mut self, other: &mut Self) {
        self.merge(other);
        for entry in other.entries.iter_mut().filter(|entry| !entry.is_zero()) {
            *entry = ProtocolCount::new(entry.protocol.take());
        }
        other.others = None;
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The counts that are not zero, in the order in which protocols were first counted; at the
    /// end the sum of those beyond [`PROTOCOLS_MAX`], if there are any.
    pub fn iter(&self) -> impl Iterator<Item = &ProtocolCount> {
        self.entries.iter().chain(self.others.as_deref()).filter(|entry| !entry.is_zero())
    }

    /// All protocols together.
    #[must_use]
    pub fn total(&self) -> ProtocolCount {
        let mut total = ProtocolCount::new(None);
        self.iter().for_each(|entry| total.and(entry));
        total
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    fn name(number: usize) -> ProtocolId {
        ProtocolId::new(&format!("/p/{number}")).unwrap()
    }

    #[test]
    fn what_is_beyond_the_bound_is_in_one_sum_and_nothing_is_lost() {
        let mut traffic = Traffic::default();
        for number in 0..PROTOCOLS_MAX + 40 {
            traffic.of(&name(number)).received.add(1, 10);
            // The same name, made anew.
            traffic.of(&name(number)).lost.add(UndeliveredReason::Deadline, 2, 3);
        }
        assert_eq!(traffic.iter().count(), PROTOCOLS_MAX + 1);
        let others = traffic.iter().last().unwrap();
        assert_eq!((&others.protocol, others.received.messages), (&None, 40));
        let total = traffic.total();
        assert_eq!(total.received.bytes, 10 * (PROTOCOLS_MAX as u64 + 40));
        assert_eq!(total.lost.deadline.messages, 2 * (PROTOCOLS_MAX as u64 + 40));
    }

    #[test]
    fn taking_moves_the_counts_and_leaves_zero() {
        let (mut one, mut two) = (Traffic::default(), Traffic::default());
        one.of(&name(1)).sent.add(1, 5);
        two.of(&name(2)).full += 7;
        two.of(&name(1)).sent.add(2, 6);
        one.take(&mut two);
        assert!(two.is_empty());
        let counts: Vec<_> = one.iter().map(|entry| (entry.sent.messages, entry.full)).collect();
        assert_eq!(counts, [(3, 0), (0, 7)]);
    }
}
