//! Data in records.

use bytes::BytesMut;
use headwater_core::buffer::SealedBuf;
use headwater_core::secure::SecureChannel;

use crate::handshake::new_tls;
use crate::link::Link;

#[test]
fn bytes_arrive_as_they_were_whatever_pieces_they_are_put_in() {
    let (a, b) = (new_tls(), new_tls());
    for out_max in [87, 100, 1000, 16_384, 20_000, 262_144] {
        let mut link = Link::new(&a, &b);
        link.out_max = out_max;
        link.run();
        let mut expected = Vec::new();
        for (number, len) in
            [1, 30, 2047, 2048, 8191, 8192, 70_000, 5, 16_384, 9].iter().enumerate()
        {
            let piece: Vec<u8> = (0..*len).map(|at| (at * 7 + number) as u8).collect();
            expected.extend_from_slice(&piece);
            link.dialer.send(piece);
        }
        link.run();
        assert!(link.dialer.out.is_empty(), "{out_max}");
        assert_eq!(link.listener.received, expected, "{out_max}");
    }
}

#[test]
fn what_does_not_fit_is_not_taken() {
    let mut link = Link::new(&new_tls(), &new_tls());
    link.run();
    link.dialer.send(vec![1; 100]);
    let mut out = SealedBuf::new();
    for out_max in 0..87 {
        assert_eq!(link.dialer.channel.seal(&mut link.dialer.out, &mut out, out_max), 0);
        assert!(out.is_empty());
    }
    assert_eq!(link.dialer.out.len(), 100);
}

#[test]
fn full_records_cost_22_bytes_each() {
    let mut link = Link::new(&new_tls(), &new_tls());
    link.run();
    link.dialer.send(vec![1; 160 * 1024]);
    link.dialer.speak(usize::MAX);
    assert_eq!(link.dialer.wire.len(), 160 * 1024 + 10 * 22);
}

#[test]
fn small_pieces_share_a_record() {
    let mut link = Link::new(&new_tls(), &new_tls());
    link.run();
    for _ in 0..10 {
        link.dialer.out.put(&[1; 12]);
        link.dialer.send(vec![2; 2048]);
    }
    link.dialer.speak(usize::MAX);
    assert_eq!(link.dialer.wire.len(), 10 * 2060 + 2 * 22);
}

#[test]
fn without_room_for_a_record_nothing_is_opened() {
    let mut link = Link::new(&new_tls(), &new_tls());
    link.run();
    link.dialer.send(vec![1; 16 * 1024]);
    link.dialer.speak(usize::MAX);
    let mut input = link.dialer.wire.split();
    let len = input.len();
    let mut plain = BytesMut::with_capacity(16 * 1024 - 1);
    link.listener.channel.open(&mut input, &mut plain).unwrap();
    assert_eq!((input.len(), plain.len()), (len, 0));
    let mut plain = BytesMut::with_capacity(17 * 1024);
    link.listener.channel.open(&mut input, &mut plain).unwrap();
    assert_eq!((input.len(), plain.len()), (0, 16 * 1024));
}
