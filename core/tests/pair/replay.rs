//! Chunking-independence (P9): what one end heard, heard again by a fresh one in other pieces.
//!
//! The bytes before the connection goes live are fed read by read, each one cut, because an
//! answer cannot be heard before what it answers was said. What follows is one stream of bytes,
//! cut at will.

use headwater_core::contract::{Command, Event, LinkCommand};
use headwater_core::endpoint::Endpoint;
use headwater_core::id::ConnectionId;
use headwater_core::time::Instant;
use proptest::prelude::*;

use crate::frames::{Frame, Layer, PING, RST, WINDOW, frames};
use crate::harness::{Channels, Cut, over_both_channels, peer_id, protocol, seed_of, short};
use crate::record::Record;
use crate::script::{Op, Run, calm_ops};
use headwater_core::config::Config;
use headwater_core::secure::Insecure;

const START: Instant = Instant::from_nanos(1_000_000_000);
const SEED: u64 = 77;

/// How a recorded stream is fed.
#[derive(Clone, Debug)]
struct Pieces {
    /// Sizes of reads, used in turn.
    sizes: Vec<usize>,
    /// Which byte after the connection went live is damaged.
    damaged: Option<usize>,
    /// Whether the bytes end with the end of the link.
    eof: bool,
    /// Whether the application takes messages only after all bytes came, from an inbox that
    /// holds few.
    late: bool,
}

/// What came out of a replay.
#[derive(Debug, PartialEq)]
struct Outcome {
    messages: Vec<(String, Vec<u8>)>,
    told: Vec<String>,
    link_commands: Vec<LinkCommand>,
    /// Frames written other than credit and data, sorted; only where they can be read.
    frames: Vec<Frame>,
}

/// Everything that end 1 heard on its only link while end 0 did all the talking.
fn heard<F: Channels>(dials: usize, ops: &[Op]) -> Vec<Vec<u8>> {
    let mut run = Run::<F>::new(START, SEED, Cut::Whole);
    run.world.connect(dials, 1 - dials);
    run.apply_all(ops);
    run.finish();
    let mut links = std::mem::take(&mut run.world.ends[1].heard);
    assert_eq!(links.len(), 1);
    links.pop_first().unwrap().1
}

/// End 1 as it was when the link was made.
fn fresh<F: Channels>(dials: usize, late: bool) -> (Endpoint<F>, ConnectionId) {
    let channels = F::of(peer_id(1));
    let mut config = Config::default();
    if late {
        config.inbox_max = 4096;
    }
    let mut endpoint = Endpoint::new(config, seed_of(SEED, 1), channels, START).unwrap();
    endpoint.register(START, protocol("/echo")).unwrap();
    let local = "127.0.0.1:1001".parse().unwrap();
    let listener = endpoint.listen(START, local).unwrap();
    endpoint.handle_event(START, Event::Listening { listener, local });
    while endpoint.poll_command().is_some() {}
    let remote: std::net::SocketAddr = "127.0.0.1:1000".parse().unwrap();
    let connection = if dials == 1 {
        let address = headwater_core::address::Address::from(remote).with_peer(peer_id(0));
        endpoint.dial(START, address).unwrap();
        let Some(Command::Dial { connection, .. }) = endpoint.poll_command() else {
            panic!("no dial")
        };
        endpoint.handle_dialed(START, connection, local).unwrap();
        connection
    } else {
        endpoint.handle_accepted(START, listener, remote).unwrap()
    };
    (endpoint, connection)
}

struct Replay<F: Channels> {
    endpoint: Endpoint<F>,
    connection: ConnectionId,
    written: Vec<u8>,
    outcome: Outcome,
    late: bool,
}

impl<F: Channels> Replay<F> {
    fn new(dials: usize, late: bool) -> Self {
        let (endpoint, connection) = fresh(dials, late);
        let outcome = Outcome {
            messages: Vec::new(),
            told: Vec::new(),
            link_commands: Vec::new(),
            frames: Vec::new(),
        };
        Self { endpoint, connection, written: Vec::new(), outcome, late }
    }

