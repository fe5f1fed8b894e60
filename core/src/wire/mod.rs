//! What travels inside a stream: packages, and the messages of the protocol exchanger.
//!
//! A stream carries packages one after another (spec 3). A package is a protocol id, a payload
//! and one byte that says whether the payload is compressed, behind a length of eight bytes:
//!
//! ```text
//! length (8, big-endian) | varint, protocol id | varint, payload | compress (1)
//! ```
//!
//! Everything here is parsed once into a typed form. Nothing panics on any input, and nothing is
//! allocated because a peer announced it: memory grows with bytes that really came.
//!
//! | module | decides |
//! | --- | --- |
//! | [`varint`] | numbers of variable length |
//! | [`package`] | how a package is written, and how written ones are walked over |
//! | [`decode`] | how a stream of bytes in any chunks becomes packages again |
//! | [`gzip`] | the compressed form of a payload |
//! | [`exchanger`] | the message by which nodes tell each other their protocols (spec 4.1) |

pub mod decode;
pub mod exchanger;
pub(crate) mod familiar;
pub mod gzip;
pub mod package;
pub mod varint;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;

pub use decode::{AssemblyBuffers, DecodeLimits, Decoder, Field, Item, PackageError, Pushed};
pub use exchanger::{ExchangerError, ExchangerLimits, ExchangerMessage, MessageKind};
pub use gzip::GzipError;
pub use package::{Encoded, Walk, encode_package, encoded_len, package_head};
