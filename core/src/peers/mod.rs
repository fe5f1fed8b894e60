//! How many peers, who makes room for whom, who is kept out, and where peers are.
//!
//! Four machines that know nothing of each other; [`Node`](crate::node::Node) owns one of each:
//!
//! | machine | decides |
//! | --- | --- |
//! | [`ConnectionManager`] | whether one more peer may connect, and who makes room (spec 7) |
//! | [`Blacklist`] | which peers and places are kept out (spec 9.4) |
//! | [`Sources`] | how many unproven links one place may have, and when it has to rest |
//! | [`AddressBook`] | at which addresses a peer may be dialled (spec 9.5) |
//!
//! Each has its states, invariants and bounds in its own documentation.

mod blacklist;
mod book;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod manager;
mod sources;

pub use blacklist::{Blacklist, Rule, RuleError};
pub(crate) use book::is_dialable;
pub use book::{AGE_MAX, AddressBook, AddressSource, Known, PER_PEER_MAX};
pub use manager::{ConnectionManager, Elimination, EliminationError, Level};
pub use sources::{
    FORGET_AFTER, REST_MAX, RESTS_AFTER, SOURCES_MAX, Source, SourceRefusal, Sources,
};
