//! Work whose instructions are counted: `valgrind --tool=callgrind` starts counting when it comes
//! to [`measured`] and stops when that returns, so what goes before is free.

use std::hint::black_box;

/// Something whose instructions are counted.
#[derive(Debug)]
pub struct Count {
    /// What it is.
    pub name: &'static str,
    /// How often the operation is done.
    pub operations: u32,
    /// Gets ready, then does it within [`measured`].
    pub run: fn(u32),
}

/// Does `work`, and has its instructions counted.
#[inline(never)]
pub fn measured(work: &mut dyn FnMut()) {
    work();
    black_box(());
}
