//! The supervisor alone; the dials are played by hand.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::contract::IoCause;
use crate::error::{ApplicationError, CloseReason, DialError};
use crate::seed::Seed;
use crate::time::Instant;

const REFUSED: DialError = DialError::Link(IoCause::Refused);

pub(super) fn peer(number: usize) -> PeerId {
    let mut text = *b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";
    text[2] = b"123456789"[number];
    PeerId::from_bytes(&text).unwrap()
}

fn place(port: u16) -> Address {
    Address { port, .."/ip4/10.0.0.1/tcp/1".parse().unwrap() }
}

fn at(secs: u64) -> Instant {
    Instant::ZERO.after(Duration::from_secs(secs))
}

fn plain() -> SupervisorConfig {
    let backoff = BackoffConfig { jitter: 0, ..BackoffConfig::default() };
    SupervisorConfig { backoff, ..SupervisorConfig::default() }
}

fn supervisor(config: SupervisorConfig) -> ConnectionSupervisor {
    ConnectionSupervisor::new(config, Seed::from_u64(1))
}

/// What it wants dialled now.
fn dials(supervisor: &mut ConnectionSupervisor) -> Vec<(AttemptId, Address)> {
    supervisor.assert_invariants();
    let actions = core::iter::from_fn(|| supervisor.poll_action());
    let dials = actions.filter_map(|action| match action {
        Action::Dial { attempt, address, .. } => Some((attempt, address)),
        Action::Cancel { .. } => None,
    });
    dials.collect()
}

fn dial(supervisor: &mut ConnectionSupervisor) -> (AttemptId, Address) {
    let [(attempt, address)] = &dials(supervisor)[..] else { panic!("not one dial") };
    (*attempt, address.clone())
}

/// Lets time pass up to the next wait's end; gives it in seconds.
fn sleep(supervisor: &mut ConnectionSupervisor, now: &mut Instant) -> u64 {
    let from = *now;
    loop {
        *now = supervisor.next_timeout().unwrap();
        supervisor.handle_timeout(*now, |_| false);
        assert!(supervisor.next_timeout().is_none_or(|at| at > *now));
        let required = supervisor.required().next().unwrap();
        if supervisor.state(required).unwrap().phase == RequiredPhase::Due {
            return now.since(from).as_secs();
        }
    }
}

#[test]
fn d60_an_unreachable_peer_is_tried_for_ever_at_the_documented_waits() {
    let mut supervisor = supervisor(plain());
    let required = supervisor.require(at(0), vec![place(1).with_peer(peer(1))]).unwrap();
    let mut now = at(0);
    let mut waits = Vec::new();
    for failures in 1..=200 {
        let (attempt, _) = dial(&mut supervisor);
        supervisor.dial_failed(now, attempt, REFUSED);
        let told = supervisor.poll_news().unwrap();
        assert_eq!((told.required, told.failures), (required, failures));
        assert_eq!(told.cause, RetryCause::Dial(REFUSED));
        let wait = sleep(&mut supervisor, &mut now);
        assert_eq!(told.wait.unwrap().as_secs(), wait);
        waits.push(wait);
    }
    assert_eq!(waits[..11], [1, 2, 3, 5, 8, 13, 21, 34, 55, 60, 60]);
    assert!(waits[11..].iter().all(|wait| *wait == 60));
}

#[test]
fn the_series_begins_again_after_a_connection_that_lived_and_goes_on_after_an_early_end() {
    let mut supervisor = supervisor(plain());
    supervisor.require(at(0), vec![place(1).with_peer(peer(1))]).unwrap();
    let mut now = at(0);
    let closed = CloseReason::RemoteClosed;
    let mut waits = Vec::new();
    for lived in [0, 9, 0, 10, 2, 2] {
        let (attempt, _) = dial(&mut supervisor);
        supervisor.dialed(now, attempt, peer(1));
        now = now.after(Duration::from_secs(lived));
        supervisor.disconnected(now, &peer(1), &closed);
        if lived >= 10 {
            // At once, and nothing to tell.
            assert_eq!(supervisor.poll_news(), None);
            waits.push(0);
        } else {
            let told = supervisor.poll_news().unwrap();
            assert_eq!(told.cause, RetryCause::Lost(closed.clone()));
            waits.push(sleep(&mut supervisor, &mut now));
        }
    }
    assert_eq!(waits, [1, 2, 3, 0, 1, 2]);
}

