//! Peers of other kinds: rustls with whatever certificate, signature and protocols a test wants.

use std::sync::Arc;

use headwater_core::contract::Direction;
use headwater_identity::NodeKey;
use headwater_tls::fuzz::stranger::{Anybody, Forger};
use headwater_tls::{Refusal, Tls, TlsError};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, Connection, Error, ServerConfig,
    ServerConnection, SignatureScheme,
};

use crate::link::End;

/// What a peer of another kind does.
#[derive(Clone)]
pub(crate) struct Rogue {
    pub(crate) certificates: Vec<Vec<u8>>,
    pub(crate) key: Arc<dyn SigningKey>,
    pub(crate) alpn: Vec<Vec<u8>>,
}

/// A key as rustls signs with.
pub(crate) fn signing(key: &NodeKey) -> Arc<dyn SigningKey> {
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_pkcs8_der().to_vec()));
    rustls::crypto::aws_lc_rs::sign::any_supported_type(&der).unwrap()
}

impl Rogue {
    /// Honest but for its certificates.
    pub(crate) fn showing(key: &NodeKey, certificates: Vec<Vec<u8>>) -> Self {
        let alpn = vec![headwater_tls::ALPN.into()];
        Self { certificates, key: signing(key), alpn }
    }

    /// It signs nonsense.
    pub(crate) fn forging(certificates: Vec<Vec<u8>>) -> Self {
        let alpn = vec![headwater_tls::ALPN.into()];
        Self { certificates, key: Arc::new(Forger), alpn }
    }

    fn certified(&self) -> CertifiedKey {
        let chain = self.certificates.iter().cloned().map(CertificateDer::from).collect();
        CertifiedKey::new(chain, Arc::clone(&self.key))
    }

    fn client(&self) -> Connection {
        let shown = Arc::new(SingleCertAndKey::from(self.certified()));
        let config = ClientConfig::builder()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(&SCHEMES)));
        let mut config = if self.certificates.is_empty() {
            config.with_no_client_auth()
        } else {
            config.with_client_cert_resolver(shown)
        };
        config.alpn_protocols.clone_from(&self.alpn);
        config.enable_secret_extraction = true;
        let name = ServerName::try_from("example.org").unwrap();
        ClientConnection::new(Arc::new(config), name).unwrap().into()
    }

    fn server(&self) -> Connection {
        let mut config = ServerConfig::builder()
            .with_client_cert_verifier(Arc::new(Anybody(&SCHEMES)))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(self.certified())));
        config.alpn_protocols.clone_from(&self.alpn);
        ServerConnection::new(Arc::new(config)).unwrap().into()
    }

    /// Meets one of ours that dials or listens.
    pub(crate) fn meets(&self, tls: &Tls, direction: Direction) -> Meeting {
        let mut rogue = match direction {
            Direction::Outbound => self.server(),
            Direction::Inbound => self.client(),
        };
        let mut ours = End::new(tls, direction);
        let rogue_error = meet(&mut rogue, &mut ours);
        Meeting { ours, rogue_error }
    }

    /// Dials one of ours, and gives away the keys of the connection.
    pub(crate) fn secrets(&self, tls: &Tls) -> (rustls::ExtractedSecrets, End) {
        let mut rogue = self.client();
        let mut ours = End::new(tls, Direction::Inbound);
        assert_eq!(meet(&mut rogue, &mut ours), None);
        assert_eq!(ours.error, None);
        (rogue.dangerous_extract_secrets().unwrap(), ours)
    }
}

/// Moves bytes until there are none; how the rogue failed.
fn meet(rogue: &mut Connection, ours: &mut End) -> Option<Error> {
    let mut error = None;
    loop {
        ours.speak(usize::MAX);
        let mut said = Vec::new();
        while rogue.wants_write() {
            rogue.write_tls(&mut said).unwrap();
        }
        if ours.wire.is_empty() && said.is_empty() {
            return error;
        }
        let heard = ours.wire.split();
        let mut heard = &heard[..];
        while !heard.is_empty() && error.is_none() {
            rogue.read_tls(&mut heard).unwrap();
            error = rogue.process_new_packets().err();
        }
        ours.hear(&said);
    }
}

/// How it went.
pub(crate) struct Meeting {
    pub(crate) ours: End,
    pub(crate) rogue_error: Option<Error>,
}

impl Meeting {
    pub(crate) fn refusal(&self) -> &Refusal {
        match self.ours.failure() {
            TlsError::Refused(refusal) => refusal,
            other => panic!("{other}"),
        }
    }

    pub(crate) fn alert(&self) -> AlertDescription {
        match self.rogue_error {
            Some(Error::AlertReceived(alert)) => alert,
            ref other => panic!("{other:?}"),
        }
    }
}

/// The schemes that a peer of another kind takes.
const SCHEMES: [SignatureScheme; 5] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::ED25519,
];
