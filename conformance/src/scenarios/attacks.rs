//! Peers that break the rules on real links: what they do ends their stream or their link, by a
//! reason that is told, and nothing changes for anybody else.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use headwater_core::config::Config;
use headwater_core::contract::{Notification, TimerKind};
use headwater_core::error::{
    CloseReason, ExchangeError, Layer, Offence, Refusal, SendError, UndeliveredReason,
};
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::mux::{Abuse, SessionError, StreamId};
use headwater_core::wire::MessageKind;

use crate::hostile::{BI, FIN, Frame, Hostile, SYN, UNI, bomb, exchanger, framed, package};
use crate::pair::{Pair, id, patient, payload, start, test};
use crate::{Adapter, LONG, Node, Running, Security};

/// A node, a good peer that is connected to it, and where others find it.
struct Field<A: Adapter, B: Adapter> {
    victim: Running<A>,
    good: Running<B>,
    target: SocketAddr,
    security: Security,
    said: u32,
}

impl<A: Adapter, B: Adapter> Field<A, B> {
    fn with(a: &A, b: &B, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = patient();
        // Nobody here closes in order.
        config.close_deadline = Duration::from_millis(500);
        change(&mut config);
        let (victim, good) = (start(a, "one", config), start(b, "two", patient()));
        let Pair { one, two, local } = Pair::connect_these(victim, good, Into::into);
        Self { victim: one, good: two, target: local, security: a.security(), said: 0 }
    }

    fn new(a: &A, b: &B) -> Self {
        Self::with(a, b, |_| {})
    }

    /// A hostile peer with an honest opening behind it.
    fn open(&mut self, name: &str) -> Hostile {
        let protocols = [test().as_str().to_owned(), ProtocolId::EXCHANGER.to_owned()];
        let protocols: Vec<&str> = protocols.iter().map(String::as_str).collect();
        let peer = Hostile::open(self.target, self.security, name, &protocols).unwrap();
        self.victim.await_support(peer.id());
        peer
    }

    /// A hostile peer that has said nothing.
    fn connect(&self, name: &str) -> Hostile {
        Hostile::connect(self.target, self.security, name).unwrap()
    }

    /// The good peer is served as if nobody else were there.
    fn assert_served(&mut self) {
        self.said += 1;
        let word = format!("message {}", self.said);
        self.good.node.send_wait(id("one"), &test(), word.clone().into(), LONG).unwrap();
        while self.victim.message().payload != word.as_bytes() {}
        self.victim.node.send_wait(id("two"), &test(), word.clone().into(), LONG).unwrap();
        assert_eq!(self.good.message().payload, word.as_bytes());
    }

    /// Why the node ended the link of a peer.
    fn reason(&mut self, peer: &mut Hostile) -> CloseReason {
        // It goes on reading, as somebody does who wants to be told.
        let id = peer.id();
        peer.listen_until(LONG, Hostile::is_ended);
        let told = self.victim.told(|told| match told {
            Notification::Disconnected { peer, .. } => *peer == id,
            Notification::Refused { peer, .. } => peer.is_none_or(|peer| peer == id),
            _ => false,
        });
        match told {
            Notification::Refused { reason: Refusal::Closed(reason), .. } => *reason,
            Notification::Refused { reason, .. } => CloseReason::Refused(reason),
            Notification::Disconnected { reason, .. } => reason,
            told => panic!("{told:?}"),
        }
    }

    fn stop(self) {
        let Self { victim, good, .. } = self;
        good.stop();
        victim.stop();
    }
}

/// The last message of a hostile peer that is still connected arrives.
fn assert_connected<A: Adapter, B: Adapter>(field: &mut Field<A, B>, peer: &mut Hostile, at: u32) {
    peer.message(at, &test(), b"still here");
    while field.victim.message().payload != b"still here"[..] {}
}

/// D-1, D-3, D-25: lengths that nobody can have, malformed packages, what unpacks without end.
pub fn packages_beyond_a_limit_reset_their_stream_alone<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let mut field = Field::with(a, b, |config| config.message_max = 1 << 20);
    let mut peer = field.open("hostile");
    let name = test();
    let bad: Vec<Vec<u8>> = vec![
        u64::MAX.to_be_bytes().to_vec(),
        (1_u64 << 63).to_be_bytes().to_vec(),
        (2_u64 << 20).to_be_bytes().to_vec(),
        vec![0; 8],
        framed(&[0x80; 11]),
        framed(&[200, 1, b'/']),
        framed(&[3, 0xff, 0xfe, 0xfd, 0, 0]),
        framed(&[&[11][..], name.as_str().as_bytes(), &[5, 1, 2]].concat()),
        bomb(name.as_str(), (1 << 20) + 1),
        bomb(name.as_str(), 100 << 20),
    ];
    for (number, bytes) in bad.iter().enumerate() {
        let stream = 4 * number as u32 + 1;
        peer.inner(UNI, &Frame::syn(stream));
        peer.pour(stream, bytes, Duration::from_millis(100));
        assert!(peer.listen_until(LONG, |peer| peer.was_reset(UNI, stream)), "case {number}");
        assert_connected(&mut field, &mut peer, stream + 2);
    }
    field.assert_served();
    field.stop();
}

