//! One channel: whole records in, whole records out.
//!
//! Records are cut here, and given to rustls one at a time, so that it never goes past the end of
//! the handshake before the caller has seen who the peer is. It opens a record where it lies in
//! the caller's input; only pieces of a handshake message that fills several records are kept,
//! because rustls comes back to those.
//!
//! States: handshaking, open, ending (our close notice is out, what comes is ignored), failed.
//!
//! Invariants:
//! 1. Between calls, what rustls has seen and not used up is in `held`, and no record of `input`
//!    was given to it in part.
//! 2. Bytes leave in the order in which rustls made them: `outgoing` before what is sealed next.
//!
//! Bounds: `held` 80 KiB, only while a handshake message is incomplete; `outgoing` one flight of
//! ours. rustls itself keeps the peer's certificates, at most 64 KiB, of which at most 16 KiB
//! stay once the peer is accepted.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use headwater_core::buffer::SealedBuf;
use headwater_core::buffer::out::OutBuf;
use headwater_core::id::PeerId;
use headwater_core::secure::{ChannelError, Opened, SecureChannel};

use crate::error::TlsError;
use crate::factory::Shared;
use crate::live::Entry;
use crate::machine::{Machine, Step};
use crate::verifier::Verifier;
use crate::{ALPN, ProvenPeer, Refusal};

/// The header of a record.
const HEADER_LEN: usize = 5;

/// The longest body of a record that rustls looks at.
const BODY_LEN_MAX: usize = 16 * 1024 + 2048;

/// Plaintext bytes of one record at most.
const PLAIN_LEN_MAX: usize = 16 * 1024;

/// What sealing adds to a record: header, content type, tag.
const OVERHEAD: usize = HEADER_LEN + 1 + 16;

/// Room for what rustls may put before a record on its own: key updates, ours and an answer.
const EXTRA: usize = 64;

/// A piece of output of at least this many bytes is a record of its own; smaller ones are
/// gathered.
const WHOLE_MIN: usize = 8 * 1024;

/// The types of records: change_cipher_spec, alert, handshake, application data.
const CONTENT_TYPES: RangeInclusive<u8> = 20..=23;

/// The one type of sealed records.
const SEALED: u8 = 23;

/// How much of an incomplete handshake message is kept: the longest one, in whole records.
const HELD_MAX: usize = 80 * 1024;

/// `no_application_protocol` in a record that is not sealed: what a listener says to a hello that
/// does not offer ours.
const NO_APPLICATION_PROTOCOL: [u8; 7] = [21, 3, 3, 0, 2, 2, 120];

/// One end of a TLS connection, made by [`Tls`](crate::Tls).
pub struct TlsChannel {
    shared: Arc<Shared>,
    verifier: Arc<Verifier>,
    machine: Option<Machine>,
    held: BytesMut,
    outgoing: BytesMut,
    /// The peer, once it is accepted, and its number in the list of those.
    live: Option<(u64, Arc<Entry>)>,
    peer: Option<PeerId>,
    failure: Option<TlsError>,
    /// Whether the peer has sent anything, and whether any of it was a record.
    heard: bool,
    begun: bool,
    ending: bool,
    peer_closed: bool,
}

/// What stands at the front of the input.
enum Record {
    /// A whole record of so many bytes.
    Whole(usize),
    Incomplete,
    /// Nothing that could become a record.
    Bad,
}

impl TlsChannel {
    pub(crate) fn new(
        shared: Arc<Shared>,
        verifier: Arc<Verifier>,
        machine: Result<Machine, TlsError>,
    ) -> Self {
        let (machine, failure) = match machine {
            Ok(machine) => (Some(machine), None),
            Err(error) => (None, Some(error)),
        };
        Self {
            shared,
            verifier,
            machine,
            held: BytesMut::new(),
            outgoing: BytesMut::new(),
            live: None,
            peer: None,
            failure,
            heard: false,
            begun: false,
            ending: false,
            peer_closed: false,
        }
    }

