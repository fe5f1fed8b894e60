//! Sending to one peer again and again, and streams that are kept.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use event_listener::listener;
use headwater_core::error::{SendError, UndeliveredReason};
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::pool::{PushError, Sizes};

use crate::lanes::Hold;
use crate::link::Link;
use crate::node::Node;
use crate::routes::{Refused, Route, Routes};

/// Messages of one protocol to one peer, without a look-up for each.
///
/// Made by [`Node::sender`]. It follows the peer from connection to connection; while the peer is
/// away, sending fails. Messages of one sender may overtake each other: see [`Borrowed`] for those
/// that may not.
#[derive(Clone, Debug)]
pub struct Sender {
    node: Node,
    peer: PeerId,
    protocol: ProtocolId,
    route: Option<Arc<Route>>,
}

impl Sender {
    pub(crate) fn new(node: Node, peer: PeerId, protocol: ProtocolId, route: Arc<Route>) -> Self {
        Self { node, peer, protocol, route: Some(route) }
    }

    /// Where the messages go.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// For which protocol.
    #[must_use]
    pub const fn protocol(&self) -> &ProtocolId {
        &self.protocol
    }

    /// Queues a message, or says at once why not.
    ///
    /// # Errors
    ///
    /// As [`Node::send`]; nothing was queued and the payload comes back.
    pub fn send(&mut self, mut payload: Bytes) -> Result<(), SendError<Bytes>> {
        let routes = &self.node.shared.routes;
        let result = routes.push(&self.peer, &self.protocol, &mut payload, &mut self.route);
        result.map_err(|refused| refused.with(payload))
    }

    /// Queues a copy of a message; for small ones that are no `Bytes` this is the shortest way.
    ///
    /// # Errors
    ///
    /// As [`Node::send`]; nothing was queued.
    pub fn send_slice(&mut self, payload: &[u8]) -> Result<(), SendError<()>> {
        let push = |link: &Link| link.push_slice(&self.protocol, payload);
        let routes = &self.node.shared.routes;
        let result = routes.offer(&self.peer, &self.protocol, &mut self.route, push);
        result.map_err(|refused| refused.with(()))
    }

    /// Queues messages from the front of `payloads` under one lock, until it is empty or one is
    /// refused; those that were not queued stay in it.
    ///
    /// # Errors
    ///
    /// Why the first one left in `payloads` was refused, as [`Node::send`].
    pub fn send_many(&mut self, payloads: &mut VecDeque<Bytes>) -> Result<(), SendError<()>> {
        let push = |link: &Link| {
            let refused = link.push_run(&self.protocol, || payloads.pop_front());
            refused.map_err(|error| match error {
                PushError::Full(back) => {
                    payloads.push_front(back);
                    PushError::Full(())
                }
                PushError::Moved(back) => {
                    payloads.push_front(back);
                    PushError::Moved(())
                }
                PushError::TooLarge { payload, limit } => {
                    payloads.push_front(payload);
                    PushError::TooLarge { payload: (), limit }
                }
            })
        };
        let routes = &self.node.shared.routes;
        let result = routes.offer(&self.peer, &self.protocol, &mut self.route, push);
        result.map_err(|refused| refused.with(()))
    }

    /// Waits until there is room for a message, and queues it.
    ///
    /// Cancel-safe: a dropped future has sent nothing.
    ///
    /// # Errors
    ///
    /// As [`Node::send`], without `Full`.
    pub async fn send_wait(&mut self, payload: Bytes) -> Result<(), SendError<Bytes>> {
        let routes = &self.node.shared.routes;
        push_wait(routes, &self.peer, &self.protocol, payload, &mut self.route).await
    }
}

/// Wakes the next one who waits for room, when the one that was woken is done with it or gone, and
/// has left some. Where there is none the next one keeps its place: the connection wakes it.
struct Baton(Option<(Arc<Link>, Sizes)>);

impl Drop for Baton {
    fn drop(&mut self) {
        if let Some((link, size)) = self.0.as_ref().filter(|(link, size)| link.has_room(*size)) {
            link.room.of(*size).notify(1);
        }
    }
}

