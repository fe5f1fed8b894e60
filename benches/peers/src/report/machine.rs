//! What it was measured on, and with which versions.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

/// The versions that were built in.
const LOCK: &str = include_str!("../../Cargo.lock");
/// Whose versions are told.
const TOLD: [&str; 7] =
    ["libp2p", "libp2p-stream", "quinn", "commonware-p2p", "tokio-rustls", "rustls", "tokio"];

/// A sentence about the machine, and one about versions.
#[must_use]
pub fn describe() -> String {
    let cores = available_parallelism().map_or(1, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&info, "model name").unwrap_or("an unknown processor");
    let flags = field(&info, "flags").unwrap_or_default();
    let is_virtual = flags.split_whitespace().any(|flag| flag == "hypervisor");
    let machine = if is_virtual { "a virtual machine" } else { "a machine" };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let compiler = Command::new("rustc").arg("--version").output();
    let compiler = compiler.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let compiler = compiler.unwrap_or_default();
    let compiler: Vec<_> = compiler.split_whitespace().take(2).collect();
    let versions: Vec<_> =
        TOLD.iter().filter_map(|name| Some(format!("{name} {}", version(name)?))).collect();
    format!(
        "Measured on {machine} with {cores} cores of {model}, Linux {}, {}; {}.",
        kernel.trim(),
        if compiler.is_empty() { "an unknown compiler".to_owned() } else { compiler.join(" ") },
        versions.join(", ")
    )
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let line = info.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

/// The version of a package; of several the one that comes first.
fn version(name: &str) -> Option<&'static str> {
    let (_, rest) = LOCK.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    Some(rest.split_once('"')?.0)
}
