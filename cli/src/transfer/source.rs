//! Where the sender's bytes come from: a file or standard input, read on a thread of its own.
//!
//! The thread is at most [`AHEAD`] chunks ahead of the network, and hashes what it reads. A read
//! that never returns (a terminal, a pipe) holds up nothing else.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::thread;

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::part::{CHUNK_HEAD, chunk_head};
use super::{CHUNK_MAX, Sum};
use crate::failure::Failure;

/// Chunks that may wait between the thread and the network.
const AHEAD: usize = 4;

/// A source of bytes that is open.
pub(crate) struct Source {
    /// The length in bytes, where the system knows it.
    pub(crate) length: Option<u64>,
    /// The file's own name, without its folders; empty for standard input.
    pub(crate) name: String,
    label: String,
    reader: Box<dyn Read + Send>,
}

/// What the reading thread gives.
#[derive(Debug)]
pub(crate) enum Piece {
    /// An encoded CHUNK, and how many bytes of the file are in it.
    Chunk(Bytes, u64),
    /// There is no more.
    End(Sum),
    /// Reading failed.
    Failed(Failure),
}

impl Source {
    /// Opens a file, or standard input for `-`.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or is a folder.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            let reader = Box::new(io::stdin());
            let label = "standard input".to_owned();
            return Ok(Self { length: None, name: String::new(), label, reader });
        }
        let label = path.display().to_string();
        let failed = |error| Failure::reading(&label, &error);
        let file = File::open(path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if meta.is_dir() {
            return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let length = meta.is_file().then_some(meta.len());
        let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        Ok(Self { length, name, label, reader: Box::new(file) })
    }

    /// Starts reading; the pieces end with [`Piece::End`] or [`Piece::Failed`].
    pub(crate) fn start(self, transfer: u64) -> Result<mpsc::Receiver<Piece>, Failure> {
        let (sender, pieces) = mpsc::channel(AHEAD);
        let read = move || {
            let mut reading = Reading { source: self, transfer, bytes: 0, hash: Sha256::new() };
            loop {
                let piece = reading.next();
                let last = !matches!(piece, Piece::Chunk(..));
                if sender.blocking_send(piece).is_err() || last {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("headwater-read".to_owned())
            .spawn(read)
            .map_err(|error| Failure::internal(format_args!("no thread for reading: {error}")))?;
        Ok(pieces)
    }
}

/// The state of the reading thread.
struct Reading {
    source: Source,
    transfer: u64,
    bytes: u64,
    hash: Sha256,
}

impl Reading {
    fn next(&mut self) -> Piece {
        let mut chunk = BytesMut::zeroed(CHUNK_HEAD + CHUNK_MAX);
        chunk[..CHUNK_HEAD].copy_from_slice(&chunk_head(self.transfer, self.bytes));
        let read = loop {
            match self.source.reader.read(&mut chunk[CHUNK_HEAD..]) {
                Ok(read) => break read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Piece::Failed(Failure::reading(&self.source.label, &error)),
            }
        };
        if read == 0 {
            return self.end();
        }
        chunk.truncate(CHUNK_HEAD + read);
        self.hash.update(&chunk[CHUNK_HEAD..]);
        let read = read as u64;
        self.bytes = self.bytes.saturating_add(read);
        Piece::Chunk(chunk.freeze(), read)
    }

    /// The offer named a length; a file that changed since is not what was offered.
    fn end(&mut self) -> Piece {
        if self.source.length.is_some_and(|length| length != self.bytes) {
            let error = io::Error::other("its length changed while it was read");
            return Piece::Failed(Failure::reading(&self.source.label, &error));
        }
        let sha256 = std::mem::take(&mut self.hash).finalize().into();
        Piece::End(Sum { bytes: self.bytes, sha256 })
    }
}

#[cfg(test)]
mod tests {
    use super::super::hex;
    use super::super::part::{Part, parse};
    use super::*;
    use crate::status::Status;

    fn read(source: Source) -> (Vec<u8>, Piece) {
        let mut pieces = source.start(5).unwrap();
        let mut all = Vec::new();
        loop {
            match pieces.blocking_recv().unwrap() {
                Piece::Chunk(message, len) => {
                    let Ok((5, Part::Chunk { offset, data })) = parse(message) else {
                        panic!("not a chunk");
                    };
                    assert_eq!((offset, len), (all.len() as u64, data.len() as u64));
                    all.extend_from_slice(&data);
                }
                last => return (all, last),
            }
        }
    }

    #[test]
    fn a_file_comes_in_order_with_its_sum() {
        let bytes: Vec<u8> = (0..600_000_u32).map(|n| (n % 251) as u8).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let source = Source::open(file.path()).unwrap();
        assert_eq!(source.length, Some(600_000));
        assert_eq!(Some(source.name.as_str()), file.path().file_name().unwrap().to_str());
        let (all, Piece::End(sum)) = read(source) else { panic!("no end") };
        assert_eq!(all, bytes);
        assert_eq!(sum, Sum { bytes: 600_000, sha256: Sha256::digest(&bytes).into() });
    }

    #[test]
    fn an_empty_file_is_an_end_and_no_chunk() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (all, Piece::End(sum)) = read(Source::open(file.path()).unwrap()) else {
            panic!("no end")
        };
        assert_eq!((all.len(), sum.bytes), (0, 0));
        assert!(hex(&sum.sha256).starts_with("e3b0c44298fc1c14"));
    }

    #[test]
    fn a_file_that_changes_its_length_is_a_failure() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut source = Source::open(file.path()).unwrap();
        source.length = Some(1);
        let (_, Piece::Failed(failure)) = read(source) else { panic!("no failure") };
        assert_eq!(failure.status, Status::Input);
    }

    #[test]
    fn a_folder_and_a_missing_file_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("missing")] {
            let failure = Source::open(&path).err().map(|failure| failure.status);
            assert_eq!(failure, Some(Status::Input));
        }
    }
}
