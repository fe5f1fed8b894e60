//! What of cryptography is used.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

/// aws-lc, with the suites in the order of the original: the fastest first, which depends on
/// whether the processor knows AES.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let (aes, chacha) =
        (cipher_suite::TLS13_AES_128_GCM_SHA256, cipher_suite::TLS13_CHACHA20_POLY1305_SHA256);
    let (first, second) = if has_aes() { (aes, chacha) } else { (chacha, aes) };
    Arc::new(CryptoProvider {
        cipher_suites: vec![first, second, cipher_suite::TLS13_AES_256_GCM_SHA384],
        ..aws_lc_rs::default_provider()
    })
}

fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// How signatures are verified.
pub(crate) fn algorithms() -> WebPkiSupportedAlgorithms {
    aws_lc_rs::default_provider().signature_verification_algorithms
}

/// The signatures that peers may make: those of the usable keys. PKCS#1 ones are for
/// certificates; TLS 1.3 has no others of them.
pub(crate) const SCHEMES: [SignatureScheme; 9] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];

/// Tells the time since 1970, if it is known.
#[derive(Clone)]
pub(crate) struct Clock(pub(crate) Arc<dyn Fn() -> Option<Duration> + Send + Sync>);

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(|| std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()))
    }
}

impl Clock {
    pub(crate) fn now(&self) -> Option<UnixTime> {
        (self.0)().map(UnixTime::since_unix_epoch)
    }
}

impl TimeProvider for Clock {
    /// rustls insists on a time, and only hands it on to the verifier, which asks for itself.
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::ZERO))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
