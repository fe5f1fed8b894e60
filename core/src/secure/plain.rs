//! Plain TCP: both sides say who they are, and nobody checks (spec 1.6).

use bytes::{Buf, BytesMut};

use super::{ChannelError, ChannelFactory, Opened, SecureChannel};
use crate::buffer::SealedBuf;
use crate::buffer::out::OutBuf;
use crate::contract::Direction;
use crate::id::PeerId;

/// How many bytes each side sends: the text of a peer id made from a hash.
const ID_LEN: usize = 46;

/// Makes channels without any security, for networks that have chosen to do without.
///
/// Bytes travel in the clear, and whoever claims a peer id is believed (D-75).
#[derive(Clone, Debug)]
pub struct Insecure {
    local: PeerId,
}

impl Insecure {
    /// Channels that introduce this node as `local`.
    ///
    /// # Errors
    ///
    /// The length of `local`, if it is not 46 bytes: the exchange has no length field (D-17).
    pub fn new(local: PeerId) -> Result<Self, usize> {
        let len = local.as_bytes().len();
        if len == ID_LEN { Ok(Self { local }) } else { Err(len) }
    }
}

impl ChannelFactory for Insecure {
    type Channel = PlainChannel;

    fn local(&self) -> PeerId {
        self.local
    }

    fn channel(&mut self, direction: Direction, _expected: Option<PeerId>) -> PlainChannel {
        PlainChannel {
            local: self.local,
            // The dialer speaks first; the listener answers what it heard.
            said: match direction {
                Direction::Outbound => Said::Due,
                Direction::Inbound => Said::NotYet,
            },
            heard: [0; ID_LEN],
            heard_len: 0,
            peer: None,
        }
    }
}

/// One end of the plain id exchange; transparent once it is over.
///
/// States: listening for 46 bytes, then open. The dialer's own id is due from the start, the
/// listener's once it has heard the dialer's.
#[derive(Debug)]
pub struct PlainChannel {
    local: PeerId,
    said: Said,
    heard: [u8; ID_LEN],
    heard_len: usize,
    peer: Option<PeerId>,
}

/// Whether these bytes begin with the whole header of a record of TLS: its type, a version, and a
/// length that records have.
fn is_tls(heard: &[u8]) -> bool {
    let Some([kind, major, minor, high, low]) = heard.first_chunk::<5>() else { return false };
    let len = u16::from_be_bytes([*high, *low]);
    (20..=23).contains(kind) && *major == 3 && *minor <= 4 && (1..=16 * 1024 + 2048).contains(&len)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    NotYet,
    Due,
    Done,
}

impl SecureChannel for PlainChannel {
    fn open(&mut self, input: &mut BytesMut, plain: &mut BytesMut) -> Result<Opened, ChannelError> {
        if self.peer.is_some() {
            let room = plain.capacity().saturating_sub(plain.len()).min(input.len());
            if let Some(bytes) = input.get(..room) {
                plain.extend_from_slice(bytes);
            }
            input.advance(room);
            return Ok(Opened::Waiting);
        }
        let missing = ID_LEN.saturating_sub(self.heard_len).min(input.len());
        for (to, from) in self.heard.iter_mut().skip(self.heard_len).zip(input.iter()) {
            *to = *from;
        }
        input.advance(missing);
        self.heard_len = self.heard_len.saturating_add(missing);
        // No id begins like this, so there is nothing to wait for.
        if self.heard.get(..self.heard_len).is_some_and(is_tls) {
            return Err(ChannelError::SpeaksTls);
        }
        if self.heard_len < ID_LEN {
            return Ok(Opened::Waiting);
        }
        let peer = PeerId::from_bytes(&self.heard).map_err(ChannelError::BadPeerId)?;
        self.peer = Some(peer);
        if self.said == Said::NotYet {
            self.said = Said::Due;
        }
        Ok(Opened::Proven)
    }

    fn flush(&mut self, out: &mut SealedBuf) {
        if self.said == Said::Due {
            out.put(self.local.as_bytes());
            self.said = Said::Done;
        }
    }

    fn seal(&mut self, plain: &mut OutBuf, out: &mut SealedBuf, out_max: usize) -> usize {
        let mut chunks: [&[u8]; 1] = [&[]];
        let mut sealed = 0_usize;
        while sealed < out_max && plain.chunks(&mut chunks) > 0 {
            let [chunk] = chunks;
            let take = chunk.len().min(out_max.saturating_sub(sealed));
            out.put(chunk.get(..take).unwrap_or(&[]));
            chunks = [&[]];
            plain.advance(take);
            sealed = sealed.saturating_add(take);
        }
        sealed
    }

    fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    fn is_transparent(&self) -> bool {
        true
    }

    fn close(&mut self) {}

    fn handle_eof(&mut self) -> Result<(), ChannelError> {
        // There is no close notice: an end inside the exchange is all that can be told.
        match self.peer {
            Some(_) => Ok(()),
            None if self.heard_len == 0 => Err(ChannelError::Silent),
            None => Err(ChannelError::Truncated),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(pieces: &[&[u8]]) -> Result<Opened, ChannelError> {
        let id = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse().unwrap();
        let mut channel = Insecure::new(id).unwrap().channel(Direction::Outbound, None);
        let mut last = Ok(Opened::Waiting);
        for piece in pieces {
            last = channel.open(&mut BytesMut::from(*piece), &mut BytesMut::new());
        }
        last
    }

    #[test]
    fn a_record_of_tls_is_told_from_everything_else_however_it_is_cut() {
        const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 50];
        const HELLO: [u8; 6] = [22, 3, 1, 5, 220, 1];
        for record in [&ALERT[..], &HELLO] {
            assert_eq!(heard(&[record]), Err(ChannelError::SpeaksTls));
            let bytes: [&[u8]; 5] = core::array::from_fn(|at| &record[at..=at]);
            assert_eq!(heard(&bytes), Err(ChannelError::SpeaksTls));
            assert_eq!(heard(&bytes[..4]), Ok(Opened::Waiting));
        }
        let others: [&[u8]; 5] = [
            b"HTTP/1.1 400",
            b"SSH-2.0-x",
            &[21, 3, 3, 0, 0, 0],
            &[22, 3, 1, 0xff, 0xff],
            &[22; 9],
        ];
        for other in others {
            assert_eq!(heard(&[other]), Ok(Opened::Waiting), "{other:?}");
        }
    }
}
