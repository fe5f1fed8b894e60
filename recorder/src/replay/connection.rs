//! Runs a connection's log again.

use std::sync::Arc;

use headwater_core::connection::{Connection, LaneId, Setup};
use headwater_core::message::{Batch, Consumed};
use headwater_core::record::{Contents, Note, Want};
use headwater_core::time::Instant;

use super::channel::Remembered;
use super::cursor::Cursor;
use crate::error::ReplayError;
use crate::recording::Log;

/// The most that is read at a time, in bytes: a slab.
const READ_MAX: usize = 64 << 20;

type Repeated = Connection<Remembered>;

pub(super) fn run(
    cursor: &Cursor,
    log: &Log,
    setup: Setup,
    transparent: bool,
) -> Result<(), ReplayError> {
    if setup.config().validate().is_err() {
        return Err(ReplayError::Malformed { sequence: 0 });
    }
    let setup = setup.with_recorder(Some(Arc::new(cursor.clone())));
    let channel = Remembered::new(cursor.clone(), transparent);
    let mut connection = Connection::new(setup, channel, log.begun);
    super::each(cursor, |at, note, sequence| match note {
        Note::Received(received) => {
            // Of what the channel opens only the length was kept.
            let bytes = cursor.peek().and_then(|(step, _)| cursor.bytes(step)).unwrap_or_default();
            if received > 0 {
                append(&mut connection, received, &bytes)
                    .ok_or(ReplayError::Malformed { sequence })?;
            }
            connection.handle_received(at).map_err(|_| ReplayError::Malformed { sequence })?;
            Ok(true)
        }
        Note::Read(read) => {
            let bytes = cursor.peek().and_then(|(step, _)| cursor.bytes(step)).unwrap_or_default();
            append(&mut connection, read, &bytes).ok_or(ReplayError::Malformed { sequence })?;
            Ok(true)
        }
        Note::Messages { lane, last, contents: Some(contents), .. } => {
            give(&mut connection, at, lane, last, *contents);
            Ok(true)
        }
        note => Ok(tell(&mut connection, at, note)),
    })
}

/// Appends what was read: `bytes`, or as many zeros for the channel.
fn append(connection: &mut Repeated, read: usize, bytes: &[u8]) -> Option<()> {
    let buffer = connection.recv_buf()?;
    let len = buffer.len().checked_add(read).filter(|_| read <= READ_MAX)?;
    buffer.extend_from_slice(bytes);
    buffer.resize(len, 0);
    Some(())
}

fn give(
    connection: &mut Repeated,
    at: Instant,
    lane: Option<LaneId>,
    last: bool,
    contents: Contents,
) {
    let mut outbox = match lane {
        Some(_) => connection.lane_outbox(),
        None => connection.outbox(),
    };
    contents.put_into(&mut outbox);
    match lane {
        Some(lane) if last => connection.handle_last_lane_messages(at, lane, &mut outbox),
        Some(lane) => connection.handle_lane_messages(at, lane, &mut outbox),
        None => connection.handle_messages(at, &mut outbox),
    }
}

/// Tells the connection one thing; false if it is nothing that one tells it.
fn tell(connection: &mut Repeated, at: Instant, note: Note) -> bool {
    match note {
        Note::Order(order) => connection.handle_order(at, *order),
        Note::Reported(_) => drop(connection.poll_report()),
        Note::LinkCommand(_) => drop(connection.poll_link_command()),
        Note::Eof => connection.handle_eof(at),
        Note::IoError(cause) => connection.handle_io_error(at, cause),
        Note::Timeout => connection.handle_timeout(at),
        Note::Lend | Note::Wants(Want::Buffer) => drop(connection.recv_buf().map(|_| ())),
        Note::Transmit => {
            let _ = connection.transmit(at, &mut []);
        }
        Note::Transmitted(n) => connection.handle_transmitted(at, n),
        // What the application takes is dropped; its credit is noted.
        Note::Taken { .. } => connection.take_messages(&mut Batch::default()),
        Note::Consumed(credit) => connection.handle_consumed(at, &mut Consumed::of(credit)),
        Note::Borrow => drop(connection.lend(at)),
        Note::LaneNews(..) => drop(connection.poll_lane()),
        Note::GiveBack(lane) => connection.give_back(at, lane),
        Note::Hurry => connection.hurry(at),
        Note::TakeLate => drop(connection.take_late()),
        _ => return false,
    }
    true
}
