//! Frames, found in the bytes that a connection sends and receives.
//!
//! A [`Track`] follows one direction of a connection: the outer session's frames, and in the data
//! of its streams those of the inner sessions. It looks at the headers alone, so what it costs
//! does not depend on how long frames are, beside hashing or copying what is in them.
//!
//! In a log bytes stand as parts: pieces of headers, which are always kept, and runs of data, which
//! are kept or replaced by their length and a hash. The key of the hash is nowhere in the log, so
//! that nobody finds out by guessing what was said; equal runs have equal hashes. Parts say for
//! themselves what they are, so that a log can be read from any part on.
//!
//! Bounds: a track knows two outer streams; data of others counts as data.

use std::hash::{BuildHasher, RandomState};

use twox_hash::XxHash3_64;

use crate::notes::{put_number, take_number};

/// Bytes of a yamux header.
const HEADER: usize = 12;

const OUTER: u8 = 0;
const OUTER_MORE: u8 = 1;
const INNER: u8 = 2;
const INNER_MORE: u8 = 3;
const DATA: u8 = 4;
const HASHED: u8 = 5;

/// Follows one direction of a connection; see the module.
#[derive(Debug, Default)]
pub struct Track {
    outer: Header,
    /// Of the outer frame in hand.
    stream: u32,
    body: u64,
    inner: [Inner; 2],
    /// It stopped making sense.
    lost: bool,
}

#[derive(Debug, Default)]
struct Header {
    bytes: [u8; HEADER],
    len: usize,
}

#[derive(Debug, Default)]
struct Inner {
    stream: u32,
    header: Header,
    data: u64,
}

impl Header {
    /// Takes what it misses off the front; gives that, and whether it is whole now.
    fn take<'a>(&mut self, bytes: &mut &'a [u8], max: usize) -> (&'a [u8], bool) {
        let missing = (HEADER - self.len).min(bytes.len()).min(max);
        let (taken, rest) = bytes.split_at(missing);
        self.bytes[self.len..self.len + missing].copy_from_slice(taken);
        *bytes = rest;
        self.len += missing;
        let whole = self.len == HEADER;
        if whole {
            self.len = 0;
        }
        (taken, whole)
    }
}

impl Track {
    /// Appends `bytes` to `into` as parts, which are the next of their direction.
    pub(crate) fn write(&mut self, mut bytes: &[u8], keep: &Keep, into: &mut Vec<u8>) {
        while !bytes.is_empty() {
            if self.lost {
                put_data(bytes, keep, into);
                return;
            }
            if self.body > 0 {
                let max = usize::try_from(self.body).unwrap_or(usize::MAX).min(bytes.len());
                let (body, rest) = bytes.split_at(max);
                self.body -= max as u64;
                bytes = rest;
                self.write_body(body, keep, into);
                continue;
            }
            let begins = self.outer.len == 0;
            let (taken, whole) = self.outer.take(&mut bytes, HEADER);
            put_header(if begins { OUTER } else { OUTER_MORE }, taken, into);
            if whole {
                let frame = Frame::of(&self.outer.bytes);
                self.lost = self.outer.bytes[0] != 0 || self.outer.bytes[1] > 3;
                self.stream = frame.stream;
                self.body = if frame.kind == FrameKind::Data { frame.length.into() } else { 0 };
            }
        }
    }

    fn write_body(&mut self, mut body: &[u8], keep: &Keep, into: &mut Vec<u8>) {
        let stream = self.stream;
        let known = self.inner.iter_mut().find(|inner| inner.stream == stream || inner.stream == 0);
        let Some(inner) = known else { return put_data(body, keep, into) };
        inner.stream = stream;
        while !body.is_empty() {
            if inner.data > 0 {
                let max = usize::try_from(inner.data).unwrap_or(usize::MAX).min(body.len());
                let (data, rest) = body.split_at(max);
                inner.data -= max as u64;
                body = rest;
                put_data(data, keep, into);
                continue;
            }
            let begins = inner.header.len == 0;
            let (taken, whole) = inner.header.take(&mut body, HEADER);
            put_header(if begins { INNER } else { INNER_MORE }, taken, into);
            if whole {
                let frame = Frame::of(&inner.header.bytes);
                inner.data = if frame.kind == FrameKind::Data { frame.length.into() } else { 0 };
            }
        }
    }

