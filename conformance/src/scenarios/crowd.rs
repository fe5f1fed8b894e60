//! More peers than a node takes.

use std::collections::BTreeSet;
use std::sync::Mutex;

use headwater_core::address::Address;
use headwater_core::contract::Notification;
use headwater_core::error::Refusal;
use headwater_core::id::PeerId;

use crate::pair::{ANY_PORT, id, patient, start, test};
use crate::{Adapter, CallError, LONG, Node, Running};

const DIALERS: usize = 50;
const TAKEN: usize = 20;

/// Fifty dial at the same time.
pub fn a_full_node_takes_twenty_and_tells_why_it_refuses_the_others<A: Adapter, B: Adapter>(
    a: &A,
    b: &B,
) {
    let mut config = patient();
    config.peers_max = TAKEN;
    let mut one = start(a, "one", config);
    let local = one.node.listen(ANY_PORT).unwrap();
    let name = |number: usize| format!("dialer {number}");
    let dialers: Vec<Running<B>> =
        (0..DIALERS).map(|number| start(b, &name(number), patient())).collect();
    let connected = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for dialer in &dialers {
            let (node, connected) = (dialer.node.clone(), &connected);
            scope.spawn(move || match node.dial(Address::from(local)) {
                Ok(peer) => {
                    assert_eq!(peer, id("one"));
                    connected.lock().unwrap().insert(node.id());
                }
                Err(CallError::Dial(_)) => {}
                Err(error) => panic!("{error:?}"),
            });
        }
    });
    let connected = connected.into_inner().unwrap();
    assert_eq!(connected.len(), TAKEN);
    let (mut came, mut refused) = (BTreeSet::new(), BTreeSet::new());
    while came.len() + refused.len() < DIALERS {
        match one.told(|_| true) {
            Notification::Connected { peer } => assert!(came.insert(peer)),
            Notification::Refused { peer: Some(peer), reason, .. } => {
                assert_eq!(reason, Refusal::TooManyPeers);
                assert!(refused.insert(peer));
            }
            Notification::Supported { .. } => {}
            told => panic!("{told:?}"),
        }
    }
    assert_eq!(came, connected);
    assert_eq!(one.node.peers(), connected.into_iter().collect::<Vec<PeerId>>());
    // Each of them has a place, and gives it to the next one when it goes.
    let mut dialers =
        dialers.into_iter().partition::<Vec<_>, _>(|one| came.contains(&one.node.id()));
    for dialer in &dialers.0 {
        dialer.node.send_wait(id("one"), &test(), "here".into(), LONG).unwrap();
    }
    let heard: BTreeSet<PeerId> = (0..TAKEN).map(|_| one.message().peer).collect();
    assert_eq!(heard, came);
    let (gone, next) = (dialers.0.pop().unwrap(), dialers.1.pop().unwrap());
    let place = gone.node.id();
    gone.stop();
    one.told(|told| matches!(told, Notification::Disconnected { peer, .. } if *peer == place));
    assert_eq!(next.node.dial(Address::from(local)), Ok(id("one")));
    // The node stops while nineteen peers know nothing of it.
    one.stop();
}
