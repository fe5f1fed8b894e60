//! The compressed form of a payload: gzip, RFC 1952 (spec 3).
//!
//! Reading obeys a cap: a peer that packs a gigabyte into a megabyte gets an error when the cap is
//! reached, and until then the memory held is at most twice what was unpacked, plus a small
//! multiple of what came in.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use miniz_oxide::DataFormat;
use miniz_oxide::deflate::CompressionLevel;
use miniz_oxide::deflate::core as deflate;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core as inflate;

#[cfg(test)]
mod tests;

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;
const FLAG_HEADER_CRC: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;
const FLAGS_RESERVED: u8 = 0xe0;

/// No name, no time, "fastest level", "unknown system": what the original writes.
const HEADER: [u8; 10] = [0x1f, 0x8b, DEFLATE, 0, 0, 0, 0, 0, 4, 0xff];

/// The smallest output allocation, in bytes.
const FIRST_OUTPUT: usize = 512;

/// Appends `payload` to `out` as one gzip member at the fastest level.
///
/// The compressor's tables, about 300 KiB, are allocated for the call.
///
/// ```
/// use bytes::BytesMut;
/// use headwater_core::wire::gzip;
///
/// let mut packed = BytesMut::new();
/// gzip::compress(&[b'x'; 1000], &mut packed);
/// assert!(packed.len() < 50);
/// assert_eq!(gzip::decompress(&packed, 1000)?, [b'x'; 1000][..]);
/// # Ok::<(), gzip::GzipError>(())
/// ```
#[inline(never)]
pub fn compress(payload: &[u8], out: &mut BytesMut) {
    Compressor::new().compress(payload, out);
}

/// A compressor that keeps its tables, about 300 KiB, from one payload to the next.
pub struct Compressor(Box<deflate::CompressorOxide>);

impl Compressor {
    /// Allocates the tables.
    #[must_use]
    #[inline(never)]
    pub fn new() -> Self {
        let level = CompressionLevel::BestSpeed;
        let tables = deflate::CompressorOxide::with_format_and_level(DataFormat::Raw, level);
        Self(Box::new(tables))
    }

    /// Appends `payload` to `out` as one gzip member; the same payload gives the same bytes.
    #[inline(never)]
    pub fn compress(&mut self, payload: &[u8], out: &mut BytesMut) {
        out.put_slice(&HEADER);
        self.0.reset();
        deflate::compress_to_output(&mut self.0, payload, deflate::TDEFLFlush::Finish, |piece| {
            out.put_slice(piece);
            true
        });
        out.put_u32_le(crc32fast::hash(payload));
        // ISIZE is the length modulo 2^32.
        out.put_u32_le(u32::try_from(payload.len() as u64 & 0xffff_ffff).unwrap_or(0));
    }
}

impl Default for Compressor {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compressor(..)")
    }
}

/// Unpacks one gzip member, or several that follow each other, into at most `cap` bytes.
///
/// Memory grows with the output; the length that a member claims is checked, never trusted.
///
/// # Errors
///
/// The first thing that is wrong with `input`; see [`GzipError`].
#[inline(never)]
pub fn decompress(input: &[u8], cap: usize) -> Result<Bytes, GzipError> {
    let mut state = inflate::DecompressorOxide::new();
    let mut output = Vec::new();
    let mut rest = input;
    if rest.is_empty() {
        return Err(GzipError::Truncated);
    }
    while !rest.is_empty() {
        let body = header(rest)?;
        let start = output.len();
        let trailer = member(&mut state, body, &mut output, cap)?;
        let data = output.get(start..).unwrap_or(&[]);
        let (crc, after) = trailer.split_first_chunk().ok_or(GzipError::Truncated)?;
        let (size, after) = after.split_first_chunk().ok_or(GzipError::Truncated)?;
        if u32::from_le_bytes(*crc) != crc32fast::hash(data) {
            return Err(GzipError::Checksum);
        }
        if u64::from(u32::from_le_bytes(*size)) != (data.len() as u64 & 0xffff_ffff) {
            return Err(GzipError::Length);
        }
        rest = after;
    }
    Ok(Bytes::from(output))
}

