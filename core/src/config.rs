//! One validated configuration for everything that a node bounds, waits for or chooses.

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod leases;
mod memory;

use core::fmt;
use core::time::Duration;

use crate::lease::STREAMS_SURE;
use crate::peers::Elimination;
use crate::supervisor::BackoffConfig;

/// Every limit, size and deadline of a node.
///
/// Start from [`Config::default`] or [`Config::interop`] and change what differs; a node checks
/// the whole with [`Config::validate`] before it uses any of it.
///
/// ```
/// use headwater_core::config::Config;
///
/// let mut config = Config::default();
/// config.message_max = 1 << 20;
/// assert!(config.validate().is_ok());
///
/// config.message_max = config.assembly_max + 1;
/// assert!(config.validate().unwrap_err().to_string().contains("message_max"));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Config {
    /// Largest payload sent or accepted, in bytes, after unpacking. Default 16 MiB.
    pub message_max: usize,
    /// Bytes that half-received messages of one peer may reserve together. Each connection is
    /// sure of room for one message of `message_max`, also where that comes to more; what it
    /// reserves beyond that it leases. Default 32 MiB.
    pub assembly_max: usize,
    /// Bytes that all connections together may lease: for half-received messages beyond one each,
    /// for receive streams beyond 12 each, and for windows that grow. Window growth gets none of
    /// the last half, streams none of the last quarter. Buffers that grow have as much to spare, so
    /// twice as much may be held. Default 64 GiB, which is more than [`Config::default`] lets its
    /// connections use.
    pub leases_max: usize,
    /// Whether payloads are sent as gzip where that makes them smaller. Default no.
    pub compress: bool,
    /// Protocols that we may register, and that a peer may announce. Default 1024.
    pub protocols_max: usize,

    /// Send streams opened when a connection starts (spec 5.1). Default 10.
    pub send_streams_initial: usize,
    /// Send streams toward one peer, over all its connections. Default 100, which is what an
    /// original node accepts in silence.
    pub send_streams_max: usize,
    /// Receive streams that one peer may open, over all its connections. Each connection is sure
    /// of 12, and leases the others. Default 100.
    pub receive_streams_max: usize,

    /// Connected peers, required ones included. Default 20.
    pub peers_max: usize,
    /// Who makes room when there are `peers_max` already (spec 7). Required peers never make room
    /// for others, and others always for them. Default last-in: the newcomer is refused.
    pub elimination: Elimination,
    /// Connections of one peer. Default 1.
    pub connections_per_peer_max: usize,
    /// Accepted links without a proven identity. Default 256.
    pub pending_max: usize,
    /// Of accepted ones among them, those from one source: an IPv4 address, or a 64-bit prefix of
    /// IPv6 addresses. This machine itself is exempt. Default 16.
    pub pending_per_source_max: usize,
    /// Connections that have ended and are still heard out, or hold messages that the application
    /// has not taken; of more than these the oldest are let go of. As many connections, and no more
    /// than `peers_max` have, may belong to peers that were told to go, or join before somebody has
    /// made room for them. Default 64.
    pub ending_max: usize,
    /// Dials that the application may have under way. Default 64.
    pub dials_max: usize,
    /// Peers that the application may require; without `overcommit` no more than `peers_max`,
    /// because each is to be connected. Default 1024.
    pub required_max: usize,
    /// Dials to required peers under way at the same time; further ones wait for their turn.
    /// Default 128.
    pub required_dials_max: usize,
    /// Rules of the blacklist. Default 4096.
    pub rules_max: usize,
    /// Addresses known of all peers together; at most 8 are kept of each. Default 4096.
    pub addresses_max: usize,

    /// Bytes of messages that wait to be framed, a connection; one message may exceed it. Half as
    /// much is there for small messages whatever large ones wait. Default 256 KiB.
    pub outbox_max: usize,
    /// Payloads of this size and more are sent by reference on a stream of their own.
    /// Default 8 KiB.
    pub large_min: usize,
    /// Bytes framed, sealed and not yet taken by the carrier, a connection. Default 256 KiB.
    pub output_max: usize,
    /// Bytes of received messages that the application has not taken, a connection; one message
    /// may exceed it. Default 1 MiB.
    pub inbox_max: usize,
    /// Size of one receive slab, in bytes; at least 34 KiB where a channel opens records. Default
    /// 64 KiB.
    pub slab: usize,
    /// Receive slabs that one connection may have alive, counting those that messages pin.
    /// Default 64.
    pub slabs_max: usize,

    /// What an inner (stream) receive window may grow to, in bytes. Default 4 MiB.
    pub window_inner_max: u32,
    /// What an outer (session) receive window may grow to, in bytes. Default 8 MiB.
    pub window_outer_max: u32,
    /// Sum of what the inner windows of one connection may grow beyond their initial size, in
    /// bytes; it is leased. Default 16 MiB.
    pub window_growth_max: u64,

    /// From a link's start until an identity is proven. Default 10 s.
    pub handshake_deadline: Duration,
    /// From the proven identity until the protocols are exchanged. Default 10 s.
    pub exchange_deadline: Duration,
    /// From the dial until the peer is connected, as a whole; the addresses that a name stands
    /// for share it. Default 20 s.
    pub dial_deadline: Duration,
    /// From the moment a connection takes a message until its last byte is framed; also how long
    /// a carrier may take nothing, and a message may take to come in leased room that others wait
    /// for. Default 30 s.
    pub send_deadline: Duration,
    /// The waits between attempts at one required peer. Default 1 2 3 5 8 13 21 34 55 s, then
    /// 60 s for ever, give or take 10 %.
    pub backoff: BackoffConfig,
    /// How long a connection with a required peer has to live for the waits to begin again; an
    /// earlier end counts as a failed attempt. Default 10 s.
    pub stable_after: Duration,
    /// How often it is looked at again whether required peers are connected, while one is not.
    /// Default 5 s.
    pub check_interval: Duration,
    /// When a connected peer makes another link although it may have no more: how long its
    /// connections have to show that they are alive, before the new link takes their place. At most
    /// half of `exchange_deadline` is taken. Default 5 s.
    pub probe_deadline: Duration,
    /// How long a graceful close may take. Default 5 s.
    pub close_deadline: Duration,
    /// Silence on a connection after which it is probed. Default 10 s.
    pub keep_alive: Duration,
    /// How long the answer to a probe may take, once the carrier has taken the probe. Default 10 s.
    pub pong_deadline: Duration,
    /// Wait for the answer to a pushed protocol list (spec 4.4). Default 10 s.
    pub push_deadline: Duration,
    /// A half-received message that has credit has to gain `progress_min` bytes in this time.
    /// Default 10 s.
    pub progress_interval: Duration,
    /// See `progress_interval`. Default 4 KiB.
    pub progress_min: usize,
    /// Streams reset for what a peer did on them, before its connection is closed; one is
    /// forgiven every second. Default 32.
    pub offences_max: u32,

    /// What the node may hold, in bytes, whatever its peers do. The other limits have to be such
    /// that [`Config::memory_max`] is within it: [`Config::for_memory`] and
    /// [`Config::fit_memory`] choose them so. Default none: the limits stand for themselves.
    pub max_memory: Option<usize>,
    /// Whether limits are accepted whose sum exceeds `max_memory`, and more required peers than
    /// `peers_max`: for nodes whose peers are not expected to use all of it, or to be there, at the
    /// same time. Default no.
    pub overcommit: bool,
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What encoding adds to a payload at most, in bytes: the two varints, the protocol id and the
/// compress byte.
pub(crate) const PACKAGE_OVERHEAD_MAX: usize = 10 + 10 + crate::id::PROTOCOL_ID_LEN_MAX + 1;

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Config {
    const DEFAULT: Self = Self {
        message_max: 16 * MIB,
        assembly_max: 32 * MIB,
        leases_max: (64 * MIB).saturating_mul(1024),
        compress: false,
        protocols_max: 1024,
        send_streams_initial: 10,
        send_streams_max: 100,
        receive_streams_max: 100,
        peers_max: 20,
        connections_per_peer_max: 1,
        elimination: Elimination::LastIn,
        pending_max: 256,
        pending_per_source_max: 16,
        ending_max: 64,
        dials_max: 64,
        required_max: 1024,
        required_dials_max: 128,
        rules_max: 4096,
        addresses_max: 4096,
        outbox_max: 256 * KIB,
        large_min: 8 * KIB,
        output_max: 256 * KIB,
        inbox_max: MIB,
        slab: 64 * KIB,
        slabs_max: 64,
        window_inner_max: 4 << 20,
        window_outer_max: 8 << 20,
        window_growth_max: 16 << 20,
        handshake_deadline: Duration::from_secs(10),
        exchange_deadline: Duration::from_secs(10),
        dial_deadline: Duration::from_secs(20),
        send_deadline: Duration::from_secs(30),
        backoff: BackoffConfig::DEFAULT,
        stable_after: Duration::from_secs(10),
        check_interval: Duration::from_secs(5),
        probe_deadline: Duration::from_secs(5),
        close_deadline: Duration::from_secs(5),
        keep_alive: Duration::from_secs(10),
        pong_deadline: Duration::from_secs(10),
        push_deadline: Duration::from_secs(10),
        progress_interval: Duration::from_secs(10),
        progress_min: 4 * KIB,
        offences_max: 32,
        max_memory: None,
        overcommit: false,
    };

    /// The preset for joining large networks of original nodes: messages of up to 101 MiB, and
    /// windows as wide as theirs.
    #[must_use]
    pub fn interop() -> Self {
        Self {
            message_max: 101 * MIB,
            assembly_max: 128 * MIB,
            window_inner_max: 16 << 20,
            window_outer_max: 32 << 20,
            window_growth_max: 64 << 20,
            ..Self::default()
        }
    }

    /// Checks that the values make sense, alone and together.
    ///
    /// # Errors
    ///
    /// The first value that does not, with what would.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_sizes()?;
        self.validate_counts()?;
        for (key, value) in [
            ("handshake_deadline", self.handshake_deadline),
            ("exchange_deadline", self.exchange_deadline),
            ("dial_deadline", self.dial_deadline),
            ("send_deadline", self.send_deadline),
            ("close_deadline", self.close_deadline),
            ("stable_after", self.stable_after),
            ("check_interval", self.check_interval),
            ("probe_deadline", self.probe_deadline),
            ("backoff.first", self.backoff.first),
            ("backoff.ceiling", self.backoff.ceiling),
            ("keep_alive", self.keep_alive),
            ("pong_deadline", self.pong_deadline),
            ("push_deadline", self.push_deadline),
            ("progress_interval", self.progress_interval),
        ] {
            in_range(key, millis(value), 1, 24 * 3600 * 1000)?;
        }
        let (first, ceiling) = (millis(self.backoff.first), millis(self.backoff.ceiling));
        in_range("backoff.ceiling", ceiling, first, 24 * 3600 * 1000)?;
        in_range("backoff.jitter", u64::from(self.backoff.jitter), 0, 100)?;
        let attempts = self.backoff.attempts_max.unwrap_or(u32::MAX);
        in_range("backoff.attempts_max", u64::from(attempts), 1, u64::from(u32::MAX))?;
        self.validate_memory()
    }

    fn validate_sizes(&self) -> Result<(), ConfigError> {
        let size = |key, value: usize, min: usize, max: usize| {
            in_range(key, value as u64, min as u64, max as u64)
        };
        size("assembly_max", self.assembly_max, MIB, 1 << 30)?;
        let message_ceiling = self.assembly_max.saturating_sub(PACKAGE_OVERHEAD_MAX);
        size("message_max", self.message_max, 1, message_ceiling)?;
        in_range("leases_max", self.leases_max as u64, 0, 1 << 40)?;
        size("large_min", self.large_min, 512, MIB)?;
        size("outbox_max", self.outbox_max, 4 * KIB, 64 * MIB)?;
        size("output_max", self.output_max, 16 * KIB, 64 * MIB)?;
        size("inbox_max", self.inbox_max, 4 * KIB, 1 << 30)?;
        size("slab", self.slab, 4 * KIB, 4 * MIB)?;
        size("slabs_max", self.slabs_max, 4, 65_536)?;
        size("progress_min", self.progress_min, 1, 128 * KIB)?;
        let window = u64::from(crate::mux::INITIAL_WINDOW);
        in_range("window_inner_max", u64::from(self.window_inner_max), window, 1 << 30)?;
        in_range("window_outer_max", u64::from(self.window_outer_max), window, 1 << 30)?;
        in_range("window_growth_max", self.window_growth_max, 0, 1 << 40)
    }

    fn validate_counts(&self) -> Result<(), ConfigError> {
        let count = |key, value: usize, min: usize, max: usize| {
            in_range(key, value as u64, min as u64, max as u64)
        };
        count("protocols_max", self.protocols_max, 1, 4096)?;
        count("connections_per_peer_max", self.connections_per_peer_max, 1, 16)?;
        // One stream is kept for the exchanger, and a pool has to be able to grow (spec 5.1).
        let least = self.connections_per_peer_max.saturating_mul(3);
        count("send_streams_max", self.send_streams_max, least, 256)?;
        let initial_max = self.send_pool_max().saturating_sub(1);
        count("send_streams_initial", self.send_streams_initial, 1, initial_max)?;
        let least = self.connections_per_peer_max.saturating_mul(STREAMS_SURE);
        count("receive_streams_max", self.receive_streams_max, least, 256)?;
        count("peers_max", self.peers_max, 1, 1_000_000)?;
        count("pending_max", self.pending_max, 1, 1_000_000)?;
        count("pending_per_source_max", self.pending_per_source_max, 1, 1_000_000)?;
        count("ending_max", self.ending_max, 1, 1_000_000)?;
        count("dials_max", self.dials_max, 1, 1_000_000)?;
        count("required_max", self.required_max, 0, 65_536)?;
        count("required_dials_max", self.required_dials_max, 1, 65_536)?;
        count("rules_max", self.rules_max, 0, 1_000_000)?;
        count("addresses_max", self.addresses_max, 8, 1_000_000)?;
        in_range("offences_max", u64::from(self.offences_max), 1, 1_000_000)
    }

    /// Bytes that a connection may always reserve for half-received messages: one of the greatest
    /// length.
    pub(crate) const fn assembly_base(&self) -> usize {
        self.message_max.saturating_add(PACKAGE_OVERHEAD_MAX)
    }

    /// Places for peers that join before somebody has made room for them, or that are leaving:
    /// their connections are as many as may be ending, within reason.
    pub(crate) fn further_places(&self) -> usize {
        let places = self.ending_max.checked_div(self.connections_per_peer_max).unwrap_or(0);
        places.min(self.peers_max).max(2)
    }

    /// Connections that may be live at a time.
    pub(crate) fn live_max(&self) -> usize {
        let peers = self.peers_max.saturating_add(self.further_places());
        peers.saturating_mul(self.connections_per_peer_max)
    }

    /// How many peers may be required: `required_max`, and without `overcommit` no more than
    /// `peers_max`, as those beyond would be refused for ever, or push each other out.
    pub(crate) fn required_places(&self) -> usize {
        if self.overcommit { self.required_max } else { self.required_max.min(self.peers_max) }
    }

    /// What the pool of one connection may hold: its share of `send_streams_max`, less the
    /// stream that is kept for the exchanger.
    pub(crate) fn send_pool_max(&self) -> usize {
        let share = self.send_streams_max.checked_div(self.connections_per_peer_max).unwrap_or(0);
        share.saturating_sub(1)
    }
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

