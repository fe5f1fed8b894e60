//! Keys: making one, reading one, and the id that follows.

use std::path::{Path, PathBuf};

use headwater_identity::NodeKey;

use crate::args::KeyFile;
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

/// `headwater keygen`: writes a fresh key to a file that is not there yet.
pub(crate) fn keygen(report: Report, args: KeyFile) -> Result<(), Failure> {
    let path = file(args)?;
    let key = load(None)?;
    key.write_new_file(&path).map_err(|error| Failure::new(Status::Key, error.to_string()))?;
    tell(report, &key, &path);
    Ok(())
}

/// `headwater id`: prints the peer id of a key.
pub(crate) fn id(report: Report, args: KeyFile) -> Result<(), Failure> {
    let path = file(args)?;
    let key = load(Some(&path))?;
    tell(report, &key, &path);
    Ok(())
}

fn file(args: KeyFile) -> Result<PathBuf, Failure> {
    let missing = || Failure::new(Status::Usage, "the key's file is missing");
    args.path.or(args.key).ok_or_else(missing)
}

fn tell(report: Report, key: &NodeKey, path: &Path) {
    let id = key.peer_id();
    report.event(Event::Key { id: id.as_str(), path: &path.to_string_lossy() });
    report.line(id.as_str());
}
