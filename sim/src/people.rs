//! Who is who: the ids of all nodes, the names of all protocols, and who announced what.

use std::cell::Cell;
use std::collections::BTreeMap;

use headwater_core::id::{KeyKind, PeerId, ProtocolId};

use crate::app::PROTOCOLS;

/// The nodes of a world and their protocols.
#[derive(Debug)]
pub(crate) struct People {
    ids: Vec<PeerId>,
    index: BTreeMap<PeerId, usize>,
    protocols: Vec<ProtocolId>,
    /// Bits of the protocols that each node has ever announced.
    announced: Vec<Cell<u32>>,
}

impl People {
    pub(crate) fn new(seed: u64, nodes: usize) -> Self {
        let id = |node: usize| {
            let mut key = seed.to_be_bytes().repeat(6);
            key.extend((node as u64).to_be_bytes());
            PeerId::from_public_key(KeyKind::Ecdsa, &key)
        };
        let ids: Vec<PeerId> = (0..nodes).map(id).collect();
        let index = ids.iter().enumerate().map(|(node, id)| (*id, node)).collect();
        let names = (0..PROTOCOLS).map(|number| ProtocolId::new(&format!("/sim/{number}")));
        Self {
            index,
            protocols: names.filter_map(Result::ok).collect(),
            announced: vec![Cell::new(0); ids.len()],
            ids,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn id(&self, node: usize) -> &PeerId {
        &self.ids[node]
    }

    pub(crate) fn index(&self, id: &PeerId) -> Option<usize> {
        self.index.get(id).copied()
    }

    pub(crate) fn protocol(&self, number: usize) -> &ProtocolId {
        &self.protocols[number]
    }

    /// The number of a protocol.
    pub(crate) fn number(&self, protocol: &ProtocolId) -> Option<usize> {
        self.protocols.iter().position(|known| known == protocol)
    }

    pub(crate) fn announce(&self, node: usize, protocol: usize) {
        self.announced[node].set(self.announced[node].get() | 1 << protocol);
    }

    pub(crate) fn ever_announced(&self, node: usize, protocol: usize) -> bool {
        self.announced[node].get() & 1 << protocol != 0
    }
}
