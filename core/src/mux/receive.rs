//! What the peer's frames do (spec 2.2).

use bytes::Buf;

use super::error::{Abuse, SessionError};
use super::header::{Flags, HEADER_LEN, Header, Kind};
use super::session::Session;
use super::stream::{Phase, Stream};
use super::{Event, INITIAL_WINDOW, PONGS_MAX, REFUSALS_MAX, RESETS_MAX, Received, Role, StreamId};
use crate::time::Instant;

/// How far the frame under way was read.
#[derive(Debug)]
pub(super) enum Inbound {
    /// So many bytes of a header are there.
    Header { bytes: [u8; HEADER_LEN], have: usize },
    /// So many bytes of a body are missing.
    Body { left: usize, target: Option<Target> },
}

/// Whose payload a body is; nobody's if it is to be skipped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    slot: u32,
    stream: StreamId,
    /// The frame half-closes the stream.
    fin: bool,
}

impl Inbound {
    pub(super) const fn new() -> Self {
        Self::Header { bytes: [0; HEADER_LEN], have: 0 }
    }

    const fn skip(length: u32) -> Self {
        Self::body(length, None)
    }

    const fn body(length: u32, target: Option<Target>) -> Self {
        match length {
            0 => Self::new(),
            length => Self::Body { left: length as usize, target },
        }
    }
}

impl Session {
    /// Reads bytes of the peer up to the next event, or all of them if there is none. Payload is
    /// not copied: [`Event::Data`] says where it lies in the input.
    ///
    /// The owner calls this until the event is `None`, each time with the bytes after those that
    /// were consumed, be there any or not; a frame may have a second event that consumes nothing.
    ///
    /// # Errors
    ///
    /// [`SessionError`] if the peer broke the rules or ended the session, at the frame that did;
    /// events of earlier frames came before. The session has ended: [`Session::transmit`] frames
    /// a go-away and nothing else, and every later call gives the same error.
    pub fn receive(&mut self, now: Instant, input: &[u8]) -> Result<Received, SessionError> {
        let now = self.clock.advance(now);
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.stash.0.take().is_some() {
            self.stash.1.clear();
        }
        if !input.is_empty() {
            self.ping.on_received(now);
        }
        let mut rest = input;
        let mut event = self.fin.take().and_then(|target| self.on_fin(target));
        while event.is_none() && !rest.is_empty() {
            match self.step(now, &mut rest) {
                Ok(found) => event = found,
                Err(error) => return Err(self.fail(error)),
            }
            if event.is_none() {
                event = self.fin.take().and_then(|target| self.on_fin(target));
            }
        }
        Ok(Received { consumed: input.len().saturating_sub(rest.len()), event })
    }

    /// Whether the input ended at the end of a frame, as far as it came.
    #[must_use]
    pub const fn is_between_frames(&self) -> bool {
        matches!(self.inbound, Inbound::Header { have: 0, .. })
    }

    /// Reads a part of a header, or a run of a body.
    fn step(&mut self, now: Instant, rest: &mut &[u8]) -> Result<Option<Event>, SessionError> {
        match &mut self.inbound {
            Inbound::Header { bytes, have } => {
                if let (0, Some((whole, after))) = (*have, rest.split_first_chunk()) {
                    *rest = after;
                    return self.on_header(now, Header::decode(*whole)?);
                }
                let Some(space) = bytes.get_mut(*have..) else {
                    self.inbound = Inbound::new();
                    return Ok(None);
                };
                let length = space.len().min(rest.len());
                for (to, from) in space.iter_mut().zip(rest.iter()) {
                    *to = *from;
                }
                rest.advance(length);
                *have = have.saturating_add(length);
                if *have < HEADER_LEN {
                    return Ok(None);
                }
                let header = Header::decode(*bytes)?;
                self.inbound = Inbound::new();
                self.on_header(now, header)
            }
            Inbound::Body { left, target } => {
                let length = rest.len().min(*left);
                rest.advance(length);
                *left = left.saturating_sub(length);
                let (done, target) = (*left == 0, *target);
                if done {
                    self.inbound = Inbound::new();
                }
                match target {
                    Some(target) => self.on_payload(now, target, length, done),
                    None => Ok(None),
                }
            }
        }
    }

    /// A run of payload came in.
    fn on_payload(
        &mut self,
        now: Instant,
        target: Target,
        len: usize,
        done: bool,
    ) -> Result<Option<Event>, SessionError> {
        // The owner may have reset or closed the stream since the frame began.
        let Some(found) = self.target(target) else { return Ok(None) };
        if found.read_closed {
            return self.reset_for_fault(now, target).map(Some);
        }
        if done && target.fin {
            self.fin = Some(target);
        }
        Ok(Some(Event::Data { stream: target.stream, len }))
    }

