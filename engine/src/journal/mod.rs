//! The journal: what came in, durable before it is worked on. Whatever the engine does is a function of it.
//!
//! ```text
//! append(record) ... append(record) --commit--> one write, one sync: all of them are durable, or none
//!
//! folder/lock                   held by the engine that writes
//! folder/incarnation            which journal it is, and how often it was started
//! folder/j-<first epoch>.ljn    segments of groups; a group is the records of one commit and the commit
//! ```
//!
//! - `record` and `codec`: what is kept, and its bytes; `frame`: length and checksum; `group`: what counts together
//! - `segment`: files of groups, and how a write that was not finished is told from damage
//! - `reader`: reads on from a place; `start` and `recovery`: what is done and found when a journal is opened; [`inspect`] looks at one, [`repair`] saves what is whole
//! - `folder`: its files on a [`Disk`]
//!
//! **Durable** is what [`Journal::commit`] has returned for, and what was found when the journal was opened. A commit that
//! failed may be there after the next start, or not; half of it never is.

mod codec;
mod error;
mod folder;
mod frame;
mod group;
mod identity;
pub mod inspect;
mod reader;
mod record;
mod recovery;
pub mod repair;
mod segment;
mod spare;
mod start;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::disk::{Disk, DiskFile, FileSystem};
use error::is_full;
use folder::{Folder, temporary};
use group::Waiting;
use identity::Identity;
use recovery::Known;
use segment::{HEADER, Header};

pub use codec::Malformed;
pub use error::JournalError;
pub use reader::{Committed, Reader};
pub use record::{Commit, Control, Data, DataChunk, DataPayload, Epochs, Gap, Record, SourceTotal};
pub use recovery::{Recovered, Replay};
pub use spare::{Maker, Spare};

type Result<T, E = JournalError> = std::result::Result<T, E>;

/// Where a journal is, and how large it may be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the folder is.
    pub disk: Arc<dyn Disk>,
    /// The folder; it is created.
    pub folder: PathBuf,
    /// Bytes that a segment is made with. A group that is larger gets a segment of its size.
    pub segment_bytes: u64,
    /// The most that all segments may take on the disk.
    pub max_bytes: u64,
    /// Bytes of the disk that are left free, so that what is under way can be finished and checkpoints can be written.
    pub reserve_bytes: u64,
    /// How long a program that is stopped still works on what waits in the journal; the rest waits until it is started
    /// again. Service managers give a program longer than the default of 10 s.
    pub works_off: Duration,
    /// The lock of the folder, if it was taken before.
    pub lock: Option<Lock>,
}

/// Keeps other engines away from a journal, until it is dropped or the process ends.
#[derive(Clone, Debug)]
pub struct Lock(Arc<Folder>);

impl Lock {
    /// Takes the lock; creates the folder if need be.
    ///
    /// # Errors
    /// If another engine has it, or the disk fails.
    pub fn take(folder: &Path) -> Result<Self> {
        Ok(Self(Arc::new(Folder::lock(Arc::new(FileSystem), folder)?)))
    }
}

impl Settings {
    /// Segments of 64 MiB, and as many as there is room for but for 64 MiB.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            disk: Arc::new(FileSystem),
            folder: folder.into(),
            segment_bytes: 64 << 20,
            max_bytes: u64::MAX,
            reserve_bytes: 64 << 20,
            works_off: Duration::from_secs(10),
            lock: None,
        }
    }
}

/// A journal that is open for writing. It blocks: an async task calls it on a thread that may.
#[derive(Debug)]
pub struct Journal {
    folder: Arc<Folder>,
    settings: Settings,
    identity: Identity,
    segments: Vec<Known>,
    active: Option<Active>,
    waiting: Waiting,
    next_epoch: u64,
    /// Where the group begins that was committed last.
    last_group: Reader,
    /// The next segment.
    ahead: Ahead,
    /// Why nothing is taken any more.
    failed: Option<JournalError>,
}

/// What a start needs on a disk, bytes: a block for the file that says how often there was one, and one for its folder.
const ROOM_TO_START: u64 = 2 * 4096;

/// A journal that no other engine can open any more.
#[derive(Clone, Debug)]
pub struct Locked {
    folder: Arc<Folder>,
    settings: Settings,
}

impl Locked {
    /// Opens the journal as [`Journal::open`] does, and reads what has epochs from `needed` on. Segments before are read, and
    /// compared with their checksums, when somebody reads them.
    ///
    /// # Errors
    /// If a file is damaged (says where), or if the disk fails. After [`JournalError::Full`] it may be tried again.
    pub fn open(&self, needed: u64) -> Result<(Journal, Recovered)> {
        Journal::open_as(self, identity::random(), needed)
    }

