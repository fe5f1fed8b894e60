//! All attacks at once: what the process holds stays within `max_memory`, and a good pair loses
//! nothing.

#[path = "../adapters/on_async_io.rs"]
mod on_async_io;
#[path = "../adapters/on_mio.rs"]
mod on_mio;
#[path = "../adapters/on_runtime.rs"]
mod on_runtime;
#[path = "../adapters/on_tokio.rs"]
mod on_tokio;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use headwater_async_std::Smol;
use headwater_conformance::Security::{Insecure, Tls};
use headwater_conformance::hostile::{Attack, attack};
use headwater_conformance::{Adapter, LONG, Messages, Node, Stream};
use headwater_core::config::Config;
use headwater_core::id::ProtocolId;
use headwater_identity::NodeKey;
use on_async_io::OnAsyncIo;
use on_mio::OnMio;
use on_tokio::OnTokio;

/// Counts what the process holds, but for what the threads of attackers allocate.
struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    static IS_ATTACKER: Cell<bool> = const { Cell::new(false) };
}

fn count(bytes: isize) {
    if IS_ATTACKER.try_with(Cell::get).unwrap_or(false) {
        return;
    }
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: `place` came from `System` with this layout.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: `place` came from `System` with this layout.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The tests share one count.
static ALONE: Mutex<()> = Mutex::new(());

/// Attackers, each with a link at a time, and the good peer.
const ATTACKERS: usize = 51;
const PEERS: usize = ATTACKERS + 5;

/// What the process holds beside the node under attack: the good peer's node, two runtimes, and
/// the test.
const BASE: usize = 32 << 20;

/// For so long at least the good pair goes on, so that deadlines of the node pass.
const TIME: Duration = Duration::from_secs(6);

fn protocol() -> ProtocolId {
    ProtocolId::new("/test/1.0.0").unwrap()
}

/// What the node may hold.
const MAX_MEMORY: usize = 2 << 30;

/// With deadlines that come within the test.
fn config() -> Config {
    let mut config = Config::for_memory(MAX_MEMORY, PEERS).unwrap();
    config.handshake_deadline = Duration::from_secs(2);
    config.exchange_deadline = Duration::from_secs(2);
    config.send_deadline = Duration::from_secs(2);
    config.close_deadline = Duration::from_secs(1);
    config
}

/// `hoard` bytes are held before the application of the victim takes a message: until then it
/// takes nothing, so that everything fills up. However slow the machine, the attack goes on until
/// that is reached and each attacker had a link, and gives up after [`LONG`].
fn under_attack<A: Adapter>(adapter: &A, name: &str, attacks: &[Attack], hoard: usize) {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let before = LIVE.load(Ordering::SeqCst);
    let (victim_key, good_key) = (NodeKey::generate().unwrap(), NodeKey::generate().unwrap());
    let victim = adapter.start(&victim_key, config());
    victim.node.register(protocol()).unwrap();
    let target = victim.node.listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let mut patient = Config::default();
    patient.send_deadline = 2 * LONG;
    let good = adapter.start(&good_key, patient);
    assert_eq!(good.node.dial(target.into()), Ok(victim_key.peer_id()));
    PEAK.store(LIVE.load(Ordering::SeqCst), Ordering::SeqCst);

    let security = adapter.security();
    let (over, links) = (AtomicBool::new(false), AtomicU64::new(0));
    let (sent, received) = std::thread::scope(|scope| {
        for number in 0..ATTACKERS {
            let how = attacks[number % attacks.len()];
            let (over, links) = (&over, &links);
            scope.spawn(move || {
                IS_ATTACKER.set(true);
                let target = (target, security);
                attack(how, target, &format!("attacker {number}"), &protocol(), over, links);
            });
        }
        let _ends = Ends(&over);
        let is_full = || peak(before) > hoard;
        let is_enough = || is_full() && links.load(Ordering::SeqCst) >= ATTACKERS as u64;
        good_pair(&victim.node, victim.messages, &good.node, &is_full, &is_enough)
    });
    assert_eq!(sent, received, "what the good pair sent arrived");
    let peak = peak(before);
    let links = links.load(Ordering::SeqCst);
    println!(
        "{name}: {links} hostile links, {received} messages of the good pair, \
         {:.1} MiB at most, of {:.1}",
        peak as f64 / 1048576.0,
        MAX_MEMORY as f64 / 1048576.0
    );
    assert!(links >= ATTACKERS as u64, "{links} links: they hardly attacked");
    assert!(peak > hoard, "{peak} bytes: they hardly attacked");
    assert!(peak < MAX_MEMORY + BASE, "{peak} bytes");
    assert!(good.node.stop(LONG) && victim.node.stop(LONG));
}

/// The most that was held beyond what was there before.
fn peak(before: isize) -> usize {
    usize::try_from(PEAK.load(Ordering::SeqCst) - before).unwrap_or(0)
}

/// Whether it came true in time.
fn comes(is_so: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !is_so() && begun.elapsed() < LONG {
        std::thread::sleep(Duration::from_millis(20));
    }
    is_so()
}

/// Says that all is over, also when something failed.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Numbers go from the good peer to the victim, in a stream of their own so that they keep their
/// order; gives how many were sent and how many came. The victim begins to take them when it is
/// full, and no more are sent when it is enough.
fn good_pair<N: Node>(
    victim: &N,
    mut messages: impl Messages,
    good: &N,
    is_full: &(impl Fn() -> bool + Sync),
    is_enough: &impl Fn() -> bool,
) -> (u32, u32) {
    let (good_id, victim_id) = (good.id(), victim.id());
    // How many there are to be, once that is known; and how many came.
    let (total, arrived) = (AtomicU32::new(u32::MAX), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            comes(is_full);
            let mut late = Instant::now();
            while arrived.load(Ordering::SeqCst) < total.load(Ordering::SeqCst) {
                let message = messages.recv(Duration::from_millis(200));
                if total.load(Ordering::SeqCst) == u32::MAX {
                    late = Instant::now();
                } else if late.elapsed() > LONG {
                    return;
                }
                let Some(message) = message.ok().filter(|message| message.peer == good_id) else {
                    continue;
                };
                let next = arrived.fetch_add(1, Ordering::SeqCst);
                let head = message.payload.first_chunk().expect("a number");
                assert_eq!(u32::from_be_bytes(*head), next, "in order, and whole");
                assert_eq!(message.payload.len(), len(next));
            }
        });
        let mut stream = good.borrow(victim_id, &protocol(), LONG).unwrap();
        let (begun, mut sent) = (Instant::now(), 0_u32);
        while begun.elapsed() < TIME || (!is_enough() && begun.elapsed() < LONG) {
            let mut payload = sent.to_be_bytes().to_vec();
            payload.resize(len(sent), 7);
            if let Err(error) = stream.send_wait(Bytes::from(payload), LONG) {
                total.store(0, Ordering::SeqCst);
                panic!("message {sent} of the good pair: {error:?}, {:?}", stream.lost());
            }
            sent += 1;
        }
        total.store(sent, Ordering::SeqCst);
    });
    (total.into_inner(), arrived.into_inner())
}

