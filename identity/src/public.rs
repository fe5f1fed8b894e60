//! Public keys: what type they are of, and the peer id that follows (spec 1.4).
//!
//! An id is a hash of an encoding, so a key has to have one encoding: whatever is not exactly how
//! the key would be written is refused. Invariant: `spki` is that one encoding.

use std::fmt;

use headwater_core::id::{KeyKind, PeerId};
use p256::pkcs8::der::Decode;
use p256::pkcs8::der::asn1::AnyRef;
use p256::pkcs8::{AssociatedOid, ObjectIdentifier, SubjectPublicKeyInfoRef};
use pkcs1::RsaPublicKey;

use crate::error::PublicKeyError;

/// The least and the largest RSA modulus, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

const SECP256K1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.10");
const SM2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.156.10197.1.301");

/// The type of a key that a peer id can be made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyType {
    /// ECDSA over P-256.
    P256,
    /// ECDSA over P-384.
    P384,
    /// ECDSA over P-521.
    P521,
    /// RSA of 2048 to 8192 bits.
    Rsa {
        /// The size of the modulus in bits.
        bits: usize,
    },
    /// ECDSA over secp256k1: it has peer ids, and cannot be used.
    Secp256k1,
    /// SM2: it has peer ids, and cannot be used.
    Sm2,
}

impl KeyType {
    /// Whether a node can have such a key, and be connected to one that has.
    #[must_use]
    pub const fn is_usable(self) -> bool {
        !matches!(self, Self::Secp256k1 | Self::Sm2)
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::P256 => f.write_str("P-256"),
            Self::P384 => f.write_str("P-384"),
            Self::P521 => f.write_str("P-521"),
            Self::Rsa { bits } => write!(f, "RSA-{bits}"),
            Self::Secp256k1 => f.write_str("secp256k1"),
            Self::Sm2 => f.write_str("SM2"),
        }
    }
}

/// A public key, and the peer id that follows from it.
///
/// ```
/// use headwater_identity::{KeyType, NodeKey, PublicKey};
///
/// let key = NodeKey::generate()?;
/// let public = PublicKey::from_spki_der(key.public_key_spki())?;
/// assert_eq!(public.key_type(), KeyType::P256);
/// assert_eq!(public.peer_id(), key.peer_id());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    spki: Box<[u8]>,
    key_type: KeyType,
    peer_id: PeerId,
}

impl PublicKey {
    /// Reads a public key in SubjectPublicKeyInfo DER, of any type that has peer ids.
    ///
    /// That a point lies on its curve is checked where the key is used.
    ///
    /// # Errors
    ///
    /// What was found instead; see [`PublicKeyError`].
    pub fn from_spki_der(der: &[u8]) -> Result<Self, PublicKeyError> {
        let malformed = |_| PublicKeyError::Malformed { what: "public key" };
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(malformed)?;
        let data = spki.subject_public_key.as_bytes();
        let data = data.ok_or(PublicKeyError::Malformed { what: "public key: cut bits" })?;
        let parameters = spki.algorithm.parameters;
        let key_type = if spki.algorithm.oid == p256::elliptic_curve::ALGORITHM_OID {
            ec_type(parameters, data)?
        } else if spki.algorithm.oid == pkcs1::ALGORITHM_OID {
            rsa_type(parameters, data)?
        } else {
            return Err(PublicKeyError::Unsupported { found: algorithm(spki.algorithm.oid) });
        };
        Ok(Self { spki: der.into(), key_type, peer_id: peer_id(key_type, der, data) })
    }

    /// The type of the key.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// Who a node with this key is.
    #[must_use]
    pub const fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// The key as SubjectPublicKeyInfo DER.
    #[must_use]
    pub const fn spki_der(&self) -> &[u8] {
        &self.spki
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {})", self.key_type, self.peer_id)
    }
}

