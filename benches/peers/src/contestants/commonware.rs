//! commonware-p2p: authenticated peers and channels, whose messages may be dropped, so that the
//! application has to see to it that there are never too many under way.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use commonware_cryptography::ed25519::{PrivateKey, PublicKey};
use commonware_cryptography::{ChaCha20Poly1305, Signer};
use commonware_p2p::authenticated::lookup::{self, Network, Receiver, Sender};
use commonware_p2p::{Address, AddressableManager, Receiver as _, Recipients, Sender as _};
use commonware_runtime::tokio::{Config, Context, Runner};
use commonware_runtime::{Quota, Runner as _, Supervisor};
use commonware_stream::cups::{self, Cups};
use commonware_stream::sake::{self, Sake};
use commonware_utils::ordered::Map;
use commonware_utils::{NZU32, NZUsize};
use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::scenario::{Connected, Contestant, Inbox, Lane};

/// Bytes under way in a channel, as the application bounds them, and what counts for each message
/// at least.
const UNDER_WAY: usize = 4 << 20;
const LEAST: usize = 512;
/// Messages that fit into every queue on the way: more than are ever under way.
const QUEUED: u32 = 16 * 1024;
/// Messages of a channel in a second: more than there ever are.
const RATE: u32 = 100_000_000;
/// Messages that a receiver takes before it gives their room back.
const TAKEN: usize = 64;
const LONGEST: u32 = 2 << 20;

/// Channels: both directions of a pair, the bulk transfer, and small messages beside it.
const CHANNELS: u64 = 3;

/// commonware-p2p.
pub struct Commonware;

/// Sends on one channel.
struct Outgoing {
    sender: Sender<PublicKey, Context>,
    peer: PublicKey,
    room: Arc<Semaphore>,
    is_urgent: bool,
}

/// Receives on one channel.
struct Incoming {
    receiver: Receiver<PublicKey>,
    room: Arc<Semaphore>,
}

/// One end of a channel.
pub struct Both(Outgoing, Incoming);

fn weight(len: usize) -> usize {
    len.clamp(LEAST, UNDER_WAY)
}

impl Lane for Outgoing {
    async fn send(&mut self, payload: Bytes) {
        let weight = u32::try_from(weight(payload.len())).expect("clamped");
        self.room.acquire_many(weight).await.expect("never closed").forget();
        let peer = Recipients::One(self.peer.clone());
        let sent = self.sender.send(peer, payload, self.is_urgent);
        assert!(!sent.is_empty(), "there is room for all that is under way");
    }
}

impl Inbox for Incoming {
    async fn receive(&mut self, mut take: impl FnMut(&[u8]) + Send) {
        let mut freed = 0;
        let mut next = Some(self.receiver.recv().await);
        for _ in 0..TAKEN {
            let Some(received) = next else { break };
            let (_, message) = received.expect("the network runs");
            take(message.as_ref());
            freed += weight(message.len());
            next = self.receiver.recv().now_or_never();
        }
        if let Some(received) = next {
            let (_, message) = received.expect("the network runs");
            take(message.as_ref());
            freed += weight(message.len());
        }
        self.room.add_permits(freed);
    }
}

impl Lane for Both {
    async fn send(&mut self, payload: Bytes) {
        self.0.send(payload).await;
    }
}

impl Inbox for Both {
    async fn receive(&mut self, take: impl FnMut(&[u8]) + Send) {
        self.1.receive(take).await;
    }
}

/// A peer's side of all channels.
type Side = Vec<(Sender<PublicKey, Context>, Receiver<PublicKey>)>;

fn side(
    context: Context,
    signer: &PrivateKey,
    local: SocketAddr,
    peers: Map<PublicKey, Address>,
) -> Side {
    let sake = Sake {
        signer: signer.clone(),
        synchrony_bound: Duration::from_secs(5),
        max_handshake_age: Duration::from_secs(10),
        version: sake::Version::V1,
    };
    let mut config = lookup::Config::local(
        Cups::<_, ChaCha20Poly1305>::new(sake, cups::Version::V1),
        b"bench",
        local,
        NZUsize!(2),
        LONGEST,
        NZUsize!(QUEUED as usize),
    );
    config.send_batch_size = NZUsize!(64);
    config.tracked_peer_sets = NZUsize!(1);
    let (mut network, mut oracle) = Network::new(context, config);
    oracle.track(0, peers);
    let quota = Quota::per_second(NZU32!(RATE)).allow_burst(NZU32!(QUEUED));
    let side = (0..CHANNELS).map(|channel| network.register(channel, quota)).collect();
    network.start();
    side
}

