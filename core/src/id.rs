//! Names of things: peers, protocols, connections.

use alloc::sync::Arc;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;

use sha2::{Digest, Sha256};

/// The longest peer id there is, in bytes: base58 of an identity multihash of 42 bytes.
pub const PEER_ID_LEN_MAX: usize = 61;

/// The longest protocol id that is sent or accepted, in bytes.
pub const PROTOCOL_ID_LEN_MAX: usize = 1024;

/// Who a node is: the base58 text of a multihash of its public key (spec 1.4).
///
/// It is compared and ordered bytewise. Small and `Copy`; it allocates nothing.
///
/// ```
/// use headwater_core::id::PeerId;
///
/// let id: PeerId = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse()?;
/// assert_eq!(id.as_str().len(), 46);
/// assert!("Qm0".parse::<PeerId>().is_err()); // 0 is not a base58 digit
/// # Ok::<(), headwater_core::id::PeerIdError>(())
/// ```
#[derive(Clone, Copy)]
pub struct PeerId {
    len: u8,
    bytes: [u8; PEER_ID_LEN_MAX],
}

impl PeerId {
    /// The id of a public key, given in the `PublicKey` protobuf form of spec 1.4: the kind
    /// (0 RSA, 2 secp256k1, 3 ECDSA, 4 SM2) and the key's bytes (SPKI DER, or for secp256k1
    /// the compressed point).
    #[must_use]
    pub fn from_public_key(kind: KeyKind, data: &[u8]) -> Self {
        let mut preimage = alloc::vec::Vec::with_capacity(data.len().saturating_add(12));
        preimage.extend_from_slice(&[0x08, kind as u8, 0x12]);
        let mut len = data.len();
        while len >= 0x80 {
            preimage.push(u8::try_from(len & 0x7f).unwrap_or(0) | 0x80);
            len >>= 7;
        }
        preimage.push(u8::try_from(len).unwrap_or(0));
        preimage.extend_from_slice(data);

        let mut multihash = alloc::vec::Vec::with_capacity(44);
        if preimage.len() <= 42 {
            multihash.extend_from_slice(&[0x00, u8::try_from(preimage.len()).unwrap_or(0)]);
            multihash.extend_from_slice(&preimage);
        } else {
            multihash.extend_from_slice(&[0x12, 0x20]);
            multihash.extend_from_slice(&Sha256::digest(&preimage));
        }
        let mut id = Self { len: 0, bytes: [0; PEER_ID_LEN_MAX] };
        if let Ok(len) = bs58::encode(&multihash).onto(&mut id.bytes[..]) {
            id.len = u8::try_from(len).unwrap_or(0);
        }
        id
    }

    /// Reads an id that arrived as bytes.
    ///
    /// # Errors
    ///
    /// The first rule that the bytes break; see [`PeerIdError`].
    pub fn from_bytes(text: &[u8]) -> Result<Self, PeerIdError> {
        if text.is_empty() || text.len() > PEER_ID_LEN_MAX {
            return Err(PeerIdError::Length { actual: text.len() });
        }
        if let Some(at) = text.iter().position(|byte| !is_base58(*byte)) {
            return Err(PeerIdError::NotBase58 { at });
        }
        let mut bytes = [0; PEER_ID_LEN_MAX];
        for (to, from) in bytes.iter_mut().zip(text) {
            *to = *from;
        }
        Ok(Self { len: u8::try_from(text.len()).unwrap_or(0), bytes })
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or("")
    }

    /// The id as ASCII bytes, as it stands on the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

/// What kind of key a peer id was made from; the numbers are those of the wire (spec 1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum KeyKind {
    /// RSA, given as SPKI DER.
    Rsa = 0,
    /// secp256k1, given as the compressed point of 33 bytes.
    Secp256k1 = 2,
    /// P-256, P-384 or P-521, given as SPKI DER.
    Ecdsa = 3,
    /// SM2, given as SPKI DER.
    Sm2 = 4,
}

const fn is_base58(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() && !matches!(byte, b'0' | b'O' | b'I' | b'l')
}

/// Why a text is not a peer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum PeerIdError {
    /// Empty, or longer than [`PEER_ID_LEN_MAX`].
    Length {
        /// Its length in bytes.
        actual: usize,
    },
    /// A byte that base58 does not have.
    NotBase58 {
        /// The position of the first such byte.
        at: usize,
    },
}

impl fmt::Display for PeerIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { actual } => {
                write!(f, "a peer id has 1 to {PEER_ID_LEN_MAX} characters, this has {actual}")
            }
            Self::NotBase58 { at } => {
                write!(f, "a peer id is base58, the character at position {at} is not")
            }
        }
    }
}

impl core::error::Error for PeerIdError {}

impl FromStr for PeerId {
    type Err = PeerIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_bytes(text.as_bytes())
    }
}

impl PartialEq for PeerId {
    fn eq(&self, other: &Self) -> bool {
        // Unused bytes are zero, so whole arrays compare faster than slices of unknown length.
        self.bytes == other.bytes
    }
}

impl Eq for PeerId {}

impl PartialOrd for PeerId {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PeerId {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.bytes.cmp(&other.bytes)
    }
}

impl Hash for PeerId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of an application protocol, such as `/echo/1.0.0`; cloning it is cheap.
///
/// ```
/// use headwater_core::id::ProtocolId;
///
/// let echo = ProtocolId::new("/echo/1.0.0")?;
/// assert_eq!(echo.as_str(), "/echo/1.0.0");
/// assert!(ProtocolId::new("").is_err());
/// # Ok::<(), headwater_core::id::ProtocolIdError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtocolId(Arc<str>);

impl ProtocolId {
    /// The protocol under which nodes tell each other what they support (spec 4.1).
    pub const EXCHANGER: &'static str = "/protocol-exchanger/v0.0.1";

    /// Takes a name of 1 to [`PROTOCOL_ID_LEN_MAX`] bytes.
    ///
    /// # Errors
    ///
    /// [`ProtocolIdError`] if it is empty or too long.
    pub fn new(name: &str) -> Result<Self, ProtocolIdError> {
        if name.is_empty() || name.len() > PROTOCOL_ID_LEN_MAX {
            return Err(ProtocolIdError { actual: name.len() });
        }
        Ok(Self(Arc::from(name)))
    }

    /// The exchanger's own protocol, [`ProtocolId::EXCHANGER`].
    #[must_use]
    pub fn exchanger() -> Self {
        Self(Arc::from(Self::EXCHANGER))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a clone of `other`, which is quicker to see than that it is equal; false may
    /// mean that it is equal and no clone.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl core::borrow::Borrow<str> for ProtocolId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProtocolId {
    type Err = ProtocolIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl fmt::Display for ProtocolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ProtocolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A protocol id that is empty or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolIdError {
    /// The length in bytes.
    pub actual: usize,
}

impl fmt::Display for ProtocolIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a protocol id has 1 to {PROTOCOL_ID_LEN_MAX} bytes, this has {}", self.actual)
    }
}

impl core::error::Error for ProtocolIdError {}

/// One transport link, dialled or accepted; a recycled slot gets a new generation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ConnectionId {
    /// The slot.
    pub index: u32,
    /// How often the slot was used before.
    pub generation: u32,
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}.{}", self.index, self.generation)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
