//! Keys: making one, reading one, and the id that follows.

use std::io::{self, Write as _};
use std::path::Path;

use headwater_identity::NodeKey;

use crate::event::Event;
use crate::failure::Failure;
use crate::report::Report;
use crate::status::Status;

/// The key of a node: the one in the file, or a fresh one.
///
/// # Errors
///
/// [`Status::Key`] with the file's name.
pub(crate) fn load(path: Option<&Path>) -> Result<NodeKey, Failure> {
    match path {
        // The error names the file.
        Some(path) => {
            NodeKey::read_file(path).map_err(|error| Failure::new(Status::Key, error.to_string()))
        }
        None => NodeKey::generate()
            .map_err(|error| Failure::new(Status::Key, format!("cannot make a key: {error}"))),
    }
}

/// `headwater keygen`: writes a fresh key to a file that is not there yet, or to standard output.
///
/// # Errors
///
/// [`Status::Key`] with the file's name.
pub(crate) fn keygen(report: Report, path: &Path) -> Result<(), Failure> {
    let key = load(None)?;
    let failed = |error: &dyn std::error::Error| Failure::new(Status::Key, error.to_string());
    if path == Path::new("-") {
        let text = key.to_pem().map_err(|error| failed(&error))?;
        let mut out = io::stdout().lock();
        let done = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        done.map_err(|error| Failure::writing("standard output", &error))?;
    } else {
        key.write_new_file(path).map_err(|error| failed(&error))?;
    }
    tell(report, &key, path);
    Ok(())
}

/// `headwater id`: prints the peer id of a key.
///
/// # Errors
///
/// [`Status::Key`] with the file's name.
pub(crate) fn id(report: Report, path: &Path) -> Result<(), Failure> {
    let key = if path == Path::new("-") {
        // Who else may read what comes from there is not for this program to judge.
        NodeKey::read_from(io::stdin(), "/dev/stdin")
            .map_err(|error| Failure::new(Status::Key, error.to_string()))?
    } else {
        load(Some(path))?
    };
    tell(report, &key, path);
    Ok(())
}

fn tell(report: Report, key: &NodeKey, path: &Path) {
    let id = key.peer_id();
    report.event(Event::Key { id: id.as_str(), path: &path.to_string_lossy() });
    report.line(id.as_str());
}
