//! The messages of a transfer, parsed and encoded. All numbers are big-endian.
//!
//! ```text
//! kind 1 byte, transfer 8 bytes, then
//! OFFER    length 8 bytes (all ones: not known), name, UTF-8, at most 255 bytes
//! CHUNK    offset 8 bytes, file bytes, at most CHUNK_MAX
//! END      length 8 bytes, SHA-256 32 bytes         CONFIRM the same
//! CANCEL   cause 1 byte, text, UTF-8, at most 255 bytes     REFUSE the same
//! ACCEPT, ALIVE    nothing
//! ```

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{CHUNK_MAX, Digest, Sum};
use crate::failure::Failure;
use crate::status::Status;

/// Bytes before the file's bytes in a CHUNK.
pub(crate) const CHUNK_HEAD: usize = 17;

/// The longest name hint or text, in bytes.
const TEXT_MAX: usize = 255;

const OFFER: u8 = 1;
const CHUNK: u8 = 2;
const END: u8 = 3;
const CANCEL: u8 = 4;
const ACCEPT: u8 = 5;
const REFUSE: u8 = 6;
const CONFIRM: u8 = 7;
const ALIVE: u8 = 8;

/// One message of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The sender has a file.
    Offer {
        /// Its length in bytes, if the sender knows.
        length: Option<u64>,
        /// What the sender calls it; not to be trusted.
        name: String,
    },
    /// The receiver takes it.
    Accept,
    /// The receiver does not take it, or does not go on.
    Refuse(Ending),
    /// A piece of the file.
    Chunk {
        /// Where it belongs.
        offset: u64,
        /// The bytes.
        data: Bytes,
    },
    /// The whole file has been sent.
    End(Sum),
    /// The receiver has the whole file, and its sum is this.
    Confirm(Sum),
    /// The sender does not go on.
    Cancel(Ending),
    /// Nothing new.
    Alive,
}

/// Why one side ends a transfer early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// The kind of cause.
    pub(crate) cause: Cause,
    /// A sentence for the other side's user.
    pub(crate) text: String,
}

macro_rules! causes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal => $status:ident,)+) => {
        /// The kinds of causes, with their numbers in messages.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Cause { $($(#[doc = $doc])+ $name = $code,)+ }

        impl Cause {
            fn from_code(code: u8) -> Self {
                match code { $($code => Self::$name,)+ _ => Self::Other }
            }

            /// The status with which the program ends when the other side gives this cause.
            pub(crate) const fn status(self) -> Status {
                match self { $(Self::$name => Status::$status,)+ }
            }
        }

        impl From<Status> for Cause {
            fn from(status: Status) -> Self {
                $(if status == Status::$status { return Self::$name; })+
                Self::Other
            }
        }
    };
}

causes! {
    /// Anything else, also a number that is not known.
    Other = 0 => Interrupted,
    /// Another transfer is under way.
    Busy = 1 => Busy,
    /// The disk is full.
    NoSpace = 2 => NoSpace,
    /// The file cannot be written.
    Output = 3 => Output,
    /// The file cannot be read.
    Input = 4 => Input,
    /// Length, digest or format are not as announced.
    Mismatch = 5 => Mismatch,
    /// Nothing was heard for too long.
    Timeout = 6 => Timeout,
}

impl From<&Failure> for Ending {
    fn from(failure: &Failure) -> Self {
        Self { cause: failure.status.into(), text: failure.message.clone() }
    }
}

/// A message that does not follow the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Encodes a message of the transfer numbered `transfer`. A chunk is copied here; the sender
/// uses [`chunk_head`] instead.
pub(crate) fn encode(transfer: u64, part: &Part) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    out.put_u8(match part {
        Part::Offer { .. } => OFFER,
        Part::Accept => ACCEPT,
        Part::Refuse(_) => REFUSE,
        Part::Chunk { .. } => CHUNK,
        Part::End(_) => END,
        Part::Confirm(_) => CONFIRM,
        Part::Cancel(_) => CANCEL,
        Part::Alive => ALIVE,
    });
    out.put_u64(transfer);
    match part {
        Part::Accept | Part::Alive => {}
        Part::Offer { length, name } => {
            out.put_u64(length.unwrap_or(u64::MAX));
            out.put_slice(cut(name).as_bytes());
        }
        Part::Chunk { offset, data } => {
            out.put_u64(*offset);
            out.put_slice(data);
        }
        Part::End(sum) | Part::Confirm(sum) => {
            out.put_u64(sum.bytes);
            out.put_slice(&sum.sha256);
        }
        Part::Cancel(ending) | Part::Refuse(ending) => {
            out.put_u8(ending.cause as u8);
            out.put_slice(cut(&ending.text).as_bytes());
        }
    }
    out.freeze()
}

/// What stands before the bytes of a chunk.
pub(crate) fn chunk_head(transfer: u64, offset: u64) -> [u8; CHUNK_HEAD] {
    let mut head = [CHUNK; CHUNK_HEAD];
    head[1..9].copy_from_slice(&transfer.to_be_bytes());
    head[9..].copy_from_slice(&offset.to_be_bytes());
    head
}

