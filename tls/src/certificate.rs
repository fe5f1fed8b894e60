//! Certificates: making this node's own, and taking the key out of another's.
//!
//! Of a certificate that only carries a key, only the way to the key is read; the rest may be
//! anything. Invariant: no bytes make any function here panic.

use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};
use headwater_identity::{KeyType, NodeKey, PublicKey};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::error::Refusal;

const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");

const VERSION: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber::N0 };
const EXTENSIONS: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber::N3 };

/// A certificate over the node's own key, signed with it: no names, no extensions, and valid for
/// as long as certificates can be (spec 1.5, mode B).
pub(crate) fn self_signed(key: &NodeKey) -> Result<CertificateDer<'static>, rcgen::Error> {
    let algorithm = match key.key_type() {
        KeyType::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        KeyType::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        KeyType::P521 => &rcgen::PKCS_ECDSA_P521_SHA512,
        KeyType::Rsa { .. } => &rcgen::PKCS_RSA_SHA256,
        _ => return Err(rcgen::Error::UnsupportedSignatureAlgorithm),
    };
    let pkcs8 = key.to_pkcs8_der();
    let der = PrivatePkcs8KeyDer::from(pkcs8.as_slice());
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, algorithm)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = rcgen::date_time_ymd(1970, 1, 1);
    params.not_after = rcgen::date_time_ymd(9999, 12, 31);
    Ok(params.self_signed(&pair)?.into())
}

/// The key that a certificate is for.
pub(crate) fn public_key(certificate: &[u8]) -> Result<PublicKey, Refusal> {
    let (spki, _) = walk(certificate).map_err(|_| Refusal::Malformed)?;
    let key = PublicKey::from_spki_der(spki).map_err(Refusal::Key)?;
    if key.key_type().is_usable() {
        Ok(key)
    } else {
        Err(Refusal::KeyType { key_type: key.key_type(), claimed: key.peer_id() })
    }
}

/// Whether a certificate says that it is an authority's.
pub(crate) fn is_authority(certificate: &[u8]) -> Result<bool, Refusal> {
    let (_, extensions) = walk(certificate).map_err(|_| Refusal::Malformed)?;
    constrains(extensions).map_err(|_| Refusal::Malformed)
}

/// Whether a certificate is of X.509 version 3; earlier ones have no extensions, and are not taken
/// where a chain has to be followed (RFC 5280, 4.1.2.1).
pub(crate) fn is_version_3(certificate: &[u8]) -> Result<bool, Refusal> {
    let version = || -> der::Result<bool> {
        let signed = AnyRef::from_der(certificate)?;
        let contents = AnyRef::decode(&mut SliceReader::new(signed.value())?)?;
        let mut fields = SliceReader::new(contents.value())?;
        if fields.peek_tag()? != VERSION {
            return Ok(false);
        }
        let version = AnyRef::decode(&mut fields)?;
        Ok(u8::from_der(version.value())? == 2)
    };
    version().map_err(|_| Refusal::Malformed)
}

/// The key (with its header) and what follows it inside the signed part.
fn walk(certificate: &[u8]) -> der::Result<(&[u8], &[u8])> {
    let signed = AnyRef::from_der(certificate)?;
    signed.tag().assert_eq(Tag::Sequence)?;
    let mut parts = SliceReader::new(signed.value())?;
    let contents = AnyRef::decode(&mut parts)?;
    contents.tag().assert_eq(Tag::Sequence)?;

    let mut fields = SliceReader::new(contents.value())?;
    if fields.peek_tag()? == VERSION {
        fields.tlv_bytes()?;
    }
    // Serial number, signature algorithm, issuer, validity, subject.
    for tag in [Tag::Integer, Tag::Sequence, Tag::Sequence, Tag::Sequence, Tag::Sequence] {
        fields.peek_tag()?.assert_eq(tag)?;
        fields.tlv_bytes()?;
    }
    let key = fields.tlv_bytes()?;
    let rest = fields.remaining_len();
    Ok((key, fields.read_slice(rest)?))
}

/// Whether the fields after the key have basic constraints that say `cA`.
fn constrains(fields: &[u8]) -> der::Result<bool> {
    let mut fields = SliceReader::new(fields)?;
    while !fields.is_finished() {
        let field = AnyRef::decode(&mut fields)?;
        if field.tag() != EXTENSIONS {
            continue;
        }
        let list = AnyRef::from_der(field.value())?;
        let mut list = SliceReader::new(list.value())?;
        while !list.is_finished() {
            let extension = AnyRef::decode(&mut list)?;
            let mut extension = SliceReader::new(extension.value())?;
            let name = ObjectIdentifier::decode(&mut extension)?;
            if extension.peek_tag()? == Tag::Boolean {
                extension.tlv_bytes()?;
            }
            let value = OctetStringRef::decode(&mut extension)?;
            if name == BASIC_CONSTRAINTS {
                let constraints = AnyRef::from_der(value.as_bytes())?;
                let mut constraints = SliceReader::new(constraints.value())?;
                return Ok(!constraints.is_finished()
                    && constraints.peek_tag()? == Tag::Boolean
                    && bool::decode(&mut constraints)?);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Vec<u8> {
        self_signed(&NodeKey::generate().unwrap()).unwrap().to_vec()
    }

    fn authority() -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(3));
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn our_own_certificate_has_our_key_and_nothing_else() {
        let key = NodeKey::generate().unwrap();
        let certificate = self_signed(&key).unwrap();
        assert_eq!(public_key(&certificate), Ok(key.public_key().clone()));
        assert_eq!(is_version_3(&certificate), Ok(true));
        let (_, extensions) = walk(&certificate).unwrap();
        assert!(extensions.is_empty());
        // No issuer, no subject.
        let empty_names = certificate.windows(2).filter(|two| *two == [0x30, 0]).count();
        assert_eq!(empty_names, 2);
    }

    #[test]
    fn an_authority_is_told_from_others() {
        assert_eq!(is_authority(&authority()), Ok(true));
        assert_eq!(is_authority(&own()), Ok(false));
        assert_eq!(is_authority(b"?"), Err(Refusal::Malformed));
    }

    #[test]
    fn d110_every_changed_bit_and_every_cut_is_survived() {
        for certificate in [own(), authority()] {
            for at in 0..certificate.len() {
                assert_eq!(public_key(&certificate[..at]), Err(Refusal::Malformed));
                for bit in 0..8 {
                    let mut changed = certificate.clone();
                    changed[at] ^= 1 << bit;
                    if let Ok(key) = public_key(&changed) {
                        assert!(key.key_type().is_usable());
                    }
                    let _ = is_authority(&changed);
                    let _ = is_version_3(&changed);
                }
            }
        }
    }
}