    /// True if the disk is not known to be full.
    pub fn has_room(&self) -> bool {
        self.folder.free().map_or(true, |free| free >= ROOM_TO_START)
    }
}

/// The last segment, which is written.
#[derive(Debug)]
struct Active {
    file: Box<dyn DiskFile>,
    /// Bytes that a write without room may have left behind the last group.
    dirty: usize,
    /// Up to where bytes were written, if only zeros.
    filled: usize,
}

/// The segment after the last one.
#[derive(Debug)]
enum Ahead {
    Wanted,
    /// On another thread. Nobody else may touch its file.
    BeingMade,
    Ready(Spare),
    /// It is not tried again for this segment.
    Failed,
}

impl Ahead {
    /// The spare segment, if it has this size; the next one may be made then.
    fn take(&mut self, size: u64) -> Option<Spare> {
        match std::mem::replace(self, Self::Wanted) {
            Self::Ready(spare) if spare.size == size => Some(spare),
            other @ (Self::BeingMade | Self::Ready(_)) => {
                *self = other;
                None
            }
            Self::Wanted | Self::Failed => None,
        }
    }
}

/// Zeros that are written behind a group once the place after it was never written. Where room is reserved but not
/// written, the file system notes at each sync what has been: a commit of 1,000 messages takes 3 ms instead of 0.3.
const FILL: usize = 1 << 20;

impl Journal {
    /// Opens the journal, creates it if there is none, and finds what was committed. What was not is cut off.
    ///
    /// # Errors
    /// If another engine has it open, if a file is damaged (says where), or if the disk fails.
    pub fn open(settings: Settings) -> Result<(Self, Recovered)> {
        Self::lock(settings)?.open(0)
    }

    /// Keeps other engines away, and reads nothing yet.
    ///
    /// # Errors
    /// If another engine has it open, or if the disk fails.
    pub fn lock(mut settings: Settings) -> Result<Locked> {
        let folder = match settings.lock.take() {
            Some(Lock(folder)) => folder,
            None => Arc::new(Folder::lock(Arc::clone(&settings.disk), &settings.folder)?),
        };
        Ok(Locked { folder, settings })
    }

    /// Opens it. If it is new, it gets the number `fresh`.
    fn open_as(locked: &Locked, fresh: u128, needed: u64) -> Result<(Self, Recovered)> {
        let Locked { folder, settings } = locked.clone();
        let identity = start::identity_of(&folder, fresh)?;
        start::settle_last(&folder)?;
        let known = recovery::load(&folder, identity.journal, needed)?;
        let identity = Identity { incarnation: identity.incarnation + 1, ..identity };
        start::remove(&folder, start::temporaries(&folder)?)?;
        identity.write(&folder)?;
        let recovered = Recovered::new(Arc::clone(&folder), known, identity.incarnation);
        let segments = recovered.known.clone();
        let active = segments.last().map(|last| start::activate(&folder, last)).transpose()?;
        let next_epoch = recovered.next_epoch;
        let waiting = Waiting::default();
        let last_group = Reader::new(next_epoch);
        let journal = Self {
            folder,
            settings,
            identity,
            segments,
            active,
            waiting,
            next_epoch,
            last_group,
            ahead: Ahead::Wanted,
            failed: None,
        };
        Ok((journal, recovered))
    }

    /// Adds a record to the next commit. It is in memory until then.
    ///
    /// # Errors
    /// [`JournalError::Full`] if the settings leave no room for it, [`JournalError::TooLarge`]: it was not added. Any other
    /// error is that for which the journal has ended before.
    ///
    /// # Panics
    /// If the record is a [`Record::Commit`].
    pub fn append(&mut self, record: &Record) -> Result<()> {
        assert!(!matches!(record, Record::Commit(_)), "commits are written by `Journal::commit`");
        self.unless_failed(|journal| {
            let before = journal.waiting.frames.len();
            let frame = journal.waiting.push(record)?;
            if !journal.fits()
                && let Err(full) = journal.room()
            {
                journal.waiting.frames.truncate(before);
                return Err(full);
            }
            journal.waiting.count(record, frame);
            Ok(())
        })
    }

