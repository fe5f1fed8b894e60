//! Who is refused for other reasons than its certificate.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use headwater_core::contract::Direction;
use headwater_core::secure::{ChannelError, SecureChannel};
use headwater_identity::NodeKey;
use headwater_tls::{ProvenPeer, Refusal, Tls, TlsError, Veto};
use rustls::AlertDescription;

use crate::handshake::new_tls;
use crate::link::{End, Link};
use crate::rogue::Rogue;

#[test]
fn a_dialer_without_a_certificate_is_refused() {
    let rogue = Rogue::forging(Vec::new());
    let meeting = rogue.meets(&new_tls(), Direction::Inbound);
    assert_eq!(*meeting.refusal(), Refusal::NoCertificate);
    assert_eq!(meeting.alert(), AlertDescription::CertificateRequired);
}

#[test]
fn another_application_protocol_or_none_is_refused_on_both_sides() {
    let lists: [&[&[u8]]; 3] = [&[], &[b"h2"], &[b"chainmaker", b"liquid-network-tcp-v0.0.2"]];
    let key = NodeKey::generate().unwrap();
    for list in lists {
        let mut rogue = Rogue::forging(vec![vec![0]]);
        rogue.alpn = list.iter().map(|one| one.to_vec()).collect();
        let meeting = rogue.meets(&new_tls(), Direction::Inbound);
        assert_eq!(*meeting.ours.failure(), TlsError::Alpn);
        assert_eq!(meeting.alert(), AlertDescription::NoApplicationProtocol);

        // A listener that knows no protocol goes on without one.
        let mut link = Link::new(&Tls::new(&key).unwrap(), &new_tls());
        link.run();
        let shown = link.listener.channel.proven().unwrap();
        let chain = shown.certificates().map(<[u8]>::to_vec).collect();
        let mut rogue = Rogue::showing(&key, chain);
        rogue.alpn = list.iter().map(|one| one.to_vec()).collect();
        let meeting = rogue.meets(&new_tls(), Direction::Outbound);
        assert!(meeting.ours.channel.peer().is_none());
        if list.is_empty() {
            assert_eq!(*meeting.ours.failure(), TlsError::Alpn);
        } else {
            let expected = TlsError::Alert { alert: "no_application_protocol".into() };
            assert_eq!(*meeting.ours.failure(), expected);
        }
    }
}

#[test]
fn ours_among_other_protocols_is_found() {
    let mut rogue = Rogue::forging(Vec::new());
    rogue.alpn = vec![b"h2".to_vec(), headwater_tls::ALPN.into()];
    let meeting = rogue.meets(&new_tls(), Direction::Inbound);
    assert_eq!(*meeting.refusal(), Refusal::NoCertificate);
}

#[test]
fn only_peers_on_the_list_are_accepted() {
    let (ours, friend, stranger) = (NodeKey::generate().unwrap(), new_tls(), new_tls());
    let ours = Tls::builder(&ours).allow([friend.local()]).build().unwrap();
    for dials in [true, false] {
        let meet = |other: &Tls| {
            let (a, b) = if dials { (&ours, other) } else { (other, &ours) };
            let mut link = Link::new(a, b);
            link.run();
            if dials { (link.dialer, link.listener) } else { (link.listener, link.dialer) }
        };
        let (here, there) = meet(&friend);
        assert_eq!(here.channel.peer(), Some(friend.local()));
        assert_eq!(there.channel.peer(), Some(ours.local()));
        let (here, there) = meet(&stranger);
        let refusal = Refusal::NotAllowed { peer: stranger.local() };
        assert_eq!(*here.failure(), TlsError::Refused(refusal));
        assert_eq!(*there.failure(), TlsError::Alert { alert: "access_denied".into() });
        // A listener that is refused has not seen who dialled.
        assert_eq!(there.channel.peer().is_some(), !dials);
    }
}

#[test]
fn the_application_may_veto_a_peer() {
    let admit = Arc::new(AtomicBool::new(true));
    let hook = Arc::clone(&admit);
    let ours = Tls::builder(&NodeKey::generate().unwrap())
        .admission(move |_: &ProvenPeer| match hook.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(Veto::new("revoked")),
        })
        .build()
        .unwrap();
    let other = new_tls();
    let mut link = Link::new(&other, &ours);
    link.run();
    assert_eq!(link.listener.channel.peer(), Some(other.local()));
    admit.store(false, Ordering::Relaxed);
    let mut refused = Link::new(&other, &ours);
    refused.run();
    let refusal = Refusal::Vetoed { peer: other.local(), reason: "revoked".into() };
    assert_eq!(*refused.listener.failure(), TlsError::Refused(refusal.clone()));

    // Who is connected stays until it is judged again.
    link.dialer.send("one");
    link.run();
    assert_eq!(link.listener.received, b"one");
    assert_eq!(ours.reverify(), [(other.local(), refusal.clone())]);
    link.dialer.send("two");
    link.run();
    assert_eq!(link.listener.received, b"one");
    assert_eq!(*link.listener.failure(), TlsError::Refused(refusal));
    link.listener.channel.close();
    link.run();
    assert!(link.dialer.closed, "the end is announced");
    drop(link);
    assert_eq!(ours.proven(&other.local()), None);
    assert!(ours.reverify().is_empty());
}

