//! What is done with every contestant, written once: messages one way, there and back, and small
//! ones beside a bulk transfer.

use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// Length of a small message.
pub const SMALL: usize = 128;
/// Length of a message of the bulk transfer.
pub const BULK: usize = 1 << 20;
/// From one small message beside the bulk transfer to the next.
const PAUSE: Duration = Duration::from_millis(1);
/// Length of the last message of a lane, which tells how many went before.
const END: usize = 9;

/// Sends messages to the other end.
pub trait Lane: Send + 'static {
    /// Sends a message, waiting for room.
    fn send(&mut self, payload: Bytes) -> impl Future<Output = ()> + Send;

    /// Has everything leave that was sent.
    fn flush(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Sends a message that is to leave at once.
    fn send_now(&mut self, payload: Bytes) -> impl Future<Output = ()> + Send {
        async {
            self.send(payload).await;
            self.flush().await;
        }
    }
}

/// Receives messages.
pub trait Inbox: Send + 'static {
    /// Waits for messages, and shows each of those that are there to `take`, at least one call in
    /// a few.
    fn receive(&mut self, take: impl FnMut(&[u8]) + Send) -> impl Future<Output = ()> + Send;
}

/// One end of a connection.
pub trait End: Lane + Inbox {}

impl<E: Lane + Inbox> End for E {}

/// A contestant that is ready.
pub struct Connected<C: Contestant + ?Sized> {
    /// Its runtime, with two worker threads.
    pub handle: Handle,
    /// Two ends of a connection.
    pub ends: [C::End; 2],
    /// Of one more connection: the bulk transfer.
    pub bulk: C::Bulk,
    /// The small messages beside it.
    pub small: C::Small,
    /// Where they arrive, together or each for itself.
    pub inboxes: Vec<C::Inbox>,
}

/// One way to move messages.
pub trait Contestant: 'static {
    /// One end of a connection.
    type End: End;
    /// Sends bulk.
    type Bulk: Lane;
    /// Sends small messages beside it.
    type Small: Lane;
    /// Receives them.
    type Inbox: Inbox;

    /// What it is called in tables.
    const NAME: &'static str;
    /// How it is used, and which of its defaults are raised.
    const NOTE: &'static str;

    /// Starts both ends on a runtime of their own, and connects them.
    fn connect() -> Connected<Self>;

    /// Has a small message go there and another one back, again and again.
    fn ping_pong(
        ends: [Self::End; 2],
        rounds: usize,
    ) -> impl Future<Output = (Vec<Duration>, [Self::End; 2])> + Send {
        ping_pong(ends, rounds)
    }
}

/// Moves `count` messages of `len` bytes one way, each in a payload of its own; how long until
/// the last one has been received.
pub async fn one_way<E: End>(ends: [E; 2], len: usize, count: usize) -> (Duration, [E; 2]) {
    let [mut one, mut two] = ends;
    let message = vec![7; len];
    let begun = Instant::now();
    let reading = tokio::spawn(async move {
        let mut received = 0;
        while received < count {
            two.receive(|payload| {
                assert_eq!(black_box(payload).len(), len, "not what was sent");
                received += 1;
            })
            .await;
        }
        two
    });
    let writing = tokio::spawn(async move {
        for _ in 0..count {
            one.send(Bytes::copy_from_slice(&message)).await;
        }
        one.flush().await;
        one
    });
    let one = writing.await.expect("sent");
    let two = reading.await.expect("received");
    (begun.elapsed(), [one, two])
}

async fn ping_pong<E: End>(ends: [E; 2], rounds: usize) -> (Vec<Duration>, [E; 2]) {
    let [mut one, mut two] = ends;
    let echo = tokio::spawn(async move {
        for _ in 0..rounds {
            let message = next(&mut two).await;
            two.send_now(message).await;
        }
        two
    });
    let asking = tokio::spawn(async move {
        let mut times = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let begun = Instant::now();
            one.send_now(Bytes::copy_from_slice(&[7; SMALL])).await;
            next(&mut one).await;
            times.push(begun.elapsed());
        }
        (times, one)
    });
    let (times, one) = asking.await.expect("answered");
    (times, [one, echo.await.expect("echoed")])
}

