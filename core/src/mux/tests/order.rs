//! Which frames leave first, and how payload is cut.

use super::*;

fn streams(priorities: &[Priority]) -> Session {
    let mut session = client();
    for priority in priorities {
        session.open(NOW, *priority).unwrap();
    }
    headers(&mut session);
    session
}

fn write(session: &mut Session, stream: u32, len: usize) {
    session.write(StreamId(stream), payload(len)).unwrap();
}

fn sizes(frames: &[Header]) -> Vec<(u32, u32)> {
    frames.iter().map(|header| (header.stream, header.length)).collect()
}

#[test]
fn a_stream_alone_fills_frames_and_several_take_turns() {
    let mut session = streams(&[Priority::Normal; 2]);
    write(&mut session, 1, 100_000);
    assert_eq!(sizes(&headers(&mut session)), [(1, 65_524), (1, 34_476)]);
    write(&mut session, 1, 40_000);
    write(&mut session, 3, 20_000);
    let expected = [(1, 16_384), (3, 16_384), (1, 16_384), (3, 3616), (1, 7232)];
    assert_eq!(sizes(&headers(&mut session)), expected);
}

#[test]
fn large_transfers_fill_frames_unless_something_else_waits() {
    let mut session = streams(&[Priority::Bulk, Priority::Bulk, Priority::Normal]);
    write(&mut session, 1, 100_000);
    write(&mut session, 3, 100_000);
    let frames = sizes(&headers(&mut session));
    assert_eq!(frames, [(1, 65_524), (1, 34_476), (3, 65_524), (3, 34_476)]);
    write(&mut session, 1, 20_000);
    // What goes before it is cut, because it waits.
    write(&mut session, 5, 40_000);
    let expected = [(5, 16_384), (5, 16_384), (5, 7232), (1, 20_000)];
    assert_eq!(sizes(&headers(&mut session)), expected);
}

#[test]
fn small_writes_share_a_frame() {
    let mut session = streams(&[Priority::Normal]);
    for _ in 0..100 {
        write(&mut session, 1, 7);
    }
    assert_eq!(sizes(&headers(&mut session)), [(1, 700)]);
}

#[test]
fn an_empty_write_frames_nothing() {
    let mut session = streams(&[Priority::Normal]);
    session.write(StreamId(1), Bytes::new()).unwrap();
    assert!(!session.wants_transmit());
}

#[test]
fn control_goes_before_payload_and_pongs_before_all() {
    let mut session = streams(&[Priority::Normal; 3]);
    write(&mut session, 1, 10);
    session.finish(StreamId(3));
    session.reset(StreamId(5));
    session.open(NOW, Priority::Normal).unwrap();
    feed(&mut session, &ping(Flags::ACK, 0));
    session.ping(NOW);
    feed(&mut session, &ping(Flags::SYN, 77));
    session.go_away(GoAwayCode::Normal);
    let expected = [
        header(Kind::GoAway, Flags::NONE, 0, 0),
        header(Kind::Ping, Flags::ACK, 0, 77),
        header(Kind::Ping, Flags::SYN, 0, 1),
        header(Kind::WindowUpdate, Flags::FIN, 3, 0),
        header(Kind::WindowUpdate, Flags::RST, 5, 0),
        header(Kind::WindowUpdate, Flags::SYN, 7, 0),
        header(Kind::Data, Flags::NONE, 1, 10),
    ];
    assert_eq!(headers(&mut session), expected);
}

#[test]
fn a_heartbeat_overtakes_a_bulk_transfer() {
    let mut session = streams(&[Priority::Bulk, Priority::High]);
    write(&mut session, 1, 200_000);
    flush_bytes(&mut session, NOW, 70_000);
    write(&mut session, 3, 50);
    let frames = headers(&mut session);
    assert_eq!(sizes(&frames)[0], (3, 50));
}

/// What is framed with a share of so many bytes for bulk, and what is left of that.
fn within(session: &mut Session, mut bulk: usize) -> (Vec<(u32, u32)>, usize) {
    let mut out = OutBuf::new();
    session.transmit_within(NOW, &mut out, usize::MAX, &mut bulk);
    let bytes: Vec<u8> = out.last(out.len()).flatten().copied().collect();
    let frames: Vec<Header> = parse(&bytes).into_iter().map(|(header, _)| header).collect();
    (sizes(&frames), bulk)
}

#[test]
fn bulk_keeps_to_its_share_and_follows_nothing_else() {
    let mut session = streams(&[Priority::Bulk, Priority::Normal]);
    write(&mut session, 1, 100_000);
    assert_eq!(within(&mut session, 70_000), (vec![(1, 65_524), (1, 4476)], 0));
    write(&mut session, 3, 50);
    assert_eq!(within(&mut session, 70_000), (vec![(3, 50)], 0));
    assert!(session.wants_transmit_within(1024) && !session.wants_transmit_within(1023));
    assert_eq!(within(&mut session, 1023), (vec![], 1023));
    assert_eq!(within(&mut session, 70_000), (vec![(1, 30_000)], 40_000));
    assert!(!session.wants_transmit());
}

