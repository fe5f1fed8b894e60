//! Sends a line to the echo node at the address that it is given, and prints what comes back.

use headwater_tokio::{Address, Builder, Bytes, NodeKey, ProtocolId, Started};

#[tokio::main]
async fn main() {
    if let Err(error) = ask().await {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

async fn ask() -> Result<(), Box<dyn std::error::Error>> {
    let address: Address = std::env::args().nth(1).ok_or("the address is missing")?.parse()?;
    let key = NodeKey::generate()?;
    let Started { node, mut messages, .. } = Builder::new(&key)?.start()?;

    // Each side registers what it takes: without this the answer could not be sent.
    let echo = ProtocolId::new("/echo/1.0.0")?;
    node.register(echo.clone()).await?;
    let peer = node.dial(address).await?;
    node.send_wait(&peer, &echo, Bytes::from("hello")).await?;

    let answer = messages.recv().await.ok_or("the node has stopped")?;
    println!("{}: {}", answer.peer, String::from_utf8_lossy(&answer.payload));
    node.stop().await;
    Ok(())
}
