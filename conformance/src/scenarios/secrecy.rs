//! Somebody on the way keeps everything that passes.

use headwater_core::address::Address;
use headwater_core::id::ProtocolId;

use crate::link::Relay;
use crate::pair::{ANY_PORT, Pair, key, patient, payload, start, test};
use crate::{Adapter, Node, Security};

/// How much of a message has to be found in one piece.
const PIECE: usize = 16;

fn contains(passed: &[u8], what: &[u8]) -> bool {
    passed.windows(what.len()).any(|window| window == what)
}

/// Messages, protocols, ids and keys are nowhere in what passes; without security all but the keys
/// are, so they are looked for in the right place.
pub fn what_passes_between_nodes_can_be_read_only_without_security<A: Adapter, B: Adapter>(
    a: &A,
    b: &B,
) {
    let (mut one, mut two) = (start(a, "one", patient()), start(b, "two", patient()));
    let late = ProtocolId::new("/known/to/two/alone").unwrap();
    let relay = Relay::recording(one.node.listen(ANY_PORT).unwrap());
    assert_eq!(two.node.dial(Address::from(relay.local())), Ok(one.node.id()));
    one.await_support(two.node.id());
    two.await_support(one.node.id());
    two.node.register(late.clone()).unwrap();
    one.told(|told| format!("{told:?}").contains(late.as_str()));
    let (small, large) = (payload(1, 300), payload(2, 100_000));
    for sent in [&small, &large] {
        two.node.send(one.node.id(), &test(), sent.clone()).unwrap();
        assert_eq!(one.message().payload, sent);
        one.node.send(two.node.id(), &test(), sent.clone()).unwrap();
        assert_eq!(two.message().payload, sent);
    }
    let local = relay.local();
    Pair { one, two, local }.stop();

    let [up, down] = relay.passed();
    let least = small.len() + large.len();
    assert!(up.len() > least && down.len() > least, "{} and {} bytes", up.len(), down.len());
    let readable = a.security() == Security::Insecure;
    for (passed, name) in [(&up, "two"), (&down, "one")] {
        let key = key(name);
        assert_eq!(contains(passed, key.peer_id().as_bytes()), readable, "the id of {name}");
        assert_eq!(contains(passed, test().as_str().as_bytes()), readable, "a protocol");
        assert!(!contains(passed, key.public_key_spki()), "the key of {name}");
        for sent in [&small, &large] {
            let pieces = sent.chunks_exact(PIECE).step_by(sent.len() / PIECE / 8 + 1);
            for piece in pieces {
                assert_eq!(contains(passed, piece), readable, "a message");
            }
        }
    }
    assert_eq!(contains(&up, late.as_str().as_bytes()), readable, "a protocol that was told of");
}
