//! Handshake messages in several records, and records that are in each other's way.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use headwater_core::contract::Direction;
use headwater_core::secure::SecureChannel;
use headwater_identity::NodeKey;
use headwater_tls::TlsError;
use rustls::ConnectionTrafficSecrets;

use crate::handshake::new_tls;
use crate::link::{End, Link};
use crate::rogue::Rogue;

const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

/// Cuts the contents of a record into records of `len` bytes.
fn split(record: &[u8], len: usize) -> Vec<u8> {
    let pieces = record[5..].chunks(len);
    pieces.flat_map(|piece| [&[record[0], 3, 3, 0, piece.len() as u8], piece].concat()).collect()
}

#[test]
fn a_hello_in_records_of_any_size_is_understood() {
    let (a, b) = (new_tls(), new_tls());
    for len in [1, 2, 3, 4, 5, 50, 100] {
        let mut link = Link::new(&a, &b);
        link.dialer.speak(usize::MAX);
        let hello = link.dialer.wire.split();
        let records = split(&hello, len);
        for byte in records.chunks(3) {
            link.listener.hear(byte);
            link.listener.speak(usize::MAX);
        }
        link.run();
        assert_eq!(link.listener.channel.peer(), Some(a.local()), "{len}");
    }
}

#[test]
fn a_hello_that_never_ends_is_given_up() {
    let mut listener = End::new(&new_tls(), Direction::Inbound);
    // It announces 60,000 bytes.
    listener.hear(&[HANDSHAKE, 3, 3, 0, 4, 1, 0, 0xea, 0x60]);
    let mut bytes = 0;
    while listener.error.is_none() {
        listener.hear(&[HANDSHAKE, 3, 3, 0, 1, 0]);
        bytes += 6;
        assert!(bytes < 100 * 1024, "it is still listening");
    }
    listener.speak(usize::MAX);
    assert_eq!(listener.wire[..], [21, 3, 3, 0, 2, 2, 50]);
}

#[test]
fn an_alert_after_the_hello_ends_it() {
    let mut link = Link::new(&new_tls(), &new_tls());
    link.dialer.speak(usize::MAX);
    let hello = link.dialer.wire.split();
    link.listener.hear(&hello);
    link.listener.hear(&[21, 3, 3, 0, 2, 1, 0]);
    link.listener.speak(usize::MAX);
    link.listener.hear(&[21, 3, 3, 0, 2, 2, 40]);
    link.listener.speak(usize::MAX);
    assert!(link.listener.error.is_some());
}

/// A dialer that seals records of its own making.
struct Sealer {
    key: LessSafeKey,
    iv: [u8; 12],
    number: u64,
}

impl Sealer {
    /// Connects to a listener of ours.
    fn new() -> (Self, End) {
        let key = NodeKey::generate().unwrap();
        let mut link = Link::new(&headwater_tls::Tls::new(&key).unwrap(), &new_tls());
        link.run();
        let shown = link.listener.channel.proven().unwrap();
        let rogue = Rogue::showing(&key, shown.certificates().map(<[u8]>::to_vec).collect());
        let (secrets, ours) = rogue.secrets(&new_tls());
        let (number, ConnectionTrafficSecrets::Aes256Gcm { key, iv }) = secrets.tx else {
            panic!("another suite");
        };
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap());
        (Self { key, iv: iv.as_ref().try_into().unwrap(), number }, ours)
    }

    fn seal(&mut self, kind: u8, contents: &[u8]) -> Vec<u8> {
        let len = (contents.len() + 17) as u16;
        let header = [DATA, 3, 3, (len >> 8) as u8, len as u8];
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(self.number.to_be_bytes()) {
            *byte ^= number;
        }
        self.number += 1;
        let mut body = [contents, &[kind]].concat();
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce, Aad::from(header), &mut body).unwrap();
        [&header[..], &body].concat()
    }
}

/// A key update that asks for one in return.
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 1];

