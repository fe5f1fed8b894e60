//! Certificates of every kind, shown by peers of other kinds.

use headwater_core::contract::Direction;
use headwater_core::secure::SecureChannel;
use headwater_identity::{KeyType, NodeKey, PublicKeyError};
use headwater_tls::{CERTIFICATES_LEN_MAX, Refusal, Tls};
use proptest::prelude::*;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::AlertDescription;

use crate::handshake::new_tls;
use crate::keys::{hex, identities};
use crate::rogue::Rogue;

const BOTH: [Direction; 2] = [Direction::Outbound, Direction::Inbound];

/// Puts another key into a certificate of the original, whose key is of P-256.
fn with_key(spki: &[u8]) -> Vec<u8> {
    let identity = identities().remove(0);
    let certificate = identity.certificate.unwrap();
    let old = identity.key.unwrap().public_key_spki().to_vec();
    let at = certificate.windows(old.len()).position(|window| window == old).unwrap();
    let contents = certificate[..].split_at(at);
    let after = &contents.1[old.len()..];
    // Both outer headers are `30 81 len` in it.
    let inner = [&contents.0[6..], spki].concat();
    sequence(&[sequence(&inner), after.to_vec()].concat())
}

fn sequence(contents: &[u8]) -> Vec<u8> {
    tlv(0x30, contents)
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len()).unwrap().to_be_bytes();
    let header = match value.len() {
        0..0x80 => vec![tag, len[1]],
        0x80..0x100 => vec![tag, 0x81, len[1]],
        _ => vec![tag, 0x82, len[0], len[1]],
    };
    [&header, value].concat()
}

fn own_certificate(key: &NodeKey) -> Vec<u8> {
    let tls = Tls::new(key).unwrap();
    let mut link = crate::link::Link::new(&tls, &new_tls());
    link.run();
    let shown = link.listener.channel.proven().unwrap();
    let certificate = shown.certificates().next().unwrap();
    certificate.to_vec()
}

#[test]
fn certificates_of_the_original_name_the_peers_that_it_says() {
    let ours = new_tls();
    for identity in identities() {
        let (Some(certificate), Some(key)) = (identity.certificate, identity.key) else { continue };
        let rogue = Rogue::showing(&key, vec![certificate.clone()]);
        for direction in BOTH {
            let meeting = rogue.meets(&ours, direction);
            assert_eq!(meeting.ours.error, None, "{}", identity.key_type);
            assert_eq!(meeting.rogue_error, None);
            assert_eq!(meeting.ours.channel.peer().unwrap().as_str(), identity.peer_id);
            let shown = meeting.ours.channel.proven().unwrap();
            assert!(shown.certificates().eq([&certificate[..]]));
        }
    }
}

#[test]
fn keys_that_are_not_supported_are_named_and_refused() {
    let ours = new_tls();
    let sm2 = identities().into_iter().find(|id| id.key_type == "sm2").unwrap();
    // The point whose compressed form is in the vectors.
    let secp256k1 = concat!(
        "3056301006072a8648ce3d020106052b8104000a034200",
        "04da7ea990406863a6585718e348cfae333600872956affa34bf167d46916eb885",
        "0347488e8b82a020b01981c5c92100c6ca52e04ca331d41512fbe426247ee8bb"
    );
    let ed25519 =
        "302a300506032b6570032100d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let p224 = concat!(
        "304e301006072a8648ce3d020106052b81040021033a00",
        "04b70e0cbd6bb4bf7f321390b94a03c1d356c21122343280d6115c1d21",
        "bd376388b5f723fb4c22dfe6cd4375a05a07476444d5819985007e34"
    );
    let kind =
        |key_type, claimed: &str| Refusal::KeyType { key_type, claimed: claimed.parse().unwrap() };
    let point = identities().into_iter().find(|id| id.key_type == "secp256k1").unwrap().peer_id;
    let cases = [
        (sm2.certificate.unwrap(), kind(KeyType::Sm2, &sm2.peer_id)),
        (with_key(&hex(secp256k1)), kind(KeyType::Secp256k1, &point)),
        (
            with_key(&hex(ed25519)),
            Refusal::Key(PublicKeyError::Unsupported { found: "Ed25519".into() }),
        ),
        (with_key(&hex(p224)), Refusal::Key(PublicKeyError::Curve { found: "P-224".into() })),
    ];
    for (certificate, refusal) in cases {
        for direction in BOTH {
            let meeting = Rogue::forging(vec![certificate.clone()]).meets(&ours, direction);
            assert_eq!(*meeting.refusal(), refusal);
            assert_eq!(meeting.alert(), AlertDescription::UnsupportedCertificate);
        }
    }
}

