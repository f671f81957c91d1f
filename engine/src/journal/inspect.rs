//! Looks at a journal without changing it; an engine may be writing it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::JournalError;
use super::folder::Folder;
use super::identity::Identity;
use super::recovery::{self, Known, Recovered};
use super::segment::{self, HEADER, Head, Tail, VERSION};

/// What is known of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// The file.
    pub file: PathBuf,
    /// Bytes that are used.
    pub bytes: u64,
    /// Bytes of the file, with the room that is reserved.
    pub size: u64,
    /// Commits that are whole, up to the first damage.
    pub commits: u64,
    /// Records of these commits.
    pub records: u64,
    /// First epoch, and the one after the last; `None` without a commit.
    pub epochs: Option<(u64, u64)>,
    /// Wall clock of the first and of the last commit, microseconds.
    pub times: Option<(i64, i64)>,
    /// `whole`, or what is wrong and where.
    pub state: String,
}

impl SegmentReport {
    fn new(file: PathBuf, known: &Known) -> Self {
        Self {
            file,
            bytes: known.end as u64,
            size: known.size,
            commits: known.commits,
            records: known.records,
            epochs: known.span.map(|(first, last)| (first.first, last.end())),
            times: known.span.map(|(first, last)| (first.wall_clock, last.wall_clock)),
            state: match known.tail {
                Tail::Whole => "whole".to_owned(),
                Tail::Torn { end } => format!("not committed from byte {} to {end}", known.end),
                Tail::Damaged { at, what } => format!("damaged at byte {at}: {what}"),
            },
        }
    }

    fn unreadable(file: PathBuf, size: usize, state: String) -> Self {
        let size = size as u64;
        Self { file, bytes: 0, size, commits: 0, records: 0, epochs: None, times: None, state }
    }
}

/// The segments of a journal in their order, damaged ones too.
///
/// # Errors
/// If the folder has no journal, or a file cannot be read.
pub fn list(folder: &Path) -> Result<Vec<SegmentReport>, JournalError> {
    list_on(&Folder::read_only(folder))
}

pub(super) fn list_on(folder: &Folder) -> Result<Vec<SegmentReport>, JournalError> {
    let names = recovery::names(folder)?;
    if names.is_empty() {
        identity(folder)?;
    }
    let report = |(name, number): &(String, u64)| {
        let (bytes, file) = (recovery::read(folder, name)?, folder.path(name));
        let unreadable = |state| SegmentReport::unreadable(file.clone(), bytes.len(), state);
        Ok(match segment::head(&bytes, *number) {
            Head::Known(header) => SegmentReport::new(file.clone(), &Known::scan(name, header, &bytes)),
            Head::Empty => unreadable("damaged: nothing is in it".to_owned()),
            Head::Version(version) => unreadable(format!("format {version}; known is {VERSION}")),
            Head::Damaged(at, what) => unreadable(format!("damaged at byte {at}: {what}")),
        })
    };
    names.iter().map(report).collect()
}

/// Reads every record of a journal, and compares counts and hashes with those of the commits.
///
/// # Errors
/// The first damage, with file and place; or if the folder has no journal.
pub fn verify(folder: &Path) -> Result<Recovered, JournalError> {
    verify_on(Arc::new(Folder::read_only(folder)))
}

pub(super) fn verify_on(folder: Arc<Folder>) -> Result<Recovered, JournalError> {
    let identity = identity(&folder)?;
    let known = recovery::load(&folder, identity.journal, 0)?;
    let recovered = Recovered::new(folder, known, identity.incarnation);
    if let Some(first) = recovered.first_epoch {
        recovered.replay_from(first)?.try_for_each(|record| record.map(|_| ()))?;
    }
    Ok(recovered)
}

fn identity(folder: &Folder) -> Result<Identity, JournalError> {
    let missing = || match recovery::names(folder) {
        Ok(names) if names.is_empty() => JournalError::Absent { folder: folder.path("") },
        Ok(_) => super::identity::missing(folder),
        Err(error) => error,
    };
    Identity::read(folder)?.ok_or_else(missing)
}

/// The groups of a segment that are whole, and what is lost between them.
#[derive(Debug, Default)]
pub(super) struct Salvage {
    pub(super) pieces: Vec<Piece>,
    pub(super) lost: usize,
}

/// A part of a segment.
#[derive(Debug)]
pub(super) enum Piece {
    /// A group that is whole.
    Group { start: usize, end: usize, epochs: super::Epochs },
    /// What is none.
    Lost { start: usize, end: usize, what: &'static str },
}

/// Looks for groups in the whole segment, also behind what is damaged.
pub(super) fn salvage(bytes: &[u8], salt: u32, is_last: bool) -> Salvage {
    let (mut found, mut at) = (Salvage::default(), HEADER);
    loop {
        let (end, tail) = segment::scan(bytes, at, salt, |group| {
            let (start, end, epochs) = (group.start, group.end, group.commit.epochs);
            found.pieces.push(Piece::Group { start, end, epochs });
        });
        let (bad, what) = match tail {
            Tail::Damaged { at, what } => (at, what),
            // A start of the engine cuts it off.
            Tail::Torn { .. } if is_last => return found,
            Tail::Torn { .. } => (end, "records without a commit"),
            Tail::Whole => return found,
        };
        let next = segment::next_group(bytes, bad, salt).filter(|next| *next > end);
        let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        at = next.unwrap_or(written.max(end));
        found.pieces.push(Piece::Lost { start: end, end: at, what });
        found.lost += 1;
        if next.is_none() {
            return found;
        }
    }
}
