//! Misbehaviour before a connection is live: ids, silence, half-closes.

use std::time::Duration;

use headwater_core::config::Config;
use headwater_core::contract::{Command, DialId, IoCause, Notification, TimerKind};
use headwater_core::error::{
    ApplicationError, BorrowError, CloseReason, DialError, Refusal, SendError,
};
use headwater_core::secure::{ChannelError, Insecure};

use crate::frames::{Frame, SYN};
use crate::raw::{Arena, NONE, arena, peer_id};

fn dial_error(arena: &Arena, wanted: DialId) -> DialError {
    let mut found = arena.notifications.iter().filter_map(|notification| match notification {
        Notification::DialFailed { dial, error, .. } if *dial == wanted => Some(error.clone()),
        _ => None,
    });
    let error = found.next().unwrap();
    assert_eq!(found.next(), None);
    error
}

fn closed(reason: CloseReason) -> DialError {
    DialError::Refused(Refusal::Closed(Box::new(reason)))
}

#[test]
fn an_honest_opening_works_on_either_side() {
    let mut arena = arena();
    let dialer = arena.opened();
    let (listener, dial) = arena.dial();
    arena.open(listener);
    let peer = arena.peers[listener].id;
    assert!(arena.notifications.contains(&Notification::Dialed { dial, peer }));
    for p in [dialer, listener] {
        assert!(arena.is_connected(p));
        assert_eq!(arena.peers[p].node_id.as_deref(), Some(peer_id(0).as_bytes()));
        assert_eq!(arena.peers[p].opened().len(), 10);
        arena.eof(p);
        assert_eq!(arena.reason(p), Some(CloseReason::RemoteClosed));
    }
    arena.assert_nothing_left();
}

#[test]
fn d09_a_remote_that_closes_right_after_accept_is_a_dial_error() {
    let mut arena = arena();
    let (p, dial) = arena.dial();
    arena.eof(p);
    let silent = CloseReason::Channel(ChannelError::Silent);
    assert_eq!(dial_error(&arena, dial), closed(silent));
    let (p, dial) = arena.dial();
    arena.peers[p].reads = 0;
    arena.cut(p);
    assert_eq!(dial_error(&arena, dial), closed(CloseReason::Io(IoCause::Reset)));
    arena.assert_nothing_left();
}

#[test]
fn d14_stop_in_any_phase_and_again_says_so_once() {
    for phase in 0..5 {
        let mut arena = arena();
        let (p, _) = arena.dial();
        let inbound = arena.accept();
        for p in [p, inbound] {
            match phase {
                0 => {}
                1 => arena.say_id(p),
                2 => arena.open_outer(p),
                _ => arena.open(p),
            }
        }
        for _ in 0..3 {
            arena.node.stop(arena.now);
            if phase == 4 {
                arena.peers[p].reads = 0;
            }
            arena.run();
        }
        arena.assert_nothing_left();
        let stopped = |n: &&Notification| **n == Notification::Stopped;
        assert_eq!(arena.notifications.iter().filter(stopped).count(), 1);
        assert_eq!(arena.notifications.last(), Some(&Notification::Stopped));
        assert!(arena.node.is_stopped());
        arena.node.stop(arena.now);
        arena.run();
        assert_eq!(arena.notifications.iter().filter(stopped).count(), 1);
        assert_eq!(arena.accept_as(peer_id(99)), Err(Refusal::Stopping));
    }
}

#[test]
fn d17_an_id_in_pieces_and_with_what_follows_it() {
    let mut arena = arena();
    let p = arena.accept();
    let id = arena.peers[p].id;
    let mut all = id.as_bytes().to_vec();
    all.extend(Frame::syn(1).encode());
    all.extend(Frame::syn(3).encode());
    for byte in &all {
        assert_eq!(arena.reason(p), None);
        arena.bytes(p, &[*byte]);
    }
    arena.exchange(p, &[]);
    assert!(arena.is_connected(p));
    let p = arena.accept();
    let id = arena.peers[p].id;
    arena.bytes(p, &[id.as_bytes(), &all[46..]].concat());
    arena.exchange(p, &[]);
    assert!(arena.is_connected(p));
}

#[test]
fn d17_what_is_not_an_id_is_refused() {
    let texts: [&[u8; 46]; 4] = [
        &[0; 46],
        &[0xff; 46],
        b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC0",
        b"GET / HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n",
    ];
    let mut arena = arena();
    for text in texts {
        let p = arena.accept();
        arena.bytes(p, text);
        let reason = arena.reason(p);
        let refused = matches!(reason, Some(CloseReason::Channel(ChannelError::BadPeerId(_))));
        assert!(refused, "{reason:?}");
        // Whoever has not said who it is learns nothing.
        assert_eq!(arena.peers[p].bytes_read, 0);
        arena.notifications.clear();
    }
    let ours = arena.accept_as(peer_id(0)).unwrap();
    arena.say_id(ours);
    assert_eq!(arena.reason(ours), Some(CloseReason::Refused(Refusal::OwnId)));
    let long = "16Uiu2HAmSsxXvfqpY4BX7kvdYMC4wqRHkmjY3f3wVBvUAczwEbzr";
    assert_eq!(Insecure::new(long.parse().unwrap()).unwrap_err(), 53);
    arena.assert_nothing_left();
}

