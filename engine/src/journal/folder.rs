//! The folder of the journal on its disk, with its lock.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{JournalError, is_full};
use crate::disk::{self, Disk, DiskFile, DiskLock, FileSystem};

pub(super) use crate::disk::TEMPORARY;

/// The file that an engine locks as long as it writes the journal.
const LOCK: &str = "lock";

/// The name of a file until it is whole. A start removes what has such a name.
pub(super) fn temporary(name: &str) -> String {
    format!("{name}{TEMPORARY}")
}

/// One folder with files, which are known by their names.
#[derive(Debug)]
pub(super) struct Folder {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Held as long as the folder is written.
    _lock: Option<Box<dyn DiskLock>>,
}

impl Folder {
    /// To look at it; somebody else may be writing it.
    pub(super) fn read_only(path: &Path) -> Self {
        Self { disk: Arc::new(FileSystem), path: path.to_owned(), _lock: None }
    }

    /// Creates the folder if need be, and takes its lock.
    pub(super) fn lock(disk: Arc<dyn Disk>, path: &Path) -> Result<Self, JournalError> {
        disk.create_folder(path).map_err(|error| JournalError::io("create", path, error))?;
        let lock = path.join(LOCK);
        match disk.lock(&lock).map_err(|error| JournalError::io("lock", &lock, error))? {
            Some(lock) => Ok(Self { disk, path: path.to_owned(), _lock: Some(lock) }),
            None => Err(JournalError::Locked { folder: path.to_owned() }),
        }
    }

    /// Where the file `name` is, for messages; the folder itself if `name` is empty.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.path.clone() } else { self.path.join(name) }
    }

    pub(super) fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create(&self.path(name), bytes)
    }

    pub(super) fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(&self.path(name))
    }

    /// All bytes of a file.
    pub(super) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        disk::read_all(&*self.disk, &self.path(name))
    }

    /// The bytes of a file from `offset` on: `length` of them, or fewer if it ends before.
    pub(super) fn read_part(&self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.disk.read_part(&self.path(name), offset, length)
    }

    /// Gives a file another name.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(&self.path(from), &self.path(to))
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(&self.path(name))
    }

    /// Names and sizes of the files, in the order of the names.
    pub(super) fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.disk.list(&self.path)
    }

    /// Makes durable which names there are.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.disk.sync_folder(&self.path)
    }

    /// Bytes that are free.
    pub(super) fn free(&self) -> io::Result<u64> {
        self.disk.free(&self.path)
    }

    /// Reads a file, or nothing if there is none.
    pub(super) fn read_if_there(&self, name: &str) -> Result<Option<Vec<u8>>, JournalError> {
        match self.read(name) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(JournalError::io("read", self.path(name), error)),
        }
    }

    /// Writes a file that appears whole or not at all, and is durable afterwards.
    pub(super) fn write_whole(&self, name: &str, bytes: &[u8]) -> Result<(), JournalError> {
        let written = disk::write_whole(&*self.disk, &self.path(name), bytes);
        written.map_err(|error| match is_full(&error) {
            true => JournalError::Full { folder: self.path.clone(), needed: bytes.len() as u64 },
            false => JournalError::io("write", self.path(name), error),
        })
    }
}
