//! What only the inside of a connection shows.

use alloc::sync::Arc;
use core::net::SocketAddr;
use core::time::Duration;

use super::lanes::Lanes;
use super::*;
use crate::buffer::SealedBuf;
use crate::buffer::out::OutBuf;
use crate::config::Config;
use crate::contract::TimerKind;
use crate::error::Refusal;
use crate::id::ProtocolId;
use crate::secure::{ChannelError, ChannelFactory, Insecure, Opened, PlainChannel};
use crate::seed::Seed;

const START: Instant = Instant::from_nanos(1_000_000_000);

fn id(digit: u8) -> PeerId {
    let mut text = *b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";
    text[2] = digit;
    PeerId::from_bytes(&text).unwrap()
}

/// A link that a peer made, which has said who it is.
fn proven(config: Config) -> Connection<PlainChannel> {
    proven_over(config, |channel| channel)
}

fn proven_over<C: SecureChannel>(
    config: Config,
    over: impl Fn(PlainChannel) -> C,
) -> Connection<C> {
    proven_over_with(config, over, &[])
}

/// It has said more than that, too.
fn proven_over_with<C: SecureChannel>(
    config: Config,
    over: impl Fn(PlainChannel) -> C,
    more: &[u8],
) -> Connection<C> {
    let mut factory = Insecure::new(id(b'1')).unwrap();
    let setup = Setup {
        connection: ConnectionId { index: 0, generation: 0 },
        direction: Direction::Inbound,
        expected: None,
        remote: SocketAddr::from(([127, 0, 0, 1], 2000)),
        local: id(b'1'),
        config: Arc::new(config),
        seed: Seed::from_u64(1),
        recorder: None,
    };
    let channel = over(factory.channel(Direction::Inbound, None));
    let mut connection = Connection::new(setup, channel, START);
    give(&mut connection, &[id(b'2').as_bytes(), more].concat());
    assert_eq!(connection.poll_report().unwrap().proven, Some(id(b'2')));
    connection
}

fn give<C: SecureChannel>(connection: &mut Connection<C>, bytes: &[u8]) {
    connection.recv_buf().unwrap().extend_from_slice(bytes);
    connection.handle_received(START).unwrap();
}

fn refuse<C: SecureChannel>(connection: &mut Connection<C>) {
    let refused = Verdict::Refuse(Refusal::Stopping);
    let order = ToConnection { proven_verdict: Some(refused), ..ToConnection::default() };
    connection.handle_order(START, order);
}

/// An order that moves a message to a connection.
fn adopt(connection: &Connection<PlainChannel>) -> ToConnection {
    let mut outbox = connection.outbox();
    outbox.push(&ProtocolId::new("/echo").unwrap(), "hello".into()).unwrap();
    let item = outbox.take_next().unwrap();
    let adopt = alloc::vec![parcel_of(item, START.after(Duration::from_secs(9)))];
    ToConnection { adopt, ..ToConnection::default() }
}

#[test]
fn messages_that_are_moved_to_one_that_ends_go_back_with_its_last_report() {
    let mut connection = proven(Config::default());
    refuse(&mut connection);
    let order = adopt(&connection);
    connection.handle_order(START, order);
    let mut outbox = connection.outbox();
    outbox.push(&ProtocolId::new("/echo").unwrap(), "later".into()).unwrap();
    connection.handle_messages(START, &mut outbox);
    let mut report = connection.poll_report().unwrap();
    // And one that it did not even see.
    adopt(&connection).send_back(&mut report);
    assert!(report.is_final() && report.undelivered.is_empty());
    assert_eq!(report.closed.unwrap().leftover.len(), 3);
    let mut other = ToNode::default();
    adopt(&connection).send_back(&mut other);
    let lost = other.undelivered.pop().unwrap();
    assert_eq!((lost.messages, lost.bytes), (1, 5));
}

