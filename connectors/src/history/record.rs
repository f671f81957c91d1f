//! What a manifest says, and its lines:
//!
//! ```text
//! lineshaft history 2
//! 0000011c7f0a 5be0f1c29a77d310 {"commit":{...}}
//! |       |    |                what it says, JSON
//! |       |    XXH3-64 of that, seeded with the place of the line: a line that is copied elsewhere is none
//! |       check of the length
//! length of what it says
//! ```

use lineshaft_engine::time::{Epoch, EventTime};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::state::State;

/// The first line of a manifest that may begin with [`Record::Whole`].
pub(super) const TITLE: &str = "lineshaft history 2\n";
/// The first line of one that never was written anew.
pub(super) const TITLE_1: &str = "lineshaft history 1\n";
/// What the first line of every format begins with.
pub(super) const ANY_TITLE: &str = "lineshaft history ";
/// Digits of the length with its check, digits of the hash, and a blank behind each.
const HEAD: usize = 12 + 1 + 16 + 1;
/// A sector that was never written is zeros; no line has so many.
const UNWRITTEN: usize = 128;

/// A Parquet file of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryFile {
    /// Its path below the folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// XXH3-128 of its bytes, in hexadecimal digits.
    pub hash: String,
    /// Its least event time; that is the first column of type TIMESTAMP.
    pub from: Option<EventTime>,
    /// Its largest event time.
    pub to: Option<EventTime>,
    /// XXH3-64 of names and types of its columns.
    pub schema: String,
    /// How often its rows were merged; 0 as the sink has written it.
    pub level: u8,
}

/// What a worker adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its number.
    pub worker: usize,
    /// The epoch up to which its rows were there before.
    pub after: Option<Epoch>,
    /// The epoch up to which all of its rows are there now.
    pub through: Option<Epoch>,
    /// Its rows in this life so far.
    pub rows: u64,
    /// The number of its next file.
    pub next: u64,
    /// Its new files.
    pub files: Vec<HistoryFile>,
}

/// The rows of all workers up to the end of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Which start of the engine wrote it.
    pub incarnation: u64,
    /// A program that goes on from a checkpoint goes on with its life; one that begins anew counts one more.
    pub life: u64,
    /// One for each worker.
    pub parts: Vec<Part>,
}

/// Small files that have become one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// Names that are replaced.
    pub removed: Vec<String>,
    /// What replaces them.
    pub file: HistoryFile,
}

/// Why files were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// All of their rows were older than `retain`.
    Age,
    /// All files together were larger than `retain_size`.
    Size,
}

/// Files that are past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drop {
    /// Which limit they were beyond.
    pub limit: Limit,
    /// Their names.
    pub removed: Vec<String>,
    /// Their rows.
    pub rows: u64,
    /// Their length together.
    pub bytes: u64,
}

/// A line of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    /// What all lines of an earlier manifest added up to. It is only the first one.
    Whole(Box<State>),
    /// These files are taken in as they are: they were there before the manifest.
    Adopt(Vec<HistoryFile>),
    /// These files get their names now, and count once that is [`Record::Done`].
    Commit(Commit),
    /// The same for this one, and those that it replaces no longer count then.
    Merge(Merge),
    /// These files no longer count.
    Drop(Drop),
    /// What the line before says is done.
    Done,
}

/// What stands at a place of a manifest.
pub(super) enum Line {
    /// A record, and the length of its line.
    Record(Box<Record>, usize),
    /// The write was not finished.
    Torn,
    /// These are not the bytes that were written.
    Damaged(&'static str),
}

impl Record {
    /// Its line at this place.
    pub(super) fn encode(&self, offset: u64) -> serde_json::Result<Vec<u8>> {
        let text = serde_json::to_string(self)?;
        let sum = xxh3_64_with_seed(text.as_bytes(), offset);
        Ok(format!("{} {sum:016x} {text}\n", length(text.len())).into_bytes())
    }
}

/// The digits of a length, and of its check.
fn length(length: usize) -> String {
    let digits = format!("{length:08x}");
    let check = xxh3_64(digits.as_bytes()) & 0xffff;
    format!("{digits}{check:04x}")
}

/// The line at the beginning of `bytes`, which stand at `offset`.
pub(super) fn decode(bytes: &[u8], offset: u64) -> Line {
    match line(bytes, offset) {
        // Behind a write that was not finished there is none that was.
        Line::Torn if has_line(bytes, offset) => Line::Damaged("a line is cut off and others follow"),
        other => other,
    }
}

fn line(bytes: &[u8], offset: u64) -> Line {
    let Some(head) = bytes.get(..HEAD) else { return Line::Torn };
    let damaged = |what| if is_unwritten(bytes) { Line::Torn } else { Line::Damaged(what) };
    let digits = str::from_utf8(&head[..8]).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
    let Some(count) = digits.filter(|count| length(*count).as_bytes() == &head[..12]) else {
        return damaged("a line has no length");
    };
    let Some(text) = bytes.get(HEAD..HEAD + count) else { return Line::Torn };
    let end = HEAD + count + 1;
    let Some(newline) = bytes.get(end - 1) else { return Line::Torn };
    let head_is_right = head[12..] == *format!(" {:016x} ", xxh3_64_with_seed(text, offset)).as_bytes();
    if !head_is_right || *newline != b'\n' {
        return damaged("the checksum of a line does not match");
    }
    match serde_json::from_slice(text) {
        Ok(record) => Line::Record(Box::new(record), end),
        Err(_) => Line::Damaged("a line says what this version does not know"),
    }
}

/// True if a sector was not written: it is at the end, or others of the same write follow.
fn is_unwritten(bytes: &[u8]) -> bool {
    bytes.last() == Some(&0) || bytes.chunk_by(|a, b| a == b).any(|run| run[0] == 0 && run.len() >= UNWRITTEN)
}

/// True if a whole line begins somewhere in `bytes`.
fn has_line(bytes: &[u8], offset: u64) -> bool {
    let newlines = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    newlines
        .map(|(at, _)| at + 1)
        .any(|at| matches!(line(&bytes[at..], offset + at as u64), Line::Record(..)))
}