/// D-2: it was announced, and never comes.
pub fn d02_messages_that_never_end_are_reset<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let mut field = Field::with(a, b, |config| {
        config.progress_interval = Duration::from_millis(200);
    });
    let mut peer = field.open("hostile");
    let message = package(test().as_str(), &vec![1; 15 << 20]);
    for stream in [1, 3, 5] {
        peer.inner(UNI, &Frame::syn(stream));
        peer.pour(stream, &message[..200_000], LONG);
    }
    for stream in [1, 3, 5] {
        assert!(peer.listen_until(LONG, |peer| peer.was_reset(UNI, stream)), "{stream}");
    }
    assert_connected(&mut field, &mut peer, 7);
    field.assert_served();
    field.stop();
}

/// What a flood is, and what it ends with; the second number says how often it is sent at most.
type Flood = (&'static str, fn(u32) -> (Option<usize>, Vec<u8>), fn(&CloseReason) -> bool);

fn is_abuse(reason: &CloseReason, of: Abuse) -> bool {
    matches!(reason, CloseReason::Session { error: SessionError::Abuse { what }, .. } if *what == of)
}

fn is_offence(reason: &CloseReason, of: Offence) -> bool {
    matches!(reason, CloseReason::Offences { last } if *last == of)
}

const FLOODS: [Flood; 8] = [
    (
        "streams",
        |n| (Some(UNI), Frame::syn(2 * n + 1).encode()),
        |reason| is_offence(reason, Offence::Streams),
    ),
    (
        "streams that have no place",
        |n| (None, Frame::syn(2 * n + 5).encode()),
        |reason| is_offence(reason, Offence::Misplaced),
    ),
    (
        "streams beside the exchange",
        |n| (Some(BI), Frame::syn(2 * n + 1).encode()),
        |reason| is_offence(reason, Offence::Misplaced),
    ),
    (
        "resets",
        |n| (Some(UNI), [Frame::syn(2 * n + 1).encode(), Frame::rst(2 * n + 1).encode()].concat()),
        |reason| is_abuse(reason, Abuse::Resets),
    ),
    (
        "bad packages",
        |n| (Some(UNI), Frame::data(2 * n + 1, vec![0; 8]).flags(SYN).encode()),
        |reason| is_offence(reason, Offence::Package),
    ),
    ("pings", |n| (None, Frame::ping(n).encode()), |reason| is_abuse(reason, Abuse::Pings)),
    (
        "empty frames",
        |_| (Some(UNI), Frame::data(1, []).encode()),
        |reason| is_abuse(reason, Abuse::EmptyFrames),
    ),
    (
        "window updates",
        |_| (None, Frame::update(1, 1).encode()),
        |reason| is_abuse(reason, Abuse::WindowUpdates),
    ),
];

/// Each spends a budget, and the connection ends; the good peer never notices.
pub fn floods_end_their_connection_alone<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let mut field = Field::new(a, b);
    for (what, frames, expected) in FLOODS {
        let mut peer = field.open(what);
        for n in 0..50_000 {
            let (layer, bytes) = frames(n);
            match layer {
                Some(layer) => peer.inner_bytes(layer, &bytes),
                None => peer.bytes(&bytes),
            }
            if peer.is_ended()
                || n % 64 == 63 && {
                    peer.listen(Duration::ZERO);
                    peer.is_ended()
                }
            {
                break;
            }
        }
        let reason = field.reason(&mut peer);
        // What is still on its way when the socket closes may reset it.
        assert!(expected(&reason), "{what}: {reason:?}");
        field.assert_served();
    }
    field.stop();
}

