//! A node in a loop of one's own: `custom_loop 127.0.0.1:7000` listens and echoes,
//! `custom_loop /ip4/127.0.0.1/tcp/7000` dials, says hello, prints the echo and stops.
#![allow(clippy::disallowed_methods, reason = "it is the loop that has the clock")]

use headwater_core::contract::IoCause::{Refused, Reset};
use headwater_core::contract::{Command, Event, LinkCommand, ListenerId, Notification};
use headwater_core::id::{ConnectionId, ProtocolId};
use headwater_core::{config::Config, error::SendError, message::Message, seed::Seed};
use headwater_core::{endpoint::Endpoint, time::Instant};
use headwater_identity::NodeKey;
use headwater_tls::Tls;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::{collections::BTreeMap, env, error::Error, process};

struct Loop {
    core: Endpoint<Tls>,
    listeners: BTreeMap<ListenerId, TcpListener>,
    links: BTreeMap<ConnectionId, TcpStream>,
}
impl Loop {
    fn execute(&mut self, now: Instant, command: Command) -> io::Result<()> {
        let failed = |connection| Event::DialFailed { connection, cause: Refused };
        match command {
            Command::Listen { listener, address } => {
                let socket = TcpListener::bind(address)?;
                socket.set_nonblocking(true)?;
                let local = socket.local_addr()?;
                self.listeners.insert(listener, socket);
                self.core.handle_event(now, Event::Listening { listener, local });
            }
            Command::StopListening { listener } => drop(self.listeners.remove(&listener)),
            Command::Dial { connection, remote } => match TcpStream::connect(remote) {
                Ok(link) => {
                    link.set_nonblocking(true)?;
                    let dialed = self.core.handle_dialed(now, connection, link.local_addr()?);
                    self.links.extend(dialed.ok().map(|()| (connection, link)));
                }
                Err(_) => self.core.handle_event(now, failed(connection)),
            },
            Command::Link { connection, command: LinkCommand::Finish } => {
                drop(self.links[&connection].shutdown(Shutdown::Write));
            }
            Command::Link { connection, .. } => drop(self.links.remove(&connection)),
            _ => {}
        }
        Ok(())
    }
    /// Sleeps until a socket is ready or the deadline has come, and serves who is ready.
    fn turn(&mut self, clock: impl Fn() -> Instant) -> io::Result<()> {
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
        let ready: Vec<bool> = polled.iter().map(|fd| !fd.revents().is_empty()).collect();
        let now = clock();
        self.core.handle_timeout(now);
        for ((id, _), _) in wants.iter().zip(ready).filter(|(_, ready)| *ready) {
            if self.serve(now, *id).is_err_and(|error| error.kind() != ErrorKind::WouldBlock) {
                self.core.handle_io_error(now, *id, Reset);
            }
        }
        for (listener, socket) in &self.listeners {
            match socket.accept() {
                Ok((link, remote)) => {
                    link.set_nonblocking(true)?;
                    let accepted = self.core.handle_accepted(now, *listener, remote);
                    self.links.extend(accepted.ok().map(|id| (id, link)));
                }
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                Err(_) => {}
            }
        }
        Ok(())
    }
    /// One write and one read, for those that would not block.
    fn serve(&mut self, now: Instant, id: ConnectionId) -> io::Result<()> {
        let mut link = &self.links[&id];
        let mut chunks: [&[u8]; 16] = [&[]; 16];
        let count = self.core.transmit(now, id, &mut chunks);
        let sent = link.write_vectored(&chunks.map(IoSlice::new)[..count]);
        self.core.handle_transmitted(now, id, *sent.as_ref().unwrap_or(&0));
        let Some(buf) = self.core.recv_buf(id) else { return sent.map(drop) };
        let len = buf.len();
        buf.resize(buf.capacity(), 0);
        let result = link.read(&mut buf[len..]);
        buf.truncate(len + *result.as_ref().unwrap_or(&0));
        self.core.handle_received(now, id).map_err(io::Error::other)?;
        if result? == 0 {
            self.core.handle_eof(now, id);
        }
        sent.map(drop)
    }
}
fn main() {
    if let Err(error) = run() {
        eprintln!("{error}");
        process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let target = env::args().nth(1).ok_or("an address to listen on or to dial, please")?;
    let dials = target.starts_with('/');
    let start = std::time::Instant::now();
    let clock = || Instant::ZERO.after(start.elapsed());
    let seed = Seed::from_u64(u64::from(process::id()));
    let channels = Tls::new(&NodeKey::generate()?)?;
    let mut core = Endpoint::new(Config::default(), seed, channels, clock())?;
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
            match notification {
                Notification::Supported { peer, protocol } if dials && protocol == echo => {
                    node.core.send(clock(), &peer, &echo, "hello".into())?;
                }
                Notification::DialFailed { error, .. } => return Err(error.into()),
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
