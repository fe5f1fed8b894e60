//! `headwater node`: a node that keeps its peers, until it is told to end.

mod action;
mod file;
mod limits;
mod settings;
mod units;

use std::fs;
use std::path::Path;

use headwater_identity::NodeKey;
use headwater_tls::{SetupError, Tls};
use headwater_tokio::{Node, Started};

use crate::admin::{Feed, Server};
use crate::event::Event;
use crate::failure::Failure;
use crate::net::Security;
use crate::report::Report;
use crate::signal::Signals;
use crate::status::Status;
use crate::{address, keys, net};

use action::Actions;
pub(crate) use settings::Settings;

/// Runs the command.
///
/// # Errors
///
/// What keeps it from starting, each cause with its status; and the second signal, which ends it
/// at once. The first one ends it in order, and that is what it is for.
pub(crate) async fn run(
    report: Report,
    settings: Settings,
    security: Security,
    signals: &Signals,
) -> Result<(), Failure> {
    let key = keys::load(settings.key.as_deref())?;
    let id = key.peer_id();
    let Started { node, mut messages, mut notifications } = start(&key, &settings, security)?;
    for protocol in settings.protocols.keys() {
        node.register(protocol.clone()).await.map_err(|error| {
            Failure::new(Status::Usage, format!("the protocol {protocol} cannot be used: {error}"))
        })?;
    }
    for rule in &settings.blacklist {
        node.block(*rule).await.map_err(|error| {
            Failure::new(Status::Config, format!("{rule} cannot be blocked: {error}"))
        })?;
    }
    let feed = Feed::new();
    let page = Server::start(&settings.admin, Box::new(node.clone()), feed.clone()).await?;
    let mut addresses = Vec::new();
    for at in settings.listens() {
        addresses.extend(address::reachable(net::listen(&node, at).await?, &id));
    }
    for address in &addresses {
        tracing::info!(address, "listening");
    }
    let listening = Event::Listening { id: id.as_str(), addresses: &addresses };
    feed.event(None, listening.clone());
    report.event(listening);
    if let Some(Server { url, .. }) = &page {
        tracing::info!(url, "status page");
        report.event(Event::Admin { url });
    }
    for address in &addresses {
        report.line(address);
    }
    keep(&node, &settings).await?;
    let mut actions = Actions::new(node.clone(), settings.protocols);
    loop {
        tokio::select! {
            biased;
            failure = signals.first() => {
                tracing::info!(reason = failure.message, "stopping");
                break;
            }
            Some(notification) = notifications.recv() => {
                feed.notification(None, &notification);
                report.notification(None, &notification);
            }
            Some(message) = messages.recv() => {
                report.message(&message);
                actions.take(message).await;
            }
            else => return Err(Failure::internal("the node ended by itself")),
        }
    }
    net::stop(&node, &mut notifications, report, signals).await
}

/// Starts the node that the settings describe.
fn start(key: &NodeKey, settings: &Settings, security: Security) -> Result<Started, Failure> {
    let wrong = |what: String| Failure::new(Status::Config, what);
    let limits = settings.limits.clone();
    if security == Security::Insecure {
        // Without proofs nobody can be told from somebody else.
        let rules = settings.allow.is_some() || settings.authorities.is_some();
        if rules || settings.certificates.is_some() {
            let text = "allow, authorities and certificates have no meaning with --insecure";
            return Err(wrong(text.to_owned()));
        }
        return net::start(key, limits, security);
    }
    let read = |path: &Path| {
        let text = fs::read_to_string(path);
        text.map_err(|error| wrong(format!("cannot read {}: {error}", path.display())))
    };
    let mut builder = Tls::builder(key);
    if let Some(path) = &settings.authorities {
        builder = builder.authorities(path.display().to_string(), read(path)?);
    }
    if let Some(path) = &settings.certificates {
        builder = builder.certificates(read(path)?);
    }
    if let Some(allow) = &settings.allow {
        builder = builder.allow(allow.iter().copied());
    }
    let tls = builder.build().map_err(|error| match error {
        SetupError::Key { .. } => Failure::new(Status::Key, error.to_string()),
        error => wrong(error.to_string()),
    })?;
    net::start_with(tls, limits)
}

/// Tells a node the peers that it has to keep connections with.
async fn keep(node: &Node, settings: &Settings) -> Result<(), Failure> {
    let (peers, most) = (settings.peers.len(), settings.limits.peers_max);
    if settings.limits.overcommit && peers > most {
        tracing::warn!(peers, peers_max = most, "more peers to keep than may be connected");
    }
    for addresses in &settings.peers {
        node.require(addresses.clone()).await.map_err(|error| {
            let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let text = format!("the peer at {} cannot be kept: {error}", all.join(" and "));
            Failure::new(Status::Config, text)
        })?;
    }
    Ok(())
}
