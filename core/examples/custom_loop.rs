//! A node in a loop of one's own: the sockets of std, and poll(2). No runtime, no `unsafe`.
//!
//! `custom_loop 127.0.0.1:7000` listens, and echoes what it is sent.
//! `custom_loop /ip4/127.0.0.1/tcp/7000` dials, says hello, prints the echo and stops.
#![allow(clippy::disallowed_methods, reason = "it is the loop that has the clock")]

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::{collections::BTreeMap, env, error::Error, process};

use headwater_core::contract::{Command, Event, IoCause, LinkCommand, ListenerId, Notification};
use headwater_core::id::{ConnectionId, KeyKind, PeerId, ProtocolId};
use headwater_core::{config::Config, error::SendError, message::Message, seed::Seed};
use headwater_core::{endpoint::Endpoint, secure::Insecure, time::Instant};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

struct Loop {
    core: Endpoint<Insecure>,
    listeners: BTreeMap<ListenerId, TcpListener>,
    links: BTreeMap<ConnectionId, TcpStream>,
}

impl Loop {
    /// Does what core wants to have done.
    fn execute(&mut self, now: Instant, command: Command) -> io::Result<()> {
        match command {
            Command::Listen { listener, address } => {
                let socket = TcpListener::bind(address)?;
                socket.set_nonblocking(true)?;
                let local = socket.local_addr()?;
                self.listeners.insert(listener, socket);
                self.core.handle_event(now, Event::Listening { listener, local });
            }
            Command::StopListening { listener } => drop(self.listeners.remove(&listener)),
            // The loop waits while std connects, so there is no `CancelDial` to obey.
            Command::Dial { connection, remote } => match TcpStream::connect(remote) {
                Ok(link) => {
                    link.set_nonblocking(true)?;
                    let dialed = self.core.handle_dialed(now, connection, link.local_addr()?);
                    self.links.extend(dialed.ok().map(|()| (connection, link)));
                }
                Err(_) => {
                    let cause = IoCause::Refused;
                    self.core.handle_event(now, Event::DialFailed { connection, cause });
                }
            },
            Command::Link { connection, command: LinkCommand::Finish } => {
                // If this fails the link is broken, and reading says so.
                let _ = self.links[&connection].shutdown(Shutdown::Write);
            }
            Command::Link { connection, .. } => drop(self.links.remove(&connection)),
            _ => {}
        }
        Ok(())
    }

    /// Sleeps until a socket is ready or the deadline has come, and serves who is ready.
    fn turn(&mut self, clock: impl Fn() -> Instant) -> io::Result<()> {
        // poll(2) is level-triggered, so who wants what is asked anew each time.
        while self.core.poll_ready().is_some() {}
        let mut wants = Vec::new();
        for id in self.links.keys() {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::OUT, self.core.wants_transmit(*id));
            flags.set(PollFlags::IN, self.core.recv_buf(*id).is_some());
            wants.extend((!flags.is_empty()).then_some((*id, flags)));
        }
        let links = wants.iter().map(|(id, flags)| PollFd::new(&self.links[id], *flags));
        let listeners = self.listeners.values().map(|one| PollFd::new(one, PollFlags::IN));
        let mut polled: Vec<PollFd<'_>> = links.chain(listeners).collect();
        let wait = self.core.next_timeout().map(|next| next.at.since(clock()));
        poll(&mut polled, wait.and_then(|wait| Timespec::try_from(wait).ok()).as_ref())?;
        let found: Vec<PollFlags> = polled.iter().map(PollFd::revents).collect();
        let now = clock();
        self.core.handle_timeout(now);
        for ((id, _), flags) in wants.iter().zip(found).filter(|(_, flags)| !flags.is_empty()) {
            let result = self.serve(now, *id, flags);
            if result.is_err_and(|error| error.kind() != ErrorKind::WouldBlock) {
                self.core.handle_io_error(now, *id, IoCause::Reset);
            }
        }
        for (listener, socket) in &self.listeners {
            match socket.accept() {
                Ok((link, remote)) => {
                    link.set_nonblocking(true)?;
                    // A link that is refused is dropped here, and so closed.
                    let accepted = self.core.handle_accepted(now, *listener, remote);
                    self.links.extend(accepted.ok().map(|id| (id, link)));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One write and one read, for those that would not block.
    fn serve(&mut self, now: Instant, id: ConnectionId, flags: PollFlags) -> io::Result<()> {
        let mut link = &self.links[&id];
        if flags.contains(PollFlags::OUT) {
            let mut chunks: [&[u8]; 16] = [&[]; 16];
            let count = self.core.transmit(now, id, &mut chunks);
            let n = link.write_vectored(&chunks.map(IoSlice::new)[..count])?;
            self.core.handle_transmitted(now, id, n);
        }
        let Some(buf) = self.core.recv_buf(id) else { return Ok(()) };
        let len = buf.len();
        buf.resize(buf.capacity(), 0);
        let result = link.read(&mut buf[len..]);
        buf.truncate(len + *result.as_ref().unwrap_or(&0));
        self.core.handle_received(now, id).map_err(io::Error::other)?;
        if result? == 0 {
            self.core.handle_eof(now, id);
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let target = env::args().nth(1).ok_or("an address to listen on or to dial, please")?;
    let dials = target.starts_with('/');
    let start = std::time::Instant::now();
    let clock = || Instant::ZERO.after(start.elapsed());
    // Without security any id will do, and of the seed no secret is made.
    let number = u64::from(process::id());
    let local = PeerId::from_public_key(KeyKind::Ecdsa, &number.to_be_bytes().repeat(8));
    let channels = Insecure::new(local).map_err(|len| format!("an id of {len} bytes"))?;
    let mut core = Endpoint::new(Config::default(), Seed::from_u64(number), channels, clock())?;
    let echo = ProtocolId::new("/echo/1.0.0")?;
    core.register(clock(), echo.clone())?;
    if dials {
        core.dial(clock(), target.parse()?)?;
    } else {
        core.listen(clock(), target.parse()?)?;
    }
    let mut node = Loop { core, listeners: BTreeMap::new(), links: BTreeMap::new() };
    let mut refused: Option<Message> = None;
    loop {
        while let Some(notification) = node.core.poll_notification() {
            println!("{notification:?}");
            match notification {
                Notification::Supported { peer, protocol } if dials && protocol == echo => {
                    node.core.send(clock(), &peer, &echo, "hello".into())?;
                }
                Notification::DialFailed { .. } => node.core.stop(clock()),
                _ => {}
            }
        }
        while let Some(message) = refused.take().or_else(|| node.core.poll_message(clock())) {
            let Message { peer, protocol, payload } = message;
            if dials {
                println!("echo: {payload:?}");
                node.core.stop(clock());
            } else if let Err(SendError::Full { payload }) =
                node.core.send(clock(), &peer, &protocol, payload)
            {
                // While the peer reads no echoes, it is not read from either.
                refused = Some(Message { peer, protocol, payload });
                break;
            }
        }
        match node.core.poll_command() {
            Some(command) => node.execute(clock(), command)?,
            None if node.core.is_stopped() => return Ok(()),
            None => node.turn(clock)?,
        }
    }
}
