//! Peer ids of keys of every type, against those of an original node (spec 1.4).

#![allow(missing_docs, reason = "a test")]

use headwater_core::id::{KeyKind, PeerId, PeerIdError};
use serde_json::Value;

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// The SPKI form of an RSA key given as PKCS#1, for keys whose lengths take two bytes.
fn rsa_spki(pkcs1: &[u8]) -> Vec<u8> {
    let long = |tag: u8, content: &[u8]| {
        let len = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82, len[0], len[1]], content].concat()
    };
    let algorithm = hex("300d06092a864886f70d0101010500");
    let bits = long(0x03, &[&[0][..], pkcs1].concat());
    long(0x30, &[algorithm, bits].concat())
}

#[test]
fn the_keys_of_the_spec_give_their_ids() {
    let prefix = "3059301306072a8648ce3d020106082a8648ce3d03010703420004";
    for (point, id) in [
        (
            "2b07a6461af3bf91924a6b32e04444867409e23a1c6aec969c3d5d5d4c7d5fc7\
             38570846e61590ee873e70ccb3eab5cf293ad4c4a0f9d15f8e07415592963bbc",
            "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4",
        ),
        (
            "4995d86388338a891a9625d7e499304fe89d4c20b07ac8ee26d4eea4006e848a\
             aeee8da3b7557434d595be94a120cfbcefc05a49bdafd93965c15a0e6267f33e",
            "QmeyNRs2DwWjcHTpcVHoUSaDAAif4VQZ2wQDQAUNDP33gH",
        ),
        (
            "20a8fec045921fd6d6eb66818e16489cc6ac8e4460d733bb1d8661538bf11597\
             fc08f118b02309bae096f47d299a9281045df5ea7dc6aff77b39d84be905416c",
            "QmRRWXJpAVdhFsFtd9ah5F4LDQWFFBDVKpECAF8hssqj6H",
        ),
    ] {
        let spki = [hex(prefix), hex(point)].concat();
        assert_eq!(PeerId::from_public_key(KeyKind::Ecdsa, &spki).as_str(), id);
        assert_eq!(id.parse::<PeerId>().unwrap().as_str(), id);
    }
}

#[test]
fn the_recorded_keys_give_their_ids() {
    let identities: Vec<Value> =
        serde_json::from_str(include_str!("vectors/identities.json")).unwrap();
    let mut kinds = Vec::new();
    for identity in &identities {
        let text = |field: &str| identity[field].as_str().unwrap();
        let key = hex(text("public_key_bytes_hex"));
        let (kind, data) = match text("key_type") {
            "p256" | "p384" | "p521" => (KeyKind::Ecdsa, key),
            "sm2" => (KeyKind::Sm2, key),
            "secp256k1" => (KeyKind::Secp256k1, key),
            "rsa2048" => (KeyKind::Rsa, rsa_spki(&key)),
            other => panic!("unknown key type {other}"),
        };
        let id = PeerId::from_public_key(kind, &data);
        assert_eq!(id.as_str(), text("peer_id"));
        assert_eq!(id.as_str().parse(), Ok(id));
        let hashed = kind != KeyKind::Secp256k1;
        assert_eq!(id.as_str().len(), if hashed { 46 } else { 53 });
        assert!(id.as_str().starts_with(if hashed { "Qm" } else { "16Uiu2HA" }));
        kinds.push(kind);
    }
    assert_eq!(identities.len(), 12);
    for kind in [KeyKind::Rsa, KeyKind::Ecdsa, KeyKind::Secp256k1, KeyKind::Sm2] {
        assert!(kinds.contains(&kind), "no {kind:?}");
    }
}

#[test]
fn an_rsa_preimage_starts_as_the_spec_says() {
    let identities: Vec<Value> =
        serde_json::from_str(include_str!("vectors/identities.json")).unwrap();
    let rsa = identities.iter().find(|identity| identity["key_type"] == "rsa2048").unwrap();
    let spki = rsa_spki(&hex(rsa["public_key_bytes_hex"].as_str().unwrap()));
    assert_eq!(spki.len(), 294);
}

#[test]
fn texts_that_are_no_ids_are_told_apart() {
    for (text, error) in [
        ("", PeerIdError::Length { actual: 0 }),
        (&"1".repeat(62), PeerIdError::Length { actual: 62 }),
        ("Qm0", PeerIdError::NotBase58 { at: 2 }),
        ("OIl", PeerIdError::NotBase58 { at: 0 }),
        ("Qmä", PeerIdError::NotBase58 { at: 2 }),
    ] {
        assert_eq!(text.parse::<PeerId>(), Err(error));
    }
}