/// Reads a message: the transfer's number and what it says. A chunk's bytes are not copied.
///
/// # Errors
///
/// [`Malformed`] if any rule of the format is broken.
pub(crate) fn parse(message: Bytes) -> Result<(u64, Part), Malformed> {
    let (kind, rest) = message.split_first().ok_or(Malformed)?;
    let (transfer, rest) = number(rest)?;
    let part = match *kind {
        ACCEPT if rest.is_empty() => Part::Accept,
        ALIVE if rest.is_empty() => Part::Alive,
        OFFER => {
            let (length, name) = number(rest)?;
            Part::Offer { length: (length != u64::MAX).then_some(length), name: text(name)? }
        }
        CHUNK => {
            let (offset, data) = number(rest)?;
            if data.len() > CHUNK_MAX {
                return Err(Malformed);
            }
            Part::Chunk { offset, data: message.slice(CHUNK_HEAD..) }
        }
        END => Part::End(sum(rest)?),
        CONFIRM => Part::Confirm(sum(rest)?),
        CANCEL => Part::Cancel(ending(rest)?),
        REFUSE => Part::Refuse(ending(rest)?),
        _ => return Err(Malformed),
    };
    Ok((transfer, part))
}

fn number(bytes: &[u8]) -> Result<(u64, &[u8]), Malformed> {
    let (head, rest) = bytes.split_first_chunk::<8>().ok_or(Malformed)?;
    Ok((u64::from_be_bytes(*head), rest))
}

fn sum(bytes: &[u8]) -> Result<Sum, Malformed> {
    let (bytes, digest) = number(bytes)?;
    let sha256: Digest = digest.try_into().map_err(|_| Malformed)?;
    Ok(Sum { bytes, sha256 })
}

fn ending(bytes: &[u8]) -> Result<Ending, Malformed> {
    let (code, rest) = bytes.split_first().ok_or(Malformed)?;
    Ok(Ending { cause: Cause::from_code(*code), text: text(rest)? })
}

fn text(bytes: &[u8]) -> Result<String, Malformed> {
    if bytes.len() > TEXT_MAX {
        return Err(Malformed);
    }
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed)
}

/// As much of a text as fits, whole characters only.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Vec<Part> {
        let sum = Sum { bytes: 7, sha256: [9; 32] };
        let ending = Ending { cause: Cause::NoSpace, text: "the disk is full".to_owned() };
        vec![
            Part::Offer { length: None, name: String::new() },
            Part::Offer { length: Some(0), name: "ü.txt".to_owned() },
            Part::Accept,
            Part::Refuse(ending.clone()),
            Part::Chunk { offset: 1 << 40, data: Bytes::from_static(b"water") },
            Part::Chunk { offset: 0, data: Bytes::new() },
            Part::End(sum),
            Part::Confirm(sum),
            Part::Cancel(ending),
            Part::Alive,
        ]
    }

    #[test]
    fn every_part_comes_back() {
        for part in parts() {
            assert_eq!(parse(encode(42, &part)), Ok((42, part)));
        }
    }

    #[test]
    fn a_prefix_is_never_mistaken_for_the_whole() {
        for part in parts() {
            let whole = encode(1, &part);
            for end in 0..whole.len() {
                assert_ne!(parse(whole.slice(..end)), Ok((1, part.clone())));
            }
        }
    }

    #[test]
    fn bytes_beyond_a_limit_or_a_format_are_refused() {
        let chunk = |len| {
            let mut bytes = chunk_head(1, 0).to_vec();
            bytes.resize(CHUNK_HEAD + len, 0);
            parse(bytes.into())
        };
        assert!(chunk(CHUNK_MAX).is_ok());
        assert_eq!(chunk(CHUNK_MAX + 1), Err(Malformed));
        let mut accept = encode(1, &Part::Accept).to_vec();
        accept.push(0);
        assert_eq!(parse(accept.into()), Err(Malformed));
        assert_eq!(parse(Bytes::from_static(&[0; 9])), Err(Malformed));
        let mut name = encode(1, &Part::Offer { length: None, name: String::new() }).to_vec();
        name.extend([b'a'; TEXT_MAX]);
        assert!(parse(name.clone().into()).is_ok());
        name.push(b'a');
        assert_eq!(parse(name.into()), Err(Malformed));
        let latin = [&[CANCEL, 0, 0, 0, 0, 0, 0, 0, 1, 0][..], &[0xff]].concat();
        assert_eq!(parse(latin.into()), Err(Malformed));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = "ü".repeat(200);
        let part = Part::Cancel(Ending { cause: Cause::Other, text });
        let Ok((_, Part::Cancel(ending))) = parse(encode(1, &part)) else { panic!("no cancel") };
        assert_eq!(ending.text, "ü".repeat(127));
    }

    #[test]
    fn causes_stand_for_statuses_and_unknown_ones_for_an_interruption() {
        assert_eq!(Cause::from(Status::NoSpace), Cause::NoSpace);
        assert_eq!(Cause::from(Status::SigTerm), Cause::Other);
        assert_eq!(Cause::from_code(200).status(), Status::Interrupted);
        assert_eq!(Cause::Busy.status(), Status::Busy);
    }
}
