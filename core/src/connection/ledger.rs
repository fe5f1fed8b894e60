//! What one connection holds, and what it has promised to hold, in bytes.
//!
//! Each part counts what it keeps as it keeps it, so [`Connection::memory`] adds a few numbers and
//! walks over nothing; nothing is guessed from configuration. A byte that two parts refer to, such
//! as that of a message in a slab, counts for both, so the sum is never below the memory that is
//! in use but for small change.
//!
//! What a peer can fill is promised before it comes: windows of streams, what these grow, and
//! messages that were admitted. Of each the connection is sure of something; the rest it has
//! leased ([`lease`](crate::lease)).
//!
//! Invariants: L1 what is counted equals a recount, whenever the connection is not at work. L2
//! what is promised never exceeds what is sure and what is leased. L3 what is held never exceeds
//! [`Config::connection_memory_max`] and twice what is leased.

use super::Connection;
use crate::config::Config;
use crate::lease::{ByteGate, LEASE_STEP, Purpose, Room, STREAMS_SURE};
use crate::mux::{INITIAL_WINDOW, Session};
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

/// What a connection has promised its peer to take.
#[derive(Debug)]
pub(super) struct Promises {
    /// Messages in assembly, and those that are not consumed yet.
    pub(super) messages: ByteGate,
    /// Streams that the peer has opened, each with the window that it begins with.
    pub(super) streams: ByteGate,
    /// What windows have grown.
    growth: ByteGate,
}

impl Promises {
    pub(super) fn new(config: &Config) -> Self {
        let gate = |purpose, base| ByteGate::new(base, config.lease_max(purpose));
        let streams_sure = STREAMS_SURE.saturating_mul(INITIAL_WINDOW as usize);
        Self {
            messages: gate(Purpose::Messages, config.assembly_base()),
            streams: gate(Purpose::Streams, streams_sure).with_ahead(config.streams_ahead()),
            growth: gate(Purpose::Growth, 0).with_spare(2 * LEASE_STEP),
        }
    }

    /// Whether windows have grown, or would have, or are gone, since that was last looked at.
    pub(super) const fn has_growth_news(&self, uni: &Session) -> bool {
        uni.window_growth() != self.growth.in_use() as u64 || uni.growth_lack() > 0
    }

    /// How much more room to ask for, and how many bytes go back.
    pub(super) fn poll(&mut self, uni: &mut Session) -> (Room, usize) {
        self.count_growth(uni);
        // Nothing is taken here: a poll that leads to no report leaves no trace in a recording.
        self.growth.want(usize::try_from(uni.growth_lack()).unwrap_or(usize::MAX));
        let Self { messages, streams, growth } = self;
        let wanted = Room {
            messages: messages.poll_request().unwrap_or(0),
            streams: streams.poll_request().unwrap_or(0),
            growth: growth.poll_request().unwrap_or(0),
        };
        let returned = [messages, streams, growth].map(|gate| gate.poll_return().unwrap_or(0));
        self.allow_growth(uni);
        (wanted, returned.into_iter().fold(0, usize::saturating_add))
    }

    /// Node has granted what was asked for.
    pub(super) fn granted(&mut self, uni: &mut Session, room: Room) {
        let Room { messages, streams, growth } = room;
        for (gate, bytes) in [
            (&mut self.messages, messages),
            (&mut self.streams, streams),
            (&mut self.growth, growth),
        ] {
            if bytes > 0 {
                gate.granted(bytes);
            }
        }
        self.allow_growth(uni);
    }

    /// Windows need not grow any more for now.
    pub(super) fn give_up_growth(&mut self, uni: &mut Session) {
        self.count_growth(uni);
        self.growth.give_up();
        self.allow_growth(uni);
    }

    fn count_growth(&mut self, uni: &Session) {
        self.growth.hold(usize::try_from(uni.window_growth()).unwrap_or(usize::MAX));
    }

    fn allow_growth(&self, uni: &mut Session) {
        uni.set_growth_max(self.growth.room() as u64);
    }

    /// Bytes that are leased.
    pub(super) const fn leased(&self) -> usize {
        let Self { messages, streams, growth } = self;
        messages.lease().saturating_add(streams.lease()).saturating_add(growth.lease())
    }

    /// Checks L2.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn assert_invariants(&self, uni: &Session) {
        let Self { messages, streams, growth } = self;
        assert!(messages.in_use() <= messages.room());
        assert!(streams.in_use() <= streams.room());
        assert!(uni.window_growth() <= growth.room() as u64);
    }
}

impl<C: SecureChannel> Connection<C> {
    /// What it holds. O(1).
    ///
    /// Never more than [`Config::connection_memory_max`](crate::config::Config::connection_memory_max)
    /// and twice what it has leased.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let [backlog, assemblies, inbox, kept] = self.receiver.memory();
        let sessions = [&self.outer, &self.uni, &self.bi];
        let streams = self.receiver.streams_memory();
        Memory {
            slabs: self.inbound.memory(),
            backlog,
            assemblies,
            inbox,
            kept,
            sending: self.lanes.memory(),
            output: self.framed.slab_capacity().saturating_add(self.sealed.capacity()),
            control: sessions
                .iter()
                .fold(streams, |sum, session| sum.saturating_add(session.memory())),
        }
    }

    /// What it has leased of the node's, in bytes.
    #[doc(hidden)]
    #[must_use]
    pub const fn leased(&self) -> usize {
        self.receiver.promises().leased()
    }

    /// Checks L1 and L3.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn assert_counted(&self) {
        let memory = self.memory();
        let [backlog, assemblies, inbox] = self.receiver.memory_recount();
        let recount = Memory {
            slabs: self.inbound.recount(self.channel.is_transparent()),
            backlog,
            assemblies,
            inbox,
            sending: self.lanes.recount(),
            ..memory
        };
        assert_eq!(memory, recount);
        let leased = self.leased().saturating_mul(2);
        let bound = self.setup.config.connection_memory_max().saturating_add(leased);
        assert!(memory.total() <= bound, "{memory:?} of {bound}");
    }
}
