//! The limits of a node by name, as its configuration file has them: every field of core's
//! configuration under its own name.

use std::time::Duration;

use headwater_core::config::Config;

use super::units::Unit;

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

integer_fields!(usize, u32, u64);

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
    ($($unit:ident $($key:ident).+: $about:literal,)+) => {
        /// Every limit, in the order in which they are printed.
        pub(crate) const LIMITS: &[Limit] = &[$(Limit {
            key: limits!(@name $($key).+),
            unit: Unit::$unit,
            about: $about,
            get: |config| Field::number(&config.$($key).+),
            set: |config, number| match Field::of(number) {
                Some(value) => {
                    config.$($key).+ = value;
                    true
                }
                None => false,
            },
        },)+];
    };
    (@name $first:ident $(. $rest:ident)*) => {
        concat!(stringify!($first) $(, ".", stringify!($rest))*)
    };
}

limits! {
    Size message_max: "largest payload sent or accepted, after unpacking",
    Size assembly_max: "half-received messages of one peer, together",
    Switch compress: "payloads go as gzip where that makes them smaller",
    Count protocols_max: "protocols of this node, and of each peer",
    Count send_streams_initial: "send streams opened when a connection starts",
    Count send_streams_max: "send streams toward one peer",
    Count receive_streams_max: "receive streams that one peer may open",
    Count peers_max: "connected peers",
    Count connections_per_peer_max: "connections of one peer",
    Count pending_max: "links that have not proven an identity yet",
    Count dials_max: "dials of the application under way",
    Size outbox_max: "messages that wait to be framed, a connection",
    Size large_min: "messages of this size and more have a stream of their own",
    Size output_max: "bytes framed and not yet taken by the carrier, a connection",
    Size inbox_max: "received messages that were not taken yet, a connection",
    Size slab: "one receive buffer",
    Count slabs_max: "receive buffers of one connection",
    Size window_inner_max: "what the receive window of a stream may grow to",
    Size window_outer_max: "what the receive window of a session may grow to",
    Size window_growth_max: "what all windows of a connection may grow by, together",
    Time handshake_deadline: "from a link's start until an identity is proven",
    Time exchange_deadline: "from the proven identity until protocols are exchanged",
    Time dial_deadline: "from the dial until the peer is connected",
    Time send_deadline: "until a message is on its way; also how long a carrier may stand still",
    Time close_deadline: "how long an orderly close may take",
    Time keep_alive: "silence after which a connection is probed",
    Time pong_deadline: "how long the answer to a probe may take",
    Time push_deadline: "how long the answer to a pushed protocol list may take",
    Time progress_interval: "in this time a half-received message has to gain progress_min",
    Size progress_min: "see progress_interval",
    Count offences_max: "streams reset for what a peer did, before its connection is closed",
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of core's configuration, of its `Debug` form.
    fn fields(config: &Config) -> Vec<String> {
        let text = format!("{config:#?}");
        let field = |line: &str| Some(line.strip_prefix("    ")?.split_once(": ")?.0.to_owned());
        text.lines().filter_map(field).filter(|name| !name.starts_with(' ')).collect()
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
            let value = limit.get(&config) ^ 1;
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