fn peer_id(key_type: KeyType, spki: &[u8], point: &[u8]) -> PeerId {
    match key_type {
        KeyType::Rsa { .. } => PeerId::from_public_key(KeyKind::Rsa, spki),
        KeyType::Sm2 => PeerId::from_public_key(KeyKind::Sm2, spki),
        KeyType::P256 | KeyType::P384 | KeyType::P521 => {
            PeerId::from_public_key(KeyKind::Ecdsa, spki)
        }
        KeyType::Secp256k1 => {
            // The id is made from the compressed point: x, and whether y is odd.
            let mut compressed = [0; 33];
            let (tag, x) = compressed.split_at_mut(1);
            tag.fill(2 + point.last().map_or(0, |last| last & 1));
            x.copy_from_slice(&point[1..33]);
            PeerId::from_public_key(KeyKind::Secp256k1, &compressed)
        }
    }
}

/// The type of an EC key: a named curve, and an uncompressed point of the right length.
fn ec_type(parameters: Option<AnyRef<'_>>, point: &[u8]) -> Result<KeyType, PublicKeyError> {
    let parameters = parameters.ok_or(PublicKeyError::Malformed { what: "EC key: no curve" })?;
    let named = parameters.decode_as::<ObjectIdentifier>();
    let oid = named.map_err(|_| PublicKeyError::Curve { found: "explicit parameters".into() })?;
    let Some(key_type) = curve_key_type(oid) else {
        return Err(PublicKeyError::Curve { found: curve(oid) });
    };
    let field = match key_type {
        KeyType::P384 => 48,
        KeyType::P521 => 66,
        _ => 32,
    };
    if point.first() == Some(&4) && point.len() == 1 + 2 * field {
        Ok(key_type)
    } else {
        Err(PublicKeyError::Malformed { what: "EC key: not an uncompressed point" })
    }
}

/// The type of an RSA key: NULL parameters, and a modulus of a size that is accepted.
fn rsa_type(parameters: Option<AnyRef<'_>>, data: &[u8]) -> Result<KeyType, PublicKeyError> {
    if parameters != Some(AnyRef::NULL) {
        return Err(PublicKeyError::Malformed { what: "RSA key: parameters are not NULL" });
    }
    let key = RsaPublicKey::from_der(data)
        .map_err(|_| PublicKeyError::Malformed { what: "RSA public key" })?;
    let modulus = key.modulus.as_bytes();
    let zeros = modulus.first().map_or(0, |first| first.leading_zeros() as usize);
    let bits = (modulus.len() * 8).saturating_sub(zeros);
    if RSA_BITS.contains(&bits) {
        Ok(KeyType::Rsa { bits })
    } else {
        Err(PublicKeyError::RsaSize { bits })
    }
}

/// The type of the keys on a curve, if they have peer ids.
pub(crate) fn curve_key_type(curve: ObjectIdentifier) -> Option<KeyType> {
    match curve {
        p256::NistP256::OID => Some(KeyType::P256),
        p384::NistP384::OID => Some(KeyType::P384),
        p521::NistP521::OID => Some(KeyType::P521),
        SECP256K1 => Some(KeyType::Secp256k1),
        SM2 => Some(KeyType::Sm2),
        _ => None,
    }
}

/// The name of a curve.
pub(crate) fn curve(curve: ObjectIdentifier) -> String {
    match curve_key_type(curve) {
        Some(key_type) => key_type.to_string(),
        None if curve.to_string() == "1.3.132.0.33" => "P-224".into(),
        None => format!("curve {curve}"),
    }
}

/// The name of a key algorithm.
pub(crate) fn algorithm(algorithm: ObjectIdentifier) -> String {
    match algorithm.to_string().as_str() {
        "1.2.840.113549.1.1.1" => "RSA".into(),
        "1.2.840.113549.1.1.10" => "RSA-PSS".into(),
        "1.2.840.10040.4.1" => "DSA".into(),
        "1.3.101.110" => "X25519".into(),
        "1.3.101.111" => "X448".into(),
        "1.3.101.112" => "Ed25519".into(),
        "1.3.101.113" => "Ed448".into(),
        other => format!("algorithm {other}"),
    }
}