#[test]
fn rules_that_change_between_the_proof_and_the_end_of_a_handshake_hold() {
    for direction in [Direction::Outbound, Direction::Inbound] {
        let handle = Arc::new(OnceLock::<Tls>::new());
        let hook = Arc::clone(&handle);
        let asked = Arc::new(AtomicBool::new(false));
        let once = Arc::clone(&asked);
        let ours = Tls::builder(&NodeKey::generate().unwrap())
            .admission(move |_: &ProvenPeer| {
                // Between the proof and the end: the peer passes, and the rules change.
                if !once.swap(true, Ordering::Relaxed) {
                    let tls = hook.get().unwrap();
                    tls.set_allowed(Some(BTreeSet::new()));
                    assert!(tls.reverify().is_empty(), "it is not connected yet");
                }
                Ok(())
            })
            .build()
            .unwrap();
        handle.set(ours.clone()).unwrap();
        let other = new_tls();
        let dials = direction == Direction::Outbound;
        let mut link = if dials { Link::new(&ours, &other) } else { Link::new(&other, &ours) };
        link.run();
        assert!(asked.load(Ordering::Relaxed));
        let (end, there) = if dials {
            (&mut link.dialer, &mut link.listener)
        } else {
            (&mut link.listener, &mut link.dialer)
        };
        let refusal = Refusal::NotAllowed { peer: other.local() };
        assert_eq!(*end.failure(), TlsError::Refused(refusal));
        assert!(!end.proven && end.channel.peer().is_none());
        assert_eq!(ours.proven(&other.local()), None);
        // It is too late for another alert than that of an end, which the connection asks for.
        end.channel.close();
        end.speak(usize::MAX);
        let said = end.wire.split();
        there.hear(&said);
        assert!(there.closed && there.error.is_none(), "{:?}", there.error);
        assert_eq!(there.channel.handle_eof(), Ok(()));
    }
}

#[test]
fn a_hook_that_panics_admits_nobody_and_does_no_harm() {
    let ours = Tls::builder(&NodeKey::generate().unwrap())
        .admission(|_: &ProvenPeer| panic!("a hook that panics"))
        .build()
        .unwrap();
    let mut link = Link::new(&new_tls(), &ours);
    link.run();
    let TlsError::Refused(Refusal::Vetoed { reason, .. }) = link.listener.failure() else {
        panic!("{:?}", link.listener.failure());
    };
    assert_eq!(&**reason, "the admission hook panicked");
}

#[test]
fn what_is_not_tls_ends_at_once() {
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"SSH-2.0-x\r\n", &[0; 5], &[0xff; 5]] {
        let mut link = Link::new(&new_tls(), &new_tls());
        link.listener.hear(bytes);
        assert!(link.listener.error.is_some(), "{bytes:?}");
        link.listener.speak(usize::MAX);
        // decode_error, in the clear.
        assert_eq!(link.listener.wire[..], [21, 3, 3, 0, 2, 2, 50]);
    }
}

#[test]
fn a_peer_without_encryption_is_told_from_anything_else_however_it_is_cut() {
    let id = new_tls().local();
    for pieces in [vec![id.as_bytes()], id.as_bytes().chunks(1).collect()] {
        let mut listener = End::new(&new_tls(), Direction::Inbound);
        pieces.into_iter().for_each(|piece| listener.hear(piece));
        assert_eq!(listener.error, Some(ChannelError::SpeaksPlain));
        assert_eq!(listener.failure(), &TlsError::Insecure);
        listener.speak(usize::MAX);
        assert_eq!(listener.wire[..], [21, 3, 3, 0, 2, 2, 50]);
    }
    // Not with what may be something else, and not behind a record.
    for bytes in [&b"QmI0000"[..], b"Qn234567", b"hello world"] {
        let mut listener = End::new(&new_tls(), Direction::Inbound);
        listener.hear(bytes);
        assert!(matches!(listener.failure(), TlsError::Broken { .. }), "{bytes:?}");
    }
    let mut link = Link::new(&new_tls(), &new_tls());
    link.run();
    link.listener.hear(id.as_bytes());
    assert!(matches!(link.listener.failure(), TlsError::Broken { .. }));
}
