//! The state of one stream.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use bytes::{Buf, Bytes};

use super::credit::{RecvWindow, SendCredit};
use super::list::{Link, PLACES};
use super::scheduler::Priority;
use crate::buffer::out::{OutBuf, SHARE_MIN};

/// A vacant slot keeps room for no more than so many queued pieces.
const QUEUE_KEPT: usize = 64;

/// How far a stream is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The slot is free.
    Vacant,
    /// Opened by this side, its SYN not framed yet.
    Opening,
    /// Opened by the peer, not accepted yet.
    Unaccepted,
    /// Open, at least one way.
    Open,
    /// Closed both ways, but the peer has not acknowledged it; hidden from the owner.
    Lingering,
    /// Its RST is not framed yet; hidden from the owner.
    Resetting,
}

/// What waits to be framed.
#[derive(Debug, Default)]
struct Queue {
    pieces: VecDeque<Bytes>,
    /// Their sum.
    bytes: usize,
}

/// One stream, or a vacant slot.
#[derive(Debug)]
pub(super) struct Stream {
    id: u32,
    pub(super) phase: Phase,
    pub(super) priority: Priority,
    /// This side opened it.
    pub(super) local: bool,
    /// This side's SYN was framed, and nothing came back yet.
    pub(super) unacknowledged: bool,
    /// An ACK is to be framed.
    pub(super) ack_pending: bool,
    /// This side wants to half-close after the queue.
    pub(super) finishing: bool,
    pub(super) fin_framed: bool,
    /// The peer half-closed.
    pub(super) remote_fin: bool,
    /// This side takes nothing more.
    pub(super) read_closed: bool,
    pub(super) recv: RecvWindow,
    pub(super) send: SendCredit,
    /// Payload bytes framed so far.
    pub(super) sent: u64,
    /// Bounded by the owner, which asks for `queued`. Of a stream that is idle, or that only the
    /// peer writes to, there is none.
    queue: Option<Box<Queue>>,
    pub(super) links: [Link; PLACES],
}

impl Stream {
    /// Bytes of memory of one that has something queued, without that.
    pub(super) const MEMORY: usize = size_of::<Self>() + size_of::<Queue>();

    pub(super) const fn vacant() -> Self {
        Self {
            id: 0,
            phase: Phase::Vacant,
            priority: Priority::Normal,
            local: false,
            unacknowledged: false,
            ack_pending: false,
            finishing: false,
            fin_framed: false,
            remote_fin: false,
            read_closed: false,
            recv: RecvWindow::new(),
            send: SendCredit::new(),
            sent: 0,
            queue: None,
            links: [Link::OFF; PLACES],
        }
    }

    /// Starts the life of a stream in a vacant slot.
    pub(super) fn occupy(&mut self, id: u32) {
        let queue = self.queue.take();
        *self = Self { id, phase: Phase::Open, queue, ..Self::vacant() };
    }

    /// Ends it; gives the id, unless the slot was vacant.
    pub(super) fn vacate(&mut self) -> Option<u32> {
        let id = self.id()?;
        self.drop_queue();
        self.phase = Phase::Vacant;
        Some(id)
    }

    pub(super) const fn id(&self) -> Option<u32> {
        match self.phase {
            Phase::Vacant => None,
            _ => Some(self.id),
        }
    }

    /// Whether the owner knows the stream.
    pub(super) const fn is_visible(&self) -> bool {
        matches!(self.phase, Phase::Opening | Phase::Unaccepted | Phase::Open)
    }

    /// Whether the peer knows the stream, so that its frames mean something.
    pub(super) const fn is_on_wire(&self) -> bool {
        !matches!(self.phase, Phase::Vacant | Phase::Opening)
    }

    /// Payload could be framed now.
    pub(super) const fn has_data(&self) -> bool {
        matches!(self.phase, Phase::Open) && self.queued() > 0 && self.send.left() > 0
    }

    /// The FIN could be framed now.
    pub(super) const fn fin_due(&self) -> bool {
        matches!(self.phase, Phase::Open)
            && self.finishing
            && !self.fin_framed
            && self.queued() == 0
    }

    pub(super) const fn wants_control(&self) -> bool {
        match self.phase {
            Phase::Resetting => true,
            Phase::Open => self.ack_pending || self.recv.has_pending() || self.fin_due(),
            _ => false,
        }
    }

    /// Both directions are closed.
    pub(super) const fn is_over(&self) -> bool {
        self.fin_framed && (self.remote_fin || self.read_closed)
    }

    /// The peer may still send, and will need credit for it.
    pub(super) const fn takes_data(&self) -> bool {
        !self.remote_fin && !self.read_closed
    }

