//! Where the program speaks: results for people or for programs, complaints on standard error.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;

use headwater_core::contract::{Direction, Notification};
use headwater_core::id::PeerId;
use headwater_core::message::Message;
use tracing::Level;

use crate::event::{self, Event, Line};
use crate::failure::Failure;
use crate::{code, logs};

/// How often a peer may come and go within a minute before that is counted in the log.
const BURST: u64 = 5;

/// Prints results, events and failures. Lines are written whole, whichever thread prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    json: bool,
    /// The file has standard output for itself, so results go to standard error.
    stdout_taken: bool,
}

impl Report {
    /// A report of events (`json`) or of sentences.
    pub(crate) const fn new(json: bool) -> Self {
        Self { json, stdout_taken: false }
    }

    /// The same, with results on standard error.
    pub(crate) const fn leaving_stdout(self) -> Self {
        Self { stdout_taken: true, ..self }
    }

    /// Whether events are printed, and not sentences.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// An event of the only node; nothing for people.
    pub(crate) fn event(self, event: Event<'_>) {
        self.event_of(None, event);
    }

    /// An event of one of several nodes.
    pub(crate) fn event_of(self, node: Option<&str>, event: Event<'_>) {
        if self.json {
            // No event can fail to serialize: they are strings, numbers and lists of them.
            if let Ok(text) = serde_json::to_string(&Line { event, node }) {
                self.print(&text);
            }
        }
    }

    /// A notification, as an event and in the log. What a peer can cause with one message, as often
    /// as it likes, is logged at the level of traces alone.
    pub(crate) fn notification(self, node: Option<&str>, notification: &Notification) {
        event::of(notification, |event| self.event_of(node, event));
        let kind = |key: &dyn Fn() -> String| {
            (!tracing::enabled!(target: logs::PEER, Level::DEBUG)).then(key)
        };
        match notification {
            Notification::Connected { peer } => {
                let same = kind(&|| format!("up {node:?} {peer}"));
                let (same, burst) = (same.as_deref(), BURST);
                tracing::info!(target: logs::PEER, same, burst, node, %peer, "{}", logs::CONNECTED);
            }
            Notification::Disconnected { peer, reason, .. } => {
                let same = kind(&|| format!("down {node:?} {peer} {}", code::close(reason)));
                let (same, burst) = (same.as_deref(), BURST);
                tracing::info!(
                    target: logs::PEER, same, burst, node, %peer, %reason, "disconnected"
                );
            }
            Notification::Supported { peer, protocol } => {
                tracing::trace!(target: logs::PEER, node, %peer, %protocol, "supported");
            }
            Notification::Unsupported { peer, protocol } => {
                tracing::trace!(target: logs::PEER, node, %peer, %protocol, "unsupported");
            }
            Notification::Retrying { .. }
            | Notification::GaveUp { .. }
            | Notification::Refused { .. }
            | Notification::Undelivered { .. }
            | Notification::ListenFailed { .. } => trouble(node, notification),
            other => tracing::debug!(target: logs::NODE, node, notification = ?other, "notified"),
        }
    }

    /// A message that arrived.
    pub(crate) fn message(self, message: &Message) {
        self.event(Event::Message {
            peer: message.peer.as_str(),
            protocol: message.protocol.as_str(),
            bytes: message.payload.len() as u64,
        });
    }

    /// A line of the result, for people.
    pub(crate) fn line(self, text: &str) {
        if !self.json {
            self.print(text);
        }
    }

    /// A remark on standard error, for people, unless events go there.
    pub(crate) fn remark(self, text: &str) {
        if !(self.json && self.stdout_taken) {
            complain(text);
        }
    }

    /// A failure: an event, and a sentence on standard error whoever reads.
    pub(crate) fn failure(self, failure: &Failure) {
        let Failure { status, message } = failure;
        self.event(Event::Error { message, status: status.code(), code: status.name() });
        self.remark(&failure.message);
    }

