//! Every message that was accepted for sending, and what became of it.
//!
//! 1. A message comes at most once, to whom it was sent, as it was sent, for a protocol that the
//!    receiver has announced at some time of its present life.
//! 2. Messages of one borrowed stream come in their order.
//! 3. Of one pair, no more is told undelivered than was accepted. (Some of it may have come: what
//!    was under way when its stream or its link was lost is told.)
//! 4. What was accepted after the last link between two nodes was lost has come in the end, or
//!    was told undelivered: nothing vanishes on a link that lives.

use std::collections::BTreeMap;

use headwater_core::time::Instant;

use crate::app::payload::Head;
use crate::host::{Violation, ensure};

/// One life of one node.
pub(crate) type Life = (usize, u32);

/// All messages of a run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    senders: BTreeMap<Life, Vec<Sent>>,
    /// The last place that came, by life and borrowed stream of the sender.
    streams: BTreeMap<(Life, u32), u32>,
    pairs: BTreeMap<(Life, usize), Pair>,
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) undelivered: u64,
    pub(crate) bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    to: u16,
    protocol: u16,
    len: u32,
    at: Instant,
    /// Which life of the receiver took it.
    came: Option<u32>,
    /// The receiver may have to drop it, because it gave the protocol up.
    droppable: bool,
}

/// From one life of a node to another node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) undelivered: u64,
}

impl Ledger {
    /// The number that the next message of a sender gets.
    pub(crate) fn next_number(&self, sender: Life) -> u64 {
        self.senders.get(&sender).map_or(0, |sent| sent.len() as u64)
    }

    /// A message was accepted.
    pub(crate) fn accepted(&mut self, head: &Head, at: Instant, droppable: bool) {
        let sender = (usize::from(head.from), head.life);
        let sent =
            Sent { to: head.to, protocol: head.protocol, len: head.len, at, came: None, droppable };
        self.senders.entry(sender).or_default().push(sent);
        self.pairs.entry((sender, usize::from(head.to))).or_default().accepted += 1;
        self.accepted += 1;
    }

    /// A message came to `receiver`, and `announced` says whether that protocol is one of those
    /// that the receiver announced in this life.
    pub(crate) fn delivered(
        &mut self,
        receiver: Life,
        head: &Head,
        announced: bool,
    ) -> Result<(), Violation> {
        let sender = (usize::from(head.from), head.life);
        let known = self.senders.get_mut(&sender).and_then(|all| all.get_mut(head.number as usize));
        ensure!(known.is_some(), "a message that nobody sent: {head:?}");
        let Some(sent) = known else { return Ok(()) };
        let as_sent = (sent.to, sent.protocol, sent.len) == (head.to, head.protocol, head.len);
        ensure!(as_sent, "{head:?} was sent as {sent:?}");
        ensure!(usize::from(head.to) == receiver.0, "{head:?} came to {}", receiver.0);
        ensure!(sent.came.is_none(), "{head:?} came twice");
        ensure!(announced, "{head:?} came for a protocol that was never announced");
        sent.came = Some(receiver.1);
        if head.stream > 0 {
            let last = self.streams.insert((sender, head.stream), head.place);
            let in_order = last.is_none_or(|last| last < head.place);
            ensure!(in_order, "{head:?} came after place {last:?} of its stream");
        }
        let pair = self.pairs.entry((sender, receiver.0)).or_default();
        pair.delivered += 1;
        self.delivered += 1;
        self.bytes += u64::from(head.len);
        check(pair, sender, receiver.0)
    }

    /// A sender was told that messages to a node will not arrive.
    pub(crate) fn undelivered(
        &mut self,
        sender: Life,
        to: usize,
        messages: u64,
    ) -> Result<(), Violation> {
        let pair = self.pairs.entry((sender, to)).or_default();
        pair.undelivered += messages;
        self.undelivered += messages;
        check(pair, sender, to)
    }

    pub(crate) fn pair(&self, sender: Life, to: usize) -> Pair {
        self.pairs.get(&(sender, to)).copied().unwrap_or_default()
    }

