//! What has to hold of the whole network, and of a node as it can be seen from outside.

use std::collections::BTreeSet;

use headwater_core::config::Config;
use headwater_core::id::ProtocolId;

use crate::app::{PROTOCOLS, STREAMS_MAX};
use crate::host::{Host, Violation, ensure};
use crate::world::World;

/// Checks the bounds of a node: peers, connections of each, streams and bytes of each one.
pub(crate) fn check_bounds(host: &dyn Host, config: &Config) -> Result<(), Violation> {
    let peers = host.peers();
    let (count, max) = (peers.len(), config.peers_max);
    ensure!(count <= max, "{count} peers of at most {max}");
    for peer in peers {
        let Some(way) = host.way(&peer) else { continue };
        let (count, max) = (way.connections.len(), config.connections_per_peer_max);
        ensure!(count <= max, "{count} connections of {peer} of at most {max}");
        let mut streams = 0;
        for (id, load) in way.connections {
            let Some(load) = load else { continue };
            streams += load.current;
            // In the driver's hands and in the connection's; placed on streams, small ones, four
            // large ones, and what applications have put on streams that they borrowed.
            let outbox = config.outbox_max * 3 / 2 + config.message_max + config.large_min;
            let placed = outbox + 4 * config.message_max;
            let max = 2 * outbox + placed + STREAMS_MAX * (outbox + config.message_max);
            let queued = load.queued_bytes;
            ensure!(queued <= max, "{queued} bytes wait on {id}, of at most {max}");
        }
        let max = config.send_streams_max;
        ensure!(streams <= max, "{streams} streams to {peer} of at most {max}");
    }
    Ok(())
}

/// Checks that everybody is connected with whom it has to be, that both sides mean the same
/// connections, that these work, and that both know what the other supports.
pub(crate) fn check_healed(world: &World<'_>) -> Result<(), Violation> {
    for (node, place) in world.places.iter().enumerate() {
        let Some(host) = place.host.as_deref() else {
            return Err(Violation(format!("{node} is down")));
        };
        for required in place.app.required.peers() {
            let connected = place.app.notices.is_connected(world.people.id(required));
            ensure!(connected, "{node} is not connected with {required}");
        }
        // Its link is there still, and will be gone without a fault.
        let leaving = place.app.notices.leaving();
        ensure!(leaving.is_none(), "{node} is not rid yet of {leaving:?}");
        let told: Vec<_> = place.app.notices.connected().copied().collect();
        ensure!(told == host.peers(), "{node} was told of other peers than it has");
        for peer in told {
            let other = world.people.index(&peer);
            check_pair(world, node, other.unwrap_or(node))?;
        }
    }
    Ok(())
}

/// Checks one direction of one pair.
fn check_pair(world: &World<'_>, one: usize, two: usize) -> Result<(), Violation> {
    let (here, there) = (&world.places[one], &world.places[two]);
    let (Some(host), Some(other)) = (here.host.as_deref(), there.host.as_deref()) else {
        return Err(Violation(format!("{one} is connected with {two}, which is down")));
    };
    let peer = world.people.id(two);
    let (Some(way), Some(back)) = (host.way(peer), other.way(world.people.id(one))) else {
        return Err(Violation(format!("{one} is connected with {two}, and not the reverse")));
    };
    let links = |host: &dyn Host, way: &crate::host::Way| {
        let sockets = way.connections.iter().filter_map(|(id, _)| host.sockets().get(id));
        let mut links: Vec<_> = sockets.map(|socket| socket.link()).collect();
        links.sort_unstable();
        links
    };
    let (ours, theirs) = (links(host, &way), links(other, &back));
    ensure!(ours == theirs, "{one} and {two} mean other links: {ours:?}, {theirs:?}");
    let now = world.time.now();
    for (id, _) in &way.connections {
        let sound = host.sockets().get(id).is_some_and(|socket| world.net.is_sound(*socket, now));
        ensure!(sound, "{one} has a dead link to {two}, or one that was held up");
    }
    let supported = other.protocols();
    for number in 0..PROTOCOLS {
        let name = world.people.protocol(number);
        let supports = supported.contains(name.as_str());
        let known = way.protocols.contains(name.as_str());
        ensure!(supports == known, "{two} supports {name}: {supports}, {one} thinks {known}");
        let told = here.app.notices.protocols(peer).is_some_and(|all| all.contains(name));
        ensure!(supports == told, "{two} supports {name}: {supports}, {one} was told {told}");
    }
    let told = here.app.notices.protocols(peer);
    let internal = told.is_some_and(|all| all.iter().any(|p| p.as_str() == ProtocolId::EXCHANGER));
    ensure!(!internal, "{one} was told of the exchanger's own protocol");
    Ok(())
}

/// The links that are in use, by the nodes that they join.
pub(crate) fn links_in_use(world: &World<'_>) -> BTreeSet<(usize, usize, (u32, u32))> {
    let mut links = BTreeSet::new();
    for (node, place) in world.places.iter().enumerate() {
        let Some(host) = place.host.as_deref() else { continue };
        for peer in host.peers() {
            let other = world.people.index(&peer).unwrap_or(node);
            let way = host.way(&peer).map(|way| way.connections).unwrap_or_default();
            let sockets = way.iter().filter_map(|(id, _)| host.sockets().get(id));
            links.extend(sockets.map(|socket| (node, other, socket.link())));
        }
    }
    links
}

/// Checks that every link that was in use is still.
pub(crate) fn check_nothing_lost(
    world: &World<'_>,
    before: &BTreeSet<(usize, usize, (u32, u32))>,
) -> Result<(), Violation> {
    let now = links_in_use(world);
    let lost = before.difference(&now).next();
    ensure!(lost.is_none(), "a link in use was lost without a fault: {lost:?}");
    Ok(())
}

/// Checks that everything accepted has arrived or is accounted for, that nodes have counted what
/// their applications took, and that every pool is back to its size.
pub(crate) fn check_quiet(world: &World<'_>) -> Result<(), Violation> {
    let alive = |(node, life): (usize, u32)| {
        world.places[node].life == life && world.places[node].host.is_some()
    };
    world.ledger.check_end(alive, |one, two| world.net.last_loss(one, two))?;
    for (node, place) in world.places.iter().enumerate() {
        ensure!(!place.app.has_streams(), "{node} has streams still");
        let Some(host) = place.host.as_deref() else { continue };
        let (taken, counted) = (place.app.taken, host.received());
        ensure!(taken <= counted, "{node} took {taken} messages, and counted {counted}");
        for peer in host.peers() {
            let connections = host.way(&peer).map(|way| way.connections).unwrap_or_default();
            for (id, load) in connections {
                let Some(load) = load else { continue };
                let idle = load.queued_bytes == 0 && load.idle_streams == load.current;
                ensure!(idle && load.current > 0, "{id} of {node} is not at rest: {load:?}");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
