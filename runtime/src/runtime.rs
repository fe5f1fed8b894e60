//! What a node needs of a runtime: tasks, a clock with timers, and TCP.

use std::fmt::Debug;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::BytesMut;
use headwater_core::time::Instant;

/// A runtime that nodes run on. Clones are of the same one.
///
/// A node calls all of this from its own tasks, and never holds a lock meanwhile. Of what it
/// spawns nothing outlives it: each task ends soon after it is told to.
pub trait Runtime: Clone + Debug + Send + Sync + 'static {
    /// A connected TCP socket.
    type Socket: Socket;
    /// A listening TCP socket.
    type Listener: Listener<Socket = Self::Socket>;
    /// A timer on the clock of [`now`](Self::now).
    type Timer: Timer;

    /// The runtime around this call, with a clock that starts now; `None` if there is none.
    fn current() -> Option<Self>;

    /// Runs a task in the background. One that panics, or is dropped before its end, is noticed
    /// by what is dropped with it.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);

    /// The time of this runtime's clock, the same for all clones. It never goes backwards.
    fn now(&self) -> Instant;

    /// A timer that is not set.
    fn timer(&self) -> Self::Timer;

    /// Connects a socket.
    fn connect(
        self,
        remote: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::Socket>> + Send + 'static;

    /// Takes over a listening socket, which does not block.
    ///
    /// # Errors
    ///
    /// The runtime cannot watch it.
    fn listener(&self, socket: std::net::TcpListener) -> io::Result<Self::Listener>;

    /// Asks the system for the addresses of a name, and gives them in its order, with this port.
    fn resolve(
        self,
        name: String,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static;
}

/// A connected TCP socket that tells one task when it can move bytes.
pub trait Socket: Send + 'static {
    /// Reads once into the spare room of `buffer`, of which there is some, and appends what came;
    /// 0 at the end of what the other side sends. While there is nothing, the task is woken when
    /// there is.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut)
    -> Poll<io::Result<usize>>;

    /// Writes the pieces, or some of their bytes from the front, in one system call. While the
    /// socket takes nothing, the task is woken when it does.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// The system does not say.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Has small writes leave at once. A socket that refuses works all the same.
    fn set_nodelay(&self);

    /// Ends this side's half; what was written before still arrives. It does not wait.
    fn finish(&self);

    /// Has the socket end by a reset when it is dropped.
    fn reset_on_drop(&self);
}

/// A listening TCP socket.
pub trait Listener: Send + 'static {
    /// What it accepts.
    type Socket: Socket;

    /// The next link and where it comes from; while there is none, the task is woken when there
    /// is.
    fn poll_accept(&mut self, cx: &mut Context<'_>)
    -> Poll<io::Result<(Self::Socket, SocketAddr)>>;
}

/// A timer of one task.
pub trait Timer: Send + 'static {
    /// Sets the timer, anew if it was set. A time far away may be taken as one that is nearer:
    /// whoever set it looks at the clock when it fires.
    fn set(&mut self, at: Instant);

    /// Whether the time has come; else the task is woken then. It is set when this is called.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}
