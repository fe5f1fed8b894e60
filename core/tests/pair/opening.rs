//! The opening, the half-closing and the end of a plain link, frame by frame (spec 1.6, 1.7).

use headwater_core::contract::LinkCommand;
use headwater_core::secure::Insecure;

use crate::frames::{DATA, Frame, Layer, WINDOW, frames};
use crate::harness::{World, pair, peer_id, protocol};

fn written(world: &World<Insecure>, end: usize) -> Vec<Frame> {
    let (id, rest) = world.ends[end].written.split_at(46);
    assert_eq!(id, peer_id(end).as_bytes());
    frames(rest)
}

fn texts<'a>(frames: impl IntoIterator<Item = &'a Frame>) -> Vec<String> {
    frames.into_iter().map(Frame::text).collect()
}

/// Frames of one layer, without those that serve its whole session.
fn of_layer(frames: &[Frame], layer: Layer) -> Vec<String> {
    let on_streams = |frame: &&Frame| frame.layer == layer && frame.stream != 0;
    texts(frames.iter().filter(on_streams))
}

fn connected() -> World<Insecure> {
    let mut world = pair(1);
    world.connect(0, 1);
    world
}

#[test]
fn the_dialer_speaks_first_and_the_listener_answers_what_it_heard() {
    let mut world = pair::<Insecure>(1);
    world.listen(1);
    let address = world.address(1);
    world.ends[0].endpoint.dial(world.now, address).unwrap();
    world.commands(0);
    world.write_all(1);
    assert!(world.ends[1].written.is_empty());
    world.write_all(0);
    assert_eq!(world.ends[0].written, peer_id(0).as_bytes());
    world.run();
    assert_eq!(world.ends[1].written[..46], *peer_id(1).as_bytes());
}

#[test]
fn the_dialer_opens_uni_and_then_bi_and_nobody_opens_another() {
    let world = connected();
    let (dialer, listener) = (written(&world, 0), written(&world, 1));
    let syns = ["Outer WindowUpdate/SYN/1/0", "Outer WindowUpdate/SYN/3/0"];
    assert_eq!(of_layer(&dialer, Layer::Outer), syns);
    // The two leave together, before anything else that the dialer sends on streams.
    let first = dialer.iter().position(|frame| frame.stream != 0).unwrap();
    assert_eq!(texts(&dialer[first..first + 2]), syns);
    let acks = ["Outer WindowUpdate/ACK/1/0", "Outer WindowUpdate/ACK/3/0"];
    assert_eq!(of_layer(&listener, Layer::Outer), acks);
}

#[test]
fn each_session_measures_its_round_trip_once_and_is_answered_once() {
    let world = connected();
    for end in 0..2 {
        let frames = written(&world, end);
        for layer in [Layer::Outer, Layer::Uni, Layer::Bi] {
            let of_session = frames.iter().filter(|f| f.layer == layer && f.stream == 0);
            let mut pings = texts(of_session);
            pings.sort();
            let ping = |flags| format!("{layer:?} Ping/{flags}/0/0");
            assert_eq!(pings, [ping("ACK"), ping("SYN")], "end {end}");
        }
    }
}

#[test]
fn the_listener_asks_for_protocols_and_the_dialer_answers() {
    let world = connected();
    let (dialer, listener) = (written(&world, 0), written(&world, 1));
    let of_bi = |frames: &[Frame]| -> (Vec<String>, Vec<u8>) {
        let mut shape = of_layer(frames, Layer::Bi);
        shape.retain(|text| !text.contains("Data"));
        let data = frames.iter().filter(|f| f.layer == Layer::Bi && f.kind == DATA);
        (shape, data.flat_map(|f| f.body.clone()).collect())
    };
    // Nobody needs the stream after that: both close their half (D-59).
    let (shape, request) = of_bi(&listener);
    assert_eq!(shape, ["Bi WindowUpdate/SYN/2/0", "Bi WindowUpdate/FIN/2/0"]);
    assert_eq!(request, exchange(1, 2));
    let (shape, response) = of_bi(&dialer);
    assert_eq!(shape, ["Bi WindowUpdate/ACK/2/0", "Bi WindowUpdate/FIN/2/0"]);
    assert_eq!(response, exchange(0, 3));
}

/// A REQUEST (2) or RESPONSE (3) of one end with `/echo` and the exchanger: spec 3 and 4.1.
fn exchange(end: usize, kind: u8) -> Vec<u8> {
    let mut message = vec![0x0a, 46];
    message.extend(peer_id(end).as_bytes());
    for name in ["/echo", "/protocol-exchanger/v0.0.1"] {
        message.extend([0x12, name.len() as u8]);
        message.extend(name.as_bytes());
    }
    message.extend([0x18, kind]);
    let mut package = vec![26];
    package.extend(b"/protocol-exchanger/v0.0.1");
    package.push(message.len() as u8);
    package.extend(&message);
    package.push(0);
    let mut bytes = (package.len() as u64).to_be_bytes().to_vec();
    bytes.extend(package);
    bytes
}

