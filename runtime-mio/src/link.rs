//! One socket of a connection, and what is known of its readiness.
//!
//! Readiness is edge-triggered: the bits `readable` and `writable` are set by the system and
//! cleared when the socket says that it would block. On Linux a read or write that moved less than
//! it could says the same, one system call earlier; that is what the epoll manual promises for
//! byte streams. A half-closed stream is the exception: its end has no edge of its own, so from
//! then on only the end itself stops the reading.

use std::io::{self, ErrorKind, IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use headwater_core::id::ConnectionId;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

/// Pieces of one vectored write.
pub(crate) const PIECES_MAX: usize = 64;

/// Whether less than what was asked for means that the socket is drained, or full.
const SHORT_MEANS_BLOCKED: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// A socket, its connection's id and its readiness.
#[derive(Debug)]
pub(crate) struct Link {
    /// Whose socket it is.
    pub(crate) id: ConnectionId,
    /// Where it is among the loop's links.
    pub(crate) place: u32,
    stream: TcpStream,
    is_dialing: bool,
    readable: bool,
    writable: bool,
    /// The other side has half-closed, or the link broke.
    read_closed: bool,
    /// Nothing more will be read.
    read_done: bool,
    /// To be half-closed once everything is written.
    pub(crate) finish: bool,
    /// It is in the loop's work list.
    pub(crate) queued: bool,
}

/// What came of an attempt to read or write.
#[derive(Debug)]
pub(crate) enum Moved {
    /// So many bytes; not zero.
    Some(usize),
    /// The socket would block.
    Blocked,
    /// The other side has ended its half.
    End,
    /// The link broke.
    Broken(io::Error),
}

impl Link {
    /// Begins to dial.
    pub(crate) fn dial(
        id: ConnectionId,
        remote: SocketAddr,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let mut link = Self::new(id, TcpStream::connect(remote)?, true);
        link.register(registry, token)?;
        Ok(link)
    }

    /// Takes an accepted link.
    pub(crate) fn accepted(
        id: ConnectionId,
        stream: TcpStream,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let mut link = Self::new(id, stream, false);
        link.register(registry, token)?;
        Ok(link)
    }

    fn new(id: ConnectionId, stream: TcpStream, is_dialing: bool) -> Self {
        Self {
            id,
            place: 0,
            stream,
            is_dialing,
            // The first attempt tells; a dialled link is not ready before the system says so.
            readable: !is_dialing,
            writable: !is_dialing,
            read_closed: false,
            read_done: false,
            finish: false,
            queued: false,
        }
    }

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.stream, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Whether the dial is not over.
    pub(crate) const fn is_dialing(&self) -> bool {
        self.is_dialing
    }

    /// Takes what the system says about the socket.
    pub(crate) fn set_ready(&mut self, event: &Event) {
        let broken = event.is_error();
        self.read_closed |= event.is_read_closed() || broken;
        self.readable |= event.is_readable() || self.read_closed;
        self.writable |= event.is_writable() || event.is_write_closed() || broken;
    }

    /// Looks how the dial is going: `None` while it is; then the local address, or the failure.
    pub(crate) fn check_dial(&mut self) -> Option<io::Result<SocketAddr>> {
        match self.stream.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return Some(Err(error)),
        }
        match self.stream.peer_addr() {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotConnected => return None,
            Err(error) => return Some(Err(error)),
        }
        self.is_dialing = false;
        self.readable = true;
        self.writable = true;
        let local = self.stream.set_nodelay(true).and_then(|()| self.stream.local_addr());
        Some(local)
    }

    /// Whether a read is worth the attempt.
    pub(crate) const fn can_read(&self) -> bool {
        self.readable && !self.read_done && !self.is_dialing
    }

    /// Whether a write is worth the attempt.
    pub(crate) const fn can_write(&self) -> bool {
        self.writable && !self.is_dialing
    }

    /// Reads once, into the spare capacity of `buf`.
    pub(crate) fn read(&mut self, buf: &mut BytesMut) -> Moved {
        let room = buf.capacity() - buf.len();
        loop {
            return match receive(&self.stream, buf) {
                Ok(0) => {
                    self.read_done = true;
                    Moved::End
                }
                Ok(n) => {
                    if SHORT_MEANS_BLOCKED && n < room && !self.read_closed {
                        self.readable = false;
                    }
                    Moved::Some(n)
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    Moved::Blocked
                }
                Err(error) => self.broken(error),
            };
        }
    }

    /// Writes once.
    pub(crate) fn write(&mut self, pieces: &[&[u8]]) -> Moved {
        let mut slices = [IoSlice::new(&[]); PIECES_MAX];
        let mut len = 0;
        let pieces = &pieces[..pieces.len().min(PIECES_MAX)];
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece);
            len += piece.len();
        }
        loop {
            return match self.stream.write_vectored(&slices[..pieces.len()]) {
                Ok(0) => self.broken(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    if SHORT_MEANS_BLOCKED && n < len {
                        self.writable = false;
                    }
                    Moved::Some(n)
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.writable = false;
                    Moved::Blocked
                }
                Err(error) => self.broken(error),
            };
        }
    }

    fn broken(&mut self, error: io::Error) -> Moved {
        self.read_done = true;
        self.readable = false;
        self.writable = false;
        Moved::Broken(error)
    }

    /// Half-closes the link, once.
    pub(crate) fn half_close(&mut self) {
        self.finish = false;
        // It fails where the link is broken, and then reading says so.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Closes the socket, with a reset if `abort` is set.
    pub(crate) fn close(self, abort: bool) {
        if abort {
            // If it fails this is an ordinary close.
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

/// Reads once into the spare capacity of `buf`.
#[allow(unsafe_code)]
fn receive(stream: &TcpStream, buf: &mut BytesMut) -> io::Result<usize> {
    // SAFETY: `recv` has written the bytes that it counts.
    unsafe { fill(buf, |spare| stream.try_io(|| SockRef::from(stream).recv(spare))) }
}

/// Has `read` write into the spare capacity of `buf`, and takes in what it wrote.
///
/// # Safety
///
/// Where `read` gives a number, it has initialised as many bytes from the front of what it got.
#[allow(unsafe_code)]
unsafe fn fill(
    buf: &mut BytesMut,
    read: impl FnOnce(&mut [MaybeUninit<u8>]) -> io::Result<usize>,
) -> io::Result<usize> {
    let spare = buf.spare_capacity_mut();
    let room = spare.len();
    let n = read(spare)?.min(room);
    let len = buf.len() + n;
    // SAFETY: the first `n` bytes of the spare capacity are initialised, as the caller says, so
    // the first `len` bytes of the buffer are; and `n` is at most what there was to spare, so
    // `len` is within the capacity.
    unsafe { buf.set_len(len) };
    Ok(n)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write as _};
    use std::net::TcpListener;

    use mio::{Events, Poll};

    use super::*;

    const ID: ConnectionId = ConnectionId { index: 0, generation: 0 };

    fn pair(poll: &Poll) -> (Link, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let theirs = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        let ours = TcpStream::from_std(ours);
        (Link::accepted(ID, ours, poll.registry(), Token(0)).unwrap(), theirs)
    }

    fn await_event(poll: &mut Poll, link: &mut Link) {
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
        assert!(!events.is_empty());
        events.iter().for_each(|event| link.set_ready(event));
    }

    /// Reads some of `bytes` as a socket does.
    #[allow(unsafe_code)]
    fn fill_from(buf: &mut BytesMut, bytes: &mut &[u8]) -> io::Result<usize> {
        let read = |spare: &mut [MaybeUninit<u8>]| {
            let n = spare.len().min(bytes.len());
            for (to, from) in spare.iter_mut().zip(&bytes[..n]) {
                to.write(*from);
            }
            *bytes = &bytes[n..];
            Ok(n)
        };
        // SAFETY: it writes the `n` bytes that it counts.
        unsafe { fill(buf, read) }
    }

    /// Miri runs this one: it needs no socket.
    #[test]
    #[allow(unsafe_code)]
    fn spare_room_is_filled_as_far_as_the_reader_says() {
        let mut buf = BytesMut::with_capacity(16);
        buf.extend_from_slice(b"ab");
        let all: Vec<u8> = (b'c'..=b'z').collect();
        let mut rest = &all[..];
        assert_eq!(fill_from(&mut buf, &mut &rest[..3]).unwrap(), 3);
        rest = &rest[3..];
        // Never more than fits, and the next time nothing.
        let room = buf.capacity() - buf.len();
        assert_eq!(fill_from(&mut buf, &mut rest).unwrap(), room);
        assert_eq!(fill_from(&mut buf, &mut rest).unwrap(), 0);
        assert_eq!(buf, (b'a'..).take(5 + room).collect::<Vec<u8>>());
        // What was split off and is pinned stays as it is.
        let pinned = buf.split().freeze();
        buf.reserve(64);
        assert_eq!(fill_from(&mut buf, &mut rest).unwrap(), all.len() - 3 - room);
        assert_eq!([&pinned[..], &buf].concat(), (b'a'..=b'z').collect::<Vec<u8>>());
        let before = buf.len();
        // SAFETY: nothing is counted.
        let failed = unsafe { fill(&mut buf, |_| Err(ErrorKind::WouldBlock.into())) };
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(buf.len(), before);
    }

    #[test]
    fn bytes_are_appended_to_what_the_buffer_has() {
        let poll = Poll::new().unwrap();
        let (mut link, mut theirs) = pair(&poll);
        let mut buf = BytesMut::with_capacity(64);
        assert!(matches!(link.read(&mut buf), Moved::Blocked));
        assert!(!link.can_read());
        theirs.write_all(b"world").unwrap();
        buf.extend_from_slice(b"hello ");
        link.readable = true;
        assert!(matches!(link.read(&mut buf), Moved::Some(5)));
        assert_eq!(&buf[..], b"hello world");
    }

    #[test]
    fn the_end_is_seen_although_it_came_with_the_last_bytes() {
        let mut poll = Poll::new().unwrap();
        let (mut link, mut theirs) = pair(&poll);
        let mut buf = BytesMut::with_capacity(1024);
        await_event(&mut poll, &mut link); // writable
        assert!(matches!(link.read(&mut buf), Moved::Blocked));
        theirs.write_all(b"bye").unwrap();
        drop(theirs);
        std::thread::sleep(Duration::from_millis(50));
        await_event(&mut poll, &mut link);
        assert!(matches!(link.read(&mut buf), Moved::Some(3)));
        assert!(link.can_read());
        assert!(matches!(link.read(&mut buf), Moved::End));
        assert!(!link.can_read());
    }

    #[test]
    fn a_full_socket_stops_the_writing_until_the_system_says_more() {
        let mut poll = Poll::new().unwrap();
        let (mut link, mut theirs) = pair(&poll);
        await_event(&mut poll, &mut link);
        let piece = vec![7; 100_000];
        let mut sent = 0;
        while link.can_write() {
            if let Moved::Some(n) = link.write(&[&piece, &piece]) {
                sent += n;
            }
        }
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::from_millis(50))).unwrap();
        assert!(events.is_empty());
        let mut all = vec![0; sent];
        theirs.read_exact(&mut all).unwrap();
        assert!(all.iter().all(|byte| *byte == 7));
        await_event(&mut poll, &mut link);
        assert!(link.can_write());
    }

    #[test]
    fn an_aborted_link_ends_with_a_reset_at_the_other_side() {
        let poll = Poll::new().unwrap();
        let (link, mut theirs) = pair(&poll);
        link.close(true);
        let error = theirs.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);

        let (mut link, mut theirs) = pair(&poll);
        link.half_close();
        assert_eq!(theirs.read(&mut [0; 8]).unwrap(), 0);
        theirs.write_all(b"still open").unwrap();
        let mut buf = BytesMut::with_capacity(64);
        std::thread::sleep(Duration::from_millis(50));
        link.readable = true;
        assert!(matches!(link.read(&mut buf), Moved::Some(10)));
        link.close(false);
    }

    #[test]
    fn a_refused_dial_is_told() {
        let mut poll = Poll::new().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut link = match Link::dial(ID, free, poll.registry(), Token(0)) {
            Ok(link) => link,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                return;
            }
        };
        assert!(!link.can_read() && !link.can_write());
        let error = loop {
            await_event(&mut poll, &mut link);
            match link.check_dial() {
                None => {}
                Some(Err(error)) => break error,
                Some(Ok(local)) => panic!("connected from {local}"),
            }
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}
