//! What is of tokio alone: tasks, futures that are dropped, senders on tasks of their own.

use std::time::Duration;

use bytes::Bytes;
use headwater_core::contract::Notification;
use headwater_tokio::{Address, Builder, PeerId, ProtocolId, Started};

const LONG: Duration = Duration::from_secs(30);

fn id(digit: u8) -> PeerId {
    let mut text = *b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";
    text[2] = digit;
    PeerId::from_bytes(&text).unwrap()
}

fn start(digit: u8) -> Started {
    Builder::insecure(id(digit)).unwrap().start().unwrap()
}

fn echo() -> ProtocolId {
    ProtocolId::new("/echo").unwrap()
}

/// Two nodes; the first has dialled the second, both support `/echo`.
async fn pair() -> (Started, Started) {
    let (one, two) = (start(b'1'), start(b'2'));
    for node in [&one.node, &two.node] {
        node.register(echo()).await.unwrap();
    }
    let address = two.node.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    assert_eq!(one.node.dial(Address::from(address)).await.unwrap(), two.node.id());
    (one, two)
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("in time")
}

#[tokio::test]
async fn many_messages_arrive_once_each_while_the_reader_lags() {
    let (one, mut two) = pair().await;
    let sender = tokio::spawn({
        let mut sender = one.node.sender(&two.node.id(), &echo()).unwrap();
        async move {
            for number in 0..50_000_u32 {
                let payload = Bytes::copy_from_slice(&number.to_be_bytes().repeat(32));
                sender.send_wait(payload).await.unwrap();
            }
        }
    });
    let mut seen = vec![false; 50_000];
    for count in 0..50_000 {
        let message = within(two.messages.recv()).await.unwrap();
        let number = u32::from_be_bytes(message.payload[..4].try_into().unwrap());
        assert!(!std::mem::replace(&mut seen[number as usize], true));
        if count % 10_000 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    within(sender).await.unwrap();
}

#[tokio::test]
async fn stop_tells_everything_and_leaves_no_task() {
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let (mut one, mut two) = pair().await;
    within(one.node.send_wait(&two.node.id(), &echo(), Bytes::from(vec![1; 300_000])))
        .await
        .unwrap();
    within(one.node.stop()).await;
    within(one.node.stop()).await;
    assert_eq!(within(two.messages.recv()).await.unwrap().payload.len(), 300_000);
    let mut told = Vec::new();
    while let Some(notification) = within(one.notifications.recv()).await {
        told.push(notification);
    }
    assert!(matches!(told.last(), Some(Notification::Stopped)));
    assert!(told.iter().any(|told| matches!(told, Notification::Disconnected { .. })));
    assert!(within(one.messages.recv()).await.is_none());
    loop {
        let notification = within(two.notifications.recv()).await.unwrap();
        if matches!(notification, Notification::Disconnected { .. }) {
            break;
        }
    }
    within(two.node.stop()).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), before);
}

#[tokio::test]
async fn send_wait_is_cancel_safe() {
    let (one, mut two) = pair().await;
    let peer = two.node.id();
    let protocol = echo();
    let mut sent = 0;
    let payload = Bytes::from(vec![5; 65_536]);
    while sent < 1000 {
        let waiting = one.node.send_wait(&peer, &protocol, payload.clone());
        if tokio::time::timeout(Duration::from_millis(50), waiting).await.is_err() {
            break;
        }
        sent += 1;
    }
    assert!(sent > 3, "it has to fill up at some time");
    for _ in 0..sent {
        within(two.messages.recv()).await.unwrap();
    }
    let more = tokio::time::timeout(Duration::from_millis(200), two.messages.recv()).await;
    assert!(more.is_err(), "a cancelled send was sent");
}
