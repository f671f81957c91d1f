//! `Spill`: what operators have of their state in memory, how much that may be, and files for what is more.
//!
//! An operator tells how many bytes it has, and moves some of them into a [`SpillFile`] while the program has too many. Files are
//! not durable and do not outlive the program: a checkpoint has their content, too. Where a file cannot be written, because the
//! disk is full or [`SpillSettings::disk`] is reached, the state stays in memory and nothing is lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use xxhash_rust::xxh3::xxh3_64;

use crate::checkpoint::encode;
use crate::error::{Error, Result};
use crate::metrics::StateSize;

/// Bytes that are read at once.
const BUFFER: usize = 1 << 18;
/// Before each batch: the length of what is encoded, and its XXH3-64. A disk may return other bytes than it was given.
const HEAD: usize = 16;
/// The name of the lock in a folder.
const LOCK: &str = "lock";

/// How much state a program may have, and where what does not fit into memory lies.
#[derive(Clone, Debug)]
pub struct SpillSettings {
    /// Programs that run at the same time may share it: each has a folder of its own in it.
    pub folder: PathBuf,
    /// Bytes of state in memory, about.
    pub memory: u64,
    /// Bytes in files, at most.
    pub disk: u64,
}

/// The share of one operator. Without settings nothing is ever too much.
#[derive(Debug, Default)]
pub struct Spill {
    shared: Option<Arc<Shared>>,
    in_memory: u64,
}

#[derive(Debug)]
struct Shared {
    settings: SpillSettings,
    own: OnceLock<Option<OwnFolder>>,
    size: Arc<StateSize>,
    /// How many files there have been; they are named by it.
    files: AtomicU64,
    /// It was said that a file could not be written.
    has_failed: AtomicBool,
}

impl Spill {
    /// The first share of a program, whose state is counted by `size`.
    pub fn new(settings: SpillSettings, size: Arc<StateSize>) -> Self {
        let shared = Shared {
            settings,
            own: OnceLock::new(),
            size,
            files: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
        };
        Self { shared: Some(Arc::new(shared)), in_memory: 0 }
    }

    /// A share of the same program for another operator.
    #[must_use]
    pub fn share(&self) -> Self {
        Self { shared: self.shared.clone(), in_memory: 0 }
    }

    /// True if there is no limit, so that nobody need count.
    pub fn is_unlimited(&self) -> bool {
        self.shared.is_none()
    }

    /// The operator has so many bytes of state in memory now. Gives the bytes that it should move to files; a tenth more than
    /// the program has too many, so that not every batch moves some.
    pub fn report(&mut self, bytes: u64) -> u64 {
        let Some(shared) = &self.shared else { return 0 };
        shared.size.in_memory.fetch_add(bytes, Ordering::Relaxed);
        let total = shared.size.in_memory.fetch_sub(self.in_memory, Ordering::Relaxed) - self.in_memory;
        self.in_memory = bytes;
        match total.saturating_sub(shared.settings.memory) {
            0 => 0,
            excess => bytes.min(excess + shared.settings.memory / 10),
        }
    }

    /// A file with these rows. `None` if it cannot be written now: the rows have to stay in memory.
    pub fn write(&self, rows: &RecordBatch) -> Option<SpillFile> {
        let shared = self.shared.as_ref()?;
        let path = shared.folder()?.join(shared.files.fetch_add(1, Ordering::Relaxed).to_string());
        let mut file = SpillFile { shared: Arc::clone(shared), path, length: 0 };
        file.append(rows).then_some(file)
    }
}

impl Shared {
    /// The folder of this program, which the first file makes.
    fn folder(&self) -> Option<&Path> {
        let own = self.own.get_or_init(|| match OwnFolder::make(&self.settings.folder) {
            Ok(own) => {
                let limit = self.settings.memory >> 20;
                tracing::info!(
                    "the state of the program has more than {limit} MiB, half of --memory; the rest goes to files in {}",
                    own.path.display()
                );
                Some(own)
            }
            Err(error) => {
                self.warn(&error);
                None
            }
        });
        own.as_ref().map(|own| own.path.as_path())
    }

    /// Says it once.
    fn warn(&self, error: &Error) {
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            let cause =
                std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
            tracing::warn!("state stays in memory, since it cannot go to a file: {error}{cause}");
        }
    }
}

/// The folder of one program, as long as that runs: its lock tells others to leave it alone.
#[derive(Debug)]
struct OwnFolder {
    path: PathBuf,
    _lock: File,
}

impl OwnFolder {
    /// Deletes the folders of programs that were killed, and makes one.
    fn make(parent: &Path) -> Result<Self> {
        let made = Self::try_make(parent);
        made.map_err(|error| Error::file("write", parent, error))
    }

