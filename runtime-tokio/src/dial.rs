//! Making links and resolving names, each in a task of its own that core's deadlines end.

use std::io;
use std::net::SocketAddr;

use headwater_core::address::Family;
use headwater_core::contract::IoCause;
use tokio::net::TcpStream;

use crate::cause;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Makes a link; gives the socket and its own address.
pub(crate) async fn connect(remote: SocketAddr) -> Result<(TcpStream, SocketAddr), IoCause> {
    let made = async {
        let socket = TcpStream::connect(remote).await?;
        let local = socket.local_addr()?;
        if is_own_echo(local, remote) {
            return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
        }
        Ok((socket, local))
    };
    made.await.map_err(|error| cause::of(&error))
}

/// A dial to a port of this machine that nobody listens on can meet itself: the system may choose
/// the very port as the source.
fn is_own_echo(local: SocketAddr, remote: SocketAddr) -> bool {
    local == remote
}

/// The addresses of a name, in the system's order.
pub(crate) async fn resolve(
    name: &str,
    port: u16,
    family: Family,
) -> Result<Vec<SocketAddr>, IoCause> {
    let found = tokio::net::lookup_host((name, port)).await;
    let found = found.map_err(|error| cause::of_lookup(&error))?;
    let wanted = found.filter(|address| match family {
        Family::Any => true,
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
    });
    let addresses: Vec<SocketAddr> = wanted.take(ADDRESSES_MAX).collect();
    if addresses.is_empty() { Err(IoCause::NotFound) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_resolve_to_the_family_asked_for() {
        let any = resolve("localhost", 5, Family::Any).await.unwrap();
        assert!(any.iter().all(|address| address.port() == 5 && address.ip().is_loopback()));
        let four = resolve("127.0.0.1", 5, Family::V4).await.unwrap();
        assert_eq!(four, ["127.0.0.1:5".parse().unwrap()]);
        assert_eq!(resolve("127.0.0.1", 5, Family::V6).await, Err(IoCause::NotFound));
    }

    #[tokio::test]
    async fn a_closed_port_is_refused() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = socket.local_addr().unwrap();
        drop(socket);
        assert_eq!(connect(remote).await.unwrap_err(), IoCause::Refused);
    }
}