    /// Whether a bar may be drawn on standard error.
    pub(crate) fn draws(self) -> bool {
        !self.json && io::stderr().is_terminal()
    }

    /// A reader that has gone away does not stop a transfer: what cannot be printed is dropped. If
    /// it is for another cause, that is a failure at the [end](unprinted).
    pub(crate) fn print(self, text: &str) {
        let text = format!("{text}\n");
        if self.stdout_taken {
            let _ = io::stderr().lock().write_all(text.as_bytes());
        } else {
            let mut out = io::stdout().lock();
            let done = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            if let Some(error) = done.err().filter(|e| e.kind() != io::ErrorKind::BrokenPipe) {
                let _first = UNPRINTED.set(error);
            }
        }
    }
}

static UNPRINTED: OnceLock<io::Error> = OnceLock::new();

/// Why something could not be printed on standard output, if its reader was still there.
pub(crate) fn unprinted() -> Option<Failure> {
    UNPRINTED.get().map(|error| Failure::writing("standard output", error))
}

/// Logs something that did not go as it should. The same of the same peer, or from the same place,
/// is written once and then counted, unless every detail of it was asked for.
fn trouble(node: Option<&str>, notification: &Notification) {
    match notification {
        Notification::Retrying { peer, address, failures, wait, cause, .. } => {
            let (address, reason) = (&*address.to_string(), &*cause.to_string());
            let (peer, failures) = (peer.as_ref().map(PeerId::as_str), *failures);
            let text = "not connected, trying again";
            let key =
                || format!("dial {node:?} {} {}", peer.unwrap_or(address), code::retry(cause));
            let same = (!tracing::enabled!(target: logs::DIAL, Level::DEBUG)).then(key);
            let same = same.as_deref();
            tracing::info!(
                target: logs::DIAL, same, node, peer, address, failures, ?wait, reason, "{text}"
            );
        }
        Notification::GaveUp { peer, address, failures, cause, .. } => {
            let (address, reason) = (&*address.to_string(), &*cause.to_string());
            let (peer, failures) = (peer.as_ref().map(PeerId::as_str), *failures);
            tracing::error!(target: logs::DIAL, node, peer, address, failures, reason, "given up");
        }
        Notification::Refused { remote, peer, direction, reason } => {
            let peer = peer.as_ref().map(PeerId::as_str);
            let outbound = *direction == Direction::Outbound;
            // Whoever comes again comes from another port, and may claim to be another peer.
            let (place, sought) = (remote.ip(), peer.filter(|_| outbound));
            let key = || format!("link {node:?} {place} {sought:?} {}", code::refusal(reason));
            let same = (!tracing::enabled!(target: logs::LINK, Level::DEBUG)).then(key);
            let (same, remote, reason) = (same.as_deref(), remote.to_string(), reason.to_string());
            tracing::warn!(
                target: logs::LINK, same, node, remote, peer, outbound, reason, "link refused"
            );
        }
        Notification::Undelivered { peer, protocol, messages, bytes, reason } => {
            let (peer, protocol, why) = (peer.as_str(), protocol.as_str(), reason.name());
            let (messages, bytes, reason) = (*messages, *bytes, &*reason.to_string());
            let key = || format!("undelivered {node:?} {peer} {why} {protocol}");
            let same = (!tracing::enabled!(target: logs::MESSAGE, Level::DEBUG)).then(key);
            let same = same.as_deref();
            tracing::warn!(
                target: logs::MESSAGE, same, node, peer, protocol, messages, bytes, reason,
                "undelivered"
            );
        }
        Notification::ListenFailed { address, cause, .. } => {
            tracing::error!(target: logs::NODE, node, %address, %cause, "cannot listen");
        }
        _ => {}
    }
}

/// Whether colours are welcome on standard error.
pub(crate) fn coloured() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && io::stderr().is_terminal()
}

fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(format!("headwater: {text}\n").as_bytes());
}
