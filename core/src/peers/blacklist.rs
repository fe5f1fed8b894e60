//! Peers and places that are kept out (spec 9.4).
//!
//! State: the rules. Events: a rule is added or removed. Questions: is this peer, this socket
//! address blocked?
//!
//! Invariants: K1 places are compared as parsed addresses, IPv4 addresses mapped into IPv6 as
//! IPv4 (D-68). K2 a rule holds for every way to write the same place, and for nothing else.
//! Bound: `rules_max` rules. A question costs one look-up for each length of prefix in use.

use alloc::collections::{BTreeMap, BTreeSet};
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;

use crate::error::ApplicationError;
use crate::id::PeerId;

/// Whom a blacklist keeps out.
///
/// Rules about the same are equal, however they were written:
///
/// ```
/// use headwater_core::peers::Rule;
///
/// let rule: Rule = "10.1.0.0/16".parse()?;
/// assert_eq!(rule, "::ffff:10.1.255.255/112".parse()?);
/// assert_eq!(rule.to_string(), "10.1.0.0/16");
/// assert_eq!("10.1.2.3".parse::<Rule>()?, "10.1.2.3/32".parse()?);
/// assert!("10.1.2.3:80".parse::<Rule>().is_ok() && "[2001:db8::1]:80".parse::<Rule>().is_ok());
/// assert!("QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse::<Rule>().is_ok());
/// assert!("10.1.2.3/33".parse::<Rule>().is_err());
/// # Ok::<(), headwater_core::peers::RuleError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Rule(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
enum Kind {
    Peer(PeerId),
    Net(Net),
    Port(IpAddr, u16),
}

/// The addresses that begin like one; what comes after is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Net {
    ip: IpAddr,
    prefix: u8,
}

impl Net {
    /// The net of that prefix that has this address; longer prefixes count as whole.
    fn of(ip: IpAddr, prefix: u8) -> Self {
        match ip {
            IpAddr::V4(ip) => {
                let prefix = prefix.min(32);
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0);
                Self { ip: IpAddr::V4((ip.to_bits() & mask).into()), prefix }
            }
            IpAddr::V6(ip) => {
                let prefix = prefix.min(128);
                let shift = 128_u32.saturating_sub(prefix.into());
                let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
                Self { ip: IpAddr::V6((ip.to_bits() & mask).into()), prefix }
            }
        }
    }

    const fn is_whole(self) -> bool {
        self.prefix == width(self.ip)
    }
}

const fn width(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl Rule {
    /// A peer, wherever it is.
    #[must_use]
    pub const fn peer(peer: PeerId) -> Self {
        Self(Kind::Peer(peer))
    }

    /// All ports of an IP address.
    #[must_use]
    pub fn ip(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        Self(Kind::Net(Net { ip, prefix: width(ip) }))
    }

    /// All addresses whose first `prefix` bits are those of `ip`.
    ///
    /// # Errors
    ///
    /// [`RuleError`] if the prefix is longer than an address of that kind.
    pub fn net(ip: IpAddr, prefix: u8) -> Result<Self, RuleError> {
        if prefix > width(ip) {
            return Err(RuleError { expected: Expected::Prefix { max: width(ip) } });
        }
        let (canonical, mapped) = (ip.to_canonical(), 128_u8.saturating_sub(32));
        let is_mapped = ip.is_ipv6() && canonical.is_ipv4();
        Ok(Self(Kind::Net(if !is_mapped {
            Net::of(ip, prefix)
        } else if prefix >= mapped {
            Net::of(canonical, prefix.saturating_sub(mapped))
        } else {
            Net::of(ip, prefix)
        })))
    }

    /// One port of an IP address.
    #[must_use]
    pub const fn socket(address: SocketAddr) -> Self {
        Self(Kind::Port(address.ip().to_canonical(), address.port()))
    }

    /// Whether it keeps this peer out.
    #[must_use]
    pub fn blocks_peer(&self, peer: &PeerId) -> bool {
        self.0 == Kind::Peer(*peer)
    }

    /// Whether it may keep out who is at this place: a name, for which `place` is `None`, may stand
    /// for any, and who is not known may be anybody.
    pub(crate) fn may_block(&self, peer: Option<&PeerId>, place: Option<SocketAddr>) -> bool {
        match self.0 {
            Kind::Peer(blocked) => peer.is_none_or(|peer| *peer == blocked),
            Kind::Net(_) | Kind::Port(..) => place.is_none_or(|place| self.blocks(place)),
        }
    }

    /// Whether it keeps this place out.
    #[must_use]
    pub fn blocks(&self, place: SocketAddr) -> bool {
        let ip = place.ip().to_canonical();
        match self.0 {
            Kind::Peer(_) => false,
            Kind::Net(net) => net.ip.is_ipv4() == ip.is_ipv4() && Net::of(ip, net.prefix) == net,
            Kind::Port(other, port) => other == ip && port == place.port(),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Peer(peer) => write!(f, "{peer}"),
            Kind::Net(net) if net.is_whole() => write!(f, "{}", net.ip),
            Kind::Net(Net { ip, prefix }) => write!(f, "{ip}/{prefix}"),
            Kind::Port(ip, port) => write!(f, "{}", SocketAddr::new(ip, port)),
        }
    }
}

/// The shortest id of a key, in characters.
const KEY_ID_LEN: usize = 46;

impl FromStr for Rule {
    type Err = RuleError;

    /// Reads `IP`, `IP/PREFIX`, `IP:PORT` (`[IP]:PORT` for IPv6) or a peer id that a key can have
    /// (spec 1.4): a mistyped address is no rule about nobody.
    ///
    /// # Errors
    ///
    /// [`RuleError`] says what was expected.
    fn from_str(text: &str) -> Result<Self, RuleError> {
        if let Some((ip, prefix)) = text.split_once('/') {
            let what = RuleError { expected: Expected::Any };
            let ip: IpAddr = ip.parse().map_err(|_| what)?;
            let max = width(ip);
            let prefix = prefix.parse();
            let prefix = prefix.map_err(|_| RuleError { expected: Expected::Prefix { max } })?;
            return Self::net(ip, prefix);
        }
        if let Ok(ip) = text.parse() {
            return Ok(Self::ip(ip));
        }
        if let Ok(socket) = text.parse() {
            return Ok(Self::socket(socket));
        }
        let peer = text.parse().ok().filter(|_| text.len() >= KEY_ID_LEN);
        peer.map(Self::peer).ok_or(RuleError { expected: Expected::Any })
    }
}

/// A text that is not a [`Rule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleError {
    expected: Expected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Any,
    Prefix { max: u8 },
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.expected {
            Expected::Any => f.write_str("expected IP, IP/PREFIX, IP:PORT, [IPv6]:PORT or peer id"),
            Expected::Prefix { max } => write!(f, "expected a prefix of 0 to {max} bits"),
        }
    }
}

