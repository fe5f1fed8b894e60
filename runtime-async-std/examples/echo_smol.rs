//! A node on smol that sends every message back to where it came from.
//!
//! On async-std it is the same with `AsyncStdBuilder` and `async_std::task::block_on`.

use headwater_async_std::{Builder, NodeKey, ProtocolId, Started};

fn main() {
    if let Err(error) = smol::block_on(echo()) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

async fn echo() -> Result<(), Box<dyn std::error::Error>> {
    // A key that is read from a file gives the node the same id each time.
    let key = NodeKey::generate()?;
    let Started { node, mut messages, .. } = Builder::new(&key)?.start()?;

    node.register(ProtocolId::new("/echo/1.0.0")?).await?;
    let address = node.listen("127.0.0.1:0".parse()?).await?;
    println!("/ip4/{}/tcp/{}/p2p/{}", address.ip(), address.port(), node.id());

    while let Some(message) = messages.recv().await {
        // A peer that left, or that does not take the protocol itself, gets no answer.
        let sent = node.send_wait(&message.peer, &message.protocol, message.payload).await;
        if let Err(error) = sent {
            eprintln!("{}: {error}", message.peer);
        }
    }
    Ok(())
}
