//! `headwater node`: a node that keeps its peers, until it is told to end.

mod action;
mod file;
mod limits;
mod settings;
mod units;

use headwater_tokio::{Builder, Started};

use crate::event::Event;
use crate::failure::Failure;
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
    signals: &Signals,
) -> Result<(), Failure> {
    let key = keys::load(settings.key.as_deref())?;
    let id = key.peer_id();
    let Started { node, mut messages, mut notifications } = Builder::insecure(id)
        .and_then(|builder| builder.config(settings.limits.clone()).start())
        .map_err(Failure::internal)?;
    for protocol in settings.protocols.keys() {
        node.register(protocol.clone()).await.map_err(|error| {
            Failure::new(Status::Usage, format!("the protocol {protocol} cannot be used: {error}"))
        })?;
    }
    let mut addresses = Vec::new();
    for at in settings.listens() {
        addresses.extend(address::reachable(net::listen(&node, at).await?, &id));
    }
    report.event(Event::Listening { id: id.as_str(), addresses: &addresses });
    for address in &addresses {
        report.line(address);
        tracing::info!(address, "listening");
    }
    let mut actions = Actions::new(node.clone(), settings.protocols);
    loop {
        tokio::select! {
            biased;
            failure = signals.first() => {
                tracing::info!(reason = failure.message, "stopping");
                break;
            }
            Some(notification) = notifications.recv() => report.notification(None, &notification),
            Some(message) = messages.recv() => {
                report.message(&message);
                actions.take(message).await;
            }
            else => return Err(Failure::internal("the node ended by itself")),
        }
    }
    net::stop(&node, &mut notifications, report, signals).await
}