impl core::error::Error for RuleError {}

/// A set of rules.
///
/// ```
/// use headwater_core::peers::Blacklist;
///
/// let mut blacklist = Blacklist::new(100);
/// blacklist.add("192.0.2.0/24".parse()?)?;
/// assert!(blacklist.blocks("192.0.2.7:80".parse()?));
/// assert!(blacklist.blocks("[::ffff:192.0.2.7]:80".parse()?));
/// assert!(!blacklist.blocks("192.0.3.7:80".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Blacklist {
    rules_max: usize,
    rules: BTreeSet<Rule>,
    /// How many rules there are of each length of prefix, IPv4 first.
    prefixes: BTreeMap<(bool, u8), usize>,
}

impl Blacklist {
    /// A list that keeps nobody out, and takes at most `rules_max` rules.
    #[must_use]
    pub const fn new(rules_max: usize) -> Self {
        Self { rules_max, rules: BTreeSet::new(), prefixes: BTreeMap::new() }
    }

    /// Adds a rule; false if it was there.
    ///
    /// # Errors
    ///
    /// [`ApplicationError::TooManyRules`]; nothing changed.
    pub fn add(&mut self, rule: Rule) -> Result<bool, ApplicationError> {
        if self.rules.contains(&rule) {
            return Ok(false);
        }
        if self.rules.len() >= self.rules_max {
            return Err(ApplicationError::TooManyRules);
        }
        self.rules.insert(rule);
        if let Kind::Net(net) = rule.0 {
            let count = self.prefixes.entry((net.ip.is_ipv6(), net.prefix)).or_default();
            *count = count.saturating_add(1);
        }
        Ok(true)
    }

