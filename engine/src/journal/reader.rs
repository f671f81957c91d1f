//! Reads the committed groups of a journal one after the other, a piece of a segment at a time, also while it is written.

use super::error::JournalError;
use super::folder::Folder;
use super::frame::Seal;
use super::group::{self, Next};
use super::record::{Commit, Record};
use super::recovery::Known;
use super::segment::HEADER;

/// What is read at once, unless a group is larger.
const PIECE: usize = 1 << 20;

/// A place in a journal, from which is read on: between two groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The number of the segment; if there is none, of the next one.
    pub(super) segment: u64,
    pub(super) at: usize,
    /// Groups whose epochs are all before it are passed over.
    pub(super) epoch: u64,
}

/// The records of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// All but the commit.
    pub records: Vec<Record>,
    /// The commit.
    pub commit: Commit,
    /// Bytes in the journal.
    pub bytes: u64,
}

impl Reader {
    /// Stands at the beginning of the journal.
    pub(super) fn new(epoch: u64) -> Self {
        Self { segment: 0, at: 0, epoch }
    }

    /// The groups that follow, of about a MiB; none at the end.
    pub(super) fn read(&mut self, folder: &Folder, known: &[Known]) -> Result<Vec<Committed>, JournalError> {
        while let Some(segment) = self.segment(known) {
            let groups = self.read_piece(folder, segment)?;
            if !groups.is_empty() {
                return Ok(groups);
            }
        }
        Ok(Vec::new())
    }

    /// Bytes that follow.
    pub(super) fn bytes_left(&self, known: &[Known]) -> u64 {
        let left = |segment: &Known| match segment.header.number {
            number if number < self.segment => 0,
            number if number == self.segment => segment.end.saturating_sub(self.at.max(HEADER)),
            _ => segment.end.saturating_sub(HEADER),
        };
        known.iter().map(|segment| left(segment) as u64).sum()
    }

    /// The segment with the next group; moves there.
    fn segment<'a>(&mut self, known: &'a [Known]) -> Option<&'a Known> {
        let is_needed = |segment: &&Known| {
            let is_read = segment.header.number == self.segment && self.at >= segment.end;
            segment.header.number >= self.segment && !is_read && !segment.is_before(self.epoch)
        };
        let found = known.iter().find(is_needed)?;
        if found.header.number != self.segment {
            (self.segment, self.at) = (found.header.number, 0);
        }
        self.at = self.at.max(HEADER);
        // A segment that has only its header.
        if self.at >= found.end { self.segment(known) } else { Some(found) }
    }

    /// Reads the whole groups of a piece; a larger piece if it has none.
    fn read_piece(&mut self, folder: &Folder, segment: &Known) -> Result<Vec<Committed>, JournalError> {
        let damaged = |at, what: &str| JournalError::damaged(folder.path(&segment.name), at, what);
        let left = segment.end - self.at;
        let mut wanted = PIECE.min(left);
        loop {
            let part = folder.read_part(&segment.name, self.at as u64, wanted);
            let piece = part.map_err(|error| JournalError::io("read", folder.path(&segment.name), error))?;
            let seal = Seal { salt: segment.header.salt(), base: self.at };
            let (mut groups, mut read) = (Vec::new(), 0);
            let (bad, what) = loop {
                match group::read(&piece, read, seal) {
                    Next::Group(group) => {
                        if !group.commit.epochs.are_before(self.epoch) {
                            let bytes = (group.end - group.start) as u64;
                            let records =
                                group.records().map_err(|(at, what)| damaged(seal.base + at, &what))?;
                            groups.push(Committed { records, commit: group.commit, bytes });
                        }
                        read = group.end;
                    }
                    Next::End => break (read, "it has changed since it was opened"),
                    Next::Bad { at, what, .. } => break (at, what),
                }
            };
            // Of one that was not read at the start, the end of the groups is not known.
            if read == 0 && !segment.is_read && piece.len() == wanted && piece.iter().all(|byte| *byte == 0) {
                read = wanted;
            }
            if read > 0 {
                self.at += read;
                return Ok(groups);
            }
            if wanted == left {
                return Err(damaged(seal.base + bad, what));
            }
            wanted = wanted.saturating_mul(4).min(left);
        }
    }
}