#[test]
fn d61_a_stop_ends_every_wait_and_dial() {
    let mut supervisor = supervisor(plain());
    for port in 1..4 {
        supervisor.require(at(0), vec![place(port)]).unwrap();
    }
    let dials = dials(&mut supervisor);
    supervisor.dial_failed(at(0), dials[0].0, REFUSED);
    supervisor.stop();
    assert_eq!(supervisor.next_timeout(), None);
    assert_eq!(supervisor.poll_action(), None);
    assert_eq!(supervisor.poll_news(), None);
    supervisor.dial_failed(at(1), dials[1].0, REFUSED);
    assert_eq!(supervisor.next_timeout(), None);
}

#[test]
fn d62_a_dial_follows_what_is_required() {
    let mut supervisor = supervisor(plain());
    let required = supervisor.require(at(0), vec![place(1)]).unwrap();
    let (old, _) = dial(&mut supervisor);
    supervisor.set_addresses(at(0), required, vec![place(2)]).unwrap();
    assert_eq!(supervisor.poll_action(), Some(Action::Cancel { attempt: old, connected: false }));
    let (new, address) = dial(&mut supervisor);
    assert_eq!(address, place(2));
    // The old one's outcome comes late, and says nothing.
    supervisor.dial_failed(at(1), old, REFUSED);
    assert_eq!(supervisor.state(required).unwrap().phase, RequiredPhase::Dialing);
    // One that waits is tried at its new address at once, from the beginning of its series.
    for _ in 0..3 {
        supervisor.dial_failed(at(1), new, REFUSED);
    }
    assert_eq!(supervisor.state(required).unwrap().failures, 1);
    supervisor.set_addresses(at(1), required, vec![place(3)]).unwrap();
    let (attempt, address) = dial(&mut supervisor);
    assert_eq!((address, supervisor.state(required).unwrap().failures), (place(3), 0));
    // One that is released is dialled no more.
    supervisor.release(required).unwrap();
    assert_eq!(supervisor.poll_action(), Some(Action::Cancel { attempt, connected: false }));
    supervisor.handle_timeout(at(1000), |_| false);
    assert_eq!(supervisor.poll_action(), None);
    assert_eq!(supervisor.next_timeout(), None);
    assert_eq!(supervisor.release(required), Err(ApplicationError::NotRequired));
}

#[test]
fn d63_an_id_that_was_not_named_is_learned_and_stays() {
    let mut supervisor = supervisor(plain());
    let first = supervisor.require(at(0), vec![place(1)]).unwrap();
    let second = supervisor.require(at(0), vec![place(2)]).unwrap();
    let dials = dials(&mut supervisor);
    assert_eq!(dials.iter().map(|(_, a)| a.peer).collect::<Vec<_>>(), [None, None]);
    // Both turn out to be the same peer, which is connected once.
    assert!(supervisor.proven(dials[0].0, peer(3)) && supervisor.requires(&peer(3)));
    supervisor.dialed(at(0), dials[0].0, peer(3));
    supervisor.dialed(at(0), dials[1].0, peer(3));
    for required in [first, second] {
        let state = supervisor.state(required).unwrap();
        assert_eq!(state.phase, RequiredPhase::Connected { since: at(0) });
        assert_eq!(state.peer, Some(peer(3)));
    }
    supervisor.disconnected(at(20), &peer(3), &CloseReason::RemoteClosed);
    let [(one, a), (_, b)] = &self::dials(&mut supervisor)[..] else { panic!("not two dials") };
    assert_eq!((a, b), (&place(1).with_peer(peer(3)), &place(2).with_peer(peer(3))));
    // Somebody else is there now: that is a failure like any other, and waits.
    let wrong =
        crate::error::Refusal::WrongPeer { expected: peer(3).into(), actual: peer(4).into() };
    supervisor.dial_failed(at(20), *one, DialError::Refused(wrong));
    assert_eq!(supervisor.state(first).unwrap().phase, RequiredPhase::Waiting { until: at(21) });
    assert_eq!(supervisor.state(first).unwrap().peer, Some(peer(3)));
}