    /// Makes durable what was appended since the last commit; it has when this returns. `epochs` are those of all these
    /// records, `queries` is a hash of the queries that run.
    ///
    /// # Errors
    /// [`JournalError::Full`]: nothing was committed, what was appended is kept, and the same commit may be tried again when
    /// there is room. [`JournalError::Order`] if such epochs were committed before. After any other error the journal takes
    /// nothing more, and every call gives that first error.
    pub fn commit(&mut self, epochs: Epochs, queries: u128) -> Result<()> {
        self.unless_failed(|journal| {
            if epochs.first < journal.next_epoch {
                return Err(JournalError::Order { epoch: epochs.first, next: journal.next_epoch });
            }
            // A disk that does not say how much is free tells when it is full.
            if journal.folder.free().is_ok_and(|free| free < journal.settings.reserve_bytes) {
                return Err(journal.full(journal.settings.reserve_bytes));
            }
            let before = journal.waiting.close(epochs, journal.identity.incarnation, queries);
            if let Err(error) = journal.write(epochs.first) {
                journal.waiting.frames.truncate(before);
                return Err(error);
            }
            journal.written(epochs);
            Ok(())
        })
    }

    /// What makes the next segment, once the last one is half full; to be done on another thread, and given to
    /// [`Journal::keep_spare`].
    pub fn wants_spare(&mut self) -> Option<Maker> {
        let last = self.segments.last()?;
        let size = self.settings.segment_bytes;
        let is_half_full = last.end as u64 > last.size / 2;
        let is_allowed = self.size().saturating_add(size) <= self.settings.max_bytes;
        let needed = self.settings.reserve_bytes.saturating_add(size);
        let has_room = || self.folder.free().is_ok_and(|free| free > needed);
        let is_wanted = matches!(self.ahead, Ahead::Wanted) && self.failed.is_none() && is_half_full;
        if !is_wanted || !is_allowed || !has_room() {
            return None;
        }
        self.ahead = Ahead::BeingMade;
        Some(Maker { folder: Arc::clone(&self.folder), size })
    }

    /// The next segment is made of it, if it could be made.
    pub fn keep_spare(&mut self, spare: Option<Spare>) {
        self.ahead = spare.map_or(Ahead::Failed, Ahead::Ready);
    }

    /// Forgets what was appended since the last commit.
    pub fn abandon(&mut self) {
        self.waiting.clear();
    }

