//! Two channels and nothing else: handshakes, records, ends, refusals.

#![allow(missing_docs, reason = "a test")]

mod authorities;
mod certificates;
mod ends;
mod handshake;
mod keys;
mod link;
mod pieces;
mod records;
mod refusals;
mod rogue;
