//! What the journal needs of a disk: a real one, and in tests one that loses power.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate, statvfs};
use rustix::io::Errno;

use super::error::{JournalError, is_full};

/// The file that an engine locks as long as it writes the journal.
const LOCK: &str = "lock";

/// One folder with files. Nothing is durable before it is synced: of a file its bytes, of the folder its names.
pub(crate) trait Disk: Debug + Send + Sync {
    /// Where the file `name` is, for messages; the folder itself if `name` is empty.
    fn path(&self, name: &str) -> PathBuf;

    /// A new file of so many zero bytes with room for all of them. One that is there is replaced.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn DiskFile>>;

    /// A file that is there, to be written.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// All bytes of a file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Gives a file another name, and replaces what had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Names and sizes of the files, in the order of the names.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;

    /// Makes durable which names there are.
    fn sync_folder(&self) -> io::Result<()>;

    /// Bytes that are free.
    fn free(&self) -> io::Result<u64>;
}

/// A file that is open for writing.
pub(crate) trait DiskFile: Debug + Send + Sync {
    /// Writes all bytes at this place.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes durable what was written.
    fn sync(&mut self) -> io::Result<()>;

    /// Syncs and forgets what the system keeps in memory: what is read from now on is on the disk. The memory may also
    /// hold what an earlier process wrote and the disk refused.
    fn settle(&mut self) -> io::Result<()>;
}

/// A folder of the file system.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Held as long as the folder is written; the system gives it back when the process ends, however it ends.
    _lock: Option<File>,
}

impl Folder {
    /// To look at it; somebody else may be writing it.
    pub(crate) fn read_only(path: &Path) -> Self {
        Self { path: path.to_owned(), _lock: None }
    }

    /// Creates the folder if need be, and takes its lock.
    pub(crate) fn lock(path: &Path) -> Result<Self, JournalError> {
        let failed = |error| JournalError::io("create", path, error);
        fs::create_dir_all(path).map_err(failed)?;
        if let Some(parent) = path.parent() {
            // Of a name alone, the parent is a path without a name.
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
        }
        let lock = path.join(LOCK);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&lock);
        let file = file.map_err(|error| JournalError::io("open", &lock, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(JournalError::Locked { folder: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(JournalError::io("lock", lock, error)),
        }
    }
}

impl Disk for Folder {
    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.path.clone() } else { self.path.join(name) }
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn DiskFile>> {
        let path = self.path(name);
        let file = OpenOptions::new().create(true).truncate(true).write(true).read(true).open(path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            // A file system that cannot reserve room: writes find out.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(bytes)?,
            reserved => reserved?,
        }
        Ok(Box::new(file))
    }

    fn free(&self) -> io::Result<u64> {
        let facts = statvfs(&self.path)?;
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(self.path(name))?))
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            // A name that is no text is not ours.
            if let Ok(name) = entry.file_name().into_string() {
                found.push((name, entry.metadata()?.len()));
            }
        }
        found.sort();
        Ok(found)
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl DiskFile for File {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn settle(&mut self) -> io::Result<()> {
        self.sync_data()?;
        // A file system that does not know the advice has no such memory, or none that it gives up.
        fadvise(&*self, 0, None, Advice::DontNeed).ok();
        Ok(())
    }
}

/// Reads a file, or nothing if there is none.
pub(super) fn read_if_there(disk: &dyn Disk, name: &str) -> Result<Option<Vec<u8>>, JournalError> {
    match disk.read(name) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(JournalError::io("read", disk.path(name), error)),
    }
}

/// Writes a file that appears whole or not at all, and is durable afterwards.
pub(super) fn write_whole(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<(), JournalError> {
    let temporary = format!("{name}{TEMPORARY}");
    let written = disk.create(&temporary, bytes.len() as u64).and_then(|mut file| {
        file.write_at(0, bytes)?;
        file.sync()?;
        disk.rename(&temporary, name)?;
        disk.sync_folder()
    });
    written.map_err(|error| match is_full(&error) {
        true => JournalError::Full { folder: disk.path(""), needed: bytes.len() as u64 },
        false => JournalError::io("write", disk.path(name), error),
    })
}

/// How the names of files end that are not yet whole.
pub(super) const TEMPORARY: &str = ".tmp";
