//! Two nodes on loopback.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::SocketAddr;
use std::time::Duration;

use headwater_core::id::KeyKind;
use headwater_core::secure::Insecure;
use headwater_mio::{
    Address, Builder, Config, EventLoop, Notification, Notifications, PeerId, ProtocolId, Started,
};

/// Longer than anything here takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) fn id(name: &str) -> PeerId {
    PeerId::from_public_key(KeyKind::Ecdsa, name.repeat(64).as_bytes())
}

pub(crate) fn protocol() -> ProtocolId {
    ProtocolId::new("/test/1.0.0").unwrap()
}

pub(crate) fn build(name: &str, config: Config) -> EventLoop<Insecure> {
    let mut node = Builder::insecure(id(name)).unwrap().config(config).build().unwrap();
    node.register(protocol()).unwrap();
    node
}

pub(crate) fn start(name: &str, config: Config) -> Started {
    build(name, config).spawn().unwrap()
}

/// Has `two` dial `one`, and waits until both may send. Gives where `one` listens.
pub(crate) fn connect(one: &mut Started, two: &mut Started) -> SocketAddr {
    let local = one.handle.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let peer = two.handle.dial(Address::from(local)).unwrap();
    assert_eq!(peer, one.handle.id());
    await_support(&mut one.notifications, two.handle.id());
    await_support(&mut two.notifications, one.handle.id());
    local
}

pub(crate) fn await_support(notifications: &mut Notifications, peer: PeerId) {
    let supported = Notification::Supported { peer, protocol: protocol() };
    await_notification(notifications, |told| *told == supported);
}

pub(crate) fn await_notification(
    notifications: &mut Notifications,
    wanted: impl Fn(&Notification) -> bool,
) -> Notification {
    loop {
        let told = notifications.recv_timeout(LONG).expect("a notification in time");
        if wanted(&told) {
            return told;
        }
    }
}

/// Bytes that tell of `number` and their place.
pub(crate) fn payload(number: usize, len: usize) -> Vec<u8> {
    let mut state = number as u32 ^ 0x9e37_79b9;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(step).collect()
}
