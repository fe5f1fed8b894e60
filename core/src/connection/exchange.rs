//! The protocol exchange of one connection (spec 4.1, 4.2 step 4, 4.4).
//!
//! At the start the inbound side opens a bi stream and sends REQUEST, the outbound side answers
//! RESPONSE, and both close the stream (D-59). An outbound side answers a REQUEST even where it
//! expects none (D-49). Later lists travel as PUSH and PUSH_OK on a uni stream kept for them.
//!
//! Bounds: one exchange stream; one list in each direction; one PUSH and one PUSH_OK due.

use alloc::boxed::Box;

use bytes::BytesMut;

use super::Connection;
use crate::config::Config;
use crate::contract::Direction;
use crate::error::{CloseReason, ExchangeError, Offence};
use crate::id::ProtocolId;
use crate::mux::{self, Priority, StreamId};
use crate::protocol::ProtocolSet;
use crate::secure::SecureChannel;
use crate::time::Instant;
use crate::wire::{
    AssemblyBuffers, DecodeLimits, Decoder, ExchangerLimits, ExchangerMessage, Item, MessageKind,
    encode_package,
};

#[derive(Debug, Default)]
pub(super) struct Exchange {
    ours: ProtocolSet,
    /// Whether Node waits for the peer's list.
    required: bool,
    /// The list came, or none is awaited.
    pub(super) done: bool,
    stream: Option<StreamId>,
    /// There while its stream is read.
    decoder: Option<Box<Decoder>>,
    /// The uni stream kept for PUSH and PUSH_OK, once there was one to send.
    push_stream: Option<StreamId>,
    push_due: Option<u64>,
    push_sent: Option<u64>,
    push_ok_due: bool,
    /// What is due cannot be written before something changes.
    parked: bool,
}

/// An exchange happens once, so its memory is not kept.
struct Once;

impl AssemblyBuffers for Once {
    fn take(&mut self, declared: usize) -> BytesMut {
        BytesMut::with_capacity(declared.min(4096))
    }
}

impl Exchange {
    pub(super) fn set_ours(&mut self, ours: ProtocolSet) {
        self.ours = ours;
    }

    pub(super) fn push(&mut self, version: u64) {
        self.push_due = Some(version);
    }

    /// Something has changed: what is due may be written now.
    pub(super) const fn unpark(&mut self) {
        self.parked = false;
    }

    /// Whether a PUSH or a PUSH_OK is due, as far as it can be written.
    pub(super) const fn is_due(&self) -> bool {
        !self.parked && (self.push_due.is_some() || self.push_ok_due)
    }
}

pub(super) fn limits(config: &Config) -> ExchangerLimits {
    ExchangerLimits { protocols_max: config.protocols_max, ..ExchangerLimits::default() }
}

impl<C: SecureChannel> Connection<C> {
    pub(super) fn start_exchange(&mut self, now: Instant, required: bool) {
        self.exchange.required = required;
        self.exchange.done = !required;
        if required && self.setup.direction == Direction::Inbound {
            if let Ok(stream) = self.bi.open(now, Priority::High) {
                self.exchange.stream = Some(stream);
                let package = self.message(MessageKind::Request);
                let _ = self.bi.write(stream, package.freeze());
            }
        }
    }

    fn message(&self, kind: MessageKind) -> BytesMut {
        let message =
            ExchangerMessage { pid: self.setup.local, protocols: self.exchange.ours.clone(), kind };
        let mut payload = BytesMut::with_capacity(message.encoded_len());
        message.encode(&mut payload);
        let mut package = BytesMut::new();
        encode_package(&mut package, ProtocolId::EXCHANGER, &payload, false);
        package
    }

    pub(super) fn on_bi(&mut self, now: Instant, event: mux::Event) {
        match event {
            mux::Event::Opened { stream } => {
                let expected = self.setup.direction == Direction::Outbound;
                if expected && self.exchange.stream.is_none() {
                    self.exchange.stream = Some(stream);
                    let _gone = self.bi.accept(stream);
                } else {
                    self.bi.reset(stream);
                    let done = self.receiver.offence(now, Offence::Misplaced);
                    self.check_offences(now, done);
                }
            }
            mux::Event::Data { stream, len } if Some(stream) == self.exchange.stream => {
                self.on_exchange_data(now, stream, len);
            }
            mux::Event::Finished { stream } | mux::Event::Reset { stream }
                if Some(stream) == self.exchange.stream && !self.exchange.done =>
            {
                self.fail(now, CloseReason::Exchange(ExchangeError::Ended));
            }
            _ => {}
        }
    }

