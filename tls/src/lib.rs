//! TLS 1.3 behind `headwater_core`'s secure channel: who a node is, proven by its key.
//!
//! [`Tls`] makes the channels of a node, and an adapter takes it as it is. Each side shows a
//! certificate and proves that it has its key; the [`PeerId`] of the other side is that of the
//! key (spec 1.4). There is one application protocol, [`ALPN`]; no earlier version of TLS, no
//! ticket, no resumption and no early data; a server name is neither sent nor asked for.
//!
//! Whom to accept is decided once the key is proven, and before anything of the protocol was
//! sent, by all of:
//!
//! 1. the key's type: P-256, P-384, P-521, or RSA of 2048 to 8192 bits;
//! 2. the groups of authorities, if there are any ([`Builder::authorities`]). Without them a
//!    certificate only carries its key: who signed it, names and times do not matter (spec 1.5,
//!    mode B);
//! 3. the list of allowed peers, if there is one ([`Builder::allow`]);
//! 4. the application's own [`Admission`].
//!
//! [`Tls::reverify`] asks 2 to 4 again for the peers that are connected. **By default every peer
//! that proves some key is accepted.**
//!
//! ```
//! use headwater_core::contract::Direction;
//! use headwater_core::secure::ChannelFactory;
//! use headwater_identity::NodeKey;
//! use headwater_tls::Tls;
//!
//! let key = NodeKey::generate()?;
//! let mut tls = Tls::new(&key)?;
//! assert_eq!(tls.local(), key.peer_id());
//! let channel = tls.channel(Direction::Outbound, None);
//! # drop(channel);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How records are made
//!
//! Everything cryptographic is done by rustls, on aws-lc. Of its two interfaces this crate uses
//! the unbuffered one: it reads records where the driver put them and owns no queue, so what a
//! channel holds is bounded by what this crate holds. Its own record layer is used; its price is
//! one allocation a record either way, at most 16 KiB each and freed at once. The buffered
//! interface costs the same allocations, one more copy either way, and two queues; it reaches about
//! half the throughput (`cargo bench -p headwater-benches --bench channel`).
//!
//! [`PeerId`]: headwater_core::id::PeerId

#![forbid(unsafe_code)]

mod admission;
mod authorities;
mod builder;
mod certificate;
mod channel;
mod error;
mod factory;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod live;
mod machine;
mod provider;
mod verifier;

pub use admission::{Admission, ProvenPeer, Veto};
pub use authorities::AuthoritiesError;
pub use builder::{Builder, SetupError};
pub use channel::TlsChannel;
pub use error::{Distrust, Refusal, TlsError};
pub use factory::Tls;

/// The application protocol that both sides have to agree on (spec 1.3).
pub const ALPN: &str = "liquid-network-tcp-v0.0.1";

/// How many bytes of certificates a peer may show.
pub const CERTIFICATES_LEN_MAX: usize = 16 * 1024;

/// How many certificates a peer may show.
pub const CERTIFICATES_MAX: usize = 8;
