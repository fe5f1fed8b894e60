//! Peers that are required, and peers that are kept out.

use std::net::TcpListener;
use std::time::Duration;

use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::contract::Notification;
use headwater_core::error::{ApplicationError, CloseReason, DialError, RetryCause};
use headwater_core::peers::Rule;

use crate::pair::{ANY_PORT, Pair, id, is_disconnected, patient, start, test};
use crate::{Adapter, CallError, Node};

/// Waits that a test can afford.
fn restless() -> Config {
    let mut config = patient();
    config.backoff.first = Duration::from_millis(20);
    config.backoff.ceiling = Duration::from_millis(200);
    config
}

fn is_connected(told: &Notification) -> bool {
    matches!(told, Notification::Connected { .. })
}

/// Nobody helps: not when it was not there yet, nor when it stopped and another one with its key
/// listens where it did.
pub fn a_required_peer_is_found_when_it_listens_and_again_after_it_was_gone<
    A: Adapter,
    B: Adapter,
>(
    a: &A,
    b: &B,
) {
    let place = TcpListener::bind(ANY_PORT).unwrap().local_addr().unwrap();
    let mut two = start(b, "two", restless());
    // Who is there is learned; where somebody else is, too, it is not looked for.
    let required = two.node.require(vec![Address::from(place)]).unwrap();
    for failure in 1..=3 {
        let told = two.told(|told| matches!(told, Notification::Retrying { .. }));
        let Notification::Retrying { required: which, peer, failures, cause, .. } = told else {
            panic!("{told:?}")
        };
        assert_eq!((which, peer), (required, None));
        assert!(failures >= failure, "{failures}");
        assert!(matches!(cause, RetryCause::Dial(DialError::Link(_))), "{cause:?}");
    }
    for round in 0..3 {
        let mut one = start(a, "one", patient());
        assert_eq!(one.node.listen(place), Ok(place));
        two.told(is_connected);
        two.await_support(id("one"));
        one.await_support(id("two"));
        two.node.send(id("one"), &test(), format!("round {round}").into()).unwrap();
        assert_eq!(one.message().payload, format!("round {round}"));
        one.stop();
        two.told(is_disconnected);
    }
    two.stop();
}

/// Until it is connected again on request; released, it stays connected and is not dialled again.
pub fn a_required_peer_is_left_alone_when_it_is_disconnected_or_released<A: Adapter, B: Adapter>(
    a: &A,
    b: &B,
) {
    let (mut one, mut two) = (start(a, "one", patient()), start(b, "two", restless()));
    let local = one.node.listen(ANY_PORT).unwrap();
    let address = Address::from(local).with_peer(id("one"));
    let required = two.node.require(vec![address]).unwrap();
    two.await_support(id("one"));
    two.node.disconnect(id("one")).unwrap();
    two.told(is_disconnected);
    // A call that comes after, and is answered, finds it still away.
    two.node.register(headwater_core::id::ProtocolId::new("/later").unwrap()).unwrap();
    assert!(two.node.peers().is_empty());
    assert_eq!(two.node.connect(id("one")), Ok(id("one")));
    two.await_support(id("one"));
    two.node.release(required).unwrap();
    let again = two.node.release(required);
    assert_eq!(again, Err(CallError::Call(ApplicationError::NotRequired)));
    assert_eq!(two.node.peers(), [id("one")]);
    one.told(is_connected);
    one.stop();
    two.told(is_disconnected);
    assert!(two.node.stop(crate::LONG));
    let rest = two.last_words();
    let tried = rest.iter().any(|told| matches!(told, Notification::Retrying { .. }));
    assert!(!tried, "{rest:?}");
}

/// By who it is, where it comes in, and by where it is, where it goes out.
pub fn d68_a_blocked_peer_is_cut_off_and_kept_out_until_the_rule_goes<A: Adapter, B: Adapter>(
    a: &A,
    b: &B,
) {
    let Pair { mut one, mut two, local } = Pair::connect(a, b);
    let rule = Rule::peer(id("two"));
    one.node.block(rule).unwrap();
    let told = one.told(is_disconnected);
    assert!(
        matches!(&told, Notification::Disconnected { reason: CloseReason::Blocked, .. }),
        "{told:?}"
    );
    two.told(is_disconnected);
    let refused = two.node.dial(Address::from(local));
    assert!(matches!(refused, Err(CallError::Dial(_))), "{refused:?}");
    one.node.unblock(rule).unwrap();
    assert_eq!(two.node.dial(Address::from(local)), Ok(id("one")));
    one.await_support(id("two"));
    // A place, and the way out.
    let place: Rule = "127.0.0.0/8".parse().unwrap();
    two.node.block(place).unwrap();
    one.told(is_disconnected);
    let refused = two.node.dial(Address::from(local));
    assert_eq!(refused, Err(CallError::Call(ApplicationError::Blocked)));
    two.node.unblock(place).unwrap();
    assert_eq!(two.node.dial(Address::from(local)), Ok(id("one")));
    two.stop();
    one.stop();
}
