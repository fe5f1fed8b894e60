//! What one operation of a single machine takes, without any system call: time and allocations,
//! and how both grow with what there is. Prints markdown; a word behind `--` chooses the rows
//! that have it in their name.
//!
//! `benches/counts.txt` has the instructions of some of them, which repeat exactly.

use std::alloc::{GlobalAlloc, Layout, System};

use headwater_benches::counted::{Taken, allocated, last};
use headwater_benches::{crowd, machines};

/// Tells of each allocation.
struct Telling;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Telling {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        allocated();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: `place` came from `System` with this layout.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        allocated();
        // SAFETY: `place` came from `System` with this layout.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Telling = Telling;

/// An operation that is done so often, while there is so much.
struct Row {
    what: &'static str,
    size: u32,
    operations: u32,
    run: fn(u32, u32),
}

const fn row(what: &'static str, size: u32, operations: u32, run: fn(u32, u32)) -> Row {
    Row { what, size, operations, run }
}

const ROWS: [Row; 21] = [
    row("a small message framed, bytes", 128, 100_000, |_, n| machines::framing_out(n)),
    row("a small message unframed, bytes", 128, 100_000, |_, n| machines::framing_in(n)),
    row("a frame through two yamux sessions, bytes", 4096, 20_000, |_, n| machines::session(n)),
    row("a stream borrowed and returned", 1, 100_000, |_, n| machines::pool(n)),
    row("a connection made, both ends", 1, 200, |_, n| machines::setup(n)),
    row("a protocol list pushed, protocols", 100, 100, |_, n| machines::push(n)),
    row("a failed dial, required peers", 10, 10, |peers, _| machines::supervisor(peers)),
    row("a failed dial, required peers", 100, 100, |peers, _| machines::supervisor(peers)),
    row("a failed dial, required peers", 1000, 1000, |peers, _| machines::supervisor(peers)),
    row("a failed dial, required peers", 10_000, 10_000, |peers, _| machines::supervisor(peers)),
    row("100 ms of idle time, connections", 10, 150, crowd::ticks),
    row("100 ms of idle time, connections", 100, 150, crowd::ticks),
    row("100 ms of idle time, connections", 1000, 150, crowd::ticks),
    row("100 ms of idle time, connections", 10_000, 150, crowd::ticks),
    row("a message sent, connections", 10, 4000, crowd::send_around),
    row("a message sent, connections", 100, 4000, crowd::send_around),
    row("a message sent, connections", 1000, 4000, crowd::send_around),
    row("a message sent, connections", 10_000, 4000, crowd::send_around),
    row("a connection lost, connections", 100, 100, |peers, _| crowd::losses(peers)),
    row("a connection lost, connections", 1000, 1000, |peers, _| crowd::losses(peers)),
    row("a connection lost, connections", 10_000, 10_000, |peers, _| crowd::losses(peers)),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // Without `--bench` it is only seen that it runs.
    let rounds = if args.iter().any(|arg| arg == "--bench") { 7 } else { 1 };
    let word = args.iter().find(|arg| !arg.starts_with("--"));
    println!("| operation | size | ns | allocations |\n| --- | --- | --- | --- |");
    for row in ROWS.iter().filter(|row| word.is_none_or(|word| row.what.contains(word.as_str()))) {
        let mut taken: Vec<Taken> = Vec::new();
        for _ in 0..rounds {
            (row.run)(row.size, row.operations);
            taken.push(last());
        }
        taken.sort_by_key(|taken| taken.time);
        let median = taken[taken.len() / 2];
        println!(
            "| {} | {} | {:.0} | {:.2} |",
            row.what,
            row.size,
            median.time.as_nanos() as f64 / f64::from(row.operations),
            median.allocations as f64 / f64::from(row.operations)
        );
    }
}
