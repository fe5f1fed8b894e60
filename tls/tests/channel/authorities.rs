//! Groups of authorities that vouch for peers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headwater_core::contract::Direction;
use headwater_core::secure::SecureChannel;
use headwater_identity::NodeKey;
use headwater_tls::{AuthoritiesError, Distrust, Refusal, SetupError, Tls, TlsError};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::AlertDescription;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::handshake::new_tls;
use crate::link::Link;
use crate::rogue::Rogue;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn authority(name: &str) -> Authority {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    CertifiedIssuer::self_signed(authority_params(name), key).unwrap()
}

fn below(name: &str, above: &Authority) -> Authority {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    CertifiedIssuer::signed_by(authority_params(name), key, above).unwrap()
}

/// A node's key and certificate.
struct Member {
    key: NodeKey,
    der: Vec<u8>,
    pem: String,
}

impl Member {
    fn of(issuer: &Authority) -> Self {
        Self::with(issuer, params("member"))
    }

    fn with(issuer: &Authority, params: CertificateParams) -> Self {
        let key = NodeKey::generate().unwrap();
        let der = PrivatePkcs8KeyDer::from(key.to_pkcs8_der().to_vec());
        let algorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, algorithm).unwrap();
        let certificate = params.signed_by(&pair, issuer).unwrap();
        Self { key, der: certificate.der().to_vec(), pem: armour(certificate.der()) }
    }

    fn tls(&self, group: &str, roots: &str) -> Tls {
        let builder = Tls::builder(&self.key).certificates(self.pem.clone());
        builder.authorities(group, roots).build().unwrap()
    }

    fn rogue(&self) -> Rogue {
        Rogue::showing(&self.key, vec![self.der.clone()])
    }
}

fn armour(der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
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
    format!("{}\n-----END CERTIFICATE-----\n", text.trim_end())
}

fn pem(authority: &Authority) -> String {
    armour(authority.der())
}

fn refused(ours: &Tls, member: &Member) -> (Distrust, AlertDescription) {
    let meeting = member.rogue().meets(ours, Direction::Inbound);
    let Refusal::Untrusted { peer, why } = meeting.refusal() else {
        panic!("{}", meeting.refusal());
    };
    assert_eq!(*peer, member.key.peer_id());
    (why.clone(), meeting.alert())
}

#[test]
fn members_of_one_authority_accept_each_other_and_nobody_else() {
    let root = authority("root");
    let (a, b) = (Member::of(&root), Member::of(&root));
    let (ours, theirs) = (a.tls("one", &pem(&root)), b.tls("one", &pem(&root)));
    let mut link = Link::new(&ours, &theirs);
    link.run();
    assert_eq!(link.dialer.channel.peer(), Some(b.key.peer_id()));
    assert_eq!(link.listener.channel.peer(), Some(a.key.peer_id()));
    let shown = link.listener.channel.proven().unwrap();
    assert_eq!(shown.groups(), [Arc::from("one")]);
    assert!(shown.certificates().eq([&a.der[..]]));

    let stranger = Member::of(&authority("root"));
    let unknown = (Distrust::UnknownAuthority, AlertDescription::UnknownCA);
    // Its authority has the name of one that is known, and another key.
    let (why, alert) = refused(&ours, &stranger);
    assert!(matches!(why, Distrust::Invalid { .. }), "{why}");
    assert_eq!(alert, AlertDescription::BadCertificate);
    assert_eq!(refused(&ours, &Member::of(&authority("other"))), unknown);

    // A certificate that only carries a key.
    let mut link = Link::new(&new_tls(), &ours);
    link.run();
    assert!(matches!(
        link.listener.failure(),
        TlsError::Refused(Refusal::Untrusted { why: Distrust::UnknownAuthority, .. })
    ));
    assert_eq!(*link.dialer.failure(), TlsError::Alert { alert: "unknown_ca".into() });
}

#[test]
fn a_peer_is_told_which_groups_vouch_for_it() {
    let (one, two, three) = (authority("one"), authority("two"), authority("three"));
    let ours = Tls::builder(&NodeKey::generate().unwrap())
        .authorities("first", pem(&one) + &pem(&two))
        .authorities("second", pem(&two))
        .authorities("third", pem(&three))
        .build()
        .unwrap();
    for (root, groups) in
        [(&one, &["first"][..]), (&two, &["first", "second"]), (&three, &["third"])]
    {
        let meeting = Member::of(root).rogue().meets(&ours, Direction::Inbound);
        let shown = meeting.ours.channel.proven().unwrap();
        assert!(shown.groups().iter().map(|one| &**one).eq(groups.iter().copied()));
    }
}

