//! A process that has no descriptor left: links wait in the backlog, nobody spins, those that are
//! connected are served, and when there are descriptors again the links that waited are taken.
//!
//! The limit is that of a whole process, so each test runs itself again in a process of its own.

#[path = "adapters/on_async_io.rs"]
mod on_async_io;
#[path = "adapters/on_mio.rs"]
mod on_mio;
#[path = "adapters/on_runtime.rs"]
mod on_runtime;
#[path = "adapters/on_tokio.rs"]
mod on_tokio;

use std::fs::File;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use headwater_async_std::Smol;
use headwater_conformance::Security::Insecure;
use headwater_conformance::process::{alone, processor_time};
use headwater_conformance::{Adapter, LONG, Messages, Node};
use headwater_core::config::Config;
use headwater_core::id::ProtocolId;
use headwater_identity::NodeKey;
use on_async_io::OnAsyncIo;
use on_mio::OnMio;
use on_tokio::OnTokio;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How long there are no descriptors.
const DROUGHT: Duration = Duration::from_secs(1);

fn out_of_descriptors<A: Adapter>(adapter: &A) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(128), ..limit }).unwrap();
    let test = ProtocolId::new("/test").unwrap();
    let start = || {
        let running = adapter.start(&NodeKey::generate().unwrap(), Config::default());
        running.node.register(test.clone()).unwrap();
        running
    };
    let (mut victim, good, late) = (start(), start(), start());
    let target = victim.node.listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let id = victim.node.id();
    assert_eq!(good.node.dial(target.into()), Ok(id));

    let mut hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(!hoard.is_empty(), "there was nothing to hoard");
    // One for the side that dials, none for the side that accepts.
    hoard.pop();
    std::thread::scope(|scope| {
        let dialling = scope.spawn(|| late.node.dial(target.into()));
        let begun = Instant::now();
        std::thread::sleep(Duration::from_millis(100));
        good.node.send_wait(id, &test, "all the same".into(), LONG).unwrap();
        assert_eq!(victim.messages.recv(LONG).unwrap().payload, "all the same");
        std::thread::sleep(DROUGHT.saturating_sub(begun.elapsed()));
        assert!(!dialling.is_finished(), "accepted without a descriptor");
        drop(hoard);
        let used = processor_time();
        assert!(used < DROUGHT, "{used:?} of processors: it spins");
        assert_eq!(dialling.join().unwrap(), Ok(id));
    });
    late.node.send_wait(id, &test, "at last".into(), LONG).unwrap();
    assert_eq!(victim.messages.recv(LONG).unwrap().payload, "at last");
    assert!(late.node.stop(LONG) && good.node.stop(LONG) && victim.node.stop(LONG));
}

#[test]
fn d29_out_of_descriptors_on_tokio() {
    alone("d29_out_of_descriptors_on_tokio", || out_of_descriptors(&OnTokio(Insecure)));
}

#[test]
fn d29_out_of_descriptors_on_mio() {
    alone("d29_out_of_descriptors_on_mio", || out_of_descriptors(&OnMio(Insecure)));
}

#[test]
fn d29_out_of_descriptors_on_smol() {
    let test = || out_of_descriptors(&OnAsyncIo(Insecure, Smol));
    alone("d29_out_of_descriptors_on_smol", test);
}
