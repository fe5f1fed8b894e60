//! A node that sends every message back to where it came from.

use headwater_tokio::{Builder, ProtocolId, Started};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let id = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse()?;
    // Bytes travel in the clear, and whoever claims an id is believed: for trying things out.
    let Started { node, mut messages, .. } = Builder::insecure(id)?.start()?;

    node.register(ProtocolId::new("/echo/1.0.0")?).await?;
    let address = node.listen("127.0.0.1:0".parse()?).await?;
    println!("/ip4/{}/tcp/{}/p2p/{id}", address.ip(), address.port());

    while let Some(message) = messages.recv().await {
        // A peer that left, or that does not take the protocol itself, gets no answer.
        let sent = node.send_wait(&message.peer, &message.protocol, message.payload).await;
        if let Err(error) = sent {
            eprintln!("{}: {error}", message.peer);
        }
    }
    Ok(())
}
