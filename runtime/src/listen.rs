//! Listening sockets, and the task that accepts on each.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use headwater_core::contract::{IoCause, ListenerId};
use socket2::{Domain, Protocol, Socket, Type};

use crate::cause;
use crate::queue::Queue;
use crate::runtime::{Listener, Runtime, Timer};
use crate::shared::{ACCEPTED, Shared};
use crate::wake::Wake;

/// Links that the system keeps for us until we accept them.
const BACKLOG: i32 = 1024;

/// Accepted links that wait for the node's task, over all listeners; beyond that the tasks that
/// accept wait, each with one in its hands.
pub(crate) const ACCEPTED_MAX: usize = 16;

/// The wait after a failed accept; doubles while it goes on failing.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// A link that was accepted.
#[derive(Debug)]
pub(crate) struct Accepted<S> {
    pub(crate) listener: ListenerId,
    pub(crate) socket: S,
    pub(crate) remote: SocketAddr,
}

/// Binds a listening socket whose port nobody else has (D-67). An IPv6 socket takes IPv6 alone.
pub(crate) fn bind<R: Runtime>(
    runtime: &R,
    address: SocketAddr,
) -> io::Result<(R::Listener, SocketAddr)> {
    let socket = bound(address)?;
    let local = socket.local_addr()?;
    Ok((runtime.listener(socket)?, local))
}

fn bound(address: SocketAddr) -> io::Result<TcpListener> {
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
    Ok(socket.into())
}

/// Holds up one listener.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    wake: Wake,
    is_shut: AtomicBool,
}

impl Gate {
    pub(crate) fn set(&self, is_shut: bool) {
        self.is_shut.store(is_shut, Ordering::Release);
        self.wake.set(1);
    }
}

/// Accepted links on their way to the node's task.
///
/// Bound: [`ACCEPTED_MAX`], and one in the hands of each listener.
#[derive(Debug)]
pub(crate) struct Accepts<S> {
    queue: Queue<Accepted<S>>,
    shared: Arc<Shared>,
}

impl<S> Accepts<S> {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { queue: Queue::new(ACCEPTED_MAX), shared }
    }

    pub(crate) fn take(&self) -> Option<Accepted<S>> {
        self.queue.take()
    }

    /// Takes no more; those that wait are closed.
    pub(crate) fn close(&self) {
        self.queue.close();
    }
}

/// Accepts until the socket breaks for good, or nobody takes what is accepted.
pub(crate) async fn accept<R: Runtime>(
    listener: ListenerId,
    mut socket: R::Listener,
    runtime: R,
    gate: Arc<Gate>,
    accepts: Arc<Accepts<R::Socket>>,
) -> IoCause {
    accept_from(listener, |cx| poll_next(&mut socket, &gate, cx), &runtime, &accepts).await
}

type Next<S> = io::Result<(S, SocketAddr)>;

async fn accept_from<R: Runtime>(
    listener: ListenerId,
    mut next: impl FnMut(&mut Context<'_>) -> Poll<Next<R::Socket>>,
    runtime: &R,
    accepts: &Accepts<R::Socket>,
) -> IoCause {
    let mut timer = runtime.timer();
    let mut backoff = BACKOFF_MIN;
    loop {
        match poll_fn(&mut next).await {
            Ok((socket, remote)) => {
                backoff = BACKOFF_MIN;
                let one = Accepted { listener, socket, remote };
                if accepts.queue.put(one).await.is_err() {
                    return IoCause::Other;
                }
                accepts.shared.wake.set(ACCEPTED);
            }
            Err(error) if is_of_one_link(&error) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return cause::of(&error),
            Err(_) => {
                // No descriptors or no memory, as a rule: later there may be.
                timer.set(runtime.now().after(backoff));
                poll_fn(|cx| timer.poll(cx)).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
    }
}

fn poll_next<L: Listener>(
    socket: &mut L,
    gate: &Gate,
    cx: &mut Context<'_>,
) -> Poll<Next<L::Socket>> {
    loop {
        gate.wake.take();
        if !gate.is_shut.load(Ordering::Acquire) {
            if let Poll::Ready(result) = socket.poll_accept(cx) {
                return Poll::Ready(result);
            }
        }
        if gate.wake.sleep(cx.waker()) {
            return Poll::Pending;
        }
    }
}

/// Errors of a link that ended before it was accepted say nothing about the next one.
fn is_of_one_link(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::Future;
    use std::pin::pin;
    use std::task::Waker;

    use super::*;
    use crate::fake::{Fake, NoSocket};

    #[test]
    fn d67_a_port_is_not_shared() {
        let socket = bound("127.0.0.1:0".parse().unwrap()).unwrap();
        let again = bound(socket.local_addr().unwrap()).unwrap_err();
        assert_eq!(cause::of(&again), IoCause::AddressInUse);
    }

    fn accepts() -> Accepts<NoSocket> {
        let local = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse().unwrap();
        Accepts::new(Arc::new(Shared::new(local)))
    }

    /// Without descriptors, for ten minutes.
    #[test]
    fn d29_a_listener_that_cannot_accept_tries_at_growing_waits() {
        let runtime = Fake::hasty();
        let start = runtime.now();
        let waits = RefCell::new(Vec::new());
        let mut last = start;
        let fail = |_: &mut Context<'_>| {
            let now = runtime.now();
            waits.borrow_mut().push(now.since(last).as_millis());
            last = now;
            if now.since(start) < Duration::from_secs(600) {
                return Poll::Ready(Err(io::Error::from_raw_os_error(24)));
            }
            // And then for good.
            Poll::Ready(Err(io::ErrorKind::InvalidInput.into()))
        };
        let accepts = accepts();
        let accepting = pin!(accept_from(ListenerId(7), fail, &runtime, &accepts));
        assert!(accepting.poll(&mut Context::from_waker(Waker::noop())).is_ready());
        let waits = waits.borrow();
        assert!(waits.len() < 620, "{} attempts", waits.len());
        assert_eq!(waits[..8], [0, 50, 100, 200, 400, 800, 1000, 1000]);
    }

    /// One link waits there at any time.
    struct Backlog(usize);

    impl Listener for Backlog {
        type Socket = NoSocket;

        fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<Next<NoSocket>> {
            self.0 += 1;
            Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
        }
    }

    #[test]
    fn a_shut_gate_leaves_links_in_the_backlog() {
        let gate = Gate::default();
        gate.set(true);
        let mut backlog = Backlog(0);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(poll_next(&mut backlog, &gate, &mut cx).is_pending());
        assert_eq!(backlog.0, 0);
        gate.set(false);
        assert!(poll_next(&mut backlog, &gate, &mut cx).is_ready());
        assert_eq!(backlog.0, 1);
    }
}
