//! What a snapshot means, in words: short names for programs, sentences for people.
//!
//! Each sentence about a failure has a cause and a cure; `docs/telling.md` has them all.

use std::fmt::Write as _;
use std::time::Duration;

use headwater_core::contract::{Direction, IoCause, TimerKind};
use headwater_core::error::{CloseReason, DialError, Refusal};
use headwater_core::id::ProtocolId;
use headwater_core::secure::ChannelError;
use headwater_core::snapshot::{
    AddressSnapshot, Blockage, ConnectionSnapshot, ConnectionStage, Failure, Next, PeerSnapshot,
    Reached, Snapshot, Stage,
};

/// The name of a stage.
pub(crate) const fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Waiting => "waiting",
        Stage::Dialling => "dialling",
        Stage::Handshaking => "handshaking",
        Stage::Exchanging => "exchanging",
        Stage::Connected => "connected",
        Stage::Refused => "refused",
        _ => "idle",
    }
}

/// The name of how far an attempt came.
pub(crate) const fn reached(reached: Reached) -> &'static str {
    match reached {
        Reached::Resolving => "resolving",
        Reached::Dialling => "dialling",
        Reached::Handshaking => "handshaking",
        Reached::Exchanging => "exchanging",
        _ => "nothing",
    }
}

/// The name of how far a connection is.
pub(crate) const fn connection_stage(stage: ConnectionStage) -> &'static str {
    match stage {
        ConnectionStage::Handshake => "handshake",
        ConnectionStage::Exchange => "exchange",
        ConnectionStage::Live => "live",
        ConnectionStage::Draining => "draining",
        _ => "ending",
    }
}

/// The name of what blocks a connection.
pub(crate) const fn blockage(what: &Blockage) -> &'static str {
    match what {
        Blockage::Handshake => "handshake",
        Blockage::Exchange => "exchange",
        Blockage::Verdict => "verdict",
        Blockage::Carrier { .. } => "carrier",
        Blockage::PeerReads => "peer_reads",
        Blockage::Streams => "streams",
        Blockage::Application => "application",
        Blockage::Memory => "memory",
        Blockage::Assembly => "assembly",
        _ => "closing",
    }
}

const fn blockage_sentence(what: &Blockage) -> &'static str {
    match what {
        Blockage::Handshake => "it waits for the peer to prove who it is",
        Blockage::Exchange => "it waits for the peer's list of protocols",
        Blockage::Verdict => "it waits for the node to say whether the peer is welcome",
        Blockage::Carrier { .. } => {
            "the network takes nothing: the peer's machine or the link stands still"
        }
        Blockage::PeerReads => "the peer's application does not read, so there is no credit",
        Blockage::Streams => "messages wait, as every stream to the peer is in use",
        Blockage::Application => "this node's application does not take what was received",
        Blockage::Memory => "this node's application keeps every receive buffer",
        Blockage::Assembly => "a large message waits until earlier ones have made room",
        _ => "it is closing",
    }
}

