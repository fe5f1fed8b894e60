//! A relay between two nodes, which a scenario can hold up and cut.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::BytesMut;
use headwater_core::buffer::SealedBuf;
use headwater_core::contract::Direction;
use headwater_core::secure::{ChannelFactory, Insecure, SecureChannel};
use headwater_tls::Tls;
use socket2::SockRef;

use crate::Security;
use crate::pair::{ANY_PORT, key};

/// How long a thread of the relay sleeps between two looks.
const TICK: Duration = Duration::from_millis(5);

/// Carries bytes between whoever connects to it and one address.
pub(crate) struct Relay {
    state: Arc<State>,
    local: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

struct State {
    target: SocketAddr,
    over: AtomicBool,
    /// Bytes of those who connected are left where they are.
    holds_up: AtomicBool,
    /// Bytes of those who connected that may still pass.
    quota_up: AtomicUsize,
    /// Bytes of the target are left where they are.
    holds_down: AtomicBool,
    links: Mutex<Vec<Link>>,
    /// What has passed, up and down, if that is kept.
    passed: Option<[Mutex<Vec<u8>>; 2]>,
}

/// Both ends of what is relayed, and whether that is over.
struct Link {
    ends: [TcpStream; 2],
    cut: Arc<AtomicBool>,
}

/// How a link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Both sockets are reset.
    Reset,
    /// The bytes end as if the other side had nothing more to say.
    End,
}

impl Relay {
    pub(crate) fn start(target: SocketAddr) -> Self {
        Self::start_with(target, None)
    }

    /// One that keeps what passes.
    pub(crate) fn recording(target: SocketAddr) -> Self {
        Self::start_with(target, Some(Default::default()))
    }

