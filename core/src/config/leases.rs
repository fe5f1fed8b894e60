//! What a connection may lease of what connections share.

use super::Config;
use crate::lease::{Purpose, STREAMS_SURE};
use crate::mux::INITIAL_WINDOW;

/// Streams that a connection has free at least, where there are so many.
const AHEAD_LEAST: usize = 8;

const WINDOW: usize = INITIAL_WINDOW as usize;

impl Config {
    /// Bytes that a connection may lease for a purpose.
    pub(crate) fn lease_max(&self, purpose: Purpose) -> usize {
        let own = match purpose {
            Purpose::Messages => {
                let share = self.assembly_max.checked_div(self.connections_per_peer_max);
                share.unwrap_or(0).saturating_sub(self.assembly_base())
            }
            Purpose::Streams => self.streams_more().saturating_mul(WINDOW),
            Purpose::Growth => usize::try_from(self.window_growth_max).unwrap_or(usize::MAX),
        };
        own.min(purpose.request_max(self.leases_max))
    }

    /// Bytes that a connection may lease for all purposes.
    fn lease_max_total(&self) -> usize {
        let each = Purpose::ALL.map(|purpose| self.lease_max(purpose));
        each.into_iter().fold(0, usize::saturating_add)
    }

    /// Bytes that can be leased at a time: no more than all connections may, each for itself.
    pub(super) fn leased_max(&self) -> usize {
        let connections = self.live_max().saturating_add(self.ending_max);
        self.lease_max_total().saturating_mul(connections).min(self.leases_max)
    }

    /// Room for streams that a connection asks for at a time, and has free if it can: a quarter of
    /// what it could have if all shared alike, but at least for [`AHEAD_LEAST`]. So where there is
    /// room for everybody it has all of it from the start.
    pub(crate) fn streams_ahead(&self) -> usize {
        let share = self.leases_max.checked_div(self.live_max().saturating_mul(4));
        let streams = share.and_then(|share| share.checked_div(WINDOW)).unwrap_or(0);
        streams.max(AHEAD_LEAST).min(self.streams_more()).saturating_mul(WINDOW)
    }

    /// Streams that a connection may have beyond those that it is sure of.
    fn streams_more(&self) -> usize {
        let share = self.receive_streams_max.checked_div(self.connections_per_peer_max);
        share.unwrap_or(0).saturating_sub(STREAMS_SURE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_room_for_everybody_each_has_all_streams_from_the_start() {
        let config = Config::default();
        assert_eq!(config.streams_ahead(), 88 * WINDOW);
        assert_eq!(config.lease_max(Purpose::Streams), 88 * WINDOW);
        assert_eq!(config.lease_max(Purpose::Growth), 16 << 20);
        assert!(config.leased_max() < config.leases_max);
    }

    #[test]
    fn where_room_is_short_each_has_some_streams_ahead() {
        let config = Config { leases_max: 256 << 20, ..Config::default() };
        assert_eq!(config.streams_ahead(), AHEAD_LEAST * WINDOW);
        assert_eq!(config.lease_max(Purpose::Streams), 88 * WINDOW);
        assert_eq!(config.leased_max(), config.leases_max);
        let none = Config { receive_streams_max: STREAMS_SURE, ..config };
        assert_eq!((none.streams_ahead(), none.lease_max(Purpose::Streams)), (0, 0));
    }

    #[test]
    fn one_connection_leases_no_more_for_messages_than_their_part() {
        let config = Config { leases_max: 8 << 20, ..Config::default() };
        assert_eq!(config.lease_max(Purpose::Messages), 2 << 20);
        assert_eq!(config.lease_max(Purpose::Streams), 6 << 20);
        assert_eq!(config.lease_max(Purpose::Growth), 4 << 20);
    }
}