    fn try_make(parent: &Path) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        // Between the making of a folder and its lock nobody else may look.
        let others = for_writing(&parent.join(LOCK))?;
        others.lock()?;
        for entry in fs::read_dir(parent)?.filter_map(io::Result::ok) {
            let folder = entry.path();
            let is_left = folder.is_dir() && for_writing(&folder.join(LOCK))?.try_lock().is_ok();
            if is_left {
                fs::remove_dir_all(folder)?;
            }
        }
        let mut number = std::process::id();
        while parent.join(number.to_string()).exists() {
            number = number.wrapping_add(1);
        }
        let path = parent.join(number.to_string());
        fs::create_dir(&path)?;
        let lock = for_writing(&path.join(LOCK))?;
        lock.lock()?;
        Ok(Self { path, _lock: lock })
    }
}

impl Drop for OwnFolder {
    fn drop(&mut self) {
        // One that stays is deleted by the next program.
        fs::remove_dir_all(&self.path).ok();
    }
}

fn for_writing(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).open(path)
}

impl Drop for Spill {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.size.in_memory.fetch_sub(self.in_memory, Ordering::Relaxed);
        }
    }
}

/// Batches in a file, in the order in which they were written. It is deleted with this value.
#[derive(Debug)]
pub struct SpillFile {
    shared: Arc<Shared>,
    path: PathBuf,
    length: u64,
}

impl SpillFile {
    /// Adds rows; false if they could not be written and have to stay in memory.
    pub fn append(&mut self, rows: &RecordBatch) -> bool {
        match self.try_append(rows) {
            Ok(bytes) => {
                self.length += bytes;
                true
            }
            Err(error) => {
                self.shared.warn(&error);
                false
            }
        }
    }

    /// Bytes written. Whatever a write that failed has left behind is written over by the next one.
    fn try_append(&self, rows: &RecordBatch) -> Result<u64> {
        let encoded = encode(rows)?;
        let bytes = (HEAD + encoded.len()) as u64;
        let limit = self.shared.settings.disk;
        if self.shared.size.on_disk.fetch_add(bytes, Ordering::Relaxed) + bytes > limit {
            self.shared.size.on_disk.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Error::Plan(format!("the files have reached their limit of {limit} bytes")));
        }
        let written = self.write_at_end(&encoded);
        written.map_err(|error| {
            self.shared.size.on_disk.fetch_sub(bytes, Ordering::Relaxed);
            Error::file("write", &self.path, error)
        })?;
        Ok(bytes)
    }

    fn write_at_end(&self, encoded: &[u8]) -> io::Result<()> {
        let mut file = for_writing(&self.path)?;
        file.seek(SeekFrom::Start(self.length))?;
        file.write_all(&(encoded.len() as u64).to_le_bytes())?;
        file.write_all(&xxh3_64(encoded).to_le_bytes())?;
        file.write_all(encoded)
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.length
    }

    /// The batches, in the order in which they were written.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn read(&self) -> Result<SpilledBatches<'_>> {
        Ok(SpilledBatches { path: &self.path, rest: self.open(0)?, left: self.length })
    }

    /// The batch that was added when the file had `at` bytes.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read_at(&self, at: u64) -> Result<RecordBatch> {
        let mut file = self.open(at)?;
        let read = next_batch(&mut file).map(|(batch, _)| batch);
        read.map_err(|error| Error::file("read", &self.path, io::Error::other(error)))
    }

    fn open(&self, at: u64) -> Result<BufReader<io::Take<File>>> {
        let opened = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(at))?;
            Ok(file.take(self.length - at.min(self.length)))
        });
        let file = opened.map_err(|error| Error::file("read", &self.path, error))?;
        Ok(BufReader::with_capacity(BUFFER, file))
    }
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        self.shared.size.on_disk.fetch_sub(self.length, Ordering::Relaxed);
        // One that stays is deleted with the folder.
        fs::remove_file(&self.path).ok();
    }
}

/// What [`SpillFile::read`] gives.
#[derive(Debug)]
pub struct SpilledBatches<'a> {
    path: &'a Path,
    rest: BufReader<io::Take<File>>,
    left: u64,
}

impl Iterator for SpilledBatches<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let read = next_batch(&mut self.rest).map(|(batch, bytes)| {
            self.left = self.left.saturating_sub(bytes);
            batch
        });
        // After an error nothing can be read.
        self.left = if read.is_ok() { self.left } else { 0 };
        Some(read.map_err(|error| Error::file("read", self.path, io::Error::other(error))))
    }
}