    /// Everything is quiet: checks the fourth rule, where `last_loss` says when a link between
    /// two nodes was last lost, if ever. A message that waits for the receiver to learn of a
    /// protocol given up does not count.
    pub(crate) fn check_end(
        &self,
        alive: impl Fn(Life) -> bool,
        last_loss: impl Fn(usize, usize) -> Option<Instant>,
    ) -> Result<(), Violation> {
        for (sender, all) in self.senders.iter().filter(|(sender, _)| alive(**sender)) {
            let mut missing: BTreeMap<usize, (u64, usize)> = BTreeMap::new();
            for (number, sent) in all.iter().enumerate() {
                let to = usize::from(sent.to);
                let lost = last_loss(sender.0, to).is_some_and(|loss| sent.at <= loss);
                if sent.came.is_none() && !lost && !sent.droppable {
                    let entry = missing.entry(to).or_insert((0, number));
                    entry.0 += 1;
                }
            }
            for (to, (count, first)) in missing {
                let told = self.pair(*sender, to).undelivered;
                ensure!(
                    count <= told,
                    "{count} messages from {sender:?} to {to} vanished on a link that lives \
                     ({told} were told undelivered), the first is number {first}: {:?}",
                    all[first]
                );
            }
        }
        Ok(())
    }
}

fn check(pair: &Pair, sender: Life, to: usize) -> Result<(), Violation> {
    let most = pair.delivered.max(pair.undelivered);
    ensure!(most <= pair.accepted, "from {sender:?} to {to}: {pair:?} says more than there was");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::START;

    fn head(number: u64, stream: u32, place: u32) -> Head {
        Head { from: 1, life: 0, to: 2, number, stream, place, protocol: 0, len: 50 }
    }

    /// Three messages from 1 to 2, accepted at the start, on one borrowed stream.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        for number in 0..3 {
            assert_eq!(ledger.next_number((1, 0)), number);
            ledger.accepted(&head(number, 1, number as u32), START, false);
        }
        ledger
    }

    fn deliver(ledger: &mut Ledger, head: Head) -> Result<(), Violation> {
        ledger.delivered((2, 0), &head, true)
    }

    #[test]
    fn each_message_comes_at_most_once_and_as_it_was_sent() {
        let mut ledger = ledger();
        deliver(&mut ledger, head(0, 1, 0)).unwrap();
        assert!(deliver(&mut ledger, head(0, 1, 0)).is_err(), "twice");
        assert!(deliver(&mut ledger, head(3, 1, 3)).is_err(), "never sent");
        assert!(deliver(&mut ledger, Head { len: 51, ..head(1, 1, 1) }).is_err(), "another length");
        assert!(deliver(&mut ledger, Head { protocol: 1, ..head(1, 1, 1) }).is_err(), "protocol");
        assert!(ledger.delivered((3, 0), &head(1, 1, 1), true).is_err(), "to somebody else");
        assert!(ledger.delivered((2, 0), &head(1, 1, 1), false).is_err(), "not announced");
    }

    #[test]
    fn order_on_a_borrowed_stream_is_checked_and_gaps_are_allowed() {
        let mut ordered = ledger();
        deliver(&mut ordered, head(0, 1, 0)).unwrap();
        deliver(&mut ordered, head(2, 1, 2)).unwrap();
        assert!(deliver(&mut ordered, head(1, 1, 1)).is_err());
    }

    #[test]
    fn no_more_is_told_than_was_accepted() {
        let mut ledger = ledger();
        ledger.undelivered((1, 0), 2, 3).unwrap();
        deliver(&mut ledger, head(0, 1, 0)).unwrap();
        assert!(ledger.undelivered((1, 0), 2, 1).is_err());
        assert!(ledger.undelivered((1, 0), 9, 1).is_err());
    }

    #[test]
    fn what_vanishes_on_a_link_that_lives_is_seen() {
        let mut ledger = ledger();
        deliver(&mut ledger, head(0, 1, 0)).unwrap();
        let never = |_: usize, _: usize| None;
        assert!(ledger.check_end(|_| true, never).is_err());
        assert_eq!(ledger.check_end(|_| false, never), Ok(()), "the sender is gone");
        assert_eq!(ledger.check_end(|_| true, |_, _| Some(START)), Ok(()), "the link is gone");
        ledger.undelivered((1, 0), 2, 2).unwrap();
        assert_eq!(ledger.check_end(|_| true, never), Ok(()), "both were told");
    }
}
