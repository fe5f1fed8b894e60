//! `headwater status` and `headwater why`: what a running node says of itself and of its peers.

use std::net::SocketAddr;
use std::time::Duration;

use headwater_core::address::Address;

use crate::admin::client;
use crate::admin::shape::{ConnectionStatus, NodeStatus, PeerStatus};
use crate::args;
use crate::failure::Failure;
use crate::report::Report;
use crate::status::Status;

/// Runs `status`.
///
/// # Errors
///
/// The node cannot be asked, or knows no such peer.
pub(crate) async fn status(report: Report, args: args::Status) -> Result<(), Failure> {
    let mut status = client::status(&args.of.admin, args.of.admin_token.as_deref()).await?;
    // Of the whole node, whichever peers are shown.
    let heads: Vec<String> = status.nodes.iter().map(head).collect();
    if let Some(wanted) = &args.peer {
        find(&status.nodes, wanted)?;
        for node in &mut status.nodes {
            node.peers.retain(|peer| is_meant(peer, wanted));
        }
    }
    if report.is_json() {
        report.print(&serde_json::to_string(&status).map_err(Failure::internal)?);
        return Ok(());
    }
    for (node, head) in status.nodes.iter().zip(&heads) {
        report.print(head.trim_end());
        report.print(table(&node.peers).trim_end());
    }
    Ok(())
}

/// Runs `why`.
///
/// # Errors
///
/// The node cannot be asked, or knows no such peer.
pub(crate) async fn why(report: Report, args: args::Why) -> Result<(), Failure> {
    let status = client::status(&args.of.admin, args.of.admin_token.as_deref()).await?;
    let peers = find(&status.nodes, &args.peer)?;
    for (node, peer) in peers {
        if report.is_json() {
            report.print(&serde_json::to_string(peer).map_err(Failure::internal)?);
        } else if node.name.is_empty() {
            report.print(&peer.why);
        } else {
            report.print(&format!("{}: {}", node.name, peer.why));
        }
    }
    Ok(())
}

/// Ids begin alike; so many characters tell them apart well enough.
const PART_MIN: usize = 4;

/// The peers that are meant, each with the node that knows it.
fn find<'a>(
    nodes: &'a [NodeStatus],
    wanted: &str,
) -> Result<Vec<(&'a NodeStatus, &'a PeerStatus)>, Failure> {
    let of = |node: &'a NodeStatus| node.peers.iter().map(move |peer| (node, peer));
    let found: Vec<_> = nodes.iter().flat_map(of).filter(|(_, p)| is_meant(p, wanted)).collect();
    let mut ids: Vec<&str> = found.iter().filter_map(|(_, peer)| peer.id.as_deref()).collect();
    ids.sort_unstable();
    ids.dedup();
    if found.is_empty() && wanted.chars().count() < PART_MIN {
        let text = format!(
            "{wanted} may be many: give at least {PART_MIN} characters from either end of the id, \
             or an address; `headwater status` lists the peers"
        );
        return Err(Failure::new(Status::NoPeer, text));
    }
    if found.is_empty() {
        let text = format!(
            "the node knows no peer {wanted}: it has no connection with it, does not keep it, and \
             has neither dialled it nor turned it away lately; `headwater status` lists the peers"
        );
        return Err(Failure::new(Status::NoPeer, text));
    }
    if ids.len() > 1 {
        let text = format!("{wanted} may be any of {}", ids.join(", "));
        return Err(Failure::new(Status::NoPeer, text));
    }
    Ok(found)
}

/// Whether a peer is meant: by its id or a part of it, its name, or an address.
fn is_meant(peer: &PeerStatus, wanted: &str) -> bool {
    let id = peer.id.as_deref().unwrap_or_default();
    let part = wanted.len() >= PART_MIN && (id.starts_with(wanted) || id.ends_with(wanted));
    let place = |address: &str| address.split("/p2p/").next().unwrap_or_default().to_owned();
    // IP:PORT is as good as a multiaddr.
    let socket = wanted.parse::<SocketAddr>().map(|at| Address::from(at).to_string());
    let wanted = socket.as_deref().unwrap_or(wanted);
    let same = |known: &str| known == wanted || place(known) == place(wanted);
    id == wanted
        || part
        || peer.name.as_deref() == Some(wanted)
        || wanted.starts_with('/') && peer.addresses.iter().any(|known| same(&known.address))
}

