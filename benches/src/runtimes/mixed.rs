//! Small messages beside a bulk transfer that fills the connection: how long each small one is
//! under way. By hand both share one stream, whose turns are a fair lock's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Peer, Place, age, framed, peers, stamped};
use crate::Security;

const BULK: usize = 1 << 20;
const SMALL: usize = 128;
/// From one small message to the next.
const PAUSE: Duration = Duration::from_millis(1);

/// Of two nodes; so many small messages.
pub fn nodes<P: Place>(place: P, security: Security, count: usize) -> Vec<Duration> {
    place.block_on(async {
        let [(_one, mut bulk), (mut two, _)] = peers(place, security).await;
        let base = Instant::now();
        let mut small = bulk.clone();
        let over = Arc::new(AtomicBool::new(false));
        let filling = place.spawn({
            let over = Arc::clone(&over);
            async move {
                while !over.load(Ordering::Relaxed) {
                    P::Peer::send(&mut bulk, Bytes::from(vec![7; BULK])).await;
                }
                P::Peer::send(&mut bulk, Bytes::new()).await;
            }
        });
        let sending = place.spawn(async move {
            for _ in 0..count {
                place.sleep(PAUSE).await;
                P::Peer::send(&mut small, stamped(base, SMALL)).await;
            }
        });
        let reading = place.spawn(async move {
            let mut times = Vec::with_capacity(count);
            while times.len() < count {
                let message = two.recv().await;
                if message.payload.len() == SMALL {
                    times.push(age(base, &message.payload));
                }
            }
            over.store(true, Ordering::Relaxed);
            // What is still to come: the end overtakes what it is sent behind.
            while !two.recv().await.payload.is_empty() {}
            (times, two)
        });
        sending.await;
        let (times, _two) = reading.await;
        filling.await;
        times
    })
}

/// Of hand-written framing.
pub fn framing<P: Place>(place: P, security: Security, count: usize) -> Vec<Duration> {
    place.block_on(async {
        let [sender, mut receiver] = framed(place, security).await;
        let base = Instant::now();
        let sender = Arc::new(smol::lock::Mutex::new(sender));
        // Until all is read: the other way nothing is, so that closing would reset.
        let _open = Arc::clone(&sender);
        let over = Arc::new(AtomicBool::new(false));
        let filling = place.spawn({
            let (over, sender) = (Arc::clone(&over), Arc::clone(&sender));
            async move {
                while !over.load(Ordering::Relaxed) {
                    sender.lock().await.send(Bytes::from(vec![7; BULK])).await;
                }
                let mut sender = sender.lock().await;
                sender.send(Bytes::new()).await;
                sender.flush().await;
            }
        });
        let sending = place.spawn(async move {
            for _ in 0..count {
                place.sleep(PAUSE).await;
                let message = stamped(base, SMALL);
                let mut sender = sender.lock().await;
                sender.send(message).await;
                sender.flush().await;
            }
        });
        let reading = place.spawn(async move {
            let mut times = Vec::with_capacity(count);
            let mut ended = false;
            while !ended {
                let take = |message: Bytes| {
                    ended |= message.is_empty();
                    if message.len() == SMALL {
                        times.push(age(base, &message));
                    }
                };
                receiver.receive(take).await;
                if times.len() == count {
                    over.store(true, Ordering::Relaxed);
                }
            }
            times
        });
        sending.await;
        let times = reading.await;
        filling.await;
        times
    })
}
