//! Opening and accepting.

use super::*;

fn open(session: &mut Session) -> StreamId {
    session.open(NOW, Priority::Normal).unwrap()
}

#[test]
fn ids_start_at_one_and_two_and_step_by_two() {
    let (mut client, mut server) = (client(), server());
    let ids = |session: &mut Session| [open(session).0, open(session).0, open(session).0];
    assert_eq!(ids(&mut client), [1, 3, 5]);
    assert_eq!(ids(&mut server), [2, 4, 6]);
}

#[test]
fn a_stream_opens_with_an_empty_window_update_and_is_acknowledged_when_accepted() {
    let (mut client, mut server) = (client(), server());
    let stream = open(&mut client);
    assert!(client.is_opening(stream));
    assert_eq!(client.opening(), 1);
    let syn = flush_bytes(&mut client, NOW, usize::MAX);
    assert_eq!(syn, window(Flags::SYN, 1, 0));
    assert_eq!(
        (client.is_opening(stream), client.opening(), client.unacknowledged()),
        (false, 0, 1)
    );

    assert_eq!(feed(&mut server, &syn), [Event::Opened { stream }]);
    assert_eq!((server.remote_open(), server.unaccepted()), (1, 1));
    assert!(!server.wants_transmit());
    server.accept(stream).unwrap();
    assert_eq!(server.accept(stream), Err(AcceptError));
    assert_eq!((server.remote_open(), server.unaccepted()), (1, 0));
    let ack = flush_bytes(&mut server, NOW, usize::MAX);
    assert_eq!(ack, window(Flags::ACK, 1, 0));
    assert_eq!(feed(&mut client, &ack), [Event::Acknowledged { stream }]);
    assert_eq!(client.unacknowledged(), 0);
    assert_eq!(feed(&mut client, &ack), []);
}

#[test]
fn data_follows_the_syn_before_the_acknowledgement() {
    let mut client = client();
    let stream = open(&mut client);
    client.write(stream, Bytes::from_static(b"at once")).unwrap();
    let bytes = flush_bytes(&mut client, NOW, usize::MAX);
    assert_eq!(bytes, [window(Flags::SYN, 1, 0), data(Flags::NONE, 1, b"at once")].concat());
}

#[test]
fn a_data_frame_opens_a_stream_too_with_all_that_it_can_carry() {
    let mut server = server();
    let stream = StreamId(1);
    let events = feed(&mut server, &data(Flags::SYN.with(Flags::FIN), 1, b"all"));
    let expected =
        [Event::Opened { stream }, Event::Data { stream, len: 3 }, Event::Finished { stream }];
    assert_eq!(events, expected);
    let events = feed(&mut server, &window(Flags::SYN.with(Flags::FIN), 3, 9));
    let stream = StreamId(3);
    assert_eq!(events, [Event::Opened { stream }, Event::Finished { stream }]);
    assert_eq!(server.credit(stream), INITIAL_WINDOW + 9);
}

#[test]
fn the_first_frame_of_any_kind_acknowledges() {
    for frame in
        [data(Flags::NONE, 1, b"x"), window(Flags::NONE, 1, 5000), window(Flags::FIN, 1, 0)]
    {
        let mut client = client();
        let stream = open(&mut client);
        headers(&mut client);
        assert_eq!(feed(&mut client, &frame)[0], Event::Acknowledged { stream });
        assert_eq!(client.unacknowledged(), 0);
    }
}

#[test]
fn d38_three_hundred_streams_open_as_acknowledgements_come() {
    let (mut client, mut server) = (client(), server());
    let streams: Vec<_> = (0..300).map(|_| open(&mut client)).collect();
    let syns = headers(&mut client);
    assert_eq!(syns.len(), 256);
    assert_eq!((client.opening(), client.unacknowledged(), client.local_open()), (44, 256, 300));
    assert!(!client.wants_transmit());
    // The peer opens as many at the same time: neither waits for the other.
    for _ in 0..300 {
        open(&mut server);
    }
    let syns: Vec<u8> = syns.iter().flat_map(|syn| syn.encode()).collect();
    let events = feed(&mut server, &syns);
    assert_eq!(events.len(), 256);
    streams[..256].iter().for_each(|stream| server.accept(*stream).unwrap());
    settle(&mut client, &mut server, true);
    assert_eq!((client.opening(), client.unacknowledged()), (0, 0));
    assert_eq!((server.opening(), server.unacknowledged()), (0, 0));
    assert_eq!((client.remote_open(), server.remote_open()), (300, 300));
}

