//! What makes channels, and what they share.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use headwater_core::contract::Direction;
use headwater_core::id::PeerId;
use headwater_core::secure::ChannelFactory;
use headwater_identity::NodeKey;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, Error, ServerConfig};

use crate::admission::{self, Admission, ProvenPeer};
use crate::authorities::{Authorities, AuthoritiesError};
use crate::builder::{Builder, SetupError};
use crate::channel::TlsChannel;
use crate::error::Refusal;
use crate::live::{Entry, Live};
use crate::machine::Machine;
use crate::provider::Clock;
use crate::verifier::Verifier;
use crate::{ALPN, TlsError};

/// Makes the TLS channels of a node. Clones share everything: keep one to change the rules or to
/// [`reverify`](Self::reverify) while an adapter uses the other.
///
/// ```
/// use headwater_identity::NodeKey;
/// use headwater_tls::{ProvenPeer, Tls, Veto};
///
/// let key = NodeKey::generate()?;
/// let tls = Tls::builder(&key)
///     .admission(|peer: &ProvenPeer| match peer.peer_id().as_str() {
///         "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4" => Err(Veto::new("left the company")),
///         _ => Ok(()),
///     })
///     .build()?;
/// assert!(tls.reverify().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Tls {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) local: PeerId,
    /// What a listener shows.
    pub(crate) key: Arc<CertifiedKey>,
    /// The same, as a dialer shows it.
    pub(crate) shown: Arc<SingleCertAndKey>,
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) clock: Clock,
    pub(crate) policy: RwLock<Policy>,
    pub(crate) admission: Option<Box<dyn Admission>>,
    pub(crate) live: Live,
}

/// Whom to accept, besides what the application's hook says.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    /// `None`: certificates only carry keys.
    pub(crate) authorities: Option<Authorities>,
    /// `None`: everybody.
    pub(crate) allowed: Option<BTreeSet<PeerId>>,
}

impl Tls {
    /// Channels that prove `key` with a certificate of its own making, and accept every peer that
    /// proves some key.
    ///
    /// # Errors
    ///
    /// [`SetupError`] if TLS cannot use the key.
    pub fn new(key: &NodeKey) -> Result<Self, SetupError> {
        Self::builder(key).build()
    }

    /// As [`new`](Self::new), with more to say.
    pub fn builder(key: &NodeKey) -> Builder {
        Builder::new(key)
    }

    /// This node's id.
    #[must_use]
    pub fn local(&self) -> PeerId {
        self.shared.local
    }

    /// Accepts only these peers from now on, or any if `None`. Those that are connected stay
    /// until [`reverify`](Self::reverify).
    pub fn set_allowed(&self, peers: Option<BTreeSet<PeerId>>) {
        self.shared.policy_mut().allowed = peers;
    }

    /// Gives a group of authorities other certificates (spec 1.5), or makes a new group. Peers
    /// that are connected stay until [`reverify`](Self::reverify).
    ///
    /// # Errors
    ///
    /// [`AuthoritiesError`]; nothing has changed then.
    pub fn set_authorities(&self, group: &str, pem: &str) -> Result<(), AuthoritiesError> {
        let mut policy = self.shared.policy_mut();
        match &mut policy.authorities {
            Some(authorities) => authorities.set(group, pem),
            none => {
                let mut authorities = Authorities::default();
                authorities.set(group, pem)?;
                *none = Some(authorities);
                Ok(())
            }
        }
    }

    /// Forgets a group of authorities; false if there was none. Without the last group no peer is
    /// accepted. Peers that are connected stay until [`reverify`](Self::reverify).
    pub fn remove_authorities(&self, group: &str) -> bool {
        self.shared.policy_mut().authorities.as_mut().is_some_and(|all| all.remove(group))
    }