/// Queues a message as soon as there is room for it.
pub(crate) async fn push_wait(
    routes: &Routes,
    peer: &PeerId,
    protocol: &ProtocolId,
    mut payload: Bytes,
    cached: &mut Option<Arc<Route>>,
) -> Result<(), SendError<Bytes>> {
    let mut baton = Baton(None);
    loop {
        let link = match routes.push(peer, protocol, &mut payload, cached) {
            Ok(()) => return Ok(()),
            Err(Refused::Full(link)) => link,
            Err(refused) => return Err(refused.with(payload)),
        };
        // No room here: the next one would find none either.
        if baton.0.as_ref().is_some_and(|(old, _)| Arc::ptr_eq(old, &link)) {
            baton.0 = None;
        }
        let size = link.size_of(payload.len());
        listener!(link.room.of(size) => room);
        // Room may have come before this waiter was listed; from here on none is missed.
        match link.push(protocol, &mut payload) {
            Ok(()) => return Ok(()),
            Err(PushError::Moved(())) => continue,
            Err(PushError::TooLarge { limit, .. }) => {
                return Err(SendError::TooLarge { payload, limit });
            }
            Err(PushError::Full(())) => {}
        }
        room.await;
        baton = Baton(Some((Arc::clone(&link), size)));
    }
}

/// A stream to a peer that the application keeps: what is sent on it arrives in order.
///
/// Made by [`Node::borrow`]. Dropping it gives the stream back once everything sent on it has
/// left. It belongs to one connection: when that is lost, or the peer resets the stream, sending
/// answers [`SendError::Closed`] and [`Borrowed::lost`] says why.
#[derive(Debug)]
pub struct Borrowed {
    // The handle keeps the node alive.
    _node: Node,
    hold: Hold,
    peer: PeerId,
    protocol: ProtocolId,
}

impl Borrowed {
    pub(crate) const fn new(node: Node, hold: Hold, peer: PeerId, protocol: ProtocolId) -> Self {
        Self { _node: node, hold, peer, protocol }
    }

    /// Where the messages go.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// For which protocol.
    #[must_use]
    pub const fn protocol(&self) -> &ProtocolId {
        &self.protocol
    }

    /// Why the stream is gone, if it is. Messages sent on it before may not have arrived; the
    /// node's notifications count them.
    #[must_use]
    pub fn lost(&self) -> Option<UndeliveredReason> {
        self.hold.lane.lost()
    }

    /// Queues a message behind the earlier ones, or says at once why not.
    ///
    /// # Errors
    ///
    /// `Full`, `TooLarge`, or `Closed` when the stream is lost; nothing was queued and the
    /// payload comes back.
    pub fn send(&mut self, payload: Bytes) -> Result<(), SendError<Bytes>> {
        self.push(payload)
    }

    fn push(&self, payload: Bytes) -> Result<(), SendError<Bytes>> {
        self.hold.push(&self.protocol, payload).map_err(|error| match error {
            PushError::Full(payload) => SendError::Full { payload },
            PushError::TooLarge { payload, limit } => SendError::TooLarge { payload, limit },
            PushError::Moved(payload) => SendError::Closed { payload },
        })
    }

