//! Commands: what core wants done.

use std::io;

use headwater_core::contract::{Command, Event, IoCause, LinkCommand, ListenerId};
use headwater_core::id::ConnectionId;
use headwater_core::secure::ChannelFactory;

use super::{EventLoop, enqueue, link_token, listener_token};
use crate::cause;
use crate::link::Link;
use crate::listener::Listener;

impl<F: ChannelFactory> EventLoop<F> {
    /// Does what core wants, and lists the links whose byte side has news. Says whether there was
    /// a command.
    pub(super) fn obey(&mut self) -> bool {
        let mut obeyed = false;
        if std::mem::take(&mut self.queued) {
            self.endpoint.flush(self.clock.now());
        }
        while let Some(command) = self.endpoint.poll_command() {
            obeyed = true;
            self.execute(command);
        }
        while let Some(connection) = self.endpoint.poll_ready() {
            if let Some(link) = self.links.of(connection).filter(|link| !link.is_dialing()) {
                enqueue(&mut self.work, link);
            }
        }
        obeyed
    }

    fn execute(&mut self, command: Command) {
        match command {
            Command::Listen { listener, address } => {
                let token = listener_token(listener);
                match Listener::open(address, self.poll.registry(), token) {
                    Ok((socket, local)) => {
                        self.listeners.insert(listener, socket);
                        self.report(Event::Listening { listener, local });
                    }
                    Err(error) => self.listener_failed(listener, cause::of(&error)),
                }
            }
            Command::StopListening { listener } => {
                self.listeners.remove(&listener);
            }
            Command::Resolve { query, name, port, family } => {
                self.resolver.ask(query, name, port, family);
            }
            Command::Dial { connection, remote } => {
                let token = link_token(self.links.next_place());
                match Link::dial(connection, remote, self.poll.registry(), token) {
                    Ok(link) => self.insert(link),
                    Err(error) => self.dial_failed(connection, &error),
                }
            }
            Command::CancelDial { connection } => {
                self.links.remove(connection);
            }
            Command::PauseAccept => self.accept_paused = true,
            Command::ResumeAccept => self.accept_paused = false,
            Command::Link { connection, command } => self.execute_on_link(connection, command),
            // A command that this loop does not know is of a later core.
            _ => {}
        }
    }

    fn execute_on_link(&mut self, connection: ConnectionId, command: LinkCommand) {
        if command == LinkCommand::Finish {
            if let Some(link) = self.links.of(connection) {
                link.finish = true;
                enqueue(&mut self.work, link);
            }
            return;
        }
        if let Some(link) = self.links.remove(connection) {
            link.close(command == LinkCommand::Abort);
        }
        if let Some(journal) = &mut self.journal {
            journal.closed.push(connection);
        }
    }

    pub(super) fn listener_failed(&mut self, listener: ListenerId, cause: IoCause) {
        self.listeners.remove(&listener);
        self.report(Event::ListenFailed { listener, cause });
    }

    pub(super) fn dial_failed(&mut self, connection: ConnectionId, error: &io::Error) {
        self.report(Event::DialFailed { connection, cause: cause::of(error) });
    }
}
