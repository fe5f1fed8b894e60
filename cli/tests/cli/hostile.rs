//! Senders that do not keep to the protocol: the listener says so and keeps no file.

use std::time::Duration;

use bytes::Bytes;
use headwater_core::id::ProtocolId;
use headwater_identity::NodeKey;
use headwater_tokio::{Borrowed, Builder, Messages, Node, Started};
use sha2::{Digest as _, Sha256};

use crate::program::{Running, listen, names};

const OFFER: u8 = 1;
const CHUNK: u8 = 2;
const END: u8 = 3;
const ACCEPT: u8 = 5;
const REFUSE: u8 = 6;

const TRANSFER: u64 = 77;

/// A message of the transfer.
fn message(kind: u8, fields: &[&[u8]]) -> Bytes {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&TRANSFER.to_be_bytes());
    fields.iter().for_each(|field| bytes.extend_from_slice(field));
    bytes.into()
}

fn offer(length: u64) -> Bytes {
    message(OFFER, &[&length.to_be_bytes(), b"name"])
}

fn chunk(offset: u64, data: &[u8]) -> Bytes {
    message(CHUNK, &[&offset.to_be_bytes(), data])
}

fn end(length: u64, data: &[u8]) -> Bytes {
    message(END, &[&length.to_be_bytes(), &Sha256::digest(data)])
}

/// A node of this process, connected to a listener.
struct Peer {
    node: Node,
    messages: Messages,
    stream: Borrowed,
}

impl Peer {
    async fn connect(address: &str) -> Self {
        let key = NodeKey::generate().unwrap();
        let Started { node, messages, .. } = Builder::new(&key).unwrap().start().unwrap();
        let protocol = ProtocolId::new("/headwater/file/1.0.0").unwrap();
        node.register(protocol.clone()).await.unwrap();
        let peer = node.dial(address.parse().unwrap()).await.unwrap();
        let stream = node.borrow(&peer, &protocol).await.unwrap();
        Self { node, messages, stream }
    }

    async fn send(&mut self, message: Bytes) {
        self.stream.send_wait(message).await.unwrap();
    }

    /// The kind of the next answer that is not a sign of life.
    async fn answer(&mut self) -> u8 {
        loop {
            let wait = tokio::time::timeout(Duration::from_secs(240), self.messages.recv());
            let payload = wait.await.expect("an answer in time").expect("an answer").payload;
            if payload[0] != 8 {
                return payload[0];
            }
        }
    }
}

/// Sends an offer and then what does not fit it; gives how the listener ended.
async fn misbehave(length: u64, messages: &[Bytes]) {
    let folder = tempfile::tempdir().unwrap();
    let (mut listener, address): (Running, String) = listen(&folder.path().join("to"), &[]);
    let mut peer = Peer::connect(&address).await;
    peer.send(offer(length)).await;
    assert_eq!(peer.answer().await, ACCEPT);
    for message in messages {
        peer.send(message.clone()).await;
    }
    assert_eq!(peer.answer().await, REFUSE);
    let ended = tokio::task::spawn_blocking(move || listener.wait()).await.unwrap();
    assert_eq!(ended.status, Some(13), "{ended:?}");
    assert_eq!(names(folder.path()), [""; 0]);
    peer.node.stop().await;
}

#[tokio::test]
async fn a_wrong_sum() {
    misbehave(5, &[chunk(0, b"water"), end(5, b"wader")]).await;
}

#[tokio::test]
async fn a_wrong_length() {
    misbehave(u64::MAX, &[chunk(0, b"water"), end(6, b"water")]).await;
    misbehave(6, &[chunk(0, b"water"), end(5, b"water")]).await;
}

#[tokio::test]
async fn more_than_announced() {
    misbehave(4, &[chunk(0, b"water")]).await;
}

#[tokio::test]
async fn a_piece_out_of_place() {
    misbehave(10, &[chunk(0, b"water"), chunk(6, b"ater")]).await;
    misbehave(10, &[chunk(0, b"water"), chunk(0, b"water")]).await;
}

#[tokio::test]
async fn something_after_the_end_or_of_no_kind() {
    misbehave(10, &[message(ACCEPT, &[])]).await;
    misbehave(10, &[Bytes::from_static(b"?")]).await;
}

#[tokio::test]
async fn nonsense_of_a_stranger_disturbs_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("to");
    let (listener, address) = listen(&to, &["--log", "trace"]);
    let (mut peer, mut stranger) = (Peer::connect(&address).await, Peer::connect(&address).await);
    peer.send(offer(5)).await;
    assert_eq!(peer.answer().await, ACCEPT);
    for nonsense in [Bytes::new(), chunk(0, b"stranger"), end(0, b"")] {
        stranger.send(nonsense).await;
    }
    stranger.send(offer(1)).await;
    assert_eq!(stranger.answer().await, REFUSE);
    peer.send(chunk(0, b"brine")).await;
    peer.send(end(5, b"brine")).await;
    assert_eq!(peer.answer().await, 7);
    let ended = tokio::task::spawn_blocking(move || listener.end()).await.unwrap();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    // That it came is told, and not what it was.
    let said = |what: &str| ended.stderr.iter().any(|line| line.contains(what));
    assert!(said("a message of no transfer") && said("does not follow the format"), "{ended:?}");
    assert!(!said("stranger") && !said("brine"), "{ended:?}");
    assert_eq!(std::fs::read(to).unwrap(), b"brine");
    peer.node.stop().await;
    stranger.node.stop().await;
}
