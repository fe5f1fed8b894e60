use super::*;
use crate::id::PeerIdError;
use proptest::prelude::*;
use std::string::{String, ToString};

const PEER: &str = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4";
const KINDS: &str = "\"ip4\", \"ip6\", \"dns\", \"dns4\" or \"dns6\"";
const PORT: &str = "a port of 0 to 65535";

fn parse(text: &str) -> Result<Address, AddressError> {
    text.parse()
}

#[test]
fn every_form_is_read_and_written() {
    for host in ["ip4/127.0.0.1", "ip6/::1", "dns/a.b", "dns4/host-1_x", "dns6/x.org."] {
        for port in ["0", "1", "65535"] {
            for peer in ["", "/p2p/QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4"] {
                let text = std::format!("/{host}/tcp/{port}{peer}");
                let address = parse(&text).unwrap();
                assert_eq!(address.to_string(), text);
                assert_eq!(address.peer.is_some(), !peer.is_empty());
            }
        }
    }
}

#[test]
fn texts_become_canonical() {
    let text = parse("/ip6/0:0:0:0:0:0:0:1/tcp/0080").unwrap().to_string();
    assert_eq!(text, "/ip6/::1/tcp/80");
    assert_eq!(parse("/dns/Example.ORG/tcp/1"), parse("/dns/example.org/tcp/1"));
}

#[test]
fn what_is_no_address_is_told_with_its_place() {
    for (text, at, expected, found) in [
        ("/", 1, KINDS, Some("")),
        ("/ip5/1.2.3.4/tcp/1", 1, KINDS, Some("ip5")),
        ("/p2p/QmcQHC", 1, KINDS, Some("p2p")),
        ("/ip6zone/x/ip6/::1/tcp/1", 1, KINDS, Some("ip6zone")),
        ("/ip4", 4, "an IPv4 address", None),
        ("/ip4/::1/tcp/1", 5, "an IPv4 address", Some("::1")),
        ("/ip4/1.2.3/tcp/1", 5, "an IPv4 address", Some("1.2.3")),
        ("/ip6/1.2.3.4/tcp/1", 5, "an IPv6 address without zone", Some("1.2.3.4")),
        ("/ip6/fe80::1%eth0/tcp/1", 5, "an IPv6 address without zone", Some("fe80::1%eth0")),
        ("/dns//tcp/1", 5, "a host name", Some("")),
        ("/dns/a..b/tcp/1", 5, "a host name", Some("a..b")),
        ("/dns/a b/tcp/1", 5, "a host name", Some("a b")),
        ("/ip4/1.2.3.4", 12, "\"tcp\"", None),
        ("/ip4/1.2.3.4/udp/1/quic", 13, "\"tcp\"", Some("udp")),
        ("/ip4/1.2.3.4/tcp", 16, PORT, None),
        ("/ip4/1.2.3.4/tcp/", 17, PORT, Some("")),
        ("/ip4/1.2.3.4/tcp/65536", 17, PORT, Some("65536")),
        ("/ip4/1.2.3.4/tcp/+1", 17, PORT, Some("+1")),
        ("/ip4/1.2.3.4/tcp/-1", 17, PORT, Some("-1")),
        ("/ip4/1.2.3.4/tcp/1/", 19, "\"p2p\" or the end", Some("")),
        ("/ip4/1.2.3.4/tcp/1/quic", 19, "\"p2p\" or the end", Some("quic")),
        ("/ip4/1.2.3.4/tcp/1/p2p", 22, "a peer id", None),
    ] {
        let found = Found::new(found);
        let kind = AddressErrorKind::Expected { expected, found };
        assert_eq!(parse(text), Err(AddressError { at, kind }), "{text}");
    }
    for (text, at, kind) in [
        ("", 0, AddressErrorKind::NoSlash),
        ("1.2.3.4:80", 0, AddressErrorKind::NoSlash),
        ("/dnsaddr/x/tcp/1", 1, AddressErrorKind::Dnsaddr),
        (
            "/ip4/1.2.3.4/tcp/1/p2p/",
            23,
            AddressErrorKind::PeerId(PeerIdError::Length { actual: 0 }),
        ),
        (
            "/ip4/1.2.3.4/tcp/1/p2p/Q0",
            23,
            AddressErrorKind::PeerId(PeerIdError::NotBase58 { at: 1 }),
        ),
        (
            "/dns/x/tcp/1/p2p/Qm/more",
            20,
            AddressErrorKind::Trailing { found: Found::new(Some("more")) },
        ),
        ("/dns/x/tcp/1/p2p/Qm/", 20, AddressErrorKind::Trailing { found: Found::new(Some("")) }),
    ] {
        assert_eq!(parse(text), Err(AddressError { at, kind }), "{text}");
    }
}

