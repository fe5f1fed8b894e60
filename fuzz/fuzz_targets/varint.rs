//! Numbers of variable length against a decoder that thinks in 128 bits.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_core::wire::fuzz::varint(data));
