//! Node keys: making, reading and writing them, and the peer id that follows.
//!
//! A node is who its key says (spec 1.4): [`NodeKey`] holds a private key, gives the [`PeerId`]
//! that others know the node by, and travels as PEM. Reading accepts what usual tools write:
//!
//! | label | form |
//! | --- | --- |
//! | `PRIVATE KEY` | PKCS#8 |
//! | `EC PRIVATE KEY` | SEC1, also behind an `EC PARAMETERS` block |
//! | `RSA PRIVATE KEY` | PKCS#1 |
//!
//! Writing gives PKCS#8. Keys are of P-256, P-384, P-521, or RSA of 2048 to 8192 bits.
//! [`PublicKey`] gives the id of those, and of secp256k1 and SM2 keys, which are only recognised:
//! no node can have one here. The protocol has no ids of Ed25519 keys.
//!
//! Secrets are wiped from memory when they are dropped, as far as this crate holds them, and no
//! `Debug` text shows them.
//!
//! ```
//! use headwater_identity::NodeKey;
//!
//! let key = NodeKey::generate()?;
//! let again = NodeKey::from_pem(&key.to_pem()?)?;
//! assert_eq!(key.peer_id(), again.peer_id());
//! # Ok::<(), headwater_identity::KeyError>(())
//! ```

#![forbid(unsafe_code)]

mod error;
mod file;
mod key;
mod pem;
mod public;

pub use error::{KeyError, KeyFileError, KeyFileErrorKind, PublicKeyError};
pub use headwater_core::id::PeerId;
pub use key::NodeKey;
pub use public::{KeyType, PublicKey};