    /// Judges all connected peers as if they connected now, and gives those that no longer pass,
    /// each once. Their channels end when next they receive something, which is within the
    /// keep-alive; to be quicker, and to have no redial, disconnect each from the node.
    pub fn reverify(&self) -> Vec<(PeerId, Refusal)> {
        let mut refused: Vec<(PeerId, Refusal)> = Vec::new();
        for entry in self.shared.live.all() {
            if let Err(refusal) = self.shared.judge_again(&entry) {
                entry.refuse(refusal.clone());
                let peer = entry.peer().peer_id();
                if refused.iter().all(|(id, _)| *id != peer) {
                    refused.push((peer, refusal));
                }
            }
        }
        refused
    }

    /// What a connected peer has proven and shown.
    #[must_use]
    pub fn proven(&self, peer: &PeerId) -> Option<Arc<ProvenPeer>> {
        self.shared.live.of(*peer)
    }
}

impl Shared {
    pub(crate) fn policy(&self) -> RwLockReadGuard<'_, Policy> {
        self.policy.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn policy_mut(&self) -> RwLockWriteGuard<'_, Policy> {
        self.policy.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a peer that has proven its key is accepted; sets the groups that vouch for it. The
    /// same at the handshake and later (D-97).
    pub(crate) fn judge(&self, peer: &mut ProvenPeer) -> Result<(), Refusal> {
        let id = peer.peer_id();
        {
            let policy = self.policy();
            if policy.allowed.as_ref().is_some_and(|allowed| !allowed.contains(&id)) {
                return Err(Refusal::NotAllowed { peer: id });
            }
            if let Some(authorities) = &policy.authorities {
                let certificate = peer.certificates.first().map_or(&[][..], |first| first);
                let groups = authorities.vouch(certificate, self.clock.now());
                peer.groups = groups.map_err(|why| Refusal::Untrusted { peer: id, why })?;
            }
        }
        // No lock is held while the application is asked.
        match &self.admission {
            Some(admission) => admission::ask(&**admission, peer),
            None => Ok(()),
        }
    }

    /// Whether a peer in the list of those that are connected is accepted still.
    pub(crate) fn judge_again(&self, entry: &Entry) -> Result<(), Refusal> {
        let before = entry.peer();
        let mut peer = ProvenPeer::clone(&before);
        self.judge(&mut peer)?;
        if peer != *before {
            entry.set_peer(peer);
        }
        Ok(())
    }

    /// One end of a connection, as rustls has it, that asks `verifier`.
    pub(crate) fn machine(
        &self,
        direction: Direction,
        verifier: &Arc<Verifier>,
    ) -> Result<Machine, Error> {
        let provider = Arc::clone(&self.provider);
        let clock = Arc::new(self.clock.clone());
        let versions = [&rustls::version::TLS13];
        match direction {
            Direction::Outbound => {
                let mut config = ClientConfig::builder_with_details(provider, clock)
                    .with_protocol_versions(&versions)?
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::clone(verifier) as _)
                    .with_client_cert_resolver(Arc::clone(&self.shown) as _);
                config.alpn_protocols = vec![ALPN.into()];
                config.resumption = Resumption::disabled();
                config.enable_sni = false;
                Machine::client(config)
            }
            Direction::Inbound => {
                let mut config = ServerConfig::builder_with_details(provider, clock)
                    .with_protocol_versions(&versions)?
                    .with_client_cert_verifier(Arc::clone(verifier) as _)
                    .with_cert_resolver(Arc::clone(verifier) as _);
                config.alpn_protocols = vec![ALPN.into()];
                config.session_storage = Arc::new(NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
                Machine::server(config)
            }
        }
    }
}

impl ChannelFactory for Tls {
    type Channel = TlsChannel;

    fn local(&self) -> PeerId {
        self.shared.local
    }

    fn channel(&mut self, direction: Direction, _expected: Option<PeerId>) -> TlsChannel {
        let verifier = Arc::new(Verifier::new(Arc::clone(&self.shared)));
        let machine = self.shared.machine(direction, &verifier);
        let machine = machine.map_err(|error| TlsError::from_rustls(&error));
        TlsChannel::new(Arc::clone(&self.shared), verifier, machine)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("local", &self.shared.local).finish_non_exhaustive()
    }
}
