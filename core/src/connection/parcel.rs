//! Parcels: messages that travel together, and what is counted when they do not arrive.

use bytes::{Bytes, BytesMut};

use super::mailbox::Tally;
use crate::error::UndeliveredReason;
use crate::id::ProtocolId;
use crate::mux::{Session, StreamId};
use crate::pool;
use crate::record::blank_packages;
use crate::time::Instant;
use crate::wire::Walk;

/// Messages that travel together on one stream.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Parcel {
    content: Content,
    /// When its last byte has to be framed.
    pub(super) deadline: Instant,
    pub(super) attempts: u8,
}

#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
enum Content {
    /// Consecutive packages.
    Small(#[cfg_attr(feature = "serde", serde(with = "crate::record::sparse"))] Bytes),
    /// One package in three pieces.
    Large {
        #[cfg_attr(feature = "serde", serde(with = "crate::record::sparse"))]
        head: Bytes,
        #[cfg_attr(feature = "serde", serde(with = "crate::record::sparse"))]
        payload: Bytes,
        #[cfg_attr(feature = "serde", serde(with = "crate::record::sparse"))]
        tail: Bytes,
        protocol: ProtocolId,
    },
}

impl Parcel {
    pub(super) fn from_small(bytes: Bytes, deadline: Instant) -> Self {
        Self { content: Content::Small(bytes), deadline, attempts: 0 }
    }

    pub(super) fn from_large(large: pool::LargeMessage, deadline: Instant) -> Self {
        let pool::LargeMessage { head, payload, tail, protocol } = large;
        Self { content: Content::Large { head, payload, tail, protocol }, deadline, attempts: 0 }
    }

    /// Replaces what its messages say by zeros.
    pub(crate) fn blank(&mut self) {
        match &mut self.content {
            Content::Small(bytes) => *bytes = blank_packages(bytes),
            Content::Large { payload, .. } => *payload = BytesMut::zeroed(payload.len()).freeze(),
        }
    }

    pub(super) fn is_large(&self) -> bool {
        matches!(self.content, Content::Large { .. })
    }

    pub(super) fn len(&self) -> usize {
        match &self.content {
            Content::Small(bytes) => bytes.len(),
            Content::Large { head, payload, tail, .. } => {
                head.len().saturating_add(payload.len()).saturating_add(tail.len())
            }
        }
    }

    pub(super) fn write(&self, uni: &mut Session, stream: StreamId) {
        match &self.content {
            Content::Small(bytes) => {
                let _ = uni.write(stream, bytes.clone());
            }
            Content::Large { head, payload, tail, .. } => {
                for piece in [head, payload, tail] {
                    let _ = uni.write(stream, piece.clone());
                }
            }
        }
    }

    /// Counts what had begun to leave when `framed` bytes had left, and gives what had not.
    pub(super) fn split(
        self,
        framed: usize,
        reason: UndeliveredReason,
        tally: &mut Tally,
    ) -> Option<Self> {
        if framed == 0 {
            return Some(self);
        }
        let Content::Small(bytes) = &self.content else {
            self.count(reason, tally);
            return None;
        };
        let mut begun = 0;
        for package in Walk::new(bytes).take_while(|package| package.range.start < framed) {
            let protocol = bytes.get(package.protocol).unwrap_or(&[]);
            let protocol = core::str::from_utf8(protocol).unwrap_or("");
            begun = package.range.end;
            tally.add(protocol, reason, 1, package.payload.len() as u64);
        }
        if begun >= bytes.len() {
            return None;
        }
        Some(Self { content: Content::Small(bytes.slice(begun..)), ..self })
    }

    /// Counts every message in it.
    pub(crate) fn count(&self, reason: UndeliveredReason, tally: &mut Tally) {
        match &self.content {
            Content::Small(bytes) => {
                for package in Walk::new(bytes) {
                    let protocol = bytes.get(package.protocol).unwrap_or(&[]);
                    let protocol = core::str::from_utf8(protocol).unwrap_or("");
                    tally.add(protocol, reason, 1, package.payload.len() as u64);
                }
            }
            Content::Large { payload, protocol, .. } => {
                tally.add(protocol.as_str(), reason, 1, payload.len() as u64);
            }
        }
    }
}

pub(crate) fn parcel_of(item: pool::Item, deadline: Instant) -> Parcel {
    match item {
        pool::Item::Small(batch) => Parcel::from_small(batch.bytes, deadline),
        pool::Item::Large(large) => Parcel::from_large(large, deadline),
    }
}
