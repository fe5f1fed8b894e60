//! Where a peer is reached or a node listens (spec 1.1).
//!
//! An address has one of these forms, and no other:
//!
//! ```text
//! /ip4/A/tcp/P   /ip6/A/tcp/P   /dns/NAME/tcp/P   /dns4/NAME/tcp/P   /dns6/NAME/tcp/P
//! ```
//!
//! each of them followed by `/p2p/ID` or not. Names are resolved outside of core.

use alloc::sync::Arc;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;

use crate::id::PeerId;

mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod parse;
#[cfg(test)]
mod tests;

pub use error::{AddressError, AddressErrorKind, Found};

/// The longest DNS name in bytes.
pub const DNS_NAME_LEN_MAX: usize = 253;

/// An address of a node: a host, a TCP port, and perhaps the peer that is expected there.
///
/// Its text is canonical: equal addresses have equal texts, and the text read gives an equal
/// address. Cloning it allocates nothing.
///
/// ```
/// use headwater_core::address::{Address, AddressErrorKind, Family, Host};
///
/// let address: Address = "/dns4/seed.example.org/tcp/11301".parse()?;
/// assert_eq!(address.port, 11301);
/// assert!(matches!(&address.host, Host::Dns { family: Family::V4, .. }));
/// assert_eq!(address.to_string(), "/dns4/seed.example.org/tcp/11301");
///
/// let error = "/ip4/10.0.0.1/udp/11301/quic".parse::<Address>().unwrap_err();
/// assert_eq!(error.at, 14);
/// assert_eq!(error.to_string(), "at position 14: expected \"tcp\", found \"udp\"");
/// # Ok::<(), headwater_core::address::AddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Address {
    /// The host.
    pub host: Host,
    /// The TCP port; 0 when listening lets the operating system choose.
    pub port: u16,
    /// The peer that must prove itself there, if one is named.
    pub peer: Option<PeerId>,
}

/// The host part of an [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Host {
    /// An IP address.
    Ip(IpAddr),
    /// A name to be resolved.
    Dns {
        /// The name, of at most [`DNS_NAME_LEN_MAX`] bytes.
        name: DnsName,
        /// Which addresses of it may be used.
        family: Family,
    },
}

/// Which addresses of a name may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Family {
    /// Any.
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// A host name in ASCII: labels of letters, digits, `-` and `_`, with dots between them.
///
/// It is kept in lower case, names being equal whatever their case. Cloning it is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(Arc<str>);

impl DnsName {
    /// Takes a name of 1 to [`DNS_NAME_LEN_MAX`] bytes, in labels of 1 to 63 bytes.
    ///
    /// Returns `None` if it is not a name.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let labels = name.strip_suffix('.').unwrap_or(name);
        let bounded = labels.len() <= DNS_NAME_LEN_MAX;
        let good =
            bounded && labels.split('.').all(|l| (1..64).contains(&l.len()) && l.bytes().all(good));
        good.then(|| Self(Arc::from(name.to_ascii_lowercase())))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Address {
    /// The same place without an expected peer.
    #[must_use]
    pub fn without_peer(&self) -> Self {
        Self { peer: None, ..self.clone() }
    }

    /// The same place with an expected peer.
    #[must_use]
    pub fn with_peer(&self, peer: PeerId) -> Self {
        Self { peer: Some(peer), ..self.clone() }
    }

    /// IP address and port; `None` if the host is a name.
    #[must_use]
    pub const fn socket_addr(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            Host::Dns { .. } => None,
        }
    }

    /// Where to listen, if this is an address to listen on: an IP address and no peer (spec 1.1).
    ///
    /// # Errors
    ///
    /// [`AddressErrorKind::ListenName`] or [`AddressErrorKind::ListenPeer`], with their position
    /// in the address's text.
    pub fn listenable(&self) -> Result<SocketAddr, AddressError> {
        let Some(socket) = self.socket_addr() else {
            return Err(AddressError { at: 1, kind: AddressErrorKind::ListenName });
        };
        if self.peer.is_some() {
            let at = text_len(&self.without_peer()).saturating_add(1);
            return Err(AddressError { at, kind: AddressErrorKind::ListenPeer });
        }
        Ok(socket)
    }

    /// Whether this is an address to dial: its port is not 0.
    ///
    /// # Errors
    ///
    /// [`AddressErrorKind::DialPortZero`], with the port's position in the address's text.
    pub fn dialable(&self) -> Result<(), AddressError> {
        if self.port == 0 {
            let at = text_len(&self.without_peer()).saturating_sub(1);
            return Err(AddressError { at, kind: AddressErrorKind::DialPortZero });
        }
        Ok(())
    }
}

/// How many bytes the text of `address` has.
fn text_len(address: &Address) -> usize {
    struct Count(usize);
    impl fmt::Write for Count {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.saturating_add(text.len());
            Ok(())
        }
    }
    let mut count = Count(0);
    let _ = fmt::write(&mut count, format_args!("{address}"));
    count.0
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads an address.
    ///
    /// # Errors
    ///
    /// What was found instead of what was expected, and where; see [`AddressError`].
    fn from_str(text: &str) -> Result<Self, AddressError> {
        parse::address(text)
    }
}

impl From<SocketAddr> for Address {
    /// The address of a socket; what IPv6 has besides address and port (scope, flow) is dropped.
    fn from(socket: SocketAddr) -> Self {
        Self { host: Host::Ip(socket.ip()), port: socket.port(), peer: None }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V4(ip)) => write!(f, "/ip4/{ip}")?,
            Host::Ip(IpAddr::V6(ip)) => write!(f, "/ip6/{ip}")?,
            Host::Dns { name, family: Family::Any } => write!(f, "/dns/{name}")?,
            Host::Dns { name, family: Family::V4 } => write!(f, "/dns4/{name}")?,
            Host::Dns { name, family: Family::V6 } => write!(f, "/dns6/{name}")?,
        }
        write!(f, "/tcp/{}", self.port)?;
        match &self.peer {
            Some(peer) => write!(f, "/p2p/{peer}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