#[test]
fn d110_a_peer_that_has_an_ed25519_key_has_nothing_to_prove_it_with() {
    // Who shows such a certificate all the same is refused for its type, above.
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap().der().to_vec();
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let mut rogue = Rogue::forging(vec![certificate]);
    rogue.key = rustls::crypto::aws_lc_rs::sign::any_eddsa_type(&der).unwrap();
    let meeting = rogue.meets(&new_tls(), Direction::Inbound);
    assert_eq!(*meeting.refusal(), Refusal::NoCertificate);
    assert_eq!(meeting.alert(), AlertDescription::CertificateRequired);
    let meeting = rogue.meets(&new_tls(), Direction::Outbound);
    let alert = headwater_tls::TlsError::Alert { alert: "handshake_failure".into() };
    assert_eq!(*meeting.ours.failure(), alert);
    assert!(meeting.rogue_error.is_some());
}

#[test]
fn an_sm2_certificate_is_refused_with_the_reason() {
    let sm2 = identities().into_iter().find(|id| id.key_type == "sm2").unwrap();
    let rogue = Rogue::forging(vec![sm2.certificate.unwrap()]);
    let meeting = rogue.meets(&new_tls(), Direction::Inbound);
    let text = meeting.ours.error.unwrap().to_string();
    let expected = format!(
        "secure channel: the peer {} has an SM2 key: networks on SM2 certificates cannot be joined",
        sm2.peer_id
    );
    assert_eq!(text, expected);
}

#[test]
fn rsa_keys_beyond_the_limits_are_refused_before_anything_is_verified() {
    let ours = new_tls();
    let spki = |len: usize| {
        let modulus = tlv(2, &[&[0][..], &vec![0xff; len]].concat());
        let key = sequence(&[modulus, vec![2, 3, 1, 0, 1]].concat());
        let bits = tlv(3, &[&[0], &key[..]].concat());
        sequence(&[hex("300d06092a864886f70d0101010500"), bits].concat())
    };
    for (len, bits) in [(128, 1024), (255, 2040), (1025, 8200), (2048, 16384), (7000, 56000)] {
        let rogue = Rogue::forging(vec![with_key(&spki(len))]);
        let meeting = rogue.meets(&ours, Direction::Inbound);
        assert_eq!(*meeting.refusal(), Refusal::Key(PublicKeyError::RsaSize { bits }));
        assert_eq!(meeting.alert(), AlertDescription::UnsupportedCertificate);
    }
    for len in [256, 1024] {
        let rogue = Rogue::forging(vec![with_key(&spki(len))]);
        let meeting = rogue.meets(&ours, Direction::Inbound);
        assert_eq!(*meeting.refusal(), Refusal::Signature, "{len}");
    }
}

