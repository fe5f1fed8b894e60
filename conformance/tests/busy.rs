//! A peer that cannot be written to, or that is waited for, costs no processor time.
//!
//! The time is that of a whole process, so each test runs itself again in a process of its own.

#[path = "adapters/on_async_io.rs"]
mod on_async_io;
#[path = "adapters/on_mio.rs"]
mod on_mio;
#[path = "adapters/on_runtime.rs"]
mod on_runtime;
#[path = "adapters/on_tokio.rs"]
mod on_tokio;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use headwater_async_std::Smol;
use headwater_conformance::Security::{Insecure, Tls};
use headwater_conformance::hostile::Hostile;
use headwater_conformance::process::{alone, processor_time};
use headwater_conformance::{Adapter, LONG, Node};
use headwater_core::config::Config;
use headwater_core::id::ProtocolId;
use headwater_identity::NodeKey;
use on_async_io::OnAsyncIo;
use on_mio::OnMio;
use on_tokio::OnTokio;

/// So long everything settles, and so long it is watched then.
const SETTLING: Duration = Duration::from_millis(500);
const WATCHED: Duration = Duration::from_secs(1);

/// Peers that do nothing any more: some read nothing of what there is for them, the others have
/// broken the rules and wait for the end.
fn still<A: Adapter>(adapter: &A) {
    let mut config = Config::default();
    config.send_deadline = 2 * LONG;
    config.close_deadline = 2 * LONG;
    let victim = adapter.start(&NodeKey::generate().unwrap(), config);
    let protocol = ProtocolId::new("/test").unwrap();
    let target = victim.node.listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let open = |name: &str| {
        let lists = [protocol.as_str(), ProtocolId::EXCHANGER];
        Hostile::open(target, adapter.security(), name, &lists).unwrap()
    };
    let deaf = ["deaf 1", "deaf 2"].map(open);
    for name in ["deaf 1", "deaf 2"] {
        let id = Hostile::id_of(name);
        let begun = Instant::now();
        while !victim.node.supports(id, &protocol) {
            assert!(begun.elapsed() < LONG, "{name} is not connected");
            std::thread::sleep(Duration::from_millis(2));
        }
        let send = || {
            victim.node.send_wait(
                id,
                &protocol,
                vec![7; 100_000].into(),
                Duration::from_millis(300),
            )
        };
        let sent = (0..10_000).take_while(|_| send().is_ok()).count();
        assert!(sent > 2 && sent < 10_000, "{sent} messages");
    }
    let rude = ["rude 1", "rude 2"].map(|name| {
        let mut peer = open(name);
        // More than there is in one read, and the first of it is wrong.
        peer.bytes(&[0xff; 20_000]);
        peer
    });
    std::thread::sleep(SETTLING);
    let before = processor_time();
    std::thread::sleep(WATCHED);
    let spent = processor_time() - before;
    assert!(spent < WATCHED / 4, "{spent:?} of processor time in {WATCHED:?}");
    drop((deaf, rude));
    assert!(victim.node.stop(LONG));
}

#[test]
fn peers_that_do_nothing_cost_no_time_on_tokio() {
    alone("peers_that_do_nothing_cost_no_time_on_tokio", || {
        still(&OnTokio(Insecure));
        still(&OnTokio(Tls));
    });
}

#[test]
fn peers_that_do_nothing_cost_no_time_on_smol() {
    alone("peers_that_do_nothing_cost_no_time_on_smol", || {
        still(&OnAsyncIo(Insecure, Smol));
        still(&OnAsyncIo(Tls, Smol));
    });
}

#[test]
fn peers_that_do_nothing_cost_no_time_on_mio() {
    alone("peers_that_do_nothing_cost_no_time_on_mio", || {
        still(&OnMio(Insecure));
        still(&OnMio(Tls));
    });
}
