//! The form of a recording in a file.
//!
//! ```text
//! file   = magic (8 bytes) version (u16) part*
//! part   = kind (1 byte) length (u32) body checksum (u32)
//! ```
//!
//! Numbers are little-endian. The checksum is the CRC-32 of the part's own number, its kind, its
//! length and its body, so parts that are changed, lost or moved are noticed. The first part is
//! the head; then come logs, each followed by its chunks; the last one is the end, and a file
//! without it is cut off.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::error::ReadError;
use crate::log::LiveLog;

/// Not text, and noticed if it is sent as such.
const MAGIC: [u8; 8] = *b"\x89HWREC\r\n";

/// The format's number; it changes with every change of what notes are.
pub(crate) const VERSION: u16 = 1;

const HEAD: u8 = 1;
const LOG: u8 = 2;
const CHUNK: u8 = 3;
const END: u8 = 4;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The version of the program that wrote it.
    pub(crate) program: String,
    pub(crate) payloads: bool,
}

/// How a log begins.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LogHead<'a> {
    pub(crate) birth: &'a [u8],
    pub(crate) begun: u64,
    pub(crate) lost: u64,
    pub(crate) closed: bool,
}

/// How a chunk begins; its steps follow.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChunkHead {
    pub(crate) first_sequence: u64,
    pub(crate) first_at: u64,
}

/// Writes a recording.
pub(crate) struct Writer<'a, W> {
    to: &'a mut W,
    parts: u32,
}

impl<'a, W: Write> Writer<'a, W> {
    pub(crate) fn begin(to: &'a mut W, payloads: bool) -> io::Result<Self> {
        to.write_all(&MAGIC)?;
        to.write_all(&VERSION.to_le_bytes())?;
        let mut writer = Self { to, parts: 0 };
        let program = env!("CARGO_PKG_VERSION").to_owned();
        writer.part(HEAD, &Head { program, payloads }, &[])?;
        Ok(writer)
    }

    pub(crate) fn log(&mut self, log: &LiveLog) -> io::Result<()> {
        let LiveLog { birth, begun, lost, closed, .. } = log;
        let head = LogHead { birth, begun: begun.as_nanos(), lost: *lost, closed: *closed };
        self.part(LOG, &head, &[])?;
        for chunk in &log.chunks {
            let (first_sequence, first_at) = (chunk.first_sequence, chunk.first_at);
            self.part(CHUNK, &ChunkHead { first_sequence, first_at }, &chunk.bytes)?;
        }
        Ok(())
    }

    pub(crate) fn end(mut self) -> io::Result<()> {
        let parts = self.parts;
        self.part(END, &parts, &[])?;
        self.to.flush()
    }

    fn part(&mut self, kind: u8, head: &impl Serialize, rest: &[u8]) -> io::Result<()> {
        let head = postcard::to_extend(head, Vec::new()).map_err(io::Error::other)?;
        let len = u32::try_from(head.len() + rest.len()).map_err(io::Error::other)?;
        let mut sum = sum_of(self.parts, kind, len);
        sum.update(&head);
        sum.update(rest);
        self.to.write_all(&[kind])?;
        self.to.write_all(&len.to_le_bytes())?;
        self.to.write_all(&head)?;
        self.to.write_all(rest)?;
        self.to.write_all(&sum.finalize().to_le_bytes())?;
        self.parts += 1;
        Ok(())
    }
}

fn sum_of(number: u32, kind: u8, len: u32) -> crc32fast::Hasher {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&number.to_le_bytes());
    sum.update(&[kind]);
    sum.update(&len.to_le_bytes());
    sum
}

/// A part of a file; its checksum fits.
#[derive(Debug)]
pub(crate) enum Part<'a> {
    Head(Head),
    Log(LogHead<'a>),
    /// And where its steps begin and end in the file.
    Chunk(ChunkHead, std::ops::Range<usize>),
    End,
}

/// Goes through the parts of a file.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    parts: u32,
}

impl<'a> Reader<'a> {
    pub(crate) fn begin(bytes: &'a [u8]) -> Result<Self, ReadError> {
        let shared = bytes.len().min(MAGIC.len());
        if bytes[..shared] != MAGIC[..shared] || bytes.is_empty() {
            return Err(ReadError::Foreign);
        }
        let at = MAGIC.len() + 2;
        let Some([low, high]) = bytes.get(MAGIC.len()..at).and_then(|v| v.first_chunk()) else {
            return Err(ReadError::CutOff { at: bytes.len() as u64 });
        };
        let found = u16::from_le_bytes([*low, *high]);
        if found != VERSION {
            return Err(ReadError::Version { found, known: VERSION });
        }
        Ok(Self { bytes, at, parts: 0 })
    }

