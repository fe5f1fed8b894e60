//! Our session against rust-yamux, joined by pipes in memory and polled by hand.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use futures::future::{self, FutureExt, LocalBoxFuture};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use headwater_core::buffer::out::OutBuf;
use headwater_core::mux::{
    Event, GoAwayCode, INITIAL_WINDOW, Priority, Role, Session, SessionConfig, StreamId,
};
use headwater_core::time::Instant;

/// How much each side moves per round; odd, so that frames are cut everywhere.
const PIECE: usize = 50_021;

/// More than any window at the start, so that credit has to go back and forth.
const LONG: usize = 3_000_000;

#[derive(Default)]
struct Pipes {
    to_theirs: VecDeque<u8>,
    to_ours: VecDeque<u8>,
}

/// Their end of the pipes.
#[derive(Clone, Default)]
struct Carrier(Rc<RefCell<Pipes>>);

impl AsyncRead for Carrier {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipes = self.0.borrow_mut();
        let len = buf.len().min(pipes.to_theirs.len());
        for (to, from) in buf.iter_mut().zip(pipes.to_theirs.drain(..len)) {
            *to = from;
        }
        if len == 0 { Poll::Pending } else { Poll::Ready(Ok(len)) }
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipes = self.0.borrow_mut();
        let len = buf.len().min(PIECE.saturating_sub(pipes.to_ours.len()));
        pipes.to_ours.extend(&buf[..len]);
        if len == 0 { Poll::Pending } else { Poll::Ready(Ok(len)) }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What our application saw of a stream.
#[derive(Default)]
struct Seen {
    payload: Vec<u8>,
    finished: bool,
    reset: bool,
    acknowledged: bool,
    unsent: usize,
}

/// Our side: a session whose application may echo.
struct Ours {
    session: Session,
    now: u64,
    echo: bool,
    seen: BTreeMap<StreamId, Seen>,
}

impl Ours {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.now)
    }

    fn step(&mut self, pipes: &mut Pipes) {
        self.now += 1_000_000;
        let input: Vec<u8> = pipes.to_ours.drain(..).collect();
        let mut rest = input.as_slice();
        loop {
            let received = self.session.receive(self.now(), rest).expect("rust-yamux is honest");
            let (piece, after) = rest.split_at(received.consumed);
            rest = after;
            let Some(event) = received.event else { break };
            self.on_event(event, piece);
        }
        let budget = PIECE.saturating_sub(pipes.to_theirs.len());
        let mut out = OutBuf::new();
        self.session.transmit(self.now(), &mut out, budget);
        let mut bytes = BytesMut::new();
        out.drain_into(&mut bytes, usize::MAX);
        pipes.to_theirs.extend(&bytes);
    }

    fn on_event(&mut self, event: Event, piece: &[u8]) {
        match event {
            Event::Opened { stream } => {
                self.session.accept(stream).unwrap();
                self.seen.insert(stream, Seen::default());
            }
            Event::Data { stream, len } => {
                let payload = &piece[piece.len() - len..];
                self.session.release(self.now(), stream, len);
                self.seen.entry(stream).or_default().payload.extend(payload);
                if self.echo {
                    self.session.write(stream, Bytes::copy_from_slice(payload)).unwrap();
                }
            }
            Event::Finished { stream } => {
                self.seen.entry(stream).or_default().finished = true;
                if self.echo {
                    self.session.finish(stream);
                }
            }
            Event::Reset { stream } => {
                let unsent = self.session.take_unsent(stream);
                let seen = self.seen.entry(stream).or_default();
                seen.reset = true;
                seen.unsent = unsent.iter().map(Bytes::len).sum();
            }
            Event::Acknowledged { stream } => {
                self.seen.entry(stream).or_default().acknowledged = true;
            }
            _ => {}
        }
    }
}

type Task = LocalBoxFuture<'static, ()>;

/// Both sides, and what runs on their side.
struct World {
    carrier: Carrier,
    ours: Ours,
    theirs: yamux::Connection<Carrier>,
    tasks: Vec<Task>,
    /// Streams that we opened, as they see them.
    inbound: VecDeque<yamux::Stream>,
}

impl World {
    fn new(role: Role, echo: bool) -> Self {
        let carrier = Carrier::default();
        let mode = match role {
            Role::Client => yamux::Mode::Server,
            Role::Server => yamux::Mode::Client,
        };
        let session = Session::new(role, SessionConfig::default(), 1, Instant::ZERO);
        Self {
            ours: Ours { session, now: 0, echo, seen: BTreeMap::new() },
            theirs: yamux::Connection::new(carrier.clone(), yamux::Config::default(), mode),
            carrier,
            tasks: Vec::new(),
            inbound: VecDeque::new(),
        }
    }

