//! Where the receiver's bytes go, written on a thread of its own.
//!
//! A regular file is written under a temporary name beside its final one and renamed when its
//! sum is right, so that the final name never shows half a file; the temporary file goes away on
//! every other end. Standard output and devices get the bytes as they come. The queue to the
//! thread holds [`QUEUE`] chunks; a full one stops the network.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::sync::{mpsc, oneshot};

use super::{Sum, hex};
use crate::failure::Failure;
use crate::status::Status;

/// Chunks that may wait for the disk.
const QUEUE: usize = 8;

/// Names tried in a folder before giving up.
const NAMES_MAX: u32 = 1000;

/// The longest file name made of a hint, in bytes.
const NAME_MAX: usize = 200;

/// Where received files go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Standard output.
    Stdout,
    /// Something that is no regular file: written as it is, never replaced.
    Device(PathBuf),
    /// A regular file, there or not yet.
    File(PathBuf),
    /// A folder; the file gets a new name in it.
    Folder(PathBuf),
}

impl Place {
    /// What `--output` means; without it, the current folder.
    ///
    /// # Errors
    ///
    /// The folder of the file is not there, or the path cannot be looked at.
    pub(crate) fn of(output: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = output else { return Ok(Self::Folder(PathBuf::from("."))) };
        if path.as_os_str() == "-" {
            return Ok(Self::Stdout);
        }
        let failed = |error| Failure::writing(path.display(), &error);
        match path.metadata() {
            Ok(meta) if meta.is_dir() => Ok(Self::Folder(path.to_owned())),
            // The rename has to hit what a link points to, not the link.
            Ok(meta) if meta.is_file() => path.canonicalize().map(Self::File).map_err(failed),
            Ok(_) => Ok(Self::Device(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
                    let text = format!("no folder {}: make it first", path.display());
                    return Err(Failure::new(Status::Output, text));
                }
                if !folder(path).is_dir() || path.file_name().is_none() {
                    return Err(failed(error));
                }
                Ok(Self::File(path.to_owned()))
            }
            Err(error) => Err(failed(error)),
        }
    }
}

impl Place {
    /// Sees whether a file can be made there, before anybody sends one; leaves nothing behind.
    ///
    /// # Errors
    ///
    /// As [`Sink::start`].
    pub(crate) fn check(&self) -> Result<(), Failure> {
        Output::prepare(self, "").map(drop)
    }
}

/// The folder that a file is in.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A file name made of what the sender suggests: no folders, no control characters, not hidden,
/// not empty.
pub(crate) fn harmless(hint: &str) -> String {
    let name = hint.rsplit(['/', '\\']).next().unwrap_or("");
    let mut clean = String::new();
    for c in name.trim_start_matches(['.', '-', ' ']).chars().filter(|c| !c.is_control()) {
        if clean.len() + c.len_utf8() > NAME_MAX {
            break;
        }
        clean.push(c);
    }
    if clean.trim().is_empty() { "received".to_owned() } else { clean }
}

/// What the thread is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// More bytes.
    Write(Bytes),
    /// That was all, and this is what it should be.
    Finish(Sum),
}

/// A file that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Its sum.
    pub(crate) sum: Sum,
    /// Its final name, if it has one.
    pub(crate) path: Option<PathBuf>,
}

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct Sink {
    orders: mpsc::Sender<Order>,
    /// Until it has come.
    outcome: Option<oneshot::Receiver<Result<Stored, Failure>>>,
    temporary: bool,
}

impl Sink {
    /// Makes the temporary file, where there is one, and starts the thread.
    ///
    /// # Errors
    ///
    /// The file cannot be made.
    pub(crate) fn start(place: &Place, hint: &str) -> Result<Self, Failure> {
        let (orders, queue) = mpsc::channel(QUEUE);
        let (result, outcome) = oneshot::channel();
        let output = Output::prepare(place, hint)?;
        let temporary = matches!(output, Output::Temporary { .. });
        let write = move || {
            // Nobody listens any more when the transfer was abandoned.
            if let Some(outcome) = run(output, queue) {
                let _ = result.send(outcome);
            }
        };
        thread::Builder::new()
            .name("headwater-write".to_owned())
            .spawn(write)
            .map_err(|error| Failure::internal(format_args!("no thread for writing: {error}")))?;
        Ok(Self { orders, outcome: Some(outcome), temporary })
    }

    /// Moves on: hands a waiting order to the thread and gives `None`, or gives the end: the
    /// stored file, or what went wrong. After the end it waits for ever. A dropped future has
    /// changed nothing.
    pub(crate) async fn advance(
        &mut self,
        waiting: &mut Option<Order>,
    ) -> Option<Result<Stored, Failure>> {
        let Some(outcome) = &mut self.outcome else { return std::future::pending().await };
        tokio::select! {
            biased;
            outcome = outcome => {
                self.outcome = None;
                let early = |_| Err(Failure::internal("the writing thread ended early"));
                Some(outcome.unwrap_or_else(early))
            }
            Ok(room) = self.orders.reserve(), if waiting.is_some() => {
                if let Some(order) = waiting.take() {
                    room.send(order);
                }
                None
            }
        }
    }