#[test]
fn addresses_are_tried_in_order_and_the_one_that_worked_comes_first() {
    let mut supervisor = supervisor(plain());
    supervisor.require(at(0), vec![place(1), place(2), place(3)]).unwrap();
    let mut tried = Vec::new();
    for fails in [true, true, false] {
        let (attempt, address) = dial(&mut supervisor);
        tried.push(address.port);
        if fails {
            supervisor.dial_failed(at(0), attempt, REFUSED);
            // One round is one failure, told when it is over.
            assert_eq!(supervisor.poll_news(), None);
        } else {
            supervisor.dialed(at(0), attempt, peer(1));
        }
    }
    supervisor.disconnected(at(60), &peer(1), &CloseReason::RemoteClosed);
    for _ in 0..3 {
        let (attempt, address) = dial(&mut supervisor);
        tried.push(address.port);
        supervisor.dial_failed(at(60), attempt, REFUSED);
    }
    assert_eq!(tried, [1, 2, 3, 3, 1, 2]);
    assert_eq!(supervisor.poll_news().unwrap().failures, 1);
}

#[test]
fn what_the_application_disconnects_is_left_alone_until_it_asks_again() {
    let mut supervisor = supervisor(plain());
    let required = supervisor.require(at(0), vec![place(1).with_peer(peer(1))]).unwrap();
    let phase = |s: &ConnectionSupervisor| s.state(required).unwrap().phase;
    let (attempt, _) = dial(&mut supervisor);
    supervisor.dialed(at(0), attempt, peer(1));
    assert!(supervisor.pause(&peer(1)) && !supervisor.pause(&peer(2)));
    supervisor.disconnected(at(1), &peer(1), &CloseReason::Requested);
    assert_eq!(phase(&supervisor), RequiredPhase::Paused);
    supervisor.handle_timeout(at(100), |_| false);
    assert_eq!((supervisor.poll_action(), supervisor.next_timeout()), (None, None));
    // The peer may come by itself, and go.
    supervisor.connected(at(100), &peer(1));
    supervisor.disconnected(at(200), &peer(1), &CloseReason::RemoteClosed);
    assert_eq!(phase(&supervisor), RequiredPhase::Paused);
    assert!(supervisor.resume(at(200), &peer(1)));
    let (attempt, _) = dial(&mut supervisor);
    // A pause ends a dial, too.
    supervisor.pause(&peer(1));
    assert_eq!(supervisor.poll_action(), Some(Action::Cancel { attempt, connected: false }));
    supervisor.assert_invariants();
}

#[test]
fn a_check_finds_what_was_missed() {
    let mut supervisor = supervisor(plain());
    let required = supervisor.require(at(0), vec![place(1).with_peer(peer(1))]).unwrap();
    let phase = |s: &ConnectionSupervisor| s.state(required).unwrap().phase;
    let (attempt, _) = dial(&mut supervisor);
    assert_eq!(supervisor.next_timeout(), Some(at(5)));
    supervisor.handle_timeout(at(5), |_| true);
    assert_eq!(phase(&supervisor), RequiredPhase::Connected { since: at(5) });
    // While all are connected there is nothing to look at.
    assert_eq!(supervisor.next_timeout(), None);
    supervisor.dial_failed(at(6), attempt, REFUSED);
    let other = supervisor.require(at(6), vec![place(2)]).unwrap();
    supervisor.handle_timeout(at(11), |_| false);
    assert_eq!(phase(&supervisor), RequiredPhase::Due);
    supervisor.release(other).unwrap();
    supervisor.assert_invariants();
}