#[test]
fn an_opening_stream_that_is_reset_leaves_nothing_on_the_wire() {
    let mut client = client();
    let (one, two) = (open(&mut client), open(&mut client));
    client.write(one, Bytes::from_static(b"never")).unwrap();
    client.reset(one);
    assert_eq!(client.queued_total(), 0);
    assert_eq!(headers(&mut client), [header(Kind::WindowUpdate, Flags::SYN, two.0, 0)]);
}

#[test]
fn frames_for_a_stream_that_is_still_opening_are_ignored() {
    let mut client = client();
    let stream = open(&mut client);
    assert_eq!(feed(&mut client, &window(Flags::ACK, 1, 77)), []);
    assert_eq!(feed(&mut client, &window(Flags::RST, 1, 0)), []);
    assert_eq!(feed(&mut client, &data(Flags::NONE, 1, b"early")), []);
    assert!(client.is_opening(stream));
    assert_eq!(client.credit(stream), INITIAL_WINDOW);
}

#[test]
fn the_number_of_open_streams_has_a_bound_on_both_sides() {
    let config = SessionConfig { streams_max: 2, ..SessionConfig::default() };
    let mut session = quiet(Role::Server, config);
    open(&mut session);
    open(&mut session);
    let limit = Err(OpenError::Limit { streams_max: 2 });
    assert_eq!(session.open(NOW, Priority::High), limit);
    session.reset(StreamId(2));
    assert_eq!(open(&mut session), StreamId(6));
    headers(&mut session);

    let syns = [1, 3, 5].map(|id| window(Flags::SYN, id, 0)).concat();
    assert_eq!(feed(&mut session, &syns).len(), 2);
    assert_eq!(headers(&mut session), [header(Kind::WindowUpdate, Flags::RST, 5, 0)]);
    assert_eq!(session.streams(), [1, 3, 4, 6].map(StreamId));
}

#[test]
fn a_full_backlog_refuses_without_making_a_stream() {
    let config = SessionConfig { accept_backlog: 1, ..SessionConfig::default() };
    let mut session = quiet(Role::Server, config);
    let refused = data(Flags::SYN, 3, b"for nobody");
    let input = [window(Flags::SYN, 1, 0), refused, data(Flags::NONE, 3, b"nor this")].concat();
    assert_eq!(feed(&mut session, &input), [Event::Opened { stream: StreamId(1) }]);
    assert_eq!(headers(&mut session), [header(Kind::WindowUpdate, Flags::RST, 3, 0)]);
    session.accept(StreamId(1)).unwrap();
    assert_eq!(feed(&mut session, &window(Flags::SYN, 5, 0)).len(), 1);
}

#[test]
fn d31_refused_stream_is_reset() {
    let (mut client, mut server) = (client(), server());
    let stream = open(&mut client);
    client.write(stream, payload(300_000)).unwrap();
    let bytes = flush_bytes(&mut client, NOW, usize::MAX);
    let rest = client.queued(stream);
    assert_eq!(rest, 300_000 - INITIAL_WINDOW as usize);
    assert_eq!(feed(&mut server, &bytes)[0], Event::Opened { stream });
    server.reset(stream);
    let rst = flush_bytes(&mut server, NOW, usize::MAX);
    assert_eq!(rst, window(Flags::RST, 1, 0));
    assert_eq!(server.remote_open(), 0);

    assert_eq!(feed_one(&mut client, &rst), Some(Event::Reset { stream }));
    assert_eq!(client.write(stream, payload(1)), Err(WriteError::UnknownStream));
    let unsent = client.take_unsent(stream);
    assert_eq!(unsent.iter().map(Bytes::len).sum::<usize>(), rest);
    assert_eq!(unsent[0], payload(300_000)[INITIAL_WINDOW as usize..]);
    assert_eq!((client.queued_total(), client.local_open(), client.unacknowledged()), (0, 0, 0));
}