    /// Removes a rule; false if it was not there.
    pub fn remove(&mut self, rule: &Rule) -> bool {
        if !self.rules.remove(rule) {
            return false;
        }
        if let Kind::Net(net) = rule.0 {
            let key = (net.ip.is_ipv6(), net.prefix);
            if let Some(count) = self.prefixes.get_mut(&key) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.prefixes.remove(&key);
                }
            }
        }
        true
    }

    /// Whether a rule keeps this peer out.
    #[must_use]
    pub fn blocks_peer(&self, peer: &PeerId) -> bool {
        self.rules.contains(&Rule::peer(*peer))
    }

    /// Whether a rule keeps this place out.
    #[must_use]
    pub fn blocks(&self, place: SocketAddr) -> bool {
        if self.rules.is_empty() {
            return false;
        }
        let ip = place.ip().to_canonical();
        let mut nets = self.prefixes.range((ip.is_ipv6(), 0)..=(ip.is_ipv6(), u8::MAX));
        nets.any(|((_, prefix), _)| self.rules.contains(&Rule(Kind::Net(Net::of(ip, *prefix)))))
            || self.rules.contains(&Rule::socket(place))
    }

    /// The rules, in a fixed order.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> + '_ {
        self.rules.iter()
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    fn rule(text: &str) -> Rule {
        text.parse().unwrap()
    }

    fn place(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn d68_places_are_compared_however_they_are_written() {
        let table = [
            ("10.0.0.1", "10.0.0.1:5", true),
            ("10.0.0.1", "[::ffff:10.0.0.1]:5", true),
            ("::ffff:10.0.0.1", "10.0.0.1:5", true),
            ("::ffff:a00:1", "10.0.0.1:5", true),
            ("::ffff:10.0.0.1/120", "10.0.0.99:5", true),
            ("2001:db8:0:0::1", "[2001:DB8::1]:5", true),
            ("2001:db8::/32", "[2001:db8:ffff::1]:5", true),
            ("2001:db8::/32", "[2001:db9::1]:5", false),
            ("fe80::1", "[fe80::1%3]:5", true),
            ("10.0.0.0/8", "10.255.0.1:5", true),
            ("10.0.0.0/8", "11.0.0.1:5", false),
            ("0.0.0.0/0", "8.8.8.8:5", true),
            ("0.0.0.0/0", "[2001:db8::1]:5", false),
            ("::/0", "8.8.8.8:5", false),
            ("10.0.0.1:5", "10.0.0.1:5", true),
            ("10.0.0.1:5", "[::ffff:10.0.0.1]:5", true),
            ("10.0.0.1:5", "10.0.0.1:6", false),
        ];
        for (text, at, blocked) in table {
            let mut list = Blacklist::new(1);
            list.add(rule(text)).unwrap();
            assert_eq!(list.blocks(place(at)), blocked, "{text} {at}");
            assert_eq!(rule(text).blocks(place(at)), blocked, "{text} {at}");
            assert!(list.remove(&rule(text)) && !list.blocks(place(at)));
        }
    }

    #[test]
    fn garbage_is_not_a_rule() {
        for text in ["", "10.0.0.1/33", "::/129", "10.0.0.1/", "/8", "10.0.0/8", "Qm0", "a:80"] {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
        let error = "10.0.0.1/33".parse::<Rule>().unwrap_err();
        assert_eq!(error.to_string(), "expected a prefix of 0 to 32 bits");
    }

    #[test]
    fn the_list_has_a_limit_and_a_rule_counts_once() {
        let mut list = Blacklist::new(1);
        assert_eq!(list.add(rule("10.0.0.0/8")), Ok(true));
        assert_eq!(list.add(rule("10.1.2.3/8")), Ok(false));
        assert_eq!(list.add(rule("10.0.0.1")), Err(ApplicationError::TooManyRules));
        assert!(!list.remove(&rule("10.0.0.1")));
        assert!(list.remove(&rule("10.9.9.9/8")));
        assert_eq!(list.add(rule("10.0.0.1")), Ok(true));
    }

    fn any_rule() -> impl Strategy<Value = Rule> {
        let v4 = || (0..8_u32).prop_map(|n| IpAddr::V4((0x0a00_0000 | n | n << 20).into()));
        let mapped = v4().prop_map(|ip| match ip {
            IpAddr::V4(ip) => IpAddr::V6(ip.to_ipv6_mapped()),
            IpAddr::V6(_) => ip,
        });
        let v6 = (0..8_u128).prop_map(|n| IpAddr::V6((0x2001_u128 << 112 | n << 60 | n).into()));
        let ip = prop_oneof![v4(), mapped, v6];
        prop_oneof![
            ip.clone().prop_map(Rule::ip),
            (ip.clone(), 0..=128_u8).prop_map(|(ip, prefix)| Rule::net(
                ip,
                prefix % (width(ip) + 1)
            )
            .unwrap()),
            (ip, 1..4_u16).prop_map(|(ip, port)| Rule::socket(SocketAddr::new(ip, port))),
        ]
    }

    proptest! {
        #[test]
        fn a_list_blocks_what_one_of_its_rules_blocks(
            rules in prop::collection::vec((any_rule(), any::<bool>()), 0..20),
            places in prop::collection::vec(any_rule(), 1..20),
        ) {
            let mut list = Blacklist::new(1000);
            let mut all = BTreeSet::new();
            for (rule, removed) in rules {
                prop_assert_eq!(list.add(rule), Ok(all.insert(rule)));
                if removed {
                    prop_assert!(list.remove(&rule) && all.remove(&rule));
                }
                prop_assert_eq!(rule.to_string().parse::<Rule>(), Ok(rule));
            }
            for place in places {
                let (Kind::Net(Net { ip, .. }) | Kind::Port(ip, _)) = place.0 else { continue };
                let place = SocketAddr::new(ip, 2);
                prop_assert_eq!(list.blocks(place), all.iter().any(|rule| rule.blocks(place)));
            }
        }
    }
}
