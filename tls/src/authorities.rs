//! Groups of authorities that vouch for certificates (spec 1.5, mode A).
//!
//! A peer's own certificate has to lead to one of a group's roots, by way of the group's own
//! intermediates; further certificates that the peer shows do not help. It has to be valid in
//! time, and for authenticating a server or a client, or for no purpose in particular. Names in
//! it do not matter.
//!
//! Bounds: the groups and certificates are the application's. How much work one certificate can
//! cause is bounded by webpki's own budgets.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, RequiredEkuNotFoundContext,
};

use crate::error::Distrust;
use crate::{certificate, provider};

/// All groups, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Authorities {
    groups: BTreeMap<Arc<str>, Group>,
}

#[derive(Clone, Debug)]
struct Group {
    roots: Vec<TrustAnchor<'static>>,
    intermediates: Vec<CertificateDer<'static>>,
}

/// Why certificates of authorities were not taken; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthoritiesError {
    /// The text is not PEM.
    Pem {
        /// What is wrong with it.
        what: String,
    },
    /// One of the certificates is malformed.
    Certificate {
        /// Which one, from 0.
        at: usize,
        /// What is wrong with it.
        what: String,
    },
    /// None of the certificates is an authority's.
    NoRoot,
    /// None of the certificates is an authority's, and one cannot say so: it is of an X.509 version
    /// before 3.
    Version {
        /// Which one, from 0.
        at: usize,
    },
}

impl fmt::Display for AuthoritiesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem { what } => write!(f, "not PEM: {what}"),
            Self::Certificate { at, what } => write!(f, "certificate number {at}: {what}"),
            Self::NoRoot => f.write_str("no certificate of an authority"),
            Self::Version { at } => write!(
                f,
                "no certificate of an authority: number {at} is of an X.509 version before 3, \
                 which cannot say that it is one"
            ),
        }
    }
}

impl std::error::Error for AuthoritiesError {}

impl Authorities {
    /// Takes the certificates of a group, instead of those it had.
    pub(crate) fn set(&mut self, group: &str, pem: &str) -> Result<(), AuthoritiesError> {
        let mut taken = Group { roots: Vec::new(), intermediates: Vec::new() };
        for (at, der) in CertificateDer::pem_slice_iter(pem.as_bytes()).enumerate() {
            let der = der.map_err(|error| AuthoritiesError::Pem { what: error.to_string() })?;
            let wrong = |what: String| AuthoritiesError::Certificate { at, what };
            if certificate::is_authority(&der).map_err(|_| wrong("it is malformed".to_owned()))? {
                let anchor = webpki::anchor_from_trusted_cert(&der);
                let anchor = anchor.map_err(|error| wrong(words(&error)))?;
                taken.roots.push(anchor.to_owned());
            } else {
                taken.intermediates.push(der);
            }
        }
        if taken.roots.is_empty() {
            let old = |der: &CertificateDer<'_>| certificate::is_version_3(der) == Ok(false);
            let at = taken.intermediates.iter().position(old);
            return Err(at.map_or(AuthoritiesError::NoRoot, |at| AuthoritiesError::Version { at }));
        }
        self.groups.insert(group.into(), taken);
        Ok(())
    }

    /// Forgets a group; false if there was none.
    pub(crate) fn remove(&mut self, group: &str) -> bool {
        self.groups.remove(group).is_some()
    }

    /// The groups that vouch for a certificate; if none does, why.
    pub(crate) fn vouch(
        &self,
        certificate: &[u8],
        now: Option<UnixTime>,
    ) -> Result<Vec<Arc<str>>, Distrust> {
        let der = CertificateDer::from(certificate);
        let leaf = EndEntityCert::try_from(&der).map_err(|error| distrust(&error))?;
        let now = now.ok_or(Distrust::NotValidNow)?;
        let algorithms = provider::algorithms().all;
        let mut why = Distrust::UnknownAuthority;
        let mut groups = Vec::new();
        for (name, Group { roots, intermediates }) in &self.groups {
            match leaf.verify_for_usage(algorithms, roots, intermediates, now, Peer, None, None) {
                Ok(_) => groups.push(Arc::clone(name)),
                // A group that knows the issuer says more than one that does not.
                Err(webpki::Error::UnknownIssuer) => {}
                Err(error) => why = distrust(&error),
            }
        }
        if groups.is_empty() { Err(why) } else { Ok(groups) }
    }
}

fn distrust(error: &webpki::Error) -> Distrust {
    match error {
        webpki::Error::UnknownIssuer => Distrust::UnknownAuthority,
        webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => {
            Distrust::NotValidNow
        }
        webpki::Error::RequiredEkuNotFoundContext(_) => Distrust::Purpose,
        webpki::Error::UnsupportedCertVersion => Distrust::Version,
        other => Distrust::Invalid { what: words(other).into() },
    }
}

/// What is wrong with a certificate: webpki has no words for it, only names.
pub(crate) fn words(error: &webpki::Error) -> String {
    use webpki::Error::{
        BadDer, BadDerTime, CaUsedAsEndEntity, EmptyEkuExtension, EndEntityUsedAsCa,
        ExtensionValueInvalid, InvalidCertValidity, InvalidSerialNumber,
        InvalidSignatureForPublicKey, MalformedExtensions, MaximumPathBuildCallsExceeded,
        MaximumPathDepthExceeded, MaximumSignatureChecksExceeded, NameConstraintViolation,
        PathLenConstraintViolated, SignatureAlgorithmMismatch, TrailingData,
        UnsupportedCertVersion, UnsupportedCriticalExtension, UnsupportedSignatureAlgorithmContext,
        UnsupportedSignatureAlgorithmForPublicKeyContext,
    };
    let text = match error {
        BadDer
        | BadDerTime
        | EmptyEkuExtension
        | ExtensionValueInvalid
        | InvalidSerialNumber
        | MalformedExtensions
        | TrailingData(_) => "it is malformed",
        CaUsedAsEndEntity => "it is for an authority itself",
        EndEntityUsedAsCa => "it was issued by something that is no authority",
        InvalidCertValidity => "it ends before it begins",
        InvalidSignatureForPublicKey => "its issuer has not signed it",
        MaximumPathBuildCallsExceeded
        | MaximumPathDepthExceeded
        | MaximumSignatureChecksExceeded => "it leads through too many others",
        NameConstraintViolation => "an authority on the way may not issue for its names",
        PathLenConstraintViolated => {
            "there are more authorities on the way than one of them allows"
        }
        SignatureAlgorithmMismatch
        | UnsupportedSignatureAlgorithmContext(_)
        | UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "it is signed in a way that is not supported"
        }
        UnsupportedCertVersion => "it is of an X.509 version before 3",
        UnsupportedCriticalExtension => "it has a critical extension that is not known here",
        other => return format!("it breaks a rule ({other})"),
    };
    text.to_owned()
}

/// What a peer's certificate may be for: authenticating either side, or anything.
struct Peer;

impl ExtendedKeyUsageValidator for Peer {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        const ANY: &[usize] = &[2, 5, 29, 37, 0];
        let accepted =
            [webpki::KeyUsage::SERVER_AUTH_REPR, webpki::KeyUsage::CLIENT_AUTH_REPR, ANY];
        let mut present = Vec::new();
        for purpose in purposes {
            let purpose = purpose?.to_decoded_oid();
            if accepted.contains(&purpose.as_slice()) {
                return Ok(());
            }
            present.push(purpose);
        }
        if present.is_empty() {
            return Ok(());
        }
        let required = webpki::KeyUsage::server_auth();
        Err(webpki::Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext {
            required,
            present,
        }))
    }
}
