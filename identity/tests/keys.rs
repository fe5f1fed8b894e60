//! Keys of every form that usual tools write, against the peer ids of an original node.

#![allow(missing_docs, reason = "a test")]

use headwater_identity::{KeyError, KeyType, NodeKey};
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
        let der = NodeKey::from_pem(&sec1).unwrap().to_pkcs8_der().unwrap();
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

#[test]
fn keys_of_other_types_are_named() {
    for identity in identities() {
        let label = match identity.form.as_str() {
            "SEC1" => "EC PRIVATE KEY",
            "PKCS#1" => "RSA PRIVATE KEY",
            "PKCS#8" => "PRIVATE KEY",
            _ => continue,
        };
        let found = match identity.key_type.as_str() {
            "p256" => continue,
            "p384" => KeyError::Curve { found: "P-384".into() },
            "p521" => KeyError::Curve { found: "P-521".into() },
            "sm2" => KeyError::Curve { found: "SM2".into() },
            "rsa2048" => KeyError::Unsupported { found: "RSA".into() },
            other => panic!("unknown key type {other}"),
        };
        let result = NodeKey::from_pem(&armour(label, &identity.private));
        assert_eq!(result.unwrap_err(), found);
    }
    let error = NodeKey::from_pem(ED25519).unwrap_err();
    assert_eq!(error, KeyError::Unsupported { found: "Ed25519".into() });
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
        ([P384_PARAMETERS, &key].concat(), KeyError::Curve { found: "P-384".into() }),
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
