//! Keys in files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::{KeyFileError, KeyFileErrorKind};
use crate::key::NodeKey;

/// The longest file that is read, in bytes.
const FILE_MAX: u64 = 64 * 1024;

impl NodeKey {
    /// Reads a key from a PEM file of at most 64 KiB that (on Unix) only its owner may read or
    /// write. What is no file, such as a pipe, has no such mode to keep to.
    ///
    /// # Errors
    ///
    /// [`KeyFileErrorKind::Open`] if others may use the file, any other [`KeyFileError`] if it
    /// cannot be read or does not hold one usable key.
    pub fn read_file(path: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        let path = path.as_ref();
        let key = open(path).and_then(read);
        key.map_err(|kind| KeyFileError { path: path.into(), kind })
    }

    /// Reads a key in PEM of at most 64 KiB from something that is open already, such as standard
    /// input; errors call it `name`. Who else may read it is not looked at.
    ///
    /// ```
    /// use headwater_identity::{KeyFileErrorKind, NodeKey};
    ///
    /// let key = NodeKey::generate()?;
    /// let read = NodeKey::read_from(key.to_pem()?.as_bytes(), "-")?;
    /// assert_eq!(read.peer_id(), key.peer_id());
    ///
    /// let error = NodeKey::read_from(&[b'-'; 70_000][..], "-").unwrap_err();
    /// assert!(matches!(error.kind, KeyFileErrorKind::TooLong { limit: 65_536 }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] if it cannot be read or does not hold one usable key.
    pub fn read_from(reader: impl Read, name: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        read(reader).map_err(|kind| KeyFileError { path: name.as_ref().into(), kind })
    }

    /// Writes the key to a new PEM file that only its owner may read and write (on Unix, mode
    /// 0600 from the start).
    ///
    /// ```
    /// use headwater_identity::{KeyFileErrorKind, NodeKey};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("node.pem");
    /// let key = NodeKey::generate()?;
    /// key.write_new_file(&path)?;
    /// assert_eq!(NodeKey::read_file(&path)?.peer_id(), key.peer_id());
    ///
    /// let error = key.write_new_file(&path).unwrap_err();
    /// assert!(matches!(error.kind, KeyFileErrorKind::Exists));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeyFileErrorKind::Exists`] if there is something at `path`, which stays as it is. Any
    /// other [`KeyFileError`] if the file cannot be written; no file is left then.
    pub fn write_new_file(&self, path: impl AsRef<Path>) -> Result<(), KeyFileError> {
        let path = path.as_ref();
        let text = self.to_pem().map_err(KeyFileErrorKind::Key);
        text.and_then(|text| write_new(path, text.as_bytes(), write_all_and_sync))
            .map_err(|kind| KeyFileError { path: path.into(), kind })
    }
}

fn open(path: &Path) -> Result<File, KeyFileErrorKind> {
    let file = File::open(path).map_err(KeyFileErrorKind::Io)?;
    #[cfg(unix)]
    is_private(&file)?;
    Ok(file)
}

fn read(reader: impl Read) -> Result<NodeKey, KeyFileErrorKind> {
    // All the room there may be need of, so that no growing leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_MAX as usize + 2));
    reader.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(KeyFileErrorKind::Io)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(KeyFileErrorKind::TooLong { limit: FILE_MAX });
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| KeyFileErrorKind::NotText)?;
    NodeKey::from_pem(text).map_err(KeyFileErrorKind::Key)
}

/// Refuses a file that others than its owner may use, whoever that is.
#[cfg(unix)]
fn is_private(file: &File) -> Result<(), KeyFileErrorKind> {
    use std::os::unix::fs::PermissionsExt as _;
    let about = file.metadata().map_err(KeyFileErrorKind::Io)?;
    let mode = about.permissions().mode() & 0o7777;
    if about.is_file() && mode & 0o077 != 0 {
        return Err(KeyFileErrorKind::Open { mode });
    }
    Ok(())
}

fn write_all_and_sync(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

fn write_new(
    path: &Path,
    bytes: &[u8],
    write: impl FnOnce(&mut File, &[u8]) -> io::Result<()>,
) -> Result<(), KeyFileErrorKind> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyFileErrorKind::Exists,
        _ => KeyFileErrorKind::Io(error),
    })?;
    write(&mut file, bytes).map_err(|error| {
        drop(file);
        // This call made the file, so removing it removes nothing of anybody else's.
        let _ = fs::remove_file(path);
        KeyFileErrorKind::Io(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_half_file_is_left_when_writing_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let result = write_new(&path, b"all of it", |file, bytes| {
            file.write_all(&bytes[..3])?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(matches!(result, Err(KeyFileErrorKind::Io(_))));
        assert!(!path.exists());
        write_new(&path, b"all of it", write_all_and_sync).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"all of it");
    }

    #[test]
    fn what_exists_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        fs::write(&path, "precious").unwrap();
        let result = NodeKey::generate().unwrap().write_new_file(&path);
        assert!(matches!(result.unwrap_err().kind, KeyFileErrorKind::Exists));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_and_write() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        NodeKey::generate().unwrap().write_new_file(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_may_use_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        NodeKey::generate().unwrap().write_new_file(&path).unwrap();
        for (mode, private) in
            [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match NodeKey::read_file(&path) {
                Ok(_) => assert!(private, "{mode:o}"),
                Err(error) => {
                    assert!(matches!(error.kind, KeyFileErrorKind::Open { mode: m } if m == mode));
                    let text = error.to_string();
                    assert!(
                        !private && text.contains(&format!("its mode is {mode:04o}")),
                        "{text}"
                    );
                    assert!(text.ends_with(&format!("chmod 600 {}", path.display())), "{text}");
                }
            }
        }
    }

    #[test]
    fn files_that_hold_no_key_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        write_new(&path, b"", write_all_and_sync).unwrap();
        let kind = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            NodeKey::read_file(&path).unwrap_err().kind
        };
        assert!(matches!(kind(b""), KeyFileErrorKind::Key(crate::KeyError::NoPem)));
        assert!(matches!(kind(b"\xff\xfe"), KeyFileErrorKind::NotText));
        assert!(matches!(kind(&[b'a'; 65_537]), KeyFileErrorKind::TooLong { limit: 65_536 }));
        let missing = NodeKey::read_file(folder.path().join("none.pem")).unwrap_err();
        assert!(matches!(missing.kind, KeyFileErrorKind::Io(_)));
        assert!(missing.to_string().contains("none.pem"));
    }
}
