//! Levels, sources and addresses against their models.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_core::peers::fuzz::peers(data));