    /// Puts together what stands in a log: gives the frame whose header `part` completes.
    pub fn read(&mut self, part: &Part<'_>) -> Option<Frame> {
        let (inner, begins, mut bytes) = match part {
            Part::Header { inner, begins, bytes } => (*inner, *begins, *bytes),
            Part::Data(_) | Part::Hashed { .. } => return None,
        };
        let stream = self.stream;
        let header = if inner {
            let mut known = self.inner.iter_mut();
            let known = known.find(|inner| inner.stream == stream || inner.stream == 0)?;
            known.stream = stream;
            &mut known.header
        } else {
            &mut self.outer
        };
        if begins {
            header.len = 0;
        } else if header.len == 0 {
            // Its beginning is gone.
            return None;
        }
        let (_, whole) = header.take(&mut bytes, HEADER);
        let frame =
            whole.then(|| Frame { on: inner.then_some(stream), ..Frame::of(&header.bytes) });
        if let (Some(frame), false) = (frame, inner) {
            self.stream = frame.stream;
        }
        frame
    }
}

/// What becomes of data in a log.
#[derive(Debug)]
pub(crate) enum Keep {
    /// It stands there.
    Whole,
    /// Its length and a hash do, keyed with this.
    Hashed(RandomState),
}

impl Keep {
    pub(crate) fn new(payloads: bool) -> Self {
        if payloads { Self::Whole } else { Self::Hashed(RandomState::new()) }
    }
}

fn put_header(tag: u8, bytes: &[u8], into: &mut Vec<u8>) {
    into.extend_from_slice(&[tag, bytes.len() as u8]);
    into.extend_from_slice(bytes);
}

fn put_data(bytes: &[u8], keep: &Keep, into: &mut Vec<u8>) {
    let key = match keep {
        Keep::Whole => {
            into.push(DATA);
            put_number(bytes.len() as u64, into);
            return into.extend_from_slice(bytes);
        }
        Keep::Hashed(key) => key,
    };
    into.push(HASHED);
    put_number(bytes.len() as u64, into);
    // The quick hash alone could be turned around.
    let hash = key.hash_one(XxHash3_64::oneshot(bytes));
    into.extend_from_slice(&hash.to_le_bytes());
}

/// A part of the bytes of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A header, or a piece of one.
    Header {
        /// Whether it is of an inner session.
        inner: bool,
        /// Whether it is the beginning.
        begins: bool,
        /// At most 12 bytes.
        bytes: &'a [u8],
    },
    /// What is in frames.
    Data(&'a [u8]),
    /// The same, not kept.
    Hashed {
        /// How many bytes.
        len: u64,
        /// A hash of them, whose key is the recorder's.
        hash: u64,
    },
}

/// The parts of a note, in their order. It ends early where they make no sense.
#[derive(Clone, Debug)]
pub struct Parts<'a>(pub(crate) &'a [u8]);

impl Parts<'_> {
    /// Puts the bytes together again; `None` if they were not kept.
    pub(crate) fn bytes(self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for part in self {
            match part {
                Part::Header { bytes: more, .. } | Part::Data(more) => {
                    bytes.extend_from_slice(more);
                }
                Part::Hashed { .. } => return None,
            }
        }
        Some(bytes)
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let (tag, rest) = self.0.split_first()?;
        self.0 = rest;
        let len = take_number(&mut self.0)?;
        if *tag == HASHED {
            let (hash, rest) = self.0.split_first_chunk()?;
            self.0 = rest;
            return Some(Part::Hashed { len, hash: u64::from_le_bytes(*hash) });
        }
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        if *tag == DATA {
            return Some(Part::Data(bytes));
        }
        let inner = matches!(*tag, INNER | INNER_MORE);
        let begins = matches!(*tag, OUTER | INNER);
        (bytes.len() <= HEADER && *tag < DATA).then_some(Part::Header { inner, begins, bytes })
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The outer stream that it came on, if it is of an inner session.
    pub on: Option<u32>,
    /// What it is.
    pub kind: FrameKind,
    /// 1 SYN, 2 ACK, 4 FIN, 8 RST.
    pub flags: u16,
    /// The stream; 0 is the session.
    pub stream: u32,
    /// Bytes of data or credit, a ping's value, or the code of a farewell.
    pub length: u32,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Data.
    Data,
    /// More credit.
    WindowUpdate,
    /// A ping or its answer.
    Ping,
    /// The end of the session.
    GoAway,
    /// Nothing that there is.
    Unknown(u8),
}

