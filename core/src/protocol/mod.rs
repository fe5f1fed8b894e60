//! Who supports which protocol.

pub mod set;

pub use set::ProtocolSet;