/// Checks a member's header and gives what follows it.
fn header(input: &[u8]) -> Result<&[u8], GzipError> {
    let (fixed, mut rest) = input.split_first_chunk::<10>().ok_or(GzipError::Truncated)?;
    let [magic0, magic1, method, flags, ..] = *fixed;
    if [magic0, magic1] != MAGIC {
        return Err(GzipError::NotGzip);
    }
    if method != DEFLATE {
        return Err(GzipError::Method { actual: method });
    }
    if flags & FLAGS_RESERVED != 0 {
        return Err(GzipError::Flags { actual: flags });
    }
    if flags & FLAG_EXTRA != 0 {
        let (len, after) = rest.split_first_chunk().ok_or(GzipError::Truncated)?;
        let len = usize::from(u16::from_le_bytes(*len));
        rest = after.get(len..).ok_or(GzipError::Truncated)?;
    }
    for text in [FLAG_NAME, FLAG_COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|byte| *byte == 0).ok_or(GzipError::Truncated)?;
            rest = rest.get(end.saturating_add(1)..).ok_or(GzipError::Truncated)?;
        }
    }
    if flags & FLAG_HEADER_CRC != 0 {
        let len = input.len().saturating_sub(rest.len());
        let hash = crc32fast::hash(input.get(..len).unwrap_or(&[]));
        let (crc, after) = rest.split_first_chunk().ok_or(GzipError::Truncated)?;
        if u32::from(u16::from_le_bytes(*crc)) != hash & 0xffff {
            return Err(GzipError::Checksum);
        }
        rest = after;
    }
    Ok(rest)
}

/// Unpacks the deflate stream in front of `input` to the end of `output`, and gives what follows.
fn member<'a>(
    state: &mut inflate::DecompressorOxide,
    input: &'a [u8],
    output: &mut Vec<u8>,
    cap: usize,
) -> Result<&'a [u8], GzipError> {
    let start = output.len();
    let mut filled = start;
    let mut rest = input;
    state.init();
    loop {
        // A member may not refer back to an earlier one, so it sees its own output only.
        let window = output.get_mut(start..).unwrap_or(&mut []);
        let flags = inflate::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let at = filled.saturating_sub(start);
        let (status, taken, made) = inflate::decompress(state, rest, window, at, flags);
        rest = rest.get(taken..).unwrap_or(&[]);
        filled = filled.saturating_add(made);
        match status {
            TINFLStatus::Done => {
                output.truncate(filled);
                return Ok(rest);
            }
            // Each turn grows the output, so the loop ends.
            TINFLStatus::HasMoreOutput if output.len() < cap => grow(output, rest.len(), cap),
            TINFLStatus::HasMoreOutput => return Err(GzipError::TooLong { limit: cap }),
            TINFLStatus::NeedsMoreInput | TINFLStatus::FailedCannotMakeProgress => {
                return Err(GzipError::Truncated);
            }
            _ => return Err(GzipError::Deflate),
        }
    }
}

/// Makes room: twice what there is, first a multiple of the input, and never above `cap`.
fn grow(output: &mut Vec<u8>, input_left: usize, cap: usize) {
    let wish = output.len().max(input_left).max(FIRST_OUTPUT).saturating_mul(2).min(cap);
    let target = wish.max(output.len());
    output.reserve_exact(target.saturating_sub(output.len()));
    output.resize(target, 0);
}

/// Why bytes are not gzip that may be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GzipError {
    /// The input ends before the gzip member does, or is empty.
    Truncated,
    /// A member does not start with `1f 8b`; so also for bytes that follow the last member.
    NotGzip,
    /// A compression method other than deflate (8).
    Method {
        /// The method found.
        actual: u8,
    },
    /// A reserved header flag is set.
    Flags {
        /// The flags found.
        actual: u8,
    },
    /// The deflate stream is malformed.
    Deflate,
    /// A checksum, of the data or of the header, does not match.
    Checksum,
    /// The length at the end of a member does not match its data.
    Length,
    /// Unpacked it would take more than the cap.
    TooLong {
        /// The cap in bytes.
        limit: usize,
    },
}

impl fmt::Display for GzipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("gzip data ends too early"),
            Self::NotGzip => f.write_str("not a gzip header"),
            Self::Method { actual } => write!(f, "gzip method {actual}, only 8 is known"),
            Self::Flags { actual } => write!(f, "reserved gzip flags are set: {actual:#04x}"),
            Self::Deflate => f.write_str("malformed deflate data"),
            Self::Checksum => f.write_str("gzip checksum does not match"),
            Self::Length => f.write_str("gzip length does not match"),
            Self::TooLong { limit } => write!(f, "unpacks to more than {limit} bytes"),
        }
    }
}

impl core::error::Error for GzipError {}