    /// Waits until there is room for a message, and queues it.
    ///
    /// Cancel-safe: a dropped future has sent nothing.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), without `Full`.
    pub async fn send_wait(&mut self, mut payload: Bytes) -> Result<(), SendError<Bytes>> {
        loop {
            match self.push(payload) {
                Err(SendError::Full { payload: back }) => payload = back,
                result => return result,
            }
            listener!(self.hold.lane.room => room);
            // Room may have come before this one listened; from here on none is missed.
            match self.push(payload) {
                Err(SendError::Full { payload: back }) => payload = back,
                result => return result,
            }
            room.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Waker};

    use headwater_core::id::ConnectionId;
    use headwater_core::pool::{Outbox, OutboxConfig};
    use headwater_core::protocol::ProtocolSet;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll<F: Future>(future: Pin<&mut F>, woken: &Arc<Woken>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(woken))))
    }

    /// One who sends one large message after another keeps nobody out: whoever waited before is
    /// next, although it was not the first to be woken.
    #[test]
    fn those_who_wait_for_room_take_turns() {
        let protocol = ProtocolId::new("/echo").unwrap();
        let peer: PeerId = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse().unwrap();
        let id = ConnectionId { index: 0, generation: 0 };
        let link = Arc::new(Link::new(id, Outbox::new(OutboxConfig::default())));
        let protocols: ProtocolSet = [protocol.clone()].into_iter().collect();
        let routes = Routes::default();
        routes.set(peer, Some(Route::new(protocols, [Arc::clone(&link)].into())));
        let large = || Bytes::from(vec![7; 1 << 20]);
        let shorter = || Bytes::from(vec![7; 8 << 10]);
        let send = |payload| async {
            push_wait(&routes, &peer, &protocol, payload, &mut None).await.unwrap();
        };
        let take = || {
            link.swap_outbox(|outbox| while outbox.take_next().is_some() {});
        };
        let (bulk, other) = (Arc::<Woken>::default(), Arc::<Woken>::default());
        let woken = |who: &Arc<Woken>| who.0.swap(0, Ordering::Relaxed);

        assert!(poll(pin!(send(large())), &bulk).is_ready());
        let mut second = pin!(send(large()));
        let mut little = pin!(send(shorter()));
        assert!(poll(second.as_mut(), &bulk).is_pending());
        assert!(poll(little.as_mut(), &other).is_pending());
        take();
        assert_eq!((woken(&bulk), woken(&other)), (1, 0));
        assert!(poll(second, &bulk).is_ready());
        assert_eq!(woken(&other), 0, "there is no room for it yet");
        let mut third = pin!(send(large()));
        assert!(poll(third.as_mut(), &bulk).is_pending());
        take();
        assert_eq!((woken(&bulk), woken(&other)), (0, 1));
        assert!(poll(little, &other).is_ready());
        assert_eq!(woken(&bulk), 1, "it has left room");
        assert!(poll(third, &bulk).is_ready());
    }

    /// Small messages and large ones wait for room of their own, and are not woken for the other.
    #[test]
    fn room_is_told_to_those_whose_messages_it_takes() {
        let protocol = ProtocolId::new("/echo").unwrap();
        let id = ConnectionId { index: 0, generation: 0 };
        let link = Arc::new(Link::new(id, Outbox::new(OutboxConfig::default())));
        let peer: PeerId = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse().unwrap();
        let protocols: ProtocolSet = [protocol.clone()].into_iter().collect();
        let routes = Routes::default();
        routes.set(peer, Some(Route::new(protocols, [Arc::clone(&link)].into())));
        let send = |len| {
            let (routes, peer, protocol) = (&routes, &peer, &protocol);
            let payload = Bytes::from(vec![7; len]);
            async move { push_wait(routes, peer, protocol, payload, &mut None).await.unwrap() }
        };
        let (bulk, small) = (Arc::<Woken>::default(), Arc::<Woken>::default());
        let woken = || [&bulk, &small].map(|who| who.0.swap(0, Ordering::Relaxed));
        assert!(poll(pin!(send(1 << 20)), &bulk).is_ready());
        let mut large = pin!(send(1 << 20));
        assert!(poll(large.as_mut(), &bulk).is_pending());
        let mut sent = 0;
        let mut little = loop {
            let mut little = Box::pin(send(1 << 10));
            if poll(little.as_mut(), &small).is_pending() {
                break little;
            }
            sent += 1;
        };
        assert!(sent > 100, "large messages take no room of small ones");
        link.swap_outbox(|outbox| assert!(outbox.take_small().is_some()));
        assert_eq!(woken(), [0, 1]);
        assert!(poll(little.as_mut(), &small).is_ready());
        link.swap_outbox(|outbox| assert!(outbox.take_large().is_some()));
        assert_eq!(woken(), [1, 0]);
        assert!(poll(large, &bulk).is_ready());
    }
}