    fn round(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        self.ours.step(&mut self.carrier.0.borrow_mut());
        self.tasks.retain_mut(|task| task.poll_unpin(&mut cx).is_pending());
        while let Poll::Ready(next) = self.theirs.poll_next_inbound(&mut cx) {
            let stream = next.expect("their connection lives").expect("ours is honest");
            self.inbound.push_back(stream);
        }
    }

    /// Goes on until a condition holds.
    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..20_000 {
            if done(self) {
                return;
            }
            self.round();
        }
        panic!("never came: {what}");
    }

    fn until_tasks_end(&mut self) {
        self.until("the end of their tasks", |world| world.tasks.is_empty());
    }

    fn open_theirs(&mut self) -> yamux::Stream {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..1000 {
            if let Poll::Ready(stream) = self.theirs.poll_new_outbound(&mut cx) {
                return stream.unwrap();
            }
            self.round();
        }
        panic!("they cannot open");
    }

    fn open_ours(&mut self) -> StreamId {
        let stream = self.ours.session.open(self.ours.now(), Priority::Normal).unwrap();
        self.ours.seen.insert(stream, Seen::default());
        stream
    }

    fn write_ours(&mut self, stream: StreamId, payload: &[u8]) {
        self.ours.session.write(stream, Bytes::copy_from_slice(payload)).unwrap();
    }

    fn inbound(&mut self) -> yamux::Stream {
        self.until("their inbound stream", |world| !world.inbound.is_empty());
        self.inbound.pop_front().unwrap()
    }

    fn seen(&self, stream: StreamId) -> &Seen {
        &self.ours.seen[&stream]
    }
}

fn payload(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at / 7 + at * seed) % 251).unwrap()).collect()
}

/// Their side writes `sent`, half-closes, and reads until the end.
async fn exchange(mut stream: yamux::Stream, sent: Vec<u8>, expected: Vec<u8>) {
    let (mut reader, mut writer) = (&mut stream).split();
    let write = async {
        writer.write_all(&sent).await.unwrap();
        writer.close().await.unwrap();
    };
    let mut got = Vec::new();
    let (_, read) = future::join(write, reader.read_to_end(&mut got)).await;
    read.unwrap();
    assert!(got == expected, "{} bytes of {}", got.len(), expected.len());
}

#[test]
fn they_open_and_we_echo_more_than_a_window_in_both_roles() {
    for role in [Role::Client, Role::Server] {
        let mut world = World::new(role, true);
        let stream = world.open_theirs();
        let sent = payload(LONG, 3);
        world.tasks.push(exchange(stream, sent.clone(), sent).boxed_local());
        world.until_tasks_end();
        world.until("the stream is forgotten", |world| world.ours.session.remote_open() == 0);
        assert!(world.ours.session.rtt().is_some());
    }
}

#[test]
fn we_open_and_both_send_more_than_a_window_at_once_in_both_roles() {
    for role in [Role::Client, Role::Server] {
        let mut world = World::new(role, false);
        let (sent, back) = (payload(LONG, 5), payload(LONG + 1, 11));
        let stream = world.open_ours();
        world.write_ours(stream, &sent);
        world.ours.session.finish(stream);
        let inbound = world.inbound();
        world.tasks.push(exchange(inbound, back.clone(), sent).boxed_local());
        world.until_tasks_end();
        world.until("the stream is forgotten", |world| world.ours.session.local_open() == 0);
        let seen = world.seen(stream);
        assert!(seen.payload == back);
        assert!(seen.finished && seen.acknowledged && !seen.reset);
    }
}

#[test]
fn two_hundred_streams_each_way_at_once() {
    let mut world = World::new(Role::Client, true);
    for at in 0..200 {
        let stream = world.open_theirs();
        let sent = payload(5000 + at, at);
        world.tasks.push(exchange(stream, sent.clone(), sent).boxed_local());
    }
    let ours: Vec<_> = (0..200).map(|_| world.open_ours()).collect();
    for (at, stream) in ours.iter().enumerate() {
        world.write_ours(*stream, &payload(4000 + at, at + 1));
    }
    for at in 0..200 {
        let mut stream = world.inbound();
        let expected = payload(4000 + at, at + 1);
        let task = async move {
            let mut got = vec![0; expected.len()];
            stream.read_exact(&mut got).await.unwrap();
            assert!(got == expected);
            stream.write_all(b"thanks").await.unwrap();
            stream.close().await.unwrap();
            // Our echo of the thanks and our half-close.
            stream.read_to_end(&mut got).await.unwrap();
            assert!(got.ends_with(b"thanks"));
        };
        world.tasks.push(task.boxed_local());
    }
    world.until_tasks_end();
    let session = &world.ours.session;
    world.ours.seen.values().for_each(|seen| assert!(seen.finished && !seen.reset));
    assert_eq!((session.local_open(), session.remote_open()), (0, 0));
    assert_eq!(session.unacknowledged(), 0);
}

