//! The committed corpus of the fuzz target of this crate, run through its body by any compiler.

#![allow(missing_docs, reason = "a test")]

use std::fs;
use std::path::Path;

#[test]
fn the_tls_corpus_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/tls");
    let mut files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 100, "{} has {} files", folder.display(), files.len());
    for file in files {
        // Shown when the body panics.
        println!("{}", file.display());
        headwater_tls::fuzz::peer(&fs::read(file).unwrap());
    }
}
