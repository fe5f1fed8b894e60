//! What one connection holds, in bytes.
//!
//! Each part counts what it keeps as it keeps it; nothing here is guessed from configuration.
//! A byte that two parts refer to, such as that of a message in a slab, counts for both, so the
//! sum is never below the memory that is in use but for small change.

use super::Connection;
use crate::secure::SecureChannel;

/// What one connection holds, by place; see [`Connection::memory`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// Receive slabs, those that messages pin included.
    pub slabs: usize,
    /// Received on streams and not decoded.
    pub backlog: usize,
    /// Buffers of half-received messages.
    pub assemblies: usize,
    /// Received messages that the application has not taken or not returned, with descriptors.
    pub inbox: usize,
    /// Buffers that are kept for the next messages.
    pub kept: usize,
    /// Messages that were accepted for sending and have not left.
    pub sending: usize,
    /// Framed or sealed, and not taken by the carrier.
    pub output: usize,
    /// Streams, and control frames that wait, of all three sessions.
    pub control: usize,
}

impl Memory {
    /// The sum.
    #[must_use]
    pub const fn total(&self) -> usize {
        let Self { slabs, backlog, assemblies, inbox, kept, sending, output, control } = *self;
        slabs
            .saturating_add(backlog)
            .saturating_add(assemblies)
            .saturating_add(inbox)
            .saturating_add(kept)
            .saturating_add(sending)
            .saturating_add(output)
            .saturating_add(control)
    }
}

impl<C: SecureChannel> Connection<C> {
    /// What it holds. O(streams and messages on them): for a look now and then.
    ///
    /// Never more than [`Config::connection_memory_max`](crate::config::Config::connection_memory_max)
    /// and twice what it has leased.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let [backlog, assemblies, inbox, kept] = self.receiver.memory();
        let sessions = [&self.outer, &self.uni, &self.bi];
        Memory {
            slabs: self.inbound.memory(),
            backlog,
            assemblies,
            inbox,
            kept,
            sending: self.lanes.memory(),
            output: self.framed.slab_capacity().saturating_add(self.sealed.capacity()),
            control: sessions.iter().fold(0, |sum, session| sum.saturating_add(session.memory())),
        }
    }
}