#[test]
fn an_error_keeps_little_of_a_long_text() {
    let text = std::format!("/ip4/{}/tcp/1", "é".repeat(100_000));
    let error = parse(&text).unwrap_err();
    assert!(error.to_string().len() < 300);
    let AddressErrorKind::Expected { found, .. } = error.kind else { panic!("{error:?}") };
    assert_eq!(found.as_str().unwrap().chars().count(), Found::LEN_MAX);
}

#[test]
fn names_are_bounded() {
    let label = "a".repeat(63);
    let longest = std::format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert_eq!(longest.len(), DNS_NAME_LEN_MAX);
    assert!(DnsName::new(&longest).is_some());
    assert!(DnsName::new(&std::format!("{longest}.")).is_some());
    assert!(DnsName::new(&std::format!("{longest}a")).is_none());
    assert!(DnsName::new(&"a".repeat(64)).is_none());
    for bad in ["", ".", "a..b", ".a", "a/b", "ä", "a:b"] {
        assert!(DnsName::new(bad).is_none(), "{bad}");
    }
}

#[test]
fn only_an_ip_address_without_peer_is_one_to_listen_on() {
    let socket = "127.0.0.1:0".parse().unwrap();
    assert_eq!(parse("/ip4/127.0.0.1/tcp/0").unwrap().listenable(), Ok(socket));
    let text = std::format!("/ip6/::1/tcp/80/p2p/{PEER}");
    let error = parse(&text).unwrap().listenable().unwrap_err();
    assert_eq!(error.kind, AddressErrorKind::ListenPeer);
    assert_eq!(&text[error.at..error.at + 3], "p2p");
    let error = parse("/dns/x/tcp/1").unwrap().listenable().unwrap_err();
    assert_eq!(error, AddressError { at: 1, kind: AddressErrorKind::ListenName });
}

#[test]
fn port_zero_is_not_one_to_dial() {
    for text in ["/dns/x/tcp/0", "/ip4/1.2.3.4/tcp/0/p2p/Qm"] {
        let error = parse(text).unwrap().dialable().unwrap_err();
        assert_eq!(error.kind, AddressErrorKind::DialPortZero);
        assert_eq!(&text[error.at..=error.at], "0");
    }
    assert_eq!(parse("/ip4/1.2.3.4/tcp/1").unwrap().dialable(), Ok(()));
}

#[test]
fn a_socket_address_and_back() {
    for text in ["10.1.2.3:40", "[2001:db8::1]:11301", "[::ffff:10.0.0.1]:5"] {
        let socket: SocketAddr = text.parse().unwrap();
        let address = Address::from(socket);
        assert_eq!(address.socket_addr(), Some(socket));
        assert_eq!(parse(&address.to_string()), Ok(address));
    }
    assert_eq!(parse("/dns/x/tcp/1").unwrap().socket_addr(), None);
}

fn host() -> impl Strategy<Value = Host> {
    let family = prop_oneof![Just(Family::Any), Just(Family::V4), Just(Family::V6)];
    prop_oneof![
        any::<IpAddr>().prop_map(Host::Ip),
        ("[a-zA-Z0-9_-]{1,9}(\\.[a-z0-9]{1,9}){0,3}\\.?", family)
            .prop_map(|(name, family)| Host::Dns { name: DnsName::new(&name).unwrap(), family }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        host in host(), port: u16, peer in prop::option::of("[1-9A-HJ-NP-Za-km-z]{1,61}"),
    ) {
        let peer = peer.map(|id| id.parse().unwrap());
        let address = Address { host, port, peer };
        let text = address.to_string();
        prop_assert_eq!(text.len(), text_len(&address));
        prop_assert_eq!(parse(&text), Ok(address));
    }

    #[test]
    fn any_text_is_survived_and_what_is_read_is_canonical(
        parts in prop::collection::vec(
            prop_oneof!["ip4|ip6|dns|dns4|tcp|p2p|1\\.2\\.3\\.4|::1|80|Qm|/", "\\PC{0,6}"], 0..8),
    ) {
        let text: String = parts.iter().flat_map(|part| ["/", part]).collect();
        match parse(&text) {
            Ok(address) => prop_assert_eq!(parse(&address.to_string()), Ok(address)),
            Err(error) => prop_assert!(text.is_char_boundary(error.at)),
        }
    }
}
