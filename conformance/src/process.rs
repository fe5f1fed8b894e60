//! Tests of what a whole process has or uses: each runs itself again in a process of its own.

use std::process::Command;
use std::time::Duration;

const CHILD: &str = "HEADWATER_TEST_CHILD";

/// Runs the test of this name in a process of its own.
///
/// # Panics
///
/// If it fails there, or if there is no test of this name.
pub fn alone(name: &str, test: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        return test();
    }
    let this = std::env::current_exe().unwrap();
    let child = Command::new(this).args(["--exact", name]).env(CHILD, "1").output().unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && text.contains("1 passed"), "{text}");
}

/// What the process has used of processors, in steps of 10 ms; 0 where the system does not say.
#[must_use]
pub fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}