#[test]
fn d20_failed_handshakes_leave_nothing() {
    let mut arena = arena();
    for round in 0..1000 {
        let (dialled, _) = arena.dial();
        let accepted = arena.accept();
        for p in [dialled, accepted] {
            arena.peers[p].manners = NONE;
            match round % 6 {
                0 => {}
                1 => arena.bytes(p, &[0; 46]),
                2 => arena.say_id(p),
                3 => arena.open_outer(p),
                4 => {
                    arena.say_id(p);
                    arena.bytes(p, &[9; 12]);
                }
                _ => arena.bytes(p, b"Qm"),
            }
            if round % 2 == 0 { arena.eof(p) } else { arena.cut(p) }
        }
        if round % 50 == 49 {
            arena.assert_nothing_left();
            arena.notifications.clear();
            arena.commands.clear();
            arena.peers.clear();
        }
    }
}

#[test]
fn d21_silent_peers_end_at_the_deadline_and_keep_no_good_one_out() {
    let mut arena = arena();
    let silent: Vec<usize> = (0..200).map(|_| arena.accept()).collect();
    let good = arena.opened();
    arena.seconds(9);
    assert!(silent.iter().all(|p| arena.peers[*p].ended.is_none()));
    arena.seconds(1);
    for p in &silent {
        assert!(arena.peers[*p].ended.is_some());
    }
    let late = CloseReason::Deadline(TimerKind::Handshake);
    assert_eq!(arena.reason(silent[99]), Some(late));
    assert!(arena.is_connected(good));
    assert_eq!(arena.node.connection_count(), 1);
    arena.eof(good);
    arena.assert_nothing_left();
}

#[test]
fn d21_beyond_pending_max_links_are_refused_until_one_goes() {
    let mut config = Config::default();
    config.pending_max = 64;
    let mut arena = Arena::new(config);
    let first = arena.accept();
    arena.accept();
    arena.run();
    arena.commands.clear();
    for _ in 2..64 {
        arena.accept();
    }
    arena.run();
    assert_eq!(arena.commands, [Command::PauseAccept]);
    assert_eq!(arena.accept_as(peer_id(500)), Err(Refusal::TooManyPending));
    arena.open(first);
    assert_eq!(arena.commands, [Command::PauseAccept, Command::ResumeAccept]);
    let good = arena.opened();
    assert!(arena.is_connected(good));
    arena.seconds(10);
    assert_eq!(arena.node.connection_count(), 2);
}

#[test]
fn d22_a_dial_to_a_silent_listener_ends_and_does_not_hold_up_a_stop() {
    let mut arena = arena();
    let (p, dial) = arena.dial();
    arena.seconds(10);
    let late = CloseReason::Deadline(TimerKind::Handshake);
    assert_eq!(dial_error(&arena, dial), closed(late.clone()));
    assert_eq!(arena.reason(p), Some(late));
    let (_, dial) = arena.dial();
    arena.node.stop(arena.now);
    arena.run();
    assert_eq!(dial_error(&arena, dial), DialError::Refused(Refusal::Stopping));
    assert!(arena.node.is_stopped());
    arena.assert_nothing_left();
}

#[test]
fn a_byte_a_second_does_not_stretch_the_handshake_nor_the_exchange() {
    let mut arena = arena();
    let p = arena.accept();
    let id = arena.peers[p].id;
    for byte in id.as_bytes().iter().take(20) {
        if arena.peers[p].ended.is_none() {
            arena.bytes(p, &[*byte]);
            arena.seconds(1);
        }
    }
    assert_eq!(arena.reason(p), Some(CloseReason::Deadline(TimerKind::Handshake)));
    let p = arena.accept();
    arena.open_outer(p);
    let bytes = Frame::data(2, vec![0; 100]).encode();
    for byte in bytes.iter().take(20) {
        if arena.peers[p].ended.is_none() {
            arena.inner_bytes(p, 1, &[*byte]);
            arena.seconds(1);
        }
    }
    assert_eq!(arena.reason(p), Some(CloseReason::Deadline(TimerKind::Exchange)));
    arena.assert_nothing_left();
}

#[test]
fn a_peer_that_claims_an_id_again_and_again_is_turned_away() {
    let mut arena = arena();
    let first = arena.opened();
    let id = arena.peers[first].id;
    for _ in 0..100 {
        let p = arena.accept_as(id).unwrap();
        arena.notifications.clear();
        arena.open_outer(p);
        let refusal = CloseReason::Refused(Refusal::TooManyConnections);
        assert_eq!(arena.reason(p), Some(refusal));
    }
    assert!(arena.is_connected(first));
    let half = arena.accept();
    arena.open_outer(half);
    let second = arena.accept_as(arena.peers[half].id).unwrap();
    arena.open_outer(second);
    // One waits for what becomes of the first; no more do.
    for _ in 0..100 {
        let further = arena.accept_as(arena.peers[half].id).unwrap();
        arena.notifications.clear();
        arena.open_outer(further);
        assert_eq!(arena.reason(further), Some(CloseReason::Refused(Refusal::Duplicate)));
    }
    arena.notifications.clear();
    assert_eq!(arena.reason(second), None);
    arena.exchange(half, &[]);
    assert!(arena.is_connected(half));
}