#[test]
fn the_way_to_a_root_is_ours_to_know_and_not_the_peers() {
    let root = authority("root");
    let middle = below("middle", &root);
    let member = Member::of(&middle);
    let ours = |text: String| {
        let builder = Tls::builder(&NodeKey::generate().unwrap());
        builder.authorities("group", text).build().unwrap()
    };
    // It shows the way, and it is not taken (spec 1.5).
    let knows_root = ours(pem(&root));
    let mut rogue = member.rogue();
    rogue.certificates.push(middle.der().to_vec());
    let meeting = rogue.meets(&knows_root, Direction::Inbound);
    assert!(matches!(meeting.refusal(), Refusal::Untrusted { .. }));
    let meeting = member.rogue().meets(&ours(pem(&root) + &pem(&middle)), Direction::Inbound);
    assert_eq!(meeting.ours.channel.peer(), Some(member.key.peer_id()));
    let meeting = member.rogue().meets(&ours(pem(&middle)), Direction::Inbound);
    assert_eq!(meeting.ours.channel.peer(), Some(member.key.peer_id()));
}

#[test]
fn the_time_and_the_purpose_of_a_certificate_matter() {
    let root = authority("root");
    let year = |year: u64| (year - 1970) * 31_556_952;
    let now = Arc::new(AtomicU64::new(year(2024)));
    let clock = Arc::clone(&now);
    let ours = Tls::builder(&NodeKey::generate().unwrap())
        .authorities("group", pem(&root))
        .clock(move || match clock.load(Ordering::Relaxed) {
            0 => None,
            seconds => Some(Duration::from_secs(seconds)),
        })
        .build()
        .unwrap();
    let mut limited = params("limited");
    limited.not_before = rcgen::date_time_ymd(2020, 1, 1);
    limited.not_after = rcgen::date_time_ymd(2030, 1, 1);
    let member = Member::with(&root, limited);
    let meeting = member.rogue().meets(&ours, Direction::Inbound);
    assert_eq!(meeting.ours.channel.peer(), Some(member.key.peer_id()));
    for time in [year(2019), year(2031), 0] {
        now.store(time, Ordering::Relaxed);
        let expired = (Distrust::NotValidNow, AlertDescription::CertificateExpired);
        assert_eq!(refused(&ours, &member), expired);
        // Judged again, it does not pass either.
        assert_eq!(ours.reverify().len(), 1);
    }
    now.store(year(2024), Ordering::Relaxed);

    use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, ServerAuth};
    for (purpose, accepted) in
        [(ServerAuth, true), (ClientAuth, true), (Any, true), (CodeSigning, false)]
    {
        let mut params = params("purpose");
        params.extended_key_usages = vec![purpose];
        let member = Member::with(&root, params);
        if accepted {
            let meeting = member.rogue().meets(&ours, Direction::Inbound);
            assert_eq!(meeting.ours.channel.peer(), Some(member.key.peer_id()));
        } else {
            let purpose = (Distrust::Purpose, AlertDescription::UnsupportedCertificate);
            assert_eq!(refused(&ours, &member), purpose);
        }
    }
}

#[test]
fn d97_who_was_vouched_for_is_judged_again_by_the_same_rule() {
    let (old, new) = (authority("old"), authority("new"));
    let (before, after) = (Member::of(&old), Member::of(&new));
    let ours = Tls::builder(&NodeKey::generate().unwrap())
        .authorities("group", pem(&old) + &pem(&new))
        .build()
        .unwrap();
    let first = before.rogue().meets(&ours, Direction::Inbound);
    let second = after.rogue().meets(&ours, Direction::Outbound);
    assert!(ours.reverify().is_empty(), "whom authorities vouch for stays");
    ours.set_authorities("another", &pem(&new)).unwrap();
    assert!(ours.reverify().is_empty());
    assert_eq!(second.ours.channel.proven().unwrap().groups().len(), 2);
    ours.set_authorities("group", &pem(&new)).unwrap();
    let unknown =
        Refusal::Untrusted { peer: before.key.peer_id(), why: Distrust::UnknownAuthority };
    assert_eq!(ours.reverify(), [(before.key.peer_id(), unknown)]);
    drop(first);
    assert!(ours.remove_authorities("group") && ours.remove_authorities("another"));
    assert!(!ours.remove_authorities("group"));
    assert_eq!(ours.reverify().len(), 1);
    assert_eq!(refused(&ours, &after).0, Distrust::UnknownAuthority);
}

