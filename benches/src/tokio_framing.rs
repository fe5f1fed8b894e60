//! Hand-written framing on tokio, over plain TCP and over TLS: the ceiling of the loopback
//! benches.
//!
//! What a competent user writes for one purpose: a length of four bytes in front of each message,
//! one buffer that small messages are gathered in, payloads of 8 KiB and more written from where
//! they are, and messages cut from the receive buffer without copying.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

const GATHER: usize = 64 * 1024;
const BY_REFERENCE: usize = 8 * 1024;

/// Two ends of one connection.
#[derive(Debug)]
pub struct Framing<S = TcpStream> {
    sender: S,
    receiver: S,
    buffer: BytesMut,
}

impl Framing {
    /// Connects the two ends over loopback.
    ///
    /// # Panics
    ///
    /// If loopback does not work.
    pub async fn connect() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let sender = TcpStream::connect(address).await.expect("connected");
        let (receiver, _) = listener.accept().await.expect("accepted");
        sender.set_nodelay(true).expect("an option");
        receiver.set_nodelay(true).expect("an option");
        Self { sender, receiver, buffer: BytesMut::with_capacity(4 * GATHER) }
    }
}

impl Framing<TlsStream<TcpStream>> {
    /// Connects the two ends over loopback, and secures them with tokio-rustls.
    ///
    /// # Panics
    ///
    /// If loopback does not work.
    pub async fn connect_tls() -> Self {
        let Framing { sender, receiver, buffer } = Framing::connect().await;
        let (client, server) = crate::configs::configs();
        let name = "localhost".try_into().expect("a name");
        let connecting = TlsConnector::from(client).connect(name, sender);
        let accepting = TlsAcceptor::from(server).accept(receiver);
        let (sender, receiver) = tokio::try_join!(connecting, accepting).expect("secured");
        Self { sender: sender.into(), receiver: receiver.into(), buffer }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Framing<S> {
    /// Sends `count` fresh copies of `message` and returns when all have been received.
    ///
    /// # Panics
    ///
    /// If the connection breaks.
    pub async fn transfer(mut self, message: Bytes, count: usize) -> Self {
        let Self { mut sender, mut receiver, mut buffer } = self;
        let writer = tokio::spawn(async move {
            send(&mut sender, &message, count).await;
            sender
        });
        let reader = tokio::spawn(async move {
            let mut received = 0;
            while received < count {
                receiver.read_buf(&mut buffer).await.expect("read");
                received += cut(&mut buffer);
            }
            (receiver, buffer)
        });
        self.sender = writer.await.expect("sent");
        (self.receiver, self.buffer) = reader.await.expect("received");
        self
    }
}

async fn send(socket: &mut (impl AsyncWrite + Unpin), message: &[u8], count: usize) {
    let mut gathered = BytesMut::with_capacity(2 * GATHER);
    for _ in 0..count {
        let payload = Bytes::copy_from_slice(message);
        gathered.put_u32(payload.len().try_into().expect("a small message"));
        if payload.len() >= BY_REFERENCE {
            let mut both = gathered.split().freeze().chain(payload);
            while both.has_remaining() {
                socket.write_buf(&mut both).await.expect("written");
            }
        } else {
            gathered.put_slice(&payload);
            if gathered.len() >= GATHER {
                socket.write_all(&gathered).await.expect("written");
                gathered.clear();
            }
        }
        gathered.reserve(GATHER);
    }
    socket.write_all(&gathered).await.expect("written");
    socket.flush().await.expect("written");
}

/// Cuts whole messages off the front and makes room for the rest of the next one.
pub(crate) fn cut(buffer: &mut BytesMut) -> usize {
    let mut messages = 0;
    loop {
        let Some(len) = buffer.first_chunk().map(|len| u32::from_be_bytes(*len) as usize) else {
            buffer.reserve(4 * GATHER);
            return messages;
        };
        if buffer.len() < 4 + len {
            let missing = 4 + len - buffer.len();
            buffer.reserve(missing.max(4 * GATHER));
            return messages;
        }
        buffer.advance(4);
        std::hint::black_box(buffer.split_to(len).freeze());
        messages += 1;
    }
}
