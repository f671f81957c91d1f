//! The manifest as a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::error::{HistoryError, Result};
use super::record::{ANY_TITLE, Line, Record, TITLE, TITLE_1, decode};
use super::state::State;
use super::sync;
use crate::room::Room;

/// The name of the manifest in the folder of its history.
pub(super) const MANIFEST: &str = ".manifest";
const UNFINISHED: &str = ".manifest.tmp";

/// What a manifest says.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) state: State,
    /// The end of the last line that counts: what is begun and not done does not.
    pub(super) end: u64,
}

/// Reads the manifest of a folder; `None` if it has none. A last line that was not written to its end does not count.
///
/// # Errors
/// If it is damaged.
pub(super) fn read(folder: &Path) -> Result<Option<Contents>> {
    let path = folder.join(MANIFEST);
    match fs::read(&path) {
        Ok(bytes) => contents(&path, &bytes).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(HistoryError::file("read", &path, error)),
    }
}

pub(super) fn contents(path: &Path, bytes: &[u8]) -> Result<Contents> {
    let damaged = |offset: usize, what: &str| HistoryError::Damaged {
        path: path.to_owned(),
        offset: offset as u64,
        what: what.to_owned(),
    };
    if ![TITLE, TITLE_1].iter().any(|title| bytes.starts_with(title.as_bytes())) {
        return Err(match bytes.starts_with(ANY_TITLE.as_bytes()) {
            true => HistoryError::Format { path: path.to_owned() },
            false => damaged(0, "it is no manifest"),
        });
    }
    let (mut state, mut at) = (State::default(), TITLE.len());
    let mut end = at;
    while at < bytes.len() {
        match decode(&bytes[at..], at as u64) {
            Line::Record(record, length) => {
                state.apply(*record).map_err(|what| damaged(at, what))?;
                at += length;
                if state.begun.is_none() {
                    end = at;
                }
            }
            Line::Torn => break,
            Line::Damaged(what) => return Err(damaged(at, what)),
        }
    }
    Ok(Contents { state, end: end as u64 })
}

/// A manifest that is written.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    end: u64,
}

impl Log {
    /// Begins a manifest with what was there before it. It appears whole.
    pub(super) fn create(folder: &Path, first: Option<&Record>, room: &Room) -> Result<Self> {
        let draft = Draft::new(folder, first)?;
        draft.write(folder, room)?;
        sync(folder)?;
        Self::open(folder, draft.end())
    }

    /// Opens one of which `end` bytes count; the others are cut off.
    pub(super) fn open(folder: &Path, end: u64) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let open = || {
            let file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(end)?;
            file.sync_all()?;
            Ok(file)
        };
        let file = open().map_err(|error| HistoryError::file("open", &path, error))?;
        Ok(Self { path, file, end })
    }

    /// Its length.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Adds a line; it is durable then.
    pub(super) fn append(&mut self, record: &Record, room: &Room) -> Result<()> {
        let failed = |error| HistoryError::file("write", &self.path, error);
        let line = encode(record, self.end).map_err(failed)?;
        // Written by halves where there is no room, it is written again at the same place.
        room.patiently(|| self.file.write_all_at(&line, self.end)).map_err(failed)?;
        self.file.sync_data().map_err(|error| HistoryError::file("sync", &self.path, error))?;
        self.end += line.len() as u64;
        Ok(())
    }
}

/// A manifest that is not written yet.
pub(super) struct Draft(Vec<u8>);

impl Draft {
    /// One that begins with this line.
    pub(super) fn new(folder: &Path, first: Option<&Record>) -> Result<Self> {
        let mut bytes = TITLE.as_bytes().to_vec();
        if let Some(first) = first {
            let line = encode(first, bytes.len() as u64);
            bytes.extend(line.map_err(|error| HistoryError::file("write", &folder.join(MANIFEST), error))?);
        }
        Ok(Self(bytes))
    }

    /// Its length.
    pub(super) fn end(&self) -> u64 {
        self.0.len() as u64
    }

    /// Makes it the manifest of the folder. It appears whole; where this fails, an older one is as it was.
    pub(super) fn write(&self, folder: &Path, room: &Room) -> Result<()> {
        let (unfinished, path) = (folder.join(UNFINISHED), folder.join(MANIFEST));
        let written = room.patiently(|| {
            let mut file = File::create(&unfinished)?;
            file.write_all(&self.0)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)
        });
        written.map_err(|error| HistoryError::file("write", &path, error))
    }
}

fn encode(record: &Record, offset: u64) -> io::Result<Vec<u8>> {
    record.encode(offset).map_err(io::Error::other)
}
