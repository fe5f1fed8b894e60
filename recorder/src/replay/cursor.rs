//! The place in a log that is run again, and the tape that compares.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_core::message::Batch;
use headwater_core::record::{self, Birth, Note, Tape, Want, Way};
use headwater_core::time::Instant;

use crate::error::ReplayError;
use crate::frames::Keep;
use crate::frames::Parts;
use crate::notes::{Encoder, decode};
use crate::recording::{Log, Raw};
use crate::timeline::words;

/// The place in a log that is run again. Clones are the same one: the driver, the tape and the
/// channel of one machine look at it.
#[derive(Clone, Debug)]
pub(super) struct Cursor(Arc<State>);

#[derive(Debug)]
struct State {
    steps: Vec<Raw>,
    payloads: bool,
    place: Mutex<Place>,
}

#[derive(Debug, Default)]
struct Place {
    next: usize,
    error: Option<ReplayError>,
}

impl Cursor {
    pub(super) fn new(log: &Log) -> Self {
        let (steps, payloads) = (log.raw().to_vec(), log.payloads);
        Self(Arc::new(State { steps, payloads, place: Mutex::default() }))
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.0.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The step that comes next, if the log has not ended.
    pub(super) fn step(&self) -> Option<usize> {
        let next = self.place().next;
        (next < self.0.steps.len()).then_some(next)
    }

    /// The step behind a step.
    pub(super) fn after(&self, step: usize) -> Option<usize> {
        step.checked_add(1).filter(|next| *next < self.0.steps.len())
    }

    pub(super) fn sequence(&self, step: usize) -> u64 {
        self.0.steps[step].sequence
    }

    pub(super) fn note(&self, step: usize) -> Result<(Instant, Note), ReplayError> {
        let raw = &self.0.steps[step];
        let (note, _) =
            decode(&raw.note).ok_or(ReplayError::Malformed { sequence: raw.sequence })?;
        Ok((raw.at, note))
    }

    /// The bytes that came with a step.
    pub(super) fn bytes(&self, step: usize) -> Option<Vec<u8>> {
        let (_, parts) = decode(&self.0.steps[step].note)?;
        Parts(parts).bytes()
    }

    /// What a step says.
    pub(super) fn words(&self, step: usize) -> String {
        words_of(&self.0.steps[step].note)
    }

    /// The machine did not do what was recorded.
    pub(super) fn missing(&self, step: usize, recorded: String) -> ReplayError {
        let (sequence, repeated) = (self.sequence(step), "nothing".to_owned());
        ReplayError::Diverged { sequence, recorded, repeated }
    }

    /// What was found to differ, if anything was.
    pub(super) fn check(&self) -> Result<(), ReplayError> {
        self.place().error.take().map_or(Ok(()), Err)
    }

    /// The next note, to be looked at without going on.
    pub(super) fn peek(&self) -> Option<(usize, Note)> {
        let step = self.step()?;
        self.note(step).ok().map(|(_, note)| (step, note))
    }

    /// The machine made a note: compares it with the recorded one.
    fn compare(&self, at: Instant, repeated: &[u8]) {
        let mut place = self.place();
        if place.error.is_some() {
            return;
        }
        let Some(raw) = self.0.steps.get(place.next) else {
            // The recording was written in the middle of something.
            return;
        };
        if raw.at == at && raw.note == repeated {
            place.next += 1;
            return;
        }
        let when = |at: Instant, note| format!("{} at {at:?}", words_of(note));
        place.error = Some(ReplayError::Diverged {
            sequence: raw.sequence,
            recorded: when(raw.at, &raw.note),
            repeated: when(at, repeated),
        });
    }
}

fn words_of(note: &[u8]) -> String {
    decode(note).map_or_else(|| "nonsense".to_owned(), |(note, _)| words::of(&note))
}

/// Gives the machine that is run again its tape.
impl record::Recorder for Cursor {
    fn begin(&self, _at: Instant, _birth: Birth) -> Box<dyn Tape> {
        Box::new(Comparing {
            cursor: self.clone(),
            encoder: Encoder::new(Keep::new(self.0.payloads)),
        })
    }
}

/// A tape that compares what is noted with what was recorded.
#[derive(Debug)]
struct Comparing {
    cursor: Cursor,
    encoder: Encoder,
}

impl Tape for Comparing {
    fn note(&mut self, at: Instant, note: Note) {
        self.cursor.compare(at, self.encoder.note(note));
    }

    fn bytes(
        &mut self,
        at: Instant,
        note: Note,
        way: Way,
        pieces: &mut dyn Iterator<Item = &[u8]>,
    ) {
        self.cursor.compare(at, self.encoder.bytes(&note, way, pieces));
    }

    fn taken(&mut self, at: Instant, batch: &Batch) {
        self.cursor.compare(at, self.encoder.taken(batch));
    }

    fn keeps_payloads(&self) -> bool {
        self.encoder.keeps_payloads()
    }

    fn repeats_want(&self, want: Want) -> bool {
        matches!(self.cursor.peek(), Some((_, Note::Wants(recorded))) if recorded == want)
    }
}
