//! Saves what is whole of a damaged journal. Where something is lost, the journal says so from then on: a [`Gap`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::JournalError;
use super::folder::Folder;
use super::frame;
use super::group::Waiting;
use super::identity::{self, Identity};
use super::inspect::{Piece, Salvage, salvage};
use super::record::{Epochs, Gap, Record};
use super::recovery;
use super::segment::{self, HEADER, Head, Header, VERSION};
use crate::disk::FileSystem;

/// A part of a journal that could not be saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The file as it was, if there was one: it is kept under this name.
    pub kept: Option<PathBuf>,
    /// What is lost, and where, in words.
    pub what: String,
    /// The epoch after the last one that is there before it.
    pub first_epoch: u64,
    /// Wall clock of the last commit before and of the first one after, microseconds, where they are known.
    pub times: (Option<i64>, Option<i64>),
}

/// Repairs the journal in `folder`: groups that are whole are kept, a record tells of each loss, and damaged files stay
/// under names that end in `.damaged`. A journal without damage is left as it is.
///
/// # Errors
/// If an engine runs on it, if it was written by another version, or if the disk fails: then it can be tried again.
pub fn repair(folder: &Path) -> Result<Vec<Lost>, JournalError> {
    if !folder.is_dir() {
        return Err(JournalError::Absent { folder: folder.to_owned() });
    }
    repair_on(&Folder::lock(Arc::new(FileSystem), folder)?)
}

pub(super) fn repair_on(folder: &Folder) -> Result<Vec<Lost>, JournalError> {
    let files = files(folder)?;
    let mut lost = Vec::new();
    let identity = repair_identity(folder, &files, &mut lost)?;
    let mut repair = Repair { folder, identity, before: None, lost };
    for place in 0..files.len() {
        repair.segment(&files, place)?;
    }
    Ok(repair.lost)
}

/// A file with the name of a segment.
struct File {
    name: String,
    number: u64,
    head: Head,
}

fn files(folder: &Folder) -> Result<Vec<File>, JournalError> {
    let file = |(name, number): (String, u64)| {
        let head = match segment::head(&recovery::read(folder, &name)?, number) {
            Head::Version(version) => {
                return Err(JournalError::Format { file: folder.path(&name), version, known: VERSION });
            }
            head => head,
        };
        Ok(File { name, number, head })
    };
    recovery::names(folder)?.into_iter().map(file).collect()
}

/// Reads who the journal is, or finds it in the segments.
fn repair_identity(folder: &Folder, files: &[File], lost: &mut Vec<Lost>) -> Result<Identity, JournalError> {
    match Identity::read(folder) {
        Ok(Some(identity)) => return Ok(identity),
        Ok(None) | Err(JournalError::Damaged { .. }) => {}
        Err(error) => return Err(error),
    }
    let mut found: Option<Identity> = None;
    for file in files {
        let Head::Known(header) = file.head else { continue };
        let mut incarnation = header.incarnation.max(found.map_or(0, |found| found.incarnation));
        segment::scan(&recovery::read(folder, &file.name)?, HEADER, header.salt(), |group| {
            incarnation = incarnation.max(group.commit.incarnation);
        });
        found = Some(Identity { journal: found.map_or(header.journal, |found| found.journal), incarnation });
    }
    let found = found.ok_or_else(|| JournalError::Absent { folder: folder.path("") })?;
    let kept = match folder.read_if_there(identity::FILE)? {
        Some(bytes) => Some(keep(folder, identity::FILE, &bytes)?),
        None => None,
    };
    found.write(folder)?;
    let what =
        format!("{} was damaged or missing, and is written anew", folder.path(identity::FILE).display());
    lost.push(Lost { kept, what, first_epoch: 0, times: (None, None) });
    Ok(found)
}

/// Keeps the bytes of a file beside it. Returns where.
fn keep(folder: &Folder, name: &str, bytes: &[u8]) -> Result<PathBuf, JournalError> {
    let files = folder.list().map_err(|error| JournalError::io("read", folder.path(""), error))?;
    let is_free = |kept: &String| files.iter().all(|(file, _)| file != kept);
    let names = (2_u32..).map(|count| format!("{name}.{count}.damaged"));
    let kept = std::iter::once(format!("{name}.damaged")).chain(names).find(is_free).unwrap_or_default();
    folder.write_whole(&kept, bytes)?;
    Ok(folder.path(&kept))
}

/// What was read before the segment that is looked at.
#[derive(Clone, Copy)]
struct Before {
    sequence: u64,
    number: u64,
    /// Of the last commit.
    epochs: Option<Epochs>,
}

struct Repair<'a> {
    folder: &'a Folder,
    identity: Identity,
    before: Option<Before>,
    lost: Vec<Lost>,
}

