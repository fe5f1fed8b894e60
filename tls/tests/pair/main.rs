//! The tests of two endpoints in virtual time, over TLS: those of core, and what only TLS has.

#![allow(missing_docs, reason = "a test")]

#[path = "../../../core/tests/pair/basics.rs"]
mod basics;
#[path = "../../../core/tests/pair/channel.rs"]
mod channel;
#[path = "../../../core/tests/pair/crossing.rs"]
mod crossing;
mod harness;
#[path = "../../../core/tests/pair/large.rs"]
mod large;
#[path = "../../../core/tests/pair/record.rs"]
mod record;
#[path = "../../../core/tests/pair/script.rs"]
mod script;
mod secrecy;
