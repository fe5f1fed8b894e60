//! Half-closing, closing and resetting.

use super::*;

const ONE: StreamId = StreamId(1);

#[test]
fn a_fin_follows_the_queue_in_a_frame_of_its_own() {
    let mut client = opened();
    client.write(ONE, payload(3)).unwrap();
    client.finish(ONE);
    client.finish(ONE);
    assert_eq!(client.write(ONE, payload(1)), Err(WriteError::Finished));
    let expected =
        [header(Kind::Data, Flags::NONE, 1, 3), header(Kind::WindowUpdate, Flags::FIN, 1, 0)];
    assert_eq!(headers(&mut client), expected);
    assert!(client.contains(ONE));
}

#[test]
fn a_fin_waits_for_credit_with_the_queue() {
    let mut client = opened();
    client.write(ONE, payload(INITIAL_WINDOW as usize + 1)).unwrap();
    client.finish(ONE);
    assert!(headers(&mut client).iter().all(|header| header.flags == Flags::NONE));
    assert_eq!((client.queued(ONE), client.credit(ONE)), (1, 0));
    feed(&mut client, &window(Flags::NONE, 1, 2000));
    let expected =
        [header(Kind::Data, Flags::NONE, 1, 1), header(Kind::WindowUpdate, Flags::FIN, 1, 0)];
    assert_eq!(headers(&mut client), expected);
}

#[test]
fn a_fin_on_our_send_stream_is_normal_and_we_keep_writing() {
    let mut client = opened();
    assert_eq!(feed(&mut client, &window(Flags::FIN, 1, 0)), [Event::Finished { stream: ONE }]);
    assert!(client.is_remote_finished(ONE));
    client.write(ONE, payload(2)).unwrap();
    assert_eq!(headers(&mut client), [header(Kind::Data, Flags::NONE, 1, 2)]);
    feed(&mut client, &window(Flags::NONE, 1, 100_000));
    assert_eq!(client.credit(ONE), INITIAL_WINDOW - 2 + 100_000);
}

#[test]
fn the_acceptor_of_a_send_stream_acknowledges_and_half_closes_in_two_frames() {
    let mut server = server();
    feed(&mut server, &window(Flags::SYN, 1, 0));
    server.accept(ONE).unwrap();
    server.finish(ONE);
    let flags = [Flags::ACK, Flags::FIN];
    let expected = flags.map(|flags| header(Kind::WindowUpdate, flags, 1, 0));
    assert_eq!(headers(&mut server), expected);
    let events = feed(&mut server, &data(Flags::NONE, 1, b"still read"));
    assert_eq!(events, [Event::Data { stream: ONE, len: 10 }]);
}

#[test]
fn a_stream_is_forgotten_when_both_directions_are_closed() {
    let fin = window(Flags::FIN, 1, 0);
    let mut first = opened();
    feed(&mut first, &fin);
    first.finish(ONE);
    assert!(first.contains(ONE));
    headers(&mut first);
    assert!(!first.contains(ONE));
    let mut second = opened();
    second.finish(ONE);
    headers(&mut second);
    assert!(second.contains(ONE));
    assert_eq!(feed(&mut second, &fin), [Event::Finished { stream: ONE }]);
    assert!(!second.contains(ONE));
    for session in [&mut first, &mut second] {
        assert_eq!(session.local_open(), 0);
        assert_eq!(session.write(ONE, payload(1)), Err(WriteError::UnknownStream));
    }
}

#[test]
fn our_fin_on_a_send_stream_forgets_it_and_late_frames_are_ignored() {
    let mut client = opened();
    client.close_read(ONE);
    client.finish(ONE);
    headers(&mut client);
    assert_eq!(client.local_open(), 0);
    let late = [
        window(Flags::FIN, 1, 0),
        window(Flags::NONE, 1, 200_000),
        data(Flags::NONE, 1, b"drained"),
        window(Flags::RST, 1, 0),
    ];
    assert_eq!(feed(&mut client, &late.concat()), []);
    assert!(!client.wants_transmit());
}

#[test]
fn a_reset_drops_the_queue_and_both_directions() {
    let mut client = opened();
    client.write(ONE, payload(1000)).unwrap();
    client.reset(ONE);
    assert_eq!((client.queued_total(), client.local_open()), (0, 0));
    assert_eq!(feed(&mut client, &data(Flags::NONE, 1, b"late")), []);
    assert_eq!(headers(&mut client), [header(Kind::WindowUpdate, Flags::RST, 1, 0)]);
    assert_eq!(feed(&mut client, &data(Flags::FIN, 1, b"late")), []);
}

#[test]
fn an_id_may_come_again_whether_or_not_its_reset_has_left() {
    for leaves in [false, true] {
        let mut server = accepted();
        server.reset(ONE);
        let mut frames = if leaves { headers(&mut server) } else { vec![] };
        assert_eq!(feed(&mut server, &window(Flags::SYN, 1, 0)), [Event::Opened { stream: ONE }]);
        server.accept(ONE).unwrap();
        frames.extend(headers(&mut server));
        let flags: Vec<_> = frames.iter().map(|header| header.flags).collect();
        assert_eq!(flags, [Flags::RST, Flags::ACK]);
    }
}

#[test]
fn crossing_resets_cancel_out() {
    let mut client = opened();
    client.reset(ONE);
    assert_eq!(feed(&mut client, &window(Flags::RST, 1, 0)), []);
    assert_eq!(headers(&mut client), []);
}

