//! What a configuration lets a node hold, and how its limits follow from a bound on that.

use super::{Config, ConfigError, KIB, MIB, at_least};
use crate::connection::HELD_MAX;
use crate::lease::STREAMS_SURE;
use crate::mux::INITIAL_WINDOW;

/// Streams of three sessions, headers, and what else does not depend on the configuration.
const FIXED: usize = 2 * MIB;

/// The windows of the streams that every connection is sure of, decoded or not; a buffer that grows
/// has at most as much to spare.
const WINDOWS: usize = 2 * STREAMS_SURE * INITIAL_WINDOW as usize;

/// What the handshake of a channel keeps, in both directions, beside the slab it is read into.
const HANDSHAKE: usize = 192 * KIB;

/// Tables of the node, and buffers that one connection after the other uses.
const NODE: usize = 4 * MIB;

/// The steps of [`Config::fit_memory`]: limits are made this many parts of what they were.
const PARTS: usize = 1024;

/// The least that [`Config::fit_memory`] makes of each limit.
const LEAST: Config = Config {
    message_max: 64 * KIB,
    assembly_max: MIB,
    protocols_max: 64,
    pending_max: 16,
    dials_max: 16,
    required_dials_max: 16,
    outbox_max: 64 * KIB,
    output_max: 64 * KIB,
    inbox_max: 128 * KIB,
    slabs_max: 16,
    ..Config::DEFAULT
};

impl Config {
    /// The defaults for a node of `peers_max` peers that hostile ones cannot make hold more than
    /// `max_memory` bytes: see [`Config::fit_memory`].
    ///
    /// ```
    /// use headwater_core::config::Config;
    ///
    /// let config = Config::for_memory(1 << 30, 20)?;
    /// assert_eq!(config.peers_max, 20);
    /// assert!(config.memory_max() <= 1 << 30);
    ///
    /// let error = Config::for_memory(10 << 20, 20).unwrap_err();
    /// assert_eq!(error.key, "max_memory");
    /// # Ok::<(), headwater_core::config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Config::fit_memory`].
    pub fn for_memory(max_memory: usize, peers_max: usize) -> Result<Self, ConfigError> {
        Self { peers_max, ..Self::default() }.fit_memory(max_memory)
    }

    /// The same with `max_memory` set and with limits lowered until [`Config::memory_max`] is
    /// within it.
    ///
    /// All of these are lowered by one factor, the largest for which the sum fits, none of them
    /// below its least and none that is lower already: `message_max` (least 64 KiB), `assembly_max`
    /// (1 MiB), `inbox_max` (128 KiB), `outbox_max`, `output_max` (64 KiB each), `slabs_max`,
    /// `pending_max`, `dials_max`, `required_dials_max` (16 each) and `protocols_max` (64). They are
    /// what every connection is sure of. Half of what these at their least leave free is for leases:
    /// `leases_max` becomes what that comes to, which any peer may use for its streams and windows.
    /// Before all that `ending_max` becomes a quarter of the connections there may be, at most. The
    /// number of peers, of their connections and of their streams stays as it is. With `overcommit`
    /// it is the sum for one peer out of four that has to fit; limits at their least are then
    /// accepted whatever the sum.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with the key `max_memory` and the least that would do, if the limits at
    /// their least are too much; or whatever else [`Config::validate`] finds.
    pub fn fit_memory(mut self, max_memory: usize) -> Result<Self, ConfigError> {
        // What is wrong from the start is not to be made good by chance.
        self.max_memory = None;
        self.validate()?;
        self.max_memory = Some(max_memory);
        // Twice as much may be held as is leased.
        let least = Self { leases_max: 0, ..self.scaled(0) }.counted_memory();
        let leases_max = self.leases_max.min(max_memory.saturating_sub(least) / 4);
        let fits = |parts: usize| {
            let config = Self { leases_max, ..self.scaled(parts) };
            config.counted_memory() <= max_memory
        };
        // The sum grows with the parts.
        let (mut good, mut bad) = (0_usize, PARTS.saturating_add(1));
        while bad.saturating_sub(good) > 1 {
            let middle = good.midpoint(bad);
            if fits(middle) {
                good = middle;
            } else {
                bad = middle;
            }
        }
        let config = Self { leases_max, ..self.scaled(good) };
        config.validate()?;
        Ok(config)
    }

