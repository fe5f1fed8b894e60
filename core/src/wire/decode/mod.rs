//! How a stream of bytes, in any chunks, becomes packages again (spec 3).
//!
//! # States
//!
//! ```text
//! prefix (0 to 8 bytes of the length) -> body (assembling, up to the declared length) -> prefix
//!        any rule broken -> poisoned: the same error for ever
//! ```
//!
//! A package that lies in one chunk is not copied: its ranges are given. Any other is copied into
//! an assembly buffer that the owner lends.
//!
//! # Invariants
//!
//! 1. The same bytes in any chunks give the same packages, then the same error.
//! 2. A push with input consumes at least one byte of it, and at most to the end of one package.
//! 3. Nothing is allocated for announced bytes, only for bytes that came.
//! 4. A rule is checked as soon as the bytes that break it are here: a length when the length is
//!    here, a protocol when the protocol is here, never at the end of a body.
//!
//! # Bounds
//!
//! A decoder holds at most [`DecodeLimits::package_max`] bytes, at any time at most twice the
//! bytes of the package that came, plus the capacity that the owner chose to lend.

use alloc::boxed::Box;
use core::ops::Range;

use bytes::{Bytes, BytesMut};

use super::package::PREFIX_LEN;
use super::varint;
use crate::id::PROTOCOL_ID_LEN_MAX;

mod error;
mod head;
#[cfg(test)]
mod tests;

pub use error::{Field, PackageError};
use head::{Head, Whole};

/// What a decoder accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// The longest payload in bytes, as the application sees it (unpacked).
    pub message_max: usize,
    /// The longest protocol id in bytes.
    pub protocol_len_max: usize,
}

impl DecodeLimits {
    /// Limits for messages of up to `message_max` bytes, with the usual limit on protocol ids.
    #[must_use]
    pub const fn new(message_max: usize) -> Self {
        Self { message_max, protocol_len_max: PROTOCOL_ID_LEN_MAX }
    }

    /// The longest payload in bytes in the form that travels: gzip lengthens what it cannot pack
    /// by a few bytes in 64 KiB.
    #[must_use]
    pub const fn payload_max(&self) -> usize {
        self.message_max.saturating_add(self.message_max >> 12).saturating_add(64)
    }

    /// The longest package in bytes, without the length in front of it.
    #[must_use]
    pub const fn package_max(&self) -> usize {
        let overhead = self.protocol_len_max.saturating_add(2 * varint::LEN_MAX + 1);
        self.payload_max().saturating_add(overhead)
    }
}

/// Where a decoder gets the memory for packages that do not lie in one chunk.
pub trait AssemblyBuffers {
    /// Lends a buffer for a package of `declared` bytes, of which the first are here.
    ///
    /// Its capacity is the owner's choice, 0 included; the decoder grows it as bytes come. What it
    /// contains is cleared.
    fn take(&mut self, declared: usize) -> BytesMut;

    /// Makes a package of what is in a buffer. The default takes the rest of the buffer back.
    fn freeze(&mut self, mut buffer: BytesMut) -> Bytes {
        let package = buffer.split().freeze();
        self.give_back(buffer);
        package
    }

    /// Takes back a buffer: the rest of one whose package was split off, or one that became too
    /// small, whose larger successor comes back later. The default frees it.
    fn give_back(&mut self, buffer: BytesMut) {
        drop(buffer);
    }
}

/// A decoder of one stream's packages.
///
/// ```
/// use bytes::BytesMut;
/// use headwater_core::wire::{AssemblyBuffers, DecodeLimits, Decoder, Item, encode_package};
///
/// struct Fresh;
/// impl AssemblyBuffers for Fresh {
///     fn take(&mut self, _declared: usize) -> BytesMut {
///         BytesMut::new()
///     }
/// }
///
/// let mut stream = BytesMut::new();
/// encode_package(&mut stream, "/echo", b"hello", false);
///
/// let mut decoder = Decoder::new();
/// let pushed = decoder.push(&stream, &DecodeLimits::new(1024), &mut Fresh)?;
/// assert_eq!(pushed.consumed, stream.len());
/// let Some(Item::Inline { payload, .. }) = pushed.item else { panic!("it is all here") };
/// assert_eq!(&stream[payload], b"hello");
/// # Ok::<(), headwater_core::wire::PackageError>(())
/// ```
#[derive(Debug, Default)]
pub struct Decoder {
    /// There from the first package that came in parts, or broke a rule.
    state: Option<Box<State>>,
}

/// What has to be remembered from one push to the next.
#[derive(Debug, Default)]
struct State {
    /// The length in front of the package; `prefix_len` bytes of it are here.
    prefix: [u8; PREFIX_LEN],
    prefix_len: u8,
    /// 0 until the whole prefix is here and found good.
    declared: usize,
    /// Present from the first byte of a body that did not come in one chunk.
    assembly: Option<Assembly>,
    poison: Option<PackageError>,
}

#[derive(Debug)]
struct Assembly {
    buffer: BytesMut,
    /// Present once the bytes in front of the payload are here.
    head: Option<Head>,
}