/// A time as people say it.
pub(crate) fn time(time: Duration) -> String {
    let (millis, seconds) = (time.as_millis(), time.as_secs());
    match seconds {
        0 => format!("{millis} ms"),
        1..=9 => format!("{:.1} s", time.as_secs_f64()),
        10..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// What is in the way of a peer, in few words; nothing, if nothing is.
pub(crate) fn in_the_way(snapshot: &Snapshot, peer: &PeerSnapshot) -> Vec<String> {
    if peer.stage == Stage::Connected {
        let parts = snapshot.connections_of(peer);
        let all = parts.flat_map(|part| part.blocked.iter().map(blockage_sentence));
        return all.map(str::to_owned).collect();
    }
    if peer.blocked {
        return vec!["a rule of this node's blacklist names it".to_owned()];
    }
    let last = peer.addresses.iter().filter_map(unanswered);
    let last = last.max_by_key(|failure| failure.at);
    if let Some(turned) = &peer.turned_away {
        if last.is_none_or(|last| turned.at > last.at) && turned.direction == Direction::Inbound {
            return vec![format!("turned away here: {}", turned.reason)];
        }
    }
    if let Some(last) = last {
        return vec![what(&last.error, last.reached)];
    }
    peer.lost.iter().map(|lost| format!("lost: {}", lost.reason)).collect()
}

/// Why a peer is connected or not: what was tried, how far it got, what comes next, what helps.
pub(crate) fn why(snapshot: &Snapshot, peer: &PeerSnapshot) -> String {
    if peer.stage == Stage::Connected { connected(snapshot, peer) } else { away(snapshot, peer) }
}

fn name(peer: &PeerSnapshot) -> String {
    match (&peer.peer, peer.addresses.first()) {
        (Some(id), _) => id.to_string(),
        (None, Some(known)) => format!("the peer at {}", known.address),
        (None, None) => "that peer".to_owned(),
    }
}

fn connected(snapshot: &Snapshot, peer: &PeerSnapshot) -> String {
    let now = snapshot.node.at;
    let since = peer.since.map_or(Duration::ZERO, |since| now.since(since));
    let mut text = format!("{} is connected, since {}", name(peer), time(since));
    for part in snapshot.connections_of(peer) {
        let made = if part.direction == Direction::Outbound { "to" } else { "from" };
        let _ = write!(text, ", {made} {}", part.remote);
        if let Some(rtt) = part.rtt {
            let _ = write!(text, " (round trip {:.1} ms)", rtt.as_secs_f64() * 1000.0);
        }
    }
    text.push('.');
    let own = |name: &&ProtocolId| name.as_str() != ProtocolId::EXCHANGER;
    let missing = snapshot.node.protocols.iter().filter(own);
    let missing = missing.filter(|name| !peer.protocols.contains(name.as_str()));
    let missing: Vec<&str> = missing.map(ProtocolId::as_str).collect();
    if !missing.is_empty() {
        let _ = write!(
            text,
            " It does not support {}, so no message of that can be sent to it; the peer has to \
             register it.",
            missing.join(", ")
        );
    }
    let blocked: Vec<String> = snapshot.connections_of(peer).flat_map(blocked).collect();
    if blocked.is_empty() {
        text.push_str(if missing.is_empty() { " Nothing" } else { " Nothing else" });
        text.push_str(" blocks it.");
    }
    blocked.iter().for_each(|sentence| text.push_str(sentence));
    text
}

fn blocked(part: &ConnectionSnapshot) -> Vec<String> {
    let all = part.blocked.iter().map(|what| {
        let since = match what {
            Blockage::Carrier { since } => format!(", for {}", time(part.at.since(*since))),
            _ => String::new(),
        };
        format!(" Its connection is held up: {}{since}.", blockage_sentence(what))
    });
    all.collect()
}

fn away(snapshot: &Snapshot, peer: &PeerSnapshot) -> String {
    let now = snapshot.node.at;
    let mut text = format!("{} is not connected.", name(peer));
    let mut cures: Vec<String> = Vec::new();
    if let Some(lost) = &peer.lost {
        let (lived, ago) = (lost.at.since(lost.since), now.since(lost.at));
        let _ =
            write!(text, " It was, for {}, until {} ago: {}.", time(lived), time(ago), lost.reason);
    }
    if peer.blocked {
        text.push_str(" A rule of this node's blacklist names it.");
        cures.push("To let it in, take the rule out of the blacklist.".to_owned());
    }
    for known in &peer.addresses {
        tried(now, known, &mut text, &mut cures);
    }
    if let Some(turned) = &peer.turned_away {
        if turned.direction == Direction::Inbound {
            let times =
                if turned.times == 1 { "once".into() } else { format!("{} times", turned.times) };
            let ago = time(now.since(turned.at));
            let remote = turned.remote;
            let _ = write!(
                text,
                " It came by itself, {times}, last {ago} ago from {remote}, and the link ended \
                 before it was connected: {}.",
                turned.reason
            );
            cures.extend(cure_of_refusal(&turned.reason, Reached::Exchanging));
        }
    }
    text.push(' ');
    text.push_str(&next(now, peer));
    let mut told: Vec<String> = Vec::new();
    for cure in cures {
        if !told.contains(&cure) {
            text.push(' ');
            text.push_str(&cure);
            told.push(cure);
        }
    }
    text
}

/// The last failure at an address, unless an attempt succeeded after it: then it says nothing of
/// what is wrong now.
fn unanswered(known: &AddressSnapshot) -> Option<&Failure> {
    known.last.as_ref().filter(|last| known.succeeded.is_none_or(|at| at < last.at))
}

fn tried(
    now: headwater_core::time::Instant,
    known: &AddressSnapshot,
    text: &mut String,
    cures: &mut Vec<String>,
) {
    let address = known.address.without_peer();
    if known.blocked {
        let _ = write!(text, " A rule of this node's blacklist keeps {address} out.");
        cures.push("To let it in, take the rule out of the blacklist.".to_owned());
    }
    let Some(last) = unanswered(known) else {
        if known.attempts == 0 && !known.blocked {
            let _ = write!(text, " {address} was not tried yet.");
        }
        return;
    };
    if known.blocked && last.reached == Reached::Nothing {
        return;
    }
    let times =
        if known.attempts == 1 { "once".into() } else { format!("{} times", known.attempts) };
    let ago = time(now.since(last.at));
    let far = match last.reached {
        Reached::Nothing => "was not even dialled",
        Reached::Resolving => "came no further than its name",
        Reached::Dialling => "made no link",
        Reached::Handshaking => "made a link, over which no identity was proven",
        _ => "got as far as the proof of who is there",
    };
    let _ = write!(
        text,
        " {address} was tried {times}; the last attempt, {ago} ago, {far}: {}.",
        what(&last.error, last.reached)
    );
    cures.extend(cure(&last.error, last.reached));
}

fn next(now: headwater_core::time::Instant, peer: &PeerSnapshot) -> String {
    match peer.next {
        Next::Connected => "It is on its way out.".to_owned(),
        Next::UnderWay { until: Some(until) } => {
            format!("An attempt is under way; it has {} left.", time(until.since(now)))
        }
        Next::UnderWay { until: None } => "An attempt is under way.".to_owned(),
        Next::Queued => {
            "It is tried as soon as fewer dials are under way (required_dials_max).".to_owned()
        }
        Next::At(at) => format!(
            "It is tried again in {}: after {} in a row the wait is that long (backoff).",
            time(at.since(now)),
            if peer.failures == 1 {
                "1 failure".into()
            } else {
                format!("{} failures", peer.failures)
            }
        ),
        Next::Paused => {
            "It is not tried: the application disconnected it, and has to connect it again."
                .to_owned()
        }
        Next::GaveUp => "It is not tried any more: it failed as often as backoff.attempts_max \
                         allows, and the application has to connect it again."
            .to_owned(),
        _ => "It is not dialled by itself, because it is not among the peers to keep (--peer)."
            .to_owned(),
    }
}

/// What an error means.
fn what(error: &DialError, reached: Reached) -> String {
    match error {
        DialError::Resolve(cause) => format!("the name cannot be resolved ({cause})"),
        DialError::Link(IoCause::Refused) => {
            "connection refused: the machine is there, and nobody listens on that port".to_owned()
        }
        DialError::Link(IoCause::Unreachable) => "unreachable: no route leads there".to_owned(),
        DialError::Link(IoCause::TimedOut) => "timed out: nobody answered".to_owned(),
        DialError::Deadline => match reached {
            Reached::Dialling => "nobody answered within dial_deadline".to_owned(),
            Reached::Resolving => "the name was not resolved within dial_deadline".to_owned(),
            _ => "it was not connected within dial_deadline".to_owned(),
        },
        DialError::Refused(Refusal::WrongPeer { expected, actual }) => {
            format!("another peer answered: {actual}, and not {expected}")
        }
        DialError::Refused(Refusal::OwnId) => "the address leads to this node itself".to_owned(),
        DialError::Refused(Refusal::Blocked) => {
            "a rule of this node's blacklist keeps it out".to_owned()
        }
        DialError::Refused(Refusal::Closed(reason)) => closed(reason, reached),
        error => error.to_string(),
    }
}

fn closed(reason: &CloseReason, reached: Reached) -> String {
    let proven = reached >= Reached::Exchanging;
    match reason {
        CloseReason::RemoteClosed if proven => {
            "the peer knew who this node is, and turned it away without a word".to_owned()
        }
        CloseReason::RemoteClosed | CloseReason::Truncated | CloseReason::Io(_) if !proven => {
            format!("the other side ended the link before it proved who it is ({reason})")
        }
        CloseReason::Deadline(TimerKind::Handshake) => {
            "it took the link and then was silent for handshake_deadline".to_owned()
        }
        CloseReason::Channel(ChannelError::Refused(text)) => {
            format!("this node does not accept who is there: {text}")
        }
        CloseReason::Channel(ChannelError::Unwelcome(text)) => {
            format!("the peer does not accept this node: {text}")
        }
        CloseReason::Channel(ChannelError::SpeaksTls | ChannelError::SpeaksPlain) => {
            reason.to_string()
        }
        CloseReason::Channel(ChannelError::BadPeerId(_)) => {
            format!("the other side does not speak without encryption, or is no node ({reason})")
        }
        CloseReason::Channel(_) if !proven => {
            format!("no secure channel with what answers there ({reason})")
        }
        reason => reason.to_string(),
    }
}

/// What would help against an error.
fn cure(error: &DialError, reached: Reached) -> Option<String> {
    let text = match error {
        DialError::Resolve(_) => {
            "Check the spelling of the name, and that this machine's resolver knows it."
        }
        DialError::Link(cause) => return Some(cure_of_link(*cause).to_owned()),
        DialError::Deadline if reached == Reached::Resolving => {
            "Check this machine's resolver: it does not answer."
        }
        DialError::Deadline => {
            "Check the address, that the machine is up, and that no firewall drops what is sent \
             to it."
        }
        DialError::Refused(refusal) => return cure_of_refusal(refusal, reached),
        _ => return None,
    };
    Some(text.to_owned())
}

const fn cure_of_link(cause: IoCause) -> &'static str {
    match cause {
        IoCause::Refused => {
            "Start the peer, or correct the port: it has to be the one that the peer listens on."
        }
        IoCause::Unreachable => {
            "Check this machine's network: its interface, its routes, and any tunnel that leads \
             there."
        }
        IoCause::TimedOut => {
            "Check the address, that the machine is up, and that no firewall drops what is sent \
             to it."
        }
        IoCause::PermissionDenied => "Check this machine's firewall: the system forbids the link.",
        IoCause::TooManyFiles => "Raise the limit of open files (ulimit -n) of this process.",
        IoCause::AddressNotAvailable => "Correct the address: it cannot be dialled from here.",
        _ => "Check the address, and the network between here and there.",
    }
}

fn cure_of_refusal(refusal: &Refusal, reached: Reached) -> Option<String> {
    let text = match refusal {
        Refusal::WrongPeer { actual, .. } => {
            return Some(format!(
                "If {actual} is the peer that is meant, write /p2p/{actual} at the end of its \
                 address; else correct the place."
            ));
        }
        Refusal::OwnId => "Take the address out: it is one of this node's own.",
        Refusal::Blocked => "To let it in, take the rule out of the blacklist.",
        Refusal::TooManyPeers => {
            "Raise peers_max, or make it a peer to keep (--peer): those make others go."
        }
        Refusal::TooManyConnections | Refusal::Duplicate => {
            "Nothing has to be done: another connection with it comes first."
        }
        Refusal::TooManyPending => "Raise pending_max, or find out who makes so many links.",
        Refusal::TooManyFromSource => {
            "Raise pending_per_source_max if many peers share one address."
        }
        Refusal::SourceResting => {
            "Mend what makes links from there fail; it is heard again after a while."
        }
        Refusal::TooManyUntold => "The application has to read its notifications.",
        Refusal::Stopping => "Start the node again: it stops.",
        Refusal::Closed(reason) => return cure_of_close(reason, reached),
        _ => return None,
    };
    Some(text.to_owned())
}

fn cure_of_close(reason: &CloseReason, reached: Reached) -> Option<String> {
    let proven = reached >= Reached::Exchanging;
    let text = match reason {
        CloseReason::RemoteClosed if proven => {
            "The protocol has no word for why. Ask at the peer (headwater why, with this node's \
             id): most often it has as many peers as it may, or a rule of its blacklist names \
             this node."
        }
        CloseReason::Channel(ChannelError::Refused(_)) => {
            "To let it in, change who may connect here: --allow, --authorities."
        }
        CloseReason::Channel(ChannelError::Unwelcome(_)) => {
            "Ask at the peer: who may connect there (--allow, --authorities) leaves this node out."
        }
        CloseReason::Channel(ChannelError::SpeaksTls) => {
            "Secure both sides in the same way: leave --insecure out here, or give it to the other \
             side too."
        }
        CloseReason::Channel(ChannelError::SpeaksPlain) => {
            "Secure both sides in the same way: leave --insecure out at the other side, or give \
             it here too."
        }
        CloseReason::Channel(_) if !proven => {
            "Both sides have to be secured in the same way: see whether one of them runs with \
             --insecure, and whether what listens there is a node at all."
        }
        CloseReason::RemoteClosed | CloseReason::Truncated | CloseReason::Io(_) if !proven => {
            "See whether both sides are secured in the same way (--insecure), and whether the \
             peer keeps this machine's address out."
        }
        CloseReason::Deadline(TimerKind::Handshake) => {
            "See whether what listens there is a node, and whether it still runs: it takes links \
             and answers nothing."
        }
        CloseReason::Exchange(_) => "The peer does not follow the protocol; see its version.",
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
#[path = "words_tests.rs"]
mod tests;
