//! Runs a node's log again.

use std::sync::Arc;

use headwater_core::config::Config;
use headwater_core::id::PeerId;
use headwater_core::node::Node;
use headwater_core::pool::{Outbox, OutboxConfig};
use headwater_core::record::{Contents, Note};
use headwater_core::seed::Seed;
use headwater_core::time::Instant;

use super::cursor::Cursor;
use crate::error::ReplayError;
use crate::recording::Log;

pub(super) fn run(
    cursor: &Cursor,
    log: &Log,
    config: Config,
    seed: Seed,
    local: PeerId,
) -> Result<(), ReplayError> {
    let Ok(node) = Node::new(config, seed, local, log.begun) else {
        return Err(ReplayError::Malformed { sequence: 0 });
    };
    let mut node = node.with_recorder(Some(Arc::new(cursor.clone())));
    super::each(cursor, |at, note, _| Ok(tell(&mut node, at, note)))
}

/// Tells the node one thing; false if it is nothing that one tells it.
fn tell(node: &mut Node, at: Instant, note: Note) -> bool {
    match note {
        Note::Listen(address) => drop(node.listen(at, address)),
        Note::StopListening(listener) => node.stop_listening(at, listener),
        Note::Register(protocol) => drop(node.register(at, protocol)),
        Note::Unregister(protocol) => drop(node.unregister(at, &protocol)),
        Note::Stop => node.stop(at),
        Note::Event(event) => node.handle_event(at, *event),
        Note::Accepted { listener, remote } => drop(node.handle_accepted(at, listener, remote)),
        Note::Dialed { connection, local } => drop(node.handle_dialed(at, connection, local)),
        Note::Report { connection, report } => node.handle_report(at, connection, *report),
        Note::Vanished(connection) => node.handle_vanished(at, connection),
        Note::Leftover { peer, contents } => {
            node.handle_leftover(at, *peer, &mut outbox_of(*contents));
        }
        Note::Lost { peer, contents } => node.handle_lost(*peer, &mut outbox_of(*contents)),
        Note::Late { connection, traffic } => node.handle_late(connection, *traffic),
        Note::Timeout => node.handle_timeout(at),
        Note::Command(_) => drop(node.poll_command()),
        Note::Ordered { .. } => drop(node.poll_order()),
        Note::Notification(_) | Note::NothingToTell => drop(node.poll_notification()),
        Note::Answered(_) => drop(node.poll_answer()),
        Note::Route(_) => drop(node.poll_route()),
        note => return tell_of_peers(node, at, note),
    }
    true
}

fn tell_of_peers(node: &mut Node, at: Instant, note: Note) -> bool {
    match note {
        Note::Dial(address) => drop(node.dial(at, *address)),
        Note::Connect(peer) => drop(node.connect(at, *peer)),
        Note::Disconnect(peer) => drop(node.disconnect(at, *peer)),
        Note::Require(addresses) => drop(node.require(at, addresses)),
        Note::SetRequired(required, addresses) => {
            let _ = node.set_required(at, required, addresses);
        }
        Note::Release(required) => drop(node.release(at, required)),
        Note::Block(rule) => drop(node.block(at, *rule)),
        Note::Unblock(rule) => drop(node.unblock(at, &rule)),
        Note::AddAddress(address) => drop(node.add_address(at, &address)),
        Note::RemoveAddress(address) => drop(node.remove_address(at, &address)),
        _ => return false,
    }
    true
}

/// Messages leave in the order in which they were noted.
fn outbox_of(contents: Contents) -> Outbox {
    let mut outbox = Outbox::new(OutboxConfig { ordered: true, ..OutboxConfig::default() });
    contents.put_into(&mut outbox);
    outbox
}
