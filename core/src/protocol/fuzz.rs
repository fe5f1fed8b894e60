//! The body of the exchange fuzz target: a checker that panics when a promise is broken.

#![allow(clippy::arithmetic_side_effects, reason = "it is a test")]

use alloc::collections::{BTreeSet, VecDeque};
use core::time::Duration;

use bytes::BytesMut;

use super::{PeerProtocols, ProtocolChange, ProtocolSet, Push, PushConfig};
use crate::id::ProtocolId;
use crate::time::Instant;
use crate::wire::{ExchangerLimits, ExchangerMessage};

const LIMITS: ExchangerLimits = ExchangerLimits { protocols_max: 16, message_max: 600 };

/// Checks the exchanger message, the view of a peer's protocols and the push machine against
/// small models, with `data` as messages and as operations.
///
/// # Panics
///
/// If a machine and its model differ.
pub fn exchange(data: &[u8]) {
    message(data);
    view(data);
    push(data);
}

/// A message that is read keeps the limits and survives being written and read again.
fn message(data: &[u8]) {
    let Ok(read) = ExchangerMessage::decode(data, &LIMITS) else { return };
    assert!(data.len() <= LIMITS.message_max && read.protocols.len() <= LIMITS.protocols_max);
    let mut written = BytesMut::new();
    read.encode(&mut written);
    assert_eq!(written.len(), read.encoded_len());
    assert!(written.len() <= data.len(), "duplicates and defaults only make it shorter");
    assert_eq!(ExchangerMessage::decode(&written, &LIMITS).as_ref(), Ok(&read));
}

/// The application's knowledge, kept by the changes alone, converges to what the peer told.
fn view(data: &[u8]) {
    let mut peer = PeerProtocols::new();
    let mut theirs = ProtocolSet::default();
    let mut told: BTreeSet<ProtocolId> = BTreeSet::new();
    for byte in data {
        match byte {
            0..=127 => {
                let names = ["/a", "/b", "/c", "/d", "/e", "/f", "/g"];
                let chosen = names.iter().enumerate().filter(|(bit, _)| byte >> bit & 1 == 1);
                theirs = chosen.filter_map(|(_, name)| ProtocolId::new(name).ok()).collect();
                peer.set(theirs.clone());
            }
            128..=159 => {
                theirs = ProtocolSet::default();
                peer.clear();
            }
            _ => {
                tell(&mut peer, &mut told);
            }
        }
        assert_eq!(peer.protocols(), &theirs);
        let agrees = told.len() == theirs.len() && theirs.iter().all(|p| told.contains(p));
        assert_eq!(peer.is_settled(), agrees);
    }
    while tell(&mut peer, &mut told) {}
    assert!(theirs.iter().eq(told.iter()), "{theirs:?} but told {told:?}");
}

fn tell(peer: &mut PeerProtocols, told: &mut BTreeSet<ProtocolId>) -> bool {
    match peer.poll_change() {
        Some(ProtocolChange::Gained(protocol)) => {
            assert!(peer.supports(protocol.as_str()), "told before stored");
            assert!(told.insert(protocol), "gained twice");
        }
        Some(ProtocolChange::Lost(protocol)) => {
            assert!(!peer.supports(protocol.as_str()), "told before stored");
            assert!(told.remove(&protocol), "lost without being known");
        }
        None => return false,
    }
    true
}

/// A peer behind a link that keeps order, delays at will, and may be cut.
struct Link {
    push: Push,
    now: Instant,
    latest: u64,
    /// What the peer was told last.
    theirs: u64,
    pushes: VecDeque<u64>,
    answers: u32,
    awaited: u32,
}

impl Link {
    fn send(&mut self) {
        if let Some(version) = self.push.poll_send(self.now) {
            assert_eq!(version, self.latest, "an old list is sent");
            assert_eq!(self.awaited, 0, "two pushes await their answers");
            self.awaited = 1;
            self.pushes.push_back(version);
        }
        assert_eq!(self.push.poll_send(self.now), None);
    }

    fn deliver(&mut self) {
        if let Some(version) = self.pushes.pop_front() {
            self.theirs = version;
            self.answers += 1;
        }
    }

    fn answer(&mut self) {
        if let Some(rest) = self.answers.checked_sub(1) {
            self.answers = rest;
            self.awaited = 0;
            self.push.answered(self.now);
        }
    }

    fn cut(&mut self) {
        self.pushes.clear();
        self.answers = 0;
        self.awaited = 0;
        self.push.failed(self.now);
    }

    fn advance(&mut self, to: Instant) {
        self.now = to;
        let overdue = self.push.next_timeout().is_some_and(|at| at <= to);
        self.push.handle_timeout(to);
        if overdue {
            self.awaited = 0;
        }
        assert!(self.push.next_timeout().is_none_or(|at| at > to), "time stands still");
    }
}

/// Whatever happens to pushes and answers, once the faults stop the peer has the latest list.
fn push(data: &[u8]) {
    let mut link = Link {
        push: Push::new(PushConfig::default(), 0),
        now: Instant::ZERO,
        latest: 0,
        theirs: 0,
        pushes: VecDeque::new(),
        answers: 0,
        awaited: 0,
    };
    for byte in data {
        match byte % 8 {
            0 => {
                link.latest += 1;
                link.push.changed(link.now, link.latest);
            }
            1 => link.send(),
            2 => link.deliver(),
            3 => link.answer(),
            // An answer that nobody asked for.
            4 => link.answers += u32::from(byte / 64),
            5 if *byte < 64 => link.cut(),
            6 => link.push.sent(link.now),
            _ => link.advance(link.now.after(Duration::from_millis(u64::from(*byte) * 100))),
        }
    }
    for _ in 0..8 {
        link.send();
        while !link.pushes.is_empty() {
            link.deliver();
        }
        while link.answers > 0 {
            link.answer();
        }
        if let Some(at) = link.push.next_timeout() {
            link.advance(at);
        }
    }
    assert_eq!(link.theirs, link.latest, "the peer keeps an old list");
    assert!(link.push.is_settled() && link.push.next_timeout().is_none());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn the_models_hold_for_inputs_that_look_random() {
        let mut rng = Seed::from_u64(4).rng("exchange", 0);
        for _ in 0..3000 {
            let len = rng.below(120);
            let data: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
            exchange(&data);
        }
    }

    proptest! {
        #[test]
        fn the_models_hold_behind_a_good_peer_id(
            fields in prop::collection::vec((0_u8..6, "[a-c/]{0,3}"), 0..20),
        ) {
            let mut data = b"\x0a\x05Qmabc".to_vec();
            for (field, text) in fields {
                data.extend_from_slice(&[field << 3 | 2, text.len() as u8]);
                data.extend_from_slice(text.as_bytes());
            }
            exchange(&data);
        }
    }
}
