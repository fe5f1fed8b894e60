//! The same hand-written framing on mio: one thread and one poll for each end.

use std::io::{self, IoSlice, Write};
use std::net::SocketAddr;
use std::thread;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

use crate::tokio_framing::cut;

const GATHER: usize = 64 * 1024;
const BY_REFERENCE: usize = 8 * 1024;

/// Two ends of one connection.
#[derive(Debug)]
pub struct Framing {
    sender: End,
    receiver: End,
    buffer: BytesMut,
}

#[derive(Debug)]
struct End {
    socket: TcpStream,
    poll: Poll,
    events: Events,
}

impl End {
    fn new(mut socket: TcpStream) -> Self {
        socket.set_nodelay(true).expect("an option");
        let poll = Poll::new().expect("a poll");
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut socket, Token(0), interest).expect("registered");
        Self { socket, poll, events: Events::with_capacity(8) }
    }

    /// Does what would block until it does not.
    fn until_done<T>(&mut self, mut act: impl FnMut(&mut TcpStream) -> io::Result<T>) -> T {
        loop {
            match act(&mut self.socket) {
                Ok(done) => return done,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.poll.poll(&mut self.events, None).expect("polled");
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn write_all(&mut self, mut bytes: impl Buf) {
        while bytes.has_remaining() {
            let written = self.until_done(|socket| {
                let mut pieces = [IoSlice::new(&[]); 2];
                let count = bytes.chunks_vectored(&mut pieces);
                socket.write_vectored(&pieces[..count])
            });
            bytes.advance(written);
        }
    }
}

impl Framing {
    /// Connects the two ends over loopback.
    ///
    /// # Panics
    ///
    /// If loopback does not work.
    #[must_use]
    pub fn connect() -> Self {
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let listener = TcpListener::bind(any).expect("bound");
        let sender = TcpStream::connect(listener.local_addr().expect("an address"));
        let receiver = loop {
            match listener.accept() {
                Ok((receiver, _)) => break receiver,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        Self {
            sender: End::new(sender.expect("connected")),
            receiver: End::new(receiver),
            buffer: BytesMut::with_capacity(4 * GATHER),
        }
    }

    /// Sends `count` fresh copies of `message` and returns when all have been received.
    ///
    /// # Panics
    ///
    /// If the connection breaks.
    pub fn transfer(&mut self, message: &[u8], count: usize) {
        let Self { sender, receiver, buffer } = self;
        thread::scope(|scope| {
            scope.spawn(|| send(sender, message, count));
            let mut received = 0;
            while received < count {
                let read = receiver.until_done(|socket| receive(socket, buffer));
                assert!(read > 0, "the other end has gone");
                received += cut(buffer);
            }
        });
    }
}

/// Reads once into the spare capacity of `buffer`. Zeroing it first, as safe code has to, costs
/// more than all else that this does with a large message.
#[allow(unsafe_code)]
fn receive(socket: &TcpStream, buffer: &mut BytesMut) -> io::Result<usize> {
    let read = socket.try_io(|| SockRef::from(socket).recv(buffer.spare_capacity_mut()))?;
    // SAFETY: `recv` has initialised as many bytes as it says, from the front of what it got.
    unsafe { buffer.set_len(buffer.len() + read) };
    Ok(read)
}

fn send(end: &mut End, message: &[u8], count: usize) {
    let mut gathered = BytesMut::with_capacity(2 * GATHER);
    for _ in 0..count {
        let payload = Bytes::copy_from_slice(message);
        gathered.put_u32(payload.len().try_into().expect("a small message"));
        if payload.len() >= BY_REFERENCE {
            end.write_all(gathered.split().freeze().chain(payload));
        } else {
            gathered.put_slice(&payload);
            if gathered.len() >= GATHER {
                end.write_all(gathered.split().freeze());
            }
        }
        gathered.reserve(GATHER);
    }
    end.write_all(gathered.freeze());
}
