//! What a connection notes on its tape; see [`crate::record`].

use alloc::boxed::Box;
use alloc::format;
use core::fmt;

use bytes::BytesMut;

use super::{Connection, LaneId, Setup};
use crate::message::Consumed;
use crate::pool::{Outbox, Sizes};
use crate::record::{Birth, Contents, Credit, Note, Outcome, Tape, Want, Way};
use crate::secure::{ChannelError, Opened, SecureChannel};
use crate::time::Instant;

/// The tape of a connection that begins, if somebody records it.
pub(super) fn begin(setup: &Setup, transparent: bool, now: Instant) -> Option<Box<dyn Tape>> {
    let recorder = setup.recorder.as_ref()?;
    Some(recorder.begin(now, Birth::Connection { setup: Box::new(setup.clone()), transparent }))
}

/// Notes what was read: the bytes, if the outer session reads them as they are.
fn put_bytes(tape: &mut dyn Tape, now: Instant, note: Note, bytes: &[u8], is_open: bool) {
    if is_open && !bytes.is_empty() {
        tape.bytes(now, note, Way::In, &mut core::iter::once(bytes));
    } else {
        tape.note(now, note);
    }
}

impl<C: SecureChannel> Connection<C> {
    /// Moves time, and notes what the connection is told.
    #[inline]
    pub(super) fn note_told(&mut self, now: Instant, note: impl FnOnce() -> Note) -> Instant {
        let now = self.clock.advance(now);
        self.note(note);
        now
    }

    #[inline]
    pub(super) fn note(&mut self, note: impl FnOnce() -> Note) {
        if self.tape.is_some() {
            self.put_note(note());
        }
    }

    /// Bytes that were appended meanwhile come first: a mailbox may come between reading and the
    /// word of it, and what is done then is done with these bytes.
    #[cold]
    fn put_note(&mut self, note: Note) {
        let (is_open, now) = (self.is_open(), self.clock.now());
        let Some(tape) = &mut self.tape else { return };
        let bytes = self.inbound.not_noted();
        if !bytes.is_empty() {
            put_bytes(tape.as_mut(), now, Note::Read(bytes.len()), bytes, is_open);
        }
        tape.note(now, note);
    }

    /// Notes what a call gave.
    pub(super) fn gave(&mut self, answer: &impl fmt::Debug) {
        self.note(|| Note::Gave(format!("{answer:?}")));
    }

    pub(super) fn repeats_want(&self, want: Want) -> bool {
        self.tape.as_ref().is_some_and(|tape| tape.repeats_want(want))
    }

    /// A slab, unless there is none, or there was none in the run that is repeated.
    pub(super) fn take_slab(&mut self, want: Want) -> Option<BytesMut> {
        let slab = if self.repeats_want(want) { None } else { self.inbound.take_slab() };
        if slab.is_none() {
            self.note(|| Note::Wants(want));
        }
        slab
    }

    /// Whether received bytes are what the outer session reads.
    fn is_open(&self) -> bool {
        self.channel.is_transparent() && self.channel.peer().is_some()
    }

    pub(super) fn note_received(&mut self) {
        let (is_open, now) = (self.is_open(), self.clock.now());
        let Some(tape) = &mut self.tape else { return };
        let bytes = self.inbound.not_noted();
        put_bytes(tape.as_mut(), now, Note::Received(bytes.len()), bytes, is_open);
    }

    /// The channel was asked to open what stood in the buffer, which had `before` bytes then.
    pub(super) fn note_opened(
        &mut self,
        before: usize,
        plain: &BytesMut,
        opened: &Result<Opened, ChannelError>,
    ) {
        let outcome = Box::new(Outcome::of(opened, self.channel.peer()));
        let is_open = self.is_open();
        // What is left of what was noted.
        let _ = self.inbound.not_noted();
        let left = self.inbound.unopened();
        let consumed = before.saturating_sub(left.len());
        let note = Note::Opened { consumed, opened: plain.len(), outcome };
        // What follows the handshake of a transparent channel was read with it.
        let rest = if is_open { left } else { &[] };
        if let Some(tape) = &mut self.tape {
            let mut pieces = [&plain[..], rest].into_iter().filter(|piece| !piece.is_empty());
            tape.bytes(self.clock.now(), note, Way::In, &mut pieces);
        }
    }

    pub(super) fn note_framed(&mut self, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if let Some(tape) = &mut self.tape {
            let (now, note) = (self.clock.now(), Note::Framed(bytes));
            tape.bytes(now, note, Way::Out, &mut self.framed.last(bytes));
        }
    }

    pub(super) fn note_messages(&mut self, lane: Option<LaneId>, last: bool, outbox: &Outbox) {
        if self.tape.is_none() {
            return;
        }
        // Those of the other size stay where they are.
        let sizes = if lane.is_some() { Sizes::BOTH } else { self.wants_messages() };
        let Some(tape) = &mut self.tape else { return };
        let contents = tape.keeps_payloads().then(|| Box::new(Contents::of(outbox, sizes)));
        let (messages, bytes) = outbox.count_of(sizes);
        tape.note(self.clock.now(), Note::Messages { lane, last, messages, bytes, contents });
    }

    pub(super) fn note_consumed(&mut self, consumed: &Consumed) {
        let Some(tape) = &mut self.tape else { return };
        let credit = if tape.keeps_payloads() { consumed.credit() } else { Credit::default() };
        tape.note(self.clock.now(), Note::Consumed(credit));
    }
}