/// Large messages that came from another connection wait for those that move; small ones pass.
#[test]
fn small_messages_pass_large_ones_that_were_moved_here() {
    let config = Config::default();
    let mut lanes = Lanes::new(&config);
    let mut uni = Session::new(Role::Client, SessionConfig::default(), 7, START);
    let mut out = OutBuf::new();
    lanes.start(START);
    lanes.pump(START, &mut uni);
    uni.transmit(START, &mut out, usize::MAX);
    lanes.pump(START, &mut uni);
    let echo = ProtocolId::new("/echo").unwrap();
    let large = |_| {
        let mut outbox = Outbox::new(OutboxConfig::default());
        outbox.push(&echo, alloc::vec![0; 1 << 20].into()).unwrap();
        parcel_of(outbox.take_next().unwrap(), START.after(Duration::from_secs(9)))
    };
    lanes.adopt(START, (0..9).map(large).collect());
    lanes.pump(START, &mut uni);
    assert!(lanes.has_waiting() && lanes.counts().idle > 0);
    let mut outbox = Outbox::new(OutboxConfig::default());
    outbox.push(&echo, "small".into()).unwrap();
    lanes.handle_messages(START, &mut outbox);
    lanes.pump(START, &mut uni);
    assert!(outbox.is_empty() && lanes.load().queued_bytes > 1 << 20);
    let idle = lanes.counts().idle;
    outbox.push(&echo, "small".into()).unwrap();
    lanes.handle_messages(START, &mut outbox);
    assert!(outbox.is_empty(), "the one before stands on a stream");
    lanes.pump(START, &mut uni);
    assert_eq!(lanes.counts().idle, idle - 1);
}

#[test]
fn nothing_follows_the_last_report() {
    let mut connection = proven(Config::default());
    refuse(&mut connection);
    assert!(connection.poll_report().unwrap().is_final());
    let order = adopt(&connection);
    connection.handle_order(START, order);
    let mut outbox = connection.outbox();
    outbox.push(&ProtocolId::new("/echo").unwrap(), "later".into()).unwrap();
    connection.handle_messages(START, &mut outbox);
    assert!(outbox.is_empty());
    assert!(connection.poll_report().is_none());
}

#[test]
fn one_that_ends_looks_for_memory_again_too() {
    let mut connection = proven(Config::default());
    refuse(&mut connection);
    let mut pinned: Vec<BytesMut> = Vec::new();
    while let Some(slab) = connection.inbound.take_slab() {
        pinned.push(slab);
    }
    assert!(connection.recv_buf().is_none() && !connection.may_read());
    let next = connection.next_timeout().unwrap();
    assert_eq!(next.why, TimerKind::Memory);
    assert!(next.at <= START.after(Duration::from_millis(10)));
    connection.inbound.give_back(pinned.pop().unwrap());
    connection.handle_timeout(next.at);
    assert!(connection.may_read() && connection.recv_buf().is_some());
    // The end that it waited for is noticed, and all is over.
    connection.handle_eof(next.at);
    assert_eq!(connection.next_timeout().unwrap().why, TimerKind::Close);
}

#[test]
fn one_that_ends_at_a_verdict_hears_the_peer_out_whatever_had_come_by_then() {
    for in_time in [true, false] {
        hears_the_peer_out(|channel| channel, in_time);
        hears_the_peer_out(Copying, in_time);
    }
}

fn hears_the_peer_out<C: SecureChannel>(over: impl Fn(PlainChannel) -> C, in_time: bool) {
    // What follows the id comes in the same read.
    let mut connection = proven_over_with(Config::default(), over, &[1; 500]);
    assert!(connection.recv_buf().is_none() && !connection.may_read(), "it waits");
    if in_time {
        refuse(&mut connection);
    } else {
        connection.handle_timeout(connection.next_timeout().unwrap().at);
    }
    assert!(connection.is_closing());
    // A driver whose socket is readable asks for a buffer again and again.
    for _ in 0..3 {
        assert!(connection.may_read());
        give(&mut connection, &[1; 5000]);
    }
    connection.handle_eof(START);
    assert!(!connection.may_read() && connection.recv_buf().is_none());
}

#[test]
fn one_that_fails_in_the_middle_of_a_read_hears_the_peer_out() {
    fails_in_the_middle(|channel| channel);
    fails_in_the_middle(Copying);
}