    /// Why the channel failed, if it did.
    #[must_use]
    pub const fn failure(&self) -> Option<&TlsError> {
        self.failure.as_ref()
    }

    /// What the peer has proven and shown, once it is accepted.
    #[must_use]
    pub fn proven(&self) -> Option<Arc<ProvenPeer>> {
        self.live.as_ref().map(|(_, entry)| entry.peer())
    }

    /// Bytes that are kept for the peer, for checks of the bounds.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn held(&self) -> usize {
        self.held.len().saturating_add(self.outgoing.len())
    }

    fn fail(&mut self, error: TlsError) -> ChannelError {
        ChannelError::from(&*self.failure.insert(error))
    }

    /// Gives rustls `bytes`, until it wants others; the number that it has used up.
    ///
    /// After an error only its alert is taken, and rustls is not asked again.
    fn run(&mut self, bytes: &mut [u8], plain: &mut BytesMut) -> (usize, Result<(), TlsError>) {
        let Self { machine: Some(machine), outgoing, .. } = self else { return (0, Ok(())) };
        let mut used = 0_usize;
        let error = loop {
            let rest = bytes.get_mut(used..).unwrap_or_default();
            let (now_used, step) = machine.step(rest, outgoing, plain);
            used = used.saturating_add(now_used);
            match step {
                Step::Again => {}
                // Of a record with data nothing else is left to do.
                Step::Read if used == bytes.len() && !machine.common().wants_write() => {
                    return (used, Ok(()));
                }
                Step::Read => {}
                Step::PeerClosed => self.peer_closed = true,
                Step::Idle => return (used, Ok(())),
                Step::Failed(error) => break error,
            }
        };
        machine.last_words(bytes.get(used..).unwrap_or_default(), &error, outgoing);
        self.machine = None;
        (used, Err(self.explain(&error)))
    }

    /// What an error of rustls means; its alert is in `outgoing`.
    fn explain(&mut self, error: &rustls::Error) -> TlsError {
        let mut verdict = self.verifier.verdict();
        if verdict.no_alpn {
            self.outgoing.clear();
            self.outgoing.extend_from_slice(&NO_APPLICATION_PROTOCOL);
            return TlsError::Alpn;
        }
        match verdict.refusal.take() {
            Some(refusal) => TlsError::Refused(refusal),
            None => TlsError::from_rustls(error),
        }
    }

    /// Gives rustls the first `len` bytes of the input, one record.
    fn feed(
        &mut self,
        input: &mut BytesMut,
        len: usize,
        plain: &mut BytesMut,
    ) -> Result<(), TlsError> {
        let result = if self.held.is_empty() {
            let record = input.get_mut(..len).unwrap_or_default();
            let (used, result) = self.run(record, plain);
            self.held.extend_from_slice(record.get(used..).unwrap_or_default());
            result
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(input.get(..len).unwrap_or_default());
            let (used, result) = self.run(&mut held, plain);
            held.advance(used);
            if !held.is_empty() {
                self.held = held;
            }
            result
        };
        input.advance(len);
        result?;
        if self.held.len() > HELD_MAX {
            return Err(self.give_up("a handshake message in too many pieces"));
        }
        Ok(())
    }

    /// Ends what rustls has not ended, with an alert.
    fn give_up(&mut self, what: &str) -> TlsError {
        if let Some(mut machine) = self.machine.take() {
            machine.say_decode_error(&self.held, &mut self.outgoing);
        }
        TlsError::Broken { what: what.into() }
    }

    /// The handshake is over, if it just is: whether the peer is known now.
    fn check_proven(&mut self) -> Result<bool, TlsError> {
        let Some(machine) = self.machine.as_ref().filter(|_| self.peer.is_none()) else {
            return Ok(false);
        };
        if machine.common().is_handshaking() {
            return Ok(false);
        }
        // A listener that knows none of the offered protocols may have gone on without one.
        if machine.common().alpn_protocol() != Some(ALPN.as_bytes()) {
            return Err(TlsError::Alpn);
        }
        let proven = self.verifier.verdict().proven.take();
        let proven = proven.ok_or(TlsError::Refused(Refusal::NoCertificate))?;
        let peer = proven.peer_id();
        let (number, entry) = self.shared.live.add(proven);
        // The rules may have changed since the proof, and whoever judged all connected peers by
        // the new ones did not see this one.
        if let Err(refusal) = self.shared.judge_again(&entry) {
            self.shared.live.remove(number);
            return Err(TlsError::Refused(refusal));
        }
        self.live = Some((number, entry));
        self.peer = Some(peer);
        Ok(true)
    }

    fn next(&mut self, input: &mut BytesMut, plain: &mut BytesMut) -> Result<Opened, TlsError> {
        if let Some(refusal) = self.live.as_ref().and_then(|(_, entry)| entry.refusal()) {
            return Err(TlsError::Refused(refusal.clone()));
        }
        loop {
            if self.peer_closed {
                return Ok(Opened::Closed);
            }
            let types = if self.peer.is_some() { SEALED..=SEALED } else { CONTENT_TYPES };
            let len = match record(input, &types) {
                Record::Whole(len) => len,
                Record::Incomplete => return Ok(Opened::Waiting),
                Record::Bad => {
                    let broken = self.give_up("not a record of TLS, or not one at this point");
                    let insecure = !self.begun && is_peer_id(input);
                    return Err(if insecure { TlsError::Insecure } else { broken });
                }
            };
            let room = plain.capacity().saturating_sub(plain.len());
            if self.peer.is_some() && room < len.min(PLAIN_LEN_MAX) {
                return Ok(Opened::Waiting);
            }
            self.begun = true;
            self.feed(input, len, plain)?;
            if self.check_proven()? {
                return Ok(Opened::Proven);
            }
        }
    }

    /// Seals one record from the front of `plain` into `out`, in at most `room` bytes: the number
    /// of plaintext bytes in it.
    fn seal_one(&mut self, plain: &mut OutBuf, out: &mut SealedBuf, room: usize) -> usize {
        let Some(machine) = &mut self.machine else { return 0 };
        let fits = room.saturating_sub(OVERHEAD + EXTRA).min(PLAIN_LEN_MAX);
        if fits == 0 || plain.is_empty() {
            return 0;
        }
        let mut chunks: [&[u8]; 1] = [&[]];
        plain.chunks(&mut chunks);
        let [first] = chunks;
        let (taken, sealed) = if first.len() >= WHOLE_MIN.min(fits) {
            let whole = first.get(..fits).unwrap_or(first);
            let into = out.room(whole.len() + OVERHEAD + EXTRA);
            let (taken, sealed) = (whole.len(), machine.seal(&mut self.held, whole, into));
            plain.advance(taken);
            (taken, sealed)
        } else {
            let taken = fits.min(plain.len());
            let len = taken + OVERHEAD + EXTRA;
            // Gathered behind the place of the record.
            let (into, gathered) = out.room(len + taken).split_at_mut(len);
            plain.drain_into(&mut &mut *gathered, taken);
            (taken, machine.seal(&mut self.held, gathered, into))
        };
        out.filled(sealed.unwrap_or(0));
        if sealed.is_none() {
            self.failure.get_or_insert(TlsError::Broken { what: "nothing can be sealed".into() });
        }
        taken
    }

    /// Has rustls do what it can without further input. Once the peer is known each record is
    /// worked off when it is opened, and nothing is left for later.
    fn settle(&mut self) {
        let idle = |machine: &Machine| !machine.common().wants_write();
        if self.peer.is_some() && self.machine.as_ref().is_none_or(idle) {
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        let (used, result) = self.run(&mut held, &mut BytesMut::new());
        held.advance(used);
        self.held = held;
        if let Err(error) = result {
            self.failure.get_or_insert(error);
        }
    }
}

