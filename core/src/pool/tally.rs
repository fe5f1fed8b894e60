//! How many messages of which protocol, for the report about those that were not delivered.

use alloc::collections::BTreeMap;

use super::lanes::LargeMessage;
use super::outbox::Outbox;
use crate::id::ProtocolId;
use crate::wire::package::Walk;

/// Messages and the bytes of their payloads, in the form that travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// How many messages.
    pub messages: usize,
    /// How many bytes their payloads have together.
    pub bytes: usize,
}

/// Messages counted by protocol; at most one entry for each protocol that was counted.
///
/// ```
/// use headwater_core::id::ProtocolId;
/// use headwater_core::pool::{Counted, Outbox, OutboxConfig};
///
/// let [echo, ping] = [ProtocolId::new("/echo")?, ProtocolId::new("/ping")?];
/// let mut outbox = Outbox::new(OutboxConfig::default());
/// for (protocol, payload) in [(&ping, "1"), (&echo, "two"), (&ping, "333")] {
///     let _ = outbox.push_slice(protocol, payload.as_bytes());
/// }
/// let tally = outbox.tally();
/// let counted: Vec<_> = tally.iter().collect();
/// assert_eq!(counted[0], (&echo, Counted { messages: 1, bytes: 3 }));
/// assert_eq!(counted[1], (&ping, Counted { messages: 2, bytes: 4 }));
/// # Ok::<(), headwater_core::id::ProtocolIdError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counted: BTreeMap<ProtocolId, Counted>,
}

impl Tally {
    /// Counts messages of one protocol.
    pub fn add(&mut self, protocol: &ProtocolId, messages: usize, bytes: usize) {
        self.counted.entry(protocol.clone()).or_default().add(messages, bytes);
    }

    /// Counts encoded packages that stand one after another, as far as they are whole.
    pub fn add_small(&mut self, packages: &[u8]) {
        for package in Walk::new(packages) {
            let name = packages.get(package.protocol).unwrap_or(&[]);
            let Ok(name) = core::str::from_utf8(name) else { continue };
            if let Some(counted) = self.counted.get_mut(name) {
                counted.add(1, package.payload.len());
            } else if let Ok(protocol) = ProtocolId::new(name) {
                self.add(&protocol, 1, package.payload.len());
            }
        }
    }

    /// Counts a large message.
    pub fn add_large(&mut self, message: &LargeMessage) {
        self.add(&message.protocol, 1, message.payload.len());
    }

    /// Counts all that is in an outbox.
    pub fn add_outbox(&mut self, outbox: &Outbox) {
        for (protocol, counted) in &outbox.tally().counted {
            self.add(protocol, counted.messages, counted.bytes);
        }
    }

    /// The protocols in bytewise order, each with what was counted.
    pub fn iter(&self) -> impl Iterator<Item = (&ProtocolId, Counted)> + '_ {
        self.counted.iter().map(|(protocol, counted)| (protocol, *counted))
    }

    /// All protocols together.
    #[must_use]
    pub fn total(&self) -> Counted {
        let mut total = Counted::default();
        for counted in self.counted.values() {
            total.add(counted.messages, counted.bytes);
        }
        total
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counted.is_empty()
    }
}

impl Counted {
    fn add(&mut self, messages: usize, bytes: usize) {
        self.messages = self.messages.saturating_add(messages);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}