    /// Ends without a file; returns when the temporary one is gone.
    pub(crate) async fn abandon(self) {
        drop(self.orders);
        // A write to a pipe that nobody reads may hang for ever, and leaves nothing behind.
        if let (true, Some(outcome)) = (self.temporary, self.outcome) {
            let _ = outcome.await;
        }
    }
}

/// What the thread writes to.
enum Output {
    Stdout,
    Device(PathBuf),
    Temporary { file: NamedTempFile, place: Place, name: String },
}

impl Output {
    fn prepare(place: &Place, hint: &str) -> Result<Self, Failure> {
        let name = harmless(hint);
        let (within, label) = match place {
            Place::Stdout => return Ok(Self::Stdout),
            Place::Device(path) => return Ok(Self::Device(path.clone())),
            Place::File(path) => (folder(path), path.clone()),
            Place::Folder(path) => (path.as_path(), path.join(&name)),
        };
        let file = tempfile::Builder::new()
            .prefix(".headwater-")
            .suffix(".part")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(within)
            .map_err(|error| Failure::writing(label.display(), &error))?;
        Ok(Self::Temporary { file, place: place.clone(), name })
    }

    fn label(&self) -> String {
        match self {
            Self::Stdout => "standard output".to_owned(),
            Self::Device(path) => path.display().to_string(),
            Self::Temporary { place: Place::Folder(path), name, .. } => {
                path.join(name).display().to_string()
            }
            Self::Temporary { place, .. } => match place {
                Place::File(path) | Place::Device(path) | Place::Folder(path) => {
                    path.display().to_string()
                }
                Place::Stdout => "standard output".to_owned(),
            },
        }
    }
}

/// The writing thread. `None` means abandoned: the temporary file is gone by then.
fn run(output: Output, mut queue: mpsc::Receiver<Order>) -> Option<Result<Stored, Failure>> {
    let label = output.label();
    let failed = |error: &io::Error| Some(Err(Failure::writing(&label, error)));
    let mut device;
    let mut stdout;
    let writer: &mut dyn Write = match &output {
        Output::Stdout => {
            stdout = io::stdout();
            &mut stdout
        }
        Output::Device(path) => match OpenOptions::new().write(true).open(path) {
            Ok(file) => {
                device = file;
                &mut device
            }
            Err(error) => return failed(&error),
        },
        Output::Temporary { file, .. } => {
            device = match file.as_file().try_clone() {
                Ok(file) => file,
                Err(error) => return failed(&error),
            };
            &mut device
        }
    };
    let mut bytes = 0_u64;
    let mut hash = Sha256::new();
    loop {
        match queue.blocking_recv()? {
            Order::Write(data) => {
                if let Err(error) = writer.write_all(&data).and_then(|()| writer.flush()) {
                    return failed(&error);
                }
                hash.update(&data);
                bytes = bytes.saturating_add(data.len() as u64);
            }
            Order::Finish(announced) => {
                let sum = Sum { bytes, sha256: hash.finalize().into() };
                if sum != announced {
                    return Some(Err(differs(announced, sum)));
                }
                return Some(finish(output, &label, sum));
            }
        }
    }
}

fn differs(announced: Sum, actual: Sum) -> Failure {
    let text = format!(
        "what arrived is not what was sent: {} bytes, sha256 {}, instead of {} bytes, sha256 {}",
        actual.bytes,
        hex(&actual.sha256),
        announced.bytes,
        hex(&announced.sha256)
    );
    Failure::new(Status::Mismatch, text)
}

/// Gives the file its final name; before that its bytes are on the disk.
fn finish(output: Output, label: &str, sum: Sum) -> Result<Stored, Failure> {
    let failed = |error: &io::Error| Failure::writing(label, error);
    let Output::Temporary { mut file, place, name } = output else {
        return Ok(Stored { sum, path: None });
    };
    file.as_file().sync_all().map_err(|error| failed(&error))?;
    let folder = match place {
        Place::File(path) => {
            file.persist(&path).map_err(|error| failed(&error.error))?;
            return Ok(Stored { sum, path: Some(path) });
        }
        Place::Folder(path) => path,
        Place::Stdout | Place::Device(_) => return Ok(Stored { sum, path: None }),
    };
    for number in 0..NAMES_MAX {
        let path = folder.join(numbered(&name, number));
        file = match file.persist_noclobber(&path) {
            Ok(File { .. }) => return Ok(Stored { sum, path: Some(path) }),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => error.file,
            Err(error) => return Err(failed(&error.error)),
        };
    }
    Err(failed(&io::Error::from(io::ErrorKind::AlreadyExists)))
}

/// `name`, `name-1`, and so on; the number goes before the last suffix.
fn numbered(name: &str, number: u32) -> String {
    match (number, name.rsplit_once('.')) {
        (0, _) => name.to_owned(),
        (_, Some((stem, suffix))) if !stem.is_empty() => format!("{stem}-{number}.{suffix}"),
        _ => format!("{name}-{number}"),
    }
}

#[cfg(test)]
#[path = "sink_tests.rs"]
mod tests;