/// More data or credit than may be, versions and types that are not there, ids of the other side.
pub fn violations_end_their_connection_alone<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let mut field = Field::new(a, b);
    let stream = |number| StreamId(number);
    let beyond = Frame { length: 262_145, ..Frame::data(1, []).flags(SYN) };
    let window =
        |number, length| SessionError::Window { stream: stream(number), length, credit: 262_144 };
    let cases: Vec<(Option<usize>, Frame, SessionError)> = vec![
        (Some(UNI), beyond, window(1, 262_145)),
        (
            Some(UNI),
            Frame { length: u32::MAX, ..Frame::data(7, []).flags(SYN) },
            window(7, u32::MAX),
        ),
        (None, Frame::update(1, 0xffff_0000), SessionError::CreditOverflow { stream: stream(1) }),
        (None, Frame { version: 1, ..Frame::ping(0) }, SessionError::Version(1)),
        (None, Frame { kind: 4, ..Frame::ping(0) }, SessionError::Kind(4)),
        (Some(UNI), Frame { kind: 255, ..Frame::ping(0) }, SessionError::Kind(255)),
        (Some(UNI), Frame::syn(2), SessionError::Parity { stream: stream(2) }),
        (Some(BI), Frame::syn(0), SessionError::Parity { stream: stream(0) }),
        (None, Frame::syn(3), SessionError::DuplicateSyn { stream: stream(3) }),
        (None, Frame::go_away(2), SessionError::GoAway(2)),
    ];
    for (number, (at, frame, error)) in cases.into_iter().enumerate() {
        let mut peer = field.open(&format!("hostile {number}"));
        let layer = match at {
            Some(UNI) => Layer::Uni,
            Some(_) => Layer::Bi,
            None => Layer::Outer,
        };
        match at {
            Some(at) => peer.inner(at, &frame),
            None => peer.outer(&frame),
        }
        let reason = field.reason(&mut peer);
        assert_eq!(reason, CloseReason::Session { layer, error }, "case {number}");
        field.assert_served();
    }
    field.stop();
}

/// D-108: they are skipped, and cost nothing.
pub fn d108_frames_for_closed_and_unknown_streams_change_nothing<A: Adapter, B: Adapter>(
    a: &A,
    b: &B,
) {
    let mut field = Field::new(a, b);
    let mut peer = field.open("hostile");
    for n in 0..200_u32 {
        let gone = 4 * n + 1;
        let frames = [
            Frame::data(gone, package(test().as_str(), b"closed")).flags(SYN | FIN).encode(),
            Frame::data(gone, vec![7; 1000]).encode(),
            Frame::update(gone, 100_000).encode(),
            Frame::data(gone + 1_000_000, vec![7; 1000]).encode(),
            Frame::fin(gone + 1_000_000).encode(),
        ];
        peer.inner_bytes(UNI, &frames.concat());
        peer.listen(Duration::ZERO);
    }
    for _ in 0..200 {
        assert_eq!(field.victim.message().payload, b"closed"[..]);
    }
    assert_connected(&mut field, &mut peer, 2_000_001);
    field.assert_served();
    field.stop();
}

/// D-71 and the others: too many protocols, names that are none, somebody else's id.
pub fn exchanges_that_are_not_what_they_claim_are_refused<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let mut field = Field::new(a, b);
    let response = MessageKind::Response;
    let names: Vec<String> = (0..1025).map(|n| format!("/{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let text = |tag: u8, bytes: &[u8]| [&[tag, bytes.len() as u8][..], bytes].concat();
    let list = |me: PeerId, more: &[u8]| {
        let fields = [&text(0x0a, me.as_bytes())[..], more, &[0x18, 3]].concat();
        package(ProtocolId::EXCHANGER, &fields)
    };
    let me = |number: usize| Hostile::id_of(&format!("hostile {number}"));
    let cases: Vec<(Vec<u8>, ExchangeError)> = vec![
        (exchanger(response, me(0), &names), ExchangeError::Malformed),
        (list(me(1), &text(0x12, &[0xff, 0xfe])), ExchangeError::Malformed),
        (list(me(2), &text(0x12, b"")), ExchangeError::Malformed),
        (list(me(3), &text(0x0a, b"no base58: 0OIl")), ExchangeError::Malformed),
        (exchanger(response, me(0), &[]), ExchangeError::WrongPeer),
        (exchanger(MessageKind::Push, me(5), &[]), ExchangeError::WrongKind),
        (package(test().as_str(), b"hello"), ExchangeError::WrongProtocol),
        (vec![0xff; 8], ExchangeError::Malformed),
    ];
    for (number, (answer, error)) in cases.into_iter().enumerate() {
        let mut peer = field.connect(&format!("hostile {number}"));
        peer.say_id();
        peer.open_outer();
        assert!(peer.await_question());
        peer.inner(BI, &Frame::data(2, answer));
        assert_eq!(field.reason(&mut peer), CloseReason::Exchange(error), "case {number}");
    }
    // Not even an id.
    let mut peer = field.connect("nobody");
    peer.raw(&[0; 46]);
    let reason = field.reason(&mut peer);
    assert!(matches!(reason, CloseReason::Channel(_)), "{reason:?}");
    // The node's own id.
    let mut peer = field.connect("one");
    peer.say_id();
    assert_eq!(field.reason(&mut peer), CloseReason::Refused(Refusal::OwnId));
    // One that is connected: the good peer stays.
    let mut peer = field.connect("two");
    peer.say_id();
    assert_eq!(field.reason(&mut peer), CloseReason::Refused(Refusal::TooManyConnections));
    field.assert_served();
    field.stop();
}

/// D-75: a link without security is none to a node that was not told to do without, and the other
/// way round: nobody is downgraded.
pub fn d75_a_link_of_the_other_kind_is_refused<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let mut field = Field::new(a, b);
    let other = match field.security {
        Security::Insecure => Security::Tls,
        Security::Tls => Security::Insecure,
    };
    let mut peer = Hostile::connect(field.target, other, "hostile").unwrap();
    let words = peer.first_words();
    peer.raw(&words);
    let reason = field.reason(&mut peer);
    assert!(matches!(reason, CloseReason::Channel(_)), "{reason:?}");
    field.assert_served();
    field.stop();
}