#[test]
fn bad_authorities_are_told_and_change_nothing() {
    let root = authority("root");
    let member = Member::of(&root);
    let tls = member.tls("group", &pem(&root));
    let malformed = armour(&[0x30, 3, 2, 1, 1]);
    for (text, error) in [
        (String::new(), AuthoritiesError::NoRoot),
        (member.pem, AuthoritiesError::NoRoot),
        (
            pem(&root) + &malformed,
            AuthoritiesError::Certificate { at: 1, what: "it is malformed".into() },
        ),
    ] {
        assert_eq!(tls.set_authorities("group", &text), Err(error));
    }
    let cut = pem(&root).replace("-----END CERTIFICATE-----", "");
    let result = tls.set_authorities("group", &cut);
    assert!(matches!(result, Err(AuthoritiesError::Pem { .. })), "{result:?}");
    let meeting = Member::of(&root).rogue().meets(&tls, Direction::Inbound);
    assert!(meeting.ours.channel.peer().is_some());
}

#[test]
fn certificates_that_are_not_the_nodes_own_are_told() {
    let root = authority("root");
    let member = Member::of(&root);
    let other = NodeKey::generate().unwrap();
    let build = |pem: &str| Tls::builder(&other).certificates(pem).build().unwrap_err();
    let expected = SetupError::OtherKey { certificate: member.key.peer_id(), key: other.peer_id() };
    assert_eq!(build(&member.pem), expected);
    assert!(matches!(build(""), SetupError::Certificates { .. }));
    assert!(matches!(build(&armour(b"?")), SetupError::Certificates { .. }));
    let group = Tls::builder(&other).authorities("group", "").build().unwrap_err();
    assert_eq!(group.to_string(), "the authorities of group: no certificate of an authority");
}

#[test]
fn many_authorities_of_one_name_do_not_keep_us_busy() {
    // Every pair of them could be a step on the way.
    let root = authority("same");
    let mut text = pem(&root);
    let mut above = root;
    for _ in 0..40 {
        above = below("same", &above);
        text += &armour(above.der());
    }
    let ours =
        Tls::builder(&NodeKey::generate().unwrap()).authorities("group", text).build().unwrap();
    let stranger = Member::of(&authority("same"));
    let start = std::time::Instant::now();
    refused(&ours, &stranger);
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// A key and its certificate of X.509 version 1, as `openssl x509 -req` makes it by default.
const OLD: &str = include_str!("version1.pem");

#[test]
fn certificates_of_version_1_are_told_in_words() {
    let (key, _) = OLD.split_once("-----BEGIN CERT").unwrap();
    let key = NodeKey::from_pem(key).unwrap();
    let own = Tls::builder(&key).certificates(OLD).build().unwrap_err();
    assert_eq!(own, SetupError::Version);
    assert!(own.to_string().contains("an X.509 version before 3"), "{own}");
    let root = authority("root");
    let ours = Member::of(&root).tls("group", &pem(&root));
    assert_eq!(ours.set_authorities("old", OLD), Err(AuthoritiesError::Version { at: 0 }));
    // Beside one of an authority it does no harm.
    assert_eq!(ours.set_authorities("both", &(pem(&root) + OLD)), Ok(()));
    let der = CertificateDer::from_pem_slice(OLD.as_bytes()).unwrap().to_vec();
    let old = Member { pem: OLD.to_owned(), der, key };
    assert_eq!(refused(&ours, &old), (Distrust::Version, AlertDescription::UnsupportedCertificate));
    // It carries a key, and without authorities that is enough.
    let meeting = old.rogue().meets(&new_tls(), Direction::Inbound);
    assert_eq!(meeting.ours.channel.peer(), Some(old.key.peer_id()));
}
