//! From the bytes of a stream to published messages.

use core::ops::Range;

use bytes::Bytes;

use super::{DESCRIPTOR, HELD_MAX, Receiver, SMALL, Spent};
use crate::error::Offence;
use crate::id::ProtocolId;
use crate::message::Share;
use crate::mux::{Session, StreamId};
use crate::time::Instant;
use crate::wire::{ExchangerMessage, Item, MessageKind, gzip};

impl Receiver {
    /// The bytes `range` of `chunk` came on a stream. `copy` asks for messages that do not pin
    /// the chunk.
    pub(in crate::connection) fn data(
        &mut self,
        now: Instant,
        uni: &mut Session,
        stream: StreamId,
        chunk: &Bytes,
        range: Range<usize>,
        copy: bool,
    ) -> Result<(), Spent> {
        let Some(state) = self.streams.get_mut(&stream) else { return Ok(()) };
        state.gained = state.gained.saturating_add(range.len());
        if !state.accepted && self.backlog.saturating_add(range.len()) > HELD_MAX {
            return self.offend(now, uni, stream, Offence::Streams);
        }
        if !state.accepted || state.blocked {
            let accepted = state.accepted;
            self.backlog = self.backlog.saturating_add(range.len());
            state.backlog.keep(&mut self.stash, chunk, range, copy);
            return if accepted { self.pass_exchanger(now, uni, stream) } else { Ok(()) };
        }
        let end = range.end;
        let stopped = self.decode(now, uni, stream, chunk, range, copy)?;
        if stopped < end {
            if let Some(state) = self.streams.get_mut(&stream) {
                self.backlog = self.backlog.saturating_add(end.saturating_sub(stopped));
                state.backlog.keep(&mut self.stash, chunk, stopped..end, copy);
                state.blocked = true;
                self.blocked.push_back(stream);
            }
        }
        self.recount(stream);
        Ok(())
    }

    /// A new chunk is going to be decoded, or the old one was replaced.
    pub(in crate::connection) const fn new_chunk(&mut self) {
        self.listed = None;
    }

    /// Decodes what the exchanger sent at the front of a backlog that waits for the inbox.
    fn pass_exchanger(
        &mut self,
        now: Instant,
        uni: &mut Session,
        stream: StreamId,
    ) -> Result<(), Spent> {
        while let Some(state) = self.streams.get_mut(&stream) {
            let pieces = state.backlog.pieces();
            state.passes |= state.decoder.is_next(ProtocolId::EXCHANGER, pieces) == Some(true);
            if !state.passes {
                break;
            }
            let Some(chunk) = state.backlog.pop() else { break };
            self.backlog = self.backlog.saturating_sub(chunk.len());
            self.decode_kept(now, uni, stream, chunk)?;
            let state = self.streams.get_mut(&stream);
            if let Some(state) = state.filter(|state| state.backlog.is_empty()) {
                state.blocked = false;
                self.blocked.retain(|blocked| *blocked != stream);
                if state.finished {
                    self.forget(stream);
                }
                break;
            }
        }
        self.recount(stream);
        Ok(())
    }

    /// Decodes a piece of a backlog; what the inbox has no room for goes back to its front.
    pub(super) fn decode_kept(
        &mut self,
        now: Instant,
        uni: &mut Session,
        stream: StreamId,
        chunk: Bytes,
    ) -> Result<(), Spent> {
        self.listed = None;
        let stopped = self.decode(now, uni, stream, &chunk, 0..chunk.len(), false);
        self.listed = None;
        let stopped = stopped?.min(chunk.len());
        if let Some(state) = self.streams.get_mut(&stream).filter(|_| stopped < chunk.len()) {
            self.backlog = self.backlog.saturating_add(chunk.len().saturating_sub(stopped));
            state.backlog.unpop(chunk.slice(stopped..));
        }
        Ok(())
    }

