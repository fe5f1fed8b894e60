//! What the tasks of a node share about one connection.
//!
//! The application's tasks encode into the outbox under a short lock and wake the connection only
//! when that turned non-empty; the connection's task swaps its contents for none. Small messages
//! and large ones have room of their own there, and senders of one kind wait for that alone. Node
//! and connection leave each other their newest word in a mailbox.
//!
//! Bounds: the outbox holds half more than `outbox_max` and two messages, each mailbox one word of
//! each kind, the inbox three batches, the desk [`REQUESTS_MAX`](crate::lanes::REQUESTS_MAX)
//! requests; one entry for each caller that waits for a snapshot.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::task::Waker;

use bytes::Bytes;
use event_listener::Event;
use futures_channel::oneshot;
use headwater_core::connection::{ToConnection, ToNode};
use headwater_core::id::{ConnectionId, ProtocolId};
use headwater_core::pool::{Load, Outbox, PushError, Sizes, WasEmpty};
use headwater_core::snapshot::ConnectionSnapshot;

use crate::inbox::Inbox;
use crate::lanes::Desk;
use crate::wake::{Wake, lock};

/// The outbox has turned non-empty.
pub(crate) const OUTBOX: u32 = 1;
/// Node has left an order.
pub(crate) const ORDER: u32 = 1 << 1;
/// A batch came back, or the place for one is free.
pub(crate) const INBOX: u32 = 1 << 2;
/// Something is on the desk for borrowed streams.
pub(crate) const LANES: u32 = 1 << 3;
/// The connection has ended, and is not to wait for anybody any longer.
pub(crate) const HURRY: u32 = 1 << 4;
/// The node has broken: the task is to end as it stands.
pub(crate) const LEAVE: u32 = 1 << 5;
/// Somebody wants to know how the connection does.
pub(crate) const ASKED: u32 = 1 << 6;
/// The socket may have bytes.
pub(crate) const READABLE: u32 = 1 << 7;
/// The socket may take bytes.
pub(crate) const WRITABLE: u32 = 1 << 8;
/// The timer has fired.
pub(crate) const TIMER: u32 = 1 << 9;

/// One connection, as seen by every other task.
#[derive(Debug)]
pub(crate) struct Link {
    id: ConnectionId,
    /// Wakes the connection's task.
    pub(crate) wake: Wake,
    /// Received messages on their way to the application.
    pub(crate) inbox: Mutex<Inbox>,
    /// What the application wants of borrowed streams.
    pub(crate) desk: Mutex<Desk>,
    /// Wakes those who wait for room in the outbox.
    pub(crate) room: Room,
    outbox: Mutex<Outbox>,
    /// Bytes in it, as of the last message or so.
    outbox_bytes: AtomicUsize,
    is_shut: AtomicBool,
    queued_bytes: AtomicUsize,
    idle_streams: AtomicUsize,
    order: Mutex<Option<Box<ToConnection>>>,
    report: Mutex<Option<Box<ToNode>>>,
    /// Who wants to know how it does; `None` once its task is over.
    asked: Mutex<Option<Vec<oneshot::Sender<ConnectionSnapshot>>>>,
    /// How many reports changed the route of the peer, and how many of them are in place.
    routes_told: AtomicU32,
    routes_made: AtomicU32,
}

/// Wakes one who waits for room for small messages, or for large ones; whoever it wakes passes it
/// on.
#[derive(Debug, Default)]
pub(crate) struct Room {
    small: Event,
    large: Event,
}

impl Room {
    /// What to wait for with a message of that size.
    pub(crate) const fn of(&self, size: Sizes) -> &Event {
        if size.large { &self.large } else { &self.small }
    }

    /// There is room but for these.
    fn open(&self, full: Sizes) {
        if !full.small {
            self.small.notify(1);
        }
        if !full.large {
            self.large.notify(1);
        }
    }

    /// There will be no more room: nobody is to wait for it.
    fn close(&self) {
        self.small.notify(usize::MAX);
        self.large.notify(usize::MAX);
    }
}

/// Wakes the task of a connection with one signal, so that it knows what woke it.
struct Nudge {
    link: Arc<Link>,
    signal: u32,
}

