//! What the application of one node does: it requires peers, sends, borrows streams,
//! registers protocols, and takes what comes, sometimes late.

pub(crate) mod payload;
mod required;

use std::collections::{BTreeMap, BTreeSet};

use headwater_core::address::Address;
use headwater_core::connection::LaneNews;
use headwater_core::error::{BorrowError, SendError};
use headwater_core::id::{PeerId, ProtocolId};

use crate::check::ledger::{Ledger, Life};
use crate::check::notices::Notices;
use crate::draw::Draw;
use crate::host::{Host, Stream, StreamNews, Violation, ensure};
use crate::people::People;
use crate::scenario::Load;
use headwater_core::time::Instant;
use payload::Head;
use required::Required;

/// Protocols of applications; the first is supported by every node, always.
pub(crate) const PROTOCOLS: usize = 5;

/// Streams that one application holds.
pub(crate) const STREAMS_MAX: usize = 4;

/// The application of one life of a node.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) node: usize,
    pub(crate) life: u32,
    draw: Draw,
    pub(crate) required: Required,
    pub(crate) reads: bool,
    pub(crate) notices: Notices,
    /// Everything that it has ever announced.
    pub(crate) announced: BTreeSet<usize>,
    registered: BTreeSet<usize>,
    /// Streams that it has asked for, by number.
    asked: BTreeMap<u64, usize>,
    streams: BTreeMap<Stream, Held>,
    requests: u64,
    pub(crate) full: u64,
    /// Messages that it has taken.
    pub(crate) taken: u64,
}

/// A borrowed stream.
#[derive(Clone, Copy, Debug)]
struct Held {
    to: usize,
    number: u32,
    sent: u32,
}

/// What an application needs to act.
pub(crate) struct Desk<'a> {
    pub(crate) host: &'a mut dyn Host,
    pub(crate) people: &'a People,
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) load: &'a Load,
    /// By the world's clock, and by the node's.
    pub(crate) world_now: Instant,
    pub(crate) now: Instant,
    pub(crate) message_max: usize,
    /// Whether protocols may change now.
    pub(crate) may_change: bool,
    /// Whether nothing is sent any more.
    pub(crate) is_last: bool,
    /// Whether there is room for peers that nobody requires.
    pub(crate) may_dial: bool,
}

impl App {
    pub(crate) fn new(seed: u64, life: Life, required: &[usize]) -> Self {
        let id = (life.0 as u64) << 32 | u64::from(life.1);
        let mut draw = Draw::new(seed, "app", id);
        let mut registered = BTreeSet::from([0]);
        registered.extend((1..PROTOCOLS).filter(|_| draw.chance(50)));
        Self {
            node: life.0,
            life: life.1,
            required: Required::new(required),
            draw,
            reads: true,
            notices: Notices::default(),
            announced: registered.clone(),
            registered,
            asked: BTreeMap::new(),
            streams: BTreeMap::new(),
            requests: 0,
            full: 0,
            taken: 0,
        }
    }

    /// Registers and listens.
    pub(crate) fn start(&mut self, desk: &mut Desk<'_>) -> Result<(), Violation> {
        for protocol in &self.registered {
            let done = desk.host.register(desk.now, desk.people.protocol(*protocol).clone());
            ensure!(done.is_ok(), "{done:?} when registering");
            desk.people.announce(self.node, *protocol);
        }
        let listening = desk.host.listen(desk.now, crate::net::address(self.node));
        ensure!(listening.is_ok(), "{listening:?} when listening");
        self.require_all(desk)
    }

    /// How long until it acts again.
    pub(crate) fn pause(&mut self, load: &Load) -> std::time::Duration {
        self.draw.around(load.pause)
    }

