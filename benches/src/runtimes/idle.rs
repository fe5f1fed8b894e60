//! Connections that have said something once, and nothing since: what each keeps resident, both
//! ends together. To be called in a process that has done nothing else.

use std::time::Duration;

use bytes::Bytes;
use headwater_core::config::Config;

use super::{Peer, Place, framed, protocol};
use crate::Security;

/// Nodes, each connected to each; so many pairs.
const NODES: usize = 24;
const PAIRS: usize = NODES * (NODES - 1) / 2;

/// Until everything has settled.
const REST: Duration = Duration::from_secs(3);

/// What the process has resident, in bytes; 0 where the system does not say.
#[must_use]
pub fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kib.unwrap_or(0) * 1024
}

/// Of two nodes that are connected, with a task at each that waits for more, in bytes.
///
/// # Panics
///
/// If loopback does not work.
pub fn nodes<P: Place>(place: P, security: Security) -> usize {
    place.block_on(async {
        let mut peers = Vec::new();
        let mut addresses = Vec::new();
        for _ in 0..NODES {
            let mut config = Config::default();
            config.peers_max = NODES;
            config.pending_per_source_max = config.pending_max;
            let peer = place.start(security, config);
            peer.register(&protocol()).await;
            addresses.push(peer.listen().await);
            peers.push(peer);
        }
        place.sleep(REST / 4).await;
        let before = resident();
        for (one, peer) in peers.iter().enumerate() {
            for address in &addresses[..one] {
                let id = peer.dial(*address).await;
                let mut sender = peer.sender(&id, &protocol()).expect("supported");
                P::Peer::send(&mut sender, Bytes::from(vec![7; 128])).await;
            }
        }
        for (one, peer) in peers.iter_mut().enumerate() {
            for _ in one + 1..NODES {
                peer.recv().await;
            }
        }
        let mut waiting = Vec::new();
        for mut peer in peers {
            let reading = async move {
                loop {
                    drop(peer.recv().await);
                }
            };
            waiting.push(Box::pin(place.spawn::<()>(reading)));
        }
        place.sleep(REST).await;
        let grown = resident().saturating_sub(before);
        // They would end with their tasks.
        drop(waiting);
        grown / PAIRS
    })
}

/// Of hand-written framing, with a task at each end that waits for more.
pub fn framing<P: Place>(place: P, security: Security) -> usize {
    place.block_on(async {
        // What is there once, however many follow.
        let _first = framed(place, security).await;
        place.sleep(REST / 4).await;
        let before = resident();
        let mut waiting = Vec::new();
        for _ in 0..PAIRS {
            let ends = framed(place, security).await;
            for mut end in ends {
                end.send(Bytes::from(vec![7; 128])).await;
                end.flush().await;
                let reading = async move {
                    loop {
                        end.receive_little(drop).await;
                    }
                };
                waiting.push(Box::pin(place.spawn::<()>(reading)));
            }
        }
        place.sleep(REST).await;
        let grown = resident().saturating_sub(before);
        // They would end with their tasks.
        drop(waiting);
        grown / PAIRS
    })
}