/// Until what one sends arrives at the other; what was sent meanwhile is taken out.
async fn meet(
    sender: &mut Sender<PublicKey, Context>,
    peer: &PublicKey,
    receiver: &mut Receiver<PublicKey>,
) {
    let pause = Duration::from_millis(50);
    loop {
        sender.send(Recipients::One(peer.clone()), Bytes::from_static(b"first"), false);
        if tokio::time::timeout(pause, receiver.recv()).await.is_ok() {
            break;
        }
    }
    while tokio::time::timeout(4 * pause, receiver.recv()).await.is_ok() {}
}

async fn sides(context: &Context) -> [(PublicKey, Side); 2] {
    let free = || {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        socket.local_addr().expect("bound")
    };
    let signers = [1, 2].map(PrivateKey::from_seed);
    let addresses = [free(), free()];
    let ids = [0, 1].map(|at| signers[at].public_key());
    let peers = || -> Map<PublicKey, Address> {
        let listed = [0, 1].map(|at| (ids[at].clone(), addresses[at].into()));
        listed.try_into().expect("different keys")
    };
    let mut one = side(context.child("one"), &signers[0], addresses[0], peers());
    let mut two = side(context.child("two"), &signers[1], addresses[1], peers());
    meet(&mut one[0].0, &ids[1], &mut two[0].1).await;
    meet(&mut two[0].0, &ids[0], &mut one[0].1).await;
    let [first, second] = ids;
    [(first, one), (second, two)]
}

/// Both directions of the next channel.
fn channel(
    [(first, one), (second, two)]: &mut [(PublicKey, Side); 2],
    is_urgent: bool,
) -> [Both; 2] {
    let ((forth, from_two), (back, from_one)) = (one.remove(0), two.remove(0));
    let rooms = [(); 2].map(|()| Arc::new(Semaphore::new(UNDER_WAY)));
    let outgoing = |sender, peer: &PublicKey, room: usize| Outgoing {
        sender,
        peer: peer.clone(),
        room: Arc::clone(&rooms[room]),
        is_urgent,
    };
    let incoming = |receiver, room: usize| Incoming { receiver, room: Arc::clone(&rooms[room]) };
    [
        Both(outgoing(forth, second, 0), incoming(from_two, 1)),
        Both(outgoing(back, first, 1), incoming(from_one, 0)),
    ]
}

impl Contestant for Commonware {
    type End = Both;
    type Bulk = Both;
    type Small = Both;
    type Inbox = Both;

    const NAME: &'static str = "commonware-p2p";
    const NOTE: &'static str = "`authenticated::lookup` on its own tokio runtime; its only cipher is \
        ChaCha20-Poly1305. It drops what does not fit into its queues, so the application keeps at \
        most 4 MiB under way in a channel, by a semaphore in the process, which is in its favour. \
        Raised: quotas out of the way, queues to 16,384 messages, 64 messages a write. Beside bulk a \
        channel for each, the small ones with priority.";

    fn connect() -> Connected<Self> {
        let (ready, connected) = mpsc::channel();
        std::thread::spawn(move || {
            Runner::new(Config::new().with_worker_threads(2)).start(async |context| {
                let mut sides = sides(&context).await;
                let ends = channel(&mut sides, false);
                let [bulk, for_bulk] = channel(&mut sides, false);
                let [small, for_small] = channel(&mut sides, true);
                let inboxes = vec![for_bulk, for_small];
                let handle = Handle::current();
                let connected = Connected { handle, ends, bulk, small, inboxes };
                ready.send(connected).unwrap_or_else(|_| panic!("nobody waits"));
                std::future::pending::<()>().await;
            });
        });
        connected.recv_timeout(Duration::from_secs(30)).expect("connected")
    }
}
