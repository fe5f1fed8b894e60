//! Putting a node together and starting it.

use std::sync::Arc;

use headwater_core::config::Config;
use headwater_core::id::PeerId;
use headwater_core::node::Node as Core;
use headwater_core::record::Recorder;
use headwater_core::secure::{ChannelFactory, Insecure};
use headwater_core::seed::Seed;
#[cfg(feature = "tls")]
use headwater_identity::NodeKey;
#[cfg(feature = "tls")]
use headwater_tls::Tls;

use crate::control::Control;
use crate::error::StartError;
use crate::messages::Messages;
use crate::node::Node;
use crate::notifications::Notifications;
use crate::runtime::Runtime;
use crate::shared::Shared;

/// What a node is made of: its secure channels, its configuration, its seed, and the runtime `R`
/// that it runs on.
///
/// ```
/// use headwater_tokio::{Builder, Config, NodeKey, Started};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = Config::default();
/// config.peers_max = 5;
/// let key = NodeKey::generate()?;
/// let Started { node, .. } = Builder::new(&key)?.config(config).start()?;
/// assert_eq!(node.id(), key.peer_id());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Builder<F, R> {
    factory: F,
    config: Config,
    seed: Option<Seed>,
    runtime: Option<R>,
    recorder: Option<Arc<dyn Recorder>>,
}

/// A node that runs, and what comes out of it.
#[derive(Debug)]
pub struct Started {
    /// The handle.
    pub node: Node,
    /// What peers send.
    pub messages: Messages,
    /// What happens.
    pub notifications: Notifications,
}

#[cfg(feature = "tls")]
impl<R: Runtime> Builder<Tls, R> {
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

impl<R: Runtime> Builder<Insecure, R> {
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

impl<F, R> Builder<F, R>
where
    R: Runtime,
    F: ChannelFactory + Send + 'static,
    F::Channel: Send + 'static,
{
    /// A node whose links are secured by what `factory` makes, with the default configuration.
    pub fn with_channels(factory: F) -> Self {
        Self { factory, config: Config::default(), seed: None, runtime: None, recorder: None }
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

    /// Takes this runtime, whose clock is the node's; otherwise it is the one around
    /// [`start`](Self::start).
    #[must_use]
    pub fn runtime(mut self, runtime: R) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Has all that happens to the node and its connections noted, if there is a recorder:
    /// `headwater-recorder` has one.
    #[must_use]
    pub fn recorder(mut self, recorder: Option<impl Recorder + 'static>) -> Self {
        self.recorder = recorder.map(|recorder| Arc::new(recorder) as Arc<dyn Recorder>);
        self
    }

    /// Starts the node. Nothing is listened on or dialled yet.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing was left running.
    pub fn start(self) -> Result<Started, StartError> {
        let runtime = self.runtime.or_else(R::current).ok_or(StartError::NoRuntime)?;
        let seed = match self.seed {
            Some(seed) => seed,
            None => {
                let mut bytes = [0; 32];
                getrandom::fill(&mut bytes).map_err(StartError::Randomness)?;
                Seed::new(bytes)
            }
        };
        let local = self.factory.local();
        let core = Core::new(self.config, seed, local, runtime.now())?;
        let core = core.with_recorder(self.recorder);
        let shared = Arc::new(Shared::new(local));
        let node = Node::new(Arc::clone(&shared));
        let control = Control::new(core, self.factory, runtime.clone(), Arc::clone(&shared));
        runtime.spawn(Box::new(control).run());
        Ok(Started {
            node,
            messages: Messages::new(Arc::clone(&shared)),
            notifications: Notifications::new(shared),
        })
    }
}
