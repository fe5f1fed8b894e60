//! Memory for bytes on their way: recycled slabs, assembly buffers, queues of chunks, and what is
//! gathered to be written.
//!
//! Nothing here knows a word of any protocol.

pub mod append;
pub mod assembly;
pub mod chunks;
pub mod out;
mod sealed;
pub mod slab;

pub use append::AppendSlab;
pub use assembly::{AssemblyConfig, AssemblyPool};
pub use chunks::ChunkQueue;
pub use sealed::SealedBuf;
pub use slab::{BufferConfigError, SlabConfig, SlabSet};
