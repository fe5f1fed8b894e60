//! The exchange of protocols: its messages, what a peer supports, the push of ours.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_core::protocol::fuzz::exchange(data));
