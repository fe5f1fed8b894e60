//! What both contestants on rust-libp2p have in common: TCP, TLS and yamux.

use std::time::Duration;

use futures::StreamExt;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, tcp, tls, yamux};

/// A peer that is silent is not left meanwhile.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A peer with a key of its own.
pub(super) fn swarm<B: NetworkBehaviour>(behaviour: B) -> Swarm<B> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), tls::Config::new, || {
            let mut config = yamux::Config::default();
            config.set_max_num_streams(4096);
            config
        })
        .expect("a key")
        .with_behaviour(|_| behaviour)
        .unwrap_or_else(|never| match never {})
        .with_swarm_config(|config| {
            config.with_idle_connection_timeout(PATIENCE).with_max_negotiating_inbound_streams(1024)
        })
        .build()
}

/// Has the second listen, and the first dial it; gives the id of each.
pub(super) async fn connect<B: NetworkBehaviour>(
    one: &mut Swarm<B>,
    two: &mut Swarm<B>,
) -> [PeerId; 2] {
    let any: Multiaddr = "/ip4/127.0.0.1/tcp/0".parse().expect("an address");
    two.listen_on(any).expect("listening");
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = two.select_next_some().await {
            break address;
        }
    };
    one.dial(address).expect("dialling");
    let mut connected = 0;
    while connected < 2 {
        let is_connected = tokio::select! {
            event = one.select_next_some() => is_connected(event),
            event = two.select_next_some() => is_connected(event),
        };
        connected += usize::from(is_connected);
    }
    [*one.local_peer_id(), *two.local_peer_id()]
}

fn is_connected<E>(event: SwarmEvent<E>) -> bool {
    matches!(event, SwarmEvent::ConnectionEstablished { .. })
}
