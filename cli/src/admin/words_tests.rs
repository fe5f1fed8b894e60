//! What the words are for causes that no test can bring about on a real network.

use headwater_core::config::Config;
use headwater_core::contract::{Command, Event, IoCause};
use headwater_core::endpoint::Endpoint;
use headwater_core::error::CloseReason;
use headwater_core::id::PeerId;
use headwater_core::secure::{ChannelError, Insecure};
use headwater_core::seed::Seed;
use headwater_core::time::Instant;

use super::*;

const PEER: &str = "QmdQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";

/// A node that keeps a peer whose dial fails so.
fn failed(cause: IoCause) -> Endpoint<Insecure> {
    let local: PeerId = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse().unwrap();
    let channels = Insecure::new(local).unwrap();
    let now = Instant::ZERO;
    let mut node = Endpoint::new(Config::default(), Seed::from_u64(1), channels, now).unwrap();
    let address = format!("/ip4/192.0.2.1/tcp/7/p2p/{PEER}").parse().unwrap();
    node.require(now, vec![address]).unwrap();
    let Some(Command::Dial { connection, .. }) = node.poll_command() else { panic!("no dial") };
    node.handle_event(now, Event::DialFailed { connection, cause });
    node
}

fn why_of(node: &Endpoint<Insecure>, now: Instant) -> String {
    let snapshot = node.snapshot(now);
    why(&snapshot, snapshot.peer(&PEER.parse().unwrap()).unwrap())
}

#[test]
fn no_route_is_told_with_what_would_help() {
    let node = failed(IoCause::Unreachable);
    let said = why_of(&node, Instant::ZERO.after(Duration::from_millis(200)));
    assert_eq!(
        said,
        format!(
            "{PEER} is not connected. /ip4/192.0.2.1/tcp/7 was tried once; the last attempt, \
             200 ms ago, made no link: unreachable: no route leads there. It is tried again in \
             {}: after 1 failure in a row the wait is that long (backoff). Check this machine's \
             network: its interface, its routes, and any tunnel that leads there.",
            said.split("again in ").nth(1).unwrap().split(':').next().unwrap()
        )
    );
    let snapshot = node.snapshot(Instant::ZERO);
    let peer = snapshot.peer(&PEER.parse().unwrap()).unwrap();
    assert_eq!(in_the_way(&snapshot, peer), ["unreachable: no route leads there"]);
    let last = peer.addresses[0].last.as_ref().unwrap();
    assert_eq!(crate::code::dial(&last.error), "link.unreachable");
}

#[test]
fn a_failure_before_a_success_is_not_told_as_what_is_wrong() {
    let mut snapshot = failed(IoCause::Refused).snapshot(Instant::ZERO);
    let peer = PEER.parse().unwrap();
    let known = snapshot.node.peers.iter_mut().find(|known| known.peer == Some(peer)).unwrap();
    known.addresses[0].succeeded = Some(Instant::ZERO.after(Duration::from_secs(1)));
    let known = snapshot.peer(&peer).unwrap();
    assert_eq!(in_the_way(&snapshot, known), [""; 0]);
    assert!(!why(&snapshot, known).contains("refused"));
}

#[test]
fn each_cause_of_a_link_that_is_not_made_has_a_cure() {
    for cause in [
        IoCause::Refused,
        IoCause::TimedOut,
        IoCause::Reset,
        IoCause::PermissionDenied,
        IoCause::TooManyFiles,
        IoCause::AddressNotAvailable,
        IoCause::Other,
    ] {
        let said = why_of(&failed(cause), Instant::ZERO);
        assert!(said.contains(cure_of_link(cause)), "{said}");
    }
}

#[test]
fn a_peer_that_was_disconnected_on_request_is_told_so() {
    let mut node = failed(IoCause::Refused);
    node.disconnect(Instant::ZERO, PEER.parse().unwrap()).unwrap();
    assert!(why_of(&node, Instant::ZERO).contains("the application disconnected it"));
}

#[test]
fn times_are_short() {
    let times = [5, 1500, 59_000, 200_000, 8_000_000, 400_000_000].map(Duration::from_millis);
    assert_eq!(times.map(time), ["5 ms", "1.5 s", "59 s", "3 min", "2 h", "4 days"]);
}

#[test]
fn a_side_without_encryption_is_told_with_what_would_help() {
    for (error, says, cure) in [
        (ChannelError::SpeaksTls, "seems to speak TLS", "leave --insecure out here"),
        (ChannelError::SpeaksPlain, "seems to be insecure", "leave --insecure out at the other"),
    ] {
        let reason = CloseReason::Channel(error);
        assert!(closed(&reason, Reached::Handshaking).contains(says), "{reason}");
        let told = cure_of_close(&reason, Reached::Handshaking).unwrap();
        assert!(told.contains(cure), "{told}");
    }
}
