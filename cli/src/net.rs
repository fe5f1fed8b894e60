//! The node that carries `listen` and `send`: everything those two know of the network; and what
//! every node of the program does when it starts to listen and when it stops.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::contract::{IoCause, Notification};
use headwater_core::error::{CloseReason, DialError, Refusal};
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::secure::ChannelError;
use headwater_identity::NodeKey;
use headwater_recorder::Recorder;
use headwater_tls::Tls;
use headwater_tokio::{Borrowed, Builder, Messages, Node, Notifications, Started};
use tokio::time::timeout;

use crate::event::Event;
use crate::failure::Failure;
use crate::report::Report;
use crate::signal::Signals;
use crate::status::Status;
use crate::transfer::MESSAGE_MAX;

/// How long a stalled reader may hold up what was sent. The transfer has its own, shorter notion
/// of a peer that hangs.
const SEND_DEADLINE: Duration = Duration::from_secs(3600);

/// How long what a lost peer sent before it went may take to be read.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long an answer may wait for room; the peer has little else to read from us.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// How long an orderly end may take, beyond the node's own deadline.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// A link that ended before the other side had sent anything.
const SILENT: CloseReason = CloseReason::Channel(ChannelError::Silent);

/// How a node secures its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    /// By TLS: whoever connects proves a key.
    Tls,
    /// Not at all.
    Insecure,
}

/// A node that speaks one protocol.
pub(crate) struct Net {
    node: Node,
    messages: Messages,
    notifications: Notifications,
    id: PeerId,
    protocol: ProtocolId,
    security: Security,
    report: Report,
}

/// What the network has to say.
#[derive(Debug)]
pub(crate) enum News {
    /// A message of the protocol.
    Message {
        /// From whom.
        peer: PeerId,
        /// What.
        payload: Bytes,
    },
    /// A peer is gone.
    Gone {
        /// Who.
        peer: PeerId,
        /// Why.
        reason: CloseReason,
    },
    /// Something that was reported and needs nothing.
    Else,
}

impl Net {
    /// Starts a node that supports `protocol` alone.
    ///
    /// # Errors
    ///
    /// The node cannot be started, or does not take the protocol.
    pub(crate) async fn start(
        key: &NodeKey,
        protocol: ProtocolId,
        security: Security,
        report: Report,
    ) -> Result<Self, Failure> {
        let mut config = Config::default();
        config.message_max = MESSAGE_MAX;
        config.assembly_max = 4 * 1024 * 1024;
        config.send_deadline = SEND_DEADLINE;
        let Started { node, messages, notifications } = start(key, config, security)?;
        node.register(protocol.clone()).await.map_err(|error| {
            Failure::new(Status::Usage, format!("the protocol {protocol} cannot be used: {error}"))
        })?;
        Ok(Self { node, messages, notifications, id: key.peer_id(), protocol, security, report })
    }

    /// This node's id.
    pub(crate) const fn id(&self) -> PeerId {
        self.id
    }

    /// Listens, and gives the addresses to paste.
    ///
    /// # Errors
    ///
    /// [`Status::Listen`] if the address cannot be listened on.
    pub(crate) async fn listen(&self, at: SocketAddr) -> Result<SocketAddr, Failure> {
        listen(&self.node, at).await
    }

    /// Connects to the peer that the address names, and checks that it supports the protocol.
    ///
    /// # Errors
    ///
    /// One status for each way that this fails; see the code.
    pub(crate) async fn connect(
        &mut self,
        address: Address,
        signals: &Signals,
    ) -> Result<PeerId, Failure> {
        let node = self.node.clone();
        let shown = address.to_string();
        let mut dial = pin!(node.dial(address));
        let peer = loop {
            tokio::select! {
                biased;
                failure = signals.first() => return Err(failure),
                _ = self.next(false) => {}
                dialled = &mut dial => match dialled {
                    Ok(peer) => break peer,
                    Err(error) => return Err(not_connected(&shown, &error, self.security)),
                },
            }
        };
        if !self.node.supports(&peer, &self.protocol) {
            let text = format!("the peer {peer} does not support the protocol {}", self.protocol);
            return Err(Failure::new(Status::Unsupported, text));
        }
        Ok(peer)
    }