impl Repair<'_> {
    /// Looks at one segment, and writes it anew if it has to be.
    fn segment(&mut self, files: &[File], place: usize) -> Result<(), JournalError> {
        let (file, is_last) = (&files[place], place + 1 == files.len());
        let (bytes, path) = (recovery::read(self.folder, &file.name)?, self.folder.path(&file.name));
        let (header, mut wrong) = match &file.head {
            Head::Known(header) if header.journal != self.identity.journal => {
                return self.set_aside(file, &bytes);
            }
            Head::Known(header) => (*header, None),
            Head::Damaged(at, what) => {
                let what = format!("{} was damaged at byte {at}: {what}", path.display());
                (self.header(files, place, bytes.len()), Some(what))
            }
            Head::Empty | Head::Version(_) => {
                let what = format!("nothing was in {}", path.display());
                (self.header(files, place, bytes.len()), Some(what))
            }
        };
        if self.before.is_some_and(|before| before.sequence != header.previous) {
            wrong = Some(format!("the segment before {} was missing", path.display()));
        }
        let found = salvage(&bytes, segment::salt(self.identity.journal, file.number), is_last);
        if wrong.is_some() || found.lost > 0 {
            let previous = self.before.map_or(header.sequence, |before| before.sequence);
            self.rewrite(&file.name, Header { previous, ..header }, &bytes, &found, wrong)?;
        }
        let last = found.pieces.iter().rev().find_map(|piece| match piece {
            Piece::Group { epochs, .. } => Some(*epochs),
            Piece::Lost { .. } => None,
        });
        let epochs = last.or(self.before.and_then(|before| before.epochs));
        self.before = Some(Before { sequence: header.sequence, number: file.number, epochs });
        Ok(())
    }

    /// The header of a segment that has none, from those around it.
    fn header(&self, files: &[File], place: usize, bytes: usize) -> Header {
        let previous = self.before.map(|before| before.sequence);
        let next = files.get(place + 1).and_then(|file| match &file.head {
            Head::Known(header) => Some(header.previous),
            _ => None,
        });
        // A next one that is not of the next sequence belongs to another gap.
        let sequence = next.filter(|next| previous.is_none_or(|previous| *next > previous));
        let sequence = sequence.unwrap_or_else(|| previous.map_or(0, |previous| previous + 1));
        Header {
            journal: self.identity.journal,
            incarnation: self.identity.incarnation,
            sequence,
            previous: previous.unwrap_or(sequence),
            number: files[place].number,
            size: bytes.max(HEADER) as u64,
        }
    }

    /// Removes a segment of another journal; its bytes are kept.
    fn set_aside(&mut self, file: &File, bytes: &[u8]) -> Result<(), JournalError> {
        let kept = keep(self.folder, &file.name, bytes)?;
        super::start::remove(self.folder, [file.name.clone()])?;
        let what = format!("{} is of another journal", self.folder.path(&file.name).display());
        self.note(Some(kept), what, self.before.and_then(|before| before.epochs), None);
        Ok(())
    }

    /// Writes a segment with what is whole, and a gap for each loss.
    fn rewrite(
        &mut self,
        name: &str,
        header: Header,
        bytes: &[u8],
        found: &Salvage,
        wrong: Option<String>,
    ) -> Result<(), JournalError> {
        let kept = keep(self.folder, name, bytes)?;
        let file = self.folder.path(name);
        let mut before = self.before.and_then(|before| before.epochs);
        let (mut out, mut pieces) = (header.encode(), found.pieces.iter().peekable());
        let mut lost = wrong;
        loop {
            let next = pieces.next();
            if let Some(Piece::Lost { start, end, what }) = next {
                let text = format!("bytes {start} to {end} of {} were damaged: {what}", file.display());
                lost = Some(lost.map_or_else(|| text.clone(), |before| format!("{before}; {text}")));
                continue;
            }
            let group = match next {
                Some(Piece::Group { start, end, epochs }) => Some((&bytes[*start..*end], *epochs)),
                _ => None,
            };
            if let Some(what) = lost.take() {
                let after = group.map(|(_, epochs)| epochs.wall_clock);
                self.note(Some(kept.clone()), what.clone(), before, after);
                let gap = self.gap(what, header.number, before, after)?;
                place(&mut out, &gap, header.salt());
            }
            let Some((frames, epochs)) = group else { break };
            place(&mut out, frames, header.salt());
            before = Some(epochs);
        }
        let size = header.size.max(out.len() as u64);
        out.splice(..HEADER, Header { size, ..header }.encode());
        out.resize(usize::try_from(size).unwrap_or(out.len()), 0);
        self.folder.write_whole(name, &out)
    }

    fn note(&mut self, kept: Option<PathBuf>, what: String, before: Option<Epochs>, after: Option<i64>) {
        let first_epoch = before.map_or(0, |before| before.end());
        self.lost.push(Lost {
            kept,
            what,
            first_epoch,
            times: (before.map(|before| before.wall_clock), after),
        });
    }

    /// The group that tells of a loss.
    fn gap(
        &self,
        reason: String,
        number: u64,
        before: Option<Epochs>,
        after: Option<i64>,
    ) -> Result<Vec<u8>, JournalError> {
        let from = before.map(|before| before.wall_clock).or(after).unwrap_or(0);
        let to = after.unwrap_or(from);
        let gap = Record::Gap(Gap { source: String::new(), reason, from, to });
        let mut waiting = Waiting::default();
        waiting.push(&gap)?;
        let behind = self.before.map_or(number, |before| before.number);
        let first = before.map_or(behind, |before| before.end());
        waiting.close(Epochs { first, count: 0, wall_clock: from }, self.identity.incarnation, 0);
        Ok(waiting.frames)
    }
}

/// Appends frames, with the checksums of their new place.
fn place(out: &mut Vec<u8>, frames: &[u8], salt: u32) {
    let place = out.len();
    out.extend_from_slice(frames);
    frame::seal(&mut out[place..], salt, place);
}
