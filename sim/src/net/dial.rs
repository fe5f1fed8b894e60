//! From a dial to a link: a packet there, a packet back, and what may happen to them.

use std::net::SocketAddr;
use std::time::Duration;

use headwater_core::contract::IoCause;
use headwater_core::id::ConnectionId;

use super::{BACKLOG_MAX, Net, NetEvent, Ready, Socket, Woken, address, node_at};
use crate::event::{Event, Time};

/// A dial of one life of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DialKey {
    pub(crate) node: usize,
    pub(crate) life: u32,
    pub(crate) connection: ConnectionId,
}

/// How often a dial is sent before its system gives up.
const TRIES_MAX: u32 = 6;

impl Net {
    /// Sends a dial on its way. Its outcome comes as [`Ready::Dialed`].
    pub(crate) fn dial(&mut self, time: &mut Time, dial: DialKey, remote: SocketAddr) {
        let Some(to) = node_at(remote).filter(|to| *to < self.places.len()) else {
            let answer = Err(IoCause::Unreachable);
            time.plan_in(Duration::from_millis(1), Event::Net(NetEvent::Answer { dial, answer }));
            self.dials.insert(dial, dial.node);
            return;
        };
        self.dials.insert(dial, to);
        let latency = self.packet();
        time.plan_in(latency, Event::Net(NetEvent::Syn { dial, tries: 1 }));
    }

    /// Nobody waits for this dial any more.
    pub(crate) fn cancel(&mut self, dial: DialKey) {
        self.dials.remove(&dial);
    }

    fn packet(&mut self) -> Duration {
        let (low, high) = self.links.latency;
        self.draw.any_scale(low, high)
    }

    pub(super) fn on_syn(&mut self, time: &mut Time, dial: DialKey, tries: u32) {
        let Some(to) = self.dials.get(&dial).copied() else { return };
        let back = self.packet();
        let place = &self.places[to];
        let full = place.listens && place.backlog.len() >= BACKLOG_MAX;
        if place.dark || full || self.is_cut(dial.node, to) {
            let wait = Duration::from_secs(1 << tries.min(10));
            if tries < TRIES_MAX {
                time.plan_in(wait, Event::Net(NetEvent::Syn { dial, tries: tries + 1 }));
            } else {
                let answer = Err(IoCause::TimedOut);
                time.plan_in(wait, Event::Net(NetEvent::Answer { dial, answer }));
            }
            return;
        }
        let answer = if place.listens {
            let link = self.new_link(time.now(), dial.node, to);
            let socket = self.insert(link);
            self.places[to].backlog.push_back(socket.other());
            self.woken.push(Woken { node: to, what: Ready::Accept });
            Ok(socket)
        } else {
            Err(IoCause::Refused)
        };
        time.plan_in(back, Event::Net(NetEvent::Answer { dial, answer }));
    }

    pub(super) fn on_answer(
        &mut self,
        time: &mut Time,
        dial: DialKey,
        answer: Result<Socket, IoCause>,
    ) {
        if self.dials.remove(&dial).is_some() {
            self.woken.push(Woken { node: dial.node, what: Ready::Dialed(dial, answer) });
        } else if let Ok(socket) = answer {
            self.abort(time, socket);
        }
    }

    /// Opens or closes the door of a node. Links that wait at a door that closes are dropped.
    pub(crate) fn listen(&mut self, time: &mut Time, node: usize, listens: bool) {
        self.places[node].listens = listens;
        if !listens {
            for socket in std::mem::take(&mut self.places[node].backlog) {
                self.abort(time, socket);
            }
        }
    }

    /// The next link at the door of a node, and its other end.
    pub(crate) fn accept(&mut self, node: usize) -> Option<(Socket, SocketAddr)> {
        let socket = self.places[node].backlog.pop_front()?;
        let from = self.get(socket).map_or(node, |link| link.ends[0].node);
        let mut remote = address(from);
        remote.set_port(10_000 + (socket.link % 50_000) as u16);
        Some((socket, remote))
    }
}