/// D-21: at every stage, and byte by byte, the deadline is the same.
pub fn d21_half_and_slow_handshakes_end_at_their_deadline<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let deadline = Duration::from_millis(1500);
    let mut field = Field::with(a, b, |config| {
        config.handshake_deadline = deadline;
        config.exchange_deadline = deadline;
    });
    let begun = Instant::now();
    let connect = |name: &str| field.connect(name);
    let (silent, mut half, mut slow) = (connect("silent"), connect("half"), connect("slow"));
    let words = half.first_words();
    half.raw(&words[..45]);
    let (mut named, mut opened) = (connect("named"), connect("opened"));
    named.say_id();
    opened.say_id();
    opened.open_outer();
    opened.inner(UNI, &Frame::data(1, package(test().as_str(), b"too early")).flags(SYN));
    for byte in slow.first_words().iter().take(30) {
        slow.raw(&[*byte]);
        slow.listen(Duration::from_millis(20));
        assert!(!slow.is_ended() || begun.elapsed() >= deadline);
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut reasons = Vec::new();
    for mut peer in [silent, half, slow, named, opened] {
        assert!(peer.listen_until(LONG, Hostile::is_ended));
        assert!(begun.elapsed() >= deadline);
        let told = field.victim.told(|told| matches!(told, Notification::Refused { .. }));
        let Notification::Refused { reason: Refusal::Closed(reason), .. } = told else {
            panic!("{told:?}");
        };
        reasons.push(*reason);
    }
    let late = |why| reasons.iter().filter(|reason| **reason == CloseReason::Deadline(why)).count();
    assert_eq!((late(TimerKind::Handshake), late(TimerKind::Exchange)), (3, 2), "{reasons:?}");
    field.assert_served();
    field.stop();
}

/// D-21: links without a proof are bounded; a good peer waits in the backlog no longer than the
/// deadline of those that are ahead of it.
pub fn d21_a_flood_of_handshakes_keeps_no_good_peer_out<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let mut field = Field::with(a, b, |config| {
        config.pending_max = 16;
        config.handshake_deadline = Duration::from_millis(300);
    });
    let flood: Vec<Hostile> =
        (0..100).map(|number| field.connect(&format!("silent {number}"))).collect();
    field.assert_served();
    let late = start(b, "three", patient());
    assert_eq!(late.node.dial(field.target.into()), Ok(id("one")));
    field.victim.await_support(id("three"));
    for mut peer in flood {
        assert!(peer.listen_until(LONG, Hostile::is_ended));
    }
    field.assert_served();
    late.stop();
    field.stop();
}

/// D-33: what is sent to a peer that reads nothing and gives no credit is told as undelivered, and
/// waits in a bounded place until then.
pub fn d33_what_a_peer_never_takes_is_told_of<A: Adapter, B: Adapter>(a: &A, b: &B) {
    let mut field = Field::with(a, b, |config| config.send_deadline = Duration::from_millis(300));
    let mut peer = field.open("hostile");
    peer.credits = false;
    let large = payload(1, 100_000);
    let send = |field: &Field<A, B>| field.victim.node.send(peer.id(), &test(), large.clone());
    for _ in 0..3 {
        let mut sent = 0;
        while send(&field).is_ok() {
            sent += 1;
            assert!(sent < 200, "it takes without end");
        }
        assert!(matches!(send(&field), Err(SendError::Full { .. })));
        let told = field.victim.told(|told| matches!(told, Notification::Undelivered { .. }));
        let Notification::Undelivered { peer: to, reason, .. } = told else { panic!("{told:?}") };
        assert_eq!((to, reason), (peer.id(), UndeliveredReason::Deadline));
        field.assert_served();
    }
    field.stop();
}
