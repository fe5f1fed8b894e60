//! smol and async-std, and what one writes on them by hand: their sockets, and futures-rustls.

use std::future::Future;
use std::io::IoSlice;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use headwater_async_std::{AsyncStdBuilder, Builder};
use headwater_core::config::Config;
use rustls::{ClientConfig, ServerConfig};
use smol::future::zip;
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::task_peer::TaskPeer;
use super::{Either, each};
use crate::Security;
use crate::runtimes::{Place, Wire};

/// What is read into has to be initialised first: so much at a time.
const STEP: usize = 64 * 1024;

/// One end of a connection.
#[derive(Debug)]
pub struct End<S>(Either<S, TlsStream<S>>);

/// Bodies that differ in whose sockets and tasks they mean, and in nothing else.
macro_rules! place {
    ($(#[$doc:meta])* $place:ident, $name:literal, $builder:ident, $net:path, $tasks:path) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $place;

        impl Place for $place {
            type Wire = End<<Self as Sockets>::Socket>;
            type Peer = TaskPeer;

            const NAME: &'static str = $name;

            fn block_on<T>(self, future: impl Future<Output = T>) -> T {
                use $tasks as tasks;
                tasks::block_on(future)
            }

            fn spawn<T: Send + 'static>(
                self,
                task: impl Future<Output = T> + Send + 'static,
            ) -> impl Future<Output = T> + Send {
                use $tasks as tasks;
                tasks::spawn(task)
            }

            async fn sleep(self, time: Duration) {
                smol::Timer::after(time).await;
            }

            async fn connect(self, listener: &TcpListener) -> [Self::Wire; 2] {
                use $net as net;
                let address = listener.local_addr().expect("bound");
                let one = net::TcpStream::connect(address).await.expect("connected");
                // It is in the backlog already.
                let (two, _) = listener.accept().expect("accepted");
                [one, Self::adopt(two)].map(|socket| {
                    socket.set_nodelay(true).expect("an option");
                    End(Either::Plain(socket))
                })
            }

            async fn secure(
                self,
                ends: [Self::Wire; 2],
                configs: &(Arc<ClientConfig>, Arc<ServerConfig>),
            ) -> [Self::Wire; 2] {
                secure(ends, configs).await
            }

            fn start(self, security: Security, config: Config) -> TaskPeer {
                let started = match security {
                    Security::Insecure => {
                        $builder::insecure(crate::any_id()).and_then(|b| b.config(config).start())
                    }
                    Security::Tls => {
                        $builder::new(&crate::key()).and_then(|b| b.config(config).start())
                    }
                };
                started.expect("started").into()
            }
        }
    };
}

place!(
    /// smol, with as many threads as `SMOL_THREADS` says.
    Smol, "smol", Builder, smol::net, smol
);
place!(
    /// async-std, with as many threads as `ASYNC_STD_THREAD_COUNT` says.
    AsyncStd, "async-std", AsyncStdBuilder, async_std::net, async_std::task
);

/// Whose sockets they are.
pub trait Sockets {
    /// A socket.
    type Socket;

    /// Makes one of a socket of the system.
    fn adopt(socket: std::net::TcpStream) -> Self::Socket;
}

impl Sockets for Smol {
    type Socket = smol::net::TcpStream;

    fn adopt(socket: std::net::TcpStream) -> Self::Socket {
        socket.try_into().expect("watched")
    }
}

impl Sockets for AsyncStd {
    type Socket = async_std::net::TcpStream;

    fn adopt(socket: std::net::TcpStream) -> Self::Socket {
        socket.into()
    }
}

async fn secure<S: AsyncRead + AsyncWrite + Unpin>(
    ends: [End<S>; 2],
    (client, server): &(Arc<ClientConfig>, Arc<ServerConfig>),
) -> [End<S>; 2] {
    let [End(Either::Plain(one)), End(Either::Plain(two))] = ends else {
        panic!("secured already")
    };
    let name = "localhost".try_into().expect("a name");
    let connecting = TlsConnector::from(Arc::clone(client)).connect(name, one);
    let accepting = TlsAcceptor::from(Arc::clone(server)).accept(two);
    let (one, two) = zip(connecting, accepting).await;
    let one = TlsStream::Client(one.expect("secured"));
    let two = TlsStream::Server(two.expect("secured"));
    [one, two].map(|stream| End(Either::Tls(Box::new(stream))))
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Wire for End<S> {
    async fn write(&mut self, bytes: &[u8]) {
        each!(&mut self.0, wire => wire.write_all(bytes).await).expect("written");
    }

    async fn write_both(&mut self, gathered: Bytes, payload: Bytes) {
        let mut both = gathered.chain(payload);
        while both.has_remaining() {
            let mut pieces = [IoSlice::new(&[]); 2];
            let count = both.chunks_vectored(&mut pieces);
            let pieces = &pieces[..count];
            let written = each!(&mut self.0, wire => wire.write_vectored(pieces).await);
            both.advance(written.expect("written"));
        }
    }

    async fn flush(&mut self) {
        each!(&mut self.0, wire => wire.flush().await).expect("written");
    }

    async fn read(&mut self, buffer: &mut BytesMut, room: usize) {
        let len = buffer.len();
        buffer.reserve(room);
        buffer.resize(len + room.min(STEP), 0);
        let came = each!(&mut self.0, wire => wire.read(&mut buffer[len..]).await).expect("read");
        assert!(came > 0, "the other end has gone");
        buffer.truncate(len + came);
    }
}
