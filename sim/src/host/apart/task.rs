//! The task of one connection.

use std::collections::{BTreeMap, VecDeque};

use bytes::BytesMut;
use headwater_core::connection::{Connection, LaneId, ToConnection, ToNode};
use headwater_core::contract::{IoCause, LinkCommand};
use headwater_core::id::ConnectionId;
use headwater_core::message::Batch;
use headwater_core::pool::{Load, Outbox, Sizes};
use headwater_core::secure::{ChannelFactory, SecureChannel};
use headwater_core::time::Instant;

use super::{Apart, ROUNDS_MAX, check_deadline};
use crate::event::Task;
use crate::host::socket::{self, Bits};
use crate::host::{Cx, Violation};
use crate::trace::trace;

/// The outbox has turned non-empty.
pub(super) const OUTBOX: u32 = 1;
/// Node has left an order.
pub(super) const ORDER: u32 = 1 << 1;
/// A batch came back, or the place for one is free.
pub(super) const INBOX: u32 = 1 << 2;
/// Something is on the desk for borrowed streams.
pub(super) const LANES: u32 = 1 << 3;
/// The connection has ended, and is not to wait for anybody any longer.
pub(super) const HURRY: u32 = 1 << 4;

/// A connection, and what lies between it and the others.
#[derive(Debug)]
pub(super) struct Part<C> {
    pub(super) connection: Connection<C>,
    pub(super) bits: Bits,
    pub(super) signals: u32,
    /// Left by Node.
    pub(super) order: Option<ToConnection>,
    /// Left for Node.
    pub(super) report: Option<ToNode>,
    /// Node knows of it still.
    pub(super) is_known: bool,
    pub(super) outbox: Outbox,
    pub(super) outbox_filled: Sizes,
    pub(super) shut: bool,
    pub(super) load: Load,
    pub(super) filled: Option<Batch>,
    pub(super) is_awaited: bool,
    pub(super) returned: Vec<Batch>,
    /// Requests for streams.
    pub(super) requests: VecDeque<u64>,
    pub(super) lanes: BTreeMap<LaneId, Outbox>,
    pub(super) lanes_filled: Vec<LaneId>,
    pub(super) lanes_returned: Vec<LaneId>,
}

impl<C: SecureChannel> Part<C> {
    pub(super) fn new(connection: Connection<C>) -> Self {
        Self {
            outbox: connection.outbox(),
            connection,
            bits: Bits::new(),
            signals: 0,
            order: None,
            report: None,
            is_known: true,
            outbox_filled: Sizes::NONE,
            shut: false,
            load: Load::default(),
            filled: None,
            is_awaited: false,
            returned: Vec::new(),
            requests: VecDeque::new(),
            lanes: BTreeMap::new(),
            lanes_filled: Vec::new(),
            lanes_returned: Vec::new(),
        }
    }

    fn take_order(&mut self, now: Instant) {
        if let Some(order) = self.order.take() {
            self.connection.handle_order(now, order);
        }
    }

    /// Takes the shared outbox, if there is something in it and the machine wants it.
    fn feed(&mut self, now: Instant) {
        if !self.shut && self.outbox_filled.meets(self.connection.wants_messages()) {
            self.connection.handle_messages(now, &mut self.outbox);
            self.outbox_filled = self.outbox.sizes();
        }
    }

    fn take_credit(&mut self, now: Instant) {
        for mut batch in std::mem::take(&mut self.returned) {
            self.connection.handle_consumed(now, batch.consumed());
        }
    }
}

