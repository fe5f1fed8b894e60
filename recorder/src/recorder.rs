//! What records.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_core::message::Batch;
use headwater_core::record::{self, Birth, Note, Way};
use headwater_core::time::Instant;

use crate::error::WriteError;
use crate::file;
use crate::frames::Keep;
use crate::log::LiveLog;
use crate::notes::Encoder;

/// What is recorded, and how much of it is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of memory that all logs together may have. Default 64 MiB.
    pub cap: usize,
    /// Whether what messages say is kept, and not just its length and hash. Connections can be
    /// run again only with it. Default no.
    pub payloads: bool,
    /// Where the recording is written by itself when a machine ends in a panic. Default nowhere.
    pub on_panic: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { cap: 64 << 20, payloads: false, on_panic: None }
    }
}

/// The flight recorder of one node. Clones are the same one.
///
/// See the crate for an example.
#[derive(Clone)]
pub struct Recorder {
    inner: Arc<Inner>,
}

/// Without what was recorded.
impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Recorder");
        shown.field("options", &self.inner.options).field("memory", &self.memory());
        shown.finish_non_exhaustive()
    }
}

struct Inner {
    options: Options,
    sequence: AtomicU64,
    held: AtomicUsize,
    /// In the order of their machines' births.
    logs: Mutex<Vec<Arc<Slot>>>,
    panicked: AtomicBool,
}

struct Slot {
    log: Mutex<LiveLog>,
    /// Bytes of memory of the log, to be seen without its lock.
    held: AtomicUsize,
    closed: AtomicBool,
}

/// A thread that panicked leaves whole steps behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    /// A recorder without any log yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            inner: Arc::new(Inner {
                options,
                sequence: AtomicU64::new(0),
                held: AtomicUsize::new(0),
                logs: Mutex::default(),
                panicked: AtomicBool::new(false),
            }),
        }
    }

    /// Bytes of memory that the logs have now.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.inner.held.load(Ordering::Relaxed)
    }

    /// The recording as it stands in a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to memory cannot fail.
        let _ = self.inner.write_to(&mut bytes);
        bytes
    }

    /// Writes the recording to a new file that only its owner may read. It appears whole or not
    /// at all. Recording goes on.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; the recording is not changed by it.
    pub fn write(&self, path: &Path) -> Result<(), WriteError> {
        self.inner.write(path)
    }
}

impl record::Recorder for Recorder {
    fn begin(&self, at: Instant, birth: Birth) -> Box<dyn record::Tape> {
        let birth = postcard::to_extend(&birth, Vec::new()).unwrap_or_default();
        let log = LiveLog::new(birth, at);
        let held = log.held;
        let slot = Arc::new(Slot {
            log: Mutex::new(log),
            held: AtomicUsize::new(held),
            closed: AtomicBool::new(false),
        });
        lock(&self.inner.logs).push(Arc::clone(&slot));
        if self.inner.held.fetch_add(held, Ordering::Relaxed) + held > self.inner.options.cap {
            self.inner.make_room();
        }
        let encoder = Encoder::new(Keep::new(self.inner.options.payloads));
        Box::new(Tape { inner: Arc::clone(&self.inner), slot, encoder })
    }
}

impl Inner {
    /// Takes memory back until it is not too much: first from machines that are gone.
    #[cold]
    fn make_room(&self) {
        let mut logs = lock(&self.logs);
        while self.held.load(Ordering::Relaxed) > self.options.cap {
            if let Some(closed) = logs.iter().position(|slot| slot.closed.load(Ordering::Relaxed)) {
                let slot = logs.remove(closed);
                self.held.fetch_sub(slot.held.load(Ordering::Relaxed), Ordering::Relaxed);
                continue;
            }
            let longest = logs.iter().max_by_key(|slot| slot.held.load(Ordering::Relaxed));
            let Some(slot) = longest else { return };
            let mut log = lock(&slot.log);
            let less = log.forget();
            if less == 0 {
                // Nothing is left but what cannot be given up.
                return;
            }
            slot.held.store(log.held, Ordering::Relaxed);
            self.held.fetch_sub(less, Ordering::Relaxed);
        }
    }

