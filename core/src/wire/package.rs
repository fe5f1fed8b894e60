//! How a package is written, and how a run of written packages is walked over (spec 3).

use core::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use super::{gzip, varint};
use crate::id::ProtocolId;

/// How many bytes the length in front of a package takes.
pub const PREFIX_LEN: usize = 8;

/// The last byte of a package whose payload is as the sender gave it.
pub const TAIL_PLAIN: [u8; 1] = [0];

/// The last byte of a package whose payload is gzip.
pub const TAIL_GZIP: [u8; 1] = [1];

/// How many bytes a package takes on the wire, the length in front included.
///
/// Saturates at `usize::MAX`.
///
/// ```
/// use headwater_core::wire::encoded_len;
///
/// assert_eq!(encoded_len("/_testing".len(), "Hello world!".len()), 8 + 10 + 13 + 1);
/// ```
#[must_use]
pub const fn encoded_len(protocol_len: usize, payload_len: usize) -> usize {
    PREFIX_LEN.saturating_add(body_len(protocol_len, payload_len))
}

const fn body_len(protocol_len: usize, payload_len: usize) -> usize {
    varint::len(protocol_len as u64)
        .saturating_add(protocol_len)
        .saturating_add(varint::len(payload_len as u64))
        .saturating_add(payload_len)
        .saturating_add(TAIL_PLAIN.len())
}

/// Appends a package with its length to `out`.
///
/// With `compress` the payload goes as gzip if that makes it shorter, otherwise as it is; the
/// payload that the caller holds is never changed. Without `compress` nothing is allocated as
/// long as `out` has [`encoded_len`] bytes to spare.
///
/// ```
/// use bytes::BytesMut;
/// use headwater_core::wire::encode_package;
///
/// let mut out = BytesMut::new();
/// encode_package(&mut out, "/_testing", b"Hello world!", false);
/// assert_eq!(&out[..8], [0, 0, 0, 0, 0, 0, 0, 0x18]);
/// assert_eq!(&out[8..], b"\x09/_testing\x0cHello world!\x00");
/// ```
pub fn encode_package(out: &mut BytesMut, protocol: &str, payload: &[u8], compress: bool) {
    if compress {
        let mut packed = BytesMut::new();
        gzip::compress(payload, &mut packed);
        if packed.len() < payload.len() {
            write(out, protocol, &packed, TAIL_GZIP);
            return;
        }
    }
    write(out, protocol, payload, TAIL_PLAIN);
}

fn write(out: &mut BytesMut, protocol: &str, payload: &[u8], tail: [u8; 1]) {
    out.reserve(encoded_len(protocol.len(), payload.len()));
    package_head(out, protocol, payload.len());
    out.put_slice(payload);
    out.put_slice(&tail);
}

/// Appends what stands in front of a payload of `payload_len` bytes.
///
/// The package is complete when the payload and then one tail byte ([`TAIL_PLAIN`] or
/// [`TAIL_GZIP`]) follow; so a large payload need not be copied. [`tail`] gives the tail as
/// shared bytes.
pub fn package_head(out: &mut BytesMut, protocol: &str, payload_len: usize) {
    let body = u64::try_from(body_len(protocol.len(), payload_len)).unwrap_or(u64::MAX);
    // Short ids and lengths, as almost all are, go out in one piece.
    let mut head = [0; SHORT_HEAD_MAX];
    let len = short_head(&mut head, body, protocol.as_bytes(), payload_len);
    if let Some(head) = len.and_then(|len| head.get(..len)) {
        out.put_slice(head);
        return;
    }
    out.put_u64(body);
    out.put_slice(&varint::encode(protocol.len() as u64));
    out.put_slice(protocol.as_bytes());
    out.put_slice(&varint::encode(payload_len as u64));
}

/// A head of at most this many bytes is put together before it is appended.
const SHORT_HEAD_MAX: usize = 64;

/// The head of the package before: the next one of the same protocol and length has the same.
#[derive(Clone, Debug)]
pub(crate) struct LastHead {
    protocol: Option<ProtocolId>,
    payload_len: usize,
    head: [u8; SHORT_HEAD_MAX],
    len: usize,
}

impl LastHead {
    pub(crate) const fn new() -> Self {
        Self { protocol: None, payload_len: 0, head: [0; SHORT_HEAD_MAX], len: 0 }
    }

