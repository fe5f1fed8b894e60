//! A node's private key.

use std::fmt;

use headwater_core::id::PeerId;
use p256::elliptic_curve::sec1::{FromEncodedPoint, ModulusSize, ToEncodedPoint};
use p256::elliptic_curve::{AffinePoint, CurveArithmetic, FieldBytesSize, SecretKey};
use p256::pkcs8::der::asn1::AnyRef;
use p256::pkcs8::der::{Decode, Encode};
use p256::pkcs8::{
    AlgorithmIdentifierRef, AssociatedOid, EncodePrivateKey, EncodePublicKey, ObjectIdentifier,
    PrivateKeyInfo, SubjectPublicKeyInfoRef,
};
use pkcs1::{RsaPrivateKey, RsaPublicKey};
use sec1::{EcParameters, EcPrivateKey};
use zeroize::Zeroizing;

use crate::error::KeyError;
use crate::pem::{self, Block, Label};
use crate::public::{self, KeyType, PublicKey};

/// A node's private key, and the peer id that follows from it.
///
/// ```
/// use headwater_identity::{KeyType, NodeKey};
///
/// // A key that was made for examples and is good for nothing else.
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
    /// The private key, as PKCS#8 DER.
    pkcs8: Zeroizing<Vec<u8>>,
    public: PublicKey,
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
            if let Ok(secret) = p256::SecretKey::from_slice(&*bytes) {
                return Self::from_secret(&secret);
            }
        }
    }

    /// Reads the one private key in a PEM text.
    ///
    /// Text around the PEM blocks is ignored, as are blanks and line lengths inside them.
    ///
    /// # Errors
    ///
    /// What was found instead of one plain key of a usable type; see [`KeyError`].
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
            expect_usable(curve)?;
        }
        match key.label() {
            Label::Sec1 => Self::from_sec1_of(&key.decode()?, curve),
            Label::Pkcs1 => Self::from_pkcs1_der(&key.decode()?),
            _ => Self::from_pkcs8_der(&key.decode()?),
        }
    }

    /// Reads a private key in PKCS#8 DER.
    ///
    /// # Errors
    ///
    /// What was found instead of a key of a usable type; see [`KeyError`].
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let malformed = |_| KeyError::Malformed { what: "PKCS#8 key" };
        let info = PrivateKeyInfo::from_der(der).map_err(malformed)?;
        if info.algorithm.oid == pkcs1::ALGORITHM_OID {
            return Self::from_pkcs1_der(info.private_key);
        }
        if info.algorithm.oid != p256::elliptic_curve::ALGORITHM_OID {
            return Err(KeyError::Unsupported { found: public::algorithm(info.algorithm.oid) });
        }
        let curve = named_curve(info.algorithm.parameters.ok_or(KeyError::CurveMissing)?)?;
        expect_usable(curve)?;
        let inner = EcPrivateKey::from_der(info.private_key)
            .map_err(|_| KeyError::Malformed { what: "EC key inside PKCS#8" })?;
        Self::from_ec(inner, Some(curve))
    }

    /// Reads an RSA private key in PKCS#1 DER. That its numbers belong together is checked where
    /// the key is first used.
    ///
    /// # Errors
    ///
    /// [`KeyError::Malformed`] if it is not such a key, [`KeyError::RsaSize`] if it is one and
    /// too small or too large.
    pub fn from_pkcs1_der(der: &[u8]) -> Result<Self, KeyError> {
        let malformed = |_| KeyError::Malformed { what: "PKCS#1 key" };
        let key = RsaPrivateKey::from_der(der).map_err(malformed)?;
        let public = RsaPublicKey { modulus: key.modulus, public_exponent: key.public_exponent };
        let public = public.to_der().map_err(|_| KeyError::Encode)?;
        let subject_public_key = p256::pkcs8::der::asn1::BitStringRef::from_bytes(&public)
            .map_err(|_| KeyError::Encode)?;
        let algorithm =
            AlgorithmIdentifierRef { oid: pkcs1::ALGORITHM_OID, parameters: Some(AnyRef::NULL) };
        let spki = SubjectPublicKeyInfoRef { algorithm, subject_public_key };
        let spki = spki.to_der().map_err(|_| KeyError::Encode)?;
        let document = PrivateKeyInfo::new(algorithm, der).to_der();
        let pkcs8 = Zeroizing::new(document.map_err(|_| KeyError::Encode)?);
        Self::new(pkcs8, &spki, "PKCS#1 key")
    }

    /// Reads an EC private key in SEC1 DER that says its curve.
    ///
    /// # Errors
    ///
    /// What was found instead of a key on a usable curve; see [`KeyError`].
    pub fn from_sec1_der(der: &[u8]) -> Result<Self, KeyError> {
        Self::from_sec1_of(der, None)
    }

    fn from_sec1_of(der: &[u8], curve: Option<ObjectIdentifier>) -> Result<Self, KeyError> {
        let key =
            EcPrivateKey::from_der(der).map_err(|_| KeyError::Malformed { what: "SEC1 key" })?;
        Self::from_ec(key, curve)
    }

    /// `outer` is the curve that the key's surroundings name.
    fn from_ec(key: EcPrivateKey<'_>, outer: Option<ObjectIdentifier>) -> Result<Self, KeyError> {
        let inner = key.parameters.map(|EcParameters::NamedCurve(curve)| curve);
        let curve = inner.or(outer).ok_or(KeyError::CurveMissing)?;
        let key_type = expect_usable(curve)?;
        if outer.is_some_and(|outer| outer != curve) {
            return Err(KeyError::Malformed { what: "EC key: two curves are named" });
        }
        match key_type {
            KeyType::P384 => from_curve::<p384::NistP384>(key),
            KeyType::P521 => from_curve::<p521::NistP521>(key),
            _ => from_curve::<p256::NistP256>(key),
        }
    }

    fn from_secret<C>(secret: &SecretKey<C>) -> Result<Self, KeyError>
    where
        C: CurveArithmetic + AssociatedOid,
        AffinePoint<C>: FromEncodedPoint<C> + ToEncodedPoint<C>,
        FieldBytesSize<C>: ModulusSize,
    {
        let document = secret.to_pkcs8_der().map_err(|_| KeyError::Encode)?;
        let spki = secret.public_key().to_public_key_der().map_err(|_| KeyError::Encode)?;
        Self::new(Zeroizing::new(document.as_bytes().to_vec()), spki.as_bytes(), "EC key")
    }

    fn new(pkcs8: Zeroizing<Vec<u8>>, spki: &[u8], what: &'static str) -> Result<Self, KeyError> {
        use crate::error::PublicKeyError;
        let public = PublicKey::from_spki_der(spki).map_err(|error| match error {
            PublicKeyError::RsaSize { bits } => KeyError::RsaSize { bits },
            _ => KeyError::Malformed { what },
        })?;
        Ok(Self { pkcs8, public })
    }

    /// The key as PEM, in PKCS#8; wiped from memory when dropped.
    ///
    /// # Errors
    ///
    /// [`KeyError::Encode`] if the encoder refuses, for which there is no known cause.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        pem::encode("PRIVATE KEY", &self.pkcs8)
    }

    /// The key as PKCS#8 DER, as libraries for TLS take it; wiped from memory when dropped.
    #[must_use]
    pub fn to_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        self.pkcs8.clone()
    }

    /// The type of the key; one that is usable.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        self.public.key_type()
    }

    /// Who a node with this key is.
    #[must_use]
    pub const fn peer_id(&self) -> PeerId {
        self.public.peer_id()
    }

    /// The public key.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The public key as SubjectPublicKeyInfo DER.
    #[must_use]
    pub const fn public_key_spki(&self) -> &[u8] {
        self.public.spki_der()
    }
}

impl fmt::Debug for NodeKey {
    /// The peer id; never the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NodeKey").field(&self.peer_id()).finish()
    }
}

fn from_curve<C>(key: EcPrivateKey<'_>) -> Result<NodeKey, KeyError>
where
    C: CurveArithmetic + AssociatedOid,
    AffinePoint<C>: FromEncodedPoint<C> + ToEncodedPoint<C>,
    FieldBytesSize<C>: ModulusSize,
{
    let what = "EC key: out of range, or not that of its public key";
    let secret = SecretKey::<C>::try_from(key).map_err(|_| KeyError::Malformed { what })?;
    NodeKey::from_secret(&secret)
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

fn expect_usable(curve: ObjectIdentifier) -> Result<KeyType, KeyError> {
    match public::curve_key_type(curve) {
        Some(key_type) if key_type.is_usable() => Ok(key_type),
        _ => Err(KeyError::Curve { found: public::curve(curve) }),
    }
}
