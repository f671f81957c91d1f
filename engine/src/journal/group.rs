//! A group: the records of one commit and the commit. It is written at once, stands in one segment, and counts as a
//! whole or not at all.

use std::collections::BTreeMap;
use std::ops::Range;

use xxhash_rust::xxh3::Xxh3;

use super::codec::Cursor;
use super::error::JournalError;
use super::frame::{self, Found, Frame, Seal};
use super::record::{Commit, Epochs, Record, SourceTotal, commit, kind, source_of};

/// The most bytes of a group: well below what the places of a file and a write can say.
const MOST: usize = 2 << 30;

/// The records that wait for their commit.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Their frames; checksums come when the place is known.
    pub(super) frames: Vec<u8>,
    totals: Totals,
}

impl Waiting {
    /// Adds the frame of a record; none if it is too large. It counts when [`Waiting::count`] is called with it.
    pub(super) fn push(&mut self, record: &Record) -> Result<Range<usize>, JournalError> {
        let before = self.frames.len();
        let frame = frame::put(&mut self.frames, record.kind(), |out| record.encode(out));
        if frame.len() > frame::MOST || self.frames.len() > MOST {
            let bytes = self.frames.len();
            self.frames.truncate(before);
            return Err(JournalError::TooLarge { bytes });
        }
        Ok(frame)
    }

    /// Counts a record, of which this is the frame.
    pub(super) fn count(&mut self, record: &Record, frame: Range<usize>) {
        if let Record::Data(data) = record {
            self.totals.add(&data.source, &self.frames[frame]);
        }
    }

    /// Adds the commit. Returns how long the frames were before.
    pub(super) fn close(&mut self, epochs: Epochs, incarnation: u64, queries: u128) -> usize {
        let before = self.frames.len();
        let sources = self.totals.sources();
        let commit = Commit { epochs, incarnation, queries, bytes: before as u64, sources };
        let commit = Record::Commit(commit);
        frame::put(&mut self.frames, commit.kind(), |out| commit.encode(out));
        before
    }

    /// They are written.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.totals = Totals::default();
    }
}

/// Counts and hashes of the data records of each source.
#[derive(Default)]
struct Totals(BTreeMap<String, (u64, Xxh3)>);

impl Totals {
    fn add(&mut self, source: &str, record: &[u8]) {
        // Looked up first: the name is allocated once a group.
        let total = match self.0.get_mut(source) {
            Some(total) => total,
            None => self.0.entry(source.to_owned()).or_default(),
        };
        total.0 += 1;
        total.1.update(record);
    }

    fn sources(&self) -> Vec<SourceTotal> {
        let total = |(source, (records, hash)): (&String, &(u64, Xxh3))| SourceTotal {
            source: source.clone(),
            records: *records,
            hash: hash.digest128(),
        };
        self.0.iter().map(total).collect()
    }
}

impl std::fmt::Debug for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.sources()).finish()
    }
}

/// A group as it was read, with the right count and hash of each source.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) start: usize,
    pub(super) end: usize,
    /// All but the commit.
    pub(super) frames: Vec<Frame<'a>>,
    pub(super) commit: Commit,
}

impl Group<'_> {
    /// The records without the commit. Where one cannot be decoded: its place and why.
    pub(super) fn records(&self) -> Result<Vec<Record>, (usize, String)> {
        let record = |frame: &Frame<'_>| {
            Record::decode(frame.kind, frame.body).map_err(|error| (frame.start, error.to_string()))
        };
        self.frames.iter().map(record).collect()
    }
}

/// What is at a place where a group may begin.
#[derive(Debug)]
pub(super) enum Next<'a> {
    /// Zeros.
    End,
    /// A group that is whole.
    Group(Group<'a>),
    /// Anything else: where it goes wrong and how, and where that frame would end.
    Bad { at: usize, end: usize, what: &'static str },
}

/// Reads the group at `start` of a segment, or of a piece of one.
pub(super) fn read(segment: &[u8], start: usize, seal: impl Into<Seal>) -> Next<'_> {
    let seal = seal.into();
    let (mut frames, mut totals, mut at) = (Vec::new(), Totals::default(), start);
    loop {
        let frame = match frame::read(segment, at, seal) {
            Found::End if at == start => return Next::End,
            Found::End => return Next::Bad { at, end: at, what: "records without a commit" },
            Found::Bad { end } => return Next::Bad { at, end, what: "the checksum does not match" },
            Found::Frame(frame) => frame,
        };
        let bad = |what| Next::Bad { at: frame.start, end: frame.end, what };
        match frame.kind {
            kind::DATA => match source_of(frame.body) {
                Ok(source) => totals.add(source, &segment[frame.start + frame::HEAD - 1..frame.end]),
                Err(error) => return bad(error.0),
            },
            kind::GAP | kind::CONTROL => {}
            kind::COMMIT => {
                let commit = match Record::decode(frame.kind, frame.body) {
                    Ok(Record::Commit(commit)) => commit,
                    Ok(_) => return bad("a commit is none"),
                    Err(error) => return bad(error.0),
                };
                if commit.bytes != (frame.start - start) as u64 || commit.sources != totals.sources() {
                    return bad("the commit is of other records");
                }
                return Next::Group(Group { start, end: frame.end, frames, commit });
            }
            _ => return bad("a record is of a kind that is not known"),
        }
        at = frame.end;
        frames.push(frame);
    }
}

/// Looks for commits at any place from `from` on, whatever stands before them. Gives where the group of each begins.
pub(super) fn starts_after(segment: &[u8], from: usize, salt: u32) -> impl Iterator<Item = usize> {
    let is_commit = move |at: &usize| segment.get(at + frame::HEAD - 1) == Some(&kind::COMMIT);
    (from..segment.len()).filter(is_commit).filter_map(move |at| {
        let Found::Frame(frame) = frame::read(segment, at, salt) else { return None };
        let commit = commit(&mut Cursor(frame.body)).ok()?;
        at.checked_sub(usize::try_from(commit.bytes).ok()?)
    })
}