    /// Decodes until the end of `range` or until the inbox is full; gives where it stopped. What
    /// the exchanger sent passes a full inbox.
    fn decode(
        &mut self,
        now: Instant,
        uni: &mut Session,
        stream: StreamId,
        chunk: &Bytes,
        range: Range<usize>,
        copy: bool,
    ) -> Result<usize, Spent> {
        let Range { start: mut at, end } = range;
        let window = uni.receive_credit(stream) as usize;
        self.buffers.granted = window.saturating_add(end.saturating_sub(at)).max(4096);
        while at < end {
            let Some(state) = self.streams.get_mut(&stream) else { return Ok(end) };
            if !copy && state.decoder.is_between() {
                at = self.publish_run(stream, chunk, at..end);
                if at >= end {
                    break;
                }
            }
            let Some(state) = self.streams.get_mut(&stream) else { return Ok(end) };
            let input = chunk.get(at..end).unwrap_or(&[]);
            if self.inbox_held >= self.inbox_max && !state.passes {
                state.passes = state.decoder.is_next(ProtocolId::EXCHANGER, [input]) == Some(true);
                if !state.passes {
                    break;
                }
            }
            let before = state.decoder.memory();
            let pushed = state.decoder.push(input, &self.limits, &mut self.buffers);
            let more = state.decoder.memory();
            self.parted |= state.decoder.is_kept();
            self.assemblies = self.assemblies.saturating_add(more).saturating_sub(before);
            let Ok(pushed) = pushed else {
                self.offend(now, uni, stream, Offence::Package)?;
                return Ok(end);
            };
            state.uncredited = state.uncredited.saturating_add(pushed.consumed);
            let start = at;
            at = at.saturating_add(pushed.consumed);
            // Of the next one it is not known yet.
            state.passes &=
                !matches!(pushed.item, Some(Item::Inline { .. } | Item::Assembled { .. }));
            match pushed.item {
                Some(Item::Inline { protocol, payload, compressed }) => {
                    let source = Source::Chunk { chunk, start, copy };
                    self.deliver(now, uni, stream, source, protocol, payload, compressed)?;
                }
                Some(Item::Assembled { package, protocol, payload, compressed }) => {
                    let source = Source::Package(package);
                    self.deliver(now, uni, stream, source, protocol, payload, compressed)?;
                }
                Some(Item::Begun { len }) => {
                    state.since = Some(now);
                    self.begin(now, uni, stream, len);
                }
                None => self.credit_progress(now, uni, stream),
            }
            if pushed.consumed == 0 && at < end {
                break;
            }
        }
        Ok(at)
    }

    /// Publishes the packages at the front of `range` that are whole, and of the protocol of the
    /// message before; gives where it stopped. The stream is between two packages.
    fn publish_run(&mut self, stream: StreamId, chunk: &Bytes, range: Range<usize>) -> usize {
        let Range { start: mut at, end } = range;
        while self.inbox_held < self.inbox_max {
            let input = chunk.get(at..end).unwrap_or(&[]);
            let Some(found) = self.familiar.read(input, self.limits.message_max) else { break };
            let Some(protocol) = self.familiar_place() else { break };
            let mut share =
                Share { stream: stream.0, credit: as_u32(found.end), ..Share::default() };
            let place = match self.listed {
                Some(place) => place,
                None => {
                    let place = self.inbox.chunk(chunk.clone());
                    self.listed = Some(place);
                    share.held = as_u32(chunk.len());
                    place
                }
            };
            let start = at.saturating_add(found.payload.start);
            self.publish(place, start..at.saturating_add(found.payload.end), protocol, share);
            at = at.saturating_add(found.end);
        }
        at
    }

