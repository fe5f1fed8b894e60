//! What a node that is attacked logs at the most verbose level.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use headwater_conformance::Security;
use headwater_conformance::hostile::{Attack, attack};
use headwater_core::address::Address;
use headwater_core::id::ProtocolId;
use headwater_identity::NodeKey;
use headwater_tokio::{Builder, Started};

use crate::program::{Running, run};

/// A message of a good peer, which is nobody's business.
const SECRET: &str = "correct horse battery staple";

/// For so long all attack at once.
const TIME: Duration = Duration::from_secs(3);

/// Lines for one link: of its peer, which comes and goes, of what was lost with it, and of itself.
const LINES_A_LINK: u64 = 6;

fn protocol() -> ProtocolId {
    ProtocolId::new("/test/1.0.0").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_attacks_at_once_at_the_most_verbose_level() {
    verbose(Security::Tls, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_attacks_at_once_at_the_most_verbose_level_insecure() {
    verbose(Security::Insecure, &["--insecure"]).await;
}

async fn verbose(security: Security, args: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("node.pem");
    let key = key.to_str().unwrap();
    run(&["keygen", key]);
    let told = ["node", "--log", "trace", "--protocol", "/test/1.0.0=echo", "--key", key];
    let mut node = Running::start(&[&told[..], args].concat());
    let address: Address = node.line().parse().unwrap();
    let target = address.socket_addr().unwrap();

    // Fewer than the places that there are, so that the good peer has one.
    let attacks = Attack::ALL;
    let (over, links) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for (number, how) in attacks.into_iter().enumerate() {
            let (over, links) = (&over, &links);
            scope.spawn(move || {
                let name = format!("attacker {number}");
                attack(how, (target, security), &name, &protocol(), over, links);
            });
        }
        scope.spawn(|| {
            std::thread::sleep(TIME);
            over.store(true, Ordering::SeqCst);
        });
    });
    is_served(target, security).await;
    node.signal("TERM");
    let ended = tokio::task::spawn_blocking(move || node.wait()).await.unwrap();
    assert_eq!(ended.status, Some(0), "{:?}", ended.stderr.last());

    let key = fs::read_to_string(key).unwrap();
    let private: Vec<&str> = key.lines().filter(|line| !line.starts_with("-----")).collect();
    assert!(!private.is_empty());
    let (mut loud, mut quiet) = (0, 0);
    for line in &ended.stderr {
        assert!(private.iter().all(|part| !line.contains(part)), "the key: {line}");
        assert!(!line.contains(SECRET), "a message: {line}");
        // What attackers send is made of these.
        for byte in [1, 2, 3, 4, 5] {
            let shown = format!("{byte}, {byte}, {byte}, {byte}");
            assert!(!line.contains(&shown), "a message: {line}");
        }
        assert!(line.len() < 2000, "{} bytes: {line}", line.len());
        let counter = if line.contains(" level=trace ") { &mut quiet } else { &mut loud };
        *counter += 1;
    }
    let links = links.into_inner();
    println!("{security:?}: {links} hostile links, {loud} lines, {quiet} traces");
    assert!(links >= attacks.len() as u64, "{links} links: they hardly attacked");
    assert!(loud > links / 2, "{loud} lines of {links} links");
    assert!(loud <= LINES_A_LINK * links + 20, "{loud} lines of {links} links");
    assert!(quiet > 0, "there are traces");
}

/// A good peer finds a place within its deadline, and is answered.
async fn is_served(target: SocketAddr, security: Security) {
    let key = NodeKey::generate().unwrap();
    let Started { node, mut messages, notifications } = match security {
        Security::Tls => Builder::new(&key).unwrap().start().unwrap(),
        Security::Insecure => Builder::insecure(key.peer_id()).unwrap().start().unwrap(),
    };
    drop(notifications);
    node.register(protocol()).await.unwrap();
    let peer = node.dial(target.into()).await.unwrap();
    node.send_wait(&peer, &protocol(), Bytes::from(SECRET)).await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(60), messages.recv()).await;
    assert_eq!(answer.expect("an echo in time").unwrap().payload, SECRET);
    node.stop().await;
}
