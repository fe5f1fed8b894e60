//! The keys of the vectors, in every form they come in.

use headwater_identity::NodeKey;
use serde_json::Value;

pub(crate) struct Identity {
    pub(crate) key_type: String,
    pub(crate) peer_id: String,
    /// The private key, if a node can have it.
    pub(crate) key: Option<NodeKey>,
    /// A certificate over the key, made by the original.
    pub(crate) certificate: Option<Vec<u8>>,
    /// A certificate over another key that names this one.
    pub(crate) extension_certificate: Vec<u8>,
}

pub(crate) fn identities() -> Vec<Identity> {
    let json = include_str!("../../../core/tests/vectors/identities.json");
    let list: Vec<Value> = serde_json::from_str(json).unwrap();
    list.iter().map(read).collect()
}

fn read(identity: &Value) -> Identity {
    let text = |field: &str| identity[field].as_str().map(str::to_owned);
    let private = hex(&text("private_key_der_hex").unwrap());
    let key = match text("private_key_form").unwrap().as_str() {
        "SEC1" => NodeKey::from_sec1_der(&private).ok(),
        "PKCS#1" => NodeKey::from_pkcs1_der(&private).ok(),
        "PKCS#8" => NodeKey::from_pkcs8_der(&private).ok(),
        _ => None,
    };
    Identity {
        key_type: text("key_type").unwrap(),
        peer_id: text("peer_id").unwrap(),
        key,
        certificate: text("mode_b_certificate_der_hex").map(|text| hex(&text)),
        extension_certificate: hex(&text("mode_c_certificate_der_hex").unwrap()),
    }
}

/// A usable key of each type.
pub(crate) fn usable() -> Vec<NodeKey> {
    let mut keys: Vec<NodeKey> = identities().into_iter().filter_map(|one| one.key).collect();
    keys.dedup_by_key(|key| key.key_type());
    keys
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}
