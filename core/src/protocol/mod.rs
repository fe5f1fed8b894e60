//! Who supports which protocol, and how both sides come to know (spec 4.4, 4.5, 9.1).
//!
//! | module | decides |
//! | --- | --- |
//! | [`set`] | what a set of protocols is |
//! | [`registry`] | which protocols are ours, and which version of that list is the latest |
//! | [`peer`] | which protocols are a peer's, and what the application is still to be told of them |
//! | [`push`] | when a peer is sent our list again |
//!
//! The messages themselves are [`ExchangerMessage`](crate::wire::ExchangerMessage)s; whether one
//! comes from the peer whose id it carries, and whether that peer is connected, is checked by the
//! owner before anything here hears of it.

pub mod peer;
pub mod push;
pub mod registry;
pub mod set;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;

pub use peer::{PeerProtocols, ProtocolChange};
pub use push::{Push, PushConfig};
pub use registry::{Registry, RegistryError};
pub use set::ProtocolSet;
