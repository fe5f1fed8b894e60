//! Peers that break the rules, or flood.

use super::*;

fn frame(kind: u8, flags: u16, stream: u32, length: u32) -> Vec<u8> {
    let mut bytes = header(Kind::Data, Flags(flags), stream, length).encode().to_vec();
    bytes[1] = kind;
    bytes
}

#[test]
fn other_versions_and_types_end_the_session() {
    let version = [1; HEADER_LEN];
    let error = offend_and_go_away(&mut server(), &version, 1);
    assert_eq!(error, SessionError::Version(1));
    for kind in 4..=u8::MAX {
        let error = offend_and_go_away(&mut server(), &frame(kind, 0, 0, 0), 1);
        assert_eq!(error, SessionError::Kind(kind));
    }
}

#[test]
fn a_syn_of_the_wrong_parity_ends_the_session() {
    for (role, id) in [(Role::Server, 2), (Role::Client, 1), (Role::Client, 0), (Role::Server, 0)] {
        for kind in [0, 1] {
            let mut session = quiet(role, SessionConfig::default());
            let error = offend_and_go_away(&mut session, &frame(kind, 1, id, 0), 1);
            assert_eq!(error, SessionError::Parity { stream: StreamId(id) });
            assert_eq!(session.remote_open(), 0);
        }
    }
}

#[test]
fn a_duplicate_syn_ends_the_session_in_every_state_of_the_stream() {
    let duplicate = SessionError::DuplicateSyn { stream: StreamId(1) };
    let syn = window(Flags::SYN, 1, 0);
    let mut unaccepted = server();
    feed(&mut unaccepted, &syn);
    let mut finished = accepted();
    finished.finish(StreamId(1));
    for mut session in [unaccepted, accepted(), finished] {
        assert_eq!(offend_and_go_away(&mut session, &syn, 1), duplicate);
    }
}

#[test]
fn a_window_update_that_overflows_the_credit_is_a_protocol_error() {
    let overflow = SessionError::CreditOverflow { stream: StreamId(1) };
    let delta = u32::MAX - INITIAL_WINDOW + 1;
    assert_eq!(offend_and_go_away(&mut accepted(), &window(Flags::NONE, 1, delta), 1), overflow);
    assert_eq!(
        offend_and_go_away(&mut opened(), &window(Flags::NONE, 1, 0xffff_0000), 1),
        overflow
    );
    let mut server = server();
    assert_eq!(offend_and_go_away(&mut server, &window(Flags::SYN, 1, u32::MAX), 1), overflow);
    assert_eq!(server.remote_open(), 0);
    let mut session = accepted();
    feed(&mut session, &window(Flags::NONE, 1, delta - 1));
    assert_eq!(session.credit(StreamId(1)), u32::MAX);
}

#[test]
fn data_beyond_the_credit_is_a_protocol_error() {
    let mut session = accepted();
    let full = payload(INITIAL_WINDOW as usize);
    feed(&mut session, &data(Flags::NONE, 1, &full));
    let error = offend_and_go_away(&mut session, &data(Flags::NONE, 1, b"x"), 1);
    assert_eq!(error, SessionError::Window { stream: StreamId(1), length: 1, credit: 0 });
    for length in [INITIAL_WINDOW + 1, u32::MAX] {
        let error = offend_and_go_away(&mut accepted(), &frame(0, 0, 1, length), 1);
        let credit = INITIAL_WINDOW;
        assert_eq!(error, SessionError::Window { stream: StreamId(1), length, credit });
    }
}

#[test]
fn a_first_data_frame_over_the_window_leaves_no_stream() {
    let mut session = server();
    let error = offend_and_go_away(&mut session, &frame(0, 1, 1, 262_145), 1);
    let credit = INITIAL_WINDOW;
    assert_eq!(error, SessionError::Window { stream: StreamId(1), length: 262_145, credit });
    assert_eq!((session.remote_open(), session.streams().len()), (0, 0));
    let mut session = server();
    assert_eq!(feed(&mut session, &frame(0, 1, 1, 262_144)).len(), 1);
    assert_eq!(session.receive_credit(StreamId(1)), 0);
}

#[test]
fn every_go_away_but_the_normal_one_ends_the_session_without_an_answer() {
    for code in [1, 2, 3, u32::MAX] {
        let mut session = opened();
        session.write(StreamId(1), payload(5)).unwrap();
        assert_eq!(offend(&mut session, &frame(3, 0, 0, code)), SessionError::GoAway(code));
        assert!(!session.wants_transmit());
        assert_eq!(flush(&mut session), []);
        assert_eq!(session.write(StreamId(1), payload(5)), Err(WriteError::Closed));
        assert_eq!(session.take_unsent(StreamId(1)), [payload(5)]);
    }
}

