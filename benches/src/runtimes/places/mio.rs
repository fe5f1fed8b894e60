//! mio, where each node has a thread, and so has everything that would be a task elsewhere.
//!
//! By hand, a connection is one end on one thread with a poll of its own; over TLS it is rustls
//! around a blocking socket, since nothing else is to be had without tasks.

use std::future::{Future, ready};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::ops::DerefMut;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use headwater_core::config::Config;
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::message::Message;
use headwater_mio::{Builder, Handle, Messages, Notifications, Sender, Started};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, ServerConfig, ServerConnection, SideData,
    StreamOwned,
};

use super::Either;
use crate::Security;
use crate::runtimes::{ANY, Peer, Place, Wire};

const LONG: Duration = Duration::from_secs(60);

/// What is read into has to be initialised first: so much at a time.
const STEP: usize = 64 * 1024;

/// Threads, and mio.
#[derive(Clone, Copy, Debug)]
pub struct Mio;

impl Place for Mio {
    type Wire = End;
    type Peer = MioPeer;

    const NAME: &'static str = "mio";

    fn block_on<T>(self, future: impl Future<Output = T>) -> T {
        smol::future::block_on(future)
    }

    fn spawn<T: Send + 'static>(
        self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T> + Send {
        let thread = thread::spawn(|| smol::future::block_on(task));
        // Nothing else is to be done on the thread that waits.
        async { thread.join().expect("it does not panic") }
    }

    fn sleep(self, time: Duration) -> impl Future<Output = ()> + Send {
        thread::sleep(time);
        ready(())
    }

    async fn connect(self, listener: &TcpListener) -> [End; 2] {
        let address = listener.local_addr().expect("bound");
        let one = std::net::TcpStream::connect(address).expect("connected");
        let (two, _) = listener.accept().expect("accepted");
        [one, two].map(End::new)
    }

    async fn secure(
        self,
        ends: [End; 2],
        (client, server): &(Arc<ClientConfig>, Arc<ServerConfig>),
    ) -> [End; 2] {
        let name = "localhost".try_into().expect("a name");
        let one = ClientConnection::new(Arc::clone(client), name).expect("consistent");
        let two = ServerConnection::new(Arc::clone(server)).expect("consistent");
        let [first, second] = ends;
        let accepting = thread::spawn(|| second.secured(two));
        let first = first.secured(one);
        [first, accepting.join().expect("secured")]
    }

    fn start(self, security: Security, config: Config) -> MioPeer {
        let started = match security {
            Security::Insecure => {
                Builder::insecure(crate::any_id()).and_then(|b| b.config(config).start())
            }
            Security::Tls => Builder::new(&crate::key()).and_then(|b| b.config(config).start()),
        };
        let Started { handle, messages, notifications, .. } = started.expect("started");
        MioPeer { handle, messages, _notifications: notifications }
    }
}

/// A node on a thread of its own.
#[derive(Debug)]
pub struct MioPeer {
    handle: Handle,
    messages: Messages,
    _notifications: Notifications,
}

impl Peer for MioPeer {
    type Sender = Sender;

    async fn register(&self, protocol: &ProtocolId) {
        self.handle.register(protocol.clone()).expect("registered");
    }

    async fn listen(&self) -> SocketAddr {
        self.handle.listen(ANY).expect("listening")
    }

    async fn dial(&self, address: SocketAddr) -> PeerId {
        self.handle.dial(address.into()).expect("connected")
    }

    fn sender(&self, peer: &PeerId, protocol: &ProtocolId) -> Option<Sender> {
        self.handle.sender(peer, protocol).ok()
    }

    async fn send(sender: &mut Sender, payload: Bytes) {
        sender.send_wait(payload, LONG).expect("sent");
    }

    async fn recv(&mut self) -> Message {
        self.messages.recv().expect("a message")
    }
}

/// A TLS stream, of a client or of a server.
trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

/// One end of a connection.
pub struct End(Either<Polled, dyn Stream>);

/// A socket, and the poll that it is alone with.
#[derive(Debug)]
struct Polled {
    socket: TcpStream,
    poll: Poll,
    events: Events,
}

impl End {
    fn new(socket: std::net::TcpStream) -> Self {
        socket.set_nodelay(true).expect("an option");
        socket.set_nonblocking(true).expect("an option");
        let mut socket = TcpStream::from_std(socket);
        let poll = Poll::new().expect("a poll");
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut socket, Token(0), interest).expect("registered");
        Self(Either::Plain(Polled { socket, poll, events: Events::with_capacity(8) }))
    }

    fn secured<C, D>(self, connection: C) -> Self
    where
        C: DerefMut<Target = ConnectionCommon<D>> + Send + 'static,
        D: SideData,
    {
        let Either::Plain(Polled { socket, poll, .. }) = self.0 else { panic!("secured already") };
        drop(poll);
        let socket = std::net::TcpStream::from(socket);
        socket.set_nonblocking(false).expect("an option");
        let mut stream = StreamOwned { conn: connection, sock: socket };
        stream.conn.complete_io(&mut stream.sock).expect("a handshake");
        Self(Either::Tls(Box::new(stream)))
    }

    /// Does what would block until it does not.
    fn until_done<T>(
        &mut self,
        mut polled: impl FnMut(&mut TcpStream) -> std::io::Result<T>,
        mut blocking: impl FnMut(&mut dyn Stream) -> std::io::Result<T>,
    ) -> T {
        let Polled { socket, poll, events } = match &mut self.0 {
            Either::Plain(plain) => plain,
            Either::Tls(stream) => return blocking(&mut **stream).expect("moved"),
        };
        loop {
            match polled(socket) {
                Ok(done) => return done,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    poll.poll(events, None).expect("polled");
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn write_buf(&mut self, mut bytes: impl Buf) {
        while bytes.has_remaining() {
            let mut pieces = [IoSlice::new(&[]); 2];
            let count = bytes.chunks_vectored(&mut pieces);
            let pieces = &pieces[..count];
            let written = self.until_done(
                |socket| socket.write_vectored(pieces),
                |stream| stream.write_vectored(pieces),
            );
            bytes.advance(written);
        }
    }
}

impl Wire for End {
    async fn write(&mut self, bytes: &[u8]) {
        self.write_buf(bytes);
    }

    async fn write_both(&mut self, gathered: Bytes, payload: Bytes) {
        self.write_buf(gathered.chain(payload));
    }

    async fn flush(&mut self) {
        self.until_done(|_| Ok(()), |stream| stream.flush());
    }

    async fn read(&mut self, buffer: &mut BytesMut, room: usize) {
        let len = buffer.len();
        buffer.reserve(room);
        buffer.resize(len + room.min(STEP), 0);
        let into = std::cell::RefCell::new(&mut buffer[len..]);
        let came = self.until_done(
            |socket| socket.read(&mut into.borrow_mut()),
            |stream| stream.read(&mut into.borrow_mut()),
        );
        assert!(came > 0, "the other end has gone");
        buffer.truncate(len + came);
    }
}
