//! Making links and resolving names, each in a task of its own that core's deadlines end.

use std::io;
use std::net::SocketAddr;

use headwater_core::address::Family;
use headwater_core::contract::IoCause;

use crate::cause;
use crate::runtime::{Runtime, Socket};

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Makes a link; gives the socket and its own address.
pub(crate) async fn connect<R: Runtime>(
    runtime: R,
    remote: SocketAddr,
) -> Result<(R::Socket, SocketAddr), IoCause> {
    let made = async {
        let socket = runtime.connect(remote).await?;
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
pub(crate) async fn resolve<R: Runtime>(
    runtime: R,
    name: String,
    port: u16,
    family: Family,
) -> Result<Vec<SocketAddr>, IoCause> {
    let found = runtime.resolve(name, port).await;
    let mut addresses = found.map_err(|error| cause::of_lookup(&error))?;
    addresses.retain(|address| match family {
        Family::Any => true,
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
    });
    addresses.truncate(ADDRESSES_MAX);
    if addresses.is_empty() { Err(IoCause::NotFound) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    #[tokio::test]
    async fn names_resolve_to_the_family_asked_for() {
        let resolve = |family| resolve(Fake::default(), "name".to_owned(), 5, family);
        let texts = |found: Result<Vec<SocketAddr>, IoCause>| {
            found.unwrap().iter().map(SocketAddr::to_string).collect::<Vec<_>>()
        };
        assert_eq!(texts(resolve(Family::Any).await), ["[::1]:5", "127.0.0.1:5", "127.0.0.2:5"]);
        assert_eq!(texts(resolve(Family::V4).await), ["127.0.0.1:5", "127.0.0.2:5"]);
        assert_eq!(texts(resolve(Family::V6).await), ["[::1]:5"]);
    }
}
