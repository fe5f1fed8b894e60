//! Addresses as the user writes them.

use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use headwater_core::address::{Address, Host};
use headwater_core::id::PeerId;

use crate::failure::Failure;
use crate::status::Status;

/// Reads what `--listen` takes: a multiaddr of an IP address, or `IP:PORT`.
///
/// # Errors
///
/// [`Status::Usage`] with what is wrong.
pub(crate) fn to_listen(text: &str) -> Result<SocketAddr, Failure> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let wrong = |why: &str| Failure::new(Status::Usage, format!("cannot listen on {text}: {why}"));
    let address: Address = text
        .parse()
        .map_err(|_| wrong("expected a multiaddr such as /ip4/127.0.0.1/tcp/4000, or IP:PORT"))?;
    match (address.host, address.peer) {
        (Host::Ip(ip), None) => Ok(SocketAddr::new(ip, address.port)),
        (Host::Ip(_), Some(_)) => Err(wrong("the id comes from the key, leave /p2p/ID out")),
        _ => Err(wrong("a name cannot be listened on, give an IP address")),
    }
}

/// Reads the address of a peer, with its id.
///
/// # Errors
///
/// [`Status::Usage`] with what is wrong.
pub(crate) fn of_peer(text: &str) -> Result<Address, Failure> {
    let wrong = |why: &dyn fmt::Display| {
        Failure::new(Status::Usage, format!("{text} is no address of a peer: {why}"))
    };
    let address = of_required(text)?;
    if address.peer.is_none() {
        return Err(wrong(&"it has to end in /p2p/ID, as `headwater listen` prints it"));
    }
    Ok(address)
}

/// What is expected where a peer is named.
pub(crate) const ID: &str = "a peer id, 46 characters that begin with Qm";

/// Reads an id that a key can have which proves itself here. A [`PeerId`] may be any text of
/// base58: it is what others send, too.
pub(crate) fn id_of_key(text: &str) -> Option<PeerId> {
    let id = text.parse().ok();
    id.filter(|_| text.len() == 46 && text.starts_with("Qm"))
}

/// Reads the address of a peer to keep a connection with; its id may be left open.
///
/// # Errors
///
/// [`Status::Usage`] with what is wrong.
pub(crate) fn of_required(text: &str) -> Result<Address, Failure> {
    let wrong = |why: &dyn fmt::Display| {
        Failure::new(Status::Usage, format!("{text} is no address of a peer: {why}"))
    };
    let address: Address = text.parse().map_err(|error| match text.parse::<SocketAddr>() {
        Ok(place) => wrong(&format_args!("write it as {}", Address::from(place))),
        Err(_) => wrong(&error),
    })?;
    match &address.peer {
        Some(id) if id_of_key(id.as_str()).is_none() => {
            Err(wrong(&format_args!("no key has the id {id}, expected {ID}")))
        }
        _ => Ok(address),
    }
}

/// The multiaddrs under which a listener can be reached. One that listens everywhere is
/// reached on this machine and where its packets would leave.
pub(crate) fn reachable(local: SocketAddr, id: &PeerId) -> Vec<String> {
    let mut hosts = Vec::new();
    if local.ip().is_unspecified() {
        let (loopback, bind, probe) = if local.is_ipv4() {
            ("127.0.0.1", "0.0.0.0:0", "192.0.2.1:9")
        } else {
            ("::1", "[::]:0", "[2001:db8::1]:9")
        };
        // Connecting a datagram socket sends nothing; it asks the system for its route.
        let outward = UdpSocket::bind(bind)
            .and_then(|socket| socket.connect(probe).map(|()| socket))
            .and_then(|socket| socket.local_addr());
        hosts.extend(outward.map(|address| address.ip()));
        hosts.extend(loopback.parse::<IpAddr>());
        hosts.dedup();
    } else {
        hosts.push(local.ip());
    }
    hosts
        .into_iter()
        .map(|ip| {
            let kind = if ip.is_ipv4() { "ip4" } else { "ip6" };
            format!("/{kind}/{ip}/tcp/{}/p2p/{id}", local.port())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";

    #[test]
    fn listeners_take_multiaddrs_and_sockets_without_ids() {
        let expected: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        assert_eq!(to_listen("127.0.0.1:4000"), Ok(expected));
        assert_eq!(to_listen("/ip4/127.0.0.1/tcp/4000"), Ok(expected));
        for text in ["nonsense", "/dns/localhost/tcp/1", &format!("/ip4/127.0.0.1/tcp/1/p2p/{ID}")]
        {
            assert_eq!(to_listen(text).unwrap_err().status, Status::Usage, "{text}");
        }
    }

    #[test]
    fn senders_need_the_id() {
        assert!(of_peer(&format!("/ip4/127.0.0.1/tcp/1/p2p/{ID}")).is_ok());
        assert!(of_peer(&format!("/dns/example.com/tcp/1/p2p/{ID}")).is_ok());
        let failure = of_peer("/ip4/127.0.0.1/tcp/1").unwrap_err();
        assert_eq!(failure.status, Status::Usage);
        assert!(failure.message.contains("/p2p/ID"));
    }

    #[test]
    fn ids_that_no_key_has_are_told() {
        for text in ["/ip4/127.0.0.1/tcp/1/p2p/Qmfoo", &format!("/dns/a.b/tcp/1/p2p/{ID}x")] {
            for failure in [of_peer(text), of_required(text)].map(Result::unwrap_err) {
                assert_eq!(failure.status, Status::Usage);
                assert!(failure.message.contains("no key has the id Qm"), "{failure}");
                assert!(failure.message.contains("46 characters"), "{failure}");
            }
        }
    }

    #[test]
    fn a_listener_everywhere_is_reached_on_loopback_too() {
        let id = ID.parse().unwrap();
        let all = reachable("0.0.0.0:7".parse().unwrap(), &id);
        assert!(all.contains(&format!("/ip4/127.0.0.1/tcp/7/p2p/{ID}")), "{all:?}");
        assert!(!all.iter().any(|address| address.contains("0.0.0.0")));
        let one = reachable("[::1]:7".parse().unwrap(), &id);
        assert_eq!(one, [format!("/ip6/::1/tcp/7/p2p/{ID}")]);
    }
}
