//! Single machines at work, to be measured.

use std::hint::black_box;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use headwater_core::address::Address;
use headwater_core::buffer::out::OutBuf;
use headwater_core::contract::IoCause;
use headwater_core::error::DialError;
use headwater_core::id::ProtocolId;
use headwater_core::mux::{Event, Priority, Role, Session, SessionConfig, StreamId};
use headwater_core::pool::{Outbox, OutboxConfig, PoolConfig, Returned, SendStreamPool};
use headwater_core::seed::Seed;
use headwater_core::supervisor::{Action, ConnectionSupervisor, SupervisorConfig};
use headwater_core::time::Instant;
use headwater_core::wire::{AssemblyBuffers, DecodeLimits, Decoder, encode_package};

use crate::counted::measured;
use crate::pair::Pair;

const SMALL: [u8; 128] = [7; 128];

struct Fresh;

impl AssemblyBuffers for Fresh {
    fn take(&mut self, _declared: usize) -> BytesMut {
        BytesMut::new()
    }
}

/// Writes small packages into an outbox, and takes them out as batches.
///
/// # Panics
///
/// If the outbox has changed what it takes.
pub fn framing_out(messages: u32) {
    let protocol = ProtocolId::new("/bench").expect("an id");
    let mut outbox = Outbox::new(OutboxConfig::default());
    let mut work = || {
        for _ in 0..messages {
            if outbox.push_slice(&protocol, &SMALL).is_err() {
                black_box(outbox.take_small());
                outbox.push_slice(&protocol, &SMALL).expect("room");
            }
        }
        black_box(outbox.take_small());
    };
    work();
    measured(&mut work);
}

/// Reads small packages that lie one after another.
///
/// # Panics
///
/// If the decoder has changed what it takes.
pub fn framing_in(messages: u32) {
    let mut packages = BytesMut::new();
    for _ in 0..messages {
        encode_package(&mut packages, "/bench", &SMALL, false);
    }
    let limits = DecodeLimits::new(1 << 20);
    measured(&mut || {
        let mut decoder = Decoder::new();
        let mut input = &packages[..];
        while !input.is_empty() {
            let pushed = decoder.push(input, &limits, &mut Fresh).expect("well formed");
            black_box(pushed.item);
            input = &input[pushed.consumed..];
        }
    });
}

/// Two yamux sessions, joined.
struct Sessions {
    now: Instant,
    client: Session,
    server: Session,
    out: OutBuf,
    wire: BytesMut,
}

impl Sessions {
    fn new() -> Self {
        let now = Instant::from_nanos(1);
        let config = SessionConfig::default();
        let client = Session::new(Role::Client, config.clone(), 1, now);
        let server = Session::new(Role::Server, config, 2, now);
        Self { now, client, server, out: OutBuf::new(), wire: BytesMut::new() }
    }

    /// Moves everything both ways until both are silent; what comes is consumed at once.
    fn exchange(&mut self) {
        while self.client.wants_transmit() || self.server.wants_transmit() {
            let Self { now, client, server, out, wire } = self;
            forward(*now, client, server, out, wire);
            forward(*now, server, client, out, wire);
        }
        while self.client.poll_drained().is_some() {}
    }
}

fn forward(
    now: Instant,
    from: &mut Session,
    to: &mut Session,
    out: &mut OutBuf,
    wire: &mut BytesMut,
) {
    from.transmit(now, out, 64 * 1024);
    wire.clear();
    out.drain_into(wire, usize::MAX);
    let mut input = &wire[..];
    loop {
        let received = to.receive(now, input).expect("a good session");
        input = &input[received.consumed..];
        match received.event {
            Some(Event::Data { stream, len }) => to.release(now, stream, len),
            Some(Event::Opened { stream }) => to.accept(stream).expect("not accepted before"),
            Some(_) => {}
            None if input.is_empty() => return,
            None => {}
        }
    }
}

/// Sends frames of 4 KiB on one stream after another of ten.
///
/// # Panics
///
/// If the sessions do not understand each other.
pub fn session(frames: u32) {
    let mut sessions = Sessions::new();
    let now = sessions.now;
    let streams: Vec<StreamId> =
        (0..10).map(|_| sessions.client.open(now, Priority::Normal).expect("opened")).collect();
    sessions.exchange();
    let payload = Bytes::from(vec![7; 4096]);
    let mut work = || {
        for (_, stream) in (0..frames).zip(streams.iter().cycle()) {
            sessions.client.write(*stream, payload.clone()).expect("open");
            sessions.exchange();
        }
    };
    work();
    measured(&mut work);
}

/// Borrows every stream of a full pool, and returns them.
///
/// # Panics
///
/// If the pool loses a stream.
pub fn pool(times: u32) {
    let now = Instant::from_nanos(1);
    let config = PoolConfig::default();
    let mut pool = SendStreamPool::new(config).expect("valid");
    pool.start(now);
    let mut key = 0;
    loop {
        let wanted = pool.poll_open();
        if wanted == 0 {
            break;
        }
        for _ in 0..wanted {
            assert_eq!(pool.opened(key), Ok(Returned::Kept));
            key += 1;
        }
    }
    let mut lent = Vec::new();
    measured(&mut || {
        for _ in 0..times {
            if let Ok(key) = pool.borrow(|_| 256 * 1024) {
                lent.push(key);
            }
            if lent.len() == 5 {
                for key in lent.drain(..) {
                    assert_eq!(pool.give_back(key), Ok(Returned::Kept));
                }
            }
        }
    });
}

/// Makes connections: handshake, sessions, and both sides learning the other's protocols.
///
/// # Panics
///
/// If the two do not connect.
pub fn setup(times: u32) {
    measured(&mut || {
        for _ in 0..times {
            black_box(Pair::new());
        }
    });
}

/// Registers protocols one by one while a peer is connected: a list pushed and answered for each.
///
/// # Panics
///
/// If the list does not come.
pub fn push(times: u32) {
    let mut pair = Pair::new();
    measured(&mut || {
        for n in 0..times {
            pair.register(ProtocolId::new(&format!("/bench/{n}")).expect("an id"));
            while pair.exchange() {}
        }
    });
}

/// A round of failed dials with so many required peers: the outcome, its news, the next wait.
///
/// # Panics
///
/// If the supervisor dials nobody.
pub fn supervisor(peers: u32) {
    let mut now = Instant::from_nanos(1);
    let config = SupervisorConfig { required_max: peers as usize, ..SupervisorConfig::default() };
    let mut supervisor = ConnectionSupervisor::new(config, Seed::from_u64(1));
    for n in 0..peers {
        let address = format!("/ip4/10.{}.{}.{}/tcp/11301", n >> 16, (n >> 8) & 0xff, n & 0xff);
        let address: Address = address.parse().expect("an address");
        supervisor.require(now, vec![address]).expect("room");
    }
    let mut round = |now: &mut Instant| {
        let mut failed = 0;
        while failed < peers {
            while let Some(action) = supervisor.poll_action() {
                if let Action::Dial { attempt, .. } = action {
                    supervisor.dial_failed(*now, attempt, DialError::Link(IoCause::Refused));
                    black_box(supervisor.poll_news());
                    failed += 1;
                }
            }
            *now =
                supervisor.next_timeout().expect("a wait").max(now.after(Duration::from_nanos(1)));
            supervisor.handle_timeout(*now, |_| false);
        }
    };
    round(&mut now);
    measured(&mut || round(&mut now));
}