    fn drain(&mut self) {
        loop {
            let mut chunks: [&[u8]; 8] = [&[]; 8];
            let count = self.endpoint.transmit(START, self.connection, &mut chunks);
            let bytes = chunks[..count].concat();
            if bytes.is_empty() {
                break;
            }
            self.written.extend(&bytes);
            self.endpoint.handle_transmitted(START, self.connection, bytes.len());
        }
        while !self.late {
            let Some(message) = self.endpoint.poll_message(START) else { break };
            let message = (message.protocol.to_string(), message.payload.to_vec());
            self.outcome.messages.push(message);
        }
        while let Some(command) = self.endpoint.poll_command() {
            if let Command::Link { command, .. } = command {
                self.outcome.link_commands.push(command);
            }
        }
    }

    /// Feeds `bytes` in pieces whose sizes come from `sizes`.
    fn feed(&mut self, mut bytes: &[u8], sizes: &mut impl Iterator<Item = usize>) {
        while !bytes.is_empty() {
            let Some(buffer) = self.endpoint.recv_buf(self.connection) else { return };
            let room = buffer.capacity() - buffer.len();
            let take = sizes.next().unwrap().min(bytes.len()).min(room);
            buffer.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            self.endpoint.handle_received(START, self.connection).unwrap();
            self.drain();
        }
        self.endpoint.assert_invariants();
    }

    fn finish(mut self, plain: bool, eof: bool) -> Outcome {
        if std::mem::take(&mut self.late) {
            self.drain();
            self.drain();
            // Streams whose messages had to wait take turns.
            self.outcome.messages.sort();
        }
        if eof {
            self.endpoint.handle_eof(START, self.connection);
            self.drain();
        }
        while let Some(notification) = self.endpoint.poll_notification() {
            self.outcome.told.push(short(&notification));
        }
        if plain {
            let mut all = frames(&self.written[46..]);
            all.retain(|frame| frame.stream == 0 || frame.kind == WINDOW && frame.len == 0);
            // A reset takes the place of what was due on its stream and had not left.
            let reset: Vec<_> = all.iter().filter(|f| f.flags == RST).cloned().collect();
            let of = |frame: &Frame| (frame.layer, frame.stream);
            all.retain(|f| f.flags == RST || reset.iter().all(|reset| of(reset) != of(f)));
            // A session that breaks takes the connection with it, and what was due had left or not.
            if self.outcome.told.iter().any(|told| told.contains(" session: ")) {
                all.retain(|f| f.layer == Layer::Outer && f.kind != PING);
            }
            all.sort();
            self.outcome.frames = all;
        }
        self.outcome
    }
}

fn replay<F: Channels>(dials: usize, reads: &[Vec<u8>], pieces: &Pieces, plain: bool) -> Outcome {
    let total: usize = reads.iter().map(Vec::len).sum();
    // What nobody takes has to fit into the windows.
    let late = pieces.late && total < 200_000;
    let mut replay = Replay::<F>::new(dials, late);
    replay.drain();
    // Long streams are cut less finely: at most a few thousand reads.
    let scale = total.div_ceil(5000);
    let mut sizes = pieces.sizes.iter().map(|size| size.saturating_mul(scale)).cycle();
    let mut reads = reads.iter();
    while replay.endpoint.peers().next().is_none() {
        replay.feed(reads.next().unwrap(), &mut sizes);
    }
    let mut rest: Vec<u8> = reads.flatten().copied().collect();
    if let Some(at) = pieces.damaged.filter(|_| !rest.is_empty()) {
        let at = at % rest.len();
        rest[at] ^= 0x41;
    }
    replay.feed(&rest, &mut sizes);
    replay.finish(plain, pieces.eof)
}

