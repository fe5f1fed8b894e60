//! What a node says of itself: who is connected, what they said, and why others are not.

use std::net::TcpListener;
use std::time::Duration;

use headwater_core::address::Address;
use headwater_core::contract::{Direction, IoCause, Notification};
use headwater_core::error::{CloseReason, DialError, Refusal};
use headwater_core::peers::Level;
use headwater_core::snapshot::{Blockage, ConnectionStage, Next, Reached, Snapshot, Stage};

use crate::pair::{ANY_PORT, Pair, id, is_disconnected, patient, start, test, until};
use crate::{Adapter, CallError, Node};

/// Messages and bytes received and sent, of the protocol of these tests.
fn traffic(snapshot: &Snapshot) -> [u64; 4] {
    let traffic = snapshot.traffic();
    let count = traffic.iter().find(|count| count.protocol == Some(test()));
    let count = count.expect("something was counted");
    let (received, sent) = (count.received, count.sent);
    [received.messages, received.bytes, sent.messages, sent.bytes]
}

/// Each side tells the same story, and tells it still when the connection is gone.
pub fn both_sides_count_the_same_also_after_the_end<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let Pair { mut one, mut two, local } = Pair::connect(a, b);
    for number in 0..20_usize {
        let payload = vec![7; 500 * number];
        two.node.send(id("one"), &test(), payload.into()).unwrap();
        one.message();
    }
    one.node.send(id("two"), &test(), "thanks".into()).unwrap();
    two.message();
    let sum = 500 * 190;
    assert_eq!(traffic(&one.node.snapshot().unwrap()), [20, sum, 1, 6]);
    let snapshot = two.node.snapshot().unwrap();
    assert_eq!(traffic(&snapshot), [1, 6, 20, sum]);
    let peer = snapshot.peer(&id("one")).unwrap();
    assert_eq!(
        (peer.stage, peer.next, peer.level),
        (Stage::Connected, Next::Connected, Level::Low)
    );
    assert!(peer.protocols.contains(test().as_str()));
    assert!(peer.addresses.iter().any(|known| known.succeeded.is_some()), "{peer:?}");
    let part = snapshot.connections_of(peer).next().unwrap();
    assert_eq!((part.direction, part.remote), (Direction::Outbound, local));
    assert_eq!((part.stage, part.blocked.as_slice()), (ConnectionStage::Live, &[][..]));
    assert!(part.counters.sent_bytes > sum && part.counters.received_bytes > 0);
    assert!(part.rtt.is_some() && part.streams.current > 0);
    assert!(snapshot.memory() > 0 && snapshot.memory() <= snapshot.node.memory_max);
    assert!(snapshot.timers() > 0);
    two.node.disconnect(id("one")).unwrap();
    one.told(is_disconnected);
    let snapshot = one.node.snapshot().unwrap();
    assert_eq!(traffic(&snapshot), [20, sum, 1, 6]);
    let gone = snapshot.peer(&id("two")).unwrap();
    assert_eq!((gone.stage, gone.next), (Stage::Idle, Next::NotRequired));
    assert_eq!(gone.lost.as_ref().map(|lost| &lost.reason), Some(&CloseReason::RemoteClosed));
    let after = one.node.clone();
    two.stop();
    assert!(one.node.stop(crate::LONG));
    assert_eq!(after.snapshot(), Err(CallError::Stopped));
}

/// Per address: how far the attempts came, what went wrong, and when the next one is.
pub fn it_says_why_a_peer_is_not_connected<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let one = start(a, "one", patient());
    let somebody = one.node.listen(ANY_PORT).unwrap();
    let nobody = TcpListener::bind(ANY_PORT).unwrap().local_addr().unwrap();
    let mut config = patient();
    config.backoff.first = Duration::from_secs(3600);
    config.backoff.ceiling = Duration::from_secs(3600);
    let mut two = start(b, "two", config);
    let places = [nobody, somebody].map(|place| Address::from(place).with_peer(id("else")));
    let required = two.node.require(places.to_vec()).unwrap();
    two.told(|told| matches!(told, Notification::Retrying { .. }));
    let snapshot = two.node.snapshot().unwrap();
    let peer = snapshot.peer(&id("else")).unwrap();
    assert_eq!((peer.required.as_slice(), peer.level), (&[required][..], Level::High));
    assert_eq!((peer.stage, peer.failures), (Stage::Refused, 1));
    let Next::At(next) = peer.next else { panic!("{:?}", peer.next) };
    assert!(next.since(snapshot.node.at) > Duration::from_secs(3000));
    let [first, second] = &peer.addresses[..] else { panic!("{:?}", peer.addresses) };
    assert_eq!((&first.address, first.attempts, first.failures), (&places[0], 1, 1));
    let last = first.last.as_ref().unwrap();
    assert_eq!((last.reached, last.remote), (Reached::Dialling, Some(nobody)));
    assert_eq!(last.error, DialError::Link(IoCause::Refused));
    let last = second.last.as_ref().unwrap();
    assert_eq!((last.reached, last.remote), (Reached::Exchanging, Some(somebody)));
    let wrong = Refusal::WrongPeer { expected: id("else").into(), actual: id("one").into() };
    assert_eq!(last.error, DialError::Refused(wrong));
    assert!(last.at <= snapshot.node.at);
    two.stop();
    one.stop();
}

/// A reader that stops is named at its own node, and at the node that cannot send.
pub fn it_says_what_blocks_a_connection<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let mut config = patient();
    (config.inbox_max, config.outbox_max) = (64 * 1024, 64 * 1024);
    let (one, two) = (start(a, "one", config.clone()), start(b, "two", config));
    let Pair { one, two, .. } = Pair::connect_these(one, two, Address::from);
    let wait = Duration::from_millis(200);
    while two.node.send_wait(id("one"), &test(), vec![1; 4000].into(), wait).is_ok() {}
    let blocks = |node: &dyn Fn() -> Snapshot, wanted: &dyn Fn(&Blockage) -> bool| {
        node().connections.iter().any(|part| part.blocked.iter().any(wanted))
    };
    until("the reader's own node names it", || {
        blocks(&|| one.node.snapshot().unwrap(), &|what| *what == Blockage::Application)
    });
    until("the sender's node names the peer", || {
        blocks(&|| two.node.snapshot().unwrap(), &|what| {
            matches!(what, Blockage::PeerReads | Blockage::Streams)
        })
    });
    let snapshot = two.node.snapshot().unwrap();
    let waiting: usize = snapshot.connections.iter().map(|part| part.waiting_bytes).sum();
    assert!(waiting > 0);
    assert!(snapshot.traffic().total().full > 0);
    let (ours, theirs) = (traffic(&snapshot), traffic(&one.node.snapshot().unwrap()));
    assert!(ours[2] > theirs[0] && theirs[0] > 0, "{ours:?} {theirs:?}");
    drop((one.messages, two.messages));
    assert!(two.node.stop(crate::LONG) && one.node.stop(crate::LONG));
}