    /// Removes the segments that have nothing from `epoch` on. The last one stays.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn cut(&mut self, epoch: u64) -> Result<()> {
        self.unless_failed(|journal| {
            let others = &journal.segments[..journal.segments.len().saturating_sub(1)];
            let is_before = |segment: &&Known| segment.is_before(epoch);
            let old: Vec<String> = others.iter().take_while(is_before).map(|old| old.name.clone()).collect();
            journal.segments.drain(..old.len());
            start::remove(&journal.folder, old)
        })
    }

    /// A place before the first group that has an epoch at or after this one.
    ///
    /// # Errors
    /// If the journal begins after that epoch.
    pub fn reader(&self, epoch: u64) -> Result<Reader> {
        let first = self.segments.iter().find_map(|segment| segment.span).map(|(first, _)| first.first);
        match first {
            Some(first) if first > epoch => {
                Err(JournalError::Missing { folder: self.settings.folder.clone(), epoch, first })
            }
            _ => Ok(Reader::new(epoch)),
        }
    }

    /// The place before the group that was committed last.
    pub fn last_group(&self) -> Reader {
        self.last_group
    }

    /// Reads on: the next committed groups, about a MiB of them; none if there are none yet.
    ///
    /// # Errors
    /// If the disk fails, or what was written is damaged.
    pub fn read(&self, reader: &mut Reader) -> Result<Vec<Committed>> {
        reader.read(&self.folder, &self.segments)
    }

    /// Bytes of the groups from this place on.
    pub fn bytes_left(&self, reader: &Reader) -> u64 {
        reader.bytes_left(&self.segments)
    }

    /// Bytes of all segments on the disk, with the room that is reserved.
    pub fn size(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// The least epoch that may be committed next.
    pub fn next_epoch(&self) -> u64 {
        self.next_epoch
    }

    /// The number of this start, from 1.
    pub fn incarnation(&self) -> u64 {
        self.identity.incarnation
    }

    /// Does `work`, unless the journal has failed; keeps the error if it fails now.
    fn unless_failed<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        work(self).inspect_err(|error| {
            if !error.is_harmless() {
                self.failed = Some(error.clone());
            }
        })
    }

    /// True if the group that waits has room in the last segment.
    fn fits(&self) -> bool {
        let needed = self.waiting.frames.len() as u64;
        self.segments.last().is_some_and(|last| last.end as u64 + needed <= last.size)
    }

    /// The size of a new segment for the group that waits, if there may be one.
    fn room(&self) -> Result<u64> {
        let size = self.settings.segment_bytes.max((HEADER + self.waiting.frames.len()) as u64);
        if self.size().saturating_add(size) <= self.settings.max_bytes {
            Ok(size)
        } else {
            Err(self.full(size))
        }
    }

    fn full(&self, needed: u64) -> JournalError {
        JournalError::Full { folder: self.settings.folder.clone(), needed }
    }

    /// What an error of the disk means for the journal, where a disk that is full does no harm.
    fn refused(&self, action: &'static str, name: &str, needed: u64, error: std::io::Error) -> JournalError {
        if is_full(&error) {
            self.full(needed)
        } else {
            JournalError::io(action, self.folder.path(name), error)
        }
    }

    /// Writes the group that waits, in a new segment if need be, and syncs it.
    fn write(&mut self, first: u64) -> Result<()> {
        if !self.fits() {
            self.begin_segment(first)?;
        }
        let (Some(active), Some(last)) = (&mut self.active, self.segments.last()) else { return Ok(()) };
        let frames = &mut self.waiting.frames;
        frame::seal(frames, last.header.salt(), last.end);
        let length = frames.len();
        let mut end = length;
        if last.end + end > active.filled {
            end = (end + FILL).min(usize::try_from(last.size).unwrap_or(usize::MAX) - last.end);
        }
        frames.resize(end, 0);
        let written = active.file.write_at(last.end as u64, frames);
        frames.truncate(length);
        if let Err(error) = written {
            // It is tried again, perhaps with more behind it, in the same place; or in another segment.
            active.dirty = length;
            return Err(self.refused("write", &last.name, length as u64, error));
        }
        (active.dirty, active.filled) = (0, active.filled.max(last.end + end));
        active.file.sync().map_err(|error| JournalError::io("sync", self.folder.path(&last.name), error))
    }

    /// Notes a group that is durable.
    fn written(&mut self, epochs: Epochs) {
        if let Some(last) = self.segments.last_mut() {
            self.last_group = Reader { segment: last.header.number, at: last.end, epoch: 0 };
            last.end += self.waiting.frames.len();
            last.span = Some((last.span.map_or(epochs, |(first, _)| first), epochs));
        }
        self.waiting.clear();
        self.next_epoch = epochs.end();
    }

    /// Makes a segment, durable with its name, for a group that begins with the epoch `first`.
    fn begin_segment(&mut self, first: u64) -> Result<()> {
        let size = self.room()?;
        self.clean()?;
        let before = self.segments.last().map(|last| last.header);
        let sequence = before.map_or(0, |before| before.sequence + 1);
        let header = Header {
            journal: self.identity.journal,
            incarnation: self.identity.incarnation,
            sequence,
            previous: before.map_or(sequence, |before| before.sequence),
            // Commits of no epochs may stand at the beginning of several segments.
            number: before.map_or(first, |before| first.max(before.number + 1)),
            size,
        };
        let name = segment::name(header.number);
        let made = self.make_segment(&name, &header);
        let (file, filled) = match made {
            Ok(made) => made,
            Err(error) if is_full(&error) => {
                start::remove(&self.folder, [temporary(&name)])?;
                return Err(self.full(size));
            }
            Err(error) => return Err(JournalError::io("create", self.folder.path(&name), error)),
        };
        self.folder.sync().map_err(|error| JournalError::io("sync", self.folder.path(&name), error))?;
        self.segments.push(Known::new(header));
        self.active = Some(Active { file, dirty: 0, filled });
        Ok(())
    }

    /// The file of a segment, and up to where it was written. A spare one has been written; a larger group needs one of its own. It
    /// gets its name with its header: what has the name of a segment was one.
    fn make_segment(&mut self, name: &str, header: &Header) -> std::io::Result<(Box<dyn DiskFile>, usize)> {
        if let Some(spare) = self.ahead.take(header.size) {
            let file = spare.become_segment(&self.folder, header)?;
            return Ok((file, usize::try_from(header.size).unwrap_or(usize::MAX)));
        }
        let mut file = self.folder.create(&temporary(name), header.size)?;
        file.write_at(0, &header.encode())?;
        file.sync()?;
        self.folder.rename(&temporary(name), name)?;
        Ok((file, 0))
    }

    /// Clears what a write without room has left in the last segment: only zeros may follow the last group once there
    /// is another segment.
    fn clean(&mut self) -> Result<()> {
        let (Some(active), Some(last)) = (&mut self.active, self.segments.last()) else { return Ok(()) };
        if active.dirty > 0 {
            let cleared = active.file.write_at(last.end as u64, &vec![0; active.dirty]);
            cleared.map_err(|error| self.refused("write", &last.name, 0, error))?;
            let Some(active) = &mut self.active else { return Ok(()) };
            active
                .file
                .sync()
                .map_err(|error| JournalError::io("sync", self.folder.path(&last.name), error))?;
            active.dirty = 0;
        }
        Ok(())
    }
}
