//! The header of a frame against its table.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_core::mux::fuzz::header(data));
