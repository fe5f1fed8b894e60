//! The loop: readiness in, commands out, one thread.
//!
//! A turn looks what core wants, sleeps in the system's poll only if nothing is left to do, then
//! works: deadlines, names, accepts, and for each connection in the work list a write, then a read
//! within a budget. With edge-triggered readiness the list is what remembers: a connection stands
//! in it as long as a readiness bit meets pending bytes or a lent buffer.
//!
//! Bounds: one link for each connection of core and one for each dial under way, one place in the
//! work list for each link.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use headwater_core::contract::{Event, ListenerId};
use headwater_core::endpoint::Endpoint;
use headwater_core::id::ConnectionId;
use headwater_core::secure::ChannelFactory;
use headwater_core::time::Instant;
use mio::{Events, Poll, Token};

use crate::clock::Clock;
use crate::link::Link;
use crate::listener::Listener;
use crate::resolver::Resolver;
use crate::signal::Signal;

mod calls;
mod commands;
mod links;
mod service;
#[cfg(test)]
mod tests;

use links::Links;

/// Readiness events taken from the system at a time.
const EVENTS_MAX: usize = 256;
/// Turns in a row that may leave the system unasked because there is work without it.
const UNASKED_MAX: u8 = 3;

const WAKE: Token = Token(usize::MAX);

fn link_token(place: u32) -> Token {
    Token((place as usize) << 1)
}

fn listener_token(listener: ListenerId) -> Token {
    Token((listener.0 as usize) << 1 | 1)
}

/// A node on this thread, driven turn by turn.
///
/// It never works between turns, and only what a turn or a call returns has happened. After each
/// turn, and after each call, take what there is of notifications and messages; then
/// make the next turn.
///
/// ```
/// use std::time::Duration;
/// use headwater_mio::{Builder, NodeKey, Notification};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = NodeKey::generate()?;
/// let mut node = Builder::new(&key)?.build()?;
/// node.listen("127.0.0.1:0".parse()?)?;
/// while node.turn(Some(Duration::from_millis(10)))? {
///     while let Some(notification) = node.poll_notification() {
///         if let Notification::Listening { local, .. } = notification {
///             println!("listening on {local}");
///             node.stop();
///         }
///     }
///     while let Some(message) = node.poll_message() {
///         println!("{} bytes from {}", message.payload.len(), message.peer);
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct EventLoop<F: ChannelFactory> {
    pub(crate) endpoint: Endpoint<F>,
    clock: Clock,
    poll: Poll,
    events: Events,
    signal: Arc<Signal>,
    links: Links,
    listeners: BTreeMap<ListenerId, Listener>,
    accept_paused: bool,
    /// Whose turn to accept it was last.
    last_accepted: ListenerId,
    resolver: Resolver,
    /// Places of links that have something to do.
    work: VecDeque<u32>,
    unasked: u8,
    /// Messages were queued since the connections were looked at.
    queued: bool,
    pub(crate) journal: Option<Journal>,
}

/// What a turn did, for the owner of the loop's thread.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// Connections that were worked on.
    pub(crate) served: Vec<ConnectionId>,
    /// Connections whose link is gone.
    pub(crate) closed: Vec<ConnectionId>,
}

impl<F: ChannelFactory> EventLoop<F> {
    /// Makes a loop with nothing to do; `endpoint` was made at `clock`'s start or later.
    pub(crate) fn new(endpoint: Endpoint<F>, clock: Clock) -> io::Result<Self> {
        let poll = Poll::new()?;
        let signal = Arc::new(Signal::new(poll.registry(), WAKE)?);
        Ok(Self {
            endpoint,
            clock,
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            resolver: Resolver::new(Arc::clone(&signal)),
            signal,
            links: Links::default(),
            listeners: BTreeMap::new(),
            accept_paused: false,
            last_accepted: ListenerId(0),
            work: VecDeque::new(),
            unasked: 0,
            queued: false,
            journal: None,
        })
    }

