//! Keys of every form that usual tools write, against the peer ids of an original node.

#![allow(missing_docs, reason = "a test")]

use headwater_identity::{KeyError, KeyType, NodeKey, PublicKey, PublicKeyError};
use serde_json::Value;

/// The first P-256 key of the vectors as OpenSSL writes it.
const PKCS8: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg0sdVKxzZ1sxf8/mM
C9dd1QeiHKie7ak2KgzrzYXrjd2hRANCAAQ4/sl+7PYqZTsoI5YVwxQ4PclXfWch
ZTn2ANmT77pph+GyEzdQxRXz5mA2Yq6+P2d8x/5R8bBF6CLYsovdBcpt
-----END PRIVATE KEY-----
";

const P256_PARAMETERS: &str = "-----BEGIN EC PARAMETERS-----
BggqhkjOPQMBBw==
-----END EC PARAMETERS-----
";

const P384_PARAMETERS: &str = "-----BEGIN EC PARAMETERS-----
BgUrgQQAIg==
-----END EC PARAMETERS-----
";

const EXPLICIT_PARAMETERS: &str = "-----BEGIN EC PARAMETERS-----
MAMCAQE=
-----END EC PARAMETERS-----
";

const ED25519: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIP3q1n8VW96vT25PmxpSBqZc7Zm5X7852QXN0gea2lJ0
-----END PRIVATE KEY-----
";

const RSA_1024: &str = "-----BEGIN RSA PRIVATE KEY-----
MIICXQIBAAKBgQDhMO8RSW6Wk3mJG0Nsw5A3q5MRqJiXaG6SvICn0FoJuzYQdNfV
FfqLgSaC2/gvyihVOdJAEX9NRwSZOQSehLavCBB0OdPYiTcW/mHudUvMoz3lXfRp
5ZWVhlVRdWtBIdfQftSpgtPYT9WysqVPhjFDtvOjb554L7YAWqgP2INTbwIDAQAB
AoGAZiNIu6F/zEIVhM9d1I4a8nUano7Grx3J0To4bGT/AZztF6e3YUm3uuCYNBBL
UHmzs3wnVbHZ+JX2ivymkLOHG6CP5J3fldDNAgobLFleh+d7ze9kQceXeD7/+K4N
699LrJ8aU7xuRpnSL7z3RV4SSejwN0pFS6fevG/9f/8rpRECQQDyCpuuT8jSRSBd
rhkYx36Atq2P/z6V9XjJhS7rNKeozvUVoPUwF1evyeb/89cIDkCc0dpEnfoGa6vA
0t4vncM5AkEA7i2OORg4mjdT+97HaddO2X1uSu/7rYXhclLUOmyHvP1IayGuJngY
RykbaXaESeFi/3M2g46ULnRQDCB7jlKD5wJANFUq2AOULjKYDulHr93icj4NROcx
RwcuOJQ9UsmtvogQ4b5NhTpm0TFcatb0FV/PhJizEsb9eknpduWg+LapsQJBAOWD
jqakGX86S7rNfdoXOYtJXGvn/93BwnL5MDuwc8kBRbS+uuOlHLgN+7VQGMBc6ZoB
uwlg7pgpSy20a3vFNgcCQQCSFcFQo8HvP4UXBJifo6dfiLSGiu+DMdry8tIpo/Je
Fq3FAr52nZHGFw+p4DLd9DFqNKsQTuvGp5RJfkWfDKWv
-----END RSA PRIVATE KEY-----
";

struct Identity {
    key_type: String,
    peer_id: String,
    form: String,
    private: Vec<u8>,
    public: Vec<u8>,
}

