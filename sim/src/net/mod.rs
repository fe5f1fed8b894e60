//! The network: every link there is, and what can happen to it.
//!
//! Hosts read and write through a [`Socket`]; whoever has something to read, room to write, or a
//! link to accept stands in [`Net::woken`] afterwards. Each node has one address.
//!
//! Bounds: the links' own; [`BACKLOG_MAX`] links to accept at each node.

mod dial;
mod link;
mod weather;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use headwater_core::contract::IoCause;
use headwater_core::id::ConnectionId;
use headwater_core::time::Instant;

use crate::draw::Draw;
use crate::event::{Event, Time};
use crate::scenario::Links;
use crate::trace::Trace;

pub(crate) use dial::DialKey;
use link::{Closing, End, Link, Pipe, State};
pub(crate) use weather::Blow;

/// Links that wait to be accepted by one node.
const BACKLOG_MAX: usize = 128;

/// After how long what was lost is sent again.
const RESEND: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3));

/// One end of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Socket {
    link: u32,
    generation: u32,
    side: u8,
}

impl Socket {
    fn other(self) -> Self {
        Self { side: 1 - self.side, ..self }
    }

    /// The link, whichever end this is.
    pub(crate) fn link(self) -> (u32, u32) {
        (self.link, self.generation)
    }
}

/// Something that happens in the network.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NetEvent {
    /// Bytes, or their end, reach this end.
    Arrive(Socket),
    /// What could not reach this end is sent again.
    Again(Socket),
    /// A reset reaches this end.
    Reset(Socket),
    /// There is room again for what this end writes.
    Room(Socket),
    /// A dial reaches its target, or not.
    Syn { dial: DialKey, tries: u32 },
    /// The answer to a dial is back.
    Answer { dial: DialKey, answer: Result<Socket, IoCause> },
}

/// Who has to be told that something can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Woken {
    pub(crate) node: usize,
    pub(crate) what: Ready,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    Read(ConnectionId),
    Write(ConnectionId),
    Accept,
    Dialed(DialKey, Result<Socket, IoCause>),
}

/// What a read or a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    Bytes(usize),
    WouldBlock,
    Ended,
    Broken(IoCause),
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    link: Option<Link>,
}

#[derive(Debug, Default)]
struct Place {
    listens: bool,
    backlog: VecDeque<Socket>,
    /// Its machine is off.
    dark: bool,
    /// Which part of a divided network it is in.
    part: u8,
    /// Its application does not take messages: those of a link that ends may be dropped.
    is_deaf: bool,
}

/// All links between all nodes.
#[derive(Debug)]
pub(crate) struct Net {
    slots: Vec<Slot>,
    free: VecDeque<u32>,
    places: Vec<Place>,
    dials: BTreeMap<DialKey, usize>,
    draw: Draw,
    links: Links,
    pub(crate) woken: Vec<Woken>,
    /// When what one node had sent to another may last have been lost with a link.
    losses: BTreeMap<(usize, usize), Instant>,
    /// Pairs that have, or had, a link slower than the least bandwidth.
    slow: BTreeSet<(usize, usize)>,
}

/// The address of a node.
pub(crate) fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (node >> 8) as u8, node as u8], 4001))
}

fn node_at(address: SocketAddr) -> Option<usize> {
    match address {
        SocketAddr::V4(v4) if v4.port() == 4001 => {
            let [_, _, high, low] = v4.ip().octets();
            Some(usize::from(high) << 8 | usize::from(low))
        }
        _ => None,
    }
}

impl Net {
    pub(crate) fn new(seed: u64, nodes: usize, links: Links) -> Self {
        Self {
            slots: Vec::new(),
            free: VecDeque::new(),
            places: (0..nodes).map(|_| Place::default()).collect(),
            dials: BTreeMap::new(),
            draw: Draw::new(seed, "net", 0),
            links,
            woken: Vec::new(),
            losses: BTreeMap::new(),
            slow: BTreeSet::new(),
        }
    }

    fn get(&self, socket: Socket) -> Option<&Link> {
        let slot = self.slots.get(socket.link as usize)?;
        slot.link.as_ref().filter(|_| slot.generation == socket.generation)
    }

