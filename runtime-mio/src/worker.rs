//! The loop on a thread of its own, between the machine and the threads that share it.
//!
//! Each round takes what the application left (calls, outboxes, credit), makes a turn, and
//! publishes what came of it: routes first, so that a peer that is told of can be sent to, then
//! notifications, then messages.
//!
//! Bounds: queues for each connection, lanes for each borrowed stream, a waiting answer for each
//! call, of which a calling thread has one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};
use std::{io, thread};

use headwater_core::connection::LaneNews;
use headwater_core::contract::{DialId, ListenerId};
use headwater_core::endpoint::BorrowedId;
use headwater_core::error::{ApplicationError, BorrowError, UndeliveredReason};
use headwater_core::id::{ConnectionId, PeerId};
use headwater_core::message::Batch;
use headwater_core::pool::{Outbox, Sizes};
use headwater_core::secure::ChannelFactory;
use headwater_core::snapshot::Snapshot;

use crate::builder::Started;
use crate::call::{Answer, Borrow, CALLS_MAX, Call, Caller, Change, give};
use crate::error::{Error, ListenError};
use crate::event_loop::{EventLoop, Journal};
use crate::handle::Handle;
use crate::lane::Lane;
use crate::messages::Messages;
use crate::notifications::Notifications;
use crate::queues::Queues;
use crate::shared::{Mark, Shared};

mod publish;

/// See the module.
struct Worker<F: ChannelFactory> {
    inner: EventLoop<F>,
    shared: Arc<Shared>,
    calls: Receiver<Call>,
    /// All handles are gone, or one said so.
    stopping: bool,
    /// By the index of their connection.
    carriers: Vec<Option<Carrier>>,
    lanes: BTreeMap<BorrowedId, Arc<Lane>>,
    listening: BTreeMap<ListenerId, Answer<Result<SocketAddr, ListenError>>>,
    dialing: BTreeMap<DialId, Answer<Result<PeerId, Error>>>,
    borrowing: Vec<Borrow>,
    /// How many of them there are.
    carrying: usize,
    /// Those whose last batch is not taken, and that have more.
    waiting: BTreeMap<ConnectionId, Arc<Queues>>,
    /// Those with messages for which there is no place in the list of arrivals.
    held: BTreeMap<ConnectionId, Arc<Queues>>,
    /// Nobody reads messages, and those that waited were dropped.
    unread: bool,
    scratch: Batch,
    marks: Vec<Mark>,
}

/// A connection that carries messages.
struct Carrier {
    queues: Arc<Queues>,
    /// Whose it is; known before anything is in the outbox.
    peer: Option<PeerId>,
    /// What may be in the outbox that the connection did not want yet.
    unsent: Sizes,
    /// The outbox is closed.
    retired: bool,
}

impl<F> EventLoop<F>
where
    F: ChannelFactory + Send + 'static,
    F::Channel: Send + 'static,
{
    /// Runs the loop on a thread of its own, from here on.
    ///
    /// What was registered, dialled or listened on before stays; the outcomes that were not taken
    /// yet are among the notifications.
    ///
    /// # Errors
    ///
    /// The system gave no thread.
    pub fn spawn(mut self) -> io::Result<Started> {
        let shared = Arc::new(Shared::new(self.endpoint.local(), Arc::clone(self.signal())));
        let (sender, calls) = sync_channel(CALLS_MAX);
        let caller = Caller::new(sender, Arc::clone(&shared.signal));
        self.journal = Some(Journal::default());
        self.endpoint.watch_routes();
        let worker = Worker {
            inner: self,
            shared: Arc::clone(&shared),
            calls,
            stopping: false,
            carriers: Vec::new(),
            lanes: BTreeMap::new(),
            listening: BTreeMap::new(),
            dialing: BTreeMap::new(),
            borrowing: Vec::new(),
            carrying: 0,
            waiting: BTreeMap::new(),
            held: BTreeMap::new(),
            unread: false,
            scratch: Batch::default(),
            marks: Vec::new(),
        };
        let thread = thread::Builder::new().name("headwater".into()).spawn(|| worker.run())?;
        Ok(Started {
            handle: Handle::new(Arc::clone(&shared), caller),
            messages: Messages::new(Arc::clone(&shared)),
            notifications: Notifications::new(shared),
            thread,
        })
    }
}