    /// Appends a package whose payload is in the form that travels.
    pub(crate) fn write(
        &mut self,
        out: &mut BytesMut,
        protocol: &ProtocolId,
        payload: &[u8],
        compressed: bool,
    ) {
        let is_last = self.payload_len == payload.len()
            && self.protocol.as_ref().is_some_and(|last| last.is_same(protocol));
        if !is_last {
            self.renew(protocol, payload.len());
        }
        match self.head.get(..self.len) {
            Some(head) if self.len > 0 => out.put_slice(head),
            _ => package_head(out, protocol.as_str(), payload.len()),
        }
        out.put_slice(payload);
        out.put_slice(if compressed { &TAIL_GZIP } else { &TAIL_PLAIN });
    }

    #[cold]
    fn renew(&mut self, protocol: &ProtocolId, payload_len: usize) {
        let name = protocol.as_str().as_bytes();
        let body = u64::try_from(body_len(name.len(), payload_len)).unwrap_or(u64::MAX);
        self.len = short_head(&mut self.head, body, name, payload_len).unwrap_or(0);
        self.payload_len = payload_len;
        if self.protocol.as_ref() != Some(protocol) {
            self.protocol = Some(protocol.clone());
        }
    }
}

/// Writes the head if id and payload are short; gives its length.
fn short_head(
    head: &mut [u8; SHORT_HEAD_MAX],
    body: u64,
    protocol: &[u8],
    payload_len: usize,
) -> Option<usize> {
    let payload_len = u16::try_from(payload_len).ok().filter(|len| *len < 1 << 14)?;
    let protocol_len = u8::try_from(protocol.len()).ok().filter(|len| *len < 1 << 7)?;
    let (prefix, rest) = head.split_first_chunk_mut()?;
    *prefix = body.to_be_bytes();
    let (first, rest) = rest.split_first_mut()?;
    *first = protocol_len;
    let (id, rest) = rest.split_at_mut_checked(protocol.len())?;
    id.copy_from_slice(protocol);
    let [low, high] = [(payload_len & 0x7f) as u8, (payload_len >> 7) as u8];
    let digits = if high == 0 {
        *rest.first_mut()? = low;
        1
    } else {
        *rest.first_chunk_mut()? = [low | 0x80, high];
        2
    };
    Some(protocol.len().saturating_add(PREFIX_LEN + 1).saturating_add(digits))
}

/// The tail that follows a payload sent by reference; allocates nothing.
///
/// ```
/// use bytes::BytesMut;
/// use headwater_core::wire::package::{encode_package, package_head, tail};
///
/// let payload = [7; 10_000];
/// let mut pieces = BytesMut::new();
/// package_head(&mut pieces, "/bulk", payload.len());
/// pieces.extend_from_slice(&payload);
/// pieces.extend_from_slice(&tail(false));
///
/// let mut whole = BytesMut::new();
/// encode_package(&mut whole, "/bulk", &payload, false);
/// assert_eq!(pieces, whole);
/// ```
#[must_use]
pub const fn tail(compressed: bool) -> Bytes {
    Bytes::from_static(if compressed { &TAIL_GZIP } else { &TAIL_PLAIN })
}

/// Walks over packages that stand one after another, such as those of an outbox.
///
/// It ends at the first package that is not whole or not well formed; [`Walk::position`] tells
/// how far it came. It reads what this node wrote itself: limits are the decoder's business.
///
/// ```
/// use bytes::BytesMut;
/// use headwater_core::wire::{Walk, encode_package};
///
/// let mut slab = BytesMut::new();
/// encode_package(&mut slab, "/a", b"one", false);
/// encode_package(&mut slab, "/b", b"two", false);
/// let payloads: Vec<_> = Walk::new(&slab).map(|p| &slab[p.payload]).collect();
/// assert_eq!(payloads, [b"one", b"two"]);
/// ```
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    slab: &'a [u8],
    position: usize,
}

/// Where one package of a [`Walk`] lies; every range is relative to the walk's slab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The package with its length.
    pub range: Range<usize>,
    /// The protocol id.
    pub protocol: Range<usize>,
    /// The payload, in the form that travels.
    pub payload: Range<usize>,
    /// Whether the payload is gzip.
    pub compressed: bool,
}