    /// Borrows a stream on which messages keep their order.
    ///
    /// # Errors
    ///
    /// [`Status::Lost`] if the peer is gone.
    pub(crate) async fn lane(&self, peer: &PeerId) -> Result<Lane, Failure> {
        match self.node.borrow(peer, &self.protocol).await {
            Ok(borrowed) => Ok(Lane { borrowed }),
            Err(error) => Err(Failure::new(Status::Lost, format!("no stream to {peer}: {error}"))),
        }
    }

    /// Sends a small message outside of any order, waiting for room if there is none.
    ///
    /// # Errors
    ///
    /// [`Status::Lost`] if the peer is gone, [`Status::Timeout`] if it takes nothing.
    pub(crate) async fn answer(&self, peer: &PeerId, payload: Bytes) -> Result<(), Failure> {
        let send = self.node.send_wait(peer, &self.protocol, payload);
        let failure = match timeout(ANSWER_DEADLINE, send).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => {
                Failure::new(Status::Lost, format!("no answer to {peer} could be sent: {error}"))
            }
            Err(_) => {
                Failure::new(Status::Timeout, format!("the peer {peer} takes no answer any more"))
            }
        };
        tracing::trace!(target: crate::logs::FILE, %peer, "an answer was not sent");
        Err(failure)
    }

    /// Sends the last word of a transfer that has ended here anyway.
    pub(crate) async fn last_answer(&self, peer: &PeerId, payload: Bytes) {
        let _ = self.answer(peer, payload).await;
    }

    /// Sends a small message outside of any order, if there is room for it.
    pub(crate) fn send(&self, peer: &PeerId, payload: Bytes) {
        if let Err(error) = self.node.send(peer, &self.protocol, payload) {
            tracing::trace!(target: crate::logs::FILE, %peer, %error, "a message was not sent");
        }
    }

    /// Waits for news, and reports them. Messages are left alone unless `messages`, and so hold
    /// up their sender. A dropped future has lost nothing.
    pub(crate) async fn next(&mut self, messages: bool) -> News {
        // Notifications first: a peer is connected before it says anything.
        tokio::select! {
            biased;
            Some(notification) = self.notifications.recv() => self.noted(notification),
            Some(message) = self.messages.recv(), if messages => {
                self.arrived(message.peer, message.payload)
            }
            else => std::future::pending().await,
        }
    }

    /// What a peer that is gone said last; `None` when nothing is left.
    pub(crate) async fn last_words(&mut self) -> Option<(PeerId, Bytes)> {
        let message = timeout(LAST_WORDS, self.messages.recv()).await.ok()??;
        self.arrived(message.peer, message.payload.clone());
        Some((message.peer, message.payload))
    }

    /// Stops the node in order, at once at the second signal.
    pub(crate) async fn stop(mut self, signals: &Signals) {
        // Whatever ends the program told its status already.
        let _ = stop(&self.node, &mut self.notifications, self.report, signals).await;
    }

    fn arrived(&self, peer: PeerId, payload: Bytes) -> News {
        self.report.event(Event::Message {
            peer: peer.as_str(),
            protocol: self.protocol.as_str(),
            bytes: payload.len() as u64,
        });
        News::Message { peer, payload }
    }

    fn noted(&self, notification: Notification) -> News {
        self.report.notification(None, &notification);
        match notification {
            Notification::Disconnected { peer, reason, .. } => News::Gone { peer, reason },
            _ => News::Else,
        }
    }
}

/// A stream on which messages keep their order.
pub(crate) struct Lane {
    borrowed: Borrowed,
}

impl Lane {
    /// Sends, waiting for room. A dropped future has sent nothing.
    ///
    /// # Errors
    ///
    /// [`Status::Lost`] when the stream is gone.
    pub(crate) async fn send(&mut self, payload: Bytes) -> Result<(), Failure> {
        self.borrowed.send_wait(payload).await.map_err(|error| {
            Failure::new(Status::Lost, format!("the connection to the peer is lost: {error}"))
        })
    }
}