/// A batch and its bytes in the file.
fn next_batch(file: &mut impl Read) -> Result<(RecordBatch, u64), ArrowError> {
    let mut head = [0; HEAD];
    file.read_exact(&mut head)?;
    let (length, checksum) = (u64::from_le_bytes(part(head, 0)), u64::from_le_bytes(part(head, 8)));
    let mut encoded = Vec::new();
    file.take(length).read_to_end(&mut encoded)?;
    if encoded.len() as u64 != length || xxh3_64(&encoded) != checksum {
        return Err(ArrowError::ParseError(
            "the file is damaged: start again, checkpoints have its rows, too".into(),
        ));
    }
    let first = StreamReader::try_new(encoded.as_slice(), None)?.next();
    let batch = first.unwrap_or_else(|| Err(ArrowError::ParseError("a batch without rows".into())))?;
    Ok((batch, HEAD as u64 + length))
}

/// The eight bytes of a head from `at` on.
fn part(head: [u8; HEAD], at: usize) -> [u8; 8] {
    std::array::from_fn(|byte| head[at + byte])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{state_files, table};

    fn open(folder: &Path, memory: u64, disk: u64) -> Spill {
        Spill::new(SpillSettings { folder: folder.to_owned(), memory, disk }, Arc::default())
    }

    #[test]
    fn batches_come_back_in_their_order_and_the_file_goes_with_its_value() {
        let folder = tempfile::tempdir().unwrap();
        let spill = open(folder.path(), 100, 1 << 20);
        let (first, second) = (table("x:f name:t \n 1 a \n 2 b"), table("x:f name:t \n 3 c"));
        let mut file = spill.write(&first).unwrap();
        let at = file.bytes();
        assert!(file.append(&second));
        assert_eq!(file.read_at(at).unwrap(), second);
        let read: Vec<_> = file.read().unwrap().collect::<Result<_>>().unwrap();
        assert_eq!(read, [first, second]);
        assert_eq!(state_files(folder.path()).0, 1);
        drop(file);
        assert_eq!(state_files(folder.path()).0, 0);
    }

    #[test]
    fn a_file_that_is_not_what_was_written_is_an_error_wherever_it_was_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let spill = open(folder.path(), 100, 1 << 20);
        let rows = table("x:f name:t \n 1 a \n 2 b");
        let file = spill.write(&rows).unwrap();
        let whole = fs::read(&file.path).unwrap();
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1 << (place % 8);
            fs::write(&file.path, damaged).unwrap();
            assert!(file.read_at(0).is_err(), "byte {place}");
        }
        fs::write(&file.path, &whole[..whole.len() - 1]).unwrap();
        assert!(file.read_at(0).is_err(), "one byte less");
        fs::write(&file.path, &whole).unwrap();
        assert_eq!(file.read_at(0).unwrap(), rows);
    }

    #[test]
    fn all_shares_of_a_program_count_together() {
        let folder = tempfile::tempdir().unwrap();
        let mut one = open(folder.path(), 100, 1 << 20);
        let mut two = one.share();
        assert_eq!(one.report(80), 0);
        assert_eq!(two.report(30), 20, "ten too many, and a tenth of the limit");
        assert_eq!(one.report(50), 0);
        drop(one);
        assert_eq!(two.report(100), 0);
        assert_eq!(Spill::default().report(u64::MAX), 0);
    }

    #[test]
    fn what_cannot_be_written_stays_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let rows = table("x:f \n 1");
        let spill = open(folder.path(), 100, 1_000);
        let mut file = spill.write(&rows).unwrap();
        let mut written = 1;
        while file.append(&rows) {
            written += 1;
        }
        assert!(written < 10 && file.read().unwrap().count() == written);
        assert!(spill.write(&rows).is_none());
        drop(file);
        assert!(spill.write(&rows).is_some(), "there is room again");
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(open(&folder.path().join("file"), 1, 1 << 20).write(&rows).is_none());
    }

    #[test]
    fn what_a_killed_program_has_left_is_deleted_and_not_what_another_one_has() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join("1");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("0"), "rows").unwrap();
        let rows = table("x:f \n 1");
        let (one, two) = (open(folder.path(), 100, 1 << 20), open(folder.path(), 100, 1 << 20));
        let files_of_both = (one.write(&rows).unwrap(), two.write(&rows).unwrap());
        assert!(!left.exists());
        assert_eq!(state_files(folder.path()).0, 2);
        assert_eq!(files_of_both.0.read().unwrap().count(), 1);
        drop((one, files_of_both));
        assert_eq!(state_files(folder.path()).0, 0);
    }
}
