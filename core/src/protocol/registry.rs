//! Which protocols are ours (spec 9.1).

use core::fmt;

use super::ProtocolSet;
use crate::id::ProtocolId;

/// The usual limit on our protocols: what a peer with default limits reads of a list.
pub const PROTOCOLS_MAX: usize = 1024;

/// Our protocols, with a version that grows by one whenever they change.
///
/// The exchanger's protocol is always among them. At most `protocols_max` are held, that one
/// included. A change costs time and memory proportional to the list; reading it is free.
///
/// ```
/// use headwater_core::id::ProtocolId;
/// use headwater_core::protocol::Registry;
///
/// let mut registry = Registry::default();
/// assert_eq!(registry.version(), 0);
/// assert_eq!(registry.register(ProtocolId::new("/echo/1")?)?, 1);
/// assert!(registry.protocols().contains("/echo/1"));
/// assert!(registry.protocols().contains(ProtocolId::EXCHANGER));
/// assert_eq!(registry.unregister("/echo/1")?, 2);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Registry {
    protocols: ProtocolSet,
    protocols_max: usize,
    version: u64,
}

impl Registry {
    /// A registry of the exchanger's protocol and room for others: at most `protocols_max` in all.
    #[must_use]
    pub fn new(protocols_max: usize) -> Self {
        let protocols = core::iter::once(ProtocolId::exchanger()).collect();
        Self { protocols, protocols_max, version: 0 }
    }

    /// Adds a protocol; gives the new version.
    ///
    /// # Errors
    ///
    /// [`RegistryError::AlreadyRegistered`] or [`RegistryError::TooMany`]; nothing changed then.
    pub fn register(&mut self, protocol: ProtocolId) -> Result<u64, RegistryError> {
        if self.protocols.contains(protocol.as_str()) {
            return Err(RegistryError::AlreadyRegistered);
        }
        if self.protocols.len() >= self.protocols_max {
            return Err(RegistryError::TooMany { limit: self.protocols_max });
        }
        let others = self.protocols.iter().cloned();
        self.protocols = others.chain(core::iter::once(protocol)).collect();
        Ok(self.next_version())
    }

    /// Removes a protocol; gives the new version.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotRegistered`], or [`RegistryError::Permanent`] for the exchanger's own;
    /// nothing changed then.
    pub fn unregister(&mut self, protocol: &str) -> Result<u64, RegistryError> {
        if protocol == ProtocolId::EXCHANGER {
            return Err(RegistryError::Permanent);
        }
        if !self.protocols.contains(protocol) {
            return Err(RegistryError::NotRegistered);
        }
        let others = self.protocols.iter().filter(|own| own.as_str() != protocol);
        self.protocols = others.cloned().collect();
        Ok(self.next_version())
    }

    /// The protocols; cloning the set copies a pointer.
    #[must_use]
    pub const fn protocols(&self) -> &ProtocolSet {
        &self.protocols
    }

    /// How many changes there were.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    const fn next_version(&mut self) -> u64 {
        self.version = self.version.saturating_add(1);
        self.version
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new(PROTOCOLS_MAX)
    }
}

/// Why our protocols did not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistryError {
    /// It is among them.
    AlreadyRegistered,
    /// It is not among them.
    NotRegistered,
    /// There is no room for one more.
    TooMany {
        /// The most protocols.
        limit: usize,
    },
    /// The exchanger's protocol cannot be removed.
    Permanent,
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyRegistered => f.write_str("the protocol is registered already"),
            Self::NotRegistered => f.write_str("the protocol is not registered"),
            Self::TooMany { limit } => write!(f, "{limit} protocols are registered, the most"),
            Self::Permanent => f.write_str("the exchanger's protocol cannot be removed"),
        }
    }
}

impl core::error::Error for RegistryError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ProtocolId {
        ProtocolId::new(name).unwrap()
    }

    #[test]
    fn each_change_is_one_version_and_a_refusal_is_none() {
        let mut registry = Registry::new(3);
        assert_eq!(registry.register(id("/a")), Ok(1));
        assert_eq!(registry.register(id("/a")), Err(RegistryError::AlreadyRegistered));
        assert_eq!(registry.register(id("/b")), Ok(2));
        assert_eq!(registry.register(id("/b")), Err(RegistryError::AlreadyRegistered));
        assert_eq!(registry.register(id("/c")), Err(RegistryError::TooMany { limit: 3 }));
        assert_eq!(registry.unregister("/c"), Err(RegistryError::NotRegistered));
        assert_eq!(registry.unregister("/a"), Ok(3));
        assert_eq!(registry.unregister("/a"), Err(RegistryError::NotRegistered));
        assert_eq!(registry.version(), 3);
        assert_eq!(registry.protocols().len(), 2);
        assert!(registry.protocols().contains("/b"));
    }

    #[test]
    fn the_exchanger_is_always_in() {
        let mut registry = Registry::new(0);
        let exchanger = ProtocolId::EXCHANGER;
        assert_eq!(registry.unregister(exchanger), Err(RegistryError::Permanent));
        assert_eq!(registry.register(id(exchanger)), Err(RegistryError::AlreadyRegistered));
        assert_eq!(registry.register(id("/a")), Err(RegistryError::TooMany { limit: 0 }));
        assert!(registry.protocols().contains(exchanger));
    }

    #[test]
    fn a_set_taken_earlier_does_not_change() {
        let mut registry = Registry::default();
        let before = registry.protocols().clone();
        registry.register(id("/a")).unwrap();
        assert!(!before.contains("/a"));
    }
}
