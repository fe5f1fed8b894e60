//! What `--json` prints: one object a line, its first field `event`. The names here are an
//! interface, and stay.
//!
//! | event | fields | when |
//! | --- | --- | --- |
//! | `listening` | `id`, `addresses` | the node takes connections; each address can be given to `send` |
//! | `admin` | `url` | the status page is there (`node --admin`, `demo`) |
//! | `connected` | `peer` | a peer's connection is up |
//! | `disconnected` | `peer`, `reason`, `code` | it is gone |
//! | `supported` | `peer`, `protocol` | a connected peer announces a protocol |
//! | `unsupported` | `peer`, `protocol` | it supports the protocol no more |
//! | `retrying` | `peer`, `address`, `failures`, `wait_ms`, `reason`, `code` | a peer to keep a connection with was not reached, or left early; it is tried again after so many milliseconds. `peer` is `null` while its id is not known, `failures` counts those in a row |
//! | `gaveup` | `peer`, `address`, `failures`, `reason`, `code` | such a peer failed as often as `backoff.attempts_max` allows, and is left alone |
//! | `refused` | `remote`, `peer`, `outbound`, `reason`, `code` | a link was turned away, or ended before the peer was connected; `peer` is `null` if it proved no id, `outbound` tells whether this side made it |
//! | `undelivered` | `peer`, `protocol`, `messages`, `bytes`, `reason`, `code` | so many messages that were to be sent will not arrive, or may not have |
//! | `message` | `peer`, `protocol`, `bytes` | a message arrived; `bytes` counts its payload |
//! | `progress` | `bytes`, `total` | so much is transferred, of so much or `null` if unknown; about twice a second, and once at the end |
//! | `done` | `bytes`, `sha256` | a file arrived whole (`listen`), or the receiver has confirmed it (`send`) |
//! | `error` | `message`, `status`, `code` | something went wrong; `status` is the exit status that tells what, `code` its name |
//! | `key` | `id`, `path` | the id of the key in that file (`keygen`, `id`) |
//! | `seed` | `seed`, `ok`, `hash`, `simulated_ms`, `healed_ms`, `steps`, `messages`, `failure`, `replay`, `recordings` | a run of `sim` is over; `hash` stands for everything that happened, `healed_ms` is the time from the last fault until the network was whole, `failure`, `replay` and `recordings`, the folder for the command `replay`, are `null` if it is ok |
//! | `simulated` | `seeds`, `asked`, `failed`, `hours`, `steps`, `messages`, `seconds` | all runs of `sim` are over, or it was interrupted: then `seeds`, those that were over, are fewer than were `asked` for; `hours` are simulated, `seconds` are not |
//! | `step` | `sequence`, `seconds`, `machine`, `peer`, `text`, `frames` | something that was recorded (`replay`), so many seconds after the node began; `machine` is `node` or a connection's name, `peer` is `null` while it is not known |
//! | `log` | `machine`, `steps`, `lost`, `closed`, `repeated`, `reason` | what was recorded of a machine was run again (`repeated`), and it did the same, or `reason` says why not; `lost` steps at its beginning made room for others |
//! | `table` | `nodes`, `traffic`, `pairs`, `protocols`, `healing`, `interrupted`, `ok` | the result of `demo` |
//!
//! `reason` and `message` are sentences, and may change; `code` is for programs, and stays. A code
//! is the names of an error and of what is inside it, as docs/telling.md has them.
//!
//! In `demo`, where several nodes run in the program, each event of a node ends with `node`, the
//! name of the node that tells it.

use headwater_core::contract::{Direction, Notification};
use headwater_core::id::PeerId;
use serde::Serialize;

use crate::code;

/// The same table for `--help`.
pub(crate) const HELP: &str = "\
Events of --json, one object a line on standard output, first field \"event\":
  listening     id, addresses       the node takes connections
  admin         url                 the status page is there
  connected     peer                a peer's connection is up
  disconnected  peer, reason, code  it is gone
  supported     peer, protocol      a connected peer announces a protocol
  unsupported   peer, protocol      it supports the protocol no more
  retrying      peer, address, failures, wait_ms, reason, code   a peer to keep a connection
                                    with failed; it is tried again (peer: null if not known)
  gaveup        peer, address, failures, reason, code   such a peer is left alone
  refused       remote, peer, outbound, reason, code   a link was turned away, or ended early
                                    (peer: null if it proved no id)
  undelivered   peer, protocol, messages, bytes, reason, code   messages that may not have
                                    arrived
  message       peer, protocol, bytes   a message arrived
  progress      bytes, total        so much is transferred (total: null if unknown)
  done          bytes, sha256       the file arrived, or the receiver confirmed it
  error         message, status, code   something went wrong; status is its exit status
  key           id, path            the id of a key (keygen, id)
  seed          seed, ok, hash, simulated_ms, healed_ms, steps, messages, failure, replay,
                recordings          a run of sim (the last three: null if it is ok)
  simulated     seeds, asked, failed, hours, steps, messages, seconds   all runs of sim
  step          sequence, seconds, machine, peer, text, frames   a recorded step (replay)
  log           machine, steps, lost, closed, repeated, reason   a machine was run again, or
                                    reason says why not
  table         nodes, traffic, pairs, protocols, healing, interrupted, ok
                                    the result of demo