/// Looks at the front of the input.
fn record(input: &[u8], types: &RangeInclusive<u8>) -> Record {
    let Some((kind, [_, _, high, low])) =
        input.split_first().and_then(|(kind, rest)| Some((kind, rest.first_chunk::<4>()?)))
    else {
        return Record::Incomplete;
    };
    let body = usize::from(u16::from_be_bytes([*high, *low]));
    if !types.contains(kind) || body > BODY_LEN_MAX {
        return Record::Bad;
    }
    let len = HEADER_LEN + body;
    if input.len() < len { Record::Incomplete } else { Record::Whole(len) }
}

/// Whether the input begins as what a node without encryption says first (spec 1.6): as much of a
/// peer id as has to be there for a record's header, so that it does not matter what else is.
fn is_peer_id(input: &[u8]) -> bool {
    let start = input.first_chunk::<HEADER_LEN>();
    start.is_some_and(|start| start.starts_with(b"Qm") && PeerId::from_bytes(start).is_ok())
}

impl SecureChannel for TlsChannel {
    fn open(&mut self, input: &mut BytesMut, plain: &mut BytesMut) -> Result<Opened, ChannelError> {
        self.heard |= !input.is_empty();
        if let Some(error) = &self.failure {
            return Err(error.into());
        }
        if self.ending {
            input.clear();
            return Ok(Opened::Waiting);
        }
        self.next(input, plain).map_err(|error| self.fail(error))
    }

