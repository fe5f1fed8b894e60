//! The application's say about a peer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use headwater_core::id::PeerId;
use headwater_identity::PublicKey;

use crate::error::Refusal;

/// A peer that has proven its key, and what it showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenPeer {
    pub(crate) key: PublicKey,
    pub(crate) certificates: Vec<Box<[u8]>>,
    pub(crate) groups: Vec<Arc<str>>,
}

impl ProvenPeer {
    /// Who it is.
    #[must_use]
    pub const fn peer_id(&self) -> PeerId {
        self.key.peer_id()
    }

    /// Its key.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The certificates that it showed, in DER, its own first: at least one, at most
    /// [`CERTIFICATES_MAX`](crate::CERTIFICATES_MAX). Only the first one's key is proven.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().map(|certificate| &**certificate)
    }

    /// The groups whose authorities vouch for it, by name.
    #[must_use]
    pub fn groups(&self) -> &[Arc<str>] {
        &self.groups
    }
}

/// Says whether a peer may connect; every `Fn(&ProvenPeer) -> Result<(), Veto>` is one.
///
/// It is asked twice in each handshake, on the thread that drives the connection: at the peer's
/// proof, and at the end, in case the rules have changed between the two. It is asked again by
/// [`Tls::reverify`](crate::Tls::reverify). So it should look something up and not wait. If it
/// panics, the peer is not admitted.
pub trait Admission: Send + Sync {
    /// Looks at a peer that has proven its key.
    ///
    /// # Errors
    ///
    /// Why it may not connect.
    fn admit(&self, peer: &ProvenPeer) -> Result<(), Veto>;
}

impl<F> Admission for F
where
    F: Fn(&ProvenPeer) -> Result<(), Veto> + Send + Sync,
{
    fn admit(&self, peer: &ProvenPeer) -> Result<(), Veto> {
        self(peer)
    }
}

/// That a peer may not connect, and why, for this node's log; the peer is not told why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Veto {
    /// The reason.
    pub reason: Arc<str>,
}

impl Veto {
    /// A veto for a reason.
    #[must_use]
    pub fn new(reason: impl Into<Arc<str>>) -> Self {
        Self { reason: reason.into() }
    }
}

/// Asks, and survives a panic.
pub(crate) fn ask(admission: &dyn Admission, peer: &ProvenPeer) -> Result<(), Refusal> {
    let answer = catch_unwind(AssertUnwindSafe(|| admission.admit(peer)));
    let answer = answer.unwrap_or_else(|_| Err(Veto::new("the admission hook panicked")));
    answer.map_err(|veto| Refusal::Vetoed { peer: peer.peer_id(), reason: veto.reason })
}
