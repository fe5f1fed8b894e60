//! The example of a custom loop, as a program of its own, talks to a node on tokio.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use headwater_tokio::{Address, Builder, NodeKey, ProtocolId, Started};

const LONG: Duration = Duration::from_secs(60);

/// Ends the program when the test does, however that is.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Builds the example, if the tests of the workspace have not, and says where it is. Of the whole
/// workspace, so that everything that it needs is what those tests have built.
fn example() -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--workspace", "--example", "custom_loop"])
        .status();
    assert!(built.expect("cargo runs").success());
    let test = std::env::current_exe().expect("a path");
    let profile = test.ancestors().nth(2).expect("target/debug");
    profile.join("examples/custom_loop")
}

fn start() -> Started {
    let key = NodeKey::generate().expect("randomness");
    Builder::new(&key).expect("a usable key").start().expect("started")
}

#[tokio::test]
async fn it_listens_and_echoes() {
    let echo = ProtocolId::new("/echo/1.0.0").unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _program = Program(Command::new(example()).arg(free.to_string()).spawn().unwrap());
    let Started { node, mut messages, .. } = start();
    node.register(echo.clone()).await.unwrap();
    let dialled = tokio::time::timeout(LONG, async {
        loop {
            // It may not listen yet.
            match node.dial(Address::from(free)).await {
                Ok(peer) => break peer,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    let peer = dialled.await.expect("connected in time");
    for len in [0, 1, 8191, 8192, 300_000, 8 << 20] {
        let payload = Bytes::from(vec![len as u8; len]);
        node.send_wait(&peer, &echo, payload.clone()).await.unwrap();
        let back = tokio::time::timeout(LONG, messages.recv()).await.expect("in time").unwrap();
        assert!(back.payload == payload, "{len}");
    }
    node.stop().await;
}

#[tokio::test]
async fn it_dials_and_is_answered() {
    let Started { node, mut messages, .. } = start();
    node.register(ProtocolId::new("/echo/1.0.0").unwrap()).await.unwrap();
    let address = node.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let target = Address::from(address).to_string();
    let example = example();
    let program = tokio::task::spawn_blocking(move || {
        Command::new(example).arg(target).stdout(Stdio::piped()).output().unwrap()
    });
    let hello = tokio::time::timeout(LONG, messages.recv()).await.expect("in time").unwrap();
    assert_eq!(hello.payload, "hello");
    node.send_wait(&hello.peer, &hello.protocol, hello.payload).await.unwrap();
    let output = tokio::time::timeout(LONG, program).await.expect("in time").unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "echo: b\"hello\"\n");
    node.stop().await;
}
