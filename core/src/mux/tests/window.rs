//! Credit.

use super::*;

const ONE: StreamId = StreamId(1);
const WINDOW: usize = INITIAL_WINDOW as usize;

fn receive(session: &mut Session, now: Instant, len: usize) {
    let (events, error) = feed_at(session, now, &data(Flags::NONE, 1, &payload(len)));
    assert_eq!((events, error), (vec![Event::Data { stream: ONE, len }], None));
}

#[test]
fn credit_returns_when_half_a_window_is_due() {
    let mut server = accepted();
    receive(&mut server, NOW, WINDOW);
    server.release(NOW, ONE, WINDOW / 2 - 1);
    assert!(!server.wants_transmit());
    server.release(NOW, ONE, 1);
    let update = header(Kind::WindowUpdate, Flags::NONE, 1, INITIAL_WINDOW / 2);
    assert_eq!(headers(&mut server), [update]);
    assert_eq!(server.unreleased(ONE), INITIAL_WINDOW / 2);
    assert_eq!(server.receive_credit(ONE), INITIAL_WINDOW / 2);
}

#[test]
fn more_than_was_received_is_not_released() {
    let mut server = accepted();
    receive(&mut server, NOW, 10);
    server.release(NOW, ONE, usize::MAX);
    server.release(NOW, ONE, usize::MAX);
    assert_eq!((server.unreleased(ONE), server.receive_credit(ONE)), (0, INITIAL_WINDOW - 10));
    assert!(!server.wants_transmit());
}

#[test]
fn d104_a_stream_that_is_not_accepted_gets_no_credit() {
    let mut server = server();
    feed(&mut server, &window(Flags::SYN, 1, 0));
    receive(&mut server, NOW, WINDOW);
    server.release(NOW, ONE, WINDOW);
    assert!(!server.wants_transmit());
    assert_eq!(server.receive_credit(ONE), 0);
    server.accept(ONE).unwrap();
    let update = header(Kind::WindowUpdate, Flags::ACK, 1, INITIAL_WINDOW);
    assert_eq!(headers(&mut server), [update]);
}

#[test]
fn no_credit_returns_after_the_peers_fin_or_our_close() {
    for closes in [false, true] {
        let mut server = accepted();
        receive(&mut server, NOW, WINDOW);
        if closes {
            server.close_read(ONE);
        } else {
            feed(&mut server, &window(Flags::FIN, 1, 0));
        }
        server.release(NOW, ONE, WINDOW);
        assert!(!server.wants_transmit());
        assert_eq!(server.unreleased(ONE), 0);
    }
}

/// A server that knows a round trip time of 100 ms, with stream 1 accepted.
fn with_rtt(config: SessionConfig) -> Session {
    let mut session = quiet(Role::Server, config);
    let pong = feed_at(&mut session, at_millis(100), &ping(Flags::ACK, 0)).0;
    assert_eq!(pong, [Event::Rtt(Duration::from_millis(100))]);
    assert_eq!(session.rtt(), Some(Duration::from_millis(100)));
    feed_at(&mut session, at_millis(100), &window(Flags::SYN, 1, 0));
    session.accept(ONE).unwrap();
    session
}

/// Receives and releases half a window at a time; gives the window after each.
fn grow(session: &mut Session, times: usize, every: u64) -> Vec<u32> {
    let start = session.clock.now().after(Duration::from_millis(100));
    let step = |turn: u64| {
        let now = start.after(Duration::from_millis(every * turn));
        let half = session.receive_window(ONE) as usize / 2;
        receive(session, now, half);
        session.release(now, ONE, half);
        session.receive_window(ONE)
    };
    (0..times as u64).map(step).collect()
}

#[test]
fn a_window_doubles_while_updates_are_less_than_four_round_trips_apart() {
    let config = SessionConfig { window_max: 5 * INITIAL_WINDOW, ..SessionConfig::default() };
    let mut session = with_rtt(config.clone());
    // Of a large one several are looked at together.
    let expected = [1, 2, 4, 4, 4, 4, 5, 5, 5].map(|times| times * INITIAL_WINDOW);
    assert_eq!(grow(&mut session, 9, 399), expected);
    assert_eq!(session.window_growth(), 4 * u64::from(INITIAL_WINDOW));
    assert_eq!(grow(&mut with_rtt(config), 5, 400), [INITIAL_WINDOW; 5]);
}

#[test]
fn the_peer_is_granted_what_a_window_has_grown() {
    let mut session = with_rtt(SessionConfig::default());
    grow(&mut session, 1, 1);
    let first = headers(&mut session);
    assert_eq!(first, [header(Kind::WindowUpdate, Flags::ACK, 1, INITIAL_WINDOW / 2)]);
    assert_eq!(session.receive_credit(ONE), INITIAL_WINDOW);
    let now = at_millis(300);
    receive(&mut session, now, WINDOW / 2);
    session.release(now, ONE, WINDOW / 2);
    let second = header(Kind::WindowUpdate, Flags::NONE, 1, INITIAL_WINDOW * 3 / 2);
    assert_eq!(headers(&mut session), [second]);
    assert_eq!(session.receive_credit(ONE), 2 * INITIAL_WINDOW);
}

#[test]
fn windows_of_a_session_grow_no_further_than_its_bound() {
    let config = SessionConfig { window_growth_max: 1000, ..SessionConfig::default() };
    let mut session = with_rtt(config);
    grow(&mut session, 4, 1);
    assert_eq!(session.receive_window(ONE), INITIAL_WINDOW + 1000);
    // What one stream gives up, another may have.
    session.reset(ONE);
    assert_eq!(session.window_growth(), 0);
}

#[test]
fn growth_stops_when_memory_is_short() {
    let mut session = with_rtt(SessionConfig::default());
    session.set_growth_max(0);
    assert_eq!(grow(&mut session, 4, 1), [INITIAL_WINDOW; 4]);
    assert_eq!(session.growth_lack(), u64::from(INITIAL_WINDOW));
    session.set_growth_max(0);
    assert_eq!(session.growth_lack(), u64::from(INITIAL_WINDOW));
    session.set_growth_max(u64::MAX);
    assert_eq!(session.growth_lack(), 0, "there is room now");
    assert_eq!(grow(&mut session, 2, 1), [2, 4].map(|times| times * INITIAL_WINDOW));
    assert_eq!(session.growth_lack(), 0);
}

#[test]
fn a_sender_stops_at_its_credit_and_goes_on_with_more() {
    let mut client = opened();
    client.write(ONE, payload(WINDOW + 100)).unwrap();
    let sent: u32 = headers(&mut client).iter().map(|header| header.length).sum();
    assert_eq!((sent, client.credit(ONE)), (INITIAL_WINDOW, 0));
    assert!(!client.wants_transmit());
    feed(&mut client, &window(Flags::NONE, 1, 30));
    assert_eq!(headers(&mut client), [header(Kind::Data, Flags::NONE, 1, 30)]);
    assert_eq!((client.sent(ONE), client.queued(ONE)), (WINDOW as u64 + 30, 70));
}

#[test]
fn the_whole_credit_of_a_frame_is_spent_with_its_header() {
    let mut server = accepted();
    let frame = data(Flags::NONE, 1, &payload(100));
    feed(&mut server, &frame[..13]);
    assert_eq!((server.receive_credit(ONE), server.unreleased(ONE)), (INITIAL_WINDOW - 100, 100));
}
