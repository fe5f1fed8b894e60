//! Setting up.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use headwater_core::contract::Direction;
use headwater_core::id::PeerId;
use headwater_identity::NodeKey;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::admission::Admission;
use crate::authorities::{Authorities, AuthoritiesError};
use crate::certificate;
use crate::error::Refusal;
use crate::factory::{Policy, Shared, Tls};
use crate::live::Live;
use crate::provider::{self, Clock};
use crate::verifier::Verifier;
use crate::{CERTIFICATES_LEN_MAX, CERTIFICATES_MAX};

/// Sets up [`Tls`]; see [`Tls::builder`].
#[must_use = "a builder does nothing until it is built"]
pub struct Builder {
    key: NodeKey,
    chain: Option<String>,
    authorities: Vec<(String, String)>,
    allowed: Option<BTreeSet<PeerId>>,
    admission: Option<Box<dyn Admission>>,
    clock: Clock,
}

impl Builder {
    pub(crate) fn new(key: &NodeKey) -> Self {
        Self {
            key: key.clone(),
            chain: None,
            authorities: Vec::new(),
            allowed: None,
            admission: None,
            clock: Clock::default(),
        }
    }

    /// Shows these certificates, PEM with the node's own first, instead of a self-signed one.
    pub fn certificates(mut self, pem: impl Into<String>) -> Self {
        self.chain = Some(pem.into());
        self
    }

    /// Accepts only peers whose certificate an authority vouches for: one of this group, or of
    /// another that is given. Of the PEM certificates those of authorities are trusted, others
    /// only help to get to these (spec 1.5, mode A).
    pub fn authorities(mut self, group: impl Into<String>, pem: impl Into<String>) -> Self {
        self.authorities.push((group.into(), pem.into()));
        self
    }

    /// Accepts only these peers.
    pub fn allow(mut self, peers: impl IntoIterator<Item = PeerId>) -> Self {
        self.allowed = Some(peers.into_iter().collect());
        self
    }

    /// Asks the application about each peer.
    pub fn admission(mut self, admission: impl Admission + 'static) -> Self {
        self.admission = Some(Box::new(admission));
        self
    }

    /// Tells the time since 1970 by `clock` and not by the system's; only authorities' judgement
    /// depends on it. `None` is that it is not known: then nobody is vouched for.
    pub fn clock(mut self, clock: impl Fn() -> Option<Duration> + Send + Sync + 'static) -> Self {
        self.clock = Clock(Arc::new(clock));
        self
    }

    /// Makes the factory.
    ///
    /// # Errors
    ///
    /// [`SetupError`], for a key, certificates or authorities that cannot be used.
    pub fn build(self) -> Result<Tls, SetupError> {
        let chain = match &self.chain {
            Some(pem) => own_chain(&self.key, pem)?,
            None => vec![certificate::self_signed(&self.key).map_err(SetupError::key)?],
        };
        let pkcs8 = self.key.to_pkcs8_der();
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.as_slice()));
        let provider = provider::provider();
        let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der);
        let key = Arc::new(CertifiedKey::new(chain, signer.map_err(SetupError::key)?));
        key.keys_match().map_err(|error| match error {
            rustls::Error::InvalidCertificate(_) => {
                let what = "the first one is malformed, or has an extension that is not known here";
                SetupError::Certificates { what: what.to_owned() }
            }
            error => SetupError::key(error),
        })?;

        let mut policy = Policy { authorities: None, allowed: self.allowed };
        for (group, pem) in self.authorities {
            let authorities = policy.authorities.get_or_insert_with(Authorities::default);
            let set = authorities.set(&group, &pem);
            set.map_err(|error| SetupError::Authorities { group, error })?;
        }
        let shown = Arc::new(SingleCertAndKey::from(CertifiedKey::clone(&key)));
        let shared = Arc::new(Shared {
            local: self.key.peer_id(),
            key,
            shown,
            provider,
            clock: self.clock,
            policy: RwLock::new(policy),
            admission: self.admission,
            live: Live::default(),
        });
        let verifier = Arc::new(Verifier::new(Arc::clone(&shared)));
        for direction in [Direction::Outbound, Direction::Inbound] {
            shared.machine(direction, &verifier).map_err(SetupError::key)?;
        }
        Ok(Tls { shared })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Reads the certificates that the node shows.
fn own_chain(key: &NodeKey, pem: &str) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let wrong = |what: String| SetupError::Certificates { what };
    let chain = chain.map_err(|error| wrong(format!("not PEM: {error}")))?;
    let first = chain.first().ok_or_else(|| wrong("there are none".into()))?;
    if chain.len() > CERTIFICATES_MAX
        || chain.iter().map(|one| one.len()).sum::<usize>() > CERTIFICATES_LEN_MAX
    {
        return Err(wrong("there are more than any peer accepts".into()));
    }
    let theirs = certificate::public_key(first).map_err(|error| match error {
        Refusal::Key(error) => wrong(format!("the key of the first one: {error}")),
        Refusal::KeyType { key_type, .. } => {
            wrong(format!("the first one is for a {key_type} key, which TLS cannot prove"))
        }
        _ => wrong("the first one is malformed".into()),
    })?;
    if theirs != *key.public_key() {
        return Err(SetupError::OtherKey { certificate: theirs.peer_id(), key: key.peer_id() });
    }
    if certificate::is_version_3(first) != Ok(true) {
        return Err(SetupError::Version);
    }
    Ok(chain)
}

/// Why TLS cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetupError {
    /// The private key cannot be used: its numbers do not belong together, or there is no
    /// randomness.
    Key {
        /// What is wrong.
        what: String,
    },
    /// The node's certificates cannot be used.
    Certificates {
        /// What is wrong.
        what: String,
    },
    /// The node's first certificate is not of X.509 version 3.
    Version,
    /// The node's first certificate is for another key: others would know the node by that key's
    /// id.
    OtherKey {
        /// The id of the certificate's key.
        certificate: PeerId,
        /// The id of the node's key.
        key: PeerId,
    },
    /// The authorities of a group cannot be used.
    Authorities {
        /// The group.
        group: String,
        /// What is wrong.
        error: AuthoritiesError,
    },
}

impl SetupError {
    fn key(error: impl fmt::Display) -> Self {
        Self::Key { what: error.to_string() }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { what } => write!(f, "the key cannot be used for TLS: {what}"),
            Self::Certificates { what } => write!(f, "the node's certificates: {what}"),
            Self::Version => f.write_str(
                "the node's certificate is of an X.509 version before 3: issue it with version 3, \
                 which has extensions",
            ),
            Self::OtherKey { certificate, key } => {
                write!(f, "the node's certificate is for the key of {certificate}, not of {key}")
            }
            Self::Authorities { group, error } => write!(f, "the authorities of {group}: {error}"),
        }
    }
}

impl std::error::Error for SetupError {}