    fn on_exchange_data(&mut self, now: Instant, stream: StreamId, len: usize) {
        // A list is consumed as it comes.
        self.bi.release(now, stream, len);
        let end = self.inbound.at();
        let mut at = end.saturating_sub(len);
        let exchanger_limits = limits(&self.setup.config);
        let decode_limits = DecodeLimits::new(exchanger_limits.message_max);
        while at < end {
            let input = self.inbound.bytes(at..end);
            let decoder = self.exchange.decoder.get_or_insert_default();
            let pushed = decoder.push(input, &decode_limits, &mut Once);
            let Ok(pushed) = pushed else {
                return self.fail(now, CloseReason::Exchange(ExchangeError::Malformed));
            };
            let heard = match &pushed.item {
                Some(Item::Inline { protocol, payload, compressed }) => Some(self.hear(
                    input.get(protocol.clone()).unwrap_or(&[]),
                    input.get(payload.clone()).unwrap_or(&[]),
                    *compressed,
                )),
                Some(Item::Assembled { package, protocol, payload, compressed }) => {
                    Some(self.hear(
                        package.get(protocol.clone()).unwrap_or(&[]),
                        package.get(payload.clone()).unwrap_or(&[]),
                        *compressed,
                    ))
                }
                _ => None,
            };
            match heard {
                Some(Ok(list)) => return self.on_exchanged(stream, list),
                Some(Err(error)) => return self.fail(now, CloseReason::Exchange(error)),
                None => {}
            }
            at = at.saturating_add(pushed.consumed.max(1));
        }
    }

    fn hear(
        &self,
        protocol: &[u8],
        payload: &[u8],
        compressed: bool,
    ) -> Result<ProtocolSet, ExchangeError> {
        if protocol != ProtocolId::EXCHANGER.as_bytes() {
            return Err(ExchangeError::WrongProtocol);
        }
        let message = ExchangerMessage::decode(payload, &limits(&self.setup.config));
        let message = message.ok().filter(|_| !compressed).ok_or(ExchangeError::Malformed)?;
        let due = match self.setup.direction {
            Direction::Inbound => MessageKind::Response,
            Direction::Outbound => MessageKind::Request,
        };
        if message.kind != due {
            return Err(ExchangeError::WrongKind);
        }
        if Some(message.pid) != self.channel.peer() {
            return Err(ExchangeError::WrongPeer);
        }
        Ok(message.protocols)
    }

    fn on_exchanged(&mut self, stream: StreamId, list: ProtocolSet) {
        if self.setup.direction == Direction::Outbound {
            let package = self.message(MessageKind::Response);
            let _ = self.bi.write(stream, package.freeze());
        }
        self.exchange.decoder = None;
        self.bi.finish(stream);
        self.bi.close_read(stream);
        if core::mem::replace(&mut self.exchange.done, true) {
            self.report.learned = Some(list);
        } else {
            self.report.exchanged = Some(list);
            self.check_established();
        }
    }

    /// Lists that came as messages.
    pub(super) fn on_exchanger_messages(&mut self) {
        if let Some(list) = self.receiver.pushed.take() {
            self.report.learned = Some(list);
            self.exchange.push_ok_due = true;
        }
        if let Some(list) = self.receiver.push_ok.take() {
            self.report.learned = Some(list);
            if let Some(version) = self.exchange.push_sent.take() {
                self.report.push_answered = Some(version);
            }
        }
    }

    /// Writes what is due on the stream kept for it, if that is free.
    pub(super) fn write_pushes(&mut self, now: Instant) {
        if !self.exchange.is_due() || !self.phase.is_live() {
            return;
        }
        let stream = match self.exchange.push_stream {
            Some(stream) => stream,
            None => {
                let Ok(stream) = self.uni.open(now, Priority::High) else {
                    self.exchange.parked = true;
                    return;
                };
                self.uni.close_read(stream);
                self.exchange.push_stream = Some(stream);
                stream
            }
        };
        if self.uni.queued(stream) > 0 {
            self.exchange.parked = true;
            return;
        }
        if core::mem::take(&mut self.exchange.push_ok_due) {
            let package = self.message(MessageKind::PushOk);
            let _ = self.uni.write(stream, package.freeze());
        }
        if let Some(version) = self.exchange.push_due.take() {
            self.exchange.push_sent = Some(version);
            let package = self.message(MessageKind::Push);
            let _ = self.uni.write(stream, package.freeze());
        }
    }

    /// The peer reset one of our streams: whether it is the one kept for the exchanger.
    pub(super) fn push_stream_reset(&mut self, stream: StreamId) -> bool {
        if self.exchange.push_stream != Some(stream) {
            return false;
        }
        self.exchange.push_stream = None;
        if let Some(version) = self.exchange.push_sent.take() {
            self.report.push_failed = Some(version);
        }
        true
    }
}
