//! What a node needs of a runtime, by async-io and an executor.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant as StdInstant};

use async_io::Async;
use headwater_core::time::Instant;
use headwater_runtime::Runtime;

use crate::executor::Executor;
use crate::socket::{IoListener, IoSocket};

/// A runtime whose tasks run on `E`, whose sockets and timers are those of async-io, and whose
/// clock started with it.
#[derive(Clone, Debug)]
pub struct AsyncIo<E> {
    executor: E,
    origin: StdInstant,
}

impl<E: Executor> AsyncIo<E> {
    /// A runtime over an executor.
    pub fn new(executor: E) -> Self {
        Self { executor, origin: StdInstant::now() }
    }
}

impl<E: Executor> Runtime for AsyncIo<E> {
    type Socket = IoSocket;
    type Listener = IoListener;
    type Timer = IoTimer;

    fn current() -> Option<Self> {
        E::global().map(Self::new)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.executor.spawn(task);
    }

    fn now(&self) -> Instant {
        Instant::ZERO.after(self.origin.elapsed())
    }

    fn timer(&self) -> IoTimer {
        IoTimer { origin: self.origin, timer: async_io::Timer::never() }
    }

    async fn connect(self, remote: SocketAddr) -> io::Result<IoSocket> {
        Async::<TcpStream>::connect(remote).await.map(IoSocket::new)
    }

    fn listener(&self, socket: std::net::TcpListener) -> io::Result<IoListener> {
        IoListener::new(socket)
    }

    async fn resolve(self, name: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        // On a thread for such things: the system's resolver blocks.
        blocking::unblock(move || Ok((name, port).to_socket_addrs()?.collect())).await
    }
}

/// A timer of async-io.
#[derive(Debug)]
pub struct IoTimer {
    origin: StdInstant,
    timer: async_io::Timer,
}

impl headwater_runtime::Timer for IoTimer {
    fn set(&mut self, at: Instant) {
        // The system's clock has an end, and nothing here waits for a day.
        let far = self.origin.elapsed() + Duration::from_secs(24 * 3600);
        self.timer.set_at(self.origin + at.since(Instant::ZERO).min(far));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.timer).poll(cx).map(drop)
    }
}
