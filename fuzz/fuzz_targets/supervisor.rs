//! The supervisor of required peers against its model.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_core::supervisor::fuzz::supervisor(data));
