//! What a thread that holds a borrowed stream and the loop share about it.
//!
//! Bounds: the outbox holds `outbox_max` bytes and one message.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use headwater_core::endpoint::BorrowedId;
use headwater_core::error::UndeliveredReason;
use headwater_core::id::PeerId;
use headwater_core::pool::Outbox;

use crate::lock;
use crate::queues::Sending;

/// A borrowed stream.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) id: BorrowedId,
    /// Where it leads.
    pub(crate) peer: PeerId,
    /// It stands in the list of those that the loop has to look at.
    pub(crate) marked: AtomicBool,
    pub(crate) outbox: Sending,
    /// The holder is gone.
    is_left: AtomicBool,
    lost: Mutex<Option<UndeliveredReason>>,
}

impl Lane {
    pub(crate) fn new(id: BorrowedId, peer: PeerId, outbox: Outbox) -> Self {
        Self {
            id,
            peer,
            marked: AtomicBool::new(false),
            outbox: Sending::new(outbox),
            is_left: AtomicBool::new(false),
            lost: Mutex::default(),
        }
    }

    /// Called by the loop: the stream is gone.
    pub(crate) fn lose(&self, reason: UndeliveredReason, take: impl FnOnce(&mut Outbox)) {
        lock(&self.lost).get_or_insert(reason);
        self.outbox.close(take);
    }

    /// Why the stream is gone, if it is.
    pub(crate) fn lost(&self) -> Option<UndeliveredReason> {
        *lock(&self.lost)
    }

    /// Called by the holder: nothing more will be put in.
    pub(crate) fn leave(&self) {
        self.is_left.store(true, Ordering::Release);
    }

    pub(crate) fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Acquire)
    }
}
