//! A set of protocols that does not change.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::id::ProtocolId;

/// An immutable set of protocols, in bytewise order; cloning it copies a pointer.
///
/// It holds what its maker puts in: sets from peers are bounded by
/// [`ExchangerLimits::protocols_max`](crate::wire::ExchangerLimits::protocols_max), our own by
/// the registry's limit.
///
/// ```
/// use headwater_core::id::ProtocolId;
/// use headwater_core::protocol::ProtocolSet;
///
/// let old: ProtocolSet = [ProtocolId::new("/a")?, ProtocolId::new("/b")?].into_iter().collect();
/// let new: ProtocolSet = [ProtocolId::new("/c")?, ProtocolId::new("/b")?].into_iter().collect();
/// assert!(new.contains("/c"));
/// let (mut added, mut removed) = old.diff(&new);
/// assert_eq!(added.next().map(ProtocolId::as_str), Some("/c"));
/// assert_eq!(removed.next().map(ProtocolId::as_str), Some("/a"));
/// # Ok::<(), headwater_core::id::ProtocolIdError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ProtocolSet {
    /// Sorted, without duplicates.
    sorted: Arc<[ProtocolId]>,
}

impl ProtocolSet {
    /// Whether `protocol` is in the set.
    #[must_use]
    pub fn contains(&self, protocol: &str) -> bool {
        self.get(protocol).is_some()
    }

    /// The id in the set that has this name; cloning it costs less than making one.
    #[must_use]
    pub fn get(&self, protocol: &str) -> Option<&ProtocolId> {
        let at = self.sorted.binary_search_by(|own| own.as_str().cmp(protocol)).ok()?;
        self.sorted.get(at)
    }

    /// How many protocols there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The protocols, in bytewise order.
    pub fn iter(&self) -> core::slice::Iter<'_, ProtocolId> {
        self.sorted.iter()
    }

    /// What `newer` has that this set has not, and what it has no more; both in bytewise order.
    pub fn diff<'a>(
        &'a self,
        newer: &'a Self,
    ) -> (impl Iterator<Item = &'a ProtocolId>, impl Iterator<Item = &'a ProtocolId>) {
        (newer.without(self), self.without(newer))
    }

    /// The same without one protocol, if it is there.
    #[must_use]
    pub fn except(self, protocol: &str) -> Self {
        if self.contains(protocol) {
            return self.iter().filter(|other| other.as_str() != protocol).cloned().collect();
        }
        self
    }

    fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a ProtocolId> {
        self.iter().filter(|protocol| !other.contains(protocol.as_str()))
    }
}

impl Default for ProtocolSet {
    fn default() -> Self {
        Self { sorted: Arc::from([]) }
    }
}

impl FromIterator<ProtocolId> for ProtocolSet {
    fn from_iter<I: IntoIterator<Item = ProtocolId>>(protocols: I) -> Self {
        let mut sorted: Vec<ProtocolId> = protocols.into_iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        Self { sorted: Arc::from(sorted) }
    }
}

impl<'a> IntoIterator for &'a ProtocolSet {
    type Item = &'a ProtocolId;
    type IntoIter = core::slice::Iter<'a, ProtocolId>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for ProtocolSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::string::String;

    fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> ProtocolSet {
        names.into_iter().map(|name| ProtocolId::new(name).unwrap()).collect()
    }

    #[test]
    fn order_is_bytewise_and_duplicates_collapse() {
        let protocols = set(["/b", "/a/2", "/a", "/b", "/B"]);
        let names: Vec<&str> = protocols.iter().map(ProtocolId::as_str).collect();
        assert_eq!(names, ["/B", "/a", "/a/2", "/b"]);
        assert_eq!(protocols, set(["/B", "/b", "/a", "/a/2"]));
        assert_eq!(std::format!("{:?}", set(["/a"])), "{\"/a\"}");
    }

    #[test]
    fn one_is_left_out_if_it_is_there() {
        let all = set(["/a", "/b", "/c"]);
        assert_eq!(all.clone().except("/b"), set(["/a", "/c"]));
        assert_eq!(all.clone().except("/d"), all);
    }

    #[test]
    fn an_empty_set_contains_nothing_and_differs_in_everything() {
        let (none, some) = (ProtocolSet::default(), set(["/a", "/b"]));
        assert!(none.is_empty() && !none.contains("/a") && none.get("").is_none());
        let (added, removed) = none.diff(&some);
        assert_eq!((added.count(), removed.count()), (2, 0));
        let (added, removed) = some.diff(&none);
        assert_eq!((added.count(), removed.count()), (0, 2));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_tree(
            old in prop::collection::btree_set("[a-d]{1,2}", 0..12),
            new in prop::collection::btree_set("[a-d]{1,2}", 0..12),
        ) {
            let (ours, theirs) =
                (set(old.iter().map(String::as_str)), set(new.iter().map(String::as_str)));
            let (added, removed) = ours.diff(&theirs);
            let text = |ids: Vec<&ProtocolId>| -> Vec<String> {
                ids.iter().map(|id| String::from(id.as_str())).collect()
            };
            let tree = |a: &BTreeSet<String>, b| a.difference(b).cloned().collect::<Vec<_>>();
            prop_assert_eq!(text(added.collect()), tree(&new, &old));
            prop_assert_eq!(text(removed.collect()), tree(&old, &new));
            prop_assert!(old.iter().all(|name| ours.contains(name)));
            prop_assert_eq!(ours.len(), old.len());
        }
    }
}
