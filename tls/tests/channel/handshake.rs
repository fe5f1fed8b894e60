//! Who is proven to whom.

use headwater_core::contract::Direction;
use headwater_core::secure::{ChannelFactory, SecureChannel};
use headwater_identity::NodeKey;
use headwater_tls::Tls;

use crate::keys::usable;
use crate::link::Link;

pub(crate) fn new_tls() -> Tls {
    Tls::new(&NodeKey::generate().unwrap()).unwrap()
}

#[test]
fn keys_of_every_usable_type_prove_themselves_to_each_other() {
    let keys = usable();
    assert_eq!(keys.len(), 4);
    for dialer in &keys {
        for listener in &keys {
            let (a, b) = (Tls::new(dialer).unwrap(), Tls::new(listener).unwrap());
            let mut link = Link::new(&a, &b);
            link.run();
            assert_eq!(link.dialer.error, None);
            assert_eq!(link.dialer.channel.peer(), Some(listener.peer_id()));
            assert_eq!(link.listener.channel.peer(), Some(dialer.peer_id()));
            let shown = link.listener.channel.proven().unwrap();
            assert_eq!(shown.key(), dialer.public_key());
            assert_eq!(shown.certificates().count(), 1);
        }
    }
}

#[test]
fn a_large_rsa_key_works() {
    // Made for this test and good for nothing else.
    let key = NodeKey::from_pem(include_str!("rsa4096.pem")).unwrap();
    let mut link = Link::new(&Tls::new(&key).unwrap(), &new_tls());
    link.run();
    assert_eq!(link.listener.channel.peer(), Some(key.peer_id()));
}

#[test]
fn any_pieces_give_the_same_handshake() {
    let (a, b) = (new_tls(), new_tls());
    for step in [1, 2, 3, 5, 7, 100, 1000] {
        let mut link = Link::new(&a, &b);
        link.step = step;
        link.dialer.send(vec![1; 40_000]);
        link.listener.send(vec![2; 40_000]);
        link.run();
        assert_eq!(link.dialer.channel.peer(), Some(b.local()), "{step}");
        assert_eq!(link.listener.channel.peer(), Some(a.local()), "{step}");
        assert_eq!(link.dialer.received, [2; 40_000]);
        assert_eq!(link.listener.received, [1; 40_000]);
    }
}

#[test]
fn what_follows_the_handshake_at_once_waits_for_the_verdict() {
    let mut link = Link::new(&new_tls(), &new_tls());
    link.dialer.speak(usize::MAX);
    let hello = link.dialer.wire.split();
    link.listener.hear(&hello);
    link.listener.speak(usize::MAX);
    let flight = link.listener.wire.split();
    link.dialer.hear(&flight);
    link.dialer.send("at once");
    link.dialer.speak(usize::MAX);

    let mut input = link.dialer.wire.split();
    let mut plain = bytes::BytesMut::with_capacity(20_000);
    let listener = &mut link.listener.channel;
    assert_eq!(listener.open(&mut input, &mut plain), Ok(headwater_core::secure::Opened::Proven));
    assert!(plain.is_empty() && !input.is_empty());
    assert_eq!(listener.open(&mut input, &mut plain), Ok(headwater_core::secure::Opened::Waiting));
    assert_eq!(plain, "at once");
}

#[test]
fn a_hello_has_no_server_name_no_ticket_and_one_protocol() {
    let mut tls = new_tls();
    let mut hello = headwater_core::buffer::SealedBuf::new();
    tls.channel(Direction::Outbound, None).flush(&mut hello);
    let extensions = extensions(&hello[5..]);
    let types: Vec<u16> = extensions.iter().map(|(kind, _)| *kind).collect();
    // server_name, session_ticket, pre_shared_key, early_data.
    for absent in [0, 35, 41, 42] {
        assert!(!types.contains(&absent), "{types:?}");
    }
    let of = |kind| &extensions.iter().find(|(found, _)| *found == kind).unwrap().1;
    assert_eq!(of(16)[3..], *b"liquid-network-tcp-v0.0.1");
    // TLS 1.3 and nothing else.
    assert_eq!(*of(43), [2, 3, 4]);
}

/// The extensions of a client hello.
fn extensions(hello: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let u16_at = |at: usize| u16::from_be_bytes([hello[at], hello[at + 1]]);
    let mut at = 4 + 2 + 32;
    at += 1 + usize::from(hello[at]);
    at += 2 + usize::from(u16_at(at));
    at += 1 + usize::from(hello[at]);
    at += 2;
    let mut list = Vec::new();
    while at < hello.len() {
        let len = usize::from(u16_at(at + 2));
        list.push((u16_at(at), hello[at + 4..at + 4 + len].to_vec()));
        at += 4 + len;
    }
    list
}
