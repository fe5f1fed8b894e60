//! The committed fuzz corpora, run through the bodies of their targets by any compiler.

use std::fs;
use std::path::Path;

/// Runs every file of a corpus; there have to be some.
fn replay(target: &str, body: fn(&[u8])) {
    replay_least(target, 50, body);
}

fn replay_least(target: &str, least: usize, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= least, "{} has {} files", folder.display(), files.len());
    for file in files {
        // Shown when the body panics.
        println!("{}", file.display());
        body(&fs::read(file).unwrap());
    }
}

#[test]
fn the_endpoint_corpus_holds() {
    replay("endpoint", headwater_core::endpoint::fuzz::endpoint);
}

#[test]
fn the_framing_corpus_holds() {
    replay("framing", headwater_core::wire::fuzz::framing);
}

#[test]
fn the_session_corpus_holds() {
    replay("session", headwater_core::mux::fuzz::run);
}

#[test]
fn the_exchange_corpus_holds() {
    replay("exchange", headwater_core::protocol::fuzz::exchange);
}

#[test]
fn the_pool_corpus_holds() {
    replay("pool", headwater_core::pool::fuzz::pool);
}

#[test]
fn the_peers_corpus_holds() {
    replay("peers", headwater_core::peers::fuzz::peers);
}

#[test]
fn the_supervisor_corpus_holds() {
    replay("supervisor", headwater_core::supervisor::fuzz::supervisor);
}

#[test]
fn the_address_corpus_holds() {
    replay("address", headwater_core::address::fuzz::address);
}

#[test]
fn the_config_corpus_holds() {
    replay("config", headwater_core::config::fuzz::config);
}

#[test]
fn the_exchanger_corpus_holds() {
    replay("exchanger", headwater_core::wire::fuzz::exchanger);
}

#[test]
fn the_gzip_corpus_holds() {
    replay("gzip", headwater_core::wire::fuzz::gzip);
}

#[test]
fn the_header_corpus_holds() {
    // There is not more to a header.
    replay_least("header", 20, headwater_core::mux::fuzz::header);
}

#[test]
fn the_link_corpus_holds() {
    replay("link", headwater_core::endpoint::fuzz::link);
}

#[test]
fn the_varint_corpus_holds() {
    replay("varint", headwater_core::wire::fuzz::varint);
}