    fn write_to(&self, to: &mut impl Write) -> std::io::Result<()> {
        let logs = lock(&self.logs).clone();
        let mut writer = file::Writer::begin(to, self.options.payloads)?;
        for slot in logs {
            // A copy, so that no machine waits for a disk.
            let log = lock(&slot.log).clone();
            writer.log(&log)?;
        }
        writer.end()
    }

    fn write(&self, path: &Path) -> Result<(), WriteError> {
        let (part, to) = part_of(path)?;
        let done = self.write_whole(to, &part, path);
        let _ = std::fs::remove_file(&part);
        done
    }

    fn write_whole(&self, to: File, part: &Path, path: &Path) -> Result<(), WriteError> {
        let mut to = BufWriter::new(to);
        self.write_to(&mut to)?;
        to.into_inner().map_err(|error| error.into_error())?.sync_all()?;
        // A link, unlike a rename, never takes the place of something.
        match std::fs::hard_link(part, path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(WriteError::Exists(path.to_owned()))
            }
            // Not every file system has links.
            Err(_) => copy(part, path),
        }
    }

    /// A machine goes while its thread panics.
    #[cold]
    fn write_after_panic(&self) {
        if let Some(path) = &self.options.on_panic {
            if !self.panicked.swap(true, Ordering::Relaxed) {
                // There is nobody to tell.
                let _ = self.write(path);
            }
        }
    }
}

/// Whether a recording can be written to this path, as far as that can be told before.
///
/// # Errors
///
/// [`WriteError`]: there is something of that name, or no file can be made beside it.
pub fn check(path: &Path) -> Result<(), WriteError> {
    if path.symlink_metadata().is_ok() {
        return Err(WriteError::Exists(path.to_owned()));
    }
    let (part, _) = part_of(path)?;
    Ok(std::fs::remove_file(&part)?)
}

/// A new file beside that of a recording, for what is written and not whole yet.
fn part_of(path: &Path) -> std::io::Result<(PathBuf, File)> {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    loop {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        name.push(format!(".part-{}-{number}", std::process::id()));
        let part = path.with_file_name(name);
        match private(&part) {
            Ok(file) => return Ok((part, file)),
            // What another life of a process with this number left behind is not ours to remove.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

fn copy(part: &Path, path: &Path) -> Result<(), WriteError> {
    let mut to = private(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => WriteError::Exists(path.to_owned()),
        _ => WriteError::Io(error),
    })?;
    let done = File::open(part).and_then(|mut from| std::io::copy(&mut from, &mut to));
    if let Err(error) = done.and_then(|_| to.sync_all()) {
        let _ = std::fs::remove_file(path);
        return Err(WriteError::Io(error));
    }
    Ok(())
}

/// A new file that only its owner may read and write.
fn private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The tape of one machine.
struct Tape {
    inner: Arc<Inner>,
    slot: Arc<Slot>,
    encoder: Encoder,
}

/// Without what was recorded.
impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tape")
    }
}

impl Tape {
    fn append(inner: &Inner, slot: &Slot, at: Instant, note: &[u8]) {
        let sequence = inner.sequence.fetch_add(1, Ordering::Relaxed);
        let mut log = lock(&slot.log);
        let more = log.append(sequence, at, note);
        if more > 0 {
            slot.held.store(log.held, Ordering::Relaxed);
            let held = inner.held.fetch_add(more, Ordering::Relaxed) + more;
            drop(log);
            if held > inner.options.cap {
                inner.make_room();
            }
        }
    }
}

impl record::Tape for Tape {
    fn note(&mut self, at: Instant, note: Note) {
        Self::append(&self.inner, &self.slot, at, self.encoder.note(note));
    }

    fn bytes(
        &mut self,
        at: Instant,
        note: Note,
        way: Way,
        pieces: &mut dyn Iterator<Item = &[u8]>,
    ) {
        Self::append(&self.inner, &self.slot, at, self.encoder.bytes(&note, way, pieces));
    }

    fn taken(&mut self, at: Instant, batch: &Batch) {
        Self::append(&self.inner, &self.slot, at, self.encoder.taken(batch));
    }

    fn keeps_payloads(&self) -> bool {
        self.encoder.keeps_payloads()
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.inner.write_after_panic();
        }
        lock(&self.slot.log).closed = true;
        self.slot.closed.store(true, Ordering::Relaxed);
    }
}
