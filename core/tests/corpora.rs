//! The committed fuzz corpora, run through the bodies of their targets by any compiler.

use std::fs;
use std::path::Path;

/// Runs every file of a corpus; there have to be some.
fn replay(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 50, "{} has {} files", folder.display(), files.len());
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