    /// `parts` of [`PARTS`] of each limit that [`Config::fit_memory`] lowers.
    fn scaled(&self, parts: usize) -> Self {
        let scale = |own: usize, least: usize| {
            let part = (own as u128).saturating_mul(parts as u128).checked_div(PARTS as u128);
            part.and_then(|part| usize::try_from(part).ok()).unwrap_or(own).max(own.min(least))
        };
        let assembly_max = scale(self.assembly_max, LEAST.assembly_max);
        let connections = self.peers_max.saturating_mul(self.connections_per_peer_max);
        let ending_max = connections.div_ceil(4).max(2);
        Self {
            message_max: scale(self.message_max, LEAST.message_max)
                .min(assembly_max.saturating_sub(super::PACKAGE_OVERHEAD_MAX)),
            assembly_max,
            inbox_max: scale(self.inbox_max, LEAST.inbox_max),
            outbox_max: scale(self.outbox_max, LEAST.outbox_max),
            output_max: scale(self.output_max, LEAST.output_max),
            slabs_max: scale(self.slabs_max, LEAST.slabs_max),
            pending_max: scale(self.pending_max, LEAST.pending_max),
            protocols_max: scale(self.protocols_max, LEAST.protocols_max),
            ending_max: self.ending_max.min(ending_max),
            dials_max: scale(self.dials_max, LEAST.dials_max),
            required_dials_max: scale(self.required_dials_max, LEAST.required_dials_max),
            ..self.clone()
        }
    }

    /// What `max_memory` is compared with.
    fn counted_memory(&self) -> usize {
        if !self.overcommit {
            return self.memory_max();
        }
        let peers_max = self.peers_max.div_ceil(4);
        Self { peers_max, overcommit: false, ..self.clone() }.memory_max()
    }

    /// What a node may hold, in bytes, whatever its peers do: the sum of its bounds (P4).
    ///
    /// ```text
    /// ((peers_max + further) * connections_per_peer_max + ending_max) * connection_memory_max()
    ///     + (peers_max + 2 * further) * link_memory_max()
    ///     + (pending_max + dials_max + required_dials_max) * handshake_memory_max()
    ///     + 2 * leases
    ///     + tables
    /// ```
    ///
    /// `further` peers may be joining or leaving: as many as have `ending_max` connections, but at
    /// least 2 and at most `peers_max`. The second line is for links that wait for what becomes of
    /// the connections that their peer has, or of an earlier link, or that have crossed another
    /// one. `leases` is `leases_max`, or what all these connections may lease if that is less;
    /// buffers that grow have as much to spare. One that has ended keeps its lease as long as it
    /// holds anything. The tables are 4 MiB, 512 bytes for each of `addresses_max`, 128 for each of `rules_max` and 2 KiB for
    /// each of `required_max`. What the application keeps, and what the operating system holds for
    /// sockets, is not in it.
    #[must_use]
    pub fn memory_max(&self) -> usize {
        let further = self.further_places();
        let connections = self.live_max().saturating_add(self.ending_max);
        let dials = self.dials_max.saturating_add(self.required_dials_max);
        let crossing = self.peers_max.saturating_add(further.saturating_mul(2));
        let pending = self.pending_max.saturating_add(dials);
        self.connection_memory_max()
            .saturating_mul(connections)
            .saturating_add(self.link_memory_max().saturating_mul(crossing))
            .saturating_add(self.handshake_memory_max().saturating_mul(pending))
            .saturating_add(self.leased_max().saturating_mul(2))
            .saturating_add(self.tables_memory())
    }

    const fn tables_memory(&self) -> usize {
        NODE.saturating_add(self.addresses_max.saturating_mul(512))
            .saturating_add(self.rules_max.saturating_mul(128))
            .saturating_add(self.required_max.saturating_mul(2 * KIB))
    }

    /// What a link may make the node hold, in bytes, before its peer has proven an identity.
    #[must_use]
    pub const fn handshake_memory_max(&self) -> usize {
        self.slab.saturating_mul(2).saturating_add(HANDSHAKE)
    }

    /// What a link may make the node hold, in bytes, until its protocols are exchanged: streams
    /// are opened, and something is sent on them, before anything of that is decoded.
    #[must_use]
    pub const fn link_memory_max(&self) -> usize {
        (2 * HELD_MAX).saturating_add(self.slabs_memory()).saturating_add(FIXED)
    }

    const fn slabs_memory(&self) -> usize {
        self.slabs_max.saturating_mul(self.slab)
    }

