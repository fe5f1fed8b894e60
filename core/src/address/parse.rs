//! The grammar of addresses. It has five forms, which is less than any library for it.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::{AddressError, AddressErrorKind, Found};
use super::{Address, DnsName, Family, Host};
use crate::id::PeerId;

/// Reads a whole address.
pub(super) fn address(text: &str) -> Result<Address, AddressError> {
    let mut parts = Parts::new(text)?;
    let host = host(&mut parts)?;
    parts.keyword("tcp", "\"tcp\"")?;
    let port = port(&mut parts)?;
    let peer = match parts.next() {
        None => None,
        Some(Part { text: "p2p", .. }) => Some(peer(&mut parts)?),
        Some(part) => return Err(part.expected("\"p2p\" or the end")),
    };
    match parts.next() {
        None => Ok(Address { host, port, peer }),
        Some(part) => {
            let found = Found::new(Some(part.text));
            Err(AddressError { at: part.at, kind: AddressErrorKind::Trailing { found } })
        }
    }
}

fn host(parts: &mut Parts<'_>) -> Result<Host, AddressError> {
    const KINDS: &str = "\"ip4\", \"ip6\", \"dns\", \"dns4\" or \"dns6\"";
    let kind = parts.need(KINDS)?;
    let family = match kind.text {
        "ip4" => {
            const WHAT: &str = "an IPv4 address";
            let part = parts.need(WHAT)?;
            let ip: Ipv4Addr = part.text.parse().map_err(|_| part.expected(WHAT))?;
            return Ok(Host::Ip(IpAddr::V4(ip)));
        }
        "ip6" => {
            const WHAT: &str = "an IPv6 address without zone";
            let part = parts.need(WHAT)?;
            let ip: Ipv6Addr = part.text.parse().map_err(|_| part.expected(WHAT))?;
            return Ok(Host::Ip(IpAddr::V6(ip)));
        }
        "dns" => Family::Any,
        "dns4" => Family::V4,
        "dns6" => Family::V6,
        "dnsaddr" => return Err(AddressError { at: kind.at, kind: AddressErrorKind::Dnsaddr }),
        _ => return Err(kind.expected(KINDS)),
    };
    const WHAT: &str = "a host name";
    let part = parts.need(WHAT)?;
    let name = DnsName::new(part.text).ok_or_else(|| part.expected(WHAT))?;
    Ok(Host::Dns { name, family })
}

fn port(parts: &mut Parts<'_>) -> Result<u16, AddressError> {
    const WHAT: &str = "a port of 0 to 65535";
    let part = parts.need(WHAT)?;
    // The standard library also reads a sign.
    if !part.text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(part.expected(WHAT));
    }
    part.text.parse().map_err(|_| part.expected(WHAT))
}

fn peer(parts: &mut Parts<'_>) -> Result<PeerId, AddressError> {
    let part = parts.need("a peer id")?;
    part.text
        .parse()
        .map_err(|error| AddressError { at: part.at, kind: AddressErrorKind::PeerId(error) })
}

/// A text between two slashes.
#[derive(Clone, Copy)]
struct Part<'a> {
    text: &'a str,
    at: usize,
}

impl Part<'_> {
    fn expected(&self, expected: &'static str) -> AddressError {
        let found = Found::new(Some(self.text));
        AddressError { at: self.at, kind: AddressErrorKind::Expected { expected, found } }
    }
}

struct Parts<'a> {
    split: core::str::Split<'a, char>,
    at: usize,
    len: usize,
}

impl<'a> Parts<'a> {
    fn new(text: &'a str) -> Result<Self, AddressError> {
        match text.strip_prefix('/') {
            Some(rest) => Ok(Self { split: rest.split('/'), at: 1, len: text.len() }),
            None => Err(AddressError { at: 0, kind: AddressErrorKind::NoSlash }),
        }
    }

    fn need(&mut self, expected: &'static str) -> Result<Part<'a>, AddressError> {
        let (at, found) = (self.len, Found::new(None));
        let end = AddressError { at, kind: AddressErrorKind::Expected { expected, found } };
        self.next().ok_or(end)
    }

    fn keyword(&mut self, word: &str, expected: &'static str) -> Result<(), AddressError> {
        let part = self.need(expected)?;
        if part.text == word { Ok(()) } else { Err(part.expected(expected)) }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let text = self.split.next()?;
        let at = self.at;
        self.at = at.saturating_add(text.len()).saturating_add(1);
        Some(Part { text, at })
    }
}
