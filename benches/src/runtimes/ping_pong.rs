//! One small message there, and one back, again and again: how long the way there and back takes.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Peer, Place, framed, peers};
use crate::Security;

const LEN: usize = 128;

/// Of two nodes.
pub fn nodes<P: Place>(place: P, security: Security, rounds: usize) -> Vec<Duration> {
    place.block_on(async {
        let [(mut one, mut forth), (mut two, mut back)] = peers(place, security).await;
        let echo = place.spawn(async move {
            for _ in 0..rounds {
                let message = two.recv().await;
                P::Peer::send(&mut back, message.payload).await;
            }
            two
        });
        let asking = place.spawn(async move {
            let mut times = Vec::with_capacity(rounds);
            for _ in 0..rounds {
                let begun = Instant::now();
                P::Peer::send(&mut forth, Bytes::copy_from_slice(&[7; LEN])).await;
                one.recv().await;
                times.push(begun.elapsed());
            }
            (times, one)
        });
        let (times, _one) = asking.await;
        let _two = echo.await;
        times
    })
}

/// Of hand-written framing.
pub fn framing<P: Place>(place: P, security: Security, rounds: usize) -> Vec<Duration> {
    place.block_on(async {
        let [mut one, mut two] = framed(place, security).await;
        let echo = place.spawn(async move {
            for _ in 0..rounds {
                let message = next(&mut two).await;
                two.send(message).await;
                two.flush().await;
            }
        });
        let asking = place.spawn(async move {
            let mut times = Vec::with_capacity(rounds);
            for _ in 0..rounds {
                let begun = Instant::now();
                one.send(Bytes::copy_from_slice(&[7; LEN])).await;
                one.flush().await;
                next(&mut one).await;
                times.push(begun.elapsed());
            }
            times
        });
        let times = asking.await;
        echo.await;
        times
    })
}

async fn next<W: super::Wire>(end: &mut super::Framed<W>) -> Bytes {
    let mut next = None;
    while next.is_none() {
        end.receive(|message| next = Some(message)).await;
    }
    next.expect("the loop ends with one")
}
