//! Peers with any certificate and any records against a TLS channel.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_tls::fuzz::peer(data));
