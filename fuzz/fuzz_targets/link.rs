//! Two endpoints joined by a link that cuts, loses and changes what passes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_core::endpoint::fuzz::link(data));
