//! The verdict on one peer's certificate, during its handshake.
//!
//! One [`Verifier`] belongs to one channel. rustls asks it three times: which certificate to
//! show (a listener only), about the peer's certificate, and about the peer's proof that it has
//! the key. Nothing of the outcome is kept anywhere else before the proof, so a peer that shows
//! the certificate of another changes nothing (D-76).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_identity::{PublicKey, PublicKeyError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    SignatureScheme,
};

use crate::admission::ProvenPeer;
use crate::certificate;
use crate::error::{Distrust, Refusal};
use crate::factory::Shared;
use crate::{ALPN, CERTIFICATES_LEN_MAX, CERTIFICATES_MAX, provider};

/// What is asked for one channel.
pub(crate) struct Verifier {
    shared: Arc<Shared>,
    verdict: Mutex<Verdict>,
}

/// What came out so far.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    shown: Option<ProvenPeer>,
    /// The peer, once it has proven its key and is accepted.
    pub(crate) proven: Option<ProvenPeer>,
    /// Why it is not accepted.
    pub(crate) refusal: Option<Refusal>,
    /// It did not offer our application protocol.
    pub(crate) no_alpn: bool,
}

impl Verifier {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, verdict: Mutex::default() }
    }

    pub(crate) fn verdict(&self) -> MutexGuard<'_, Verdict> {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, refusal: Refusal) -> Error {
        let error = Error::InvalidCertificate(alert(&refusal));
        self.verdict().refusal = Some(refusal);
        error
    }

    fn on_certificate(
        &self,
        first: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        let shown = read(first, others).map_err(|refusal| self.refuse(refusal))?;
        self.verdict().shown = Some(shown);
        Ok(())
    }

    fn on_proof(
        &self,
        message: &[u8],
        proof: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let shown = self.verdict().shown.take();
        let mut peer = shown.ok_or_else(|| self.refuse(Refusal::NoCertificate))?;
        let spki = SubjectPublicKeyInfoDer::from(peer.key.spki_der());
        let valid = rustls::crypto::verify_tls13_signature_with_raw_key(
            message,
            &spki,
            proof,
            &provider::algorithms(),
        )
        .map_err(|_| self.refuse(Refusal::Signature))?;
        self.shared.judge(&mut peer).map_err(|refusal| self.refuse(refusal))?;
        self.verdict().proven = Some(peer);
        Ok(valid)
    }
}

/// Reads what a peer shows.
fn read(first: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<ProvenPeer, Refusal> {
    let all = || std::iter::once(first).chain(others);
    let (certificates, bytes) = (all().count(), all().map(|one| one.len()).sum());
    if certificates > CERTIFICATES_MAX || bytes > CERTIFICATES_LEN_MAX {
        return Err(Refusal::TooLong { certificates, bytes });
    }
    let key: PublicKey = certificate::public_key(first)?;
    let certificates = all().map(|one| one.as_ref().into()).collect();
    Ok(ProvenPeer { key, certificates, groups: Vec::new() })
}

/// What rustls makes the alert from that is proper for a refusal (RFC 8446, section 6.2).
fn alert(refusal: &Refusal) -> CertificateError {
    match refusal {
        Refusal::NoCertificate | Refusal::Malformed | Refusal::TooLong { .. } => {
            CertificateError::BadEncoding
        }
        Refusal::Key(PublicKeyError::Malformed { .. }) => CertificateError::BadEncoding,
        Refusal::Key(_) | Refusal::KeyType { .. } => CertificateError::InvalidPurpose,
        Refusal::Signature => CertificateError::BadSignature,
        Refusal::Untrusted { why, .. } => match why {
            Distrust::UnknownAuthority => CertificateError::UnknownIssuer,
            Distrust::NotValidNow => CertificateError::Expired,
            Distrust::Purpose | Distrust::Version => CertificateError::InvalidPurpose,
            Distrust::Invalid { .. } => CertificateError::BadEncoding,
        },
        Refusal::NotAllowed { .. } | Refusal::Vetoed { .. } => {
            CertificateError::ApplicationVerificationFailure
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        first: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.on_certificate(first, others).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _proof: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        _certificate: &CertificateDer<'_>,
        proof: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.on_proof(message, proof)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider::SCHEMES.to_vec()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        first: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.on_certificate(first, others).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _proof: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls13RequiredForQuic))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        _certificate: &CertificateDer<'_>,
        proof: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.on_proof(message, proof)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider::SCHEMES.to_vec()
    }
}

impl ResolvesServerCert for Verifier {
    /// This node's certificate, if the dialer offers our application protocol: rustls would
    /// accept one that offers none.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let offered = hello.alpn().is_some_and(|mut list| list.any(|one| one == ALPN.as_bytes()));
        if offered {
            return Some(Arc::clone(&self.shared.key));
        }
        self.verdict().no_alpn = true;
        None
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("verdict", &*self.verdict()).finish_non_exhaustive()
    }
}
