//! Two recorded endpoints, joined in memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::contract::{Command, Event, IoCause, LinkCommand, ListenerId, Notification};
use headwater_core::endpoint::Endpoint;
use headwater_core::id::{ConnectionId, PeerId, ProtocolId};
use headwater_core::record;
use headwater_core::secure::Insecure;
use headwater_core::seed::Seed;
use headwater_core::time::Instant;
use headwater_recorder::{Options, Recorder};

pub(crate) const DIALER: &str = "QmaZbkcHNW7V3r63aFGXr8o6UVVvQWLEHpMoseFo6UUJwR";
pub(crate) const LISTENER: &str = "QmZEph5JaQpAuRkGFuXty4KcbrcpYvrF52a797wGHMi322";

pub(crate) struct Side {
    pub(crate) endpoint: Endpoint<Insecure>,
    pub(crate) recorder: Recorder,
    link: Option<ConnectionId>,
    finished: bool,
    pub(crate) received: Vec<Bytes>,
    pub(crate) told: Vec<Notification>,
}

impl Side {
    fn new(id: &str, config: Config, options: Option<Options>) -> Self {
        let is_recorded = options.is_some();
        let recorder = Recorder::new(options.unwrap_or_default());
        let noting = is_recorded.then(|| Arc::new(recorder.clone()) as Arc<dyn record::Recorder>);
        let channels = Insecure::new(id.parse().unwrap()).unwrap();
        let endpoint = Endpoint::new(config, Seed::from_u64(7), channels, Instant::ZERO).unwrap();
        let endpoint = endpoint.with_recorder(noting);
        let (received, told) = (Vec::new(), Vec::new());
        Self { endpoint, recorder, link: None, finished: false, received, told }
    }

    /// The link breaks.
    pub(crate) fn cut(&mut self, now: Instant) {
        if let Some(link) = self.link.take() {
            self.endpoint.handle_io_error(now, link, IoCause::Reset);
        }
    }

    fn drain(&mut self, now: Instant) {
        if self.endpoint.next_timeout().is_some_and(|deadline| deadline.at <= now) {
            self.endpoint.handle_timeout(now);
        }
        while let Some(message) = self.endpoint.poll_message(now) {
            self.received.push(message.payload);
        }
        while let Some(command) = self.endpoint.poll_command() {
            match command {
                Command::Link { connection, command } if Some(connection) == self.link => {
                    self.finished = true;
                    if command != LinkCommand::Finish {
                        self.link = None;
                    }
                }
                _ => {}
            }
        }
        while let Some(notification) = self.endpoint.poll_notification() {
            self.told.push(notification);
        }
    }
}

pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) one: Side,
    pub(crate) two: Side,
    pub(crate) protocol: ProtocolId,
}

impl Pair {
    /// Two that have connected.
    pub(crate) fn new(config: Config, options: Options) -> Self {
        Self::with(config, Some(options))
    }

    /// Recorded, or not at all.
    pub(crate) fn with(config: Config, options: Option<Options>) -> Self {
        let protocol = ProtocolId::new("/echo/1").unwrap();
        let one = Side::new(DIALER, config.clone(), options.clone());
        let two = Side::new(LISTENER, config, options);
        let mut pair = Self { now: Instant::ZERO, one, two, protocol };
        let (now, place): (_, SocketAddr) = (pair.now, ([127, 0, 0, 1], 1).into());
        for side in [&mut pair.one, &mut pair.two] {
            side.endpoint.register(now, pair.protocol.clone()).unwrap();
        }
        let listener = pair.two.endpoint.listen(now, place).unwrap();
        pair.two.endpoint.handle_event(now, Event::Listening { listener, local: place });
        pair.link();
        pair
    }

    /// Makes a link between the two.
    pub(crate) fn link(&mut self) {
        let (now, place): (_, SocketAddr) = (self.now, ([127, 0, 0, 1], 1).into());
        self.one.endpoint.dial(now, Address::from(place)).unwrap();
        let Some(Command::Dial { connection, .. }) = self.one.endpoint.poll_command() else {
            panic!("no dial");
        };
        self.one.endpoint.handle_dialed(now, connection, place).unwrap();
        let accepted = self.two.endpoint.handle_accepted(now, ListenerId(0), place).unwrap();
        (self.one.link, self.two.link) = (Some(connection), Some(accepted));
        (self.one.finished, self.two.finished) = (false, false);
        self.settle();
        assert!(self.one.endpoint.route(&id(LISTENER)).is_some());
        assert!(self.two.endpoint.route(&id(DIALER)).is_some());
    }

    /// Moves bytes until there are none, in pieces of odd lengths.
    pub(crate) fn settle(&mut self) {
        for round in 0_usize.. {
            self.now = self.now.after(Duration::from_micros(50));
            let forth = carry(self.now, &mut self.one, &mut self.two, 1 + round * 977 % 40_000);
            let back = carry(self.now, &mut self.two, &mut self.one, 1 + round * 991 % 40_000);
            self.one.drain(self.now);
            self.two.drain(self.now);
            if !forth && !back {
                return;
            }
        }
    }

    /// The second one reads, hears that it stops, and only then is told that it has read.
    pub(crate) fn read_and_stop(&mut self) {
        let (now, link) = (self.now, self.two.link.unwrap());
        let mut chunks: [&[u8]; 16] = [&[]; 16];
        let count = self.one.endpoint.transmit(now, self.one.link.unwrap(), &mut chunks);
        let bytes = chunks[..count].concat();
        assert!(!bytes.is_empty());
        self.two.endpoint.recv_buf(link).unwrap().extend_from_slice(&bytes);
        self.two.endpoint.stop(now);
        self.two.endpoint.handle_received(now, link).unwrap();
        self.one.endpoint.handle_transmitted(now, self.one.link.unwrap(), bytes.len());
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.settle();
    }

    pub(crate) fn send(&mut self, payload: Bytes) {
        let to = id(LISTENER);
        while self.one.endpoint.send(self.now, &to, &self.protocol, payload.clone()).is_err() {
            self.settle();
        }
    }
}

pub(crate) fn id(text: &str) -> PeerId {
    text.parse().unwrap()
}

/// Moves at most `max` bytes one way; whether there were any.
fn carry(now: Instant, from: &mut Side, to: &mut Side, max: usize) -> bool {
    let (Some(from_id), Some(to_id)) = (from.link, to.link) else {
        if let Some(left) = to.link.filter(|_| from.finished) {
            to.endpoint.handle_eof(now, left);
        }
        return false;
    };
    let mut chunks: [&[u8]; 16] = [&[]; 16];
    let count = from.endpoint.transmit(now, from_id, &mut chunks);
    if count == 0 {
        if from.finished {
            to.endpoint.handle_eof(now, to_id);
        }
        return false;
    }
    let Some(buffer) = to.endpoint.recv_buf(to_id) else { return false };
    let room = (buffer.capacity() - buffer.len()).min(max);
    let bytes = chunks[..count].concat();
    let moved = bytes.len().min(room);
    buffer.extend_from_slice(&bytes[..moved]);
    to.endpoint.handle_received(now, to_id).unwrap();
    from.endpoint.handle_transmitted(now, from_id, moved);
    moved > 0
}
