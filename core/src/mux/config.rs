//! The numbers of a session, with the defaults of spec 1.7 and 2.

use core::fmt;
use core::time::Duration;

use super::INITIAL_WINDOW;

/// The longest payload of a data frame that is sent, in bytes (64 KiB less the header).
pub const FRAME_MAX: usize = 65_524;

/// How often something may happen: a store that refills over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How often at once.
    pub burst: u32,
    /// How much comes back in a second.
    pub per_second: u32,
}

/// The settings of a [`Session`](super::Session).
///
/// ```
/// use headwater_core::mux::SessionConfig;
///
/// let config = SessionConfig { window_max: 1 << 20, ..SessionConfig::default() };
/// assert!(config.validate().is_ok());
/// assert!(SessionConfig { quantum: 0, ..config }.validate().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// The most that the window of a stream grows to, in bytes; at least [`INITIAL_WINDOW`].
    pub window_max: u32,
    /// How much the windows of all streams together may grow above their initial size, in bytes.
    pub window_growth_max: u64,
    /// How long the session may be silent before a ping is sent; `None` for never.
    pub keep_alive: Option<Duration>,
    /// How long the peer may be silent after a keep-alive ping before the session ends; while
    /// the ping has not left, how long the carrier may take nothing.
    pub pong_timeout: Duration,
    /// How many streams of the peer may wait to be accepted; further ones are refused.
    pub accept_backlog: usize,
    /// How many streams each side may have open; further ones are refused.
    pub streams_max: usize,
    /// The longest payload of a data frame that is sent, in bytes; at most [`FRAME_MAX`].
    pub frame_max: usize,
    /// How much one stream sends at a time while others have something to send, in bytes.
    pub quantum: usize,
    /// How many bytes of higher classes go first while a lower class waits; then the lower
    /// class sends one quantum.
    pub starvation_max: u64,
    /// Streams reset by the peer, or by this side because of what the peer sent.
    pub resets: Limit,
    /// Streams of the peer that were refused before they were accepted.
    pub refusals: Limit,
    /// Data frames of the peer without payload and flags.
    pub empty_frames: Limit,
    /// Window updates of the peer below [`SessionConfig::tiny_update`], without flags.
    pub tiny_updates: Limit,
    /// The credit in bytes below which a window update is of no use to anybody.
    pub tiny_update: u32,
    /// Ping requests of the peer.
    pub pings: Limit,
}

impl Default for SessionConfig {
    /// An inner session: no keep-alive, windows that grow to 4 MiB, budgets that an honest peer
    /// does not come near.
    fn default() -> Self {
        let thousand = Limit { burst: 1000, per_second: 100 };
        Self {
            window_max: 4 << 20,
            window_growth_max: 16 << 20,
            keep_alive: None,
            pong_timeout: Duration::from_secs(10),
            accept_backlog: 256,
            streams_max: 512,
            frame_max: FRAME_MAX,
            quantum: 16 << 10,
            starvation_max: 256 << 10,
            resets: thousand,
            refusals: Limit { burst: 256, per_second: 64 },
            empty_frames: thousand,
            tiny_updates: thousand,
            tiny_update: 1024,
            pings: thousand,
        }
    }
}

impl SessionConfig {
    /// Checks every bound.
    ///
    /// # Errors
    ///
    /// The first setting that is out of its bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let checks = [
            ("window_max", self.window_max >= INITIAL_WINDOW),
            ("keep_alive", self.keep_alive != Some(Duration::ZERO)),
            ("pong_timeout", self.pong_timeout > Duration::ZERO),
            ("accept_backlog", (1..=65_536).contains(&self.accept_backlog)),
            ("streams_max", (1..=65_536).contains(&self.streams_max)),
            ("frame_max", (1..=FRAME_MAX).contains(&self.frame_max)),
            ("quantum", (1..=FRAME_MAX).contains(&self.quantum)),
            ("starvation_max", self.starvation_max > 0),
        ];
        match checks.into_iter().find(|(_, good)| !good) {
            Some((setting, _)) => Err(ConfigError { setting }),
            None => Ok(()),
        }
    }

    /// The same settings, each moved to the nearest bound.
    pub(super) fn clamped(mut self) -> Self {
        let tick = Duration::from_nanos(1);
        self.window_max = self.window_max.max(INITIAL_WINDOW);
        self.keep_alive = self.keep_alive.map(|wait| wait.max(tick));
        self.pong_timeout = self.pong_timeout.max(tick);
        self.accept_backlog = self.accept_backlog.clamp(1, 65_536);
        self.streams_max = self.streams_max.clamp(1, 65_536);
        self.frame_max = self.frame_max.clamp(1, FRAME_MAX);
        self.quantum = self.quantum.clamp(1, FRAME_MAX);
        self.starvation_max = self.starvation_max.max(1);
        self
    }
}

/// A setting that is out of its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The name of the field of [`SessionConfig`].
    pub setting: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` of the session config is out of its bounds", self.setting)
    }
}

impl core::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_is_checked_and_clamped() {
        let good = SessionConfig::default();
        assert_eq!(good.validate(), Ok(()));
        assert_eq!(good.clone().clamped(), good);
        let bad = [
            ("window_max", SessionConfig { window_max: INITIAL_WINDOW - 1, ..good.clone() }),
            ("keep_alive", SessionConfig { keep_alive: Some(Duration::ZERO), ..good.clone() }),
            ("pong_timeout", SessionConfig { pong_timeout: Duration::ZERO, ..good.clone() }),
            ("accept_backlog", SessionConfig { accept_backlog: 0, ..good.clone() }),
            ("accept_backlog", SessionConfig { accept_backlog: 65_537, ..good.clone() }),
            ("streams_max", SessionConfig { streams_max: 0, ..good.clone() }),
            ("streams_max", SessionConfig { streams_max: 65_537, ..good.clone() }),
            ("frame_max", SessionConfig { frame_max: 0, ..good.clone() }),
            ("frame_max", SessionConfig { frame_max: FRAME_MAX + 1, ..good.clone() }),
            ("quantum", SessionConfig { quantum: 0, ..good.clone() }),
            ("quantum", SessionConfig { quantum: FRAME_MAX + 1, ..good.clone() }),
            ("starvation_max", SessionConfig { starvation_max: 0, ..good }),
        ];
        for (setting, config) in bad {
            assert_eq!(config.validate(), Err(ConfigError { setting }));
            assert_eq!(config.clamped().validate(), Ok(()));
        }
    }
}
