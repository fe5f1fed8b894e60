//! Messages one way, as many as go, counted where they arrive; a fresh payload for each.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Framed, Peer, Place, Sender, framed, peers};
use crate::Security;

/// Something that moves messages.
pub trait Mover {
    /// Moves `count` copies of `message`; gives how long that took.
    fn transfer(&mut self, message: &Bytes, count: usize) -> Duration;
}

/// Two nodes.
pub struct Nodes<P: Place> {
    place: P,
    sender: Sender<P>,
    receiver: Option<P::Peer>,
    _first: P::Peer,
}

impl<P: Place> Nodes<P> {
    /// Starts and connects them.
    pub fn connect(place: P, security: Security) -> Self {
        let [(_first, sender), (receiver, _)] = place.block_on(peers(place, security));
        Self { place, sender, receiver: Some(receiver), _first }
    }
}

impl<P: Place> Mover for Nodes<P> {
    fn transfer(&mut self, message: &Bytes, count: usize) -> Duration {
        let mut receiver = self.receiver.take().expect("put back");
        let (mut sender, message) = (self.sender.clone(), message.clone());
        let begun = Instant::now();
        let moving = async {
            let reading = self.place.spawn(async move {
                for _ in 0..count {
                    std::hint::black_box(receiver.recv().await);
                }
                receiver
            });
            let writing = self.place.spawn(async move {
                for _ in 0..count {
                    P::Peer::send(&mut sender, Bytes::copy_from_slice(&message)).await;
                }
            });
            writing.await;
            reading.await
        };
        self.receiver = Some(self.place.block_on(moving));
        begun.elapsed()
    }
}

/// Hand-written framing.
#[derive(Debug)]
pub struct Framing<P: Place> {
    place: P,
    ends: Option<[Framed<P::Wire>; 2]>,
}

impl<P: Place> Framing<P> {
    /// Connects two ends.
    pub fn connect(place: P, security: Security) -> Self {
        Self { place, ends: Some(place.block_on(framed(place, security))) }
    }
}

impl<P: Place> Mover for Framing<P> {
    fn transfer(&mut self, message: &Bytes, count: usize) -> Duration {
        let [mut sender, mut receiver] = self.ends.take().expect("put back");
        let message = message.clone();
        let begun = Instant::now();
        let moving = async {
            let reading = self.place.spawn(async move {
                let mut received = 0;
                while received < count {
                    let count = |message| {
                        std::hint::black_box(message);
                        received += 1;
                    };
                    receiver.receive(count).await;
                }
                receiver
            });
            let writing = self.place.spawn(async move {
                for _ in 0..count {
                    sender.send(Bytes::copy_from_slice(&message)).await;
                }
                sender.flush().await;
                sender
            });
            [writing.await, reading.await]
        };
        self.ends = Some(self.place.block_on(moving));
        begun.elapsed()
    }
}
