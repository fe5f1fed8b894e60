//! What the nodes of the demo send each other: protocols, sizes, and bytes that follow from
//! who sends what to whom.

use bytes::{BufMut as _, Bytes, BytesMut};
use headwater_core::id::ProtocolId;
use headwater_core::seed::Seed;

/// Supported by every node from the start.
pub(crate) const BLOB: &str = "/demo/blob/1.0.0";
/// Registered late, by [`LATE_NODE`] alone.
pub(crate) const LATE: &str = "/demo/late/1.0.0";
/// Supported from the start by [`GONE_NODE`] alone, which then unregisters it.
pub(crate) const GONE: &str = "/demo/gone/1.0.0";

/// Supported by every node from the start, and sent once the network has healed.
pub(crate) const HEALED: &str = "/demo/healed/1.0.0";

/// The node that registers a protocol late: mio-1.
pub(crate) const LATE_NODE: usize = 4;
/// The node that unregisters a protocol: tokio-2.
pub(crate) const GONE_NODE: usize = 1;

/// The node that is killed and restarted: smol-1.
pub(crate) const KILLED_NODE: usize = 2;
/// The node that is cut off for a while: mio-2.
pub(crate) const CUT_NODE: usize = 5;

const KIB: usize = 1024;

/// The largest message of the demo.
pub(crate) const MESSAGE_MAX: usize = 8 * KIB * KIB;

/// One message of each of these sizes goes from each node to each other one: the edges of the
/// wire's length fields and of the windows, and the largest.
const SIZES: [usize; 14] = [
    0,
    1,
    127,
    128,
    KIB,
    8 * KIB - 1,
    8 * KIB,
    16 * KIB - 1,
    16 * KIB,
    64 * KIB,
    256 * KIB,
    256 * KIB + 1,
    KIB * KIB,
    MESSAGE_MAX,
];

/// So many small messages follow, each of them of another size.
const SMALL: usize = 50;

/// The sizes of the messages of a protocol, from one node to another.
pub(crate) fn sizes(protocol: &ProtocolId) -> Vec<usize> {
    if protocol.as_str() == BLOB {
        return SIZES.iter().copied().chain((0..SMALL).map(|n| 2 + n * 37)).collect();
    }
    vec![0, 1, 100, 10 * KIB, 300 * KIB]
}

/// The names above as protocol ids.
pub(crate) fn protocol(name: &str) -> ProtocolId {
    // The names are constants of a valid length; an empty id could not be made at all.
    ProtocolId::new(name).unwrap_or_else(|_| ProtocolId::exchanger())
}

/// The bytes of one message; no two messages of 8 bytes and more are the same.
pub(crate) fn payload(from: usize, to: usize, protocol: &ProtocolId, size: usize) -> Bytes {
    let label = format!("{from} {to} {protocol}");
    let mut rng = Seed::from_u64(0x6865_6164).rng(&label, size as u64);
    let mut bytes = BytesMut::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.put_u64(rng.next_u64());
    }
    bytes.truncate(size);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn sizes_reach_from_nothing_to_eight_mebibytes_and_differ() {
        let sizes = sizes(&protocol(BLOB));
        assert_eq!(sizes.iter().min(), Some(&0));
        assert_eq!(sizes.iter().max(), Some(&(8 << 20)));
        assert_eq!(sizes.iter().collect::<HashSet<_>>().len(), sizes.len());
    }

    #[test]
    fn bytes_follow_from_who_sends_what() {
        let (blob, late) = (protocol(BLOB), protocol(LATE));
        assert_eq!(payload(0, 1, &blob, 100), payload(0, 1, &blob, 100));
        assert_eq!(payload(0, 1, &blob, 0).len(), 0);
        assert_eq!(payload(0, 1, &blob, 13).len(), 13);
        assert_ne!(payload(0, 1, &blob, 100), payload(1, 0, &blob, 100));
        assert_ne!(payload(0, 1, &blob, 100), payload(0, 1, &late, 100));
    }
}
