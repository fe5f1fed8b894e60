//! The secure channel: what stands between the carrier and the outer session.
//!
//! A [`SecureChannel`] is a machine of its own: bytes in, bytes out, an identity proven on the
//! way. Randomness and certificate time live inside it, outside of core (P2). The connection
//! owns its deadlines.

mod plain;

use core::fmt;

use bytes::BytesMut;

pub use plain::{Insecure, PlainChannel};

use crate::buffer::SealedBuf;
use crate::buffer::out::OutBuf;
use crate::contract::Direction;
use crate::id::{PeerId, PeerIdError};

/// One end of a secure channel.
///
/// Before the handshake is over only [`open`](Self::open) and [`flush`](Self::flush) do anything.
/// A channel holds a bounded amount: of input what it cannot use yet (TLS: one handshake message
/// that fills several records, and what the peer has shown), and one flight of output. Input that
/// it has not taken stays with the caller.
pub trait SecureChannel {
    /// Consumes received bytes from the front of `input` and appends what they open to
    /// `plain`, within its spare capacity: it never grows it.
    ///
    /// It stops where the handshake ends, so that the caller can look at [`peer`](Self::peer)
    /// before it asks for what follows; it then says so with [`Opened::Proven`], once.
    ///
    /// # Errors
    ///
    /// The peer broke the channel. The channel is of no more use, except that
    /// [`flush`](Self::flush) may still give an alert.
    fn open(&mut self, input: &mut BytesMut, plain: &mut BytesMut) -> Result<Opened, ChannelError>;

    /// Appends what the channel itself wants to send: handshake flights, key updates, alerts,
    /// the close notice. It may have some at any time, with no plaintext about.
    fn flush(&mut self, out: &mut SealedBuf);

    /// Seals bytes from the front of `plain`, appending at most `out_max` bytes to `out`.
    /// Called only after the handshake. Gives the number of plaintext bytes sealed.
    fn seal(&mut self, plain: &mut OutBuf, out: &mut SealedBuf, out_max: usize) -> usize;

    /// The proven id of the other end; `None` until the handshake is over.
    fn peer(&self) -> Option<PeerId>;

    /// Whether bytes pass unchanged once the handshake is over. The connection then calls
    /// neither `open` nor `seal` again, and copies nothing.
    fn is_transparent(&self) -> bool;

    /// Starts an orderly end: the close notice follows from `flush`. Nothing is sealed after it.
    fn close(&mut self);

    /// The carrier has ended: was that announced?
    ///
    /// # Errors
    ///
    /// [`ChannelError::Truncated`] if the channel has a close notice and none came, or the
    /// handshake is not over; [`ChannelError::Silent`] if nothing came at all.
    fn handle_eof(&mut self) -> Result<(), ChannelError>;
}

/// Makes the channels of a node; owns its keys.
pub trait ChannelFactory {
    /// What it makes.
    type Channel: SecureChannel;

    /// This node's id, as its channels prove it.
    fn local(&self) -> PeerId;

    /// The channel for a new link. `expected` is the id that a dialled address names; the
    /// connection compares it with the proven one whatever the channel does.
    fn channel(&mut self, direction: Direction, expected: Option<PeerId>) -> Self::Channel;
}

/// Where [`SecureChannel::open`] stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It needs more input, or room.
    Waiting,
    /// The handshake is over, [`SecureChannel::peer`] says with whom. There may be more input.
    Proven,
    /// The peer has announced the end; what follows is ignored.
    Closed,
}

/// How a channel failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum ChannelError {
    /// The other side did not send a peer id (spec 1.6).
    BadPeerId(PeerIdError),
    /// What came is a record of TLS, and this side runs without encryption.
    SpeaksTls,
    /// What came is the beginning of a peer id, and this side runs with encryption.
    SpeaksPlain,
    /// A record or handshake message broke the rules.
    Malformed,
    /// A record was not sealed by the peer.
    BadRecord,
    /// The link ended before the other side had sent a byte.
    Silent,
    /// The bytes ended before the announced end.
    Truncated,
    /// This side does not accept who the peer is; the channel's own words.
    Refused(alloc::sync::Arc<str>),
    /// The peer does not accept who this side is; the channel's own words.
    Unwelcome(alloc::sync::Arc<str>),
    /// The channel's own reason, for channels outside of core.
    Other(alloc::sync::Arc<str>),
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadPeerId(error) => write!(f, "no peer id at the start: {error}"),
            Self::SpeaksTls => {
                f.write_str("the other side seems to speak TLS, and this side does not (insecure)")
            }
            Self::SpeaksPlain => {
                f.write_str("the other side seems to be insecure, and this side speaks TLS")
            }
            Self::Malformed => f.write_str("secure channel: malformed"),
            Self::BadRecord => f.write_str("secure channel: a record is not authentic"),
            Self::Silent => f.write_str("the other side ended the link without a word"),
            Self::Truncated => f.write_str("secure channel: cut off before its end"),
            Self::Refused(text) | Self::Unwelcome(text) | Self::Other(text) => {
                write!(f, "secure channel: {text}")
            }
        }
    }
}

impl core::error::Error for ChannelError {}