/// Whoever drives a readable socket would go round and round if no buffer was lent (P8).
fn fails_in_the_middle<C: SecureChannel>(over: impl Fn(PlainChannel) -> C) {
    let mut connection = proven_over(Config::default(), over);
    let proceed = Some(Verdict::Proceed { exchange: true });
    let order = ToConnection { proven_verdict: proceed, ..ToConnection::default() };
    connection.handle_order(START, order);
    give(&mut connection, &[0xff; 500]);
    assert!(connection.is_closing() && connection.poll_report().unwrap().is_final());
    for _ in 0..3 {
        assert!(connection.may_read());
        give(&mut connection, &[1; 5000]);
    }
    connection.handle_eof(START);
    assert!(!connection.may_read() && connection.recv_buf().is_none());
}

/// A channel that copies all its life, as one does that seals.
struct Copying(PlainChannel);

impl SecureChannel for Copying {
    fn open(&mut self, input: &mut BytesMut, plain: &mut BytesMut) -> Result<Opened, ChannelError> {
        self.0.open(input, plain)
    }

    fn flush(&mut self, out: &mut SealedBuf) {
        self.0.flush(out);
    }

    fn seal(&mut self, plain: &mut OutBuf, out: &mut SealedBuf, out_max: usize) -> usize {
        self.0.seal(plain, out, out_max)
    }

    fn peer(&self) -> Option<PeerId> {
        self.0.peer()
    }

    fn is_transparent(&self) -> bool {
        false
    }

    fn close(&mut self) {
        self.0.close();
    }

    fn handle_eof(&mut self) -> Result<(), ChannelError> {
        self.0.handle_eof()
    }
}

#[test]
fn what_cannot_be_opened_for_want_of_memory_does_not_pile_up() {
    let mut connection = proven_over(Config::default(), Copying);
    let proceed = Verdict::Proceed { exchange: false };
    let order = ToConnection { proven_verdict: Some(proceed), ..ToConnection::default() };
    connection.handle_order(START, order);
    let header = [0; 5];
    connection.recv_buf().unwrap().extend_from_slice(&header);
    // Somebody else has all the others.
    let mut pinned: Vec<BytesMut> = connection.inbound.plain.take().into_iter().collect();
    while let Some(slab) = connection.inbound.take_slab() {
        pinned.push(slab);
    }
    connection.handle_received(START).unwrap();
    assert!(connection.recv_buf().is_none() && !connection.may_read());
    let next = connection.next_timeout().unwrap();
    assert_eq!(next.why, TimerKind::Memory);
    connection.inbound.give_back(pinned.pop().unwrap());
    assert!(connection.recv_buf().is_none());
    connection.handle_timeout(next.at);
    assert!(connection.recv_buf().is_some_and(|lent| lent.is_empty()));
    assert!(connection.may_read() && !connection.is_closing());
}

#[test]
fn small_messages_in_time_for_each_write_do_not_hold_up_bulk() {
    let config = Config { output_max: 64 * 1024, ..Config::default() };
    let syn = |stream| [0, 1, 0, 1, 0, 0, 0, stream, 0, 0, 0, 0];
    let mut connection = proven_over_with(config, |channel| channel, &[syn(1), syn(3)].concat());
    let proceed = Some(Verdict::Proceed { exchange: false });
    let proven_verdict = proceed.clone();
    connection.handle_order(START, ToConnection { proven_verdict, ..ToConnection::default() });
    connection.handle_order(START, ToConnection { live_verdict: proceed, ..Default::default() });
    assert!(connection.phase.is_live());
    let echo = ProtocolId::new("/echo").unwrap();
    let mut outbox = connection.outbox();
    outbox.push(&echo, alloc::vec![0; 1 << 20].into()).unwrap();
    let mut write = |connection: &mut Connection<PlainChannel>| {
        outbox.push(&echo, "small".into()).unwrap();
        connection.handle_messages(START, &mut outbox);
        let mut chunks: [&[u8]; 16] = [&[]; 16];
        let count = connection.transmit(START, &mut chunks);
        let bytes = chunks[..count].iter().map(|chunk| chunk.len()).sum();
        connection.handle_transmitted(START, bytes);
        bytes
    };
    let sent: Vec<usize> = (0..14).map(|_| write(&mut connection)).collect();
    assert!(sent[4..8].iter().any(|bytes| *bytes < 100), "bulk stands back: {sent:?}");
    // As much as there is credit for.
    assert!(sent.iter().sum::<usize>() > 200_000, "{sent:?}");
}