    /// Where the next part begins.
    pub(crate) const fn at(&self) -> u64 {
        self.at as u64
    }

    pub(crate) fn next(&mut self) -> Result<Part<'a>, ReadError> {
        let cut_off = || ReadError::CutOff { at: self.bytes.len() as u64 };
        let rest = &self.bytes[self.at.min(self.bytes.len())..];
        let ([kind, len @ ..], rest) = rest.split_first_chunk::<5>().ok_or_else(cut_off)?;
        let len = u32::from_le_bytes(*len);
        let body_len = len as usize;
        let (body, rest) = rest.split_at_checked(body_len).ok_or_else(cut_off)?;
        let sum = rest.first_chunk::<4>().ok_or_else(cut_off)?;
        let mut expected = sum_of(self.parts, *kind, len);
        expected.update(body);
        if expected.finalize() != u32::from_le_bytes(*sum) {
            return Err(ReadError::Damaged { at: self.at() });
        }
        let body_at = self.at + 5;
        let part = self.part(*kind, body, body_at)?;
        self.at = body_at + body_len + 4;
        self.parts += 1;
        if matches!(part, Part::End) && self.at != self.bytes.len() {
            return Err(ReadError::Malformed { at: self.at(), what: "something after the end" });
        }
        Ok(part)
    }

    /// As much as there is of a chunk that the file ends in, and where that is.
    pub(crate) fn cut_chunk(&self) -> Option<(ChunkHead, std::ops::Range<usize>)> {
        let ([CHUNK, len @ ..], rest) = self.bytes.get(self.at..)?.split_first_chunk::<5>()? else {
            return None;
        };
        let body = rest.get(..u32::from_le_bytes(*len) as usize).unwrap_or(rest);
        let (head, steps) = postcard::take_from_bytes(body).ok()?;
        let end = self.at + 5 + body.len();
        Some((head, end - steps.len()..end))
    }

    fn part(&self, kind: u8, body: &'a [u8], body_at: usize) -> Result<Part<'a>, ReadError> {
        let malformed = |what| ReadError::Malformed { at: self.at(), what };
        let bad = |_: postcard::Error| malformed("a head that makes no sense");
        match kind {
            HEAD if self.parts == 0 => postcard::from_bytes(body).map(Part::Head).map_err(bad),
            LOG if self.parts > 0 => postcard::from_bytes(body).map(Part::Log).map_err(bad),
            CHUNK if self.parts > 0 => {
                let (head, steps) = postcard::take_from_bytes(body).map_err(bad)?;
                let end = body_at + body.len();
                Ok(Part::Chunk(head, end - steps.len()..end))
            }
            END if postcard::from_bytes(body) == Ok(self.parts) => Ok(Part::End),
            _ => Err(malformed("a part that does not belong there")),
        }
    }
}

/// The same file with right checksums, and an end, as far as it has parts.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn mend(bytes: &[u8]) -> Vec<u8> {
    let mut mended = [&MAGIC[..], &VERSION.to_le_bytes()].concat();
    let mut rest = bytes.get(mended.len()..).unwrap_or(&[]);
    let mut parts = 0;
    let mut put = |kind: u8, body: &[u8]| {
        let len = u32::try_from(body.len()).unwrap_or(0);
        let mut sum = sum_of(parts, kind, len);
        sum.update(body);
        mended.push(kind);
        mended.extend_from_slice(&len.to_le_bytes());
        mended.extend_from_slice(body);
        mended.extend_from_slice(&sum.finalize().to_le_bytes());
        parts += 1;
        parts
    };
    let mut next = 0;
    while let Some(([kind, len @ ..], body)) = rest.split_first_chunk::<5>() {
        if *kind == END {
            break;
        }
        let len = (u32::from_le_bytes(*len) as usize).min(body.len());
        let (body, after) = body.split_at(len);
        next = put(*kind, body);
        rest = after.get(4..).unwrap_or(&[]);
    }
    let end = postcard::to_extend(&next, Vec::new()).unwrap_or_default();
    put(END, &end);
    mended
}
