//! What a journal has when it is opened: every segment is read, and only what was committed counts.

use std::collections::VecDeque;
use std::sync::Arc;

use super::error::JournalError;
use super::folder::Folder;
use super::reader::{Committed, Reader};
use super::record::{Data, Epochs, Record};
use super::segment::{self, HEADER, Head, Header, Tail, VERSION};

/// A segment that was read from its beginning to its end.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) name: String,
    pub(super) header: Header,
    /// Bytes of the file.
    pub(super) size: u64,
    /// Where the last good group ends.
    pub(super) end: usize,
    pub(super) tail: Tail,
    pub(super) commits: u64,
    pub(super) records: u64,
    /// Of the first and of the last commit.
    pub(super) span: Option<(Epochs, Epochs)>,
    /// False if only its header is known: where its groups end, and how many they are, is not.
    pub(super) is_read: bool,
}

impl Known {
    /// Reads the groups of a segment.
    pub(super) fn scan(name: &str, header: Header, bytes: &[u8]) -> Self {
        let (mut commits, mut records, mut span) = (0, 0, None);
        let (end, tail) = segment::scan(bytes, HEADER, header.salt(), |group| {
            commits += 1;
            records += group.frames.len() as u64;
            let epochs = group.commit.epochs;
            span = Some((span.map_or(epochs, |(first, _)| first), epochs));
        });
        let (name, size) = (name.to_owned(), bytes.len() as u64);
        Self { name, header, size, end, tail, commits, records, span, is_read: true }
    }

    /// True if all its epochs are before this one.
    pub(super) fn is_before(&self, epoch: u64) -> bool {
        self.span.is_none_or(|(_, last)| last.are_before(epoch))
    }

    /// A segment that has just been made.
    pub(super) fn new(header: Header) -> Self {
        Self {
            name: segment::name(header.number),
            header,
            size: header.size,
            end: HEADER,
            tail: Tail::Whole,
            commits: 0,
            records: 0,
            span: None,
            is_read: true,
        }
    }

    /// A segment of which only the header is read; `None` if that is not as it should be. The segment with the number `next`
    /// follows it.
    fn unread(folder: &Folder, name: &str, number: u64, next: u64) -> Option<Self> {
        let header = segment::header(&folder.read_part(name, 0, HEADER).ok()?, number)?;
        let first = Epochs { first: number, count: 0, wall_clock: 0 };
        let last = Epochs { first: next - 1, count: 1, wall_clock: 0 };
        let end = usize::try_from(header.size).ok()?;
        Some(Self { end, span: Some((first, last)), is_read: false, ..Self::new(header) })
    }
}

/// The names of the segments, in order.
pub(super) fn names(folder: &Folder) -> Result<Vec<(String, u64)>, JournalError> {
    let files = folder.list().map_err(|error| JournalError::io("read", folder.path(""), error))?;
    let segment = |(name, _): (String, u64)| segment::number(&name).map(|number| (name, number));
    Ok(files.into_iter().filter_map(segment).collect())
}

pub(super) fn read(folder: &Folder, name: &str) -> Result<Vec<u8>, JournalError> {
    folder.read(name).map_err(|error| JournalError::io("read", folder.path(name), error))
}

/// Reads the segments of the journal `journal`; of those that have only epochs before `needed` no more than their headers.
///
/// # Errors
/// If one is damaged, missing, of another journal or of another version.
pub(super) fn load(folder: &Folder, journal: u128, needed: u64) -> Result<Vec<Known>, JournalError> {
    let (names, mut segments): (_, Vec<Known>) = (names(folder)?, Vec::new());
    for (place, (name, number)) in names.iter().enumerate() {
        let is_last = place + 1 == names.len();
        let next = names.get(place + 1).map(|(_, next)| *next).filter(|next| *next <= needed);
        let unread = next.and_then(|next| Known::unread(folder, name, *number, next));
        let before = segments.last().map(|before| before.header.sequence);
        // Whatever is odd is found by reading it.
        let is_in_order = |known: &Known| {
            known.header.journal == journal && before.is_none_or(|it| it == known.header.previous)
        };
        if let Some(unread) = unread.filter(is_in_order) {
            segments.push(unread);
            continue;
        }
        let bytes = read(folder, name)?;
        let damaged = |at: usize, what: &str| JournalError::damaged(folder.path(name), at, what);
        let header = match segment::head(&bytes, *number) {
            Head::Known(header) => header,
            Head::Empty => return Err(damaged(0, "nothing is in it")),
            Head::Version(version) => {
                return Err(JournalError::Format { file: folder.path(name), version, known: VERSION });
            }
            Head::Damaged(at, what) => return Err(damaged(at, what)),
        };
        if header.journal != journal {
            return Err(damaged(0, "it is of another journal"));
        }
        if segments.last().is_some_and(|before| before.header.sequence != header.previous) {
            return Err(damaged(0, "the segment before it is missing"));
        }
        let known = Known::scan(name, header, &bytes);
        match known.tail {
            Tail::Damaged { at, what } => return Err(damaged(at, what)),
            Tail::Torn { .. } if !is_last => return Err(damaged(known.end, "records without a commit")),
            Tail::Torn { .. } | Tail::Whole => segments.push(known),
        }
    }
    Ok(segments)
}

