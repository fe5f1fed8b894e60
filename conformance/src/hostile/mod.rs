//! Peers that break the rules, on sockets of the standard library.
//!
//! [`Hostile`] speaks the protocol as far as it is told to and no further: nothing stops it from
//! anything. [`Attack`] has what such peers do all day, for tests and benches in which many of
//! them attack at once.

mod attacks;
mod frames;
mod peer;

pub use attacks::{Attack, attack};
pub use frames::{ACK, FIN, Frame, RST, SYN, bomb, exchanger, framed, package};
pub use peer::{BI, Hostile, UNI};
