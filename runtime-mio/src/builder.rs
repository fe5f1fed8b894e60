//! Putting a node together.

use std::io;
use std::thread::JoinHandle;

use headwater_core::config::Config;
use headwater_core::endpoint::Endpoint;
use headwater_core::id::PeerId;
use headwater_core::secure::{ChannelFactory, Insecure};
use headwater_core::seed::Seed;

use crate::clock::Clock;
use crate::error::StartError;
use crate::event_loop::EventLoop;
use crate::handle::Handle;
use crate::messages::Messages;
use crate::notifications::Notifications;

/// What a node is made of: its secure channels, its configuration, its seed.
///
/// ```
/// use headwater_mio::{Builder, Config, Started};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = Config::default();
/// config.peers_max = 5;
/// let id = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse()?;
/// let Started { handle, .. } = Builder::insecure(id)?.config(config).start()?;
/// assert_eq!(handle.id(), id);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Builder<F> {
    factory: F,
    config: Config,
    seed: Option<Seed>,
}

/// A node that runs on a thread of its own, and what comes out of it.
#[derive(Debug)]
pub struct Started {
    /// The handle.
    pub handle: Handle,
    /// What peers send.
    pub messages: Messages,
    /// What happens.
    pub notifications: Notifications,
    /// The thread. It ends when the node has stopped; with an error if the system's poll failed.
    pub thread: JoinHandle<io::Result<()>>,
}

impl Builder<Insecure> {
    /// A node without any security, for networks that have chosen to do without: bytes travel in
    /// the clear, and whoever claims a peer id is believed.
    ///
    /// # Errors
    ///
    /// [`StartError::LocalId`]: an id made from a hash has 46 characters, and only those can be
    /// sent.
    pub fn insecure(local: PeerId) -> Result<Self, StartError> {
        let factory = Insecure::new(local).map_err(|actual| StartError::LocalId { actual })?;
        Ok(Self::new(factory))
    }
}

impl<F: ChannelFactory> Builder<F> {
    /// A node whose links are secured by what `factory` makes, with the default configuration.
    pub fn new(factory: F) -> Self {
        Self { factory, config: Config::default(), seed: None }
    }

    /// Takes another configuration.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Takes a seed of one's own choice, for tests and replays; otherwise it comes from the
    /// system's randomness. Keys are not made of it.
    #[must_use]
    pub fn seed(mut self, seed: Seed) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Makes the loop for this thread to run. Nothing is listened on or dialled yet.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub fn build(self) -> Result<EventLoop<F>, StartError> {
        let seed = match self.seed {
            Some(seed) => seed,
            None => {
                let mut bytes = [0; 32];
                getrandom::fill(&mut bytes).map_err(StartError::Randomness)?;
                Seed::new(bytes)
            }
        };
        let clock = Clock::start();
        let endpoint = Endpoint::new(self.config, seed, self.factory, clock.now())?;
        Ok(EventLoop::new(endpoint, clock)?)
    }

    /// Makes the loop and runs it on a thread of its own.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing was left running.
    pub fn start(self) -> Result<Started, StartError>
    where
        F: Send + 'static,
        F::Channel: Send + 'static,
    {
        Ok(self.build()?.spawn()?)
    }
}