async fn next(inbox: &mut impl Inbox) -> Bytes {
    let mut next = None;
    while next.is_none() {
        inbox.receive(|payload| next = Some(Bytes::copy_from_slice(payload))).await;
    }
    next.expect("the loop ends with one")
}

/// What came of small messages beside a bulk transfer.
#[derive(Debug, Default)]
pub struct Mixed {
    /// How long each small message was under way.
    pub times: Vec<Duration>,
    /// Messages of the bulk transfer that arrived.
    pub bulk: u64,
    /// How long all of it took.
    pub elapsed: Duration,
}

/// Sends bulk back to back, and beside it `count` small messages.
pub async fn mixed<C: Contestant>(
    mut connected: Connected<C>,
    count: usize,
) -> (Mixed, Connected<C>) {
    let base = Instant::now();
    let over = Arc::new(AtomicBool::new(false));
    let Connected { mut bulk, mut small, inboxes, .. } = connected;
    let lanes_each = 2 / inboxes.len();
    let mut reading = JoinSet::new();
    for (at, inbox) in inboxes.into_iter().enumerate() {
        reading.spawn(async move { (at, read_mixed(inbox, lanes_each, base).await) });
    }
    let filling = tokio::spawn({
        let over = Arc::clone(&over);
        async move {
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) {
                bulk.send(Bytes::from(vec![7; BULK])).await;
                sent += 1;
            }
            bulk.send_now(end(sent)).await;
            bulk
        }
    });
    let sending = tokio::spawn(async move {
        for _ in 0..count {
            tokio::time::sleep(PAUSE).await;
            small.send_now(stamped(base)).await;
        }
        over.store(true, Ordering::Relaxed);
        small.send_now(end(count as u64)).await;
        small
    });
    connected.small = sending.await.expect("sent");
    connected.bulk = filling.await.expect("sent");
    let mut mixed = Mixed::default();
    let mut read = reading.join_all().await;
    read.sort_by_key(|(at, _)| *at);
    connected.inboxes = Vec::new();
    for (_, (one, inbox)) in read {
        mixed.times.extend(one.times);
        mixed.bulk += one.bulk;
        connected.inboxes.push(inbox);
    }
    mixed.elapsed = base.elapsed();
    (mixed, connected)
}

/// Reads until all has come that so many lanes have sent.
async fn read_mixed<I: Inbox>(mut inbox: I, lanes: usize, base: Instant) -> (Mixed, I) {
    let mut mixed = Mixed::default();
    let (mut ended, mut announced) = (0, 0);
    while ended < lanes || mixed.bulk + (mixed.times.len() as u64) < announced {
        inbox
            .receive(|payload| match payload.len() {
                SMALL => mixed.times.push(age(base, payload)),
                END => {
                    ended += 1;
                    announced += number(payload);
                }
                _ => mixed.bulk += 1,
            })
            .await;
    }
    (mixed, inbox)
}

/// A small message that says when it was made.
fn stamped(base: Instant) -> Bytes {
    let nanos = u64::try_from(base.elapsed().as_nanos()).unwrap_or(u64::MAX);
    numbered(nanos, SMALL)
}

/// The last message of a lane.
fn end(sent: u64) -> Bytes {
    numbered(sent, END)
}

fn numbered(number: u64, len: usize) -> Bytes {
    let mut payload = BytesMut::with_capacity(len);
    payload.put_u64(number);
    payload.resize(len, 7);
    payload.freeze()
}

fn number(payload: &[u8]) -> u64 {
    payload.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn age(base: Instant, payload: &[u8]) -> Duration {
    base.elapsed().saturating_sub(Duration::from_nanos(number(payload)))
}
