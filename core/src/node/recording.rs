//! What a node notes on its tape; see [`crate::record`].

use alloc::boxed::Box;
use alloc::format;
use core::fmt;

use super::Node;
use crate::id::PeerId;
use crate::pool::{Outbox, Sizes};
use crate::record::{Contents, Note};
use crate::time::Instant;

impl Node {
    /// Moves time, and notes what the node is told.
    #[inline]
    pub(super) fn note_told(&mut self, now: Instant, note: impl FnOnce() -> Note) -> Instant {
        let now = self.clock.advance(now);
        self.note(note);
        now
    }

    #[inline]
    pub(super) fn note(&mut self, note: impl FnOnce() -> Note) {
        if let Some(tape) = &mut self.tape {
            tape.note(self.clock.now(), note());
        }
    }

    /// Notes what a call gave.
    #[inline]
    pub(super) fn gave(&mut self, answer: &impl fmt::Debug) {
        self.note(|| Note::Gave(format!("{answer:?}")));
    }

    /// Notes messages that are handed over: they may move on, or are lost.
    pub(super) fn note_outbox(&mut self, peer: PeerId, outbox: &Outbox, lost: bool) {
        self.note(|| {
            let (peer, contents) = (Box::new(peer), Box::new(Contents::of(outbox, Sizes::BOTH)));
            if lost { Note::Lost { peer, contents } } else { Note::Leftover { peer, contents } }
        });
    }
}
