//! What the application and the world see of a node whose parts run apart.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::contract::{Deadline, DialId, Notification, RequiredId};
use headwater_core::error::{ApplicationError, BorrowError, SendError};
use headwater_core::id::{ConnectionId, PeerId, ProtocolId};
use headwater_core::message::Message;
use headwater_core::peers::Rule;
use headwater_core::pool::{PushError, WasEmpty};
use headwater_core::protocol::ProtocolSet;
use headwater_core::secure::ChannelFactory;
use headwater_core::snapshot::Snapshot;
use headwater_core::supervisor::RequiredState;
use headwater_core::time::Instant;

use super::Apart;
use super::task::{INBOX, LANES, OUTBOX};
use crate::event::Task;
use crate::host::{Cx, Host, Stream, StreamNews, Violation, Way, ensure, links_max};
use crate::net::{Ready, Socket};

impl<F: ChannelFactory> Apart<F> {
    /// The connection that takes the next message, by what senders know.
    fn pick(&self, peer: &PeerId, protocol: &ProtocolId) -> Result<ConnectionId, BorrowError> {
        let way = self.routes.get(peer).ok_or(BorrowError::NotConnected)?;
        if !way.protocols.contains(protocol.as_str()) {
            return Err(BorrowError::NotSupported);
        }
        let open = way.connections.iter().filter_map(|(id, _)| {
            let part = self.parts.get(id).filter(|part| !part.shut)?;
            let queued = part.load.queued_bytes + part.outbox.bytes();
            Some(((queued, Reverse(part.load.idle_streams)), *id))
        });
        open.min().map(|(_, id)| id).ok_or(BorrowError::NotConnected)
    }

    fn call<T>(&mut self, call: impl FnOnce(&mut headwater_core::node::Node) -> T) -> T {
        self.woken.insert(Task::Node);
        call(&mut self.core)
    }

    /// The batch that the application is reading; a used up one goes back.
    fn next_batch(&mut self) -> bool {
        if let Some((id, batch)) = self.reading.take() {
            if !batch.is_empty() {
                self.reading = Some((id, batch));
                return true;
            }
            if let Some(part) = self.parts.get_mut(&id) {
                part.returned.push(batch);
                self.signal(id, INBOX);
            }
        }
        while let Some(id) = self.arrivals.pop_front() {
            let Some(part) = self.parts.get_mut(&id) else { continue };
            let Some(batch) = part.filled.take() else { continue };
            if std::mem::take(&mut part.is_awaited) {
                self.signal(id, INBOX);
            }
            self.reading = Some((id, batch));
            return true;
        }
        false
    }
}

impl<F: ChannelFactory> Host for Apart<F> {
    fn listen(&mut self, now: Instant, address: SocketAddr) -> Result<(), ApplicationError> {
        self.call(|core| core.listen(now, address)).map(drop)
    }

    fn dial(&mut self, now: Instant, address: Address) -> Result<DialId, ApplicationError> {
        self.call(|core| core.dial(now, address))
    }

    fn disconnect(&mut self, now: Instant, peer: PeerId) -> Result<(), ApplicationError> {
        self.call(|core| core.disconnect(now, peer))
    }

    fn register(&mut self, now: Instant, protocol: ProtocolId) -> Result<(), ApplicationError> {
        self.call(|core| core.register(now, protocol))
    }

    fn unregister(&mut self, now: Instant, protocol: &ProtocolId) -> Result<(), ApplicationError> {
        self.call(|core| core.unregister(now, protocol))
    }

    fn connect(&mut self, now: Instant, peer: PeerId) -> Result<DialId, ApplicationError> {
        self.call(|core| core.connect(now, peer))
    }

    fn require(
        &mut self,
        now: Instant,
        addresses: Vec<Address>,
    ) -> Result<RequiredId, ApplicationError> {
        self.call(|core| core.require(now, addresses))
    }

    fn set_required(
        &mut self,
        now: Instant,
        required: RequiredId,
        addresses: Vec<Address>,
    ) -> Result<(), ApplicationError> {
        self.call(|core| core.set_required(now, required, addresses))
    }

    fn release(&mut self, now: Instant, required: RequiredId) -> Result<(), ApplicationError> {
        self.call(|core| core.release(now, required))
    }

    fn block(&mut self, now: Instant, rule: Rule) -> Result<bool, ApplicationError> {
        self.call(|core| core.block(now, rule))
    }

    fn unblock(&mut self, now: Instant, rule: &Rule) -> bool {
        self.call(|core| core.unblock(now, rule))
    }

    fn stop(&mut self, now: Instant) {
        self.call(|core| core.stop(now));
    }

    fn send(
        &mut self,
        _now: Instant,
        peer: &PeerId,
        protocol: &ProtocolId,
        payload: Bytes,
    ) -> Result<(), SendError<Bytes>> {
        let id = match self.pick(peer, protocol) {
            Ok(id) => id,
            Err(BorrowError::NotSupported) => return Err(SendError::NotSupported { payload }),
            Err(_) => return Err(SendError::NotConnected { payload }),
        };
        let Some(part) = self.parts.get_mut(&id) else {
            return Err(SendError::NotConnected { payload });
        };
        let WasEmpty(was_empty) = part.outbox.push(protocol, payload).map_err(send_error)?;
        if was_empty {
            self.signal(id, OUTBOX);
        }
        Ok(())
    }