impl<F: ChannelFactory> Apart<F> {
    pub(super) fn run_connection(
        &mut self,
        id: ConnectionId,
        cx: &mut Cx<'_, '_>,
    ) -> Result<bool, Violation> {
        for _ in 0..ROUNDS_MAX {
            if !self.parts.contains_key(&id) {
                return Ok(false);
            }
            let busy = self.round(id, cx);
            let Some(part) = self.parts.get(&id) else { return Ok(false) };
            let taken = part.filled.is_none() && part.report.is_none();
            let over = part.connection.is_done() && part.shut && taken;
            if over && !self.sockets.contains_key(&id) && !part.is_known {
                let part = self.parts.remove(&id);
                let late = part.map(|mut part| part.connection.take_late()).unwrap_or_default();
                self.late.push((id, late));
                self.woken.insert(Task::Node);
                self.ending.retain(|ending| *ending != id);
                return Ok(false);
            }
            if !self.finish_link(id, cx) && !busy && self.signals_of(id) == 0 {
                let next = self.parts.get(&id).and_then(|part| part.connection.next_timeout());
                check_deadline(next, cx.now)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn signals_of(&self, id: ConnectionId) -> u32 {
        self.parts.get(&id).map_or(0, |part| part.signals)
    }

    /// Does once everything that can be done without waiting; whether the socket has more.
    fn round(&mut self, id: ConnectionId, cx: &mut Cx<'_, '_>) -> bool {
        let now = cx.now;
        self.take_signals(id, now);
        let Some(part) = self.parts.get_mut(&id) else { return false };
        let mut busy = false;
        if let Some(socket) = self.sockets.get(&id).copied() {
            trace!(cx.trace, "  serves {id}");
            let mut bits = part.bits;
            busy = socket::serve(&mut bits, socket, part, cx);
            part.bits = bits;
        }
        self.publish(id, now);
        self.lane_news(id, now);
        let Some(part) = self.parts.get_mut(&id) else { return false };
        if part.connection.is_closing() && !part.shut {
            self.shut(id, now);
        }
        let Some(part) = self.parts.get_mut(&id) else { return false };
        if let Some(report) = part.connection.poll_report() {
            match &mut part.report {
                Some(earlier) => earlier.merge(report),
                None => {
                    part.report = Some(report);
                    self.reporting.push_back(id);
                    self.woken.insert(Task::Node);
                }
            }
        }
        part.load = part.connection.load();
        if part.connection.next_timeout().is_some_and(|next| next.at <= now) {
            part.connection.handle_timeout(now);
            part.signals |= ORDER;
        }
        let part = &*part;
        let may_read = part.bits.readable && !part.bits.ended && part.connection.may_read();
        let may_write = part.bits.writable && part.connection.wants_transmit();
        busy || self.sockets.contains_key(&id) && (may_read || may_write)
    }

    fn take_signals(&mut self, id: ConnectionId, now: Instant) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        let signals = std::mem::take(&mut part.signals);
        if signals & ORDER != 0 {
            part.take_order(now);
        }
        if signals & OUTBOX != 0 {
            part.outbox_filled = Sizes::BOTH;
        }
        if signals & LANES != 0 {
            self.serve_desk(id, now);
        }
        let Some(part) = self.parts.get_mut(&id) else { return };
        if signals & INBOX != 0 {
            part.take_credit(now);
        }
        if signals & HURRY != 0 {
            part.connection.hurry(now);
        }
        part.feed(now);
    }

    fn shut(&mut self, id: ConnectionId, now: Instant) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        part.shut = true;
        part.outbox.close();
        let Part { connection, outbox, .. } = part;
        connection.handle_messages(now, outbox);
        self.end_lanes(id, now);
    }

    /// Hands received messages over, if the place for them is free.
    fn publish(&mut self, id: ConnectionId, _now: Instant) {
        let Some(part) = self.parts.get_mut(&id) else { return };
        if !part.connection.has_messages() {
            return;
        }
        part.is_awaited = part.filled.is_some();
        if part.is_awaited {
            return;
        }
        let mut batch = Batch::default();
        part.connection.take_messages(&mut batch);
        if batch.is_empty() {
            part.returned.push(batch);
            part.signals |= INBOX;
            return;
        }
        part.filled = Some(batch);
        self.arrivals.push_back(id);
    }

    /// Does what the machine wants done with the link; whether there was something.
    fn finish_link(&mut self, id: ConnectionId, cx: &mut Cx<'_, '_>) -> bool {
        let Some(part) = self.parts.get_mut(&id) else { return false };
        let Some(command) = part.connection.poll_link_command() else { return false };
        trace!(cx.trace, "    {id} {command:?}");
        let Some(socket) = self.sockets.get(&id).copied() else { return true };
        match command {
            LinkCommand::Finish => cx.net.finish(cx.time, socket),
            LinkCommand::Close => cx.net.close(cx.time, socket),
            LinkCommand::Abort => cx.net.abort(cx.time, socket),
        }
        if command != LinkCommand::Finish {
            self.sockets.remove(&id);
        }
        true
    }
}

impl<C: SecureChannel> socket::Bytes for Part<C> {
    fn wants_transmit(&self) -> bool {
        self.connection.wants_transmit()
    }

    fn transmit<'a>(&'a mut self, now: Instant, chunks: &mut [&'a [u8]]) -> usize {
        self.connection.transmit(now, chunks)
    }

    fn handle_transmitted(&mut self, now: Instant, n: usize) {
        self.connection.handle_transmitted(now, n);
        self.feed(now);
    }

    fn recv_buf(&mut self) -> Option<&mut BytesMut> {
        self.connection.recv_buf()
    }

    fn before_received(&mut self, now: Instant) {
        self.take_order(now);
    }

    fn handle_received(&mut self, now: Instant) {
        let _whole = self.connection.handle_received(now);
    }

    fn handle_eof(&mut self, now: Instant) {
        self.connection.handle_eof(now);
    }

    fn handle_io_error(&mut self, now: Instant, cause: IoCause) {
        self.connection.handle_io_error(now, cause);
    }
}
