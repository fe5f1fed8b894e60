//! Headwater's flight recorder: what every machine of a node was told, and what it said.
//!
//! A [`Recorder`] is given to a node when it is built. From then on the node's machine, and each
//! connection's, has a log of its own from its birth on, in memory; all logs together share one
//! sequence of numbers and one bound in bytes. A log has what
//! [`headwater_core::record`] describes: seed, configuration, events and calls with their times,
//! the answers of the secure channel, and what came of all that. So the same machines can be run
//! again without sockets, keys or clock, and must say the same ([`replay`]).
//!
//! ```
//! use std::sync::Arc;
//!
//! use headwater_core::{config::Config, endpoint::Endpoint, secure::Insecure, seed::Seed};
//! use headwater_core::time::Instant;
//! use headwater_recorder::{Options, Recorder, Recording, replay};
//!
//! let recorder = Recorder::new(Options::default());
//! let channels = Insecure::new("QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse()?)
//!     .map_err(|len| format!("{len} bytes"))?;
//! let (now, seed) = (Instant::ZERO, Seed::from_u64(1));
//! let mut node = Endpoint::new(Config::default(), seed, channels, now)?
//!     .with_recorder(Some(Arc::new(recorder.clone())));
//! node.listen(now, "127.0.0.1:0".parse()?)?;
//! while node.poll_command().is_some() {}
//!
//! let recording = Recording::from_bytes(recorder.to_bytes())?;
//! let log = &recording.logs[0];
//! assert_eq!(replay::run(log)?.steps, 3); // the call, what it gave, and the command
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is kept
//!
//! Where [`Options::payloads`] is not set, what travels inside the streams is kept as lengths and
//! hashes: frames can still be read one by one. Such a log of a connection is not run again,
//! because what a machine does depends on packages; the node's own log is, because it never sees
//! any, and the messages that it moves between connections are zeros of the same length.
//!
//! Never kept are keys, and what the channel itself sends and receives: of that there are lengths.
//!
//! # Bounds
//!
//! [`Options::cap`] bytes, and two buffers of at most 64 KiB (or one read) for each machine that is
//! writing, and a copy of one log while the recording is written. When they are reached, whole logs
//! of machines that are gone make room, the oldest first; then the longest log loses its beginning,
//! chunk by chunk. It is a *timeline* from then on: it can be read and not be run again.

mod error;
mod file;
mod frames;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod log;
mod notes;
mod recorder;
mod recording;
pub mod replay;
mod timeline;

pub use error::{ReadError, ReplayError, WriteError};
pub use frames::{Frame, FrameKind, Part, Parts, Track};
pub use recorder::{Options, Recorder, check};
pub use recording::{Log, Machine, Recording, Step};
pub use timeline::{Line, Timeline};
