//! What a node needs of a runtime, by tokio.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use headwater_core::time::Instant;
use headwater_runtime::{Listener, Runtime, Socket, Timer};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::Sleep;

/// A tokio runtime, and a clock that started with this.
///
/// The clock is tokio's, not the system's: where a test pauses it, nodes pause as well.
#[derive(Clone, Debug)]
pub struct Tokio {
    handle: Handle,
    origin: tokio::time::Instant,
}

impl Runtime for Tokio {
    type Socket = TokioSocket;
    type Listener = TokioListener;
    type Timer = TokioTimer;

    fn current() -> Option<Self> {
        let handle = Handle::try_current().ok()?;
        Some(Self { handle, origin: tokio::time::Instant::now() })
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // Nobody waits for it by this handle.
        drop(self.handle.spawn(task));
    }

    fn now(&self) -> Instant {
        Instant::ZERO.after(self.origin.elapsed())
    }

    fn timer(&self) -> TokioTimer {
        // Also for a thread that is not one of this runtime's.
        let _inside = self.handle.enter();
        let sleep = Box::pin(tokio::time::sleep_until(self.origin));
        TokioTimer { origin: self.origin, sleep }
    }

    async fn connect(self, remote: SocketAddr) -> io::Result<TokioSocket> {
        TcpStream::connect(remote).await.map(TokioSocket)
    }

    fn listener(&self, socket: std::net::TcpListener) -> io::Result<TokioListener> {
        let _inside = self.handle.enter();
        TcpListener::from_std(socket).map(TokioListener)
    }

    async fn resolve(self, name: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((name, port)).await?.collect())
    }
}

/// A connected socket of tokio.
#[derive(Debug)]
pub struct TokioSocket(TcpStream);

impl Socket for TokioSocket {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        pin!(self.0.read_buf(buffer)).poll(cx)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, pieces)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn set_nodelay(&self) {
        let _ = self.0.set_nodelay(true);
    }

    fn finish(&self) {
        // It fails where the link is broken, and then reading says so.
        let _ = SockRef::from(&self.0).shutdown(std::net::Shutdown::Write);
    }

    fn reset_on_drop(&self) {
        // If it fails this is an ordinary close.
        let _ = SockRef::from(&self.0).set_linger(Some(Duration::ZERO));
    }
}

/// A listening socket of tokio.
#[derive(Debug)]
pub struct TokioListener(TcpListener);

impl Listener for TokioListener {
    type Socket = TokioSocket;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TokioSocket, SocketAddr)>> {
        let accepted = self.0.poll_accept(cx);
        accepted.map_ok(|(socket, remote)| (TokioSocket(socket), remote))
    }
}

/// A timer of tokio.
#[derive(Debug)]
pub struct TokioTimer {
    origin: tokio::time::Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Timer for TokioTimer {
    fn set(&mut self, at: Instant) {
        // tokio's clock has an end, and nothing here waits for a day.
        let far = self.origin.elapsed() + Duration::from_secs(24 * 3600);
        self.sleep.as_mut().reset(self.origin + at.since(Instant::ZERO).min(far));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_clock_is_tokios_and_timers_follow_it() {
        let runtime = Tokio::current().unwrap();
        let mut timer = runtime.timer();
        for seconds in [1000, 600] {
            timer.set(Instant::ZERO.after(Duration::from_secs(seconds)));
        }
        poll_fn(|cx| timer.poll(cx)).await;
        let passed = runtime.now().since(Instant::ZERO);
        assert!(passed.as_secs() == 600, "{passed:?}");
        timer.set(Instant::ZERO);
        poll_fn(|cx| timer.poll(cx)).await;
        // Too far for any clock.
        timer.set(Instant::ZERO.after(Duration::MAX));
        assert!(timer.poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
    }

    #[tokio::test]
    async fn a_closed_port_is_refused() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = socket.local_addr().unwrap();
        drop(socket);
        let refused = Tokio::current().unwrap().connect(remote).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn names_resolve_to_addresses_with_the_port() {
        let found = Tokio::current().unwrap().resolve("localhost".to_owned(), 5).await.unwrap();
        assert!(!found.is_empty());
        assert!(found.iter().all(|address| address.port() == 5 && address.ip().is_loopback()));
    }

    #[test]
    fn timers_and_listeners_are_made_on_any_thread() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let tokio = runtime.block_on(async { Tokio::current().unwrap() });
        let mut timer = tokio.timer();
        timer.set(Instant::ZERO);
        runtime.block_on(poll_fn(|cx| timer.poll(cx)));
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        assert!(tokio.listener(socket).is_ok());
    }

    #[test]
    fn outside_of_a_runtime_there_is_none() {
        assert!(Tokio::current().is_none());
    }
}