impl<'a> Walk<'a> {
    /// A walk from the front of `slab`.
    #[must_use]
    pub const fn new(slab: &'a [u8]) -> Self {
        Self { slab, position: 0 }
    }

    /// How many bytes of the slab were walked over.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    fn step(&self) -> Option<Encoded> {
        let start = self.position;
        let rest = self.slab.get(start..)?;
        let body = usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?;
        let body_start = start.checked_add(PREFIX_LEN)?;
        let end = body_start.checked_add(body)?;
        let (protocol, after) = self.field(body_start, end)?;
        let (payload, tail) = self.field(after, end)?;
        let compress = self.slab.get(..end)?.get(tail)?;
        Some(Encoded { range: start..end, protocol, payload, compressed: *compress == 1 })
    }

    /// The bytes whose length stands at `at`, and where the next field starts.
    fn field(&self, at: usize, end: usize) -> Option<(Range<usize>, usize)> {
        let (len, taken) = varint::decode(self.slab.get(at..end)?).ok()??;
        let from = at.checked_add(taken)?;
        let to = from.checked_add(usize::try_from(len).ok()?)?;
        (to <= end).then_some((from..to, to))
    }
}

impl Iterator for Walk<'_> {
    type Item = Encoded;

    fn next(&mut self) -> Option<Encoded> {
        let package = self.step()?;
        self.position = package.range.end;
        Some(package)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn the_vector_of_the_spec_comes_out() {
        let mut out = BytesMut::new();
        encode_package(&mut out, "/_testing", b"Hello world!", false);
        let expected = b"\0\0\0\0\0\0\0\x18\x09/_testing\x0cHello world!\0";
        assert_eq!(&out[..], expected);
        assert_eq!(out.len(), encoded_len(9, 12));
    }

    #[test]
    fn d107_encoding_twice_gives_the_same_bytes() {
        let payload = [b'a'; 500];
        let mut first = BytesMut::new();
        encode_package(&mut first, "/p", &payload, true);
        let mut second = BytesMut::new();
        encode_package(&mut second, "/p", &payload, true);
        assert_eq!(first, second);
        let package = Walk::new(&first).next().unwrap();
        assert!(package.compressed);
        assert_eq!(gzip::decompress(&first[package.payload], 500).unwrap(), payload[..]);
    }

    #[test]
    fn a_payload_that_gzip_would_lengthen_goes_plain() {
        let mut out = BytesMut::new();
        encode_package(&mut out, "/p", b"short", true);
        let package = Walk::new(&out).next().unwrap();
        assert!(!package.compressed);
        assert_eq!(&out[package.payload], b"short");
    }

    #[test]
    fn a_walk_stops_before_a_package_that_is_not_whole() {
        let mut slab = BytesMut::new();
        encode_package(&mut slab, "/p", b"first", false);
        let first = slab.len();
        encode_package(&mut slab, "/p", b"second", false);
        for cut in first..slab.len() {
            let mut walk = Walk::new(&slab[..cut]);
            assert_eq!(walk.by_ref().count(), 1);
            assert_eq!(walk.position(), first);
        }
        assert_eq!(Walk::new(&[0xff; 64]).count(), 0);
        assert_eq!(Walk::new(&[0; 64]).count(), 0);
    }

    proptest! {
        #[test]
        fn a_walk_finds_what_was_written(
            messages in prop::collection::vec(
                ("[a-z/]{1,200}", prop::collection::vec(any::<u8>(), 0..400), any::<bool>()), 0..8),
        ) {
            let mut slab = BytesMut::new();
            let mut ends = Vec::new();
            for (protocol, payload, compress) in &messages {
                encode_package(&mut slab, protocol, payload, *compress);
                ends.push(slab.len());
            }
            let mut walk = Walk::new(&slab);
            for ((protocol, payload, _), end) in messages.iter().zip(&ends) {
                let package = walk.next().unwrap();
                prop_assert_eq!(&slab[package.protocol.clone()], protocol.as_bytes());
                prop_assert_eq!(package.range.end, *end);
                let found = &slab[package.payload.clone()];
                if package.compressed {
                    prop_assert_eq!(&gzip::decompress(found, 400).unwrap(), &payload[..]);
                } else {
                    prop_assert_eq!(found, &payload[..]);
                }
            }
            prop_assert_eq!(walk.next(), None);
            prop_assert_eq!(walk.position(), slab.len());
        }
    }
}