#[test]
fn our_half_close_ends_their_reading_and_they_go_on_writing() {
    let mut world = World::new(Role::Server, false);
    let stream = world.open_ours();
    world.ours.session.finish(stream);
    let mut inbound = world.inbound();
    let task = async move {
        let mut got = Vec::new();
        inbound.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"");
        inbound.write_all(b"after your end").await.unwrap();
        inbound.close().await.unwrap();
    };
    world.tasks.push(task.boxed_local());
    world.until_tasks_end();
    world.until("their end", |world| world.seen(stream).finished);
    assert_eq!(world.seen(stream).payload, b"after your end");
    assert!(!world.ours.session.contains(stream));
}

#[test]
fn their_half_close_leaves_us_writing() {
    let mut world = World::new(Role::Client, false);
    let mut stream = world.open_theirs();
    let task = async move {
        stream.write_all(b"that is all").await.unwrap();
        stream.close().await.unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"thank you");
    };
    world.tasks.push(task.boxed_local());
    let id = StreamId(2);
    world.until("their end", |world| world.ours.seen.get(&id).is_some_and(|seen| seen.finished));
    assert_eq!(world.seen(id).payload, b"that is all");
    world.write_ours(id, b"thank you");
    world.ours.session.finish(id);
    world.until_tasks_end();
}

#[test]
fn our_reset_fails_their_write_promptly() {
    let mut world = World::new(Role::Server, false);
    let mut stream = world.open_theirs();
    let task = async move {
        let long = payload(LONG, 1);
        let mut written = 0;
        // Without a reset the window would block this for ever.
        while stream.write_all(&long[..10_000]).await.is_ok() {
            written += 10_000;
        }
        assert!(written < LONG);
    };
    world.tasks.push(task.boxed_local());
    let id = StreamId(1);
    world.until("the first payload", |world| world.ours.seen.contains_key(&id));
    world.ours.session.reset(id);
    world.until_tasks_end();
    assert_eq!(world.ours.session.remote_open(), 0);
}

#[test]
fn their_reset_gives_our_unsent_back() {
    let mut world = World::new(Role::Client, false);
    let stream = world.open_ours();
    world.write_ours(stream, &payload(LONG, 1));
    let inbound = world.inbound();
    world.until("a full window", |world| world.ours.session.credit(stream) == 0);
    drop(inbound);
    world.until("their reset", |world| world.seen(stream).reset);
    assert!(!world.ours.session.contains(stream));
    assert_eq!(world.seen(stream).unsent, LONG - INITIAL_WINDOW as usize);
    assert_eq!(world.ours.session.queued_total(), 0);
}

#[test]
fn more_streams_than_may_be_unacknowledged_open_in_turn() {
    let mut world = World::new(Role::Client, false);
    for _ in 0..300 {
        let stream = world.open_ours();
        world.write_ours(stream, b"hello");
    }
    for _ in 0..300 {
        let mut stream = world.inbound();
        let task = async move {
            let mut got = [0; 5];
            stream.read_exact(&mut got).await.unwrap();
            stream.write_all(&got).await.unwrap();
            stream.close().await.unwrap();
        };
        world.tasks.push(task.boxed_local());
    }
    world.until_tasks_end();
    world.until("all ends", |world| world.ours.seen.values().all(|seen| seen.finished));
    assert!(world.ours.seen.values().all(|seen| seen.payload == b"hello"));
}

#[test]
fn our_go_away_ends_their_connection_in_peace() {
    let mut world = World::new(Role::Client, true);
    let stream = world.open_theirs();
    let sent = payload(1000, 9);
    world.tasks.push(exchange(stream, sent.clone(), sent).boxed_local());
    world.until_tasks_end();
    world.ours.session.go_away(GoAwayCode::Normal);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..10 {
        world.ours.step(&mut world.carrier.0.borrow_mut());
        if let Poll::Ready(next) = world.theirs.poll_next_inbound(&mut cx) {
            assert!(next.is_none(), "{next:?}");
            return;
        }
    }
    panic!("they did not notice");
}