    /// The stream that a frame was for, if the owner still knows it.
    fn target(&mut self, target: Target) -> Option<&mut Stream> {
        let found = self.slots.get_mut(target.slot)?;
        (found.id() == Some(target.stream.0) && found.is_visible()).then_some(found)
    }

    fn on_header(&mut self, now: Instant, header: Header) -> Result<Option<Event>, SessionError> {
        match header.kind {
            Kind::Data | Kind::WindowUpdate if header.flags.has(Flags::SYN) => {
                self.on_syn(now, header)
            }
            Kind::Data | Kind::WindowUpdate => self.on_stream_frame(now, header),
            Kind::Ping if header.flags.has(Flags::SYN) => {
                self.budgets.charge(&self.config, Abuse::Pings, now)?;
                if self.pongs.len() < PONGS_MAX {
                    self.pongs.push_back(header.length);
                    self.slots.loose = true;
                }
                Ok(None)
            }
            Kind::Ping => Ok(self.ping.on_pong(header.length, now).map(Event::Rtt)),
            Kind::GoAway if header.length == 0 => {
                let known = core::mem::replace(&mut self.remote_gone, true);
                Ok((!known).then_some(Event::GoAway))
            }
            Kind::GoAway => Err(SessionError::GoAway(header.length)),
        }
    }

    /// The peer opens a stream.
    fn on_syn(&mut self, now: Instant, header: Header) -> Result<Option<Event>, SessionError> {
        let Header { kind, flags, stream: id, length } = header;
        let stream = StreamId(id);
        let is_odd = id & 1 == 1;
        if id == 0 || is_odd == (self.role == Role::Client) {
            return Err(SessionError::Parity { stream });
        }
        let known = self.slots.find(id);
        let is_resetting = |slot| self.slots.get(slot).map(|s| s.phase) == Some(Phase::Resetting);
        if known.is_some_and(|slot| !is_resetting(slot)) {
            return Err(SessionError::DuplicateSyn { stream });
        }
        let (data, delta) = if kind == Kind::Data { (length, 0) } else { (0, length) };
        if data > INITIAL_WINDOW {
            return Err(SessionError::Window { stream, length, credit: INITIAL_WINDOW });
        }
        if INITIAL_WINDOW.checked_add(delta).is_none() {
            return Err(SessionError::CreditOverflow { stream });
        }
        self.inbound = Inbound::skip(data);
        if flags.has(Flags::RST) {
            return self.budgets.charge(&self.config, Abuse::Resets, now).map(|()| None);
        }
        if self.counts.resetting >= RESETS_MAX {
            return Err(SessionError::Flood);
        }
        if let Some(slot) = known {
            // The stream of this id is gone but for its RST, which leaves first.
            self.forget(slot);
            self.owe_rst(id)?;
        }
        if self.local_gone
            || self.counts.unaccepted >= self.config.accept_backlog
            || self.counts.remote_open >= self.config.streams_max
        {
            return self.refuse(now, id).map(|()| None);
        }
        let slot = self.slots.insert(id);
        if let Some(stream) = self.slots.get_mut(slot) {
            stream.phase = Phase::Unaccepted;
            stream.send.add(delta);
            stream.recv.receive(data);
        }
        self.counts.remote_open = self.counts.remote_open.saturating_add(1);
        self.counts.unaccepted = self.counts.unaccepted.saturating_add(1);
        let target = Target { slot, stream, fin: flags.has(Flags::FIN) };
        self.expect(data, target);
        Ok(Some(Event::Opened { stream }))
    }

    /// Answers a SYN with an RST, without making a stream.
    fn refuse(&mut self, now: Instant, id: u32) -> Result<(), SessionError> {
        self.budgets.charge(&self.config, Abuse::Refusals, now)?;
        self.owe_rst(id)
    }

    /// Queues an RST for an id that has no stream.
    fn owe_rst(&mut self, id: u32) -> Result<(), SessionError> {
        if self.refused.len() >= REFUSALS_MAX {
            return Err(SessionError::Flood);
        }
        self.refused.push_back(id);
        self.slots.loose = true;
        Ok(())
    }

    /// Goes on with the body of a frame, or what follows if it has none.
    const fn expect(&mut self, length: u32, target: Target) {
        if length > 0 {
            self.inbound = Inbound::body(length, Some(target));
        } else if target.fin {
            self.fin = Some(target);
        }
    }