    fn flush(&mut self, out: &mut SealedBuf) {
        if self.failure.is_none() {
            self.settle();
        }
        if self.outgoing.is_empty() {
            return;
        }
        out.put(&self.outgoing);
        // Flights are few, and what follows them is short and rare.
        self.outgoing = BytesMut::new();
    }

    fn seal(&mut self, plain: &mut OutBuf, out: &mut SealedBuf, out_max: usize) -> usize {
        let end = out.len().saturating_add(out_max);
        let mut sealed = 0_usize;
        if self.peer.is_some() && !plain.is_empty() {
            self.flush(out);
        }
        while self.peer.is_some() && !self.ending && self.failure.is_none() {
            let taken = self.seal_one(plain, out, end.saturating_sub(out.len()));
            if taken == 0 {
                break;
            }
            sealed = sealed.saturating_add(taken);
        }
        sealed
    }

    fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    fn is_transparent(&self) -> bool {
        false
    }

    fn close(&mut self) {
        if std::mem::replace(&mut self.ending, true) {
            return;
        }
        if self.failure.is_none() {
            self.settle();
        }
        let Some(machine) = &mut self.machine else { return };
        let start = self.outgoing.len();
        self.outgoing.resize(start.saturating_add(OVERHEAD + EXTRA), 0);
        let into = self.outgoing.get_mut(start..).unwrap_or_default();
        let written = machine.close(&mut self.held, into);
        self.outgoing.truncate(start.saturating_add(written));
    }

    fn handle_eof(&mut self) -> Result<(), ChannelError> {
        // After our own end it does not matter whether the peer's was announced.
        match self.peer_closed || self.ending {
            true => Ok(()),
            false if self.heard => Err(ChannelError::Truncated),
            false => Err(ChannelError::Silent),
        }
    }
}

impl Drop for TlsChannel {
    fn drop(&mut self) {
        if let Some((number, _)) = self.live.take() {
            self.shared.live.remove(number);
        }
    }
}

impl fmt::Debug for TlsChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsChannel")
            .field("peer", &self.peer)
            .field("failure", &self.failure)
            .field("ending", &self.ending)
            .field("peer_closed", &self.peer_closed)
            .finish_non_exhaustive()
    }
}
