//! Peers of another kind: rustls, with whatever certificates and signature a test wants.

use std::sync::Arc;

use headwater_core::contract::Direction;
use headwater_identity::NodeKey;
use rustls::crypto::cipher::{MessageEncrypter, OutboundPlainMessage};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, Connection, ConnectionTrafficSecrets, ProtocolVersion,
    ServerConfig, ServerConnection,
};

use super::stranger::{Anybody, Forger};
use crate::{ALPN, provider};

/// Whom our end meets.
pub(super) struct Rogue<'a> {
    pub(super) certificates: Vec<Vec<u8>>,
    pub(super) key: &'a NodeKey,
    /// It signs nonsense.
    pub(super) forges: bool,
}

impl Rogue<'_> {
    /// The other end of one of ours.
    pub(super) fn connection(&self, ours: Direction) -> Connection {
        let shown = Arc::new(SingleCertAndKey::from(self.certified()));
        let versions = [&rustls::version::TLS13];
        match ours {
            Direction::Inbound => {
                let mut config = ClientConfig::builder_with_provider(provider::provider())
                    .with_protocol_versions(&versions)
                    .unwrap()
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(Anybody(&provider::SCHEMES)))
                    .with_client_cert_resolver(shown);
                config.alpn_protocols = vec![ALPN.into()];
                config.enable_secret_extraction = true;
                let name = ServerName::try_from("example.org").unwrap();
                ClientConnection::new(Arc::new(config), name).unwrap().into()
            }
            Direction::Outbound => {
                let mut config = ServerConfig::builder_with_provider(provider::provider())
                    .with_protocol_versions(&versions)
                    .unwrap()
                    .with_client_cert_verifier(Arc::new(Anybody(&provider::SCHEMES)))
                    .with_cert_resolver(shown);
                config.alpn_protocols = vec![ALPN.into()];
                config.enable_secret_extraction = true;
                config.send_tls13_tickets = 0;
                ServerConnection::new(Arc::new(config)).unwrap().into()
            }
        }
    }

    fn certified(&self) -> CertifiedKey {
        let chain = self.certificates.iter().cloned().map(CertificateDer::from).collect();
        if self.forges {
            return CertifiedKey::new(chain, Arc::new(Forger));
        }
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.to_pkcs8_der().to_vec()));
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der).unwrap();
        CertifiedKey::new(chain, key)
    }
}

/// Seals what it is given with the keys of a connection.
pub(super) struct Sealer {
    encrypter: Box<dyn MessageEncrypter>,
    number: u64,
}

impl Sealer {
    pub(super) fn new(connection: Connection) -> Self {
        let suite = connection.negotiated_cipher_suite().unwrap().tls13().unwrap();
        let (number, secrets) = connection.dangerous_extract_secrets().unwrap().tx;
        let (ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) = secrets
        else {
            panic!("an unknown suite");
        };
        Self { encrypter: suite.aead_alg.encrypter(key, iv), number }
    }

    pub(super) fn seal(&mut self, kind: u8, body: &[u8]) -> Vec<u8> {
        let (typ, version) = (kind.into(), ProtocolVersion::TLSv1_2);
        let message = OutboundPlainMessage { typ, version, payload: body.into() };
        let sealed = self.encrypter.encrypt(message, self.number).unwrap();
        self.number += 1;
        sealed.encode()
    }
}
