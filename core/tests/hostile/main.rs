//! Peers that break the rules, stall, flood, or vanish: each time memory stays bounded, a
//! deadline or a typed reason ends it, and nothing is left behind.

mod arbitrary;
mod exchange;
mod fairness;
mod frames;
mod leases;
mod opening;
mod packages;
mod raw;
mod sending;
mod sessions;
