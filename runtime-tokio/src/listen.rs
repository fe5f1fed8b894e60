//! Listening sockets, and the task that accepts on each.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use headwater_core::contract::{IoCause, ListenerId};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::cause;
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
pub(crate) struct Accepted {
    pub(crate) listener: ListenerId,
    pub(crate) socket: TcpStream,
    pub(crate) remote: SocketAddr,
}

/// Binds a listening socket whose port nobody else has (D-67). An IPv6 socket takes IPv6 alone.
pub(crate) fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
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
    let listener = TcpListener::from_std(socket.into())?;
    let local = listener.local_addr()?;
    Ok((listener, local))
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

/// Accepts until the socket breaks for good or the task is aborted.
pub(crate) async fn accept(
    listener: ListenerId,
    socket: TcpListener,
    gate: Arc<Gate>,
    accepted: mpsc::Sender<Accepted>,
) -> IoCause {
    accept_from(listener, |cx| poll_next(&socket, &gate, cx), accepted).await
}

type Next = io::Result<(TcpStream, SocketAddr)>;

async fn accept_from(
    listener: ListenerId,
    mut next: impl FnMut(&mut Context<'_>) -> Poll<Next>,
    accepted: mpsc::Sender<Accepted>,
) -> IoCause {
    let mut backoff = BACKOFF_MIN;
    loop {
        match poll_fn(&mut next).await {
            Ok((socket, remote)) => {
                backoff = BACKOFF_MIN;
                let one = Accepted { listener, socket, remote };
                if accepted.send(one).await.is_err() {
                    return IoCause::Other;
                }
            }
            Err(error) if is_of_one_link(&error) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return cause::of(&error),
            Err(_) => {
                // No descriptors or no memory, as a rule: later there may be.
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
    }
}

fn poll_next(socket: &TcpListener, gate: &Gate, cx: &mut Context<'_>) -> Poll<Next> {
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
    use super::*;

    #[tokio::test]
    async fn d67_a_port_is_not_shared() {
        let (_socket, local) = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_eq!(cause::of(&bind(local).unwrap_err()), IoCause::AddressInUse);
    }

    /// Without descriptors, for ten minutes.
    #[tokio::test(start_paused = true)]
    async fn d29_a_listener_that_cannot_accept_tries_at_growing_waits() {
        let (sender, _accepted) = mpsc::channel(1);
        let start = tokio::time::Instant::now();
        let mut waits = Vec::new();
        let mut last = start;
        let fail = |_: &mut Context<'_>| {
            let now = tokio::time::Instant::now();
            waits.push((now - last).as_millis());
            last = now;
            if now - start < Duration::from_secs(600) {
                return Poll::Ready(Err(io::Error::from_raw_os_error(24)));
            }
            // And then for good.
            Poll::Ready(Err(io::ErrorKind::InvalidInput.into()))
        };
        accept_from(ListenerId(7), fail, sender).await;
        assert!(waits.len() < 620, "{} attempts", waits.len());
        // The timer's wheel turns by the millisecond.
        for (found, expected) in waits.iter().zip([0, 50, 100, 200, 400, 800, 1000, 1000]) {
            assert!(found.abs_diff(expected) <= 1, "{found} for {expected}");
        }
    }

    #[tokio::test]
    async fn a_shut_gate_leaves_links_in_the_backlog() {
        let (socket, local) = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let gate = Arc::new(Gate::default());
        gate.set(true);
        let (sender, mut accepted) = mpsc::channel(1);
        let task = tokio::spawn(accept(ListenerId(7), socket, Arc::clone(&gate), sender));
        let _link = TcpStream::connect(local).await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(50), accepted.recv()).await;
        assert!(early.is_err());
        gate.set(false);
        assert_eq!(accepted.recv().await.unwrap().listener, ListenerId(7));
        task.abort();
    }
}
