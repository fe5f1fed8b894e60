//! What a peer supports, and what the application is still to be told of it (spec 4.5).

use alloc::vec;
use alloc::vec::Vec;

use super::ProtocolSet;
use crate::id::ProtocolId;

/// One difference between what a peer supports and what the application was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtocolChange {
    /// The peer supports a protocol that it did not.
    Gained(ProtocolId),
    /// The peer no longer supports a protocol.
    Lost(ProtocolId),
}

/// One peer's protocols: what it told last, and what the application was told of that.
///
/// # Invariants
///
/// 1. What the peer told last is stored before a change that follows from it is yielded (spec
///    D-48), so [`supports`](Self::supports) agrees with every change yielded.
/// 2. What the application was told, with all pending changes applied, is what the peer told last:
///    a protocol that comes and goes between two polls is not mentioned.
/// 3. Changes are ordered: first what was lost, then what was gained, each bytewise.
///
/// # Bounds
///
/// Three lists of at most as many protocols as the last two messages of the peer had. Sets exist
/// only for connected peers (spec D-51): the owner calls [`set`](Self::set) for messages of live
/// connections only, and drops this when it [`is_settled`](Self::is_settled) after
/// [`clear`](Self::clear).
///
/// ```
/// use headwater_core::id::ProtocolId;
/// use headwater_core::protocol::{PeerProtocols, ProtocolChange};
///
/// let echo = ProtocolId::new("/echo")?;
/// let mut peer = PeerProtocols::new();
/// peer.set([echo.clone()].into_iter().collect());
/// assert!(peer.supports("/echo"));
/// assert_eq!(peer.poll_change(), Some(ProtocolChange::Gained(echo.clone())));
/// peer.clear();
/// assert_eq!(peer.poll_change(), Some(ProtocolChange::Lost(echo)));
/// assert_eq!(peer.poll_change(), None);
/// # Ok::<(), headwater_core::id::ProtocolIdError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct PeerProtocols {
    theirs: ProtocolSet,
    lost: Pending,
    gained: Pending,
}

/// Changes found and not yet yielded; the front is the next.
#[derive(Clone, Debug, Default)]
struct Pending {
    rest: vec::IntoIter<ProtocolId>,
}

impl PeerProtocols {
    /// A peer of which nothing is known, and of which nothing was told.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what the peer told with a REQUEST, RESPONSE, PUSH or PUSH_OK.
    pub fn set(&mut self, theirs: ProtocolSet) {
        let told = self.told();
        let (gained, lost) = told.diff(&theirs);
        let (gained, lost): (Vec<_>, Vec<_>) = (gained.cloned().collect(), lost.cloned().collect());
        self.gained.rest = gained.into_iter();
        self.lost.rest = lost.into_iter();
        self.theirs = theirs;
    }

    /// Forgets what the peer told: each protocol that the application knows of becomes lost.
    pub fn clear(&mut self) {
        self.set(ProtocolSet::default());
    }

    /// What the peer told last.
    #[must_use]
    pub const fn protocols(&self) -> &ProtocolSet {
        &self.theirs
    }

    /// Whether the peer told last that it supports `protocol`.
    #[must_use]
    pub fn supports(&self, protocol: &str) -> bool {
        self.theirs.contains(protocol)
    }

    /// The next difference to tell the application, which counts as told with that.
    pub fn poll_change(&mut self) -> Option<ProtocolChange> {
        if let Some(protocol) = self.lost.rest.next() {
            return Some(ProtocolChange::Lost(protocol));
        }
        self.gained.rest.next().map(ProtocolChange::Gained)
    }

    /// Whether the application was told everything.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.lost.rest.as_slice().is_empty() && self.gained.rest.as_slice().is_empty()
    }

    /// What the application was told: what it should know, without the pending changes.
    fn told(&self) -> ProtocolSet {
        if self.is_settled() {
            return self.theirs.clone();
        }
        let (lost, gained) = (self.lost.rest.as_slice(), self.gained.rest.as_slice());
        let known = self.theirs.iter().filter(|protocol| gained.binary_search(protocol).is_err());
        known.chain(lost).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> ProtocolSet {
        names.iter().map(|name| ProtocolId::new(name).unwrap()).collect()
    }

    fn drain(peer: &mut PeerProtocols) -> Vec<std::string::String> {
        let changes = core::iter::from_fn(|| peer.poll_change());
        changes
            .map(|change| match change {
                ProtocolChange::Gained(protocol) => std::format!("+{protocol}"),
                ProtocolChange::Lost(protocol) => std::format!("-{protocol}"),
            })
            .collect()
    }

    #[test]
    fn lost_comes_before_gained_and_each_is_in_bytewise_order() {
        let mut peer = PeerProtocols::new();
        peer.set(set(&["/b", "/a", "/c"]));
        assert_eq!(drain(&mut peer), ["+/a", "+/b", "+/c"]);
        peer.set(set(&["/e", "/b", "/d"]));
        assert_eq!(drain(&mut peer), ["-/a", "-/c", "+/d", "+/e"]);
        peer.set(set(&["/b", "/d", "/e"]));
        assert!(peer.is_settled());
    }

    #[test]
    fn d48_the_set_is_stored_before_anything_is_told() {
        let mut peer = PeerProtocols::new();
        peer.set(set(&["/a", "/b"]));
        while let Some(change) = peer.poll_change() {
            assert!(matches!(change, ProtocolChange::Gained(p) if peer.supports(p.as_str())));
            assert!(peer.supports("/b"));
        }
    }

    #[test]
    fn d48_an_empty_set_loses_every_protocol() {
        let mut peer = PeerProtocols::new();
        peer.set(set(&["/a", "/b"]));
        drain(&mut peer);
        peer.set(set(&[]));
        assert_eq!(drain(&mut peer), ["-/a", "-/b"]);
    }

    #[test]
    fn d51_after_a_clear_nothing_remains() {
        let mut peer = PeerProtocols::new();
        peer.set(set(&["/a", "/b", "/c"]));
        assert_eq!(
            peer.poll_change(),
            Some(ProtocolChange::Gained(set(&["/a"]).iter().next().unwrap().clone()))
        );
        peer.clear();
        assert!(peer.protocols().is_empty() && !peer.is_settled());
        assert_eq!(drain(&mut peer), ["-/a"], "the application never heard of /b and /c");
        assert!(peer.is_settled());
    }

    #[test]
    fn what_comes_and_goes_between_two_polls_is_not_mentioned() {
        let mut peer = PeerProtocols::new();
        peer.set(set(&["/a"]));
        drain(&mut peer);
        peer.set(set(&["/a", "/b"]));
        peer.set(set(&[]));
        peer.set(set(&["/a"]));
        assert_eq!(drain(&mut peer), [""; 0]);
    }
}