impl Frame {
    fn of(header: &[u8; HEADER]) -> Self {
        let [_, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = *header;
        Self {
            on: None,
            kind: match kind {
                0 => FrameKind::Data,
                1 => FrameKind::WindowUpdate,
                2 => FrameKind::Ping,
                3 => FrameKind::GoAway,
                other => FrameKind::Unknown(other),
            },
            flags: u16::from_be_bytes([f0, f1]),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(kind: u8, stream: u32, length: u32) -> Vec<u8> {
        let mut bytes = vec![0, kind, 0, 0];
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes
    }

    fn stream() -> Vec<u8> {
        let inner = [header(0, 5, 7), b"payload".to_vec(), header(1, 5, 9)].concat();
        let (one, two) = inner.split_at(15);
        [
            header(2, 0, 1),
            header(0, 1, 15),
            one.to_vec(),
            header(0, 3, 12),
            header(2, 0, 2),
            header(0, 1, two.len() as u32),
            two.to_vec(),
        ]
        .concat()
    }

    #[test]
    fn data_is_kept_as_length_and_hash() {
        let mut parts = Vec::new();
        let keep = Keep::new(false);
        Track::default().write(&stream(), &keep, &mut parts);
        let data: Vec<(u64, u64)> = Parts(&parts)
            .filter_map(|part| match part {
                Part::Hashed { len, hash } => Some((len, hash)),
                Part::Header { .. } => None,
                Part::Data(_) => panic!("it was kept"),
            })
            .collect();
        assert_eq!(data.iter().map(|(len, _)| *len).collect::<Vec<_>>(), [3, 4]);
        // Nobody can try what it may have been: the key is not in the log.
        assert_ne!(data[0].1, XxHash3_64::oneshot(b"pay"));
        let (mut again, mut other) = (Vec::new(), Vec::new());
        Track::default().write(&stream(), &keep, &mut again);
        Track::default().write(&stream(), &Keep::new(false), &mut other);
        assert_eq!(parts, again);
        assert_ne!(parts, other);
        assert!(!parts.windows(4).any(|bytes| bytes == b"load"));
    }

    proptest! {
        #[test]
        fn bytes_and_frames_come_back_however_they_were_cut(
            cuts in prop::collection::vec(1..20_usize, 0..30),
        ) {
            let (whole, mut bytes) = (stream(), &stream()[..]);
            let (mut writer, mut reader) = (Track::default(), Track::default());
            let (mut joined, mut frames) = (Vec::new(), Vec::new());
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (piece, rest) = bytes.split_at(cut.min(bytes.len()));
                bytes = rest;
                let mut parts = Vec::new();
                writer.write(piece, &Keep::Whole, &mut parts);
                joined.extend(Parts(&parts).bytes().unwrap());
                frames.extend(Parts(&parts).filter_map(|part| reader.read(&part)));
            }
            prop_assert_eq!(joined, whole);
            let seen: Vec<_> = frames.iter().map(|f| (f.on, f.kind, f.stream, f.length)).collect();
            prop_assert_eq!(seen, [
                (None, FrameKind::Ping, 0, 1),
                (None, FrameKind::Data, 1, 15),
                (Some(1), FrameKind::Data, 5, 7),
                (None, FrameKind::Data, 3, 12),
                (Some(3), FrameKind::Ping, 0, 2),
                (None, FrameKind::Data, 1, 16),
                (Some(1), FrameKind::WindowUpdate, 5, 9),
            ]);
        }
    }
}
