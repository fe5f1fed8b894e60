//! A recording that was read.

use std::path::Path;

use bytes::Bytes;
use headwater_core::id::ConnectionId;
use headwater_core::record::{Birth, Note};
use headwater_core::time::Instant;

use crate::error::ReadError;
use crate::file::{Part, Reader};
use crate::frames::Parts;
use crate::notes::{decode, take_number};

/// What a flight recorder has written.
#[derive(Debug)]
pub struct Recording {
    /// The version of the program that wrote it.
    pub program: String,
    /// Whether what messages say was kept.
    pub payloads: bool,
    /// One for each machine, in the order of their births.
    pub logs: Vec<Log>,
}

/// Whose log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Machine {
    /// The node's.
    Node,
    /// A connection's.
    Connection(ConnectionId),
}

/// What one machine has noted.
#[derive(Debug)]
pub struct Log {
    /// How it began.
    pub birth: Birth,
    /// When.
    pub begun: Instant,
    /// Steps that made room for others; not 0 is a timeline.
    pub lost: u64,
    /// Whether the machine was gone when the recording was written.
    pub closed: bool,
    /// Whether what messages say was kept.
    pub payloads: bool,
    steps: Vec<Raw>,
}

/// A step that was not looked into.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) sequence: u64,
    pub(crate) at: Instant,
    pub(crate) note: Bytes,
}

/// One step of a machine.
#[derive(Debug)]
pub struct Step<'a> {
    /// Its number among the steps of all machines.
    pub sequence: u64,
    /// When, on the clock of the node.
    pub at: Instant,
    /// What.
    pub note: Note,
    /// The bytes that came with it.
    pub parts: Parts<'a>,
}

impl Recording {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        Self::from_bytes(std::fs::read(path)?)
    }

    /// Reads what stands in a file.
    ///
    /// # Errors
    ///
    /// [`ReadError`], but not `Io`.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Self, ReadError> {
        let (recording, end) = Self::salvage(bytes)?;
        end.map_or(Ok(recording), Err)
    }

    /// Reads as much of what stands in a file as is whole, and says why that is not all of it, if
    /// it is not. Of a part that the file ends in, those steps count that are whole; no checksum
    /// vouches for them.
    ///
    /// # Errors
    ///
    /// [`ReadError`], but not `Io`, if not even the head is whole.
    pub fn salvage(bytes: impl Into<Bytes>) -> Result<(Self, Option<ReadError>), ReadError> {
        let bytes = bytes.into();
        let mut reader = Reader::begin(&bytes)?;
        let Part::Head(head) = reader.next()? else {
            return Err(ReadError::Malformed { at: 0, what: "no head" });
        };
        let mut recording =
            Self { program: head.program, payloads: head.payloads, logs: Vec::new() };
        let end = recording.take_logs(&bytes, &mut reader).err();
        if let Some(ReadError::CutOff { .. }) = end {
            if let (Some(log), Some((chunk, steps))) =
                (recording.logs.last_mut(), reader.cut_chunk())
            {
                // It ends in the middle of a step.
                let _ = log.take_steps(chunk.first_sequence, chunk.first_at, &bytes.slice(steps));
            }
        }
        Ok((recording, end))
    }

    /// Takes one part after the other, up to the end.
    fn take_logs(&mut self, bytes: &Bytes, reader: &mut Reader<'_>) -> Result<(), ReadError> {
        loop {
            let at = reader.at();
            let malformed = |what| ReadError::Malformed { at, what };
            match reader.next()? {
                Part::Head(_) => return Err(malformed("a second head")),
                Part::Log(head_of_log) => {
                    let birth = postcard::from_bytes(head_of_log.birth);
                    self.logs.push(Log {
                        birth: birth.map_err(|_| malformed("a birth that makes no sense"))?,
                        begun: Instant::from_nanos(head_of_log.begun),
                        lost: head_of_log.lost,
                        closed: head_of_log.closed,
                        payloads: self.payloads,
                        steps: Vec::new(),
                    });
                }
                Part::Chunk(chunk, steps) => {
                    let log = self.logs.last_mut().ok_or_else(|| malformed("steps of no log"))?;
                    let steps = bytes.slice(steps);
                    log.take_steps(chunk.first_sequence, chunk.first_at, &steps)
                        .ok_or_else(|| malformed("steps that make no sense"))?;
                }
                Part::End => return Ok(()),
            }
        }
    }
}

impl Log {
    /// Whose it is.
    #[must_use]
    pub fn machine(&self) -> Machine {
        match &self.birth {
            Birth::Node { .. } => Machine::Node,
            Birth::Connection { setup, .. } => Machine::Connection(setup.connection),
        }
    }

    /// How many steps there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The steps, in their order; those that make no sense are passed over.
    pub fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        self.steps.iter().filter_map(|raw| {
            let (note, parts) = decode(&raw.note)?;
            Some(Step { sequence: raw.sequence, at: raw.at, note, parts: Parts(parts) })
        })
    }

    pub(crate) fn raw(&self) -> &[Raw] {
        &self.steps
    }

    fn take_steps(&mut self, mut sequence: u64, mut at: u64, chunk: &Bytes) -> Option<()> {
        let mut rest: &[u8] = chunk;
        while !rest.is_empty() {
            let len = usize::try_from(take_number(&mut rest)?).ok()?;
            sequence = sequence.checked_add(take_number(&mut rest)?)?;
            at = at.checked_add(take_number(&mut rest)?)?;
            let (note, others) = rest.split_at_checked(len)?;
            let note = chunk.slice_ref(note);
            self.steps.push(Raw { sequence, at: Instant::from_nanos(at), note });
            rest = others;
        }
        Some(())
    }
}
