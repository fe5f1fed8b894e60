//! The limits of a node by name, as its configuration file has them: every field of core's
//! configuration under its own name.

use std::time::Duration;

use headwater_core::config::Config;
use headwater_core::peers::Elimination;
use headwater_core::supervisor::BackoffKind;

use super::units::Unit::{self, Choice, Count, Size, Switch, Time};

/// One limit.
#[derive(Debug)]
pub(crate) struct Limit {
    /// Its name, in the file and in core.
    pub(crate) key: &'static str,
    /// How it is written.
    pub(crate) unit: Unit,
    /// What it limits.
    pub(crate) about: &'static str,
    get: fn(&Config) -> u64,
    set: fn(&mut Config, u64) -> bool,
}

impl Limit {
    /// The limit of that name.
    pub(crate) fn named(key: &str) -> Option<&'static Self> {
        LIMITS.iter().find(|limit| limit.key == key)
    }

    /// Its value, in its unit.
    pub(crate) fn get(&self, config: &Config) -> u64 {
        (self.get)(config)
    }

    /// Sets it; false if the value does not even fit the field.
    pub(crate) fn set(&self, config: &mut Config, value: u64) -> bool {
        (self.set)(config, value)
    }
}

/// A field as a number, and back if it fits.
trait Field: Sized {
    fn number(&self) -> u64;
    fn of(number: u64) -> Option<Self>;
}

macro_rules! integer_fields {
    ($($type:ty),+) => { $(
        impl Field for $type {
            fn number(&self) -> u64 {
                u64::try_from(*self).unwrap_or(u64::MAX)
            }
            fn of(number: u64) -> Option<Self> {
                Self::try_from(number).ok()
            }
        }
    )+ };
}

integer_fields!(usize, u8, u32, u64);

/// Without a limit: 0.
impl<T: Field> Field for Option<T> {
    fn number(&self) -> u64 {
        self.as_ref().map_or(0, Field::number)
    }
    fn of(number: u64) -> Option<Self> {
        let limit = T::of(number)?;
        Some((number != 0).then_some(limit))
    }
}

macro_rules! choice_fields {
    ($($type:ident: $($choice:ident),+;)+) => { $(
        impl Field for $type {
            fn number(&self) -> u64 {
                *self as u64
            }
            fn of(number: u64) -> Option<Self> {
                [$(Self::$choice),+].into_iter().find(|choice| choice.number() == number)
            }
        }
    )+ };
}

choice_fields! {
    Elimination: Random, FirstIn, LastIn;
    BackoffKind: Fibonacci, Exponential, Constant;
}

impl Field for bool {
    fn number(&self) -> u64 {
        u64::from(*self)
    }
    fn of(number: u64) -> Option<Self> {
        Some(number != 0)
    }
}

impl Field for Duration {
    fn number(&self) -> u64 {
        u64::try_from(self.as_millis()).unwrap_or(u64::MAX)
    }
    fn of(number: u64) -> Option<Self> {
        Some(Self::from_millis(number))
    }
}

macro_rules! limits {
    ($($key:ident $(. $rest:ident)*: $unit:expr, $about:literal;)+) => {
        /// Every limit, in the order in which they are printed.
        pub(crate) const LIMITS: &[Limit] = &[$(Limit {
            key: limits!(@name $key $(. $rest)*),
            unit: $unit,
            about: $about,
            get: |config| Field::number(&config.$key $(. $rest)*),
            set: |config, number| match Field::of(number) {
                Some(value) => {
                    config.$key $(. $rest)* = value;
                    true
                }
                None => false,
            },
        },)+];
    };
    (@name $key:ident $(. $rest:ident)*) => {
        concat!(stringify!($key) $(, ".", stringify!($rest))*)
    };
}