/// What a push did.
#[derive(Debug)]
pub struct Pushed {
    /// How many bytes of the input were used; the rest is for the next push.
    pub consumed: usize,
    /// What became known, if anything.
    pub item: Option<Item>,
}

/// A package, or the beginning of one.
#[derive(Debug)]
pub enum Item {
    /// A whole package that lies in the input; the ranges are relative to the input.
    Inline {
        /// The protocol id, which is UTF-8.
        protocol: Range<usize>,
        /// The payload, in the form that travels.
        payload: Range<usize>,
        /// Whether the payload is gzip.
        compressed: bool,
    },
    /// A whole package that was assembled from several chunks.
    Assembled {
        /// The package; the ranges are relative to it.
        package: Bytes,
        /// The protocol id, which is UTF-8.
        protocol: Range<usize>,
        /// The payload, in the form that travels.
        payload: Range<usize>,
        /// Whether the payload is gzip.
        compressed: bool,
    },
    /// The first bytes of a package came and the rest did not; once a package. The decoder goes on
    /// whatever the owner makes of it.
    Begun {
        /// The length of the whole package in bytes, without the length in front of it.
        len: usize,
    },
}

impl Decoder {
    /// Bytes that are kept from the first package in parts on, beside those of a package.
    pub(crate) const KEPT: usize = size_of::<State>();

    /// A decoder at the start of a stream; it holds no memory before a package comes in parts.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: None }
    }

    /// Reads from the front of `input`, to the end of one package at most.
    ///
    /// The caller goes on with the rest of the input until nothing is left of it.
    ///
    /// # Errors
    ///
    /// The first rule that the stream breaks. The decoder is poisoned then: it gives the same
    /// error again whatever comes.
    pub fn push(
        &mut self,
        input: &[u8],
        limits: &DecodeLimits,
        buffers: &mut impl AssemblyBuffers,
    ) -> Result<Pushed, PackageError> {
        let pushed = match &mut self.state {
            Some(state) => state.push(input, limits, buffers),
            // Nearly every small one needs no more than this.
            None => match read_whole(input, limits) {
                Ok(None) => self.state.get_or_insert_default().read(input, limits, buffers),
                Ok(Some(whole)) => Ok(whole),
                Err(error) => Err(error),
            },
        };
        if let Err(error) = pushed {
            let state = self.state.get_or_insert_default();
            state.poison = Some(error);
            if let Some(assembly) = state.assembly.take() {
                buffers.give_back(assembly.buffer);
            }
        }
        pushed
    }

    /// Frees what is kept for the next package in parts; false if it is in use.
    pub(crate) fn shrink(&mut self) -> bool {
        self.state.take_if(|state| state.prefix_len == 0 && state.poison.is_none());
        self.state.is_none()
    }

    /// Whether something is kept for packages in parts.
    pub(crate) const fn is_kept(&self) -> bool {
        self.state.is_some()
    }

    fn assembly(&self) -> Option<&Assembly> {
        self.state.as_ref()?.assembly.as_ref()
    }

    /// The bytes of the package in assembly that are here, without the length in front of it.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.assembly().map_or(0, |assembly| assembly.buffer.len())
    }

    /// The memory of the package in assembly, in bytes: the capacity of its buffer.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.assembly().map_or(0, |assembly| assembly.buffer.capacity())
    }

    /// The declared length in bytes of the package that the stream is in; 0 between packages and
    /// while its length is not all here.
    #[must_use]
    pub fn declared(&self) -> usize {
        self.state.as_ref().map_or(0, |state| state.declared)
    }

    /// Whether the stream may end here: no byte of a further package came.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.state.as_ref().is_none_or(|state| state.prefix_len == 0)
    }

    /// Whether the package that the stream is in, or comes to next, is of `protocol`, as the bytes
    /// tell that were pushed and those that `follow`; `None` if they are too few for that.
    #[must_use]
    pub fn is_next<'a>(
        &'a self,
        protocol: &str,
        follow: impl IntoIterator<Item = &'a [u8]>,
    ) -> Option<bool> {
        let prefix = self.state.as_ref().map_or(&[][..], |state| state.prefix());
        let body = self.assembly().map_or(&[][..], |assembly| &assembly.buffer);
        let mut bytes = [prefix, body].into_iter().chain(follow).flatten().skip(PREFIX_LEN);
        // Of a longer one the length would take more than a byte.
        let len = u8::try_from(protocol.len()).ok().filter(|len| *len < 0x80)?;
        for wanted in core::iter::once(len).chain(protocol.bytes()) {
            if *bytes.next()? != wanted {
                return Some(false);
            }
        }
        Some(true)
    }

    /// The buffer of the package in assembly, for an owner that gives up the stream.
    #[must_use]
    pub fn into_buffer(self) -> Option<BytesMut> {
        self.state?.assembly.map(|assembly| assembly.buffer)
    }
}

