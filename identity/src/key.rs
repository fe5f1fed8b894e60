//! A node's private key.

use std::fmt;

use headwater_core::id::{KeyKind, PeerId};
use p256::SecretKey;
use p256::elliptic_curve::ALGORITHM_OID;
use p256::pkcs8::der::Decode;
use p256::pkcs8::der::asn1::AnyRef;
use p256::pkcs8::{
    AssociatedOid, EncodePrivateKey, EncodePublicKey, LineEnding, ObjectIdentifier, PrivateKeyInfo,
};
use sec1::{EcParameters, EcPrivateKey};
use zeroize::Zeroizing;

use crate::error::KeyError;
use crate::pem::{self, Block, Label};

/// The type of a node's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyType {
    /// ECDSA over P-256.
    P256,
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P256 => "P-256",
        })
    }
}

/// A node's private key, and the peer id that follows from it.
///
/// ```
/// use headwater_identity::{KeyType, NodeKey};
///
/// // A key that was made for examples and is good for nothing else.///
/// let pem = "-----BEGIN EC PRIVATE KEY-----
/// MHcCAQEEINLHVSsc2dbMX/P5jAvXXdUHohyonu2pNioM682F643doAoGCCqGSM49
/// AwEHoUQDQgAEOP7Jfuz2KmU7KCOWFcMUOD3JV31nIWU59gDZk++6aYfhshM3UMUV
/// 8+ZgNmKuvj9nfMf+UfGwRegi2LKL3QXKbQ==
/// -----END EC PRIVATE KEY-----";
/// let key = NodeKey::from_pem(pem)?;
/// assert_eq!(key.key_type(), KeyType::P256);
/// assert_eq!(key.peer_id().as_str(), "QmZ8nk4LqSarxmCYsLRUsDJQzrjhfTii2RJwGxoijq5YNH");
/// # Ok::<(), headwater_identity::KeyError>(())
/// ```
#[derive(Clone)]
pub struct NodeKey {
    secret: Secret,
    /// The public key, as SPKI DER.
    spki: Box<[u8]>,
    peer_id: PeerId,
}

/// It wipes itself when dropped.
#[derive(Clone)]
enum Secret {
    P256(SecretKey),
}

