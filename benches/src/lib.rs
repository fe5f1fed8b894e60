//! What the benches compare: ours and, as the ceiling, what one would write by hand.

pub mod mio_framing;
pub mod mio_nodes;
pub mod mio_turns;
pub mod pair;
pub mod tokio_framing;
pub mod tokio_nodes;
