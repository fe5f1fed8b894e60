//! Packages: any stream in any chunks, and what is encoded is decoded.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_core::wire::fuzz::framing(data));
