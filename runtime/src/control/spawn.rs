//! The tasks that the node's task starts.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use headwater_core::connection::{Connection, Setup};
use headwater_core::contract::{Event, IoCause, ListenerId, QueryId};
use headwater_core::id::ConnectionId;
use headwater_core::secure::ChannelFactory;
use headwater_core::snapshot::Traffic;

use super::Control;
use crate::cause;
use crate::connection::Task;
use crate::link::{LEAVE, Link};
use crate::listen::{Gate, accept, bind};
use crate::runtime::Runtime;
use crate::tasks::Cancel;

/// What a task is for, and how it is told that it is not wanted any more.
#[derive(Debug)]
pub(super) enum Kind {
    Connection(ConnectionId, Arc<Link>),
    Listener(ListenerId, Arc<Cancel>),
    Dial(ConnectionId, Arc<Cancel>),
    Resolve(QueryId, Arc<Cancel>),
}

impl Kind {
    /// Ends the task where it stands.
    pub(super) fn cancel(&self) {
        match self {
            Self::Connection(_, link) => link.wake.set(LEAVE),
            Self::Listener(_, task) | Self::Dial(_, task) | Self::Resolve(_, task) => task.cancel(),
        }
    }
}

/// What a task has come to.
#[derive(Debug)]
pub(super) enum Ended<S> {
    /// With what it has counted after its last report.
    Connection(ConnectionId, Box<Traffic>),
    Listener(ListenerId, IoCause),
    Dial(ConnectionId, Result<(S, SocketAddr), IoCause>),
    Resolve(QueryId, Result<Vec<SocketAddr>, IoCause>),
    /// A listener that was closed, a dial that was given up: nothing is lost.
    Cancelled,
}

impl<F, R> Control<F, R>
where
    R: Runtime,
    F: ChannelFactory + Send + 'static,
    F::Channel: Send + 'static,
{
    fn spawn(&mut self, kind: Kind, work: impl Future<Output = Ended<R::Socket>> + Send + 'static) {
        let task = self.next_task;
        self.next_task += 1;
        self.kinds.insert(task, kind);
        self.runtime.spawn(Arc::clone(&self.results).report(task, work));
    }

    /// Starts work that may be cancelled.
    pub(super) fn spawn_work<T: Send + 'static>(
        &mut self,
        kind: impl FnOnce(Arc<Cancel>) -> Kind,
        work: impl Future<Output = T> + Send + 'static,
        ended: impl FnOnce(T) -> Ended<R::Socket> + Send + 'static,
    ) -> Arc<Cancel> {
        let task = Arc::new(Cancel::default());
        let cancel = Arc::clone(&task);
        self.spawn(kind(Arc::clone(&task)), async move {
            cancel.unless(work).await.map_or(Ended::Cancelled, ended)
        });
        task
    }

    pub(super) fn spawn_connection(&mut self, setup: Setup, socket: R::Socket) {
        let id = setup.connection;
        let channel = self.factory.channel(setup.direction, setup.expected);
        let connection = Connection::new(setup, channel, self.runtime.now());
        let link = Arc::new(Link::new(id, connection.outbox()));
        self.links.insert(id, Arc::clone(&link));
        let (shared, runtime) = (Arc::clone(&self.shared), self.runtime.clone());
        let task = Task::new(connection, socket, Arc::clone(&link), shared, runtime);
        let task = Box::new(task);
        self.spawn(Kind::Connection(id, link), async move {
            let late = task.run().await;
            Ended::Connection(id, Box::new(late))
        });
    }

    pub(super) fn listen(&mut self, listener: ListenerId, address: SocketAddr) {
        let now = self.runtime.now();
        match bind(&self.runtime, address) {
            Ok((socket, local)) => {
                let gate = Arc::new(Gate::default());
                gate.set(self.paused);
                let (runtime, accepts) = (self.runtime.clone(), Arc::clone(&self.accepts));
                let task = self.spawn_work(
                    |task| Kind::Listener(listener, task),
                    accept(listener, socket, runtime, Arc::clone(&gate), accepts),
                    move |cause| Ended::Listener(listener, cause),
                );
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