const fn len(number: u32) -> usize {
    4 + number as usize * 37 % 20_000
}

#[test]
fn all_attacks_at_once_on_tokio() {
    under_attack(&OnTokio(Tls), "tokio, all attacks", &Attack::ALL, MANY);
}

#[test]
fn all_attacks_at_once_on_mio() {
    under_attack(&OnMio(Tls), "mio, all attacks", &Attack::ALL, MANY);
}

#[test]
fn all_attacks_at_once_on_smol() {
    under_attack(&OnAsyncIo(Tls, Smol), "smol, all attacks", &Attack::ALL, MANY);
}

/// What the node is made to hold at least, in bytes: by all attacks, and by those that hoard.
const MANY: usize = 4 << 20;
const MUCH: usize = 32 << 20;

/// Those that break no rule, and have the node hold what they can.
const HOARDERS: [Attack; 3] = [Attack::Unfinished, Attack::Messages, Attack::Churn];

#[test]
fn what_the_node_may_be_made_to_hold_on_tokio() {
    under_attack(&OnTokio(Insecure), "tokio, hoarders", &HOARDERS, MUCH);
}

#[test]
fn what_the_node_may_be_made_to_hold_on_mio() {
    under_attack(&OnMio(Insecure), "mio, hoarders", &HOARDERS, MUCH);
}