    fn get_mut(&mut self, socket: Socket) -> Option<&mut Link> {
        let slot = self.slots.get_mut(socket.link as usize)?;
        slot.link.as_mut().filter(|_| slot.generation == socket.generation)
    }

    /// Names the connection that a socket belongs to. What is there already wakes it.
    pub(crate) fn own(&mut self, socket: Socket, connection: ConnectionId) {
        let side = usize::from(socket.side);
        if let Some(link) = self.get_mut(socket) {
            link.ends[side].owner = Some(connection);
        }
    }

    /// Writes as much as there is room for.
    pub(crate) fn write(&mut self, time: &mut Time, socket: Socket, chunks: &[&[u8]]) -> Moved {
        let now = time.now();
        let whole = self.draw.chance(80);
        let jitter = self.draw.number();
        let Some(link) = self.get_mut(socket) else { return Moved::Broken(IoCause::Reset) };
        let (side, cut) = (usize::from(socket.side), link.cut);
        if let Some(cause) = link.ends[side].broken {
            return Moved::Broken(cause);
        }
        let delay = link.latency + scaled(link.jitter, jitter);
        let pipe = &mut link.pipes[1 - side];
        let total: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        let mut left = total.min(pipe.room());
        if cut > 0 && !whole {
            left = left.min(cut);
        }
        if left == 0 {
            pipe.wants_room = total > 0;
            return Moved::WouldBlock;
        }
        let mut bytes = Vec::with_capacity(left);
        for chunk in chunks {
            let part = &chunk[..chunk.len().min(left - bytes.len())];
            bytes.extend_from_slice(part);
        }
        let taken = bytes.len();
        if pipe.swallows {
            return Moved::Bytes(taken);
        }
        // What takes long to send arrives bit by bit.
        let most = (pipe.bandwidth / 4).clamp(1460, 1 << 20) as usize;
        while bytes.len() > most {
            let rest = bytes.split_off(most);
            pipe.send(now, std::mem::replace(&mut bytes, rest), delay);
            time.plan(pipe.last_at, Event::Net(NetEvent::Arrive(socket.other())));
        }
        pipe.send(now, bytes, delay);
        time.plan(pipe.last_at, Event::Net(NetEvent::Arrive(socket.other())));
        Moved::Bytes(taken)
    }

    /// Reads what is there, as far as the buffer has room.
    pub(crate) fn read(
        &mut self,
        time: &mut Time,
        socket: Socket,
        buffer: &mut BytesMut,
        trace: &mut Trace<'_>,
    ) -> Moved {
        let whole = self.draw.chance(50);
        let Some(link) = self.get_mut(socket) else { return Moved::Broken(IoCause::Reset) };
        let (side, cut, latency) = (usize::from(socket.side), link.cut, link.latency);
        if let Some(cause) = link.ends[side].broken {
            return Moved::Broken(cause);
        }
        let pipe = &mut link.pipes[side];
        let mut max = buffer.capacity() - buffer.len();
        if cut > 0 && !whole {
            max = max.min(cut);
        }
        let read = pipe.read(max, |bytes| {
            trace.bytes(bytes);
            buffer.extend_from_slice(bytes);
        });
        if read == 0 {
            return if pipe.ended && pipe.readable() == 0 {
                Moved::Ended
            } else {
                Moved::WouldBlock
            };
        }
        if std::mem::take(&mut pipe.wants_room) {
            time.plan_in(latency, Event::Net(NetEvent::Room(socket.other())));
        }
        Moved::Bytes(read)
    }

    /// Ends what this side writes.
    pub(crate) fn finish(&mut self, time: &mut Time, socket: Socket) {
        let now = time.now();
        let Some(link) = self.get_mut(socket) else { return };
        let latency = link.latency;
        let heard = link.pipes[usize::from(socket.side)].ended;
        let pipe = &mut link.pipes[usize::from(1 - socket.side)];
        if pipe.end_at.is_none() {
            link.closing = match link.closing {
                None => Some(Closing::First(socket.side)),
                Some(Closing::First(_)) if !heard => Some(Closing::Crossed),
                known => known,
            };
            let at = pipe.arrival(now, 0, latency);
            pipe.end_at = Some(at);
            time.plan(at, Event::Net(NetEvent::Arrive(socket.other())));
        }
    }