    /// What one connection may make the node hold, in bytes, without what it leases: the sum of
    /// the bounds that a peer can fill, with what growing buffers have to spare. Worked out
    /// roughly, and never below the truth (P4); nothing of it is allocated before bytes come.
    ///
    /// ```
    /// use headwater_core::config::Config;
    ///
    /// let mut config = Config::default();
    /// let before = config.connection_memory_max();
    /// config.message_max = 1 << 20;
    /// assert!(config.connection_memory_max() < before);
    /// ```
    #[must_use]
    pub fn connection_memory_max(&self) -> usize {
        let times = |bytes: usize, factor: usize| bytes.saturating_mul(factor);
        let received = WINDOWS
            .saturating_add(times(self.assembly_base(), 2))
            .saturating_add(self.slabs_memory());
        // Messages that wait with their descriptors, and buffers kept for the next ones; one
        // message may exceed it, and be twice as large while it is unpacked.
        let inbox = times(self.inbox_max, 8).saturating_add(times(self.message_max, 2));
        // Accepted by the driver's side, by the connection, placed on streams, and handed over.
        // One message of either size may exceed its share.
        let half = self.outbox_max.div_ceil(2);
        let outbox = self.outbox_max.saturating_add(half).saturating_add(self.message_max);
        let outboxes = times(outbox.saturating_add(self.large_min), 4);
        // What is framed; and what is sealed, twice that with a record and what it is gathered from.
        let framed = self.output_max.saturating_add(2 * crate::mux::FRAME_MAX);
        let output = framed.saturating_add(times(self.output_max.saturating_add(40 * KIB), 2));
        let lists = times(self.protocols_max, 4 * crate::id::PROTOCOL_ID_LEN_MAX);
        received
            .saturating_add(inbox)
            .saturating_add(outboxes)
            .saturating_add(output)
            .saturating_add(lists)
            .saturating_add(FIXED)
    }

    /// The sum of the bounds is within `max_memory`, if that is set.
    pub(super) fn validate_memory(&self) -> Result<(), ConfigError> {
        let Some(max_memory) = self.max_memory.filter(|_| !self.overcommit) else { return Ok(()) };
        at_least("max_memory", max_memory as u64, self.memory_max() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn what_is_made_to_fit_fits_and_uses_the_room() {
        for (megabytes, peers) in [(160, 1), (224, 3), (640, 12), (1024, 20), (8192, 32)] {
            let max = megabytes * MIB;
            let config = Config::for_memory(max, peers).unwrap();
            assert_eq!(config.validate(), Ok(()));
            assert_eq!((config.peers_max, config.max_memory), (peers, Some(max)));
            let sum = config.memory_max();
            let further = config.further_places();
            assert_eq!(further, config.ending_max.min(peers).max(2));
            let parts: usize = config.connection_memory_max()
                * (peers + further + config.ending_max)
                + config.link_memory_max() * (peers + 2 * further)
                + config.handshake_memory_max()
                    * (config.pending_max + config.dials_max + config.required_dials_max);
            assert_eq!(sum, parts + 2 * config.leased_max() + config.tables_memory());
            assert!(sum <= max && config.receive_streams_max == 100);
            let unscaled = Config { peers_max: peers, ..Config::default() };
            let room = unscaled.memory_max().min(max);
            assert!(sum > room / 4 * 3 || config.message_max < MIB, "{sum} of {room}");
        }
    }

    #[test]
    fn more_memory_never_lowers_a_limit() {
        let mut last = Config::for_memory(320 * MIB, 8).unwrap();
        for megabytes in (321..5500).step_by(97) {
            let next = Config::for_memory(megabytes * MIB, 8).unwrap();
            let limits = |config: &Config| {
                [
                    config.message_max,
                    config.assembly_max,
                    config.leases_max,
                    config.inbox_max,
                    config.outbox_max,
                    config.pending_max,
                ]
            };
            assert!(limits(&last).iter().zip(limits(&next)).all(|(last, next)| *last <= next));
            last = next;
        }
        assert_eq!(last.message_max, Config::default().message_max);
    }

    #[test]
    fn too_little_memory_is_a_config_error_that_names_what_would_do() {
        let error = Config::for_memory(100 * MIB, 20).unwrap_err();
        assert_eq!((error.key, error.actual), ("max_memory", 100 << 20));
        assert!(error.to_string().ends_with(&std::format!("at least {}", error.min)), "{error}");
        let least = usize::try_from(error.min).unwrap();
        let fitted = Config::for_memory(least, 20).unwrap();
        assert_eq!((fitted.leases_max, fitted.message_max), (0, 64 << 10));
        assert!(Config::for_memory(least - 1, 20).is_err());
    }

    #[test]
    fn overcommit_counts_one_peer_in_four() {
        let config = Config { overcommit: true, ..Config::default() };
        let config = config.fit_memory(512 * MIB).unwrap();
        assert!(config.memory_max() > 512 * MIB);
        assert_eq!(config.validate(), Ok(()));
        let little = Config { overcommit: true, ..Config::default() }.fit_memory(MIB).unwrap();
        assert_eq!((little.leases_max, little.message_max), (0, 64 << 10));
    }

    #[test]
    fn a_limit_raised_beyond_what_fits_is_a_config_error() {
        let mut config = Config::for_memory(512 * MIB, 8).unwrap();
        config.inbox_max = 64 * MIB;
        assert_eq!(config.validate().unwrap_err().key, "max_memory");
    }

    #[test]
    fn the_interop_preset_can_be_made_to_fit() {
        let config = Config::interop().fit_memory(2048 * MIB).unwrap();
        assert!(config.memory_max() <= 2048 * MIB);
    }
}
