//! A session in a session: frames whose bodies are made on demand.

use super::*;

fn nested() -> (Session, Session, StreamId) {
    let mut outer = opened();
    outer.close_read(StreamId(99));
    (outer, client(), StreamId(1))
}

#[test]
fn a_frame_is_made_around_what_an_inner_session_says() {
    let (mut outer, mut inner, stream) = nested();
    let message = inner.open(NOW, Priority::Normal).unwrap();
    inner.write(message, payload(5000)).unwrap();
    let mut out = OutBuf::new();
    let frame = outer.frame_start(stream, &mut out).unwrap();
    assert_eq!((frame.stream, frame.max), (stream, FRAME_MAX));
    let body = inner.transmit(NOW, &mut out, frame.max);
    assert!(outer.frame_end(frame, body, &mut out));
    assert_eq!(body, 12 + 12 + 5000);
    assert_eq!(outer.credit(stream), INITIAL_WINDOW - 5024);
    assert_eq!(outer.sent(stream), 5024);

    let mut bytes = bytes::BytesMut::new();
    out.drain_into(&mut bytes, usize::MAX);
    let frames = parse(&bytes);
    assert_eq!(frames[0].0, header(Kind::Data, Flags::NONE, 1, 5024));
    assert_eq!(parse(&frames[0].1)[1].1, payload(5000));
}

#[test]
fn an_unused_frame_is_taken_back() {
    let (mut outer, mut inner, stream) = nested();
    let mut out = OutBuf::new();
    out.put(b"before");
    let frame = outer.frame_start(stream, &mut out).unwrap();
    let body = inner.transmit(NOW, &mut out, frame.max);
    assert_eq!(body, 0);
    assert!(outer.frame_end(frame, body, &mut out));
    assert_eq!((out.len(), outer.credit(stream)), (6, INITIAL_WINDOW));
}

#[test]
fn a_frame_needs_credit_and_a_stream_that_may_send() {
    let (mut outer, _, stream) = nested();
    let mut out = OutBuf::new();
    let opening = outer.open(NOW, Priority::Normal).unwrap();
    assert!(outer.frame_start(opening, &mut out).is_none());
    assert!(outer.frame_start(StreamId(77), &mut out).is_none());
    outer.write(stream, payload(INITIAL_WINDOW as usize - 13)).unwrap();
    assert!(outer.frame_start(stream, &mut out).is_none());
    headers(&mut outer);
    let frame = outer.frame_start(stream, &mut out).unwrap();
    assert_eq!(frame.max, 13);
    out.put(b"x");
    assert!(outer.frame_end(frame, 1, &mut out));
    assert_eq!(out.len(), 13);
    assert!(outer.frame_start(stream, &mut out).is_none());
    feed(&mut outer, &window(Flags::NONE, 1, 5000));
    outer.finish(stream);
    assert!(outer.frame_start(stream, &mut out).is_none());
    assert_eq!(out.len(), 13);
}

#[test]
fn the_owners_mistakes_are_told() {
    let (mut outer, _, stream) = nested();
    let mut out = OutBuf::new();
    let frame = outer.frame_start(stream, &mut out).unwrap();
    let too_much = frame.max + 1;
    assert!(!outer.frame_end(frame, too_much, &mut out));
    let frame = outer.frame_start(stream, &mut out).unwrap();
    out.put(b"x");
    out.advance(14);
    assert!(!outer.frame_end(frame, 1, &mut out));
    assert_eq!(outer.credit(stream), INITIAL_WINDOW);
}