fn at_least(key: &'static str, actual: u64, min: u64) -> Result<(), ConfigError> {
    in_range(key, actual, min, u64::MAX)
}

fn in_range(key: &'static str, actual: u64, min: u64, max: u64) -> Result<(), ConfigError> {
    if actual < min || actual > max {
        return Err(ConfigError { key, actual, min, max });
    }
    Ok(())
}

/// A value of [`Config`] that does not make sense; nothing was started.
///
/// Durations are given in milliseconds, sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The field.
    pub key: &'static str,
    /// Its value.
    pub actual: u64,
    /// The least that is accepted, given the other values.
    pub min: u64,
    /// The most that is accepted, given the other values.
    pub max: u64,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, actual, min, max } = self;
        if *max == u64::MAX {
            return write!(f, "{key} is {actual}, expected at least {min}");
        }
        write!(f, "{key} is {actual}, expected {min} to {max}")
    }
}

impl core::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
        assert_eq!(Config::interop().validate(), Ok(()));
    }

    #[test]
    fn d08_an_initial_pool_that_reaches_its_cap_is_a_config_error() {
        let mut config = Config::default();
        config.send_streams_initial = config.send_streams_max;
        let error = config.validate().unwrap_err();
        assert_eq!(error.key, "send_streams_initial");
        assert_eq!((error.actual, error.max), (100, 98));
        config.receive_streams_max = 0;
        config.send_streams_initial = 1;
        assert_eq!(config.validate().unwrap_err().key, "receive_streams_max");
    }

    #[test]
    fn d38_more_than_256_send_streams_are_a_config_error() {
        let config = Config { send_streams_max: 257, ..Config::default() };
        assert_eq!(config.validate().unwrap_err().key, "send_streams_max");
    }

    #[test]
    fn a_message_larger_than_the_assembly_bound_is_a_config_error() {
        let config = Config { message_max: 32 << 20, ..Config::default() };
        let text = std::string::ToString::to_string(&config.validate().unwrap_err());
        assert_eq!(text, "message_max is 33554432, expected 1 to 33553387");
    }

    #[test]
    fn a_deadline_of_zero_is_a_config_error() {
        let config = Config { send_deadline: Duration::ZERO, ..Config::default() };
        assert_eq!(config.validate().unwrap_err().key, "send_deadline");
    }
}