    pub(super) const fn queued(&self) -> usize {
        match &self.queue {
            Some(queue) => queue.bytes,
            None => 0,
        }
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        let queue = self.queue.get_or_insert_default();
        queue.bytes = queue.bytes.saturating_add(bytes.len());
        queue.pieces.push_back(bytes);
    }

    pub(super) fn drop_queue(&mut self) {
        if let Some(queue) = &mut self.queue {
            queue.pieces.clear();
            queue.pieces.shrink_to(QUEUE_KEPT);
            queue.bytes = 0;
        }
    }

    /// Frees the room of an empty queue; false if it is not empty.
    pub(super) fn shrink(&mut self) -> bool {
        self.queue.take_if(|queue| queue.pieces.is_empty());
        self.queue.is_none()
    }

    /// Whether the queue has room, for checks.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn has_room(&self) -> bool {
        self.queue.is_some()
    }

    /// Exchanges the queue for an empty one.
    pub(super) fn swap_queue(&mut self, empty: &mut VecDeque<Bytes>) {
        if let Some(queue) = &mut self.queue {
            core::mem::swap(&mut queue.pieces, empty);
            queue.bytes = 0;
        }
    }

    /// Moves `length` bytes of payload, which must be queued and have credit, to `out`.
    pub(super) fn frame_payload(&mut self, length: usize, out: &mut OutBuf) {
        let Some(queue) = &mut self.queue else { return };
        let mut left = length;
        while left > 0 {
            let Some(piece) = queue.pieces.front_mut() else { break };
            if piece.len() <= left {
                left = left.saturating_sub(piece.len());
                if let Some(piece) = queue.pieces.pop_front() {
                    out.put_shared(piece);
                }
                continue;
            }
            if left < SHARE_MIN {
                out.put(piece.get(..left).unwrap_or(&[]));
                piece.advance(left);
            } else {
                out.put_shared(piece.split_to(left));
            }
            left = 0;
        }
        let framed = length.saturating_sub(left);
        queue.bytes = queue.bytes.saturating_sub(framed);
        self.spend(framed);
    }

    pub(super) fn spend(&mut self, framed: usize) {
        self.send.spend(framed);
        self.sent = self.sent.saturating_add(framed as u64);
    }

    /// The sum of the queue, counted anew, for checks.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn recount(&self) -> usize {
        self.queue.iter().flat_map(|queue| &queue.pieces).map(Bytes::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_is_gathered_from_several_writes_and_cut_anywhere() {
        let mut stream = Stream::vacant();
        stream.occupy(1);
        for piece in [&b"abc"[..], b"de", b"fghi"] {
            stream.push(Bytes::copy_from_slice(piece));
        }
        let mut out = OutBuf::new();
        stream.frame_payload(6, &mut out);
        assert_eq!((stream.queued(), stream.recount(), stream.sent), (3, 3, 6));
        stream.frame_payload(3, &mut out);
        assert_eq!((stream.queued(), stream.recount(), stream.sent), (0, 0, 9));
        let mut chunks: [&[u8]; 2] = [&[]; 2];
        assert_eq!(out.chunks(&mut chunks), 1);
        assert_eq!(chunks[0], b"abcdefghi");
    }

    #[test]
    fn a_large_piece_is_cut_by_reference() {
        let mut stream = Stream::vacant();
        stream.occupy(1);
        let large = Bytes::from(std::vec![5; 3 * SHARE_MIN]);
        stream.push(large.clone());
        let mut out = OutBuf::new();
        stream.frame_payload(SHARE_MIN, &mut out);
        stream.frame_payload(2 * SHARE_MIN, &mut out);
        let mut chunks: [&[u8]; 4] = [&[]; 4];
        assert_eq!(out.chunks(&mut chunks), 2);
        assert_eq!(chunks[0].as_ptr(), large.as_ptr());
        assert_eq!(chunks[1].as_ptr(), large[SHARE_MIN..].as_ptr());
    }

    #[test]
    fn a_slot_is_clean_when_it_is_taken_again() {
        let mut stream = Stream::vacant();
        stream.occupy(1);
        stream.push(Bytes::from_static(b"left over"));
        stream.finishing = true;
        assert!(stream.recv.receive(7));
        assert_eq!(stream.vacate(), Some(1));
        assert_eq!(stream.vacate(), None);
        stream.occupy(3);
        assert_eq!((stream.id(), stream.queued(), stream.recount()), (Some(3), 0, 0));
        assert!(!stream.finishing && stream.recv.unread() == 0);
    }

    #[test]
    fn a_stream_is_small() {
        assert!(size_of::<Stream>() <= 104, "{}", size_of::<Stream>());
    }
}