impl std::task::Wake for Nudge {
    fn wake(self: Arc<Self>) {
        self.link.wake.set(self.signal);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.link.wake.set(self.signal);
    }
}

impl Link {
    /// A waker that leaves `signal` for the connection's task.
    pub(crate) fn nudge(self: &Arc<Self>, signal: u32) -> Waker {
        Waker::from(Arc::new(Nudge { link: Arc::clone(self), signal }))
    }

    pub(crate) fn new(id: ConnectionId, outbox: Outbox) -> Self {
        Self {
            id,
            wake: Wake::default(),
            inbox: Mutex::default(),
            desk: Mutex::default(),
            room: Room::default(),
            outbox: Mutex::new(outbox),
            outbox_bytes: AtomicUsize::new(0),
            is_shut: AtomicBool::new(false),
            queued_bytes: AtomicUsize::new(0),
            idle_streams: AtomicUsize::new(0),
            order: Mutex::default(),
            report: Mutex::default(),
            asked: Mutex::new(Some(Vec::new())),
            routes_told: AtomicU32::new(0),
            routes_made: AtomicU32::new(0),
        }
    }

    pub(crate) const fn id(&self) -> ConnectionId {
        self.id
    }

    /// Queues a message; see [`Outbox::push_from`].
    pub(crate) fn push(
        &self,
        protocol: &ProtocolId,
        payload: &mut Bytes,
    ) -> Result<(), PushError<()>> {
        let WasEmpty(was_empty) = self.fill(|outbox| outbox.push_from(protocol, payload))?;
        if was_empty {
            self.wake.set(OUTBOX);
        }
        Ok(())
    }

    /// Queues a copy of a message.
    pub(crate) fn push_slice(
        &self,
        protocol: &ProtocolId,
        payload: &[u8],
    ) -> Result<(), PushError<()>> {
        let WasEmpty(was_empty) = self.fill(|outbox| outbox.push_slice(protocol, payload))?;
        if was_empty {
            self.wake.set(OUTBOX);
        }
        Ok(())
    }

    /// Queues messages under one lock, until `next` has no more or one is refused.
    pub(crate) fn push_run(
        &self,
        protocol: &ProtocolId,
        mut next: impl FnMut() -> Option<Bytes>,
    ) -> Result<(), PushError<Bytes>> {
        let mut was_empty = false;
        let result = self.fill(|outbox| {
            loop {
                let Some(payload) = next() else { break Ok(()) };
                match outbox.push(protocol, payload) {
                    Ok(WasEmpty(first)) => was_empty |= first,
                    Err(error) => break Err(error),
                }
            }
        });
        if was_empty {
            self.wake.set(OUTBOX);
        }
        result
    }

    fn fill<T>(&self, push: impl FnOnce(&mut Outbox) -> T) -> T {
        let mut outbox = lock(&self.outbox);
        let result = push(&mut outbox);
        self.outbox_bytes.store(outbox.bytes(), Ordering::Relaxed);
        result
    }

    /// Bytes that wait in the outbox, perhaps a message ago.
    pub(crate) fn outbox_bytes(&self) -> usize {
        self.outbox_bytes.load(Ordering::Relaxed)
    }

    /// The size that a payload of so many bytes has.
    pub(crate) fn size_of(&self, len: usize) -> Sizes {
        lock(&self.outbox).size_of(len)
    }

    /// Whether the outbox takes messages of a size.
    pub(crate) fn has_room(&self, size: Sizes) -> bool {
        !lock(&self.outbox).full().meets(size)
    }

    /// Lends the outbox to the connection that takes what it wants, then lets those in who wait
    /// for room, one of each size for which there is some. Gives what is left in it.
    pub(crate) fn swap_outbox(&self, take: impl FnOnce(&mut Outbox)) -> Sizes {
        self.swap(lock(&self.outbox), take)
    }

