//! Nodes on loopback, two of which are connected.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::config::Config;
use headwater_core::contract::Notification;
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::message::Message;
use headwater_identity::NodeKey;

use crate::{Adapter, LONG, Messages, Node, Notifications, Running, Wait};

/// A port of loopback that the system chooses.
pub(crate) const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The key of a node of this name, the same one each time.
pub(crate) fn key(name: &str) -> NodeKey {
    static KEYS: Mutex<BTreeMap<String, NodeKey>> = Mutex::new(BTreeMap::new());
    let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(key) = keys.get(name) {
        return key.clone();
    }
    // The name is the secret number.
    let mut sec1 = vec![0x30, 49, 2, 1, 1, 4, 32];
    sec1.resize(7 + 32 - name.len(), 0);
    sec1.extend_from_slice(name.as_bytes());
    sec1.extend_from_slice(&[0xa0, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
    let key = NodeKey::from_sec1_der(&sec1).expect("a P-256 key");
    keys.insert(name.to_owned(), key.clone());
    key
}

/// The id of a node of this name.
pub(crate) fn id(name: &str) -> PeerId {
    key(name).peer_id()
}

pub(crate) fn test() -> ProtocolId {
    ProtocolId::new("/test/1.0.0").unwrap()
}

/// Bytes that tell of `number` and of their place.
pub(crate) fn payload(number: usize, len: usize) -> Bytes {
    let mut state = number as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        bytes.extend_from_slice(&(state >> 8).to_be_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

/// A configuration that leaves a close so much time that nothing here may wait for its end.
pub(crate) fn patient() -> Config {
    let mut config = Config::default();
    config.close_deadline = 2 * LONG;
    config
}

/// Starts a node that takes messages of [`fn@test`].
pub(crate) fn start<A: Adapter>(adapter: &A, name: &str, config: Config) -> Running<A> {
    let running = adapter.start(&key(name), config);
    running.node.register(test()).unwrap();
    running
}

/// Two connected nodes.
pub(crate) struct Pair<A: Adapter, B: Adapter> {
    /// Listens.
    pub(crate) one: Running<A>,
    /// Has dialled.
    pub(crate) two: Running<B>,
    /// Where `one` listens.
    pub(crate) local: SocketAddr,
}

impl<A: Adapter, B: Adapter> Pair<A, B> {
    pub(crate) fn connect(a: &A, b: &B) -> Self {
        let (one, two) = (start(a, "one", patient()), start(b, "two", patient()));
        Self::connect_these(one, two, Address::from)
    }

    /// Has `two` dial `one`, at the address made of where that listens, and waits until both may
    /// send.
    pub(crate) fn connect_these(
        mut one: Running<A>,
        mut two: Running<B>,
        address: impl FnOnce(SocketAddr) -> Address,
    ) -> Self {
        let local = one.node.listen(ANY_PORT).unwrap();
        assert_eq!(two.node.dial(address(local)), Ok(one.node.id()));
        one.await_support(two.node.id());
        two.await_support(one.node.id());
        Self { one, two, local }
    }

    /// Stops both; nothing may be left.
    pub(crate) fn stop(self) {
        let Self { one, two, .. } = self;
        two.stop();
        one.stop();
    }
}

impl<A: Adapter> Running<A> {
    /// The next message.
    pub(crate) fn message(&mut self) -> Message {
        self.messages.recv(LONG).expect("a message in time")
    }

    /// Waits for a notification; gives all up to it.
    pub(crate) fn told_until(
        &mut self,
        wanted: impl Fn(&Notification) -> bool,
    ) -> Vec<Notification> {
        told_until(&mut self.notifications, wanted)
    }

    /// Waits for a notification, and gives it.
    pub(crate) fn told(&mut self, wanted: impl Fn(&Notification) -> bool) -> Notification {
        self.told_until(wanted).pop().expect("it is the last one")
    }

    pub(crate) fn await_support(&mut self, peer: PeerId) {
        self.told(|told| *told == Notification::Supported { peer, protocol: test() });
    }

    /// Stops it; nothing may be left.
    pub(crate) fn stop(self) {
        assert!(self.node.stop(LONG), "the stop takes too long");
        await_quiet(&self.node);
    }

    /// Everything that is told before it has stopped.
    pub(crate) fn last_words(&mut self) -> Vec<Notification> {
        let mut told = Vec::new();
        loop {
            match self.notifications.recv(LONG) {
                Ok(notification) => told.push(notification),
                Err(Wait::Ended) => return told,
                Err(Wait::Over) => panic!("it neither tells nor ends; so far {told:?}"),
            }
        }
    }
}

/// Waits until a condition holds that nobody tells of.
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn await_quiet(node: &impl Node) {
    // A thread that has returned takes a moment to be gone.
    until("nothing of the node is left", || node.is_quiet());
}

pub(crate) fn told_until(
    notifications: &mut impl Notifications,
    wanted: impl Fn(&Notification) -> bool,
) -> Vec<Notification> {
    let mut told = Vec::new();
    loop {
        match notifications.recv(LONG) {
            Ok(notification) => told.push(notification),
            Err(wait) => panic!("not told ({wait:?}); so far {told:?}"),
        }
        if told.last().is_some_and(&wanted) {
            return told;
        }
    }
}

pub(crate) fn is_disconnected(told: &Notification) -> bool {
    matches!(told, Notification::Disconnected { .. })
}
