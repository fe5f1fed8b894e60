//! Two endpoints joined in memory, for benches: as little around them as can be.

use std::net::SocketAddr;

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::contract::{Command, Event, ListenerId};
use headwater_core::endpoint::Endpoint;
use headwater_core::id::{ConnectionId, PeerId, ProtocolId};
use headwater_core::message::Batch;
use headwater_core::secure::Insecure;
use headwater_core::seed::Seed;
use headwater_core::time::Instant;

/// Two connected endpoints; what one transmits is copied into the other's receive buffer.
#[derive(Debug)]
pub struct Pair {
    now: Instant,
    sender: Endpoint<Insecure>,
    receiver: Endpoint<Insecure>,
    ids: (ConnectionId, ConnectionId),
    batch: Batch,
    protocol: ProtocolId,
    peer: PeerId,
}

fn endpoint(digit: u8, now: Instant) -> Endpoint<Insecure> {
    let mut text = *b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";
    text[2] = digit;
    let id = PeerId::from_bytes(&text).expect("an id");
    let channels = Insecure::new(id).expect("46 bytes");
    Endpoint::new(Config::default(), Seed::from_u64(1), channels, now).expect("a valid config")
}

impl Pair {
    /// Two endpoints that know each other and the protocol `/bench`.
    ///
    /// # Panics
    ///
    /// If they do not come to know each other.
    #[must_use]
    pub fn new() -> Self {
        let now = Instant::from_nanos(1);
        let protocol = ProtocolId::new("/bench").expect("an id");
        let (mut sender, mut receiver) = (endpoint(b'1', now), endpoint(b'2', now));
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

    /// Accepts a message for sending; false when the outbox is full.
    pub fn send(&mut self, payload: Bytes) -> bool {
        self.sender.send(self.now, &self.peer, &self.protocol, payload).is_ok()
    }

    /// Moves bytes both ways once; false when there were none.
    pub fn exchange(&mut self) -> bool {
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

fn transfer(
    now: Instant,
    from: &mut Endpoint<Insecure>,
    from_id: ConnectionId,
    to: &mut Endpoint<Insecure>,
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
