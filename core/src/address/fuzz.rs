//! The body of the address fuzz target: a checker that panics when a promise is broken.

#![allow(clippy::arithmetic_side_effects, clippy::string_slice, reason = "it is a test")]

use alloc::string::ToString;
use core::net::SocketAddr;

use super::{Address, AddressErrorKind, DNS_NAME_LEN_MAX, DnsName, Host};
use crate::id::{PEER_ID_LEN_MAX, PROTOCOL_ID_LEN_MAX, PeerId, ProtocolId};

/// Takes `data` as the text of an address, of a name and of ids.
///
/// # Panics
///
/// If what is read is not what is written, or an error points outside of the text.
pub fn address(data: &[u8]) {
    ids(data);
    let Ok(text) = core::str::from_utf8(data) else { return };
    if let Some(name) = DnsName::new(text) {
        assert!((1..=DNS_NAME_LEN_MAX + 1).contains(&text.len()) && text.is_ascii());
        assert_eq!(DnsName::new(name.as_str()), Some(name));
    }
    match text.parse::<Address>() {
        Ok(address) => good(&address),
        Err(error) => {
            assert!(error.at <= text.len() && text.is_char_boundary(error.at), "{error}");
            // The error keeps a bounded part of a text of any length.
            assert!(error.to_string().len() < 2000);
            assert_eq!(error.kind == AddressErrorKind::NoSlash, !text.starts_with('/'));
        }
    }
}

fn good(address: &Address) {
    let text = address.to_string();
    assert_eq!(text.parse::<Address>().as_ref(), Ok(address), "{text}");
    assert_eq!(address.without_peer().peer, None);
    match address.listenable() {
        Ok(socket) => {
            assert!(address.peer.is_none());
            assert_eq!(Address::from(socket), *address);
        }
        Err(error) => {
            assert!(address.peer.is_some() || matches!(address.host, Host::Dns { .. }));
            assert!(text.is_char_boundary(error.at));
            let at = &text[error.at..];
            let named = matches!(error.kind, AddressErrorKind::ListenName);
            assert!(if named { at.starts_with("dns") } else { at.starts_with("p2p/") }, "{at}");
        }
    }
    match address.dialable() {
        Ok(()) => assert_ne!(address.port, 0),
        Err(error) => assert!(address.port == 0 && text[error.at..].starts_with('0')),
    }
    let socket = address.socket_addr();
    assert_eq!(socket.map(|socket: SocketAddr| socket.port()), socket.map(|_| address.port));
}

fn ids(data: &[u8]) {
    if let Ok(peer) = PeerId::from_bytes(data) {
        assert!((1..=PEER_ID_LEN_MAX).contains(&data.len()));
        assert_eq!(peer.as_bytes(), data);
        assert_eq!(peer.as_str().parse(), Ok(peer));
    }
    if let Ok(text) = core::str::from_utf8(data) {
        let fits = (1..=PROTOCOL_ID_LEN_MAX).contains(&text.len());
        let protocol = ProtocolId::new(text);
        assert_eq!(protocol.is_ok(), fits);
        assert!(protocol.is_ok_and(|protocol| protocol.as_str() == text) == fits);
    }
}

#[cfg(test)]
mod tests {
    use super::address;
    use alloc::{format, vec};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_an_address_or_not(text in ".{0,80}") {
            address(text.as_bytes());
        }

        #[test]
        fn what_looks_like_an_address_is_one_or_not(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("ip4"), Just("ip6"), Just("dns"), Just("dns4"), Just("tcp"), Just("p2p"),
                    Just("10.0.0.1"), Just("::1"), Just("a.Example."), Just("0"), Just("65535"),
                    Just("65536"), Just("QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4"), Just(""),
                ],
                0..8,
            ),
        ) {
            address(format!("/{}", parts.join("/")).as_bytes());
        }
    }
}
