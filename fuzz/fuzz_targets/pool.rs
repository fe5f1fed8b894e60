//! The pool of send streams against its model.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_core::pool::fuzz::pool(data));