    fn start_with(target: SocketAddr, passed: Option<[Mutex<Vec<u8>>; 2]>) -> Self {
        let listener = TcpListener::bind(ANY_PORT).unwrap();
        listener.set_nonblocking(true).unwrap();
        let local = listener.local_addr().unwrap();
        let state = Arc::new(State {
            target,
            over: AtomicBool::new(false),
            holds_up: AtomicBool::new(false),
            holds_down: AtomicBool::new(false),
            quota_up: AtomicUsize::new(usize::MAX),
            links: Mutex::default(),
            passed,
        });
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || accept(&shared, &listener));
        Self { state, local, thread: Some(thread) }
    }

    /// What has passed so far, up and down, in a relay that keeps it.
    pub(crate) fn passed(&self) -> [Vec<u8>; 2] {
        let passed = self.state.passed.as_ref().expect("a relay that keeps what passes");
        passed.each_ref().map(|bytes| bytes.lock().unwrap().clone())
    }

    /// Where it is.
    pub(crate) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Leaves bytes where they are, in both directions.
    pub(crate) fn hold(&self) {
        self.hold_up();
        self.state.holds_down.store(true, Ordering::SeqCst);
    }

    /// Leaves the bytes of those who connected where they are.
    pub(crate) fn hold_up(&self) {
        self.state.holds_up.store(true, Ordering::SeqCst);
    }

    /// Lets so many bytes of those who connected pass, and leaves the others where they are.
    pub(crate) fn hold_up_after(&self, bytes: usize) {
        self.state.quota_up.store(bytes, Ordering::SeqCst);
    }

    /// Whether as many have passed as may.
    pub(crate) fn is_spent(&self) -> bool {
        self.state.quota_up.load(Ordering::SeqCst) == 0
    }

    /// Carries bytes again.
    pub(crate) fn go_on(&self) {
        self.state.holds_up.store(false, Ordering::SeqCst);
        self.state.holds_down.store(false, Ordering::SeqCst);
        self.state.quota_up.store(usize::MAX, Ordering::SeqCst);
    }

    /// Ends every link that there is.
    pub(crate) fn cut(&self, how: Cut) {
        for Link { ends, cut } in self.state.links.lock().unwrap().drain(..) {
            cut.store(true, Ordering::SeqCst);
            for socket in ends {
                // A socket that the other side has closed already answers with an error.
                let _ = match how {
                    // It leaves when the carriers have let go of the socket too.
                    Cut::Reset => SockRef::from(&socket).set_linger(Some(Duration::ZERO)),
                    Cut::End => socket.shutdown(Shutdown::Both),
                };
            }
        }
        self.go_on();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        self.cut(Cut::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Says on a link who it is, hears who the other one is, and nothing more.
pub(crate) fn introduce(
    link: &mut TcpStream,
    security: Security,
    name: &str,
    direction: Direction,
) {
    let key = key(name);
    match security {
        Security::Insecure => {
            let mut channels = Insecure::new(key.peer_id()).unwrap();
            handshake(link, &mut channels.channel(direction, None));
        }
        Security::Tls => {
            let mut channels = Tls::new(&key).unwrap();
            handshake(link, &mut channels.channel(direction, None));
        }
    }
}

fn handshake(link: &mut TcpStream, channel: &mut impl SecureChannel) {
    let mut input = BytesMut::new();
    let mut read = [0; 4096];
    loop {
        let mut out = SealedBuf::new();
        channel.flush(&mut out);
        link.write_all(&out).unwrap();
        if channel.peer().is_some() {
            return;
        }
        let len = link.read(&mut read).unwrap();
        assert!(len > 0, "the other one has closed");
        input.extend_from_slice(&read[..len]);
        channel.open(&mut input, &mut BytesMut::new()).unwrap();
    }
}

fn accept(state: &Arc<State>, listener: &TcpListener) {
    while !state.over.load(Ordering::SeqCst) {
        let Ok((from, _)) = listener.accept() else {
            std::thread::sleep(TICK);
            continue;
        };
        // Nobody there: so this link ends as well.
        let Ok(to) = TcpStream::connect(state.target) else { continue };
        for socket in [&from, &to] {
            socket.set_nonblocking(false).unwrap();
            socket.set_nodelay(true).unwrap();
            socket.set_read_timeout(Some(TICK)).unwrap();
            socket.set_write_timeout(Some(TICK)).unwrap();
        }
        let ends = [from.try_clone().unwrap(), to.try_clone().unwrap()];
        let cut = Arc::new(AtomicBool::new(false));
        state.links.lock().unwrap().push(Link { ends, cut: Arc::clone(&cut) });
        let back = (to.try_clone().unwrap(), from.try_clone().unwrap());
        for ((from, to), up) in [((from, to), true), (back, false)] {
            let (state, cut) = (Arc::clone(state), Arc::clone(&cut));
            std::thread::spawn(move || carry(&state, &cut, (from, to), up));
        }
    }
}

fn carry(state: &State, cut: &AtomicBool, (mut from, mut to): (TcpStream, TcpStream), up: bool) {
    let mut buffer = [0; 16_384];
    while !cut.load(Ordering::SeqCst) {
        let (held, quota) = if up {
            (&state.holds_up, state.quota_up.load(Ordering::SeqCst))
        } else {
            (&state.holds_down, usize::MAX)
        };
        if held.load(Ordering::SeqCst) || quota == 0 {
            std::thread::sleep(TICK);
            continue;
        }
        let room = quota.min(buffer.len());
        let taken = match from.read(&mut buffer[..room]) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(taken) => taken,
            Err(error) if is_pause(&error) => continue,
            Err(_) => return,
        };
        if let Some([passed_up, passed_down]) = &state.passed {
            let passed = if up { passed_up } else { passed_down };
            passed.lock().unwrap().extend_from_slice(&buffer[..taken]);
        }
        let mut left = &buffer[..taken];
        while !left.is_empty() && !cut.load(Ordering::SeqCst) {
            match to.write(left) {
                Ok(written) => left = &left[written..],
                Err(error) if is_pause(&error) => {}
                Err(_) => return,
            }
        }
        if quota != usize::MAX {
            state.quota_up.fetch_sub(taken, Ordering::SeqCst);
        }
    }
}

fn is_pause(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
