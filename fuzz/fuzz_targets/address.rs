//! An address, a name and ids from any text.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_core::address::fuzz::address(data));
