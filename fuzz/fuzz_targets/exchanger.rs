//! An exchanger message against a reader that is slow and simple.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_core::wire::fuzz::exchanger(data));