impl NodeKey {
    /// Makes a new P-256 key from the operating system's randomness.
    ///
    /// # Errors
    ///
    /// [`KeyError::Randomness`] if the operating system gives none.
    pub fn generate() -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        loop {
            getrandom::fill(&mut *bytes).map_err(|_| KeyError::Randomness)?;
            // One in 2^32 is beyond the order of the curve.
            if let Ok(secret) = SecretKey::from_slice(&*bytes) {
                return Self::new(secret);
            }
        }
    }

    /// Reads the one private key in a PEM text.
    ///
    /// Text around the PEM blocks is ignored, as are blanks and line lengths inside them.
    ///
    /// # Errors
    ///
    /// What was found instead of one plain P-256 key; see [`KeyError`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let mut key = None;
        let mut parameters = None;
        for block in pem::blocks(text)? {
            match block.label() {
                Label::EcParameters => parameters = Some(block),
                label if label.is_private_key() && key.is_some() => {
                    return Err(KeyError::SeveralKeys);
                }
                _ => key = Some(block.private_key()?),
            }
        }
        let key = key.ok_or(KeyError::NoKey)?;
        let curve = parameters.map(|block| curve_of(&block)).transpose()?;
        if let Some(curve) = curve {
            expect_p256(curve)?;
        }
        match key.label() {
            Label::Sec1 => Self::from_sec1(&key.decode()?, curve),
            _ => Self::from_pkcs8_der(&key.decode()?),
        }
    }

    /// Reads a private key in PKCS#8 DER.
    ///
    /// # Errors
    ///
    /// What was found instead of a P-256 key; see [`KeyError`].
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let malformed = |_| KeyError::Malformed { what: "PKCS#8 key" };
        let info = PrivateKeyInfo::from_der(der).map_err(malformed)?;
        if info.algorithm.oid != ALGORITHM_OID {
            return Err(KeyError::Unsupported { found: algorithm_name(info.algorithm.oid) });
        }
        let curve = info.algorithm.parameters.ok_or(KeyError::CurveMissing)?;
        expect_p256(named_curve(curve)?)?;
        let inner = EcPrivateKey::from_der(info.private_key)
            .map_err(|_| KeyError::Malformed { what: "EC key inside PKCS#8" })?;
        Self::from_ec(inner)
    }

    fn from_sec1(der: &[u8], curve: Option<ObjectIdentifier>) -> Result<Self, KeyError> {
        let key =
            EcPrivateKey::from_der(der).map_err(|_| KeyError::Malformed { what: "SEC1 key" })?;
        if key.parameters.is_none() && curve.is_none() {
            return Err(KeyError::CurveMissing);
        }
        Self::from_ec(key)
    }

    fn from_ec(key: EcPrivateKey<'_>) -> Result<Self, KeyError> {
        if let Some(EcParameters::NamedCurve(curve)) = key.parameters {
            expect_p256(curve)?;
        }
        let what = "P-256 key: out of range, or not that of its public key";
        Self::new(SecretKey::try_from(key).map_err(|_| KeyError::Malformed { what })?)
    }

    fn new(secret: SecretKey) -> Result<Self, KeyError> {
        let spki = secret.public_key().to_public_key_der().map_err(|_| KeyError::Encode)?;
        let spki: Box<[u8]> = spki.as_bytes().into();
        let peer_id = PeerId::from_public_key(KeyKind::Ecdsa, &spki);
        Ok(Self { secret: Secret::P256(secret), spki, peer_id })
    }

    /// The key as PEM, in PKCS#8; wiped from memory when dropped.
    ///
    /// # Errors
    ///
    /// [`KeyError::Encode`] if the encoder refuses, for which there is no known cause.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        match &self.secret {
            Secret::P256(key) => key.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Encode),
        }
    }

    /// The key as PKCS#8 DER, as libraries for TLS take it; wiped from memory when dropped.
    ///
    /// # Errors
    ///
    /// [`KeyError::Encode`] if the encoder refuses, for which there is no known cause.
    pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        match &self.secret {
            Secret::P256(key) => {
                let document = key.to_pkcs8_der().map_err(|_| KeyError::Encode)?;
                Ok(Zeroizing::new(document.as_bytes().to_vec()))
            }
        }
    }

    /// The type of the key.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        match self.secret {
            Secret::P256(_) => KeyType::P256,
        }
    }

    /// Who a node with this key is.
    #[must_use]
    pub const fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// The public key as SubjectPublicKeyInfo DER.
    #[must_use]
    pub const fn public_key_spki(&self) -> &[u8] {
        &self.spki
    }
}

impl fmt::Debug for NodeKey {
    /// The peer id; never the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NodeKey").field(&self.peer_id).finish()
    }
}

/// The curve that an `EC PARAMETERS` block names.
fn curve_of(block: &Block) -> Result<ObjectIdentifier, KeyError> {
    let der = block.decode()?;
    named_curve(AnyRef::from_der(&der).map_err(|_| KeyError::Malformed { what: "EC PARAMETERS" })?)
}

fn named_curve(parameters: AnyRef<'_>) -> Result<ObjectIdentifier, KeyError> {
    let explicit = |_| KeyError::Curve { found: "explicit parameters".into() };
    parameters.decode_as::<ObjectIdentifier>().map_err(explicit)
}

fn expect_p256(curve: ObjectIdentifier) -> Result<(), KeyError> {
    if curve == p256::NistP256::OID {
        return Ok(());
    }
    let found = match curve.to_string().as_str() {
        "1.3.132.0.34" => "P-384".into(),
        "1.3.132.0.35" => "P-521".into(),
        "1.3.132.0.33" => "P-224".into(),
        "1.3.132.0.10" => "secp256k1".into(),
        "1.2.156.10197.1.301" => "SM2".into(),
        other => format!("curve {other}"),
    };
    Err(KeyError::Curve { found })
}

fn algorithm_name(algorithm: ObjectIdentifier) -> String {
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
