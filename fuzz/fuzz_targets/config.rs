//! Any configuration, and the memory it is made to fit.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_core::config::fuzz::config(data));