    /// Closes a socket; what was written still arrives.
    pub(crate) fn close(&mut self, time: &mut Time, socket: Socket) {
        self.finish(time, socket);
        self.let_go(time, socket, State::Closed);
    }

    /// Drops a socket; what was written is lost.
    pub(crate) fn abort(&mut self, time: &mut Time, socket: Socket) {
        let Some(link) = self.get_mut(socket) else { return };
        link.pipes[usize::from(1 - socket.side)].clear();
        let latency = link.latency;
        time.plan_in(latency, Event::Net(NetEvent::Reset(socket.other())));
        self.let_go(time, socket, State::Closed);
    }

    fn let_go(&mut self, time: &mut Time, socket: Socket, state: State) {
        let now = time.now();
        let Some(link) = self.get_mut(socket) else { return };
        let side = usize::from(socket.side);
        link.ends[side].state = state;
        link.ends[side].owner = None;
        let unread = link.pipes[side].held > 0 && state == State::Closed;
        // Both ends said that they are done, and everything that was said is heard or on its way.
        let in_order = state == State::Closed && link.pipes[side].ended && !unread;
        link.pipes[side].clear();
        let (latency, other, end) = (link.latency, &link.ends[1 - side], link.closing);
        let both = (link.ends[0].node, link.ends[1].node);
        if other.state != State::Open {
            self.remove(socket);
        } else if unread {
            // Somebody still writes to it.
            time.plan_in(latency, Event::Net(NetEvent::Reset(socket.other())));
        }
        let deaf = self.places[both.0].is_deaf || self.places[both.1].is_deaf;
        match end {
            // Whoever ends first hears nothing more, but all that it had sent is heard.
            Some(Closing::First(first)) if in_order && !deaf => {
                let (to, from) = if first == 0 { both } else { (both.1, both.0) };
                self.losses.insert((from, to), now);
            }
            _ => self.count_loss(now, both),
        }
    }

    /// Whether the application of a node takes messages.
    pub(crate) fn set_deaf(&mut self, node: usize, is_deaf: bool) {
        self.places[node].is_deaf = is_deaf;
    }

    fn count_loss(&mut self, now: Instant, (one, two): (usize, usize)) {
        self.losses.insert((one, two), now);
        self.losses.insert((two, one), now);
    }

    /// When a link between two nodes last ended in such a way that what one had sent to the other
    /// may have been lost, or began to lose it; the end of time for those that ever had a slow one.
    pub(crate) fn last_loss(&self, from: usize, to: usize) -> Option<Instant> {
        let lost = self.losses.get(&(from, to)).copied();
        if self.slow.contains(&(from.min(to), from.max(to))) { Some(Instant::MAX) } else { lost }
    }

    fn insert(&mut self, link: Link) -> Socket {
        let index = self.free.pop_front().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        slot.link = Some(link);
        Socket { link: index, generation: slot.generation, side: 0 }
    }

    fn remove(&mut self, socket: Socket) {
        if self.get(socket).is_some() {
            let slot = &mut self.slots[socket.link as usize];
            slot.link = None;
            slot.generation += 1;
            self.free.push_back(socket.link);
        }
    }

    fn new_link(&mut self, now: Instant, from: usize, to: usize) -> Link {
        let Links { latency, jitter, bandwidth, buffer, cut_percent } = self.links.clone();
        let end = |node| End { node, owner: None, state: State::Open, broken: None };
        let latency = self.draw.any_scale(latency.0, latency.1);
        let bandwidth = self.draw.between(bandwidth.0, bandwidth.1);
        // A buffer is what is under way during a round trip: with little of it a long link is slow,
        // and messages may stand still for so long that they are given up.
        let least = 2.0 * (latency + jitter).as_secs_f64() * self.links.bandwidth.0 as f64;
        let mut buffer = self.draw.between(buffer.0, buffer.1);
        if buffer < least as u64 {
            if self.draw.chance(20) {
                self.slow.insert((from.min(to), from.max(to)));
            } else {
                buffer = least as u64;
            }
        }
        let buffer = buffer as usize;
        // One byte at a time costs a step each, so few links are as bad as that.
        let least = if self.draw.one_in(200) { 1 } else { 100 };
        let cut = if self.draw.chance(cut_percent) { self.draw.between(least, 4000) } else { 0 };
        Link {
            ends: [end(from), end(to)],
            pipes: [Pipe::new(now, buffer, bandwidth), Pipe::new(now, buffer, bandwidth)],
            closing: None,
            latency,
            jitter,
            cut: cut as usize,
        }
    }

