//! A packed payload behind a cap.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_core::wire::fuzz::gzip(data));
