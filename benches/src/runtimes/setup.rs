//! Connections made one after another: how many in a second. Of nodes, until both know what the
//! other supports; by hand, until the sockets are connected and, over TLS, the handshake is done,
//! which proves nobody but the server.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use headwater_core::config::Config;

use super::{ANY, Peer, Place, protocol};
use crate::Security;

/// Of as many nodes, each of which dials the same one.
pub fn nodes<P: Place>(place: P, security: Security, count: usize) -> Duration {
    place.block_on(async {
        let mut config = Config::default();
        config.peers_max = count;
        config.pending_per_source_max = config.pending_max;
        let hub = place.start(security, config);
        hub.register(&protocol()).await;
        let address = hub.listen().await;
        let peers: Vec<P::Peer> =
            (0..count).map(|_| place.start(security, Config::default())).collect();
        let begun = Instant::now();
        for peer in &peers {
            peer.dial(address).await;
        }
        begun.elapsed()
    })
}

/// Of hand-written framing.
///
/// # Panics
///
/// If loopback does not work.
pub fn framing<P: Place>(place: P, security: Security, count: usize) -> Duration {
    let configs = crate::configs::configs();
    place.block_on(async {
        let listener = TcpListener::bind(ANY).expect("bound");
        let mut kept = Vec::with_capacity(count);
        let begun = Instant::now();
        for _ in 0..count {
            let mut ends = place.connect(&listener).await;
            if security == Security::Tls {
                ends = place.secure(ends, &configs).await;
            }
            kept.push(ends);
        }
        begun.elapsed()
    })
}