/// What comes before the table.
fn head(node: &NodeStatus) -> String {
    let name = if node.name.is_empty() { String::new() } else { format!("{}  ", node.name) };
    if !node.running {
        return format!("{name}{} does not run\n", node.id);
    }
    let listening =
        if node.listening.is_empty() { "nowhere".into() } else { node.listening.join(" ") };
    let protocols =
        if node.protocols.is_empty() { "none".into() } else { node.protocols.join(" ") };
    format!(
        "{name}node {}, up {}{}\nlistens on {listening}\nsupports {protocols}\n{}\n\
         {} of {} held, {} in, {} out\n",
        node.id,
        age(node.uptime_ms),
        if node.stopping { ", stopping" } else { "" },
        counts(&node.peers),
        bytes(node.memory.used as u64),
        bytes(node.memory.max as u64),
        bytes(node.work.received_bytes),
        bytes(node.work.sent_bytes),
    )
}

/// How many peers are there, and how many are only known: a visitor that left is not missed.
fn counts(peers: &[PeerStatus]) -> String {
    let (there, away): (Vec<_>, Vec<_>) = peers.iter().partition(|p| p.stage == "connected");
    let (kept, others): (Vec<_>, Vec<_>) = away.into_iter().partition(|peer| peer.required);
    let mut text = match there.len() {
        1 => "1 peer connected".to_owned(),
        count => format!("{count} peers connected"),
    };
    if !kept.is_empty() {
        text += &format!(", {} to keep and missing", kept.len());
    }
    if !others.is_empty() {
        text += &format!(", {} known and not connected", others.len());
    }
    text
}

/// The peers, one a line.
fn table(peers: &[PeerStatus]) -> String {
    const HEADS: [&str; 8] =
        ["PEER", "STAGE", "SINCE", "LINK", "RTT", "IN", "OUT", "WHAT IS IN THE WAY"];
    let mut rows: Vec<[String; 8]> = vec![HEADS.map(str::to_owned)];
    rows.extend(peers.iter().map(row));
    let widths: Vec<usize> = (0..HEADS.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

fn row(peer: &PeerStatus) -> [String; 8] {
    let id = peer.id.as_deref().map(short);
    let place = peer.addresses.first().map(|known| known.address.clone());
    let who = peer.name.clone().or(id).or(place).unwrap_or_else(|| "?".to_owned());
    let sum = |of: fn(&ConnectionStatus) -> u64| bytes(peer.connections.iter().map(of).sum());
    let first = peer.connections.first();
    let link = first.map(|part| {
        let arrow = if part.direction == "outbound" { "->" } else { "<-" };
        format!("{arrow} {}", part.remote)
    });
    let rtt = first.and_then(|part| part.rtt_us);
    let next =
        peer.next_ms.filter(|_| peer.next == "at").map(|ms| format!("; again in {}", age(ms)));
    [
        who,
        peer.stage.clone(),
        peer.connected_ms.map(age).unwrap_or_default(),
        link.unwrap_or_default(),
        rtt.map(|us| format!("{:.1} ms", Duration::from_micros(us).as_secs_f64() * 1e3))
            .unwrap_or_default(),
        if first.is_some() { sum(|part| part.received_bytes) } else { String::new() },
        if first.is_some() { sum(|part| part.sent_bytes) } else { String::new() },
        peer.blocked.join("; ") + &next.unwrap_or_default(),
    ]
}

/// An id, short enough for a table and long enough to be given to `why`.
fn short(id: &str) -> String {
    let start: String = id.chars().take(4).collect();
    let end: Vec<char> = id.chars().rev().take(8).collect();
    format!("{start}..{}", end.into_iter().rev().collect::<String>())
}

fn age(ms: u64) -> String {
    crate::admin::time(Duration::from_millis(ms))
}

/// A number of bytes as people say it.
fn bytes(count: u64) -> String {
    let mut unit = "B";
    #[expect(clippy::cast_precision_loss, reason = "it is rounded to a digit")]
    let mut number = count as f64;
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if number >= 1024.0 {
            number /= 1024.0;
            unit = next;
        }
    }
    if unit == "B" { format!("{count} B") } else { format!("{number:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ids_are_short() {
        assert_eq!([0, 1023, 1024, 3 << 20].map(bytes), ["0 B", "1023 B", "1.0 KiB", "3.0 MiB"]);
        assert_eq!(short("QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4"), "QmcQ..5oX4qiC4");
    }
}
