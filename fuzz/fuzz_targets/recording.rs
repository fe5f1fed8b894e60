//! A file of the flight recorder from any bytes: read, shown and run again.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_recorder::fuzz::mended(data));