#[test]
fn a_share_does_not_starve_bulk() {
    let config = SessionConfig { starvation_max: 60_000, ..SessionConfig::default() };
    let mut session = quiet(Role::Client, config);
    for priority in [Priority::Normal, Priority::Bulk] {
        session.open(NOW, priority).unwrap();
    }
    headers(&mut session);
    feed(&mut session, &window(Flags::ACK, 1, 1_000_000));
    write(&mut session, 3, 100_000);
    write(&mut session, 1, 60_000);
    assert!(within(&mut session, 20_000).0.iter().all(|(stream, _)| *stream == 1));
    for _ in 0..3 {
        write(&mut session, 1, 60_000);
        let (frames, _) = within(&mut session, 20_000);
        let of_bulk: Vec<bool> = frames.iter().map(|(stream, _)| *stream == 3).collect();
        assert_eq!(of_bulk, [true, false, false, false, false]);
    }
}

#[test]
fn a_lower_class_is_not_starved() {
    let config = SessionConfig { starvation_max: 60_000, ..SessionConfig::default() };
    let mut session = quiet(Role::Client, config);
    session.open(NOW, Priority::High).unwrap();
    session.open(NOW, Priority::Bulk).unwrap();
    feed(&mut session, &[]);
    headers(&mut session);
    feed(&mut session, &window(Flags::ACK, 1, 1_000_000));
    write(&mut session, 1, 1_000_000);
    write(&mut session, 3, 100_000);
    let frames = sizes(&headers(&mut session));
    let mut waited = 0;
    for (stream, length) in frames.iter().take_while(|(_, length)| *length <= 16_384) {
        if *stream == 3 {
            waited = 0;
        } else {
            waited += length;
            assert!(waited < 60_000 + 16_384, "{frames:?}");
        }
    }
    let bulk = frames.iter().position(|(stream, _)| *stream == 3);
    assert!(bulk.is_some_and(|at| at < 6), "{frames:?}");
}

#[test]
fn a_stream_can_change_its_class() {
    let mut session = streams(&[Priority::Normal; 2]);
    write(&mut session, 1, 10);
    write(&mut session, 3, 10);
    session.set_priority(StreamId(3), Priority::High);
    session.assert_invariants();
    assert_eq!(sizes(&headers(&mut session)), [(3, 10), (1, 10)]);
}

#[test]
fn a_budget_is_kept_and_nothing_is_lost_by_it() {
    for budget in [12, 13, 20, 100, 1500, 70_000] {
        let mut session = client();
        for id in [1, 3] {
            session.open(NOW, Priority::Normal).unwrap();
            write(&mut session, id, 3000);
            session.finish(StreamId(id));
        }
        let mut bytes = Vec::new();
        while session.wants_transmit() {
            let more = flush_bytes(&mut session, NOW, budget);
            if more.is_empty() {
                assert_eq!(budget, 12);
                bytes.extend(flush_bytes(&mut session, NOW, usize::MAX));
            }
            bytes.extend(more);
        }
        let frames = parse(&bytes);
        for id in [1, 3] {
            let mut of = frames.iter().filter(|(header, _)| header.stream == id);
            let got: Vec<u8> = of.clone().flat_map(|(_, body)| body.clone()).collect();
            assert_eq!(got, payload(3000));
            assert_eq!(of.next_back().unwrap().0.flags, Flags::FIN);
        }
        assert_eq!(bytes[..12], window(Flags::SYN, 1, 0));
    }
}

#[test]
fn a_frame_is_not_cut_small_at_the_end_of_a_budget() {
    let mut session = streams(&[Priority::Normal; 2]);
    write(&mut session, 1, 5000);
    write(&mut session, 3, 5000);
    assert_eq!(flush_bytes(&mut session, NOW, 5012 + 12 + 1023).len(), 5012);
    assert_eq!(flush_bytes(&mut session, NOW, 12 + 1023).len(), 12 + 1023);
}

#[test]
fn large_payload_leaves_by_reference() {
    let mut session = streams(&[Priority::Normal]);
    let bytes = payload(50_000);
    session.write(StreamId(1), bytes.clone()).unwrap();
    let mut out = OutBuf::new();
    session.transmit(NOW, &mut out, usize::MAX);
    let mut chunks: [&[u8]; 4] = [&[]; 4];
    assert_eq!(out.chunks(&mut chunks), 2);
    assert_eq!(chunks[1].as_ptr(), bytes.as_ptr());
}

#[test]
fn without_news_nothing_is_framed() {
    let mut session = streams(&[Priority::Normal]);
    assert!(!session.wants_transmit());
    assert_eq!(flush_bytes(&mut session, NOW, usize::MAX), []);
}
