//! The yamux session: two of them, or one and raw bytes, against the model.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_core::mux::fuzz::run(data));
