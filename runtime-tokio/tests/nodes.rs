//! Nodes on tokio over real loopback sockets.

use std::time::Duration;

use bytes::Bytes;
use headwater_core::contract::{IoCause, Notification};
use headwater_core::error::{ApplicationError, DialError};
use headwater_tokio::{Address, Builder, Config, Error, PeerId, ProtocolId, SendError, Started};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_all_sizes_arrive() {
    let (one, mut two) = pair().await;
    for len in [0, 1, 128, 8191, 8192, 65_536, 1 << 20, 8 << 20] {
        let payload: Bytes = (0..len).map(|i| (i * 31 + len) as u8).collect::<Vec<u8>>().into();
        within(one.node.send_wait(&two.node.id(), &echo(), payload.clone())).await.unwrap();
        let message = within(two.messages.recv()).await.unwrap();
        assert_eq!(message.payload.len(), len);
        assert!(message.payload == payload);
    }
    within(one.node.stop()).await;
    within(two.node.stop()).await;
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
async fn d28_a_borrowed_stream_keeps_the_order() {
    let (one, mut two) = pair().await;
    let mut stream = within(one.node.borrow(&two.node.id(), &echo())).await.unwrap();
    let sender = tokio::spawn(async move {
        for number in 0..3000_u32 {
            let len = 4 + (number as usize * 97) % 20_000;
            let mut payload = vec![0; len];
            payload[..4].copy_from_slice(&number.to_be_bytes());
            stream.send_wait(payload.into()).await.unwrap();
        }
    });
    for number in 0..3000_u32 {
        let message = within(two.messages.recv()).await.unwrap();
        assert_eq!(message.payload[..4], number.to_be_bytes());
    }
    within(sender).await.unwrap();
}

#[tokio::test]
async fn a_reader_that_stops_fills_the_sender_and_loses_nothing() {
    let (one, mut two) = pair().await;
    let peer = two.node.id();
    let payload = Bytes::from(vec![5; 4096]);
    let mut sent = 0;
    let mut refused = 0;
    while refused < 20 {
        match one.node.send(&peer, &echo(), payload.clone()) {
            Ok(()) => (sent, refused) = (sent + 1, 0),
            Err(SendError::Full { payload }) => {
                assert_eq!(payload.len(), 4096);
                refused += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    for _ in 0..sent {
        assert_eq!(within(two.messages.recv()).await.unwrap().payload.len(), 4096);
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_by_type_and_comes_back() {
    let (one, two) = pair().await;
    let payload = Bytes::from_static(b"back");
    let other = ProtocolId::new("/other").unwrap();
    let refused = one.node.send(&two.node.id(), &other, payload.clone());
    assert_eq!(refused, Err(SendError::NotSupported { payload: payload.clone() }));
    let refused = one.node.send(&id(b'9'), &echo(), payload.clone());
    assert_eq!(refused, Err(SendError::NotConnected { payload: payload.clone() }));
    let large = Bytes::from(vec![0; (16 << 20) + 1]);
    let refused = one.node.send(&two.node.id(), &echo(), large);
    assert!(matches!(refused, Err(SendError::TooLarge { limit: 16_777_216, .. })));
    one.node.stop().await;
    let refused = one.node.send(&two.node.id(), &echo(), payload.clone());
    assert_eq!(refused, Err(SendError::Closed { payload }));
}

#[tokio::test]
async fn dials_fail_with_their_reason() {
    let one = start(b'1');
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = within(one.node.dial(Address::from(free))).await.unwrap_err();
    assert_eq!(error, Error::Dial(DialError::Link(IoCause::Refused)));
    let address: Address = "/dns4/no.such.name.invalid/tcp/1".parse().unwrap();
    let error = within(one.node.dial(address)).await.unwrap_err();
    assert!(matches!(error, Error::Dial(DialError::Resolve(_))), "{error:?}");
    let own = Address::from(free).with_peer(id(b'1'));
    let error = within(one.node.dial(own)).await.unwrap_err();
    assert_eq!(error, Error::Call(ApplicationError::OwnId));
    let two = start(b'2');
    let local = two.node.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let wrong = Address::from(local).with_peer(id(b'7'));
    let error = within(one.node.dial(wrong)).await.unwrap_err();
    assert!(error.to_string().contains("expected peer"), "{error}");
}

#[tokio::test]
async fn d22_a_listener_that_says_nothing_ends_the_dial_in_time_and_does_not_hold_up_stop() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = Config::default();
    config.handshake_deadline = Duration::from_millis(200);
    let one = Builder::insecure(id(b'1')).unwrap().config(config).start().unwrap();
    let address = Address::from(silent.local_addr().unwrap());
    let error = within(one.node.dial(address.clone())).await.unwrap_err();
    assert!(error.to_string().contains("Handshake"), "{error}");
    let dialling = tokio::spawn({
        let node = one.node.clone();
        async move { node.dial(address).await }
    });
    tokio::task::yield_now().await;
    within(one.node.stop()).await;
    assert!(within(dialling).await.unwrap().is_err());
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
async fn d44_dropping_every_handle_stops_the_node() {
    let (one, mut two) = pair().await;
    let peer = one.node.id();
    drop(one);
    loop {
        let told = within(two.notifications.recv()).await.unwrap();
        if let Notification::Disconnected { peer: gone, .. } = told {
            break assert_eq!(gone, peer);
        }
    }
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

#[tokio::test]
async fn messages_that_nobody_reads_do_not_stop_the_node() {
    let (one, two) = pair().await;
    let peer = two.node.id();
    drop(two.messages);
    for _ in 0..200 {
        let payload = Bytes::from(vec![5; 65_536]);
        within(one.node.send_wait(&peer, &echo(), payload)).await.unwrap();
    }
    within(one.node.stop()).await;
    within(two.node.stop()).await;
}
