//! What the calls of this crate can fail with, beyond core's own errors.

use std::fmt;

use headwater_core::config::ConfigError;
use headwater_core::contract::IoCause;
use headwater_core::error::{ApplicationError, DialError};

/// Why a node did not start; nothing was left running.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A value of the configuration does not make sense.
    Config(ConfigError),
    /// An insecure node's id has to have 46 characters, because plain TCP sends it without a
    /// length; this one has `actual`.
    LocalId {
        /// How many it has.
        actual: usize,
    },
    /// TLS cannot be set up.
    #[cfg(feature = "tls")]
    Tls(Box<headwater_tls::SetupError>),
    /// The system gave no randomness for the seed.
    Randomness(getrandom::Error),
    /// There is no runtime around this call.
    NoRuntime,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(f, "{error}"),
            Self::LocalId { actual } => {
                write!(f, "the id of an insecure node has 46 characters, this has {actual}")
            }
            #[cfg(feature = "tls")]
            Self::Tls(error) => write!(f, "{error}"),
            Self::Randomness(error) => write!(f, "no randomness for the seed: {error}"),
            Self::NoRuntime => f.write_str("a node has to be started within a runtime"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            #[cfg(feature = "tls")]
            Self::Tls(error) => Some(&**error),
            Self::Randomness(error) => Some(error),
            Self::LocalId { .. } | Self::NoRuntime => None,
        }
    }
}

#[cfg(feature = "tls")]
impl From<headwater_tls::SetupError> for StartError {
    fn from(error: headwater_tls::SetupError) -> Self {
        Self::Tls(Box::new(error))
    }
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// Why a node does not listen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenError {
    /// The node does not take the call.
    Call(ApplicationError),
    /// The address cannot be bound.
    Bind(IoCause),
    /// The node has stopped.
    Stopped,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => write!(f, "{error}"),
            Self::Bind(cause) => write!(f, "cannot listen: {cause}"),
            Self::Stopped => f.write_str("the node has stopped"),
        }
    }
}

impl std::error::Error for ListenError {}

impl From<ApplicationError> for ListenError {
    fn from(error: ApplicationError) -> Self {
        Self::Call(error)
    }
}

/// Why a call to a node failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The node does not take the call; nothing changed.
    Call(ApplicationError),
    /// The dial led to nothing.
    Dial(DialError),
    /// The node has stopped.
    Stopped,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => write!(f, "{error}"),
            Self::Dial(error) => write!(f, "{error}"),
            Self::Stopped => f.write_str("the node has stopped"),
        }
    }
}

impl std::error::Error for Error {}

impl From<ApplicationError> for Error {
    fn from(error: ApplicationError) -> Self {
        Self::Call(error)
    }
}
