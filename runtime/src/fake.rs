//! A runtime without a system, for the tests of this crate: its clock stands still until it is
//! told, or until somebody sleeps, and it runs no tasks.

use std::future::{Future, ready};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use headwater_core::time::Instant;

use crate::runtime::{Listener, Runtime, Socket, Timer};
use crate::wake::lock;

/// The runtime; clones share the clock.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fake(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    passed: Duration,
    timers: Vec<Instant>,
    /// A timer that is asked has its time come.
    is_hasty: bool,
}

impl Fake {
    /// One whose clock jumps to where somebody sleeps until.
    pub(crate) fn hasty() -> Self {
        let fake = Self::default();
        lock(&fake.0).is_hasty = true;
        fake
    }

    pub(crate) fn advance(&self, time: Duration) {
        lock(&self.0).passed += time;
    }

    /// What timers were set to, in their order.
    pub(crate) fn timers(&self) -> Vec<Instant> {
        lock(&self.0).timers.clone()
    }
}

impl Runtime for Fake {
    type Socket = NoSocket;
    type Listener = NoSocket;
    type Timer = FakeTimer;

    fn current() -> Option<Self> {
        Some(Self::default())
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(task);
    }

    fn now(&self) -> Instant {
        Instant::ZERO.after(lock(&self.0).passed)
    }

    fn timer(&self) -> FakeTimer {
        FakeTimer { runtime: self.clone(), at: None }
    }

    fn connect(self, _: SocketAddr) -> impl Future<Output = io::Result<NoSocket>> + Send + 'static {
        ready(Err(io::ErrorKind::Unsupported.into()))
    }

    fn listener(&self, _: std::net::TcpListener) -> io::Result<NoSocket> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn resolve(
        self,
        _: String,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static {
        let found = |address: &str| SocketAddr::new(address.parse().expect("an address"), port);
        ready(Ok(["::1", "127.0.0.1", "127.0.0.2"].map(found).to_vec()))
    }
}

/// A timer of the fake clock.
#[derive(Debug)]
pub(crate) struct FakeTimer {
    runtime: Fake,
    at: Option<Instant>,
}

impl Timer for FakeTimer {
    fn set(&mut self, at: Instant) {
        lock(&self.runtime.0).timers.push(at);
        self.at = Some(at);
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        let at = self.at.expect("set before it is asked");
        let wait = at.since(self.runtime.now());
        if lock(&self.runtime.0).is_hasty {
            self.runtime.advance(wait);
        } else if !wait.is_zero() {
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

/// There are none.
#[derive(Debug)]
pub(crate) enum NoSocket {}

impl Socket for NoSocket {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut BytesMut) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_write(&mut self, _: &mut Context<'_>, _: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match *self {}
    }

    fn set_nodelay(&self) {
        match *self {}
    }

    fn finish(&self) {
        match *self {}
    }

    fn reset_on_drop(&self) {
        match *self {}
    }
}

impl Listener for NoSocket {
    type Socket = Self;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<(Self, SocketAddr)>> {
        match *self {}
    }
}