fn check<F: Channels>(dials: usize, ops: &[Op], pieces: &Pieces, plain: bool) {
    let reads = heard::<F>(dials, ops);
    let whole = Pieces { sizes: vec![usize::MAX], ..pieces.clone() };
    let cut = replay::<F>(dials, &reads, pieces, plain);
    assert_eq!(cut, replay::<F>(dials, &reads, &whole, plain));
}

/// Only end 0 does anything that the other can hear of.
fn talk() -> impl Strategy<Value = Vec<Op>> {
    calm_ops().prop_map(|ops| ops.into_iter().filter_map(of_talker).collect())
}

fn of_talker(op: Op) -> Option<Op> {
    Some(match op {
        Op::Send { len, .. } => Op::Send { from: 0, len: len % 30_000 },
        Op::Borrow { .. } => Op::Borrow { end: 0 },
        Op::SendBorrowed { len, .. } => Op::SendBorrowed { end: 0, len: len % 30_000 },
        Op::GiveBack { .. } => Op::GiveBack { end: 0 },
        Op::Register { name, .. } => Op::Register { end: 0, name },
        Op::Unregister { name, .. } => Op::Unregister { end: 0, name },
        op @ Op::Steps { .. } => op,
        _ => return None,
    })
}

fn pieces() -> impl Strategy<Value = Pieces> {
    let sizes = prop_oneof![
        1 => Just(vec![1]),
        2 => prop::collection::vec(1..40_usize, 1..6),
        2 => prop::collection::vec(1..5000_usize, 1..6),
        1 => prop::collection::vec(1..70_000_usize, 1..6),
    ];
    let damaged = prop_oneof![2 => Just(None), 1 => any::<usize>().prop_map(Some)];
    (sizes, damaged, any::<bool>(), any::<bool>()).prop_map(|(sizes, damaged, eof, late)| Pieces {
        sizes,
        damaged,
        eof,
        late,
    })
}

#[test]
fn p9_a_session_breaks_alike_however_much_was_answered_before() {
    let send = |len| Op::Send { from: 0, len };
    let step = || Op::Steps { count: 1 };
    let register = Op::Register { end: 0, name: 0 };
    let ops = [send(148), step(), register, step(), send(278), send(257)];
    let damaged = Some(10_033_875_729_635_684_701);
    check::<Insecure>(1, &ops, &Pieces { sizes: vec![1], damaged, eof: false, late: false }, true);
}

proptest! {
    #![proptest_config(crate::properties::cases(40))]

    #[test]
    fn p9_any_pieces_give_the_same_plain(dials in 0..2_usize, ops in talk(), pieces in pieces()) {
        check::<Insecure>(dials, &ops, &pieces, true);
    }

    #[test]
    fn p9_any_pieces_give_the_same_record(dials in 0..2_usize, ops in talk(), pieces in pieces()) {
        check::<Record>(dials, &ops, &pieces, false);
    }
}

over_both_channels!(p9_a_graceful_end_is_heard_in_any_pieces);

fn p9_a_graceful_end_is_heard_in_any_pieces<F: Channels>() {
    let ops = [
        Op::Send { from: 0, len: 300 },
        Op::Register { end: 0, name: 1 },
        Op::Send { from: 0, len: 30_000 },
        Op::Disconnect { by: 0 },
    ];
    for dials in 0..2 {
        let reads = heard::<F>(dials, &ops);
        let outcome = |size, eof| {
            let pieces = Pieces { sizes: vec![size], damaged: None, eof, late: false };
            replay::<F>(dials, &reads, &pieces, false)
        };
        let whole = outcome(usize::MAX, true);
        assert_eq!(whole.messages.len(), 2);
        assert_eq!(whole.told.last().unwrap(), "disconnected: closed by the peer");
        assert_eq!(whole.link_commands, [LinkCommand::Finish, LinkCommand::Close]);
        for size in [1, 2, 7, 12, 13, 1000, 20_000] {
            assert_eq!(outcome(size, true), whole, "{size}");
        }
    }
}