#[test]
fn a_message_between_two_pieces_of_another_is_refused_and_we_may_speak_meanwhile() {
    for cut in 1..KEY_UPDATE.len() {
        let (mut peer, mut ours) = Sealer::new();
        ours.hear(&peer.seal(HANDSHAKE, &KEY_UPDATE[..cut]));
        assert_eq!(ours.error, None);
        // rustls waits for the rest of the message now.
        ours.send(vec![1; 50_000]);
        ours.speak(usize::MAX);
        assert!(ours.out.is_empty());
        assert!(ours.wire.split().len() > 50_000);
        if cut % 2 == 0 {
            ours.hear(&peer.seal(HANDSHAKE, &KEY_UPDATE[cut..]));
            assert_eq!(ours.error, None);
            ours.send("the answer goes before this");
            ours.speak(usize::MAX);
            // A key update of 5 bytes, and the text, each in its record.
            assert_eq!(ours.wire.len(), (5 + 22) + (27 + 22));
        } else {
            ours.hear(&peer.seal(DATA, b"in between"));
            assert!(matches!(ours.failure(), TlsError::Broken { .. }));
            ours.speak(usize::MAX);
            assert!(!ours.wire.is_empty(), "no alert");
        }
    }
}

#[test]
fn closing_in_the_middle_of_a_message_is_possible() {
    let (mut peer, mut ours) = Sealer::new();
    ours.hear(&peer.seal(HANDSHAKE, &KEY_UPDATE[..2]));
    ours.channel.close();
    ours.speak(usize::MAX);
    assert_eq!(ours.wire.len(), 24);
}

#[test]
fn key_updates_without_end_cost_nothing() {
    let (mut peer, mut ours) = Sealer::new();
    let secret_unknown = peer.seal(HANDSHAKE, &KEY_UPDATE);
    ours.hear(&secret_unknown);
    assert_eq!(ours.error, None);
    // What follows is sealed with the old key, and not authentic any more.
    ours.hear(&peer.seal(DATA, b"old"));
    assert_eq!(*ours.failure(), TlsError::BadRecord);
}

#[test]
fn records_with_nothing_in_them_come_to_an_end() {
    let (mut peer, mut ours) = Sealer::new();
    for count in 0.. {
        assert!(count < 100, "it takes empty records for ever");
        ours.hear(&peer.seal(DATA, b""));
        if ours.error.is_some() {
            break;
        }
    }
    assert!(matches!(ours.failure(), TlsError::Broken { .. }));
}

#[test]
fn early_and_other_strange_messages_are_refused() {
    for contents in [
        // A second hello, a finished message, an unknown one, one without a body.
        &[1, 0, 0, 2, 3, 3][..],
        &[20, 0, 0, 1, 0],
        &[99, 0, 0, 0],
        &[24, 0, 0, 0],
        &[24, 0, 0, 1, 7],
    ] {
        let (mut peer, mut ours) = Sealer::new();
        ours.hear(&peer.seal(HANDSHAKE, contents));
        assert!(ours.error.is_some(), "{contents:?}");
        ours.speak(usize::MAX);
        assert!(!ours.wire.is_empty(), "no alert: {contents:?}");
    }
    for kind in [0, 20, 21, 24, 99] {
        let (mut peer, mut ours) = Sealer::new();
        ours.hear(&peer.seal(kind, &[1, 2, 3]));
        assert!(ours.error.is_some(), "{kind}");
    }
}

#[test]
fn a_record_that_is_too_long_is_refused() {
    let (mut peer, mut ours) = Sealer::new();
    ours.hear(&peer.seal(DATA, &[1; 16 * 1024]));
    assert_eq!((ours.received.len(), &ours.error), (16 * 1024, &None));
    ours.hear(&peer.seal(DATA, &[1; 16 * 1024 + 1]));
    assert!(ours.error.is_some());
    assert_eq!(ours.received.len(), 16 * 1024);
}
