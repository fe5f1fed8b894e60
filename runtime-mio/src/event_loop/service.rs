//! Bytes: what a connection does when it is its turn.

use std::net::SocketAddr;
use std::ops::Bound;

use headwater_core::contract::ListenerId;
use headwater_core::endpoint::Endpoint;
use headwater_core::id::ConnectionId;
use headwater_core::secure::ChannelFactory;
use headwater_core::time::Instant;
use mio::net::TcpStream;

use super::{EventLoop, enqueue, link_token};
use crate::cause;
use crate::link::{Link, Moved, PIECES_MAX};
use crate::listener::Accepted;

/// Bytes that one connection may write in a turn while others wait, and with them what was sent
/// meanwhile.
const WRITE_BUDGET: usize = 128 << 10;
/// Bytes that one connection may read in a turn while others wait.
const READ_BUDGET: usize = 256 << 10;
/// Links that may be accepted in a turn.
const ACCEPT_BUDGET: usize = 64;

/// Whether a connection could go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Its budget is spent.
    More,
    /// It waits for the system, or for core.
    Wait,
}

impl<F: ChannelFactory> EventLoop<F> {
    /// Writes, then reads, within budgets.
    pub(super) fn serve(&mut self, place: u32) {
        let Some(link) = self.links.at(place) else { return };
        link.queued = false;
        if link.is_dialing() {
            return self.check_dial(place);
        }
        let id = link.id;
        let now = self.clock.now();
        let wrote = write(&mut self.endpoint, link, now);
        let read = read(&mut self.endpoint, link, now);
        if link.finish && !self.endpoint.wants_transmit(id) {
            link.half_close();
        }
        if wrote == Next::More || read == Next::More {
            enqueue(&mut self.work, link);
        }
        if let Some(journal) = &mut self.journal {
            journal.served.push(id);
        }
    }

    fn check_dial(&mut self, place: u32) {
        let Some(link) = self.links.at(place) else { return };
        let id = link.id;
        match link.check_dial() {
            None => {}
            Some(Ok(local)) => {
                enqueue(&mut self.work, link);
                let now = self.clock.now();
                if self.endpoint.handle_dialed(now, id, local).is_err() {
                    // The dial was given up meanwhile.
                    self.links.remove(id);
                }
            }
            Some(Err(error)) => {
                self.links.remove(id);
                self.dial_failed(id, &error);
            }
        }
    }

    /// Accepts what waits, the listeners taking turns.
    pub(super) fn accept(&mut self) {
        for _ in 0..ACCEPT_BUDGET {
            if self.accept_paused {
                return;
            }
            match self.accept_one() {
                (_, Accepted::Nothing) => return,
                (listener, Accepted::Broken(error)) => {
                    self.listener_failed(listener, cause::of(&error));
                }
                (listener, Accepted::Link(stream, remote)) => {
                    self.accepted(listener, stream, remote);
                    // At once, because it may say that this is enough.
                    self.obey();
                }
            }
        }
    }

    fn accept_one(&mut self) -> (ListenerId, Accepted) {
        let last = self.last_accepted;
        let after = (Bound::Excluded(last), Bound::Unbounded);
        let until = (Bound::Unbounded, Bound::Included(last));
        for range in [after, until] {
            let mut listeners = self.listeners.range_mut(range);
            let found = listeners.find_map(|(id, listener)| match listener.accept() {
                Accepted::Nothing => None,
                accepted => Some((*id, accepted)),
            });
            if let Some(found) = found {
                self.last_accepted = found.0;
                return found;
            }
        }
        (last, Accepted::Nothing)
    }

    fn accepted(&mut self, listener: ListenerId, stream: TcpStream, remote: SocketAddr) {
        let now = self.clock.now();
        // Refused: the socket closes right here.
        let Ok(id) = self.endpoint.handle_accepted(now, listener, remote) else { return };
        let token = link_token(self.links.next_place());
        match Link::accepted(id, stream, self.poll.registry(), token) {
            Ok(link) => self.insert(link),
            Err(error) => self.endpoint.handle_io_error(now, id, cause::of(&error)),
        }
    }
}

fn write<F: ChannelFactory>(endpoint: &mut Endpoint<F>, link: &mut Link, now: Instant) -> Next {
    let mut budget = WRITE_BUDGET;
    while link.can_write() && endpoint.wants_transmit(link.id) {
        if budget == 0 {
            return Next::More;
        }
        let moved = {
            let mut pieces: [&[u8]; PIECES_MAX] = [&[]; PIECES_MAX];
            match endpoint.transmit(now, link.id, &mut pieces) {
                0 => break,
                count => link.write(&pieces[..count]),
            }
        };
        match moved {
            Moved::Some(n) => {
                endpoint.handle_transmitted(now, link.id, n);
                budget = budget.saturating_sub(n);
            }
            Moved::Broken(error) => endpoint.handle_io_error(now, link.id, cause::of(&error)),
            Moved::Blocked | Moved::End => {}
        }
    }
    Next::Wait
}

fn read<F: ChannelFactory>(endpoint: &mut Endpoint<F>, link: &mut Link, now: Instant) -> Next {
    let mut budget = READ_BUDGET;
    while link.can_read() {
        if budget == 0 {
            return Next::More;
        }
        let Some(buf) = endpoint.recv_buf(link.id) else { break };
        let moved = link.read(buf);
        give_back(endpoint, now, link.id);
        match moved {
            Moved::Some(n) => budget = budget.saturating_sub(n),
            Moved::End => endpoint.handle_eof(now, link.id),
            Moved::Broken(error) => endpoint.handle_io_error(now, link.id, cause::of(&error)),
            Moved::Blocked => {}
        }
    }
    Next::Wait
}

fn give_back<F: ChannelFactory>(endpoint: &mut Endpoint<F>, now: Instant, id: ConnectionId) {
    // It fails for a buffer that is not the one that was lent, and this one is.
    let _ = endpoint.handle_received(now, id);
}
