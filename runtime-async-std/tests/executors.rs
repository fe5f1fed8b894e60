//! Where the tasks of a node run, and what becomes of them when that is gone.
#![cfg(all(feature = "smol", feature = "async-std"))]

use std::sync::Arc;
use std::time::Duration;

use headwater_async_std::{
    Address, AsyncIo, AsyncStd, AsyncStdBuilder, Builder, BuilderOn, Executor, Notification,
    PeerId, ProtocolId, Started,
};

const LONG: Duration = Duration::from_secs(30);

fn id(digit: u8) -> PeerId {
    let mut text = *b"QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";
    text[2] = digit;
    PeerId::from_bytes(&text).unwrap()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    let late = async {
        smol::Timer::after(LONG).await;
        panic!("not in time");
    };
    smol::future::or(future, late).await
}

#[test]
fn a_node_on_smol_and_one_on_async_std_meet() {
    let protocol = ProtocolId::new("/echo").unwrap();
    let Started { node: one, mut messages, .. } =
        Builder::insecure(id(b'1')).unwrap().start().unwrap();
    let Started { node: two, .. } = AsyncStdBuilder::insecure(id(b'2')).unwrap().start().unwrap();
    smol::block_on(within(async {
        one.register(protocol.clone()).await.unwrap();
        let address = one.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        assert_eq!(two.dial(Address::from(address)).await, Ok(one.id()));
    }));
    async_std::task::block_on(within(async {
        two.send_wait(&one.id(), &protocol, "hello".into()).await.unwrap();
        assert_eq!(messages.recv().await.unwrap().payload, "hello");
        two.stop().await;
        one.stop().await;
    }));
}

#[test]
fn on_async_std_means_on_the_threads_of_its_tasks() {
    // Threads of one executor have one name, and a number.
    let name = || {
        let thread = std::thread::current();
        thread.name().map(|name| name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned())
    };
    let theirs = async_std::task::block_on(async_std::task::spawn(async move { name() }));
    let (tell, told) = smol::channel::bounded(1);
    AsyncStd.spawn(async move { tell.send(name()).await.unwrap() });
    let ours = async_std::task::block_on(within(told.recv())).unwrap();
    assert!(ours.is_some());
    assert_eq!(ours, theirs);
}

#[test]
fn an_executor_that_is_dropped_takes_its_nodes_with_it() {
    let Started { node: other, mut notifications, .. } =
        Builder::insecure(id(b'3')).unwrap().start().unwrap();
    let executor = Arc::new(smol::Executor::new());
    let builder = BuilderOn::insecure(id(b'4')).unwrap();
    let runtime = AsyncIo::new(Arc::downgrade(&executor));
    let Started { node, mut messages, .. } = builder.runtime(runtime).start().unwrap();
    smol::block_on(executor.run(within(async {
        let address = other.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        assert_eq!(node.dial(Address::from(address)).await, Ok(other.id()));
    })));
    assert_eq!(Arc::strong_count(&executor), 1);
    drop(executor);
    smol::block_on(within(async {
        // Its handles say so, and its sockets are closed.
        assert!(messages.recv().await.is_none());
        node.stop().await;
        while !matches!(notifications.recv().await, Some(Notification::Disconnected { .. })) {}
        other.stop().await;
    }));
}

#[test]
fn without_a_global_executor_one_has_to_be_named() {
    let builder = BuilderOn::<_, std::sync::Weak<smol::Executor<'static>>>::insecure(id(b'5'));
    assert!(builder.unwrap().start().is_err());
}
