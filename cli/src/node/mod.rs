//! `headwater node`: a node that keeps its peers, until it is told to end.

mod action;
mod file;
mod limits;
mod settings;
mod units;

use std::fs;
use std::path::Path;
use std::time::Duration;

use headwater_identity::NodeKey;
use headwater_tls::{SetupError, Tls};
use headwater_tokio::{Node, Started};
use tokio::time::interval;

use crate::admin::{Feed, Server};
use crate::event::Event;
use crate::failure::Failure;
use crate::net::Security;
use crate::replay::record::{Asked, Recorded};
use crate::report::Report;
use crate::signal::Signals;
use crate::status::Status;
use crate::{address, keys, logs, net};

use action::Actions;
pub(crate) use settings::Settings;

/// How often it is looked whether repeated lines of the log are to be told.
const REPEATS_EVERY: Duration = Duration::from_secs(20);

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
    mut recorded: Option<Recorded>,
    signals: &Signals,
) -> Result<(), Failure> {
    let ended = run_recorded(report, settings, security, recorded.as_mut(), signals).await;
    let written = recorded.map_or(Ok(()), |recorded| recorded.write_at_end());
    ended.and(written)
}

async fn run_recorded(
    report: Report,
    settings: Settings,
    security: Security,
    mut recorded: Option<&mut Recorded>,
    signals: &Signals,
) -> Result<(), Failure> {
    let key = keys::load(settings.key.as_deref())?;
    let id = key.peer_id();
    let Started { node, mut messages, mut notifications } =
        start(&key, &settings, security, recorded.as_deref())?;
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
    let lowered = settings.lowered().join(", ");
    if !lowered.is_empty() {
        tracing::info!(target: logs::NODE, limits = lowered, "lowered to fit max_memory");
    }
    let feed = Feed::new();
    let page = Server::start(&settings.admin, Box::new(node.clone()), feed.clone()).await?;
    let mut addresses = Vec::new();
    for at in settings.listens() {
        addresses.extend(address::reachable(net::listen(&node, at).await?, &id));
    }
    for address in &addresses {
        tracing::info!(target: logs::NODE, address, "listening");
    }
    let listening = Event::Listening { id: id.as_str(), addresses: &addresses };
    feed.event(None, listening.clone());
    report.event(listening);
    if let Some(Server { url, .. }) = &page {
        tracing::info!(target: logs::NODE, url, "status page");
        report.event(Event::Admin { url });
    }
    for address in &addresses {
        report.line(address);
    }
    keep(&node, &settings).await?;
    let mut actions = Actions::new(node.clone(), settings.protocols);
    let mut ticks = interval(REPEATS_EVERY);
    let mut asked = Asked::listen(recorded.is_some());
    loop {
        tokio::select! {
            biased;
            failure = signals.first() => {
                logs::tell_all();
                tracing::info!(target: logs::NODE, reason = failure.message, "stopping");
                break;
            }
            // Ahead of what may come without a pause.
            _ = ticks.tick() => logs::tell_repeats(),
            () = asked.wait() => {
                if let Some(recorded) = &mut recorded {
                    recorded.write_now();
                }
            }
            notification = notifications.recv() => {
                let Some(notification) = notification else {
                    return Err(Failure::internal("the node ended by itself"));
                };
                feed.notification(None, &notification);
                report.notification(None, &notification);
            }
            Some(message) = messages.recv() => {
                report.message(&message);
                actions.take(message).await;
            }
        }
    }
    net::stop(&node, &mut notifications, report, signals).await
}

/// Starts the node that the settings describe.
fn start(
    key: &NodeKey,
    settings: &Settings,
    security: Security,
    recorded: Option<&Recorded>,
) -> Result<Started, Failure> {
    let limits = settings.limits.clone();
    let recorder = recorded.map(Recorded::recorder);
    match channels(key, settings, security)? {
        Some(tls) => net::start_with(tls, limits, recorder),
        None => net::start_recorded(key, limits, security, recorder),
    }
}

/// Reads every file that the settings name, and judges what only then can be judged: what a start
/// would say before it listens, dials or registers anything.
///
/// # Errors
///
/// Those of [`run`], but for the addresses, which are not tried.
pub(crate) fn check(settings: &Settings, security: Security) -> Result<(), Failure> {
    let key = keys::load(settings.key.as_deref())?;
    channels(&key, settings, security)?;
    settings.admin.check()?;
    settings.check_peers(&key.peer_id())
}

/// The channels that the settings describe; none without encryption.
fn channels(
    key: &NodeKey,
    settings: &Settings,
    security: Security,
) -> Result<Option<Tls>, Failure> {
    let wrong = |what: String| Failure::new(Status::Config, what);
    if security == Security::Insecure {
        // Without proofs nobody can be told from somebody else.
        let rules = settings.allow.is_some() || settings.authorities.is_some();
        if rules || settings.certificates.is_some() {
            let text = "allow, authorities and certificates have no meaning with --insecure";
            return Err(wrong(text.to_owned()));
        }
        return Ok(None);
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
    let shown = settings.certificates.as_deref().unwrap_or(Path::new("")).display();
    let tls = builder.build().map_err(|error| match error {
        SetupError::Key { .. } => Failure::new(Status::Key, error.to_string()),
        SetupError::Authorities { .. } => {
            wrong(format!("{error}; expected certificates of authorities in PEM"))
        }
        error => {
            wrong(format!("{shown}: {error}; expected certificates in PEM, the node's own first"))
        }
    })?;
    Ok(Some(tls))
}

/// Tells a node the peers that it has to keep connections with.
async fn keep(node: &Node, settings: &Settings) -> Result<(), Failure> {
    let (peers, most) = (settings.peers.len(), settings.limits.peers_max);
    if settings.limits.overcommit && peers > most {
        tracing::warn!(target: logs::NODE, peers, peers_max = most, "more peers to keep than may be connected");
    }
    for addresses in &settings.peers {
        let kept = node.require(addresses.clone()).await;
        kept.map_err(|error| settings::not_kept(addresses, &error))?;
    }
    Ok(())
}
