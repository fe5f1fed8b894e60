//! tokio, and what one writes on it by hand: its own sockets, and tokio-rustls.

use std::future::Future;
use std::net::TcpListener;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use headwater_core::config::Config;
use headwater_tokio::Builder;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::task_peer::TaskPeer;
use super::{Either, each};
use crate::Security;
use crate::runtimes::{Place, Wire};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime")
});

/// tokio, with two worker threads.
#[derive(Clone, Copy, Debug)]
pub struct Tokio;

impl Place for Tokio {
    type Wire = Either<TcpStream, TlsStream<TcpStream>>;
    type Peer = TaskPeer;

    const NAME: &'static str = "tokio";

    fn block_on<T>(self, future: impl Future<Output = T>) -> T {
        RUNTIME.block_on(future)
    }

    fn spawn<T: Send + 'static>(
        self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T> + Send {
        let task = RUNTIME.spawn(task);
        async { task.await.expect("it does not panic") }
    }

    async fn sleep(self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn connect(self, listener: &TcpListener) -> [Self::Wire; 2] {
        let one = TcpStream::connect(listener.local_addr().expect("bound")).await;
        // It is in the backlog already.
        let (two, _) = listener.accept().expect("accepted");
        two.set_nonblocking(true).expect("an option");
        [one.expect("connected"), TcpStream::from_std(two).expect("watched")].map(|socket| {
            socket.set_nodelay(true).expect("an option");
            Either::Plain(socket)
        })
    }

    async fn secure(
        self,
        ends: [Self::Wire; 2],
        (client, server): &(Arc<ClientConfig>, Arc<ServerConfig>),
    ) -> [Self::Wire; 2] {
        let [Either::Plain(one), Either::Plain(two)] = ends else { panic!("secured already") };
        let name = "localhost".try_into().expect("a name");
        let connecting = TlsConnector::from(Arc::clone(client)).connect(name, one);
        let accepting = TlsAcceptor::from(Arc::clone(server)).accept(two);
        let (one, two) = tokio::try_join!(connecting, accepting).expect("secured");
        [Either::Tls(Box::new(one.into())), Either::Tls(Box::new(two.into()))]
    }

    fn start(self, security: Security, config: Config) -> TaskPeer {
        let _inside = RUNTIME.enter();
        let started = match security {
            Security::Insecure => {
                Builder::insecure(crate::any_id()).and_then(|b| b.config(config).start())
            }
            Security::Tls => Builder::new(&crate::key()).and_then(|b| b.config(config).start()),
        };
        started.expect("started").into()
    }
}

impl<P, T> Wire for Either<P, T>
where
    P: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    async fn write(&mut self, bytes: &[u8]) {
        each!(self, wire => wire.write_all(bytes).await).expect("written");
    }

    async fn write_both(&mut self, gathered: Bytes, payload: Bytes) {
        let mut both = gathered.chain(payload);
        while both.has_remaining() {
            each!(self, wire => wire.write_buf(&mut both).await).expect("written");
        }
    }

    async fn flush(&mut self) {
        each!(self, wire => wire.flush().await).expect("written");
    }

    async fn read(&mut self, buffer: &mut BytesMut, room: usize) {
        buffer.reserve(room);
        let came = each!(self, wire => wire.read_buf(buffer).await).expect("read");
        assert!(came > 0, "the other end has gone");
    }
}