fn identities() -> Vec<Identity> {
    let json = include_str!("../../core/tests/vectors/identities.json");
    let list: Vec<Value> = serde_json::from_str(json).unwrap();
    let read = |identity: &Value| {
        let text = |field: &str| identity[field].as_str().unwrap().to_owned();
        Identity {
            key_type: text("key_type"),
            peer_id: text("peer_id"),
            form: text("private_key_form"),
            private: hex(&text("private_key_der_hex")),
            public: hex(&text("public_key_bytes_hex")),
        }
    };
    list.iter().map(read).collect()
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

fn armour(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for (group, bytes) in der.chunks(3).enumerate() {
        let padded = [&[0][..], bytes, &[0, 0]].concat();
        let word = u32::from_be_bytes(*padded.first_chunk().unwrap());
        for digit in 0..4 {
            let index = (word >> (18 - 6 * digit)) & 63;
            text.push(if digit <= bytes.len() { DIGITS[index as usize] as char } else { '=' });
        }
        if group % 16 == 15 {
            text.push('\n');
        }
    }
    format!("{}\n-----END {label}-----\n", text.trim_end())
}

/// A SEC1 key without its curve.
fn without_curve(sec1: &[u8]) -> Vec<u8> {
    let curve = hex("a00a06082a8648ce3d030107");
    let at = sec1.windows(curve.len()).position(|window| window == curve).unwrap();
    let mut key = [&sec1[..at], &sec1[at + curve.len()..]].concat();
    key[1] -= u8::try_from(curve.len()).unwrap();
    key
}

#[test]
fn every_form_of_a_p256_key_gives_its_peer_id() {
    let keys: Vec<_> = identities().into_iter().filter(|id| id.key_type == "p256").collect();
    assert_eq!(keys.len(), 2);
    for identity in keys {
        let sec1 = armour("EC PRIVATE KEY", &identity.private);
        let bare = armour("EC PRIVATE KEY", &without_curve(&identity.private));
        let written = NodeKey::from_pem(&sec1).unwrap().to_pem().unwrap();
        let der = NodeKey::from_pem(&sec1).unwrap().to_pkcs8_der();
        for pem in [
            sec1.clone(),
            [P256_PARAMETERS, &sec1].concat(),
            [P256_PARAMETERS, &bare].concat(),
            [&bare, P256_PARAMETERS].concat(),
            written.to_string(),
            armour("PRIVATE KEY", &der),
            sec1.replace('\n', "\r\n"),
            format!("Some words.\n\n{}", sec1.replace('\n', "  \n \t")),
        ] {
            let key = NodeKey::from_pem(&pem).unwrap_or_else(|error| panic!("{error}\n{pem}"));
            assert_eq!(key.peer_id().as_str(), identity.peer_id);
            assert_eq!(key.public_key_spki(), identity.public);
            assert_eq!(key.key_type(), KeyType::P256);
            assert_eq!(key.to_pem().unwrap(), written);
        }
        assert_eq!(NodeKey::from_pkcs8_der(&der).unwrap().peer_id().as_str(), identity.peer_id);
    }
}

#[test]
fn what_is_written_is_what_openssl_writes() {
    let first = &identities()[0];
    let key = NodeKey::from_pem(PKCS8).unwrap();
    assert_eq!(key.peer_id().as_str(), first.peer_id);
    assert_eq!(key.to_pem().unwrap().as_str(), PKCS8);
}

fn key_type(name: &str) -> KeyType {
    match name {
        "p256" => KeyType::P256,
        "p384" => KeyType::P384,
        "p521" => KeyType::P521,
        "rsa2048" => KeyType::Rsa { bits: 2048 },
        "secp256k1" => KeyType::Secp256k1,
        "sm2" => KeyType::Sm2,
        other => panic!("unknown key type {other}"),
    }
}

#[test]
fn usable_keys_of_every_type_and_form_give_their_peer_ids() {
    let mut types = Vec::new();
    for identity in identities() {
        let expected = key_type(&identity.key_type);
        let label = match identity.form.as_str() {
            "SEC1" => "EC PRIVATE KEY",
            "PKCS#1" => "RSA PRIVATE KEY",
            _ => continue,
        };
        let key = NodeKey::from_pem(&armour(label, &identity.private)).unwrap();
        let again = NodeKey::from_pem(&key.to_pem().unwrap()).unwrap();
        let der = NodeKey::from_pkcs8_der(&key.to_pkcs8_der()).unwrap();
        for key in [&key, &again, &der] {
            assert_eq!(key.peer_id().as_str(), identity.peer_id);
            assert_eq!(key.key_type(), expected);
            // Of RSA keys the vectors have PKCS#1, which ends the SPKI.
            assert!(key.public_key_spki().ends_with(&identity.public));
        }
        types.push(identity.key_type);
    }
    types.dedup();
    assert_eq!(types, ["p256", "p384", "p521", "rsa2048"]);
}

#[test]
fn private_keys_of_other_types_are_named() {
    let sm2 = identities().into_iter().find(|id| id.key_type == "sm2").unwrap();
    let error = NodeKey::from_pem(&armour("PRIVATE KEY", &sm2.private)).unwrap_err();
    assert_eq!(error, KeyError::Curve { found: "SM2".into() });
    let error = NodeKey::from_pem(ED25519).unwrap_err();
    assert_eq!(error, KeyError::Unsupported { found: "Ed25519".into() });
}

#[test]
fn an_rsa_key_that_is_too_small_is_refused() {
    let error = NodeKey::from_pem(RSA_1024).unwrap_err();
    assert_eq!(error, KeyError::RsaSize { bits: 1024 });
    let text = error.to_string();
    assert_eq!(text, "found an RSA key of 1024 bits, expected 2048 to 8192");
}

/// SPKI DER of `algorithm`, an identifier in DER, around `key`.
fn spki(algorithm: &str, key: &[u8]) -> Vec<u8> {
    let bits = tlv(3, &[&[0], key].concat());
    tlv(0x30, &[hex(algorithm), bits].concat())
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

const RSA: &str = "300d06092a864886f70d0101010500";
const P256: &str = "301306072a8648ce3d020106082a8648ce3d030107";

#[test]
fn every_public_key_gives_its_peer_id() {
    for identity in identities() {
        let spki = match identity.key_type.as_str() {
            "rsa2048" => spki(RSA, &identity.public),
            // The vectors have the compressed point; its x and parity are all that is used.
            "secp256k1" => {
                let mut point = [&[4], &identity.public[1..], &[0; 32]].concat();
                point[64] = identity.public[0] & 1;
                spki("301006072a8648ce3d020106052b8104000a", &point)
            }
            _ => identity.public,
        };
        let key = PublicKey::from_spki_der(&spki).unwrap();
        assert_eq!(key.key_type(), key_type(&identity.key_type));
        assert_eq!(key.peer_id().as_str(), identity.peer_id);
        assert_eq!(key.spki_der(), spki);
    }
}

#[test]
fn a_public_key_has_one_encoding() {
    let p256 = identities()[0].public.clone();
    let point = &p256[p256.len() - 65..];
    let rsa = identities().into_iter().find(|id| id.key_type == "rsa2048").unwrap().public;
    let modulus = |len: usize| {
        let mut modulus = vec![0xff; len];
        modulus.insert(0, 0);
        tlv(0x30, &[tlv(2, &modulus), hex("0203010001")].concat())
    };
    let malformed = |what| PublicKeyError::Malformed { what };
    let compressed = [&[2 | (point[64] & 1)], &point[1..33]].concat();
    let parameters = "RSA key: parameters are not NULL";
    let no_point = "EC key: not an uncompressed point";
    let ed25519 = PublicKeyError::Unsupported { found: "Ed25519".into() };
    let pss = PublicKeyError::Unsupported { found: "RSA-PSS".into() };
    let p224 = PublicKeyError::Curve { found: "P-224".into() };
    for (spki, error) in [
        (Vec::new(), malformed("public key")),
        ([&p256[..], &[0]].concat(), malformed("public key")),
        (spki(P256, &compressed), malformed(no_point)),
        (spki(P256, &point[..64]), malformed(no_point)),
        (spki(P256, &[]), malformed(no_point)),
        (spki("300906072a8648ce3d0201", point), malformed("EC key: no curve")),
        (spki("301006072a8648ce3d020106052b81040021", point), p224),
        (spki("300b06092a864886f70d010101", &rsa), malformed(parameters)),
        (spki("300d06092a864886f70d01010a0500", &rsa), pss),
        (spki(RSA, &rsa[1..]), malformed("RSA public key")),
        (spki(RSA, &modulus(128)), PublicKeyError::RsaSize { bits: 1024 }),
        (spki(RSA, &modulus(2048)), PublicKeyError::RsaSize { bits: 16384 }),
        (spki("300506032b6570", &[7; 32]), ed25519),
    ] {
        assert_eq!(PublicKey::from_spki_der(&spki).unwrap_err(), error);
    }
    assert_eq!(PublicKey::from_spki_der(&p256).unwrap().spki_der(), p256);
    let bits = |len| PublicKey::from_spki_der(&spki(RSA, &modulus(len))).unwrap().key_type();
    assert_eq!(bits(1024), KeyType::Rsa { bits: 8192 });
}

#[test]
fn every_cut_and_every_flipped_byte_of_a_public_key_is_survived() {
    let rsa = identities().into_iter().find(|id| id.key_type == "rsa2048").unwrap();
    for key in [identities()[0].public.clone(), spki(RSA, &rsa.public)] {
        for at in 0..key.len() {
            assert!(PublicKey::from_spki_der(&key[..at]).is_err());
            for bit in 0..8 {
                let mut key = key.clone();
                key[at] ^= 1 << bit;
                if let Ok(read) = PublicKey::from_spki_der(&key) {
                    assert_eq!(read.spki_der(), key);
                }
            }
        }
    }
}

#[test]
fn what_is_no_single_plain_key_is_told() {
    let sec1 = identities()[0].private.clone();
    let key = armour("EC PRIVATE KEY", &sec1);
    let bare = armour("EC PRIVATE KEY", &without_curve(&sec1));
    let legacy = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
                  DEK-Info: AES-128-CBC,48AC\n\nb6Ki\n-----END EC PRIVATE KEY-----\n";
    let label = |found: &str| KeyError::Label { found: found.into() };
    let explicit = KeyError::Curve { found: "explicit parameters".into() };
    let two_curves = "EC key: two curves are named";
    let mismatch = "PEM: BEGIN and END do not match";
    for (text, error) in [
        (String::new(), KeyError::NoPem),
        ("not a key\n".into(), KeyError::NoPem),
        (P256_PARAMETERS.into(), KeyError::NoKey),
        ([&key[..], &key].concat(), KeyError::SeveralKeys),
        ([&key, PKCS8].concat(), KeyError::SeveralKeys),
        (armour("ENCRYPTED PRIVATE KEY", b"?"), KeyError::Encrypted),
        (legacy.into(), KeyError::Encrypted),
        (armour("PUBLIC KEY", b"?"), label("PUBLIC KEY")),
        ([&key[..], &armour("CERTIFICATE", b"?")].concat(), label("CERTIFICATE")),
        (armour("OPENSSH PRIVATE KEY", b"?"), KeyError::Unsupported { found: "OpenSSH".into() }),
        (bare.clone(), KeyError::CurveMissing),
        ([P384_PARAMETERS, &key].concat(), KeyError::Malformed { what: two_curves }),
        ([EXPLICIT_PARAMETERS, &bare].concat(), explicit),
        (armour("EC PRIVATE KEY", b"?"), KeyError::Malformed { what: "SEC1 key" }),
        (armour("PRIVATE KEY", b"?"), KeyError::Malformed { what: "PKCS#8 key" }),
        (key.replace("EC PRIVATE", "PRIVATE"), KeyError::Malformed { what: "PKCS#8 key" }),
        (key.replacen("MHcC", "M?cC", 1), KeyError::Malformed { what: "base64" }),
        (key.replace("END EC", "END"), KeyError::Malformed { what: mismatch }),
        (key.replace("-----END", "END"), KeyError::Malformed { what: "PEM: END is missing" }),
    ] {
        assert_eq!(NodeKey::from_pem(&text).unwrap_err(), error, "{text}");
    }
}

#[test]
fn a_key_that_does_not_match_its_public_key_is_refused() {
    let mut sec1 = identities()[0].private.clone();
    sec1[10] ^= 1;
    let error = NodeKey::from_pem(&armour("EC PRIVATE KEY", &sec1)).unwrap_err();
    assert!(matches!(error, KeyError::Malformed { .. }), "{error:?}");
    sec1[7..39].fill(0xff);
    let error = NodeKey::from_pem(&armour("EC PRIVATE KEY", &sec1)).unwrap_err();
    assert!(matches!(error, KeyError::Malformed { .. }), "{error:?}");
}

#[test]
fn every_cut_and_every_flipped_byte_is_survived() {
    let pem = armour("EC PRIVATE KEY", &identities()[0].private);
    for at in 0..pem.len() {
        let _ = NodeKey::from_pem(&pem[..at]);
        for byte in [b'-', b'A', b'\n', b':', b'='] {
            let mut bytes = pem.clone().into_bytes();
            bytes[at] = byte;
            let _ = NodeKey::from_pem(std::str::from_utf8(&bytes).unwrap());
        }
    }
}

#[test]
fn new_keys_differ_and_their_debug_text_shows_the_peer_id_only() {
    let (one, two) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    assert_ne!(one.peer_id(), two.peer_id());
    assert_eq!(format!("{one:?}"), format!("NodeKey({})", one.peer_id()));
    assert_eq!(one.clone().to_pem().unwrap(), one.to_pem().unwrap());
}