limits! {
    message_max: Size, "largest payload sent or accepted, after unpacking";
    assembly_max: Size, "half-received messages of one peer, together";
    leases_max: Size, "what connections share beyond one message and 12 streams each, together";
    compress: Switch, "payloads go as gzip where that makes them smaller";
    protocols_max: Count, "protocols of this node, and of each peer";
    send_streams_initial: Count, "send streams opened when a connection starts";
    send_streams_max: Count, "send streams toward one peer";
    receive_streams_max: Count, "receive streams that one peer may open";
    peers_max: Count, "connected peers, required ones included";
    elimination: Choice(&["random", "first-in", "last-in"]),
        "which peer makes room when there are peers_max; last-in: the newcomer is refused";
    connections_per_peer_max: Count, "connections of one peer";
    pending_max: Count, "links that have not proven an identity yet";
    ending_max: Count, "connections that have ended and are still heard out; places of peers that leave";
    pending_per_source_max: Count, "accepted ones among them, from one place";
    dials_max: Count, "dials of the application under way";
    required_max: Count, "peers that the node keeps connections with";
    required_dials_max: Count, "dials to them under way at the same time";
    rules_max: Count, "rules of the blacklist";
    addresses_max: Count, "addresses known, of all peers together";
    outbox_max: Size, "messages that wait to be framed, a connection";
    large_min: Size, "messages of this size and more have a stream of their own";
    output_max: Size, "bytes framed and not yet taken by the carrier, a connection";
    inbox_max: Size, "received messages that were not taken yet, a connection";
    slab: Size, "one receive buffer";
    slabs_max: Count, "receive buffers of one connection";
    window_inner_max: Size, "what the receive window of a stream may grow to";
    window_outer_max: Size, "what the receive window of a session may grow to";
    window_growth_max: Size, "what all windows of a connection may grow by, together";
    handshake_deadline: Time, "from a link's start until an identity is proven";
    exchange_deadline: Time, "from the proven identity until protocols are exchanged";
    dial_deadline: Time, "from the dial until the peer is connected";
    send_deadline: Time, "until a message is on its way; also how long a carrier may stand still";
    backoff.kind: Choice(&["fibonacci", "exponential", "constant"]),
        "how the waits between attempts at a required peer grow";
    backoff.first: Time, "the first of these waits";
    backoff.ceiling: Time, "the longest";
    backoff.jitter: Count, "by how many per cent a wait may be shorter or longer, at random";
    backoff.attempts_max: Count, "failures in a row after which a peer is given up; 0: never";
    stable_after: Time, "how long a connection has to live for the waits to begin again";
    check_interval: Time, "how often it is looked at whether required peers are connected";
    probe_deadline: Time, "how long a connection may take to show that it is alive";
    close_deadline: Time, "how long an orderly close may take";
    keep_alive: Time, "silence after which a connection is probed";
    pong_deadline: Time, "how long the answer to a probe may take";
    push_deadline: Time, "how long the answer to a pushed protocol list may take";
    progress_interval: Time, "in this time a half-received message has to gain progress_min";
    progress_min: Size, "see progress_interval";
    offences_max: Count, "streams reset for what a peer did, before its connection is closed";
    max_memory: Size, "what the node may hold; lowers the limits above until they fit; 0: no bound";
    overcommit: Switch, "whether it is enough that a quarter of the peers fits";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of core's configuration, of its `Debug` form.
    fn fields(config: &Config) -> Vec<String> {
        let (text, mut fields, mut within) = (format!("{config:#?}"), Vec::new(), "");
        for line in text.lines() {
            let Some((name, value)) = line.trim_start().split_once(": ") else { continue };
            match (line.len() - line.trim_start().len(), value.ends_with('{')) {
                (4, true) => within = name,
                (4, false) => fields.push(name.to_owned()),
                (8, _) => fields.push(format!("{within}.{name}")),
                _ => {}
            }
        }
        fields
    }

    #[test]
    fn every_field_of_the_configuration_is_a_limit() {
        let mut names: Vec<&str> = LIMITS.iter().map(|limit| limit.key).collect();
        let mut fields = fields(&Config::default());
        names.sort_unstable();
        fields.sort_unstable();
        assert_eq!(names, fields);
    }

    #[test]
    fn each_is_set_alone() {
        for limit in LIMITS {
            let mut config = Config::default();
            let value = if limit.get(&config) == 1 { 2 } else { 1 };
            assert!(limit.set(&mut config, value), "{}", limit.key);
            for other in LIMITS {
                let expected =
                    if other.key == limit.key { value } else { other.get(&Config::default()) };
                assert_eq!(other.get(&config), expected, "{} {}", limit.key, other.key);
            }
        }
        let offences = Limit::named("offences_max").unwrap();
        assert!(!offences.set(&mut Config::default(), 1 << 40));
        assert!(Limit::named("nothing").is_none());
    }
}