/// A peer that nobody knows, or that has just gone, is one that is not there.
#[test]
fn d10_a_peer_that_is_not_there_is_answered_by_type() {
    let mut arena = arena();
    let p = arena.opened();
    let (here, nobody) = (arena.peers[p].id, peer_id(900));
    let echo = crate::raw::protocol(crate::raw::ECHO);
    arena.cut(p);
    for peer in [here, nobody] {
        assert!(arena.node.route(&peer).is_none());
        let sent = arena.node.send(arena.now, &peer, &echo, "x".into());
        assert_eq!(sent, Err(SendError::NotConnected { payload: "x".into() }));
        let lent = arena.node.borrow(arena.now, &peer, &echo);
        assert_eq!(lent, Err(BorrowError::NotConnected));
        let gone = arena.node.disconnect(arena.now, peer);
        assert_eq!(gone, Err(ApplicationError::NotConnected));
    }
    arena.assert_nothing_left();
}

/// A refused link is heard out for a moment, but such links are bounded too (P4).
#[test]
fn refused_links_that_stay_open_are_bounded() {
    let mut arena = arena();
    let first = arena.opened();
    let id = arena.peers[first].id;
    let mut refused = 0;
    for _ in 0..1000 {
        if let Ok(p) = arena.accept_as(id) {
            arena.peers[p].manners = NONE;
            arena.say_id(p);
        } else {
            refused += 1;
        }
    }
    let count = arena.node.connection_count();
    assert!(count <= 1 + 64, "{count} links, {refused} refused");
    arena.seconds(9);
    assert_eq!(arena.node.connection_count(), 1);
    let good = arena.opened();
    assert!(arena.is_connected(good) && arena.is_connected(first));
}

#[test]
fn half_closes_and_cuts_in_every_phase_end_with_a_reason() {
    for phase in 0..4 {
        for cut in [false, true] {
            for inbound in [false, true] {
                let mut arena = arena();
                let p = if inbound { arena.accept() } else { arena.dial().0 };
                match phase {
                    0 => {}
                    1 => arena.bytes(p, b"Qm"),
                    2 => arena.open_outer(p),
                    _ => arena.open(p),
                }
                if cut {
                    arena.cut(p);
                } else {
                    arena.eof(p);
                }
                let expected = match (cut, phase) {
                    (true, _) => CloseReason::Io(IoCause::Reset),
                    (false, 0) => CloseReason::Channel(ChannelError::Silent),
                    (false, 1) => CloseReason::Channel(ChannelError::Truncated),
                    (false, _) => CloseReason::RemoteClosed,
                };
                assert_eq!(arena.reason(p), Some(expected), "{phase} {cut} {inbound}");
                arena.assert_nothing_left();
            }
        }
    }
}

#[test]
fn an_end_inside_a_frame_is_told_from_a_close() {
    let mut arena = arena();
    let p = arena.opened();
    arena.bytes(p, &[0, 0, 0]);
    arena.eof(p);
    assert_eq!(arena.reason(p), Some(CloseReason::Truncated));
    let p = arena.opened();
    arena.bytes(p, &Frame { length: 100, ..Frame::data(1, [0; 5]) }.encode());
    arena.eof(p);
    assert_eq!(arena.reason(p), Some(CloseReason::Truncated));
    arena.assert_nothing_left();
}

#[test]
fn a_peer_that_never_closes_its_half_is_cut_off() {
    let mut arena = arena();
    let p = arena.opened();
    arena.peers[p].manners = NONE;
    let peer = arena.peers[p].id;
    arena.node.disconnect(arena.now, peer).unwrap();
    arena.run();
    assert!(arena.peers[p].finished);
    assert_eq!(arena.reason(p), Some(CloseReason::Requested));
    arena.bytes(p, &Frame::ping(1).encode());
    arena.advance(Duration::from_millis(4900));
    assert_eq!(arena.peers[p].ended, None);
    arena.assert_nothing_left();
}

/// Whether the dialer's streams are opened in one read or many, or as data frames.
#[test]
fn outer_streams_opened_by_data_frames_count_too() {
    let mut arena = arena();
    let p = arena.accept();
    arena.say_id(p);
    let ping = Frame::ping(7).encode();
    for stream in [1, 3] {
        arena.outer(p, &Frame::data(stream, ping.clone()).flags(SYN));
    }
    arena.exchange(p, &[]);
    assert!(arena.is_connected(p));
    assert!(arena.peers[p].inner.iter().all(|inner| inner.contains(&Frame::pong(7))));
}
