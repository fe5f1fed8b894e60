use super::*;

fn at(millis: u64) -> Instant {
    Instant::ZERO.after(Duration::from_millis(millis))
}

fn push() -> Push {
    Push::new(PushConfig::default(), 5)
}

#[test]
fn a_peer_that_has_the_latest_version_is_left_alone() {
    let mut push = push();
    assert_eq!(push.poll_send(at(0)), None);
    push.changed(at(0), 5);
    push.changed(at(0), 4);
    assert_eq!((push.poll_send(at(0)), push.next_timeout()), (None, None));
    assert!(push.is_settled());
}

#[test]
fn changes_while_one_is_in_flight_become_one_more_push() {
    let mut push = push();
    push.changed(at(0), 6);
    assert_eq!(push.poll_send(at(0)), Some(6));
    push.changed(at(1), 7);
    push.changed(at(2), 8);
    assert_eq!(push.poll_send(at(2)), None);
    push.answered(at(3));
    assert!(!push.is_settled());
    assert_eq!(push.poll_send(at(3)), Some(8));
    push.answered(at(4));
    assert_eq!(push.poll_send(at(4)), None);
    assert!(push.is_settled());
}

#[test]
fn d47_a_lost_push_is_sent_again_with_growing_waits_until_it_is_answered() {
    let mut push = push();
    let mut now = at(0);
    push.changed(now, 6);
    for wait in [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
        assert_eq!(push.poll_send(now), Some(6));
        let deadline = now.after(Duration::from_secs(10));
        assert_eq!(push.next_timeout(), Some(deadline));
        push.handle_timeout(deadline);
        assert_eq!(push.poll_send(deadline), None);
        now = deadline.after(Duration::from_millis(wait));
        assert_eq!(push.next_timeout(), Some(now));
        push.handle_timeout(now);
    }
    assert_eq!(push.poll_send(now), Some(6));
    push.answered(now);
    assert!(push.is_settled());
    push.changed(now, 7);
    push.poll_send(now);
    push.failed(now);
    assert_eq!(push.next_timeout(), Some(now.after(Duration::from_millis(500))));
}

#[test]
fn d47_further_answers_change_nothing() {
    let mut push = push();
    push.answered(at(0));
    assert!(push.is_settled());
    push.changed(at(0), 6);
    assert_eq!(push.poll_send(at(0)), Some(6));
    for _ in 0..3 {
        push.answered(at(1));
        assert!(push.is_settled() && push.poll_send(at(1)).is_none());
    }
}

#[test]
fn a_late_answer_ends_the_wait() {
    let mut push = push();
    push.changed(at(0), 6);
    push.poll_send(at(0));
    push.handle_timeout(at(10_000));
    push.answered(at(10_100));
    assert!(push.is_settled());
    assert_eq!((push.poll_send(at(10_100)), push.next_timeout()), (None, None));
}

#[test]
fn an_answer_of_a_lost_connection_does_not_count() {
    let mut push = push();
    push.changed(at(0), 6);
    push.poll_send(at(0));
    push.failed(at(1));
    push.answered(at(2));
    assert!(!push.is_settled());
    push.handle_timeout(at(501));
    assert_eq!(push.poll_send(at(501)), Some(6));
}

#[test]
fn what_a_lost_connection_carried_is_sent_again_even_if_it_seemed_answered() {
    let mut push = push();
    push.changed(at(0), 6);
    push.poll_send(at(0));
    push.answered(at(1));
    push.failed(at(2));
    assert_eq!(push.next_timeout(), Some(at(502)));
    push.failed(at(3));
    assert_eq!(push.next_timeout(), Some(at(502)), "a second loss does not prolong the wait");
    push.handle_timeout(at(502));
    assert_eq!(push.poll_send(at(502)), Some(6));
}

#[test]
fn a_connection_that_carried_no_push_may_go() {
    let mut push = push();
    push.failed(at(0));
    assert!(push.is_settled() && push.next_timeout().is_none());
}

#[test]
fn the_time_for_the_answer_starts_when_the_push_leaves() {
    let mut push = push();
    push.changed(at(0), 6);
    push.poll_send(at(0));
    push.sent(at(3000));
    assert_eq!(push.next_timeout(), Some(at(13_000)));
    push.handle_timeout(at(12_999));
    assert_eq!(push.next_timeout(), Some(at(13_000)));
    push.handle_timeout(at(13_000));
    push.sent(at(13_001));
    assert_eq!(push.next_timeout(), Some(at(13_500)), "it is not in flight any more");
}

#[test]
fn waits_of_zero_and_clocks_that_jump_make_no_busy_loop() {
    let zero = Duration::ZERO;
    let config = PushConfig { answer_timeout: zero, retry_first: zero, retry_max: zero };
    let mut push = Push::new(config, 0);
    push.changed(at(5), 1);
    for now in [at(5), at(0), at(7), Instant::MAX, at(3)] {
        push.handle_timeout(now);
        push.poll_send(now);
        let next = push.next_timeout().unwrap();
        assert!(next > now || next == Instant::MAX, "{next:?} after {now:?}");
    }
}