    /// The same, unless somebody is at the outbox just now.
    pub(crate) fn try_swap_outbox(&self, take: impl FnOnce(&mut Outbox)) -> Option<Sizes> {
        let outbox = match self.outbox.try_lock() {
            Ok(outbox) => outbox,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(self.swap(outbox, take))
    }

    fn swap(&self, mut outbox: MutexGuard<'_, Outbox>, take: impl FnOnce(&mut Outbox)) -> Sizes {
        take(&mut outbox);
        self.outbox_bytes.store(outbox.bytes(), Ordering::Relaxed);
        let (left, full) = (outbox.sizes(), outbox.full());
        drop(outbox);
        self.room.open(full);
        left
    }

    /// Frees what an empty outbox keeps for the next messages.
    pub(crate) fn shrink_outbox(&self) {
        let mut outbox = lock(&self.outbox);
        if outbox.is_empty() {
            outbox.shrink();
        }
    }

    /// Closes the outbox: later messages have to find another connection.
    pub(crate) fn shut(&self, take: impl FnOnce(&mut Outbox)) {
        self.is_shut.store(true, Ordering::Release);
        {
            self.fill(|outbox| {
                outbox.close();
                take(outbox);
            });
        }
        self.room.close();
    }

    /// Whether the outbox takes no more messages.
    pub(crate) fn is_shut(&self) -> bool {
        self.is_shut.load(Ordering::Acquire)
    }

    /// Says how much the connection has to do, for whoever chooses between several.
    pub(crate) fn publish_load(&self, load: Load) {
        self.queued_bytes.store(load.queued_bytes, Ordering::Relaxed);
        self.idle_streams.store(load.idle_streams, Ordering::Relaxed);
    }

    /// Bytes that wait here, and idle streams. As old as the connection's last round, or the last
    /// message.
    pub(crate) fn load(&self) -> (usize, usize) {
        let queued = self.queued_bytes.load(Ordering::Relaxed) + self.outbox_bytes();
        (queued, self.idle_streams.load(Ordering::Relaxed))
    }

    /// Asks the connection how it does; `None` if its task is over.
    pub(crate) fn ask(&self) -> Option<oneshot::Receiver<ConnectionSnapshot>> {
        let (answer, result) = oneshot::channel();
        lock(&self.asked).as_mut()?.push(answer);
        self.wake.set(ASKED);
        Some(result)
    }

    /// Answers whoever has asked.
    pub(crate) fn tell(&self, snapshot: impl Fn() -> ConnectionSnapshot) {
        let asked = lock(&self.asked).as_mut().map(std::mem::take).unwrap_or_default();
        for answer in asked {
            let mut snapshot = snapshot();
            snapshot.add_waiting(&lock(&self.outbox));
            let _ = answer.send(snapshot);
        }
    }

    /// Nobody answers from now on.
    pub(crate) fn tell_nobody(&self) {
        *lock(&self.asked) = None;
    }

    /// Leaves an order for the connection.
    pub(crate) fn leave_order(&self, later: ToConnection) {
        {
            let mut slot = lock(&self.order);
            match &mut *slot {
                Some(earlier) => earlier.merge(later),
                None => *slot = Some(Box::new(later)),
            }
        }
        self.wake.set(ORDER);
    }

    pub(crate) fn take_order(&self) -> Option<ToConnection> {
        lock(&self.order).take().map(|order| *order)
    }

    /// Leaves a report for Node; says whether that is the only one there, so that Node has to be
    /// told.
    pub(crate) fn leave_report(&self, later: ToNode) -> bool {
        let mut slot = lock(&self.report);
        if later.changes_route() {
            self.routes_told.fetch_add(1, Ordering::Relaxed);
        }
        match &mut *slot {
            Some(earlier) => {
                earlier.merge(later);
                false
            }
            None => {
                *slot = Some(Box::new(later));
                true
            }
        }
    }

    /// Takes the report, and how many had changed the route when it was left.
    pub(crate) fn take_report(&self) -> Option<(ToNode, u32)> {
        let mut slot = lock(&self.report);
        let told = self.routes_told.load(Ordering::Relaxed);
        slot.take().map(|report| (*report, told))
    }

    /// The route is in place as of so many reports.
    pub(crate) fn route_is_made(&self, told: u32) {
        self.routes_made.store(told, Ordering::Release);
        self.wake.set(INBOX);
    }

    /// Whether the route lacks something that this connection has reported.
    pub(crate) fn awaits_route(&self) -> bool {
        let made = self.routes_made.load(Ordering::Acquire);
        self.routes_told.load(Ordering::Relaxed) != made
    }
}