impl State {
    fn push(
        &mut self,
        input: &[u8],
        limits: &DecodeLimits,
        buffers: &mut impl AssemblyBuffers,
    ) -> Result<Pushed, PackageError> {
        if let Some(error) = self.poison {
            return Err(error);
        }
        if self.prefix_len == 0 {
            if let Some(whole) = read_whole(input, limits)? {
                return Ok(whole);
            }
        }
        self.read(input, limits, buffers)
    }

    /// What is here of the length in front of the package.
    fn prefix(&self) -> &[u8] {
        self.prefix.get(..usize::from(self.prefix_len)).unwrap_or_default()
    }

    /// Reads a package that is not all in `input`.
    fn read(
        &mut self,
        input: &[u8],
        limits: &DecodeLimits,
        buffers: &mut impl AssemblyBuffers,
    ) -> Result<Pushed, PackageError> {
        let start = self.read_prefix(input, limits)?;
        let body = input.get(start..).unwrap_or(&[]);
        if self.declared == 0 || body.is_empty() {
            return Ok(Pushed { consumed: start, item: None });
        }
        let (item, taken) = if self.assembly.is_some() {
            self.assemble(body, limits, buffers)?
        } else if let Some(package) = body.get(..self.declared) {
            let whole = Whole::parse(package, limits)?;
            let taken = self.declared;
            self.next_package();
            (Some(whole.inline(start)), taken)
        } else {
            let len = self.declared;
            Head::parse(body, len, limits)?;
            self.assembly = Some(Assembly { buffer: cleared(buffers.take(len)), head: None });
            let (_, taken) = self.assemble(body, limits, buffers)?;
            (Some(Item::Begun { len }), taken)
        };
        Ok(Pushed { consumed: start.saturating_add(taken), item })
    }

    /// Takes what is missing of the length in front of a package; gives how much of `input` it was.
    fn read_prefix(&mut self, input: &[u8], limits: &DecodeLimits) -> Result<usize, PackageError> {
        let missing = self.prefix.get_mut(usize::from(self.prefix_len)..).unwrap_or_default();
        let taken = missing.len().min(input.len());
        for (to, from) in missing.iter_mut().zip(input) {
            *to = *from;
        }
        let len = usize::from(self.prefix_len).saturating_add(taken);
        self.prefix_len = u8::try_from(len).unwrap_or(0);
        if len == PREFIX_LEN && self.declared == 0 {
            self.declared = head::check_declared(u64::from_be_bytes(self.prefix), limits)?;
        }
        Ok(taken)
    }

    /// Adds to the assembly; gives the package if it is whole, and how much of `input` was used.
    fn assemble(
        &mut self,
        input: &[u8],
        limits: &DecodeLimits,
        buffers: &mut impl AssemblyBuffers,
    ) -> Result<(Option<Item>, usize), PackageError> {
        let Some(assembly) = &mut self.assembly else { return Ok((None, 0)) };
        let missing = self.declared.saturating_sub(assembly.buffer.len());
        let chunk = input.get(..missing).unwrap_or(input);
        assembly.make_room(chunk.len(), self.declared, buffers);
        assembly.buffer.extend_from_slice(chunk);
        if assembly.head.is_none() {
            assembly.head = Head::parse(&assembly.buffer, self.declared, limits)?;
        }
        if assembly.buffer.len() < self.declared {
            return Ok((None, chunk.len()));
        }
        let whole = Whole::new(assembly.head.take(), &assembly.buffer, limits)?;
        let package = buffers.freeze(core::mem::take(&mut assembly.buffer));
        self.next_package();
        Ok((Some(whole.assembled(package)), chunk.len()))
    }

    fn next_package(&mut self) {
        self.prefix_len = 0;
        self.declared = 0;
        self.assembly = None;
    }
}

/// Reads a package that lies in the input from its length on, which nearly every small one does:
/// nothing of it goes through the decoder.
fn read_whole(input: &[u8], limits: &DecodeLimits) -> Result<Option<Pushed>, PackageError> {
    let Some((prefix, rest)) = input.split_first_chunk() else { return Ok(None) };
    let declared = head::check_declared(u64::from_be_bytes(*prefix), limits)?;
    let Some(package) = rest.get(..declared) else { return Ok(None) };
    let item = Whole::parse(package, limits)?.inline(PREFIX_LEN);
    Ok(Some(Pushed { consumed: PREFIX_LEN.saturating_add(declared), item: Some(item) }))
}

impl Assembly {
    /// Room for `more` bytes: at least doubled, so that copies stay few, but never room for more
    /// than the declared length.
    fn make_room(&mut self, more: usize, declared: usize, buffers: &mut impl AssemblyBuffers) {
        let needed = self.buffer.len().saturating_add(more);
        if needed <= self.buffer.capacity() {
            return;
        }
        let capacity = self.buffer.capacity().saturating_mul(2).max(needed).min(declared);
        let mut larger = BytesMut::with_capacity(capacity);
        larger.extend_from_slice(&self.buffer);
        buffers.give_back(core::mem::replace(&mut self.buffer, larger));
    }
}

fn cleared(mut buffer: BytesMut) -> BytesMut {
    buffer.clear();
    buffer
}
