//! The harness of core's tests, with TLS as the only channel.

#[allow(dead_code, unused_imports, unused_macros, reason = "core's tests use all of it")]
#[path = "../../../core/tests/pair/harness.rs"]
mod harness_of_core;

use std::sync::OnceLock;

use headwater_core::config::Config;
use headwater_core::id::PeerId;
use headwater_identity::NodeKey;
use headwater_tls::Tls;

pub(crate) use harness_of_core::{Channels, Cut, World, protocol};

/// Nodes for tests, in ascending order of their ids.
fn nodes() -> &'static [(PeerId, Tls)] {
    static NODES: OnceLock<Vec<(PeerId, Tls)>> = OnceLock::new();
    NODES.get_or_init(|| {
        let mut nodes: Vec<_> = (0..8)
            .map(|_| Tls::new(&NodeKey::generate().unwrap()).unwrap())
            .map(|tls| (tls.local(), tls))
            .collect();
        nodes.sort_by_key(|(id, _)| *id);
        nodes
    })
}

/// Ids of peers for tests, in ascending order.
pub(crate) fn peer_id(number: usize) -> PeerId {
    nodes()[number].0
}

impl Channels for Tls {
    const LARGE: usize = 8 << 20;

    fn of(local: PeerId) -> Self {
        nodes().iter().find(|(id, _)| *id == local).unwrap().1.clone()
    }
}

/// Makes a test of each generic body.
macro_rules! over_both_channels {
    ($($body:ident),* $(,)?) => {
        mod tls {
            $(#[test] fn $body() { super::$body::<headwater_tls::Tls>(); })*
        }
    };
}
pub(crate) use over_both_channels;

/// Two nodes that support `/echo` and do not know each other yet.
pub(crate) fn pair<F: Channels>(seed: u64) -> World<F> {
    pair_with(seed, Config::default())
}

/// The same, both with this configuration.
pub(crate) fn pair_with<F: Channels>(seed: u64, config: Config) -> World<F> {
    let end = |number| (config.clone(), F::of(peer_id(number)));
    let mut world = World::new(seed, vec![end(0), end(1)]);
    world.register_echo();
    world
}
