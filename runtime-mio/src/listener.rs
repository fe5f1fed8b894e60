//! Listening sockets.
//!
//! Readiness is edge-triggered, so a listener keeps a bit that says there may be a link to accept;
//! only "would block" clears it. A failed accept does not clear it either but makes the listener
//! wait: a process without descriptors must not spin on a backlog that it cannot take from.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use crate::cause;

/// Links that the system keeps for us until we accept them.
const BACKLOG: i32 = 1024;

/// The wait after a failed accept; doubles while it goes on failing.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// One listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    is_ready: bool,
    backoff: Duration,
    not_before: Option<Instant>,
}

/// What came of an attempt to accept.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// A link.
    Link(TcpStream, SocketAddr),
    /// There is none now, or it is not the time to try.
    Nothing,
    /// The socket is of no more use.
    Broken(io::Error),
}

/// Binds a listening socket whose port nobody else has (D-67). An IPv6 socket takes IPv6 alone.
fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // On Windows this would share the port; elsewhere it only spares the wait after a restart.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

impl Listener {
    /// Binds `address`; gives what it is bound to.
    pub(crate) fn open(
        address: SocketAddr,
        registry: &Registry,
        token: Token,
    ) -> io::Result<(Self, SocketAddr)> {
        let mut socket = TcpListener::from_std(bind(address)?.into());
        let local = socket.local_addr()?;
        registry.register(&mut socket, token, Interest::READABLE)?;
        let backoff = BACKOFF_MIN;
        Ok((Self { socket, is_ready: true, backoff, not_before: None }, local))
    }

    /// The system says that there is something to accept.
    pub(crate) fn set_ready(&mut self) {
        self.is_ready = true;
    }

    /// When an attempt is worth it: `None` not before the system says so, else after a wait.
    pub(crate) fn next_attempt(&self) -> Option<Duration> {
        let now = || self.not_before.map(|at| at.saturating_duration_since(Instant::now()));
        self.is_ready.then(|| now().unwrap_or_default())
    }

    /// Accepts a link, if there is one and it is time.
    pub(crate) fn accept(&mut self) -> Accepted {
        while self.next_attempt() == Some(Duration::ZERO) {
            match self.socket.accept() {
                Ok((stream, remote)) => {
                    self.backoff = BACKOFF_MIN;
                    self.not_before = None;
                    return Accepted::Link(stream, remote);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.is_ready = false,
                Err(error) if cause::is_of_one_link(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    self.is_ready = false;
                    return Accepted::Broken(error);
                }
                // No descriptors or no memory, as a rule.
                Err(_) => self.back_off(),
            }
        }
        Accepted::Nothing
    }

    fn back_off(&mut self) {
        self.not_before = Some(Instant::now() + self.backoff);
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
    }
}

#[cfg(test)]
mod tests {
    use mio::Poll;

    use super::*;

    fn open(poll: &Poll) -> (Listener, SocketAddr) {
        Listener::open("127.0.0.1:0".parse().unwrap(), poll.registry(), Token(1)).unwrap()
    }

    #[test]
    fn d67_a_port_is_not_shared() {
        let poll = Poll::new().unwrap();
        let (_listener, local) = open(&poll);
        let error = Listener::open(local, poll.registry(), Token(2)).unwrap_err();
        assert_eq!(cause::of(&error), headwater_core::contract::IoCause::AddressInUse);
    }

    #[test]
    fn a_listener_with_nothing_to_accept_waits_for_the_system() {
        let poll = Poll::new().unwrap();
        let (mut listener, local) = open(&poll);
        assert!(matches!(listener.accept(), Accepted::Nothing));
        assert_eq!(listener.next_attempt(), None);
        let link = std::net::TcpStream::connect(local).unwrap();
        listener.set_ready();
        let Accepted::Link(_, remote) = listener.accept() else { panic!("nothing accepted") };
        assert_eq!(remote, link.local_addr().unwrap());
    }

    #[test]
    fn d29_after_a_failure_it_waits_longer_and_longer_up_to_a_second() {
        let poll = Poll::new().unwrap();
        let (mut listener, _) = open(&poll);
        let mut waits = Vec::new();
        for _ in 0..7 {
            let wait = listener.backoff;
            listener.back_off();
            let next = listener.next_attempt().expect("still ready");
            assert!(next <= wait && next > Duration::ZERO);
            assert!(matches!(listener.accept(), Accepted::Nothing));
            waits.push(wait.as_millis());
        }
        assert_eq!(waits, [50, 100, 200, 400, 800, 1000, 1000]);
    }
}