#[test]
fn dials_wait_for_their_turn_and_a_round_that_has_begun_comes_first() {
    let mut supervisor = supervisor(SupervisorConfig { dials_max: 2, ..plain() });
    for port in 1..=4 {
        supervisor.require(at(0), vec![place(port), place(port + 10)]).unwrap();
    }
    let first = dials(&mut supervisor);
    assert_eq!(first.iter().map(|(_, a)| a.port).collect::<Vec<_>>(), [1, 2]);
    supervisor.dial_failed(at(0), first[0].0, REFUSED);
    let (second, address) = dial(&mut supervisor);
    assert_eq!(address.port, 11);
    supervisor.dial_failed(at(0), second, REFUSED);
    assert_eq!(dial(&mut supervisor).1.port, 3);
    // A dial that nobody waits for keeps its place until it is over.
    assert!(supervisor.proven(first[1].0, peer(2)));
    supervisor.connected(at(0), &peer(2));
    assert!(dials(&mut supervisor).is_empty());
    supervisor.dial_failed(at(0), first[1].0, REFUSED);
    assert_eq!(dial(&mut supervisor).1.port, 4);
}

#[test]
fn it_gives_up_when_told_how_often_and_goes_on_when_asked() {
    let backoff = BackoffConfig { attempts_max: Some(2), jitter: 0, ..BackoffConfig::default() };
    let mut supervisor = supervisor(SupervisorConfig { backoff, ..plain() });
    let required = supervisor.require(at(0), vec![place(1).with_peer(peer(1))]).unwrap();
    let mut now = at(0);
    for wait in [Some(Duration::from_secs(1)), None] {
        let (attempt, _) = dial(&mut supervisor);
        supervisor.dial_failed(now, attempt, REFUSED);
        assert_eq!(supervisor.poll_news().unwrap().wait, wait);
        if wait.is_some() {
            sleep(&mut supervisor, &mut now);
        }
    }
    supervisor.handle_timeout(at(1000), |_| false);
    assert!(dials(&mut supervisor).is_empty());
    assert_eq!(supervisor.state(required).unwrap().phase, RequiredPhase::GaveUp);
    assert_eq!(supervisor.next_timeout(), None);
    assert!(supervisor.resume(at(1000), &peer(1)));
    assert_eq!(dials(&mut supervisor).len(), 1);
}

#[test]
fn of_failures_that_were_slept_through_the_last_is_told_and_none_after_a_success() {
    let mut supervisor = supervisor(plain());
    supervisor.require(at(0), vec![place(1).with_peer(peer(1))]).unwrap();
    let mut now = at(0);
    for _ in 0..5 {
        let (attempt, _) = dial(&mut supervisor);
        supervisor.dial_failed(now, attempt, REFUSED);
        sleep(&mut supervisor, &mut now);
    }
    assert_eq!(supervisor.poll_news().unwrap().failures, 5);
    assert_eq!(supervisor.poll_news(), None);
    let (attempt, _) = dial(&mut supervisor);
    supervisor.dial_failed(now, attempt, REFUSED);
    supervisor.connected(now, &peer(1));
    assert_eq!(supervisor.poll_news(), None);
}

#[test]
fn addresses_that_make_no_sense_together_are_refused() {
    let mut supervisor = supervisor(SupervisorConfig { required_max: 1, ..plain() });
    let (one, two) = (place(1).with_peer(peer(1)), place(2).with_peer(peer(2)));
    let table = [
        (vec![], ApplicationError::NoAddress),
        (vec![place(0)], ApplicationError::BadAddress),
        (vec![one.clone(), two], ApplicationError::DifferentPeers),
        (vec![one.clone(), place(2)], ApplicationError::DifferentPeers),
        (vec![one.clone(); 9], ApplicationError::TooManyAddresses),
    ];
    for (addresses, error) in table {
        assert_eq!(supervisor.require(at(0), addresses), Err(error));
    }
    supervisor.require(at(0), vec![one.clone()]).unwrap();
    assert_eq!(supervisor.require(at(0), vec![one]), Err(ApplicationError::TooManyRequired));
}

#[test]
fn any_list_of_calls_does_what_the_model_does() {
    for seed in 0..500 {
        let mut rng = Seed::from_u64(seed).rng("fuzz", 0);
        let data: Vec<u8> =
            (0..1 + rng.below(400)).map(|_| rng.next_u64().to_le_bytes()[3]).collect();
        fuzz::supervisor(&data);
    }
}