/// Starts a node.
///
/// # Errors
///
/// [`Status::Key`] if the key cannot be used.
pub(crate) fn start(key: &NodeKey, config: Config, security: Security) -> Result<Started, Failure> {
    start_recorded(key, config, security, None)
}

/// The same, with all that happens to it recorded.
///
/// # Errors
///
/// Those of [`start`].
pub(crate) fn start_recorded(
    key: &NodeKey,
    config: Config,
    security: Security,
    recorder: Option<Recorder>,
) -> Result<Started, Failure> {
    let started = match security {
        Security::Tls => {
            let tls =
                Tls::new(key).map_err(|error| Failure::new(Status::Key, error.to_string()))?;
            return start_with(tls, config, recorder);
        }
        Security::Insecure => Builder::insecure(key.peer_id())
            .and_then(|builder| builder.config(config).recorder(recorder).start()),
    };
    started.map_err(Failure::internal)
}

/// Starts a node on channels that know whom to let in.
///
/// # Errors
///
/// None that a user can cause: settings are validated before.
pub(crate) fn start_with(
    tls: Tls,
    config: Config,
    recorder: Option<Recorder>,
) -> Result<Started, Failure> {
    let builder = Builder::with_channels(tls).config(config).recorder(recorder);
    builder.start().map_err(Failure::internal)
}

/// Listens with a node; gives the address with its port.
///
/// # Errors
///
/// [`Status::Listen`] if the address cannot be listened on.
pub(crate) async fn listen(node: &Node, at: SocketAddr) -> Result<SocketAddr, Failure> {
    let failed = |error| Failure::new(Status::Listen, format!("cannot listen on {at}: {error}"));
    node.listen(at).await.map_err(failed)
}

/// Stops a node in order and reports its last words.
///
/// # Errors
///
/// The second signal came, and nothing was waited for any more.
pub(crate) async fn stop(
    node: &Node,
    notifications: &mut Notifications,
    report: Report,
    signals: &Signals,
) -> Result<(), Failure> {
    let mut stop = pin!(timeout(STOP_DEADLINE, node.stop()));
    loop {
        tokio::select! {
            biased;
            failure = signals.second() => return Err(failure),
            Some(notification) = notifications.recv() => {
                report.notification(None, &notification);
            }
            _ = &mut stop => break,
        }
    }
    while let Ok(Some(notification)) = timeout(LAST_WORDS, notifications.recv()).await {
        report.notification(None, &notification);
    }
    Ok(())
}

/// A peer went away in the middle of something without a word. One that was interrupted says so
/// before it closes.
pub(crate) fn gone(peer: &PeerId, reason: &CloseReason) -> Failure {
    Failure::new(Status::Lost, format!("the connection to {peer} was lost: {reason}"))
}

fn not_connected(address: &str, error: &headwater_tokio::Error, security: Security) -> Failure {
    let headwater_tokio::Error::Dial(error) = error else {
        return Failure::new(Status::Usage, format!("cannot connect to {address}: {error}"));
    };
    let why = match error {
        DialError::Link(cause) => cause.to_string(),
        // Nothing tells why, so this is what there may be.
        DialError::Refused(Refusal::Closed(reason)) if **reason == SILENT => format!(
            "{reason}; what listens there may {}, be no node, or keep this one out",
            match security {
                Security::Tls => "run with --insecure",
                Security::Insecure => "speak TLS",
            }
        ),
        error => error.to_string(),
    };
    Failure::new(dial_status(error), format!("cannot connect to {address}: {why}"))
}

fn dial_status(error: &DialError) -> Status {
    match error {
        DialError::Resolve(_) => Status::Unknown,
        DialError::Deadline | DialError::Link(IoCause::TimedOut) => Status::Timeout,
        DialError::Link(IoCause::Refused) => Status::Refused,
        DialError::Link(_) => Status::Unknown,
        DialError::Refused(Refusal::WrongPeer { .. }) => Status::WrongPeer,
        DialError::Refused(_) => Status::Handshake,
        _ => Status::Unknown,
    }
}
