//! Work that is measured, and what goes before is free: `valgrind --tool=callgrind` starts counting
//! when it comes to [`measured`] and stops when that returns, and [`last`] tells how long it took.

use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};

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

/// What a piece of work took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// By the clock.
    pub time: Duration,
    /// How often memory was allocated, where [`allocated`] is called for each.
    pub allocations: u64,
}

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LAST: Cell<Taken> = const { Cell::new(Taken { time: Duration::ZERO, allocations: 0 }) };
}

/// To be called by an allocator, for each allocation.
pub fn allocated() {
    // Threads allocate while they end, too.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

/// What the last work of this thread took.
#[must_use]
pub fn last() -> Taken {
    LAST.get()
}

/// Does `work`, and has it measured.
pub fn measured(work: &mut dyn FnMut()) {
    let (before, begun) = (ALLOCATIONS.get(), Instant::now());
    counted(work);
    let time = begun.elapsed();
    LAST.set(Taken { time, allocations: ALLOCATIONS.get() - before });
}

/// Instructions are counted in here.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
    black_box(());
}
