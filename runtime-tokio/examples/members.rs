//! A node that lets in the peers at the addresses that it is given and nobody else, and keeps a
//! connection with each of them. The addresses end in `/p2p/ID`.

use headwater_tokio::{Address, Builder, NodeKey, Notification, Started, Tls};

#[tokio::main]
async fn main() {
    if let Err(error) = keep().await {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

async fn keep() -> Result<(), Box<dyn std::error::Error>> {
    let peers = std::env::args().skip(1).map(|text| text.parse());
    let peers: Vec<Address> = peers.collect::<Result<_, _>>()?;
    let key = NodeKey::generate()?;
    let tls = Tls::builder(&key).allow(peers.iter().filter_map(|address| address.peer)).build()?;
    let Started { node, mut notifications, .. } = Builder::with_channels(tls).start()?;

    // Several addresses in one call are addresses of one peer.
    for address in peers {
        node.require(vec![address]).await?;
    }
    while let Some(notification) = notifications.recv().await {
        match notification {
            Notification::Connected { peer } => println!("{peer} is here"),
            Notification::Disconnected { peer, reason, .. } => println!("{peer} left: {reason}"),
            Notification::Retrying { address, cause, wait, .. } => {
                println!("{address} again in {wait:.0?}: {cause}");
            }
            _ => {}
        }
    }
    Ok(())
}
