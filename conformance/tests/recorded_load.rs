//! 64 MiB of what happens to two nodes on tokio under load, with payloads, are run again.

use std::sync::Arc;

use bytes::Bytes;
use headwater_core::address::Address;
use headwater_core::id::ProtocolId;
use headwater_recorder::{Machine, Options, Recorder, Recording, replay};
use headwater_tokio::{Builder, NodeKey, Started};
use tokio::runtime::Runtime;

/// What each node has noted at least, in bytes.
const ENOUGH: usize = 64 << 20;

fn recorder() -> Recorder {
    Recorder::new(Options { cap: 1 << 30, payloads: true, on_panic: None })
}

fn start(recorder: &Recorder) -> Started {
    let key = NodeKey::generate().unwrap();
    Builder::new(&key).unwrap().recorder(Some(recorder.clone())).start().unwrap()
}

/// Both send messages of several sizes until enough is noted, then stop.
async fn load(of_one: &Recorder, of_two: &Recorder) {
    let protocol = ProtocolId::new("/load/1").unwrap();
    let (one, two) = (start(of_one), start(of_two));
    for node in [&one.node, &two.node] {
        node.register(protocol.clone()).await.unwrap();
    }
    let local = one.node.listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    two.node.dial(Address::from(local)).await.unwrap();
    while !one.node.supports(&two.node.id(), &protocol) {
        tokio::task::yield_now().await;
    }
    let readers = [one.messages, two.messages]
        .map(|mut messages| tokio::spawn(async move { while messages.recv().await.is_some() {} }));
    let is_enough = Arc::new({
        let recorders = [of_one.clone(), of_two.clone()];
        move || recorders.iter().all(|recorder| recorder.memory() >= ENOUGH / 2 * 3)
    });
    let writers = [(&one.node, two.node.id()), (&two.node, one.node.id())].map(|(node, to)| {
        let (mut sender, enough) = (node.sender(&to, &protocol).unwrap(), Arc::clone(&is_enough));
        tokio::spawn(async move {
            for number in 0_usize.. {
                if enough() {
                    return;
                }
                let len = [128, 128, 128, 4096, 20_000, 128, 300_000][number % 7];
                sender.send_wait(Bytes::from(vec![number as u8; len])).await.unwrap();
            }
        })
    });
    for writer in writers {
        writer.await.unwrap();
    }
    two.node.stop().await;
    one.node.stop().await;
    for reader in readers {
        reader.await.unwrap();
    }
}

#[test]
#[ignore = "it takes a minute without optimization; .ci/more runs it"]
fn a_recording_of_64_mib_under_load_replays_to_the_same_outputs() {
    let (of_one, of_two) = (recorder(), recorder());
    let runtime = Runtime::new().unwrap();
    runtime.block_on(load(&of_one, &of_two));
    // The tasks are gone, and their machines with them.
    drop(runtime);
    for recorder in [of_one, of_two] {
        let bytes = recorder.to_bytes();
        drop(recorder);
        assert!(bytes.len() >= ENOUGH, "{} bytes", bytes.len());
        let recording = Recording::from_bytes(bytes).unwrap();
        assert_eq!(recording.logs.len(), 2);
        for log in &recording.logs {
            match replay::run(log) {
                Ok(done) => assert_eq!(done.steps, log.len()),
                Err(error) => panic!("{:?}: {error}", log.machine()),
            }
            let least = if log.machine() == Machine::Node { 10 } else { 1000 };
            assert!(log.closed && log.len() > least, "{} steps", log.len());
        }
    }
}