#[test]
fn d110_no_certificate_of_an_unknown_form_does_harm() {
    let ours = new_tls();
    let key = NodeKey::generate().unwrap();
    let good = own_certificate(&key);
    for certificate in [
        Vec::new(),
        vec![0],
        vec![0x30, 0x80, 0, 0],
        vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        vec![0x30; 3000],
        good[..good.len() - 1].to_vec(),
        [&good[..], &[0]].concat(),
        key.public_key_spki().to_vec(),
        with_key(&[]),
        with_key(&[5, 0]),
    ] {
        for direction in BOTH {
            let meeting = Rogue::forging(vec![certificate.clone()]).meets(&ours, direction);
            assert!(meeting.ours.channel.peer().is_none());
            assert!(meeting.ours.error.is_some());
            let alert = meeting.alert();
            assert!(
                matches!(
                    alert,
                    AlertDescription::BadCertificate
                        | AlertDescription::DecodeError
                        | AlertDescription::UnsupportedCertificate
                ),
                "{alert:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn d110_changed_certificates_are_accepted_or_refused(
        which in 0..22_usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
        dials in any::<bool>(),
    ) {
        let all = ALL.with(Clone::clone);
        let mut certificate = all[which % all.len()].clone();
        for (at, byte) in changes {
            let at = at.index(certificate.len());
            certificate[at] = byte;
        }
        if let Some(cut) = cut {
            certificate.truncate(cut.index(certificate.len()));
        }
        let direction = BOTH[usize::from(dials)];
        let meeting = Rogue::forging(vec![certificate]).meets(&OURS.with(Clone::clone), direction);
        // Nobody has proven anything.
        prop_assert!(meeting.ours.channel.peer().is_none());
        prop_assert!(meeting.ours.error.is_some());
        meeting.alert();
    }
}

thread_local! {
    static OURS: Tls = new_tls();
    static ALL: Vec<Vec<u8>> = {
        let all = identities();
        let certificates = all.iter().filter_map(|one| one.certificate.clone());
        let others = all.iter().map(|one| one.extension_certificate.clone());
        certificates.chain(others).collect()
    };
}

#[test]
fn d76_a_certificate_of_another_proves_nothing_and_changes_nothing() {
    // D-76: what comes before the proof is not kept.
    let victim = NodeKey::generate().unwrap();
    let stolen = own_certificate(&victim);
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&asked);
    let ours = Tls::builder(&NodeKey::generate().unwrap())
        .admission(move |_: &headwater_tls::ProvenPeer| {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        })
        .build()
        .unwrap();
    let thief = Rogue::showing(&NodeKey::generate().unwrap(), vec![stolen.clone()]);
    for direction in BOTH {
        let meeting = thief.meets(&ours, direction);
        assert_eq!(*meeting.refusal(), Refusal::Signature);
        assert_eq!(meeting.alert(), AlertDescription::DecryptError);
        assert_eq!(ours.proven(&victim.peer_id()), None);
    }
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 0);
    let meeting = Rogue::showing(&victim, vec![stolen]).meets(&ours, Direction::Inbound);
    assert_eq!(meeting.ours.channel.peer(), Some(victim.peer_id()));
}

#[test]
fn d70_the_key_in_an_extension_names_nobody() {
    let identity = identities().remove(0);
    let certificate = identity.extension_certificate;
    let rogue = Rogue::showing(&identity.key.unwrap(), vec![certificate]);
    // The node's key does not prove the certificate's own.
    assert_eq!(*rogue.meets(&new_tls(), Direction::Inbound).refusal(), Refusal::Signature);
}

#[test]
fn names_times_and_signatures_in_a_certificate_do_not_matter() {
    let key = NodeKey::generate().unwrap();
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from(key.to_pkcs8_der().to_vec());
    let algorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, algorithm).unwrap();
    let mut params = CertificateParams::new(vec!["example.org".into()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "somebody");
    params.not_after = rcgen::date_time_ymd(1999, 1, 1);
    let expired = params.self_signed(&pair).unwrap().der().to_vec();
    let mut unsigned = expired.clone();
    let last = unsigned.len() - 1;
    unsigned[last] ^= 1;
    for certificate in [expired, unsigned] {
        let meeting = Rogue::showing(&key, vec![certificate]).meets(&new_tls(), Direction::Inbound);
        assert_eq!(meeting.ours.channel.peer(), Some(key.peer_id()));
    }
}

#[test]
fn how_much_may_be_shown_is_limited() {
    let ours = new_tls();
    let key = NodeKey::generate().unwrap();
    let own = own_certificate(&key);
    let chain = |others: usize, len: usize| {
        let mut chain = vec![own.clone()];
        chain.extend(std::iter::repeat_n(vec![0x30; len], others));
        Rogue::showing(&key, chain)
    };
    // What follows the first certificate is kept, and not looked at.
    let meeting = chain(7, 1000).meets(&ours, Direction::Inbound);
    assert_eq!(meeting.ours.channel.proven().unwrap().certificates().count(), 8);
    let meeting = chain(8, 10).meets(&ours, Direction::Inbound);
    let bytes = own.len() + 80;
    assert_eq!(*meeting.refusal(), Refusal::TooLong { certificates: 9, bytes });
    assert_eq!(meeting.alert(), AlertDescription::BadCertificate);
    let meeting = chain(1, CERTIFICATES_LEN_MAX).meets(&ours, Direction::Outbound);
    assert!(matches!(meeting.refusal(), Refusal::TooLong { certificates: 2, .. }));
    // Longer than any handshake message may be.
    let meeting = chain(5, 15_000).meets(&ours, Direction::Inbound);
    assert!(meeting.ours.error.is_some());
    assert_eq!(meeting.alert(), AlertDescription::DecodeError);
}
