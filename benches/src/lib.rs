//! What the benches compare: ours and, as the ceiling, what one would write by hand.

pub mod configs;
pub mod counted;
pub mod crowd;
pub mod machines;
pub mod mio_framing;
pub mod mio_nodes;
pub mod mio_turns;
pub mod pair;
pub mod runtimes;
pub mod tokio_framing;
pub mod tokio_nodes;

use headwater_core::id::PeerId;
use headwater_identity::NodeKey;

/// How two nodes secure their link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    Insecure,
    /// With certificates that carry their keys.
    Tls,
}

/// An id that nobody proves.
fn peer_id(digit: u8) -> PeerId {
    let mut text = *b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";
    text[2] = digit;
    PeerId::from_bytes(&text).expect("an id")
}

/// An id that nobody proves, and that no other has.
fn any_id() -> PeerId {
    key().peer_id()
}

fn key() -> NodeKey {
    NodeKey::generate().expect("randomness")
}
