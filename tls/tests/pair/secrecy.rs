//! What TLS adds to a pair of nodes.

use std::collections::BTreeSet;
use std::time::Duration;

use headwater_core::config::Config;
use headwater_core::contract::LinkCommand;
use headwater_core::time::Instant;
use headwater_identity::NodeKey;
use headwater_tls::{ProvenPeer, Tls, Veto};
use proptest::prelude::*;

use crate::harness::{Cut, World, pair, peer_id};
use crate::script::{Op, Run, calm_ops, cuts, stormy_ops};

const START: Instant = Instant::from_nanos(1_000_000_000);

#[test]
fn nothing_that_is_sent_stands_in_the_bytes() {
    let mut world = pair::<Tls>(1);
    world.connect(0, 1);
    let text = b"a text that nobody else may read";
    world.send(0, 1, "/echo", text.repeat(1000));
    world.run();
    assert_eq!(world.ends[1].messages.len(), 1);
    for end in 0..2 {
        let written = &world.ends[end].written;
        for secret in [&text[..8], b"/echo", b"exchanger", peer_id(0).as_bytes()] {
            assert!(!written.windows(secret.len()).any(|window| window == secret));
        }
    }
}

#[test]
fn a_changed_byte_anywhere_is_never_a_message() {
    for at in [0, 1, 2, 3, 4, 5, 100, 16_384, 16_405, 16_406, 16_411, 20_000] {
        let mut world = pair::<Tls>(5);
        world.connect(0, 1);
        world.ends[0].damaged = Some(world.ends[0].written.len() + at);
        world.send(0, 1, "/echo", vec![3; 40_000]);
        world.run();
        // The minor version of a record means nothing.
        let harmless = at == 2;
        assert_eq!(world.ends[1].messages.len(), usize::from(harmless), "{at}");
        if !harmless {
            world.advance(Duration::from_secs(60));
            let told = world.told(1);
            assert!(told.last().unwrap().starts_with("disconnected: "), "{at}: {told:?}");
        }
    }
}

#[test]
fn a_cut_of_the_carrier_is_told_as_a_cut() {
    let mut world = pair::<Tls>(6);
    world.connect(0, 1);
    world.cut_off(1);
    world.run();
    let told = world.told(0);
    assert_eq!(told.last().unwrap(), "disconnected: secure channel: cut off before its end");
}

#[test]
fn a_dial_to_another_peer_than_expected_fails() {
    let mut world = pair::<Tls>(7);
    world.listen(1);
    let wrong = world.address(1).with_peer(peer_id(5));
    world.ends[0].endpoint.dial(world.now, wrong).unwrap();
    world.run();
    assert!(world.told(0)[0].starts_with("dial failed: "), "{:?}", world.told(0));
}

#[test]
fn who_is_refused_is_told_by_both_and_sees_nothing_of_the_protocol() {
    let ours = Tls::builder(&NodeKey::generate().unwrap())
        .admission(|_: &ProvenPeer| Err(Veto::new("closed today")))
        .build()
        .unwrap();
    let theirs = Tls::new(&NodeKey::generate().unwrap()).unwrap();
    for refuses in [0, 1] {
        let mut ends =
            vec![(Config::default(), theirs.clone()), (Config::default(), theirs.clone())];
        ends[refuses].1 = ours.clone();
        let mut world = World::new(8, ends);
        world.register_echo();
        world.connect(0, 1);
        let told = world.told(0);
        let expected = ["alert access_denied", "closed today"][1 - refuses];
        assert!(told[0].starts_with("dial failed: ") && told[0].contains(expected), "{told:?}");
        for end in 0..2 {
            assert!(!world.told(end).contains(&"connected".into()));
            assert_eq!(world.ends[end].link_commands, [LinkCommand::Finish, LinkCommand::Close]);
        }
    }
}

/// What an application sees of a run: what it is told beside protocols, those that its peer has
/// when all is said, and the messages. A peer is told of its newest list, so which lists there
/// were in between depends on how fast it answered.
type Seen = Vec<(Vec<String>, BTreeSet<String>, Vec<u64>)>;

fn seen(seed: u64, cut: Cut, ops: &[Op]) -> Seen {
    let mut run = Run::<Tls>::new(START, seed, cut);
    run.world.connect(0, 1);
    run.apply_all(ops);
    run.finish();
    let protocols = [0, 1].map(|end| known(&run.world.told(end)));
    run.check_end();
    let told = |end| run.world.told(end).into_iter().filter(|told| changed(told).is_none());
    let seen = protocols.into_iter().enumerate();
    seen.map(|(end, known)| (told(end).collect(), known, sorted(run.got(end)))).collect()
}

/// A protocol that came or went.
fn changed(told: &str) -> Option<(bool, &str)> {
    let came = told.strip_prefix('+').map(|name| (true, name));
    came.or_else(|| told.strip_prefix('-').map(|name| (false, name)))
}

fn known(told: &[String]) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for (came, name) in told.iter().filter_map(|told| changed(told)) {
        let is_new = if came { known.insert(name.to_owned()) } else { known.remove(name) };
        assert!(is_new, "{told:?}");
    }
    known
}

fn sorted(mut numbers: Vec<u64>) -> Vec<u64> {
    numbers.sort_unstable();
    numbers
}

fn cases() -> ProptestConfig {
    ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn p7_nothing_is_lost_on_a_calm_network(seed: u64, cut in cuts(), ops in calm_ops()) {
        let mut run = Run::<Tls>::new(START, seed, cut);
        run.world.connect(0, 1);
        run.apply_all(&ops);
        run.finish();
        for end in 0..2 {
            prop_assert_eq!(sorted(run.got(1 - end)), (0..run.accepted[end]).collect::<Vec<_>>());
        }
        run.check_end();
    }

    #[test]
    fn p7_a_stormy_network_comes_to_rest(seed: u64, cut in cuts(), ops in stormy_ops()) {
        seen(seed, cut, &ops);
    }

    #[test]
    fn p9_calm_runs_look_the_same_however_the_bytes_are_cut(seed: u64, ops in calm_ops()) {
        let whole = seen(seed, Cut::Whole, &ops);
        prop_assert_eq!(seen(seed, Cut::Random(100), &ops), whole);
    }
}