    /// One round of the loop: sleeps until there is something to do, but no longer than `timeout`
    /// (`None` is without end), and does it.
    ///
    /// Gives `false` when the node has stopped, [`Notification::Stopped`] was taken and the last
    /// socket is closed; then take what is left of the messages, and make no more turns.
    ///
    /// [`Notification::Stopped`]: headwater_core::contract::Notification::Stopped
    ///
    /// # Errors
    ///
    /// The system's poll failed, which it does only for want of memory. The loop may go on.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        let busy = self.obey() || !self.work.is_empty();
        if !self.is_alive() {
            return Ok(false);
        }
        if busy && self.unasked < UNASKED_MAX {
            self.unasked += 1;
        } else {
            self.unasked = 0;
            self.wait(if busy { Some(Duration::ZERO) } else { timeout })?;
        }
        self.work();
        self.obey();
        Ok(self.is_alive())
    }

    /// How long the next turn sleeps if nothing happens; `None` is without end.
    ///
    /// For a loop that waits on something else together with this one: see the crate's
    /// documentation.
    pub fn next_timeout(&mut self) -> Option<Duration> {
        if self.obey() || !self.work.is_empty() {
            return Some(Duration::ZERO);
        }
        let core = self.endpoint.next_timeout().map(|deadline| self.clock.until(deadline.at));
        let accept = self.accepting().filter_map(|(_, listener)| listener.next_attempt()).min();
        [core, accept].into_iter().flatten().min()
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(crate) fn signal(&self) -> &Arc<Signal> {
        &self.signal
    }

    /// Whether there is anything that a further turn could do.
    fn is_alive(&self) -> bool {
        !self.endpoint.is_stopped() || self.links.len() > 0
    }

    /// Sleeps in the system's poll, and notes what it says.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let mut limit = [timeout, self.next_timeout()].into_iter().flatten().min();
        let sleeps = limit != Some(Duration::ZERO);
        if sleeps && !self.signal.fall_asleep() {
            limit = Some(Duration::ZERO);
        }
        let result = self.poll.poll(&mut self.events, limit);
        self.signal.wake_up();
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &self.events {
            let Token(token) = event.token();
            if event.token() == WAKE {
                continue;
            }
            if token & 1 == 1 {
                let listener = ListenerId(u32::try_from(token >> 1).unwrap_or(u32::MAX));
                if let Some(listener) = self.listeners.get_mut(&listener) {
                    listener.set_ready();
                }
            } else if let Some(link) = self.links.at((token >> 1) as u32) {
                link.set_ready(event);
                enqueue(&mut self.work, link);
            }
        }
        Ok(())
    }

    /// Does what is due, within budgets.
    fn work(&mut self) {
        let now = self.now();
        if self.endpoint.next_timeout().is_some_and(|deadline| deadline.at <= now) {
            self.endpoint.handle_timeout(now);
        }
        while let Some(answer) = self.resolver.poll_answer() {
            self.endpoint.handle_event(now, answer);
        }
        self.accept();
        // A link that is still ready after its turn goes to the end: its place is in the next one.
        for _ in 0..self.work.len() {
            let Some(place) = self.work.pop_front() else { break };
            self.serve(place);
        }
    }

    fn accepting(&self) -> impl Iterator<Item = (&ListenerId, &Listener)> {
        self.listeners.iter().filter(|_| !self.accept_paused)
    }

    fn insert(&mut self, link: Link) {
        let link = self.links.insert(link);
        if !link.is_dialing() {
            enqueue(&mut self.work, link);
        }
    }

    fn report(&mut self, event: Event) {
        let now = self.now();
        self.endpoint.handle_event(now, event);
    }
}

/// Lists a link for work, once.
fn enqueue(work: &mut VecDeque<u32>, link: &mut Link) {
    if !link.queued {
        link.queued = true;
        work.push_back(link.place);
    }
}

impl<F: ChannelFactory> std::fmt::Debug for EventLoop<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventLoop")
            .field("links", &self.links.len())
            .field("listeners", &self.listeners.len())
            .finish_non_exhaustive()
    }
}

#[cfg(unix)]
impl<F: ChannelFactory> std::os::fd::AsRawFd for EventLoop<F> {
    /// The descriptor of the loop's poll: readable when a turn has something to do.
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.poll.as_raw_fd()
    }
}
