//! Two channels, joined by bytes.

use bytes::{Bytes, BytesMut};
use headwater_core::buffer::SealedBuf;
use headwater_core::buffer::out::OutBuf;
use headwater_core::contract::Direction;
use headwater_core::secure::{ChannelError, ChannelFactory, Opened, SecureChannel};
use headwater_tls::{Tls, TlsChannel, TlsError};

/// Room for what one record opens to, as the connection gives it.
const PLAIN_ROOM: usize = 17 * 1024;

/// One end: a channel, and what it did.
pub(crate) struct End {
    pub(crate) channel: TlsChannel,
    /// Came from the other end, not opened yet.
    pub(crate) input: BytesMut,
    pub(crate) received: Vec<u8>,
    pub(crate) proven: bool,
    pub(crate) closed: bool,
    pub(crate) error: Option<ChannelError>,
    pub(crate) out: OutBuf,
    /// On the way to the other end.
    pub(crate) wire: BytesMut,
    /// The longest input that was left unopened.
    pub(crate) input_max: usize,
}

impl End {
    pub(crate) fn new(tls: &Tls, direction: Direction) -> Self {
        Self::with(tls.clone().channel(direction, None))
    }

    fn with(channel: TlsChannel) -> Self {
        Self {
            channel,
            input: BytesMut::new(),
            received: Vec::new(),
            proven: false,
            closed: false,
            error: None,
            out: OutBuf::new(),
            wire: BytesMut::new(),
            input_max: 0,
        }
    }

    pub(crate) fn send(&mut self, bytes: impl Into<Bytes>) {
        self.out.put_shared(bytes.into());
    }

    /// Why the channel failed.
    pub(crate) fn failure(&self) -> &TlsError {
        self.channel.failure().expect("it has not failed")
    }

    /// Takes bytes from the wire.
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while self.error.is_none() && !self.closed {
            let mut plain = BytesMut::with_capacity(PLAIN_ROOM);
            let before = self.input.len();
            let opened = self.channel.open(&mut self.input, &mut plain);
            assert!(plain.capacity() < 2 * PLAIN_ROOM, "it grew what it was lent");
            let moved = before != self.input.len() || !plain.is_empty();
            self.received.extend_from_slice(&plain);
            match opened {
                Ok(Opened::Waiting) if moved => {}
                Ok(Opened::Waiting) => break,
                Ok(Opened::Proven) => {
                    assert!(!self.proven, "proven twice");
                    assert!(plain.is_empty(), "plaintext before the peer was told");
                    assert!(self.channel.peer().is_some());
                    self.proven = true;
                }
                Ok(Opened::Closed) => self.closed = true,
                Err(error) => self.error = Some(error),
            }
        }
        self.input_max = self.input_max.max(self.input.len());
    }

    /// Puts on the wire what there is to say.
    pub(crate) fn speak(&mut self, out_max: usize) {
        let mut said = SealedBuf::new();
        self.channel.flush(&mut said);
        if self.proven {
            let before = said.len();
            self.channel.seal(&mut self.out, &mut said, out_max);
            assert!(said.len() - before <= out_max, "more than it may");
        }
        self.wire.extend_from_slice(&said);
    }
}

/// A dialer and a listener.
pub(crate) struct Link {
    pub(crate) dialer: End,
    pub(crate) listener: End,
    /// How many bytes move at once.
    pub(crate) step: usize,
    /// How many bytes each sealing may give.
    pub(crate) out_max: usize,
}

impl Link {
    pub(crate) fn new(dialer: &Tls, listener: &Tls) -> Self {
        Self {
            dialer: End::new(dialer, Direction::Outbound),
            listener: End::new(listener, Direction::Inbound),
            step: usize::MAX,
            out_max: 256 * 1024,
        }
    }

    /// Moves bytes until there are none.
    pub(crate) fn run(&mut self) {
        loop {
            self.dialer.speak(self.out_max);
            self.listener.speak(self.out_max);
            let step = self.step;
            let moved = carry(&mut self.dialer, &mut self.listener, step)
                | carry(&mut self.listener, &mut self.dialer, step);
            if !moved {
                return;
            }
        }
    }
}

fn carry(from: &mut End, to: &mut End, step: usize) -> bool {
    let bytes = from.wire.split_to(from.wire.len().min(step));
    if !bytes.is_empty() {
        to.hear(&bytes);
    }
    !bytes.is_empty()
}
