//! A whole node under a driver, an application and peers that keep no contract.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_core::endpoint::fuzz::endpoint(data));