#[test]
fn frames_for_unknown_streams_are_drained_and_ignored() {
    let mut session = server();
    let mut input = Vec::new();
    for id in [0, 1, 2, u32::MAX] {
        input.extend(data(Flags::ACK, id, b"body that looks like a header"));
        input.extend(window(Flags::NONE, id, u32::MAX));
        input.extend(window(Flags::RST, id, 1));
    }
    assert_eq!(feed(&mut session, &input), []);
    assert!(!session.wants_transmit());
    assert_eq!(feed(&mut session, &window(Flags::SYN, 1, 0)).len(), 1);
}

#[test]
fn flags_that_mean_nothing_have_no_effect() {
    let mut session = server();
    let events = feed(&mut session, &frame(1, 0xfff1, 1, 0));
    assert_eq!(events, [Event::Opened { stream: StreamId(1) }]);
}

#[test]
fn a_stream_opened_and_reset_in_one_frame_leaves_nothing() {
    let mut session = server();
    assert_eq!(feed(&mut session, &data(Flags(9), 1, b"gone")), []);
    assert_eq!((session.remote_open(), session.wants_transmit()), (0, false));
}

/// Feeds `frames` made from a number, none of which may cost an honest peer anything, until the
/// session ends; gives how many it took.
fn flood(session: &mut Session, frames: impl Fn(u32) -> Vec<u8>) -> (u32, SessionError) {
    for count in 0..10_000_000 {
        let (events, error) = feed_at(session, NOW, &frames(count));
        for event in events {
            if let Event::Opened { stream } = event {
                // It may be gone again by now.
                let _ = session.accept(stream);
            }
        }
        if let Some(error) = error {
            return (count, error);
        }
    }
    panic!("no budget tripped");
}

#[test]
fn empty_data_frames_without_end_trip_a_budget() {
    let trip = SessionError::Abuse { what: Abuse::EmptyFrames };
    let on_open = flood(&mut accepted(), |_| data(Flags::NONE, 1, b""));
    let on_unknown = flood(&mut accepted(), |_| data(Flags::NONE, 9, b""));
    // A flag that brings no news does not help.
    let with_ack = flood(&mut accepted(), |_| data(Flags::ACK, 1, b""));
    assert_eq!([on_open, on_unknown, with_ack], [(1000, trip); 3]);
    let (count, error) = flood(&mut accepted(), |_| data(Flags::FIN, 1, b""));
    assert_eq!((count, error), (1001, trip));
}

#[test]
fn tiny_window_updates_without_end_trip_a_budget() {
    let trip = (1000, SessionError::Abuse { what: Abuse::WindowUpdates });
    for delta in [0, 1, 1023] {
        assert_eq!(flood(&mut accepted(), |_| window(Flags::NONE, 1, delta)), trip);
        assert_eq!(flood(&mut accepted(), |_| window(Flags::ACK, 1, delta)), trip);
    }
}

#[test]
fn streams_that_come_and_go_without_end_trip_a_budget() {
    let syn_rst = |count: u32| {
        let id = 2 * count + 3;
        [window(Flags::SYN, id, 0), window(Flags::RST, id, 0)].concat()
    };
    let trip = (1000, SessionError::Abuse { what: Abuse::Resets });
    assert_eq!(flood(&mut accepted(), syn_rst), trip);
    assert_eq!(flood(&mut accepted(), |count| window(Flags(9), 2 * count + 3, 0)), trip);
}

#[test]
fn data_the_wrong_way_without_end_trips_a_budget() {
    let mut session = server();
    for count in 0..2000 {
        let id = 2 * count + 1;
        feed_at(&mut session, NOW, &window(Flags::SYN, id, 0));
        if session.accept(StreamId(id)).is_err() {
            break;
        }
        session.close_read(StreamId(id));
        feed_at(&mut session, NOW, &data(Flags::NONE, id, b"x"));
        flush_bytes(&mut session, NOW, usize::MAX);
    }
    assert_eq!(session.error(), Some(SessionError::Abuse { what: Abuse::Resets }));
}

#[test]
fn refusals_without_end_trip_a_budget_whether_they_leave_or_not() {
    for drains in [false, true] {
        let mut session =
            quiet(Role::Server, SessionConfig { accept_backlog: 1, ..SessionConfig::default() });
        feed(&mut session, &window(Flags::SYN, 1, 0));
        let mut refused = 0;
        let error = loop {
            let (_, error) = feed_at(&mut session, NOW, &window(Flags::SYN, 2 * refused + 3, 0));
            if let Some(error) = error {
                break error;
            }
            refused += 1;
            if drains {
                flush(&mut session);
            }
        };
        assert_eq!((refused, error), (256, SessionError::Abuse { what: Abuse::Refusals }));
    }
}

