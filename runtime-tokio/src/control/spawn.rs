//! The tasks that the node's task starts.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use headwater_core::connection::{Connection, Setup};
use headwater_core::contract::{Event, IoCause, ListenerId, QueryId};
use headwater_core::id::ConnectionId;
use headwater_core::secure::ChannelFactory;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::Control;
use crate::cause;
use crate::connection::Task;
use crate::link::Link;
use crate::listen::{Gate, accept, bind};

/// What a task was for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Connection(ConnectionId),
    Listener(ListenerId),
    Dial(ConnectionId),
    Resolve(QueryId),
}

/// What a task has come to.
#[derive(Debug)]
pub(super) enum Ended {
    Connection(ConnectionId),
    Listener(ListenerId, IoCause),
    Dial(ConnectionId, Result<(TcpStream, SocketAddr), IoCause>),
    Resolve(QueryId, Result<Vec<SocketAddr>, IoCause>),
}

impl<F> Control<F>
where
    F: ChannelFactory + Send + 'static,
    F::Channel: Send + 'static,
{
    pub(super) fn spawn(
        &mut self,
        kind: Kind,
        task: impl Future<Output = Ended> + Send + 'static,
    ) -> AbortHandle {
        let handle = self.tasks.spawn(task);
        self.kinds.insert(handle.id(), (kind, handle.clone()));
        handle
    }

    pub(super) fn spawn_connection(&mut self, setup: Setup, socket: TcpStream) {
        let id = setup.connection;
        let channel = self.factory.channel(setup.direction, setup.expected);
        let connection = Connection::new(setup, channel, self.clock.now());
        let link = Arc::new(Link::new(id, connection.outbox()));
        self.links.insert(id, Arc::clone(&link));
        let shared = Arc::clone(&self.shared);
        let task = Task::new(connection, socket, link, shared, self.clock);
        self.spawn(Kind::Connection(id), async move {
            task.run().await;
            Ended::Connection(id)
        });
    }

    pub(super) fn listen(&mut self, listener: ListenerId, address: SocketAddr) {
        let now = self.clock.now();
        match bind(address) {
            Ok((socket, local)) => {
                let gate = Arc::new(Gate::default());
                gate.set(self.paused);
                let accepts = self.accepts.clone();
                let accepting = Arc::clone(&gate);
                let task = self.spawn(Kind::Listener(listener), async move {
                    Ended::Listener(listener, accept(listener, socket, accepting, accepts).await)
                });
                self.listeners.insert(listener, (task, gate));
                self.core.handle_event(now, Event::Listening { listener, local });
            }
            Err(error) => {
                let cause = cause::of(&error);
                self.core.handle_event(now, Event::ListenFailed { listener, cause });
            }
        }
    }
}