    /// Does one thing.
    pub(crate) fn act(&mut self, desk: &mut Desk<'_>) -> Result<(), Violation> {
        match self.draw.below(1000) {
            0..800 => self.send_any(desk),
            800..960 => self.use_stream(desk),
            960..985 => self.give_back_any(desk),
            985..995 if desk.may_change => self.change_protocol(desk),
            995..997 if desk.may_change => self.change_required(desk),
            997 if desk.may_dial && desk.may_change => self.dial_any(desk),
            985..998 => Ok(()),
            _ => {
                // A burst, to fill what can be filled.
                for _ in 0..self.draw.below(60) {
                    self.send_any(desk)?;
                }
                Ok(())
            }
        }
    }

    fn any_peer(&mut self, desk: &Desk<'_>) -> Option<usize> {
        let count = self.notices.connected().count();
        let peer = self.notices.connected().nth(self.draw.below(count))?;
        desk.people.index(peer)
    }

    fn length(&mut self, desk: &Desk<'_>) -> usize {
        let Load { medium, large, .. } = *desk.load;
        let roll = self.draw.below(1000) as u64;
        let len = if roll < large {
            self.draw.between(20_000, 300_000)
        } else if roll < large + medium {
            self.draw.between(400, 20_000)
        } else {
            self.draw.between(payload::HEAD as u64, 400)
        };
        (len as usize).min(desk.message_max)
    }

    fn head(&mut self, desk: &Desk<'_>, to: usize, protocol: usize) -> Head {
        Head {
            from: self.node as u16,
            life: self.life,
            to: to as u16,
            number: desk.ledger.next_number((self.node, self.life)),
            stream: 0,
            place: 0,
            protocol: protocol as u16,
            len: self.length(desk).max(payload::HEAD) as u32,
        }
    }

    fn send_any(&mut self, desk: &mut Desk<'_>) -> Result<(), Violation> {
        let Some(to) = self.any_peer(desk) else { return Ok(()) };
        let protocol = if self.draw.chance(60) { 0 } else { self.draw.below(PROTOCOLS) };
        let head = self.head(desk, to, protocol);
        let name = desk.people.protocol(protocol);
        let sent = desk.host.send(desk.now, desk.people.id(to), name, head.encode());
        self.sent(desk, &head, &sent)
    }

    /// Dials anybody, as an application does that looks for company.
    fn dial_any(&mut self, desk: &mut Desk<'_>) -> Result<(), Violation> {
        let peer = self.draw.below(desk.people.count());
        if peer != self.node {
            // As many dials may be under way as are allowed.
            let _dial = desk.host.dial(desk.now, Address::from(crate::net::address(peer)));
        }
        Ok(())
    }

    /// Notes what came of a message.
    fn sent(
        &mut self,
        desk: &mut Desk<'_>,
        head: &Head,
        sent: &Result<(), SendError<bytes::Bytes>>,
    ) -> Result<(), Violation> {
        let protocol = usize::from(head.protocol);
        match sent {
            Ok(()) => {
                let ever = desk.people.ever_announced(usize::from(head.to), protocol);
                ensure!(ever, "{head:?} was accepted for a protocol that was never announced");
                desk.ledger.accepted(head, desk.world_now, protocol != 0);
            }
            Err(SendError::Full { .. }) => self.full += 1,
            Err(SendError::NotConnected { .. } | SendError::Closed { .. }) => {}
            Err(SendError::NotSupported { .. }) => {
                let peer = desk.people.id(usize::from(head.to));
                let name = desk.people.protocol(protocol);
                ensure!(
                    !self.is_sure(desk, peer, name),
                    "{name} of {peer} was told, and is said not to be supported"
                );
            }
            Err(SendError::TooLarge { .. }) => {
                return Err(Violation(format!("{head:?} is too large")));
            }
            Err(other) => return Err(Violation(format!("{head:?}: {other}"))),
        }
        Ok(())
    }

    /// Whether a peer supports a protocol, by what was told and by the way to it: of a peer that
    /// has come back without it, the news may not have been read yet.
    fn is_sure(&self, desk: &Desk<'_>, peer: &PeerId, name: &ProtocolId) -> bool {
        let told = self.notices.protocols(peer).is_some_and(|all| all.contains(name));
        told && desk.host.way(peer).is_some_and(|way| way.protocols.contains(name.as_str()))
    }

