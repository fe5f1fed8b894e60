//! Two channels and nothing else: handshakes, records, ends, refusals.

#![allow(missing_docs, reason = "a test")]

mod ends;
mod handshake;
mod keys;
mod link;
mod records;