    /// Whether packets between two nodes are lost now.
    fn is_cut(&self, one: usize, two: usize) -> bool {
        self.places[one].part != self.places[two].part
    }

    pub(crate) fn handle(&mut self, time: &mut Time, event: NetEvent) {
        match event {
            NetEvent::Arrive(socket) => self.on_arrive(time, socket),
            NetEvent::Again(socket) => {
                if let Some(link) = self.get_mut(socket) {
                    link.pipes[usize::from(socket.side)].waiting = false;
                }
                self.on_arrive(time, socket);
            }
            NetEvent::Reset(socket) => self.on_reset(socket),
            NetEvent::Room(socket) => self.wake(socket, Ready::Write),
            NetEvent::Syn { dial, tries } => self.on_syn(time, dial, tries),
            NetEvent::Answer { dial, answer } => self.on_answer(time, dial, answer),
        }
    }

    fn wake(&mut self, socket: Socket, ready: impl FnOnce(ConnectionId) -> Ready) {
        let Some(link) = self.get(socket) else { return };
        let End { node, owner, .. } = &link.ends[usize::from(socket.side)];
        if let Some(owner) = owner {
            let woken = Woken { node: *node, what: ready(*owner) };
            self.woken.push(woken);
        }
    }

    fn on_arrive(&mut self, time: &mut Time, socket: Socket) {
        let now = time.now();
        let Some(link) = self.get(socket) else { return };
        let side = usize::from(socket.side);
        let (reader, writer) = (&link.ends[side], &link.ends[1 - side]);
        let (state, off) = (reader.state, self.places[reader.node].dark);
        let cut = self.is_cut(reader.node, writer.node);
        let pipe = &link.pipes[side];
        let stalled = pipe.stalled_until.since(now);
        if pipe.black_hole || pipe.waiting {
            return;
        }
        let latency = link.latency;
        let lost = cut || state == State::Dark && off;
        if lost || !stalled.is_zero() {
            let wait = if lost { self.draw.time(RESEND.0, RESEND.1) } else { stalled };
            let Some(link) = self.get_mut(socket) else { return };
            link.pipes[side].waiting = true;
            time.plan_in(wait, Event::Net(NetEvent::Again(socket)));
            return;
        }
        let Some(link) = self.get_mut(socket) else { return };
        let pipe = &mut link.pipes[side];
        if state != State::Open {
            pipe.clear();
            if pipe.end_at.is_none() || state == State::Dark {
                time.plan_in(latency, Event::Net(NetEvent::Reset(socket.other())));
            }
            return;
        }
        if pipe.arrive(now) {
            self.wake(socket, Ready::Read);
        }
    }

    fn on_reset(&mut self, socket: Socket) {
        let Some(link) = self.get(socket) else { return };
        let side = usize::from(socket.side);
        let (one, two) = (link.ends[0].node, link.ends[1].node);
        if self.is_cut(one, two) || self.places[link.ends[side].node].dark {
            return;
        }
        if link.pipes[side].black_hole || link.ends[side].state != State::Open {
            return;
        }
        if let Some(link) = self.get_mut(socket) {
            link.ends[side].broken = Some(IoCause::Reset);
        }
        self.wake(socket, Ready::Read);
        self.wake(socket, Ready::Write);
    }
}

/// A part of `whole`, chosen by a number.
fn scaled(whole: Duration, by: u64) -> Duration {
    if whole.is_zero() {
        return whole;
    }
    // Most packets are near the usual delay.
    let share = (by >> 40) as f64 / (1_u64 << 24) as f64;
    whole.mul_f64(share * share)
}