Where the file itself goes to standard output (--output -), events go to standard error.
reason and message are sentences; code stays the same, such as closed.deadline.handshake.
In demo each event of a node ends with the field node, the name of that node.";

/// One line of `--json`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum Event<'a> {
    /// The node takes connections.
    Listening {
        /// Its peer id.
        id: &'a str,
        /// Multiaddrs that end in `/p2p/ID`.
        addresses: &'a [String],
    },
    /// The status page is there.
    Admin {
        /// Where.
        url: &'a str,
    },
    /// A peer's connection is up.
    Connected {
        /// Who.
        peer: &'a str,
    },
    /// A peer is gone.
    Disconnected {
        /// Who.
        peer: &'a str,
        /// Why, as a sentence.
        reason: &'a str,
        /// The same, as a code that stays as it is.
        code: &'a str,
    },
    /// A connected peer announces a protocol.
    Supported {
        /// Who.
        peer: &'a str,
        /// What.
        protocol: &'a str,
    },
    /// A peer supports a protocol no more.
    Unsupported {
        /// Who.
        peer: &'a str,
        /// What.
        protocol: &'a str,
    },
    /// A required peer failed, and is tried again.
    Retrying {
        /// Who, if that is known.
        peer: Option<&'a str>,
        /// The address that was dialled last.
        address: &'a str,
        /// Failures in a row.
        failures: u32,
        /// How long the wait is, in milliseconds.
        wait_ms: u64,
        /// What went wrong, as a sentence.
        reason: &'a str,
        /// The same, as a code that stays as it is.
        code: &'a str,
    },
    /// A required peer failed too often, and is left alone.
    GaveUp {
        /// Who, if that is known.
        peer: Option<&'a str>,
        /// The address that was dialled last.
        address: &'a str,
        /// Failures in a row.
        failures: u32,
        /// What went wrong, as a sentence.
        reason: &'a str,
        /// The same, as a code that stays as it is.
        code: &'a str,
    },
    /// A link was turned away, or ended before the peer was connected.
    Refused {
        /// Its other end.
        remote: &'a str,
        /// Who it was, if that was proven.
        peer: Option<&'a str>,
        /// Whether this side made it.
        outbound: bool,
        /// Why, as a sentence.
        reason: &'a str,
        /// The same, as a code that stays as it is.
        code: &'a str,
    },
    /// Messages that were to be sent will not arrive, or may not have.
    Undelivered {
        /// To whom.
        peer: &'a str,
        /// Of which protocol.
        protocol: &'a str,
        /// How many.
        messages: u64,
        /// Their payload bytes.
        bytes: u64,
        /// Why, as a sentence.
        reason: &'a str,
        /// The same, as a code that stays as it is.
        code: &'a str,
    },
    /// A message arrived.
    Message {
        /// From whom.
        peer: &'a str,
        /// Of which protocol.
        protocol: &'a str,
        /// The length of its payload.
        bytes: u64,
    },
    /// So much of a transfer is over.
    Progress {
        /// Bytes of the file so far.
        bytes: u64,
        /// Bytes of the whole, if the sender knows.
        total: Option<u64>,
    },
    /// A transfer is over and verified.
    Done {
        /// Bytes of the file.
        bytes: u64,
        /// SHA-256 in lower-case hexadecimal.
        sha256: &'a str,
    },
    /// Something went wrong.
    Error {
        /// What, as a sentence.
        message: &'a str,
        /// The exit status that stands for it, even if the program goes on.
        status: u8,
        /// The name of that status, which stays as it is.
        code: &'a str,
    },
    /// A key was made or read.
    Key {
        /// The peer id that follows from it.
        id: &'a str,
        /// Its file.
        path: &'a str,
    },
    /// One run of the simulator.
    Seed(&'a crate::sim::SeedEvent),
    /// All runs of the simulator.
    Simulated(&'a crate::sim::Summary),
    /// A recorded step.
    Step(&'a crate::replay::StepEvent),
    /// The log of one machine.
    Log(&'a crate::replay::LogEvent),
    /// The result of the demo.
    Table(&'a crate::demo::table::Table),
}

/// What a notification is as an event, if it is one.
pub(crate) fn of(notification: &Notification, take: impl FnOnce(Event<'_>)) {
    match notification {
        Notification::Connected { peer } => take(Event::Connected { peer: peer.as_str() }),
        Notification::Disconnected { peer, reason, .. } => {
            take(Event::Disconnected {
                peer: peer.as_str(),
                reason: &reason.to_string(),
                code: &code::close(reason),
            });
        }
        Notification::Supported { peer, protocol } => {
            take(Event::Supported { peer: peer.as_str(), protocol: protocol.as_str() });
        }
        Notification::Unsupported { peer, protocol } => {
            take(Event::Unsupported { peer: peer.as_str(), protocol: protocol.as_str() });
        }
        Notification::Retrying { peer, address, failures, wait, cause, .. } => {
            take(Event::Retrying {
                peer: peer.as_ref().map(PeerId::as_str),
                address: &address.to_string(),
                failures: *failures,
                wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                reason: &cause.to_string(),
                code: &code::retry(cause),
            });
        }
        Notification::GaveUp { peer, address, failures, cause, .. } => take(Event::GaveUp {
            peer: peer.as_ref().map(PeerId::as_str),
            address: &address.to_string(),
            failures: *failures,
            reason: &cause.to_string(),
            code: &code::retry(cause),
        }),
        Notification::Refused { remote, peer, direction, reason } => take(Event::Refused {
            remote: &remote.to_string(),
            peer: peer.as_ref().map(PeerId::as_str),
            outbound: *direction == Direction::Outbound,
            reason: &reason.to_string(),
            code: &code::refusal(reason),
        }),
        Notification::Undelivered { peer, protocol, messages, bytes, reason } => {
            take(Event::Undelivered {
                peer: peer.as_str(),
                protocol: protocol.as_str(),
                messages: *messages,
                bytes: *bytes,
                reason: &reason.to_string(),
                code: reason.name(),
            });
        }
        _ => {}
    }
}

/// An event with the name of the node that tells it, where there are several.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    /// The event; its fields come first.
    #[serde(flatten)]
    pub(crate) event: Event<'a>,
    /// The node's name in `demo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(event: Event<'_>) -> String {
        serde_json::to_string(&Line { event, node: None }).unwrap()
    }

    #[test]
    fn names_and_order_are_the_documented_ones() {
        let addresses = ["/ip4/127.0.0.1/tcp/1/p2p/Q".to_owned()];
        assert_eq!(
            line(Event::Listening { id: "Q", addresses: &addresses }),
            r#"{"event":"listening","id":"Q","addresses":["/ip4/127.0.0.1/tcp/1/p2p/Q"]}"#
        );
        assert_eq!(
            line(Event::Admin { url: "http://127.0.0.1:1/" }),
            r#"{"event":"admin","url":"http://127.0.0.1:1/"}"#
        );
        assert_eq!(line(Event::Connected { peer: "Q" }), r#"{"event":"connected","peer":"Q"}"#);
        assert_eq!(
            line(Event::Disconnected { peer: "Q", reason: "r", code: "c" }),
            r#"{"event":"disconnected","peer":"Q","reason":"r","code":"c"}"#
        );
        assert_eq!(
            line(Event::Supported { peer: "Q", protocol: "/p" }),
            r#"{"event":"supported","peer":"Q","protocol":"/p"}"#
        );
        assert_eq!(
            line(Event::Unsupported { peer: "Q", protocol: "/p" }),
            r#"{"event":"unsupported","peer":"Q","protocol":"/p"}"#
        );
        let (remote, peer, reason, code) = ("1.2.3.4:5", None, "r", "c");
        assert_eq!(
            line(Event::Refused { remote, peer, outbound: true, reason, code }),
            r#"{"event":"refused","remote":"1.2.3.4:5","peer":null,"outbound":true,"reason":"r","code":"c"}"#
        );
        let (address, failures) = ("/a", 2);
        assert_eq!(
            line(Event::Retrying { peer, address, failures, wait_ms: 9, reason, code }),
            r#"{"event":"retrying","peer":null,"address":"/a","failures":2,"wait_ms":9,"reason":"r","code":"c"}"#
        );
        assert_eq!(
            line(Event::GaveUp { peer, address, failures, reason, code }),
            r#"{"event":"gaveup","peer":null,"address":"/a","failures":2,"reason":"r","code":"c"}"#
        );
        let (peer, protocol) = ("Q", "/p");
        assert_eq!(
            line(Event::Undelivered { peer, protocol, messages: 1, bytes: 2, reason, code }),
            r#"{"event":"undelivered","peer":"Q","protocol":"/p","messages":1,"bytes":2,"reason":"r","code":"c"}"#
        );
        assert_eq!(
            line(Event::Message { peer: "Q", protocol: "/p", bytes: 0 }),
            r#"{"event":"message","peer":"Q","protocol":"/p","bytes":0}"#
        );
        assert_eq!(
            line(Event::Progress { bytes: 1, total: None }),
            r#"{"event":"progress","bytes":1,"total":null}"#
        );
        assert_eq!(
            line(Event::Done { bytes: 1, sha256: "ab" }),
            r#"{"event":"done","bytes":1,"sha256":"ab"}"#
        );
        assert_eq!(
            line(Event::Error { message: "m", status: 8, code: "lost" }),
            r#"{"event":"error","message":"m","status":8,"code":"lost"}"#
        );
        assert_eq!(
            line(Event::Key { id: "Q", path: "p" }),
            r#"{"event":"key","id":"Q","path":"p"}"#
        );
    }

    #[test]
    fn the_node_comes_last() {
        let line = Line { event: Event::Connected { peer: "Q" }, node: Some("mio-1") };
        assert_eq!(
            serde_json::to_string(&line).unwrap(),
            r#"{"event":"connected","peer":"Q","node":"mio-1"}"#
        );
    }
}
