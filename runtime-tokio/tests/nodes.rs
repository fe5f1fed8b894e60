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

/// How many messages a node has counted as undelivered before its peer was gone.
async fn undelivered(node: &mut Started) -> u64 {
    let mut lost = 0;
    loop {
        match within(node.notifications.recv()).await.unwrap() {
            Notification::Undelivered { messages, .. } => lost += messages,
            Notification::Disconnected { .. } => return lost,
            _ => {}
        }
    }
}

#[tokio::test]
async fn every_accepted_message_is_received_or_counted_when_the_peer_says_something_and_closes() {
    for round in 0..25 {
        let (mut one, mut two) = pair().await;
        let (here, there) = (one.node.id(), two.node.id());
        // Until everything is full: the application of the peer does not read.
        let mut accepted = 0;
        let payload = Bytes::from(vec![5; 16_384]);
        let mut pauses = 0;
        while pauses < 3 {
            match one.node.send(&there, &echo(), payload.clone()) {
                Ok(()) => (accepted, pauses) = (accepted + 1, 0),
                Err(_full) => {
                    pauses += 1;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        }
        // Its last words and its end come together.
        for _ in 0..10 {
            two.node.send(&here, &echo(), Bytes::from_static(b"last words")).unwrap();
        }
        within(two.node.disconnect(here)).await.unwrap();
        let lost = undelivered(&mut one).await;
        for _ in 0..10 {
            assert_eq!(within(one.messages.recv()).await.unwrap().payload, "last words");
        }
        let received = async {
            let mut received = 0;
            while received + lost < accepted {
                within(two.messages.recv()).await.unwrap();
                received += 1;
            }
            received
        };
        let received = tokio::time::timeout(Duration::from_secs(5), received).await;
        let received = received.unwrap_or_else(|_| {
            panic!("round {round}: of {accepted} messages {lost} are counted, too few")
        });
        assert_eq!(received + lost, accepted);
        assert!(two.messages.try_recv().is_none(), "counted, and received");
        assert!(lost > 0, "it was to be full");
    }
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_costs_no_connection() {
    // The system's own clock cannot: it is monotonic, and stands still with the machine.
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let (mut one, mut two) = pair().await;
    for end in [&mut one, &mut two] {
        // What is under way has deadlines, and those would be over.
        while !matches!(
            within(end.notifications.recv()).await,
            Some(Notification::Supported { .. })
        ) {}
    }
    for round in 0..3_u8 {
        tokio::time::pause();
        tokio::time::advance(DAY).await;
        tokio::time::resume();
        // The probe that is due now has to be answered first.
        tokio::time::sleep(Duration::from_millis(20)).await;
        one.node.send(&two.node.id(), &echo(), Bytes::from(vec![round])).unwrap();
        assert_eq!(within(two.messages.recv()).await.unwrap().payload[..], [round]);
        two.node.send(&one.node.id(), &echo(), Bytes::from(vec![round])).unwrap();
        assert_eq!(within(one.messages.recv()).await.unwrap().payload[..], [round]);
    }
    within(one.node.stop()).await;
    let mut lost = Vec::new();
    while let Some(told) = within(one.notifications.recv()).await {
        if let Notification::Disconnected { reason, .. } = told {
            lost.push(reason);
        }
    }
    assert_eq!(lost, [headwater_core::error::CloseReason::Stopping]);
    within(two.node.stop()).await;
}
