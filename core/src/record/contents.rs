//! What is in an outbox, as values.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use crate::id::ProtocolId;
use crate::pool::{Item, LargeMessage, Outbox, Sizes, SmallBatch};
use crate::snapshot::Traffic;
use crate::wire::package::{self, Walk};

/// What is in an [`Outbox`]; it can be put into another one.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Contents {
    runs: Vec<Run>,
    traffic: Traffic,
}

#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Run {
    /// Encoded packages, and how many.
    Small {
        #[cfg_attr(feature = "serde", serde(with = "super::sparse"))]
        bytes: Bytes,
        messages: usize,
    },
    Large {
        protocol: ProtocolId,
        #[cfg_attr(feature = "serde", serde(with = "super::sparse"))]
        payload: Bytes,
        compressed: bool,
    },
}

impl Contents {
    /// Of an ordered outbox it is all.
    pub(crate) fn of(outbox: &Outbox, sizes: Sizes) -> Self {
        Self { runs: outbox.runs(sizes), traffic: outbox.traffic().clone() }
    }

    /// Puts it into `outbox`, behind what is inside.
    pub fn put_into(self, outbox: &mut Outbox) {
        for run in self.runs {
            outbox.append(match run {
                Run::Small { bytes, messages } => Item::Small(SmallBatch { bytes, messages }),
                Run::Large { protocol, payload, compressed } => Item::Large(LargeMessage {
                    head: Bytes::new(),
                    payload,
                    tail: package::tail(compressed),
                    protocol,
                }),
            });
        }
        outbox.set_traffic(self.traffic);
    }

    pub(super) fn blank(&mut self) {
        for run in &mut self.runs {
            match run {
                Run::Small { bytes, .. } => *bytes = blank_packages(bytes),
                Run::Large { payload, .. } => *payload = BytesMut::zeroed(payload.len()).freeze(),
            }
        }
    }
}

/// The same packages with zeros for what they say.
pub(crate) fn blank_packages(packages: &Bytes) -> Bytes {
    let mut blank = BytesMut::from(&packages[..]);
    for package in Walk::new(packages) {
        if let Some(payload) = blank.get_mut(package.payload) {
            payload.fill(0);
        }
    }
    blank.freeze()
}
