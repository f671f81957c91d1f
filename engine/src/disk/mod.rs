//! What the engine needs of a disk, for its journal and its checkpoints: the file system, and in tests one in memory that
//! loses its power, fails or is full ([`SimulatedDisk`]).

mod simulated;
mod system;

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::path::Path;

pub use simulated::{Fault, Random, SimulatedDisk};
pub use system::FileSystem;

/// Files in folders. Nothing is durable before it is synced: of a file its bytes, of a folder its names.
pub trait Disk: Debug + Send + Sync {
    /// A new file of so many zero bytes with room for all of them. One that is there is replaced.
    ///
    /// # Errors
    /// What the disk says; so for every call.
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Box<dyn DiskFile>>;

    /// A file that is there, to be written.
    ///
    /// # Errors
    /// If it is not there.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// The bytes of a file, from its beginning on.
    ///
    /// # Errors
    /// If it is not there.
    fn read(&self, path: &Path) -> io::Result<Box<dyn Read>>;

    /// The bytes of a file from `offset` on: `length` of them, or fewer if it ends before.
    ///
    /// # Errors
    /// If it is not there.
    fn read_part(&self, path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>>;

    /// Gives a file or folder another name, and replaces the file that had it.
    ///
    /// # Errors
    /// If it is not there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file that does not change a second name, if the disk can do that.
    ///
    /// # Errors
    /// If it is not there, or the disk knows no such names.
    fn link(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Removes a file.
    ///
    /// # Errors
    /// If it is not there.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a folder, and those around it, all of them durable.
    ///
    /// # Errors
    /// If it cannot be made. One that is there is none.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder with all that is in it.
    ///
    /// # Errors
    /// If it is not there.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;

    /// Names and sizes of what is in a folder, in the order of the names.
    ///
    /// # Errors
    /// If it is not there.
    fn list(&self, folder: &Path) -> io::Result<Vec<(String, u64)>>;

    /// Makes durable which names there are in a folder.
    ///
    /// # Errors
    /// If that cannot be done.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// Bytes that are free where this folder is.
    ///
    /// # Errors
    /// If the disk does not say.
    fn free(&self, folder: &Path) -> io::Result<u64>;

    /// Keeps everybody else from the lock of this name as long as it is held; `None` if somebody else holds it. However a
    /// process ends, it holds none any more.
    ///
    /// # Errors
    /// If the file cannot be made.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>>;
}

/// A file that is open for writing.
pub trait DiskFile: Debug + Send + Sync {
    /// Writes all bytes at this place.
    ///
    /// # Errors
    /// What the disk says; some of them may be written then.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes durable what was written.
    ///
    /// # Errors
    /// If that failed: it is not to be tried again, for the system may have dropped what was not written.
    fn sync(&mut self) -> io::Result<()>;

    /// Syncs and forgets what the system keeps in memory: what is read from now on is on the disk. The memory may also
    /// hold what an earlier process wrote and the disk refused.
    ///
    /// # Errors
    /// As for [`DiskFile::sync`].
    fn settle(&mut self) -> io::Result<()>;
}

/// Held until it is dropped.
pub trait DiskLock: Debug + Send + Sync {}

/// Writes a file from its beginning on.
#[derive(Debug)]
pub(crate) struct Appending {
    file: Box<dyn DiskFile>,
    length: u64,
}

impl Appending {
    /// A new file.
    pub(crate) fn create(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        Ok(Self { file: disk.create(path, 0)?, length: 0 })
    }

    /// Bytes so far.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}

impl Write for Appending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(self.length, bytes)?;
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All bytes of a file.
pub(crate) fn read_all(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    disk.read(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// How the names of files end that are not yet whole.
pub(crate) const TEMPORARY: &str = ".tmp";

/// Writes a file that appears whole or not at all, and is durable afterwards.
pub(crate) fn write_whole(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(TEMPORARY);
    let temporary = Path::new(&temporary);
    let mut file = disk.create(temporary, 0)?;
    file.write_at(0, bytes)?;
    file.sync()?;
    disk.rename(temporary, path)?;
    disk.sync_folder(parent(path))
}

/// The folder around it. Of a name alone, the parent is a path without a name.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