#[test]
fn refusals_that_never_leave_end_in_a_flood() {
    let mut session =
        quiet(Role::Server, SessionConfig { accept_backlog: 1, ..SessionConfig::default() });
    feed(&mut session, &window(Flags::SYN, 1, 0));
    let mut refused: u32 = 0;
    let error = loop {
        let syn = window(Flags::SYN, 2 * refused + 3, 0);
        let (_, error) = feed_at(&mut session, at_millis(u64::from(refused) * 100), &syn);
        if let Some(error) = error {
            break error;
        }
        refused += 1;
    };
    assert_eq!((refused, error), (256, SessionError::Flood));
}

#[test]
fn streams_that_the_owner_refuses_cost_the_peer_too() {
    let mut session = server();
    let mut refused = 0;
    loop {
        let (_, error) = feed_at(&mut session, NOW, &window(Flags::SYN, 2 * refused + 1, 0));
        if let Some(error) = error {
            assert_eq!(error, SessionError::Abuse { what: Abuse::Refusals });
            break;
        }
        session.reset(StreamId(2 * refused + 1));
        refused += 1;
    }
    assert_eq!(refused, 257);
}

#[test]
fn resets_that_never_leave_end_in_a_flood() {
    let mut session = server();
    let mut made: u32 = 0;
    let error = loop {
        let id = 2 * made + 1;
        let (_, error) = feed_at(&mut session, NOW, &window(Flags::SYN, id, 0));
        if let Some(error) = error {
            break error;
        }
        session.accept(StreamId(id)).unwrap();
        session.reset(StreamId(id));
        made += 1;
    };
    assert_eq!((made as usize, error), (RESETS_MAX, SessionError::Flood));
}

#[test]
fn a_peer_that_pings_and_opens_streams_and_never_reads_costs_a_bounded_memory() {
    let mut session = server();
    let input = (0..200_u32)
        .flat_map(|count| [ping(Flags::SYN, count), window(Flags::SYN, 2 * count + 1, 0)].concat());
    let input: Vec<u8> = input.collect();
    assert_eq!(feed(&mut session, &input).len(), 200);
    let pongs = headers(&mut session);
    assert_eq!(pongs.len(), PONGS_MAX);
    assert_eq!(pongs[31], header(Kind::Ping, Flags::ACK, 0, 31));
    let trip = flood(&mut session, |count| ping(Flags::SYN, count));
    assert_eq!(trip, (800, SessionError::Abuse { what: Abuse::Pings }));
}

#[test]
fn budgets_refill_with_time() {
    let mut session = accepted();
    let mut error = None;
    for second in 0..100_u64 {
        for _ in 0..100 {
            let empty = data(Flags::NONE, 1, b"");
            error = error.or(feed_at(&mut session, at_millis(1000 * second), &empty).1);
        }
    }
    assert_eq!(error, None);
    assert_eq!(session.charge(NOW, Abuse::Resets), Ok(()));
}

#[test]
fn the_owner_can_charge_the_peer() {
    let mut session = accepted();
    let charged = (0..).find(|_| session.charge(NOW, Abuse::Resets).is_err());
    assert_eq!(charged, Some(1000));
    let trip = SessionError::Abuse { what: Abuse::Resets };
    assert_eq!(session.charge(NOW, Abuse::Pings), Err(trip));
    assert_eq!(headers(&mut session), [header(Kind::GoAway, Flags::NONE, 0, 1)]);
}

#[test]
fn ten_million_empty_frames_leave_memory_flat() {
    let mut session = accepted();
    let frames: Vec<u8> = (0..5000).flat_map(|_| data(Flags::NONE, 1, b"")).collect();
    for _ in 0..2000 {
        let _ = session.receive(NOW, &frames);
    }
    assert_eq!(session.error(), Some(SessionError::Abuse { what: Abuse::EmptyFrames }));
    session.assert_invariants();
}

#[test]
fn all_types_by_random_bodies_never_panic() {
    let mut rng = crate::seed::Seed::from_u64(1).rng("hostile", 0);
    for _ in 0..2000 {
        let mut session = accepted();
        for _ in 0..30 {
            let pick = |rng: &mut crate::seed::Rng, values: &[u32]| {
                values[usize::try_from(rng.below(values.len() as u64)).unwrap()]
            };
            let kind = u8::try_from(rng.below(5)).unwrap();
            let flags = u16::try_from(rng.below(16)).unwrap();
            let stream = pick(&mut rng, &[0, 1, 2, 3, 4, 5, u32::MAX - 1, u32::MAX]);
            let length = pick(&mut rng, &[0, 1, 20, 262_144, 262_145, u32::MAX]);
            let mut input = frame(kind, flags, stream, length);
            input.resize(input.len() + (length as usize).min(100), 0);
            let (events, _) = feed_at(&mut session, NOW, &input);
            for event in events {
                if let Event::Opened { stream } = event {
                    session.accept(stream).unwrap();
                }
            }
            flush_bytes(&mut session, NOW, usize::MAX);
        }
    }
}