/// One event, so that the next call of `receive` is still to come.
fn feed_one(session: &mut Session, input: &[u8]) -> Option<Event> {
    let received = session.receive(NOW, input).unwrap();
    assert_eq!(received.consumed, input.len());
    received.event
}

#[test]
fn the_unsent_of_a_reset_stream_is_kept_until_the_next_receive() {
    let mut client = opened();
    let stream = StreamId(1);
    let bytes = payload(10);
    client.write(stream, bytes.clone()).unwrap();
    let reset = window(Flags::RST, 1, 0);
    assert_eq!(feed_one(&mut client, &reset), Some(Event::Reset { stream }));
    assert!(!bytes.is_unique());
    assert_eq!(client.receive(NOW, &[]).unwrap().event, None);
    assert!(bytes.is_unique());
    assert!(client.take_unsent(stream).is_empty());
}

#[test]
fn a_remote_go_away_stops_opening_and_nothing_else() {
    let mut client = opened();
    let away = header(Kind::GoAway, Flags::NONE, 0, 0).encode();
    assert_eq!(feed(&mut client, &away), [Event::GoAway]);
    assert_eq!(feed(&mut client, &away), []);
    assert!(client.is_remote_gone() && !client.is_closed());
    assert_eq!(client.open(NOW, Priority::Normal), Err(OpenError::RemoteGoAway));
    client.write(StreamId(1), payload(5)).unwrap();
    assert_eq!(flush(&mut client), [(header(Kind::Data, Flags::NONE, 1, 5), payload(5).to_vec())]);
}

#[test]
fn after_our_go_away_streams_of_the_peer_are_refused() {
    let mut session = accepted();
    session.go_away(GoAwayCode::Normal);
    session.go_away(GoAwayCode::Internal);
    assert_eq!(headers(&mut session), [header(Kind::GoAway, Flags::NONE, 0, 0)]);
    assert_eq!(feed(&mut session, &window(Flags::SYN, 3, 0)), []);
    assert_eq!(headers(&mut session), [header(Kind::WindowUpdate, Flags::RST, 3, 0)]);
    assert_eq!(session.open(NOW, Priority::Normal), Err(OpenError::Closed));
    assert_eq!(feed(&mut session, &data(Flags::NONE, 1, b"on")).len(), 1);
}

#[test]
fn ids_end_below_two_to_the_thirty_second() {
    for (role, last) in [(Role::Client, u32::MAX - 2), (Role::Server, u32::MAX - 1)] {
        let mut session = quiet(role, SessionConfig::default());
        session.skip_ids_to(last - 2);
        assert_eq!(open(&mut session).0, last - 2);
        assert_eq!(open(&mut session).0, last);
        assert_eq!(session.open(NOW, Priority::Normal), Err(OpenError::IdsExhausted));
        assert_eq!(session.local_open(), 2);
    }
}

#[test]
fn streams_that_were_closed_unacknowledged_still_count_against_the_backlog() {
    let mut client = client();
    for _ in 0..300 {
        let stream = open(&mut client);
        client.close_read(stream);
        client.finish(stream);
    }
    let frames = headers(&mut client);
    assert_eq!(frames.iter().filter(|header| header.flags == Flags::SYN).count(), 256);
    assert_eq!((client.local_open(), client.unacknowledged(), client.opening()), (44, 256, 44));
    assert_eq!(feed(&mut client, &window(Flags::ACK, 1, 0)), []);
    assert_eq!(client.unacknowledged(), 255);
    assert_eq!(headers(&mut client)[0], header(Kind::WindowUpdate, Flags::SYN, 513, 0));
}
