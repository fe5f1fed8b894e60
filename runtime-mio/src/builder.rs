//! Putting a node together.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use headwater_core::config::Config;
use headwater_core::endpoint::Endpoint;
use headwater_core::id::PeerId;
use headwater_core::record::Recorder;
use headwater_core::secure::{ChannelFactory, Insecure};
use headwater_core::seed::Seed;
#[cfg(feature = "tls")]
use headwater_identity::NodeKey;
#[cfg(feature = "tls")]
use headwater_tls::Tls;

use crate::clock::Clock;
use crate::error::StartError;
use crate::event_loop::EventLoop;
use crate::handle::Handle;
use crate::messages::Messages;
use crate::notifications::Notifications;

/// What a node is made of: its secure channels, its configuration, its seed.
///
/// ```
/// use headwater_mio::{Builder, Config, NodeKey, Started};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = Config::default();
/// config.peers_max = 5;
/// let key = NodeKey::generate()?;
/// let Started { handle, .. } = Builder::new(&key)?.config(config).start()?;
/// assert_eq!(handle.id(), key.peer_id());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Builder<F> {
    factory: F,
    config: Config,
    seed: Option<Seed>,
    recorder: Option<Arc<dyn Recorder>>,
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

#[cfg(feature = "tls")]
impl Builder<Tls> {
    /// A node that proves who it is, with this key, and lets in every peer that proves the same of
    /// itself: TLS 1.3, and peer ids that follow from keys. For rules about who is let in make
    /// the [`Tls`] yourself, and take [`with_channels`](Self::with_channels).
    ///
    /// # Errors
    ///
    /// [`StartError::Tls`]: the key cannot be used.
    pub fn new(key: &NodeKey) -> Result<Self, StartError> {
        Ok(Self::with_channels(Tls::new(key)?))
    }
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
        Ok(Self::with_channels(factory))
    }
}

impl<F: ChannelFactory> Builder<F> {
    /// A node whose links are secured by what `factory` makes, with the default configuration.
    pub fn with_channels(factory: F) -> Self {
        Self { factory, config: Config::default(), seed: None, recorder: None }
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

    /// Has all that happens to the node and its connections noted, if there is a recorder:
    /// `headwater-recorder` has one.
    #[must_use]
    pub fn recorder(mut self, recorder: Option<impl Recorder + 'static>) -> Self {
        self.recorder = recorder.map(|recorder| Arc::new(recorder) as Arc<dyn Recorder>);
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
        Ok(EventLoop::new(endpoint.with_recorder(self.recorder), clock)?)
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
