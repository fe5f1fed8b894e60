//! Two endpoints joined in memory, for benches: as little around them as can be.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::contract::{Command, Event, ListenerId};
use headwater_core::endpoint::Endpoint;
use headwater_core::id::{ConnectionId, PeerId, ProtocolId};
use headwater_core::message::Batch;
use headwater_core::secure::{ChannelFactory, Insecure};
use headwater_core::seed::Seed;
use headwater_core::time::Instant;
use headwater_tls::Tls;

/// How long bytes are under way.
const STEP: Duration = Duration::from_micros(20);

/// Two connected endpoints; what one transmits is copied into the other's receive buffer.
pub struct Pair<F: ChannelFactory = Insecure> {
    now: Instant,
    sender: Endpoint<F>,
    receiver: Endpoint<F>,
    ids: (ConnectionId, ConnectionId),
    batch: Batch,
    protocol: ProtocolId,
    peer: PeerId,
}

impl Pair {
    /// Two endpoints that know each other and the protocol `/bench`, in the clear.
    ///
    /// # Panics
    ///
    /// If they do not come to know each other.
    #[must_use]
    pub fn new() -> Self {
        let channels = |digit| Insecure::new(crate::peer_id(digit)).expect("46 bytes");
        Self::connect(channels(b'1'), channels(b'2'))
    }
}

impl Pair<Tls> {
    /// The same over TLS.
    ///
    /// # Panics
    ///
    /// If they do not come to know each other.
    #[must_use]
    pub fn tls() -> Self {
        let channels = || Tls::new(&crate::key()).expect("a usable key");
        Self::connect(channels(), channels())
    }
}

impl<F: ChannelFactory> Pair<F> {
    fn connect(sender: F, receiver: F) -> Self {
        let now = Instant::from_nanos(1);
        let protocol = ProtocolId::new("/bench").expect("an id");
        let endpoint = |channels| {
            Endpoint::new(Config::default(), Seed::from_u64(1), channels, now).expect("valid")
        };
        let (mut sender, mut receiver) = (endpoint(sender), endpoint(receiver));
        receiver.register(now, protocol.clone()).expect("registered");
        let local: SocketAddr = ([127, 0, 0, 1], 1).into();
        receiver.listen(now, local).expect("listening");
        receiver.handle_event(now, Event::Listening { listener: ListenerId(0), local });
        sender.dial(now, Address::from(local)).expect("dialling");
        let Some(Command::Dial { connection, .. }) = sender.poll_command() else {
            panic!("no dial");
        };
        sender.handle_dialed(now, connection, local).expect("dialled");
        let accepted = receiver.handle_accepted(now, ListenerId(0), local).expect("accepted");
        let peer = receiver.local();
        let ids = (connection, accepted);
        let batch = Batch::default();
        let mut pair = Self { now, sender, receiver, ids, batch, protocol, peer };
        while pair.exchange() {}
        assert!(pair.sender.route(&pair.peer).is_some(), "not connected");
        pair
    }

    /// Has the one that sends support a protocol, too.
    ///
    /// # Panics
    ///
    /// If it supports as many as it may.
    pub fn register(&mut self, protocol: ProtocolId) {
        self.sender.register(self.now, protocol).expect("registered");
    }

    /// Sends `count` fresh copies of `message`, and takes them all.
    pub fn transfer(&mut self, message: &[u8], count: usize) {
        let (mut sent, mut received) = (0, 0);
        let mut refused = None;
        while received < count {
            while sent < count {
                let payload = refused.take().unwrap_or_else(|| Bytes::copy_from_slice(message));
                let sending = self.sender.send(self.now, &self.peer, &self.protocol, payload);
                match sending {
                    Ok(()) => sent += 1,
                    Err(error) => {
                        refused = Some(error.into_payload());
                        break;
                    }
                }
            }
            self.exchange();
            received += self.receive().0;
        }
    }

    /// Moves bytes both ways once, which takes a little time; false when there were none.
    pub fn exchange(&mut self) -> bool {
        self.now = self.now.after(STEP);
        for endpoint in [&mut self.sender, &mut self.receiver] {
            if endpoint.next_timeout().is_some_and(|deadline| deadline.at <= self.now) {
                endpoint.handle_timeout(self.now);
            }
        }
        let forth =
            transfer(self.now, &mut self.sender, self.ids.0, &mut self.receiver, self.ids.1);
        let back = transfer(self.now, &mut self.receiver, self.ids.1, &mut self.sender, self.ids.0);
        forth | back
    }

    /// Takes what was received; gives the number of messages and of bytes.
    pub fn receive(&mut self) -> (usize, usize) {
        let (mut messages, mut bytes) = (0, 0);
        while self.receiver.take_messages(self.now, &mut self.batch) {
            while let Some(message) = self.batch.pop_ref() {
                messages += 1;
                bytes += message.payload.len();
            }
        }
        (messages, bytes)
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

/// Moves bytes one way, at most 64 pieces, as far as the other end lends a buffer for them.
pub(crate) fn transfer<F: ChannelFactory>(
    now: Instant,
    from: &mut Endpoint<F>,
    from_id: ConnectionId,
    to: &mut Endpoint<F>,
    to_id: ConnectionId,
) -> bool {
    if !from.wants_transmit(from_id) {
        return false;
    }
    let mut chunks: [&[u8]; 64] = [&[]; 64];
    let count = from.transmit(now, from_id, &mut chunks);
    let Some(buffer) = to.recv_buf(to_id) else { return false };
    let mut moved = 0;
    for chunk in &chunks[..count] {
        let room = buffer.capacity() - buffer.len();
        let piece = &chunk[..chunk.len().min(room)];
        buffer.extend_from_slice(piece);
        moved += piece.len();
        if piece.len() < chunk.len() {
            break;
        }
    }
    to.handle_received(now, to_id).expect("the buffer is the lent one");
    from.handle_transmitted(now, from_id, moved);
    moved > 0
}
