//! Who is let in by `headwater node`.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::Value;

use crate::program::{Running, run, write_private};

/// A key in a new file, and its id.
fn key(folder: &Path, name: &str) -> (String, String) {
    let path = folder.join(format!("{name}.pem")).to_str().unwrap().to_owned();
    let id = run(&["keygen", &path]).stdout.remove(0);
    (path, id)
}

/// A node that says what happens, and where it listens.
fn listening(args: &[&str]) -> (Running, String) {
    let mut node = Running::start(&[&["node", "--json", "--log", "info"], args].concat());
    let listening = node.until(|event| event["event"] == "listening");
    (node, listening["addresses"][0].as_str().unwrap().to_owned())
}

fn connected(node: &mut Running) -> String {
    let connected = node.until(|event| event["event"] == "connected");
    connected["peer"].as_str().unwrap().to_owned()
}

/// Why somebody was turned away.
fn refused(node: &mut Running) -> String {
    let refused = node.until(|event| event["event"] == "refused");
    assert_eq!(refused["outbound"], Value::from(false));
    refused["reason"].as_str().unwrap().to_owned()
}

#[test]
fn a_node_lets_in_the_peers_that_it_is_told_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let [(ours, _), (friend, friend_id), (stranger, stranger_id)] =
        ["ours", "friend", "stranger"].map(|name| key(folder.path(), name));
    let file = folder.path().join("node.toml");
    fs::write(&file, format!("key = \"ours.pem\"\nallow = [\"{friend_id}\"]\n")).unwrap();
    for args in [
        &["--key", &ours, "--allow", &friend_id, "--listen", "127.0.0.1:0"][..],
        &["--config", file.to_str().unwrap()],
    ] {
        let (mut node, address) = listening(args);
        let mut other = Running::start(&["node", "--json", "--key", &stranger, "--peer", &address]);
        assert_eq!(
            refused(&mut node),
            format!("secure channel: {stranger_id} is not on the list of allowed peers")
        );
        let told = other.until(|event| event["event"] == "retrying");
        assert!(told["reason"].as_str().unwrap().contains("access_denied"), "{told}");
        drop(other);
        let other = Running::start(&["node", "--json", "--key", &friend, "--peer", &address]);
        assert_eq!(connected(&mut node), friend_id);
        drop(other);
    }
}

#[test]
fn a_node_lets_in_peers_that_its_authorities_vouch_for_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let authorities = folder.path().join("authorities.pem");
    fs::write(&authorities, authority.pem()).unwrap();
    let authorities = authorities.to_str().unwrap();
    let member = |name: &str| {
        let (path, id) = key(folder.path(), name);
        let pair = KeyPair::from_pem(&fs::read_to_string(&path).unwrap()).unwrap();
        let certificate = CertificateParams::default().signed_by(&pair, &authority).unwrap();
        let shown = folder.path().join(format!("{name}-certificates.pem"));
        fs::write(&shown, certificate.pem()).unwrap();
        (path, shown.to_str().unwrap().to_owned(), id)
    };
    let (ours, our_certificates, _) = member("ours");
    let (friend, friend_certificates, friend_id) = member("friend");
    let (stranger, stranger_id) = key(folder.path(), "stranger");
    let file = folder.path().join("node.toml");
    let text = "key = \"ours.pem\"\nauthorities = \"authorities.pem\"\n\
                certificates = \"ours-certificates.pem\"\n";
    fs::write(&file, text).unwrap();
    let vouched = ["--authorities", authorities, "--certificates"];
    for args in [
        &[&["--key", &ours], &vouched[..], &[&our_certificates]].concat()[..],
        &["--config", file.to_str().unwrap()],
    ] {
        let (mut node, address) = listening(args);
        let mut other = Running::start(&["node", "--json", "--key", &stranger, "--peer", &address]);
        let reason = refused(&mut node);
        let expected = format!("secure channel: no authority vouches for {stranger_id}: ");
        assert!(reason.starts_with(&expected), "{reason}");
        other.until(|event| event["event"] == "retrying");
        drop(other);
        let friend = [
            &["node", "--json", "--peer", &address, "--key", &friend],
            &vouched[..],
            &[&friend_certificates],
        ];
        let mut other = Running::start(&friend.concat());
        assert_eq!(connected(&mut node), friend_id);
        connected(&mut other);
        drop(other);
    }
}

#[test]
fn rules_that_cannot_be_used_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = key(folder.path(), "ours");
    let nonsense = folder.path().join("nonsense.pem");
    fs::write(&nonsense, "what is this").unwrap();
    let nonsense = nonsense.to_str().unwrap();
    let unusable = format!("{nonsense}: the node's certificates: there are none; expected cert");
    let (old_key, old) = include_str!("keys/version1.pem").split_once("\n\n").unwrap();
    let [old_key, old] = [("old-key.pem", old_key), ("old.pem", old)].map(|(name, text)| {
        let path = folder.path().join(name);
        write_private(&path, text);
        path.to_str().unwrap().to_owned()
    });
    let version1 = format!("{old}: the node's certificate is of an X.509 version before 3: ");
    for (args, status, complaint) in [
        (&["--allow", "nobody"][..], 2, "--allow nobody: "),
        (&["--authorities", "/nowhere.pem"], 18, "cannot read /nowhere.pem: "),
        (&["--authorities", nonsense], 18, "the authorities of "),
        (&["--key", &path, "--certificates", nonsense], 18, &unusable),
        (&["--key", &old_key, "--certificates", &old], 18, &version1),
        (&["--insecure", "--authorities", nonsense], 18, "allow, authorities and certificates"),
    ] {
        let complaint = format!("headwater: {complaint}");
        for args in [&[&["node"], args].concat()[..], &[&["node", "--print-config"], args].concat()]
        {
            let ended = run(args);
            assert_eq!(ended.status, Some(status), "{ended:?}");
            assert!(ended.complaint().starts_with(&complaint), "{ended:?}");
            assert!(ended.stdout.is_empty(), "{ended:?}");
        }
    }
}