/// What a journal had when it was opened.
#[derive(Debug)]
pub struct Recovered {
    /// The number of this start, from 1; it is in every commit.
    pub incarnation: u64,
    /// The first epoch that is there; `None` if nothing is.
    pub first_epoch: Option<u64>,
    /// The epoch after the last commit; 0 in a new journal.
    pub next_epoch: u64,
    /// Wall clock of the last commit.
    pub wall_clock: Option<i64>,
    /// Commits that are there.
    pub commits: u64,
    /// Bytes without a commit that were cut off: a write that was not finished, and not acknowledged.
    pub torn_bytes: u64,
    pub(super) folder: Arc<Folder>,
    pub(super) known: Vec<Known>,
}

impl Recovered {
    pub(super) fn new(folder: Arc<Folder>, known: Vec<Known>, incarnation: u64) -> Self {
        let spans = || known.iter().filter_map(|segment| segment.span);
        let torn = |segment: &Known| match segment.tail {
            Tail::Torn { end } => end.saturating_sub(segment.end) as u64,
            _ => 0,
        };
        Self {
            incarnation,
            first_epoch: spans().next().map(|(first, _)| first.first),
            next_epoch: next_epoch(&known),
            wall_clock: spans().next_back().map(|(_, last)| last.wall_clock),
            commits: known.iter().map(|segment| segment.commits).sum(),
            torn_bytes: known.iter().map(torn).sum(),
            folder,
            known,
        }
    }

    /// The records that were committed, from this epoch on, in the order they were written: all that has an epoch at or
    /// after it. Reads a piece at a time. What [`Journal::cut`](super::Journal::cut) removes cannot be read any more.
    ///
    /// # Errors
    /// If the journal begins after that epoch.
    pub fn replay_from(&self, epoch: u64) -> Result<Replay, JournalError> {
        match self.first_epoch {
            Some(first) if first > epoch => {
                Err(JournalError::Missing { folder: self.folder.path(""), epoch, first })
            }
            _ => Ok(Replay {
                folder: Arc::clone(&self.folder),
                known: self.known.clone(),
                reader: Reader::new(epoch),
                records: VecDeque::new(),
            }),
        }
    }
}

/// The epoch after the last commit.
pub(super) fn next_epoch(known: &[Known]) -> u64 {
    let committed = known.iter().rev().find_map(|segment| segment.span).map(|(_, last)| last.end());
    committed.or_else(|| known.last().map(|segment| segment.header.number)).unwrap_or(0)
}

/// Reads the committed records of a journal.
#[derive(Debug)]
pub struct Replay {
    folder: Arc<Folder>,
    known: Vec<Known>,
    reader: Reader,
    /// Of the groups that were read last.
    records: VecDeque<Record>,
}

impl Iterator for Replay {
    type Item = Result<Record, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.records.is_empty() {
            match self.reader.read(&self.folder, &self.known) {
                Ok(groups) if groups.is_empty() => return None,
                Ok(groups) => groups.into_iter().for_each(|group| self.add(group)),
                Err(error) => {
                    self.known.clear();
                    return Some(Err(error));
                }
            }
        }
        self.records.pop_front().map(Ok)
    }
}

impl Replay {
    fn add(&mut self, group: Committed) {
        let is_new = |record: &Record| match record {
            Record::Data(Data { epochs, .. }) => !epochs.are_before(self.reader.epoch),
            _ => true,
        };
        self.records.extend(group.records.into_iter().filter(is_new));
        self.records.push_back(Record::Commit(group.commit));
    }
}
