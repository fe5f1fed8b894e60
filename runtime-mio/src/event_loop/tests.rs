//! Clocks that do what the system's never does: it is monotonic, and no one sets it.

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::contract::Notification;
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::secure::Insecure;

use super::*;
use crate::Builder;

const HOUR: Duration = Duration::from_secs(3600);

fn node(digit: u8) -> EventLoop<Insecure> {
    let mut text = *b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";
    text[2] = digit;
    let mut node = Builder::insecure(PeerId::from_bytes(&text).unwrap()).unwrap().build().unwrap();
    node.register(ProtocolId::new("/echo").unwrap()).unwrap();
    node
}

/// Both take their turns until something has happened.
fn until(
    nodes: &mut [EventLoop<Insecure>; 2],
    what: &str,
    mut happened: impl FnMut(&mut [EventLoop<Insecure>; 2]) -> bool,
) {
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while !happened(nodes) {
        assert!(std::time::Instant::now() < end, "not in time: {what}");
        for node in &mut *nodes {
            assert!(node.turn(Some(Duration::from_millis(1))).unwrap());
        }
    }
}

fn connected(node: &mut EventLoop<Insecure>) -> bool {
    std::iter::from_fn(|| node.poll_notification())
        .any(|told| matches!(told, Notification::Supported { .. }))
}

#[test]
fn a_clock_that_jumps_costs_no_connection() {
    let mut nodes = [node(b'1'), node(b'2')];
    nodes[0].listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut local = None;
    until(&mut nodes, "listening", |nodes| {
        if let Some(Notification::Listening { local: at, .. }) = nodes[0].poll_notification() {
            local = Some(at);
        }
        local.is_some()
    });
    nodes[1].dial(Address::from(local.unwrap())).unwrap();
    let mut both = [false; 2];
    until(&mut nodes, "connected", |nodes| {
        for (node, done) in nodes.iter_mut().zip(&mut both) {
            *done |= connected(node);
        }
        both == [true; 2]
    });
    let echo = ProtocolId::new("/echo").unwrap();
    for round in 0..8_u8 {
        let jumping = usize::from(round % 2);
        if round < 4 {
            nodes[jumping].clock.jump_ahead(24 * HOUR);
        } else {
            nodes[jumping].clock.jump_back(HOUR);
        }
        // Whatever is due is done.
        for _ in 0..20 {
            for node in &mut nodes {
                node.turn(Some(Duration::ZERO)).unwrap();
            }
        }
        for from in 0..2 {
            let to = nodes[1 - from].endpoint.local();
            nodes[from].send(&to, &echo, Bytes::from(vec![round; 100])).unwrap();
            until(&mut nodes, "a message", |nodes| {
                let message = nodes[1 - from].poll_message();
                message.inspect(|message| assert_eq!(message.payload[..], [round; 100])).is_some()
            });
        }
    }
    for node in &mut nodes {
        let told: Vec<_> = std::iter::from_fn(|| node.poll_notification()).collect();
        let lost = told.iter().any(|told| matches!(told, Notification::Disconnected { .. }));
        assert!(!lost, "{told:?}");
    }
}
