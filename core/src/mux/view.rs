//! What a session tells about itself; nothing here changes anything.

use alloc::vec::Vec;
use core::time::Duration;

use super::StreamId;
use super::error::SessionError;
use super::session::Session;
use super::stream::{Phase, Stream};

impl Session {
    /// The error with which the session ended, if it has.
    #[must_use]
    pub const fn error(&self) -> Option<SessionError> {
        self.failed
    }

    /// Whether the session has ended with an error.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.failed.is_some()
    }

    /// Whether the peer said that it takes no new streams.
    #[must_use]
    pub const fn is_remote_gone(&self) -> bool {
        self.remote_gone
    }

    /// The round trip time, smoothed, once a ping was answered.
    #[must_use]
    pub const fn rtt(&self) -> Option<Duration> {
        self.ping.rtt()
    }

    /// Whether there is such a stream: neither reset nor closed both ways.
    #[must_use]
    pub fn contains(&self, stream: StreamId) -> bool {
        self.look(stream).is_some()
    }

    /// Whether the SYN of a stream is not framed yet.
    #[must_use]
    pub fn is_opening(&self, stream: StreamId) -> bool {
        self.look(stream).is_some_and(|stream| stream.phase == Phase::Opening)
    }

    /// Whether the peer half-closed a stream.
    #[must_use]
    pub fn is_remote_finished(&self, stream: StreamId) -> bool {
        self.look(stream).is_some_and(|stream| stream.remote_fin)
    }

    /// Bytes of a stream that were written and not framed.
    #[must_use]
    pub fn queued(&self, stream: StreamId) -> usize {
        self.look(stream).map_or(0, Stream::queued)
    }

    /// Bytes of all streams that were written and not framed.
    #[must_use]
    pub const fn queued_total(&self) -> usize {
        self.counts.queued
    }

    /// Bytes of memory of its tables and of the control frames that wait; the payload that is
    /// queued is its owner's.
    #[must_use]
    pub fn memory(&self) -> usize {
        let waiting = self.pongs.capacity().saturating_add(self.refused.capacity());
        self.slots.memory().saturating_add(waiting.saturating_mul(size_of::<u32>()))
    }

    /// How many bytes the peer takes on a stream now.
    #[must_use]
    pub fn credit(&self, stream: StreamId) -> u32 {
        self.look(stream).map_or(0, |stream| stream.send.left())
    }

    /// Payload bytes of a stream framed so far.
    #[must_use]
    pub fn sent(&self, stream: StreamId) -> u64 {
        self.look(stream).map_or(0, |stream| stream.sent)
    }

    /// How many bytes the peer may still send on a stream.
    #[must_use]
    pub fn receive_credit(&self, stream: StreamId) -> u32 {
        self.look(stream).map_or(0, |stream| stream.recv.credit())
    }

    /// The receive window of a stream, in bytes.
    #[must_use]
    pub fn receive_window(&self, stream: StreamId) -> u32 {
        self.look(stream).map_or(0, |stream| stream.recv.window())
    }

    /// Bytes of a stream received and not released, those of a frame under way included.
    #[must_use]
    pub fn unreleased(&self, stream: StreamId) -> u32 {
        self.look(stream).map_or(0, |stream| stream.recv.unread())
    }

    /// Streams that this side opened, those that are still opening included.
    #[must_use]
    pub const fn local_open(&self) -> usize {
        self.counts.local_open
    }

    /// Streams that the peer opened, those that are not accepted included.
    #[must_use]
    pub const fn remote_open(&self) -> usize {
        self.counts.remote_open
    }

    /// Streams whose SYN is not framed yet.
    #[must_use]
    pub const fn opening(&self) -> usize {
        self.opening.len()
    }

    /// Streams of the peer that wait to be accepted.
    #[must_use]
    pub const fn unaccepted(&self) -> usize {
        self.counts.unaccepted
    }

    /// Streams of this side whose SYN was framed and not answered.
    #[must_use]
    pub const fn unacknowledged(&self) -> usize {
        self.counts.unacknowledged
    }

    /// The sum of the growth of all receive windows, in bytes.
    #[must_use]
    pub const fn window_growth(&self) -> u64 {
        self.grown
    }

    /// The ids of all streams, in order. It allocates and is not for the data path.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamId> {
        let visible = self.slots.iter().filter(|(_, stream)| stream.is_visible());
        let mut ids: Vec<_> = visible.filter_map(|(_, stream)| stream.id().map(StreamId)).collect();
        ids.sort_unstable();
        ids
    }

    pub(super) fn look(&self, stream: StreamId) -> Option<&Stream> {
        let slot = self.slots.peek(stream.0)?;
        self.slots.get(slot).filter(|stream| stream.is_visible())
    }
}
