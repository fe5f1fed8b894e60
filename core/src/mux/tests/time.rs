//! Pings, the keep-alive and time that goes wrong.

use super::*;

fn keep_alive() -> SessionConfig {
    SessionConfig { keep_alive: Some(Duration::from_secs(10)), ..SessionConfig::default() }
}

#[test]
fn one_ping_measures_at_the_start_and_pings_are_answered() {
    let mut session = Session::new(Role::Client, SessionConfig::default(), 0, NOW);
    assert_eq!(headers(&mut session), [header(Kind::Ping, Flags::SYN, 0, 0)]);
    assert_eq!(feed(&mut session, &ping(Flags::SYN, 0xdead_beef)), []);
    assert_eq!(headers(&mut session), [header(Kind::Ping, Flags::ACK, 0, 0xdead_beef)]);
    let (events, _) = feed_at(&mut session, at_millis(30), &ping(Flags::ACK, 0));
    assert_eq!(events, [Event::Rtt(Duration::from_millis(30))]);
    session.ping(at_millis(40));
    let asked = parse(&flush_bytes(&mut session, at_millis(40), usize::MAX));
    assert_eq!(asked[0].0, header(Kind::Ping, Flags::SYN, 0, 1));
    assert_eq!(feed_at(&mut session, at_millis(50), &ping(Flags::ACK, 7)).0, []);
    feed_at(&mut session, at_millis(60), &ping(Flags::ACK, 1));
    assert_eq!(session.rtt(), Some(Duration::from_millis(25)));
}

#[test]
fn an_inner_session_has_no_timer() {
    let mut session = client();
    assert_eq!(session.next_timeout(), None);
    assert_eq!(session.handle_timeout(Instant::MAX), Ok(()));
    assert!(!session.wants_transmit());
}

#[test]
fn a_silent_peer_is_pinged_and_then_cut_off() {
    let mut session = quiet(Role::Client, keep_alive());
    assert_eq!(session.next_timeout(), Some((at_millis(10_000), TimerKind::KeepAlive)));
    feed_at(&mut session, at_millis(5000), &window(Flags::NONE, 9, 0));
    assert_eq!(session.next_timeout(), Some((at_millis(15_000), TimerKind::KeepAlive)));
    assert_eq!(session.handle_timeout(at_millis(14_999)), Ok(()));
    assert!(!session.wants_transmit());
    assert_eq!(session.handle_timeout(at_millis(15_000)), Ok(()));
    assert_eq!(headers(&mut session), [header(Kind::Ping, Flags::SYN, 0, 1)]);
    assert_eq!(session.next_timeout(), Some((at_millis(25_000), TimerKind::Pong)));
    assert_eq!(session.handle_timeout(at_millis(25_000)), Err(SessionError::KeepAlive));
    assert_eq!(headers(&mut session), [header(Kind::GoAway, Flags::NONE, 0, 2)]);
    assert_eq!(session.next_timeout(), None);
}

#[test]
fn d24_a_slow_link_that_still_carries_bytes_is_kept() {
    let mut session = quiet(Role::Client, keep_alive());
    let mut now = 0;
    for byte in data(Flags::NONE, 9, b"one byte in nine seconds") {
        now += 9000;
        feed_at(&mut session, at_millis(now), &[byte]);
        assert_eq!(session.handle_timeout(at_millis(now)), Ok(()));
        assert_eq!(session.handle_timeout(at_millis(now + 8999)), Ok(()));
    }
    assert!(!session.is_closed());
}

#[test]
fn time_that_goes_backwards_is_clamped() {
    let mut session = quiet(Role::Client, keep_alive());
    session.handle_timeout(at_millis(9000)).unwrap();
    feed_at(&mut session, at_millis(1), &window(Flags::NONE, 9, 5000));
    assert_eq!(session.next_timeout(), Some((at_millis(19_000), TimerKind::KeepAlive)));
}

#[test]
fn after_a_timeout_the_next_one_lies_ahead() {
    let mut rng = crate::seed::Seed::from_u64(2).rng("time", 0);
    for _ in 0..200 {
        let mut session = Session::new(Role::Client, keep_alive(), 0, NOW);
        let mut now = 0_u64;
        for _ in 0..50 {
            now = now.saturating_add(rng.below(12_000_000_000));
            let time = Instant::from_nanos(now);
            match rng.below(4) {
                0 => drop(feed_at(&mut session, time, &ping(Flags::ACK, 0))),
                1 => drop(flush_bytes(&mut session, time, usize::MAX)),
                2 => session.ping(time),
                _ => {}
            }
            if session.handle_timeout(time).is_err() {
                break;
            }
            assert!(session.next_timeout().is_none_or(|(at, _)| at > time));
        }
    }
}