    /// A data frame or window update that does not open a stream.
    fn on_stream_frame(
        &mut self,
        now: Instant,
        header: Header,
    ) -> Result<Option<Event>, SessionError> {
        let Header { kind, flags, stream: id, length } = header;
        let is_data = kind == Kind::Data;
        self.inbound = Inbound::skip(if is_data { length } else { 0 });
        let slot = self.slots.find(id);
        let slot = slot.filter(|slot| self.slots.get(*slot).is_some_and(|s| s.is_on_wire()));
        self.charge_if_idle(now, header, slot)?;
        // Late frames of a stream that was forgotten are normal.
        let Some(slot) = slot else { return Ok(None) };
        let target = Target { slot, stream: StreamId(id), fin: flags.has(Flags::FIN) };
        if flags.has(Flags::RST) {
            return self.on_rst(now, target);
        }
        let news = self.settle(slot);
        match self.slots.get(slot).map(|stream| stream.phase) {
            Some(Phase::Open | Phase::Unaccepted) => {}
            Some(Phase::Lingering) => {
                self.slots.remove(slot);
                return Ok(None);
            }
            _ => return Ok(None),
        }
        let fault = if is_data {
            self.on_data(now, target, length)?
        } else {
            self.on_credit(target, length)?;
            None
        };
        Ok(fault.or(news.then_some(Event::Acknowledged { stream: target.stream })))
    }

    /// The peer grants credit.
    fn on_credit(&mut self, target: Target, delta: u32) -> Result<(), SessionError> {
        let Target { slot, stream, .. } = target;
        if !self.slots.get_mut(slot).is_some_and(|stream| stream.send.add(delta)) {
            return Err(SessionError::CreditOverflow { stream });
        }
        self.scheduler.update(&mut self.slots, slot);
        self.expect(0, target);
        Ok(())
    }

    /// Charges a frame that brings nothing: no payload, hardly any credit, no change of state.
    fn charge_if_idle(
        &mut self,
        now: Instant,
        header: Header,
        slot: Option<u32>,
    ) -> Result<(), SessionError> {
        let (least, what) = match header.kind {
            Kind::Data => (1, Abuse::EmptyFrames),
            _ => (self.config.tiny_update, Abuse::WindowUpdates),
        };
        let known = slot.and_then(|slot| self.slots.get(slot));
        let has_news = match known.filter(|stream| stream.phase != Phase::Resetting) {
            Some(stream) => {
                stream.unacknowledged
                    || header.flags.has(Flags::RST)
                    || (header.flags.has(Flags::FIN) && !stream.remote_fin)
            }
            None => !header.flags.is_none(),
        };
        if header.length >= least || has_news {
            return Ok(());
        }
        self.budgets.charge(&self.config, what, now)
    }

    /// A data frame for an open stream; gives the reset of a stream that must not get any.
    fn on_data(
        &mut self,
        now: Instant,
        target: Target,
        length: u32,
    ) -> Result<Option<Event>, SessionError> {
        let stream = target.stream;
        let Some(found) = self.slots.get_mut(target.slot) else { return Ok(None) };
        let credit = found.recv.credit();
        if !found.recv.receive(length) {
            return Err(SessionError::Window { stream, length, credit });
        }
        if length > 0 && !found.takes_data() {
            return self.reset_for_fault(now, target).map(Some);
        }
        self.expect(length, target);
        Ok(None)
    }

    /// The peer half-closes a stream.
    fn on_fin(&mut self, target: Target) -> Option<Event> {
        let Target { slot, stream, .. } = target;
        if core::mem::replace(&mut self.target(target)?.remote_fin, true) {
            return None;
        }
        self.close_if_over(slot);
        Some(Event::Finished { stream })
    }

    /// The peer resets a stream.
    fn on_rst(&mut self, now: Instant, target: Target) -> Result<Option<Event>, SessionError> {
        let Target { slot, stream, .. } = target;
        let visible = self.target(target).is_some();
        if visible {
            self.budgets.charge(&self.config, Abuse::Resets, now)?;
            self.stash_queue(slot, stream);
        }
        self.forget(slot);
        Ok(visible.then_some(Event::Reset { stream }))
    }

    /// Resets a stream because of what the peer sent on it.
    fn reset_for_fault(&mut self, now: Instant, target: Target) -> Result<Event, SessionError> {
        let Target { slot, stream, .. } = target;
        self.budgets.charge(&self.config, Abuse::Resets, now)?;
        self.stash_queue(slot, stream);
        self.start_reset(slot);
        Ok(Event::Reset { stream })
    }

    /// Keeps the queue of a stream that ends, for `take_unsent`.
    fn stash_queue(&mut self, slot: u32, stream: StreamId) {
        let Some(found) = self.slots.get_mut(slot) else { return };
        self.counts.queued = self.counts.queued.saturating_sub(found.queued());
        self.stash.1.clear();
        found.swap_queue(&mut self.stash.1);
        self.slots.loose = true;
        self.stash.0 = Some(stream);
    }
}
