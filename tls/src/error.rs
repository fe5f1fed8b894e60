//! Why there is no connection.

use std::fmt;
use std::sync::Arc;

use headwater_core::id::PeerId;
use headwater_core::secure::ChannelError;
use headwater_identity::{KeyType, PublicKeyError};

/// Why this node does not accept a peer. One that is refused in its handshake hears of it as an
/// alert; one that is refused later, because the rules have changed, hears an orderly end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// It showed no certificate.
    NoCertificate,
    /// What it showed is not a certificate.
    Malformed,
    /// It showed more certificates, or more bytes of them, than a peer may.
    TooLong {
        /// How many certificates.
        certificates: usize,
        /// How many bytes.
        bytes: usize,
    },
    /// The key of its certificate has no peer id.
    Key(PublicKeyError),
    /// The key of its certificate has a peer id, and is of a type that is not supported.
    KeyType {
        /// The type.
        key_type: KeyType,
        /// Whom the certificate names, unproven.
        claimed: PeerId,
    },
    /// It does not have the key that its certificate is for.
    Signature,
    /// No group of authorities vouches for its certificate.
    Untrusted {
        /// The peer.
        peer: PeerId,
        /// What is wrong, by the group that came closest.
        why: Distrust,
    },
    /// It is not on the list of allowed peers.
    NotAllowed {
        /// The peer.
        peer: PeerId,
    },
    /// The application does not admit it.
    Vetoed {
        /// The peer.
        peer: PeerId,
        /// The application's reason.
        reason: Arc<str>,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("the peer showed no certificate"),
            Self::Malformed => f.write_str("the peer's certificate is malformed"),
            Self::TooLong { certificates, bytes } => {
                write!(f, "the peer showed {certificates} certificates of {bytes} bytes: too many")
            }
            Self::Key(error) => write!(f, "the key of the peer's certificate: {error}"),
            Self::KeyType { key_type: KeyType::Sm2, claimed } => write!(
                f,
                "the peer {claimed} has an SM2 key: networks on SM2 certificates cannot be joined"
            ),
            Self::KeyType { key_type, claimed } => {
                write!(f, "the peer {claimed} has a {key_type} key, which TLS cannot prove")
            }
            Self::Signature => f.write_str("the peer has not proven the key of its certificate"),
            Self::Untrusted { peer, why } => write!(f, "no authority vouches for {peer}: {why}"),
            Self::NotAllowed { peer } => write!(f, "{peer} is not on the list of allowed peers"),
            Self::Vetoed { peer, reason } => write!(f, "{peer} is not admitted: {reason}"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Why no group of authorities vouches for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Distrust {
    /// None of them has issued it.
    UnknownAuthority,
    /// It is not valid at this time, or the time is not known.
    NotValidNow,
    /// It is for other purposes.
    Purpose,
    /// It, or one on the way to the authority, is not of X.509 version 3.
    Version,
    /// It, or one on the way to the authority, is not as it has to be.
    Invalid {
        /// What is wrong.
        what: Arc<str>,
    },
}

const VERSION: &str = "its certificate, or one on the way to the authority, is of an X.509 version \
                       before 3";

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownAuthority => f.write_str("its certificate is of an unknown authority"),
            Self::NotValidNow => f.write_str("its certificate is not valid at this time"),
            Self::Purpose => f.write_str("its certificate is for other purposes"),
            Self::Version => f.write_str(VERSION),
            Self::Invalid { what } => write!(f, "its certificate is invalid: {what}"),
        }
    }
}

/// How a channel failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsError {
    /// This node does not accept the peer.
    Refused(Refusal),
    /// The peer sent a fatal alert, which may be that it does not accept this node.
    Alert {
        /// What it says.
        alert: Arc<str>,
    },
    /// The peer does not speak this network's protocol over TLS.
    Alpn,
    /// The two sides have no version, suite or group of TLS in common.
    Incompatible {
        /// What it is.
        what: Arc<str>,
    },
    /// The peer runs without encryption: it began with a peer id.
    Insecure,
    /// A record was not sealed by the peer.
    BadRecord,
    /// The peer broke the rules of TLS.
    Broken {
        /// How.
        what: Arc<str>,
    },
    /// The bytes ended before the announced end.
    Truncated,
}

impl TlsError {
    /// What an error of rustls means, other than one of this crate's own.
    pub(crate) fn from_rustls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::NoCertificatesPresented => Self::Refused(Refusal::NoCertificate),
            rustls::Error::AlertReceived(alert) => Self::Alert { alert: alert_name(*alert).into() },
            rustls::Error::NoApplicationProtocol => Self::Alpn,
            rustls::Error::DecryptError => Self::BadRecord,
            rustls::Error::PeerIncompatible(what) => {
                Self::Incompatible { what: format!("{what:?}").into() }
            }
            rustls::Error::InvalidCertificate(_) => Self::Refused(Refusal::Malformed),
            other => Self::Broken { what: other.to_string().into() },
        }
    }
}

/// The name of an alert as RFC 8446 writes it.
fn alert_name(alert: rustls::AlertDescription) -> String {
    let mut name = String::new();
    let mut in_word = false;
    for letter in format!("{alert:?}").chars() {
        if letter.is_ascii_uppercase() && in_word {
            name.push('_');
        }
        in_word = letter.is_ascii_lowercase();
        name.push(letter.to_ascii_lowercase());
    }
    name
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Alert { alert } => write!(f, "the peer ended it with the alert {alert}"),
            Self::Alpn => write!(f, "the peer does not offer the protocol {}", crate::ALPN),
            Self::Incompatible { what } => write!(f, "nothing in common with the peer: {what}"),
            Self::Insecure => f.write_str("the peer seems to be insecure: it began with a peer id"),
            Self::BadRecord => f.write_str("a record is not authentic"),
            Self::Broken { what } => f.write_str(what),
            Self::Truncated => f.write_str("cut off before its end"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// Alerts by which a peer says that it does not accept who this side is (RFC 8446, 6.2).
const UNWELCOME: [&str; 8] = [
    "access_denied",
    "bad_certificate",
    "certificate_expired",
    "certificate_required",
    "certificate_revoked",
    "certificate_unknown",
    "unknown_ca",
    "unsupported_certificate",
];

impl From<&TlsError> for ChannelError {
    fn from(error: &TlsError) -> Self {
        match error {
            TlsError::BadRecord => Self::BadRecord,
            TlsError::Insecure => Self::SpeaksPlain,
            TlsError::Truncated => Self::Truncated,
            TlsError::Refused(refusal) => Self::Refused(refusal.to_string().into()),
            TlsError::Alert { alert } if UNWELCOME.contains(&&**alert) => {
                Self::Unwelcome(error.to_string().into())
            }
            other => Self::Other(other.to_string().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_accept_whom_is_told_apart() {
        let alert = |name: &str| ChannelError::from(&TlsError::Alert { alert: name.into() });
        for name in UNWELCOME {
            assert!(matches!(alert(name), ChannelError::Unwelcome(_)), "{name}");
            // As rustls calls it, and as the RFC does.
            assert!(alert(name).to_string().contains(name));
        }
        assert!(matches!(alert("decode_error"), ChannelError::Other(_)));
        let refused = ChannelError::from(&TlsError::Refused(Refusal::NoCertificate));
        assert_eq!(refused.to_string(), "secure channel: the peer showed no certificate");
        assert!(matches!(refused, ChannelError::Refused(_)));
    }
}
