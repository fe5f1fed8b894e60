//! TCP sockets of async-io.
//!
//! async-io asks the system for one event at a time, and asks by level: what is there when it
//! asks is told at once. So a read that does not fill its buffer, or a write that is not taken
//! whole, is known to be the last that succeeds for now, and the next one waits without trying.

use std::io::{self, ErrorKind, IoSlice, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_io::Async;
use bytes::{BufMut, BytesMut};
use headwater_runtime::{Listener, Socket};
use socket2::SockRef;

/// A connected socket of async-io.
#[derive(Debug)]
pub struct IoSocket {
    inner: Async<TcpStream>,
    /// The last read left nothing behind.
    is_empty: bool,
    /// The last write left no room behind.
    is_full: bool,
}

impl IoSocket {
    pub(crate) const fn new(inner: Async<TcpStream>) -> Self {
        Self { inner, is_empty: false, is_full: false }
    }
}

impl Socket for IoSocket {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let room = buffer.capacity() - buffer.len();
        loop {
            if !self.is_empty {
                match receive(self.inner.get_ref(), buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    result => {
                        // The end of what the other side sends is told as often as one asks.
                        self.is_empty = result.as_ref().is_ok_and(|came| (1..room).contains(came));
                        return Poll::Ready(result);
                    }
                }
            }
            self.is_empty = true;
            ready!(self.inner.poll_readable(cx))?;
            self.is_empty = false;
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            if !self.is_full {
                match self.inner.get_ref().write_vectored(pieces) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    result => {
                        let len = pieces.iter().map(|piece| piece.len()).sum();
                        self.is_full = result.as_ref().is_ok_and(|written| *written < len);
                        return Poll::Ready(result);
                    }
                }
            }
            self.is_full = true;
            ready!(self.inner.poll_writable(cx))?;
            self.is_full = false;
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.get_ref().local_addr()
    }

    fn set_nodelay(&self) {
        let _ = self.inner.get_ref().set_nodelay(true);
    }

    fn finish(&self) {
        // It fails where the link is broken, and then reading says so.
        let _ = self.inner.get_ref().shutdown(Shutdown::Write);
    }

    fn reset_on_drop(&self) {
        // If it fails this is an ordinary close.
        let _ = SockRef::from(self.inner.get_ref()).set_linger(Some(Duration::ZERO));
    }
}

/// Reads once into the spare room of `buffer`.
#[allow(unsafe_code)]
fn receive(socket: &TcpStream, buffer: &mut BytesMut) -> io::Result<usize> {
    let spare = buffer.spare_capacity_mut();
    let room = spare.len();
    let came = SockRef::from(socket).recv(spare)?.min(room);
    // SAFETY: `recv` has initialised as many bytes as it counts, from the front of the spare room,
    // and these are no more than fit there.
    unsafe { buffer.advance_mut(came) };
    Ok(came)
}

/// A listening socket of async-io.
#[derive(Debug)]
pub struct IoListener(Async<TcpListener>);

impl IoListener {
    pub(crate) fn new(socket: TcpListener) -> io::Result<Self> {
        Async::new(socket).map(Self)
    }
}

impl Listener for IoListener {
    type Socket = IoSocket;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(IoSocket, SocketAddr)>> {
        loop {
            match self.0.get_ref().accept() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok((socket, remote)) => {
                    let socket = Async::new(socket).map(IoSocket::new);
                    return Poll::Ready(socket.map(|socket| (socket, remote)));
                }
            }
            ready!(self.0.poll_readable(cx))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};

    use super::*;

    fn pair() -> (IoSocket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        (IoSocket::new(Async::new(ours).unwrap()), theirs)
    }

    fn read(socket: &mut IoSocket, buffer: &mut BytesMut) -> usize {
        smol::block_on(poll_fn(|cx| socket.poll_read(cx, buffer))).unwrap()
    }

    fn is_pending(socket: &mut IoSocket, buffer: &mut BytesMut) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        socket.poll_read(&mut cx, buffer).is_pending()
    }

    #[test]
    fn what_comes_is_appended_and_no_more_than_fits() {
        let (mut socket, mut theirs) = pair();
        let mut buffer = BytesMut::with_capacity(8);
        buffer.put_slice(b"ab");
        assert!(is_pending(&mut socket, &mut buffer));
        theirs.write_all(b"cdefghij").unwrap();
        assert_eq!(read(&mut socket, &mut buffer), 6);
        assert_eq!(buffer, "abcdefgh");
        buffer.clear();
        assert_eq!(read(&mut socket, &mut buffer), 2);
        assert!(is_pending(&mut socket, &mut buffer));
        theirs.write_all(b"k").unwrap();
        assert_eq!(read(&mut socket, &mut buffer), 1);
        assert_eq!(buffer, "ijk");
    }

    #[test]
    fn the_end_is_told_also_right_behind_the_last_bytes() {
        let (mut socket, mut theirs) = pair();
        let mut buffer = BytesMut::with_capacity(8);
        theirs.write_all(b"abc").unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read(&mut socket, &mut buffer), 3);
        assert_eq!(read(&mut socket, &mut buffer), 0);
        assert_eq!(read(&mut socket, &mut buffer), 0);
        socket.finish();
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_full_socket_goes_on_when_it_is_read() {
        let (mut socket, mut theirs) = pair();
        let chunk = vec![7; 1 << 20];
        let pieces = [IoSlice::new(&chunk[..10]), IoSlice::new(&chunk)];
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut written = 0;
        while let Poll::Ready(result) = socket.poll_write(&mut cx, &pieces) {
            written += result.unwrap();
        }
        assert!(written > 0);
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).unwrap();
            all.len()
        });
        written += smol::block_on(poll_fn(|cx| socket.poll_write(cx, &pieces))).unwrap();
        drop(socket);
        assert_eq!(reader.join().unwrap(), written);
    }

    #[test]
    fn a_reset_is_told_to_the_other_side() {
        let (socket, mut theirs) = pair();
        socket.reset_on_drop();
        drop(socket);
        let error = theirs.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}