    /// The place in the inbox of the protocol that is familiar, which is listed if it is not yet.
    fn familiar_place(&mut self) -> Option<u32> {
        if self.familiar_place.is_none() {
            let name = self.familiar_name.as_ref()?;
            self.familiar_place = Some(self.inbox.protocol(name.clone()));
        }
        self.familiar_place
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one decoded package")]
    fn deliver(
        &mut self,
        now: Instant,
        uni: &mut Session,
        stream: StreamId,
        source: Source<'_>,
        protocol: Range<usize>,
        payload: Range<usize>,
        compressed: bool,
    ) -> Result<(), Spent> {
        let Some(state) = self.streams.get_mut(&stream) else { return Ok(()) };
        let share = Share {
            stream: stream.0,
            credit: u32::try_from(core::mem::take(&mut state.uncredited)).unwrap_or(u32::MAX),
            reserved: u32::try_from(core::mem::take(&mut state.reserved)).unwrap_or(u32::MAX),
            held: 0,
        };
        state.since = None;
        if core::mem::take(&mut state.waits) {
            self.promises_changed = true;
            self.waiting.retain(|waiting| *waiting != stream);
        }
        let name = source.bytes(protocol);
        // A protocol that this inbox lists already is ours, and not the exchanger's.
        let place = match self.inbox.find_protocol(name) {
            Some(place) => place,
            None if name == ProtocolId::EXCHANGER.as_bytes() => {
                let good = !compressed && self.exchanger(source.bytes(payload));
                self.give_back(now, uni, share);
                return if good { Ok(()) } else { self.offend(now, uni, stream, Offence::Push) };
            }
            None => match core::str::from_utf8(name).ok().and_then(|name| self.ours.get(name)) {
                Some(protocol) => self.inbox.protocol(protocol.clone()),
                None => {
                    // Nobody takes it: the package goes, the stream stays (D-4).
                    self.unknown = self.unknown.saturating_add(1);
                    self.give_back(now, uni, share);
                    return Ok(());
                }
            },
        };
        if compressed {
            let Ok(plain) = gzip::decompress(source.bytes(payload), self.limits.message_max) else {
                self.give_back(now, uni, share);
                return self.offend(now, uni, stream, Offence::Gzip);
            };
            let len = plain.len();
            let chunk = self.inbox.chunk(plain);
            self.listed = None;
            self.publish(chunk, 0..len, place, Share { held: as_u32(len), ..share });
            return Ok(());
        }
        if payload.len() > self.limits.message_max {
            self.give_back(now, uni, share);
            return self.offend(now, uni, stream, Offence::Package);
        }
        if self.familiar_place != Some(place) {
            self.familiar.learn(name);
            self.familiar_name = self.inbox.protocol_at(place).cloned();
            self.familiar_place = Some(place);
        }
        let (chunk, range, held) = self.list(source, payload);
        self.publish(chunk, range, place, Share { held: as_u32(held), ..share });
        Ok(())
    }

    /// Lists in the inbox what a payload lies in; gives the place, the range in it, and how many
    /// bytes are held by it that no message before it holds.
    fn list(&mut self, source: Source<'_>, payload: Range<usize>) -> (u32, Range<usize>, usize) {
        match source {
            Source::Chunk { copy: true, .. } => {
                let copied = Bytes::copy_from_slice(source.bytes(payload));
                let len = copied.len();
                self.listed = None;
                (self.inbox.chunk(copied), 0..len, len)
            }
            Source::Chunk { chunk, start, copy: false } => {
                let range = payload.start.saturating_add(start)..payload.end.saturating_add(start);
                match self.listed {
                    Some(place) => (place, range, 0),
                    None => {
                        let place = self.inbox.chunk(chunk.clone());
                        self.listed = Some(place);
                        (place, range, chunk.len())
                    }
                }
            }
            Source::Package(package) => {
                let len = package.len();
                self.listed = None;
                (self.inbox.chunk(package), payload, len)
            }
        }
    }

    fn publish(&mut self, chunk: u32, range: Range<usize>, protocol: u32, mut share: Share) {
        self.small_beside |= self.large > 0 && range.len() < SMALL;
        share.held = share.held.saturating_add(as_u32(DESCRIPTOR));
        self.inbox_held = self.inbox_held.saturating_add(share.held as usize);
        if let Some(name) = self.inbox.protocol_at(protocol) {
            self.traffic.of(name).received.add(1, range.len() as u64);
        }
        self.inbox.push(chunk, range.start, range.len(), protocol, share);
    }

    /// A message of the exchanger's protocol; false if it breaks the rules.
    fn exchanger(&mut self, payload: &[u8]) -> bool {
        let Ok(message) = ExchangerMessage::decode(payload, &self.exchanger_limits) else {
            return false;
        };
        match message.kind {
            // On this path the exchange at the start of a connection has no meaning (spec 4.4).
            MessageKind::Request | MessageKind::Response => true,
            _ if message.pid != self.peer => false,
            MessageKind::Push => {
                self.pushed = Some(message.protocols);
                true
            }
            MessageKind::PushOk => {
                self.push_ok = Some(message.protocols);
                true
            }
        }
    }
}

/// Where a package lies.
enum Source<'a> {
    /// In the chunk that is being decoded, from `start` on.
    Chunk { chunk: &'a Bytes, start: usize, copy: bool },
    /// In an assembly of its own.
    Package(Bytes),
}

impl Source<'_> {
    fn bytes(&self, range: Range<usize>) -> &[u8] {
        match self {
            Self::Chunk { chunk, start, .. } => {
                let range = range.start.saturating_add(*start)..range.end.saturating_add(*start);
                chunk.get(range).unwrap_or(&[])
            }
            Self::Package(package) => package.get(range).unwrap_or(&[]),
        }
    }
}

fn as_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