    fn use_stream(&mut self, desk: &mut Desk<'_>) -> Result<(), Violation> {
        let held = self.streams.len() + self.asked.len();
        if held < STREAMS_MAX && self.draw.chance(20) {
            let Some(to) = self.any_peer(desk) else { return Ok(()) };
            self.requests += 1;
            let (peer, name) = (desk.people.id(to), desk.people.protocol(0));
            match desk.host.borrow(desk.now, self.requests, peer, name) {
                Ok(()) => {
                    self.asked.insert(self.requests, to);
                }
                Err(BorrowError::NotSupported) => {
                    ensure!(!self.is_sure(desk, peer, name), "{name} of {peer}: no stream");
                }
                Err(_) => {}
            }
            return Ok(());
        }
        let nth = self.draw.below(self.streams.len());
        let Some((stream, held)) = self.streams.iter().nth(nth) else { return Ok(()) };
        let (stream, mut held) = (*stream, *held);
        for _ in 0..=self.draw.below(5) {
            let mut head = self.head(desk, held.to, 0);
            head.stream = held.number;
            head.place = held.sent;
            let (peer, name) = (desk.people.id(held.to), desk.people.protocol(0));
            let sent = desk.host.send_borrowed(desk.now, stream, peer, name, head.encode());
            self.sent(desk, &head, &sent)?;
            if sent.is_ok() {
                held.sent += 1;
            }
        }
        self.streams.insert(stream, held);
        Ok(())
    }

    fn give_back_any(&mut self, desk: &mut Desk<'_>) -> Result<(), Violation> {
        let nth = self.draw.below(self.streams.len());
        let stream = self.streams.keys().nth(nth).copied();
        if let Some(stream) = stream {
            self.streams.remove(&stream);
            desk.host.give_back(desk.now, stream);
        }
        Ok(())
    }

    /// Gives every stream back.
    pub(crate) fn give_back_all(&mut self, desk: &mut Desk<'_>) {
        for stream in std::mem::take(&mut self.streams).into_keys() {
            desk.host.give_back(desk.now, stream);
        }
    }

    fn change_protocol(&mut self, desk: &mut Desk<'_>) -> Result<(), Violation> {
        let protocol = 1 + self.draw.below(PROTOCOLS - 1);
        let name: &ProtocolId = desk.people.protocol(protocol);
        let done = if self.registered.remove(&protocol) {
            desk.host.unregister(desk.now, name)
        } else {
            self.registered.insert(protocol);
            self.announced.insert(protocol);
            desk.people.announce(self.node, protocol);
            desk.host.register(desk.now, name.clone())
        };
        ensure!(done.is_ok(), "{done:?} when changing {name}");
        Ok(())
    }

    /// Hears of borrowed streams.
    pub(crate) fn hear_streams(&mut self, desk: &mut Desk<'_>) -> Result<(), Violation> {
        while let Some(news) = desk.host.poll_stream() {
            match news {
                StreamNews::Lent(request, answer) => {
                    let asked = self.asked.remove(&request);
                    ensure!(asked.is_some() || answer.is_err(), "a stream that nobody asked for");
                    if let (Ok(stream), true) = (answer, desk.is_last) {
                        desk.host.give_back(desk.now, stream);
                    } else if let (Some(to), Ok(stream)) = (asked, answer) {
                        let held = Held { to, number: request as u32, sent: 0 };
                        let known = self.streams.insert(stream, held);
                        ensure!(known.is_none(), "{stream:?} was lent twice");
                    }
                }
                StreamNews::Of(stream, LaneNews::Lost(_)) => {
                    if self.streams.remove(&stream).is_some() {
                        desk.host.give_back(desk.now, stream);
                    }
                }
                StreamNews::Of(_, LaneNews::Wants) => {}
            }
        }
        Ok(())
    }

    /// Whether it holds or waits for streams.
    pub(crate) fn has_streams(&self) -> bool {
        !self.streams.is_empty() || !self.asked.is_empty()
    }
}
