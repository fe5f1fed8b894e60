//! How a file travels: an application protocol over Headwater's messages.
//!
//! The sender borrows a stream, so that its messages arrive in order:
//!
//! ```text
//! sender                                   receiver
//! OFFER   length if known, name hint  ->
//!                                     <-   ACCEPT, or REFUSE with a cause
//! CHUNK   offset, up to 256 KiB       ->   (written as they come)
//! ...
//! END     length, SHA-256             ->   compared with what was written
//!                                     <-   CONFIRM length, SHA-256, or REFUSE with a cause
//! ```
//!
//! Either side may end it early, the sender with CANCEL and the receiver with REFUSE. Each sends
//! ALIVE every few seconds, so that a slow pipe or disk is told from a peer that hangs. Every
//! message carries the number that the sender gave the transfer; others are ignored. The receiver
//! sends nothing but ACCEPT, REFUSE, CONFIRM and ALIVE, each small and on any stream.
//!
//! The receiver trusts nothing: the name is a hint ([`sink::harmless`]), the file has its final
//! name only after length and SHA-256 agree, and a chunk out of place ends the transfer.
//! Back-pressure is the node's: the writer's queue is bounded, a full one stops taking messages,
//! and the credit that stays away stops the sender.

pub(crate) mod part;
pub(crate) mod sink;
pub(crate) mod source;

use std::fmt::Write as _;
use std::time::Duration;

/// The protocol id that `listen` and `send` use unless told otherwise.
pub(crate) const PROTOCOL: &str = "/headwater/file/1.0.0";

/// The most file bytes in one message.
pub(crate) const CHUNK_MAX: usize = 256 * 1024;

/// The largest message of the protocol; nodes that speak only it accept no larger one.
pub(crate) const MESSAGE_MAX: usize = CHUNK_MAX + 1024;

/// How often each side shows that it lives.
pub(crate) const ALIVE_EVERY: Duration = Duration::from_secs(2);

/// A SHA-256.
pub(crate) type Digest = [u8; 32];

/// A digest in lower-case hexadecimal.
pub(crate) fn hex(digest: &Digest) -> String {
    let mut text = String::with_capacity(64);
    for byte in digest {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A file that was transferred and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sum {
    /// Its length in bytes.
    pub(crate) bytes: u64,
    /// Its SHA-256.
    pub(crate) sha256: Digest,
}