impl<F: ChannelFactory> Worker<F> {
    fn run(mut self) -> io::Result<()> {
        self.adopt();
        loop {
            let busy = self.take();
            let timeout = if busy { Some(Duration::ZERO) } else { self.borrow_timeout() };
            let alive = self.inner.turn(timeout)?;
            self.borrow();
            self.publish();
            if !alive {
                self.publish_rest();
                return Ok(());
            }
        }
    }

    /// Takes what the application left. Says whether something may have come of it that has to be
    /// published before the loop may sleep.
    fn take(&mut self) -> bool {
        self.shared.signal.clear();
        let mut busy = false;
        for _ in 0..CALLS_MAX {
            match self.calls.try_recv() {
                Ok(call) => self.call(call),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    busy |= self.stop();
                    break;
                }
            }
            busy = true;
        }
        let mut marks = std::mem::take(&mut self.marks);
        self.shared.take_marks(&mut marks);
        for mark in marks.drain(..) {
            // Before the look: what is put there from now on is marked again.
            mark.flag().store(false, Ordering::Release);
            match mark {
                Mark::Queues(queues) => self.look_at_queues(&queues),
                Mark::Lane(lane) => self.look_at_lane(&lane),
            }
            busy = true;
        }
        self.marks = marks;
        busy
    }

    fn stop(&mut self) -> bool {
        if std::mem::replace(&mut self.stopping, true) {
            return false;
        }
        self.inner.stop();
        true
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Listen { address, answer } => match self.inner.listen(address) {
                Ok(listener) => {
                    self.listening.insert(listener, answer);
                }
                Err(error) => give(&answer, Err(ListenError::Call(error))),
            },
            Call::Dial { address, answer } => {
                let dial = self.inner.dial(address);
                self.dial(dial, answer);
            }
            Call::Connect { peer, answer } => {
                let dial = self.inner.connect(peer);
                self.dial(dial, answer);
            }
            Call::Require { addresses, answer } => give(&answer, self.inner.require(addresses)),
            Call::RequiredState { required, answer } => {
                give(&answer, self.inner.endpoint.required_state(required));
            }
            Call::Snapshot { answer } => give(&answer, Box::new(self.snapshot())),
            Call::Change { change, answer } => {
                let result = match change {
                    Change::Disconnect(peer) => self.inner.disconnect(peer),
                    Change::Register(protocol) => self.inner.register(protocol),
                    Change::Unregister(protocol) => self.inner.unregister(&protocol),
                    Change::Block(rule) => self.inner.block(rule).map(drop),
                    Change::Unblock(rule) => {
                        self.inner.unblock(&rule);
                        Ok(())
                    }
                    Change::SetRequired(required, addresses) => {
                        self.inner.set_required(required, addresses)
                    }
                    Change::Release(required) => self.inner.release(required),
                };
                give(&answer, result);
            }
            Call::Borrow(borrow) => self.borrowing.push(borrow),
            Call::Stop => {
                self.stop();
            }
        }
    }

    /// What the machine knows, with what waits in front of it.
    fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.inner.snapshot();
        for part in &mut snapshot.connections {
            if let Some(carrier) = self.carrier(part.id) {
                carrier.queues.outbox().look(|outbox| part.add_waiting(outbox));
            }
            let id = part.id;
            for lane in self.lanes.values().filter(|lane| lane.id.connection() == id) {
                lane.outbox.look(|outbox| part.add_waiting(outbox));
            }
        }
        snapshot
    }

    fn dial(
        &mut self,
        dial: Result<DialId, ApplicationError>,
        answer: Answer<Result<PeerId, Error>>,
    ) {
        match dial {
            Ok(dial) => {
                self.dialing.insert(dial, answer);
            }
            Err(error) => give(&answer, Err(Error::Call(error))),
        }
    }

    /// Credit has come back, or messages to send, or there is room for received ones.
    fn look_at_queues(&mut self, queues: &Arc<Queues>) {
        let (now, id) = (self.inner.now(), queues.connection);
        let endpoint = &mut self.inner.endpoint;
        queues.settle(|consumed| endpoint.handle_consumed(now, id, consumed));
        if let Some(carrier) = self.carrier_mut(id) {
            carrier.unsent = Sizes::BOTH;
            self.send(id);
        }
        self.receive(queues);
    }

    /// Hands over what the connection wants of the outbox.
    fn send(&mut self, id: ConnectionId) {
        if self.inner.endpoint.is_closing(id) {
            // It has told everything that it will: what is left goes the other way.
            return self.retire(id);
        }
        let now = self.inner.now();
        let Some(Some(carrier)) = self.carriers.get_mut(id.index as usize) else { return };
        let endpoint = &mut self.inner.endpoint;
        if carrier.retired || !carrier.unsent.meets(endpoint.wants_messages(id)) {
            return;
        }
        let take = |outbox: &mut Outbox| endpoint.handle_messages(now, id, outbox);
        carrier.unsent = carrier.queues.outbox().take(take);
    }

    fn look_at_lane(&mut self, lane: &Arc<Lane>) {
        let (now, id) = (self.inner.now(), lane.id);
        if !self.lanes.contains_key(&id) {
            return;
        }
        let endpoint = &mut self.inner.endpoint;
        if lane.is_left() {
            self.lanes.remove(&id);
            lane.outbox.close(|rest| endpoint.handle_last_lane_messages(now, id, lane.peer, rest));
        } else if endpoint.lane_wants_messages(id) {
            lane.outbox.take(|outbox| endpoint.handle_lane_messages(now, id, outbox));
        }
    }

    /// News of borrowed streams.
    fn hear_lanes(&mut self) {
        while let Some((id, news)) = self.inner.endpoint.poll_borrowed() {
            let Some(lane) = self.lanes.get(&id).cloned() else { continue };
            match news {
                LaneNews::Wants => self.look_at_lane(&lane),
                LaneNews::Lost(reason) => {
                    self.lanes.remove(&id);
                    let now = self.inner.now();
                    let endpoint = &mut self.inner.endpoint;
                    lane.lose(reason, |rest| {
                        endpoint.handle_last_lane_messages(now, id, lane.peer, rest);
                    });
                }
            }
        }
    }

    /// Asks again for those who wait for a stream.
    fn borrow(&mut self) {
        if self.borrowing.is_empty() {
            return;
        }
        let now = Instant::now();
        for borrow in std::mem::take(&mut self.borrowing) {
            let lent = match self.inner.borrow(&borrow.peer, &borrow.protocol) {
                Err(BorrowError::Pending | BorrowError::Exhausted)
                    if borrow.until.is_none_or(|until| now < until) =>
                {
                    self.borrowing.push(borrow);
                    continue;
                }
                Ok(id) => self.lend(id, borrow.peer),
                Err(error) => Err(error),
            };
            let lane = lent.as_ref().ok().cloned();
            if let (Err(_), Some(lane)) = (borrow.answer.try_send(lent), lane) {
                lane.leave();
                self.look_at_lane(&lane);
            }
        }
    }

    fn lend(&mut self, id: BorrowedId, peer: PeerId) -> Result<Arc<Lane>, BorrowError> {
        let outbox = self.inner.endpoint.lane_outbox(id).ok_or(BorrowError::NotConnected)?;
        let lane = Arc::new(Lane::new(id, peer, outbox));
        self.lanes.insert(id, Arc::clone(&lane));
        Ok(lane)
    }

    fn borrow_timeout(&self) -> Option<Duration> {
        let until = self.borrowing.iter().filter_map(|borrow| borrow.until).min()?;
        Some(until.saturating_duration_since(Instant::now()))
    }

    fn carrier(&self, id: ConnectionId) -> Option<&Carrier> {
        let carrier = self.carriers.get(id.index as usize)?.as_ref()?;
        (carrier.queues.connection == id).then_some(carrier)
    }

    fn carrier_mut(&mut self, id: ConnectionId) -> Option<&mut Carrier> {
        let carrier = self.carriers.get_mut(id.index as usize)?.as_mut()?;
        (carrier.queues.connection == id).then_some(carrier)
    }
}

impl<F: ChannelFactory> Drop for Worker<F> {
    /// However the loop ended, nobody waits for it any longer.
    fn drop(&mut self) {
        for carrier in self.carriers.iter().flatten() {
            carrier.queues.outbox().close(|_| {});
        }
        for lane in self.lanes.values() {
            lane.lose(UndeliveredReason::ConnectionLost, |_| {});
        }
        self.shared.end();
    }
}
