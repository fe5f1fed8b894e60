//! Headwater beside what a user would pick instead: rust-libp2p, quinn, commonware-p2p, and
//! framing by hand over tokio-rustls, which is the ceiling.
//!
//! Both ends are in one process, over loopback and encrypted, on a tokio runtime with two worker
//! threads for each contestant. Every message has a payload of its own, allocated and filled, and
//! is counted where it arrives. Contestants run in turns; a ratio is that of two runs of the same
//! turn.

pub mod contestants;
pub mod measure;
pub mod report;
pub mod scenario;