#[test]
fn d108_data_on_a_stream_closed_for_reading_resets_it() {
    let mut client = opened();
    client.close_read(ONE);
    client.write(ONE, payload(5)).unwrap();
    assert_eq!(
        feed(&mut client, &data(Flags::NONE, 1, b"wrong way")),
        [Event::Reset { stream: ONE }]
    );
    assert_eq!((client.local_open(), client.queued_total()), (0, 0));
    assert_eq!(headers(&mut client), [header(Kind::WindowUpdate, Flags::RST, 1, 0)]);
    assert_eq!(feed(&mut client, &data(Flags::NONE, 1, b"wrong way")), []);
}

#[test]
fn d108_the_rest_of_a_frame_after_close_read_resets_the_stream() {
    let mut client = opened();
    let frame = data(Flags::FIN, 1, b"0123456789");
    assert_eq!(feed(&mut client, &frame[..15]), [Event::Data { stream: ONE, len: 3 }]);
    client.close_read(ONE);
    assert_eq!(feed(&mut client, &frame[15..20]), [Event::Reset { stream: ONE }]);
    assert_eq!(feed(&mut client, &frame[20..]), []);
    let next = feed(&mut client, &ping(Flags::ACK, 0));
    assert_eq!(next, [Event::Rtt(Duration::ZERO)]);
}

#[test]
fn an_empty_frame_on_a_stream_closed_for_reading_is_no_fault() {
    let mut client = opened();
    client.close_read(ONE);
    assert_eq!(feed(&mut client, &data(Flags::FIN, 1, b"")), [Event::Finished { stream: ONE }]);
    assert!(client.contains(ONE));
}

#[test]
fn data_after_the_peers_own_fin_resets_the_stream() {
    let mut server = accepted();
    feed(&mut server, &window(Flags::FIN, 1, 0));
    assert_eq!(feed(&mut server, &data(Flags::NONE, 1, b"x")), [Event::Reset { stream: ONE }]);
    assert_eq!(headers(&mut server), [header(Kind::WindowUpdate, Flags::RST, 1, 0)]);
}

#[test]
fn a_stream_reset_in_mid_frame_hides_the_rest_of_it() {
    let mut server = accepted();
    let frame = data(Flags::FIN, 1, b"0123456789");
    feed(&mut server, &frame[..14]);
    server.reset(ONE);
    assert_eq!(feed(&mut server, &frame[14..]), []);
    // The same when the whole payload was told, and only the half-close is left to tell.
    let mut server = accepted();
    let received = server.receive(NOW, &frame).unwrap();
    assert_eq!(received.event, Some(Event::Data { stream: ONE, len: 10 }));
    server.reset(ONE);
    assert_eq!(feed(&mut server, &[]), []);
}

#[test]
fn what_was_not_framed_can_be_taken_back() {
    let mut client = opened();
    for piece in [&b"one"[..], b"two", b"three"] {
        client.write(ONE, Bytes::from_static(piece)).unwrap();
    }
    let framed = flush_bytes(&mut client, NOW, HEADER_LEN + 4);
    assert_eq!(framed, data(Flags::NONE, 1, b"onet"));
    assert_eq!((client.sent(ONE), client.queued(ONE)), (4, 7));
    assert_eq!(client.take_unsent(ONE), [&b"wo"[..], b"three"]);
    assert_eq!((client.sent(ONE), client.queued(ONE), client.queued_total()), (4, 0, 0));
    assert!(!client.wants_transmit());
    client.finish(ONE);
    assert_eq!(headers(&mut client), [header(Kind::WindowUpdate, Flags::FIN, 1, 0)]);
}

#[test]
fn a_drained_stream_is_told_once_and_only_while_it_is_drained() {
    let mut client = opened();
    client.write(ONE, payload(10)).unwrap();
    assert_eq!(client.poll_drained(), None);
    flush_bytes(&mut client, NOW, HEADER_LEN + 9);
    assert_eq!(client.poll_drained(), None);
    flush(&mut client);
    client.write(ONE, payload(10)).unwrap();
    assert_eq!(client.poll_drained(), None);
    flush(&mut client);
    assert_eq!((client.poll_drained(), client.poll_drained()), (Some(ONE), None));
    client.write(ONE, payload(10)).unwrap();
    flush(&mut client);
    client.reset(ONE);
    assert_eq!(client.poll_drained(), None);
}

#[test]
fn operations_on_streams_that_do_not_exist_do_nothing() {
    let mut client = opened();
    for stream in [StreamId(0), StreamId(3), StreamId(u32::MAX)] {
        client.finish(stream);
        client.close_read(stream);
        client.reset(stream);
        client.release(NOW, stream, 5);
        client.set_priority(stream, Priority::High);
        assert_eq!(client.accept(stream), Err(AcceptError));
        assert_eq!(client.write(stream, payload(1)), Err(WriteError::UnknownStream));
        assert!(client.take_unsent(stream).is_empty());
        assert!(!client.contains(stream) && !client.is_opening(stream));
        assert_eq!((client.queued(stream), client.credit(stream), client.sent(stream)), (0, 0, 0));
    }
    assert_eq!(client.accept(ONE), Err(AcceptError));
    client.assert_invariants();
    assert!(!client.wants_transmit());
}