    fn borrow(
        &mut self,
        _now: Instant,
        request: u64,
        peer: &PeerId,
        protocol: &ProtocolId,
    ) -> Result<(), BorrowError> {
        let id = self.pick(peer, protocol)?;
        let part = self.parts.get_mut(&id).ok_or(BorrowError::NotConnected)?;
        part.requests.push_back(request);
        self.signal(id, LANES);
        Ok(())
    }

    fn send_borrowed(
        &mut self,
        _now: Instant,
        stream: Stream,
        peer: &PeerId,
        protocol: &ProtocolId,
        payload: Bytes,
    ) -> Result<(), SendError<Bytes>> {
        let supports = |way: &Way| way.protocols.contains(protocol.as_str());
        if !self.routes.get(peer).is_some_and(supports) {
            return Err(SendError::NotSupported { payload });
        }
        let Stream::Apart(id, lane) = stream else { return Err(SendError::Closed { payload }) };
        let part = self.parts.get_mut(&id).filter(|part| !part.shut);
        let Some(part) = part else { return Err(SendError::Closed { payload }) };
        let Some(outbox) = part.lanes.get_mut(&lane) else {
            return Err(SendError::Closed { payload });
        };
        let WasEmpty(was_empty) = outbox.push(protocol, payload).map_err(send_error)?;
        if was_empty {
            part.lanes_filled.push(lane);
            self.signal(id, LANES);
        }
        Ok(())
    }

    fn give_back(&mut self, _now: Instant, stream: Stream) {
        let Stream::Apart(id, lane) = stream else { return };
        if let Some(part) = self.parts.get_mut(&id).filter(|part| !part.shut) {
            part.lanes_returned.push(lane);
            self.signal(id, LANES);
        }
    }

    fn poll_message(&mut self, _now: Instant) -> Option<Message> {
        while self.next_batch() {
            let (_, batch) = self.reading.as_mut()?;
            if let Some(message) = batch.pop() {
                return Some(message);
            }
        }
        None
    }

    fn poll_notification(&mut self) -> Option<Notification> {
        self.poll_told()
    }

    fn poll_stream(&mut self) -> Option<StreamNews> {
        self.news.pop_front()
    }

    fn handle_ready(&mut self, ready: Ready) {
        self.on_ready(ready);
    }

    fn run(&mut self, task: Task, cx: &mut Cx<'_, '_>) -> Result<bool, Violation> {
        match task {
            Task::Node => self.run_node(cx),
            Task::Connection(id) => self.run_connection(id, cx),
        }
    }

    fn next_timeout(&self, task: Task) -> Option<Deadline> {
        match task {
            Task::Node => self.core.next_timeout(),
            Task::Connection(id) => self.parts.get(&id)?.connection.next_timeout(),
        }
    }

    fn take_woken(&mut self, into: &mut Vec<Task>) {
        into.extend(std::mem::take(&mut self.woken));
    }

    fn peers(&self) -> Vec<PeerId> {
        self.core.peers().collect()
    }

    fn way(&self, peer: &PeerId) -> Option<Way> {
        let route = self.core.route(peer)?;
        let connections = route.entries().iter().map(|entry| {
            let part = self.parts.get(&entry.connection);
            let load = part.map(|part| {
                let mut load = part.connection.load();
                load.queued_bytes += part.outbox.bytes();
                load
            });
            (entry.connection, load)
        });
        let connections = connections.collect();
        Some(Way { protocols: route.protocols().clone(), connections })
    }

    fn protocols(&self) -> &ProtocolSet {
        self.protocols_now()
    }

    fn sockets(&self) -> &BTreeMap<ConnectionId, Socket> {
        &self.sockets
    }

    fn connections(&self) -> Vec<ConnectionId> {
        self.parts.keys().copied().collect()
    }

    fn required_state(&self, required: RequiredId) -> Option<RequiredState> {
        self.core.required_state(required)
    }

    fn received(&self) -> u64 {
        let parts = self.parts.values().map(|part| part.connection.snapshot(Instant::ZERO));
        let parts = parts.collect();
        let snapshot = Snapshot::join(self.core.snapshot(Instant::ZERO), parts);
        snapshot.traffic().total().received.messages
    }

    fn is_stopped(&self) -> bool {
        self.core.is_stopped() && self.parts.is_empty()
    }

    fn check_links(&self) -> Result<(), Violation> {
        let (parts, max) = (self.parts.len(), links_max(&self.config));
        ensure!(parts <= max, "{parts} connections of at most {max}");
        for id in self.sockets.keys() {
            ensure!(self.parts.contains_key(id), "{id} is gone and its socket is not");
        }
        for (id, part) in &self.parts {
            let open = !part.connection.is_closed();
            let socket = self.sockets.contains_key(id);
            ensure!(open == socket, "{id}: open is {open}, has a socket is {socket}");
        }
        Ok(())
    }

    fn check_machines(&self) {
        self.core.assert_invariants();
        for (id, part) in &self.parts {
            part.connection.assert_invariants();
            // Of what is on its way the connection knows less, and one that is gone knows nothing.
            let (leased, known) = (part.connection.leased(), self.core.lease(*id));
            assert!(leased <= known, "{id} has leased {leased}, the node knows of {known}");
        }
    }
}

fn send_error(refused: PushError<Bytes>) -> SendError<Bytes> {
    match refused {
        PushError::Full(payload) => SendError::Full { payload },
        PushError::TooLarge { payload, limit } => SendError::TooLarge { payload, limit },
        PushError::Moved(payload) => SendError::Closed { payload },
    }
}