#[test]
fn each_side_opens_its_send_streams_and_half_closes_those_of_the_other() {
    let world = connected();
    for end in 0..2 {
        let uni = of_layer(&written(&world, end), Layer::Uni);
        let (first_own, first_theirs) = if end == 0 { (1, 2) } else { (2, 1) };
        let ids = |first| (0..10).map(move |n| first + 2 * n);
        let syns: Vec<String> =
            ids(first_own).map(|id| format!("Uni WindowUpdate/SYN/{id}/0")).collect();
        let own: Vec<&String> = uni.iter().filter(|text| text.contains("SYN")).collect();
        assert_eq!(own, syns.iter().collect::<Vec<_>>());
        // Acknowledged when accepted, and a FIN of its own at once: it will never write.
        let answers: Vec<String> = ids(first_theirs)
            .flat_map(|id| ["ACK", "FIN"].map(|flag| format!("Uni WindowUpdate/{flag}/{id}/0")))
            .collect();
        for id in ids(first_theirs) {
            let of_stream: Vec<&String> =
                uni.iter().filter(|text| text.contains(&format!("/{id}/"))).collect();
            let expected: Vec<&String> =
                answers.iter().filter(|text| text.contains(&format!("/{id}/"))).collect();
            assert_eq!(of_stream, expected, "end {end}");
        }
        assert_eq!(uni.len(), 30);
    }
}

#[test]
fn messages_leave_as_length_and_package_on_a_send_stream() {
    let mut world = connected();
    let before = world.ends[0].written.len();
    world.send(0, 1, "/echo", &b"Hello world!"[..]);
    world.run();
    let sent = frames(&world.ends[0].written[before..]);
    let mut package = vec![0, 0, 0, 0, 0, 0, 0, 20, 5];
    package.extend(b"/echo\x0cHello world!\x00");
    assert_eq!(texts(&sent), [format!("Uni Data/0/1/{}", package.len())]);
    assert_eq!(sent[0].body, package);
}

#[test]
fn the_end_is_bi_then_uni_then_the_link_after_what_was_accepted() {
    for by in 0..2 {
        let mut world = connected();
        let before = [0, 1].map(|end| world.ends[end].written.len());
        world.send(by, 1 - by, "/echo", vec![1; 100]);
        let peer = world.ends[1 - by].endpoint.local();
        world.ends[by].endpoint.disconnect(world.now, peer).unwrap();
        world.run();
        let ends = ["Outer WindowUpdate/FIN/3/0", "Outer WindowUpdate/FIN/1/0"];
        let said = texts(&frames(&world.ends[by].written[before[by]..]));
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].starts_with("Uni Data/0/"));
        assert_eq!(said[1..], ends);
        let answered = texts(&frames(&world.ends[1 - by].written[before[1 - by]..]));
        assert_eq!(answered, ends);
        assert_eq!(world.ends[1 - by].messages.len(), 1);
        for end in &world.ends {
            assert_eq!(end.link_commands, [LinkCommand::Finish, LinkCommand::Close]);
        }
    }
}

#[test]
fn a_late_list_is_pushed_on_a_stream_of_its_own_and_answered_on_one() {
    let mut world = connected();
    let before = [0, 1].map(|end| world.ends[end].written.len());
    world.ends[0].endpoint.register(world.now, protocol("/late")).unwrap();
    world.run();
    let of = |end: usize| frames(&world.ends[end].written[before[end]..]);
    let data = |frames: &[Frame]| -> Vec<u8> {
        frames.iter().filter(|f| f.kind == DATA).flat_map(|f| f.body.clone()).collect()
    };
    // The kind is the last field; PUSH is 0, which proto3 leaves out.
    let (push, ok) = (of(0), of(1));
    assert!(push.iter().any(|f| f.text() == "Uni WindowUpdate/SYN/21/0"), "{push:?}");
    assert!(data(&push).ends_with(b"/protocol-exchanger/v0.0.1\x00"), "{push:?}");
    assert!(ok.iter().any(|f| f.text() == "Uni WindowUpdate/SYN/22/0"), "{ok:?}");
    assert!(data(&ok).ends_with(b"\x18\x01\x00"), "{ok:?}");
    assert!(push.iter().chain(&ok).all(|f| f.kind == DATA || f.kind == WINDOW));
}
